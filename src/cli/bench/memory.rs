//! `kymo bench memory`: generators on threads of their own → lanes → stage → thrown away on purpose.
//!
//! The limit is a bare loop: the same blocks from the same generators through one `ArrayQueue`, and the
//! same four statistics computed, with nothing of Kymo between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use crossbeam_queue::ArrayQueue;
use kymo_drivers::block::{Axis, Block, Gap, GapReason, Pool, Priority, SourceId};

use super::{Args, Found, Limit, machine, median, resident_bytes};
use crate::alert::{Alert, Kind, Limits, RuleOptions, Side};
use crate::clock::Clock;
use crate::event::Event;
use crate::lanes::{LaneOptions, LaneSender, LanesBuilder, Overflow};
use crate::ledger::Ledger;
use crate::stage::calibrate::Calibration;
use crate::stage::statistics::summarize;
use crate::stage::{AlertSetup, ChannelOptions, Recorder, Stage, StageOptions};

/// What goes through lanes and stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// All of them filled by one generator's thread, in turn: the stage has the other core.
    pub(super) sources: u16,
    /// Of each source.
    pub(super) channels: usize,
    /// In a block.
    pub(super) frames: usize,
    /// Blocks in a lane at most.
    pub(super) depth: usize,
}

/// What the benchmark itself runs.
const SHAPE: Shape = Shape {
    sources: 1,
    channels: 8,
    frames: 1024,
    depth: 64,
};

/// Throws blocks away, and counts them as the journal would.
struct Discard {
    ledger: Ledger,
    alerts: u64,
}

impl Recorder for Discard {
    fn has_room(&self, _: Priority) -> bool {
        true
    }
    fn record(&mut self, block: Block) -> Result<(), (Block, GapReason)> {
        self.ledger
            .source(block.source)
            .add_journaled(block.frames.samples());
        Ok(())
    }
    fn record_gaps(&mut self, _: SourceId, _: u8, _: Priority, _: &[Gap]) {}
    fn record_alert(&mut self, _: &Alert) {
        self.alerts += 1;
    }
    fn record_event(&mut self, _: &Event) {}
}

/// One block's columns, computed once: a ramp of so many counts a channel.
#[allow(clippy::cast_precision_loss)]
pub(super) fn template(shape: Shape) -> Vec<Vec<f64>> {
    (0..shape.channels)
        .map(|c| (0..shape.frames).map(|i| (i * (c + 1)) as f64).collect())
        .collect()
}

/// A fresh block with the template copied in, as a decoder would leave it.
pub(super) fn fill(block: &mut Block, template: &[Vec<f64>], read_ns: i64) {
    let frames = template.first().map_or(0, Vec::len);
    for (channel, column) in template.iter().enumerate() {
        block
            .frames
            .spare_column(channel, frames)
            .copy_from_slice(column);
    }
    block.frames.commit(frames);
    block.axis = Axis::Regular {
        start_ns: read_ns,
        period_ns: 1000.0,
    };
    block.read_ns = read_ns;
}

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let warm_up = Duration::from_millis(200);
    pipeline(SHAPE, warm_up)?;
    bare(warm_up);
    let (mut rates, mut limits, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut balanced = true;
    let mut latency = None;
    for _ in 0..args.repeat {
        let (rate, read_to_stage, even) = pipeline(SHAPE, args.duration)?;
        let limit = bare(args.duration);
        balanced &= even;
        latency = Some(read_to_stage);
        rates.push(rate);
        limits.push(limit);
        ratios.push(rate / limit);
    }
    let (ratio, ratio_spread) = median(ratios);
    Ok(Found {
        cost: None,
        bench: "memory",
        what: format!(
            "one generator, blocks of {} frames of {} channels, four statistics and a threshold rule a channel",
            SHAPE.frames, SHAPE.channels
        ),
        machine: machine(),
        samples_per_s: Some(median(rates).0),
        bytes_per_s: None,
        limit: Limit {
            cost: None,
            what: "a bare ArrayQueue loop over the same blocks with the same statistics",
            samples_per_s: Some(median(limits).0),
            bytes_per_s: None,
            latency_us: None,
        },
        ratio,
        ratio_spread,
        latency_us: latency,
        more_us: serde_json::Map::new(),
        rows: Vec::new(),
        rss_bytes: resident_bytes(),
        balanced,
    })
}

