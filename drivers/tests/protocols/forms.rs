//! The forms of a line beyond plain values: header lines, JSON, units.

use proptest::prelude::*;
use serde_json::Value;

use kymo_drivers::protocol::{Options, lines};

use crate::common::{Decoded, Feed, Row, whole};
use crate::kinds::{Kind, text};

fn lines(form: lines::Form, keys: &[&str], change: impl FnOnce(&mut lines::Options)) -> Options {
    let mut options = text(form);
    if let Options::Lines(lines) = &mut options {
        lines.keys = keys.iter().map(|key| (*key).to_owned()).collect();
        lines.line_bytes_max = 4096;
        change(lines);
    }
    options
}

fn decode(options: &Options, text: &str) -> Decoded {
    whole(options.build().unwrap(), text.as_bytes())
}

fn columns() -> Options {
    let form = lines::Form::Columns {
        separator: ",".to_owned(),
    };
    lines(form, &["x", "y"], |_| {})
}

fn json(keys: &[&str]) -> Options {
    lines(lines::Form::Json, keys, |_| {})
}

#[track_caller]
fn assert_rows(decoded: &Decoded, rows: &[&[f64]], corrupt: u64) {
    let rows: Vec<Row> = rows.iter().map(|row| Row(row.to_vec())).collect();
    assert_eq!(decoded.rows, rows);
    assert_eq!(decoded.tally.corrupt_frames, corrupt);
}

#[test]
fn columns_are_found_by_name_in_whatever_order_and_others_are_passed_over() {
    let decoded = decode(&columns(), "t,y,x,note\n12:00,2,1,ok\n12:01,4,3,\n");
    assert_rows(&decoded, &[&[1.0, 2.0], &[3.0, 4.0]], 0);
}

#[test]
fn lines_before_the_first_header_are_corrupt_and_a_new_header_may_reorder() {
    let decoded = decode(&columns(), "1,2\nx,y\n1,2\n\"y\" , \"x\"\n3,4\n");
    assert_rows(&decoded, &[&[1.0, 2.0], &[4.0, 3.0]], 1);
}

#[test]
fn a_header_may_be_a_comment_and_any_other_comment_is_passed_over() {
    let decoded = decode(&columns(), "# x, y\n1,2\n# x alone\n3,4\n# y, x\n5,6\n");
    assert_rows(&decoded, &[&[1.0, 2.0], &[3.0, 4.0], &[6.0, 5.0]], 0);
}

#[test]
fn a_header_without_a_channel_is_corrupt_and_so_is_what_follows_it() {
    let decoded = decode(&columns(), "x,y\n1,2\nx,z\n3,4\n5,6\nx,y\n7,8\n");
    assert_rows(&decoded, &[&[1.0, 2.0], &[7.0, 8.0]], 3);
    // What names nothing known is noise, and changes nothing.
    let decoded = decode(&columns(), "x,y\n1,2\nERROR,7\n3,4\n");
    assert_rows(&decoded, &[&[1.0, 2.0], &[3.0, 4.0]], 1);
    // Which of two columns of one name is meant nobody knows.
    assert_rows(&decode(&columns(), "x,y,x\n1,2,3\n"), &[], 2);
}

#[test]
fn a_line_with_another_number_of_columns_than_its_header_is_corrupt() {
    let decoded = decode(&columns(), "x,y,z\n1,2\n1,2,3\n1,2,3,4\n");
    assert_rows(&decoded, &[&[1.0, 2.0]], 2);
}

#[test]
fn after_a_reconnect_columns_are_named_anew() {
    let mut feed = Feed::new(columns().build().unwrap(), 16);
    feed.feed(b"x,y\n1,2\n");
    feed.reset();
    feed.feed(b"3,4\ny,x\n5,6\n");
    assert_rows(&feed.decoded, &[&[1.0, 2.0], &[6.0, 5.0]], 1);
}

#[test]
fn paths_lead_into_objects_and_arrays() {
    let options = json(&["imu.accel[0]", "imu.accel[2]", "[\"a.b\"].c", "t"]);
    let line =
        r#"{"t":1e3,"imu":{"accel":[-0.5,null,2.5],"mag":[1,{"x":[]}]},"a.b":{"c":7},"s":"}\"\\"}"#;
    assert_rows(
        &decode(&options, &format!("{line}\n  {line}  \r\n")),
        &[&[-0.5, 2.5, 7.0, 1e3][..]; 2],
        0,
    );
    let options = json(&["[1]", "[0][1]"]);
    assert_rows(&decode(&options, "[[1,2],3]\n"), &[&[3.0, 2.0]], 0);
}

