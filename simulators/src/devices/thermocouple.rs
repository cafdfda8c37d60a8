//! A logger for three type K thermocouples: text lines, 100 a second.
//!
//! `heater,sample,wall,terminal` and CR LF: three thermoelectric voltages in mV with three
//! decimals, and the temperature of the terminals (the cold junction) in °C with two.
//!
//! The heater swings by 40 °C around 450 °C in ten seconds, so that a reader who compensates
//! rightly crosses 450 °C upwards once in each. The sample has a little noise by seed.

use std::io::Write as _;

use super::{Device, DeviceKind};
use crate::signals::{noise, sine, triangle};

pub(super) const KIND: DeviceKind = DeviceKind {
    name: "thermocouple-logger",
    about: "three type K voltages in mV and their cold junction in Cel, text; crosses 450 Cel every ten seconds",
    rate_hz: 100.0,
    channels: 4,
    make: |rate_hz, seed| Box::new(Logger { rate_hz, seed }),
    sent,
};

struct Logger {
    rate_hz: f64,
    seed: u64,
}

/// What is printed, in whole units of the last decimal: µV, and for the terminals 0.01 °C.
fn printed(index: u64, rate_hz: f64, seed: u64) -> [i32; 4] {
    let heater_cel = 450.0 + 40.0 * sine(index, rate_hz, 10.0);
    let sample_cel = 300.0 + 20.0 * sine(index, rate_hz, 20.0) + 0.05 * noise(index, seed);
    let wall_cel = 80.0 + 5.0 * triangle(index, rate_hz, 30.0);
    // All far within the range of an i32.
    let terminal = (100.0 * (24.0 + 0.5 * sine(index, rate_hz, 60.0))).round() as i32;
    let cold_mv = type_k_mv(f64::from(terminal) / 100.0);
    let microvolts = |hot_cel| (1000.0 * (type_k_mv(hot_cel) - cold_mv)).round() as i32;
    [
        microvolts(heater_cel),
        microvolts(sample_cel),
        microvolts(wall_cel),
        terminal,
    ]
}

/// The nearest `f64` to the decimal number printed: a quotient of two exact numbers is rounded once.
fn sent(channel: usize, index: u64, rate_hz: f64, seed: u64) -> f64 {
    let unit = if channel == 3 { 100.0 } else { 1000.0 };
    f64::from(printed(index, rate_hz, seed)[channel]) / unit
}

/// Thermoelectric voltage of type K against 0 °C, mV, from 0 to 1372 °C (IEC 60584-1, and the same
/// in NIST Monograph 175).
fn type_k_mv(cel: f64) -> f64 {
    const POWERS: [f64; 10] = [
        -0.176_004_136_860e-1,
        0.389_212_049_750e-1,
        0.185_587_700_320e-4,
        -0.994_575_928_740e-7,
        0.318_409_457_190e-9,
        -0.560_728_448_890e-12,
        0.560_750_590_590e-15,
        -0.320_207_200_030e-18,
        0.971_511_471_520e-22,
        -0.121_047_212_750e-25,
    ];
    let power_series = POWERS.iter().rev().fold(0.0, |sum, term| sum * cel + term);
    let hump = 0.118_597_600_000 * (-0.118_343_200_000e-3 * (cel - 126.968_6).powi(2)).exp();
    power_series + hump
}

impl Device for Logger {
    fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    fn frame(&mut self, index: u64, out: &mut Vec<u8>) {
        let values = printed(index, self.rate_hz, self.seed);
        for (channel, value) in values.iter().enumerate() {
            let (unit, digits, end) = match channel {
                0..=2 => (1000, 3, ","),
                _ => (100, 2, "\r\n"),
            };
            let sign = if *value < 0 { "-" } else { "" };
            let (whole, part) = (value.abs() / unit, value.abs() % unit);
            let written = write!(out, "{sign}{whole}.{part:0digits$}{end}");
            debug_assert!(written.is_ok(), "a vector takes every byte");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_k_agrees_with_the_reference_table() {
        for (cel, mv) in [
            (0.0, 0.0),
            (25.0, 1.0),
            (100.0, 4.096),
            (450.0, 18.516),
            (1000.0, 41.276),
        ] {
            assert!(
                (type_k_mv(cel) - mv).abs() < 0.000_6,
                "{cel} {}",
                type_k_mv(cel)
            );
        }
    }

    #[test]
    fn the_first_line_is_printed_with_three_and_two_decimals() {
        let mut out = Vec::new();
        (KIND.make)(100.0, 0).frame(0, &mut out);
        // 18.516, 12.209 and 3.059 mV at 450, 300 and 75 °C, less 0.960 mV at 24 °C; the second
        // has 0.001 mV of noise from seed 0.
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "17.556,11.250,2.099,24.00\r\n"
        );
    }

    #[test]
    fn what_is_printed_parses_back_to_what_is_expected() {
        let mut device = (KIND.make)(100.0, 9);
        for index in (0..6000).step_by(7) {
            let mut out = Vec::new();
            device.frame(index, &mut out);
            let line = String::from_utf8(out).unwrap();
            let line = line.strip_suffix("\r\n").unwrap();
            for (channel, field) in line.split(',').enumerate() {
                assert_eq!(field.parse(), Ok(sent(channel, index, 100.0, 9)));
            }
        }
    }
}
