//! Expressions in the configuration: compiled, and their mistakes told at their places in the file.

use std::cell::Cell;
use std::ops::Range;

use super::section::{At, Section};
use super::source::ReadSource;
use super::values::Wrong;
use crate::expression::{Channel, Channels, Expression};

/// The channels of a configuration that expressions may name.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    entries: Vec<Entry>,
    /// How many moments a second the expression at hand is evaluated for.
    pub(super) clock_rate_hz: Option<f64>,
    /// A channel was asked for of which not enough is known, because something is wrong where it is declared.
    met_broken: Cell<bool>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Its source's place, and its own place in that.
    pub(super) place: (usize, usize),
    /// `None`: something is wrong where it is declared.
    pub(super) unit: Option<String>,
    pub(super) rate_hz: Option<f64>,
}

impl Catalogue {
    /// The channels of sources.
    pub(super) fn new(sources: &[ReadSource]) -> Self {
        let mut catalogue = Self::default();
        for (place, source) in sources.iter().enumerate() {
            let plan = source.plan.as_ref();
            // A raw channel stands behind those that were declared, and is known by the plan alone.
            let known = plan.map_or(source.channels.len(), |plan| plan.channels.len());
            for channel in 0..known {
                let planned = plan.map(|plan| &plan.channels[channel]);
                let name =
                    planned.map_or_else(|| &source.channels[channel], |planned| &planned.name);
                catalogue.entries.push(Entry {
                    name: format!("{}.{name}", source.name),
                    place: (place, channel),
                    unit: planned.map(|planned| planned.unit.clone()),
                    rate_hz: plan.and_then(|plan| plan.rate_hz),
                });
            }
        }
        catalogue
    }

    /// Adds a channel.
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// The channel of that number, as expressions' inputs count them.
    pub(super) fn entry(&self, channel: usize) -> &Entry {
        &self.entries[channel]
    }

    /// All of them.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Channels for Catalogue {
    fn find(&self, name: &str) -> Option<Channel> {
        let channel = self.entries.iter().position(|entry| entry.name == name)?;
        let entry = &self.entries[channel];
        if entry.unit.is_none() {
            self.met_broken.set(true);
        }
        Some(Channel {
            channel,
            unit: entry.unit.clone().unwrap_or_default(),
            rate_hz: entry.rate_hz,
        })
    }

    fn names(&self) -> Vec<String> {
        self.entries
            .iter()
            .map(|entry| entry.name.clone())
            .collect()
    }

    fn clock_rate_hz(&self) -> Option<f64> {
        self.clock_rate_hz
    }
}

/// The expression that a key holds; `None` if there is a mistake in it, which is told then. An expression over a channel
/// in whose declaration something is wrong is judged once that is right.
pub(super) fn compile(
    section: &Section<'_>,
    key: &str,
    text: &At<String>,
    catalogue: &Catalogue,
) -> Option<Expression> {
    catalogue.met_broken.set(false);
    match Expression::compile(&text.value, catalogue) {
        Ok(_) | Err(_) if catalogue.met_broken.get() => None,
        Ok(expression) => Some(expression),
        Err(errors) => {
            for error in errors {
                let span = within(section.found.text(), &text.span, &error.span);
                let mut wrong = Wrong::new(format!("is wrong: {}", error.what), error.label);
                wrong.help = error.help;
                section.wrong(key, span, &wrong);
            }
            None
        }
    }
}

/// Where bytes of a string's value stand in the file, given where the string stands.
fn within(file: &str, string: &Range<usize>, bytes: &Range<usize>) -> Range<usize> {
    let Some(raw) = file.get(string.clone()) else {
        return string.clone();
    };
    let start = string.start + place(raw, bytes.start);
    // An empty span is where something is missing: one character is shown.
    let end = string.start + place(raw, bytes.end.max(bytes.start));
    start..end.max(start + usize::from(bytes.is_empty()))
}

/// Where a byte of a TOML string's value stands in its raw text, quotes included.
fn place(raw: &str, wanted: usize) -> usize {
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| raw.starts_with(quote))
        .unwrap_or("");
    let mut at = quote.len();
    if quote.len() == 3 {
        // A line end right behind the quotes is no part of the value.
        at += raw[at..].len() - raw[at..].trim_start_matches('\r').len();
        at += usize::from(raw[at..].starts_with('\n'));
    }
    let escapes = quote.starts_with('"');
    let mut value = 0;
    while value < wanted {
        let Some(c) = raw[at..].chars().next() else {
            break;
        };
        if c != '\\' || !escapes {
            at += c.len_utf8();
            value += c.len_utf8();
            continue;
        }
        let escaped = raw[at + 1..].chars().next().unwrap_or(' ');
        let digits = match escaped {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            c if c.is_whitespace() => {
                // A backslash at the end of a line takes all blank space behind it away.
                let rest = &raw[at + 1..];
                at += 1 + rest.len() - rest.trim_start().len();
                continue;
            }
            _ => 0,
        };
        let hex = raw.get(at + 2..at + 2 + digits).unwrap_or("");
        let code = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        value += code.map_or(1, char::len_utf8);
        at = (at + 1 + escaped.len_utf8() + digits).min(raw.len());
        while !raw.is_char_boundary(at) {
            at += 1;
        }
    }
    at.min(raw.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the `$` of a string's value stands in the file.
    #[test]
    fn a_byte_of_a_value_is_found_in_the_file() {
        for string in [
            "\"a $\"",
            "'a $'",
            "\"a\\u00e9\\\"\\t$\"",
            "\"\"\"\na\\\n   b $\"\"\"",
            "'''\r\nµ $'''",
            "\"é\\U0001F600\\x41$\"",
            "'\\$'",
        ] {
            let file = format!("x = {string}\n");
            let table: toml::Table = file.parse().expect("it is TOML");
            let value = table["x"].as_str().expect("it is a string");
            let at = value.find('$').expect("it has one");
            let found = within(&file, &(4..4 + string.len()), &(at..at + 1));
            assert_eq!(&file[found], "$", "{string}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_string_makes_it_panic(raw in "[\"']{0,3}(\\PC|\\\\|\n){0,20}", wanted in 0..40_usize) {
            proptest::prop_assert!(raw.is_char_boundary(place(&raw, wanted)));
        }
    }
}
