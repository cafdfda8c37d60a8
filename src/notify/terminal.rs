//! `terminal`: a line for whoever looks on, at once; with a bell, if wanted.

use super::message::template;
use super::{Direct, Key, KeyKind, Kind, Made, Message, Settings, Told, World, Wrong};
use crate::alert::Template;

pub(super) static KIND: Kind = Kind {
    name: "terminal",
    about: "a line on the terminal of the run",
    keys: &[
        Key::may("text", KeyKind::Text),
        Key::may("bell", KeyKind::Flag),
    ],
    shows: true,
    is_interlock: false,
    make,
};

struct Terminal {
    text: Option<Template>,
    bell: bool,
}

fn make(settings: &Settings) -> Result<Made, Wrong> {
    let text = settings.text("text");
    Ok(Made::Direct(Box::new(Terminal {
        text: text.map(|text| template("text", text)).transpose()?,
        bell: settings.flag("bell"),
    })))
}

impl Direct for Terminal {
    fn tell(&mut self, message: &Message<'_>, world: &dyn World) -> Told {
        let mut text = match &self.text {
            Some(text) => message.render(text),
            None => message.line(),
        };
        if self.bell {
            text.push('\u{7}');
        }
        world.show(text);
        Told::Done
    }
}
