//! Everything that was recorded, held against everything that was sent.

use std::path::Path;

use anyhow::Context as _;

use super::lab;
use super::watched::Watched;
use super::{Finding, Plan};
use crate::journal::{DecodedBlock, Next, Reader};
use crate::pipeline::Report;
use crate::store::read::{Archive, Range, find};

/// The devices, and the journal as it is written.
pub(super) struct Comparison {
    /// In the order of the configuration.
    pub(super) watched: Vec<Watched>,
    reader: Reader,
    block: DecodedBlock,
    /// Rows compared.
    pub(super) rows: u64,
    alarm: Alarm,
    pub(super) findings: Vec<Finding>,
}

/// The rule, once more: fires above one limit, clears below the other.
#[derive(Debug, Default)]
struct Alarm {
    is_on: bool,
    fired: u64,
}

impl Alarm {
    fn see(&mut self, level: f64) {
        let (above, clear) = lab::LIMITS;
        if !self.is_on && level > above {
            (self.is_on, self.fired) = (true, self.fired + 1);
        } else if self.is_on && level < clear {
            self.is_on = false;
        }
    }
}

/// How often the rule fired.
pub(super) fn fired(report: &Report) -> u64 {
    let rule = report.alerts.get(lab::RULE);
    rule.and_then(|rule| rule["fired"].as_u64()).unwrap_or(0)
}

impl Comparison {
    pub(super) fn new(watched: Vec<Watched>, reader: Reader) -> Self {
        Self {
            watched,
            reader,
            block: DecodedBlock::default(),
            rows: 0,
            alarm: Alarm::default(),
            findings: Vec::new(),
        }
    }

    pub(super) fn find(&mut self, check: &'static str, source: Option<&str>, what: String) {
        self.findings.push(Finding::new(check, source, what));
    }

    /// Takes what the logs say and what the journal has by now, and compares.
    pub(super) fn step(&mut self) -> anyhow::Result<()> {
        self.take()?;
        for watched in &mut self.watched {
            let found = watched.compare();
            let finding = |what| Finding::new("journal", Some(watched.name), what);
            self.findings.extend(found.into_iter().map(finding));
        }
        Ok(())
    }

    /// Nothing more comes: what is missing now is missing.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.take()?;
        for watched in &mut self.watched {
            let found = watched.finish();
            let finding = |what| Finding::new("journal", Some(watched.name), what);
            self.findings.extend(found.into_iter().map(finding));
        }
        Ok(())
    }

    fn take(&mut self) -> anyhow::Result<()> {
        for watched in &mut self.watched {
            watched.listen().map_err(anyhow::Error::msg)?;
        }
        loop {
            match self.reader.next()? {
                Next::Record(record) => self.block.decode(record.payload)?,
                Next::Lost(lost) => {
                    let what = format!("records {} to {} are missing", lost.from_seq, lost.to_seq);
                    self.find("journal", None, what);
                    continue;
                }
                Next::End => return Ok(()),
            }
            let source = usize::from(self.block.summary().source.0);
            let watched = self
                .watched
                .get_mut(source)
                .context("a block of no source")?;
            for row in 0..self.block.times_ns().len() {
                let columns = 0..self.block.columns();
                let values: Vec<f64> = columns
                    .map(|column| self.block.column(column)[row])
                    .collect();
                if watched.name == lab::WATCHED {
                    self.alarm.see(values.get(1).copied().unwrap_or(f64::NAN));
                }
                watched.row(values);
                self.rows += 1;
            }
        }
    }

    /// What the run says of itself, against what was found.
    pub(super) fn check_report(&mut self, report: &Report) {
        if let Some(failure) = &report.failure {
            self.find("run", None, failure.clone());
        }
        let totals = &report.ledger;
        if !totals.balanced || totals.dropped > 0 {
            let what = format!(
                "{} acquired, {} journaled, {} dropped, {} in flight",
                totals.acquired, totals.journaled, totals.dropped, totals.in_flight
            );
            self.find("ledger", None, what);
        }
        let fired = fired(report);
        if fired != self.alarm.fired {
            let right = self.alarm.fired;
            let what = format!("the rule fired {fired} times, and should have {right} times");
            self.find("rules", Some(lab::WATCHED), what);
        }
        for watched in &self.watched {
            let Some((_, source)) = report
                .sources
                .0
                .iter()
                .find(|(name, _)| name == watched.name)
            else {
                continue;
            };
            let mut find = |what| {
                self.findings
                    .push(Finding::new("ledger", Some(watched.name), what));
            };
            let counts = watched.counts();
            let came = counts.arrived + counts.hit_and_arrived + watched.unanswered;
            if source.frames != came {
                find(format!(
                    "{} frames acquired, and {came} found",
                    source.frames
                ));
            }
            let (hung_up, back) = (watched.hang_ups(), source.reconnects);
            // The last one may have come at the end.
            if back > hung_up || back + 1 < hung_up {
                find(format!(
                    "the device hung up {hung_up} times, and came back {back} times"
                ));
            }
        }
    }

    /// Reads the store, with what of the journal is not in it yet, and compares it as the journal was. Gives the rows.
    pub(super) fn check_store(&mut self, data: &Path, plan: &Plan) -> anyhow::Result<u64> {
        let archive = Archive::open(data)?;
        let runs = archive.runs()?;
        let run = runs.last().context("the store has no run")?;
        let mut all = 0;
        for (place, source) in plan.sources.iter().enumerate() {
            let name = &source.name;
            let wants = |channel: &str| channel.split_once('.').is_some_and(|(of, _)| of == name);
            let lanes = find(run, wants);
            let mut watched = self.watched[place].again().map_err(anyhow::Error::msg)?;
            let mut found = Vec::new();
            for lane in &lanes {
                let mut rows = archive.read(run, lane, Range::all())?;
                while let Some(rows) = rows.next()? {
                    for row in 0..rows.times_ns.len() {
                        watched.row(rows.columns.iter().map(|column| column[row]).collect());
                        all += 1;
                    }
                    found.extend(watched.compare_sparely().map_err(anyhow::Error::msg)?);
                }
            }
            watched.listen().map_err(anyhow::Error::msg)?;
            found.extend(watched.finish());
            let finding = |what| Finding::new("store", Some(name), what);
            self.findings.extend(found.into_iter().map(finding));
        }
        if all != self.rows {
            let what = format!(
                "{all} rows are in the store, and {} in the journal",
                self.rows
            );
            self.find("store", None, what);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_has_the_rules_hysteresis() {
        let mut alarm = Alarm::default();
        for level in [0.0, 4.0, 4.1, 5.0, 3.5, 4.5, 2.9, 3.5, 4.2, f64::NAN, 2.0] {
            alarm.see(level);
        }
        assert_eq!(alarm.fired, 2);
    }
}
