//! `kymo sim`: the simulated devices of a configuration, for any program that reads serial ports.
//!
//! **Always holds.** Nothing is acquired and no data directory is touched. Each device is behind a symbolic link of its
//! name, which is gone at the end. A link that leads to a pseudo-terminal is taken as left behind, and replaced; whatever
//! else stands in its place stays, and nothing is started. One folder of links belongs to one `kymo sim` at a time.
//!
//! **Must not know.** What a device sends, who reads it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use kymo_drivers::link::Stop;
use kymo_simulators::{LogOptions, Options, Simulator, Truth};
use serde_json::{Value, json};

use super::{Failure, parse_duration, render, say};
use crate::{config, playback};

/// Runs simulated devices on pseudo-terminals, without acquiring, for other programs to read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A device's first frame leaves when a reader has its port open. Ctrl-C, SIGTERM or SIGHUP ends it: the links are removed, \
and it is told what each device sent.")]
pub(super) struct Args {
    /// Which of the configuration's `[simulator.NAME]`; all of them if none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
    /// The folder of the links, instead of `$XDG_RUNTIME_DIR/kymo`.
    #[arg(long, value_name = "DIR")]
    link_dir: Option<PathBuf>,
    /// Stop by itself after so long.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Seed of whatever is random, for every device, instead of the configuration's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Log what each device really sends, in NAME.jsonl of this folder, instead of the configuration's files.
    #[arg(long, value_name = "DIR")]
    truth: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How often it is seen whether every device still lives.
const TICK: Duration = Duration::from_millis(250);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let plan = config::load(&args.config).map_err(|mistakes| Failure::Usage(render(&mistakes)))?;
    let devices =
        playback::devices(&plan).map_err(|error| Failure::Usage(format!("error: {error}")))?;
    let mut chosen = choose(devices, &args.names)?;
    let folder = folder(args.link_dir.as_deref())?;
    for device in &mut chosen {
        device.links.clone_from(&folder);
        device.seed = args.seed.unwrap_or(device.seed);
        if let Some(folder) = &args.truth {
            let values = device.truth.take().and_then(|log| log.values);
            let file = folder.join(format!("{}.jsonl", device.name));
            device.truth = Some(LogOptions { file, values });
        }
    }
    std::fs::create_dir_all(&folder).map_err(|error| {
        Failure::Usage(format!("error: cannot make {}: {error}", folder.display()))
    })?;
    let _mine = take(&folder)?;
    refuse_foreign(chosen.iter().map(|device| folder.join(&device.name)))?;

