//! `kymo query`: samples, or statistics of them, out of segments and the journal's tail.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{DataArgs, Failure, note, parse_duration};
use crate::store::read::Range;

mod bins;
pub(super) mod columnar;
mod reading;
pub(super) mod select;
pub(super) mod sink;
mod stat;
pub(super) mod times;

use bins::Bins;
use columnar::{Columnar, Kind};
use reading::{Reading, Then, Total};
use select::{Column, Selection};
use sink::{Batch, Cells, Csv, JsonLines, Out, Sink, Table};
use stat::Stat;

/// Shows or writes samples, or statistics of them over bins of time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One row a frame, one column a channel; a cell is empty where a row's lane has no such channel. Lanes come one after \
another, by time within a lane. What is acquired now is found too: `--from -1s` while a run goes on.\n\n\
With --every there is one row a bin, by time; bins begin at multiples of it since 1970, and the first and the last may \
be cut by the range. Columns are `source.channel.statistic`. Statistics: count, mean, min, max, first, last, sum, std \
(of a sample), and percentiles p1 to p99.9, which are within 0.1 % of the value at that rank. NaN is left out of \
them.\n\n\
Examples:\n  \
kymo query 'imu.a*' --from -10s                         the last ten seconds\n  \
kymo query furnace.wall --every 1s --stat mean,p99      a row a second\n  \
kymo query vibration.velocity --run last --format parquet -o vibration.parquet\n  \
kymo query chamber.pressure --from -1m --format jsonl   for other programs")]
pub(super) struct Args {
    /// Channels as `source.channel`; `*` and `?` stand for any text and any character. All, if none is given.
    #[arg(value_name = "CHANNEL")]
    channels: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// A row for each bin of this length, as in `1s`, instead of one for each frame.
    #[arg(long, value_name = "DURATION", value_parser = parse_every)]
    every: Option<Duration>,
    /// The statistics of a bin, with commas between.
    #[arg(long, value_name = "STAT", value_delimiter = ',', value_parser = Stat::parse, requires = "every",
        default_value = "mean,min,max")]
    stat: Vec<Stat>,
    /// How rows are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write into this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Say on standard error how much was read, and how long it took.
    #[arg(long)]
    stats_io: bool,
    /// Say the same as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Which times and which run.
#[derive(Debug, clap::Args)]
pub(super) struct RangeArgs {
    /// From this time on: `2026-11-23T08:00:00Z`, or back from now: `-10m`.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    from: Option<i64>,
    /// Up to this time, itself excluded.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    to: Option<i64>,
    /// Only this run: its name, or `last`.
    #[arg(long, value_name = "RUN")]
    pub(super) run: Option<String>,
    /// How times are written.
    #[arg(long, value_enum, default_value_t = times::Form::Rfc3339)]
    pub(super) time: times::Form,
}

