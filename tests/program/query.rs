//! What `kymo show`, `kymo query` and `kymo export` find: while a run goes on, after it, and without its journal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use kymo::clock::Clock;
use serde_json::Value;

use super::lab::{self, expect_status, interrupt, journal_of, kymo, output, text, wait_until};
use super::run::{columns, truth};

mod python;

type Columns = HashMap<String, Vec<(i64, f64)>>;

const CHANNELS: [&str; 3] = ["chamber.pressure", "imu.gz", "vibration.velocity"];

/// A run that goes on, whose segments are finished every second; stopped at the end of the test.
struct Running {
    child: Child,
    data: PathBuf,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let (config, data) = (dir.join("lab.toml"), dir.join("data"));
        let shipped = include_str!("../../config.toml");
        let with_store = format!("{shipped}\n[store]\nsegment_age = \"1s\"\n");
        std::fs::write(&config, with_store).expect("a file");
        let mut command = lab::run();
        command.arg("--config").arg(&config);
        command.arg("--data-dir").arg(&data);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self {
            child: child.expect("the program can be started"),
            data,
        }
    }

    fn stop(mut self) -> PathBuf {
        interrupt(&self.child);
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}");
        self.data.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three seconds of the shipped laboratory.
fn recorded(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    let run = output(
        lab::run()
            .args(["--duration", "3s"])
            .arg("--data-dir")
            .arg(&data),
    );
    expect_status(&run, 0);
    data
}

/// What a command says on standard output and on standard error.
#[track_caller]
fn said(data: &Path, args: &[&str]) -> (String, String) {
    let done = output(kymo().args(args).arg("--data-dir").arg(data));
    expect_status(&done, 0);
    (text(&done.stdout), text(&done.stderr))
}

#[track_caller]
fn query(data: &Path, args: &[&str]) -> Columns {
    let fixed = ["query", "--format", "csv", "--time", "ns"];
    columns(&said(data, &[&fixed, args].concat()).0)
}

#[track_caller]
fn show(data: &Path) -> Value {
    serde_json::from_str(&said(data, &["show", "--json"]).0).expect("JSON")
}

/// Every sample from the first on, once, in order, and each as it was sent.
#[track_caller]
fn expect_whole(columns: &Columns) {
    for (channel, samples) in columns {
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "{channel} rises");
        for (index, (_, value)) in (0..).zip(samples) {
            let truth = truth(channel, index);
            assert!(
                value.to_bits() == truth.to_bits(),
                "{channel} {index}: {value} is not {truth}"
            );
        }
    }
}

fn segments(data: &Path, lane: &str) -> Vec<PathBuf> {
    let store = std::fs::read_dir(data.join("store")).into_iter().flatten();
    let lanes = store.flatten().map(|run| run.path().join(lane));
    let files = lanes.flat_map(|lane| std::fs::read_dir(lane).into_iter().flatten().flatten());
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn a_run_that_goes_on_is_read_whole_out_of_segments_and_journal() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(dir.path());
    let data = running.data.clone();
    wait_until("two segments", || segments(&data, "imu").len() >= 2);
    let mut rows = 0;
    let mut joined = 0;
    // Some of these are read while a segment is being finished.
    for _ in 0..8 {
        let (csv, summary) = said(
            &data,
            &[
                &["query", "--format", "csv", "--time", "ns", "--json"],
                &CHANNELS[..],
            ]
            .concat(),
        );
        let found = columns(&csv);
        assert_eq!(found.len(), CHANNELS.len());
        expect_whole(&found);
        let now = found["vibration.velocity"].len();
        assert!(now >= rows, "what was there once stays");
        rows = now;
        let summary: Value = serde_json::from_str(&summary).expect("JSON");
        let count = |key: &str| summary[key].as_u64().expect("a count");
        assert!(count("row_groups_read") >= 2, "{summary}");
        joined += u64::from(count("journal_rows") > 0);
    }
    assert!(joined > 0, "some came out of the journal");

    let before_ns = Clock::system().now_ns();
    let recent = query(&data, &["chamber.*", "imu.*", "--from", "-10s"]);
    for channel in ["chamber.pressure", "imu.ax"] {
        let times = recent
            .get(channel)
            .expect("samples of the last seconds")
            .iter();
        let (first, last) = (times.clone().next(), times.clone().next_back());
        assert!(first.is_some_and(|(time, _)| *time >= before_ns - 10_000_000_000));
        assert!(last.is_some_and(|(time, _)| *time >= before_ns - 10_000_000_000));
    }
    let shown = show(&data);
    assert_eq!(shown["runs"][0]["state"], "going on", "{shown}");
    assert_eq!(shown["runs"][0]["closed"], false);

    let data = running.stop();
    let all = query(&data, &[]);
    assert_eq!(all.len(), 12);
    expect_whole(&all);
    let shown = show(&data);
    let run = &shown["runs"][0];
    assert_eq!(
        (&run["state"], &run["closed"]),
        (&"closed".into(), &true.into())
    );
    let lanes = run["lanes"].as_array().expect("a list");
    for (lane, channel) in lanes
        .iter()
        .zip(["chamber.pressure", "imu.ax", "furnace.wall"])
    {
        let samples = &all[channel];
        assert_eq!(lane["rows"].as_u64(), Some(samples.len() as u64), "{lane}");
        assert_eq!(lane["from_ns"].as_i64(), samples.first().map(|s| s.0));
        assert_eq!(lane["to_ns"].as_i64(), samples.last().map(|s| s.0));
        assert_eq!(lane["gaps"], 0, "{lane}");
        assert!(lane["bytes"].as_u64() > Some(1000), "{lane}");
    }
}

