//! A value that stays the same: since a sample from which none has differed by more than the tolerance.
//!
//! NaN is passed over: it is neither a change nor the lack of one. An infinity is a value, and stays the same while it is
//! the same infinity. A gap is no change: what is the same before and after it was, as far as anybody knows, the same
//! meanwhile. If time steps back behind the sample that it is counted from, the wait begins anew.

use std::time::Duration;

use super::super::machine::Verdict;
use super::super::ns;
use super::seconds;

#[derive(Debug, Clone)]
pub(in crate::alert) struct Stuck {
    after_ns: i64,
    tolerance: f64,
    /// The sample from which none has differed.
    since: Option<(i64, f64)>,
}

impl Stuck {
    pub(in crate::alert) fn new(after: Duration, tolerance: f64) -> Self {
        Self {
            after_ns: ns(after),
            tolerance,
            since: None,
        }
    }

    fn is_same(&self, value: f64, other: f64) -> bool {
        // Two infinities of a sign differ by NaN, and are the same.
        value == other || (value - other).abs() <= self.tolerance
    }

    pub(in crate::alert) fn look(&mut self, value: f64, time_ns: i64) -> (Verdict, f64) {
        if value.is_nan() {
            return (Verdict::Unknown, value);
        }
        let since = self.since;
        let same = since.filter(|(_, since)| self.is_same(value, *since));
        let Some((since_ns, _)) = same.filter(|(since_ns, _)| *since_ns <= time_ns) else {
            self.since = Some((time_ns, value));
            // What is the same, and only counted anew, does not clear.
            let changed = since.is_some() && same.is_none();
            let verdict = if changed {
                Verdict::Clear
            } else {
                Verdict::Between
            };
            return (verdict, 0.0);
        };
        let bad = time_ns.saturating_sub(since_ns) >= self.after_ns;
        let verdict = if bad { Verdict::Bad } else { Verdict::Between };
        (verdict, seconds(since_ns, time_ns))
    }
}
