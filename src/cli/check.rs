//! `kymo check`: what a configuration would do, and whether it can work.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use kymo_drivers::link;
use serde::Serialize;

use super::{ConfigArgs, Failure, load_plan, say};
use crate::config::plan::{Link, Plan, Source};
use crate::lanes::Overflow;
use crate::playback;

mod text;

use text::{bytes, span};

/// Says whether a configuration is right, and whether it can work.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is opened and nothing is written. Mistakes end it with status 2; what is allowed, but will hardly \
work, is a warning: more bytes than the line carries, a queue shorter than a pause of the disk, a disk that \
is full before an outage is over.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a configuration comes to.
#[derive(Debug, Serialize)]
struct Found {
    config: String,
    data_dir: String,
    sources: Vec<SourceFound>,
    /// Windows and derived sources.
    computed: Vec<ComputedFound>,
    rules: usize,
    notifiers: Vec<String>,
    sinks: Vec<SinkFound>,
    disk: Disk,
    /// Memory of all blocks, if every queue is full.
    memory_bytes_max: u64,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SourceFound {
    name: String,
    link: String,
    priority: &'static str,
    channels: usize,
    rate_hz: Option<f64>,
    samples_per_s: Option<f64>,
    /// How its frames are dated: `raw`, `fitted`.
    time: &'static str,
    /// What it sends.
    bytes_per_s: Option<f64>,
    /// What its line carries; `None`: a link that has no pace of its own.
    line_bytes_per_s: Option<f64>,
    /// How long its lanes take it in while the stage stands still.
    lane_s: Option<f64>,
    /// How long the queue in front of the journal takes it in while the disk stands still.
    journal_queue_s: Option<f64>,
    /// What is kept of a day, at most: in the store, or in the journal if there is no store.
    disk_bytes_per_day: Option<f64>,
    /// What passes through the journal in a day, at most.
    journal_bytes_per_day: Option<f64>,
}

/// Something that is made of the sources' samples.
#[derive(Debug, Serialize)]
struct ComputedFound {
    /// Of a window the source's name with its suffix.
    name: String,
    /// `window`, `derived`.
    kind: &'static str,
    priority: &'static str,
    channels: usize,
    /// Frames a second, where that is known.
    rate_hz: Option<f64>,
}

#[derive(Debug, Serialize)]
struct SinkFound {
    name: String,
    kind: &'static str,
    to: String,
}

#[derive(Debug, Serialize)]
struct Disk {
    free_bytes: Option<u64>,
    bytes_per_day: f64,
    /// How long the disk takes everything in while somebody who follows the journal is away, and it has to be kept.
    outage_s: Option<f64>,
}

const DAY_S: f64 = 86_400.0;

/// Beyond this share of a line's bytes, a warning: start-up, bursts and clocks that are not exact need room.
const LINE_SHARE_MAX: f64 = 0.9;
/// A disk that is busy with something else stands still for so long now and then.
const QUEUE_MIN_S: f64 = 1.0;
/// A full disk should not be a matter of hours.
const OUTAGE_MIN_S: f64 = DAY_S;
/// Who keeps everything should be told in time how long there is room for it.
const FULL_MIN_S: f64 = 7.0 * DAY_S;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let plan = load_plan(&args.config)?;
    let found = look(&args.config.config, &plan);
    if args.json {
        say(serde_json::to_string_pretty(&found)?);
    } else {
        say(found.text());
    }
    Ok(())
}

