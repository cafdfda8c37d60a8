//! What parts values.
//!
//! **Always holds.** Splitting gives every byte of a line once, but for the separators and the spaces around.
//!
//! **Must not know.** What stands between separators.

use memchr::memmem::Finder;

pub(super) enum Separator {
    /// Any run of spaces and tabs.
    Blank,
    Byte(u8),
    Text(Box<Finder<'static>>),
}

impl Separator {
    pub(super) fn new(text: &str) -> Self {
        match text.as_bytes() {
            b" " => Self::Blank,
            [byte] => Self::Byte(*byte),
            bytes => Self::Text(Box::new(Finder::new(bytes).into_owned())),
        }
    }

    /// The line without the spaces around it. A tab that parts values is none: it begins or ends an
    /// empty value, and without it the values would shift into the wrong channels.
    pub(super) fn trim<'a>(&self, mut line: &'a [u8]) -> &'a [u8] {
        if !matches!(self, Self::Byte(b'\t')) {
            return line.trim_ascii();
        }
        while let [b' ' | b'\r', rest @ ..] | [rest @ .., b' ' | b'\r'] = line {
            line = rest;
        }
        line
    }

    /// The bytes before the next separator, and those behind it; `None` behind if there is none.
    pub(super) fn split<'a>(&self, line: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        let (found, width) = match self {
            Self::Blank => (line.iter().position(|b| matches!(b, b' ' | b'\t')), 1),
            Self::Byte(byte) => (memchr::memchr(*byte, line), 1),
            Self::Text(finder) => (finder.find(line), finder.needle().len()),
        };
        match found {
            None => (line, None),
            Some(place) => {
                let behind = &line[place + width..];
                let behind = if matches!(self, Self::Blank) {
                    behind.trim_ascii_start()
                } else {
                    behind
                };
                (&line[..place], Some(behind))
            }
        }
    }
}

/// What is wrong with a separator.
pub(super) fn wrong_separator(separator: &str) -> Option<&'static str> {
    if separator.is_empty() {
        Some("a separator is needed, as in \",\"")
    } else if separator.contains('\n') {
        Some("a line ends at its line end: nothing in it can be parted by one")
    } else if separator.contains(|found: char| found.is_ascii_digit()) {
        Some("a separator with a digit in it would cut numbers apart")
    } else {
        None
    }
}

/// Whether the separator parts a line wherever `text` stands.
pub(super) fn cuts(separator: &str, text: &str) -> bool {
    match separator {
        " " => text.contains([' ', '\t']),
        separator => !separator.is_empty() && text.contains(separator),
    }
}
