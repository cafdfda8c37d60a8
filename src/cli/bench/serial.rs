//! `kymo bench serial`: devices that flood real pseudo-terminals → readers → lanes → stage → journal.
//!
//! The limit is a bare loop that reads the same devices on the same pseudo-terminals, waiting and reading as
//! Kymo does, and throws the bytes away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kymo_drivers::link::{self, Read, Stop};
use kymo_simulators::Simulator;

use super::threads::Look;
use super::{Args, Found, Limit, Row, machine, median, resident_bytes};
use crate::clock::Clock;
use crate::config;
use crate::config::plan::Plan;
use crate::pipeline::Report;

/// Flooding devices: one a core.
const DEVICES: usize = 2;

/// Threads that take less of a core are not shown.
const LITTLE: f64 = 0.01;

/// From when every device has sent something to the first look.
const WARM_UP: Duration = Duration::from_millis(100);

/// Names of threads, and their shares of a core.
type Shares = Vec<(String, f64)>;

/// A device's section of the configuration: the inertial unit of the shipped one, as fast as its port takes it.
const SECTION: &str = r#"
[source.SOURCE]
priority = "normal"
link = { type = "simulator", device = "SOURCE", baud = 12_000_000 }
[source.SOURCE.protocol]
type = "packet"
sync = "AA 55"
length = 18
counter = { at = 2, type = "u16" }
checksum = { kind = "CRC-16/IBM-3740", from = 2, to = -2, at = -2 }
[[source.SOURCE.channel]]
name = "ax"
field = { at = 4, type = "i16", scale = 0.0011970964 }
[[source.SOURCE.channel]]
name = "ay"
field = { at = 6, type = "i16", scale = 0.0011970964 }
[[source.SOURCE.channel]]
name = "az"
field = { at = 8, type = "i16", scale = 0.0011970964 }
[[source.SOURCE.channel]]
name = "gx"
field = { at = 10, type = "i16", scale = 0.0152587890625 }
[[source.SOURCE.channel]]
name = "gy"
field = { at = 12, type = "i16", scale = 0.0152587890625 }
[[source.SOURCE.channel]]
name = "gz"
field = { at = 14, type = "i16", scale = 0.0152587890625 }
[simulator.SOURCE]
device = "inertial-unit"
"#;

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let (mut rates, mut limits, mut ratios, mut samples) = (vec![], vec![], vec![], vec![]);
    let mut balanced = true;
    let (mut last, mut rows) = (None, Vec::new());
    for _ in 0..args.repeat {
        let came = flood(args, false)?;
        let (limit, of_bare) = bare(args.duration)?;
        let report = came.report;
        ensure!(
            report
                .sources
                .0
                .iter()
                .all(|(_, s)| s.corrupt_frames == 0 && s.lost_by_device == 0),
            "frames were lost or corrupt, though the devices wait for their reader"
        );
        balanced &= report.ledger.balanced && report.ledger.dropped == 0;
        rates.push(came.bytes_per_s);
        samples.push(came.samples_per_s);
        limits.push(limit);
        ratios.push(came.bytes_per_s / limit);
        last = Some(report.latency_us);
        rows = [("kymo", came.shares), ("limit", of_bare)]
            .into_iter()
            .flat_map(|(of, shares)| shares.into_iter().map(move |share| (of, share)))
            .filter(|(_, (_, share))| *share >= LITTLE)
            .map(|(of, (thread, share))| {
                Row::named(&format!("{of}: {thread}")).with("% of a core", share * 100.0)
            })
            .collect();
    }
    let (ratio, ratio_spread) = median(ratios);
    let latencies = last.unwrap_or_default();
    let mut more_us = serde_json::Map::new();
    more_us.insert(
        "read_to_journal".to_owned(),
        serde_json::to_value(latencies.read_to_journal)?,
    );
    Ok(Found {
        cost: None,
        bench: "serial",
        what: format!(
            "{DEVICES} simulated devices flooding pseudo-terminals with frames of 18 bytes and 6 channels, through the whole pipeline with journal"
        ),
        machine: machine(),
        samples_per_s: Some(median(samples).0),
        bytes_per_s: Some(median(rates).0),
        limit: Limit {
            cost: None,
            what: "a bare read loop on the same pseudo-terminals",
            samples_per_s: None,
            bytes_per_s: Some(median(limits).0),
            latency_us: None,
        },
        ratio,
        ratio_spread,
        latency_us: Some(latencies.read_to_stage),
        more_us,
        rows,
        rss_bytes: resident_bytes(),
        balanced,
    })
}

