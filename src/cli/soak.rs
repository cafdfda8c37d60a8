//! `kymo soak`: simulated devices with faults by chance against the whole pipeline, and everything checked against what they really sent.
//!
//! **Always holds.** The seed makes the laboratory (`soak/lab.rs`), so a soak that found something can be repeated. What is checked:
//! every frame that went out whole is in the journal, once, in order, with its values, and in the store, too (`soak/check.rs`); the
//! ledger balances, and nothing was dropped; the rule fired as often as the recorded values say; memory, descriptors and threads do not
//! grow (`soak/limits.rs`). The journal is compared while it is written, so that a long soak takes no more memory than a short one.
//!
//! **Must not know.** How anything of it is done.

mod check;
mod comparison;
mod lab;
mod limits;
mod log;
mod watched;

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use kymo_simulators::Simulator;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Failure, note, parse_duration, say};
use crate::clock::Clock;
use crate::config;
use crate::config::plan::Plan;
use crate::journal::{self, Filter, From, Kind, Reader, Until};
use crate::pipeline::Run;
use comparison::Comparison;
use limits::Resources;
use watched::Watched;

/// Runs simulated devices with random faults against the whole pipeline, and checks everything against what they really sent.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Six devices, streaming and polled, suffer every fault there is, again and again. Checked, as it goes and at the end: every frame that \
was sent whole is in the journal and in the store, once, in order, value for value; the ledger balances; the rule fired when it \
should; memory, descriptors and threads do not grow. Status 3 if what was recorded is not what was sent, 1 if something else is wrong. \
The same seed makes the same faults.")]
pub(super) struct Args {
    /// How long.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    duration: Duration,
    /// Which devices fail when; another one each time unless it is given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the data are kept: a folder that is empty or not there. Otherwise a temporary one, which is kept if something is wrong.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How often both sides are looked at.
const TICK: Duration = Duration::from_millis(250);

/// A source that brings no frame for so long does not come back: no fault lasts a tenth of it.
const STUCK: Duration = Duration::from_secs(30);

/// How long is waited, at the end, for what was sent to be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where in its folder a soak has the devices' logs, and the data.
const LOGS: &str = "truth";
const DATA: &str = "data";

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    what: String,
}

impl Finding {
    fn new(check: &'static str, source: Option<&str>, what: impl Into<String>) -> Self {
        let (source, what) = (source.map(str::to_owned), what.into());
        Self {
            check,
            source,
            what,
        }
    }

