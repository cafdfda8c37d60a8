//! What the tests of the whole program share: the program, a run in this process, and what is in a journal.
//!
//! Each test binary that looks at the program from outside has this file as its `lab`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use kymo::clock::Clock;
use kymo::config::parse;
use kymo::event::EventKind;
use kymo::journal::{self, DecodedBlock, Filter, From, Kind, Next, Reader, Until};
use kymo::pipeline::{Notice, Report, Run};
use kymo_drivers::block::Gap;
use kymo_simulators::Simulator;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program, in the folder of the shipped configuration.
pub(crate) fn kymo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kymo"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    command
}

/// `kymo run` without its page, whose port only one run can have.
pub(crate) fn run() -> Command {
    let mut command = kymo();
    command.args(["run", "--no-serve"]);
    command
}

/// Asks a run to end in order.
pub(crate) fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("it can be signalled");
}

pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("the program can be started")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fails with what the program said unless it ended with this status.
#[track_caller]
pub(crate) fn expect_status(output: &Output, status: i32) {
    assert_eq!(
        output.status.code(),
        Some(status),
        "stdout:\n{}\nstderr:\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

pub(crate) fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).expect("the file is there");
    serde_json::from_slice(&bytes).expect("it is JSON")
}

/// Python with these modules, if there is one.
pub(crate) fn python_with(modules: &str) -> Option<String> {
    let python = std::env::var("KYMO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = format!("import {modules}");
    let found = Command::new(&python).args(["-c", &import]).output();
    if found.is_ok_and(|found| found.status.success()) {
        return Some(python);
    }
    let is_required = std::env::var("KYMO_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(
        !is_required,
        "`{python}` has no {modules}; KYMO_PYTHON names one that has"
    );
    #[allow(clippy::print_stderr)]
    {
        eprintln!("skipped: `{python}` has no {modules}");
    }
    None
}

/// A port for a program that cannot be told to take any. It is none of those that the system gives to whoever asks for any, so
/// no other test has it before the program does.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(15_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A run that goes on until it is told to stop, once it records.
pub(crate) fn endless(data: &Path, args: &[&OsStr]) -> Child {
    let mut command = run();
    command.arg("--data-dir").arg(data).args(args);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    wait_until("the run records", || {
        let segments = std::fs::read_dir(journal_of(data))
            .into_iter()
            .flatten()
            .flatten();
        let sizes = segments.filter_map(|segment| Some(segment.metadata().ok()?.len()));
        sizes.sum::<u64>() > 300_000
    });
    child.expect("the program can be started")
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A run in this process, with its data in a temporary directory.
pub(crate) struct Lab {
    pub(crate) run: Run,
    pub(crate) dir: TempDir,
    events: Vec<EventKind>,
}

impl Lab {
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_with(configuration, Clock::system())
    }

    pub(crate) fn start_with(configuration: &str, clock: Clock) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = dir.path().join("data");
        Self::start_at(configuration, clock, &data, dir)
    }

    /// With its data in a directory that outlives it.
    pub(crate) fn start_in(configuration: &str, data: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self::start_at(configuration, Clock::system(), data, dir)
    }

    fn start_at(configuration: &str, clock: Clock, data: &Path, dir: TempDir) -> Self {
        let mut plan = parse("lab.toml", configuration).unwrap_or_else(|m| panic!("{m}"));
        plan.move_to(data);
        let run = Run::start(plan, clock).expect("the run starts");
        Self {
            run,
            dir,
            events: Vec::new(),
        }
    }

    pub(crate) fn simulator(&self, index: usize) -> &Simulator {
        &self.run.simulators()[index]
    }

    /// Frames decoded of a source so far.
    pub(crate) fn frames(&self, source: usize) -> u64 {
        self.run
            .ledger()
            .sources()
            .nth(source)
            .expect("there is such a source")
            .frames()
    }

    /// Waits for an event of a kind, and gives back its text.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, name: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(place) = self.events.iter().position(|event| event.name() == name) {
                return self.events.remove(place).to_string();
            }
            let left = PATIENCE.saturating_sub(started.elapsed());
            match self.run.notices().recv_timeout(left) {
                Ok(Notice::Event(event)) => self.events.push(event.kind),
                Ok(_) => {}
                Err(_) => panic!("no event `{name}` came"),
            }
        }
    }

    /// Ends the run; every run must balance.
    #[track_caller]
    pub(crate) fn stop(self) -> (Report, TempDir) {
        let report = self.run.stop();
        assert_eq!(report.failure, None);
        assert!(report.ledger.balanced, "{:?}", report.ledger);
        (report, self.dir)
    }
}

/// What a journal holds of one source: values by channel, and gaps.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) times_ns: Vec<i64>,
    pub(crate) columns: Vec<Vec<f64>>,
    pub(crate) gaps: Vec<Gap>,
}

/// Reads the blocks of a source's first lane, across all runs.
pub(crate) fn recorded(data_dir: &Path, source: u16) -> Recorded {
    recorded_lane(data_dir, source, 0)
}

/// Reads the blocks of one lane of a source, across all runs.
pub(crate) fn recorded_lane(data_dir: &Path, source: u16, lane: u8) -> Recorded {
    let filter = Filter {
        kinds: Some(vec![Kind::Block]),
        sources: Some(vec![source]),
    };
    let dir = journal_of(data_dir);
    let mut reader = Reader::open(&dir, From::Seq(1), Until::Written, filter).expect("a journal");
    let mut block = DecodedBlock::default();
    let mut recorded = Recorded::default();
    loop {
        match reader.next().expect("the journal can be read") {
            Next::Record(record) => {
                block.decode(record.payload).expect("an intact block");
                if block.summary().lane != lane {
                    continue;
                }
                recorded.columns.resize(block.columns(), Vec::new());
                for (column, values) in recorded.columns.iter_mut().enumerate() {
                    values.extend_from_slice(block.column(column));
                }
                recorded.times_ns.extend_from_slice(block.times_ns());
                recorded.gaps.extend_from_slice(block.gaps());
            }
            Next::Lost(lost) => panic!("{lost:?}"),
            Next::End => return recorded,
        }
    }
}

/// The events of a journal, as their JSON.
pub(crate) fn events(data_dir: &Path) -> Vec<Value> {
    let filter = Filter {
        kinds: Some(vec![Kind::Event]),
        sources: None,
    };
    let dir = journal_of(data_dir);
    let mut reader = Reader::open(&dir, From::Seq(1), Until::Written, filter).expect("a journal");
    let mut events = Vec::new();
    while let Next::Record(record) = reader.next().expect("the journal can be read") {
        events.push(serde_json::from_slice(record.payload).expect("an event is JSON"));
    }
    events
}

pub(crate) fn journal_of(data_dir: &Path) -> PathBuf {
    data_dir.join(journal::DIR)
}

/// The shipped devices' sections, to be put together by the tests.
pub(crate) const CHAMBER: &str = r#"
[source.chamber]
priority = "critical"
rate_hz = 1000
link = { type = "simulator", device = "chamber" }
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
[simulator.chamber]
device = "pressure-interlock"
"#;

pub(crate) const FURNACE: &str = r#"
[source.furnace]
link = { type = "simulator", device = "furnace" }
reconnect = { first = "5ms", max = "20ms" }
[source.furnace.protocol]
type = "lines"
[[source.furnace.channel]]
name = "heater"
[[source.furnace.channel]]
name = "sample"
[[source.furnace.channel]]
name = "wall"
[[source.furnace.channel]]
name = "terminal"
[simulator.furnace]
device = "thermocouple-logger"
"#;
