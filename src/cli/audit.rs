//! `kymo audit`: whether every sample is there once, or listed as dropped.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::journal::bar;
use super::{DataArgs, Failure, say};
use crate::store::audit::{Audit, Finding, RunAudit, RunState, audit};
use crate::store::read::Archive;

/// Checks that every acquired sample is there once, or listed as dropped with its reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every segment's bytes against the checksum in its name; every lane's frames, through the store and what of it is \
in the journal alone, one behind the other but for what gaps say was dropped; the sums against each run's ledger. \
Status 3 if anything is missing, doubled or changed. Changes nothing; may be run while a run goes on.")]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Only this run: its name, or `last`.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let usage = |text: String| Failure::Usage(format!("error: {text}"));
    let data_dir = args.data.data_dir()?;
    crate::data_dir::readable(&data_dir).map_err(|error| usage(error.to_string()))?;
    let archive = Archive::open(&data_dir)?;
    let runs = archive.runs()?;
    let names: Vec<&str> = runs.iter().map(|run| run.record.run.as_str()).collect();
    let wanted = match args.run.as_deref() {
        Some("last") => names.last().copied(),
        other => other,
    };
    if let Some(wanted) = wanted.filter(|wanted| !names.contains(wanted)) {
        let known = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        return Err(usage(format!(
            "there is no run `{wanted}`; there are {known}"
        )));
    }
    let bar = bar("auditing");
    let wants = |run: &str| wanted.is_none_or(|wanted| wanted == run);
    let found = audit(&archive, wants, |bytes, total| {
        bar.set_length(total);
        bar.set_position(bytes);
    })?;
    bar.finish_and_clear();
    if args.json {
        say(serde_json::to_string_pretty(&describe(&found))?);
    } else {
        say(text_of(&found));
    }
    let wrong = found.findings().filter(|finding| finding.is_wrong).count();
    if wrong == 0 {
        return Ok(());
    }
    Err(Failure::OutOfBalance(format!(
        "not every sample is there once, or listed as dropped: {wrong} finding{}",
        if wrong == 1 { "" } else { "s" }
    )))
}

fn describe(found: &Audit) -> Value {
    json!({
        "clean": found.is_clean(),
        "in_use": found.in_use,
        "journal_records": found.journal_records,
        "runs": found.runs.iter().map(describe_run).collect::<Vec<_>>(),
        "findings": found.findings().map(describe_finding).collect::<Vec<_>>(),
    })
}

fn describe_run(run: &RunAudit) -> Value {
    json!({
        "run": run.run,
        "started": run.started,
        "state": run.state.name(),
        "clean": run.findings.iter().all(|finding| !finding.is_wrong),
        "lanes": run.lanes.iter().map(|lane| json!({
            "lane": lane.lane,
            "segments": lane.segments,
            "bytes": lane.bytes,
            "stored_rows": lane.stored_rows,
            "journal_rows": lane.journal_rows,
            "removed_rows": lane.removed_rows,
            "dropped_frames": lane.dropped_frames,
        })).collect::<Vec<_>>(),
    })
}

fn describe_finding(finding: &Finding) -> Value {
    json!({
        "wrong": finding.is_wrong,
        "run": finding.run,
        "lane": finding.lane,
        "file": finding.file,
        "frames": finding.frames,
        "what": finding.what,
    })
}

fn text_of(found: &Audit) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    for run in &found.runs {
        let state = match run.state {
            RunState::Closed => "its sums were held against its ledger",
            RunState::WithoutLedger => "without ledger: it was cut off, and has no sums",
            RunState::Running => "it goes on: what is not yet committed is not counted",
        };
        let _ = writeln!(text, "run {} ({state})", run.run);
        let width = run.lanes.iter().map(|lane| lane.lane.len()).max();
        let width = width.unwrap_or(0).max(4);
        let _ = writeln!(
            text,
            "  {:<width$}  {:>8} {:>12} {:>14} {:>14} {:>14} {:>10}",
            "lane", "segments", "bytes", "rows stored", "in journal", "removed", "dropped"
        );
        for lane in &run.lanes {
            let _ = writeln!(
                text,
                "  {:<width$}  {:>8} {:>12} {:>14} {:>14} {:>14} {:>10}",
                lane.lane,
                lane.segments,
                indicatif::HumanBytes(lane.bytes).to_string(),
                lane.stored_rows,
                lane.journal_rows,
                lane.removed_rows,
                lane.dropped_frames
            );
        }
    }
    let findings: Vec<&Finding> = found.findings().collect();
    for finding in &findings {
        let sign = if finding.is_wrong { "WRONG" } else { "note" };
        let _ = writeln!(text, "{sign}: {finding}");
    }
    let count = found.runs.len();
    let _ = write!(
        text,
        "{count} run{}, {} records in the journal: {}",
        if count == 1 { "" } else { "s" },
        found.journal_records,
        if found.is_clean() {
            "every sample is there once, or listed as dropped"
        } else {
            "NOT CLEAN"
        }
    );
    if found.in_use {
        text.push_str("\nA run goes on: what it has not committed yet is not counted.");
    }
    text
}
