//! `line`: bytes back to a device, as an interlock: at once, where the alert is raised.
//!
//! It acts for rules that name it, and no silence holds it back: a silence is for people. It is not durable: bytes that
//! arrive after a restart, when nobody expects them, may do more harm than none.

use super::{Direct, Key, KeyKind, Kind, Made, Message, Settings, Told, World, Wrong};

pub(super) static KIND: Kind = Kind {
    name: "line",
    about: "bytes to a source's device",
    keys: &[
        Key::needed("source", KeyKind::Source),
        Key::needed("send", KeyKind::Message),
    ],
    shows: false,
    is_interlock: true,
    make,
};

struct Line {
    source: usize,
    bytes: Vec<u8>,
}

// As every kind's.
#[allow(clippy::unnecessary_wraps)]
fn make(settings: &Settings) -> Result<Made, Wrong> {
    Ok(Made::Direct(Box::new(Line {
        source: usize::try_from(settings.integer("source", u64::MAX)).unwrap_or(usize::MAX),
        bytes: settings.bytes("send").unwrap_or_default().to_vec(),
    })))
}

impl Direct for Line {
    fn tell(&mut self, _: &Message<'_>, world: &dyn World) -> Told {
        let sent = world.send(self.source, &self.bytes);
        sent.map_or_else(Told::Failed, |()| Told::Done)
    }
}
