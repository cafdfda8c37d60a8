//! Statistics of the values of a bin.
//!
//! **Always holds.** NaN is left out of every statistic; infinities are not.

use sketches_ddsketch::{Config, DDSketch};

/// A percentile is this far, relatively, from the value that stands at its rank.
pub(super) const PERCENTILE_ERROR: f64 = 0.001;

/// Magnitudes below this count as 0 among percentiles.
const SMALLEST: f64 = 1e-12;

/// At [`PERCENTILE_ERROR`] these reach from the smallest magnitude over 28 decades.
const SKETCH_BINS: u32 = 1 << 15;

/// A statistic.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) enum Stat {
    Count,
    Mean,
    Min,
    Max,
    First,
    Last,
    Sum,
    Std,
    /// As it was written, and its share.
    Percentile(String, f64),
}

const NAMED: [(&str, Stat); 8] = [
    ("count", Stat::Count),
    ("mean", Stat::Mean),
    ("min", Stat::Min),
    ("max", Stat::Max),
    ("first", Stat::First),
    ("last", Stat::Last),
    ("sum", Stat::Sum),
    ("std", Stat::Std),
];

impl Stat {
    /// A statistic as it is given on the command line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some((_, stat)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(stat.clone());
        }
        let percent = text.strip_prefix('p').filter(|rest| {
            rest.bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
        });
        match percent.and_then(|rest| rest.parse::<f64>().ok()) {
            Some(percent) if percent > 0.0 && percent < 100.0 => {
                Ok(Self::Percentile(text.to_owned(), percent / 100.0))
            }
            _ => Err(format!(
                "`{text}` is no statistic: there are count, mean, min, max, first, last, sum, std, and p1 to p99.9"
            )),
        }
    }

    pub(super) fn name(&self) -> &str {
        if let Self::Percentile(name, _) = self {
            return name;
        }
        let named = NAMED.iter().find(|(_, stat)| stat == self);
        named.map_or("", |(name, _)| name)
    }
}

/// The statistics of one channel's values, as they come.
#[derive(Clone)]
pub(super) struct Running {
    count: u64,
    min: f64,
    max: f64,
    first: f64,
    last: f64,
    sum: f64,
    /// Mean and sum of squared differences from it, by Welford's method.
    spread: Option<(f64, f64)>,
    ranks: Option<Ranks>,
}

/// Values by their rank: a sketch, and infinities beside it, which it cannot take.
#[derive(Clone)]
struct Ranks {
    sketch: DDSketch,
    finite: u64,
    below: u64,
}

