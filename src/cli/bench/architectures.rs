//! `kymo bench architectures`: three designs on the same work, built of Kymo's own parts: one thread that polls
//! every device in turn; a thread a device with queues to a consumer; and Kymo's own, lanes drained by an async
//! stage. Each once with a queue operation for every sample, and once with blocks of up to 1024.
//!
//! **The work.** Throughput: devices that flood their pseudo-terminals with samples of one channel, decoded,
//! four statistics and a threshold on each. Latency: 150,000 samples/s from three devices and an interlock that
//! steps over its limit; from the write of the step on the pseudo-terminal to the threshold's verdict.
//!
//! The limit is the bytes a second that bare reading of the same floods gets, as samples a second.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use kymo_drivers::block::{Axis, Block, Pool, Priority, SourceId};
use kymo_drivers::frames::Frames;
use kymo_drivers::link::{self, Link, Read, Stop};
use kymo_drivers::protocol::{self, Protocol};
use kymo_simulators::Simulator;

use super::latency::{CHAMBER, HIGH_BAR, LOW_BAR, VIBRATION, step};
use super::{Args, Found, Limit, PATIENCE, Row, machine, median, resident_bytes};
use crate::clock::Clock;
use crate::config;
use crate::lanes::{Intake, Item, LaneOptions, LaneSender, LanesBuilder, Overflow};
use crate::latency::Latency;
use crate::ledger::Ledger;
use crate::stage::statistics::{Running, summarize};

/// Devices that send as background, or flood.
const DEVICES: usize = 3;
const BACKGROUND_HZ: f64 = 50_000.0;
/// Bytes of one of their samples.
const SAMPLE_BYTES: f64 = 5.0;
/// What counts as over the limit, of the interlock.
const LIMIT_BAR: f64 = 2.5;
/// Samples, or blocks, that a queue holds.
const QUEUE: usize = 256;
/// Frames of a block.
const BLOCK_FRAMES: usize = 1024;
/// How long the polling design sleeps when no device had anything: as long as its kind usually does.
const POLL_SLEEP: Duration = Duration::from_millis(1);

/// From the first sample to the first look.
const WARM_UP: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Design {
    Polling,
    Threads,
    Hybrid,
}

const DESIGNS: [(Design, &str, f64, f64); 3] = [
    // With the published figures of the article on the three designs: samples/s, and latency in ms.
    (Design::Polling, "one thread that polls", 5_000.0, 20.0),
    (Design::Threads, "threads with queues", 80_000.0, 5.0),
    (
        Design::Hybrid,
        "threads, lanes, async stage",
        150_000.0,
        2.0,
    ),
];

const VARIANTS: [(&str, usize); 2] = [("a sample", 1), ("a block", BLOCK_FRAMES)];

/// Where a device's bytes are read and decoded.
struct Device {
    link: Box<dyn Link>,
    protocol: Box<dyn Protocol>,
    buffer: Vec<u8>,
    filled: usize,
    source: u16,
}

/// What is done with every sample: statistics, and a threshold.
struct Work {
    running: Vec<Running>,
    over: Vec<bool>,
    steps: Sender<Instant>,
    samples: Arc<AtomicU64>,
}

impl Work {
    fn new(sources: usize, steps: Sender<Instant>, samples: &Arc<AtomicU64>) -> Self {
        Self {
            running: (0..sources).map(|_| Running::default()).collect(),
            over: vec![false; sources],
            steps,
            samples: Arc::clone(samples),
        }
    }

    fn take(&mut self, source: u16, frames: &Frames) {
        let source = usize::from(source);
        let values = frames.column(0);
        let summary = summarize(values);
        self.running[source].add(values.len() as u64, &summary);
        let last = values.last().copied().unwrap_or(f64::NAN);
        // The interlock is the last source.
        if source + 1 == self.over.len() {
            let over = summary.max > LIMIT_BAR && last > LIMIT_BAR;
            if over && !self.over[source] {
                // Nobody waits for it while throughput is measured.
                let _ = self.steps.send(Instant::now());
            }
            self.over[source] = over;
        }
        self.samples
            .fetch_add(values.len() as u64, Ordering::Relaxed);
    }
}

