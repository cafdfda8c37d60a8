//! Running statistics of a channel: count, minimum, maximum and mean.
//!
//! **Always holds.** NaN is counted apart and changes no statistic. Infinities are minimum or
//! maximum when they occur, and are left out of the mean.

/// The statistics of one block's column, made in one pass over it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Finite values.
    pub finite: u64,
    /// Smallest value that is not NaN; +∞ if there is none.
    pub min: f64,
    /// Largest value that is not NaN; −∞ if there is none.
    pub max: f64,
    /// Sum of the finite values.
    pub sum: f64,
}

/// As many sums at once as the compiler can hold in two vectors of the widest registers; summing in a fixed
/// number of lanes also makes the result independent of the machine.
const LANES: usize = 8;

/// One pass over a column.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
pub fn summarize(values: &[f64]) -> Summary {
    let mut min = [f64::INFINITY; LANES];
    let mut max = [f64::NEG_INFINITY; LANES];
    let mut sum = [0.0; LANES];
    let mut finite = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut add = |lane: usize, x: f64| {
        // Comparisons with NaN are false, so NaN never becomes a minimum or maximum. Written
        // without branches: each line is one vector instruction or two.
        min[lane] = if x < min[lane] { x } else { min[lane] };
        max[lane] = if x > max[lane] { x } else { max[lane] };
        let is_finite = x.abs() < f64::INFINITY;
        sum[lane] += if is_finite { x } else { 0.0 };
        finite[lane] += if is_finite { 1.0 } else { 0.0 };
    };
    for chunk in chunks {
        for (lane, x) in chunk.iter().enumerate() {
            add(lane, *x);
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        add(lane, *x);
    }
    Summary {
        finite: finite.iter().sum::<f64>() as u64,
        min: min.into_iter().fold(f64::INFINITY, f64::min),
        max: max.into_iter().fold(f64::NEG_INFINITY, f64::max),
        sum: sum.iter().sum(),
    }
}

/// The statistics of a channel over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running {
    /// Values, NaN and infinities included.
    pub count: u64,
    /// Finite values.
    pub finite: u64,
    /// Smallest value that is not NaN; +∞ if there is none.
    pub min: f64,
    /// Largest value that is not NaN; −∞ if there is none.
    pub max: f64,
    /// Mean of the finite values; 0 if there is none.
    pub mean: f64,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            count: 0,
            finite: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            mean: 0.0,
        }
    }
}

impl Running {
    /// Adds `count` values by their summary.
    #[allow(clippy::cast_precision_loss)]
    pub fn add(&mut self, count: u64, summary: &Summary) {
        self.count += count;
        self.min = self.min.min(summary.min);
        self.max = self.max.max(summary.max);
        if summary.finite > 0 {
            self.finite += summary.finite;
            // The mean moves towards the block's: no sum that grows for days and loses its low digits.
            let block_mean = summary.sum / summary.finite as f64;
            self.mean += (block_mean - self.mean) * (summary.finite as f64 / self.finite as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nan_and_infinities_are_set_apart() {
        let summary = summarize(&[1.0, f64::NAN, f64::INFINITY, 3.0]);
        assert_eq!(
            summary,
            Summary {
                finite: 2,
                min: 1.0,
                max: f64::INFINITY,
                sum: 4.0
            }
        );
        let nothing = summarize(&[f64::NAN]);
        assert_eq!(
            (nothing.finite, nothing.min, nothing.max),
            (0, f64::INFINITY, f64::NEG_INFINITY)
        );
    }

    proptest! {
        #[test]
        fn blocks_sum_up_to_the_whole(values in prop::collection::vec(-1e6..1e6, 1..5000_usize), cut in 1..1000_usize) {
            let mut running = Running::default();
            for block in values.chunks(cut) {
                running.add(block.len() as u64, &summarize(block));
            }
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            prop_assert_eq!(running.count, values.len() as u64);
            prop_assert!((running.mean - mean).abs() <= 1e-9 * mean.abs().max(1e3));
            prop_assert_eq!(running.min, values.iter().copied().fold(f64::INFINITY, f64::min));
            prop_assert_eq!(running.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }
}