#[test]
fn null_is_no_value_truth_is_one_and_a_string_may_hold_a_number() {
    let decoded = decode(
        &json(&["a", "b", "c", "d"]),
        "{\"a\":null,\"b\":true,\"c\":false,\"d\":\" 4.5 \"}\n",
    );
    assert_rows(&decoded, &[&[f64::NAN, 1.0, 0.0, 4.5]], 0);
}

#[test]
fn what_is_no_json_or_lacks_a_value_is_corrupt() {
    let options = json(&["a", "b[1]"]);
    let good = "{\"a\":1,\"b\":[0,2]}";
    for bad in [
        "{\"a\":1,\"b\":[0]}",
        "{\"a\":1}",
        "{\"a\":{},\"b\":[0,2]}",
        "{\"a\":\"x\",\"b\":[0,2]}",
        "{\"a\":01,\"b\":[0,2]}",
        "{\"a\":1.,\"b\":[0,2]}",
        "{\"a\":+1,\"b\":[0,2]}",
        "{\"a\":1e999,\"b\":[0,2]}",
        "{\"a\":1,\"b\":[0,2],}",
        "{\"a\":1,\"b\":[0,2,]}",
        "{\"a\":1 \"b\":[0,2]}",
        "{\"a\":1,\"b\":[0,2]} x",
        "{\"a\":1,\"a\":2,\"b\":[0,2]}",
        "{\"a\":1,\"b\":[0,2],\"b\":[]}",
        "{a:1,\"b\":[0,2]}",
        "[1,2]",
        "5",
        "{\"a\":1,\"b\":[0,2],\"c\":\"\\x\"}",
        "{\"a\":1,\"b\":[0,2],\"c\":\"\t\"}",
        "{\"a\":1,\"b\":[0,2],\"c\":tru}",
        "{\"a\":NaN,\"b\":[0,2]}",
        "{\"a\":1,\"b\":[0,2]",
        "{\"a\":1,\"b\":[0,2],\"c\":\"\\ud800\"}",
    ] {
        assert_rows(
            &decode(&options, &format!("{bad}\n{good}\n")),
            &[&[1.0, 2.0]],
            1,
        );
    }
}