impl Device {
    /// Reads once, waiting at most so long, and hands on frames in portions of the output's capacity.
    fn turn(
        &mut self,
        wait: Option<Duration>,
        stop: &Stop,
        mut out: impl FnMut(u16, &mut dyn FnMut(&mut Frames) -> usize) -> bool,
    ) -> anyhow::Result<bool> {
        let count = match self.link.read(&mut self.buffer[self.filled..], wait, stop) {
            Read::Data(count) => count,
            Read::Quiet | Read::Stopped => return Ok(false),
            Read::Gone(reason) | Read::Finished(reason) => {
                return Err(anyhow!("a device is gone: {reason}"));
            }
        };
        self.filled += count;
        let (mut at, filled) = (0, self.filled);
        loop {
            let (protocol, input) = (&mut self.protocol, &self.buffer[at..filled]);
            let mut used = 0;
            let was_full = out(self.source, &mut |frames| {
                used = protocol.decode(input, frames);
                used
            });
            at += used;
            if !was_full {
                break;
            }
        }
        self.buffer.copy_within(at..filled, 0);
        self.filled -= at;
        Ok(true)
    }
}

/// A design at work.
struct AtWork {
    stop: Stop,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl AtWork {
    fn stop(self) -> anyhow::Result<()> {
        self.stop.trigger();
        for thread in self.threads {
            thread
                .join()
                .map_err(|_| anyhow!("a thread broke down"))??;
        }
        Ok(())
    }
}

/// Devices at the far ends, with the interlock as the last.
struct Lab {
    simulators: Vec<Simulator>,
    protocols: Vec<protocol::Options>,
}

impl Lab {
    fn start(folder: &Path, rate_hz: f64) -> anyhow::Result<Self> {
        let background = (0..DEVICES).map(|n| {
            VIBRATION
                .replace("SOURCE", &format!("background{n}"))
                .replace("PRIORITY", "normal")
        });
        let text: String = background.chain([CHAMBER.to_owned()]).collect();
        let mut plan = config::parse("bench architectures", &text).map_err(|m| anyhow!("{m}"))?;
        plan.move_to(folder);
        for simulator in &mut plan.simulators[..DEVICES] {
            simulator.rate_hz = Some(rate_hz);
        }
        let simulators: Vec<Simulator> = plan
            .simulators
            .into_iter()
            .map(Simulator::start)
            .collect::<Result<_, _>>()
            .context("cannot start a simulated device")?;
        let chamber = simulators.last().context("the interlock is the last")?;
        let _ = chamber.set_level(Some(LOW_BAR));
        Ok(Self {
            simulators,
            protocols: plan.sources.into_iter().map(|s| s.protocol).collect(),
        })
    }

