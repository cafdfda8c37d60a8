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
mod tests {
    use influxdb_line_protocol::{FieldValue, parse_lines};
    use proptest::prelude::*;

    use super::*;

    fn encode(
        series: &[Series],
        times: &[i64],
        columns: &[Vec<f64>],
        precision: Precision,
    ) -> (String, Written) {
        let mut lines = Lines::default();
        let mut writer = LineWriter::new(precision);
        let written = writer.frames(
            series,
            times,
            |column| &columns[column],
            0..times.len(),
            &mut lines,
        );
        assert_eq!(lines.take().samples(), written.samples);
        let mut lines = Lines::default();
        writer.frames(
            series,
            times,
            |column| &columns[column],
            0..times.len(),
            &mut lines,
        );
        (String::from_utf8(lines.text).expect("text"), written)
    }

    fn series(measurement: &str, tags: &[(&str, &str)], fields: &[&str]) -> Series {
        let tags: Vec<_> = tags
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut series = Series::new(measurement, &tags).expect("names");
        for (column, field) in fields.iter().enumerate() {
            series.add_field(field, column).expect("a name");
        }
        series
    }

    #[test]
    fn a_frame_is_a_line_of_several_fields() {
        let series = series("imu", &[("host", "bench 1"), ("b", "")], &["ax", "ay"]);
        let columns = [vec![1.5, -0.001], vec![2.0, 1e300]];
        let (text, written) = encode(
            &[series],
            &[1_795_420_800_000_000_001, -5],
            &columns,
            Precision::Ns,
        );
        assert_eq!(
            text,
            "imu,host=bench\\ 1 ax=1.5,ay=2.0 1795420800000000001\nimu,host=bench\\ 1 ax=-0.001,ay=1e+300 -5\n"
        );
        assert_eq!(
            written,
            Written {
                samples: 4,
                not_finite: 0
            }
        );
    }

    #[test]
    fn nan_and_infinities_are_left_out_and_counted() {
        let series = series("m", &[], &["a", "b"]);
        let columns = [
            vec![f64::NAN, f64::INFINITY, 1.0],
            vec![3.0, f64::NEG_INFINITY, f64::NAN],
        ];
        let (text, written) = encode(&[series], &[1, 2, 3], &columns, Precision::Ns);
        assert_eq!(text, "m b=3.0 1\nm a=1.0 3\n");
        assert_eq!(
            written,
            Written {
                samples: 2,
                not_finite: 4
            }
        );
    }

    #[test]
    fn times_are_cut_to_their_unit() {
        for (precision, expected) in [
            (Precision::Us, "m a=1.0 1500000\nm a=1.0 -1\n"),
            (Precision::Ms, "m a=1.0 1500\nm a=1.0 -1\n"),
            (Precision::S, "m a=1.0 1\nm a=1.0 -1\n"),
        ] {
            let series = series("m", &[], &["a"]);
            let (text, _) = encode(
                &[series],
                &[1_500_000_000, -1],
                &[vec![1.0, 1.0]],
                precision,
            );
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn names_that_servers_read_differently_are_refused() {
        let mut out = Vec::new();
        let mut push = |name, place| push_name(name, place, &mut out);
        assert_eq!(push("", Place::TagValue), Err(Unwritable::Empty));
        assert_eq!(push("a\nb", Place::TagValue), Err(Unwritable::Control));
        assert_eq!(push("a\\", Place::TagKey), Err(Unwritable::Backslash));
        assert_eq!(push("#a", Place::Measurement), Err(Unwritable::Comment));
        assert_eq!(push("time", Place::FieldKey), Err(Unwritable::Time));
        assert_eq!(push("time", Place::Measurement), Ok(()));
    }

    #[test]
    fn an_event_is_a_line_without_samples() {
        let series = series("events", &[("event", "alert")], &[]);
        let mut lines = Lines::default();
        let fields = [
            ("text", EventValue::Text("a \"b\" \\ c\nd")),
            ("value", EventValue::Number(2.5)),
            ("limit", EventValue::Number(f64::NAN)),
        ];
        LineWriter::new(Precision::Ns).event(&series, &fields, 7, &mut lines);
        assert_eq!(
            lines.text,
            br#"events,event=alert text="a \"b\" \\ c d",value=2.5 7
"#
        );
        assert_eq!(lines.take().samples(), 0);
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9 ,=._/°µ-]{1,12}".prop_filter("a key of its own", |name| name != "time")
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            any::<i16>().prop_map(|integer| f64::from(integer) * 0.0011970964),
            Just(-0.0),
            Just(f64::NAN),
            Just(f64::MAX),
            Just(f64::MIN_POSITIVE / 3.0),
        ]
    }

