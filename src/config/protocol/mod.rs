//! `[source.NAME.protocol]`, and what each channel says about its place on the wire.

mod lines;
mod packet;

use std::ops::Range;

use kymo_drivers::protocol::Options;

use super::section::{At, Section};
use super::values::choice;

/// A protocol as far as it could be read.
pub(super) struct Protocol {
    pub(super) options: Options,
    /// Bytes of one frame on the wire, where all have as many.
    pub(super) frame_bytes: Option<usize>,
}

/// Where each part of the declaration stands, by the name that the protocol gives it in its own mistakes.
#[derive(Default)]
struct Places(Vec<(String, Range<usize>)>);

impl Places {
    /// A value, with its place noted.
    fn noted<T>(&mut self, part: &str, found: Option<At<T>>) -> Option<T> {
        let found = found?;
        self.0.push((part.to_owned(), found.span));
        Some(found.value)
    }
}

const HELP: &str = "add [source.NAME.protocol] with type = \"lines\" or type = \"packet\"";

/// Reads the protocol of a source whose link may begin in the middle of a line, or not.
pub(super) fn read(
    source: &Section<'_>,
    channels: &[(Section<'_>, String)],
    starts_whole: bool,
) -> Option<Protocol> {
    let section = source.need_table("protocol", HELP)?;
    let mut places = Places::default();
    let kind = section.need(
        "type",
        choice(&[("lines", Kind::Lines), ("packet", Kind::Packet)]),
    )?;
    let (options, frame_bytes) = match kind.value {
        Kind::Lines => (
            lines::read(&section, channels, starts_whole, &mut places)?,
            None,
        ),
        Kind::Packet => packet::read(&section, channels, &mut places)?,
    };
    section.finish();
    // What only the protocol itself can judge: whether the parts fit each other.
    if let Err(errors) = options.build() {
        for error in errors {
            let place = places.0.iter().find(|(part, _)| *part == error.part);
            let span = place.map_or_else(|| section.span.clone(), |(_, span)| span.clone());
            // A channel's name says more than its number.
            let index = error.part.strip_prefix("field ");
            let channel = index.and_then(|index| channels.get(index.parse::<usize>().ok()?));
            let part = channel.map_or_else(
                || format!("source.{}.protocol.{}", source.name(), error.part),
                |(_, name)| format!("source.{}.{name}", source.name()),
            );
            section
                .found
                .add(span, &format!("`{part}`: {}", error.what), "", None);
        }
        return None;
    }
    Some(Protocol {
        options,
        frame_bytes,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Lines,
    Packet,
}