fn look(config: &Path, plan: &Plan) -> Found {
    let mut warnings = Vec::new();
    let sources: Vec<SourceFound> = plan
        .sources
        .iter()
        .map(|source| look_at(source, plan, &mut warnings))
        .collect();
    for (index, simulator) in plan.simulators.iter().enumerate() {
        let reads = |source: &&Source| matches!(&source.link, Link::Simulator { simulator, .. } if *simulator == index);
        match plan.sources.iter().find(reads) {
            None => warnings.push(format!("simulator.{}: no source reads it", simulator.name)),
            Some(source) => warn_of_rate(source, simulator, &mut warnings),
        }
    }
    if let Err(error) = playback::devices(plan) {
        warnings.push(error.to_string());
    }
    let sum = |of: fn(&SourceFound) -> Option<f64>| sources.iter().filter_map(of).sum::<f64>();
    let bytes_per_day = sum(|source| source.disk_bytes_per_day);
    let journal_per_day = sum(|source| source.journal_bytes_per_day);
    let outage_per_day = if plan.store.is_some() {
        bytes_per_day + journal_per_day
    } else {
        journal_per_day
    };
    let free_bytes = free_bytes(&plan.data_dir);
    #[allow(clippy::cast_precision_loss)]
    let lasts = |per_day: f64| {
        let free = free_bytes.filter(|_| per_day > 0.0)?;
        let spare = free.saturating_sub(2 * plan.journal.segment_bytes);
        Some(spare as f64 / per_day * DAY_S)
    };
    let outage_s = lasts(outage_per_day);
    if let Some(outage_s) = outage_s.filter(|outage| *outage < OUTAGE_MIN_S) {
        warnings.push(format!(
            "the disk of {} bridges an outage of only {}: so long can the journal be kept for a follower that is away",
            plan.data_dir.display(),
            span(outage_s)
        ));
    }
    let has_limits = plan
        .store
        .as_ref()
        .is_some_and(|store| !store.limits.is_empty());
    if let Some(full_s) = lasts(bytes_per_day).filter(|full| *full < FULL_MIN_S && !has_limits) {
        warnings.push(format!(
            "at these rates the disk is full after {}; keep = {{ age = …, bytes = … }} in [store] says what may go",
            span(full_s)
        ));
    }
    let memory_bytes_max = memory(plan);
    let installed = installed_bytes();
    if installed.is_some_and(|installed| memory_bytes_max > installed / 2) {
        warnings.push(format!(
            "with every queue full its blocks take {}, more than half of this host's memory: lower lane_blocks, \
             block_frames or queue_blocks",
            bytes(memory_bytes_max as f64)
        ));
    }
    Found {
        config: config.display().to_string(),
        data_dir: plan.data_dir.display().to_string(),
        sources,
        computed: computed(plan),
        rules: plan.rules.len(),
        notifiers: plan
            .notifiers
            .iter()
            .map(|notifier| notifier.name.clone())
            .collect(),
        sinks: plan.sinks.iter().map(sink).collect(),
        disk: Disk {
            free_bytes,
            bytes_per_day,
            outage_s,
        },
        memory_bytes_max,
        warnings,
    }
}

fn computed(plan: &Plan) -> Vec<ComputedFound> {
    let derived = &plan.computed.derived;
    let name_of = |source: usize| {
        let read = plan.sources.get(source).map(|source| &source.name);
        let derived = derived.get(source.wrapping_sub(plan.sources.len()));
        read.or(derived.map(|derived| &derived.name))
    };
    let of_derived = derived.iter().map(|derived| ComputedFound {
        name: derived.name.clone(),
        kind: "derived",
        priority: derived.priority.name(),
        channels: derived.channels.len(),
        rate_hz: derived.rate_hz,
    });
    let of_window = plan.computed.windows.iter().map(|window| ComputedFound {
        name: format!(
            "{} {}",
            name_of(window.source).map_or("?", String::as_str),
            window.suffix
        ),
        kind: "window",
        priority: window.priority.name(),
        channels: window.channels.len(),
        rate_hz: window.options.results_hz(),
    });
    of_derived.chain(of_window).collect()
}

fn sink(options: &crate::sink::SinkOptions) -> SinkFound {
    SinkFound {
        name: options.name.clone(),
        kind: options.kind.name(),
        to: options.kind.target(),
    }
}

fn warn_of_rate(source: &Source, simulator: &kymo_simulators::Options, warnings: &mut Vec<String>) {
    let kind = kymo_simulators::DEVICES
        .iter()
        .find(|kind| kind.name == simulator.device);
    // What a device calls a frame is a packet, which may hold several of ours.
    #[allow(clippy::cast_precision_loss)]
    let frames = source.time.frames_per_packet as f64;
    let sends = simulator.rate_hz.or(kind.map(|kind| kind.rate_hz));
    let sends = sends.map(|packets| packets * frames);
    if let (Some(sends), Some(said)) = (sends, source.rate_hz)
        && (sends - said).abs() > said * 1e-3
    {
        warnings.push(format!(
            "source.{}: rate_hz says {said} frames/s, and simulator.{} sends {sends}",
            source.name, simulator.name
        ));
    }
}