    proptest! {
        /// What the parser of InfluxDB 3 reads is what was written, bit for bit.
        #[test]
        fn what_is_written_reads_back(
            measurement in name(),
            tags in proptest::collection::btree_map(name(), name(), 0..4),
            fields in proptest::collection::btree_set(name(), 1..5),
            frames in proptest::collection::vec((any::<i64>(), proptest::collection::vec(value(), 5)), 1..8),
        ) {
            let tags: Vec<(String, String)> = tags.into_iter().collect();
            let mut series = Series::new(&measurement, &tags).expect("names");
            let fields: Vec<String> = fields.into_iter().collect();
            for (column, field) in fields.iter().enumerate() {
                series.add_field(field, column).expect("a name");
            }
            let times: Vec<i64> = frames.iter().map(|(time, _)| *time).collect();
            let columns: Vec<Vec<f64>> = (0..fields.len())
                .map(|column| frames.iter().map(|(_, values)| values[column]).collect())
                .collect();
            let (text, written) = encode(&[series], &times, &columns, Precision::Ns);
            let mut lines = parse_lines(&text);
            let mut samples = 0;
            for (frame, time) in times.iter().enumerate() {
                let finite: Vec<usize> = (0..fields.len()).filter(|c| columns[*c][frame].is_finite()).collect();
                if finite.is_empty() {
                    continue;
                }
                let line = lines.next().expect("a line").map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
                prop_assert_eq!(line.series.measurement.to_string(), measurement.as_str());
                let read: Vec<(String, String)> = line.series.tag_set.iter().flatten()
                    .map(|(key, value)| (key.to_string(), value.to_string())).collect();
                prop_assert_eq!(&read, &tags);
                prop_assert_eq!(line.timestamp, Some(*time));
                prop_assert_eq!(line.field_set.len(), finite.len());
                for (column, (key, value)) in finite.iter().zip(&line.field_set) {
                    prop_assert_eq!(key.to_string(), fields[*column].as_str());
                    let FieldValue::F64(read) = value else { panic!("{value:?}") };
                    prop_assert_eq!(read.to_bits(), columns[*column][frame].to_bits());
                    samples += 1;
                }
            }
            prop_assert!(lines.next().is_none());
            prop_assert_eq!(samples, written.samples);
            prop_assert_eq!(written.samples + written.not_finite, (times.len() * fields.len()) as u64);
        }

        /// Any name is written so that it reads back, or refused.
        #[test]
        fn any_name_reads_back_or_is_refused(measurement in "\\PC{0,8}|.{0,8}", value in "\\PC{0,8}|.{0,8}", text in ".{0,12}") {
            let tags = [("k".to_owned(), value.clone())];
            let Ok(series) = Series::new(&measurement, &tags) else { return Ok(()) };
            let mut lines = Lines::default();
            LineWriter::new(Precision::Ns).event(&series, &[("text", EventValue::Text(&text))], 1, &mut lines);
            let written = String::from_utf8(lines.text).expect("text");
            let line = parse_lines(&written).next().expect("a line").map_err(|error| TestCaseError::fail(format!("{error}: {written}")))?;
            prop_assert_eq!(line.series.measurement.to_string(), measurement);
            let read = line.series.tag_set.iter().flatten().next().map(|(_, value)| value.to_string());
            prop_assert_eq!(read.unwrap_or_default(), value);
            let FieldValue::String(read) = &line.field_set[0].1 else { panic!("{line}") };
            let expected: String = text.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect();
            prop_assert_eq!(read.to_string(), expected);
        }
    }
}
