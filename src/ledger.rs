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
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use kymo_drivers::block::{GapReason, SourceId};
use kymo_drivers::frames::Tally;
use kymo_drivers::link::{LineError, LineErrors};
use serde::Serialize;

/// Reasons that are a drop: the sample was there and was given up. The others name samples that
/// never came, which are counted apart.
pub const DROP_REASONS: [GapReason; 5] = [
    GapReason::LaneFull,
    GapReason::JournalFull,
    GapReason::JournalFailed,
    GapReason::Aborted,
    GapReason::NotKept,
];

/// One source's counts. All counters only rise; each is written by one thread and read by any.
#[derive(Debug, Default)]
pub struct SourceCounts {
    reader: ReaderCounts,
    /// On a cache line of its own: the journal's thread writes it, the reader's thread the rest.
    journaled: Padded,
    dropped: [Padded; DROP_REASONS.len()],
    stage: StageCounts,
    capture: CaptureCounts,
}

/// What became of the source's bytes in a capture.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CaptureCounts {
    is_set: AtomicBool,
    recorded: AtomicU64,
    not_recorded: AtomicU64,
}

/// What the stage's thread counts.
#[derive(Debug, Default)]
#[repr(align(128))]
struct StageCounts {
    computed: AtomicU64,
}

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
    clock: ClockCounts,
    /// Whether the link can know of errors below it.
    line_watched: AtomicBool,
    line_errors: [AtomicU64; LineError::ALL.len()],
}

/// The figures of a device's clock; each stands alone, and one may be newer than the next.
#[derive(Debug, Default)]
struct ClockCounts {
    is_set: AtomicBool,
    drift_ppb: AtomicI64,
    jitter_ns_p50: AtomicU64,
    jitter_ns_p99: AtomicU64,
    reads: AtomicU64,
    restarts: AtomicU64,
}

/// What is known of a device's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockFigures {
    /// By how much it is slow, in parts of a billion: host time for each unit of device time, less 1.
    pub drift_ppb: i64,
    /// How late reads were by the fit, median, ns.
    pub jitter_ns_p50: u64,
    /// How late the latest hundredth of them was, ns.
    pub jitter_ns_p99: u64,
    /// Reads that it was fitted to.
    pub reads: u64,
    /// How often the fit began anew.
    pub restarts: u64,
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

    /// The link can know of errors below it, and found these since it was last asked.
    pub fn add_line_errors(&self, errors: &LineErrors) {
        self.reader.line_watched.store(true, Ordering::Relaxed);
        for (error, count) in errors.iter() {
            add(&self.reader.line_errors[error as usize], count);
        }
    }

    /// The device came back.
    pub fn add_reconnect(&self) {
        add(&self.reader.reconnects, 1);
    }

    /// The reader waited for room in a lane.
    pub fn add_blocked_ns(&self, waited_ns: u64) {
        add(&self.reader.blocked_ns, waited_ns);
    }

    /// What its clock was found to be.
    pub fn set_clock(&self, figures: ClockFigures) {
        let clock = &self.reader.clock;
        clock.drift_ppb.store(figures.drift_ppb, Ordering::Relaxed);
        for (counter, figure) in [
            (&clock.jitter_ns_p50, figures.jitter_ns_p50),
            (&clock.jitter_ns_p99, figures.jitter_ns_p99),
            (&clock.reads, figures.reads),
            (&clock.restarts, figures.restarts),
        ] {
            counter.store(figure, Ordering::Relaxed);
        }
        clock.is_set.store(true, Ordering::Relaxed);
    }

    /// What its clock was found to be so far; `None` if its frames are dated by when they were read.
    #[must_use]
    pub fn clock(&self) -> Option<ClockFigures> {
        let clock = &self.reader.clock;
        clock.is_set.load(Ordering::Relaxed).then(|| ClockFigures {
            drift_ppb: clock.drift_ppb.load(Ordering::Relaxed),
            jitter_ns_p50: get(&clock.jitter_ns_p50),
            jitter_ns_p99: get(&clock.jitter_ns_p99),
            reads: get(&clock.reads),
            restarts: get(&clock.restarts),
        })
    }

    /// The source's bytes are to be recorded in a capture.
    pub fn begin_capture(&self) {
        self.capture.is_set.store(true, Ordering::Relaxed);
    }

    /// Bytes are on disk in a capture.
    pub fn add_recorded(&self, bytes: u64) {
        add(&self.capture.recorded, bytes);
    }

    /// Bytes were to be recorded in a capture, and are not.
    pub fn add_not_recorded(&self, bytes: u64) {
        add(&self.capture.not_recorded, bytes);
    }

    /// Bytes on disk in a capture so far.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        get(&self.capture.recorded)
    }

    /// Bytes that a capture has not got, so far.
    #[must_use]
    pub fn not_recorded(&self) -> u64 {
        get(&self.capture.not_recorded)
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
        self.dropped.iter().map(|count| get(&count.0)).sum()
    }

    /// Of these, the samples that were not to be kept.
    #[must_use]
    pub fn not_kept(&self) -> u64 {
        let place = DROP_REASONS.iter().position(|r| *r == GapReason::NotKept);
        place.map_or(0, |place| get(&self.dropped[place].0))
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
            line_errors: reader.line_watched.load(Ordering::Relaxed).then(|| {
                let counts = LineError::ALL.iter().zip(&reader.line_errors);
                let counts = counts.filter(|(_, count)| get(count) > 0);
                counts
                    .map(|(error, count)| (error.name().to_owned(), get(count).into()))
                    .collect()
            }),
            capture: self
                .capture
                .is_set
                .load(Ordering::Relaxed)
                .then(|| CaptureReport {
                    recorded_bytes: self.recorded(),
                    not_recorded_bytes: self.not_recorded(),
                }),
            journaled: self.journaled(),
            clock: self.clock().map(ClockReport::new),
            dropped: DROP_REASONS
                .iter()
                .zip(&self.dropped)
                .map(|(reason, count)| (reason.name().to_owned(), get(&count.0)))
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

/// A device's clock in the report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClockReport {
    /// By how much it is slow, ppm; negative if it is fast.
    pub drift_ppm: f64,
    /// How late reads were, µs.
    pub jitter_us: Jitter,
    /// Reads that it was fitted to.
    pub reads: u64,
    /// How often the fit began anew: the device was opened again, paused, or its count jumped.
    pub restarts: u64,
}

