//! `kymo bench latency`: from a byte written on a pseudo-terminal to the alert, with 150,000 samples/s of
//! other traffic from 16 sources through the same stage and journal.
//!
//! The limit is measured at the same time, on an interlock of its own with the same traffic beside it: from
//! the write to a bare thread that waits for the pseudo-terminal, reads, and wakes another thread by a channel.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kymo_drivers::link::{self, Read, Stop};
use kymo_simulators::{Simulator, Written};

use super::{Args, Found, Limit, PATIENCE, Row, machine, median, resident_bytes};
use crate::alert::Change;
use crate::clock::Clock;
use crate::config;
use crate::config::plan::{Host, Plan};
use crate::latency::Latency;
use crate::pipeline::{Notice, Report, Run};
use crate::tuning::{self, Rank, Scheduling};

/// Sources of background traffic, and frames a second of each; one channel a frame.
pub(super) const BACKGROUND: usize = 16;
pub(super) const BACKGROUND_HZ: f64 = 9375.0;

/// Pressure held between steps, and at a step: on either side of the rule's limits.
pub(super) const LOW_BAR: f64 = 1.0;
pub(super) const HIGH_BAR: f64 = 3.0;

/// Time between steps; not a multiple of anything else in the run.
const PAUSE: Duration = Duration::from_micros(3137);

pub(super) const CHAMBER: &str = r#"
[source.chamber]
priority = "critical"
link = { type = "simulator", device = "chamber", baud = 230400 }
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
[[rule]]
name = "step"
channel = "chamber.pressure"
above = 2.5
clear = 1.5
[simulator.chamber]
device = "pressure-interlock"
"#;

pub(super) const VIBRATION: &str = r#"
[source.SOURCE]
priority = "PRIORITY"
link = { type = "simulator", device = "SOURCE", baud = 12_000_000 }
[source.SOURCE.protocol]
type = "packet"
sync = "A5"
length = 5
order = "big"
counter = { at = 1, type = "u8" }
checksum = { kind = "CRC-8/SMBUS", from = 0, to = -1, at = -1 }
[[source.SOURCE.channel]]
name = "velocity"
unit = "mm/s"
field = { at = 2, type = "i16", scale = 0.01 }
[simulator.SOURCE]
device = "vibration-sensor"
"#;

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let plain = once(args, Host::default())?;
    let mut rows = Vec::new();
    let mut more_us = serde_json::Map::new();
    if args.tuned {
        rows.push(plain.row("as it comes"));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let realtime = Host {
            realtime: true,
            lock_memory: true,
            ..Host::default()
        };
        // One for the stage, the others for the readers.
        let pinned = Host {
            reader_cores: (0..(cores - 1).max(1)).collect(),
            stage_cores: vec![cores - 1],
            ..realtime.clone()
        };
        more_us.insert("not_permitted".to_owned(), not_permitted()?.into());
        for (name, host) in [
            ("in real time, memory locked", realtime),
            ("the same, and pinned", pinned),
        ] {
            let found = once(args, host);
            tuning::unlock_memory();
            rows.push(found?.row(name));
        }
    }
    rows.extend(super::durable::rows(args)?);
    let report = &plain.report;
    for (name, times) in [
        ("read_to_stage", report.latency_us.read_to_stage),
        ("read_to_alert", report.latency_us.read_to_alert),
        ("read_to_journal", report.latency_us.read_to_journal),
    ] {
        more_us.insert(name.to_owned(), serde_json::to_value(times)?);
    }
    let (kymo, limit) = (plain.kymo.summary(), plain.limit.summary());
    more_us.insert("ratio_of_means".to_owned(), (kymo.mean / limit.mean).into());
    more_us.insert("ratio_of_p99".to_owned(), (kymo.p99 / limit.p99).into());
    let background = report.sources.0.iter().rev().skip(1);
    let samples: u64 = background.map(|(_, s)| s.samples).sum();
    let (ratio, ratio_spread) = median(plain.ratios.clone());
    Ok(Found {
        cost: None,
        bench: "latency",
        what: format!(
            "{} steps on a critical source, beside {BACKGROUND} sources of {BACKGROUND_HZ} samples/s; from the write on the pseudo-terminal to the alert. Then, a priority at a time and without other traffic, to the commit and to where a query finds the sample",
            kymo.count
        ),
        machine: machine(),
        samples_per_s: Some(samples as f64 / report.duration_s),
        bytes_per_s: None,
        limit: Limit {
            cost: None,
            what: "a bare thread that reads the pseudo-terminal and wakes another (medians compared)",
            samples_per_s: None,
            bytes_per_s: None,
            latency_us: Some(limit),
        },
        ratio,
        ratio_spread,
        latency_us: Some(kymo),
        more_us,
        rows,
        rss_bytes: resident_bytes(),
        balanced: report.ledger.balanced && report.ledger.dropped == 0,
    })
}

