//! Ranges: envelopes, spectra, events and gaps, out of memory where that reaches, and out of the store where not.
//!
//! **Always holds.** What would have to be read is bounded in rows; whoever asks for more is told so. Nothing here is called where nothing
//! may wait.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::guard::Refusal;
use super::pyramid::{COLUMNS_MAX, Folding, Pyramid, Series};
use super::scene::Scene;
use super::state::{digits, finite};
use crate::compute::spectrum::{Spectrum, Taper};
use crate::run_record::LaneRecord;
use crate::store::{self, read};

/// Channels of one request at most.
pub(super) const CHANNELS_MAX: usize = 64;
/// Rows read for one request at most: some tenths of a second.
const ROWS_MAX: usize = 50_000_000;
/// Gaps of one answer at most: more than a screen has columns.
const GAPS_MAX: usize = 5000;
/// Samples of a spectrum at most.
const SPECTRUM_MAX: usize = 1 << 16;
/// Samples of a spectrum at least.
const SPECTRUM_MIN: usize = 16;

/// From when to when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
}

fn unprocessable(what: impl Into<String>) -> Refusal {
    Refusal(StatusCode::UNPROCESSABLE_ENTITY, what.into())
}

fn failed(error: &store::Error) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The run, as the store has it.
fn find_run(scene: &Scene) -> Result<(read::Archive, read::Run), Refusal> {
    let archive = read::Archive::open(&scene.setup.data_dir).map_err(|error| failed(&error))?;
    let runs = archive.runs().map_err(|error| failed(&error))?;
    let run = runs
        .into_iter()
        .find(|run| run.record.run == scene.setup.run);
    let run = run.ok_or_else(|| unprocessable("nothing of this run is written down yet"))?;
    Ok((archive, run))
}

/// Has each row of some channels of one lane looked at.
fn rows(
    scene: &Scene,
    channels: &[usize],
    span: Span,
    budget: &mut usize,
    mut look: impl FnMut(&[i64], &[Vec<f64>]),
) -> Result<(), Refusal> {
    let (archive, run) = find_run(scene)?;
    let infos = &scene.setup.channels;
    let first = &infos[channels[0]];
    let lane = read::Lane {
        source: first.source,
        lane: first.place.0,
        columns: channels
            .iter()
            .map(|channel| infos[*channel].place.1)
            .collect(),
        names: channels
            .iter()
            .map(|channel| infos[*channel].name.clone())
            .collect(),
    };
    let range = read::Range {
        from_ns: span.from_ns,
        to_ns: span.to_ns,
    };
    let mut found = archive
        .read(&run, &lane, range)
        .map_err(|error| failed(&error))?;
    while let Some(batch) = found.next().map_err(|error| failed(&error))? {
        *budget = budget.checked_sub(batch.times_ns.len()).ok_or_else(|| {
            unprocessable("too many samples are in this range: ask for a shorter one")
        })?;
        look(&batch.times_ns, &batch.columns);
    }
    Ok(())
}

/// The channels, each lane's together.
fn by_lane(scene: &Scene, channels: &[usize]) -> Vec<Vec<usize>> {
    let mut lanes: Vec<Vec<usize>> = Vec::new();
    let lane_of = |channel: usize| {
        let info = &scene.setup.channels[channel];
        (info.source, info.place.0)
    };
    for &channel in channels {
        match lanes
            .iter_mut()
            .find(|lane| lane_of(lane[0]) == lane_of(channel))
        {
            Some(lane) => lane.push(channel),
            None => lanes.push(vec![channel]),
        }
    }
    // The store gives a lane's columns in their order.
    for lane in &mut lanes {
        lane.sort_by_key(|channel| scene.setup.channels[*channel].place.1);
    }
    lanes
}

