//! `kymo bench isolation`: a critical source's latency while every other lane is flooded beyond what the stage can
//! take, and while another writer keeps the disk busy.
//!
//! The limit is the same source's latency in the same run while the others are silent. The three take turns. Beside
//! every step a byte is written on a pseudo-terminal of its own, and read by a thread that does nothing but wake another:
//! what the machine itself does to whoever waits, in the same phase.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use kymo_drivers::block::Priority;
use kymo_simulators::Simulator;

use super::latency::{CHAMBER, HIGH_BAR, LOW_BAR, seen_by_rule, step};
use super::wake::Wake;
use super::{Args, Found, Limit, PATIENCE, Row, machine, resident_bytes};
use crate::clock::Clock;
use crate::config;
use crate::config::plan::{Host, Plan};
use crate::lanes::Overflow;
use crate::latency::{Latency, Summary};
use crate::pipeline::{Report, Run};
use crate::stage::calibrate::Calibration;
use crate::tuning::{Rank, Scheduling};

/// Flooding devices beside the critical one.
const FLOODS: usize = 2;

/// Coefficients of the polynomial that each of the floods' samples goes through: about a microsecond of the stage's
/// for a sample, where reading and decoding one takes a tenth of that, and a pseudo-terminal carries a hundred million
/// bytes in a second. So the stage cannot follow, on whatever machine and in whatever build.
const COEFFICIENTS: usize = 512;

/// Frames of the floods' blocks: so few that the one in hand, for which a critical block waits, takes some tens of
/// microseconds of the stage's.
const FLOOD_FRAMES: usize = 8;

/// Blocks that their lanes hold: less than one read of a full pseudo-terminal makes, so that a single one overflows,
/// however the threads are scheduled.
const FLOOD_BLOCKS: usize = 4;

/// Blocks of the critical source that the journal holds while the disk stalls: a quarter of a minute's.
const CRITICAL_BLOCKS: usize = 16_384;

/// What the other writer writes before each sync, and no more of the disk than this.
const HOG_BYTES: usize = 32 << 20;

/// How long each phase lasts before the next one has its turn.
const TURN: Duration = Duration::from_millis(500);

/// From a change of phase to the first step that counts.
const SETTLE: Duration = Duration::from_millis(100);

const PHASES: [&str; 3] = ["idle", "flooded", "busy disk"];

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let plain = once(args, Host::default())?;
    let realtime = Host {
        realtime: true,
        ..Host::default()
    };
    let urgent = once(args, realtime)?;
    let mut rows = plain.rows("");
    rows.extend(urgent.rows(", in real time"));
    let [idle, flooded, busy] = plain.phases;
    let worst = if flooded.p99 >= busy.p99 {
        flooded
    } else {
        busy
    };
    let commit = plain.report.latency_us.read_to_journal;
    let mut more_us = serde_json::Map::new();
    more_us.insert("read_to_journal".to_owned(), serde_json::to_value(commit)?);
    more_us.insert("ratio_in_real_time".to_owned(), urgent.ratio().into());
    more_us.insert("dropped_of_the_floods".to_owned(), plain.lost.into());
    Ok(Found {
        cost: None,
        bench: "isolation",
        what: format!(
            "steps of a critical source, from the write on the pseudo-terminal to the alert: alone, beside {FLOODS} floods of bulk data of which {} samples were dropped, and with another writer on the disk; no critical sample lost. Then the same with `[host] realtime`, where it is permitted",
            plain.lost
        ),
        machine: machine(),
        samples_per_s: None,
        bytes_per_s: None,
        limit: Limit {
            cost: None,
            what: "the same source while the others are silent (99th percentiles compared, the worse of the two)",
            samples_per_s: None,
            bytes_per_s: None,
            latency_us: Some(idle),
        },
        ratio: plain.ratio(),
        ratio_spread: [flooded.p99 / idle.p99, busy.p99 / idle.p99],
        latency_us: Some(worst),
        more_us,
        rows,
        rss_bytes: resident_bytes(),
        balanced: plain.report.ledger.balanced && urgent.report.ledger.balanced,
    })
}

