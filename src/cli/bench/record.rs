//! `kymo bench record`: a generator → lanes → stage with statistics and rules → journal with default durability,
//! and the store making Parquet behind it.
//!
//! The limit is the lower of two, measured in the same run: how fast the disk takes the journal's bytes, written
//! in turn and synced once a commit interval, before and behind; and how fast blocks are encoded into journal records on one core.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use kymo_drivers::block::{Axis, Block, Gap, GapReason, Pool, Priority, SourceId};

use super::{Args, Found, Limit, Row, machine, resident_bytes};
use crate::alert::Alert;
use crate::clock::{Clock, rfc3339};
use crate::event::Event;
use crate::journal::{self, Quanta, RefusedWhy};
use crate::lanes::{LaneOptions, LaneSender, LanesBuilder, Overflow};
use crate::ledger::Ledger;
use crate::run_record::{ChannelRecord, LaneRecord, RunRecord, SourceRecord};
use crate::stage::calibrate::Calibration;
use crate::stage::{AlertSetup, ChannelOptions, Recorder, Stage, StageOptions};
use crate::store::{self, Store, StoreSetup};

const SOURCE: SourceId = SourceId(0);
const CHANNELS: usize = 8;
const FRAMES: usize = 1024;
const DEPTH: usize = 64;
/// Different blocks that the generator has ready: a converter of 12 bit with noise.
const TEMPLATES: usize = 64;
const SCALE: f64 = 0.001;
/// Time between frames, ns: 4 MHz, so that times rise faster than any machine here generates.
const PERIOD_NS: f64 = 250.0;

/// So many times as long as the others a repetition runs: half a minute, unless told otherwise.
const SUSTAINED: u32 = 30;

/// How often resident memory is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Hands blocks to the journal.
struct ToJournal(journal::Sender);

impl Recorder for ToJournal {
    fn has_room(&self, priority: Priority) -> bool {
        self.0.has_room(priority)
    }

    fn record(&mut self, block: Block) -> Result<(), (Block, GapReason)> {
        self.0.try_append_block(block).map_err(|refused| {
            let reason = match refused.why {
                RefusedWhy::Full => GapReason::JournalFull,
                RefusedWhy::Failed => GapReason::JournalFailed,
            };
            (refused.block, reason)
        })
    }

    fn record_gaps(&mut self, _: SourceId, _: u8, _: Priority, _: &[Gap]) {}
    fn record_alert(&mut self, _: &Alert) {}
    fn record_event(&mut self, _: &Event) {}
}

/// Counts what is on disk.
struct Count {
    ledger: Ledger,
    waker: Arc<std::sync::OnceLock<store::StoreWaker>>,
}

impl journal::Observer for Count {
    fn committed(&mut self, block: &journal::Committed, _: i64) {
        self.ledger
            .source(block.source)
            .add_journaled(block.samples);
    }

    fn durable(&mut self, _: u64) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    fn failed(&mut self, block: &journal::Committed) {
        let counts = self.ledger.source(block.source);
        counts.add_dropped(GapReason::JournalFailed, block.samples);
    }
}

/// What one repetition came to.
struct Outcome {
    samples_per_s: f64,
    stored_per_s: f64,
    bytes_per_s: f64,
    /// Resident memory when the first quarter was over, and the most after that.
    rss: [u64; 2],
    balanced: bool,
    latency: crate::latency::Summary,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let (mut rows, mut outcomes) = (Vec::new(), Vec::new());
    for number in 1..=args.repeat {
        // Before it and behind it, while what it wrote is still there: pages of the disk's cache that were just given back
        // are written several times as fast as such as nobody has touched, and those are what a journal gets.
        let bytes_per_sample = encoded_bytes() / (FRAMES * CHANNELS) as f64;
        let before = disk(args, bytes_per_sample)?;
        let (outcome, written) = pipeline(args)?;
        let disk = f64::midpoint(before, disk(args, bytes_per_sample)?);
        drop(written);
        let encoder = encoder(args.duration / 2);
        let limit = disk.min(encoder);
        rows.push(
            Row::named(&format!("repetition {number}"))
                .with("journal M samples/s", outcome.samples_per_s / 1e6)
                .with("journal MB/s", outcome.bytes_per_s / 1e6)
                .with("store M samples/s", outcome.stored_per_s / 1e6)
                .with("disk M samples/s", disk / 1e6)
                .with("encoder M samples/s", encoder / 1e6)
                .with("ratio", outcome.samples_per_s / limit)
                .with(
                    "resident MiB, 1/4",
                    outcome.rss[0] as f64 / f64::from(1 << 20),
                )
                .with(
                    "resident MiB, most",
                    outcome.rss[1] as f64 / f64::from(1 << 20),
                ),
        );
        outcomes.push((outcome, limit));
    }
    outcomes.sort_by(|a, b| a.0.samples_per_s.total_cmp(&b.0.samples_per_s));
    let ratios: Vec<f64> = outcomes.iter().map(|(o, l)| o.samples_per_s / l).collect();
    let (ratio, ratio_spread) = super::median(ratios);
    let balanced = outcomes.iter().all(|(outcome, _)| outcome.balanced);
    let middle = outcomes.len() / 2;
    let (outcome, limit) = &outcomes[middle];
    Ok(Found {
        cost: None,
        bench: "record",
        what: format!(
            "one generator of {CHANNELS} channels of 12 bit with noise, statistics, through the journal with a commit every 100 ms, the store making Parquet behind it"
        ),
        machine: machine(),
        samples_per_s: Some(outcome.samples_per_s),
        bytes_per_s: Some(outcome.bytes_per_s),
        limit: Limit {
            cost: None,
            what: "the disk writing and syncing as many bytes, or the journal's encoder alone, whichever is lower",
            samples_per_s: Some(*limit),
            bytes_per_s: None,
            latency_us: None,
        },
        ratio,
        ratio_spread,
        latency_us: Some(outcome.latency),
        more_us: serde_json::Map::new(),
        rows,
        rss_bytes: resident_bytes(),
        balanced,
    })
}

