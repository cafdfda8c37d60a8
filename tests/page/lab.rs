//! A run of the whole program with its page on a free port: the simulated pressure interlock and inertial unit, and a
//! device of our own behind TCP that can be taken away.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::browser::{Browser, PATIENCE};

/// What the device behind TCP sends, always.
pub(crate) const LEVEL: &str = "21.5";

const CONFIGURATION: &str = r#"
[serve]
listen = "127.0.0.1:0"

[source.chamber]
priority = "critical"
rate_hz = 1000
link = { type = "simulator", device = "chamber", baud = 230400 }

[source.chamber.protocol]
type = "packet"
framing = "cobs"
length = 8
counter = { at = 0, type = "u16" }
checksum = { kind = "CRC-16/IBM-3740", from = 0, to = -2, at = -2 }

[[source.chamber.channel]]
name = "pressure"
unit = "bar"
field = { at = 2, type = "f32" }

[[rule]]
name = "overpressure"
channel = "chamber.pressure"
above = 2.5
clear = 1.05
for = "5ms"
severity = "critical"
message = "chamber pressure {value} bar is above {limit} bar"

[source.imu]
priority = "high"
rate_hz = 4000
link = { type = "simulator", device = "imu", baud = 921600 }

[source.imu.protocol]
type = "packet"
sync = "AA 55"
length = 18
counter = { at = 2, type = "u16" }
checksum = { kind = "CRC-16/IBM-3740", from = 2, to = -2, at = -2 }

[[source.imu.channel]]
name = "ay"
unit = "m/s2"
field = { at = 6, type = "i16", scale = 0.0011970964 }

[source.tank]
priority = "normal"
rate_hz = 50
link = { type = "tcp", address = "TANK" }

[source.tank.protocol]
type = "lines"

[[source.tank.channel]]
name = "level"
unit = "m"

[simulator.chamber]
device = "pressure-interlock"

[simulator.imu]
device = "inertial-unit"
"#;

/// A device that sends a line each 20 ms to whoever connects.
struct Tank {
    address: SocketAddr,
    is_there: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tank {
    fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let is_there = Arc::new(AtomicBool::new(true));
        let goes_on = Arc::clone(&is_there);
        let thread = std::thread::spawn(move || {
            listener.set_nonblocking(true).expect("it can be asked");
            let mut peers = Vec::new();
            while goes_on.load(Ordering::SeqCst) {
                if let Ok((peer, _)) = listener.accept() {
                    peers.push(peer);
                }
                peers.retain_mut(|peer| writeln!(peer, "{LEVEL}").is_ok());
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        Self {
            address,
            is_there,
            thread: Some(thread),
        }
    }

    fn stop(&mut self) {
        self.is_there.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the device ends");
        }
    }
}

pub(crate) struct Lab {
    child: Child,
    tank: Tank,
    dir: TempDir,
    /// Where the page is.
    pub(crate) url: String,
}

fn kymo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kymo"));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}

impl Lab {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tank = Tank::start(SocketAddr::from(([127, 0, 0, 1], 0)));
        let configuration = dir.path().join("lab.toml");
        let text = CONFIGURATION.replace("TANK", &tank.address.to_string());
        std::fs::write(&configuration, text).expect("the configuration");
        let mut command = kymo();
        command.arg("run").arg("--config").arg(&configuration);
        command.arg("--data-dir").arg(dir.path().join("data"));
        let child = command.stdout(Stdio::null()).spawn();
        let mut lab = Self {
            child: child.expect("the program can be started"),
            tank,
            dir,
            url: String::new(),
        };
        lab.url = lab.address();
        lab
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A run writes down where its page is.
    fn address(&mut self) -> String {
        let started = Instant::now();
        loop {
            let written = std::fs::read(self.data().join("page.json"));
            let said: Option<Value> = written
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(url) = said.as_ref().and_then(|said| said["url"].as_str()) {
                return url.to_owned();
            }
            let ended = self.child.try_wait().expect("its state");
            assert_eq!(ended, None, "the run ended");
            assert!(
                started.elapsed() < PATIENCE,
                "the run does not serve its page"
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// The page, once every trace has values.
    pub(crate) fn open(&self, browser: &Browser) {
        browser.open(&self.url);
        self.wait_for_traces(browser);
    }

    pub(crate) fn wait_for_traces(&self, browser: &Browser) {
        browser.wait(
            "every trace has values",
            "const values = [...document.querySelectorAll('output.value')].map((o) => o.textContent);
             return values.length > 0 && values.every((text) => text !== '' && text !== '–')",
        );
    }

    /// Takes the device behind TCP away.
    pub(crate) fn unplug(&mut self) {
        self.tank.stop();
    }

    /// Gives it back.
    pub(crate) fn replug(&mut self) {
        self.tank = Tank::start(self.tank.address);
    }

    /// Ends the run, which must balance.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it can be signalled");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0));
    }

    /// All that was stored of a channel.
    pub(crate) fn stored(&self, channel: &str) -> Vec<(i64, f64)> {
        let file = self.dir.path().join("stored.csv");
        let mut command = kymo();
        command.args(["query", channel, "--time", "ns", "--format", "csv"]);
        command.arg("--data-dir").arg(self.data());
        let status = command.arg("-o").arg(&file).status();
        assert!(status.expect("the program can be started").success());
        let csv = std::fs::read_to_string(&file).expect("a file");
        let cells = csv.lines().skip(1).filter_map(|line| line.split_once(','));
        cells
            .map(|(time, value)| {
                (
                    time.parse().expect("a time"),
                    value.parse().expect("a value"),
                )
            })
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.tank.stop();
    }
}