#[allow(clippy::cast_precision_loss)]
fn look_at(source: &Source, plan: &Plan, warnings: &mut Vec<String>) -> SourceFound {
    let mut warn = |what: String| warnings.push(format!("source.{}: {what}", source.name));
    let (link, ns_per_byte) = match &source.link {
        Link::Device(options) => (options.to_string(), options.ns_per_byte()),
        Link::Simulator { simulator, serial } => {
            let name = plan
                .simulators
                .get(*simulator)
                .map_or("?", |simulator| &simulator.device);
            (
                format!("simulated {name} at {} baud", serial.baud),
                serial.ns_per_byte(),
            )
        }
    };
    let line_bytes_per_s = (ns_per_byte > 0.0).then(|| 1e9 / ns_per_byte);
    let bytes_per_s = source
        .rate_hz
        .zip(source.frame_bytes)
        .map(|(rate, bytes)| rate * bytes as f64);
    if let (Some(sent), Some(line)) = (bytes_per_s, line_bytes_per_s)
        && sent > line * LINE_SHARE_MAX
    {
        warn(format!(
            "it sends {}/s, and its line carries {}/s: {:.0} %; raise the baud rate on both sides",
            bytes(sent),
            bytes(line),
            sent / line * 100.0
        ));
    }
    if let Link::Device(options) = &source.link {
        missing(options).into_iter().for_each(&mut warn);
    }
    found(source, plan, link, bytes_per_s, line_bytes_per_s, &mut warn)
}

/// What of a link is not as it should be on this host now.
fn missing(options: &link::Options) -> Option<String> {
    const WAITS: &str = "`kymo run` waits for it, `kymo ports` lists what is there";
    let (path, is_right, what, help) = match options {
        link::Options::Serial(serial) => {
            return match serial.device.path() {
                Ok(path) if path.exists() => None,
                Ok(path) => Some(format!("{} is not there now; {WAITS}", path.display())),
                Err(error) => Some(format!("{error}; {WAITS}")),
            };
        }
        link::Options::Usbtmc(usbtmc) => (&usbtmc.path, usbtmc.path.exists(), "there", WAITS),
        link::Options::Usb(usb) => {
            let found = usb.device.device(&link::sysfs::Tree::default());
            return found.err().map(|error| format!("{error}; {WAITS}"));
        }
        link::Options::Fifo(fifo) => {
            let kind = std::fs::metadata(&fifo.path).map(|found| found.file_type().is_fifo());
            (
                &fifo.path,
                kind.unwrap_or(false),
                "a FIFO",
                "`mkfifo` makes one",
            )
        }
        link::Options::File(file) => {
            let help = "`kymo run` waits for it";
            (&file.path, file.path.is_file(), "a plain file", help)
        }
        _ => return None,
    };
    (!is_right).then(|| format!("{} is not {what} now; {help}", path.display()))
}

#[allow(clippy::cast_precision_loss)]
fn found(
    source: &Source,
    plan: &Plan,
    link: String,
    bytes_per_s: Option<f64>,
    line_bytes_per_s: Option<f64>,
    warn: &mut impl FnMut(String),
) -> SourceFound {
    let priority = source.channels.iter().map(|channel| channel.priority).min();
    let priority = priority.unwrap_or(kymo_drivers::block::Priority::Normal);
    let channels = source.channels.len();
    let queue_blocks = plan.journal.queue_blocks[priority.index()];
    let lane_s = source.rate_hz.map(|rate| lane_seconds(source, rate));
    // What comes out of a lane that was congested comes in full blocks; at other times in aged ones.
    let journal_queue_s = source
        .rate_hz
        .map(|rate| queue_blocks as f64 * aged_frames(source, rate) / rate);
    match (lane_s, journal_queue_s) {
        (Some(lane), Some(queue)) if lane + queue < QUEUE_MIN_S => {
            let then = match source.overflow {
                Overflow::Block => {
                    "then bytes wait in the kernel's buffer, a few KiB, and are lost"
                }
                Overflow::DropOldest => "then the oldest samples are dropped",
                Overflow::DropNewest => "then new samples are dropped",
            };
            warn(format!(
                "its queues hold {} of data if the disk stands still; {then}. Raise lane_blocks",
                span(lane + queue)
            ));
        }
        (None, _) => {
            warn(
                "without rate_hz nobody can say whether its line and the disk carry it".to_owned(),
            );
        }
        _ => {}
    }
    SourceFound {
        name: source.name.clone(),
        link,
        priority: priority.name(),
        channels,
        rate_hz: source.rate_hz,
        samples_per_s: source.rate_hz.map(|rate| rate * channels as f64),
        time: if source.time.fitted { "fitted" } else { "raw" },
        bytes_per_s,
        line_bytes_per_s,
        lane_s,
        journal_queue_s,
        disk_bytes_per_day: source.rate_hz.map(|rate| {
            let per_s = match plan.store {
                Some(_) => store_bytes_per_s(source, rate),
                None => journal_bytes_per_s(source, rate),
            };
            per_s * DAY_S
        }),
        journal_bytes_per_day: source
            .rate_hz
            .map(|rate| journal_bytes_per_s(source, rate) * DAY_S),
    }
}

