//! The board: each channel's latest value and statistics, for whoever looks on.
//!
//! **Always holds.** The stage writes, anyone reads, nobody waits. A reader may see the count of one
//! block beside the mean of the one before: good for the eye, and for the eye only.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::statistics::Running;

/// One channel on the board.
#[derive(Debug)]
pub struct ChannelBoard {
    last: AtomicU64,
    last_ns: AtomicI64,
    count: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    mean: AtomicU64,
}

impl Default for ChannelBoard {
    fn default() -> Self {
        let nan = || AtomicU64::new(f64::NAN.to_bits());
        Self {
            last: nan(),
            last_ns: AtomicI64::new(i64::MIN),
            count: AtomicU64::new(0),
            min: nan(),
            max: nan(),
            mean: nan(),
        }
    }
}

/// What a channel's board says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// Latest value.
    pub last: f64,
    /// Its time, UTC ns; `None` if there is none yet.
    pub last_ns: Option<i64>,
    /// Values so far.
    pub count: u64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
}

impl ChannelBoard {
    /// Writes the latest. Relaxed: see the head of this file.
    pub(super) fn show(&self, last: f64, last_ns: i64, running: &Running) {
        self.last.store(last.to_bits(), Ordering::Relaxed);
        self.last_ns.store(last_ns, Ordering::Relaxed);
        self.count.store(running.count, Ordering::Relaxed);
        self.min.store(running.min.to_bits(), Ordering::Relaxed);
        self.max.store(running.max.to_bits(), Ordering::Relaxed);
        self.mean.store(running.mean.to_bits(), Ordering::Relaxed);
    }

    /// Reads the latest.
    #[must_use]
    pub fn read(&self) -> Shown {
        let value = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
        let last_ns = self.last_ns.load(Ordering::Relaxed);
        Shown {
            last: value(&self.last),
            last_ns: (last_ns != i64::MIN).then_some(last_ns),
            count: self.count.load(Ordering::Relaxed),
            min: value(&self.min),
            max: value(&self.max),
            mean: value(&self.mean),
        }
    }
}
