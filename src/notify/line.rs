//! `line`: bytes back to a device, as an interlock: at once, where the alert is raised.
//!
//! It acts for rules that name it, and no silence holds it back: a silence is for people. It is not durable: bytes that
//! arrive after a restart, when nobody expects them, may do more harm than none.

use super::message::template;
use super::{Direct, Key, KeyKind, Kind, Made, Message, Settings, Told, World, Wrong};
use crate::alert::Template;

pub(super) static KIND: Kind = Kind {
    name: "line",
    about: "bytes to a source's device",
    keys: &[
        Key::needed("source", KeyKind::Source),
        Key::may("text", KeyKind::Text),
        Key::may("bytes", KeyKind::Bytes),
    ],
    is_interlock: true,
    make,
};

struct Line {
    source: usize,
    what: What,
}

enum What {
    Bytes(Vec<u8>),
    Text(Template),
}

fn make(settings: &Settings) -> Result<Made, Wrong> {
    let what = match (settings.text("text"), settings.bytes("bytes")) {
        (Some(text), None) => {
            let text = template("text", text)?;
            if text.names().next().is_some() {
                What::Text(text)
            } else {
                What::Bytes(text.render(|_, _| {}).into_bytes())
            }
        }
        (None, Some(bytes)) => What::Bytes(bytes.to_vec()),
        (Some(_), Some(_)) => {
            return Err(Wrong::new("bytes", "stands beside `text`", "one of the two"));
        }
        (None, None) => {
            return Err(Wrong::new(
                "source",
                "is all there is: `text` or `bytes` is missing",
                "say what is to be sent, as in text = \"STOP\\n\"",
            ));
        }
    };
    Ok(Made::Direct(Box::new(Line {
        source: usize::try_from(settings.integer("source", 0)).unwrap_or(usize::MAX),
        what,
    })))
}

impl Direct for Line {
    fn tell(&mut self, message: &Message<'_>, world: &dyn World) -> Told {
        let sent = match &self.what {
            What::Bytes(bytes) => world.send(self.source, bytes),
            What::Text(text) => world.send(self.source, message.render(text).as_bytes()),
        };
        sent.map_or_else(Told::Failed, |()| Told::Done)
    }
}
