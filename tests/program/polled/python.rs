//! Against what others wrote: the server of pymodbus, an instrument of pyvisa-sim.

use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::far_end::FarEnd;
use super::super::lab::{Lab, free_port, python_with, recorded, wait_until};

/// A server of this folder's, ended with the test.
struct Server {
    child: Child,
    /// What it said first.
    said: String,
}

impl Server {
    fn start(python: &str, script: &str, args: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/polled");
        let mut child = Command::new(python)
            .arg(folder.join(script))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let mut said = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut said).expect("a line");
        let said = said.trim().to_owned();
        assert!(!said.is_empty(), "the server ended at once");
        Self { child, said }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands bytes on both ways, as a cable does.
struct Cable {
    is_pulled: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cable {
    fn between(ends: [OwnedFd; 2]) -> Self {
        let is_pulled = Arc::new(AtomicBool::new(false));
        let pulled = Arc::clone(&is_pulled);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !pulled.load(Ordering::Relaxed) {
                let mut is_idle = true;
                for (from, to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
                    // Nothing there, or nobody at that end yet.
                    let Ok(count) = rustix::io::read(from, &mut buffer) else {
                        continue;
                    };
                    is_idle &= count == 0;
                    let mut rest = &buffer[..count];
                    while !rest.is_empty() && !pulled.load(Ordering::Relaxed) {
                        match rustix::io::write(to, rest) {
                            Ok(count) => rest = &rest[count..],
                            Err(_) => std::thread::park_timeout(Duration::from_millis(1)),
                        }
                    }
                }
                if is_idle {
                    std::thread::park_timeout(Duration::from_micros(500));
                }
            }
        });
        Self {
            is_pulled,
            thread: Some(thread),
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.is_pulled.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Values of both units and all tables, one register that is not there, one unit that is not there.
fn meters(link: &str, framing: &str) -> String {
    format!(
        r#"
[source.bus]
link = {link}
reconnect = {{ first = "10ms", max = "50ms" }}
[source.bus.protocol]
type = "modbus"
framing = "{framing}"
cycle = "100ms"
timeout = "30s"
backoff = {{ first = "30s", max = "30s" }}
[[source.bus.channel]]
name = "word"
register = {{ unit = 1, at = 7 }}
[[source.bus.channel]]
name = "float"
register = {{ unit = 1, at = 20, type = "f32" }}
[[source.bus.channel]]
name = "swapped"
register = {{ unit = 1, at = 22, type = "f32", order = "CDAB" }}
[[source.bus.channel]]
name = "input"
register = {{ unit = 2, at = 9, table = "input", scale = 0.5 }}
[[source.bus.channel]]
name = "coil"
register = {{ unit = 2, at = 6, table = "coil" }}
[[source.bus.channel]]
name = "discrete"
register = {{ unit = 2, at = 7, table = "discrete" }}
[[source.bus.channel]]
name = "nowhere"
register = {{ unit = 1, at = 5000 }}
"#
    )
}

/// Runs a configuration until there are frames enough; every frame must be this.
#[track_caller]
fn expect_frames(configuration: &str, row: &[f64]) -> kymo::ledger::SourceReport {
    let lab = Lab::start(configuration);
    wait_until("frames come", || lab.frames(0) >= 6);
    let (report, dir) = lab.stop();
    let found = recorded(&dir.path().join("data"), 0);
    assert!(found.times_ns.len() >= 6);
    for (column, right) in found.columns.iter().zip(row) {
        for value in column {
            let is_right = value == right || (value.is_nan() && right.is_nan());
            assert!(is_right, "{value} for {right}: {report:?}");
        }
    }
    report.sources.0[0].1.clone()
}

const ROW: [f64; 7] = [1007.0, 1.5, -2.25, 1004.5, 1.0, 0.0, f64::NAN];

#[test]
fn pymodbus_is_read_over_a_serial_line() {
    let Some(python) = python_with("pymodbus, serial") else {
        return;
    };
    let (near, far) = (FarEnd::open(), FarEnd::open());
    let path = far.path().to_string_lossy().into_owned();
    let link = format!(
        "{{ type = \"serial\", path = \"{}\", baud = 115200 }}",
        near.path().display()
    );
    let configuration = meters(&link, "rtu");
    let _cable = Cable::between([near.into_master(), far.into_master()]);
    let _server = Server::start(&python, "modbus_server.py", &["serial", &path]);
    let source = expect_frames(&configuration, &ROW);
    assert!(source.refused >= 6, "{source:?}");
    assert_eq!((source.corrupt_frames, source.unanswered), (0, 0));
}

#[test]
fn pymodbus_is_read_over_tcp() {
    let Some(python) = python_with("pymodbus") else {
        return;
    };
    let port = free_port();
    let link = format!("{{ type = \"tcp\", address = \"127.0.0.1:{port}\" }}");
    let configuration = meters(&link, "tcp");
    let _server = Server::start(&python, "modbus_server.py", &["tcp", &port.to_string()]);
    let source = expect_frames(&configuration, &ROW);
    assert!(source.refused >= 6, "{source:?}");
    assert_eq!((source.corrupt_frames, source.unanswered), (0, 0));
}

#[test]
fn an_instrument_of_pyvisa_sim_is_told_and_queried() {
    let Some(python) = python_with("pyvisa_sim") else {
        return;
    };
    let server = Server::start(&python, "scpi_server.py", &[]);
    let port: u16 = server.said.parse().expect("a port");
    let configuration = format!(
        r#"
[source.supply]
link = {{ type = "tcp", address = "127.0.0.1:{port}" }}
reconnect = {{ first = "10ms", max = "50ms" }}
[source.supply.protocol]
type = "scpi"
cycle = "50ms"
timeout = "30s"
identity = "^SIMULATED,SUPPLY"
start = ["VOLT 12.500"]
[[source.supply.channel]]
name = "set"
query = {{ ask = "VOLT?" }}
[[source.supply.channel]]
name = "volts"
query = {{ ask = "MEAS:ALL?", value = 0 }}
[[source.supply.channel]]
name = "milliamperes"
query = {{ ask = "MEAS:ALL?", value = 1, scale = 1000 }}
[[source.supply.channel]]
name = "none"
query = {{ ask = "MEAS:ALL?", value = 2 }}
"#
    );
    let source = expect_frames(&configuration, &[12.5, 12.5, -3.5, f64::NAN]);
    assert_eq!((source.corrupt_frames, source.unanswered), (0, 0));
    assert_eq!(source.refused, 0);
}
