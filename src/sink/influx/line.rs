//! Line protocol, straight from a block's columns.
//!
//! What does not change from frame to frame is written once, when a run begins: measurement and tags of each line, and
//! the keys of its fields, all escaped. A frame is then the prefix, its fields, and its time.
//!
//! **Always holds.** A line reads back as what was written, in every dialect: names that servers read differently
//! (control characters, a backslash, a leading `#`, the key `time`) are refused when a [`Series`] is made. Every value is
//! the shortest decimal that reads back as the very same `f64`. NaN and infinities, which the protocol cannot express, are
//! left out and counted; a line that has no field left is not written. In the steady state nothing is allocated.
//!
//! **Must not know.** Where names come from, and who gets the lines.

use crate::sink::batch::Lines;

/// The unit of a line's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Nanoseconds.
    #[default]
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

impl Precision {
    /// Names in a configuration.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("ns", Self::Ns),
        ("us", Self::Us),
        ("ms", Self::Ms),
        ("s", Self::S),
    ];

    /// Nanoseconds in one.
    #[must_use]
    pub fn ns(self) -> i64 {
        match self {
            Self::Ns => 1,
            Self::Us => 1_000,
            Self::Ms => 1_000_000,
            Self::S => 1_000_000_000,
        }
    }
}

/// Why a name cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// There must be something.
    #[error("is empty")]
    Empty,
    /// Lines end at newlines, whatever stands before them.
    #[error("holds a control character")]
    Control,
    /// No two servers agree on what it means.
    #[error("holds a backslash, which servers read differently")]
    Backslash,
    /// The line would be a comment.
    #[error("begins with `#`, which makes a line a comment")]
    Comment,
    /// The line's own time is called so.
    #[error("is `time`, which is the time of the line")]
    Time,
}

/// Where a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The measurement.
    Measurement,
    /// A tag's key.
    TagKey,
    /// A tag's value.
    TagValue,
    /// A field's key.
    FieldKey,
}

/// Appends a name with what is special at its place escaped.
///
/// # Errors
/// If no server would read it as it is meant.
pub fn push_name(name: &str, place: Place, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    if name.is_empty() {
        return Err(Unwritable::Empty);
    }
    if name.chars().any(char::is_control) {
        return Err(Unwritable::Control);
    }
    if name.contains('\\') {
        return Err(Unwritable::Backslash);
    }
    match place {
        Place::Measurement if name.starts_with('#') => return Err(Unwritable::Comment),
        Place::TagKey | Place::FieldKey if name == "time" => return Err(Unwritable::Time),
        _ => {}
    }
    for byte in name.bytes() {
        if matches!(byte, b',' | b' ') || (byte == b'=' && place != Place::Measurement) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    Ok(())
}

/// A field and the column its values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    column: usize,
    /// `,key=`
    key: Vec<u8>,
}

/// One series: a measurement with its tags, and fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// `measurement,key=value `
    prefix: Vec<u8>,
    fields: Vec<Field>,
}

impl Series {
    /// A series without fields. Tags are sorted by their keys, as servers like them; empty ones are left out.
    ///
    /// # Errors
    /// If a name cannot be written.
    pub fn new(measurement: &str, tags: &[(String, String)]) -> Result<Self, Unwritable> {
        let mut prefix = Vec::new();
        push_name(measurement, Place::Measurement, &mut prefix)?;
        let mut tags: Vec<&(String, String)> = tags.iter().filter(|(_, v)| !v.is_empty()).collect();
        tags.sort();
        for (key, value) in tags {
            prefix.push(b',');
            push_name(key, Place::TagKey, &mut prefix)?;
            prefix.push(b'=');
            push_name(value, Place::TagValue, &mut prefix)?;
        }
        prefix.push(b' ');
        Ok(Self {
            prefix,
            fields: Vec::new(),
        })
    }

    /// Adds a field whose values are in a column.
    ///
    /// # Errors
    /// If its name cannot be written.
    pub fn add_field(&mut self, name: &str, column: usize) -> Result<(), Unwritable> {
        let mut key = vec![b','];
        push_name(name, Place::FieldKey, &mut key)?;
        key.push(b'=');
        self.fields.push(Field { column, key });
        Ok(())
    }

    /// Whether another is the same series: their fields belong into one line.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.prefix == other.prefix
    }

    /// Columns it writes.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// The most bytes of a line: a value takes 24, a time 20.
    fn bytes_max(&self) -> usize {
        let fields = self.fields.iter().map(|field| field.key.len() + 24);
        self.prefix.len() + fields.sum::<usize>() + 22
    }
}

/// Writes frames as lines, and remembers the digits of the second it was in.
#[derive(Debug, Default)]
pub struct LineWriter {
    precision: Precision,
    second: i64,
    /// The digits of `second`; empty: none yet.
    digits: Vec<u8>,
}

