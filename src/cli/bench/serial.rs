//! `kymo bench serial`: devices that flood real pseudo-terminals → readers → lanes → stage → journal.
//!
//! The limit is a bare loop that reads the same devices on the same pseudo-terminals, waiting and reading as
//! Kymo does, and throws the bytes away.

use std::path::Path;
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
    pipeline(args, Duration::from_millis(300))?;
    for _ in 0..args.repeat {
        let (report, of_kymo) = pipeline(args, args.duration)?;
        let (limit, of_bare) = bare(args.duration)?;
        let (bytes, count) = sums(&report);
        let rate = bytes / report.duration_s;
        ensure!(
            report
                .sources
                .0
                .iter()
                .all(|(_, s)| s.corrupt_frames == 0 && s.lost_by_device == 0),
            "frames were lost or corrupt, though the devices wait for their reader"
        );
        balanced &= report.ledger.balanced && report.ledger.dropped == 0;
        rates.push(rate);
        samples.push(count / report.duration_s);
        limits.push(limit);
        ratios.push(rate / limit);
        last = Some(report.latency_us);
        rows = [("kymo", of_kymo), ("limit", of_bare)]
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
        bench: "serial",
        what: format!(
            "{DEVICES} simulated devices flooding pseudo-terminals with frames of 18 bytes and 6 channels, through the whole pipeline with journal"
        ),
        machine: machine(),
        samples_per_s: Some(median(samples).0),
        bytes_per_s: Some(median(rates).0),
        limit: Limit {
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

#[allow(clippy::cast_precision_loss)]
pub(super) fn sums(report: &Report) -> (f64, f64) {
    let sources = report.sources.0.iter();
    let (bytes, samples) = sources.fold((0, 0), |(b, s), (_, r)| (b + r.bytes, s + r.samples));
    (bytes as f64, samples as f64)
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

/// The report, and each thread's share of a core.
fn pipeline(args: &Args, duration: Duration) -> anyhow::Result<(Report, Shares)> {
    flood(args, duration, false)
}

/// The flood through the whole pipeline, recorded as a capture or not.
pub(super) fn flood(
    args: &Args,
    duration: Duration,
    with_capture: bool,
) -> anyhow::Result<(Report, Shares)> {
    let folder = super::scratch(args)?;
    let mut plan = plan(folder.path())?;
    if with_capture {
        super::capture::recorded(&mut plan, folder.path());
    }
    let (shares, report) = super::during(plan, &Clock::system(), |_| {
        let before = Look::now();
        std::thread::park_timeout(duration);
        Ok(Look::now().shares(&before, duration.as_secs_f64()))
    })?;
    Ok((report, shares))
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
    let readers: Vec<std::thread::JoinHandle<anyhow::Result<u64>>> = simulators
        .iter()
        .map(|simulator| {
            let options = link::serial::Options::new(simulator.path(), 12_000_000);
            let stop = stop.clone();
            let thread = std::thread::Builder::new().name("reader".to_owned());
            thread.spawn(move || -> anyhow::Result<u64> {
                let mut link = link::Options::Serial(options).open()?;
                let mut buffer = vec![0; 64 << 10];
                let mut bytes = 0;
                while !stop.is_triggered() {
                    match link.read(&mut buffer, None, &stop) {
                        Read::Data(count) => bytes += count as u64,
                        Read::Stopped => break,
                        Read::Quiet => {}
                        Read::Gone(reason) | Read::Finished(reason) => {
                            anyhow::bail!("a device is gone: {reason}")
                        }
                    }
                }
                Ok(bytes)
            })
        })
        .collect::<Result<_, _>>()?;
    let (started, before) = (Instant::now(), Look::now());
    std::thread::park_timeout(duration);
    let shares = Look::now().shares(&before, duration.as_secs_f64());
    stop.trigger();
    let mut bytes = 0;
    for reader in readers {
        bytes += reader
            .join()
            .map_err(|_| anyhow::anyhow!("a reader broke down"))??;
    }
    Ok((bytes as f64 / started.elapsed().as_secs_f64(), shares))
}
