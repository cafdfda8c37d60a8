//! Captures played again: the same samples at the same times, whatever the speed; and what is refused.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kymo::capture::{Described, Entry, Options, SourceInfo, What, Writer};
use kymo_drivers::block::{Gap, GapReason};
use rustix::fs::OFlags;
use serde_json::Value;

use super::lab::{
    CHAMBER, FURNACE, Lab, Recorded, events, expect_status, json, kymo, output, recorded_lane,
    text, wait_until,
};

/// What is made of chamber and furnace: rules of several kinds, windows with quantiles and spectra, a derived source that joins
/// both.
const MADE: &str = r#"
[capture]
record = true
chunk_interval = "100ms"
chunk_size = "64KiB"

[[window]]
channels = ["chamber.pressure"]
length = "100ms"
statistics = ["mean", "p50", "peak_hz"]

[derived.joined]
clock = "furnace"
[[derived.joined.channel]]
name = "both"
unit = "bar"
expression = "chamber.pressure * 2 + furnace.sample * 0 bar"

[[rule]]
name = "pressed"
channel = "chamber.pressure"
above = 2
clear = 1.5
[[rule]]
name = "lost"
channel = "furnace.sample"
kind = "no-data"
after = "300ms"
[[rule]]
name = "joined"
when = "mean(chamber.pressure, 5ms) > 2 bar and furnace.sample > -1000"

[notifier.told]
type = "log"
path = "PATH"
"#;

/// A run of two devices that was recorded: one sent rubbish and lost frames, the other was unplugged for a while.
struct Taken {
    dir: tempfile::TempDir,
    capture: PathBuf,
    data: PathBuf,
    report: Value,
}

