//! `kymo capture export`: a capture's frames, through the same decoders as in the run, or its bytes.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;

use super::super::query::columnar::{Columnar, Kind};
use super::super::query::select::Column;
use super::super::query::sink::{Batch, Cells, Csv, Sink};
use super::super::query::{out, times};
use super::super::{Failure, render};
use super::{RangeArgs, complete, follow, open, progress, usage, written};
use crate::capture::{Capture, What};
use crate::config;
use crate::config::plan::{Plan, Source};
use crate::rehearsal::Decoded;

/// Writes a capture's frames, or its bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One file a source, in the directory that --output names. Frames are decoded, dated and calibrated as they were in the run, \
by the configuration in the capture or by --config, which may mend what the first had wrong. Windows and derived \
channels are not computed.\n\n\
Examples:\n  \
kymo capture export day.mcap --output day/\n  \
kymo capture export day.mcap --format parquet --source imu --output day/\n  \
kymo capture export day.mcap --raw --output bytes/")]
pub(super) struct Args {
    /// The capture: its first file, all its files, or their directory.
    #[arg(required = true)]
    capture: Vec<PathBuf>,
    #[command(flatten)]
    range: RangeArgs,
    /// How to write frames.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Write the plain bytes that were read, without their times.
    #[arg(long)]
    raw: bool,
    /// Decode by this configuration instead of the capture's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How times are written in CSV.
    #[arg(long, value_enum, default_value_t = times::Form::Rfc3339)]
    time: times::Form,
    /// The directory to write into.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Csv,
    Parquet,
}

/// What is made of one source.
enum Made {
    Bytes(super::super::query::sink::Out),
    Frames(Box<Frames>),
    Nothing,
}

struct Frames {
    decoded: Decoded,
    sink: Box<dyn Sink>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let capture = open(&args.capture)?;
    let selection = args.range.selection(&capture)?;
    let plan = if args.raw {
        None
    } else {
        Some(plan(args, &capture)?)
    };
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot create {}", args.output.display()))?;
    let mut made = Vec::new();
    for (place, source) in capture.described().sources.iter().enumerate() {
        let is_wanted = selection
            .sources
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&place));
        made.push(match (&plan, is_wanted) {
            (_, false) => Made::Nothing,
            (None, true) => Made::Bytes(out(Some(&path(args, &source.name, "bin")))?),
            (Some(plan), true) => {
                let planned = plan
                    .sources
                    .iter()
                    .find(|planned| planned.name == source.name);
                let planned = planned.ok_or_else(|| {
                    usage(format!("the configuration has no source `{}`", source.name))
                })?;
                Made::Frames(Box::new(frames(args, &capture, planned)?))
            }
        });
    }
    let mut rows = vec![0_u64; made.len()];
    let mut damage = capture.damage().to_vec();
    let bar = progress("exporting", capture.chunk_bytes());
    let mut entries = capture.entries(selection);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        follow(&mut entries, &bar, &mut damage);
        let Some(source) = entry.source else { continue };
        match &mut made[source] {
            Made::Nothing => {}
            Made::Bytes(out) => {
                if let What::Read(bytes) = entry.what {
                    rows[source] += bytes.len() as u64;
                    out.write_all(&bytes).context("cannot write the bytes")?;
                }
            }
            Made::Frames(frames) => {
                frames.decoded.take(entry.time_ns, &entry.what);
                rows[source] += frames.write()?;
            }
        }
    }
    follow(&mut entries, &bar, &mut damage);
    bar.finish_and_clear();
    let mut told = Vec::new();
    let mut lines = Vec::new();
    let named = capture.described().sources.iter().zip(rows);
    for ((source, count), made) in named.zip(&mut made) {
        let what = match made {
            Made::Nothing => continue,
            Made::Bytes(out) => {
                out.flush().context("cannot write the bytes")?;
                told.push(json!({ "source": source.name, "bytes": count }));
                "bytes"
            }
            Made::Frames(frames) => {
                let counts = frames.decoded.counts().snapshot();
                frames.sink.finish()?;
                told.push(json!({
                    "source": source.name,
                    "frames": count,
                    "corrupt_frames": counts.corrupt_frames,
                    "skipped_bytes": counts.skipped_bytes,
                }));
                "frames"
            }
        };
        lines.push(format!("{}: {count} {what}", source.name));
    }
    written(args.json, &json!({ "sources": told }), &lines.join("\n"))?;
    complete(&damage)
}

fn path(args: &Args, source: &str, end: &str) -> PathBuf {
    // A name that another program put into the capture stays within the directory.
    let safe = source.replace(['/', '\\', '\0'], "_").replace("..", "_");
    args.output.join(format!("{safe}.{end}"))
}

fn plan(args: &Args, capture: &Capture) -> Result<Plan, Failure> {
    let plan = match &args.config {
        Some(path) => config::load(path),
        None => config::parse(
            "the capture's configuration",
            &capture.described().configuration,
        ),
    };
    plan.map_err(|mistakes| Failure::Usage(render(&mistakes)))
}

fn frames(args: &Args, capture: &Capture, source: &Source) -> Result<Frames, Failure> {
    let decoded = Decoded::new(source).map_err(usage)?;
    let columns: Vec<Column> = source
        .channels
        .iter()
        .map(|channel| Column {
            name: channel.name.clone(),
            unit: channel.unit.clone(),
            calibration: if channel.calibration.is_none() {
                String::new()
            } else {
                format!("{:?}", channel.calibration)
            },
            is_count: false,
        })
        .collect();
    let sink: Box<dyn Sink> = match args.format {
        Format::Csv => {
            let out = out(Some(&path(args, &source.name, "csv")))?;
            Box::new(Csv::begin(out, args.time, columns)?)
        }
        Format::Parquet => {
            let out = out(Some(&path(args, &source.name, "parquet")))?;
            let about = HashMap::from([
                (
                    "kymo.version".to_owned(),
                    env!("CARGO_PKG_VERSION").to_owned(),
                ),
                ("kymo.run".to_owned(), capture.described().run.clone()),
            ]);
            Box::new(Columnar::begin(out, Kind::Parquet, &columns, about)?)
        }
    };
    Ok(Frames { decoded, sink })
}

impl Frames {
    /// Writes what is ready; returns how many rows.
    fn write(&mut self) -> anyhow::Result<u64> {
        let mut rows = 0;
        while let Some(block) = self.decoded.next_block() {
            let count = block.frames.len();
            let times_ns: Vec<i64> = (0..count).map(|frame| block.time_ns(frame)).collect();
            let columns = 0..block.frames.channels();
            self.sink.write(&Batch {
                times_ns: &times_ns,
                cells: columns
                    .map(|column| Cells::All(block.frames.column(column)))
                    .collect(),
            })?;
            rows += count as u64;
        }
        Ok(rows)
    }
}
