//! `kymo plot`: channels over time, in the terminal or as SVG.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use glob::Pattern;

use super::query::times;
use super::{DataArgs, Failure, note, say};
use crate::store::EventRow;
use crate::store::read::{self, Archive, Lane, Range, Run};

pub(in crate::cli) mod bins;
pub(in crate::cli) mod braille;
pub(in crate::cli) mod picture;
mod svg;

use bins::{Bins, COLUMNS_MAX};
use picture::{Mark, Picture, Series};

/// Channels in one picture at most.
const SERIES_MAX: usize = 32;

/// Draws channels over time: in the terminal, or as SVG.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every column shows the lowest and the highest value in it, so that no peak is lost. Channels of one unit share an \
axis; alerts (!) and gaps (~) stand below. Without --run, --from and --to the last run is drawn.\n\n\
Examples:\n  \
kymo plot chamber.pressure                    the last run\n  \
kymo plot 'imu.a*' --from -10m                three channels, the last ten minutes\n  \
kymo plot furnace.heater -o heater.svg        for a report")]
pub(super) struct Args {
    /// Channels as `source.channel`; `*` and `?` stand for any text and any character.
    #[arg(required = true, value_name = "CHANNEL")]
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
    /// Characters in a line; pixels of an SVG. 100, or 1000.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(20..=COLUMNS_MAX as i64))]
    width: Option<u16>,
    /// Lines; pixels of an SVG. 25, or 600.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(7..))]
    height: Option<u16>,
    /// Write SVG into this file.
    #[arg(long, short, value_name = "FILE.svg")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let data_dir = args.data.data_dir()?;
    crate::data_dir::readable(&data_dir).map_err(|error| usage(&error.to_string()))?;
    let archive = Archive::open(&data_dir)?;
    let runs = wanted_runs(args, archive.runs()?)?;
    let patterns = args.channels.iter().map(|pattern| {
        Pattern::new(pattern).map_err(|error| usage(&format!("`{pattern}` is no pattern: {error}")))
    });
    let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>()?;
    check(&patterns, &runs)?;

