//! `log`: a line in a file for every alert, synced before it counts as delivered.
//!
//! **Always holds.** The file is no longer than its `size`: when it is, it becomes `FILE.1`, and the one of that
//! name goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use super::message::template;
use super::{Deliver, Key, KeyKind, Kind, Made, Message, Outcome, Patience, Settings, Wrong};
use crate::alert::Template;

pub(super) static KIND: Kind = Kind {
    name: "log",
    about: "a line in a file",
    keys: &[
        Key::needed("path", KeyKind::Text),
        Key::may("text", KeyKind::Text),
        Key::may("json", KeyKind::Flag),
        Key::may("size", KeyKind::Size(4096, 1 << 40)),
    ],
    shows: false,
    is_interlock: false,
    make,
};

struct Log {
    path: PathBuf,
    text: Option<Template>,
    json: bool,
    bytes_max: u64,
}

fn make(settings: &Settings) -> Result<Made, Wrong> {
    if settings.text("text").is_some() && settings.flag("json") {
        return Err(Wrong::new("text", "stands beside `json`", "one of the two"));
    }
    let text = settings.text("text");
    Ok(Made::Durable(Box::new(Log {
        path: PathBuf::from(settings.text("path").unwrap_or_default()),
        text: text.map(|text| template("text", text)).transpose()?,
        json: settings.flag("json"),
        bytes_max: settings.integer("size", 16 << 20),
    })))
}

impl Deliver for Log {
    fn deliver(&mut self, message: &Message<'_>, _: &Patience) -> Outcome {
        let mut line = match &self.text {
            _ if self.json => message.event.to_string(),
            Some(text) => message.render(text).replace(['\n', '\r'], " "),
            None => message.line().replace(['\n', '\r'], " "),
        };
        line.push('\n');
        match self.append(line.as_bytes()) {
            Ok(()) => Outcome::Delivered,
            Err(error) => Outcome::Again {
                why: format!("cannot write {}: {error}", self.path.display()),
                after: None,
            },
        }
    }
}

impl Log {
    /// Opened for each line: a file that was moved away by somebody else is begun anew.
    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.open()?;
        let bytes = file.metadata()?.len();
        if bytes > 0 && bytes.saturating_add(line.len() as u64) > self.bytes_max {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&self.path, old)?;
            file = self.open()?;
        }
        file.write_all(line)?;
        file.sync_data()
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
    }
}
