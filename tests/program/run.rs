//! The shipped configuration, run as a user runs it.

use std::collections::HashMap;
use std::path::Path;
use std::process::Child;

use kymo::stage::calibrate::ThermocoupleKind;
use kymo::stage::thermocouple::{celsius, millivolt};
use kymo_simulators::expected;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lab::{endless, expect_status, json, kymo, output, run, text, wait_until};

/// A table of CSV: each column's cells that are not empty, with the time of their row.
pub(crate) fn columns(csv: &str) -> HashMap<String, Vec<(i64, f64)>> {
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    assert_eq!(names[0], "time");
    let mut columns: HashMap<String, Vec<(i64, f64)>> = HashMap::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), names.len(), "{line}");
        let time_ns = cells[0].parse().expect("a time in ns");
        for (name, cell) in names
            .iter()
            .zip(&cells)
            .skip(1)
            .filter(|(_, cell)| !cell.is_empty())
        {
            let value = cell.parse().expect("a number");
            columns
                .entry((*name).to_owned())
                .or_default()
                .push((time_ns, value));
        }
    }
    columns
}

/// What a device's frame `index` must come out as, after calibration.
pub(crate) fn truth(channel: &str, index: u64) -> f64 {
    let sent = |device: &str, place: usize, rate_hz: f64| {
        expected(device, place, index, rate_hz, 0).expect("there is such a channel")
    };
    match channel {
        "chamber.pressure" => sent("pressure-interlock", 0, 1000.0),
        "vibration.velocity" => sent("vibration-sensor", 0, 100_000.0) * 0.01,
        "furnace.terminal" => sent("thermocouple-logger", 3, 100.0),
        _ if channel.starts_with("furnace.") => {
            let names = ["furnace.heater", "furnace.sample", "furnace.wall"];
            let place = names
                .iter()
                .position(|name| *name == channel)
                .expect("a channel");
            let kind = ThermocoupleKind::K;
            let cold = sent("thermocouple-logger", 3, 100.0);
            celsius(
                kind,
                sent("thermocouple-logger", place, 100.0) + millivolt(kind, cold),
            )
        }
        _ => {
            let names = ["imu.ax", "imu.ay", "imu.az", "imu.gx", "imu.gy", "imu.gz"];
            let place = names
                .iter()
                .position(|name| *name == channel)
                .expect("a channel");
            let scale = if place < 3 {
                0.001_197_096_4
            } else {
                0.015_258_789_062_5
            };
            sent("inertial-unit", place, 4000.0) * scale
        }
    }
}

#[test]
fn the_shipped_laboratory_is_acquired_whole_and_exported_exactly() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (data, report, csv) = (
        dir.path().join("data"),
        dir.path().join("report.json"),
        dir.path().join("all.csv"),
    );
    let run = output(
        run()
            // The pressure rises and falls within four seconds.
            .args(["--duration", "6s"])
            .arg("--data-dir")
            .arg(&data)
            .arg("--report")
            .arg(&report),
    );
    expect_status(&run, 0);

    let report = json(&report);
    assert_eq!(report["ledger"]["balanced"], true, "{report}");
    assert_eq!(report["ledger"]["dropped"], 0, "{report}");
    assert_eq!(report["ledger"]["in_flight"], 0, "{report}");
    for (name, source) in report["sources"].as_object().expect("sources by name") {
        for count in ["corrupt_frames", "lost_by_device", "reconnects"] {
            assert_eq!(source[count], 0, "{name} {count}");
        }
        assert_eq!(source["journaled"], source["samples"], "{name}");
    }
    for count in ["fired", "cleared"] {
        assert!(
            report["alerts"]["overpressure"][count].as_u64() >= Some(1),
            "{report}"
        );
    }
    assert!(
        report["latency_us"]["read_to_alert"]["p50"].as_f64() > Some(0.0),
        "{report}"
    );

    let export = output(
        kymo()
            .args(["export", "--time", "ns"])
            .arg("--data-dir")
            .arg(&data)
            .arg("-o")
            .arg(&csv),
    );
    expect_status(&export, 0);
    let columns = columns(&std::fs::read_to_string(&csv).expect("the export"));
    let rates = [
        ("chamber.pressure", 1000.0),
        ("imu.gz", 4000.0),
        ("furnace.wall", 100.0),
        ("vibration.velocity", 100_000.0),
    ];
    assert_eq!(columns.len(), 12);
    for (channel, samples) in &columns {
        let source = channel.split('.').next().expect("a source");
        let frames = report["sources"][source]["frames"].as_u64();
        assert_eq!(frames, Some(samples.len() as u64), "{channel}");
        assert!(
            samples.is_sorted_by(|a, b| a.0 < b.0),
            "the times of {channel} rise"
        );
        for (index, (_, value)) in (0..).zip(samples) {
            let truth = truth(channel, index);
            assert!(
                value.to_bits() == truth.to_bits(),
                "{channel} {index}: {value} is not {truth}"
            );
        }
    }
    for (channel, rate_hz) in rates {
        let samples = &columns[channel];
        let (first, last) = (samples[0].0, samples[samples.len() - 1].0);
        #[allow(clippy::cast_precision_loss)]
        let found = (samples.len() - 1) as f64 / ((last - first) as f64 / 1e9);
        assert!(
            // As the host saw them come: the first or the last may have been read late.
            (found / rate_hz - 1.0).abs() < 0.3,
            "{channel}: {found} a second, not {rate_hz}"
        );
    }
}

