//! Functions that remember: trailing windows, filters, integral, derivative.
//!
//! A function given a channel follows that channel's own samples, and its value at a moment is that at the
//! channel's latest sample not after it. A function given an expression follows the moments of the evaluation.

use crate::compute::biquad::Biquad;
use crate::compute::calculus::{Derivative, Integral};
use crate::compute::median::Median;
use crate::compute::moments::Moments;
use crate::compute::trailing::Trailing;

/// What is wanted of a trailing window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Statistic {
    Mean,
    Min,
    Max,
    Deviation,
    Rms,
    Sum,
    Count,
    PeakToPeak,
    /// Of the fitted line, per second.
    Slope,
    /// The fitted line, so many seconds ahead.
    Ahead(f64),
}

impl Statistic {
    #[allow(clippy::cast_precision_loss)]
    fn of(self, moments: &Moments, now_s: f64) -> f64 {
        match self {
            Self::Mean => moments.mean(),
            Self::Min => moments.min(),
            Self::Max => moments.max(),
            Self::Deviation => moments.deviation(),
            Self::Rms => moments.rms(),
            Self::Sum => moments.sum(),
            Self::Count => moments.count as f64,
            Self::PeakToPeak => moments.max() - moments.min(),
            Self::Slope => moments.slope(),
            Self::Ahead(ahead_s) => moments.line_at(now_s + ahead_s),
        }
    }
}

/// A function and what it remembers.
#[derive(Debug, Clone)]
pub(super) enum State {
    Trailing {
        window: Trailing,
        statistic: Statistic,
    },
    Median(Median),
    Filter {
        filter: Biquad,
        gap_ns: i64,
        last_ns: Option<i64>,
        value: f64,
    },
    Integral {
        integral: Integral,
        value: f64,
    },
    Derivative {
        derivative: Derivative,
        value: f64,
    },
    /// Seconds since the last sample.
    Age {
        last_ns: Option<i64>,
    },
}

impl State {
    /// Takes a sample.
    pub(super) fn push(&mut self, time_ns: i64, x: f64) {
        match self {
            Self::Trailing { window, .. } => window.push(time_ns, x),
            Self::Median(median) => median.push(time_ns, x),
            Self::Filter {
                filter,
                gap_ns,
                last_ns,
                value,
            } => {
                let since_ns = last_ns.map_or(0, |last_ns| time_ns.saturating_sub(last_ns));
                if since_ns > *gap_ns {
                    filter.restart();
                }
                *last_ns = Some(time_ns);
                *value = filter.step(x);
            }
            Self::Integral { integral, value } => *value = integral.step(time_ns, x),
            Self::Derivative { derivative, value } => *value = derivative.step(time_ns, x),
            Self::Age { last_ns } => *last_ns = Some(time_ns),
        }
    }

    /// Its value at a moment.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn at(&mut self, now_ns: i64) -> f64 {
        match self {
            Self::Trailing { window, statistic } => {
                let moments = window.at(now_ns);
                statistic.of(&moments, window.seconds(now_ns))
            }
            Self::Median(median) => median.at(now_ns),
            Self::Filter { value, .. }
            | Self::Integral { value, .. }
            | Self::Derivative { value, .. } => *value,
            Self::Age { last_ns } => last_ns.map_or(f64::NAN, |last_ns| {
                now_ns.saturating_sub(last_ns) as f64 * 1e-9
            }),
        }
    }

    /// Samples that left a window before their time, because its bound was reached.
    pub(super) fn evicted_early(&self) -> u64 {
        match self {
            Self::Trailing { window, .. } => window.evicted_early(),
            Self::Median(median) => median.evicted_early(),
            _ => 0,
        }
    }
}
