//! How a line holds its values.
//!
//! **Always holds.** Parsing writes a value for every channel, or says that it could not; it allocates nothing.
//!
//! **Must not know.** Where a line began and ended.

use memchr::memmem::Finder;
use regex::bytes::{CaptureLocations, Regex};

use super::columns::Columns;
use super::json::Json;
use super::numbers::Numbers;
use super::options::{Form, Options};
use super::separator::{Separator, cuts, wrong_separator};
use crate::protocol::OptionsError;

pub(super) struct Parser {
    form: Compiled,
    numbers: Numbers,
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
    Columns {
        separator: Separator,
        columns: Columns,
    },
    Json(Json),
    Pattern {
        regex: Regex,
        groups: Vec<usize>,
        locations: CaptureLocations,
    },
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Values,
    /// It names the columns.
    Header,
    Corrupt,
}

impl Parser {
    /// # Errors
    /// Every mistake in the declaration.
    pub(super) fn new(options: &Options) -> Result<Self, Vec<OptionsError>> {
        let (form, keys) = (&options.form, &options.keys);
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
        if let Form::Separated { separator }
        | Form::KeyValue { separator, .. }
        | Form::Columns { separator } = form
        {
            if let Some(what) = wrong_separator(separator) {
                mistake("separator", what.to_owned());
            } else if options.decimal_comma && separator.contains(',') {
                let what = "with a decimal comma no comma can part values: use \";\"";
                mistake("separator", what.to_owned());
            }
            let suffixes = options.suffixes.iter().enumerate();
            for (index, suffix) in suffixes.filter_map(|(i, s)| Some((i, s.as_ref()?))) {
                if cuts(separator, &suffix.unit) {
                    let what = format!("the separator would cut the unit `{}` apart", suffix.unit);
                    mistake(&format!("field {index}"), what);
                }
            }
        }
        if let Form::KeyValue { separator, assign } = form
            && (*assign == '\n' || cuts(separator, assign.encode_utf8(&mut [0; 4])))
        {
            let what = format!("{assign:?} cannot stand between key and value: a pair ends there");
            mistake("assign", what);
        }
        let form = match form {
            Form::Separated { separator } => Some(Compiled::Separated(Separator::new(separator))),
            Form::Columns { separator } => Some(Compiled::Columns {
                separator: Separator::new(separator),
                columns: Columns::new(keys),
            }),
            Form::Json => {
                if options.decimal_comma {
                    let what = "a number in JSON has a decimal point";
                    mistake("decimal", what.to_owned());
                }
                match Json::new(keys) {
                    Ok(json) => Some(Compiled::Json(json)),
                    Err(wrong) => {
                        for (index, what) in wrong {
                            mistake(&format!("field {index}"), what);
                        }
                        None
                    }
                }
            }
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
                    numbers: Numbers::new(&options.suffixes, keys.len(), options.decimal_comma),
                    seen: vec![false; keys.len()],
                    keys,
                })
            }
            _ => Err(mistakes),
        }
    }

    /// Reads the values of a line, its end left out, into `row`.
    pub(super) fn parse(&mut self, line: &[u8], row: &mut [f64]) -> Line {
        let text = line.trim_ascii();
        let numbers = &self.numbers;
        let holds = match &mut self.form {
            Compiled::Separated(separator) => {
                separated(separator, numbers, separator.trim(line), row)
            }
            Compiled::Columns { separator, columns } => {
                if std::str::from_utf8(text).is_err() {
                    return Line::Corrupt;
                }
                return columns.parse(separator, numbers, separator.trim(line), row);
            }
            Compiled::Json(json) => {
                std::str::from_utf8(text).is_ok() && json.parse(numbers, &mut self.seen, text, row)
            }
            Compiled::KeyValue { separator, assign } => {
                std::str::from_utf8(text).is_ok()
                    && key_value(
                        separator,
                        assign,
                        numbers,
                        &self.keys,
                        &mut self.seen,
                        text,
                        row,
                    )
            }
            Compiled::Pattern {
                regex,
                groups,
                locations,
            } => {
                std::str::from_utf8(text).is_ok()
                    && regex.captures_read(locations, text).is_some()
                    && groups
                        .iter()
                        .zip(row)
                        .enumerate()
                        .all(|(channel, (group, value))| {
                            let found = locations.get(*group);
                            let found = found.and_then(|(a, b)| numbers.read(channel, &text[a..b]));
                            found.map(|number| *value = number).is_some()
                        })
            }
        };
        if holds { Line::Values } else { Line::Corrupt }
    }

    /// A comment, its mark left out: where a header line names the columns, it may be one.
    pub(super) fn comment(&mut self, text: &[u8]) {
        if let Compiled::Columns { separator, columns } = &mut self.form
            && std::str::from_utf8(text).is_ok()
        {
            columns.name(separator, separator.trim(text));
        }
    }

    /// The link was opened anew: what was named need not hold any more.
    pub(super) fn reset(&mut self) {
        if let Compiled::Columns { columns, .. } = &mut self.form {
            columns.forget();
        }
    }
}

/// Whether a key-value line can hold the key as it is.
fn can_stand(key: &str, separator: &str, assign: char) -> bool {
    !key.is_empty()
        && key.trim_ascii() == key
        && !key.contains(['\n', assign])
        && !cuts(separator, key)
}

fn separated(separator: &Separator, numbers: &Numbers, line: &[u8], row: &mut [f64]) -> bool {
    let mut rest = Some(line);
    for (channel, value) in row.iter_mut().enumerate() {
        let Some(text) = rest else { return false };
        let (field, behind) = separator.split(text);
        let Some(number) = numbers.read(channel, field) else {
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
    numbers: &Numbers,
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
        match numbers.read(channel, &pair[at + assign.needle().len()..]) {
            // A key that comes twice with a value each: which of them is right nobody knows.
            Some(number) if !seen[channel] => (row[channel], seen[channel]) = (number, true),
            _ => return false,
        }
    }
    seen.iter().all(|seen| *seen)
}
