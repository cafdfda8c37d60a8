//! `kymo note`: what people have to say about a run.

use kymo::clock::rfc3339;
use kymo::event::{Annotation, AnnotationError};

use super::lab::{CHAMBER, Lab, expect_status, kymo, output, text};

fn note(data: &std::path::Path, args: &[&str]) -> std::process::Output {
    output(kymo().arg("note").args(args).arg("--data-dir").arg(data))
}

#[test]
fn a_note_is_an_event_of_the_journal_with_its_time_source_and_author() {
    let mut lab = Lab::start(CHAMBER);
    let data = lab.dir.path().join("data");
    let said = note(&data, &["pump on", "--who", "anna"]);
    expect_status(&said, 0);
    assert_eq!(lab.wait_for("annotation"), "pump on (anna)");
    let then = rfc3339(lab.run.clock().now_ns() - 1);
    let about = [
        "valve, open",
        "--source",
        "chamber",
        "--at",
        &then,
        "--json",
    ];
    let said = note(&data, &about);
    expect_status(&said, 0);
    assert!(text(&said.stdout).contains("\"noted\": true"));
    lab.wait_for("annotation");
    let report = lab.run.stop();
    assert!(report.ledger.balanced);
    let events = output(
        kymo()
            .args(["export", "--what", "events", "--data-dir"])
            .arg(&data),
    );
    expect_status(&events, 0);
    let events = text(&events.stdout);
    assert!(events.contains(",annotation,,pump on (anna)"), "{events}");
    let second = events
        .lines()
        .find(|line| line.contains("valve"))
        .unwrap_or_default();
    assert!(
        second.starts_with(&format!("{then},annotation,chamber,\"valve, open (")),
        "{events}"
    );
}

#[test]
fn a_note_that_cannot_be_kept_is_refused_with_the_reason() {
    let lab = Lab::start(CHAMBER);
    let data = lab.dir.path().join("data");
    for (args, expected) in [
        (&["  "][..], "the note is empty"),
        (
            &["x", "--source", "imu"],
            "there is no source `imu`; there are chamber",
        ),
        (&["x", "--at", "-1h"], "is not within this run"),
        (&["x", "--at", "2100-01-01"], "is not within this run"),
        (&[&"x".repeat(5000)], "5000 bytes long, and at most 4096"),
    ] {
        let said = note(&data, args);
        expect_status(&said, 2);
        assert!(
            text(&said.stderr).contains(expected),
            "{}",
            text(&said.stderr)
        );
    }
    let nobody = Annotation {
        text: "x".to_owned(),
        time_ns: Some(i64::MAX),
        source: None,
        who: String::new(),
    };
    assert!(matches!(
        lab.run.annotate(nobody),
        Err(AnnotationError::NotWithin { .. })
    ));
    assert!(lab.run.stop().ledger.balanced);
}

#[test]
fn a_note_without_a_run_is_an_error_and_nothing_is_kept() {
    let lab = Lab::start(CHAMBER);
    let data = lab.dir.path().join("data");
    assert!(lab.run.stop().ledger.balanced);
    let said = note(&data, &["pump on"]);
    expect_status(&said, 2);
    assert!(
        text(&said.stderr).contains("nothing runs in"),
        "{}",
        text(&said.stderr)
    );
}
