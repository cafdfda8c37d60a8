//! The ledger: what became of every sample.
//!
//! **Always holds.** For every source, at every boundary:
//! `acquired = journaled + dropped (by reason) + in flight`. Each count is made where the thing
//! happens: *acquired* by the reader that decoded, *dropped* by whoever dropped, *journaled* by the
//! journal once the commit is on disk; what is in flight is counted in the queues themselves. None
//! is computed from the others, so that the sum proves something.
//!
//! **Must not know.** Queues, devices, files: whoever knows them counts here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kymo_drivers::block::{GapReason, SourceId};
use kymo_drivers::frames::Tally;
use serde::Serialize;

/// Reasons that are a drop: the sample was there and was given up. The others name samples that
/// never came, which are counted apart.
pub const DROP_REASONS: [GapReason; 4] = [
    GapReason::LaneFull,
    GapReason::JournalFull,
    GapReason::JournalFailed,
    GapReason::Aborted,
];

/// One source's counts. All counters only rise; each is written by one thread and read by any.
#[derive(Debug, Default)]
pub struct SourceCounts {
    reader: ReaderCounts,
    /// On a cache line of its own: the journal's thread writes it, the reader's thread the rest.
    journaled: Padded,
    dropped: [Padded; DROP_REASONS.len()],
    stage: StageCounts,
}

/// What the stage's thread counts.
#[derive(Debug, Default)]
#[repr(align(128))]
struct StageCounts {
    computed: AtomicU64,
    not_kept: AtomicU64,
}

/// What samples are given up for that nobody wanted to be kept: in the report, beside the reasons of drops.
pub const NOT_KEPT: &str = "not_kept";

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicU64);

#[derive(Debug, Default)]
#[repr(align(128))]
struct ReaderCounts {
    bytes: AtomicU64,
    frames: AtomicU64,
    acquired: AtomicU64,
    corrupt_frames: AtomicU64,
    skipped_bytes: AtomicU64,
    lost_by_device: AtomicU64,
    unanswered: AtomicU64,
    refused: AtomicU64,
    reconnects: AtomicU64,
    blocked_ns: AtomicU64,
}

// Relaxed throughout: a counter orders nothing. Whoever needs the exact sums reads them after the
// counting threads have been joined, which orders everything.
fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl SourceCounts {
    /// Bytes came.
    pub fn add_bytes(&self, bytes: usize) {
        add(&self.reader.bytes, bytes as u64);
    }

    /// Frames were decoded, of so many samples in all.
    pub fn add_acquired(&self, frames: u64, samples: u64) {
        add(&self.reader.frames, frames);
        add(&self.reader.acquired, samples);
    }

    /// Results were computed, of so many samples: acquired where they come to be.
    pub fn add_computed(&self, samples: u64) {
        add(&self.stage.computed, samples);
    }

    /// Samples were not written down, as the configuration says.
    pub fn add_not_kept(&self, samples: u64) {
        add(&self.stage.not_kept, samples);
    }

    /// What a protocol found wrong.
    pub fn add_tally(&self, tally: Tally) {
        if tally != Tally::default() {
            add(&self.reader.corrupt_frames, tally.corrupt_frames);
            add(&self.reader.skipped_bytes, tally.skipped_bytes);
            add(&self.reader.lost_by_device, tally.lost_frames);
            add(&self.reader.unanswered, tally.unanswered);
            add(&self.reader.refused, tally.refused);
        }
    }

    /// Bytes of a frame whose end never came: the link ended in the middle of it.
    pub fn add_skipped(&self, bytes: usize) {
        add(&self.reader.skipped_bytes, bytes as u64);
    }

    /// The device came back.
    pub fn add_reconnect(&self) {
        add(&self.reader.reconnects, 1);
    }

    /// The reader waited for room in a lane.
    pub fn add_blocked_ns(&self, waited_ns: u64) {
        add(&self.reader.blocked_ns, waited_ns);
    }

    /// Samples are on disk.
    pub fn add_journaled(&self, samples: u64) {
        add(&self.journaled.0, samples);
    }

    /// Samples were given up.
    ///
    /// # Panics
    /// If `reason` is not one of [`DROP_REASONS`].
    pub fn add_dropped(&self, reason: GapReason, samples: u64) {
        let place = DROP_REASONS.iter().position(|r| *r == reason);
        add(
            &self.dropped[place.expect("a drop has a drop's reason")].0,
            samples,
        );
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        get(&self.reader.bytes)
    }

    /// Frames so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        get(&self.reader.frames)
    }

    /// Samples decoded or computed so far.
    #[must_use]
    pub fn acquired(&self) -> u64 {
        get(&self.reader.acquired) + get(&self.stage.computed)
    }

    /// Samples on disk so far.
    #[must_use]
    pub fn journaled(&self) -> u64 {
        get(&self.journaled.0)
    }

    /// Samples given up so far, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let dropped: u64 = self.dropped.iter().map(|count| get(&count.0)).sum();
        dropped + get(&self.stage.not_kept)
    }

    /// The counts as they are now.
    #[must_use]
    pub fn snapshot(&self) -> SourceReport {
        let reader = &self.reader;
        SourceReport {
            bytes: get(&reader.bytes),
            frames: get(&reader.frames),
            samples: self.acquired(),
            computed: get(&self.stage.computed),
            corrupt_frames: get(&reader.corrupt_frames),
            skipped_bytes: get(&reader.skipped_bytes),
            lost_by_device: get(&reader.lost_by_device),
            unanswered: get(&reader.unanswered),
            refused: get(&reader.refused),
            reconnects: get(&reader.reconnects),
            blocked_ms: get(&reader.blocked_ns) / 1_000_000,
            journaled: self.journaled(),
            dropped: DROP_REASONS
                .iter()
                .zip(&self.dropped)
                .map(|(reason, count)| (reason.name().to_owned(), get(&count.0)))
                .chain([(NOT_KEPT.to_owned(), get(&self.stage.not_kept))])
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason, count.into()))
                .collect(),
        }
    }
}