/// What the host does not permit, of all that could be wanted.
fn not_permitted() -> anyhow::Result<Vec<String>> {
    let wanted = Scheduling {
        realtime: Some(Rank::CriticalReader),
        cores: Vec::new(),
    };
    let (_, refused) = wanted.tried()?;
    let locked = tuning::lock_memory();
    tuning::unlock_memory();
    let refused = refused.into_iter().chain(locked.err());
    Ok(refused.map(|refused| refused.to_string()).collect())
}

/// What one run came to.
struct Came {
    kymo: Latency,
    limit: Latency,
    /// Of the medians, in each repetition.
    ratios: Vec<f64>,
    report: Report,
}

impl Came {
    fn row(&self, name: &str) -> Row {
        let (kymo, limit) = (self.kymo.summary(), self.limit.summary());
        Row::named(name)
            .with("alerts", kymo.count as f64)
            .with("alert mean µs", kymo.mean)
            .with("alert p50 µs", kymo.p50)
            .with("alert p99 µs", kymo.p99)
            .with("alert max µs", kymo.max)
            .with("bare p50 µs", limit.p50)
            .with("bare p99 µs", limit.p99)
    }
}

fn once(args: &Args, host: Host) -> anyhow::Result<Came> {
    let folder = super::scratch(args)?;
    let clock = Clock::system();
    let mut plan = plan(folder.path())?;
    plan.host = host;
    let elsewhere = super::scratch_for_links()?;
    let bare = Bare::start(elsewhere.path())?;
    let measured = super::during(plan, &clock, |run| measure(args, run, &bare, &clock));
    bare.stop()?;
    let ((kymo, limit, ratios), report) = measured?;
    let fired = report.alerts["step"]["fired"].as_u64().unwrap_or(0);
    ensure!(
        fired >= kymo.count(),
        "{} steps, but the rule fired {fired} times",
        kymo.count()
    );
    Ok(Came {
        kymo,
        limit,
        ratios,
        report,
    })
}

/// Kymo's latencies, the bare path's, and the ratio of the medians in each repetition.
fn measure(
    args: &Args,
    run: &Run,
    bare: &Bare,
    clock: &Clock,
) -> anyhow::Result<(Latency, Latency, Vec<f64>)> {
    let chamber = run.simulators().last();
    let chamber = chamber.context("the interlock is the last simulator of the plan")?;
    // Left alone the interlock is over its limit half of the time, and a step would change nothing.
    for device in [chamber, &bare.simulator] {
        let held = device.set_level(Some(LOW_BAR)).recv_timeout(PATIENCE);
        held.context("the device did not hold its level")?;
    }
    // Warm-up: devices attach, pools fill.
    std::thread::park_timeout(Duration::from_millis(700));
    let (mut kymo, mut limit, mut ratios) = (Latency::default(), Latency::default(), vec![]);
    for _ in 0..args.repeat {
        let (mut of_kymo, mut of_bare) = (Latency::default(), Latency::default());
        let started = Instant::now();
        loop {
            // The two take turns, so that both see the same machine.
            let (from_ns, to_ns) = step(chamber, LOW_BAR, HIGH_BAR, |written| {
                seen_by_rule(run, clock, written)
            })?;
            of_kymo.record_ns(from_ns, to_ns);
            let (from_ns, to_ns) = step(&bare.simulator, LOW_BAR, HIGH_BAR, |written| {
                bare.seen(clock, written)
            })?;
            of_bare.record_ns(from_ns, to_ns);
            if started.elapsed() >= args.duration {
                break;
            }
        }
        ratios.push(of_kymo.summary().p50 / of_bare.summary().p50.max(f64::MIN_POSITIVE));
        kymo.merge(&of_kymo);
        limit.merge(&of_bare);
    }
    Ok((kymo, limit, ratios))
}