#[test]
fn nesting_without_end_is_given_up() {
    let deep = |depth: usize| {
        format!(
            "{{\"a\":1,\"b\":{}{}}}\n",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert_rows(&decode(&json(&["a"]), &deep(63)), &[&[1.0]], 0);
    assert_rows(&decode(&json(&["a"]), &deep(64)), &[], 1);
    assert_rows(&decode(&json(&["a"]), &deep(2_000)), &[], 1);
}

#[test]
fn keys_are_compared_without_their_escapes() {
    let decoded = decode(
        &json(&["t\u{e9}", "\u{1f600}"]),
        "{\"t\\u00e9\":1,\"\\ud83d\\ude00\":2}\n",
    );
    assert_rows(&decoded, &[&[1.0, 2.0]], 0);
}

#[test]
fn paths_that_cannot_both_be_values_are_told() {
    for keys in [
        &["a", "a.b"][..],
        &["a.b", "a"],
        &["[0]", "a", "[0].x"],
        &["a..b"],
        &[".a"],
        &["a["],
        &["a[x]"],
        &[""],
    ] {
        assert!(json(keys).build().is_err(), "{keys:?}");
    }
}

#[test]
fn units_are_required_taken_away_and_converted_in_every_form() {
    let volts = |lines: &mut lines::Options| {
        lines.suffixes = vec![Some(lines::Suffix {
            unit: "V".to_owned(),
            prefixes: true,
        })];
    };
    let rows: &[&[f64]] = &[&[0.005], &[5.0]];
    let spaced = lines::Form::Separated {
        separator: ",".to_owned(),
    };
    assert_rows(
        &decode(&lines(spaced, &["u"], volts), "5 mV\n5V\n5\n5 A\n5 mA\n"),
        rows,
        3,
    );
    let pairs = lines::Form::KeyValue {
        separator: ",".to_owned(),
        assign: '=',
    };
    assert_rows(
        &decode(&lines(pairs, &["u"], volts), "t=1,u=5 mV\nu=5V\nu=5\n"),
        rows,
        1,
    );
    assert_rows(
        &decode(
            &lines(lines::Form::Json, &["u"], volts),
            "{\"u\":\"5 mV\"}\n{\"u\":\"5 V\"}\n{\"u\":5}\n",
        ),
        rows,
        1,
    );
    let pattern = lines::Form::Pattern {
        pattern: "U=(?<u>.*);".to_owned(),
    };
    assert_rows(
        &decode(&lines(pattern, &["u"], volts), "U=5 mV;\nU=5V;\nU=5;\n"),
        rows,
        1,
    );
    let columns = lines::Form::Columns {
        separator: ";".to_owned(),
    };
    assert_rows(
        &decode(&lines(columns, &["u"], volts), "t;u\n0;5 mV\n0;5 V\n0;5\n"),
        rows,
        1,
    );
}

#[test]
fn what_cannot_be_declared_of_a_line_is_told() {
    let wrong = |kind: Kind, change: fn(&mut lines::Options), part: &str| {
        let Options::Lines(mut options) = kind.options() else {
            panic!("it is text");
        };
        change(&mut options);
        let mistakes = Options::Lines(options)
            .build()
            .err()
            .expect("it cannot work");
        assert!(
            mistakes.iter().any(|mistake| mistake.part == part),
            "{mistakes:?}"
        );
    };
    fn unit(lines: &mut lines::Options, unit: &str) {
        lines.suffixes = vec![
            None,
            Some(lines::Suffix {
                unit: unit.to_owned(),
                prefixes: false,
            }),
        ];
    }
    wrong(Kind::Separated, |o| o.decimal_comma = true, "separator");
    wrong(Kind::Columns, |o| o.decimal_comma = true, "separator");
    wrong(Kind::Json, |o| o.decimal_comma = true, "decimal");
    wrong(Kind::Separated, |o| unit(o, "a,b"), "field 1");
    wrong(Kind::Separated, |o| unit(o, ""), "field 1");
    wrong(Kind::Separated, |o| unit(o, " V"), "field 1");
    wrong(Kind::Separated, |o| unit(o, "3dB"), "field 1");
    wrong(Kind::KeyValue, |o| unit(o, "m s"), "field 1");
    wrong(Kind::Columns, |o| o.keys[0] = o.keys[1].clone(), "field 1");
}

/// JSON of all sorts, most of it with what is looked for.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop_oneof!["[xyv]", ".{0,3}"], inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// The number that a JSON value is.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64(),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// Against `serde_json`, the text whole or with a byte of it changed.
    #[test]
    fn json_is_what_serde_takes_for_it(
        mut map in prop::collection::btree_map(prop_oneof!["[xy]", ".{0,3}"], value(), 0..4),
        x in prop::option::of(value()),
        v in prop::option::of(prop::collection::vec(value(), 0..4)),
        pretty in any::<bool>(),
        change in prop::option::of((any::<usize>(), prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\ 0e.-tn"[..])])),
    ) {
        map.extend(x.map(|x| ("x".to_owned(), x)));
        map.extend(v.map(|v| ("v".to_owned(), v.into())));
        let map = Value::from(map.into_iter().collect::<serde_json::Map<_, _>>());
        let mut text = if pretty { format!("{map:#}").replace('\n', " ") } else { map.to_string() }.into_bytes();
        if let Some((place, byte)) = change {
            let place = place % text.len();
            text[place] = if byte == b'\n' { b' ' } else { byte };
        }
        text.push(b'\n');
        let options = lines(lines::Form::Json, &["x", "v[1]"], |lines| {
            lines.comment = None;
            lines.line_bytes_max = 1 << 20;
        });
        let decoded = whole(options.build().unwrap(), &text);
        let text = &text[..text.len() - 1];
        let serde: Option<Value> = serde_json::from_slice(text).ok();
        let expected = serde.and_then(|value| Some([number(value.get("x")?)?, number(value.get("v")?.get(1)?)?]));
        let found = decoded.rows.first().map(|row| [row.0[0], row.0[1]]);
        // Strings that hold numbers are taken, and keys that come twice are not: there it is another language.
        let differs = found.is_none() && is_doubled(text) || expected.is_none() && has_string_for_number(text);
        prop_assert!(
            differs || found.map(|row| row.map(f64::to_bits)) == expected.map(|row| row.map(f64::to_bits)),
            "{:?} instead of {:?} of {}", found, expected, String::from_utf8_lossy(text)
        );
    }
}

/// Whether `serde_json` would have had to choose between two values of one key.
fn is_doubled(text: &[u8]) -> bool {
    let count = |key: &[u8]| {
        text.windows(key.len())
            .filter(|window| *window == key)
            .count()
    };
    count(b"\"x\"") > 1 || count(b"\"v\"") > 1
}

fn has_string_for_number(text: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(text) else {
        return false;
    };
    let places = [value.get("x"), value.get("v").and_then(|v| v.get(1))];
    places.into_iter().flatten().any(Value::is_string)
}
