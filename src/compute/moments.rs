//! Moments of a stretch of samples: what mean, deviation, extremes and slope are made of, in a form that
//! two neighbouring stretches can be merged in.
//!
//! Means and squared deviations are kept by Welford's update (Technometrics 4, 1962) and merged by the formulas of
//! Chan, Golub and LeVeque (The American Statistician 37, 1983), both over the distances from the stretch's first
//! value, so that a large common offset costs no digits.
//! The same is done with the times, whose covariance with the values gives the slope.

/// The moments of a stretch. Times are seconds since a moment that whoever feeds it chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Finite values.
    pub count: u64,
    /// The first finite value, from which the others are counted.
    pub first: f64,
    /// Mean of the finite values, less the first.
    pub distance: f64,
    /// Sum of the squared distances from the mean.
    pub squares: f64,
    /// Smallest value that is not NaN; +∞ if there is none.
    pub min: f64,
    /// Largest value that is not NaN; −∞ if there is none.
    pub max: f64,
    /// Mean time of the finite values, s.
    pub time_mean: f64,
    /// Sum of the squared distances of the times from it, s².
    pub time_squares: f64,
    /// Sum of the products of both distances.
    pub products: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0,
            first: 0.0,
            distance: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            time_mean: 0.0,
            time_squares: 0.0,
            products: 0.0,
        }
    }
}

impl Moments {
    /// The moments of one sample.
    #[must_use]
    pub fn of(time_s: f64, value: f64) -> Self {
        let mut moments = Self::default();
        moments.push(time_s, value);
        moments
    }

    /// Takes one sample more.
    #[allow(clippy::cast_precision_loss)]
    pub fn push(&mut self, time_s: f64, value: f64) {
        if value.is_nan() {
            return;
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if value.is_infinite() {
            return;
        }
        if self.count == 0 {
            self.first = value;
        }
        self.count += 1;
        let value = value - self.first;
        let part = 1.0 / self.count as f64;
        let distance = value - self.distance;
        let time_distance = time_s - self.time_mean;
        self.distance += distance * part;
        self.time_mean += time_distance * part;
        let distance_now = value - self.distance;
        self.squares += distance * distance_now;
        self.time_squares += time_distance * (time_s - self.time_mean);
        self.products += time_distance * distance_now;
    }

    /// Both stretches together; the order of the two does not matter to the result's meaning.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn merged(&self, other: &Self) -> Self {
        let (min, max) = (self.min.min(other.min), self.max.max(other.max));
        if self.count == 0 {
            return Self { min, max, ..*other };
        }
        if other.count == 0 {
            return Self { min, max, ..*self };
        }
        let count = self.count + other.count;
        let (a, b, all) = (self.count as f64, other.count as f64, count as f64);
        let distance = (other.first - self.first) + other.distance - self.distance;
        let time_distance = other.time_mean - self.time_mean;
        let weight = a * b / all;
        Self {
            count,
            first: self.first,
            distance: self.distance + distance * (b / all),
            squares: self.squares + other.squares + distance * distance * weight,
            min,
            max,
            time_mean: self.time_mean + time_distance * (b / all),
            time_squares: self.time_squares
                + other.time_squares
                + time_distance * time_distance * weight,
            products: self.products + other.products + time_distance * distance * weight,
        }
    }