    /// Whether it says that what was recorded is not what was sent.
    fn is_of_record(&self) -> bool {
        ["journal", "store", "ledger", "rules"].contains(&self.check)
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    seed: u64,
    duration_s: f64,
    passed: bool,
    findings: Vec<Finding>,
    sources: Map<String, Value>,
    faults: u64,
    rows: u64,
    store_rows: u64,
    alerts_fired: u64,
    balanced: bool,
    warm: Resources,
    peak: Resources,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let mut temporary = None;
    let folder = match &args.data_dir {
        Some(folder) => {
            expect_empty(folder)?;
            folder.clone()
        }
        None => {
            let made = tempfile::Builder::new().prefix("kymo-soak-").tempdir()?;
            temporary.insert(made).path().to_owned()
        }
    };
    note(format_args!(
        "soak with seed {seed}, in {}",
        folder.display()
    ));
    let outcome = Soak::start(seed, args.duration, &folder).and_then(|soak| soak.go(args));
    let passed = outcome.as_ref().is_ok_and(|outcome| outcome.passed);
    if !passed && let Some(folder) = temporary {
        note(format_args!(
            "the data and the truth logs are kept in {}",
            folder.keep().display()
        ));
    }
    let repeat = || {
        let seconds = args.duration.as_secs_f64();
        format!("repeat it with `kymo soak --duration {seconds}s --seed {seed}`")
    };
    let outcome = outcome.with_context(|| format!("the soak came to no end; {}", repeat()))?;
    if args.json {
        say(serde_json::to_string_pretty(&outcome)?);
    } else {
        say(text(&outcome));
    }
    if outcome.passed {
        return Ok(());
    }
    let findings: Vec<String> = outcome.findings.iter().map(described).collect();
    let told = format!(
        "the soak found something; {}\n{}",
        repeat(),
        findings.join("\n")
    );
    if outcome.findings.iter().any(Finding::is_of_record) {
        return Err(Failure::OutOfBalance(told));
    }
    Err(Failure::Running(anyhow!(told)))
}

fn expect_empty(folder: &Path) -> Result<(), Failure> {
    let is_empty = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_empty {
        return Ok(());
    }
    let shown = folder.display();
    Err(Failure::Usage(format!(
        "error: {shown} is not an empty folder: a soak wants one of its own"
    )))
}

/// A soak under way.
struct Soak {
    run: Run,
    started: Instant,
    duration: Duration,
    seed: u64,
    folder: PathBuf,
    plan: Plan,
    compared: Comparison,
    warm: Option<Resources>,
    peak: Resources,
}

impl Soak {
    fn start(seed: u64, duration: Duration, folder: &Path) -> anyhow::Result<Self> {
        let (logs, data) = (folder.join(LOGS), folder.join(DATA));
        std::fs::create_dir_all(&logs)?;
        let text = lab::configuration(seed, duration, &logs);
        std::fs::write(folder.join("soak.toml"), &text)?;
        let mut plan =
            config::parse("soak.toml", &text).map_err(|mistakes| anyhow!("{mistakes}"))?;
        plan.move_to(&data);
        let run = Run::start(plan.clone(), Clock::system())?;
        let watched = lab::devices()
            .zip(&plan.simulators)
            .map(|((name, speech), device)| Watched::new(name, speech, device))
            .collect::<Result<_, _>>()
            .map_err(anyhow::Error::msg)?;
        let until = Until::Durable(run.journal().durable_seq());
        let filter = Filter {
            kinds: Some(vec![Kind::Block]),
            sources: None,
        };
        let reader = Reader::open(&data.join(journal::DIR), From::Seq(1), until, filter)?;
        let compared = Comparison::new(watched, reader);
        Ok(Self {
            run,
            started: Instant::now(),
            duration,
            seed,
            folder: folder.to_owned(),
            plan,
            compared,
            warm: None,
            peak: Resources::default(),
        })
    }