fn record() -> RunRecord {
    let channel = |place: usize| ChannelRecord {
        place,
        name: format!("c{place}"),
        unit: "V".to_owned(),
        calibration: "None".to_owned(),
    };
    RunRecord {
        run: "bench".to_owned(),
        started: rfc3339(0),
        started_ns: 0,
        kymo: env!("CARGO_PKG_VERSION").to_owned(),
        host: String::new(),
        sources: vec![SourceRecord {
            name: "adc".to_owned(),
            rate_hz: None,
            lanes: vec![LaneRecord {
                priority: "normal".to_owned(),
                kind: "raw".to_owned(),
                label: None,
                channels: (0..CHANNELS).map(channel).collect(),
            }],
        }],
        configuration: String::new(),
    }
}

/// Blocks' columns, made once: noise costs nothing while it is measured.
fn templates() -> Vec<Vec<Vec<f64>>> {
    let mut random = fastrand::Rng::with_seed(11);
    let mut column = |block: usize, channel: usize| {
        let value = |frame: usize, noise: i32| {
            let turn = (block * FRAMES + frame) as f64 * 1e-3 * (channel + 1) as f64;
            (turn.sin() * 1500.0 + f64::from(noise)).round() * SCALE
        };
        (0..FRAMES)
            .map(|frame| value(frame, random.i32(-4..=4)))
            .collect()
    };
    (0..TEMPLATES)
        .map(|block| {
            (0..CHANNELS)
                .map(|channel| column(block, channel))
                .collect()
        })
        .collect()
}

fn quanta() -> Vec<Option<(f64, f64)>> {
    vec![Some((SCALE, 0.0)); CHANNELS]
}

/// What came of it, and the folder with all that was written.
fn pipeline(args: &Args) -> anyhow::Result<(Outcome, tempfile::TempDir)> {
    let folder = super::scratch(args)?;
    drop(crate::data_dir::DataDir::take(folder.path())?);
    let clock = Clock::system();
    let ledger = Ledger::new(1);
    let mut builder = LanesBuilder::default();
    builder.add(LaneOptions {
        source: SOURCE,
        lane: 0,
        priority: Priority::Normal,
        overflow: Overflow::Block,
        depth: DEPTH,
        counts: Arc::clone(ledger.source(SOURCE)),
    });
    let (intake, gate, mut senders) = builder.build();
    let waker = Arc::default();
    let dir = folder.path().join(journal::DIR);
    let (journal, sender, _) = journal::open(
        &dir,
        journal::Setup {
            options: journal::Options::default(),
            quanta: Quanta(vec![vec![quanta()]]),
            run: serde_json::to_string(&record())?,
            clock: {
                let clock = clock.clone();
                Arc::new(move || clock.now_ns())
            },
            observer: Box::new(Count {
                ledger: ledger.clone(),
                waker: Arc::clone(&waker),
            }),
            room: {
                let gate = gate.clone();
                Arc::new(move || gate.signal())
            },
        },
    )?;
    let store = Store::start(StoreSetup {
        data_dir: folder.path().to_owned(),
        options: store::Options {
            // Only what the store has not yet passed: a benchmark should not fill the disk.
            journal_age: Duration::ZERO,
            ..store::Options::default()
        },
        journal: journal.status(),
        journal_segment_bytes: journal::Options::default().segment_bytes,
        run: "bench".to_owned(),
    })?;
    if let Some(found) = store.waker() {
        // Set once, here.
        let _ = waker.set(found);
    }
    let channel = || ChannelOptions {
        lane: 0,
        calibration: Calibration::None,
    };
    let (_, events) = flume::bounded(1);
    let (stage, _) = Stage::new(StageOptions {
        intake,
        sources: vec![(0..CHANNELS).map(|_| channel()).collect()],
        keep: Vec::new(),
        latencies: Arc::default(),
        rules: super::memory::rules(1, CHANNELS),
        alerts: AlertSetup::default(),
        computed: None,
        recorder: ToJournal(sender),
        ledger: ledger.clone(),
        events,
        clock: clock.clone(),
    });
    let stage = stage.start()?;
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let generator = {
        let (_, _, sender) = senders.pop().ok_or_else(|| anyhow!("there is one lane"))?;
        let (stop, clock, ledger) = (Arc::clone(&stop), clock, ledger.clone());
        std::thread::spawn(move || generate(sender, &stop, &clock, &ledger))
    };
    let rss = watch(args.duration * SUSTAINED);
    let stored = store.status().rows.load(Ordering::Relaxed) * CHANNELS as u64;
    let stored_per_s = stored as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let broke = |_| anyhow!("a thread of the benchmark broke down");
    generator.join().map_err(broke)?;
    let outcome = stage.join().map_err(broke)?;
    journal
        .close(outcome.recorder.0, || "{}".to_owned())
        .map_err(|error| anyhow!("{error}"))?;
    let seconds = started.elapsed().as_secs_f64();
    let status = store.status();
    ensure!(store.close(), "the store broke down");
    ensure!(
        status.trouble().is_none(),
        "the store failed: {:?}",
        status.trouble()
    );
    let totals = ledger.totals(outcome.in_flight);
    let stored = status.rows.load(Ordering::Relaxed) * CHANNELS as u64;
    ensure!(
        stored == totals.journaled,
        "{} samples in the journal and {stored} in the store",
        totals.journaled
    );
    let bytes_per_sample = encoded_bytes() / (FRAMES * CHANNELS) as f64;
    let samples_per_s = totals.journaled as f64 / seconds;
    let outcome = Outcome {
        samples_per_s,
        stored_per_s,
        bytes_per_s: samples_per_s * bytes_per_sample,
        rss,
        balanced: totals.balanced && totals.dropped == 0 && totals.acquired > 0,
        latency: outcome.read_to_stage.summary(),
    };
    Ok((outcome, folder))
}

