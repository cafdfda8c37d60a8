//! The configuration: what is right becomes a plan, what is wrong is told with its place, all at once.

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
