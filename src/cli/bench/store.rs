//! `kymo bench store`: a journal becomes Parquet; then one minute of one channel is looked for in it.
//!
//! The limit is the Parquet library alone, writing the same values into memory in the same way.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use kymo_drivers::block::{Axis, Pool, Priority, SourceId};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use super::{Args, Found, Limit, machine, median, resident_bytes};
use crate::clock::{Clock, rfc3339};
use crate::journal::{self, Quanta};
use crate::run_record::{ChannelRecord, LaneRecord, RunRecord, SourceRecord};
use crate::store::read::{Archive, Range, find};
use crate::store::{Options, Store, StoreSetup, table};

pub(super) const CHANNELS: usize = 4;
pub(super) const FRAMES: usize = 1024;
const RATE_HZ: f64 = 100_000.0;
const PERIOD_NS: i64 = 10_000;
const START_NS: i64 = 1_700_000_000_000_000_000;

/// Two channels of 12 bit, two of 16: a sine with noise of some counts, as converters give them.
const CONVERTERS: [(f64, f64, f64); CHANNELS] = [
    (1500.0, 4.0, 0.01),
    (1900.0, 2.0, 0.0025),
    (28_000.0, 60.0, 0.001_197_096_4),
    (12_000.0, 9.0, 0.5),
];

/// Values to be drawn from: noise that is made once costs nothing while the store is measured.
const NOISE: usize = 1 << 16;

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let folder = super::scratch(args)?;
    let blocks = (args.size / 2 / (FRAMES * CHANNELS) as u64).max(64);
    let samples = blocks * (FRAMES * CHANNELS) as u64;
    write_journal(folder.path(), blocks)?;
    let seconds = follow(folder.path())?;
    let rate = samples as f64 / seconds;
    let (limits, bytes): (Vec<f64>, Vec<f64>) = (0..args.repeat.max(1))
        .map(|_| encode_alone())
        .collect::<anyhow::Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    let (limit, _) = median(limits);
    let query = query(folder.path(), blocks)?;
    let mut more_us = serde_json::Map::new();
    let there = query["bytes_there"].as_f64().unwrap_or(0.0);
    more_us.insert("bytes_per_sample".to_owned(), json!(there / samples as f64));
    more_us.insert("bytes_per_sample_alone".to_owned(), json!(median(bytes).0));
    more_us.insert("one_minute_of_one_channel".to_owned(), query);
    Ok(Found {
        cost: None,
        bench: "store",
        what: format!(
            "{:.0} M samples of 12 and 16 bit in {CHANNELS} channels, from the journal into Parquet segments",
            samples as f64 / 1e6
        ),
        machine: machine(),
        samples_per_s: Some(rate),
        bytes_per_s: None,
        limit: Limit {
            cost: None,
            what: "the Parquet library alone, writing the same values into memory",
            samples_per_s: Some(limit),
            bytes_per_s: None,
            latency_us: None,
        },
        ratio: rate / limit,
        ratio_spread: [rate / limit, rate / limit],
        latency_us: None,
        more_us,
        rows: Vec::new(),
        rss_bytes: resident_bytes(),
        balanced: true,
    })
}

/// The value of a channel in a frame.
struct Signal {
    noise: Vec<f64>,
}

impl Signal {
    fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let gauss = |random: &mut fastrand::Rng| (0..6).map(|_| random.f64()).sum::<f64>() - 3.0;
        Self {
            noise: (0..NOISE).map(|_| gauss(&mut random)).collect(),
        }
    }

    fn value(&self, channel: usize, frame: usize) -> f64 {
        let (height, noise, scale) = CONVERTERS[channel];
        let turn = frame as f64 * 1e-3 * (channel + 1) as f64;
        let random = self.noise[(frame.wrapping_mul(7919) + channel * 911) % NOISE];
        (turn.sin() * height + random * noise).round() * scale
    }

    fn time_ns(&self, frame: usize) -> i64 {
        // A host's jitter, well within the period.
        let jitter = self.noise[frame % NOISE] * 60.0;
        START_NS + frame as i64 * PERIOD_NS + jitter as i64
    }
}

pub(super) fn record() -> RunRecord {
    let channel = |place: usize| ChannelRecord {
        place,
        name: format!("c{place}"),
        unit: "V".to_owned(),
        calibration: "None".to_owned(),
    };
    RunRecord {
        run: "bench".to_owned(),
        started: rfc3339(START_NS),
        started_ns: START_NS,
        kymo: env!("CARGO_PKG_VERSION").to_owned(),
        host: String::new(),
        sources: vec![SourceRecord {
            name: "adc".to_owned(),
            rate_hz: Some(RATE_HZ),
            lanes: vec![LaneRecord {
                kind: "raw".to_owned(),
                priority: "bulk".to_owned(),
                label: None,
                channels: (0..CHANNELS).map(channel).collect(),
            }],
        }],
        configuration: String::new(),
    }
}

struct Ignore;

impl journal::Observer for Ignore {
    fn committed(&mut self, _: &journal::Committed, _: i64) {}
    fn failed(&mut self, _: &journal::Committed) {}
}

pub(super) fn setup(run: &RunRecord) -> anyhow::Result<journal::Setup> {
    let clock = Clock::system();
    let quanta = CONVERTERS
        .iter()
        .map(|(_, _, scale)| Some((*scale, 0.0)))
        .collect();
    Ok(journal::Setup {
        options: journal::Options::default(),
        quanta: Quanta(vec![vec![quanta]]),
        run: serde_json::to_string(run)?,
        clock: Arc::new(move || clock.now_ns()),
        observer: Box::new(Ignore),
        room: Arc::new(|| {}),
    })
}