    /// Mean of the finite values; NaN if there is none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            f64::NAN
        } else {
            self.first + self.distance
        }
    }

    /// Sum of the finite values; 0 if there is none.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn sum(&self) -> f64 {
        (self.first + self.distance) * self.count as f64
    }

    /// Standard deviation of the finite values, as of a sample (divisor n − 1); 0 for one value, NaN for none.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn deviation(&self) -> f64 {
        match self.count {
            0 => f64::NAN,
            1 => 0.0,
            count => (self.squares / (count - 1) as f64).sqrt(),
        }
    }

    /// Root of the mean square of the finite values; NaN if there is none.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn rms(&self) -> f64 {
        if self.count == 0 {
            return f64::NAN;
        }
        let mean = self.mean();
        (self.squares / self.count as f64 + mean * mean).sqrt()
    }

    /// Smallest value; NaN if there is none.
    #[must_use]
    pub fn min(&self) -> f64 {
        if self.min > self.max {
            f64::NAN
        } else {
            self.min
        }
    }

    /// Largest value; NaN if there is none.
    #[must_use]
    pub fn max(&self) -> f64 {
        if self.min > self.max {
            f64::NAN
        } else {
            self.max
        }
    }

    /// Slope of the straight line with the least squares, per second; NaN if fewer than two times are known.
    #[must_use]
    pub fn slope(&self) -> f64 {
        if self.count < 2 || self.time_squares <= 0.0 {
            return f64::NAN;
        }
        self.products / self.time_squares
    }

    /// Where that line is at a time.
    #[must_use]
    pub fn line_at(&self, time_s: f64) -> f64 {
        self.mean() + self.slope() * (time_s - self.time_mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_mean_and_no_extremes() {
        let none = Moments::default();
        assert!(none.mean().is_nan() && none.deviation().is_nan() && none.rms().is_nan());
        assert!(none.min().is_nan() && none.max().is_nan() && none.slope().is_nan());
        assert_eq!(none.sum(), 0.0);
    }

    #[test]
    fn nan_is_left_out_and_infinity_is_an_extreme_only() {
        let mut moments = Moments::default();
        for (time, value) in [
            (0.0, 1.0),
            (1.0, f64::NAN),
            (2.0, f64::INFINITY),
            (3.0, 3.0),
        ] {
            moments.push(time, value);
        }
        assert_eq!((moments.count, moments.mean()), (2, 2.0));
        assert_eq!((moments.min(), moments.max()), (1.0, f64::INFINITY));
    }

    proptest::proptest! {
        /// An offset of a billion with a spread of a thousandth: the textbook's sum of squares has no digit
        /// left there. Two passes are exact to rounding, and so must this be, in one piece and merged.
        #[test]
        fn welford_agrees_with_two_passes_on_ill_conditioned_data(
            spread in proptest::collection::vec(-1e-3..1e-3_f64, 2..300), offset in 1e8..1e10_f64, cut in 0..300_usize,
        ) {
            let values: Vec<f64> = spread.iter().map(|x| x + offset).collect();
            let n = values.len() as f64;
            // Exact: taken from the first value, the differences have no rounding.
            let shifted: Vec<f64> = values.iter().map(|x| x - values[0]).collect();
            let mean = shifted.iter().sum::<f64>() / n;
            let squares: f64 = shifted.iter().map(|x| (x - mean) * (x - mean)).sum();
            let deviation = (squares / (n - 1.0)).sqrt();
            let all = |values: &[f64], from: usize| {
                let mut moments = Moments::default();
                for (i, v) in values.iter().enumerate() { moments.push((from + i) as f64 * 1e-3, *v); }
                moments
            };
            let cut = cut.min(values.len());
            let merged = all(&values[..cut], 0).merged(&all(&values[cut..], cut));
            let rounding = 2.0 * offset * f64::EPSILON;
            for found in [all(&values, 0), merged] {
                proptest::prop_assert!((found.mean() - values[0] - mean).abs() <= rounding);
                proptest::prop_assert!((found.deviation() - deviation).abs() <= 1e-9 * deviation,
                    "{} {deviation}", found.deviation());
            }
        }

        #[test]
        fn a_line_has_its_slope(slope in -1e3..1e3_f64, from in -1e6..1e6_f64, count in 2..100_u32) {
            let mut moments = Moments::default();
            for i in 0..count { moments.push(f64::from(i) * 0.01, from + slope * f64::from(i) * 0.01); }
            proptest::prop_assert!((moments.slope() - slope).abs() < 1e-6 * (1.0 + from.abs()));
        }
    }
}
