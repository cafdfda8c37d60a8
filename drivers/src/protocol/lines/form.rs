//! How a line holds its values.
//!
//! **Always holds.** Parsing writes a value for every channel, or says that it could not; it allocates nothing.
//!
//! **Must not know.** Where a line began and ended.

use memchr::memmem::Finder;
use regex::bytes::{CaptureLocations, Regex};

use super::options::Form;
use crate::protocol::OptionsError;

pub(super) struct Parser {
    form: Compiled,
    keys: Vec<Vec<u8>>,
    /// Which channels a key-value line has named.
    seen: Vec<bool>,
}

enum Compiled {
    Separated(Separator),
    KeyValue {
        separator: Separator,
        assign: Box<Finder<'static>>,
    },
    Pattern {
        regex: Regex,
        groups: Vec<usize>,
        locations: CaptureLocations,
    },
}

enum Separator {
    /// Any run of spaces and tabs.
    Blank,
    Byte(u8),
    Text(Box<Finder<'static>>),
}

impl Separator {
    fn new(text: &str) -> Self {
        match text.as_bytes() {
            b" " => Self::Blank,
            [byte] => Self::Byte(*byte),
            bytes => Self::Text(Box::new(Finder::new(bytes).into_owned())),
        }
    }

    /// The line without the spaces around it. A tab that parts values is none: it begins or ends an
    /// empty value, and without it the values would shift into the wrong channels.
    fn trim<'a>(&self, mut line: &'a [u8]) -> &'a [u8] {
        if !matches!(self, Self::Byte(b'\t')) {
            return line.trim_ascii();
        }
        while let [b' ' | b'\r', rest @ ..] | [rest @ .., b' ' | b'\r'] = line {
            line = rest;
        }
        line
    }

    /// The bytes before the next separator, and those behind it; `None` behind if there is none.
    fn split<'a>(&self, line: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
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

impl Parser {
    /// # Errors
    /// Every mistake in the declaration.
    pub(super) fn new(form: &Form, keys: &[String]) -> Result<Self, Vec<OptionsError>> {
        let mut mistakes = Vec::new();
        let mut mistake = |part: &str, what: String| {
            mistakes.push(OptionsError {
                part: part.to_owned(),
                what,
            });
        };
        if keys.is_empty() {
            mistake("field", "at least one channel is needed".to_owned());
        }
        for (index, key) in keys.iter().enumerate() {
            let wrong = match form {
                Form::Separated { .. } => None,
                _ if keys[..index].contains(key) => {
                    Some(format!("the key `{key}` stands for two channels"))
                }
                Form::KeyValue { separator, assign } if !can_stand(key, separator, *assign) => {
                    Some(format!("no line can hold the key `{key}`"))
                }
                _ => None,
            };
            if let Some(what) = wrong {
                mistake(&format!("field {index}"), what);
            }
        }
        if let Form::Separated { separator } | Form::KeyValue { separator, .. } = form
            && let Some(what) = wrong_separator(separator)
        {
            mistake("separator", what.to_owned());
        }
        if let Form::KeyValue { separator, assign } = form
            && (*assign == '\n' || cuts(separator, assign.encode_utf8(&mut [0; 4])))
        {
            let what = format!("{assign:?} cannot stand between key and value: a pair ends there");
            mistake("assign", what);
        }
        let form = match form {
            Form::Separated { separator } => Some(Compiled::Separated(Separator::new(separator))),
            Form::KeyValue { separator, assign } => Some(Compiled::KeyValue {
                separator: Separator::new(separator),
                assign: Box::new(Finder::new(assign.encode_utf8(&mut [0; 4])).into_owned()),
            }),
            Form::Pattern { pattern } => match Regex::new(pattern) {
                Err(error) => {
                    mistake("pattern", error.to_string());
                    None
                }
                Ok(regex) => {
                    let place = |key: &String| {
                        regex
                            .capture_names()
                            .position(|name| name == Some(key.as_str()))
                    };
                    let groups: Vec<Option<usize>> = keys.iter().map(place).collect();
                    for (key, group) in keys.iter().zip(&groups) {
                        if group.is_none() {
                            mistake(
                                "pattern",
                                format!("it has no group (?<{key}>…) for the channel `{key}`"),
                            );
                        }
                    }
                    let (groups, locations) = (
                        groups.into_iter().flatten().collect(),
                        regex.capture_locations(),
                    );
                    Some(Compiled::Pattern {
                        regex,
                        groups,
                        locations,
                    })
                }
            },
        };
        match form {
            Some(form) if mistakes.is_empty() => {
                let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
                Ok(Self {
                    form,
                    seen: vec![false; keys.len()],
                    keys,
                })
            }
            _ => Err(mistakes),
        }
    }

    /// Reads the values of a line, its end left out, into `row`; false if it does not hold them.
    pub(super) fn parse(&mut self, line: &[u8], row: &mut [f64]) -> bool {
        let text = line.trim_ascii();
        match &mut self.form {
            Compiled::Separated(separator) => separated(separator, separator.trim(line), row),
            Compiled::KeyValue { separator, assign } => {
                std::str::from_utf8(text).is_ok()
                    && key_value(separator, assign, &self.keys, &mut self.seen, text, row)
            }
            Compiled::Pattern {
                regex,
                groups,
                locations,
            } => {
                std::str::from_utf8(text).is_ok()
                    && regex.captures_read(locations, text).is_some()
                    && groups.iter().zip(row).all(|(group, value)| {
                        let found = locations.get(*group).and_then(|(a, b)| number(&text[a..b]));
                        found.map(|number| *value = number).is_some()
                    })
            }
        }
    }
}

fn wrong_separator(separator: &str) -> Option<&'static str> {
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
fn cuts(separator: &str, text: &str) -> bool {
    match separator {
        " " => text.contains([' ', '\t']),
        separator => !separator.is_empty() && text.contains(separator),
    }
}

/// Whether a key-value line can hold the key as it is.
fn can_stand(key: &str, separator: &str, assign: char) -> bool {
    !key.is_empty()
        && key.trim_ascii() == key
        && !key.contains(['\n', assign])
        && !cuts(separator, key)
}

fn separated(separator: &Separator, line: &[u8], row: &mut [f64]) -> bool {
    let mut rest = Some(line);
    for value in row {
        let Some(text) = rest else { return false };
        let (field, behind) = separator.split(text);
        let Some(number) = number(field) else {
            return false;
        };
        *value = number;
        rest = behind;
    }
    rest.is_none()
}

fn key_value(
    separator: &Separator,
    assign: &Finder<'_>,
    keys: &[Vec<u8>],
    seen: &mut [bool],
    line: &[u8],
    row: &mut [f64],
) -> bool {
    seen.fill(false);
    let mut rest = Some(line);
    while let Some(text) = rest {
        let (pair, behind) = separator.split(text);
        let pair = pair.trim_ascii();
        rest = behind;
        let Some(at) = assign.find(pair) else {
            continue;
        };
        let key = pair[..at].trim_ascii();
        let Some(channel) = keys.iter().position(|known| known == key) else {
            continue;
        };
        match number(&pair[at + assign.needle().len()..]) {
            // A key that comes twice with a value each: which of them is right nobody knows.
            Some(number) if !seen[channel] => (row[channel], seen[channel]) = (number, true),
            _ => return false,
        }
    }
    seen.iter().all(|seen| *seen)
}

fn number(text: &[u8]) -> Option<f64> {
    fast_float2::parse(text.trim_ascii()).ok()
}