/// Waits, and watches resident memory: at the end of the first quarter, and its most after that.
fn watch(duration: Duration) -> [u64; 2] {
    std::thread::park_timeout(duration / 4);
    let early = resident_bytes();
    let (mut most, started) = (early, Instant::now());
    while let Some(left) = (duration * 3 / 4).checked_sub(started.elapsed()) {
        std::thread::park_timeout(left.min(LOOK));
        most = most.max(resident_bytes());
    }
    [early, most]
}

fn generate(mut sender: LaneSender, stop: &AtomicBool, clock: &Clock, ledger: &Ledger) {
    let templates = templates();
    let journal_blocks = journal::Options::default().queue_blocks[Priority::Normal.index()];
    let pool = Pool::new(CHANNELS, FRAMES, DEPTH + journal_blocks + 4);
    let start_ns = clock.now_ns();
    let mut number = 0_usize;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut block) = pool.take() else {
            std::thread::park_timeout(Duration::from_micros(200));
            continue;
        };
        let read_ns = clock.now_ns();
        super::memory::fill(&mut block, &templates[number % TEMPLATES], read_ns);
        block.axis = Axis::Regular {
            start_ns: start_ns + (number * FRAMES) as i64 * PERIOD_NS as i64,
            period_ns: PERIOD_NS,
        };
        number += 1;
        let counts = ledger.source(SOURCE);
        counts.add_acquired(FRAMES as u64, (FRAMES * CHANNELS) as u64);
        sender.push(block);
    }
}

fn block() -> Block {
    let mut block = Block::unpooled(CHANNELS, FRAMES);
    super::memory::fill(&mut block, &templates()[0], 0);
    block.axis = Axis::Regular {
        start_ns: 0,
        period_ns: PERIOD_NS,
    };
    block
}

/// Bytes of one block in the journal.
fn encoded_bytes() -> f64 {
    let mut bytes = Vec::new();
    journal::encode_block(&block(), &quanta(), &mut bytes);
    // With the record's head.
    (bytes.len() + 48) as f64
}

/// Samples a second of the journal's encoder alone, with the checksum that its records have.
fn encoder(duration: Duration) -> f64 {
    let (block, quanta) = (block(), quanta());
    let (mut bytes, mut blocks) = (Vec::new(), 0_u64);
    let started = Instant::now();
    while started.elapsed() < duration {
        bytes.clear();
        journal::encode_block(&block, &quanta, &mut bytes);
        std::hint::black_box(crc32c::crc32c(&bytes));
        blocks += 1;
    }
    (blocks * (FRAMES * CHANNELS) as u64) as f64 / started.elapsed().as_secs_f64()
}

/// Samples a second whose bytes the disk takes: written in turn, synced every 100 ms.
fn disk(args: &Args, bytes_per_sample: f64) -> anyhow::Result<f64> {
    let folder = super::scratch(args)?;
    let mut file = File::create(folder.path().join("disk"))?;
    let chunk = vec![0xA5; 1 << 20];
    let mut written = 0_u64;
    let started = Instant::now();
    let mut synced = started;
    while started.elapsed() < args.duration {
        file.write_all(&chunk)?;
        written += chunk.len() as u64;
        if synced.elapsed() >= Duration::from_millis(100) {
            file.sync_data()?;
            synced = Instant::now();
        }
    }
    file.sync_data()?;
    let bytes = written as f64;
    Ok(bytes / started.elapsed().as_secs_f64() / bytes_per_sample)
}