impl Taken {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("told.log");
        let made = MADE.replace("PATH", &log.display().to_string());
        let furnace = format!("{FURNACE}rate_hz = 200\n");
        let data = dir.path().join("data");
        let lab = Lab::start_in(&format!("{CHAMBER}{furnace}{made}"), &data);
        let frames = |source: usize, more: u64| {
            let before = lab.frames(source);
            wait_until("frames come", || lab.frames(source) >= before + more);
        };
        frames(0, 300);
        frames(1, 50);
        lab.simulator(0).inject(vec![0x55; 40]);
        lab.simulator(0).corrupt_next(3);
        frames(0, 100);
        lab.simulator(0).skip(7);
        lab.simulator(1).unplug().expect("it hangs up");
        // Longer than the rule waits for data.
        frames(0, 900);
        lab.simulator(1).replug().expect("it comes back");
        frames(1, 100);
        frames(0, 300);
        let capture = lab.run.capture().expect("it is recorded").to_owned();
        let (report, _) = lab.stop();
        let report = serde_json::to_value(&report).expect("it is JSON");
        // What notified the run must not be taken for what notifies a replay.
        let _ = std::fs::remove_file(log);
        Self {
            dir,
            capture,
            data,
            report,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn replay(&self, args: &[&str]) -> Output {
        output(replay(&self.capture).args(args))
    }

    /// Replayed into a directory of this name, and reported.
    fn replayed(&self, name: &str, args: &[&str]) -> (PathBuf, Value) {
        let (data, report) = (self.file(name), self.file(&format!("{name}.json")));
        let mut command = replay(&self.capture);
        command.args(args).arg("--data-dir").arg(&data);
        expect_status(&output(command.arg("--report").arg(&report)), 0);
        (data, json(&report))
    }
}

fn replay(capture: &Path) -> Command {
    let mut command = kymo();
    command.arg("replay").arg(capture);
    command
}

/// Where frames are missing: from when to when, how many, why.
fn gaps(recorded: &Recorded) -> Vec<(i64, i64, Option<u64>, GapReason)> {
    let gaps = recorded.gaps.iter();
    gaps.map(|gap: &Gap| (gap.from_ns, gap.to_ns, gap.frames, gap.reason))
        .collect()
}

fn bits(recorded: &Recorded) -> Vec<Vec<u64>> {
    let columns = recorded.columns.iter();
    columns
        .map(|column| column.iter().map(|value| value.to_bits()).collect())
        .collect()
}

/// The changes of a rule: what, when, by which value, in which frame.
fn changes(data: &Path, rule: &str) -> Vec<(Value, Value, Value, Value)> {
    let mut events = events(data);
    events.retain(|event| event["event"] == "alert" && event["rule"] == rule);
    let part = |event: &Value, key: &str| event[key].clone();
    events
        .iter()
        .map(|event| {
            (
                part(event, "change"),
                part(event, "time"),
                part(event, "value"),
                part(event, "frame"),
            )
        })
        .collect()
}

#[test]
fn a_replay_gives_what_the_run_gave_value_for_value_and_time_for_time() {
    let taken = Taken::new();
    let (data, report) = taken.replayed("max", &["--speed", "max"]);
    for source in 0..2 {
        let (of_run, of_replay) = (
            recorded_lane(&taken.data, source, 0),
            recorded_lane(&data, source, 0),
        );
        assert!(of_run.times_ns.len() > 100);
        assert_eq!(of_run.times_ns, of_replay.times_ns, "source {source}");
        assert_eq!(bits(&of_run), bits(&of_replay), "source {source}");
        assert_eq!(gaps(&of_run), gaps(&of_replay), "source {source}");
    }
    for (source, of_run) in taken.report["sources"].as_object().expect("sources") {
        for count in [
            "frames",
            "corrupt_frames",
            "skipped_bytes",
            "lost_by_device",
            "reconnects",
        ] {
            let of_replay = &report["sources"][source][count];
            assert_eq!(&of_run[count], of_replay, "{source} {count}");
        }
    }
    assert_eq!(report["ledger"]["balanced"], true);
    assert_eq!(report["ledger"]["dropped"], 0);
    let pressed = changes(&taken.data, "pressed");
    assert!(!pressed.is_empty());
    assert_eq!(pressed, changes(&data, "pressed"));
    assert!(
        report["alerts"]["lost"]["fired"].as_u64() >= Some(1),
        "{report}"
    );
    assert!(
        report["alerts"]["joined"]["fired"].as_u64() >= Some(1),
        "{report}"
    );
    // Windows and the joined source.
    assert!(recorded_lane(&data, 0, 1).times_ns.len() >= 10);
    assert_eq!(
        recorded_lane(&data, 2, 0).times_ns,
        recorded_lane(&data, 1, 0).times_ns
    );
    let replayed = &report["replay"];
    assert_eq!(replayed["speed"], "max");
    assert_eq!(
        replayed["sources"],
        serde_json::json!(["chamber", "furnace"])
    );
    assert!(replayed["reads"].as_u64() > Some(100));
    assert_eq!(replayed["jitter_us"]["count"], 0);
    // Whoever was to be told of alerts was told by the run, and not by its replay.
    assert!(!taken.file("told.log").exists());

    let audit = output(kymo().args(["audit", "--data-dir"]).arg(&data));
    expect_status(&audit, 0);
}

#[test]
fn notifiers_act_in_a_replay_if_they_are_asked_to() {
    let taken = Taken::new();
    taken.replayed("told", &["--speed", "max", "--sinks"]);
    let told = std::fs::read_to_string(taken.file("told.log")).expect("a log");
    assert!(told.contains("pressed"), "{told}");
}

#[test]
fn the_same_comes_of_a_capture_at_any_speed_and_under_any_load() {
    let taken = Taken::new();
    let verified = || {
        let said = taken.replay(&["--verify", "--json"]);
        expect_status(&said, 0);
        let said: Value = serde_json::from_slice(&said.stdout).expect("it is JSON");
        assert_eq!(said["same"], true);
        said
    };
    let (first, again) = (verified(), verified());
    assert_eq!(first["hash"], again["hash"]);
    let trials = first["trials"].as_array().expect("trials");
    let names: Vec<&str> = trials
        .iter()
        .filter_map(|trial| trial["trial"].as_str())
        .collect();
    assert_eq!(names, ["max, disturbed", "1 x", "10 x"]);
    for trial in trials {
        assert_eq!(trial["hash"], trial["other"], "{trial}");
        assert!(trial["samples"].as_u64() > Some(1000), "{trial}");
    }
    assert!(trials[0]["alerts"].as_u64() >= Some(3), "{}", trials[0]);
    assert!(trials[0]["events"].as_u64() >= Some(4), "{}", trials[0]);
    // Another part, another hash.
    let part = taken.replay(&["--verify", "--json", "--to", "+500ms"]);
    let part: Value = serde_json::from_slice(&part.stdout).expect("it is JSON");
    assert_ne!(first["hash"], part["hash"]);
}

#[test]
fn of_a_torn_capture_what_is_whole_is_played_and_the_rest_is_said() {
    let taken = Taken::new();
    let torn = taken.file("torn.mcap");
    let bytes = std::fs::read(&taken.capture).expect("a capture");
    std::fs::write(&torn, &bytes[..bytes.len() * 6 / 10]).expect("a file");
    let (data, report) = (taken.file("torn"), taken.file("torn.json"));
    let mut command = replay(&torn);
    command.args(["--speed", "max", "--data-dir"]).arg(&data);
    let said = output(command.arg("--report").arg(&report));
    expect_status(&said, 1);
    assert!(
        text(&said.stderr).contains("the capture is damaged"),
        "{}",
        text(&said.stderr)
    );
    let report = json(&report);
    assert_eq!(report["ledger"]["balanced"], true);
    assert_eq!(report["replay"]["damaged"], 1);
    let whole = recorded_lane(&taken.data, 0, 0).times_ns;
    let part = recorded_lane(&data, 0, 0).times_ns;
    assert!(!part.is_empty() && part.len() < whole.len());
    assert_eq!(part, whole[..part.len()]);
}

#[test]
fn a_part_of_the_time_and_of_the_sources_is_played() {
    let taken = Taken::new();
    let args = [
        "--speed", "max", "--from", "+200ms", "--to", "+600ms", "--source", "chamber",
    ];
    let (data, report) = taken.replayed("part", &args);
    let whole = recorded_lane(&taken.data, 0, 0).times_ns;
    let part = recorded_lane(&data, 0, 0).times_ns;
    assert!((100..=500).contains(&part.len()), "{}", part.len());
    assert!(part.iter().all(|time_ns| whole.contains(time_ns)));
    assert_eq!(report["sources"]["furnace"]["frames"], 0);
    assert_eq!(report["replay"]["sources"], serde_json::json!(["chamber"]));
}

#[test]
fn a_replay_begins_again_until_its_time_is_over() {
    let taken = Taken::new();
    let args = [
        "--speed",
        "10",
        "--to",
        "+400ms",
        "--source",
        "chamber",
        "--loop",
        "--duration",
        "3s",
    ];
    let (data, report) = taken.replayed("loop", &args);
    let times_ns = recorded_lane(&data, 0, 0).times_ns;
    // Of one pass there are 400 at most.
    assert!(times_ns.len() > 800, "{}", times_ns.len());
    assert!(times_ns.is_sorted_by(|a, b| a < b), "times go on");
    let late = &report["replay"]["jitter_us"];
    assert_eq!(late["count"], report["replay"]["reads"]);
    assert!(report["duration_s"].as_f64() >= Some(3.0));
}

#[test]
fn a_replay_has_a_new_directory_of_its_own() {
    let taken = Taken::new();
    let here = taken.file("a.mcap");
    std::fs::copy(&taken.capture, &here).expect("a copy");
    for name in ["a.replay", "a.replay-2"] {
        let mut command = replay(&here);
        command.args(["--speed", "max", "--to", "+300ms"]);
        let said = output(command.current_dir(taken.dir.path()));
        expect_status(&said, 0);
        assert!(text(&said.stdout).contains(name), "{}", text(&said.stdout));
        assert!(taken.file(name).join("journal").is_dir());
    }
}

/// A capture of one source, with what is given.
fn made(dir: &Path, configuration: &str, entries: &[Entry]) -> PathBuf {
    let path = dir.join("made.mcap");
    let described = Described {
        run: "20261123T080000.000Z-0001".to_owned(),
        started_ns: 1_795_420_800_000_000_000,
        host: "here".to_owned(),
        kymo: "0.1.0".to_owned(),
        configuration: configuration.to_owned(),
        calibration: std::collections::BTreeMap::default(),
        sources: vec![SourceInfo {
            name: "imu".to_owned(),
            link: "a test's".to_owned(),
            starts_whole: true,
        }],
    };
    let mut writer = Writer::create(&path, described, Options::default()).expect("a capture");
    for entry in entries {
        writer.write(entry).expect("it is written");
    }
    writer.finish().expect("it is finished");
    path
}

#[test]
fn what_cannot_be_played_is_refused_and_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let refused = |capture: &Path, args: &[&str], why: &str| {
        let said = output(replay(capture).args(args).current_dir(dir.path()));
        expect_status(&said, 2);
        assert!(text(&said.stderr).contains(why), "{}", text(&said.stderr));
        let left = std::fs::read_dir(dir.path()).expect("a directory").count();
        assert!(left <= 1, "nothing was touched");
    };
    refused(&dir.path().join("no.mcap"), &[], "no.mcap");
    let empty = made(dir.path(), "", &[]);
    refused(&empty, &[], "there is nothing in the capture");
    std::fs::remove_file(empty).expect("it is there");