    fn open(&self) -> anyhow::Result<Vec<Device>> {
        let each = self.simulators.iter().zip(&self.protocols).zip(0..);
        each.map(|((simulator, protocol), source)| {
            let options = link::serial::Options::new(simulator.path(), 12_000_000);
            let protocol = protocol.build().map_err(|e| anyhow!("{e:?}"))?;
            Ok(Device {
                link: link::Options::Serial(options).open()?,
                buffer: vec![0; protocol.tail_max() + (64 << 10)],
                protocol,
                filled: 0,
                source,
            })
        })
        .collect()
    }
}

fn start(design: Design, block_frames: usize, lab: &Lab, work: Work) -> anyhow::Result<AtWork> {
    let devices = lab.open()?;
    let stop = Stop::new()?;
    let threads = match design {
        Design::Polling => polling(devices, block_frames, &stop, work),
        Design::Threads => threads(devices, block_frames, &stop, work),
        Design::Hybrid => hybrid(devices, block_frames, &stop, work)?,
    };
    Ok(AtWork { stop, threads })
}

fn polling(
    mut devices: Vec<Device>,
    block_frames: usize,
    stop: &Stop,
    mut work: Work,
) -> Vec<JoinHandle<anyhow::Result<()>>> {
    let stop = stop.clone();
    let thread = std::thread::spawn(move || {
        let mut frames = Frames::with_capacity(1, block_frames);
        while !stop.is_triggered() {
            let mut any = false;
            for device in &mut devices {
                any |= device.turn(Some(Duration::ZERO), &stop, |source, decode| {
                    frames.clear();
                    decode(&mut frames);
                    if !frames.is_empty() {
                        work.take(source, &frames);
                    }
                    frames.is_full()
                })?;
            }
            if !any && stop.wait(POLL_SLEEP) {
                break;
            }
        }
        Ok(())
    });
    vec![thread]
}

/// A reader that hands blocks on.
fn reader(
    mut device: Device,
    block_frames: usize,
    stop: &Stop,
    mut push: impl FnMut(Block) + Send + 'static,
) -> JoinHandle<anyhow::Result<()>> {
    let stop = stop.clone();
    std::thread::spawn(move || {
        // In the queue, in hand at either end.
        let pool = Pool::new(1, block_frames, QUEUE + 2);
        while !stop.is_triggered() {
            device.turn(None, &stop, |source, decode| {
                let mut block = loop {
                    if let Some(block) = pool.take() {
                        break block;
                    }
                    std::thread::yield_now();
                };
                block.source = SourceId(source);
                block.axis = Axis::Irregular;
                decode(&mut block.frames);
                let is_full = block.frames.is_full();
                if !block.frames.is_empty() {
                    push(block);
                }
                is_full
            })?;
        }
        Ok(())
    })
}

fn threads(
    devices: Vec<Device>,
    block_frames: usize,
    stop: &Stop,
    mut work: Work,
) -> Vec<JoinHandle<anyhow::Result<()>>> {
    let (queue, blocks): (SyncSender<Block>, Receiver<Block>) = sync_channel(QUEUE);
    let mut threads: Vec<_> = devices
        .into_iter()
        .map(|device| {
            let (queue, stop_too) = (queue.clone(), stop.clone());
            reader(device, block_frames, stop, move |block| {
                let mut waiting = Some(block);
                while let Some(block) = waiting.take() {
                    match queue.try_send(block) {
                        Err(TrySendError::Full(block)) if !stop_too.is_triggered() => {
                            std::thread::yield_now();
                            waiting = Some(block);
                        }
                        _ => {}
                    }
                }
            })
        })
        .collect();
    threads.push(std::thread::spawn(move || {
        while let Ok(block) = blocks.recv() {
            work.take(block.source.0, &block.frames);
        }
        Ok(())
    }));
    threads
}

fn hybrid(
    devices: Vec<Device>,
    block_frames: usize,
    stop: &Stop,
    mut work: Work,
) -> anyhow::Result<Vec<JoinHandle<anyhow::Result<()>>>> {
    let ledger = Ledger::new(devices.len());
    let mut builder = LanesBuilder::default();
    for device in &devices {
        let is_interlock = usize::from(device.source) + 1 == devices.len();
        builder.add(LaneOptions {
            source: SourceId(device.source),
            lane: 0,
            priority: if is_interlock {
                Priority::Critical
            } else {
                Priority::Normal
            },
            overflow: Overflow::Block,
            depth: QUEUE,
            counts: Arc::clone(ledger.source(SourceId(device.source))),
        });
    }
    let (mut intake, _, mut senders): (Intake, _, Vec<(SourceId, u8, LaneSender)>) =
        builder.build();
    senders.sort_by_key(|(source, _, _)| std::cmp::Reverse(source.0));
    let mut threads = Vec::new();
    for device in devices {
        let (_, _, mut sender) = senders.pop().context("a lane a device")?;
        threads.push(reader(device, block_frames, stop, move |block| {
            sender.push(block);
        }));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    threads.push(std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                while let Some(item) = intake.next(|_| true) {
                    if let Item::Block(block) = item {
                        work.take(block.source.0, &block.frames);
                    }
                }
                // The last lane may just have been seen to be closed: then nobody wakes us again.
                if intake.is_finished() {
                    break;
                }
                intake.wait(|_| true, || false).await;
            }
        });
        Ok(())
    }));
    Ok(threads)
}

/// Samples a second of floods.
fn throughput(design: Design, block_frames: usize, duration: Duration) -> anyhow::Result<f64> {
    let folder = super::scratch_for_links()?;
    let lab = Lab::start(folder.path(), f64::INFINITY)?;
    let samples = Arc::new(AtomicU64::new(0));
    let (steps, _seen) = channel();
    let work = Work::new(DEVICES + 1, steps, &samples);
    let running = start(design, block_frames, &lab, work)?;
    let rate = count(&samples, duration);
    running.stop()?;
    rate
}

/// What is counted a second, from when it has begun to be.
fn count(counter: &AtomicU64, duration: Duration) -> anyhow::Result<f64> {
    let now = || counter.load(Ordering::Relaxed);
    super::until("the devices send", || now() > 0)?;
    std::thread::park_timeout(WARM_UP);
    let (before, started) = (now(), Instant::now());
    std::thread::park_timeout(duration);
    super::until("the devices send on", || now() > before)?;
    Ok((now() - before) as f64 / started.elapsed().as_secs_f64())
}

