//! Reading what is wanted, lane after lane, and counting what that took.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar};
use serde_json::json;

use super::select::{Part, Selection};
use crate::cli::Failure;
use crate::cli::journal::bar;
use crate::store::layout;
use crate::store::read::{Range, Rows};

pub(super) struct Reading<'a> {
    pub(super) selection: &'a Selection,
    pub(super) range: Range,
    pub(super) with_progress: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    NextPart,
}

/// How much was read and written.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cli) struct Total {
    pub(super) rows_written: u64,
    rows_read: u64,
    journal_rows: u64,
    bytes: u64,
    bytes_read: u64,
    groups: u64,
    groups_read: u64,
    lost_records: u64,
}

impl Reading<'_> {
    /// Gives every part to `take`: first without rows, then its rows in order of time.
    pub(super) fn read(
        &self,
        mut take: impl FnMut(&Part, Option<&Rows>) -> anyhow::Result<Then>,
    ) -> anyhow::Result<Total> {
        let bar = if self.with_progress {
            let bar = bar("reading");
            bar.set_length(self.bytes()?);
            bar
        } else {
            ProgressBar::hidden()
        };
        let mut total = Total::default();
        let mut passed = 0;
        // Every lane of a run passes over the same tail: its damage counts once.
        let mut lost = vec![0; self.selection.runs.len()];
        for part in &self.selection.parts {
            let run = &self.selection.runs[part.run];
            take(part, None)?;
            let mut lane = self.selection.archive.read(run, &part.lane, self.range)?;
            while let Some(rows) = lane.next()? {
                total.rows_read += rows.times_ns.len() as u64;
                bar.set_position(passed + lane.amount().bytes_passed);
                if take(part, Some(&rows))? == Then::NextPart {
                    break;
                }
            }
            let amount = lane.amount();
            passed += amount.bytes;
            total.bytes += amount.bytes;
            total.bytes_read += amount.bytes_read;
            total.groups += amount.groups;
            total.groups_read += amount.groups_read;
            total.journal_rows += amount.journal_rows;
            lost[part.run] = amount.lost_records.max(lost[part.run]);
        }
        bar.finish_and_clear();
        total.rows_written = total.rows_read;
        total.lost_records = lost.iter().sum();
        Ok(total)
    }

    /// Bytes of all segments of the lanes that are wanted.
    fn bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for part in &self.selection.parts {
            let run = &self.selection.runs[part.run];
            let dir = self
                .selection
                .archive
                .lane_dir(run, part.lane.source, part.lane.lane);
            let segments = layout::list(&dir)?.segments;
            bytes += segments.iter().map(|segment| segment.bytes).sum::<u64>();
        }
        Ok(bytes)
    }
}

impl Total {
    pub(super) fn text(&self, took: Duration) -> String {
        format!(
            "{} of {} read, {} of {} row groups; {} rows, {} of them out of the journal; {:.3} s",
            HumanBytes(self.bytes_read),
            HumanBytes(self.bytes),
            self.groups_read,
            self.groups,
            self.rows_read,
            self.journal_rows,
            took.as_secs_f64()
        )
    }

    pub(super) fn json(&self, took: Duration) -> String {
        json!({
            "rows_written": self.rows_written,
            "rows_read": self.rows_read,
            "journal_rows": self.journal_rows,
            "bytes": self.bytes,
            "bytes_read": self.bytes_read,
            "row_groups": self.groups,
            "row_groups_read": self.groups_read,
            "lost_records": self.lost_records,
            "seconds": took.as_secs_f64(),
        })
        .to_string()
    }

    /// An error if records could not be read.
    pub(in crate::cli) fn complete(&self) -> Result<(), Failure> {
        if self.lost_records == 0 {
            return Ok(());
        }
        Err(Failure::Running(anyhow::anyhow!(
            "{} records of the journal are damaged or missing, and are not in the output; `kymo journal verify` says where",
            self.lost_records
        )))
    }
}
