//! `kymo show`: what was recorded.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::query::select;
use super::{DataArgs, Failure, note, say};
use crate::clock::rfc3339;
use crate::store::read::{Archive, LaneOverview, Overview, Run};

/// Says what was recorded: runs, sources, channels, times, rows, gaps, bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of every run, and of one that goes on up to its last commit. No values are read: it takes the same time for a minute as \
for a week. A rate is rows over time, gaps included; bytes are those of segments: what is in the journal alone has none \
yet.\n\n\
Examples:\n  \
kymo show                  every run\n  \
kymo show last             the last one, or the one that goes on\n  \
kymo show --json           for other programs")]
pub(super) struct Args {
    /// Only this run: its name, or `last`.
    run: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let archive = select::open(&args.data)?;
    let all = archive.runs()?;
    let runs = select::runs(&archive, args.run.as_deref())?;
    let mut shown = Vec::new();
    let mut lost_records = 0;
    for run in &runs {
        let overview = archive.overview(run)?;
        lost_records += overview.lost_records;
        let is_last = all
            .last()
            .is_some_and(|last| last.record.run == run.record.run);
        let state = if overview.is_closed {
            "closed"
        } else if is_last && archive.in_use() {
            "going on"
        } else {
            "cut off"
        };
        if args.json {
            shown.push(describe(&archive, run, &overview, state));
        } else {
            say(text_of(run, &overview, state));
        }
    }
    if args.json {
        say(serde_json::to_string_pretty(&json!({ "runs": shown }))?);
    } else if runs.is_empty() {
        say("nothing was recorded yet");
    }
    if lost_records > 0 {
        note(format!(
            "{lost_records} records of the journal are damaged or missing, and are not counted; `kymo journal verify` \
             says where"
        ));
    }
    Ok(())
}

/// Rows a second, gaps included.
#[allow(clippy::cast_precision_loss)]
fn rate_of(lane: &LaneOverview) -> Option<f64> {
    let (first_ns, last_ns) = lane.times_ns?;
    let spans = lane.rows.checked_sub(1).filter(|spans| *spans > 0)?;
    let seconds = last_ns.checked_sub(first_ns)? as f64 / 1e9;
    (seconds > 0.0).then(|| spans as f64 / seconds)
}

fn describe(archive: &Archive, run: &Run, overview: &Overview, state: &str) -> Value {
    let record = &run.record;
    let lanes = overview.lanes.iter().map(|lane| {
        let source = &record.sources[lane.source];
        let said = &source.lanes[lane.lane];
        json!({
            "source": source.name,
            "lane": lane.name,
            "priority": said.priority,
            "kind": said.kind,
            "declared_rate_hz": source.rate_hz,
            "channels": said.channels.iter().map(|channel| json!({
                "name": channel.name,
                "unit": channel.unit,
                "calibration": channel.calibration,
            })).collect::<Vec<_>>(),
            "rows": lane.rows,
            "journal_rows": lane.journal_rows,
            "from": lane.times_ns.map(|times| rfc3339(times.0)),
            "to": lane.times_ns.map(|times| rfc3339(times.1)),
            "from_ns": lane.times_ns.map(|times| times.0),
            "to_ns": lane.times_ns.map(|times| times.1),
            "rate_hz": rate_of(lane),
            "gaps": lane.gaps,
            "gap_frames": lane.gap_frames,
            "gaps_of_unknown_length": lane.gaps_unknown,
            "segments": lane.segments,
            "bytes": lane.bytes,
            "directory": archive.lane_dir(run, lane.source, lane.lane),
        })
    });
    json!({
        "run": record.run,
        "started": record.started,
        "started_ns": record.started_ns,
        "host": record.host,
        "kymo": record.kymo,
        "closed": overview.is_closed,
        "state": state,
        "events": overview.events,
        "lost_records": overview.lost_records,
        "lanes": lanes.collect::<Vec<_>>(),
    })
}

/// The time of day a time falls on, to the millisecond; with the date unless it is the run's own.
fn time_of(time_ns: i64, started: &str) -> String {
    let text = rfc3339(time_ns);
    let (Some(date), Some(time)) = (text.get(..10), text.get(11..23)) else {
        return text;
    };
    if started.starts_with(date) {
        time.to_owned()
    } else {
        format!("{date} {time}")
    }
}

fn text_of(run: &Run, overview: &Overview, state: &str) -> String {
    let record = &run.record;
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = writeln!(
        text,
        "run {}: began {} on {}, {state}; {} events",
        record.run, record.started, record.host, overview.events
    );
    let mut rows = vec![
        [
            "lane", "rows", "rate/s", "from", "to", "gaps", "bytes", "channels",
        ]
        .map(str::to_owned),
    ];
    for lane in &overview.lanes {
        let channels = &record.sources[lane.source].lanes[lane.lane].channels;
        let channels = channels.iter().map(|channel| {
            if channel.unit.is_empty() {
                channel.name.clone()
            } else {
                format!("{} {}", channel.name, channel.unit)
            }
        });
        let time = |time_ns: Option<i64>| {
            time_ns.map_or_else(String::new, |time_ns| time_of(time_ns, &record.started))
        };
        let gaps = match (lane.gaps, lane.gaps_unknown) {
            (0, _) => "none".to_owned(),
            (gaps, 0) => format!("{gaps} ({} frames)", lane.gap_frames),
            (gaps, _) => format!("{gaps} ({} frames, or more)", lane.gap_frames),
        };
        rows.push([
            lane.name.clone(),
            lane.rows.to_string(),
            rate_of(lane).map_or_else(String::new, |rate| format!("{rate:.1}")),
            time(lane.times_ns.map(|times| times.0)),
            time(lane.times_ns.map(|times| times.1)),
            gaps,
            HumanBytes(lane.bytes).to_string(),
            channels.collect::<Vec<_>>().join(", "),
        ]);
    }
    let width = |place: usize| {
        let cells = rows
            .iter()
            .map(|row: &[String; 8]| row[place].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..8).map(width).collect();
    for row in &rows {
        text.push_str("  ");
        for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match place {
                0 => write!(text, "{cell:<width$}"),
                7 => write!(text, "  {cell}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}
