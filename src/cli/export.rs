//! `kymo export`: samples, gaps or events as CSV.

use std::io::Write;
use std::path::PathBuf;

use super::query::select::{self, Selection};
use super::query::sink::quoted;
use super::query::{Format, RangeArgs, Request, is_broken_pipe, out, samples, times};
use super::{DataArgs, Failure, note};
use crate::store::EventRow;
use crate::store::read::Range;

/// Writes samples, gaps or events as CSV.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One row a frame, one column a channel; a cell is empty where a row's source has no such channel. Numbers are \
the shortest that read back as the very same value; NaN and inf are written so. Lanes come one after another, by time \
within a lane. `kymo query` writes other formats, and statistics.\n\n\
Examples:\n  \
kymo export                                   everything, on standard output\n  \
kymo export 'imu.a*' --from -10m              three channels, the last ten minutes\n  \
kymo export furnace.heater --run last -o t.csv\n  \
kymo export --what gaps                       what is missing, and why\n  \
kymo export --what events                     alerts, connections, clock steps")]
pub(super) struct Args {
    /// Channels as `source.channel`; `*` and `?` stand for any text and any character. All, if none is given.
    channels: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// What to write.
    #[arg(long, value_enum, default_value_t = What::Samples)]
    what: What,
    /// Write into this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The values.
    Samples,
    /// What is missing: from when to when, how many frames, why.
    Gaps,
    /// What happened: alerts, connections, clock steps.
    Events,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let selection = select::select(
        select::open(&args.data)?,
        args.range.run.as_deref(),
        &args.channels,
    )?;
    let written = match args.what {
        What::Samples => return export_samples(args, &selection),
        What::Gaps => write_gaps(args, &selection),
        What::Events => write_events(args, &selection),
    };
    match written {
        Err(error) if !is_broken_pipe(&error) => Err(error.into()),
        // Whoever reads has seen enough.
        _ => Ok(()),
    }
}

fn export_samples(args: &Args, selection: &Selection) -> Result<(), Failure> {
    let range = args.range.range();
    let request = Request {
        selection,
        range,
        time: args.range.time,
        every: None,
        format: Format::Csv,
        output: args.output.as_deref(),
    };
    let Some(total) = samples(&request)? else {
        return Ok(());
    };
    total.complete()?;
    // What a table of values cannot show.
    let gaps = selection.gaps(range)?.len();
    if gaps > 0 {
        note(format!(
            "{gaps} gaps among the samples: `kymo export --what gaps` lists them"
        ));
    }
    Ok(())
}

fn time_text(form: times::Form, time_ns: i64) -> String {
    let mut text = String::new();
    form.push(time_ns, &mut text);
    text
}

fn write_gaps(args: &Args, selection: &Selection) -> anyhow::Result<()> {
    let gaps = selection.gaps(args.range.range())?;
    let mut out = out(args.output.as_deref())?;
    writeln!(out, "source,priority,from,to,frames,reason")?;
    for gap in gaps {
        writeln!(
            out,
            "{},{},{},{},{},{}",
            gap.source.as_deref().map(quoted).unwrap_or_default(),
            gap.priority.unwrap_or_default(),
            time_text(args.range.time, gap.time_ns),
            time_text(args.range.time, gap.to_ns.unwrap_or(gap.time_ns)),
            gap.frames
                .map_or_else(String::new, |frames| frames.to_string()),
            gap.reason.unwrap_or_default()
        )?;
    }
    Ok(out.flush()?)
}

fn write_events(args: &Args, selection: &Selection) -> anyhow::Result<()> {
    let range: Range = args.range.range();
    let mut out = out(args.output.as_deref())?;
    writeln!(out, "time,event,source,text")?;
    for run in &selection.runs {
        for event in selection.archive.events(run, range)? {
            if event.event == "gap" {
                continue;
            }
            let time = time_text(args.range.time, event.time_ns);
            let source = event.channel.as_deref().or(event.source.as_deref());
            let source = source.map(quoted).unwrap_or_default();
            let text = quoted(&text_of(&event));
            writeln!(out, "{time},{},{source},{text}", event.event)?;
        }
    }
    Ok(out.flush()?)
}

fn text_of(event: &EventRow) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if event.event != "alert" {
        return text(&event.text);
    }
    let number = |number: Option<f64>| serde_json::json!(number);
    format!(
        "{} {}: {} {} (limit {})",
        text(&event.rule),
        text(&event.change),
        number(event.value),
        text(&event.unit),
        number(event.limit)
    )
}