/// Latencies in one phase.
#[derive(Debug, Default)]
struct Phase {
    /// From the write of a step to the alert.
    alert: Latency,
    /// From the write of a byte to the bare read.
    bare_read: Latency,
    /// From there to the bare thread that was woken by it.
    bare_woken: Latency,
}

/// What one run came to.
struct Came {
    phases: [Summary; 3],
    /// Of the bare path, to the read and to the wake-up behind it.
    bare: [[Summary; 2]; 3],
    /// Samples of the floods that were dropped.
    lost: u64,
    report: Report,
}

impl Came {
    /// The worse of the two phases' 99th percentiles, against that of the idle one.
    fn ratio(&self) -> f64 {
        let [idle, flooded, busy] = &self.phases;
        flooded.p99.max(busy.p99) / idle.p99.max(f64::MIN_POSITIVE)
    }

    fn rows(&self, how: &str) -> Vec<Row> {
        let (idle, bare_idle) = (self.phases[0], self.bare[0][1]);
        let each = PHASES.iter().zip(&self.phases).zip(&self.bare);
        each.map(|((name, us), [read, woken])| {
            Row::named(&format!("{name}{how}"))
                .with("steps", us.count as f64)
                .with("mean µs", us.mean)
                .with("p50 µs", us.p50)
                .with("p99 µs", us.p99)
                .with("max µs", us.max)
                .with("p99 / idle p99", us.p99 / idle.p99)
                .with("bare read p99 µs", read.p99)
                .with("bare wake p50 µs", woken.p50)
                .with("bare wake p99 µs", woken.p99)
                .with("bare wake p99 / idle", woken.p99 / bare_idle.p99)
        })
        .collect()
    }
}

fn once(args: &Args, host: Host) -> anyhow::Result<Came> {
    let folder = super::scratch(args)?;
    let clock = Clock::system();
    let wake = Wake::start(&Scheduling {
        realtime: host.realtime.then_some(Rank::CriticalReader),
        cores: Vec::new(),
    })?;
    let mut plan = plan(folder.path())?;
    plan.host = host;
    let ((phases, steps), report) = super::during(plan, &clock, |run| {
        measure(args, run, &clock, folder.path(), &wake)
    })?;
    let fired = report.alerts["step"]["fired"].as_u64().unwrap_or(0);
    ensure!(
        fired >= steps,
        "{steps} steps, but the rule fired {fired} times"
    );
    let [others @ .., (_, critical)] = &report.sources.0[..] else {
        return Err(anyhow!("the report has no sources"));
    };
    let dropped = |drops: &serde_json::Map<String, serde_json::Value>| -> u64 {
        drops.values().filter_map(serde_json::Value::as_u64).sum()
    };
    let lost: u64 = others.iter().map(|(_, s)| dropped(&s.dropped)).sum();
    ensure!(
        lost > 0,
        "the floods were not more than the stage could take"
    );
    ensure!(
        dropped(&critical.dropped) == 0
            && critical.corrupt_frames == 0
            && critical.lost_by_device == 0
            && critical.journaled == critical.samples,
        "critical samples were lost: {critical:?}"
    );
    Ok(Came {
        phases: std::array::from_fn(|phase| phases[phase].alert.summary()),
        bare: std::array::from_fn(|phase| {
            let Phase {
                bare_read,
                bare_woken,
                ..
            } = &phases[phase];
            [bare_read.summary(), bare_woken.summary()]
        }),
        lost,
        report,
    })
}