    fn go(mut self, args: &Args) -> anyhow::Result<Outcome> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let order = Arc::clone(&interrupted);
        ctrlc::set_handler(move || order.store(true, Ordering::Relaxed))
            .context("cannot listen for Ctrl-C")?;
        let mut told = Instant::now();
        let bar = bar(self.duration);
        while self.started.elapsed() < self.duration
            && !interrupted.load(Ordering::Relaxed)
            && self.compared.findings.is_empty()
        {
            let left = self.duration.saturating_sub(self.started.elapsed());
            std::thread::park_timeout(left.min(TICK));
            self.look()?;
            bar.set_position(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0));
            bar.set_message(format!(
                "{} rows, {} faults",
                self.compared.rows,
                self.faults()
            ));
            if bar.is_hidden() && !args.json && told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                let seconds = self.started.elapsed().as_secs();
                note(format_args!(
                    "{seconds} s: {} rows, {} faults",
                    self.compared.rows,
                    self.faults()
                ));
            }
        }
        bar.finish_and_clear();
        self.end()
    }

    fn faults(&self) -> u64 {
        let truths = self.run.simulators().iter().map(Simulator::truth);
        truths.map(|truth| truth.faults.iter().sum::<u64>()).sum()
    }

    /// Looks at everything once.
    fn look(&mut self) -> anyhow::Result<()> {
        // Nobody else listens: what is told is told again in the report.
        self.run.notices().try_iter().for_each(drop);
        if let Some(failure) = self.run.watch() {
            self.compared.find("run", None, failure);
        }
        self.compared.step()?;
        let Comparison {
            watched, findings, ..
        } = &mut self.compared;
        for (watched, counts) in watched.iter_mut().zip(self.run.ledger().sources()) {
            // In this order: what is acquired meanwhile only makes the sum larger.
            let done = counts.journaled() + counts.dropped();
            let acquired = counts.acquired();
            if done > acquired {
                let what =
                    format!("{done} samples are journaled or dropped, of {acquired} acquired");
                findings.push(Finding::new("ledger", Some(watched.name), what));
            }
            if watched.is_stuck(counts.frames(), STUCK) {
                let what = format!("no frame came for {} s", STUCK.as_secs());
                findings.push(Finding::new("journal", Some(watched.name), what));
            }
        }
        let now = Resources::now();
        self.peak = self.peak.max(now);
        let warm_up =
            (self.duration / 4).clamp(Duration::from_millis(500), Duration::from_secs(15));
        if self.started.elapsed() >= warm_up {
            let warm = *self.warm.get_or_insert(now);
            if let Some(what) = now.grown_since(warm) {
                self.compared.find("resources", None, what);
            }
        }
        Ok(())
    }

    /// Lets the devices fall silent, waits until all that they sent is read, and stops everything.
    fn end(mut self) -> anyhow::Result<Outcome> {
        let quiet: Vec<_> = self.run.simulators().iter().map(Simulator::pause).collect();
        for (quiet, (name, _)) in quiet.into_iter().zip(lab::devices()) {
            if quiet.recv_timeout(PATIENCE).is_err() {
                let what = format!("the device did not fall silent in {} s", PATIENCE.as_secs());
                self.compared.find("run", Some(name), what);
            }
        }
        let began = Instant::now();
        loop {
            self.compared.step()?;
            let boards = self.run.boards().iter();
            let is_read = self
                .compared
                .watched
                .iter()
                .zip(boards)
                .all(|(watched, board)| {
                    let last = board.first().map_or(f64::NAN, |board| board.read().last);
                    watched.has_all_by(last)
                });
            // What has not come by then is found missing below.
            if is_read || began.elapsed() >= PATIENCE {
                break;
            }
            std::thread::park_timeout(TICK / 10);
        }
        let duration_s = self.started.elapsed().as_secs_f64();
        let faults = self.faults();
        let mut compared = self.compared;
        let report = self.run.stop();
        compared.finish()?;
        compared.check_report(&report);
        let store_rows = compared.check_store(&self.folder.join(DATA), &self.plan)?;
        let sources = compared.watched.iter().map(|watched| {
            let found = report
                .sources
                .0
                .iter()
                .find(|(name, _)| name == watched.name);
            let ledger = found.and_then(|(_, source)| serde_json::to_value(source).ok());
            let told = serde_json::json!({ "frames": watched.counts(), "ledger": ledger });
            (watched.name.to_owned(), told)
        });
        let sources = sources.collect();
        Ok(Outcome {
            seed: self.seed,
            duration_s,
            passed: compared.findings.is_empty(),
            findings: compared.findings,
            sources,
            faults,
            rows: compared.rows,
            store_rows,
            alerts_fired: comparison::fired(&report),
            balanced: report.ledger.balanced,
            warm: self.warm.unwrap_or(self.peak),
            peak: self.peak,
        })
    }
}

/// How far it has come, in a terminal.
fn bar(duration: Duration) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("soaking [{wide_bar}] {elapsed}, {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn described(finding: &Finding) -> String {
    let source = finding.source.as_ref();
    let source = source
        .map(|name| format!(", source `{name}`"))
        .unwrap_or_default();
    format!("  {}{source}: {}", finding.check, finding.what)
}

fn text(outcome: &Outcome) -> String {
    let mut text = format!(
        "{:<12} {:>10} {:>10} {:>10} {:>8} {:>8}\n",
        "source", "sent whole", "arrived", "hang-ups", "hit", "of these"
    );
    for (name, source) in &outcome.sources {
        let count = |key: &str| source["frames"][key].as_u64().unwrap_or(0);
        // A string takes every text.
        let _ = writeln!(
            text,
            "{name:<12} {:>10} {:>10} {:>10} {:>8} {:>8}",
            count("sent"),
            count("arrived"),
            count("taken_by_hang_ups"),
            count("hit"),
            count("hit_and_arrived")
        );
    }
    let (warm, peak) = (outcome.warm, outcome.peak);
    let _ = write!(
        text,
        "\n{:.1} s, {} faults, {} rows compared in the journal and {} in the store; the rule fired {} times\n\
         memory {:.0} MiB when warm, {:.0} MiB at most; descriptors {} and {}; threads {} and {}\n{}",
        outcome.duration_s,
        outcome.faults,
        outcome.rows,
        outcome.store_rows,
        outcome.alerts_fired,
        mebibytes(warm.rss_bytes),
        mebibytes(peak.rss_bytes),
        warm.descriptors,
        peak.descriptors,
        warm.threads,
        peak.threads,
        if outcome.passed {
            "everything that was sent is there"
        } else {
            "something is wrong"
        }
    );
    text
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
