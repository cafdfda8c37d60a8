//! `kymo backfill`: sends what is stored to a sink.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::query::select;
use super::query::times;
use super::sink::find;
use super::{ConfigArgs, Failure, load_plan, note, say};
use crate::clock::Clock;
use crate::sink::batch::{Batch, Counts, Lines};
use crate::sink::courier::{Courier, Stream};
use crate::sink::dead_letter::DeadLetters;
use crate::sink::influx::lanes::lane_lines;
use crate::sink::influx::line::LineWriter;
use crate::sink::pace::Pace;
use crate::sink::{Kind, SinkOptions};
use crate::store::read::{Archive, Range, Rows, Run, find as find_lanes};

/// Sends what is stored to a sink: a range of time that it missed, or that came before it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What the sink's configuration selects is sent, out of the store and the journal's tail, also while a run goes on; events are \
not. A point that was there before is overwritten by the same value. The sink's own place in the journal is not moved.\n\n\
Examples:\n  \
kymo backfill lab --from 2026-11-23T08:00:00Z --to 2026-11-23T09:00:00Z\n  \
kymo backfill lab --from -2h")]
pub(super) struct Args {
    /// Which sink.
    name: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// From this time on: `2026-11-23T08:00:00Z`, or back from now: `-10m`. Without it: from the beginning.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    from: Option<i64>,
    /// Up to this time, itself excluded.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    to: Option<i64>,
    /// Only this run: its name, or `last`.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Give up when nothing was accepted for so long.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = super::parse_duration)]
    patience: Duration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Rows made into lines at once: a batch holds some thousands.
const ROWS: usize = 2048;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let plan = load_plan(&args.config)?;
    let sink = find(&plan.sinks, &args.name)?;
    let archive = Archive::open(&plan.data_dir).map_err(|error| match error {
        crate::store::Error::DataDir(error) => Failure::Usage(format!("error: {error}")),
        error => error.into(),
    })?;
    let runs = select::runs(&archive, args.run.as_deref())?;
    let range = Range {
        from_ns: args.from.unwrap_or(i64::MIN),
        to_ns: args.to.unwrap_or(i64::MAX),
    };
    let destination = sink
        .kind
        .destination()
        .map_err(|what| Failure::Usage(format!("error: sink `{}`: {what}", sink.name)))?;
    let pace = Pace::new(sink.pace, fastrand::u64(..));
    let dead = DeadLetters::new(&plan.data_dir, &sink.name);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut backfill = Backfill {
        courier: Courier::new(destination, pace, sink.pace.in_flight_max, dead),
        sink,
        runtime,
        clock: Clock::system(),
        started: Instant::now(),
        accepted: Instant::now(),
        patience: args.patience,
        counts: Counts::default(),
        lines: Lines::default(),
        bar: bar(&archive, &runs, range, args.json)?,
        number: 0,
    };
    for run in &runs {
        backfill.run(&archive, run, range)?;
    }
    backfill.flush()?;
    backfill.bar.finish_and_clear();
    let counts = backfill.counts;
    if args.json {
        say(serde_json::to_string_pretty(&json!({
            "sink": sink.name,
            "written": counts.written,
            "rejected": counts.rejected,
            "not_selected": counts.not_selected,
            "not_finite": counts.not_finite,
        }))?);
    } else {
        say(format!(
            "{} samples written to {}, {} rejected, {} not finite, {} left out by `decimate`",
            counts.written,
            backfill.courier.place(),
            counts.rejected,
            counts.not_finite,
            counts.not_selected
        ));
    }
    if counts.rejected > 0 {
        note(format!(
            "`kymo sink dead-letters {}` says why some were rejected",
            sink.name
        ));
    }
    Ok(())
}

/// A bar over the rows of all runs, in a terminal.
fn bar(archive: &Archive, runs: &[Run], range: Range, json: bool) -> Result<ProgressBar, Failure> {
    if json || !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let mut rows = 0;
    for run in runs {
        let lanes = archive.overview(run)?.lanes;
        // As if rows came evenly between the first and the last time.
        rows += lanes
            .iter()
            .map(|lane| rows_within(lane.rows, lane.times_ns, range))
            .sum::<u64>();
    }
    let style =
        ProgressStyle::with_template("{wide_bar} {pos}/{len} rows, {per_sec}, {eta} left {msg}");
    let bar = ProgressBar::new(rows);
    Ok(style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style)))
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn rows_within(rows: u64, times_ns: Option<(i64, i64)>, range: Range) -> u64 {
    let Some((first, last)) = times_ns else {
        return 0;
    };
    let (from, to) = (first.max(range.from_ns), last.min(range.to_ns));
    if from > to {
        return 0;
    }
    let share = (to as f64 - from as f64) / (last as f64 - first as f64).max(1.0);
    (rows as f64 * share) as u64
}