impl RangeArgs {
    pub(super) fn range(&self) -> Range {
        Range {
            from_ns: self.from.unwrap_or(i64::MIN),
            to_ns: self.to.unwrap_or(i64::MAX),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns, for people; some rows, or all into a file.
    Table,
    /// Numbers are the shortest that read back as the very same value.
    Csv,
    /// One JSON object a line; NaN and infinities are text.
    Jsonl,
    /// A file for pandas, polars and other readers of Parquet.
    Parquet,
    /// An Arrow IPC file, also known as Feather.
    Arrow,
}

/// Rows of a table on standard output at most.
const TABLE_ROWS: usize = 40;

fn parse_every(text: &str) -> Result<Duration, String> {
    let every = parse_duration(text)?;
    if every.is_zero() || i64::try_from(every.as_nanos()).is_err() {
        return Err("a bin is longer than 0 and at most some centuries".to_owned());
    }
    Ok(every)
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let selection = select::select(
        select::open(&args.data)?,
        args.range.run.as_deref(),
        &args.channels,
    )?;
    let request = Request {
        selection: &selection,
        range: args.range.range(),
        time: args.range.time,
        every: args.every.map(|every| (every, args.stat.as_slice())),
        format: args.format,
        output: args.output.as_deref(),
    };
    let started = Instant::now();
    let Some(total) = samples(&request)? else {
        return Ok(());
    };
    if args.json {
        note(total.json(started.elapsed()));
    } else if args.stats_io {
        note(total.text(started.elapsed()));
    }
    total.complete()
}

/// What is to be written, and how.
pub(super) struct Request<'a> {
    pub(super) selection: &'a Selection,
    pub(super) range: Range,
    pub(super) time: times::Form,
    /// Bins and their statistics.
    pub(super) every: Option<(Duration, &'a [Stat])>,
    pub(super) format: Format,
    pub(super) output: Option<&'a Path>,
}

/// Writes samples. `None`: whoever reads them has seen enough.
pub(super) fn samples(request: &Request<'_>) -> Result<Option<Total>, Failure> {
    let is_binary = matches!(request.format, Format::Parquet | Format::Arrow);
    if is_binary && request.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "error: this is nothing for a terminal; name a file with --output".to_owned(),
        ));
    }
    match write(request) {
        Ok(total) => Ok(Some(total)),
        Err(error) if is_broken_pipe(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write(request: &Request<'_>) -> anyhow::Result<Total> {
    let selection = request.selection;
    let bins = request.every.map(|(every, stats)| {
        let every_ns = i64::try_from(every.as_nanos()).unwrap_or(i64::MAX);
        Bins::new(every_ns, distinct(stats), selection.columns.len())
    });
    let columns = bins.as_ref().map_or_else(
        || selection.columns.clone(),
        |bins| bins.columns(&selection.columns),
    );
    let mut sink = begin(request, columns)?;
    let reading = Reading {
        selection,
        range: request.range,
        // Rows on a terminal show the progress themselves.
        with_progress: request.output.is_some() || request.every.is_some(),
    };
    let total = match bins {
        Some(mut bins) => {
            let mut total = reading.read(|part, rows| {
                if let Some(rows) = rows {
                    bins.push(&part.outputs, rows)?;
                }
                Ok(Then::GoOn)
            })?;
            sink.begin_part();
            total.rows_written = bins.write(sink.as_mut())?;
            total
        }
        None => reading.read(|part, rows| {
            let Some(rows) = rows else {
                sink.begin_part();
                return Ok(Then::GoOn);
            };
            let mut cells = vec![Cells::None; selection.columns.len()];
            for (place, values) in part.outputs.iter().zip(&rows.columns) {
                cells[*place] = Cells::All(values);
            }
            let times_ns = &rows.times_ns;
            sink.write(&Batch { times_ns, cells })?;
            let more = sink.wants_more();
            Ok(if more { Then::GoOn } else { Then::NextPart })
        })?,
    };
    sink.finish()?;
    Ok(total)
}

/// Each statistic once: a column's name stands for one column.
fn distinct(stats: &[Stat]) -> Vec<Stat> {
    let mut distinct: Vec<Stat> = Vec::new();
    for stat in stats {
        if distinct.iter().all(|known| known.name() != stat.name()) {
            distinct.push(stat.clone());
        }
    }
    distinct
}

/// Opens where rows go.
pub(super) fn out(output: Option<&Path>) -> anyhow::Result<Out> {
    let out: Out = match output {
        Some(path) => Box::new(
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
        ),
        None => Box::new(io::stdout()),
    };
    Ok(Box::new(BufWriter::with_capacity(256 << 10, out)))
}

fn begin(request: &Request<'_>, columns: Vec<Column>) -> anyhow::Result<Box<dyn Sink>> {
    let (time, out) = (request.time, out(request.output)?);
    let rows_max = match (request.output, request.every) {
        (Some(_), _) => None,
        (None, Some(_)) => Some(TABLE_ROWS),
        // Something of every lane.
        (None, None) => Some((TABLE_ROWS / request.selection.parts.len().max(1)).max(4)),
    };
    Ok(match request.format {
        Format::Table => Box::new(Table::new(out, time, columns, rows_max)),
        Format::Csv => Box::new(Csv::begin(out, time, columns)?),
        Format::Jsonl => Box::new(JsonLines::begin(out, time, columns)?),
        Format::Parquet => {
            let about = about(request);
            Box::new(Columnar::begin(out, Kind::Parquet, &columns, about)?)
        }
        Format::Arrow => {
            let about = about(request);
            Box::new(Columnar::begin(out, Kind::Arrow, &columns, about)?)
        }
    })
}

/// What a file says of itself.
fn about(request: &Request<'_>) -> HashMap<String, String> {
    let runs = request.selection.runs.iter();
    let runs: Vec<&str> = runs.map(|run| run.record.run.as_str()).collect();
    let mut about = HashMap::from([
        (
            "kymo.version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        ("kymo.run".to_owned(), runs.join(",")),
    ]);
    if let Some((every, _)) = request.every {
        about.insert("kymo.every_ns".to_owned(), every.as_nanos().to_string());
    }
    about
}

/// Whether an error comes of nobody reading any more.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
