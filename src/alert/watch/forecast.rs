//! A forecast: where a robust trend through the last samples will be in a while.
//!
//! `over` is divided, from the epoch on, into 32 parts. When a part is over, which the first sample behind it shows,
//! its mean joins those before, and the line of Theil and Sen goes through them: the median of the slopes of all
//! pairs, and the median of what the line then leaves (H. Theil, 1950; P. K. Sen, J. Am. Stat. Assoc. 63, 1968). Up to 29 %
//! of the means may be anything without moving it far. Between two looks nothing is said, so `for` counts in
//! parts.
//!
//! NaN and infinities are passed over: no trend goes through them. Parts without a sample, in a gap, are left out; with
//! fewer than eight parts nothing is known. If time steps back, what came before is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::machine::Verdict;
use super::super::{Limits, ns};
use super::seconds;

/// Parts of the time over which the trend is taken: 496 pairs, some microseconds a look.
const PARTS: usize = 32;
/// A line through fewer would be a guess.
const PARTS_MIN: usize = 8;

#[derive(Debug, Clone)]
pub(in crate::alert) struct Forecast {
    limits: Limits,
    within_s: f64,
    over_ns: i64,
    part_ns: i64,
    /// Mean time and mean value of parts, rising in time.
    means: VecDeque<(i64, f64)>,
    part: Part,
    last_ns: i64,
    /// Room to sort in.
    slopes: Vec<f64>,
}

/// The part that is being filled.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    number: i64,
    first_ns: i64,
    count: f64,
    /// Of the times since the first, s.
    time_sum: f64,
    sum: f64,
}

impl Forecast {
    pub(in crate::alert) fn new(limits: Limits, within: Duration, over: Duration) -> Self {
        let over_ns = ns(over);
        Self {
            limits,
            within_s: within.as_secs_f64(),
            over_ns,
            part_ns: (over_ns / PARTS as i64).max(1),
            means: VecDeque::with_capacity(PARTS + 2),
            part: Part::default(),
            last_ns: i64::MIN,
            slopes: Vec::with_capacity((PARTS + 2) * (PARTS + 1) / 2),
        }
    }

    pub(in crate::alert) fn look(&mut self, value: f64, time_ns: i64) -> (Verdict, f64) {
        if !value.is_finite() {
            return (Verdict::Unknown, value);
        }
        if time_ns < self.last_ns {
            self.means.clear();
            self.part.count = 0.0;
        }
        self.last_ns = time_ns;
        let number = time_ns.div_euclid(self.part_ns);
        let mut found = (Verdict::Unknown, f64::NAN);
        if self.part.count > 0.0 && number != self.part.number {
            self.close_part();
            let old_ns = time_ns.saturating_sub(self.over_ns);
            while self.means.front().is_some_and(|mean| mean.0 < old_ns) {
                self.means.pop_front();
            }
            if let Some(then) = self.predict(time_ns) {
                found = (self.limits.verdict(then), then);
            }
        }
        if self.part.count == 0.0 {
            self.part = Part {
                number,
                first_ns: time_ns,
                ..Part::default()
            };
        }
        self.part.count += 1.0;
        self.part.time_sum += seconds(self.part.first_ns, time_ns);
        self.part.sum += value;
        found
    }

    fn close_part(&mut self) {
        let part = self.part;
        #[allow(clippy::cast_possible_truncation)] // Less than `over`.
        let offset_ns = (part.time_sum / part.count * 1e9) as i64;
        let mean = part.sum / part.count;
        if mean.is_finite() {
            self.means.push_back((part.first_ns + offset_ns, mean));
        }
        self.part.count = 0.0;
    }

    /// The line's value `within` after `now_ns`.
    fn predict(&mut self, now_ns: i64) -> Option<f64> {
        if self.means.len() < PARTS_MIN {
            return None;
        }
        self.slopes.clear();
        for (place, (late_ns, late)) in self.means.iter().enumerate() {
            for (early_ns, early) in self.means.range(..place) {
                self.slopes
                    .push((late - early) / seconds(*early_ns, *late_ns));
            }
        }
        let slope = median(&mut self.slopes);
        self.slopes.clear();
        let rests = self.means.iter();
        self.slopes
            .extend(rests.map(|(time_ns, mean)| mean + slope * seconds(*time_ns, now_ns)));
        Some(median(&mut self.slopes) + slope * self.within_s)
    }
}

/// The median; of an even number of values the mean of the two in the middle.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if !is_even {
        return upper;
    }
    let lower = below
        .iter()
        .copied()
        .max_by(f64::total_cmp)
        .unwrap_or(upper);
    f64::midpoint(lower, upper)
}