/// What came of some frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Values in lines.
    pub samples: u64,
    /// Values that a line cannot hold.
    pub not_finite: u64,
}

const SECOND_NS: i64 = 1_000_000_000;

impl LineWriter {
    /// Writes times in this unit, cut to it.
    #[must_use]
    pub fn new(precision: Precision) -> Self {
        Self {
            precision,
            ..Self::default()
        }
    }

    /// Appends lines for the frames that `frames` names: one for each series.
    pub fn frames<'c>(
        &mut self,
        series: &[Series],
        times_ns: &[i64],
        column: impl Fn(usize) -> &'c [f64],
        frames: impl Iterator<Item = usize> + Clone,
        out: &mut Lines,
    ) -> Written {
        let count = frames.clone().count();
        let bytes: usize = series.iter().map(Series::bytes_max).sum();
        out.text.reserve(bytes * count);
        let mut written = Written::default();
        let mut number = zmij::Buffer::new();
        for frame in frames {
            let Some(time_ns) = times_ns.get(frame) else {
                break;
            };
            for series in series {
                let start = out.text.len();
                out.text.extend_from_slice(&series.prefix);
                let mut samples = 0;
                for field in &series.fields {
                    let value = column(field.column)[frame];
                    if !value.is_finite() {
                        written.not_finite += 1;
                        continue;
                    }
                    // The first field has no comma before it.
                    out.text
                        .extend_from_slice(&field.key[usize::from(samples == 0)..]);
                    out.text
                        .extend_from_slice(number.format_finite(value).as_bytes());
                    samples += 1;
                }
                if samples == 0 {
                    out.text.truncate(start);
                    continue;
                }
                self.push_time(*time_ns, &mut out.text);
                out.end_line(samples);
                written.samples += u64::from(samples);
            }
        }
        written
    }

    /// Appends an event: a line that holds no sample.
    pub fn event(
        &mut self,
        series: &Series,
        fields: &[(&str, EventValue<'_>)],
        time_ns: i64,
        out: &mut Lines,
    ) {
        let start = out.text.len();
        out.text.extend_from_slice(&series.prefix);
        let mut count = 0;
        for (key, value) in fields {
            let before = out.text.len();
            if count > 0 {
                out.text.push(b',');
            }
            let named = push_name(key, Place::FieldKey, &mut out.text);
            out.text.push(b'=');
            match value {
                EventValue::Number(number) if number.is_finite() && named.is_ok() => {
                    let mut buffer = zmij::Buffer::new();
                    out.text
                        .extend_from_slice(buffer.format_finite(*number).as_bytes());
                    count += 1;
                }
                EventValue::Text(text) if named.is_ok() => {
                    push_text(text, &mut out.text);
                    count += 1;
                }
                _ => out.text.truncate(before),
            }
        }
        if count == 0 {
            out.text.truncate(start);
            return;
        }
        self.push_time(time_ns, &mut out.text);
        out.end_line(0);
    }

    /// Appends a space, the time, and the end of the line.
    fn push_time(&mut self, time_ns: i64, out: &mut Vec<u8>) {
        out.push(b' ');
        let second = time_ns.div_euclid(SECOND_NS);
        // Before 1970 a time is no digits of a second with others behind.
        if time_ns < 0 || self.precision != Precision::Ns {
            let mut buffer = itoa::Buffer::new();
            let time = time_ns.div_euclid(self.precision.ns());
            out.extend_from_slice(buffer.format(time).as_bytes());
            out.push(b'\n');
            return;
        }
        if second != self.second || self.digits.is_empty() {
            self.second = second;
            self.digits.clear();
            if second > 0 {
                let mut buffer = itoa::Buffer::new();
                self.digits
                    .extend_from_slice(buffer.format(second).as_bytes());
            }
        }
        let fraction = time_ns.rem_euclid(SECOND_NS);
        if second == 0 {
            let mut buffer = itoa::Buffer::new();
            out.extend_from_slice(buffer.format(fraction).as_bytes());
        } else {
            out.extend_from_slice(&self.digits);
            let mut digits = [b'0'; 10];
            let mut left = fraction.unsigned_abs();
            for place in digits[..9].iter_mut().rev() {
                #[allow(clippy::cast_possible_truncation)] // A digit.
                let digit = (left % 10) as u8;
                *place += digit;
                left /= 10;
            }
            out.extend_from_slice(&digits[..9]);
        }
        out.push(b'\n');
    }
}

/// A field of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EventValue<'a> {
    /// A number; left out if it is not finite.
    Number(f64),
    /// A text.
    Text(&'a str),
}

/// Appends a text in quotes. Control characters become spaces: some servers take a newline for the end of the line,
/// quoted or not.
fn push_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            byte if byte.is_ascii_control() => out.push(b' '),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
