//! `kymo bench idle`: the shipped configuration's slow sources alone: what Kymo costs when little happens.
//!
//! The limit is the same number of threads that do nothing but read the same devices and throw the bytes away.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use kymo_drivers::link::{self, Read, Stop};
use kymo_simulators::Simulator;

use super::threads::{Look, Used};
use super::{Args, Cost, Found, Limit, Row, machine, median, resident_bytes};
use crate::clock::Clock;
use crate::config;
use crate::config::plan::Plan;
use crate::pipeline::Run;

/// Sources of the shipped configuration with more frames a second than this are not slow.
const SLOW_HZ: f64 = 1000.0;

/// Begins the names of the simulated devices' threads, which are not Kymo's.
const DEVICE: &str = "device-";

/// Between the start and the first look: devices attach, pools fill.
const WARM_UP: Duration = Duration::from_millis(500);

/// The shipped configuration without its fast sources.
fn slow_text() -> anyhow::Result<String> {
    let mut text: toml::Table = include_str!("../../../config.toml").parse()?;
    let is_fast = |source: &toml::Value| {
        let rate = source.get("rate_hz");
        let rate = rate.and_then(|rate| rate.as_float().or(rate.as_integer().map(|i| i as f64)));
        rate.is_none_or(|rate| rate > SLOW_HZ)
    };
    let sources = text.get_mut("source").and_then(toml::Value::as_table_mut);
    let sources = sources.context("the shipped configuration has sources")?;
    sources.retain(|_, source| !is_fast(source));
    Ok(text.to_string())
}

fn plan(folder: &std::path::Path) -> anyhow::Result<Plan> {
    let mut plan =
        config::parse("the shipped configuration", &slow_text()?).map_err(|m| anyhow!("{m}"))?;
    plan.move_to(folder);
    for simulator in &mut plan.simulators {
        simulator.name = format!("{DEVICE}{}", simulator.name);
    }
    Ok(plan)
}

/// What Kymo's own threads use.
fn used(duration: Duration, during: impl FnOnce(Duration)) -> (Used, f64) {
    let before = Look::now();
    let started = Instant::now();
    during(duration);
    let seconds = started.elapsed().as_secs_f64();
    let used = Look::now().since(&before, |name| !name.starts_with(DEVICE));
    (used, seconds)
}

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let (mut shares, mut wakes, mut limits, mut ratios) = (vec![], vec![], vec![], vec![]);
    let (mut samples, mut balanced, mut rss_bytes) = (0.0, true, 0);
    for _ in 0..args.repeat {
        let folder = super::scratch(args)?;
        let run = Run::start(plan(folder.path())?, Clock::system())?;
        std::thread::park_timeout(WARM_UP);
        let (kymo, seconds) = used(args.duration, std::thread::park_timeout);
        rss_bytes = resident_bytes();
        let report = run.stop();
        balanced &= report.ledger.balanced && report.ledger.dropped == 0;
        samples = report.ledger.acquired as f64 / report.duration_s;
        let share = kymo.cpu_ns as f64 / 1e9 / seconds;
        let limit = bare(args)?;
        shares.push(share);
        wakes.push(kymo.wakes as f64 / seconds);
        limits.push(limit);
        ratios.push(share / limit.max(f64::MIN_POSITIVE));
    }
    let (ratio, ratio_spread) = median(ratios);
    let (share, limit) = (median(shares).0, median(limits).0);
    let cost = |share: f64| {
        Some(Cost {
            value: share * 100.0,
            unit: "% of a core",
        })
    };
    let row = |name: &str, share: f64| Row::named(name).with("% of a core", share * 100.0);
    Ok(Found {
        cost: cost(share),
        bench: "idle",
        what: format!(
            "the shipped configuration's sources of at most {SLOW_HZ} frames/s, with journal and store"
        ),
        machine: machine(),
        samples_per_s: Some(samples),
        bytes_per_s: None,
        limit: Limit {
            cost: cost(limit),
            what: "threads that read the same devices and throw the bytes away (processor time compared)",
            samples_per_s: None,
            bytes_per_s: None,
            latency_us: None,
        },
        ratio,
        ratio_spread,
        latency_us: None,
        more_us: serde_json::Map::new(),
        rows: vec![
            row("kymo", share).with("wake-ups/s", median(wakes).0),
            row("limit", limit),
        ],
        rss_bytes,
        balanced,
    })
}

/// Share of a core that bare reading takes.
fn bare(args: &Args) -> anyhow::Result<f64> {
    let folder = super::scratch_for_links()?;
    let plan = plan(folder.path())?;
    let simulators: Vec<Simulator> = plan
        .simulators
        .into_iter()
        .map(Simulator::start)
        .collect::<Result<_, _>>()
        .context("cannot start a simulated device")?;
    let stop = Stop::new()?;
    let readers: Vec<_> = simulators
        .iter()
        .map(|simulator| {
            let options = link::serial::Options::new(simulator.path(), 12_000_000);
            let stop = stop.clone();
            std::thread::spawn(move || -> anyhow::Result<()> {
                let mut link = link::Options::Serial(options).open()?;
                let mut buffer = vec![0; 64 << 10];
                while !matches!(
                    link.read(&mut buffer, None, &stop),
                    Read::Stopped | Read::Gone(_) | Read::Finished(_)
                ) {}
                Ok(())
            })
        })
        .collect();
    std::thread::park_timeout(WARM_UP);
    let (used, seconds) = used(args.duration, std::thread::park_timeout);
    stop.trigger();
    for reader in readers {
        let ended = reader.join().map_err(|_| anyhow!("a reader broke down"))?;
        ended?;
    }
    Ok(used.cpu_ns as f64 / 1e9 / seconds)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_slow_sources_of_the_shipped_configuration_are_a_configuration() {
        let text = super::slow_text().expect("the shipped configuration");
        let plan = crate::config::parse("slow", &text).unwrap_or_else(|m| panic!("{m}"));
        let names: Vec<&str> = plan.sources.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["chamber", "furnace"]);
    }
}
