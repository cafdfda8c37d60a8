//! The command line: one file a subcommand.
//!
//! **Always holds.** Exit status 0: done; 1: failed while running; 2: bad command line or configuration,
//! and nothing was touched; 3: the ledger is out of balance. A closed pipe ends output, not the run.
//!
//! **Must not know.** How anything is done: it says what to do, and shows what came of it.

#![allow(clippy::print_stderr)] // This is where the program speaks.

mod audit;
mod backfill;
mod bench;
mod capture;
mod check;
mod export;
mod journal;
mod live;
mod monitor;
mod note;
mod notify;
mod plot;
mod ports;
mod query;
mod record;
mod replay;
mod rules;
mod run;
mod show;
mod sim;
mod sink;
mod soak;

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{self, plan::Plan};

/// High-frequency sensor data acquisition: every sample kept, or accounted for.
///
/// Without a command, `kymo` runs the configuration in `config.toml`.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
#[command(after_help = "\
First steps:\n  \
kymo check                     is the configuration right, and can it work?\n  \
kymo run --duration 10s        acquire for ten seconds, then show the ledger\n  \
kymo bench memory              how fast is this machine?\n\n\
Exit status: 0 done; 1 failed while running; 2 bad command line or configuration; 3 ledger out of balance.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Acquire, until the duration is over or Ctrl-C is pressed.
    Run(run::Args),
    /// Acquire, and record what the devices send into a capture.
    Record(record::Args),
    /// Play a capture, as if its devices were there.
    Replay(replay::Args),
    /// Look into captures; cut, merge, export, recover and import them.
    Capture(capture::Args),
    /// Say whether a configuration is right, and whether it can work; touch nothing.
    Check(check::Args),
    /// Say what was recorded: runs, channels, times, rows, gaps, bytes.
    Show(show::Args),
    /// Show or write samples, or statistics of them over bins of time.
    Query(query::Args),
    /// Write samples, gaps or events as CSV.
    Export(export::Args),
    /// Draw channels over time, in the terminal or as SVG.
    Plot(plot::Args),
    /// Check that every acquired sample is there once, or listed as dropped.
    Audit(audit::Args),
    /// Say where the rules stand; acknowledge, silence, try them on what was recorded.
    Rules(rules::Args),
    /// Write down what a person has to say about the run that goes on.
    Note(note::Args),
    /// List notifiers and what they could not deliver; send it again.
    Notify(notify::Args),
    /// Verify or repair the journal on disk.
    Journal(journal::Args),
    /// List the serial ports, who uses them, and why one cannot be opened.
    Ports(ports::Args),
    /// Show what a device sends, as it comes: as text, as bytes, or decoded.
    Monitor(monitor::Args),
    /// Run simulated devices for other programs to read, without acquiring.
    Sim(sim::Args),
    /// Run simulated devices with faults by chance through the whole pipeline, and check what came of it.
    Soak(soak::Args),
    /// Try a sink out, say how it stands, show what it refused.
    Sink(sink::Args),
    /// Send what is stored to a sink.
    Backfill(backfill::Args),
    /// Measure this machine with Kymo's own parts.
    Bench(bench::Args),
}

/// Why a command ends with another status than 0.
enum Failure {
    /// Status 1.
    Running(anyhow::Error),
    /// Status 2, with the text as it is.
    Usage(String),
    /// Status 3.
    OutOfBalance(String),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Running(error.into())
    }
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => run::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Note(args) => note::run(&args),
        Command::Notify(args) => notify::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Ports(args) => ports::run(&args),
        Command::Monitor(args) => monitor::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Sink(args) => sink::run(&args),
        Command::Backfill(args) => backfill::run(&args),
        Command::Bench(args) => bench::run(&args).map_err(Failure::Running),
    };
    let (status, text) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Running(error)) => (1, format!("error: {error:#}")),
        Err(Failure::Usage(text)) => (2, text),
        Err(Failure::OutOfBalance(text)) => (3, format!("error: {text}")),
    };
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
    ExitCode::from(status)
}

/// Prints a line. Nobody reading any more is no error.
fn say(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Where the configuration is, for the commands that need one.
#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
    /// Where data are kept, instead of the configuration's `data_dir`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Where recorded data are, for the commands that only read them.
#[derive(Debug, clap::Args)]
struct DataArgs {
    /// Where the data are. Without it, the configuration says.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration that says where the data are.
    #[arg(long, value_name = "FILE", default_value = "config.toml")]
    config: PathBuf,
}

impl DataArgs {
    fn data_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(data_dir) = &self.data_dir {
            return Ok(data_dir.clone());
        }
        let mistakes = |mistakes: config::Mistakes| Failure::Usage(render(&mistakes));
        config::load(&self.config)
            .map(|plan| plan.data_dir)
            .map_err(mistakes)
    }
}

/// Says something to whoever looks on, beside the output.
fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn render(mistakes: &config::Mistakes) -> String {
    mistakes.render(std::io::stderr().is_terminal())
}

/// The plan of a configuration file, with the command line's changes.
fn load_plan(args: &ConfigArgs) -> Result<Plan, Failure> {
    let mut plan =
        config::load(&args.config).map_err(|mistakes| Failure::Usage(render(&mistakes)))?;
    if let Some(data_dir) = &args.data_dir {
        plan.move_to(data_dir);
    }
    Ok(plan)
}

/// A duration on the command line: `10s`, `1500ms`, `2h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    config::values::parse_duration(text)
}
