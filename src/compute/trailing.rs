//! Statistics of a trailing window: of all samples later than `now - length`, and not after `now`.
//!
//! Two stacks of merged moments (as in "general incremental sliding-window aggregation", Tangwongsan, Hirzel,
//! Schneider, Wu, VLDB 2015): nothing is ever subtracted, so no rounding is left behind by values that have
//! gone, and a sample costs two merges on the average.
//!
//! **Always holds.** At most the capacity is held. Beyond it the oldest leave early, which is counted.

use super::moments::Moments;

/// A trailing window.
#[derive(Debug, Clone)]
pub struct Trailing {
    length_ns: i64,
    /// Ring of samples, oldest at `first`.
    times_ns: Box<[i64]>,
    values: Box<[f64]>,
    first: usize,
    len: usize,
    /// Of the oldest samples, those whose moments up to the end of this front part are in `suffixes`,
    /// the oldest's on top.
    suffixes: Vec<Moments>,
    /// Moments of the samples behind the front part.
    back: Moments,
    /// Times are counted from here, so that they keep their digits.
    origin_ns: Option<i64>,
    evicted_early: u64,
}

impl Trailing {
    /// A window of so many nanoseconds, of at most `capacity` samples.
    #[must_use]
    pub fn new(length_ns: i64, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            length_ns: length_ns.max(1),
            times_ns: vec![0; capacity].into_boxed_slice(),
            values: vec![0.0; capacity].into_boxed_slice(),
            first: 0,
            len: 0,
            suffixes: Vec::with_capacity(capacity),
            back: Moments::default(),
            origin_ns: None,
            evicted_early: 0,
        }
    }

    /// Samples that left before their time, for want of room.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.evicted_early
    }

    /// A time as it is counted in the moments, s.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn seconds(&self, time_ns: i64) -> f64 {
        time_ns.saturating_sub(self.origin_ns.unwrap_or(time_ns)) as f64 * 1e-9
    }

    /// Takes a sample. One dated before the last is taken as of the last one's time.
    pub fn push(&mut self, time_ns: i64, value: f64) {
        let time_ns = match self.newest_ns() {
            Some(newest_ns) => time_ns.max(newest_ns),
            None => time_ns,
        };
        self.origin_ns.get_or_insert(time_ns);
        if self.len == self.values.len() {
            self.evict();
            self.evicted_early += 1;
        }
        let place = (self.first + self.len) % self.values.len();
        self.times_ns[place] = time_ns;
        self.values[place] = value;
        self.len += 1;
        self.back.push(self.seconds(time_ns), value);
    }

    /// The moments of the window that ends at `now_ns`.
    pub fn at(&mut self, now_ns: i64) -> Moments {
        let horizon_ns = now_ns.saturating_sub(self.length_ns);
        while self.len > 0 && self.times_ns[self.first] <= horizon_ns {
            self.evict();
        }
        match self.suffixes.last() {
            Some(front) => front.merged(&self.back),
            None => self.back,
        }
    }

    fn newest_ns(&self) -> Option<i64> {
        let last = self.len.checked_sub(1)?;
        Some(self.times_ns[(self.first + last) % self.values.len()])
    }

    fn evict(&mut self) {
        if self.suffixes.is_empty() {
            // The back becomes the front: each suffix's moments, from the newest to the oldest.
            let mut moments = Moments::default();
            for index in (0..self.len).rev() {
                let place = (self.first + index) % self.values.len();
                let sample = Moments::of(self.seconds(self.times_ns[place]), self.values[place]);
                moments = sample.merged(&moments);
                self.suffixes.push(moments);
            }
            self.back = Moments::default();
        }
        self.suffixes.pop();
        self.first = (self.first + 1) % self.values.len();
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_trailing_window_is_what_its_samples_say(
            steps in proptest::collection::vec((1..30_i64, -1e3..1e3_f64), 1..200), length in 1..200_i64,
        ) {
            let mut window = Trailing::new(length, 256);
            let mut samples: Vec<(i64, f64)> = Vec::new();
            let mut now = 1_700_000_000_000_000_000;
            for (step, value) in steps {
                now += step;
                samples.push((now, value));
                window.push(now, value);
                let found = window.at(now);
                let inside: Vec<f64> =
                    samples.iter().filter(|(t, _)| *t > now - length).map(|(_, v)| *v).collect();
                let n = inside.len() as f64;
                let mean = inside.iter().sum::<f64>() / n;
                proptest::prop_assert_eq!(found.count, inside.len() as u64);
                proptest::prop_assert!((found.mean() - mean).abs() < 1e-9);
                let squares: f64 = inside.iter().map(|x| (x - mean) * (x - mean)).sum();
                proptest::prop_assert!((found.squares - squares).abs() < 1e-6);
                proptest::prop_assert_eq!(found.min(), inside.iter().copied().fold(f64::INFINITY, f64::min));
                proptest::prop_assert_eq!(found.max(), inside.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            }
            proptest::prop_assert_eq!(window.evicted_early(), 0);
        }
    }

    #[test]
    fn a_value_that_has_gone_leaves_no_rounding_behind() {
        let mut window = Trailing::new(10, 16);
        window.push(0, 1e300);
        window.push(5, 1.0);
        window.push(11, 2.0);
        assert_eq!(window.at(11).mean(), 1.5);
    }

    #[test]
    fn a_full_window_lets_the_oldest_go_and_says_so() {
        let mut window = Trailing::new(1_000, 4);
        for i in 0..6 {
            window.push(i, i as f64);
        }
        assert_eq!(window.at(5).count, 4);
        assert_eq!(window.at(5).min(), 2.0);
        assert_eq!(window.evicted_early(), 2);
    }

    #[test]
    fn time_that_steps_back_is_taken_as_standing_still() {
        let mut window = Trailing::new(100, 16);
        window.push(1_000, 1.0);
        window.push(10, 3.0);
        assert_eq!(window.at(1_000).count, 2);
        assert_eq!(window.at(1_100).count, 0);
    }
}
