//! What should be at the receiver: what is in the journal.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::lab::{
    CHAMBER, FURNACE, expect_status, interrupt, json, kymo, output, recorded, wait_until,
};
use crate::scripted::Points;

/// Two sources, and a sink named `lab` that sends often.
pub(crate) fn configuration(sink: &str) -> String {
    format!(
        "{CHAMBER}{FURNACE}\n[[sink]]\nname = \"lab\"\ntype = \"influxdb\"\n\
         batch = {{ bytes = \"64KiB\", age = \"50ms\" }}\n\
         retry = {{ first = \"20ms\", max = \"200ms\", denied = \"300ms\" }}\ntimeout = \"2s\"\nlinger = \"30s\"\n{sink}\n"
    )
}

/// A laboratory: its configuration and its data.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(configuration: &str) -> Self {
        let place = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        std::fs::write(place.config(), configuration).expect("a file");
        place
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("lab.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn report(&self) -> PathBuf {
        self.dir.path().join("report.json")
    }

    /// The program with these arguments, this configuration and these data.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = kymo();
        command.args(args).arg("--config").arg(self.config());
        command.arg("--data-dir").arg(self.data());
        command
    }

    /// A run that goes on until it is killed.
    pub(crate) fn run(&self) -> Child {
        let mut command = self.command(&["run", "--no-serve"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program can be started")
    }

    /// A run that goes on until it is ended in order.
    pub(crate) fn start(&self) -> Child {
        let mut command = self.command(&["run", "--no-serve"]);
        command.arg("--report").arg(self.report());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program can be started")
    }

    /// Ends it in order; its report.
    pub(crate) fn end(&self, mut run: Child) -> Value {
        interrupt(&run);
        assert!(run.wait().expect("it ends").success());
        json(&self.report())
    }

    /// A run of so long; its report.
    pub(crate) fn run_for(&self, duration: &str) -> Value {
        let mut command = self.command(&["run", "--no-serve", "--duration", duration]);
        expect_status(&output(command.arg("--report").arg(self.report())), 0);
        json(&self.report())
    }

    /// The same, beside what else happens.
    pub(crate) fn start_for(&self, duration: &str) -> Child {
        let mut command = self.command(&["run", "--no-serve", "--duration", duration]);
        command.arg("--report").arg(self.report());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program can be started")
    }

    /// How the sink stands, by `kymo sink status`.
    pub(crate) fn status(&self) -> Value {
        let mut command = kymo();
        command
            .args(["sink", "status", "--json", "--data-dir"])
            .arg(self.data());
        let told = output(&mut command);
        serde_json::from_slice(&told.stdout).unwrap_or_default()
    }

    /// Waits until the sink says something of itself.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        wait_until(what, || {
            let text = std::fs::read(self.data().join("sinks/lab.json")).unwrap_or_default();
            serde_json::from_slice(&text).is_ok_and(|status: Value| is_so(&status))
        });
    }

    /// Everything in the journal, as a receiver should have it: `chamber` is source 0, `furnace` 1.
    pub(crate) fn truth(&self) -> Points {
        let mut points = Points::new();
        let sources = [
            ("chamber", &["pressure"][..]),
            ("furnace", &["heater", "sample", "wall", "terminal"]),
        ];
        for (number, (source, channels)) in sources.iter().enumerate() {
            let recorded = recorded(&self.data(), u16::try_from(number).expect("small"));
            for (frame, time_ns) in recorded.times_ns.iter().enumerate() {
                let point = points.entry(((*source).to_owned(), *time_ns)).or_default();
                for (channel, column) in channels.iter().zip(&recorded.columns) {
                    point.insert((*channel).to_owned(), column[frame].to_bits());
                }
            }
        }
        points
    }
}

/// Fails with the first point that is missing or is not the same.
#[track_caller]
pub(crate) fn expect_same(found: &Points, truth: &Points) {
    for (key, point) in truth {
        assert_eq!(
            found.get(key),
            Some(point),
            "{key:?}, of {} where {} should be",
            found.len(),
            truth.len()
        );
    }
    assert_eq!(
        found.len(),
        truth.len(),
        "nothing is there that was not acquired"
    );
    assert!(truth.len() > 100, "something was acquired: {}", truth.len());
}

/// Kills without a warning.
pub(crate) fn kill(mut child: Child) {
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// What a run journaled.
pub(crate) fn journaled(report: &Value) -> u64 {
    report["ledger"]["journaled"].as_u64().expect("a count")
}

/// Of everything journaled in a run that began with an even sink, nothing is unaccounted for.
#[track_caller]
pub(crate) fn expect_conserved(report: &Value) {
    let sink = &report["sinks"]["lab"];
    let keys = [
        "written",
        "rejected",
        "not_selected",
        "not_finite",
        "given_up",
        "unreadable",
        "behind",
    ];
    let sum: u64 = keys
        .iter()
        .map(|key| sink[key].as_u64().expect("a count"))
        .sum();
    assert_eq!(sum, journaled(report), "{report}");
}

/// Whether a tool is there; without it a test says so, or fails where all must be there.
#[allow(clippy::print_stdout)] // Where a test says why it did nothing.
pub(crate) fn has(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&paths).any(|dir| is_file(&dir.join(tool))) {
        return true;
    }
    let is_required = std::env::var("KYMO_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(!is_required, "`{tool}` is not on the PATH");
    println!("skipped: `{tool}` is not on the PATH");
    false
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}
