//! `kymo bench`: each benchmark is one command, checks its own answer, and measures in the same
//! run the limit that it is held against, so that a noisy machine disturbs both alike.

mod interlock;
mod latency;
mod memory;
mod page;
mod serial;
mod sink;
mod store;

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::latency::Summary;

/// Runs one of the benchmarks.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each benchmark prints the figure, the limit measured in the same run, and their ratio. It fails if its own \
answer is wrong: a ledger out of balance, a value not as sent.\n\n  \
kymo bench memory             generators → lanes → stage (statistics, a rule a channel) → thrown away\n  \
kymo bench serial             devices flooding pseudo-terminals → the whole pipeline with journal\n  \
kymo bench latency            150,000 samples/s over 16 sources, and a step that must fire a rule\n  \
kymo bench interlock          a device crosses its limit, and receives its stop bytes\n  \
kymo bench page               the live page with twenty clients → a critical source's latency, and processor time\n  \
kymo bench store              the journal → Parquet segments, and one minute of one channel out of them\n  \
kymo bench sink               line protocol alone, and the journal → influxd, victoria-metrics if they are there")]
pub(super) struct Args {
    /// Which one.
    #[arg(value_enum)]
    name: Name,
    /// How long each repetition runs.
    #[arg(long, default_value = "2s", value_parser = super::parse_duration)]
    duration: Duration,
    /// Repetitions of the benchmark and of its limit, in turn; the medians are reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Where the journal is written: on the disk to be measured, not in memory. A folder of its own is
    /// made there, and removed.
    #[arg(long, value_name = "DIR", default_value = ".")]
    data_dir: std::path::PathBuf,
    /// About how large a store the benchmark `store` makes, beside a journal of about the same size.
    #[arg(long, default_value = "128MiB", value_parser = parse_size)]
    size: u64,
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
    /// Lanes and stage alone, in memory.
    Memory,
    /// The whole pipeline, from pseudo-terminals to the journal.
    Serial,
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
    limit: Limit,
    ratio: f64,
    /// The ratio's smallest and largest over the repetitions.
    ratio_spread: [f64; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Summary>,
    /// Further latencies, by name.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    more_us: serde_json::Map<String, serde_json::Value>,
    rss_bytes: u64,
    balanced: bool,
}

/// What nothing could exceed, measured in the same run.
#[derive(Debug, Serialize)]
struct Limit {
    what: &'static str,
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
    let found = match args.name {
        Name::Memory => memory::run(args)?,
        Name::Serial => serial::run(args)?,
        Name::Latency => latency::run(args)?,
        Name::Interlock => interlock::run(args)?,
        Name::Page => page::run(args)?,
        Name::Store => store::run(args)?,
        Name::Sink => sink::run(args)?,
    };
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
