//! What would have fired, drawn: the channels, the alerts below them, and a line for each rule.

use std::io::IsTerminal;

use super::super::plot::bins::Bins;
use super::super::plot::braille;
use super::super::plot::picture::{Mark, Picture, Series};
use super::super::{Failure, say};
use super::test::span;
use crate::config::plan::Plan;
use crate::pipeline::Names;
use crate::rehearsal::{CaptureMaterial, Episode, Material as _, Outcome};
use crate::store::read::{Archive, Range, Run, find};

/// Channels in one picture at most.
const SERIES_MAX: usize = 8;
const COLUMNS: u16 = 100;
const LINES: u16 = 25;

/// The channels that are drawn: of rules that fired first; of all if none did.
pub(super) fn channels(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let names = Names::of_plan(plan);
    let mut channels: Vec<String> = Vec::new();
    for fired in [true, false] {
        for (place, rule) in names.rules.iter().enumerate() {
            let is_new = !channels.contains(&rule.channel);
            let has_fired = !outcome.episodes[place].is_empty();
            if has_fired == fired && is_new && channels.len() < SERIES_MAX {
                channels.push(rule.channel.clone());
            }
        }
    }
    channels
}

/// What the store has of some channels.
pub(super) fn of_store(
    channels: &[String],
    (archive, runs, range): (&Archive, &[Run], Range),
) -> Result<Vec<Series>, Failure> {
    let mut series: Vec<Series> = Vec::new();
    for run in runs {
        for lane in find(run, |name| channels.iter().any(|channel| channel == name)) {
            read(archive, (run, range), &lane, &mut series)?;
        }
    }
    Ok(series)
}

/// What a capture has of some channels.
pub(super) fn of_capture(
    channels: &[String],
    plan: &Plan,
    material: &mut CaptureMaterial<'_>,
) -> Result<Vec<Series>, Failure> {
    let mut series: Vec<Series> = Vec::new();
    while let Some(act) = material.next_act()? {
        // Of each of the capture's channels, by lane: its series, if it is drawn.
        let mut places: Vec<Vec<Option<usize>>> = Vec::new();
        for lane in &act.lanes {
            let place = |(source, channel): &(usize, usize)| {
                let source = &plan.sources[*source];
                let channel = &source.channels[*channel];
                let name = format!("{}.{}", source.name, channel.name);
                channels.contains(&name).then(|| {
                    series.push(Series {
                        name,
                        unit: channel.unit.clone(),
                        bins: Bins::default(),
                        breaks: Vec::new(),
                    });
                    series.len() - 1
                })
            };
            places.push(lane.iter().map(place).collect());
        }
        while let Some(piece) = material.next_piece()? {
            for (place, column) in places[piece.lane].iter().zip(&piece.columns) {
                let Some(place) = place else { continue };
                for (time_ns, value) in piece.times_ns.iter().zip(column) {
                    series[*place].bins.push(*time_ns, *value);
                }
            }
        }
    }
    Ok(series)
}

pub(super) fn draw(plan: &Plan, outcome: &Outcome, series: Vec<Series>) {
    let Some((from_ns, last_ns)) = outcome.span_ns else {
        say("nothing was recorded of the channels that these rules look at");
        return;
    };
    let to_ns = last_ns.saturating_add(1);
    let marks = outcome.episodes.iter().enumerate();
    let marks = marks.flat_map(|(rule, episodes)| {
        episodes.iter().map(move |episode| Mark {
            from_ns: episode.fired_ns,
            to_ns: episode.fired_ns,
            is_alert: true,
            text: format!(
                "{} ({}) for {}",
                plan.rules[rule].name,
                plan.rules[rule].severity.name(),
                span(episode.seconds)
            ),
        })
    });
    let picture = Picture {
        from_ns,
        to_ns,
        series,
        marks: marks.collect(),
    };
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    say(braille::draw(&picture, COLUMNS, LINES, colours));
    let width = plan
        .rules
        .iter()
        .map(|rule| rule.name.chars().count())
        .max();
    let width = width.unwrap_or(0);
    for (place, rule) in plan.rules.iter().enumerate() {
        let bar = bar(
            &outcome.episodes[place],
            (from_ns, to_ns),
            usize::from(COLUMNS) - width - 2,
        );
        say(format!("{:<width$}  {bar}", rule.name));
    }
}

fn read(
    archive: &Archive,
    (run, range): (&Run, Range),
    lane: &crate::store::read::Lane,
    series: &mut Vec<Series>,
) -> Result<(), Failure> {
    let record = &run.record.sources[lane.source].lanes[lane.lane];
    let mut places = Vec::new();
    for (name, column) in lane.names.iter().zip(&lane.columns) {
        let unit = &record.channels[*column].unit;
        let known = series
            .iter()
            .position(|s| s.name == *name && s.unit == *unit);
        places.push(known.unwrap_or_else(|| {
            series.push(Series {
                name: name.clone(),
                unit: unit.clone(),
                bins: Bins::default(),
                breaks: Vec::new(),
            });
            series.len() - 1
        }));
    }
    let mut rows = archive.read(run, lane, range)?;
    let mut is_first = true;
    while let Some(rows) = rows.next()? {
        for (place, column) in places.iter().zip(&rows.columns) {
            let series = &mut series[*place];
            if is_first {
                // Between two runs nothing was recorded.
                let before = series.bins.span().map(|(_, last_ns)| last_ns);
                series
                    .breaks
                    .extend(before.zip(rows.times_ns.first().copied()));
            }
            for (time_ns, value) in rows.times_ns.iter().zip(column) {
                series.bins.push(*time_ns, *value);
            }
        }
        is_first = false;
    }
    Ok(())
}

/// A rule over time: `█` where it is an alert.
fn bar(episodes: &[Episode], (from_ns, to_ns): (i64, i64), width: usize) -> String {
    let span = i128::from(to_ns) - i128::from(from_ns);
    let cell = |time_ns: i64| {
        let at = (i128::from(time_ns) - i128::from(from_ns)) * width as i128 / span.max(1);
        usize::try_from(at)
            .unwrap_or(0)
            .min(width.saturating_sub(1))
    };
    let mut cells = vec!['·'; width];
    for episode in episodes {
        let end = cell(episode.cleared_ns.unwrap_or(to_ns));
        for c in &mut cells[cell(episode.fired_ns)..=end.max(cell(episode.fired_ns))] {
            *c = '█';
        }
    }
    cells.into_iter().collect()
}