pub(super) fn write_journal(data_dir: &Path, blocks: u64) -> anyhow::Result<()> {
    // Its mark and lock make a data directory of it; nobody else knows its name.
    drop(crate::data_dir::DataDir::take(data_dir)?);
    let (journal, mut sender, _) = journal::open(&data_dir.join(journal::DIR), setup(&record())?)?;
    let pool = Pool::new(CHANNELS, FRAMES, 512);
    let signal = Signal::new();
    for number in 0..blocks {
        while !sender.has_room(Priority::Bulk) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let mut block = loop {
            match pool.take() {
                Some(block) => break block,
                None => std::thread::park_timeout(Duration::from_millis(1)),
            }
        };
        (block.source, block.lane, block.priority) = (SourceId(0), 0, Priority::Bulk);
        block.axis = Axis::Irregular;
        let first = usize::try_from(number)? * FRAMES;
        block.first_frame = first as u64;
        for frame in first..first + FRAMES {
            let row: [f64; CHANNELS] = std::array::from_fn(|channel| signal.value(channel, frame));
            block.frames.push(0, &row);
        }
        let (_, times) = block.frames.ends_and_times_mut();
        for (frame, time) in (first..).zip(times) {
            *time = signal.time_ns(frame);
        }
        if let Err(refused) = sender.try_append_block(block) {
            anyhow::bail!("the journal refused a block: {:?}", refused.why);
        }
    }
    journal
        .close(sender, || "{}".to_owned())
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(())
}

/// Has a store follow the whole journal; how long that took, s.
fn follow(data_dir: &Path) -> anyhow::Result<f64> {
    let after = RunRecord {
        run: "bench-end".to_owned(),
        ..record()
    };
    let (journal, sender, _) = journal::open(&data_dir.join(journal::DIR), setup(&after)?)?;
    let started = Instant::now();
    let store = Store::start(StoreSetup {
        data_dir: data_dir.to_owned(),
        options: Options::default(),
        journal: journal.status(),
        journal_segment_bytes: journal::Options::default().segment_bytes,
        run: after.run,
    })?;
    journal
        .close(sender, || "{}".to_owned())
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let status = store.status();
    ensure!(store.close(), "the store broke down");
    ensure!(
        status.trouble().is_none(),
        "the store failed: {:?}",
        status.trouble()
    );
    Ok(started.elapsed().as_secs_f64())
}

/// Samples a second of the library alone, and bytes a sample.
fn encode_alone() -> anyhow::Result<(f64, f64)> {
    let schema = table::schema(&record(), 0, 0).context("there is such a lane")?;
    let signal = Signal::new();
    let rows = table::GROUP_ROWS;
    let times: Vec<i64> = (0..rows).map(|frame| signal.time_ns(frame)).collect();
    let times = TimestampNanosecondArray::from(times).with_timezone("UTC");
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times)];
    for channel in 0..CHANNELS {
        let values: Vec<f64> = (0..rows)
            .map(|frame| signal.value(channel, frame))
            .collect();
        arrays.push(Arc::new(Float64Array::from(values)));
    }
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    const GROUPS: usize = 4;
    let started = Instant::now();
    let mut writer = ArrowWriter::try_new(
        Vec::new(),
        Arc::clone(&schema),
        Some(table::properties(&schema)),
    )?;
    for _ in 0..GROUPS {
        writer.write(&batch)?;
        writer.flush()?;
    }
    let bytes = writer.into_inner()?.len();
    let samples = (GROUPS * rows * CHANNELS) as f64;
    Ok((
        samples / started.elapsed().as_secs_f64(),
        bytes as f64 / samples,
    ))
}

/// One minute of one channel out of the middle, or as much as there is.
fn query(data_dir: &Path, blocks: u64) -> anyhow::Result<Value> {
    let archive = Archive::open(data_dir)?;
    let run = archive
        .runs()?
        .into_iter()
        .find(|run| run.record.run == "bench");
    let run = run.context("the run is in the store")?;
    let lane = find(&run, |name| name == "adc.c2")
        .pop()
        .context("the channel is there")?;
    let frames = usize::try_from(blocks)? * FRAMES;
    let middle = START_NS + (frames / 2) as i64 * PERIOD_NS;
    let range = Range {
        from_ns: middle,
        to_ns: middle + 60_000_000_000,
    };
    let started = Instant::now();
    let mut rows = archive.read(&run, &lane, range)?;
    let mut count = 0;
    while let Some(rows) = rows.next()? {
        count += rows.times_ns.len();
    }
    let ms = started.elapsed().as_secs_f64() * 1e3;
    let expected = (frames / 2).min(60 * RATE_HZ as usize);
    // At its ends the jitter takes a frame in or leaves one out.
    ensure!(
        count.abs_diff(expected) <= 1,
        "{count} rows came, {expected} were wanted"
    );
    let amount = rows.amount();
    Ok(json!({
        "rows": count,
        "ms": ms,
        "bytes_read": amount.bytes_read,
        "bytes_there": amount.bytes,
        "row_groups_read": amount.groups_read,
        "row_groups_there": amount.groups,
    }))
}
