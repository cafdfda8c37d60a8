//! A lane's frames one behind the other, and a run's sums against its ledger.
//!
//! **Must not know.** Files.

use super::LaneAudit;
use super::look::{Lane, Look};
use super::stream::{Joint, Stream};
use crate::run_record::LaneRecord;
use crate::store::removed::Removed;

impl Look<'_> {
    /// Puts the lane's frames beside each other: segments, then what is in the journal alone.
    pub(super) fn stream(&mut self, lane: &Lane) {
        let source = &self.place.record.sources[lane.source];
        let label = source.lanes[lane.lane].label();
        let first_kept = lane.parts.first().map_or(u64::MAX, |part| part.first_seq);
        let removed = prefix(&lane.removed, first_kept);
        let (mut removed_rows, mut removed_to) = (0, 0);
        for gone in &removed {
            removed_rows += gone.rows;
            removed_to = removed_to.max(gone.end_frame);
        }
        if let Some(last) = removed.last() {
            let what = format!(
                "removed by the store's limits ({}), as it wrote down",
                last.why
            );
            self.note(&lane.name, what, false).frames = Some((0, removed_to.saturating_sub(1)));
        }
        let mut stream = Stream::new(removed_to, self.drops.take(&source.name, label));
        let mut dropped = 0;
        let stored = lane.parts.iter().flat_map(|part| {
            part.frames
                .iter()
                .map(move |frames| (Some(&part.path), *frames))
        });
        let tail = lane.tail.iter().map(|frames| (None, *frames));
        for (file, (first, count)) in stored.chain(tail) {
            let (what, frames) = match stream.push(first, count) {
                Joint::Whole => continue,
                Joint::Dropped(frames) => {
                    dropped += frames;
                    continue;
                }
                Joint::Hole(from, to) => (
                    "missing: a hole that no gap explains, in front of what follows",
                    (from, to),
                ),
                Joint::Doubled(from, to) => ("doubled: they were there before", (from, to)),
            };
            let finding = self.wrong(&lane.name, what.to_owned());
            finding.frames = Some(frames);
            finding.file = file.cloned();
        }
        self.found.lanes.push(LaneAudit {
            lane: lane.name.clone(),
            segments: lane.parts.len() as u64,
            bytes: lane.parts.iter().map(|part| part.bytes).sum(),
            stored_rows: lane.parts.iter().map(|part| part.rows).sum(),
            journal_rows: lane.tail_rows,
            removed_rows,
            dropped_frames: dropped,
            end_frame: stream.end(),
        });
    }

    /// Holds the sums against the run's ledger.
    pub(super) fn totals(&mut self, json: &[u8]) {
        let ledger: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let mut lanes = self.found.lanes.clone().into_iter();
        for source in &self.place.record.sources {
            let counts = &ledger["sources"][&source.name];
            let number = |key: &str| counts[key].as_u64();
            let lanes: Vec<LaneAudit> = lanes.by_ref().take(source.lanes.len()).collect();
            let (Some(samples), Some(journaled)) = (number("samples"), number("journaled")) else {
                self.wrong(&source.name, "the run's ledger does not know it".to_owned());
                continue;
            };
            let by_reason = counts["dropped"].as_object().cloned().unwrap_or_default();
            let dropped: u64 = by_reason
                .values()
                .filter_map(serde_json::Value::as_u64)
                .sum();
            if samples != journaled + dropped {
                let what = format!(
                    "the ledger is out of balance: {samples} samples acquired, {journaled} journaled, {dropped} dropped"
                );
                self.wrong(&source.name, what);
            }
            let of_lanes = lanes.iter().zip(&source.lanes);
            let there: u64 = of_lanes
                .map(|(lane, record)| lane.rows() * record.channels.len() as u64)
                .sum();
            if there != journaled {
                let what = format!(
                    "{there} samples are there or were removed; the ledger says that {journaled} were journaled"
                );
                self.wrong(&source.name, what);
            }
            // What was given up when the journal failed, or the run was aborted, nobody could write down.
            for reason in ["lane_full", "journal_full"] {
                let stated = by_reason.get(reason).and_then(serde_json::Value::as_u64);
                let is_sure =
                    !by_reason.contains_key("aborted") && !by_reason.contains_key("journal_failed");
                let of_lane = |record: &LaneRecord| {
                    let frames = self.drops.sum(&source.name, record.label(), reason);
                    frames * record.channels.len() as u64
                };
                let listed: u64 = source.lanes.iter().map(of_lane).sum();
                if is_sure && listed != stated.unwrap_or(0) {
                    let what = format!(
                        "{listed} samples are listed as dropped ({reason}); the ledger says {}",
                        stated.unwrap_or(0)
                    );
                    self.wrong(&source.name, what);
                }
            }
        }
    }
}

/// The lines that tell of segments in front of what is kept, each record once: a crash between line and removal can
/// have left a line of parts that were merged before they went.
fn prefix(removed: &[Removed], first_kept: u64) -> Vec<Removed> {
    let mut removed: Vec<Removed> = removed
        .iter()
        .filter(|gone| gone.last_seq < first_kept)
        .cloned()
        .collect();
    removed.sort_by_key(|gone| (gone.first_seq, u64::MAX - gone.last_seq));
    let mut covered = 0;
    removed.retain(|gone| {
        let is_new = gone.last_seq > covered;
        covered = covered.max(gone.last_seq);
        is_new
    });
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_front_was_removed_and_each_record_once() {
        let gone = |first_seq: u64, last_seq: u64| Removed {
            lane: "imu".to_owned(),
            first_seq,
            last_seq,
            rows: 1,
            end_frame: last_seq,
            why: "age".to_owned(),
        };
        // The first was merged with its neighbour before it went; the second line of it is a crash's.
        let lines = [gone(1, 5), gone(1, 9), gone(1, 9), gone(30, 40)];
        assert_eq!(prefix(&lines, 20), [gone(1, 9)]);
        assert_eq!(prefix(&lines, u64::MAX), [gone(1, 9), gone(30, 40)]);
        assert_eq!(prefix(&lines, 1), []);
    }
}
