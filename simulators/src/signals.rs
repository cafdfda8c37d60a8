//! Signals as pure functions of time.
//!
//! What for: whoever knows a frame's number can compute what the device sent, here or in a test
//! from outside; so every sample of a run can be checked, not only counted.
//!
//! What always holds: the same arguments give the same value. Time is a frame number over a rate;
//! periods are reduced before any trigonometry, so hours into a run a signal is as exact as at its
//! start.
//!
//! What it must not know: devices, wire formats, clocks.

use std::f64::consts::TAU;

/// Where in a period of `period_s` the frame lies: 0 up to, not including, 1.
#[must_use]
pub fn phase(index: u64, rate_hz: f64, period_s: f64) -> f64 {
    // The remainder of a division is exact.
    let frames = rate_hz * period_s;
    index as f64 % frames / frames
}

/// A sine from -1 to 1 that starts at 0 and rises.
#[must_use]
pub fn sine(index: u64, rate_hz: f64, period_s: f64) -> f64 {
    (TAU * phase(index, rate_hz, period_s)).sin()
}

/// A triangle from -1 to 1 that starts at -1 and rises for half a period.
#[must_use]
pub fn triangle(index: u64, rate_hz: f64, period_s: f64) -> f64 {
    1.0 - (4.0 * phase(index, rate_hz, period_s) - 2.0).abs()
}

/// -1 for half a period, then 1.
#[must_use]
pub fn step(index: u64, rate_hz: f64, period_s: f64) -> f64 {
    if phase(index, rate_hz, period_s) < 0.5 {
        -1.0
    } else {
        1.0
    }
}

/// A sine from -1 to 1 whose frequency runs linearly between two, and starts again every
/// `sweep_s`.
#[must_use]
pub fn chirp(index: u64, rate_hz: f64, from_hz: f64, to_hz: f64, sweep_s: f64) -> f64 {
    let time_s = phase(index, rate_hz, sweep_s) * sweep_s;
    let cycles = from_hz * time_s + (to_hz - from_hz) * time_s * time_s / (2.0 * sweep_s);
    (TAU * cycles.fract()).sin()
}

/// Uniform noise from -1 to 1: the frame number and the seed through SplitMix64 (Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[must_use]
pub fn noise(index: u64, seed: u64) -> f64 {
    let mut bits = seed
        .wrapping_mul(0xD134_2543_DE82_EF95)
        .wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// The frame number, cut to 16 bits and read as a signed integer.
#[must_use]
pub fn counter_i16(index: u64) -> i16 {
    index as u16 as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_passes_through_its_landmarks() {
        assert_eq!(sine(0, 1000.0, 4.0), 0.0);
        assert_eq!(sine(1000, 1000.0, 4.0), 1.0);
        assert_eq!(sine(3000, 1000.0, 4.0), -1.0);
        assert_eq!(triangle(0, 10.0, 1.0), -1.0);
        assert_eq!(triangle(5, 10.0, 1.0), 1.0);
        assert_eq!(step(4, 10.0, 1.0), -1.0);
        assert_eq!(step(5, 10.0, 1.0), 1.0);
        assert_eq!(counter_i16(65_535), -1);
        assert_eq!(counter_i16(65_537), 1);
    }

    #[test]
    fn a_chirp_starts_slow_ends_fast_and_begins_again() {
        let rate_hz = 10_000.0;
        let crossings = |from: u64, to: u64| {
            let values = (from..to).map(|index| chirp(index, rate_hz, 1.0, 101.0, 10.0));
            let signs: Vec<bool> = values.map(|value| value > 0.0).collect();
            signs.windows(2).filter(|pair| pair[0] != pair[1]).count()
        };
        let (first, last) = (crossings(0, 10_000), crossings(90_000, 100_000));
        assert!((10..=14).contains(&first), "{first}");
        assert!((190..=194).contains(&last), "{last}");
        assert_eq!(
            chirp(123, rate_hz, 1.0, 101.0, 10.0),
            chirp(100_123, rate_hz, 1.0, 101.0, 10.0)
        );
    }

    #[test]
    fn noise_is_bounded_centred_and_differs_by_seed() {
        let values: Vec<f64> = (0..10_000).map(|index| noise(index, 7)).collect();
        assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
        let mean = values.iter().sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert_ne!(noise(1, 7), noise(1, 8));
        assert_eq!(noise(1, 7), values[1]);
    }
}
