//! The configuration: what is right becomes a plan, what is wrong is told with its place, all at once.

mod capture;
mod formats;
mod host;
mod keep;
mod links;
mod once;
mod polled;
mod serve;
mod simulators;
mod usb;

use std::time::Duration;

use kymo::config::plan::{Link, Plan};
use kymo::config::{load, parse};
use kymo::lanes::Overflow;
use kymo::stage::calibrate::Calibration;
use kymo_drivers::block::Priority;
use proptest::prelude::*;

const SHIPPED: &str = include_str!("../../config.toml");

/// What is said of a wrong configuration.
fn said(text: &str) -> String {
    parse("lab.toml", text)
        .expect_err("it is wrong")
        .to_string()
}

fn shipped() -> Plan {
    parse("config.toml", SHIPPED).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn the_shipped_configuration_is_right() {
    let plan = shipped();
    let names: Vec<&str> = plan
        .sources
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    assert_eq!(names, ["chamber", "imu", "furnace", "vibration"]);
    let chamber = &plan.sources[0];
    assert_eq!(
        chamber.block_age,
        Duration::ZERO,
        "a critical source's block waits for nobody"
    );
    assert_eq!(chamber.channels[0].priority, Priority::Critical);
    assert_eq!(chamber.frame_bytes, Some(10));
    assert_eq!(chamber.overflow, Overflow::Block);
    assert!(matches!(chamber.link, Link::Simulator { simulator: 0, .. }));
    let imu = &plan.sources[1];
    assert_eq!(imu.channels[3].quantum, Some((0.015_258_789_062_5, 0.0)));
    assert_eq!(imu.block_age, Duration::from_millis(5));
    let furnace = &plan.sources[2];
    assert_eq!(
        furnace.block_age,
        Duration::ZERO,
        "at 100 Hz no other frame would join it in 5 ms"
    );
    let junction = match &furnace.channels[0].calibration {
        Calibration::Thermocouple { cold_junction, .. } => *cold_junction,
        other => panic!("{other:?}"),
    };
    assert_eq!(junction, Some(3));
    assert_eq!(plan.rules[0].hold, Duration::from_millis(5));
    assert_eq!((plan.rules[1].source, plan.rules[1].channel), (2, 0));
    assert_eq!(plan.journal.segment_bytes, 64 << 20);
    assert!(
        plan.simulators
            .iter()
            .all(|simulator| simulator.links == *"kymo-data/devices")
    );
}

#[test]
fn a_data_directory_of_the_command_line_takes_the_devices_with_it() {
    let mut plan = shipped();
    plan.move_to("/elsewhere".as_ref());
    assert!(
        plan.simulators
            .iter()
            .all(|simulator| simulator.links == *"/elsewhere/devices")
    );
}

/// One file with a mistake of every kind: all are told, in the order of the lines.
#[test]
fn every_mistake_is_told_at_once() {
    insta::assert_snapshot!(said(include_str!("wrong.toml")));
}

/// The same for sinks.
#[test]
fn every_mistake_of_a_sink_is_told_at_once() {
    insta::assert_snapshot!(said(include_str!("sinks.toml")));
}

#[test]
fn a_sink_is_read_with_its_defaults() {
    let text = format!(
        "{SHIPPED}\n[[sink]]\nname = \"lab\"\ntype = \"influxdb\"\nurl = \"https://db.lab/influx/\"\n\
         database = \"d\"\ntags = {{ host = \"{{host}}\" }}\ntoken = {{ file = \"/etc/kymo/token\" }}\n"
    );
    let plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let sink = &plan.sinks[0];
    assert_eq!(
        (sink.pace.in_flight_max, sink.pace.batch_bytes_max),
        (4, 1 << 20)
    );
    assert_eq!(sink.backlog_bytes_max, 64 << 30);
    let kymo::sink::Kind::Influx(influx) = &sink.kind;
    assert!(influx.gzip, "it is another host");
    assert_eq!(influx.url.to_string(), "https://db.lab/influx");
    assert!(sink.selection.raw && !sink.selection.events);
    assert!(
        shipped().sinks.is_empty(),
        "without a [[sink]] there is none"
    );
}

#[test]
fn every_mistake_of_rules_notifiers_and_silences_is_told() {
    insta::assert_snapshot!(said(include_str!("wrong_alerts.toml")));
}

/// Windows and derived channels: each mistake at its place, within an expression too.
#[test]
fn mistakes_in_what_is_computed_are_told_at_once() {
    insta::assert_snapshot!(said(include_str!("computed.toml")));
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    insta::assert_snapshot!(said("[run\ndata_dir = \"x\"\n[source.a]\nrate_hz = = 5\n"));
}

#[test]
fn a_file_without_sources_is_told_what_to_add() {
    insta::assert_snapshot!(said("[run]\ndata_dir = \"x\"\n"));
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let missing = load(&dir.path().join("missing.toml")).expect_err("there is none");
    assert!(
        missing.to_string().contains("missing.toml: No such file"),
        "{missing}"
    );
    assert!(missing.to_string().contains("--config FILE"), "{missing}");

    let latin = dir.path().join("latin.toml");
    std::fs::write(&latin, b"[run]\n# caf\xe9\n").expect("a file");
    let not_text = load(&latin).expect_err("it is Latin-1").to_string();
    assert!(
        not_text.contains("is not UTF-8 text, from line 2 on"),
        "{not_text}"
    );

    let huge = dir.path().join("huge.toml");
    let file = std::fs::File::create(&huge).expect("a file");
    file.set_len(1 << 40).expect("a sparse file of a terabyte");
    let too_long = load(&huge)
        .expect_err("nobody writes a terabyte")
        .to_string();
    assert!(too_long.contains("over 4 MiB"), "{too_long}");
}

/// A limit at the front of what would be a hundred thousand mistakes.
#[test]
fn a_file_wrong_from_end_to_end_is_not_told_for_ever() {
    let text: String = (0..2000)
        .map(|n| format!("[source.s{n}]\nnonsense = {n}\n"))
        .collect();
    let told = said(&text);
    assert!(told.contains("more\n"), "the rest is counted");
    assert!(told.lines().count() < 1000);
}

#[test]
fn the_bounds_of_memory_are_checked() {
    let channels: String = (0..2000)
        .map(|n| format!("[[source.a.channel]]\nname = \"c{n}\"\n"))
        .collect();
    let text = format!(
        "[source.a]\nblock_frames = 65536\nlink = {{ type = \"serial\", path = \"/dev/ttyS0\", baud = 9600 }}\n\
         protocol = {{ type = \"lines\" }}\n{channels}"
    );
    insta::assert_snapshot!(said(&text));
}

#[test]
fn every_mistake_about_a_receiver_is_told_at_once() {
    insta::assert_snapshot!(said(include_str!("receiver.toml")));
}

/// What makes a frame follows from what the channels name, unless it is declared.
#[test]
fn a_receivers_frame_is_an_epoch_if_its_messages_have_a_time() {
    use kymo_drivers::protocol::Options;
    use kymo_drivers::protocol::nmea::FrameBy;
    let frame = |protocol: &str, field: &str| {
        let text = format!(
            "[source.s]\nlink = {{ type = \"serial\", path = \"/dev/ttyS0\", baud = 9600 }}\n\
             protocol = {protocol}\n[[source.s.channel]]\nname = \"a\"\nfield = {field}\n"
        );
        let plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        match &plan.sources[0].protocol {
            Options::Nmea(options) => options.rules.frame.clone(),
            Options::Ubx(options) => options.rules.frame.clone(),
            other => panic!("{other:?}"),
        }
    };
    let epoch = |first: Option<&str>, last: Option<&str>| FrameBy::Epoch {
        first: first.map(str::to_owned),
        last: last.map(str::to_owned),
    };
    let nmea = r#"{ type = "nmea" }"#;
    let ubx = r#"{ type = "ubx" }"#;
    assert_eq!(frame(nmea, r#""RMC.latitude""#), epoch(None, None));
    assert_eq!(frame(ubx, r#""NAV-PVT.latitude""#), epoch(None, None));
    assert_eq!(frame(ubx, r#""GNGGA.altitude""#), epoch(None, None));
    assert_eq!(frame(nmea, r#""MWV.speed""#), FrameBy::Sentence);
    assert_eq!(
        frame(
            ubx,
            r#"{ message = "0A 09", at = 2, type = "X2", bit = 3 }"#
        ),
        FrameBy::Sentence
    );
    let declared =
        r#"{ type = "nmea", frame = "sentence", talkers = ["GP", "GN"], checksum = "optional" }"#;
    assert_eq!(frame(declared, r#""RMC.latitude""#), FrameBy::Sentence);
    let with_last = r#"{ type = "nmea", first = "VTG", last = "GLL", sentence_max = 100 }"#;
    let maker = r#"{ sentence = "PGRME", index = 1, type = "number" }"#;
    assert_eq!(frame(with_last, maker), epoch(Some("VTG"), Some("GLL")));
}

/// Names that a line protocol's pattern, keys and separators need.
#[test]
fn the_forms_of_lines_are_understood() {
    let link = "link = { type = \"serial\", path = \"/dev/ttyS0\", baud = 9600 }";
    for protocol in [
        r#"{ type = "lines" }"#,
        r#"{ type = "lines", separator = ";", comment = "%", line_max = 200, first_line = "whole" }"#,
        r#"{ type = "lines", form = "key-value", separator = " ", assign = ":" }"#,
        r#"{ type = "lines", pattern = '^T=(?<a>[-+.0-9]+) C$' }"#,
    ] {
        let text = format!(
            "[source.s]\n{link}\nprotocol = {protocol}\n[[source.s.channel]]\nname = \"a\"\n"
        );
        let plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(plan.sources[0].protocol.build().is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// The shipped configuration with some bytes changed, cut out or doubled: a plan or mistakes, never a panic,
    /// and mistakes can always be shown.
    #[test]
    fn no_text_makes_it_panic(
        edits in proptest::collection::vec((0..SHIPPED.len(), 0..40_usize, "\\PC{0,6}|[\\[\\]\"=.{}#\n]{0,4}"), 1..6),
    ) {
        let mut text = SHIPPED.to_owned();
        for (at, cut, insert) in edits {
            let floor = |text: &str, at: usize| {
                (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
            };
            let start = floor(&text, at);
            let end = floor(&text, start + cut).max(start);
            text.replace_range(start..end, &insert);
        }
        if let Err(mistakes) = parse("changed.toml", &text) {
            prop_assert!(mistakes.len() > 0);
            prop_assert!(mistakes.render(true).contains("changed.toml"));
        }
    }

    /// Values of every kind at every key.
    #[test]
    fn no_value_makes_it_panic(
        line in 0..SHIPPED.lines().count(),
        value in prop_oneof![
            Just("0".to_owned()), Just("-1".to_owned()), Just("nan".to_owned()), Just("inf".to_owned()),
            Just("1e308".to_owned()), Just("9223372036854775807".to_owned()), Just("-9223372036854775808".to_owned()),
            Just("\"\"".to_owned()), Just("[]".to_owned()), Just("{}".to_owned()), Just("true".to_owned()),
            Just("[[1]]".to_owned()), Just("2026-11-23".to_owned()), Just("0xFFFFFFFFFFFFFFFFFF".to_owned()),
            "\"\\PC{0,12}\"",
        ],
    ) {
        let text: String = SHIPPED.lines().enumerate().map(|(number, text)| {
            match text.split_once('=') {
                Some((key, _)) if number == line => format!("{key}= {value}\n"),
                _ => format!("{text}\n"),
            }
        }).collect();
        if let Err(mistakes) = parse("changed.toml", &text) {
            prop_assert!(mistakes.render(false).contains("changed.toml"));
        }
    }
}

const POLLED: &str = r#"
[source.meters]
link = { type = "serial", path = "/dev/ttyS0", baud = 9600 }
[source.meters.protocol]
type = "modbus"
cycle = "1s"
unit = 3
order = "CDAB"
[[source.meters.channel]]
name = "volts"
register = { at = 0, type = "f32", table = "input" }
[[source.meters.channel]]
name = "energy"
register = { unit = 4, at = 6, type = "u64", order = "GHEFCDAB", every = 10 }
[[source.meters.channel]]
name = "tripped"
register = { at = 9, bit = 3 }
[source.dmm]
link = { type = "usbtmc", path = "/dev/usbtmc0" }
[source.dmm.protocol]
type = "scpi"
cycle = "100ms"
identity = "^ACME,"
start = ["CONF:VOLT:DC 10"]
[[source.dmm.channel]]
name = "volts"
query = { ask = "READ?" }
[[source.dmm.channel]]
name = "amperes"
query = { ask = "READ?", value = 1, scale = 1000 }
"#;

/// Buses and instruments that are polled, with what they do not say filled in.
#[test]
fn polled_devices_are_understood() {
    use kymo_drivers::protocol::modbus::{Framing, Order, Scalar, Table};
    use kymo_drivers::protocol::{Options, scpi::Identity};
    let plan = parse("lab.toml", POLLED).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let Options::Modbus(bus) = &plan.sources[0].protocol else {
        panic!("{:?}", plan.sources[0].protocol);
    };
    let Framing::Rtu { silence, .. } = bus.framing else {
        panic!("{:?}", bus.framing);
    };
    // 3.5 characters of ten bits at 9600 baud.
    assert_eq!(silence.as_micros(), 3645);
    assert_eq!((bus.channels[0].unit, bus.channels[1].unit), (3, 4));
    assert_eq!(bus.channels[0].table, Table::Input);
    assert_eq!(Some(bus.channels[0].order), Order::named("CDAB", 4));
    assert_eq!(bus.channels[1].every, 10);
    assert_eq!(bus.channels[2].scalar, Scalar::Bit(3));
    assert_eq!(plan.sources[0].rate_hz, Some(1.0), "the cycle is the rate");
    let Options::Scpi(dmm) = &plan.sources[1].protocol else {
        panic!("{:?}", plan.sources[1].protocol);
    };
    assert_eq!(dmm.queries.len(), 1, "channels share a question");
    assert_eq!(dmm.channels[1].value, 1);
    assert_eq!(dmm.identity, Identity::Pattern("^ACME,".to_owned()));
}

/// One mistake after the other in what is right: each is told with its key.
#[test]
fn mistakes_in_polled_devices_are_told_with_their_places() {
    for (right, wrong, told) in [
        (
            "cycle = \"1s\"\n",
            "",
            "`source.meters.protocol.cycle` is missing",
        ),
        (
            "unit = 3\n",
            "unit = 0\n",
            "units have the numbers 1 to 247",
        ),
        (
            "order = \"CDAB\"\n",
            "order = \"ABAB\"\n",
            "is no order of bytes",
        ),
        (
            "order = \"GHEFCDAB\"",
            "order = \"GHEF\"",
            "is no order of bytes",
        ),
        ("at = 9, bit = 3", "at = 9, bit = 16", "must be 0 to 15"),
        (
            "at = 9, bit = 3",
            "at = 9, bit = 3, type = \"u16\"",
            "is for type \"bit\" alone",
        ),
        (
            "at = 0, type = \"f32\", table = \"input\"",
            "at = 65535, type = \"f32\"",
            "would end behind register 65535",
        ),
        (
            "table = \"input\"",
            "table = \"coil\"",
            "only type \"bit\" is there",
        ),
        (
            "register = { at = 9, bit = 3 }",
            "",
            "`source.meters.channel.register` is missing",
        ),
        (
            "identity = \"^ACME,\"",
            "identity = \"(\"",
            "is no regular expression",
        ),
        ("CONF:VOLT:DC 10", "READ?", "nobody waits for its answer"),
        (
            "{ ask = \"READ?\" }",
            "{ ask = \"READ\" }",
            "it has no question mark",
        ),
        (
            "value = 1, scale = 1000",
            "value = 1, every = 2",
            "one pace a question",
        ),
        (
            "cycle = \"100ms\"",
            "cycle = \"100ms\"\nwaveform = { type = \"i16\", sample_rate_hz = 1e6 }",
            "the only channel of its source",
        ),
        (
            "cycle = \"100ms\"",
            "cycle = \"100ms\"\nbackoff = { first = \"2s\", max = \"1s\" }",
            "shorter than the first",
        ),
    ] {
        assert!(POLLED.contains(right), "{right}");
        let text = POLLED.replacen(right, wrong, 1);
        let said = said(&text);
        assert!(said.contains(told), "{wrong}: {said}");
    }
}
