//! Captures of whole runs: what is in them, what other programs read of them, what survives a crash and a full disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::disk::with_file_system;
use super::lab::{
    self, CHAMBER, FURNACE, expect_status, json, kymo, output, python_with, text, wait_until,
};

/// A run of two simulated devices that is recorded into `a.mcap`.
struct Recorded {
    dir: tempfile::TempDir,
    report: Value,
}

impl Recorded {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn configuration(dir: &Path) -> PathBuf {
    let config = dir.join("lab.toml");
    let simulator = "[simulator.furnace]\ndevice = \"thermocouple-logger\"\nrate_hz = 200\n";
    let furnace = FURNACE.split("[simulator").next().unwrap_or_default();
    std::fs::write(&config, format!("{CHAMBER}{furnace}{simulator}")).expect("a file");
    config
}

fn record(duration: &str) -> Recorded {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = configuration(dir.path());
    let (capture, report) = (dir.path().join("a.mcap"), dir.path().join("report.json"));
    let run = output(
        kymo()
            .args(["record", "--no-serve", "--duration", duration, "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .arg("--output")
            .arg(&capture)
            .arg("--report")
            .arg(&report),
    );
    expect_status(&run, 0);
    let report = json(&report);
    Recorded { dir, report }
}

fn capture(args: &[&str], paths: &[&Path]) -> std::process::Output {
    output(kymo().arg("capture").args(args).args(paths))
}

fn info(path: &Path) -> Value {
    let said = capture(&["info", "--json"], &[path]);
    serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{}", text(&said.stderr)))
}

/// Python with all that reads a capture, if there is one.
fn python() -> Option<String> {
    python_with("mcap, lz4, jsonschema, google.protobuf")
}

/// Reads a capture as anybody would who has never heard of Kymo: messages are decoded by the schemas in the file alone.
const READ: &str = r#"
import json, sys
import jsonschema
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mcap.reader import make_reader
topics, metadata, order = {}, {}, True
with open(sys.argv[1], "rb") as f:
    reader = make_reader(f, validate_crcs=True)
    header = reader.get_header()
    for m in reader.iter_metadata():
        metadata[m.name] = m.metadata
    last = 0
    classes = {}
    for schema, channel, message in reader.iter_messages():
        order &= message.log_time >= last
        last = message.log_time
        t = topics.setdefault(channel.topic, {
            "schema": schema.name, "encoding": schema.encoding, "message_encoding": channel.message_encoding,
            "count": 0, "bytes": 0, "first": message.log_time, "metadata": channel.metadata, "messages": []})
        t["count"] += 1
        t["last"] = message.log_time
        if schema.encoding == "protobuf":
            if schema.id not in classes:
                files = descriptor_pb2.FileDescriptorSet.FromString(schema.data)
                pool = descriptor_pool.DescriptorPool()
                for file in files.file:
                    pool.Add(file)
                classes[schema.id] = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
            t["bytes"] += len(classes[schema.id].FromString(message.data).data)
        else:
            value = json.loads(message.data)
            jsonschema.validate(value, json.loads(schema.data))
            t["messages"].append(value)
    summary = reader.get_summary()
json.dump({"profile": header.profile, "library": header.library, "topics": topics, "metadata": metadata,
           "order": order, "count": summary.statistics.message_count, "chunks": len(summary.chunk_indexes)}, sys.stdout)
"#;

fn read_by(python: &str, path: &Path) -> Value {
    let read = output(Command::new(python).args(["-c", READ]).arg(path));
    expect_status(&read, 0);
    serde_json::from_slice(&read.stdout).expect("JSON")
}

#[test]
fn a_capture_has_every_byte_that_was_read_and_info_says_so() {
    let recorded = record("1500ms");
    let found = info(&recorded.file("a.mcap"));
    assert_eq!(found["whole"], true, "{found}");
    for (place, name) in ["chamber", "furnace"].into_iter().enumerate() {
        let of_run = &recorded.report["sources"][name];
        let of_capture = &found["sources"][place];
        assert_eq!(of_capture["source"], name);
        assert!(of_run["bytes"].as_u64() > Some(0));
        assert_eq!(of_capture["bytes"], of_run["bytes"]);
        assert_eq!(of_run["capture"]["recorded_bytes"], of_run["bytes"]);
        assert_eq!(of_run["capture"]["not_recorded_bytes"], 0);
        assert_eq!(of_capture["opened"], 1);
    }
    assert_eq!(found["run"], recorded.report["run"]);
    assert_eq!(recorded.report["capture"]["files"], 1);
    let config = capture(&["info", "--config"], &[&recorded.file("a.mcap")]);
    let written = std::fs::read_to_string(recorded.file("lab.toml")).expect("it is there");
    assert_eq!(text(&config.stdout).trim_end(), written.trim_end());
    // Nothing is written over.
    let again = output(
        kymo()
            .args(["record", "--no-serve", "--duration", "1s", "--config"])
            .arg(recorded.file("lab.toml"))
            .arg("--data-dir")
            .arg(recorded.file("data"))
            .arg("--output")
            .arg(recorded.file("a.mcap")),
    );
    expect_status(&again, 2);
    assert!(
        text(&again.stderr).contains("File exists"),
        "{}",
        text(&again.stderr)
    );
}

#[test]
fn python_opens_a_capture_with_its_schemas_times_and_metadata() {
    let Some(python) = python() else { return };
    let recorded = record("1s");
    let found = read_by(&python, &recorded.file("a.mcap"));
    assert_eq!(found["profile"], "kymo");
    assert_eq!(found["order"], true);
    for name in ["chamber", "furnace"] {
        let topic = &found["topics"][format!("/{name}/read")];
        assert_eq!(topic["schema"], "kymo.Bytes");
        assert_eq!(topic["encoding"], "protobuf");
        assert_eq!(topic["message_encoding"], "protobuf");
        assert_eq!(topic["bytes"], recorded.report["sources"][name]["bytes"]);
        assert_eq!(topic["metadata"]["source"], name);
        let link = &found["topics"][format!("/{name}/link")];
        assert_eq!(link["schema"], "kymo.Link");
        assert_eq!(link["encoding"], "jsonschema");
        assert_eq!(link["messages"][0]["what"], "opened");
        assert_eq!(link["messages"][1]["what"], "left");
        assert!(link["first"].as_u64() <= topic["first"].as_u64());
        assert!(link["last"].as_u64() >= topic["last"].as_u64());
    }
    let events = &found["topics"]["/events"];
    assert_eq!(events["schema"], "kymo.Event");
    assert_eq!(events["messages"][0]["event"], "connected");
    let run = &found["metadata"]["kymo.run"];
    assert_eq!(run["run"], recorded.report["run"]);
    let written = std::fs::read_to_string(recorded.file("lab.toml")).expect("it is there");
    assert_eq!(found["metadata"]["kymo.configuration"]["text"], written);
    assert!(found["metadata"]["kymo.calibration"]["chamber.pressure"].is_string());
}

#[test]
fn a_capture_of_a_killed_run_has_all_but_the_last_second_and_recovers() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = configuration(dir.path());
    let data = dir.path().join("data");
    let mut child = kymo()
        .args(["record", "--no-serve", "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started");
    let captures = data.join("captures");
    let size = || {
        let files = std::fs::read_dir(&captures).into_iter().flatten().flatten();
        files
            .filter_map(|file| Some(file.metadata().ok()?.len()))
            .sum::<u64>()
    };
    wait_until("the capture has two seconds", || size() > 20_000);
    // Of what is not whole yet `info` counts all that is.
    let events = || {
        let said = capture(&["info", "--json"], &[&captures]).stdout;
        let found: Value = serde_json::from_slice(&said).unwrap_or_default();
        found["events"].as_u64().unwrap_or(0)
    };
    wait_until("the devices' coming is recorded", || events() >= 2);
    let before = events();
    let noted = output(
        kymo()
            .args(["note", "pump on", "--who", "anna", "--data-dir"])
            .arg(&data),
    );
    expect_status(&noted, 0);
    wait_until("the note is recorded", || events() > before);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");

    let torn = capture(&["info", "--json"], &[&captures]);
    expect_status(&torn, 1);
    let found: Value = serde_json::from_slice(&torn.stdout).expect("JSON");
    assert_eq!(found["whole"], false);
    let whole = dir.path().join("whole.mcap");
    let recovered = capture(&["recover", "--output"], &[&whole, &captures]);
    expect_status(&recovered, 0);
    let again = info(&whole);
    assert_eq!(again["whole"], true);
    for key in ["run", "sources", "events", "configuration", "calibration"] {
        assert_eq!(again[key], found[key], "{key}");
    }
    assert!(
        again["sources"][0]["bytes"].as_u64() > Some(5000),
        "{again}"
    );
    let exported = dir.path().join("csv");
    let csv = capture(&["export", "--output"], &[&exported, &whole]);
    expect_status(&csv, 0);
    if let Some(python) = python() {
        let found = read_by(&python, &whole);
        let events = found["topics"]["/events"]["messages"]
            .as_array()
            .expect("events");
        assert!(events.iter().any(|event| event["text"] == "pump on (anna)"));
    }
}

#[test]
fn what_is_exported_is_what_the_run_recorded_to_the_last_bit() {
    let recorded = record("1s");
    let csv = recorded.file("csv");
    let said = capture(&["export", "--output"], &[&csv, &recorded.file("a.mcap")]);
    expect_status(&said, 0);
    for name in ["chamber", "furnace"] {
        let of_run = output(
            kymo()
                .args(["export", &format!("{name}.*"), "--data-dir"])
                .arg(recorded.file("data")),
        );
        expect_status(&of_run, 0);
        let of_capture =
            std::fs::read_to_string(csv.join(format!("{name}.csv"))).expect("it is there");
        // The names of the columns differ: there is one source here.
        let rows = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        let (of_run, of_capture) = (rows(&text(&of_run.stdout)), rows(&of_capture));
        assert!(of_run.len() > 20, "{}", of_run.len());
        assert_eq!(of_run, of_capture, "{name}");
    }
    let raw = recorded.file("raw");
    let said = capture(
        &["export", "--raw", "--output"],
        &[&raw, &recorded.file("a.mcap")],
    );
    expect_status(&said, 0);
    let bytes = std::fs::metadata(raw.join("furnace.bin"))
        .expect("it is there")
        .len();
    assert_eq!(
        Some(bytes),
        recorded.report["sources"]["furnace"]["bytes"].as_u64()
    );
    let parquet = recorded.file("parquet");
    let args = [
        "export", "--format", "parquet", "--source", "chamber", "--output",
    ];
    expect_status(&capture(&args, &[&parquet, &recorded.file("a.mcap")]), 0);
    assert!(parquet.join("chamber.parquet").is_file());
    assert!(!parquet.join("furnace.parquet").exists());
}

/// An instrument that is asked: what it is sent stands before what it answers.
const MULTIMETER: &str = r#"
[capture]
record = true
compression = "none"
[source.dmm]
link = { type = "simulator", device = "dmm" }
[source.dmm.protocol]
type = "scpi"
cycle = "20ms"
timeout = "1s"
identity = "^KYMO,DMM-6,"
[[source.dmm.channel]]
name = "volts"
query = { ask = "MEAS:ALL?", value = 0 }
[simulator.dmm]
device = "multimeter"
seed = 7
"#;

#[test]
fn what_is_sent_to_a_device_is_recorded_and_its_answers_are_exported_as_the_run_had_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (config, data) = (dir.path().join("lab.toml"), dir.path().join("data"));
    std::fs::write(&config, MULTIMETER).expect("a file");
    let run = output(
        lab::run()
            .args(["--duration", "2s", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(&data),
    );
    expect_status(&run, 0);
    let captures = data.join("captures");
    let found = info(&captures);
    assert_eq!(found["whole"], true);
    assert!(
        found["sources"][0]["sent_bytes"].as_u64() > Some(100),
        "{found}"
    );
    let out = dir.path().join("out");
    expect_status(&capture(&["export", "--output"], &[&out, &captures]), 0);
    let exported = std::fs::read_to_string(out.join("dmm.csv")).expect("it is there");
    let of_run = output(kymo().args(["export", "dmm.*", "--data-dir"]).arg(&data));
    let rows = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let (exported, of_run) = (rows(&exported), rows(&text(&of_run.stdout)));
    assert!(of_run.len() > 10, "{}", of_run.len());
    assert_eq!(exported, of_run);
}

#[test]
fn a_part_is_cut_and_captures_are_merged() {
    let recorded = record("2s");
    let whole = recorded.file("a.mcap");
    let (first, second) = (recorded.file("first.mcap"), recorded.file("second.mcap"));
    expect_status(
        &capture(&["cut", "--to", "+500ms", "--output"], &[&first, &whole]),
        0,
    );
    let args = ["cut", "--from", "+500ms", "--source", "furnace", "--output"];
    expect_status(&capture(&args, &[&second, &whole]), 0);
    let (of_first, of_second) = (info(&first), info(&second));
    assert_eq!(of_second["sources"].as_array().map(Vec::len), Some(1));
    // Open when the part begins, so opened in it.
    assert_eq!(of_second["sources"][0]["opened"], 1);
    let bytes =
        |found: &Value, place: usize| found["sources"][place]["bytes"].as_u64().unwrap_or(0);
    assert_eq!(
        bytes(&of_first, 1) + bytes(&of_second, 0),
        bytes(&info(&whole), 1)
    );
    let both = recorded.file("both.mcap");
    let refused = capture(&["merge", "--output"], &[&both, &first, &second]);
    expect_status(&refused, 2);
    assert!(
        text(&refused.stderr).contains("sources of the same name: furnace"),
        "{}",
        text(&refused.stderr)
    );
    let args = ["merge", "--prefix", "a-,b-", "--output"];
    let merged = capture(&args, &[&both, &first, &second]);
    expect_status(&merged, 0);
    let found = info(&both);
    let names = found["sources"].as_array().expect("sources");
    let names: Vec<&str> = names
        .iter()
        .filter_map(|source| source["source"].as_str())
        .collect();
    assert_eq!(names, ["a-chamber", "a-furnace", "b-furnace"]);
    assert_eq!(bytes(&found, 2), bytes(&of_second, 0));
    // The joined configuration decodes it.
    let csv = recorded.file("csv");
    expect_status(&capture(&["export", "--output"], &[&csv, &both]), 0);
    let there = capture(&["cut", "--output"], &[&both, &whole]);
    expect_status(&there, 2);
}

#[test]
fn csv_and_plain_bytes_are_imported() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (csv, made) = (dir.path().join("old.csv"), dir.path().join("old.mcap"));
    std::fs::write(
        &csv,
        "time,temperature in C,flow\n2026-11-23T08:00:00Z,21.5,3\n2026-11-23T08:00:01.5Z,,4\n1795420802000000000,22,5\n",
    )
    .expect("a file");
    expect_status(&capture(&["import", "--output"], &[&made, &csv]), 0);
    let out = dir.path().join("out");
    expect_status(
        &capture(&["export", "--time", "ns", "--output"], &[&out, &made]),
        0,
    );
    let back = std::fs::read_to_string(out.join("imported.csv")).expect("it is there");
    assert_eq!(
        back,
        "time,temperature_in_C,flow\n1795420800000000000,21.5,3.0\n1795420801500000000,NaN,4.0\n1795420802000000000,22.0,5.0\n"
    );
    for (content, expected) in [
        ("time,a\n1,2\n0.5,3\n", "line 3: the times run backwards"),
        (
            "time,a\n1,2,3\n",
            "line 2: 1 values are expected, and there are 2",
        ),
        ("time,a\nsoon,2\n", "line 2: `soon` is no time"),
        ("time\n1\n", "a time and at least one value"),
        ("time,a\n", "has no rows"),
        ("", "is empty"),
    ] {
        std::fs::write(&csv, content).expect("a file");
        let refused = capture(&["import", "--output"], &[&dir.path().join("x.mcap"), &csv]);
        expect_status(&refused, 2);
        assert!(
            text(&refused.stderr).contains(expected),
            "{}",
            text(&refused.stderr)
        );
        let _ = std::fs::remove_file(dir.path().join("x.mcap"));
    }

    // Lines at 100 bytes a second, ten bytes each: ten a second.
    let (log, config) = (dir.path().join("log.bin"), dir.path().join("log.toml"));
    let lines: String = (0..30).map(|n| format!("{n:09}\n")).collect();
    std::fs::write(&log, lines).expect("a file");
    std::fs::write(
        &config,
        "[source.old]\nlink = { type = \"stdin\" }\nprotocol = { type = \"lines\" }\n[[source.old.channel]]\nname = \"n\"\n",
    )
    .expect("a file");
    let made = dir.path().join("log.mcap");
    let args = [
        "import",
        "--rate",
        "100",
        "--source",
        "old",
        "--start",
        "2026-11-23T08:00:00Z",
        "--config",
    ];
    let imported = capture(&args, &[&config, Path::new("--output"), &made, &log]);
    expect_status(&imported, 0);
    expect_status(
        &capture(&["export", "--time", "ns", "--output"], &[&out, &made]),
        0,
    );
    let back = std::fs::read_to_string(out.join("old.csv")).expect("it is there");
    assert_eq!(back.lines().count(), 31);
    assert_eq!(back.lines().nth(30), Some("1795420803000000000,29.0"));
    let refused = capture(
        &["import", "--rate", "100", "--output"],
        &[&dir.path().join("y.mcap"), &log],
    );
    expect_status(&refused, 2);
}

#[test]
fn what_is_no_capture_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let rubbish = dir.path().join("rubbish.mcap");
    std::fs::write(&rubbish, "time,value\n1,2\n").expect("a file");
    let missing = dir.path().join("missing.mcap");
    for (path, expected) in [
        (&rubbish, "is not an MCAP file"),
        (&missing, "cannot read"),
        (&dir.path().join("data"), "cannot read"),
    ] {
        for command in [
            &["info"][..],
            &["export", "--output", "out"],
            &["recover", "--output", "out"],
        ] {
            let refused = capture(command, &[path]);
            expect_status(&refused, 2);
            assert!(
                text(&refused.stderr).contains(expected),
                "{}",
                text(&refused.stderr)
            );
        }
    }
}

#[test]
fn a_full_disk_ends_the_recording_loudly_and_not_the_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = configuration(dir.path());
    let (small, data) = (dir.path().join("small"), dir.path().join("data"));
    let report = dir.path().join("report.json");
    let script = format!(
        "{kymo} record --no-serve --config {config} --duration 4s --data-dir {data} --output {small}/a.mcap --report {report}; \
         echo status $?; {kymo} capture info {small}/a.mcap; echo info $?",
        kymo = env!("CARGO_BIN_EXE_kymo"),
        config = config.display(),
        data = data.display(),
        small = small.display(),
        report = report.display(),
    );
    let Some(mut command) = with_file_system(&small, "size=32k", &script) else {
        return;
    };
    let told = output(&mut command);
    let (out, err) = (text(&told.stdout), text(&told.stderr));
    assert!(out.contains("status 1"), "{out}{err}");
    assert!(
        out.contains("THE RECORDING OF THE CAPTURE ENDED"),
        "{out}{err}"
    );
    assert!(
        err.contains("the recording of the capture ended before the run"),
        "{out}{err}"
    );
    // What was whole is read, and what is missing is said.
    assert!(
        out.contains("info 1") && out.contains("DAMAGED"),
        "{out}{err}"
    );
    let report = json(&report);
    assert_eq!(report["ledger"]["balanced"], true);
    assert!(report["capture"]["failure"].is_string(), "{report}");
    for name in ["chamber", "furnace"] {
        let source = &report["sources"][name];
        assert_eq!(source["samples"], source["journaled"]);
        let of_capture = &source["capture"];
        let counted = ["recorded_bytes", "not_recorded_bytes"];
        let counted = counted
            .iter()
            .filter_map(|key| of_capture[*key].as_u64())
            .sum::<u64>();
        assert_eq!(Some(counted), source["bytes"].as_u64(), "{source}");
    }
    assert!(
        report["sources"]["chamber"]["frames"].as_u64() > Some(500),
        "{report}"
    );
}
