//! `kymo replay`: a capture played through the pipeline, compared with itself, or put on pseudo-terminals.
//!
//! **Always holds.** Nothing is written into the directory that was recorded into unless it is named; no sink and no notifier acts
//! without `--sinks`.

mod ports;
mod verify;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kymo_drivers::link::recorded::Pace;

use super::capture::{RangeArgs, complete, open, usage};
use super::live::{Plain, View};
use super::run::{judge, listen_for_signals, make_report, not_started, show};
use super::{Failure, config, note, parse_duration, render};
use crate::capture::tape::Playing;
use crate::capture::{Capture, Selection};
use crate::clock::Clock;
use crate::config::plan::Plan;
use crate::pipeline::{Playback, Played, Run, prepare};

/// Plays a capture, as if its devices were there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Samples bear the times of the capture, and are made by the configuration in it, with its calibrations, unless --config names \
another. They go into a data directory of the replay's own. Sinks and notifiers do not act without --sinks. What comes of \
a replay depends on capture and configuration alone, and not on the speed: --verify tries that.\n\n\
Examples:\n  \
kymo replay day.mcap --speed max                 again, as fast as it goes, into day.replay\n  \
kymo replay day.mcap --config new.toml --data-dir tried\n  \
kymo replay day.mcap --verify\n  \
kymo replay day.mcap --pty --source gps --loop   for any program that reads serial ports")]
pub(super) struct Args {
    /// The capture: its first file, all its files, or their directory.
    #[arg(value_name = "CAPTURE", required = true)]
    captures: Vec<PathBuf>,
    /// How many times as fast as it was: 1, 10, any number; or max, as fast as it goes.
    #[arg(long, value_name = "SPEED", default_value = "1", value_parser = parse_speed)]
    speed: Speed,
    #[command(flatten)]
    range: RangeArgs,
    /// Begin again at the end, until stopped; times go on.
    #[arg(long = "loop")]
    is_loop: bool,
    /// Stop by itself after so long, by this host's clock.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// The configuration, instead of the capture's own.
    #[arg(long, value_name = "FILE", conflicts_with = "pty")]
    config: Option<PathBuf>,
    /// Where the replay's data are kept. Without it: a new directory here, named after the capture.
    #[arg(long, value_name = "DIR", conflicts_with = "pty")]
    data_dir: Option<PathBuf>,
    /// Have the configuration's sinks and notifiers act, too.
    #[arg(long, conflicts_with = "pty")]
    sinks: bool,
    /// Write the report at the end into this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the report at the end as JSON, and nothing else on standard output.
    #[arg(long)]
    json: bool,
    /// Put each source on a pseudo-terminal with a stable link instead, for any program; nothing is acquired.
    #[arg(long)]
    pty: bool,
    /// The folder of the links, instead of `$XDG_RUNTIME_DIR/kymo`.
    #[arg(long, value_name = "DIR", requires = "pty")]
    link_dir: Option<PathBuf>,
    /// Replay it at different speeds and under different loads, and say whether the same comes of it; nothing is written.
    #[arg(long, conflicts_with_all = ["speed", "is_loop", "duration", "data_dir", "sinks", "report", "pty"])]
    verify: bool,
}

/// How fast a capture is played.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

/// Fastest pace that is kept to; beyond it, `max` is meant.
const SPEED_MAX: f64 = 1e6;

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let speed = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
    speed
        .filter(|speed| *speed > 0.0 && *speed <= SPEED_MAX)
        .map(Speed::Times)
        .ok_or_else(|| format!("`{text}` is no speed: 1, 10, any number up to {SPEED_MAX}, or max"))
}

impl Speed {
    /// The pace at which it is played from now on; readers have a moment to start.
    fn pace(self, from_ns: i64) -> Option<Pace> {
        const LEAD: Duration = Duration::from_millis(50);
        match self {
            Self::Max => None,
            Self::Times(speed) => Some(Pace {
                from_ns,
                host: Instant::now() + LEAD,
                speed,
            }),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Max => "max".to_owned(),
            Self::Times(speed) => speed.to_string(),
        }
    }
}

/// How often it is looked how far the replay is.
const TICK: Duration = Duration::from_millis(50);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let capture = Arc::new(open(&args.captures)?);
    let selection = args.range.selection(&capture)?;
    let playing = playing(&capture, &selection, args.is_loop)?;
    if args.pty {
        return ports::run(args, &capture, selection.sources.as_deref(), playing);
    }
    let mut plan = plan(args, &capture)?;
    prepare(&mut plan, args.sinks);
    let chosen = selection.sources.as_deref();
    let names = played_names(&plan, &capture, chosen)?;
    if args.verify {
        return verify::run(args, &plan, &capture, (chosen, playing));
    }
    let data_dir = args
        .data_dir
        .clone()
        .unwrap_or_else(|| own_dir(&args.captures[0]));
    plan.move_to(&data_dir);
    play(args, plan, &capture, (chosen, playing, names))
}

/// What of the capture is played, and how often.
fn playing(capture: &Capture, selection: &Selection, is_loop: bool) -> Result<Playing, Failure> {
    let all = Playing::of(capture)
        .ok_or_else(|| usage("there is nothing in the capture that could be played"))?;
    let playing = Playing {
        from_ns: selection
            .from_ns
            .map_or(all.from_ns, |ns| ns.max(all.from_ns)),
        to_ns: selection.to_ns.map_or(all.to_ns, |ns| ns.min(all.to_ns)),
        passes: u64::from(!is_loop),
        shift_ns: 0,
    };
    if playing.from_ns >= playing.to_ns {
        let time = crate::clock::rfc3339;
        return Err(usage(format!(
            "there is nothing between --from and --to: the capture is from {} to {}",
            time(all.from_ns),
            time(all.to_ns - 1)
        )));
    }
    Ok(playing)
}

