//! How long things took: histograms that allocate nothing while they are recorded.
//!
//! **Always holds.** One thread owns a histogram and records into it; whoever wants it gets it when
//! that thread ends, or a copy. Resolution is three significant digits from 1 ns to 60 s; what took
//! longer counts as 60 s.
//!
//! **Must not know.** What was timed.

use hdrhistogram::Histogram;
use serde::Serialize;

const LONGEST_NS: u64 = 60_000_000_000;

/// Times of one kind.
#[derive(Debug, Clone)]
pub struct Latency {
    histogram: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 3)
            .expect("constant bounds that the library's documentation allows");
        Self { histogram }
    }
}

impl Latency {
    /// Counts one time, from `from_ns` to `to_ns`. A time that seems to end before it began counts as 1 ns.
    pub fn record_ns(&mut self, from_ns: i64, to_ns: i64) {
        let taken = u64::try_from(to_ns.saturating_sub(from_ns)).unwrap_or(0);
        self.histogram.saturating_record(taken.max(1));
    }

    /// Adds another's times.
    pub fn merge(&mut self, other: &Latency) {
        // Both have the same bounds, so nothing can be out of range.
        let _ = self.histogram.add(&other.histogram);
    }

    /// Forgets all times.
    pub fn clear(&mut self) {
        self.histogram.clear();
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The figures of the report.
    #[must_use]
    pub fn summary(&self) -> Summary {
        #[allow(clippy::cast_precision_loss)]
        let quantile = |q: f64| self.histogram.value_at_quantile(q) as f64 / 1e3;
        if self.histogram.is_empty() {
            return Summary::default();
        }
        Summary {
            count: self.count(),
            mean: self.histogram.mean() / 1e3,
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            #[allow(clippy::cast_precision_loss)]
            max: self.histogram.max() as f64 / 1e3,
            below: self.below(),
        }
    }

    /// How many times were at most as long as each of [`BOUNDS_US`], to the histogram's thousandth.
    fn below(&self) -> [u64; BOUNDS_US.len()] {
        let mut below = [0; BOUNDS_US.len()];
        for step in self.histogram.iter_recorded() {
            let taken = self.histogram.lowest_equivalent(step.value_iterated_to());
            let place = BOUNDS_US.partition_point(|bound| bound * 1000 < taken);
            if let Some(count) = below.get_mut(place) {
                *count += step.count_at_value();
            }
        }
        let mut sum = 0;
        below.map(|count| {
            sum += count;
            sum
        })
    }
}

/// Where the buckets of a histogram end that is shown to others, µs.
pub const BOUNDS_US: [u64; 14] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000,
];

/// A histogram in six numbers; times in microseconds, 0 if nothing was timed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// Mean, µs.
    pub mean: f64,
    /// Median, µs.
    pub p50: f64,
    /// 99th percentile, µs.
    pub p99: f64,
    /// 99.9th percentile, µs.
    pub p999: f64,
    /// Longest, µs.
    pub max: f64,
    /// How many took at most as long as each of [`BOUNDS_US`].
    #[serde(skip)]
    pub below: [u64; BOUNDS_US.len()],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_the_resolution() {
        let mut latency = Latency::default();
        for us in 1..=1000 {
            latency.record_ns(0, us * 1000);
        }
        let summary = latency.summary();
        assert_eq!(summary.count, 1000);
        assert!((summary.p50 - 500.0).abs() <= 1.0, "{summary:?}");
        assert!((summary.p99 - 990.0).abs() <= 1.0, "{summary:?}");
        assert!((summary.max - 1000.0).abs() <= 1.0, "{summary:?}");
    }

    #[test]
    fn times_out_of_range_are_counted_at_its_ends() {
        let mut latency = Latency::default();
        latency.record_ns(5, 3);
        latency.record_ns(0, i64::MAX);
        assert_eq!(latency.count(), 2);
        assert!(latency.summary().max >= 60e6 - 1e5);
    }
}
