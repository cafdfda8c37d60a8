//! `kymo bench scale`: from one source to a thousand, on pseudo-terminals of their own, and from one channel to
//! a hundred thousand, through lanes and stage.
//!
//! The limit is the cost of a sample at ten sources: a thousand should cost little more for each.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::anyhow;

use super::threads::Look;
use super::{Args, Cost, Found, Limit, Row, machine, memory, resident_bytes};
use crate::clock::Clock;
use crate::config;
use crate::pipeline::Run;

/// Numbers of sources, and of channels.
const SOURCES: [usize; 4] = [1, 10, 100, 1000];
const CHANNELS: [(usize, usize); 6] = [
    (1, 1),
    (1, 10),
    (1, 100),
    (10, 100),
    (100, 100),
    (1000, 100),
];

/// Frames a second of each source, of six channels: a thousand send 120,000 samples/s.
const RATE_HZ: f64 = 20.0;

/// From when every device has sent something to the first look: pools fill.
const WARM_UP: Duration = Duration::from_millis(300);

/// Begins the names of the simulated devices' threads, which are not Kymo's.
const DEVICE: &str = "device-";

/// What a source costs.
struct Spent {
    ns_per_sample: f64,
    rss_bytes: u64,
    balanced: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let most = SOURCES[SOURCES.len() - 1] as u64;
    crate::limits::raise_descriptors(most * 8)?;
    let (mut rows, mut balanced) = (Vec::new(), true);
    let (mut at_ten, mut at_most) = (f64::NAN, f64::NAN);
    let mut last_rss: Option<(usize, u64)> = None;
    let mut per_source = f64::NAN;
    for sources in SOURCES {
        let cost = on_ports(args, sources)?;
        balanced &= cost.balanced;
        if sources == 10 {
            at_ten = cost.ns_per_sample;
        }
        at_most = cost.ns_per_sample;
        if let Some((fewer, rss)) = last_rss {
            per_source = cost.rss_bytes.saturating_sub(rss) as f64 / (sources - fewer) as f64;
        }
        last_rss = Some((sources, cost.rss_bytes));
        rows.push(
            Row::named(&format!("{sources} ports"))
                .with("ns/sample", cost.ns_per_sample)
                .with("resident MiB", cost.rss_bytes as f64 / f64::from(1 << 20))
                .with("KiB/source", per_source / 1024.0),
        );
    }
    for (sources, channels) in CHANNELS {
        let shape = memory::Shape {
            sources: u16::try_from(sources)?,
            channels,
            frames: 64,
            depth: 4,
        };
        let (rate, _, even) = memory::pipeline(shape, args.duration)?;
        balanced &= even;
        rows.push(
            Row::named(&format!("{} channels", sources * channels))
                .with("ns/sample", 1e9 / rate)
                .with("M samples/s", rate / 1e6),
        );
    }
    let ratio = at_most / at_ten;
    let cost = |value: f64| {
        Some(Cost {
            value,
            unit: "ns a sample",
        })
    };
    Ok(Found {
        cost: cost(at_most),
        bench: "scale",
        what: format!(
            "sources of {RATE_HZ} frames/s of six channels on pseudo-terminals, through the whole pipeline with journal; then channels in memory"
        ),
        machine: machine(),
        samples_per_s: None,
        bytes_per_s: None,
        limit: Limit {
            cost: cost(at_ten),
            what: "the same with ten sources (processor time a sample of a thousand, against it)",
            samples_per_s: None,
            bytes_per_s: None,
            latency_us: None,
        },
        ratio,
        ratio_spread: [ratio, ratio],
        latency_us: None,
        more_us: serde_json::Map::new(),
        rows,
        rss_bytes: resident_bytes(),
        balanced,
    })
}

fn on_ports(args: &Args, sources: usize) -> anyhow::Result<Spent> {
    let mut text = String::new();
    for number in 0..sources {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{}", super::serial::section(&format!("imu{number}")));
    }
    let mut plan = config::parse("bench scale", &text).map_err(|m| anyhow!("{m}"))?;
    let folder = super::scratch(args)?;
    plan.move_to(folder.path());
    // The store makes a file for each source only after a minute: not what is measured here.
    plan.store = None;
    for simulator in &mut plan.simulators {
        simulator.rate_hz = Some(RATE_HZ);
        simulator.name = format!("{DEVICE}{}", simulator.name);
    }
    for source in &mut plan.sources {
        // Enough for a twentieth of a second at this rate; the default would reserve for a flood.
        (source.lane_blocks, source.block_frames) = (16, 64);
    }
    let (measured, report) = super::during(plan, &Clock::system(), |run| {
        measure(run, sources, args.duration)
    })?;
    let (samples, cpu_ns, rss_bytes) = measured;
    Ok(Spent {
        ns_per_sample: cpu_ns as f64 / samples as f64,
        rss_bytes,
        balanced: report.ledger.balanced && report.ledger.dropped == 0,
    })
}

/// Samples that came meanwhile, processor time of Kymo's threads, and resident memory.
fn measure(run: &Run, sources: usize, duration: Duration) -> anyhow::Result<(u64, u64, u64)> {
    // A thousand devices need a while until each has its reader.
    super::until_all_send(run)?;
    std::thread::park_timeout(WARM_UP);
    let samples = || -> u64 { run.ledger().sources().map(|s| s.acquired()).sum() };
    let (before, looked) = (samples(), Look::now());
    std::thread::park_timeout(duration);
    // A cost is per sample: there must be some.
    super::until("every device sends", || {
        samples() - before >= 6 * sources as u64
    })?;
    let (after, used) = (
        samples(),
        Look::now().since(&looked, |name| !name.starts_with(DEVICE)),
    );
    Ok((after - before, used.cpu_ns, resident_bytes()))
}
