//! `kymo bench`: each benchmark is one command, checks its own answer, and measures in the same
//! run the limit that it is held against, so that a noisy machine disturbs both alike.

mod all;
mod architectures;
mod capture;
mod decode;
mod durable;
mod idle;
mod interlock;
mod isolation;
mod latency;
mod memory;
mod page;
mod record;
mod scale;
mod serial;
mod sink;
mod store;
mod threads;
mod wake;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;

use crate::clock::Clock;
use crate::config::plan::Plan;
use crate::latency::Summary;
use crate::pipeline::{Report, Run};

/// Runs one of the benchmarks.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Each benchmark prints the figure, the limit measured in the same run, and their ratio. It fails if its own \
answer is wrong: a ledger out of balance, a value not as sent.\n\n  \
kymo bench memory             generators → lanes → stage (statistics, a rule a channel) → thrown away\n  \
kymo bench record             the same through the journal, with the store making Parquet behind it\n  \
kymo bench serial             devices flooding pseudo-terminals → the whole pipeline with journal\n  \
kymo bench capture            the same flood, recorded as a capture, beside itself without\n  \
kymo bench latency            150,000 samples/s over 16 sources, and a step that must fire a rule\n  \
kymo bench interlock          a device crosses its limit, and receives its stop bytes\n  \
kymo bench page               the live page with twenty clients → a critical source's latency, and processor time\n  \
kymo bench isolation          the critical path's latency beside floods and on a busy disk\n  \
kymo bench decode             bytes → frames, in process\n  \
kymo bench store              the journal → Parquet segments, and one minute of one channel out of them\n  \
kymo bench sink               line protocol alone, and the journal → influxd, victoria-metrics if they are there\n  \
kymo bench architectures      polling, threads with queues, and lanes with an async stage, on the same work\n  \
kymo bench scale              1 to 1,000 sources, 1 to 100,000 channels\n  \
kymo bench idle               the shipped configuration's slow sources: what waiting costs\n  \
kymo bench all                every one of them, into BENCHMARKS.md: about six minutes")]
pub(super) struct Args {
    /// Which one.
    #[arg(value_enum)]
    name: Name,
    /// How long each repetition runs; of `record` thirty times as long, since what it shows must last.
    #[arg(long, default_value = "1s", value_parser = super::parse_duration)]
    duration: Duration,
    /// Repetitions of the benchmark and of its limit, in turn; the medians are reported. Of `record` one, with `all`.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Where the journal is written: on the disk to be measured, not in memory. A folder of its own is
    /// made there, and removed.
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_dir: std::path::PathBuf,
    /// About how large a store the benchmark `store` makes, beside a journal of about the same size.
    #[arg(long, default_value = "128MiB", value_parser = parse_size)]
    size: u64,
    /// With `all`: the file that the tables are written to, as Markdown, between its marks if it has them.
    #[arg(long, value_name = "FILE", default_value = "BENCHMARKS.md")]
    output: std::path::PathBuf,
    /// With `latency`: once more with `[host]` as punctual as it can be, and once more on processors of their own.
    #[arg(long)]
    tuned: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "a whole number with B, KiB, MiB or GiB is expected, as in `2GiB`".to_owned();
    crate::config::values::parse_size(text).ok_or_else(wrong)
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    /// Every one, in turn.
    All,
    /// The same work by three designs.
    Architectures,
    /// Bytes to frames, in process.
    Decode,
    /// What waiting costs.
    Idle,
    /// The critical path beside floods, and on a busy disk.
    Isolation,
    /// Through journal and store, sustained.
    Record,
    /// Many sources, many channels.
    Scale,
    /// Lanes and stage alone, in memory.
    Memory,
    /// The whole pipeline, from pseudo-terminals to the journal.
    Serial,
    /// What the recording of a capture costs.
    Capture,
    /// From a byte written on a pseudo-terminal to the alert.
    Latency,
    /// From a value written on a pseudo-terminal to the stop bytes there.
    Interlock,
    /// What the live page costs, with twenty clients.
    Page,
    /// From the journal into Parquet, and a range out of it.
    Store,
    /// From the journal to InfluxDB.
    Sink,
}

/// What a benchmark found.
#[derive(Debug, Serialize)]
struct Found {
    bench: &'static str,
    what: String,
    machine: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_s: Option<f64>,
    /// Where what it costs is what is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
    limit: Limit,
    ratio: f64,
    /// The ratio's smallest and largest over the repetitions.
    ratio_spread: [f64; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Summary>,
    /// Further latencies, by name.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    more_us: serde_json::Map<String, serde_json::Value>,
    /// What was measured one by one, where there is more than one thing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<Row>,
    rss_bytes: u64,
    balanced: bool,
}

/// One line of a benchmark's table.
#[derive(Debug, Clone, Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    figures: serde_json::Map<String, serde_json::Value>,
}

impl Row {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            figures: serde_json::Map::new(),
        }
    }

    /// With a figure more. What could not be measured is left out.
    fn with(mut self, figure: &str, value: f64) -> Self {
        if value.is_finite() {
            self.figures.insert(figure.to_owned(), value.into());
        }
        self
    }
}

/// What something costs: the less, the better.
#[derive(Debug, Clone, Copy, Serialize)]
struct Cost {
    value: f64,
    unit: &'static str,
}

/// What nothing could exceed, measured in the same run.
#[derive(Debug, Serialize)]
struct Limit {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Summary>,
}

/// Runs the benchmark.
///
/// # Errors
/// If it could not run, or its answer is wrong.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if matches!(args.name, Name::All) {
        return all::run(args);
    }
    let found = one(args)?;
    if args.json {
        super::say(serde_json::to_string_pretty(&found)?);
    } else {
        super::say(found.text());
    }
    anyhow::ensure!(
        found.balanced,
        "the ledger is out of balance: this is a mistake in kymo"
    );
    Ok(())
}

