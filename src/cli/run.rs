//! `kymo run`: acquire until the duration is over or somebody says stop.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::live::{Live, Plain, View};
use super::{ConfigArgs, Failure, load_plan, note, parse_duration, say};
use crate::clock::Clock;
use crate::config::plan::Plan;
use crate::pipeline::{Error, Notice, Report, Run};
use crate::serve;
use crate::sink;

/// Acquires the sources of a configuration into the journal.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
In a terminal a table shows every source as it runs; otherwise there is a line every ten seconds. \
Ctrl-C, SIGTERM or SIGHUP stops the readers, writes everything down and prints the ledger; a second one stops at once.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Stop by itself after so long, as in `10s` or `2h`.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Write the report at the end into this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Serve the live page there, as in `127.0.0.1:8080`; port 0: any that is free.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_serve")]
    listen: Option<std::net::SocketAddr>,
    /// Serve no live page.
    #[arg(long)]
    no_serve: bool,
    /// Print the report at the end as JSON, and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

/// How often the run is looked after and the table drawn anew.
const TICK: Duration = Duration::from_millis(250);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    run_with(args, |_| {})
}

/// Runs the configuration's plan with changes.
pub(super) fn run_with(args: &Args, change: impl FnOnce(&mut Plan)) -> Result<(), Failure> {
    let mut plan = load_plan(&args.config)?;
    change(&mut plan);
    if let Some(duration) = args.duration {
        plan.duration = Some(duration);
    }
    let duration = plan.duration;
    let mut page = plan.serve.take().filter(|_| !args.no_serve);
    if let Some(listen) = args.listen {
        let options = page.get_or_insert_default();
        (options.listen, options.is_wanted) = (listen, true);
    }
    make_report(args.report.as_deref())?;
    let mut run = Run::start(plan, Clock::system()).map_err(not_started)?;
    let page = serve(&mut run, page)?;
    if let Some(path) = run.capture() {
        note(format!("recording into {}", path.display()));
    }
    let interrupted = listen_for_signals(&run)?;
    let terminal = std::io::stdout().is_terminal() && !args.json;
    let mut view: Box<dyn View> = match terminal.then(|| Live::new(&run)) {
        Some(Ok(live)) => Box::new(live),
        _ => Box::new(Plain::new(args.json)),
    };
    view.start(&run);
    if let Some(line) = page {
        view.say(&line);
    }
    let started = Instant::now();
    let mut next_tick = started + TICK;
    loop {
        let now = Instant::now();
        let end = duration.map_or(next_tick, |duration| (started + duration).min(next_tick));
        match run
            .notices()
            .recv_timeout(end.saturating_duration_since(now))
        {
            Ok(notice) => view.notice(&run, &notice),
            Err(flume::RecvTimeoutError::Disconnected) => break,
            Err(flume::RecvTimeoutError::Timeout) => {}
        }
        if interrupted.load(Ordering::Relaxed) || duration.is_some_and(|d| started.elapsed() >= d) {
            break;
        }
        if Instant::now() >= next_tick {
            next_tick = Instant::now() + TICK;
            // A run of files and standard input is over when they are.
            if run.watch().is_some() || run.is_finished() {
                break;
            }
            view.tick(&run);
        }
    }
    for notice in run.notices().drain() {
        view.notice(&run, &notice);
    }
    view.finish();
    drop(view);
    let report = run.stop();
    show(&report, args.report.as_deref(), args.json)?;
    judge(report)
}

/// Why a run did not start.
pub(super) fn not_started(error: Error) -> Failure {
    match error {
        Error::DataDir(error) => Failure::Usage(format!("error: {error}")),
        Error::Capture(error) => Failure::Usage(format!("error: {error}")),
        Error::Sink(error @ sink::Error::Setup { .. }) => Failure::Usage(format!("error: {error}")),
        error => Failure::Running(error.into()),
    }
}

/// The report's file is made before the run: to find out afterwards that it cannot be written is too late.
pub(super) fn make_report(path: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    std::fs::File::create(path).map_err(|error| {
        Failure::Usage(format!("error: cannot write {}: {error}", path.display()))
    })?;
    Ok(())
}

/// Shows a report, and writes it where it is wanted.
pub(super) fn show(report: &Report, path: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report)?;
    if let Some(path) = path {
        std::fs::write(path, format!("{json}\n"))
            .with_context(|| format!("cannot write the report {}", path.display()))?;
    }
    if as_json {
        say(&json);
    } else {
        say(report.text());
    }
    Ok(())
}

/// What a report makes of the exit status.
pub(super) fn judge(report: Report) -> Result<(), Failure> {
    match report.failure {
        Some(failure) => Err(Failure::Running(anyhow::anyhow!(
            "the run failed: {failure}"
        ))),
        None if !report.ledger.balanced => Err(Failure::OutOfBalance(
            "the ledger is out of balance: samples are missing that nobody dropped".to_owned(),
        )),
        None => match report.capture.and_then(|capture| capture.failure) {
            Some(failure) => Err(Failure::Running(anyhow::anyhow!(
                "the recording of the capture ended before the run: {failure}"
            ))),
            None => Ok(()),
        },
    }
}

/// Serves the live page; what is to be said of it. That the port is taken ends a run only if it was asked for.
fn serve(run: &mut Run, options: Option<serve::Options>) -> Result<Option<String>, Failure> {
    let Some(options) = options else {
        return Ok(None);
    };
    let is_wanted = options.is_wanted;
    match run.serve(options) {
        Ok(page) => Ok(Some(format!("live page: {}", page.url()))),
        Err(error) if is_wanted => Err(Failure::Usage(format!("error: no live page: {error}"))),
        Err(error) => Ok(Some(format!(
            "no live page: {error}; [serve] or --listen says where else"
        ))),
    }
}

/// The first signal asks for the orderly end, the second ends the process at once.
pub(super) fn listen_for_signals(run: &Run) -> Result<std::sync::Arc<AtomicBool>, Failure> {
    let interrupted = std::sync::Arc::new(AtomicBool::new(false));
    let (flag, wake) = (std::sync::Arc::clone(&interrupted), run.notices_in());
    let seen = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            // What is committed is safe; what is not is given up, as was asked.
            std::process::exit(1);
        }
        // The run's own loop looks at the flag within a tick; a notice in its channel makes that now.
        drop(wake.try_send(Notice::Wake));
    });
    seen.context("cannot listen for Ctrl-C")?;
    Ok(interrupted)
}
