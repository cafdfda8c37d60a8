//! Segments, and what `kymo query` writes, opened by pyarrow.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::super::lab::{expect_status, output, python_with, wait_until};
use super::super::run::truth;
use super::{Running, query, said, segments};

/// Reads files, and prints columns, metadata and every value with all its bits.
const READ: &str = r#"
import json, sys
import pyarrow as pa, pyarrow.ipc, pyarrow.parquet
tables = []
for path in sys.argv[1:]:
    if path.endswith(".arrow"):
        tables.append(pa.ipc.open_file(path).read_all())
    else:
        tables.append(pa.parquet.read_table(path, partitioning=None))
text = lambda metadata: {k.decode(): v.decode() for k, v in (metadata or {}).items()}
schema = tables[0].schema
json.dump({
    "types": {f.name: str(f.type) for f in schema},
    "fields": {f.name: text(f.metadata) for f in schema},
    "about": text(schema.metadata),
    "values": {f.name: [
        x for t in tables
        for x in (t[f.name].cast(pa.int64()) if f.name == "time" else t[f.name]).to_pylist()
    ] for f in schema},
}, sys.stdout)
"#;

fn read_by(python: &str, paths: &[PathBuf]) -> Value {
    let read = output(Command::new(python).args(["-c", READ]).args(paths));
    expect_status(&read, 0);
    serde_json::from_slice(&read.stdout).expect("JSON")
}

#[track_caller]
fn expect_signal(found: &Value, column: &str, channel: &str, samples: &[(i64, f64)]) {
    let times = found["values"]["time"].as_array().expect("times");
    let values = found["values"][column].as_array().expect("values");
    assert_eq!((times.len(), values.len()), (samples.len(), samples.len()));
    for (index, (time_ns, _)) in samples.iter().enumerate() {
        assert_eq!(times[index].as_i64(), Some(*time_ns), "{channel} {index}");
        let value = values[index].as_f64().map(f64::to_bits);
        assert_eq!(
            value,
            Some(truth(channel, index as u64).to_bits()),
            "{channel} {index}"
        );
    }
}

#[test]
fn pyarrow_finds_the_signals_in_segments_and_in_what_query_writes() {
    let Some(python) = python_with("pyarrow") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(dir.path());
    let data = running.data.clone();
    wait_until("three segments", || segments(&data, "imu").len() >= 3);
    let data = running.stop();
    let all = query(&data, &["imu.*", "furnace.*"]);
    let units = [
        ("imu", "az", "m/s2"),
        ("imu", "gx", "deg/s"),
        ("furnace", "heater", "Cel"),
    ];

    for (source, name, unit) in units {
        let channel = format!("{source}.{name}");
        let found = read_by(&python, &segments(&data, source));
        expect_signal(&found, name, &channel, &all[&channel]);
        assert_eq!(found["types"]["time"], "timestamp[ns, tz=UTC]");
        let field = &found["fields"][name];
        assert_eq!(field["unit"], unit, "{field}");
        assert_eq!(
            field["calibration_version"].as_str().map(str::len),
            Some(8),
            "{field}"
        );
        let about = &found["about"];
        assert_eq!(about["kymo.source"], source, "{about}");
        for key in ["kymo.run", "kymo.host", "kymo.started", "kymo.priority"] {
            assert!(about[key].is_string(), "{key} is not in {about}");
        }
    }
    for format in ["parquet", "arrow"] {
        let path = dir.path().join(format!("out.{format}"));
        let file = path.to_str().expect("UTF-8");
        for (source, name, unit) in units {
            let channel = format!("{source}.{name}");
            said(&data, &["query", &channel, "--format", format, "-o", file]);
            let found = read_by(&python, std::slice::from_ref(&path));
            expect_signal(&found, &channel, &channel, &all[&channel]);
            assert_eq!(found["fields"][&channel]["unit"], unit);
            assert!(found["about"]["kymo.run"].is_string());
        }
        // Where a lane has no such channel, there is no value.
        said(
            &data,
            &[
                "query",
                "imu.az",
                "furnace.*",
                "--format",
                format,
                "-o",
                file,
            ],
        );
        let found = read_by(&python, std::slice::from_ref(&path));
        let given = |column: &str| {
            let values = found["values"][column].as_array().expect("values").iter();
            values.filter(|value| !value.is_null()).count()
        };
        assert_eq!(given("imu.az"), all["imu.az"].len());
        assert_eq!(given("furnace.wall"), all["furnace.wall"].len());
        let every = [
            "--every",
            "1s",
            "--stat",
            "count,max",
            "--format",
            format,
            "-o",
            file,
        ];
        said(&data, &[&["query", "imu.az"], &every[..]].concat());
        let found = read_by(&python, std::slice::from_ref(&path));
        assert_eq!(found["types"]["imu.az.count"], "uint64");
        let counts = found["values"]["imu.az.count"]
            .as_array()
            .expect("counts")
            .iter();
        let total: u64 = counts.filter_map(Value::as_u64).sum();
        assert_eq!(total, all["imu.az"].len() as u64);
    }
}
