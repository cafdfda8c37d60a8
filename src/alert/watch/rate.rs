//! Rate of change: the difference to a sample some time ago, a second.
//!
//! The other sample is the latest that is at least `over` old; of those in between, one in each 64th of `over`, counted
//! from the epoch, is remembered, so the time between the two is at most a 64th longer, and is divided by as it is.
//!
//! Until a sample so old is there, nothing is known. NaN is passed over. An infinity is an infinite rate, and is not
//! remembered. After a gap the change over the whole gap counts, divided by its length. If time steps back, what came
//! before is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::machine::Verdict;
use super::super::{Limits, ns};
use super::seconds;

/// Parts of `over` of which a sample is remembered.
const PARTS: i64 = 64;

#[derive(Debug, Clone)]
pub(in crate::alert) struct Rate {
    limits: Limits,
    over_ns: i64,
    part_ns: i64,
    /// Time and value, rising in time.
    samples: VecDeque<(i64, f64)>,
    last_ns: i64,
}

impl Rate {
    pub(in crate::alert) fn new(limits: Limits, over: Duration) -> Self {
        let over_ns = ns(over);
        Self {
            limits,
            over_ns,
            part_ns: (over_ns / PARTS).max(1),
            // Those within `over`, a part begun at either end, and the one before.
            samples: VecDeque::with_capacity(PARTS as usize + 4),
            last_ns: i64::MIN,
        }
    }

    pub(in crate::alert) fn look(&mut self, value: f64, time_ns: i64) -> (Verdict, f64) {
        if value.is_nan() {
            return (Verdict::Unknown, value);
        }
        if time_ns < self.last_ns {
            self.samples.clear();
        }
        self.last_ns = time_ns;
        let old_ns = time_ns.saturating_sub(self.over_ns);
        while self.samples.get(1).is_some_and(|next| next.0 <= old_ns) {
            self.samples.pop_front();
        }
        let reference = self
            .samples
            .front()
            .copied()
            .filter(|then| then.0 <= old_ns);
        let part = |time_ns: i64| time_ns.div_euclid(self.part_ns);
        let is_new = self
            .samples
            .back()
            .is_none_or(|last| part(last.0) != part(time_ns));
        if is_new && value.is_finite() {
            self.samples.push_back((time_ns, value));
        }
        let Some((then_ns, then)) = reference else {
            return (Verdict::Unknown, f64::NAN);
        };
        let rate = (value - then) / seconds(then_ns, time_ns);
        (self.limits.verdict(rate), rate)
    }
}