fn one(args: &Args) -> anyhow::Result<Found> {
    match args.name {
        Name::All => anyhow::bail!("`all` is not one benchmark"),
        Name::Architectures => architectures::run(args),
        Name::Capture => capture::run(args),
        Name::Decode => decode::run(args),
        Name::Idle => idle::run(args),
        Name::Isolation => isolation::run(args),
        Name::Interlock => interlock::run(args),
        Name::Page => page::run(args),
        Name::Latency => latency::run(args),
        Name::Memory => memory::run(args),
        Name::Record => record::run(args),
        Name::Scale => scale::run(args),
        Name::Serial => serial::run(args),
        Name::Sink => sink::run(args),
        Name::Store => store::run(args),
    }
}

impl Found {
    fn text(&self) -> String {
        let mut text = format!("{}: {}\non {}\n\n", self.bench, self.what, self.machine);
        let mut rate = |name: &str, samples: Option<f64>, bytes: Option<f64>| {
            if let Some(samples) = samples {
                let _ = writeln!(text, "{name:<10} {:>10.1} M samples/s", samples / 1e6);
            }
            if let Some(bytes) = bytes {
                let _ = writeln!(text, "{name:<10} {:>10.1} MB/s", bytes / 1e6);
            }
        };
        rate("kymo", self.samples_per_s, self.bytes_per_s);
        rate("limit", self.limit.samples_per_s, self.limit.bytes_per_s);
        let mut costs = |name: &str, cost: Option<Cost>| {
            if let Some(Cost { value, unit }) = cost {
                let _ = writeln!(text, "{name:<10} {value:>10.1} {unit}");
            }
        };
        costs("kymo", self.cost);
        costs("limit", self.limit.cost);
        let mut times = |name: &str, us: &Summary| {
            let _ = writeln!(
                text,
                "{name:<24} mean {:>8.1}  p50 {:>8.1}  p99 {:>8.1}  p99.9 {:>8.1}  max {:>8.1} µs  ({} times)",
                us.mean, us.p50, us.p99, us.p999, us.max, us.count
            );
        };
        if let Some(us) = &self.latency_us {
            times("kymo", us);
        }
        if let Some(us) = &self.limit.latency_us {
            times("limit", us);
        }
        for (name, value) in &self.more_us {
            let _ = writeln!(text, "{name:<24} {value}");
        }
        text += &table(&self.rows);
        let [low, high] = self.ratio_spread;
        let _ = writeln!(
            text,
            "ratio      {:>10.3}    ({low:.3} to {high:.3}); the limit is: {}\nmemory     {:>10.1} MiB resident; ledger {}",
            self.ratio,
            self.limit.what,
            rss_mib(self.rss_bytes),
            if self.balanced {
                "balanced"
            } else {
                "OUT OF BALANCE"
            },
        );
        text
    }
}

/// Rows as a table, a column for every figure that any of them has.
fn table(rows: &[Row]) -> String {
    let figures = all::figures(rows);
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let names = rows.iter().map(|row| row.name.chars().count());
    let width = names.max().unwrap_or(0);
    let _ = write!(text, "{:width$}", "");
    for figure in &figures {
        let _ = write!(text, "  {figure:>10}");
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:width$}", row.name);
        for figure in &figures {
            let shown = row.figures.get(figure).map(all::shown).unwrap_or_default();
            let _ = write!(text, "  {shown:>0$}", figure.chars().count().max(10));
        }
        text.push('\n');
    }
    text
}

#[allow(clippy::cast_precision_loss)]
fn rss_mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle one, and the ends.
fn median(mut values: Vec<f64>) -> (f64, [f64; 2]) {
    values.sort_by(f64::total_cmp);
    let (first, last) = (values.first().copied(), values.last().copied());
    (
        values.get(values.len() / 2).copied().unwrap_or(0.0),
        [first.unwrap_or(0.0), last.unwrap_or(0.0)],
    )
}

/// The processor and how many of it.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    format!(
        "{cpus} × {}, kymo {}",
        model.unwrap_or("unknown processor"),
        env!("CARGO_PKG_VERSION")
    )
}

/// Resident memory of this process, bytes (proc(5): second field of statm, in pages).
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Has a run measured, and stops it whatever came of that: it keeps its own readers waited for.
fn during<T>(
    plan: Plan,
    clock: &Clock,
    measure: impl FnOnce(&Run) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Report)> {
    let mut run = Run::start(plan, clock.clone())?;
    let measured = measure(&run);
    let failure = run.watch();
    let report = run.stop();
    ensure!(failure.is_none(), "the run failed: {failure:?}");
    let measured = measured?;
    ensure!(
        report.failure.is_none(),
        "the run failed: {:?}",
        report.failure
    );
    Ok((measured, report))
}

/// Longest wait for something that will happen, but nobody knows when: how busy the machine is decides nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something has happened: a device was found by its reader, the first bytes have come.
fn until(what: &str, has_happened: impl Fn() -> bool) -> anyhow::Result<()> {
    let started = Instant::now();
    while !has_happened() {
        ensure!(
            started.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Ok(())
}

/// Waits until every source of a run has sent something.
fn until_all_send(run: &Run) -> anyhow::Result<()> {
    until("every device sends", || {
        run.ledger().sources().all(|source| source.acquired() > 0)
    })
}

/// A folder for one run's data, on the disk to be measured; removed when it is dropped.
fn scratch(args: &Args) -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("kymo-bench-")
        .tempdir_in(&args.data_dir)
}

/// A folder for what is not measured.
fn scratch_for_links() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("kymo-bench-").tempdir()
}
