//! Signals as they are declared: what a generic device measures on a channel.
//!
//! What for: tests of other software want a known shape, and a known shape is a list of parts that are added.
//!
//! What always holds: a value is a pure function of the frame number, the rate and the seed, noise included, so whoever knows
//! these computes what was sent. The cost of a value does not grow with the frame number.
//!
//! What it must not know: devices, wire formats, files.

use std::sync::Arc;

use crate::signals::{chirp, noise, phase, sine, triangle};

/// One part of a signal. Frequencies are in Hz, times in seconds, amplitudes in the channel's unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// Always the same.
    Constant(f64),
    /// From `-amplitude` to `amplitude`, at 0 and rising at the start.
    Sine {
        /// Periods a second.
        hz: f64,
        /// Half of what lies between lowest and highest.
        amplitude: f64,
        /// Where in the period it starts: 0.25 is the highest point.
        phase: f64,
    },
    /// A sine whose frequency runs linearly from one to another, and begins again.
    Chirp {
        /// At the start of a sweep.
        from_hz: f64,
        /// At its end.
        to_hz: f64,
        /// How long it takes.
        sweep_s: f64,
        /// Half of what lies between lowest and highest.
        amplitude: f64,
    },
    /// `amplitude`, then `-amplitude`.
    Square {
        /// Periods a second.
        hz: f64,
        /// Half of what lies between low and high.
        amplitude: f64,
        /// The part of a period for which it is high: 0 to 1.
        duty: f64,
    },
    /// Starts at `-amplitude`, and rises for half of a period.
    Triangle {
        /// Periods a second.
        hz: f64,
        /// Half of what lies between lowest and highest.
        amplitude: f64,
    },
    /// From one value to another, in a straight line, and again from the start.
    Ramp {
        /// At the start.
        from: f64,
        /// What it comes up to and does not reach.
        to: f64,
        /// How long it takes.
        period_s: f64,
    },
    /// One value, and from a time on another.
    Step {
        /// Before.
        from: f64,
        /// From then on.
        to: f64,
        /// When, after the first frame.
        at_s: f64,
    },
    /// Uniform, each value independent of the others: from `-amplitude` to `amplitude`.
    White {
        /// The bound.
        amplitude: f64,
    },
    /// Power falls with frequency: sixteen octaves of uniform noise, each of the same amplitude.
    Pink {
        /// The bound, which is hardly ever come near.
        amplitude: f64,
    },
    /// A random walk: what a value differs by from the one before has a normal distribution. It starts at 0.
    Walk {
        /// The standard deviation of a step.
        step: f64,
    },
    /// The frame number.
    Counter,
    /// What was recorded, a value a frame.
    Playback {
        /// The values, at least one.
        values: Arc<[f64]>,
        /// What comes behind the last.
        then: Then,
    },
}

/// What follows the last value that is played back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// The first.
    #[default]
    Loop,
    /// The last, for ever.
    Hold,
    /// Nothing: the device falls silent.
    End,
}

/// The signal of a channel: its parts added, at a frame; a frame is `1 / rate_hz` long.
#[must_use]
pub(crate) fn sum(parts: &[Signal], index: u64, rate_hz: f64, seed: u64) -> f64 {
    let each = (0..).zip(parts);
    each.map(|(place, part)| part.value(index, rate_hz, mix(seed, place)))
        .sum()
}

/// Frames after which a device with these signals falls silent; `None`: it never does.
#[must_use]
pub(crate) fn frames_of(parts: &[Signal]) -> Option<u64> {
    let ends = parts.iter().filter_map(|part| match part {
        Signal::Playback {
            values,
            then: Then::End,
        } => Some(values.len() as u64),
        _ => None,
    });
    ends.min()
}

