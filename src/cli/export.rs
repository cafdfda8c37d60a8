//! `kymo export`: the journal as CSV.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;

use super::journal::bar;
use super::{DataArgs, Failure};
use crate::clock::Clock;
use crate::data_dir;
use crate::journal::{self, DecodedBlock, Filter, From, Kind, Next, Reader, Until};

mod columns;
mod times;

use columns::{Columns, Selected};

/// Writes samples, gaps or events of the journal as CSV.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One row a frame, one column a channel; a cell is empty where a row's source has no such channel. Numbers are \
the shortest that read back as the very same value; NaN and inf are written so. Rows come in the order in \
which they were recorded: by time within a source.\n\n\
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
    /// From this time on: `2026-11-23T08:00:00Z`, or back from now: `-10m`.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    from: Option<i64>,
    /// Up to this time, itself excluded.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    to: Option<i64>,
    /// Only this run: its name, or `last`.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = What::Samples)]
    what: What,
    /// How times are written.
    #[arg(long, value_enum, default_value_t = times::Form::Rfc3339)]
    time: times::Form,
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

/// A block waits in queues before it is written, so a record written later can hold earlier times; but not
/// by so much, ns: every queue together is far shorter.
const WRITTEN_LATE_MAX_NS: i64 = 3_600_000_000_000;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let data_dir = args.data.data_dir()?;
    data_dir::readable(&data_dir).map_err(|error| Failure::Usage(format!("error: {error}")))?;
    let dir = data_dir.join(journal::DIR);
    let columns = columns::find(&dir, args.run.as_deref(), &args.channels)?;
    let from = match (args.from, columns.first_seq) {
        (Some(from_ns), first_seq) if first_seq <= 1 => From::Time(from_ns),
        (_, first_seq) => From::Seq(first_seq),
    };
    // While somebody writes, only what is committed is final.
    let until = if data_dir::in_use(&data_dir) {
        Until::Stated
    } else {
        Until::Written
    };
    let kinds = match args.what {
        What::Events => vec![Kind::Run, Kind::Event],
        What::Samples | What::Gaps => vec![Kind::Run, Kind::Block],
    };
    let reader = Reader::open(
        &dir,
        from,
        until,
        Filter {
            kinds: Some(kinds),
            sources: None,
        },
    )?;
    let output: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?,
        ),
        None => Box::new(io::stdout().lock()),
    };
    let mut export = Export {
        what: args.what,
        time: args.time,
        range: args.from.unwrap_or(i64::MIN)..args.to.unwrap_or(i64::MAX),
        columns,
        out: BufWriter::with_capacity(256 << 10, output),
        line: String::new(),
        gaps: 0,
        lost_records: 0,
    };
    let written = export.write(reader, args.output.is_some());
    match written {
        Ok(()) => {}
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    export.close()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

struct Export {
    what: What,
    time: times::Form,
    range: std::ops::Range<i64>,
    columns: Columns,
    out: BufWriter<Box<dyn Write>>,
    line: String,
    /// Gaps met among the samples.
    gaps: u64,
    /// Records that cannot be read.
    lost_records: u64,
}

impl Export {
    fn write(&mut self, mut reader: Reader, with_progress: bool) -> anyhow::Result<()> {
        let bar = if with_progress {
            bar("exporting")
        } else {
            indicatif::ProgressBar::hidden()
        };
        self.header()?;
        let mut block = DecodedBlock::default();
        let mut run: Option<usize> = None;
        let mut records: u32 = 0;
        loop {
            records = records.wrapping_add(1);
            if records.is_multiple_of(1024) {
                let progress = reader.progress();
                bar.set_length(progress.bytes_total);
                bar.set_position(progress.bytes);
            }
            let record = match reader.next()? {
                Next::Record(record) => record,
                Next::Lost(lost) => {
                    self.lost_records += lost.to_seq - lost.from_seq + 1;
                    continue;
                }
                Next::End => break,
            };
            match record.kind {
                Some(Kind::Run) => {
                    run = self.columns.run_of(record.payload);
                    if run.is_none() && self.columns.is_past(record.seq) {
                        break;
                    }
                }
                Some(Kind::Block)
                    if record.t_first_ns.saturating_sub(WRITTEN_LATE_MAX_NS) >= self.range.end =>
                {
                    break;
                }
                Some(Kind::Block) => {
                    if let Some(run) = run
                        && record.t_last_ns >= self.range.start
                        && record.t_first_ns < self.range.end
                    {
                        block.decode(record.payload)?;
                        self.block(run, &block)?;
                    }
                }
                Some(Kind::Event) if run.is_some() && self.range.contains(&record.t_first_ns) => {
                    let text = String::from_utf8_lossy(record.payload);
                    self.event(record.t_first_ns, &text)?;
                }
                _ => {}
            }
        }
        bar.finish_and_clear();
        self.out.flush()?;
        Ok(())
    }

    fn header(&mut self) -> io::Result<()> {
        match self.what {
            What::Samples => {
                self.out.write_all(b"time")?;
                for name in &self.columns.names {
                    write!(self.out, ",{name}")?;
                }
                writeln!(self.out)
            }
            What::Gaps => writeln!(self.out, "source,priority,from,to,frames,reason"),
            What::Events => writeln!(self.out, "time,event,source,text"),
        }
    }

    fn block(&mut self, run: usize, block: &DecodedBlock) -> io::Result<()> {
        let summary = *block.summary();
        let Some(lane) = self.columns.lane(run, summary.source.0, summary.lane) else {
            return Ok(());
        };
        if self.what == What::Gaps {
            for gap in block.gaps() {
                if gap.to_ns < self.range.start || gap.from_ns >= self.range.end {
                    continue;
                }
                self.line.clear();
                self.line.push_str(&lane.source);
                self.line.push(',');
                self.line.push_str(summary.priority.name());
                for time_ns in [gap.from_ns, gap.to_ns] {
                    self.line.push(',');
                    self.time.push(time_ns, &mut self.line);
                }
                let frames = gap
                    .frames
                    .map_or_else(String::new, |frames| frames.to_string());
                writeln!(self.out, "{},{frames},{}", self.line, gap.reason.name())?;
            }
            return Ok(());
        }
        self.gaps += block.gaps().len() as u64;
        for (frame, time_ns) in block.times_ns().iter().enumerate() {
            if !self.range.contains(time_ns) {
                continue;
            }
            self.line.clear();
            self.time.push(*time_ns, &mut self.line);
            push_row(
                &lane.selected,
                block,
                frame,
                self.columns.names.len(),
                &mut self.line,
            );
            self.out.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }

    fn event(&mut self, time_ns: i64, json: &str) -> io::Result<()> {
        if self.what != What::Events {
            return Ok(());
        }
        let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        let text_of = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        self.line.clear();
        self.time.push(time_ns, &mut self.line);
        let source = match value["channel"].as_str() {
            Some(channel) => channel.to_owned(),
            None => text_of("source"),
        };
        let text = if text_of("event") == "alert" {
            format!(
                "{} {}: {} {} (limit {})",
                text_of("rule"),
                text_of("change"),
                value["value"],
                text_of("unit"),
                value["limit"]
            )
        } else {
            text_of("text")
        };
        writeln!(
            self.out,
            "{},{},{source},{}",
            self.line,
            text_of("event"),
            quoted(&text)
        )
    }

    /// Says what a table of values cannot show.
    fn close(mut self) -> Result<(), Failure> {
        self.out.flush()?;
        if self.lost_records > 0 {
            return Err(Failure::Running(anyhow::anyhow!(
                "{} records of the journal are damaged or missing, and are not in the output; `kymo journal verify` says where",
                self.lost_records
            )));
        }
        if self.gaps > 0 {
            super::note(format!(
                "{} gaps among the samples: `kymo export --what gaps` lists them",
                self.gaps
            ));
        }
        Ok(())
    }
}

fn push_row(
    selected: &[Selected],
    block: &DecodedBlock,
    frame: usize,
    columns: usize,
    line: &mut String,
) {
    use std::fmt::Write as _;
    let mut next = 0;
    for place in selected {
        for _ in next..=place.output {
            line.push(',');
        }
        next = place.output + 1;
        // Writing into a string cannot fail.
        let _ = write!(line, "{:?}", block.column(place.column)[frame]);
    }
    for _ in next..columns {
        line.push(',');
    }
    line.push('\n');
}

/// A cell of CSV, RFC 4180.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Now, UTC ns.
fn now_ns() -> i64 {
    Clock::system().now_ns()
}
