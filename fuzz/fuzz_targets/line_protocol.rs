//! Names, values and times of any kind: what is written reads back, bit for bit, or was refused.

#![no_main]

use influxdb_line_protocol::{FieldValue, parse_lines};
use kymo::sink::batch::Lines;
use kymo::sink::influx::line::{EventValue, LineWriter, Precision, Series};
use kymo_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

/// Some bytes as text, whatever they are.
fn text(choices: &mut Choices<'_>) -> String {
    let count = choices.below(12);
    let bytes: Vec<u8> = (0..count).map(|_| choices.byte()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fuzz_target!(|data: &[u8]| {
    let (mut choices, values) = Choices::split(data, 64);
    let measurement = text(&mut choices);
    let tags: Vec<(String, String)> = (0..choices.below(3))
        .map(|_| (text(&mut choices), text(&mut choices)))
        .collect();
    let mut keys: Vec<&String> = tags.iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    // Two tags of one key are a mistake of the configuration.
    if keys.len() < tags.len() {
        return;
    }
    let Ok(mut series) = Series::new(&measurement, &tags) else {
        return;
    };
    let mut fields: Vec<String> = Vec::new();
    for _ in 0..=choices.below(3) {
        let field = text(&mut choices);
        if !fields.contains(&field) && series.add_field(&field, fields.len()).is_ok() {
            fields.push(field);
        }
    }
    let words: Vec<u64> = values
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| u64::from_le_bytes(*bytes))
        .collect();
    let frames = words.len() / (fields.len() + 1);
    let times: Vec<i64> = words[..frames].iter().map(|word| word.cast_signed()).collect();
    let columns: Vec<Vec<f64>> = (1..=fields.len())
        .map(|column| words[column * frames..][..frames].iter().map(|word| f64::from_bits(*word)).collect())
        .collect();
    let mut lines = Lines::default();
    let mut writer = LineWriter::new(Precision::Ns);
    let written = writer.frames(&[series.clone()], &times, |column| &columns[column], 0..frames, &mut lines);
    let all = (frames * fields.len()) as u64;
    assert_eq!(written.samples + written.not_finite, all);
    let body = lines.take();
    assert_eq!(body.samples(), written.samples);
    let read = std::str::from_utf8(&body.text).expect("lines are text");
    let mut parsed = parse_lines(read);
    for frame in 0..frames {
        let finite: Vec<usize> = (0..fields.len()).filter(|c| columns[*c][frame].is_finite()).collect();
        if finite.is_empty() {
            continue;
        }
        let line = parsed.next().expect("a line").expect("it reads back");
        assert_eq!(line.series.measurement.to_string(), measurement);
        assert_eq!(line.timestamp, Some(times[frame]));
        let mut expected: Vec<(String, String)> = tags.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
        expected.sort();
        let found: Vec<(String, String)> = line
            .series
            .tag_set
            .iter()
            .flatten()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(line.field_set.len(), finite.len());
        for (column, (key, value)) in finite.iter().zip(&line.field_set) {
            assert_eq!(key.to_string(), fields[*column]);
            match value {
                FieldValue::F64(value) => assert_eq!(value.to_bits(), columns[*column][frame].to_bits()),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(parsed.next().is_none());
    // A text of any kind, in an event.
    let words = text(&mut choices);
    let mut lines = Lines::default();
    writer.event(&series, &[("text", EventValue::Text(&words))], 1, &mut lines);
    let line = std::str::from_utf8(&lines.text).expect("text").to_owned();
    assert_eq!(line.matches('\n').count(), 1);
    assert!(parse_lines(&line).next().expect("a line").is_ok());
});
