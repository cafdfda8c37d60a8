//! Integral and derivative over time.
//!
//! **Always holds.** NaN and infinities are passed over. What is longer between two samples than the gap
//! stated is a gap: the integral adds nothing for it, and the derivative starts anew behind it.

/// The integral by the trapezoidal rule.
#[derive(Debug, Clone)]
pub struct Integral {
    gap_ns: i64,
    last: Option<(i64, f64)>,
    sum: f64,
    /// What the sum has lost to rounding (Kahan, CACM 8, 1965): a day at 10 kHz is a billion additions.
    lost: f64,
}

impl Integral {
    /// Nothing so far.
    #[must_use]
    pub fn new(gap_ns: i64) -> Self {
        Self {
            gap_ns,
            last: None,
            sum: 0.0,
            lost: 0.0,
        }
    }

    /// Takes a sample; the integral up to it, in the value's unit times seconds.
    #[allow(clippy::cast_precision_loss)]
    pub fn step(&mut self, time_ns: i64, value: f64) -> f64 {
        if !value.is_finite() {
            return self.sum;
        }
        if let Some((last_ns, last)) = self.last {
            let passed_ns = time_ns.saturating_sub(last_ns);
            if passed_ns > 0 && passed_ns <= self.gap_ns {
                let area = f64::midpoint(last, value) * (passed_ns as f64 * 1e-9);
                let add = area - self.lost;
                let sum = self.sum + add;
                self.lost = (sum - self.sum) - add;
                self.sum = sum;
            }
        }
        self.last = Some((time_ns, value));
        self.sum
    }
}

/// The derivative: the difference quotient of neighbouring samples.
#[derive(Debug, Clone)]
pub struct Derivative {
    gap_ns: i64,
    last: Option<(i64, f64)>,
}

impl Derivative {
    /// Nothing so far.
    #[must_use]
    pub fn new(gap_ns: i64) -> Self {
        Self { gap_ns, last: None }
    }

    /// Takes a sample; the change per second since the one before, NaN where there is none.
    #[allow(clippy::cast_precision_loss)]
    pub fn step(&mut self, time_ns: i64, value: f64) -> f64 {
        if !value.is_finite() {
            return f64::NAN;
        }
        let slope = self.last.map_or(f64::NAN, |(last_ns, last)| {
            let passed_ns = time_ns.saturating_sub(last_ns);
            if passed_ns <= 0 || passed_ns > self.gap_ns {
                f64::NAN
            } else {
                (value - last) / (passed_ns as f64 * 1e-9)
            }
        });
        self.last = Some((time_ns, value));
        slope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn the_integral_of_a_line_is_exact_and_a_gap_adds_nothing() {
        let mut integral = Integral::new(10 * MS);
        for i in 0..=1000 {
            integral.step(i * MS, i as f64);
        }
        // Half of 1000 times 1 s.
        assert!((integral.step(1000 * MS, 1000.0) - 500.0).abs() < 1e-9);
        let behind_gap = integral.step(5000 * MS, 1000.0);
        assert!((behind_gap - 500.0).abs() < 1e-9);
        assert!((integral.step(5000 * MS + MS, f64::NAN) - 500.0).abs() < 1e-9);
        assert!((integral.step(5010 * MS, 1000.0) - 510.0).abs() < 1e-9);
    }

    #[test]
    fn the_derivative_starts_anew_behind_a_gap_and_when_time_steps_back() {
        let mut derivative = Derivative::new(10 * MS);
        assert!(derivative.step(0, 1.0).is_nan());
        assert!((derivative.step(MS, 1.5) - 500.0).abs() < 1e-9);
        assert!(derivative.step(2 * MS, f64::NAN).is_nan());
        assert!((derivative.step(3 * MS, 2.5) - 500.0).abs() < 1e-9);
        assert!(derivative.step(100 * MS, 9.0).is_nan());
        assert!(derivative.step(50 * MS, 9.0).is_nan());
    }
}