/// Samples a second through lanes and stage; latencies; whether the ledger balances.
#[allow(clippy::cast_precision_loss)]
pub(super) fn pipeline(
    shape: Shape,
    duration: Duration,
) -> anyhow::Result<(f64, crate::latency::Summary, bool)> {
    let clock = Clock::system();
    let ledger = Ledger::new(usize::from(shape.sources));
    let mut builder = LanesBuilder::default();
    for source in 0..shape.sources {
        let source = SourceId(source);
        let counts = Arc::clone(ledger.source(source));
        let (priority, overflow) = (Priority::Normal, Overflow::Block);
        builder.add(LaneOptions {
            source,
            lane: 0,
            priority,
            overflow,
            depth: shape.depth,
            counts,
        });
    }
    let (intake, _, senders) = builder.build();
    let channel = || ChannelOptions {
        lane: 0,
        calibration: Calibration::None,
    };
    let sources = (0..shape.sources)
        .map(|_| (0..shape.channels).map(|_| channel()).collect())
        .collect();
    let (_, events) = flume::bounded(1);
    let (stage, boards) = Stage::new(StageOptions {
        intake,
        sources,
        keep: Vec::new(),
        latencies: Arc::default(),
        rules: rules(shape.sources, shape.channels),
        alerts: AlertSetup::default(),
        computed: None,
        recorder: Discard {
            ledger: ledger.clone(),
            alerts: 0,
        },
        ledger: ledger.clone(),
        events,
        clock: clock.clone(),
    });
    let stage = stage.start()?;
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let generator = {
        let (stop, clock, ledger) = (Arc::clone(&stop), clock.clone(), ledger.clone());
        let senders = senders
            .into_iter()
            .map(|(source, _, sender)| (source, sender));
        let senders: Vec<(SourceId, LaneSender)> = senders.collect();
        std::thread::spawn(move || generate(shape, senders, &stop, &clock, &ledger))
    };
    std::thread::park_timeout(duration);
    stop.store(true, Ordering::Relaxed);
    let broke = |_| anyhow::anyhow!("a thread of the benchmark broke down");
    generator.join().map_err(broke)?;
    let outcome = stage.join().map_err(broke)?;
    let seconds = started.elapsed().as_secs_f64();
    let totals = ledger.totals(outcome.in_flight);
    ensure!(
        outcome.recorder.alerts == 0,
        "a rule fired that should not have"
    );
    for (channel, board) in boards.iter().flatten().enumerate() {
        let shown = board.read();
        let scale = (channel % shape.channels + 1) as f64;
        let middle = (shape.frames - 1) as f64 / 2.0 * scale;
        ensure!(
            shown.min == 0.0 && shown.max == (shape.frames - 1) as f64 * scale,
            "extremes: {shown:?}"
        );
        ensure!(
            (shown.mean - middle).abs() < 1e-6 * middle,
            "mean: {shown:?}"
        );
    }
    let balanced = totals.balanced && totals.dropped == 0 && totals.acquired > 0;
    Ok((
        totals.journaled as f64 / seconds,
        outcome.read_to_stage.summary(),
        balanced,
    ))
}

fn generate(
    shape: Shape,
    mut senders: Vec<(SourceId, LaneSender)>,
    stop: &AtomicBool,
    clock: &Clock,
    ledger: &Ledger,
) {
    let template = template(shape);
    let pools: Vec<Pool> = senders
        .iter()
        .map(|_| Pool::new(shape.channels, shape.frames, shape.depth + 4))
        .collect();
    loop {
        for ((source, sender), pool) in senders.iter_mut().zip(&pools) {
            let Some(mut block) = pool.take() else {
                std::thread::yield_now();
                continue;
            };
            fill(&mut block, &template, clock.now_ns());
            let (frames, samples) = (block.frames.len() as u64, block.frames.samples());
            ledger.source(*source).add_acquired(frames, samples);
            sender.push(block);
        }
        // Once each in any case: how soon the order comes is the machine's doing.
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
}

/// A threshold for every channel, that no block reaches.
pub(super) fn rules(sources: u16, channels: usize) -> Vec<RuleOptions> {
    let limits = Limits {
        side: Side::Above,
        limit: 1e9,
        clear: 1e9,
    };
    let rule = |source: usize, channel: usize| {
        let name = format!("rule-{source}-{channel}");
        RuleOptions::new(&name, (source, channel), Kind::Threshold(limits))
    };
    (0..usize::from(sources))
        .flat_map(|s| (0..channels).map(move |c| rule(s, c)))
        .collect()
}

/// Samples a second of the bare loop.
#[allow(clippy::cast_precision_loss)]
fn bare(duration: Duration) -> f64 {
    let queue = Arc::new(ArrayQueue::<Block>::new(SHAPE.depth));
    let stop = Arc::new(AtomicBool::new(false));
    let producer = {
        let (queue, stop) = (Arc::clone(&queue), Arc::clone(&stop));
        std::thread::spawn(move || {
            let template = template(SHAPE);
            let pool = Pool::new(SHAPE.channels, SHAPE.frames, SHAPE.depth + 4);
            while !stop.load(Ordering::Relaxed) {
                let Some(mut block) = pool.take() else {
                    std::thread::yield_now();
                    continue;
                };
                fill(&mut block, &template, 0);
                let mut waiting = Some(block);
                while let Some(block) = waiting.take() {
                    if let Err(refused) = queue.push(block) {
                        waiting = Some(refused);
                        std::thread::yield_now();
                    }
                }
            }
        })
    };
    while queue.is_empty() {
        std::thread::yield_now();
    }
    let started = Instant::now();
    let (mut samples, mut check) = (0_u64, 0.0);
    while samples == 0 || started.elapsed() < duration {
        let Some(block) = queue.pop() else {
            std::thread::yield_now();
            continue;
        };
        for channel in 0..SHAPE.channels {
            check += summarize(block.frames.column(channel)).sum;
        }
        samples += block.frames.samples();
    }
    let rate = samples as f64 / started.elapsed().as_secs_f64();
    std::hint::black_box(check);
    stop.store(true, Ordering::Relaxed);
    while !producer.is_finished() {
        let _ = queue.pop();
    }
    rate
}