/// The counts of all sources of a run. Cheap to clone; all clones are the same ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    sources: Arc<[Arc<SourceCounts>]>,
}

impl Ledger {
    /// A ledger with nothing in it.
    #[must_use]
    pub fn new(sources: usize) -> Self {
        Self {
            sources: (0..sources).map(|_| Arc::default()).collect(),
        }
    }

    /// One source's counts.
    ///
    /// # Panics
    /// If the run has no such source.
    #[must_use]
    pub fn source(&self, source: SourceId) -> &Arc<SourceCounts> {
        &self.sources[usize::from(source.0)]
    }

    /// All sources' counts, in order.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<SourceCounts>> {
        self.sources.iter()
    }

    /// The sums, with `in_flight` samples counted in the queues.
    #[must_use]
    pub fn totals(&self, in_flight: u64) -> Totals {
        let sum = |count: fn(&SourceCounts) -> u64| self.sources.iter().map(|s| count(s)).sum();
        let (acquired, journaled, dropped) = (
            sum(SourceCounts::acquired),
            sum(SourceCounts::journaled),
            sum(SourceCounts::dropped),
        );
        // Every source by itself, too: two mistakes must not cancel out. Only the sum can be
        // held against what is in flight, which the queues do not know by source.
        let each = in_flight > 0
            || self
                .sources
                .iter()
                .all(|s| s.acquired() == s.journaled() + s.dropped());
        Totals {
            acquired,
            journaled,
            dropped,
            in_flight,
            balanced: each && acquired == journaled + dropped + in_flight,
        }
    }
}

/// One source in the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Bytes read.
    pub bytes: u64,
    /// Frames decoded.
    pub frames: u64,
    /// Samples decoded, frames times channels, and computed.
    pub samples: u64,
    /// Of these, computed.
    #[serde(skip_serializing_if = "is_zero")]
    pub computed: u64,
    /// Frames recognised and refused.
    pub corrupt_frames: u64,
    /// Bytes that belong to no frame.
    pub skipped_bytes: u64,
    /// Frames that the device's counter says never came.
    pub lost_by_device: u64,
    /// Requests that the device did not answer in time.
    pub unanswered: u64,
    /// Requests that the device refused.
    pub refused: u64,
    /// Times the device came back.
    pub reconnects: u64,
    /// How long the reader waited for room in its lanes, ms.
    pub blocked_ms: u64,
    /// Samples on disk.
    pub journaled: u64,
    /// Samples given up, by reason.
    pub dropped: serde_json::Map<String, serde_json::Value>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The sums over all sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Samples decoded.
    pub acquired: u64,
    /// Samples on disk.
    pub journaled: u64,
    /// Samples given up.
    pub dropped: u64,
    /// Samples in queues.
    pub in_flight: u64,
    /// Whether the sums agree.
    pub balanced: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_sample_puts_the_ledger_out_of_balance() {
        let ledger = Ledger::new(2);
        ledger.source(SourceId(0)).add_acquired(10, 20);
        assert!(!ledger.totals(0).balanced);
        assert!(ledger.totals(20).balanced);
        ledger.source(SourceId(0)).add_journaled(15);
        ledger
            .source(SourceId(0))
            .add_dropped(GapReason::LaneFull, 5);
        assert!(ledger.totals(0).balanced);
    }

    #[test]
    fn two_mistakes_do_not_cancel_out() {
        let ledger = Ledger::new(2);
        ledger.source(SourceId(0)).add_acquired(1, 1);
        ledger.source(SourceId(1)).add_journaled(1);
        assert!(!ledger.totals(0).balanced);
    }
}