impl Running {
    /// With what these statistics need.
    pub(super) fn new(stats: &[Stat]) -> Self {
        let has_percentile = stats.iter().any(|s| matches!(s, Stat::Percentile(..)));
        Self {
            count: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            first: f64::NAN,
            last: f64::NAN,
            sum: 0.0,
            spread: stats.contains(&Stat::Std).then_some((0.0, 0.0)),
            ranks: has_percentile.then(|| Ranks {
                sketch: DDSketch::new(Config::new(PERCENTILE_ERROR, SKETCH_BINS, SMALLEST)),
                finite: 0,
                below: 0,
            }),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn add(&mut self, values: &[f64]) {
        for value in values.iter().copied().filter(|value| !value.is_nan()) {
            if self.count == 0 {
                self.first = value;
            }
            self.count += 1;
            self.last = value;
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            self.sum += value;
            if let Some((mean, squares)) = &mut self.spread {
                let from_old = value - *mean;
                *mean += from_old / self.count as f64;
                *squares += from_old * (value - *mean);
            }
            if let Some(ranks) = &mut self.ranks {
                if value.is_finite() {
                    ranks.finite += 1;
                    ranks.sketch.add(value);
                } else if value < 0.0 {
                    ranks.below += 1;
                }
            }
        }
    }

    /// A statistic; `None` if there are not enough values for it.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn get(&self, stat: &Stat) -> Option<f64> {
        let count = self.count as f64;
        if *stat == Stat::Count {
            return Some(count);
        }
        if self.count == 0 {
            return None;
        }
        let found = match stat {
            Stat::Count => count,
            Stat::Mean => self.sum / count,
            Stat::Min => self.min,
            Stat::Max => self.max,
            Stat::First => self.first,
            Stat::Last => self.last,
            Stat::Sum => self.sum,
            // Of a sample, as pandas, polars and DuckDB have it.
            Stat::Std => {
                let (_, squares) = self.spread.filter(|_| self.count > 1)?;
                (squares / (count - 1.0)).sqrt()
            }
            Stat::Percentile(_, share) => self.percentile(*share)?,
        };
        Some(found)
    }

    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    fn percentile(&self, share: f64) -> Option<f64> {
        let ranks = self.ranks.as_ref()?;
        let rank = (share * (self.count - 1) as f64) as u64;
        if rank < ranks.below {
            return Some(f64::NEG_INFINITY);
        }
        let rank = rank - ranks.below;
        if rank >= ranks.finite {
            return Some(f64::INFINITY);
        }
        // In the middle of the rank's own share, so that rounding cannot move it to a neighbour's.
        let share = (rank as f64 + 0.5) / (ranks.finite as f64 - 1.0).max(1.0);
        let found = ranks.sketch.quantile(share.min(1.0)).ok()??;
        // The ends are known exactly.
        Some(found.clamp(self.min, self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64], stats: &str) -> Vec<Option<f64>> {
        let stats: Vec<Stat> = stats
            .split(',')
            .map(|stat| Stat::parse(stat).expect("a statistic"))
            .collect();
        let mut running = Running::new(&stats);
        running.add(values);
        stats.iter().map(|stat| running.get(stat)).collect()
    }

    #[test]
    fn nan_is_left_out_and_nothing_is_no_number() {
        let all = "count,mean,min,max,first,last,sum,std,p50";
        let found = of(&[f64::NAN, 1.0, 3.0, f64::NAN, 2.0], all);
        let expected = [3.0, 2.0, 1.0, 3.0, 1.0, 2.0, 6.0, 1.0];
        assert_eq!(found[..8], expected.map(Some));
        let none = of(&[f64::NAN], all);
        assert_eq!(none[0], Some(0.0));
        assert!(none[1..].iter().all(Option::is_none), "{none:?}");
        assert_eq!(of(&[7.0], "std,p99.9,p1"), [None, Some(7.0), Some(7.0)]);
    }

    #[test]
    fn percentiles_are_as_near_as_is_said() {
        let mut random = fastrand::Rng::with_seed(11);
        for (offset, scale) in [(0.0, 1.0), (-1e6, 3e5), (1e-3, 1e-4), (5e9, 1e9)] {
            let mut values: Vec<f64> = (0..10_001)
                .map(|_| offset + scale * (random.f64() - 0.5))
                .collect();
            let found = of(&values, "p1,p50,p99.9");
            values.sort_by(f64::total_cmp);
            for (found, truth) in found.iter().zip([values[100], values[5000], values[9990]]) {
                let found = found.expect("a percentile");
                assert!(
                    (found - truth).abs() <= truth.abs() * PERCENTILE_ERROR * 1.01,
                    "{found} for {truth}"
                );
            }
        }
    }

    #[test]
    fn infinities_and_extremes_have_their_rank() {
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let found = of(
            &[high, 1.0, low, f64::MAX, f64::MIN_POSITIVE],
            "p1,p99,min,max",
        );
        assert_eq!(found[0], Some(low));
        assert_eq!(found[2..], [Some(low), Some(high)]);
        assert_eq!(of(&[high, high], "p50,mean"), [Some(high), Some(high)]);
    }

    #[test]
    fn what_is_no_statistic_is_said() {
        for wrong in ["", "p", "p0", "p100", "median", "p-1", "pinf", "p1e1"] {
            assert!(Stat::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Stat::parse("p99.9").expect("a percentile").name(), "p99.9");
    }
}