    let read = Entry {
        time_ns: 1_795_420_800_000_000_000,
        source: Some(0),
        what: What::Read(b"1,2\n".to_vec().into()),
    };
    let capture = made(dir.path(), "", std::slice::from_ref(&read));
    refused(&capture, &[], "--config FILE");
    refused(&capture, &["--source", "imuu"], "did you mean `imu`?");
    refused(&capture, &["--from", "+1h"], "nothing between");
    refused(&capture, &["--speed", "0"], "no speed");
    refused(&capture, &["--verify", "--loop"], "--loop");
    std::fs::remove_file(capture).expect("it is there");
    let capture = made(dir.path(), "source = 1", &[read]);
    refused(&capture, &[], "the capture's configuration");
}

/// All that a port gives until it is hung up on.
fn read_port(link: &Path) -> Vec<u8> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let port = rustix::fs::open(link, flags, rustix::fs::Mode::empty()).expect("a port");
    let (mut port, mut all) = (std::fs::File::from(port), Vec::new());
    let mut buffer = [0; 4096];
    // A hang-up is an error or the end.
    while let Ok(count @ 1..) = port.read(&mut buffer) {
        all.extend_from_slice(&buffer[..count]);
    }
    all
}

/// Plays the chamber on a pseudo-terminal: what a reader was given, and the report.
fn on_a_port(taken: &Taken, args: &[&str]) -> (Vec<u8>, Value) {
    let (links, report) = (taken.file("links"), taken.file("port.json"));
    let mut command = replay(&taken.capture);
    command.args(["--pty", "--source", "chamber", "--json"]);
    command.args(args).arg("--link-dir");
    let mut child = command
        .arg(&links)
        .arg("--report")
        .arg(&report)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let started = lines.next().expect("a line").expect("text");
    let started: Value = serde_json::from_str(&started).expect("it is JSON");
    let link = PathBuf::from(started["started"]["link"].as_str().expect("a link"));
    assert_eq!(link, links.join("chamber"));
    let all = read_port(&link);
    assert!(child.wait().expect("it ends").success());
    assert!(!link.exists(), "the link is gone");
    (all, json(&report))
}

