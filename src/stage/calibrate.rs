//! Calibration: from what the device says to the physical quantity.
//!
//! **Always holds.** A value out of a calibration's range becomes NaN, never an extrapolation, and NaN
//! stays NaN. The same value gives the same result in every run.

use kymo_drivers::frames::Frames;

use super::thermocouple::{celsius, horner, millivolt};

/// What becomes of a device's value `x`.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Calibration {
    /// Nothing.
    #[default]
    None,
    /// `x * scale + offset`.
    Linear {
        /// Factor.
        scale: f64,
        /// Summand.
        offset: f64,
    },
    /// `c[0] + c[1] x + c[2] x² + …`.
    Polynomial(Vec<f64>),
    /// Linear between the points `(x, y)`, sorted by rising `x`; outside them NaN.
    Table(Vec<(f64, f64)>),
    /// A thermistor's resistance in ohm to degrees Celsius by Steinhart–Hart (Deep-Sea Research 15,
    /// 1968): `1/T = a + b ln R + c (ln R)³`, `T` in kelvin.
    Thermistor {
        /// First coefficient, 1/K.
        a: f64,
        /// Second coefficient, 1/K.
        b: f64,
        /// Third coefficient, 1/K.
        c: f64,
    },
    /// A thermocouple's voltage to degrees Celsius by the NIST ITS-90 polynomials.
    Thermocouple {
        /// Which metals.
        kind: ThermocoupleKind,
        /// The channel of the same source that has the cold junction's temperature in degrees
        /// Celsius, by its place; `None`: the junction is at 0 °C or compensated in the device.
        cold_junction: Option<usize>,
        /// What one unit of the device's value is in millivolt: 1 for mV, 1000 for V, 0.001 for uV.
        millivolt: f64,
    },
}

/// Which metals a thermocouple is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThermocoupleKind {
    /// Nickel-chromium against nickel-aluminium.
    K,
    /// Iron against copper-nickel.
    J,
    /// Copper against copper-nickel.
    T,
}

/// 0 °C in kelvin.
const ZERO_CELSIUS_K: f64 = 273.15;

impl Calibration {
    /// Whether the value stays as it is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Calibrates column `channel` of the frames from `first` on. A cold junction's place counts
    /// within these frames, and its column must have been calibrated before.
    pub fn apply(&self, frames: &mut Frames, channel: usize) {
        match self {
            Self::None => {}
            Self::Linear { scale, offset } => {
                each(frames, channel, |x| x * scale + offset);
            }
            Self::Polynomial(coefficients) => each(frames, channel, |x| horner(coefficients, x)),
            Self::Table(points) => each(frames, channel, |x| interpolate(points, x)),
            Self::Thermistor { a, b, c } => each(frames, channel, |resistance| {
                if resistance > 0.0 {
                    let log = resistance.ln();
                    1.0 / (a + b * log + c * log * log * log) - ZERO_CELSIUS_K
                } else {
                    f64::NAN
                }
            }),
            Self::Thermocouple {
                kind,
                cold_junction: None,
                millivolt: unit,
            } => {
                each(frames, channel, |x| celsius(*kind, x * unit));
            }
            Self::Thermocouple {
                kind,
                cold_junction: Some(junction),
                millivolt: unit,
            } => {
                let (junction, values) = frames.column_pair(*junction, channel);
                for (value, cold) in values.iter_mut().zip(junction) {
                    *value = celsius(*kind, *value * unit + millivolt(*kind, *cold));
                }
            }
        }
    }
}

fn each(frames: &mut Frames, channel: usize, change: impl Fn(f64) -> f64) {
    for value in frames.column_mut(channel) {
        *value = change(*value);
    }
}

/// Linear between neighbouring points; NaN outside them.
fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|(px, _)| *px < x);
    match (
        after.checked_sub(1).and_then(|i| points.get(i)),
        points.get(after),
    ) {
        (_, Some((px, py))) if *px == x => *py,
        (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibrated(calibration: &Calibration, rows: &[&[f64]]) -> Vec<f64> {
        let mut frames = Frames::with_capacity(rows[0].len(), rows.len());
        for row in rows {
            frames.push(0, row);
        }
        calibration.apply(&mut frames, 0);
        frames.column(0).to_vec()
    }

    #[test]
    fn a_table_interpolates_and_does_not_extrapolate() {
        let table = Calibration::Table(vec![(0.0, 10.0), (1.0, 20.0), (3.0, 0.0)]);
        let found = calibrated(
            &table,
            &[&[0.0], &[0.5], &[2.0], &[3.0], &[-0.1], &[3.1], &[f64::NAN]],
        );
        assert_eq!(found[..4], [10.0, 15.0, 10.0, 0.0]);
        assert!(found[4..].iter().all(|y| y.is_nan()));
    }

    #[test]
    fn a_polynomial_rises_in_its_powers() {
        let square = Calibration::Polynomial(vec![1.0, 0.0, 2.0]);
        assert_eq!(calibrated(&square, &[&[3.0], &[-1.0]]), [19.0, 3.0]);
    }

    /// A common 10 kΩ thermistor: coefficients of Vishay NTCLE100E3103, 10 kΩ at 25 °C.
    #[test]
    fn a_thermistor_reads_its_nominal_temperature() {
        let thermistor = Calibration::Thermistor {
            a: 1.129_148e-3,
            b: 2.341_25e-4,
            c: 8.767_41e-8,
        };
        let found = calibrated(&thermistor, &[&[10_000.0], &[0.0], &[-5.0]]);
        assert!((found[0] - 25.0).abs() < 0.05, "{found:?}");
        assert!(found[1].is_nan() && found[2].is_nan());
    }

    /// 4.096 mV is 100 °C against 0 °C; with the junction at 25 °C the same tip gives 1 mV less.
    #[test]
    fn a_cold_junction_is_added_in_voltage() {
        let kind = ThermocoupleKind::K;
        let plain = Calibration::Thermocouple {
            kind,
            cold_junction: None,
            millivolt: 0.001,
        };
        assert!((calibrated(&plain, &[&[4096.0]])[0] - 100.0).abs() < 0.1);
        let compensated = Calibration::Thermocouple {
            kind,
            cold_junction: Some(1),
            millivolt: 1.0,
        };
        assert!((calibrated(&compensated, &[&[3.096, 25.0]])[0] - 100.0).abs() < 0.1);
    }
}
