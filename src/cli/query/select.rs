//! Which channels of which runs are wanted, and where they stand in the output.

use glob::Pattern;

use crate::cli::{DataArgs, Failure, note};
use crate::store::read::{Archive, Lane, Range, Run, find};
use crate::store::{Error, EventRow};

/// A column of the output.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Column {
    /// `source.channel`, and a statistic behind it where there is one.
    pub(in crate::cli) name: String,
    /// Its unit; empty where runs differ in it.
    pub(in crate::cli) unit: String,
    /// What was done to the device's values; empty where runs differ in it.
    pub(in crate::cli) calibration: String,
    /// Whether its values are whole numbers.
    pub(in crate::cli) is_count: bool,
}

/// Channels of one lane of one run.
pub(in crate::cli) struct Part {
    /// The run, by its place in the selection.
    pub(in crate::cli) run: usize,
    pub(in crate::cli) lane: Lane,
    /// Where its channels stand in the output.
    pub(in crate::cli) outputs: Vec<usize>,
}

/// What is wanted.
pub(in crate::cli) struct Selection {
    pub(in crate::cli) archive: Archive,
    pub(in crate::cli) runs: Vec<Run>,
    pub(in crate::cli) columns: Vec<Column>,
    /// Run by run, lane by lane.
    pub(in crate::cli) parts: Vec<Part>,
}

/// The data directory that the command line names.
pub(in crate::cli) fn open(data: &DataArgs) -> Result<Archive, Failure> {
    Archive::open(&data.data_dir()?).map_err(|error| match error {
        Error::DataDir(error) => Failure::Usage(format!("error: {error}")),
        error => error.into(),
    })
}

/// The runs, or the one that is named.
pub(in crate::cli) fn runs(archive: &Archive, wanted: Option<&str>) -> Result<Vec<Run>, Failure> {
    let mut runs = archive.runs()?;
    match wanted {
        Some("last") => runs = runs.pop().into_iter().collect(),
        Some(name) => {
            let known = listed(runs.iter().map(|run| run.record.run.as_str()));
            runs.retain(|run| run.record.run == name);
            if runs.is_empty() {
                return Err(Failure::Usage(format!(
                    "error: there is no run `{name}`; there are {known}"
                )));
            }
        }
        None => {}
    }
    Ok(runs)
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// Finds the channels that the patterns name, in the runs that are wanted. All, if there are no patterns.
pub(in crate::cli) fn select(
    archive: Archive,
    run: Option<&str>,
    patterns: &[String],
) -> Result<Selection, Failure> {
    let runs = runs(&archive, run)?;
    let mut columns: Vec<Column> = Vec::new();
    for run in &runs {
        add_columns(run, &mut columns);
    }
    let parsed = patterns.iter().map(|pattern| {
        Pattern::new(pattern)
            .map_err(|error| Failure::Usage(format!("error: `{pattern}` is no pattern: {error}")))
    });
    let patterns: Vec<Pattern> = parsed.collect::<Result<_, _>>()?;
    for pattern in &patterns {
        if !columns.iter().any(|column| pattern.matches(&column.name)) {
            let known = listed(columns.iter().map(|column| column.name.as_str()));
            return Err(Failure::Usage(format!(
                "error: no channel is called `{pattern}`; there are {known}"
            )));
        }
    }
    columns.retain(|column| {
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(&column.name))
    });
    for column in columns.iter_mut().filter(|c| c.unit.contains(DIFFERS)) {
        note(format!(
            "{} has several units: {}; choose a run with --run",
            column.name,
            column.unit.replace(DIFFERS, ", ")
        ));
        column.unit.clear();
    }
    let place = |name: &str| columns.iter().position(|column| column.name == name);
    let mut parts = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        for lane in find(run, |name| place(name).is_some()) {
            let outputs = lane.names.iter().filter_map(|name| place(name)).collect();
            parts.push(Part {
                run: index,
                lane,
                outputs,
            });
        }
    }
    Ok(Selection {
        archive,
        runs,
        columns,
        parts,
    })
}

/// Between the units of a channel that has several: no unit contains it.
const DIFFERS: char = '\n';

fn add_columns(run: &Run, columns: &mut Vec<Column>) {
    for source in &run.record.sources {
        // In the order of the device's frame, whatever the lanes.
        let channels = source.lanes.iter().flat_map(|lane| &lane.channels);
        let mut channels: Vec<_> = channels.collect();
        channels.sort_by_key(|channel| channel.place);
        for channel in channels {
            let name = format!("{}.{}", source.name, channel.name);
            if let Some(known) = columns.iter_mut().find(|column| column.name == name) {
                if !known.unit.split(DIFFERS).any(|unit| unit == channel.unit) {
                    known.unit.push(DIFFERS);
                    known.unit.push_str(&channel.unit);
                }
                if known.calibration != channel.calibration {
                    known.calibration.clear();
                }
            } else {
                columns.push(Column {
                    name,
                    unit: channel.unit.clone(),
                    calibration: channel.calibration.clone(),
                    is_count: false,
                });
            }
        }
    }
}

impl Selection {
    /// The gaps of the lanes that are wanted, as far as they reach into the range: by run, in order of time.
    pub(in crate::cli) fn gaps(&self, range: Range) -> Result<Vec<EventRow>, Error> {
        let mut gaps = Vec::new();
        for (index, run) in self.runs.iter().enumerate() {
            let parts: Vec<&Part> = self.parts.iter().filter(|part| part.run == index).collect();
            let is_of = |row: &EventRow, part: &Part| {
                let source = &run.record.sources[part.lane.source];
                row.source.as_ref() == Some(&source.name)
                    && row.priority.as_deref() == Some(source.lanes[part.lane.lane].label())
            };
            let mut rows = self.archive.events(run, Range::all())?;
            rows.retain(|row| {
                row.event == "gap"
                    && range.overlaps(row.time_ns, row.to_ns.unwrap_or(row.time_ns))
                    && parts.iter().any(|part| is_of(row, part))
            });
            gaps.append(&mut rows);
        }
        Ok(gaps)
    }
}