#[test]
fn an_export_is_narrowed_by_channel_time_and_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    for _ in 0..2 {
        let run = output(
            run()
                .args(["--duration", "2s"])
                .arg("--data-dir")
                .arg(&data),
        );
        expect_status(&run, 0);
    }
    let export = |args: &[&str]| {
        let export = output(
            kymo()
                .args(["export", "--time", "ns"])
                .args(args)
                .arg("--data-dir")
                .arg(&data),
        );
        expect_status(&export, 0);
        text(&export.stdout)
    };
    let all = columns(&export(&["furnace.*"]));
    assert_eq!(all.len(), 4);
    let last = columns(&export(&["furnace.*", "--run", "last"]));
    let (all, last) = (&all["furnace.wall"], &last["furnace.wall"]);
    assert!(
        last.len() < all.len() && all.ends_with(last),
        "the last run is the end of all"
    );
    // A range takes its first time, and leaves its last one out.
    let (from, to) = (all[5].0.to_string(), all[9].0.to_string());
    let some = columns(&export(&["furnace.wall", "--from", &from, "--to", &to]));
    assert_eq!(some["furnace.wall"], all[5..9]);

    let unknown = output(
        kymo()
            .args(["export", "furnace.flame"])
            .arg("--data-dir")
            .arg(&data),
    );
    expect_status(&unknown, 2);
    assert!(text(&unknown.stderr).contains("there are chamber.pressure, imu.ax"));
    let events = export(&["--what", "events"]);
    assert!(events.starts_with("time,event,source,text\n"), "{events}");
    assert!(
        events.contains(",connected,vibration,connected"),
        "{events}"
    );
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it can be signalled");
}

fn status_of(mut child: Child) -> Option<i32> {
    let mut status = None;
    wait_until("the run ends", || {
        status = child.try_wait().expect("it is our child");
        status.is_some()
    });
    status.and_then(|status| status.code())
}

/// An end by signal is an end in order.
#[test]
fn a_signal_ends_the_run_in_order() {
    for order in [Signal::INT, Signal::TERM] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (data, report) = (dir.path().join("data"), dir.path().join("report.json"));
        let child = endless(&data, &["--report".as_ref(), report.as_os_str()]);
        signal(&child, order);
        assert_eq!(status_of(child), Some(0));
        assert_eq!(json(&report)["ledger"]["balanced"], true);
        assert_eq!(runs(&data), [true]);
    }
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (data, report) = (dir.path().join("data"), dir.path().join("report.json"));
    let child = endless(&data, &["--report".as_ref(), report.as_os_str()]);
    // It finds both when it goes on, so it cannot have ended in order between the two.
    signal(&child, Signal::STOP);
    signal(&child, Signal::INT);
    signal(&child, Signal::TERM);
    signal(&child, Signal::CONT);
    assert_eq!(status_of(child), Some(1));
    assert_eq!(runs(&data), [false], "there was no time for a ledger");
}

/// Whether each run in the journal, which must be sound, was closed.
fn runs(data: &Path) -> Vec<bool> {
    let verify = output(
        kymo()
            .args(["journal", "verify", "--json"])
            .arg("--data-dir")
            .arg(data),
    );
    expect_status(&verify, 0);
    let found: Value = serde_json::from_slice(&verify.stdout).expect("JSON");
    let runs = found["runs"].as_array().expect("a list").iter();
    runs.map(|run| run["closed"] == true).collect()
}
