//! Windows and derived channels, from the devices to what is exported, held against the raw samples exported beside them.

use super::lab::{self, expect_status, json, kymo, output, text};
use super::run::columns;

/// The shipped laboratory, and what is computed of it.
const COMPUTED: &str = r#"
[[window]]
channels = ["imu.a?", "power.*"]
length = "100ms"
statistics = ["mean", "max", "rms", "p50"]

[[window]]
channels = ["vibration.velocity"]
length = "200ms"
hop = "100ms"
statistics = ["rms", "peak_hz"]

[derived.power]
[[derived.power.channel]]
name = "a"
expression = "sqrt(imu.ax^2 + imu.ay^2 + imu.az^2)"

[derived.joined]
clock = "furnace"
[[derived.joined.channel]]
name = "both"
expression = "chamber.pressure * 2 + rate(furnace.terminal) * 0 bar.s/K"
"#;

#[test]
fn what_is_computed_is_recorded_and_agrees_with_the_raw_samples() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (config, data) = (dir.path().join("lab.toml"), dir.path().join("data"));
    let report = dir.path().join("report.json");
    let shipped = include_str!("../../config.toml");
    std::fs::write(&config, format!("{shipped}{COMPUTED}")).expect("a file");
    let mut run = lab::run();
    run.args(["--duration", "2s", "--config"]).arg(&config);
    run.arg("--data-dir")
        .arg(&data)
        .arg("--report")
        .arg(&report);
    expect_status(&output(&mut run), 0);

    let report = json(&report);
    assert_eq!(report["ledger"]["balanced"], true);
    assert_eq!(report["ledger"]["in_flight"], 0);
    let sources = &report["sources"];
    assert!(sources["imu"]["computed"].as_u64() > Some(0));
    // Every frame of the device gives one of the derived source, and its windows.
    let frames = sources["imu"]["frames"].as_u64().expect("a number");
    assert!(sources["power"]["computed"].as_u64() > Some(frames));
    assert_eq!(sources["power"]["samples"], sources["power"]["computed"]);

    let audit = output(kymo().args(["audit", "--data-dir"]).arg(&data));
    expect_status(&audit, 0);

    let exported = |channel: &str| {
        let found = output(
            kymo()
                .args(["export", channel, "--time", "ns", "--data-dir"])
                .arg(&data),
        );
        expect_status(&found, 0);
        columns(&text(&found.stdout))
            .remove(channel)
            .unwrap_or_default()
    };
    let (raw, means) = (exported("imu.ax"), exported("imu.ax.mean_100ms"));
    // A window for each tenth of a second in which something came; the first and the last may be cut off.
    let mut tenths: Vec<i64> = raw.iter().map(|(time, _)| time / 100_000_000).collect();
    tenths.dedup();
    assert!(tenths.len() > 4, "{}", tenths.len());
    assert!(
        (tenths.len() - 2..=tenths.len()).contains(&means.len()),
        "{} of {}",
        means.len(),
        tenths.len()
    );
    for (end, mean) in &means {
        assert_eq!(end % 100_000_000, 0, "windows are aligned to the epoch");
        let inside = raw
            .iter()
            .filter(|(t, _)| (end - 100_000_000..*end).contains(t));
        let inside: Vec<f64> = inside.map(|(_, v)| *v).collect();
        let plain = inside.iter().sum::<f64>() / inside.len() as f64;
        assert!((mean - plain).abs() < 1e-9, "{mean} {plain}");
    }
    let (ay, az, a) = (exported("imu.ay"), exported("imu.az"), exported("power.a"));
    assert_eq!(a.len(), raw.len());
    for (i, (time, a)) in a.iter().enumerate() {
        assert_eq!(*time, raw[i].0);
        let (x, y, z) = (raw[i].1, ay[i].1, az[i].1);
        assert_eq!(*a, (x * x + y * y + z * z).sqrt());
    }
    assert_eq!(exported("power.a.max_100ms").len(), means.len());
    assert!(exported("vibration.velocity.rms_200ms").len() >= 3);

    // Two sources: the last pressure that is not younger than the furnace's frame.
    let (pressure, joined) = (exported("chamber.pressure"), exported("joined.both"));
    let clock = exported("furnace.terminal").len();
    assert!(
        joined.len() * 2 > clock && clock > 25,
        "{} of {clock}",
        joined.len()
    );
    for (time, both) in joined.iter().skip(20) {
        let at = pressure.partition_point(|(t, _)| t <= time);
        let (before, value) = pressure[at - 1];
        if time - before < 5_000_000_000 && !both.is_nan() {
            assert_eq!(*both, value * 2.0);
        }
    }
}
