//! Real servers: InfluxDB 1 and VictoriaMetrics, as Debian has them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::lab::{expect_status, free_port, kymo, output, recorded, text, wait_until};
use crate::scripted::Points;
use crate::truth::{Place, configuration, expect_conserved, expect_same, has, journaled, kill};

/// Status and body of a request.
fn http(port: u16, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    // 1.0: the body ends with the connection, and is not in chunks.
    let request = format!(
        "{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// A server that is a process of its own; killed when it is dropped.
pub(crate) struct Real {
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Real {
    fn spawn(command: &mut Command, port: u16, ping: &str) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let real = Self {
            port,
            child: Some(child.expect("the server can be started")),
        };
        wait_until("the server answers", || {
            http(port, "GET", ping, "").is_some_and(|(status, _)| status < 300)
        });
        real
    }

    pub(crate) fn influxd(dir: &Path, port: u16) -> Self {
        let mut command = Command::new("influxd");
        command
            .env("INFLUXDB_REPORTING_DISABLED", "true")
            .env("INFLUXDB_BIND_ADDRESS", "127.0.0.1:0")
            .env("INFLUXDB_HTTP_BIND_ADDRESS", format!("127.0.0.1:{port}"))
            .env("INFLUXDB_HTTP_LOG_ENABLED", "false")
            .env("INFLUXDB_META_DIR", dir.join("meta"))
            .env("INFLUXDB_DATA_DIR", dir.join("data"))
            .env("INFLUXDB_DATA_WAL_DIR", dir.join("wal"))
            .env("INFLUXDB_MONITOR_STORE_ENABLED", "false");
        Self::spawn(&mut command, port, "/ping")
    }

    pub(crate) fn victoria(dir: &Path, port: u16) -> Self {
        let mut command = Command::new("victoria-metrics");
        command
            .arg(format!("-storageDataPath={}", dir.display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            // What is sent again is the same point, and not another.
            .arg("-dedup.minScrapeInterval=1ms");
        Self::spawn(&mut command, port, "/health")
    }

    pub(crate) fn kill(&mut self) {
        if let Some(child) = self.child.take() {
            kill(child);
        }
    }

    pub(crate) fn query(&self, query: &str) -> Value {
        let escaped: String = query
            .bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect();
        let target = format!("/query?db=lab&epoch=ns&q={escaped}");
        let method = if query.starts_with("SELECT") {
            "GET"
        } else {
            "POST"
        };
        let (status, body) = http(self.port, method, &target, "").expect("an answer");
        assert_eq!(status, 200, "{query}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Every point of both sources.
    pub(crate) fn points(&self) -> Points {
        let mut points = Points::new();
        for source in ["chamber", "furnace"] {
            let found = self.query(&format!("SELECT * FROM {source}"));
            let series = &found["results"][0]["series"][0];
            let columns: Vec<&str> = series["columns"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for row in series["values"].as_array().into_iter().flatten() {
                let time_ns = row[0].as_i64().expect("a time");
                let point = points.entry((source.to_owned(), time_ns)).or_default();
                for (place, column) in columns.iter().enumerate().skip(1) {
                    if let Some(value) = row[place].as_f64() {
                        point.insert((*column).to_owned(), value.to_bits());
                    }
                }
            }
        }
        points
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.kill();
    }
}

fn influx(port: u16) -> String {
    configuration(&format!(
        "url = \"http://127.0.0.1:{port}\"\ndatabase = \"lab\""
    ))
}

#[test]
fn influxdb_1_has_every_sample_bit_for_bit() {
    if !has("influxd") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Real::influxd(dir.path(), free_port());
    let place = Place::new(&influx(server.port));
    // There is no database yet: said in plain words.
    let tested = output(&mut place.command(&["sink", "test"]));
    expect_status(&tested, 1);
    assert!(
        text(&tested.stdout).contains("there is no database `lab`: make it with"),
        "{}",
        text(&tested.stdout)
    );
    server.query("CREATE DATABASE lab");
    let tested = output(&mut place.command(&["sink", "test", "lab"]));
    expect_status(&tested, 0);
    assert!(
        text(&tested.stdout).contains("(v1) and read back"),
        "{}",
        text(&tested.stdout)
    );

    let report = place.run_for("2s");
    expect_conserved(&report);
    assert_eq!(report["sinks"]["lab"]["behind"], 0, "{report}");
    assert_eq!(
        report["sinks"]["lab"]["written"],
        journaled(&report),
        "{report}"
    );
    expect_same(&server.points(), &place.truth());
    // Count and sum as the server itself finds them.
    let found = server.query("SELECT count(pressure), sum(pressure) FROM chamber");
    let row = &found["results"][0]["series"][0]["values"][0];
    let chamber = recorded(&place.data(), 0);
    assert_eq!(row[1].as_u64(), Some(chamber.times_ns.len() as u64));
    let sum: f64 = chamber.columns[0].iter().sum();
    assert!((row[2].as_f64().expect("a sum") - sum).abs() < sum.abs() * 1e-9);
}

#[test]
fn one_source_of_another_type_costs_its_neighbours_nothing() {
    if !has("influxd") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Real::influxd(dir.path(), free_port());
    server.query("CREATE DATABASE lab");
    // Somebody has made a text of what will come as a number, in the shard of the day.
    let now_ns = kymo::clock::Clock::system().now_ns();
    for day in [0, 1] {
        let time = now_ns + day * 86_400_000_000_000;
        let line = format!("furnace wall=\"broken\" {time}");
        let (status, _) = http(server.port, "POST", "/write?db=lab", &line).expect("an answer");
        assert_eq!(status, 204);
    }
    let place = Place::new(&influx(server.port));
    let report = place.run_for("2s");
    expect_conserved(&report);
    let sink = &report["sinks"]["lab"];
    assert_eq!(
        sink["rejected"], report["sources"]["furnace"]["journaled"],
        "{report}"
    );
    assert_eq!(
        sink["written"], report["sources"]["chamber"]["journaled"],
        "{report}"
    );
    let mut truth = place.truth();
    truth.retain(|(source, _), _| source == "chamber");
    let mut found = server.points();
    found.retain(|(source, _), _| source == "chamber");
    expect_same(&found, &truth);
    let mut letters = kymo();
    letters
        .args([
            "sink",
            "dead-letters",
            "lab",
            "--all",
            "--json",
            "--data-dir",
        ])
        .arg(place.data());
    let told: Value = serde_json::from_slice(&output(&mut letters).stdout).expect("JSON");
    let frames = recorded(&place.data(), 1).times_ns.len();
    assert_eq!(told["letters"], frames, "each line once");
    assert!(
        told["lines"][0]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("field type conflict")),
        "{told}"
    );
    assert!(
        told["lines"][0]["line"]
            .as_str()
            .is_some_and(|line| line.starts_with("furnace heater=")),
        "{told}"
    );
}

#[test]
fn a_server_killed_for_ten_seconds_has_everything_once_afterwards() {
    if !has("influxd") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut server = Real::influxd(dir.path(), free_port());
    server.query("CREATE DATABASE lab");
    let place = Place::new(&influx(server.port));
    let run = place.run();
    place.wait_for("the sink sends", |status| {
        status["written"].as_u64() > Some(500)
    });
    server.kill();
    place.wait_for("the sink waits", |status| status["state"] == "waiting");
    std::thread::park_timeout(Duration::from_secs(4));
    // Kymo, too, goes down in the middle of it.
    kill(run);
    let run = place.start();
    place.wait_for("the sink says how far it is behind", |status| {
        status["behind"].as_u64() > Some(10_000) && status["lag_s"].as_f64().is_some()
    });
    let server = Real::influxd(dir.path(), server.port);
    let report = place.end(run);
    assert_eq!(report["sinks"]["lab"]["behind"], 0, "{report}");
    assert_eq!(report["ledger"]["balanced"], true);
    expect_same(&server.points(), &place.truth());
}

#[test]
fn a_server_that_lost_its_database_gets_the_rest_and_backfill_sends_what_it_lost() {
    if !has("influxd") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Real::influxd(dir.path(), free_port());
    server.query("CREATE DATABASE lab");
    let place = Place::new(&influx(server.port));
    let run = place.run();
    place.wait_for("the sink sends", |status| {
        status["written"].as_u64() > Some(500)
    });
    server.query("DROP DATABASE lab");
    place.wait_for("the sink is denied", |status| {
        status["state"] == "denied"
            && status["trouble"]
                .as_str()
                .is_some_and(|said| said.contains("database not found"))
    });
    kill(run);
    let mut run = place.start_for("3s");
    place.wait_for("the next one is denied, too", |status| {
        status["state"] == "denied" && status["run"].is_string()
    });
    server.query("CREATE DATABASE lab");
    assert!(run.wait().expect("it ends").success());
    let report = crate::lab::json(&place.report());
    assert_eq!(report["sinks"]["lab"]["behind"], 0, "{report}");
    // What it had been given before is gone with it, and no sink can know that.
    let (found, truth) = (server.points(), place.truth());
    assert!(found.len() < truth.len());
    let filled = output(&mut place.command(&["backfill", "lab", "--json"]));
    expect_status(&filled, 0);
    let told: Value = serde_json::from_slice(&filled.stdout).expect("JSON");
    let samples: usize = truth.values().map(std::collections::BTreeMap::len).sum();
    assert_eq!(told["written"], samples, "{told}");
    expect_same(&server.points(), &truth);
}

#[test]
fn victoria_metrics_has_every_sample_at_its_milliseconds() {
    if !has("victoria-metrics") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Real::victoria(dir.path(), free_port());
    let sink = format!(
        "url = \"http://127.0.0.1:{}\"\nbucket = \"lab\"\ngzip = true\ntags = {{ unit = \"{{unit}}\" }}\nchannels = [\"furnace.*\"]",
        server.port
    );
    let place = Place::new(&configuration(&sink));
    let tested = output(&mut place.command(&["sink", "test"]));
    expect_status(&tested, 0);
    assert!(
        text(&tested.stdout).contains("(v2) and read back"),
        "{}",
        text(&tested.stdout)
    );
    let report = place.run_for("2s");
    expect_conserved(&report);
    let sink = &report["sinks"]["lab"];
    assert_eq!(
        sink["not_selected"],
        report["sources"]["chamber"]["journaled"]
    );
    assert_eq!(sink["written"], report["sources"]["furnace"]["journaled"]);
    let recorded = recorded(&place.data(), 1);
    for (column, channel) in ["heater", "sample", "wall", "terminal"].iter().enumerate() {
        // What it was given a moment ago is searched only after a second or two.
        let mut found: Vec<(i64, f64)> = Vec::new();
        wait_until("all samples can be read", || {
            let target = format!("/api/v1/export?match%5B%5D=furnace_{channel}");
            let (_, body) = http(server.port, "GET", &target, "").expect("an answer");
            found.clear();
            for line in body.lines() {
                let block: Value = serde_json::from_str(line).expect("JSON");
                let of = |key: &str| block[key].as_array().cloned().unwrap_or_default();
                let pairs = of("timestamps").into_iter().zip(of("values"));
                found.extend(
                    pairs.map(|(t, v)| (t.as_i64().unwrap_or(0), v.as_f64().unwrap_or(f64::NAN))),
                );
            }
            found.len() >= recorded.times_ns.len()
        });
        found.sort_by_key(|pair| pair.0);
        let truth = recorded.times_ns.iter().zip(&recorded.columns[column]);
        let truth: Vec<(i64, f64)> = truth.map(|(t, v)| (t / 1_000_000, *v)).collect();
        assert_eq!(found.len(), truth.len(), "{channel}");
        for (found, truth) in found.iter().zip(&truth) {
            assert!(
                found.0 == truth.0 && (found.1 - truth.1).abs() <= truth.1.abs() * 1e-12,
                "{channel}: {found:?} {truth:?}"
            );
        }
    }
}