/// The configuration of one inertial unit and its simulated device.
pub(super) fn section(name: &str) -> String {
    SECTION.replace("SOURCE", name)
}

fn plan(data_dir: &Path) -> anyhow::Result<Plan> {
    let text: String = (0..DEVICES).map(|n| section(&format!("imu{n}"))).collect();
    let mut plan = config::parse("bench serial", &text).map_err(|m| anyhow::anyhow!("{m}"))?;
    plan.move_to(data_dir);
    // The journal is what is measured here; the store follows it in its own time.
    plan.store = None;
    for simulator in &mut plan.simulators {
        simulator.rate_hz = Some(f64::INFINITY);
        simulator.name = format!("device-{}", simulator.name);
    }
    Ok(plan)
}

/// What a flood came to, from when every device had its reader.
pub(super) struct Flooded {
    pub(super) bytes_per_s: f64,
    pub(super) samples_per_s: f64,
    /// Each thread's share of a core.
    shares: Shares,
    pub(super) report: Report,
}

/// The flood through the whole pipeline, recorded as a capture or not.
#[allow(clippy::cast_precision_loss)]
pub(super) fn flood(args: &Args, with_capture: bool) -> anyhow::Result<Flooded> {
    let folder = super::scratch(args)?;
    let mut plan = plan(folder.path())?;
    if with_capture {
        super::capture::recorded(&mut plan, folder.path());
    }
    let ((bytes_per_s, samples_per_s, shares), report) =
        super::during(plan, &Clock::system(), |run| {
            super::until_all_send(run)?;
            std::thread::park_timeout(WARM_UP);
            let counts = || {
                let sources = run.ledger().sources();
                sources.fold((0, 0), |(b, s), c| (b + c.bytes(), s + c.acquired()))
            };
            let (started, before, (bytes, samples)) = (Instant::now(), Look::now(), counts());
            std::thread::park_timeout(args.duration);
            let after = counts();
            let seconds = started.elapsed().as_secs_f64();
            let shares = Look::now().shares(&before, seconds);
            let rate = |after: u64, before: u64| (after - before) as f64 / seconds;
            Ok((rate(after.0, bytes), rate(after.1, samples), shares))
        })?;
    Ok(Flooded {
        bytes_per_s,
        samples_per_s,
        shares,
        report,
    })
}

/// Bytes a second of the bare loop.
#[allow(clippy::cast_precision_loss)]
fn bare(duration: Duration) -> anyhow::Result<(f64, Shares)> {
    let folder = super::scratch_for_links()?;
    let simulators = plan(folder.path())?
        .simulators
        .into_iter()
        .map(Simulator::start)
        .collect::<Result<Vec<_>, _>>()
        .context("cannot start a simulated device")?;
    let stop = Stop::new()?;
    let each: Vec<Arc<AtomicU64>> = simulators.iter().map(|_| Arc::default()).collect();
    let readers: Vec<std::thread::JoinHandle<anyhow::Result<()>>> = simulators
        .iter()
        .zip(&each)
        .map(|(simulator, bytes)| {
            let options = link::serial::Options::new(simulator.path(), 12_000_000);
            let (stop, bytes) = (stop.clone(), Arc::clone(bytes));
            let thread = std::thread::Builder::new().name("reader".to_owned());
            thread.spawn(move || -> anyhow::Result<()> {
                let mut link = link::Options::Serial(options).open()?;
                let mut buffer = vec![0; 64 << 10];
                while !stop.is_triggered() {
                    match link.read(&mut buffer, None, &stop) {
                        Read::Data(count) => {
                            bytes.fetch_add(count as u64, Ordering::Relaxed);
                        }
                        Read::Stopped => break,
                        Read::Quiet => {}
                        Read::Gone(reason) | Read::Finished(reason) => {
                            anyhow::bail!("a device is gone: {reason}")
                        }
                    }
                }
                Ok(())
            })
        })
        .collect::<Result<_, _>>()?;
    let counts = || each.iter().map(|bytes| bytes.load(Ordering::Relaxed));
    let sends = super::until("every device sends", || counts().all(|bytes| bytes > 0));
    std::thread::park_timeout(WARM_UP);
    let (started, before, bytes) = (Instant::now(), Look::now(), counts().sum::<u64>());
    std::thread::park_timeout(duration);
    let bytes = counts().sum::<u64>() - bytes;
    let seconds = started.elapsed().as_secs_f64();
    let shares = Look::now().shares(&before, seconds);
    stop.trigger();
    for reader in readers {
        reader
            .join()
            .map_err(|_| anyhow::anyhow!("a reader broke down"))??;
    }
    sends?;
    Ok((bytes as f64 / seconds, shares))
}
