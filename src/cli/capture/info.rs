//! `kymo capture info`: what is in a capture.

use std::fmt::Write as _;
use std::path::PathBuf;

use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::json;

use super::super::{Failure, say};
use super::{damage_json, damage_line, follow, open, progress};
use crate::capture::{Capture, LinkChange, Selection, What};
use crate::clock::rfc3339;

/// Says what is in a capture.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything is read and its checksums are compared. Exit status 1 if something is missing or damaged.\n\n\
Examples:\n  \
kymo capture info kymo-data/captures/20261123T080000.000Z-1f2e.mcap\n  \
kymo capture info day.mcap --config > day.toml       the configuration that it was recorded with")]
pub(super) struct Args {
    /// The capture: its first file, all its files, or their directory.
    #[arg(required = true)]
    capture: Vec<PathBuf>,
    /// Print the configuration it was recorded with, and nothing else.
    #[arg(long)]
    config: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is in it of one source.
#[derive(Debug, Clone, Default, Serialize)]
struct OfSource {
    source: String,
    link: String,
    from_ns: Option<i64>,
    to_ns: Option<i64>,
    reads: u64,
    bytes: u64,
    sent_bytes: u64,
    opened: u64,
    gone: u64,
    gaps: u64,
    not_recorded_bytes: u64,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let capture = open(&args.capture)?;
    if args.config {
        say(capture.described().configuration.trim_end());
        return Ok(());
    }
    let mut damage = capture.damage().to_vec();
    damage.extend(capture.check_files());
    let (sources, events) = count(&capture, &mut damage)?;
    if args.json {
        say(serde_json::to_string_pretty(&json(
            &capture, &sources, events, &damage,
        ))?);
    } else {
        say(text(&capture, &sources, events, &damage).trim_end());
    }
    if damage.is_empty() {
        return Ok(());
    }
    Err(Failure::Running(anyhow::anyhow!(
        "the capture is torn or damaged: `kymo capture recover` makes a whole one of what is left"
    )))
}

fn count(
    capture: &Capture,
    damage: &mut Vec<crate::capture::Damage>,
) -> Result<(Vec<OfSource>, u64), Failure> {
    let known = capture.described().sources.iter();
    let mut sources: Vec<OfSource> = known
        .map(|source| OfSource {
            source: source.name.clone(),
            link: source.link.clone(),
            ..OfSource::default()
        })
        .collect();
    let mut events = 0;
    let bar = progress("reading", capture.chunk_bytes());
    let mut entries = capture.entries(Selection::default());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        follow(&mut entries, &bar, damage);
        let Some(source) = entry.source else {
            events += 1;
            continue;
        };
        let of = &mut sources[source];
        of.from_ns.get_or_insert(entry.time_ns);
        of.to_ns = Some(entry.time_ns);
        match entry.what {
            What::Read(bytes) => {
                of.reads += 1;
                of.bytes += bytes.len() as u64;
            }
            What::Sent(bytes) => of.sent_bytes += bytes.len() as u64,
            What::Link(LinkChange::Opened { .. }) => of.opened += 1,
            What::Link(LinkChange::Gone { .. }) => of.gone += 1,
            What::Link(LinkChange::NotRecorded { bytes, .. }) => {
                of.gaps += 1;
                of.not_recorded_bytes += bytes;
            }
            What::Link(_) | What::Event(_) => {}
        }
    }
    follow(&mut entries, &bar, damage);
    bar.finish_and_clear();
    Ok((sources, events))
}

fn json(
    capture: &Capture,
    sources: &[OfSource],
    events: u64,
    damage: &[crate::capture::Damage],
) -> serde_json::Value {
    let described = capture.described();
    let files = capture.files();
    let files: Vec<_> = files
        .map(|(path, bytes)| json!({ "file": path, "bytes": bytes }))
        .collect();
    json!({
        "run": described.run,
        "started": rfc3339(described.started_ns),
        "host": described.host,
        "kymo": described.kymo,
        "library": capture.library(),
        "files": files,
        "from_ns": capture.range_ns().map(|(from_ns, _)| from_ns),
        "to_ns": capture.range_ns().map(|(_, to_ns)| to_ns),
        "sources": sources,
        "events": events,
        "configuration": described.configuration,
        "calibration": described.calibration,
        "whole": damage.is_empty(),
        "damage": damage_json(damage),
    })
}

#[allow(clippy::cast_precision_loss)]
fn text(
    capture: &Capture,
    sources: &[OfSource],
    events: u64,
    damage: &[crate::capture::Damage],
) -> String {
    let described = capture.described();
    // Writing into a string cannot fail.
    let mut text = String::new();
    let _ = writeln!(
        text,
        "run {} on {}, kymo {}, recorded by {}",
        described.run,
        described.host,
        described.kymo,
        capture.library()
    );
    for (path, bytes) in capture.files() {
        let _ = writeln!(text, "file {}, {}", path.display(), HumanBytes(bytes));
    }
    if let Some((from_ns, to_ns)) = capture.range_ns() {
        let seconds = to_ns.saturating_sub(from_ns) as f64 / 1e9;
        let _ = writeln!(
            text,
            "from {} to {}, {seconds:.3} s",
            rfc3339(from_ns),
            rfc3339(to_ns)
        );
    }
    let width = sources.iter().map(|of| of.source.len()).max();
    let width = width.unwrap_or(0).max(6);
    let _ = writeln!(
        text,
        "\n{:<width$}  {:>10} {:>12} {:>10} {:>6} {:>5} {:>5}  link",
        "source", "reads", "bytes", "sent", "opened", "gone", "gaps"
    );
    for of in sources {
        let _ = writeln!(
            text,
            "{:<width$}  {:>10} {:>12} {:>10} {:>6} {:>5} {:>5}  {}",
            of.source, of.reads, of.bytes, of.sent_bytes, of.opened, of.gone, of.gaps, of.link
        );
        if of.not_recorded_bytes > 0 {
            let _ = writeln!(
                text,
                "{:<width$}  {} bytes were not recorded",
                "", of.not_recorded_bytes
            );
        }
    }
    let _ = writeln!(text, "\n{events} events and notes");
    let lines = described.configuration.lines().count();
    let _ = writeln!(
        text,
        "configuration: {lines} lines, shown by --config; {} channels",
        described.calibration.len()
    );
    if damage.is_empty() {
        text.push_str("whole\n");
    }
    for damage in damage {
        let _ = writeln!(text, "DAMAGED: {}", damage_line(damage));
    }
    text
}