pub(super) fn envelopes(
    scene: &Scene,
    channels: &[usize],
    span: Span,
    width: usize,
) -> Result<Vec<(u32, Series)>, Refusal> {
    let width = width.clamp(1, COLUMNS_MAX);
    let span_ns = span.to_ns.saturating_sub(span.from_ns);
    let level = Pyramid::level(span_ns, width);
    let number = |channel: usize| u32::try_from(channel).unwrap_or(u32::MAX);
    let mut found = Vec::with_capacity(channels.len());
    let mut missing = Vec::new();
    for &channel in channels {
        let pyramid = scene.pyramid(channel);
        // In columns a fifth as wide as asked for there is nothing in memory that could be shown.
        let is_fine = span_ns / i64::try_from(width).unwrap_or(1) >= 200_000;
        if is_fine && pyramid.reaches(level, span.from_ns) {
            found.push((
                number(channel),
                pyramid.series(level, span.from_ns, span.to_ns),
            ));
        } else {
            missing.push(channel);
        }
    }
    let mut budget = ROWS_MAX;
    for lane in by_lane(scene, &missing) {
        let mut foldings: Vec<Folding> = lane
            .iter()
            .map(|_| Folding::new(span.from_ns, span.to_ns, width))
            .collect();
        let whole = foldings
            .first()
            .map_or((span.from_ns, span.to_ns), Folding::span_ns);
        let whole = Span {
            from_ns: whole.0,
            to_ns: whole.1,
        };
        rows(scene, &lane, whole, &mut budget, |times_ns, columns| {
            for (folding, column) in foldings.iter_mut().zip(columns) {
                folding.add(times_ns, column);
            }
        })?;
        let series = lane.iter().zip(foldings);
        found.extend(series.map(|(channel, folding)| (number(*channel), folding.finish())));
    }
    Ok(found)
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn spectrum(scene: &Scene, channel: usize, span: Span) -> Result<Value, Refusal> {
    let info = &scene.setup.channels[channel];
    let Some(rate_hz) = info.rate_hz else {
        return Err(unprocessable(format!(
            "the rate of {} is not known: say `rate_hz` of its source",
            info.name
        )));
    };
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let mut budget = ROWS_MAX;
    rows(scene, &[channel], span, &mut budget, |times_ns, columns| {
        times.extend_from_slice(times_ns);
        values.extend_from_slice(&columns[0]);
        let over = values.len().saturating_sub(SPECTRUM_MAX);
        times.drain(..over);
        values.drain(..over);
    })?;
    if values.len() < SPECTRUM_MIN {
        return Err(unprocessable(format!(
            "{} samples are in this range, and {SPECTRUM_MIN} are needed",
            values.len()
        )));
    }
    let mut spectrum = Spectrum::new(values.len(), rate_hz, Taper::Hann);
    if !spectrum.take(values.iter().copied()) {
        return Err(unprocessable(
            "too many values of this range are missing or not finite",
        ));
    }
    let (peak_hz, peak) = spectrum.peak();
    let amplitudes: Vec<Value> = spectrum.amplitudes().map(finite).collect();
    Ok(json!({
        "from_ns": digits(times[0]),
        "to_ns": digits(times[times.len() - 1]),
        "rate_hz": rate_hz,
        "samples": values.len(),
        "step_hz": rate_hz / values.len() as f64,
        "unit": info.unit,
        "amplitude": amplitudes,
        "peak_hz": finite(peak_hz),
        "peak": finite(peak),
    }))
}

/// What happened in a range that is wanted: the newest, and whether that is all.
fn happened(
    scene: &Scene,
    span: Span,
    limit: usize,
    is_wanted: impl Fn(&read::Run, &store::EventRow) -> bool,
) -> Result<(Vec<store::EventRow>, bool), Refusal> {
    let (archive, run) = find_run(scene)?;
    let range = read::Range {
        from_ns: span.from_ns,
        to_ns: span.to_ns,
    };
    archive
        .newest_events(&run, range, limit, |row| is_wanted(&run, row))
        .map_err(|error| failed(&error))
}

pub(super) fn events(scene: &Scene, span: Span, limit: usize) -> Result<Value, Refusal> {
    let (rows, is_complete) = happened(scene, span, limit, |_, row| row.event != "gap")?;
    let of = |row: store::EventRow| {
        let mut event = json!({
            "time_ns": digits(row.time_ns),
            "event": row.event,
            "source": row.source,
            "text": row.text,
        });
        for (key, value) in [
            ("rule", row.rule),
            ("change", row.change),
            ("severity", row.severity),
        ] {
            if let Some(value) = value {
                event[key] = value.into();
            }
        }
        event
    };
    let events: Vec<Value> = rows.into_iter().map(of).collect();
    Ok(json!({ "events": events, "complete": is_complete }))
}

/// What is missing in a channel's lane.
pub(super) fn gaps(scene: &Scene, channel: usize, span: Span) -> Result<Value, Refusal> {
    let info = &scene.setup.channels[channel];
    let is_of = |run: &read::Run, row: &store::EventRow| {
        let Some(source) = run.record.sources.get(info.source) else {
            return false;
        };
        let label = source.lanes.get(info.place.0).map(LaneRecord::label);
        row.event == "gap"
            && row.source.as_ref() == Some(&source.name)
            && row.priority.as_deref() == label
    };
    let (rows, is_complete) = happened(scene, span, GAPS_MAX, is_of)?;
    let of = |row: &store::EventRow| {
        json!({
            "from_ns": digits(row.time_ns),
            "to_ns": digits(row.to_ns.unwrap_or(row.time_ns)),
            "frames": row.frames,
            "reason": row.reason,
        })
    };
    let gaps: Vec<Value> = rows.iter().map(of).collect();
    Ok(json!({ "gaps": gaps, "complete": is_complete }))
}