    let stop = Stop::new()?;
    let order = stop.clone();
    ctrlc::set_handler(move || order.trigger()).context("cannot listen for Ctrl-C")?;
    let mut devices = Vec::with_capacity(chosen.len());
    for options in chosen {
        let (name, kind) = (options.name.clone(), options.device.clone());
        let simulator =
            Simulator::start(options).with_context(|| format!("cannot start `{name}`"))?;
        devices.push((name, kind, simulator));
    }
    for (name, kind, simulator) in &devices {
        say_started(name, kind, simulator, args.json);
    }
    let started = Instant::now();
    let limit = args.duration.unwrap_or(Duration::MAX);
    while !stop.is_triggered()
        && devices
            .iter()
            .all(|(_, _, simulator)| !simulator.is_finished())
    {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        let _ = stop.wait(left.min(TICK));
    }
    let mut failure = None;
    for (name, _, simulator) in devices {
        match simulator.stop() {
            Ok(truth) => say_stopped(&name, &truth, args.json),
            Err(error) => {
                let error = anyhow::Error::from(error).context(format!("`{name}` failed"));
                failure.get_or_insert(Failure::Running(error));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The devices of these names, in the configuration's order; every unknown name is told.
fn choose(declared: Vec<Options>, names: &[String]) -> Result<Vec<Options>, Failure> {
    if declared.is_empty() {
        let what = "error: the configuration has no `[simulator.NAME]`";
        return Err(Failure::Usage(what.to_owned()));
    }
    let unknown: Vec<&str> = names
        .iter()
        .filter(|name| declared.iter().all(|device| device.name != **name))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        let known: Vec<&str> = declared.iter().map(|device| device.name.as_str()).collect();
        return Err(Failure::Usage(format!(
            "error: there is no simulator `{}` in the configuration; there are {}",
            unknown.join("`, `"),
            known.join(", ")
        )));
    }
    let is_chosen = |device: &Options| names.is_empty() || names.contains(&device.name);
    Ok(declared.into_iter().filter(is_chosen).collect())
}

/// Where the links go.
pub(super) fn folder(link_dir: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = link_dir {
        return Ok(folder.to_owned());
    }
    // A folder that everybody may write to would let others choose where the links are.
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if !runtime.is_empty() => Ok(Path::new(&runtime).join("kymo")),
        _ => Err(Failure::Usage(
            "error: XDG_RUNTIME_DIR is not set: say with `--link-dir DIR` where the links go"
                .to_owned(),
        )),
    }
}

/// Takes the folder for this process, as long as the file lives.
pub(super) fn take(folder: &Path) -> Result<File, Failure> {
    let shown = folder.display();
    let file = File::open(folder)
        .map_err(|error| Failure::Usage(format!("error: cannot open {shown}: {error}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Usage(format!(
            "error: another `kymo sim` or `kymo replay --pty` has its links in {shown}: give this one a folder of its own with `--link-dir DIR`"
        ))),
        Err(TryLockError::Error(error)) => Err(Failure::Usage(format!(
            "error: cannot lock {shown}: {error}"
        ))),
    }
}

/// Nothing is started if something stands where a link must go that no simulator left behind.
pub(super) fn refuse_foreign(links: impl Iterator<Item = PathBuf>) -> Result<(), Failure> {
    let foreign: Vec<String> = links
        .filter(|path| {
            path.symlink_metadata().is_ok()
                && !std::fs::read_link(path).is_ok_and(|target| target.starts_with("/dev/pts"))
        })
        .map(|path| path.display().to_string())
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "error: not a link to a pseudo-terminal, and left as it is: {}",
        foreign.join(", ")
    )))
}

fn say_started(name: &str, kind: &str, simulator: &Simulator, as_json: bool) {
    let link = simulator.path();
    let port = std::fs::read_link(link).unwrap_or_default();
    if as_json {
        // JSON has no infinity: of a flood the rate is null.
        let rate_hz = Some(simulator.rate_hz()).filter(|rate_hz| rate_hz.is_finite());
        let started =
            json!({ "name": name, "device": kind, "link": link, "port": port, "rate_hz": rate_hz });
        say(json!({ "started": started }));
        return;
    }
    let pace = match simulator.rate_hz() {
        0.0 => "answers".to_owned(),
        rate_hz if rate_hz.is_infinite() => "as fast as it is read".to_owned(),
        rate_hz => format!("{rate_hz} Hz"),
    };
    say(format_args!(
        "{name}: {kind}, {pace}, at {} -> {}",
        link.display(),
        port.display()
    ));
}

fn say_stopped(name: &str, truth: &Truth, as_json: bool) {
    if as_json {
        let mut stopped = counts(truth);
        stopped["name"] = name.into();
        say(json!({ "stopped": stopped }));
        return;
    }
    say(format_args!(
        "{name}: {} frames, {} bytes sent; {} dropped for want of room, {} missed for want of a reader",
        truth.frames_sent, truth.bytes_sent, truth.frames_dropped, truth.frames_missed
    ));
    let faults: Vec<String> = truth
        .faults()
        .map(|(fault, times)| format!("{times} {fault}"))
        .collect();
    if !faults.is_empty() {
        let hit = truth.frames_hit;
        say(format_args!(
            "{name}: faults: {}; {hit} frames hit",
            faults.join(", ")
        ));
    }
}

fn counts(truth: &Truth) -> Value {
    let counts = truth.counts().into_iter();
    let mut all: serde_json::Map<String, Value> = counts
        .map(|(name, count)| (name.to_owned(), count.into()))
        .collect();
    let faults: serde_json::Map<String, Value> = truth
        .faults()
        .map(|(fault, times)| (fault.to_owned(), times.into()))
        .collect();
    all.insert("faults".to_owned(), faults.into());
    all.into()
}