    let range = Range {
        from_ns: args.from.unwrap_or(i64::MIN),
        to_ns: args.to.unwrap_or(i64::MAX),
    };
    let mut found = Found::default();
    for run in &runs {
        let lanes = read::find(run, |name| patterns.iter().any(|p| p.matches(name)));
        if !lanes.is_empty() {
            found.run(&archive, run, &lanes, range)?;
        }
    }
    if found.lost_records > 0 {
        note(format!(
            "{} records of the journal are damaged or missing, and are not in the picture; `kymo audit` says where",
            found.lost_records
        ));
    }
    let picture = found.picture(args)?;
    match &args.output {
        Some(path) => {
            let svg = svg::draw(
                &picture,
                args.width.unwrap_or(1000),
                args.height.unwrap_or(600),
            );
            std::fs::write(path, svg)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => say(braille::draw(
            &picture,
            args.width.unwrap_or(100).min(COLUMNS_MAX as u16 / 2),
            args.height.unwrap_or(25),
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        )),
    }
    Ok(())
}

fn usage(text: &str) -> Failure {
    Failure::Usage(format!("error: {text}"))
}

fn wanted_runs(args: &Args, mut runs: Vec<Run>) -> Result<Vec<Run>, Failure> {
    let is_last = args.run.is_none() && args.from.is_none() && args.to.is_none();
    match args.run.as_deref() {
        Some("last") => {}
        None if is_last => {}
        None => return Ok(runs),
        Some(name) => {
            let names: Vec<String> = runs.iter().map(|run| run.record.run.clone()).collect();
            runs.retain(|run| run.record.run == name);
            if runs.is_empty() {
                let known = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                return Err(usage(&format!(
                    "there is no run `{name}`; there are {known}"
                )));
            }
        }
    }
    Ok(runs.pop().into_iter().collect())
}

/// Every pattern names a channel, and there are not too many.
fn check(patterns: &[Pattern], runs: &[Run]) -> Result<(), Failure> {
    let mut all: Vec<String> = Vec::new();
    for lane in runs.iter().flat_map(|run| read::find(run, |_| true)) {
        for name in lane.names {
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    for pattern in patterns {
        if !all.iter().any(|name| pattern.matches(name)) {
            let known = if all.is_empty() {
                "none".to_owned()
            } else {
                all.join(", ")
            };
            return Err(usage(&format!(
                "no channel is called `{pattern}`; there are {known}"
            )));
        }
    }
    let wanted = |name: &&String| patterns.iter().any(|pattern| pattern.matches(name));
    let count = all.iter().filter(wanted).count();
    if count > SERIES_MAX {
        return Err(usage(&format!(
            "{count} channels are more than a picture can show: {SERIES_MAX}"
        )));
    }
    Ok(())
}

/// What was read.
#[derive(Default)]
struct Found {
    series: Vec<Series>,
    marks: Vec<Mark>,
    lost_records: u64,
}

impl Found {
    fn run(
        &mut self,
        archive: &Archive,
        run: &Run,
        lanes: &[Lane],
        range: Range,
    ) -> Result<(), Failure> {
        let events = archive.events(run, range)?;
        for lane in lanes {
            let source = &run.record.sources[lane.source];
            let record = &source.lanes[lane.lane];
            let places: Vec<usize> = lane
                .names
                .iter()
                .zip(&lane.columns)
                .map(|(name, column)| self.place(name, &record.channels[*column].unit))
                .collect();
            let is_gap = |row: &&EventRow| {
                row.event == "gap"
                    && row.source.as_deref() == Some(&source.name)
                    && row.priority.as_deref() == Some(record.label())
            };
            let gaps: Vec<(i64, i64)> = events
                .iter()
                .filter(is_gap)
                .map(|row| (row.time_ns, row.to_ns.unwrap_or(row.time_ns)))
                .collect();
            let mut rows = archive.read(run, lane, range)?;
            let mut is_first = true;
            while let Some(rows) = rows.next()? {
                for (place, column) in places.iter().zip(&rows.columns) {
                    let series = &mut self.series[*place];
                    if is_first {
                        // Between two runs nothing was recorded.
                        let before = series.bins.span().map(|(_, last_ns)| last_ns);
                        series
                            .breaks
                            .extend(before.zip(rows.times_ns.first().copied()));
                        series.breaks.extend_from_slice(&gaps);
                    }
                    for (time_ns, value) in rows.times_ns.iter().zip(column) {
                        series.bins.push(*time_ns, *value);
                    }
                }
                is_first = false;
            }
            self.lost_records += rows.amount().lost_records;
        }
        self.marks(run, lanes, &events);
        Ok(())
    }

    /// The place of a channel; one whose unit was changed is another.
    fn place(&mut self, name: &str, unit: &str) -> usize {
        let known = self
            .series
            .iter()
            .position(|s| s.name == name && s.unit == unit);
        known.unwrap_or_else(|| {
            self.series.push(Series {
                name: name.to_owned(),
                unit: unit.to_owned(),
                bins: Bins::default(),
                breaks: Vec::new(),
            });
            self.series.len() - 1
        })
    }

    /// Alerts of the channels, and gaps of their lanes.
    fn marks(&mut self, run: &Run, lanes: &[Lane], events: &[EventRow]) {
        let has_channel = |row: &EventRow| {
            let names = lanes.iter().flat_map(|lane| &lane.names);
            row.channel
                .as_ref()
                .is_some_and(|channel| names.clone().any(|n| n == channel))
        };
        let has_lane = |row: &EventRow| {
            lanes.iter().any(|lane| {
                let source = &run.record.sources[lane.source];
                row.source.as_deref() == Some(&source.name)
                    && row.priority.as_deref() == Some(source.lanes[lane.lane].label())
            })
        };
        for row in events {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            if row.event == "alert" && row.change.as_deref() == Some("fired") && has_channel(row) {
                let value = row
                    .value
                    .map_or_else(String::new, |value| format!(" at {value}"));
                self.marks.push(Mark {
                    from_ns: row.time_ns,
                    to_ns: row.time_ns,
                    is_alert: true,
                    text: format!("alert {} ({}){value}", text(&row.rule), text(&row.severity)),
                });
            } else if row.event == "gap" && has_lane(row) {
                let frames = row
                    .frames
                    .map_or_else(String::new, |n| format!(", {n} frames"));
                self.marks.push(Mark {
                    from_ns: row.time_ns,
                    to_ns: row.to_ns.unwrap_or(row.time_ns),
                    is_alert: false,
                    text: format!(
                        "gap of {}: {}{frames}",
                        text(&row.source),
                        text(&row.reason)
                    ),
                });
            }
        }
    }

    fn picture(mut self, args: &Args) -> Result<Picture, Failure> {
        let spans: Vec<(i64, i64)> = self.series.iter().filter_map(|s| s.bins.span()).collect();
        let first = spans.iter().map(|span| span.0).min();
        let last = spans.iter().map(|span| span.1).max();
        let (Some(first), Some(last)) = (first, last) else {
            return Err(Failure::Running(anyhow::anyhow!(
                "these channels have no values in this range"
            )));
        };
        for series in &mut self.series {
            series.breaks.sort_unstable();
        }
        let from_ns = args.from.unwrap_or(first);
        let to_ns = args
            .to
            .unwrap_or(last.saturating_add(1))
            .max(from_ns.saturating_add(1));
        Ok(Picture {
            from_ns,
            to_ns,
            series: self.series,
            marks: self.marks,
        })
    }
}