/// The steps' latencies in each phase, the phases taking turns; and how many steps there were.
fn measure(
    args: &Args,
    run: &Run,
    clock: &Clock,
    folder: &Path,
    wake: &Wake,
) -> anyhow::Result<([Phase; 3], u64)> {
    super::threads::make_nice(|name| name.starts_with("device-flood"));
    let floods = &run.simulators()[..FLOODS];
    let chamber = run.simulators().last();
    let chamber = chamber.context("the interlock is the last")?;
    quiet(floods)?;
    let held = chamber.set_level(Some(LOW_BAR)).recv_timeout(PATIENCE);
    held.context("the device did not hold its level")?;
    std::thread::park_timeout(Duration::from_millis(500));
    let mut phases: [Phase; 3] = Default::default();
    let mut steps = 0_u64;
    let (started, duration) = (Instant::now(), args.duration * args.repeat * 3);
    while started.elapsed() < duration {
        for (phase, times) in phases.iter_mut().enumerate() {
            if phase == 1 {
                floods.iter().for_each(Simulator::resume);
            }
            let hog = (phase == 2).then(|| Hog::start(folder)).transpose()?;
            std::thread::park_timeout(SETTLE);
            let turn = Instant::now();
            loop {
                let (written_ns, seen_ns) = step(chamber, LOW_BAR, HIGH_BAR, |written| {
                    seen_by_rule(run, clock, written)
                })
                .with_context(|| format!("in the phase `{}`", PHASES[phase]))?;
                times.alert.record_ns(written_ns, seen_ns);
                let [written_ns, read_ns, woken_ns] = wake.once()?.map(|at| clock.at_ns(at));
                times.bare_read.record_ns(written_ns, read_ns);
                times.bare_woken.record_ns(written_ns, woken_ns);
                steps += 1;
                if turn.elapsed() >= TURN {
                    break;
                }
            }
            quiet(floods)?;
            hog.map_or(Ok(()), Hog::stop)?;
        }
    }
    Ok((phases, steps))
}

fn quiet(floods: &[Simulator]) -> anyhow::Result<()> {
    for flood in floods {
        let paused = flood.pause().recv_timeout(PATIENCE);
        paused.context("a flood did not pause")?;
    }
    Ok(())
}

fn plan(data_dir: &Path) -> anyhow::Result<Plan> {
    let bulk = |section: String| section.replace("priority = \"normal\"", "priority = \"bulk\"");
    let floods = (0..FLOODS).map(|n| bulk(super::serial::section(&format!("flood{n}"))));
    let text: String = floods.chain([CHAMBER.to_owned()]).collect();
    let mut plan = config::parse("bench isolation", &text).map_err(|m| anyhow!("{m}"))?;
    plan.move_to(data_dir);
    plan.journal.queue_blocks[Priority::Critical.index()] = CRITICAL_BLOCKS;
    for source in &mut plan.sources[..FLOODS] {
        source.overflow = Overflow::DropOldest;
        (source.lane_blocks, source.block_frames) = (FLOOD_BLOCKS, FLOOD_FRAMES);
        for channel in &mut source.channels {
            // The value itself, which the stage does not know: it calculates.
            let mut coefficients = vec![0.0; COEFFICIENTS];
            coefficients[1] = 1.0;
            channel.calibration = Calibration::Polynomial(coefficients);
            channel.quantum = None;
        }
    }
    for simulator in &mut plan.simulators {
        simulator.name = format!("device-{}", simulator.name);
    }
    for simulator in &mut plan.simulators[..FLOODS] {
        simulator.rate_hz = Some(f64::INFINITY);
    }
    Ok(plan)
}

/// Another writer on the same disk, that syncs all it writes, until it is dropped.
struct Hog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    path: PathBuf,
}

impl Hog {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("another-writer");
        let mut file = File::create(&path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let ordered = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("another-writer".to_owned())
            .spawn(move || {
                let chunk = vec![0xA5; 1 << 20];
                while !ordered.load(Ordering::Relaxed) {
                    file.rewind()?;
                    for _ in 0..HOG_BYTES / chunk.len() {
                        file.write_all(&chunk)?;
                    }
                    file.sync_all()?;
                }
                Ok(())
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
            path,
        })
    }

    fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            ended.map_err(|_| anyhow!("the other writer broke down"))??;
            std::fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        // Whatever went wrong before is what is told.
        let _ = self.end();
    }
}