/// The configuration of the other traffic.
pub(super) fn background() -> String {
    let background = (0..BACKGROUND).map(|n| {
        let priority = ["high", "normal", "bulk"][n % 3];
        VIBRATION
            .replace("SOURCE", &format!("background{n}"))
            .replace("PRIORITY", priority)
    });
    background.collect()
}

fn plan(data_dir: &Path) -> anyhow::Result<Plan> {
    let text = background() + CHAMBER;
    let mut plan = config::parse("bench latency", &text).map_err(|m| anyhow::anyhow!("{m}"))?;
    plan.move_to(data_dir);
    // The journal is what is measured here; the store follows it in its own time.
    plan.store = None;
    let last = plan.simulators.len() - 1;
    for simulator in &mut plan.simulators[..last] {
        simulator.rate_hz = Some(BACKGROUND_HZ);
    }
    Ok(plan)
}

/// One step up, and down again: when it was written, and when it was seen.
pub(super) fn step(
    device: &Simulator,
    low: f64,
    high: f64,
    mut seen: impl FnMut(&Written) -> anyhow::Result<(i64, i64)>,
) -> anyhow::Result<(i64, i64)> {
    let written = device.set_level(Some(high)).recv_timeout(PATIENCE);
    let times = seen(&written.context("the device did not step")?)?;
    let down = device.set_level(Some(low)).recv_timeout(PATIENCE);
    down.context("the device did not step back")?;
    std::thread::park_timeout(PAUSE);
    Ok(times)
}

/// Waits for the alert of a step.
pub(super) fn seen_by_rule(
    run: &Run,
    clock: &Clock,
    written: &Written,
) -> anyhow::Result<(i64, i64)> {
    let written_ns = clock.at_ns(written.at);
    loop {
        let notice = run
            .notices()
            .recv_timeout(PATIENCE)
            .context("a step fired no alert")?;
        if let Notice::Alert(alert) = notice
            && alert.moved.change == Change::Fired
            && alert.seen_ns >= written_ns
        {
            return Ok((written_ns, alert.seen_ns));
        }
    }
}

/// The bare path: a device of its own, a thread that reads it, and a channel to this one.
struct Bare {
    simulator: Simulator,
    stop: Stop,
    seen: Receiver<Instant>,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
}

impl Bare {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let options =
            kymo_simulators::Options::new("bare", "pressure-interlock", folder.join("bare"));
        let simulator = Simulator::start(options)?;
        let serial = link::serial::Options::new(simulator.path(), 230_400);
        let stop = Stop::new()?;
        let (wake, woken) = channel();
        let (note, seen) = channel();
        // The thread that is woken takes the time: it ends by itself when the reader hangs up.
        std::thread::spawn(move || {
            while let Ok(()) = woken.recv() {
                if note.send(Instant::now()).is_err() {
                    break;
                }
            }
        });
        let thread = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut link = link::Options::Serial(serial).open()?;
                let mut buffer = vec![0; 4096];
                loop {
                    match link.read(&mut buffer, None, &stop) {
                        Read::Data(_) => wake.send(())?,
                        Read::Quiet => {}
                        Read::Stopped => return Ok(()),
                        Read::Gone(reason) | Read::Finished(reason) => {
                            anyhow::bail!("the bare device is gone: {reason}")
                        }
                    }
                }
            })
        };
        Ok(Self {
            simulator,
            stop,
            seen,
            thread,
        })
    }

    /// The first wake-up after the write.
    fn seen(&self, clock: &Clock, written: &Written) -> anyhow::Result<(i64, i64)> {
        loop {
            match self.seen.recv_timeout(PATIENCE) {
                Ok(woken) if woken >= written.at => {
                    return Ok((clock.at_ns(written.at), clock.at_ns(woken)));
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => anyhow::bail!("the bare loop saw no step"),
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the bare loop ended"),
            }
        }
    }

    fn stop(self) -> anyhow::Result<()> {
        self.stop.trigger();
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the bare loop broke down"))?
    }
}
