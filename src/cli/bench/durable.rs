//! The second half of `kymo bench latency`: for every priority, from the write on the pseudo-terminal to the
//! commit on the disk, and to where a query of the store finds the sample.
//!
//! Held against the commit interval plus one sync of the same disk: a sample waits for the next commit at most.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use kymo_drivers::block::Priority;

use super::latency::{CHAMBER, HIGH_BAR, LOW_BAR, step};
use super::{Args, PATIENCE, Row};
use crate::clock::Clock;
use crate::config;
use crate::journal::{self, DecodedBlock, Filter, From, Kind, Next, Reader, Until};
use crate::latency::Latency;
use crate::pipeline::Run;
use crate::store::read::{Archive, Range, find};

/// How often it is looked whether a sample is there: far below the commit interval.
const LOOK: Duration = Duration::from_micros(200);

/// Syncs that the disk is timed by.
const SYNCS: usize = 100;
const SYNC_BYTES: usize = 64 << 10;

/// A row for each priority.
pub(super) fn rows(args: &Args) -> anyhow::Result<Vec<Row>> {
    let folder = super::scratch(args)?;
    let clock = Clock::system();
    let text: String = Priority::ALL
        .into_iter()
        .map(|priority| {
            CHAMBER
                .replace("\"critical\"", &format!("\"{}\"", priority.name()))
                .replace("chamber", priority.name())
                .replace("\"step\"", &format!("\"step-{}\"", priority.name()))
        })
        .collect();
    let mut plan = config::parse("bench latency", &text).map_err(|m| anyhow!("{m}"))?;
    plan.move_to(folder.path());
    let interval = plan.journal.commit_interval;
    let (times, report) = super::during(plan, &clock, |run| {
        for device in run.simulators() {
            let held = device.set_level(Some(LOW_BAR)).recv_timeout(PATIENCE);
            held.context("the device did not hold its level")?;
        }
        std::thread::park_timeout(Duration::from_millis(500));
        let mut times: [[Latency; 2]; 4] = Default::default();
        let (started, duration) = (Instant::now(), args.duration * args.repeat);
        while started.elapsed() < duration {
            for (source, times) in times.iter_mut().enumerate() {
                let seen = seen(run, &clock, folder.path(), source)?;
                times[0].record_ns(seen.written_ns, seen.durable_ns);
                times[1].record_ns(seen.written_ns, seen.readable_ns);
            }
        }
        Ok(times)
    })?;
    ensure!(report.ledger.balanced, "the ledger is out of balance");
    let sync = sync_p99(folder.path())?;
    let bound_ms = (interval + sync).as_secs_f64() * 1e3;
    Ok(Priority::ALL
        .iter()
        .zip(times)
        .map(|(priority, times)| {
            let [durable, readable] = times.map(|times| times.summary());
            Row::named(priority.name())
                .with("steps", durable.count as f64)
                .with("durable mean ms", durable.mean / 1e3)
                .with("p99 ms", durable.p99 / 1e3)
                .with("interval + sync p99 ms", bound_ms)
                .with("readable mean ms", readable.mean / 1e3)
                .with("readable p99 ms", readable.p99 / 1e3)
        })
        .collect())
}

struct Seen {
    written_ns: i64,
    durable_ns: i64,
    readable_ns: i64,
}

/// One step, and when its sample was on the disk and in the store's answers.
fn seen(run: &Run, clock: &Clock, data_dir: &Path, source: usize) -> anyhow::Result<Seen> {
    let device = &run.simulators()[source];
    let mut durable_ns = 0;
    let (written_ns, readable_ns) = step(device, LOW_BAR, HIGH_BAR, |written| {
        let written_ns = clock.at_ns(written.at);
        durable_ns = durable(run, clock, data_dir, source, written_ns)?;
        let readable_ns = readable(run, clock, data_dir, source, written_ns)?;
        Ok((written_ns, readable_ns))
    })?;
    Ok(Seen {
        written_ns,
        durable_ns,
        readable_ns,
    })
}

/// When the first sample over the limit since `since_ns` was committed.
fn durable(
    run: &Run,
    clock: &Clock,
    data_dir: &Path,
    source: usize,
    since_ns: i64,
) -> anyhow::Result<i64> {
    let mut reader = Reader::open(
        &data_dir.join(journal::DIR),
        From::Time(since_ns),
        Until::Durable(run.journal().durable_seq()),
        Filter {
            kinds: Some(vec![Kind::Block]),
            sources: Some(vec![u16::try_from(source)?]),
        },
    )?;
    let mut block = DecodedBlock::default();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match reader.next()? {
            Next::Record(record) => {
                block.decode(record.payload)?;
                let over = block.column(0).iter().any(|value| *value > 2.5);
                if over && record.t_last_ns >= since_ns {
                    return Ok(clock.now_ns());
                }
            }
            Next::Lost(lost) => anyhow::bail!("the journal has a hole: {lost:?}"),
            Next::End => std::thread::park_timeout(LOOK),
        }
    }
    anyhow::bail!("a sample was not committed in {PATIENCE:?}")
}

/// When a query found it.
fn readable(
    run: &Run,
    clock: &Clock,
    data_dir: &Path,
    source: usize,
    since_ns: i64,
) -> anyhow::Result<i64> {
    let name = &run.plan().sources[source].name;
    let channel = format!("{name}.pressure");
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let archive = Archive::open(data_dir)?;
        let runs = archive.runs()?;
        let found = runs.iter().find(|found| found.record.run == run.id());
        if let Some(found) = found {
            let lane = find(found, |name| name == channel).pop();
            let lane = lane.context("the channel is there")?;
            let range = Range {
                from_ns: since_ns,
                to_ns: i64::MAX,
            };
            let mut rows = archive.read(found, &lane, range)?;
            while let Some(rows) = rows.next()? {
                if rows.columns.iter().flatten().any(|value| *value > 2.5) {
                    return Ok(clock.now_ns());
                }
            }
        }
        std::thread::park_timeout(LOOK);
    }
    anyhow::bail!("a sample was not readable in {PATIENCE:?}")
}

/// The 99th percentile of a sync of this disk.
fn sync_p99(folder: &Path) -> anyhow::Result<Duration> {
    let mut file = File::create(folder.join("syncs"))?;
    let chunk = vec![0xA5; SYNC_BYTES];
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&chunk)?;
        let started = Instant::now();
        file.sync_data()?;
        took.push(started.elapsed());
    }
    took.sort();
    Ok(took[SYNCS * 99 / 100])
}
