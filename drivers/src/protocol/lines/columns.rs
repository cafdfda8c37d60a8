//! Lines whose columns a header names.
//!
//! A header is a line that names every channel, once each, among whatever else; it may come again, with the columns in
//! another order, and it may stand behind the mark of a comment. A line that names some of the channels only, and
//! holds no number, says that the device now sends something else: it is corrupt, and so is what follows, up to the
//! next header. So is everything in front of the first one.
//!
//! **Always holds.** No value goes into a channel that the last header did not name.
//!
//! **Must not know.** Where a line began and ended.

use super::form::Line;
use super::numbers::Numbers;
use super::separator::Separator;

pub(super) struct Columns {
    keys: Vec<Vec<u8>>,
    /// For every column, the channel that it is; empty before the first header. Its memory is kept.
    channels: Vec<Option<usize>>,
}

impl Columns {
    pub(super) fn new(keys: &[String]) -> Self {
        Self {
            keys: keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
            channels: Vec::new(),
        }
    }

    pub(super) fn forget(&mut self) {
        self.channels.clear();
    }

    pub(super) fn parse(
        &mut self,
        separator: &Separator,
        numbers: &Numbers,
        line: &[u8],
        row: &mut [f64],
    ) -> Line {
        if self.values(separator, numbers, line, row) {
            return Line::Values;
        }
        if self.name(separator, line) {
            return Line::Header;
        }
        if self.names_some(separator, line) {
            self.forget();
        }
        Line::Corrupt
    }

    fn values(
        &self,
        separator: &Separator,
        numbers: &Numbers,
        line: &[u8],
        row: &mut [f64],
    ) -> bool {
        if self.channels.is_empty() {
            return false;
        }
        let mut rest = Some(line);
        for column in &self.channels {
            let Some(text) = rest else { return false };
            let (field, behind) = separator.split(text);
            if let Some(channel) = *column {
                match numbers.read(channel, field) {
                    Some(number) => row[channel] = number,
                    None => return false,
                }
            }
            rest = behind;
        }
        rest.is_none()
    }

    /// Takes a line as a header if it is one.
    pub(super) fn name(&mut self, separator: &Separator, line: &[u8]) -> bool {
        let place = |field| self.keys.iter().position(|key| *key == name(field));
        let named = || fields(separator, line).filter_map(place);
        let each_once = (0..self.keys.len())
            .all(|channel| named().filter(|found| *found == channel).count() == 1);
        if each_once {
            self.channels.clear();
            self.channels.extend(fields(separator, line).map(place));
        }
        each_once
    }

    fn names_some(&self, separator: &Separator, line: &[u8]) -> bool {
        let mut fields_of = fields(separator, line);
        let is_number = |field: &[u8]| fast_float2::parse::<f64, _>(field.trim_ascii()).is_ok();
        fields_of.any(|field| self.keys.iter().any(|key| *key == name(field)))
            && !fields(separator, line).any(is_number)
    }
}

/// A name without the spaces and the quotes around it.
fn name(field: &[u8]) -> &[u8] {
    match field.trim_ascii() {
        [b'"', inner @ .., b'"'] => inner.trim_ascii(),
        plain => plain,
    }
}

fn fields<'a>(separator: &'a Separator, line: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let (field, behind) = separator.split(rest?);
        rest = behind;
        Some(field)
    })
}
