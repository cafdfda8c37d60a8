//! The median of a trailing window.
//!
//! The window's values are kept sorted beside the ring of samples. A step is a search and a move of memory:
//! within a thousand samples some hundred nanoseconds, beyond it work for a thread that nothing waits for.

/// A moving median over the samples later than `now - length`.
#[derive(Debug, Clone)]
pub struct Median {
    length_ns: i64,
    capacity: usize,
    samples: std::collections::VecDeque<(i64, f64)>,
    sorted: Vec<f64>,
    evicted_early: u64,
}

impl Median {
    /// A window of so many nanoseconds, of at most `capacity` samples.
    #[must_use]
    pub fn new(length_ns: i64, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            length_ns: length_ns.max(1),
            capacity,
            samples: std::collections::VecDeque::with_capacity(capacity + 1),
            sorted: Vec::with_capacity(capacity + 1),
            evicted_early: 0,
        }
    }

    /// Samples that left before their time, for want of room.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.evicted_early
    }

    /// Takes a sample; NaN is passed over.
    pub fn push(&mut self, time_ns: i64, value: f64) {
        if value.is_nan() {
            return;
        }
        let time_ns = self
            .samples
            .back()
            .map_or(time_ns, |(newest_ns, _)| time_ns.max(*newest_ns));
        if self.samples.len() == self.capacity {
            self.evict();
            self.evicted_early += 1;
        }
        self.samples.push_back((time_ns, value));
        let place = self
            .sorted
            .partition_point(|known| known.total_cmp(&value).is_lt());
        self.sorted.insert(place, value);
    }

    /// The median of the window that ends at `now_ns`; NaN if it is empty.
    pub fn at(&mut self, now_ns: i64) -> f64 {
        let horizon_ns = now_ns.saturating_sub(self.length_ns);
        while self
            .samples
            .front()
            .is_some_and(|(time_ns, _)| *time_ns <= horizon_ns)
        {
            self.evict();
        }
        let middle = self.sorted.len() / 2;
        match self.sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => self.sorted[middle],
            _ => f64::midpoint(self.sorted[middle - 1], self.sorted[middle]),
        }
    }

    fn evict(&mut self) {
        if let Some((_, value)) = self.samples.pop_front() {
            let place = self
                .sorted
                .partition_point(|known| known.total_cmp(&value).is_lt());
            self.sorted.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_moving_median_is_the_median_of_what_is_in_the_window(
            steps in proptest::collection::vec((1..30_i64, -5..5_i32), 1..200), length in 1..200_i64,
        ) {
            let mut median = Median::new(length, 256);
            let (mut samples, mut now) = (Vec::new(), 0);
            for (step, value) in steps {
                now += step;
                let value = f64::from(value);
                samples.push((now, value));
                median.push(now, value);
                let mut inside: Vec<f64> =
                    samples.iter().filter(|(t, _)| *t > now - length).map(|(_, v)| *v).collect();
                inside.sort_by(f64::total_cmp);
                let n = inside.len();
                let expected = f64::midpoint(inside[(n - 1) / 2], inside[n / 2]);
                proptest::prop_assert_eq!(median.at(now), expected);
            }
        }
    }

    #[test]
    fn it_is_bounded_and_passes_nan_over() {
        let mut median = Median::new(1_000, 3);
        for (time, value) in [(0, 9.0), (1, 1.0), (2, f64::NAN), (3, 2.0), (4, 3.0)] {
            median.push(time, value);
        }
        assert_eq!(median.at(4), 2.0);
        assert_eq!(median.evicted_early(), 1);
        assert!(median.at(5_000).is_nan());
    }
}
