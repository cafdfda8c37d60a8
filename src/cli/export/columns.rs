//! Which channels of which runs are wanted, and where they stand in blocks and in the output.

use std::path::Path;

use glob::Pattern;

use super::super::Failure;
use crate::journal;
use crate::run_record::RunRecord;

/// A column of a block that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selected {
    pub(super) column: usize,
    pub(super) output: usize,
}

/// What is wanted of one lane.
pub(super) struct Lane {
    pub(super) source: String,
    /// By rising output.
    pub(super) selected: Vec<Selected>,
}

struct Run {
    id: String,
    first_seq: u64,
    /// By source and lane; `None` where nothing is wanted.
    lanes: Vec<Vec<Option<Lane>>>,
}

/// What is wanted of a journal.
pub(super) struct Columns {
    /// The output's columns.
    pub(super) names: Vec<String>,
    /// Where to begin.
    pub(super) first_seq: u64,
    runs: Vec<Run>,
}

impl Columns {
    /// The wanted run that this run record begins or repeats.
    pub(super) fn run_of(&self, record: &[u8]) -> Option<usize> {
        let record: RunRecord = serde_json::from_slice(record).ok()?;
        self.runs.iter().position(|run| run.id == record.run)
    }

    /// Whether every wanted run began before.
    pub(super) fn is_past(&self, seq: u64) -> bool {
        self.runs.iter().all(|run| run.first_seq < seq)
    }

    pub(super) fn lane(&self, run: usize, source: u16, lane: u8) -> Option<&Lane> {
        self.runs[run]
            .lanes
            .get(usize::from(source))?
            .get(usize::from(lane))?
            .as_ref()
    }
}

/// Finds the channels that the patterns name, in the runs that are wanted.
pub(super) fn find(dir: &Path, run: Option<&str>, patterns: &[String]) -> Result<Columns, Failure> {
    let mut records: Vec<(u64, RunRecord)> = Vec::new();
    for found in journal::runs(dir)? {
        if let Ok(record) = serde_json::from_str::<RunRecord>(&found.record) {
            records.push((found.first_seq, record));
        }
    }
    match run {
        Some("last") => records = records.pop().into_iter().collect(),
        Some(name) => {
            let names: Vec<String> = records
                .iter()
                .map(|(_, record)| record.run.clone())
                .collect();
            records.retain(|(_, record)| record.run == name);
            if records.is_empty() {
                let known = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                return Err(Failure::Usage(format!(
                    "error: there is no run `{name}`; there are {known}"
                )));
            }
        }
        None => {}
    }
    let mut all: Vec<String> = Vec::new();
    for (_, record) in &records {
        for source in &record.sources {
            // In the order of the device's frame, whatever the lanes.
            let channels = source.lanes.iter().flat_map(|lane| &lane.channels);
            let mut channels: Vec<_> = channels.collect();
            channels.sort_by_key(|channel| channel.place);
            for channel in channels {
                let name = format!("{}.{}", source.name, channel.name);
                if !all.contains(&name) {
                    all.push(name);
                }
            }
        }
    }
    let patterns = patterns.iter().map(|pattern| {
        Pattern::new(pattern)
            .map_err(|error| Failure::Usage(format!("error: `{pattern}` is no pattern: {error}")))
    });
    let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>()?;
    for pattern in &patterns {
        if !all.iter().any(|name| pattern.matches(name)) {
            let known = if all.is_empty() {
                "none".to_owned()
            } else {
                all.join(", ")
            };
            return Err(Failure::Usage(format!(
                "error: no channel is called `{pattern}`; there are {known}"
            )));
        }
    }
    let wanted = |name: &String| patterns.is_empty() || patterns.iter().any(|p| p.matches(name));
    let names: Vec<String> = all.into_iter().filter(wanted).collect();
    let first_seq = records.first().map_or(1, |(first_seq, _)| *first_seq);
    // From the very beginning there is no run to begin with.
    let first_seq = if run.is_none() { 1 } else { first_seq };
    let runs = records
        .into_iter()
        .map(|(first_seq, record)| of_run(first_seq, &record, &names));
    Ok(Columns {
        runs: runs.collect(),
        names,
        first_seq,
    })
}

fn of_run(first_seq: u64, record: &RunRecord, names: &[String]) -> Run {
    let lanes = record.sources.iter().map(|source| {
        let lanes = source.lanes.iter().map(|lane| {
            let mut selected: Vec<Selected> = lane
                .channels
                .iter()
                .enumerate()
                .filter_map(|(column, channel)| {
                    let name = format!("{}.{}", source.name, channel.name);
                    let output = names.iter().position(|known| *known == name)?;
                    Some(Selected { column, output })
                })
                .collect();
            selected.sort_by_key(|place| place.output);
            (!selected.is_empty()).then(|| Lane {
                source: source.name.clone(),
                selected,
            })
        });
        lanes.collect()
    });
    Run {
        id: record.run.clone(),
        first_seq,
        lanes: lanes.collect(),
    }
}