#[test]
fn what_is_gone_from_the_journal_is_exported_all_the_same() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = recorded(dir.path());
    let export = |args: &[&str]| said(&data, &[&["export"], args].concat()).0;
    let what = [&[][..], &["--what", "gaps"], &["--what", "events"]];
    let before = what.map(export);
    for file in std::fs::read_dir(journal_of(&data)).expect("a journal") {
        let path = file.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "kyj") {
            std::fs::remove_file(path).expect("it is ours");
        }
    }
    let after = what.map(export);
    assert!(before == after, "the journal is not needed");
    assert_eq!(show(&data)["runs"][0]["closed"], true);
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn bins_hold_the_statistics_of_their_samples() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = recorded(dir.path());
    let every_ns = 250_000_000;
    let samples = query(&data, &["imu.a*", "furnace.wall"]);
    let stats = "count,mean,min,max,first,last,sum,std,p50,p99.9";
    let every = ["--every", "250ms", "--stat", stats];
    let bins = query(&data, &[&["imu.a*", "furnace.wall"], &every[..]].concat());
    assert_eq!(bins.len(), 4 * 10);
    for (channel, samples) in samples {
        let mut by_bin: Vec<(i64, Vec<f64>)> = Vec::new();
        for (time_ns, value) in samples {
            let bin = time_ns.div_euclid(every_ns) * every_ns;
            match by_bin.last_mut().filter(|(last, _)| *last == bin) {
                Some((_, values)) => values.push(value),
                None => by_bin.push((bin, vec![value])),
            }
        }
        assert!(by_bin.len() > 4);
        for (bin, values) in by_bin {
            let found = |stat: &str| {
                let column = &bins[&format!("{channel}.{stat}")];
                let cell = column.iter().find(|(time, _)| *time == bin);
                cell.unwrap_or_else(|| panic!("{channel} {bin} {stat}")).1
            };
            let count = values.len() as f64;
            let sum: f64 = values.iter().sum();
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            for (stat, truth) in [
                ("count", count),
                ("sum", sum),
                ("mean", sum / count),
                ("min", sorted[0]),
                ("max", sorted[sorted.len() - 1]),
                ("first", values[0]),
                ("last", values[values.len() - 1]),
            ] {
                assert_eq!(found(stat).to_bits(), truth.to_bits(), "{channel} {stat}");
            }
            let squares: f64 = values.iter().map(|x| (x - sum / count).powi(2)).sum();
            if count > 1.0 {
                let std = (squares / (count - 1.0)).sqrt();
                assert!((found("std") - std).abs() <= 1e-9 * std.max(1.0));
            }
            for (stat, share) in [("p50", 0.5), ("p99.9", 0.999)] {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let truth = sorted[(share * (count - 1.0)) as usize];
                let error = (found(stat) - truth).abs();
                assert!(error <= 0.00101 * truth.abs(), "{channel} {stat} {truth}");
            }
        }
    }
    let too_many = output(
        kymo()
            .args(["query", "--every", "1us", "--stat", stats])
            .arg("--data-dir")
            .arg(&data),
    );
    expect_status(&too_many, 1);
    assert!(text(&too_many.stderr).contains("take a longer --every"));
}

#[test]
fn what_is_unknown_is_said_with_what_there_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = recorded(dir.path());
    for (args, part) in [
        (
            &["query", "imu.q"][..],
            "there are chamber.pressure, imu.ax",
        ),
        (&["query", "["], "is no pattern"),
        (&["query", "--run", "yesterday"], "there are 20"),
        (&["show", "yesterday"], "there are 20"),
        (&["query", "--from", "soon"], "is no time"),
        (&["query", "--every", "0s"], "longer than 0"),
        (
            &["query", "--every", "1s", "--stat", "median"],
            "there are count, mean",
        ),
        (&["query", "--stat", "mean"], "--every"),
    ] {
        let refused = output(kymo().args(args).arg("--data-dir").arg(&data));
        expect_status(&refused, 2);
        assert!(
            text(&refused.stderr).contains(part),
            "{args:?}: {}",
            text(&refused.stderr)
        );
    }
    let nowhere = dir.path().join("nowhere");
    for command in ["show", "query", "export"] {
        let missing = output(kymo().arg(command).arg("--data-dir").arg(&nowhere));
        expect_status(&missing, 2);
    }
    let table = said(&data, &["query", "imu.ax", "furnace.wall"]).0;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2 + 20 + 20 + 1, "{table}");
    assert!(
        lines[1].contains("m/s2") && lines[1].contains("Cel"),
        "{table}"
    );
    assert!(lines[42].contains("more rows"), "{table}");
    let (line, _) = said(&data, &["query", "furnace.wall", "--format", "jsonl"]);
    let first: Value = serde_json::from_str(line.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        first["furnace.wall"].as_f64(),
        Some(truth("furnace.wall", 0))
    );
    // A range outside everything is empty, not an error.
    assert!(query(&data, &["--to", "1970-01-02"]).is_empty());
}
