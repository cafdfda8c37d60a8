//! Lines read back by the parser of InfluxDB 3, and by eye.

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
