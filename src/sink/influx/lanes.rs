//! Which column of a lane goes into which line: made once, when a run begins.
//!
//! **Always holds.** A column that the configuration does not want, or whose names cannot be written, is in no series, and its
//! samples count as not selected.
//!
//! **Must not know.** The journal.

use super::Options;
use super::line::{EventValue, LineWriter, Series, Unwritable};
use crate::journal::DecodedBlock;
use crate::run_record::{LaneRecord, RunRecord, SourceRecord};
use crate::sink::batch::{Counts, Lines};
use crate::sink::feed::Encode;
use crate::sink::select::Selection;
use crate::sink::template::Values;

/// The series of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneLines {
    /// One line of a frame each.
    pub series: Vec<Series>,
    /// Columns in them.
    pub columns: usize,
    /// Columns that a block must have, for all of them to be there.
    pub width: usize,
    /// Every so many frames one is sent; 0: none.
    pub every: u64,
}

/// The lanes of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunLines {
    /// By source, by lane.
    sources: Vec<Vec<LaneLines>>,
}

impl RunLines {
    /// For a run as it describes itself.
    #[must_use]
    pub fn new(run: &RunRecord, options: &Options, selection: &Selection) -> Self {
        let of_source = |source: &SourceRecord| {
            let lanes = source.lanes.iter();
            lanes
                .map(|lane| lane_lines(run, source, lane, options, selection, &|_| true))
                .collect()
        };
        Self {
            sources: run.sources.iter().map(of_source).collect(),
        }
    }

    /// A lane's.
    #[must_use]
    pub fn lane(&self, source: usize, lane: usize) -> Option<&LaneLines> {
        self.sources.get(source)?.get(lane)
    }
}

/// A lane's lines; of its columns those that `wants` by their places.
#[must_use]
pub fn lane_lines(
    run: &RunRecord,
    source: &SourceRecord,
    lane: &LaneRecord,
    options: &Options,
    selection: &Selection,
    wants: &dyn Fn(usize) -> bool,
) -> LaneLines {
    let mut lines = LaneLines::default();
    if !selection.wants_kind(&lane.kind) {
        return lines;
    }
    lines.every = selection.every(&lane.kind);
    for (column, channel) in lane.channels.iter().enumerate() {
        if !wants(column) || !selection.wants_channel(&source.name, &channel.name) {
            continue;
        }
        let values = Values {
            source: &source.name,
            channel: &channel.name,
            unit: &channel.unit,
            run: &run.run,
            host: &run.host,
            priority: &lane.priority,
            kind: &lane.kind,
        };
        let Ok(mut series) = series_of(options, &values) else {
            continue;
        };
        let field = options.field.render(&values);
        let known = lines.series.iter_mut().find(|known| known.is_same(&series));
        let added = match known {
            Some(known) => known.add_field(&field, column),
            None => series
                .add_field(&field, column)
                .map(|()| lines.series.push(series)),
        };
        if added.is_ok() {
            lines.columns += 1;
            lines.width = column + 1;
        }
    }
    lines
}

/// The series of a channel, without a field.
///
/// # Errors
/// If a name cannot be written.
pub fn series_of(options: &Options, values: &Values<'_>) -> Result<Series, Unwritable> {
    let tags = options.tags.iter();
    let tags: Vec<(String, String)> = tags
        .map(|(key, template)| (key.clone(), template.render(values)))
        .collect();
    Series::new(&options.measurement.render(values), &tags)
}

/// Makes lines of a run's blocks and events.
pub struct Encoder {
    options: Options,
    selection: Selection,
    writer: LineWriter,
    run: RunLines,
    /// The run's sources and their lanes' priorities, for gaps.
    sources: Vec<(String, Vec<String>)>,
}

impl Encoder {
    /// For one sink.
    #[must_use]
    pub fn new(options: &Options, selection: &Selection) -> Self {
        Self {
            writer: LineWriter::new(options.precision),
            options: options.clone(),
            selection: selection.clone(),
            run: RunLines::default(),
            sources: Vec::new(),
        }
    }

