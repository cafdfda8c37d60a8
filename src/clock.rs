//! The only file that asks the time.
//!
//! **Always holds.** Times are UTC nanoseconds in an `i64`: the wall clock at the start of the run,
//! carried on by the monotonic clock. So a wall clock that is stepped never reorders samples; the
//! step is seen by [`Clock::wall_offset_ns`] and becomes an event.
//!
//! **Must not know.** Who asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kymo_drivers::link::recorded::VirtualTime;

/// Tells the time. Cheap to clone; all clones agree.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    System {
        wall_at_start_ns: i64,
        start: Instant,
    },
    /// The host's clock, with a wall clock that a test sets by so many ns.
    Stepped {
        host: Box<Clock>,
        step_ns: Arc<AtomicI64>,
    },
    Manual(Arc<AtomicI64>),
    /// The time within a recording, which its reader moves.
    Recorded(VirtualTime),
}

impl Clock {
    /// The host's clock, from now on.
    #[must_use]
    pub fn system() -> Self {
        Self {
            source: Source::System {
                wall_at_start_ns: wall_ns(),
                start: Instant::now(),
            },
        }
    }

    /// A clock that stands at `now_ns` until it is set: for tests.
    #[must_use]
    pub fn manual(now_ns: i64) -> Self {
        Self {
            source: Source::Manual(Arc::new(AtomicI64::new(now_ns))),
        }
    }

    /// The host's clock, whose wall clock is ahead by what `step_ns` holds: for tests of a wall clock
    /// that is set while a run goes on.
    #[must_use]
    pub fn with_wall_step(step_ns: Arc<AtomicI64>) -> Self {
        let host = Box::new(Self::system());
        Self {
            source: Source::Stepped { host, step_ns },
        }
    }

    /// The time within a recording: it stands where the link that plays it has come to.
    #[must_use]
    pub fn recorded(time: VirtualTime) -> Self {
        Self {
            source: Source::Recorded(time),
        }
    }

    /// Sets a manual clock; does nothing to the host's.
    pub fn set_ns(&self, now_ns: i64) {
        if let Source::Manual(now) = &self.source {
            now.store(now_ns, Ordering::SeqCst);
        }
    }

    /// Now, UTC ns; never runs backwards.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        match &self.source {
            Source::System {
                wall_at_start_ns,
                start,
            } => wall_at_start_ns.saturating_add(nanoseconds(start.elapsed().as_nanos())),
            Source::Stepped { host, .. } => host.now_ns(),
            Source::Manual(now) => now.load(Ordering::SeqCst),
            Source::Recorded(time) => time.now_ns(),
        }
    }

    /// This clock's reading at an instant, UTC ns.
    #[must_use]
    pub fn at_ns(&self, instant: Instant) -> i64 {
        match &self.source {
            Source::System {
                wall_at_start_ns,
                start,
            } => {
                let since = instant.saturating_duration_since(*start).as_nanos();
                wall_at_start_ns.saturating_add(nanoseconds(since))
            }
            Source::Stepped { host, .. } => host.at_ns(instant),
            Source::Manual(now) => now.load(Ordering::SeqCst),
            Source::Recorded(time) => time.now_ns(),
        }
    }

    /// How far the wall clock is now ahead of this one, ns. It starts at 0, drifts with the
    /// host's frequency correction, and jumps when the wall clock is stepped.
    #[must_use]
    pub fn wall_offset_ns(&self) -> i64 {
        match &self.source {
            Source::System { .. } => wall_ns().saturating_sub(self.now_ns()),
            Source::Stepped { host, step_ns } => host
                .wall_offset_ns()
                .saturating_add(step_ns.load(Ordering::Relaxed)),
            Source::Manual(_) | Source::Recorded(_) => 0,
        }
    }
}

/// Sees steps of the wall clock.
#[derive(Debug)]
pub struct StepWatch {
    last_offset_ns: i64,
}

/// A change of the offset by more than this between two looks is a step: a frequency correction
/// moves the wall clock by at most 0.5 ms a second (adjtimex(2)), a step by `ntpd` is above 128 ms.
pub const STEP_MIN_NS: i64 = 20_000_000;

impl StepWatch {
    /// Starts with the offset as it is now.
    #[must_use]
    pub fn new(offset_ns: i64) -> Self {
        Self {
            last_offset_ns: offset_ns,
        }
    }

    /// The step since the last look, ns (positive: the wall clock was set forward), if there was one.
    pub fn look(&mut self, offset_ns: i64) -> Option<i64> {
        let step = offset_ns.saturating_sub(self.last_offset_ns);
        self.last_offset_ns = offset_ns;
        (step.saturating_abs() >= STEP_MIN_NS).then_some(step)
    }
}

/// A time as text: RFC 3339, UTC, with nanoseconds.
#[must_use]
pub fn rfc3339(time_ns: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(time_ns)) {
        Ok(time) => format!("{time:.9}"),
        // An `i64` of nanoseconds ends in 2262, far inside the library's range.
        Err(_) => format!("{time_ns} ns"),
    }
}

/// The name of a run that starts now: sorts by time, and two runs in the same millisecond differ.
#[must_use]
pub fn run_id(time_ns: i64) -> String {
    let time = rfc3339(time_ns - time_ns.rem_euclid(1_000_000));
    let compact: String = time
        .chars()
        .take(23)
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    format!("{compact}Z-{:04x}", fastrand::u16(..))
}

fn wall_ns() -> i64 {
    #[allow(clippy::disallowed_methods)] // This is the file that may.
    let now = SystemTime::now();
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => nanoseconds(since.as_nanos()),
        Err(before) => -nanoseconds(before.duration().as_nanos()),
    }
}

fn nanoseconds(count: u128) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_seen_once_and_drift_is_not_a_step() {
        let mut watch = StepWatch::new(0);
        assert_eq!(watch.look(500_000), None);
        assert_eq!(watch.look(-3_600_000_000_000), Some(-3_600_000_500_000));
        assert_eq!(watch.look(-3_600_000_000_000), None);
    }

    #[test]
    fn the_host_clock_agrees_with_the_wall_and_does_not_run_backwards() {
        let clock = Clock::system();
        assert!(clock.wall_offset_ns().abs() < STEP_MIN_NS);
        let first = clock.now_ns();
        assert!(clock.now_ns() >= first);
    }

    #[test]
    fn a_run_id_sorts_by_time() {
        let id = run_id(1_795_420_800_123_456_789);
        assert!(id.starts_with("20261123T080000.123Z-"), "{id}");
        assert!(run_id(0) < id);
    }

    #[test]
    fn times_are_written_with_nanoseconds() {
        assert_eq!(
            rfc3339(1_795_420_800_000_000_001),
            "2026-11-23T08:00:00.000000001Z"
        );
        assert_eq!(rfc3339(i64::MIN).len(), 30);
    }
}