/// From the write of a step to its verdict.
fn latency(
    design: Design,
    block_frames: usize,
    duration: Duration,
) -> anyhow::Result<crate::latency::Summary> {
    let folder = super::scratch_for_links()?;
    let lab = Lab::start(folder.path(), BACKGROUND_HZ)?;
    let samples = Arc::new(AtomicU64::new(0));
    let (steps, seen) = channel();
    let work = Work::new(DEVICES + 1, steps, &samples);
    let running = start(design, block_frames, &lab, work)?;
    std::thread::park_timeout(Duration::from_millis(500));
    while seen.try_recv().is_ok() {}
    let clock = Clock::system();
    let chamber = lab.simulators.last().context("the interlock is the last")?;
    let (mut times, started) = (Latency::default(), Instant::now());
    loop {
        let (written_ns, seen_ns) = step(chamber, LOW_BAR, HIGH_BAR, |written| {
            loop {
                let at = seen.recv_timeout(PATIENCE).context("a step was not seen")?;
                if at >= written.at {
                    return Ok((clock.at_ns(written.at), clock.at_ns(at)));
                }
            }
        })?;
        times.record_ns(written_ns, seen_ns);
        if started.elapsed() >= duration {
            break;
        }
    }
    running.stop()?;
    Ok(times.summary())
}

/// Samples a second that bare reading of the floods would make.
fn bare(duration: Duration) -> anyhow::Result<f64> {
    let folder = super::scratch_for_links()?;
    let lab = Lab::start(folder.path(), f64::INFINITY)?;
    let stop = Stop::new()?;
    let bytes = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = lab
        .open()?
        .into_iter()
        .map(|mut device| {
            let (stop, bytes) = (stop.clone(), Arc::clone(&bytes));
            std::thread::spawn(move || {
                loop {
                    match device.link.read(&mut device.buffer, None, &stop) {
                        Read::Data(count) => {
                            bytes.fetch_add(count as u64, Ordering::Relaxed);
                        }
                        Read::Quiet => {}
                        Read::Stopped | Read::Gone(_) | Read::Finished(_) => break,
                    }
                    if stop.is_triggered() {
                        break;
                    }
                }
            })
        })
        .collect();
    let rate = count(&bytes, duration);
    stop.trigger();
    for reader in readers {
        reader.join().map_err(|_| anyhow!("a reader broke down"))?;
    }
    Ok(rate? / SAMPLE_BYTES)
}

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let (mut rows, mut ratios) = (Vec::new(), Vec::new());
    let (mut limits, mut kymo) = (Vec::new(), None);
    for (design, name, article_per_s, article_ms) in DESIGNS {
        for (variant, block_frames) in VARIANTS {
            let (mut rates, mut against) = (vec![], vec![]);
            for _ in 0..args.repeat {
                let rate = throughput(design, block_frames, args.duration)?;
                let limit = bare(args.duration / 2)?;
                rates.push(rate);
                against.push(rate / limit);
                limits.push(limit);
            }
            let us = latency(design, block_frames, args.duration)?;
            let rate = median(rates).0;
            let (ratio, spread) = median(against);
            rows.push(
                Row::named(&format!("{name}, {variant}"))
                    .with("M samples/s", rate / 1e6)
                    .with("of bare reading", ratio)
                    .with("mean ms", us.mean / 1e3)
                    .with("p99 ms", us.p99 / 1e3)
                    .with("article samples/s", article_per_s)
                    .with("article ms", article_ms),
            );
            if design == Design::Hybrid && block_frames == BLOCK_FRAMES {
                kymo = Some((rate, us));
                ratios = vec![ratio, spread[0], spread[1]];
            }
        }
    }
    let (rate, us) = kymo.context("Kymo's own design was measured")?;
    Ok(Found {
        cost: None,
        bench: "architectures",
        what: format!(
            "{DEVICES} flooding devices of one channel and an interlock on pseudo-terminals (throughput); the same at {BACKGROUND_HZ} samples/s each (latency, from write to verdict)"
        ),
        machine: machine(),
        samples_per_s: Some(rate),
        bytes_per_s: Some(rate * SAMPLE_BYTES),
        limit: Limit {
            cost: None,
            what: "bare reading of the same floods",
            samples_per_s: Some(median(limits).0),
            bytes_per_s: None,
            latency_us: None,
        },
        ratio: ratios[0],
        ratio_spread: [ratios[1], ratios[2]],
        latency_us: Some(us),
        more_us: serde_json::Map::new(),
        rows,
        rss_bytes: resident_bytes(),
        balanced: true,
    })
}