    fn push_event(
        &mut self,
        tags: &[(&str, &str)],
        fields: &[(&str, EventValue<'_>)],
        time_ns: i64,
        out: &mut Lines,
    ) {
        // What no tag can hold is better read with a stroke in its place than not at all.
        let clean = |text: &str| -> String {
            let is_odd = |c: char| c.is_control() || c == '\\';
            text.chars()
                .map(|c| if is_odd(c) { '/' } else { c })
                .collect()
        };
        let tags: Vec<(String, String)> = tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), clean(value)))
            .collect();
        if let Ok(series) = Series::new(&self.options.events, &tags) {
            self.writer.event(&series, fields, time_ns, out);
        }
    }

    fn push_gaps(&mut self, block: &DecodedBlock, out: &mut Lines) {
        let summary = block.summary();
        let source = self.sources.get(usize::from(summary.source.0));
        let (source, lanes) = source.cloned().unwrap_or_default();
        let priority = lanes
            .get(usize::from(summary.lane))
            .cloned()
            .unwrap_or_default();
        for gap in block.gaps() {
            let reason = gap.reason.name();
            let tags = [
                ("event", "gap"),
                ("source", &source),
                ("priority", &priority),
                ("reason", reason),
            ];
            #[allow(clippy::cast_precision_loss)] // For a plot.
            let fields = [
                (
                    "frames",
                    EventValue::Number(gap.frames.map_or(f64::NAN, |frames| frames as f64)),
                ),
                (
                    "length_s",
                    EventValue::Number(gap.to_ns.saturating_sub(gap.from_ns) as f64 / 1e9),
                ),
            ];
            self.push_event(&tags, &fields, gap.from_ns, out);
        }
    }
}

impl Encode for Encoder {
    fn begin_run(&mut self, run: &RunRecord) {
        self.run = RunLines::new(run, &self.options, &self.selection);
        let lanes = |source: &SourceRecord| {
            source
                .lanes
                .iter()
                .map(|lane| lane.priority.clone())
                .collect()
        };
        self.sources = run
            .sources
            .iter()
            .map(|source| (source.name.clone(), lanes(source)))
            .collect();
    }

    fn block(&mut self, block: &DecodedBlock, out: &mut Lines) -> Counts {
        let summary = block.summary();
        let all = summary.samples();
        let mut counts = Counts::default();
        if self.selection.events && !block.gaps().is_empty() {
            let before = out.lines();
            self.push_gaps(block, out);
            counts.events = (out.lines() - before) as u64;
        }
        let lane = self
            .run
            .lane(usize::from(summary.source.0), usize::from(summary.lane));
        let Some(lane) = lane.filter(|lane| lane.columns > 0 && lane.width <= block.columns())
        else {
            counts.not_selected = all;
            return counts;
        };
        let frames = chosen(summary.first_frame, block.times_ns().len(), lane.every);
        let written = self.writer.frames(
            &lane.series,
            block.times_ns(),
            |column| block.column(column),
            frames,
            out,
        );
        counts.not_finite = written.not_finite;
        counts.not_selected = all - written.samples - written.not_finite;
        counts
    }

    fn event(&mut self, time_ns: i64, json: &[u8], out: &mut Lines) -> Counts {
        if !self.selection.events {
            return Counts::default();
        }
        let event: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        let channel = text("channel");
        let source = match text("source") {
            "" => channel.split('.').next().unwrap_or_default(),
            source => source,
        };
        let tags = [
            ("event", text("event")),
            ("source", source),
            ("rule", text("rule")),
            ("change", text("change")),
            ("severity", text("severity")),
        ];
        let number = |key: &str| EventValue::Number(event[key].as_f64().unwrap_or(f64::NAN));
        let words = match text("text") {
            "" => format!("{} {}", text("rule"), text("change")),
            words => words.to_owned(),
        };
        let fields = [
            ("text", EventValue::Text(words.trim())),
            ("value", number("value")),
            ("limit", number("limit")),
        ];
        let before = out.lines();
        self.push_event(&tags, &fields, time_ns, out);
        Counts {
            events: (out.lines() - before) as u64,
            ..Counts::default()
        }
    }
}

/// The frames that a decimation keeps: those whose number is a multiple.
fn chosen(first_frame: u64, count: usize, every: u64) -> impl Iterator<Item = usize> + Clone {
    let every = every.max(1);
    let start = (every - first_frame % every) % every;
    let (start, every) = (usize::try_from(start), usize::try_from(every));
    (start.unwrap_or(usize::MAX).min(count)..count).step_by(every.unwrap_or(usize::MAX))
}
