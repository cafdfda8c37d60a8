//! A channel of which no sample comes: the deadline is the last sample's time and the wait.
//!
//! Any sample is data, also NaN and infinities: the device has sent it. The alert's time is the deadline itself,
//! whoever notices that it has passed: the run's clock, while nothing comes, or the sample that comes late, also
//! when recorded samples are judged again. If time steps back, the wait begins anew.

use std::time::Duration;

use super::super::ns;
use super::seconds;

#[derive(Debug, Clone)]
pub(in crate::alert) struct NoData {
    after_ns: i64,
    last_ns: i64,
}

impl NoData {
    pub(in crate::alert) fn new(after: Duration, start_ns: i64) -> Self {
        Self {
            after_ns: ns(after),
            last_ns: start_ns,
        }
    }

    pub(in crate::alert) fn deadline_ns(&self) -> i64 {
        self.last_ns.saturating_add(self.after_ns)
    }

    /// Seconds waited at a time.
    pub(in crate::alert) fn waited_s(&self, at_ns: i64) -> f64 {
        seconds(self.last_ns, at_ns)
    }

    /// Takes samples at these times if none of them was waited for too long; else false, and each is to be looked at.
    pub(in crate::alert) fn passes(&mut self, mut times_ns: impl Iterator<Item = i64>) -> bool {
        let mut last_ns = self.last_ns;
        let passes = times_ns.all(|time_ns| {
            let waited_ns = time_ns.saturating_sub(last_ns);
            last_ns = time_ns;
            waited_ns <= self.after_ns
        });
        if passes {
            self.last_ns = last_ns;
        }
        passes
    }

    /// A sample has come; how long it was waited for, s.
    pub(in crate::alert) fn come(&mut self, time_ns: i64) -> f64 {
        let waited = self.waited_s(time_ns);
        self.last_ns = time_ns;
        waited
    }
}
