//! When something is to happen, one moment after the other.

use super::{Rhythm, nanos};
use crate::signal::mix;
use crate::signals::noise;

/// The moments of a rhythm, in order, by the device's clock.
#[derive(Debug)]
pub(super) struct Moments {
    rhythm: Rhythm,
    seed: u64,
    /// How many have been.
    count: u64,
    /// The next; `None`: there is none.
    next_ns: Option<u64>,
}

impl Moments {
    pub(super) fn new(rhythm: Rhythm, seed: u64) -> Self {
        let mut moments = Self {
            rhythm,
            seed,
            count: 0,
            next_ns: None,
        };
        moments.next_ns = match rhythm {
            Rhythm::At(time) | Rhythm::Every(time, _) => Some(nanos(time)),
            Rhythm::MeanEvery(_) => Some(moments.pause_ns()),
        };
        moments
    }

    /// The next one, if it has come by this time.
    pub(super) fn take(&mut self, time_ns: u64) -> Option<u64> {
        let moment_ns = self.next_ns.filter(|next_ns| *next_ns <= time_ns)?;
        self.count += 1;
        self.next_ns = match self.rhythm {
            Rhythm::At(_) => None,
            Rhythm::Every(_, period) => moment_ns.checked_add(nanos(period).max(1)),
            Rhythm::MeanEvery(_) => moment_ns.checked_add(self.pause_ns()),
        };
        Some(moment_ns)
    }

    /// A time between two moments by chance: exponential, so that what has been says nothing of what comes.
    fn pause_ns(&self) -> u64 {
        let Rhythm::MeanEvery(mean) = self.rhythm else {
            return u64::MAX;
        };
        // From 0 up to, not including, 1.
        let uniform = f64::midpoint(noise(self.count, mix(self.seed, 1)), 1.0);
        let pause_ns = -(1.0 - uniform).ln() * mean.as_nanos() as f64;
        // The cast saturates; never none, so that moments end.
        (pause_ns as u64).max(1)
    }
}