struct Backfill<'s> {
    courier: Courier,
    sink: &'s SinkOptions,
    runtime: tokio::runtime::Runtime,
    clock: Clock,
    started: Instant,
    /// When anything landed last.
    accepted: Instant,
    patience: Duration,
    counts: Counts,
    lines: Lines,
    bar: ProgressBar,
    /// Of batches.
    number: u64,
}

impl Backfill<'_> {
    fn run(&mut self, archive: &Archive, run: &Run, range: Range) -> Result<(), Failure> {
        let Kind::Influx(options) = &self.sink.kind;
        let mut writer = LineWriter::new(options.precision);
        let wants = |name: &str| {
            let (source, channel) = name.split_once('.').unwrap_or((name, ""));
            self.sink.selection.wants_channel(source, channel)
        };
        for lane in find_lanes(run, wants) {
            let source = &run.record.sources[lane.source];
            let record = &source.lanes[lane.lane];
            // Columns as the rows have them: those that are wanted, one behind the other.
            let record = crate::run_record::LaneRecord {
                channels: lane
                    .columns
                    .iter()
                    .map(|place| record.channels[*place].clone())
                    .collect(),
                ..record.clone()
            };
            let selection = &self.sink.selection;
            let lines = lane_lines(&run.record, source, &record, options, selection, &|_| true);
            if lines.columns == 0 {
                continue;
            }
            let mut rows = archive.read(run, &lane, range)?;
            let mut row: u64 = 0;
            while let Some(rows) = rows.next()? {
                for from in (0..rows.times_ns.len()).step_by(ROWS) {
                    let to = (from + ROWS).min(rows.times_ns.len());
                    // Rows have no numbers of their own: a decimation begins with the first.
                    let kept = (from..to)
                        .filter(|at| (row + *at as u64).is_multiple_of(lines.every.max(1)));
                    let written = writer.frames(
                        &lines.series,
                        &rows.times_ns,
                        |c| &rows.columns[c],
                        kept,
                        &mut self.lines,
                    );
                    let all = ((to - from) * lane.columns.len()) as u64;
                    self.counts.not_finite += written.not_finite;
                    self.counts.not_selected += all - written.samples - written.not_finite;
                    if self.lines.text.len() >= self.courier.batch_bytes() {
                        self.hand_over()?;
                    }
                    self.bar.inc((to - from) as u64);
                }
                row += rows_of(&rows);
            }
        }
        Ok(())
    }

    /// Hands a batch to the courier, and waits until there is room for another.
    fn hand_over(&mut self) -> Result<(), Failure> {
        self.number += 1;
        let mut rest = self.lines.take();
        while rest.lines() > 0 {
            let (front, back) = rest.cut_front(self.courier.batch_bytes());
            rest = back;
            let records = (rest.lines() == 0).then_some((self.number, self.number));
            let batch = Batch {
                body: front,
                records,
                ..Batch::default()
            };
            self.courier.push(Stream::Live, batch);
            while !self.courier.has_room(Stream::Live) {
                self.step()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.hand_over()?;
        while !self.courier.is_empty() {
            self.step()?;
        }
        Ok(())
    }

    /// Sends, and waits for an answer or until something may be sent.
    fn step(&mut self) -> Result<(), Failure> {
        const LOOK: Duration = Duration::from_millis(500);
        let (courier, started) = (&mut self.courier, self.started);
        let answered = self.runtime.block_on(async {
            let next = courier.send(started.elapsed());
            let wait = next.map_or(LOOK, |next| {
                let wait = next.saturating_sub(started.elapsed());
                wait.clamp(Duration::from_millis(1), LOOK)
            });
            tokio::time::timeout(wait, courier.answered()).await
        });
        if let Ok(answered) = answered {
            let now_ns = self.clock.now_ns();
            self.courier.take(answered, self.started.elapsed(), now_ns);
        }
        while let Some(landed) = self.courier.land() {
            self.counts.add(&landed.counts);
            self.accepted = Instant::now();
        }
        match self.courier.trouble() {
            Some(trouble) if trouble.is_denied || self.accepted.elapsed() > self.patience => {
                Err(Failure::Running(anyhow::anyhow!(
                    "{}: {}",
                    self.courier.place(),
                    trouble.what
                )))
            }
            Some(trouble) => {
                self.bar.set_message(trouble.what.clone());
                Ok(())
            }
            None => {
                self.bar.set_message("");
                Ok(())
            }
        }
    }
}

fn rows_of(rows: &Rows) -> u64 {
    rows.times_ns.len() as u64
}