/// Frames in a block that is sent because of its age.
#[allow(clippy::cast_precision_loss)]
fn aged_frames(source: &Source, rate_hz: f64) -> f64 {
    (source.block_age.as_secs_f64() * rate_hz).clamp(1.0, source.block_frames as f64)
}

/// A lane takes aged blocks until it is half full, and full ones from there.
#[allow(clippy::cast_precision_loss)]
fn lane_seconds(source: &Source, rate_hz: f64) -> f64 {
    let half = source.lane_blocks as f64 / 2.0;
    half * (aged_frames(source, rate_hz) + source.block_frames as f64) / rate_hz
}

/// An upper bound of what a source takes in the store, by the measurements in ARCHITECTURE.md: a converter's value up
/// to 3 bytes, any other 8.2, and the step of a time.
fn store_bytes_per_s(source: &Source, rate_hz: f64) -> f64 {
    const STEP_BYTES: f64 = 1.5;
    let value = |channel: &crate::config::plan::Channel| match channel.quantum {
        Some(_) => 3.0,
        None => 8.2,
    };
    rate_hz * (source.channels.iter().map(value).sum::<f64>() + STEP_BYTES)
}

/// An upper bound of what a source takes in the journal: each value at the width it can at most need, the step of
/// a time for each frame, and the head of each block's record.
#[allow(clippy::cast_precision_loss)]
fn journal_bytes_per_s(source: &Source, rate_hz: f64) -> f64 {
    const STEP_BYTES: f64 = 4.0;
    const RECORD_BYTES: f64 = 96.0;
    let value = |channel: &crate::config::plan::Channel| match channel.quantum {
        Some(_) => 4.0,
        None => 8.0,
    };
    let frame: f64 = source.channels.iter().map(value).sum::<f64>() + STEP_BYTES;
    let blocks_per_s = rate_hz / aged_frames(source, rate_hz);
    rate_hz * frame + blocks_per_s * RECORD_BYTES
}

/// Memory of all blocks that can be under way at once.
fn memory(plan: &Plan) -> u64 {
    let of_source = |source: &Source| {
        let columns = source.channels.len() + 1;
        let priority = source
            .channels
            .iter()
            .map(|channel| channel.priority.index())
            .min();
        let queue = plan.journal.queue_blocks[priority.unwrap_or(2)];
        let blocks = source.lane_blocks.saturating_add(queue) as u64;
        blocks.saturating_mul((source.block_frames * columns * 8) as u64)
    };
    plan.sources
        .iter()
        .map(of_source)
        .fold(0, u64::saturating_add)
}

/// Memory of this host.
fn installed_bytes() -> Option<u64> {
    let info = rustix::system::sysinfo();
    // As wide as the platform's words.
    #[allow(clippy::useless_conversion)]
    Some(
        u64::try_from(info.totalram)
            .ok()?
            .saturating_mul(u64::from(info.mem_unit)),
    )
}

/// Free bytes where the data directory is or will be.
fn free_bytes(data_dir: &Path) -> Option<u64> {
    let absolute = std::path::absolute(data_dir).ok()?;
    let there = absolute.ancestors().find(|path| path.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