/// How late reads were, µs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Jitter {
    /// The median.
    pub p50: f64,
    /// All but a hundredth of them were less late.
    pub p99: f64,
}

impl ClockReport {
    #[allow(clippy::cast_precision_loss)]
    fn new(figures: ClockFigures) -> Self {
        Self {
            drift_ppm: figures.drift_ppb as f64 / 1e3,
            jitter_us: Jitter {
                p50: figures.jitter_ns_p50 as f64 / 1e3,
                p99: figures.jitter_ns_p99 as f64 / 1e3,
            },
            reads: figures.reads,
            restarts: figures.restarts,
        }
    }
}

/// One source in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// What went wrong below the link, by kind; nothing: the link cannot tell.
    pub line_errors: Option<serde_json::Map<String, serde_json::Value>>,
    /// What became of its bytes in a capture, where one is recorded: together they are `bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureReport>,
    /// Samples on disk.
    pub journaled: u64,
    /// The device's clock, where frames are dated by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReport>,
    /// Samples given up, by reason.
    pub dropped: serde_json::Map<String, serde_json::Value>,
}

/// A source's bytes in a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CaptureReport {
    /// On disk.
    pub recorded_bytes: u64,
    /// Given up: the disk was too slow, or failed.
    pub not_recorded_bytes: u64,
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
    fn a_line_that_cannot_tell_of_errors_is_not_one_without_errors() {
        let counts = SourceCounts::default();
        assert_eq!(counts.snapshot().line_errors, None);
        counts.add_line_errors(&LineErrors::default());
        assert_eq!(
            counts.snapshot().line_errors,
            Some(serde_json::Map::default())
        );
        let mut errors = LineErrors::default();
        errors.add(LineError::Overrun, 3);
        counts.add_line_errors(&errors);
        counts.add_line_errors(&errors);
        let report = counts.snapshot().line_errors.expect("it can tell");
        assert_eq!(report["overrun"], 6);
        assert_eq!(report.len(), 1);
    }

    #[test]
    fn two_mistakes_do_not_cancel_out() {
        let ledger = Ledger::new(2);
        ledger.source(SourceId(0)).add_acquired(1, 1);
        ledger.source(SourceId(1)).add_journaled(1);
        assert!(!ledger.totals(0).balanced);
    }
}