#[test]
fn a_source_on_a_pseudo_terminal_gives_the_bytes_of_its_device() {
    let taken = Taken::new();
    let raw = taken.file("raw");
    let export = output(
        kymo()
            .args(["capture", "export", "--raw", "--output"])
            .args([&raw, &taken.capture]),
    );
    expect_status(&export, 0);
    let sent = std::fs::read(raw.join("chamber.bin")).expect("its bytes");
    let (given, report) = on_a_port(&taken, &["--speed", "max"]);
    assert_eq!(given, sent);
    assert_eq!(report["ports"]["chamber"]["bytes"], sent.len());

    let (given, report) = on_a_port(&taken, &["--speed", "1"]);
    let counts = &report["ports"]["chamber"];
    let count = |key: &str| counts[key].as_u64().expect("a count");
    assert_eq!(given.len() as u64, count("bytes"));
    let lost = count("no_room_bytes") + count("no_reader_bytes");
    assert_eq!(given.len() as u64 + lost, sent.len() as u64);
    let late = &report["replay"]["jitter_us"];
    assert_eq!(late["count"], report["replay"]["reads"]);
    assert!(late["p99"].as_f64() <= late["max"].as_f64());
    // The figures are for people; only what no loaded machine takes is an error.
    assert!(late["p50"].as_f64() < Some(1e6), "{late}");
}

#[test]
fn a_source_on_a_pseudo_terminal_begins_again_and_hangs_up_on_nobody() {
    let taken = Taken::new();
    let part = ["--speed", "max", "--to", "+400ms"];
    let (once, _) = on_a_port(&taken, &part);
    assert!(once.len() > 100, "{}", once.len());
    let (all, _) = on_a_port(
        &taken,
        &[&part[..], &["--loop", "--duration", "2s"]].concat(),
    );
    assert!(all.len() > 2 * once.len(), "{}", all.len());
    assert_eq!(all[..once.len()], once);
    assert_eq!(all[once.len()..2 * once.len()], once);
}
