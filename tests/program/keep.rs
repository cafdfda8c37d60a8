//! What is kept of a source: raw samples, windows, or what is around alerts; and that the rest is accounted for.

use super::lab::{self, events, expect_status, json, kymo, output, text};
use super::run::{columns, truth};

/// The shipped laboratory with less of it kept.
fn configuration() -> String {
    let mut shipped = include_str!("../../config.toml").to_owned();
    for (header, keep) in [
        (
            "[source.chamber]\n",
            "keep = { around_alerts = { before = \"300ms\", after = \"200ms\" } }\n",
        ),
        ("[source.imu]\n", "keep = \"windows\"\n"),
        (
            "[source.vibration]\n",
            "keep = { what = \"raw\", age = \"1h\" }\n",
        ),
    ] {
        assert!(shipped.contains(header));
        shipped = shipped.replacen(header, &format!("{header}{keep}"), 1);
    }
    shipped
        + r#"
[[window]]
channels = ["imu.ax", "vibration.velocity"]
length = "100ms"
statistics = ["mean", "max"]
"#
}

#[test]
fn what_is_not_to_be_kept_is_counted_and_what_is_around_alerts_is_there() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (config, data) = (dir.path().join("lab.toml"), dir.path().join("data"));
    let report = dir.path().join("report.json");
    std::fs::write(&config, configuration()).expect("a file");
    let mut run = lab::run();
    run.args(["--duration", "7s", "--config"]).arg(&config);
    run.arg("--data-dir").arg(&data);
    run.arg("--report").arg(&report);
    expect_status(&output(&mut run), 0);

    let report = json(&report);
    assert_eq!(report["ledger"]["balanced"], true);
    assert_eq!(report["ledger"]["in_flight"], 0);
    let count = |source: &str, what: &str| report["sources"][source][what].as_u64().unwrap_or(0);
    let not_kept = |source: &str| {
        report["sources"][source]["dropped"]["not_kept"]
            .as_u64()
            .unwrap_or(0)
    };
    // All that the device sent of one, all that was computed of the other, and nothing else.
    assert_eq!(not_kept("imu"), count("imu", "frames") * 6);
    assert_eq!(count("imu", "journaled"), count("imu", "computed"));
    assert_eq!(not_kept("vibration"), count("vibration", "computed"));
    assert_eq!(not_kept("furnace"), 0);
    assert!(not_kept("chamber") > 1000 && count("chamber", "journaled") > 300);
    assert_eq!(
        not_kept("chamber") + count("chamber", "journaled"),
        count("chamber", "samples")
    );

    expect_status(&output(kymo().args(["audit", "--data-dir"]).arg(&data)), 0);

    let exported = |channel: &str| {
        let mut export = kymo();
        export
            .args(["export", channel, "--time", "ns", "--data-dir"])
            .arg(&data);
        let found = output(&mut export);
        expect_status(&found, 0);
        columns(&text(&found.stdout))
            .remove(channel)
            .unwrap_or_default()
    };
    assert!(exported("imu.ax.mean_100ms").len() > 20);
    let kept = exported("chamber.pressure");
    let changes: Vec<(i64, String)> = events(&data)
        .iter()
        .filter(|event| event["event"] == "alert" && event["rule"] == "overpressure")
        .map(|event| {
            let text = |key: &str| event[key].as_str().expect("a text").to_owned();
            let time: jiff::Timestamp = text("time").parse().expect("a time");
            let time_ns = i64::try_from(time.as_nanosecond()).expect("a time of today");
            (time_ns, text("change"))
        })
        .collect();
    let fired: Vec<i64> = changes
        .iter()
        .filter(|(_, change)| change == "fired")
        .map(|(time, _)| *time)
        .collect();
    assert!(!fired.is_empty(), "{changes:?}");
    let last = kept.last().expect("something was kept").0;
    // Frame by frame what the device sent, by its own order and not by the times: reads may be late.
    let frames = report["sources"]["chamber"]["frames"]
        .as_u64()
        .expect("a number");
    let sent: Vec<f64> = (0..frames)
        .map(|index| truth("chamber.pressure", index))
        .collect();
    for time in &fired {
        let cleared = changes
            .iter()
            .find(|(at, change)| at > time && change == "cleared");
        let until = cleared.map_or(last, |(at, _)| (at + 200_000_000).min(last));
        let from = (time - 300_000_000).max(kept[0].0);
        let inside: Vec<f64> = kept
            .iter()
            .filter(|(at, _)| (from..=until).contains(at))
            .map(|(_, value)| *value)
            .collect();
        // A frame a millisecond, before the alert and after it.
        let expected = (until - from) / 1_000_000;
        let found = i64::try_from(inside.len()).expect("few");
        assert!(found * 3 > expected, "{found} of {expected}");
        assert!(
            sent.windows(inside.len()).any(|frames| frames == inside),
            "a frame is missing among those around {time}"
        );
    }
}
