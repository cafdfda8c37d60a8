//! Second-order filters: Robert Bristow-Johnson's "Cookbook formulae for audio EQ biquad filter
//! coefficients" (W3C note, 2021), run in transposed direct form II.
//!
//! **Always holds.** A filter starts settled on its first value, as if that had been there for ever. NaN and infinities
//! give NaN and leave the state as it is.

use std::f64::consts::TAU;

/// What a filter lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// What is below the corner.
    Low,
    /// What is above it.
    High,
    /// What is around the centre; its peak has gain 1.
    Band,
    /// What is not around the centre.
    Notch,
}

/// Q of a filter that says nothing else: Butterworth's, 1/√2, the flattest pass band.
pub const BUTTERWORTH: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// One filter and its state.
#[derive(Debug, Clone, PartialEq)]
pub struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
    state: Option<[f64; 2]>,
}

impl Biquad {
    /// A filter with its corner or centre at `frequency_hz`, for samples at `rate_hz`; `None` unless
    /// `0 < frequency_hz < rate_hz / 2` and `q` is positive.
    #[must_use]
    pub fn new(shape: Shape, frequency_hz: f64, q: f64, rate_hz: f64) -> Option<Self> {
        let is_possible = frequency_hz > 0.0 && frequency_hz < rate_hz / 2.0 && q > 0.0;
        if !(is_possible && rate_hz.is_finite() && q.is_finite()) {
            return None;
        }
        let (sin, cos) = (TAU * frequency_hz / rate_hz).sin_cos();
        let alpha = sin / (2.0 * q);
        let b = match shape {
            Shape::Low => [(1.0 - cos) / 2.0, 1.0 - cos, (1.0 - cos) / 2.0],
            Shape::High => [(1.0 + cos) / 2.0, -(1.0 + cos), (1.0 + cos) / 2.0],
            Shape::Band => [alpha, 0.0, -alpha],
            Shape::Notch => [1.0, -2.0 * cos, 1.0],
        };
        let a0 = 1.0 + alpha;
        Some(Self {
            b: b.map(|b| b / a0),
            a: [-2.0 * cos / a0, (1.0 - alpha) / a0],
            state: None,
        })
    }

    /// Forgets what came before: the next value is taken to have been there for ever.
    pub fn restart(&mut self) {
        self.state = None;
    }

    /// The next output.
    pub fn step(&mut self, x: f64) -> f64 {
        if !x.is_finite() {
            return f64::NAN;
        }
        let ([b0, b1, b2], [a1, a2]) = (self.b, self.a);
        let [z1, z2] = self.state.unwrap_or_else(|| {
            let settled = x * (b0 + b1 + b2) / (1.0 + a1 + a2);
            let z2 = b2 * x - a2 * settled;
            [b1 * x - a1 * settled + z2, z2]
        });
        let y = b0 * x + z1;
        self.state = Some([b1 * x - a1 * y + z2, b2 * x - a2 * y]);
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gain for a sine, measured over the last half of four seconds.
    fn gain(shape: Shape, at_hz: f64) -> f64 {
        let mut filter =
            Biquad::new(shape, 50.0, BUTTERWORTH, 1000.0).expect("50 Hz is below 500 Hz");
        let outputs: Vec<f64> = (0..4000)
            .map(|i| filter.step((TAU * at_hz * f64::from(i) / 1000.0).sin()))
            .collect();
        let half = &outputs[2000..];
        (2.0 * half.iter().map(|y| y * y).sum::<f64>() / half.len() as f64).sqrt()
    }

    #[test]
    fn each_shape_lets_through_what_it_should() {
        let half_power = std::f64::consts::FRAC_1_SQRT_2;
        for (shape, low, corner, high) in [
            (Shape::Low, 1.0, half_power, 0.01),
            (Shape::High, 0.01, half_power, 1.0),
            (Shape::Band, 0.14, 1.0, 0.035),
            (Shape::Notch, 0.99, 0.0, 0.99),
        ] {
            for (hz, expected) in [(5.0, low), (50.0, corner), (450.0, high)] {
                let found = gain(shape, hz);
                assert!(
                    (found - expected).abs() < 0.01,
                    "{shape:?} at {hz} Hz: {found}"
                );
            }
        }
    }

    #[test]
    fn it_starts_settled_and_survives_nan() {
        let mut low = Biquad::new(Shape::Low, 10.0, BUTTERWORTH, 1000.0).expect("it is possible");
        let mut high = Biquad::new(Shape::High, 10.0, BUTTERWORTH, 1000.0).expect("it is possible");
        for x in [7.0, f64::NAN, 7.0, f64::INFINITY, 7.0] {
            let (low, high) = (low.step(x), high.step(x));
            if x.is_finite() {
                assert!(
                    (low - 7.0).abs() < 1e-12 && high.abs() < 1e-12,
                    "{low} {high}"
                );
            } else {
                assert!(low.is_nan() && high.is_nan());
            }
        }
    }

    #[test]
    fn a_corner_beyond_half_the_rate_is_refused() {
        assert_eq!(Biquad::new(Shape::Low, 500.0, BUTTERWORTH, 1000.0), None);
        assert_eq!(Biquad::new(Shape::Low, 0.0, BUTTERWORTH, 1000.0), None);
        assert_eq!(Biquad::new(Shape::Low, 5.0, 0.0, 1000.0), None);
        assert_eq!(Biquad::new(Shape::Low, f64::NAN, 1.0, 1000.0), None);
    }
}
