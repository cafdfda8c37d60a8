//! `[source.NAME.protocol]`, and what each channel says about its place on the wire.

mod lines;
mod modbus;
mod packet;
mod receiver;
mod scpi;

use std::ops::Range;
use std::time::Duration;

use kymo_drivers::clock::Ticks;
use kymo_drivers::protocol::Options;

use super::section::{At, Section};
use super::values::{choice, duration};

/// A protocol as far as it could be read.
pub(super) struct Protocol {
    pub(super) options: Options,
    /// Bytes of one frame on the wire, where all have as many.
    pub(super) frame_bytes: Option<usize>,
    /// Frames a second, where the protocol itself sets the pace.
    pub(super) rate_hz: Option<f64>,
    pub(super) timing: Timing,
}

/// What the device itself says of the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Its timestamp.
    pub(super) ticks: Option<Ticks>,
    /// Frames in each packet.
    pub(super) frames_per_packet: usize,
    /// Of these, the one whose time the timestamp is.
    pub(super) stamped_frame: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ticks: None,
            frames_per_packet: 1,
            stamped_frame: 0,
        }
    }
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

const KINDS: [(&str, Kind); 6] = [
    ("lines", Kind::Lines),
    ("packet", Kind::Packet),
    ("nmea", Kind::Nmea),
    ("ubx", Kind::Ubx),
    ("modbus", Kind::Modbus),
    ("scpi", Kind::Scpi),
];

const HELP: &str = "add [source.NAME.protocol] with type = \"lines\" or type = \"packet\"";

/// Reads the protocol of a source whose link may begin in the middle of a line, or not, and takes so long for a byte.
pub(super) fn read(
    source: &Section<'_>,
    channels: &[(Section<'_>, String)],
    starts_whole: bool,
    ns_per_byte: f64,
) -> Option<Protocol> {
    let section = source.need_table("protocol", HELP)?;
    let mut places = Places::default();
    let mut timing = Timing::default();
    let kind = section.need("type", choice(&KINDS))?;
    let (options, frame_bytes) = match kind.value {
        Kind::Lines => (
            lines::read(&section, channels, starts_whole, &mut places)?,
            None,
        ),
        Kind::Packet => packet::read(&section, channels, &mut places, &mut timing)?,
        Kind::Nmea => (receiver::nmea(&section, channels, &mut places)?, None),
        Kind::Ubx => (receiver::ubx(&section, channels, &mut places)?, None),
        Kind::Modbus => (
            modbus::read(&section, channels, ns_per_byte, &mut places)?,
            None,
        ),
        Kind::Scpi => (scpi::read(&section, channels, &mut places)?, None),
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
    let cycle = match &options {
        Options::Modbus(modbus) => Some(modbus.cycle),
        Options::Scpi(scpi) if scpi.waveform.is_none() => Some(scpi.cycle),
        _ => None,
    };
    Some(Protocol {
        options,
        frame_bytes,
        timing,
        rate_hz: cycle.map(|cycle| 1.0 / cycle.as_secs_f64()),
    })
}

/// `backoff = { first, max }`: the waits for what does not answer.
fn backoff(section: &Section<'_>, places: &mut Places) -> (Duration, Duration) {
    let (mut first, mut max) = (Duration::from_secs(1), Duration::from_secs(60));
    let Some(table) = section.table("backoff") else {
        return (first, max);
    };
    places.0.push(("backoff".to_owned(), table.span.clone()));
    let limits = (Duration::from_millis(1), Duration::from_secs(86_400));
    let found = table.get("first", duration(limits));
    first = found.map_or(first, |found| found.value);
    let found = table.get("max", duration(limits));
    max = found.map_or(max.max(first), |found| found.value);
    table.finish();
    (first, max)
}

#[derive(Clone, Copy)]
enum Kind {
    Lines,
    Packet,
    Nmea,
    Ubx,
    Modbus,
    Scpi,
}
