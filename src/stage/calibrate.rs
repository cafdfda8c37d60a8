//! Calibration: from what the device says to the physical quantity.

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
    /// A thermistor's resistance in ohm to degrees Celsius by Steinhart–Hart:
    /// `1/T = a + b ln R + c (ln R)³`, `T` in kelvin.
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
