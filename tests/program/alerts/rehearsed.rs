//! Rules tried on what was recorded.

use std::path::Path;

use kymo::alert::Change;
use serde_json::{Value, json};

use super::{RULE, events, press};
use crate::lab::{CHAMBER, Lab, PATIENCE, expect_status, kymo, output, text};

#[test]
fn rules_are_tried_on_what_was_recorded() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let configuration = format!("{CHAMBER}{RULE}[run]\ndata_dir = \"{}\"\n", data.display());
    let lab = Lab::start_in(&configuration, &data);
    lab.simulator(0)
        .set_level(Some(1.0))
        .recv_timeout(PATIENCE)
        .expect("it sets its level");
    for _ in 0..3 {
        press(&lab, 4.0, Change::Fired);
        press(&lab, 1.0, Change::Cleared);
    }
    drop(lab.stop());
    let config = dir.path().join("lab.toml");
    std::fs::write(&config, &configuration).expect("a file");
    let test = |config: &Path, more: &[&str]| {
        output(
            kymo()
                .args(["rules", "test", "--config"])
                .arg(config)
                .args(more),
        )
    };
    let tried = test(&config, &["--json"]);
    expect_status(&tried, 0);
    assert_eq!(
        tried.stdout,
        test(&config, &["--json"]).stdout,
        "byte for byte the same"
    );
    let tried: Value = serde_json::from_slice(&tried.stdout).expect("it is JSON");
    let key = |event: &Value| {
        (
            event["time"].clone(),
            event["change"].clone(),
            event["value"].clone(),
        )
    };
    let recorded: Vec<_> = events(&data, "alert").iter().map(key).collect();
    let rehearsed: Vec<_> = tried["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(key)
        .collect();
    assert_eq!(
        rehearsed, recorded,
        "what a run did, and what it would have done, is the same"
    );
    assert_eq!(
        tried["rules"]["overpressure"]["episodes"]
            .as_array()
            .map(Vec::len),
        Some(recorded.len() / 2)
    );

    // Another configuration's rules: one that fires, one over a condition, one whose channel was not recorded.
    let other = dir.path().join("other.toml");
    let rules = r#"
[[rule]]
name = "any"
channel = "chamber.pressure"
above = 0.5
[[rule]]
name = "mean"
when = "mean(chamber.pressure, 5ms) > 2 bar"
[[rule]]
name = "absent"
channel = "other.x"
above = 1
[source.other]
link = { type = "serial", path = "/dev/null", baud = 9600 }
protocol = { type = "lines" }
channel = [{ name = "x" }]
"#;
    std::fs::write(
        &other,
        format!("{CHAMBER}{rules}[run]\ndata_dir = \"{}\"\n", data.display()),
    )
    .expect("a file");
    let tried = test(&other, &["--json"]);
    expect_status(&tried, 0);
    let tried: Value = serde_json::from_slice(&tried.stdout).expect("it is JSON");
    assert_eq!(
        (
            &tried["rules"]["any"]["active"],
            &tried["rules"]["absent"]["recorded"]
        ),
        (&json!(true), &json!(false))
    );
    assert!(
        tried["rules"]["mean"]["fired"].as_u64() >= Some(1),
        "{tried}"
    );
    for more in [&["--plot"][..], &[], &["--rule", "mean", "--run", "last"]] {
        let shown = test(&other, more);
        expect_status(&shown, 0);
        assert!(
            text(&shown.stdout).contains("mean"),
            "{}",
            text(&shown.stdout)
        );
    }
    expect_status(&test(&other, &["--rule", "nothing"]), 2);
}
