//! `kymo capture`: looks into captures; cuts, merges, exports, recovers and imports them.

mod edit;
mod export;
mod import;
mod info;

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;

use super::journal::bar;
use super::query::times;
use super::{Failure, note, say};
use crate::capture::{Capture, Damage, Entries, Selection};
use crate::nearest::nearest;

/// Looks into captures; cuts, merges, exports, recovers and imports them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A capture is named by its first file, with which those that follow it are read, by all its files, or by a directory that holds \
the files of one. What is damaged is said, and what is whole is used: exit status 1 if anything is missing.\n\n\
Examples:\n  \
kymo capture info kymo-data/captures/*.mcap\n  \
kymo capture cut day.mcap --from 08:00 --to 09:00 --output hour.mcap\n  \
kymo capture export day.mcap --output day/          CSV, one file a source\n  \
kymo capture recover torn.mcap --output whole.mcap")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what is in a capture: sources, times, bytes, reads, gaps, configuration, and whether it is whole.
    Info(info::Args),
    /// Write part of a capture: a range of time, some sources.
    Cut(edit::CutArgs),
    /// Join captures on one time axis.
    Merge(edit::MergeArgs),
    /// Make a whole capture of what is left of a torn one.
    Recover(edit::RecoverArgs),
    /// Write a capture's frames as CSV or Parquet, or its bytes as they came.
    Export(export::Args),
    /// Make a capture of a CSV file with times, or of a log of plain bytes.
    Import(import::Args),
}

/// Which messages.
#[derive(Debug, clap::Args)]
pub(super) struct RangeArgs {
    /// From this time on: 2026-11-23T08:00:00Z, or 10s after the capture's beginning as in +10s.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Up to before this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only these sources; may be given more than once.
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
}

impl RangeArgs {
    pub(super) fn selection(&self, capture: &Capture) -> Result<Selection, Failure> {
        let begin_ns = capture.range_ns().map_or(0, |(from_ns, _)| from_ns);
        let time = |text: &String| {
            let after = text.strip_prefix('+');
            let time = after.map_or_else(
                || times::parse(text),
                |after| {
                    let after = crate::config::values::parse_duration(after)?;
                    let after_ns = i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
                    Ok(begin_ns.saturating_add(after_ns))
                },
            );
            time.map_err(usage)
        };
        let mut sources = Vec::new();
        for name in &self.source {
            let place = capture.source(name).ok_or_else(|| {
                let known = capture.described().sources.iter();
                let known: Vec<&str> = known.map(|source| source.name.as_str()).collect();
                let meant = nearest(name, known.iter().copied());
                let meant =
                    meant.map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
                usage(format!(
                    "there is no source `{name}` in the capture; there are {}{meant}",
                    known.join(", ")
                ))
            })?;
            sources.push(place);
        }
        Ok(Selection {
            from_ns: self.from.as_ref().map(time).transpose()?,
            to_ns: self.to.as_ref().map(time).transpose()?,
            sources: (!sources.is_empty()).then_some(sources),
        })
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Info(args) => info::run(args),
        Command::Cut(args) => edit::cut(args),
        Command::Merge(args) => edit::merge(args),
        Command::Recover(args) => edit::recover(args),
        Command::Export(args) => export::run(args),
        Command::Import(args) => import::run(args),
    }
}

pub(super) fn usage(text: impl std::fmt::Display) -> Failure {
    Failure::Usage(format!("error: {text}"))
}

/// Opens a capture; one that cannot be read at all is a mistake in the command.
pub(super) fn open(paths: &[PathBuf]) -> Result<Capture, Failure> {
    Capture::open(paths).map_err(usage)
}

/// A file that is not to be written over.
fn new_file(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Err(usage(format!("{} is there already", path.display())));
    }
    Ok(())
}

/// A bar over a capture's bytes, if somebody is looking.
fn progress(what: &'static str, capture_bytes: u64) -> ProgressBar {
    let bar = bar(what);
    bar.set_length(capture_bytes);
    bar
}

/// Moves the bar, and collects what was found damaged.
fn follow(entries: &mut Entries<'_>, bar: &ProgressBar, damage: &mut Vec<Damage>) {
    bar.set_position(entries.done_bytes());
    damage.append(&mut entries.take_damage());
}

fn damage_json(damage: &[Damage]) -> serde_json::Value {
    let each = damage.iter().map(|damage| {
        json!({
            "file": damage.path,
            "offset": damage.offset,
            "what": damage.what,
            "from_ns": damage.range_ns.map(|(from_ns, _)| from_ns),
            "to_ns": damage.range_ns.map(|(_, to_ns)| to_ns),
        })
    });
    each.collect()
}

fn damage_line(damage: &Damage) -> String {
    let range = damage
        .range_ns
        .map_or_else(String::new, |(from_ns, to_ns)| {
            format!(
                ", messages from {} to {}",
                crate::clock::rfc3339(from_ns),
                crate::clock::rfc3339(to_ns)
            )
        });
    let path = damage.path.display();
    format!("{path}, byte {}: {}{range}", damage.offset, damage.what)
}

/// Ends a command that used what is whole: what is not is said, and is an error.
pub(super) fn complete(damage: &[Damage]) -> Result<(), Failure> {
    if damage.is_empty() {
        return Ok(());
    }
    for damage in damage {
        note(damage_line(damage));
    }
    Err(Failure::Running(anyhow::anyhow!(
        "the capture is damaged at {} places: what is whole was used",
        damage.len()
    )))
}

/// Says what was written, as a line or as JSON.
fn written(json: bool, what: &serde_json::Value, line: &str) -> Result<(), Failure> {
    if json {
        say(serde_json::to_string_pretty(what)?);
    } else {
        say(line);
    }
    Ok(())
}
