//! Samples out of the store, and of the journal's tail behind it.

use std::collections::VecDeque;

use super::{Act, Material, Piece};
use crate::config::plan::Plan;
use crate::store::Error;
use crate::store::read::{Archive, LaneRows, Range, Rows, Run, find};

/// Recorded runs, as far as rules look at them.
pub struct StoreMaterial {
    archive: Archive,
    runs: VecDeque<Run>,
    range: Range,
    /// The plan's channels by name, those that rules look at.
    wanted: Vec<(String, (usize, usize))>,
    lanes: Vec<Lane>,
    lost_records: u64,
}

struct Lane {
    rows: LaneRows,
    head: Option<Rows>,
}

impl StoreMaterial {
    /// The channels that a plan's rules look at, of these runs, within a range.
    #[must_use]
    pub fn new(archive: Archive, runs: Vec<Run>, range: Range, plan: &Plan) -> Self {
        let mut wanted = Vec::new();
        for (place, source) in plan.sources.iter().enumerate() {
            for (channel, named) in source.channels.iter().enumerate() {
                let place = (place, channel);
                if plan.rules.iter().any(|rule| rule.looks_at(place)) {
                    wanted.push((format!("{}.{}", source.name, named.name), place));
                }
            }
        }
        Self {
            archive,
            runs: runs.into(),
            range,
            wanted,
            lanes: Vec::new(),
            lost_records: 0,
        }
    }

    /// Records of the journal that could not be read so far.
    #[must_use]
    pub fn lost_records(&self) -> u64 {
        self.lost_records
    }

    fn next_lane(&self) -> Option<usize> {
        let heads = self.lanes.iter().enumerate();
        let first = |(place, lane): (usize, &Lane)| {
            let first_ns = *lane.head.as_ref()?.times_ns.first()?;
            Some((first_ns, place))
        };
        heads.filter_map(first).min().map(|(_, place)| place)
    }
}

impl Lane {
    fn advance(&mut self) -> Result<Option<Rows>, Error> {
        let next = loop {
            match self.rows.next()? {
                Some(rows) if rows.times_ns.is_empty() => {}
                next => break next,
            }
        };
        Ok(std::mem::replace(&mut self.head, next))
    }
}

impl Material for StoreMaterial {
    type Error = Error;

    fn next_act(&mut self) -> Result<Option<Act>, Error> {
        let lost = |lane: &Lane| lane.rows.amount().lost_records;
        self.lost_records += self.lanes.iter().map(lost).sum::<u64>();
        self.lanes.clear();
        let Some(run) = self.runs.pop_front() else {
            return Ok(None);
        };
        let place = |name: &str| {
            let mut wanted = self.wanted.iter();
            wanted
                .find(|(known, _)| known == name)
                .map(|(_, place)| *place)
        };
        let mut lanes = Vec::new();
        for lane in find(&run, |name| place(name).is_some()) {
            let mut reading = Lane {
                rows: self.archive.read(&run, &lane, self.range)?,
                head: None,
            };
            reading.advance()?;
            self.lanes.push(reading);
            lanes.push(lane.names.iter().filter_map(|name| place(name)).collect());
        }
        Ok(Some(Act {
            name: run.record.run.clone(),
            start_ns: run.record.started_ns.max(self.range.from_ns),
            lanes,
        }))
    }

    fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        let Some(lane) = self.next_lane() else {
            return Ok(None);
        };
        let rows = self.lanes[lane].advance()?.unwrap_or_default();
        Ok(Some(Piece {
            lane,
            times_ns: rows.times_ns,
            columns: rows.columns,
        }))
    }

    fn next_ns(&self) -> Option<i64> {
        let lane = &self.lanes[self.next_lane()?];
        lane.head.as_ref()?.times_ns.first().copied()
    }
}