/// The configuration that is meant.
fn plan(args: &Args, capture: &Capture) -> Result<Plan, Failure> {
    let own = &capture.described().configuration;
    let loaded = match &args.config {
        Some(path) => config::load(path),
        None if own.trim().is_empty() => {
            return Err(usage(
                "the capture has no configuration in it: name one with --config FILE",
            ));
        }
        None => config::parse("the capture's configuration", own),
    };
    loaded.map_err(|mistakes| Failure::Usage(render(&mistakes)))
}

/// The names of the sources that are played. Says which are not, on either side.
fn played_names(
    plan: &Plan,
    capture: &Capture,
    chosen: Option<&[usize]>,
) -> Result<Vec<String>, Failure> {
    let recorded = &capture.described().sources;
    let is_chosen = |place: usize| chosen.is_none_or(|chosen| chosen.contains(&place));
    let declared = |name: &str| plan.sources.iter().any(|source| source.name == name);
    let mut names = Vec::new();
    let chosen = recorded
        .iter()
        .enumerate()
        .filter(|(place, _)| is_chosen(*place));
    for (_, source) in chosen {
        if declared(&source.name) {
            names.push(source.name.clone());
        } else {
            note(format!(
                "`{}` is not in the configuration, and not played",
                source.name
            ));
        }
    }
    for source in plan
        .sources
        .iter()
        .filter(|source| capture.source(&source.name).is_none())
    {
        note(format!(
            "`{}` is not in the capture: nothing comes of it",
            source.name
        ));
    }
    if names.is_empty() {
        return Err(usage(
            "none of the configuration's sources is in the capture",
        ));
    }
    Ok(names)
}

/// A directory that is not there yet, named after the capture, in the working directory.
fn own_dir(capture: &Path) -> PathBuf {
    let stem = capture.file_stem().unwrap_or_default().to_string_lossy();
    let named = |number: u32| match number {
        1 => PathBuf::from(format!("{stem}.replay")),
        number => PathBuf::from(format!("{stem}.replay-{number}")),
    };
    let mut names = (1..).map(named);
    names.find(|path| !path.exists()).unwrap_or_default()
}

fn play(
    args: &Args,
    plan: Plan,
    capture: &Arc<Capture>,
    (chosen, playing, names): (Option<&[usize]>, Playing, Vec<String>),
) -> Result<(), Failure> {
    make_report(args.report.as_deref())?;
    let pace = args.speed.pace(playing.from_ns);
    let playback = Playback::new(&plan, capture, chosen, (playing, pace)).map_err(not_started)?;
    let progress = playback.progress();
    let mut run = Run::replay(plan, Clock::system(), playback).map_err(not_started)?;
    let interrupted = listen_for_signals(&run)?;
    let bar = bar(&playing, "replayed");
    let mut view = Plain::new(args.json);
    view.start(&run);
    let started = Instant::now();
    let mut next_tick = started + TICK;
    loop {
        let now = Instant::now();
        match run
            .notices()
            .recv_timeout(next_tick.saturating_duration_since(now))
        {
            Ok(notice) => bar.suspend(|| view.notice(&run, &notice)),
            Err(flume::RecvTimeoutError::Disconnected) => break,
            Err(flume::RecvTimeoutError::Timeout) => {}
        }
        let is_over = args
            .duration
            .is_some_and(|limit| started.elapsed() >= limit);
        if interrupted.load(Ordering::Relaxed) || is_over {
            break;
        }
        if Instant::now() < next_tick {
            continue;
        }
        next_tick = Instant::now() + TICK;
        if run.watch().is_some() || run.is_finished() {
            break;
        }
        advance(&bar, &playing, progress.last_ns());
        bar.suspend(|| view.tick(&run));
    }
    for notice in run.notices().drain() {
        bar.suspend(|| view.notice(&run, &notice));
    }
    view.finish();
    bar.finish_and_clear();
    let mut report = run.stop();
    let mut damage = capture.damage().to_vec();
    damage.extend(progress.damage());
    let range_ns = (playing.from_ns, playing.to_ns);
    let mut played = Played::new(
        capture,
        args.speed.text(),
        range_ns,
        (names, &progress.all()),
    );
    played.damaged = damage.len();
    report.replay = Some(played);
    show(&report, args.report.as_deref(), args.json)?;
    judge(report)?;
    complete(&damage)
}

/// A bar over the time that is played, if somebody is looking; what is played for ever has no end.
fn bar(playing: &Playing, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() || playing.passes == 0 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {percent} %, {eta} left");
    let length_ns = playing.to_ns.saturating_sub(playing.from_ns);
    let bar = ProgressBar::new(u64::try_from(length_ns).unwrap_or(0)).with_message(what);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn advance(bar: &ProgressBar, playing: &Playing, last_ns: Option<i64>) {
    let done_ns = last_ns.map_or(0, |last_ns| last_ns.saturating_sub(playing.from_ns));
    bar.set_position(u64::try_from(done_ns).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_or_max() {
        assert_eq!(parse_speed("max"), Ok(Speed::Max));
        assert_eq!(parse_speed("10"), Ok(Speed::Times(10.0)));
        assert_eq!(parse_speed("0.5x"), Ok(Speed::Times(0.5)));
        for wrong in ["0", "-1", "nan", "inf", "1e7", "", "fast"] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
    }
}
