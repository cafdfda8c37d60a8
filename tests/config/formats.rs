//! Text lines, packets and times: what can be declared, and what is said of what cannot.

use kymo::acquire::TimeOptions;
use kymo::config::parse;
use kymo::config::plan::{Plan, Source};
use kymo_drivers::clock::Ticks;
use kymo_drivers::protocol::packet::{Bits, Framing};
use kymo_drivers::protocol::{Options, lines, packet};

use super::said;

const LINK: &str = r#"link = { type = "serial", path = "/dev/ttyX", baud = 115200 }"#;

fn plan(text: &str) -> Plan {
    parse("lab.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn source(text: &str) -> Source {
    plan(text).sources.remove(0)
}

fn packet_of(source: &Source) -> &packet::Options {
    match &source.protocol {
        Options::Packet(options) => options,
        other => panic!("{other:?}"),
    }
}

/// A board of two channels and a status, whose `protocol` has these lines too.
fn board(source: &str, protocol: &str) -> String {
    format!(
        r#"
[source.board]
{LINK}
{source}
[source.board.protocol]
type = "packet"
sync = "AA"
length = 40
order = "big"
{protocol}
[[source.board.channel]]
name = "a"
field = {{ at = 8, type = "i24" }}
[[source.board.channel]]
name = "b"
field = {{ at = 11, type = "i16", raw = true }}
[[source.board.channel]]
name = "status"
field = {{ at = 7, type = "u8", bit = 4, bits = 3, once = true }}
"#
    )
    .replace(", raw = true", "")
}

#[test]
fn an_array_steps_over_the_values_of_all_its_channels_or_through_one_channels() {
    let steps = |protocol: &str| {
        let source = source(&board("rate_hz = 100", protocol));
        let options = packet_of(&source);
        let steps: Vec<usize> = options.fields.iter().map(|field| field.step).collect();
        (options.frames, steps)
    };
    assert_eq!(steps(""), (1, vec![0, 0, 0]));
    assert_eq!(steps("array = { frames = 4 }"), (4, vec![5, 5, 0]));
    assert_eq!(
        steps("array = { frames = 4, step = 6 }"),
        (4, vec![6, 6, 0])
    );
    assert_eq!(
        steps("array = { frames = 4, layout = \"by-channel\" }"),
        (4, vec![3, 2, 0])
    );
    let source = source(&board("rate_hz = 100", "array = { frames = 4 }"));
    assert_eq!(
        packet_of(&source).fields[2].bits,
        Some(Bits { first: 4, count: 3 })
    );
    assert_eq!(source.frame_bytes, Some(10));
}

#[test]
fn constants_slip_and_a_timestamp_are_taken() {
    let text = board(
        "rate_hz = 100",
        "constant = [{ at = 1, bytes = \"01 02\" }]\n\
         timestamp = { at = 3, type = \"u24\", hz = 32768, of = \"last\" }\narray = { frames = 4 }",
    );
    let source = source(&text.replace("sync = \"AA\"", "framing = \"slip\""));
    let options = packet_of(&source);
    assert!(matches!(options.framing, Framing::Slip { .. }));
    assert_eq!(
        (options.constants[0].at, &options.constants[0].bytes[..]),
        (1, &[1, 2][..])
    );
    assert_eq!(options.timestamp.map(|stamp| stamp.at), Some(3));
    assert_eq!(source.frame_bytes, None, "what is escaped is not known");
    let expected = TimeOptions {
        fitted: true,
        period_ns: Some(1e7),
        ticks: Some(Ticks {
            tick_ns: 1e9 / 32_768.0,
            modulus: Some(1 << 24),
        }),
        frames_per_packet: 4,
        stamped_frame: 3,
        offset_column: None,
    };
    assert_eq!(source.time, expected);
}

#[test]
fn times_are_fitted_where_the_device_has_a_timestamp_and_where_it_is_asked_for() {
    let stamp = "timestamp = { at = 1, type = \"u32\", hz = 1000 }";
    let fitted = |text: &str, protocol: &str| source(&board(text, protocol)).time.fitted;
    assert!(!fitted("", ""));
    assert!(!fitted("rate_hz = 100", ""));
    assert!(fitted("rate_hz = 100\ntime = \"fitted\"", ""));
    assert!(fitted("", stamp));
    assert!(!fitted("time = \"raw\"", stamp));
}

#[test]
fn raw_times_kept_are_one_channel_more_behind_the_protocols_own() {
    let text = board("rate_hz = 100\ntime = \"fitted\"\nkeep_raw_time = true", "")
        .replace("name = \"b\"", "name = \"b\"\nraw = true");
    let source = source(&text);
    let channels: Vec<(&str, usize)> = source
        .channels
        .iter()
        .map(|c| (&*c.name, c.place))
        .collect();
    let expected = [
        ("a", 0),
        ("b", 1),
        ("status", 2),
        ("b.raw", 1),
        ("host_offset", 3),
    ];
    assert_eq!(channels, expected);
    assert_eq!(source.time.offset_column, Some(3));
    assert_eq!(source.channels[4].unit, "s");
}

#[test]
fn lines_have_units_decimal_commas_headers_and_paths() {
    let text = format!(
        r#"
[source.meter]
{LINK}
[source.meter.protocol]
type = "lines"
form = "columns"
separator = ";"
decimal = "comma"
[[source.meter.channel]]
name = "u"
key = "U (V)"
suffix = "V"
prefixes = true
[[source.meter.channel]]
name = "i"
[source.json]
{LINK}
[source.json.protocol]
type = "lines"
form = "json"
[[source.json.channel]]
name = "ax"
key = "imu.accel[0]"
"#
    );
    let plan = plan(&text);
    let Options::Lines(meter) = &plan.sources[0].protocol else {
        panic!("it is lines");
    };
    let separator = ";".to_owned();
    assert_eq!(meter.form, lines::Form::Columns { separator });
    assert_eq!(meter.keys, ["U (V)", "i"]);
    assert!(meter.decimal_comma);
    let volts = lines::Suffix {
        unit: "V".to_owned(),
        prefixes: true,
    };
    assert_eq!(meter.suffixes, [Some(volts), None]);
    let Options::Lines(json) = &plan.sources[1].protocol else {
        panic!("it is lines");
    };
    assert_eq!(
        (&json.form, &json.keys[0][..]),
        (&lines::Form::Json, "imu.accel[0]")
    );
}

#[test]
fn what_cannot_be_declared_of_a_packet_is_told_with_its_place() {
    insta::assert_snapshot!(said(include_str!("wrong-packets.toml")));
}

#[test]
fn what_cannot_be_declared_of_lines_and_times_is_told_with_its_place() {
    insta::assert_snapshot!(said(include_str!("wrong-lines.toml")));
}
