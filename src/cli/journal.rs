//! `kymo journal verify` and `kymo journal repair`.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{DataArgs, Failure, say};
use crate::clock::rfc3339;
use crate::data_dir::{self, DataDir};
use crate::journal::{self, RepairReport, Report, SegmentReport};

/// Looks after the journal on disk.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read everything, compare every checksum, and say what is there and what is damaged.
    ///
    /// Status 1 if anything is damaged or missing. Changes nothing; needs little memory, however large the journal.
    Verify(Common),
    /// Write damaged segments anew with every record that is intact; the originals are kept.
    Repair {
        #[command(flatten)]
        common: Common,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Verify(common) => verify(common),
        Command::Repair { common, dry_run } => repair(common, *dry_run),
    }
}

fn journal_dir(common: &Common) -> Result<(PathBuf, PathBuf), Failure> {
    let data_dir = common.data.data_dir()?;
    data_dir::readable(&data_dir).map_err(|error| Failure::Usage(format!("error: {error}")))?;
    let dir = data_dir.join(journal::DIR);
    Ok((data_dir, dir))
}

fn verify(common: &Common) -> Result<(), Failure> {
    let (data_dir, dir) = journal_dir(common)?;
    let in_use = data_dir::in_use(&data_dir);
    let bar = bar("verifying");
    let report = journal::verify(&dir, |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
    })?;
    bar.finish_and_clear();
    if common.json {
        let mut found = describe(&report);
        found["in_use"] = json!(in_use);
        say(serde_json::to_string_pretty(&found)?);
    } else {
        say(text_of(&report));
        if in_use {
            say("A run is writing to it: the end of the last segment may look torn.");
        }
    }
    if report.is_sound() || in_use {
        return Ok(());
    }
    Err(Failure::Running(anyhow::anyhow!(
        "the journal is damaged; `kymo journal repair` writes the damaged segments anew with what is intact"
    )))
}

fn repair(common: &Common, dry_run: bool) -> Result<(), Failure> {
    let (data_dir, dir) = journal_dir(common)?;
    // Held until the end: nobody may write meanwhile.
    let _lock = if dry_run {
        None
    } else {
        let taken = DataDir::take(&data_dir);
        Some(taken.map_err(|error| Failure::Usage(format!("error: {error}")))?)
    };
    let report = journal::repair(&dir, dry_run)?;
    if common.json {
        say(serde_json::to_string_pretty(&describe_repair(
            &report, dry_run,
        ))?);
    } else {
        say(text_of_repair(&report, dry_run));
    }
    Ok(())
}

/// A progress bar in bytes, if somebody is looking.
pub(super) fn bar(what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{msg} [{wide_bar}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    );
    let bar = ProgressBar::new(0).with_message(what);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn describe(report: &Report) -> Value {
    json!({
        "sound": report.is_sound(),
        "bytes": report.bytes,
        "records": report.records,
        "missing_records": report.missing_records(),
        "runs": report.runs.iter().map(|run| json!({
            "first_seq": run.first_seq,
            "last_seq": run.last_seq,
            "began": rfc3339(run.began_ns),
            "closed": run.is_closed,
        })).collect::<Vec<_>>(),
        "segments": report.segments.iter().map(describe_segment).collect::<Vec<_>>(),
        "set_aside": report.set_aside,
    })
}

fn describe_segment(segment: &SegmentReport) -> Value {
    json!({
        "path": segment.path,
        "bytes": segment.bytes,
        "records": segment.records,
        "seqs": segment.seqs,
        "from": segment.times_ns.map(|times| rfc3339(times.0)),
        "to": segment.times_ns.map(|times| rfc3339(times.1)),
        "sound": segment.is_sound(),
        "repaired": segment.is_repaired,
        "header_damaged": segment.is_header_damaged,
        "damaged_places": segment.bad_count,
        "damaged_bytes": segment.bad.iter().map(|bad| [bad.from, bad.to]).collect::<Vec<_>>(),
        "missing_seqs": segment.missing,
        "missing_records": segment.missing_records,
        "doubled_records": segment.doubled_records,
    })
}

fn text_of(report: &Report) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    for run in &report.runs {
        let state = if run.is_closed {
            "closed"
        } else {
            "not closed: it was cut off, or goes on"
        };
        let began = rfc3339(run.began_ns);
        let _ = writeln!(
            text,
            "run of {began}: records {} to {}, {state}",
            run.first_seq, run.last_seq
        );
    }
    for segment in report.segments.iter().filter(|segment| !segment.is_sound()) {
        let _ = writeln!(text, "{}: {}", segment.path.display(), troubles(segment));
    }
    for path in &report.set_aside {
        let _ = writeln!(
            text,
            "{}: a damaged original that was set aside",
            path.display()
        );
    }
    let count = report.segments.len();
    let _ = write!(
        text,
        "{count} segment{}, {}, {} records: {}",
        if count == 1 { "" } else { "s" },
        indicatif::HumanBytes(report.bytes),
        report.records,
        if report.is_sound() {
            "all sound"
        } else {
            "DAMAGED"
        }
    );
    text
}

/// What is wrong with a segment, in a line.
fn troubles(segment: &SegmentReport) -> String {
    let mut troubles = Vec::new();
    if segment.is_header_damaged {
        troubles.push("its header is damaged".to_owned());
    }
    if segment.bad_count > 0 {
        let places: Vec<String> = segment
            .bad
            .iter()
            .take(4)
            .map(|bad| format!("{} to {}", bad.from, bad.to))
            .collect();
        let more = if segment.bad_count > 4 { ", …" } else { "" };
        troubles.push(format!(
            "no intact record at bytes {}{more}",
            places.join(", ")
        ));
    }
    if segment.missing_records > 0 {
        let places: Vec<String> = segment
            .missing
            .iter()
            .take(4)
            .map(|(a, b)| format!("{a} to {b}"))
            .collect();
        troubles.push(format!(
            "{} records are missing ({})",
            segment.missing_records,
            places.join(", ")
        ));
    }
    if segment.doubled_records > 0 {
        troubles.push(format!(
            "{} records are there twice",
            segment.doubled_records
        ));
    }
    troubles.join("; ")
}

fn describe_repair(report: &RepairReport, dry_run: bool) -> Value {
    json!({
        "dry_run": dry_run,
        "records_kept": report.records_kept,
        "records_lost": report.records_lost,
        "segments": report.segments.iter().map(|segment| json!({
            "found": describe_segment(&segment.found),
            "lost_bytes": segment.lost_bytes,
            "original": segment.original,
        })).collect::<Vec<_>>(),
    })
}

fn text_of_repair(report: &RepairReport, dry_run: bool) -> String {
    if report.segments.is_empty() {
        return "nothing to repair: every record of every segment is intact".to_owned();
    }
    let mut text = String::new();
    for segment in &report.segments {
        let found = &segment.found;
        let _ = writeln!(text, "{}: {}", found.path.display(), troubles(found));
        let _ = match &segment.original {
            Some(original) => writeln!(
                text,
                "    written anew with {} records; the original is {}",
                found.records,
                original.display()
            ),
            None => writeln!(
                text,
                "    would be written anew with {} records",
                found.records
            ),
        };
    }
    let verb = if dry_run { "would be" } else { "were" };
    let _ = write!(
        text,
        "{} records {verb} kept, {} are lost",
        report.records_kept, report.records_lost
    );
    text
}