/// A seed for something of its own, made of a seed and a number.
pub(crate) fn mix(seed: u64, place: u64) -> u64 {
    let mut bits = seed ^ place.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

impl Signal {
    fn value(&self, index: u64, rate_hz: f64, seed: u64) -> f64 {
        match *self {
            Self::Constant(value) => value,
            Self::Sine {
                hz,
                amplitude,
                phase: 0.0,
            } => amplitude * sine(index, rate_hz, 1.0 / hz),
            Self::Sine {
                hz,
                amplitude,
                phase: start,
            } => {
                let at = phase(index, rate_hz, 1.0 / hz) + start;
                amplitude * (std::f64::consts::TAU * at.fract()).sin()
            }
            Self::Chirp {
                from_hz,
                to_hz,
                sweep_s,
                amplitude,
            } => amplitude * chirp(index, rate_hz, from_hz, to_hz, sweep_s),
            Self::Square {
                hz,
                amplitude,
                duty,
            } => {
                let is_high = phase(index, rate_hz, 1.0 / hz) < duty;
                if is_high { amplitude } else { -amplitude }
            }
            Self::Triangle { hz, amplitude } => amplitude * triangle(index, rate_hz, 1.0 / hz),
            Self::Ramp { from, to, period_s } => {
                from + (to - from) * phase(index, rate_hz, period_s)
            }
            Self::Step { from, to, at_s } => {
                if (index as f64) < at_s * rate_hz {
                    from
                } else {
                    to
                }
            }
            Self::White { amplitude } => amplitude * noise(index, seed),
            Self::Pink { amplitude } => amplitude * pink(index, seed),
            Self::Walk { step } => step * walk(index, seed),
            Self::Counter => index as f64,
            Self::Playback { ref values, then } => {
                let last = values.len().saturating_sub(1) as u64;
                let place = match then {
                    Then::Loop => index % (last + 1),
                    Then::Hold | Then::End => index.min(last),
                };
                // Within the values; none at all is refused before a device is made.
                values.get(place as usize).copied().unwrap_or(f64::NAN)
            }
        }
    }
}

/// Octaves of pink noise: the slowest changes every 32 768 frames.
const OCTAVES: u64 = 16;

/// The sum of noises each of which holds twice as long as the one before (Voss's way, in R. F. Voss and J. Clarke, "1/f noise in
/// music", JASA 63(1), 1978), from -1 to 1.
fn pink(index: u64, seed: u64) -> f64 {
    let octaves = (0..OCTAVES).map(|octave| noise(index >> octave, mix(seed, octave)));
    octaves.sum::<f64>() / OCTAVES as f64
}

/// A random walk is made for so many doublings of its first frame: at 100 kHz it ends after 127 days, and stays where it is.
const WALK_LEVELS: u32 = 40;

/// Brownian motion at whole times, by midpoints: the end of each half is drawn given both ends of the whole (P. Lévy, "Processus
/// stochastiques et mouvement brownien", 1948). So any value costs as much as any other.
fn walk(index: u64, seed: u64) -> f64 {
    let (mut from, mut length) = (0_u64, 1_u64 << WALK_LEVELS);
    let mut low = 0.0;
    let mut high = (length as f64).sqrt() * normal(u64::MAX, seed);
    for level in 0..WALK_LEVELS {
        let half = length / 2;
        let middle = from + half;
        // The variance of the middle, given the ends, is a quarter of the length.
        let spread = (length as f64).sqrt() / 2.0;
        let value = f64::midpoint(low, high) + spread * normal(middle, mix(seed, u64::from(level)));
        if index < middle {
            high = value;
        } else {
            (from, low) = (middle, value);
        }
        length = half;
    }
    low
}

/// A number of the normal distribution, near enough: the sum of twelve uniform ones (variance 1/3 each), halved.
fn normal(place: u64, seed: u64) -> f64 {
    (0..12)
        .map(|term| noise(place, mix(seed, term)))
        .sum::<f64>()
        / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(signal: Signal, count: u64) -> Vec<f64> {
        let parts = [signal];
        (0..count)
            .map(|index| sum(&parts, index, 100.0, 7))
            .collect()
    }

    #[test]
    fn parts_are_added_and_each_passes_through_its_landmarks() {
        let square = Signal::Square {
            hz: 1.0,
            amplitude: 2.0,
            duty: 0.25,
        };
        let values = series(square, 100);
        assert_eq!(values.iter().filter(|value| **value == 2.0).count(), 25);
        assert_eq!((values[24], values[25]), (2.0, -2.0));
        let ramp = Signal::Ramp {
            from: 1.0,
            to: 3.0,
            period_s: 2.0,
        };
        assert_eq!(
            [0, 100, 200].map(|index| sum(std::slice::from_ref(&ramp), index, 100.0, 0)),
            [1.0, 2.0, 1.0]
        );
        let step = Signal::Step {
            from: -1.0,
            to: 4.0,
            at_s: 0.5,
        };
        let values = series(step.clone(), 51);
        assert_eq!((values[49], values[50]), (-1.0, 4.0));
        let sine = Signal::Sine {
            hz: 1.0,
            amplitude: 3.0,
            phase: 0.25,
        };
        assert_eq!(sum(&[sine, Signal::Constant(1.0), step], 0, 100.0, 0), 3.0);
        assert_eq!(series(Signal::Counter, 4), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn two_noises_in_a_sum_are_not_the_same() {
        let white = Signal::White { amplitude: 1.0 };
        let both = sum(&[white.clone(), white.clone()], 5, 1.0, 3);
        assert_ne!(both, 2.0 * sum(&[white], 5, 1.0, 3));
    }

    #[test]
    fn a_random_walk_has_steps_of_the_deviation_asked_for_and_starts_at_zero() {
        let values = series(Signal::Walk { step: 0.5 }, 20_001);
        assert_eq!(values[0], 0.0);
        let steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = steps.iter().sum::<f64>() / 20_000.0;
        let variance = steps.iter().map(|step| step * step).sum::<f64>() / 20_000.0;
        // Of 20 000 independent steps; doubles near a walk's far ends have 1e-8 left of them.
        assert!(mean.abs() < 0.015, "{mean}");
        assert!((variance.sqrt() - 0.5).abs() < 0.01, "{variance}");
        // Independent: neighbours do not lean on each other.
        let together = steps.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>();
        assert!((together / 20_000.0).abs() < 0.01, "{together}");
    }

    #[test]
    fn pink_noise_has_the_same_power_in_each_octave() {
        let values = series(Signal::Pink { amplitude: 1.0 }, 1 << 14);
        // Means over blocks: for white noise the variance falls by two with each doubling, here it hardly does.
        let variance = |block: usize| {
            let means: Vec<f64> = values
                .chunks_exact(block)
                .map(|chunk| chunk.iter().sum::<f64>() / block as f64)
                .collect();
            let mean = means.iter().sum::<f64>() / means.len() as f64;
            means.iter().map(|m| (m - mean) * (m - mean)).sum::<f64>() / means.len() as f64
        };
        let (fine, coarse) = (variance(1), variance(64));
        assert!(coarse > fine / 8.0, "{fine} {coarse}");
        assert!(coarse < fine, "{fine} {coarse}");
    }

    #[test]
    fn what_is_played_back_loops_holds_or_ends() {
        let play = |then| Signal::Playback {
            values: Arc::from([5.0, 6.0]),
            then,
        };
        assert_eq!(series(play(Then::Loop), 4), [5.0, 6.0, 5.0, 6.0]);
        assert_eq!(series(play(Then::Hold), 4), [5.0, 6.0, 6.0, 6.0]);
        assert_eq!(
            frames_of(&[Signal::Constant(1.0), play(Then::End)]),
            Some(2)
        );
        assert_eq!(frames_of(&[play(Then::Loop)]), None);
    }
}
