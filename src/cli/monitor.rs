//! `kymo monitor`: what a device sends, as it comes.
//!
//! **Always holds.** It opens a device as a run does, for itself alone: a device that a run has open is refused, so no
//! byte is stolen from it. It sends nothing, unless the protocol that decodes has to ask.
//!
//! **Must not know.** Journal, store, rules: nothing is kept.

mod show;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use kymo_drivers::link::{self, Link as OpenLink, Read, Stop};
use kymo_simulators::Simulator;

use super::{ConfigArgs, Failure, load_plan, note, parse_duration};
use crate::clock::Clock;
use crate::config::plan::{Link, Plan, Source};
use crate::playback;
use show::{Decoded, Hex, Show, Text};

/// Shows what a device sends: as text, as bytes, or decoded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A source's name takes its link, and its protocol for `--as decoded`, from the configuration; its start commands are not \
sent. A path is opened as a serial port. Ctrl-C ends it. Values are as the device sends them, before calibration.")]
pub(super) struct Args {
    /// The source's name, or the port's path.
    #[arg(value_name = "SOURCE|PORT")]
    target: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// How to show it.
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = Form::Text)]
    form: Form,
    /// The rate of a port named by its path.
    #[arg(long, value_name = "BAUD", default_value_t = 115_200, value_parser = clap::value_parser!(u32).range(50..=20_000_000))]
    baud: u32,
    /// Stop after so long.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Stop after so many lines, reads (`hex`) or frames (`decoded`).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Lines, with what cannot be printed escaped.
    Text,
    /// Offset, bytes, ASCII.
    Hex,
    /// Frames, by the source's protocol.
    Decoded,
}

/// Bytes read at once: a datagram fits.
const BUFFER_BYTES: usize = 64 << 10;
/// A line that is not ended is shown after so long, too.
const PATIENCE: Duration = Duration::from_millis(250);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let is_path = args.target.contains('/');
    let plan = if is_path {
        None
    } else {
        Some(load_plan(&args.config)?)
    };
    let source = plan
        .as_ref()
        .map(|plan| find(plan, &args.target))
        .transpose()?;
    let mut show: Box<dyn Show> = match (args.form, source) {
        (Form::Text, _) => Box::new(Text::new(args.json)),
        (Form::Hex, _) => Box::new(Hex::new(args.json)),
        (Form::Decoded, Some(source)) => Box::new(Decoded::new(source, args.json)?),
        (Form::Decoded, None) => {
            let what = "error: a path has no protocol: `--as decoded` needs the name of a source";
            return Err(Failure::Usage(what.to_owned()));
        }
    };
    let stop = Stop::new()?;
    let order = stop.clone();
    ctrlc::set_handler(move || order.trigger()).context("cannot listen for Ctrl-C")?;
    if let Some(limit) = args.duration {
        let order = stop.clone();
        let timer = move || {
            let _ = order.wait(limit);
            order.trigger();
        };
        std::thread::Builder::new()
            .name("timer".to_owned())
            .spawn(timer)?;
    }
    let (options, _simulator) = match (&plan, source) {
        (Some(plan), Some(source)) => device(plan, source)?,
        _ => {
            let serial = link::serial::Options::new(&args.target, args.baud);
            (link::Options::Serial(serial), None)
        }
    };
    let mut link = options.open().map_err(anyhow::Error::from)?;
    if let Some(reason) = link.missing_peer() {
        note(reason);
    }
    if !link.await_peer(&stop).map_err(anyhow::Error::from)? {
        return Ok(());
    }
    let ended = watch(
        &mut *link,
        &mut *show,
        args.count.unwrap_or(u64::MAX),
        &stop,
    );
    tell_noticed(&mut *link);
    if let Some(summary) = show.summary() {
        note(summary);
    }
    ended
}

/// A source of the configuration.
fn find<'p>(plan: &'p Plan, name: &str) -> Result<&'p Source, Failure> {
    plan.sources.iter().find(|source| source.name == name).ok_or_else(|| {
        let names: Vec<&str> = plan.sources.iter().map(|source| source.name.as_str()).collect();
        Failure::Usage(format!(
            "error: there is no source `{name}` in the configuration; there are {}. A port is named by its path",
            names.join(", ")
        ))
    })
}

/// What to open. A simulated device that no run has is started for the occasion.
fn device(
    plan: &Plan,
    source: &Source,
) -> Result<(link::Options, Option<(Simulator, tempfile::TempDir)>), Failure> {
    let (place, serial) = match &source.link {
        Link::Device(options) => return Ok((options.clone(), None)),
        Link::Simulator { simulator, serial } => (*simulator, serial),
    };
    let at = |path: &Path| {
        link::Options::Serial(link::serial::Options {
            device: link::serial::Device::Path(path.to_owned()),
            ..serial.clone()
        })
    };
    let declared = &plan.simulators[place];
    let path = declared.links.join(&declared.name);
    if path.exists() {
        return Ok((at(&path), None));
    }
    let folder = tempfile::tempdir()?;
    let mut options = playback::devices(plan)
        .map_err(anyhow::Error::from)?
        .swap_remove(place);
    folder.path().clone_into(&mut options.links);
    // That is of a run, or of `kymo sim`.
    options.truth = None;
    let simulator = Simulator::start(options)?;
    let options = at(simulator.path());
    Ok((options, Some((simulator, folder))))
}

/// Shows what comes until it ends, somebody says stop, enough was shown, or nobody reads it any more.
fn watch(
    link: &mut dyn OpenLink,
    show: &mut dyn Show,
    count: u64,
    stop: &Stop,
) -> Result<(), Failure> {
    let clock = Clock::system();
    let mut sender = link.sender();
    let mut asked = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = count;
    loop {
        let due_ns = show.ask(clock.now_ns(), &mut asked);
        if !asked.is_empty() {
            let sender = sender
                .as_mut()
                .context("the protocol asks, and nothing can be sent")?;
            sender.send(&asked, PATIENCE * 4)?;
            asked.clear();
        }
        let due = due_ns.map(|due| {
            Duration::from_nanos(u64::try_from(due.saturating_sub(clock.now_ns())).unwrap_or(0))
        });
        let patience = show.waits().then_some(PATIENCE);
        let look = link.watches().then_some(Duration::from_secs(1));
        let wait = [due, patience, look].into_iter().flatten().min();
        let read = link.read(&mut buffer, wait, stop);
        let now_ns = clock.now_ns();
        let shown = match &read {
            Read::Data(bytes) => show.bytes(&buffer[..*bytes], now_ns, link, left),
            _ => show.pause(left),
        };
        match shown {
            Ok(shown) => left -= shown.min(left),
            // Nobody reads any more: `| head`.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        match read {
            _ if left == 0 || stop.is_triggered() => return Ok(()),
            Read::Data(_) => {}
            Read::Quiet => tell_noticed(link),
            Read::Stopped => return Ok(()),
            Read::Finished(reason) => {
                note(reason);
                return Ok(());
            }
            Read::Gone(reason) => {
                return Err(anyhow::anyhow!("the device is gone: {reason}").into());
            }
        }
    }
}

fn tell_noticed(link: &mut dyn OpenLink) {
    let noticed = link.noticed();
    for (error, count) in noticed.line_errors.iter() {
        note(format!("below the link: {}", error.text(count)));
    }
    noticed.notes.iter().for_each(note);
}
