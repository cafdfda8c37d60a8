//! Thermocouples: voltage to temperature and back, by the ITS-90 polynomials of NIST Monograph 175
//! (types J, K and T; coefficients as tabulated in NIST Standard Reference Database 60).
//!
//! **Always holds.** Outside the range for which NIST gives a polynomial the answer is NaN, never an
//! extrapolation.

use super::calibrate::ThermocoupleKind;

/// A polynomial and the range in which it holds, ends included.
struct Piece {
    from: f64,
    to: f64,
    coefficients: &'static [f64],
}

/// Voltage in mV of a thermocouple with one junction at `celsius` and the other at 0 °C.
#[must_use]
pub fn millivolt(kind: ThermocoupleKind, celsius: f64) -> f64 {
    let pieces: &[Piece] = match kind {
        ThermocoupleKind::K => &K_DIRECT,
        ThermocoupleKind::J => &J_DIRECT,
        ThermocoupleKind::T => &T_DIRECT,
    };
    let value = evaluate(pieces, celsius);
    if kind == ThermocoupleKind::K && celsius > 0.0 {
        // Type K alone has an exponential above 0 °C, for the magnetic transition of its alloy.
        let distance = celsius - 126.968_6;
        return value + 0.118_597_6 * (-1.183_432e-4 * distance * distance).exp();
    }
    value
}

/// Temperature in °C at which a thermocouple with its other junction at 0 °C gives `millivolt`.
#[must_use]
pub fn celsius(kind: ThermocoupleKind, millivolt: f64) -> f64 {
    let pieces: &[Piece] = match kind {
        ThermocoupleKind::K => &K_INVERSE,
        ThermocoupleKind::J => &J_INVERSE,
        ThermocoupleKind::T => &T_INVERSE,
    };
    evaluate(pieces, millivolt)
}

fn evaluate(pieces: &[Piece], x: f64) -> f64 {
    pieces
        .iter()
        .find(|piece| (piece.from..=piece.to).contains(&x))
        .map_or(f64::NAN, |piece| horner(piece.coefficients, x))
}

/// `c[0] + c[1] x + c[2] x² + …`
pub(super) fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

const K_DIRECT: [Piece; 2] = [
    Piece {
        from: -270.0,
        to: 0.0,
        coefficients: &[
            0.0,
            0.394_501_280_250e-1,
            0.236_223_735_980e-4,
            -0.328_589_067_840e-6,
            -0.499_048_287_770e-8,
            -0.675_090_591_730e-10,
            -0.574_103_274_280e-12,
            -0.310_888_728_940e-14,
            -0.104_516_093_650e-16,
            -0.198_892_668_780e-19,
            -0.163_226_974_860e-22,
        ],
    },
    Piece {
        from: 0.0,
        to: 1372.0,
        coefficients: &[
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
        ],
    },
];

const K_INVERSE: [Piece; 3] = [
    Piece {
        from: -5.891,
        to: 0.0,
        coefficients: &[
            0.0,
            2.517_346_2e1,
            -1.166_287_8,
            -1.083_363_8,
            -8.977_354_0e-1,
            -3.734_237_7e-1,
            -8.663_264_3e-2,
            -1.045_059_8e-2,
            -5.192_057_7e-4,
        ],
    },
    Piece {
        from: 0.0,
        to: 20.644,
        coefficients: &[
            0.0,
            2.508_355e1,
            7.860_106e-2,
            -2.503_131e-1,
            8.315_270e-2,
            -1.228_034e-2,
            9.804_036e-4,
            -4.413_030e-5,
            1.057_734e-6,
            -1.052_755e-8,
        ],
    },
    Piece {
        from: 20.644,
        to: 54.886,
        coefficients: &[
            -1.318_058e2,
            4.830_222e1,
            -1.646_031,
            5.464_731e-2,
            -9.650_715e-4,
            8.802_193e-6,
            -3.110_810e-8,
        ],
    },
];

const J_DIRECT: [Piece; 2] = [
    Piece {
        from: -210.0,
        to: 760.0,
        coefficients: &[
            0.0,
            0.503_811_878_150e-1,
            0.304_758_369_300e-4,
            -0.856_810_657_200e-7,
            0.132_281_952_950e-9,
            -0.170_529_583_370e-12,
            0.209_480_906_970e-15,
            -0.125_383_953_360e-18,
            0.156_317_256_970e-22,
        ],
    },
    Piece {
        from: 760.0,
        to: 1200.0,
        coefficients: &[
            0.296_456_256_810e3,
            -0.149_761_277_860e1,
            0.317_871_039_240e-2,
            -0.318_476_867_010e-5,
            0.157_208_190_040e-8,
            -0.306_913_690_560e-12,
        ],
    },
];

const J_INVERSE: [Piece; 3] = [
    Piece {
        from: -8.095,
        to: 0.0,
        coefficients: &[
            0.0,
            1.952_826_8e1,
            -1.228_618_5,
            -1.075_217_8,
            -5.908_693_3e-1,
            -1.725_671_3e-1,
            -2.813_151_3e-2,
            -2.396_337_0e-3,
            -8.382_332_1e-5,
        ],
    },
    Piece {
        from: 0.0,
        to: 42.919,
        coefficients: &[
            0.0,
            1.978_425e1,
            -2.001_204e-1,
            1.036_969e-2,
            -2.549_687e-4,
            3.585_153e-6,
            -5.344_285e-8,
            5.099_890e-10,
        ],
    },
    Piece {
        from: 42.919,
        to: 69.553,
        coefficients: &[
            -3.113_581_87e3,
            3.005_436_84e2,
            -9.947_732_30,
            1.702_766_30e-1,
            -1.430_334_68e-3,
            4.738_860_84e-6,
        ],
    },
];

const T_DIRECT: [Piece; 2] = [
    Piece {
        from: -270.0,
        to: 0.0,
        coefficients: &[
            0.0,
            0.387_481_063_640e-1,
            0.441_944_343_470e-4,
            0.118_443_231_050e-6,
            0.200_329_735_540e-7,
            0.901_380_195_590e-9,
            0.226_511_565_930e-10,
            0.360_711_542_050e-12,
            0.384_939_398_830e-14,
            0.282_135_219_250e-16,
            0.142_515_947_790e-18,
            0.487_686_622_860e-21,
            0.107_955_392_700e-23,
            0.139_450_270_620e-26,
            0.797_951_539_270e-30,
        ],
    },
    Piece {
        from: 0.0,
        to: 400.0,
        coefficients: &[
            0.0,
            0.387_481_063_640e-1,
            0.332_922_278_800e-4,
            0.206_182_434_040e-6,
            -0.218_822_568_460e-8,
            0.109_968_809_280e-10,
            -0.308_157_587_720e-13,
            0.454_791_352_900e-16,
            -0.275_129_016_730e-19,
        ],
    },
];

const T_INVERSE: [Piece; 2] = [
    Piece {
        from: -5.603,
        to: 0.0,
        coefficients: &[
            0.0,
            2.594_919_2e1,
            -2.131_696_7e-1,
            7.901_869_2e-1,
            4.252_777_7e-1,
            1.330_447_3e-1,
            2.024_144_6e-2,
            1.266_817_1e-3,
        ],
    },
    Piece {
        from: 0.0,
        to: 20.872,
        coefficients: &[
            0.0,
            2.592_800e1,
            -7.602_961e-1,
            4.637_791e-2,
            -2.165_394e-3,
            6.048_144e-5,
            -7.293_422e-7,
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::ThermocoupleKind::{J, K, T};
    use super::*;

    /// Values of the reference tables of NIST Standard Reference Database 60, to their last digit.
    #[test]
    fn the_reference_tables_are_met() {
        let table = [
            (K, -270.0, -6.458),
            (K, -100.0, -3.554),
            (K, 0.0, 0.0),
            (K, 25.0, 1.000),
            (K, 100.0, 4.096),
            (K, 500.0, 20.644),
            (K, 1000.0, 41.276),
            (K, 1372.0, 54.886),
            (J, -210.0, -8.095),
            (J, -100.0, -4.633),
            (J, 100.0, 5.269),
            (J, 760.0, 42.919),
            (J, 1000.0, 57.953),
            (J, 1200.0, 69.553),
            (T, -270.0, -6.258),
            (T, -100.0, -3.379),
            (T, 100.0, 4.279),
            (T, 400.0, 20.872),
        ];
        for (kind, temperature, expected) in table {
            let found = millivolt(kind, temperature);
            assert!(
                (found - expected).abs() <= 0.000_51,
                "{kind:?} {temperature}: {found}"
            );
        }
    }

    /// NIST states the inverse polynomials' errors as at most 0.06 °C.
    #[test]
    fn there_and_back_is_the_same_temperature_within_the_stated_error() {
        for (kind, from, to) in [(K, -200, 1372), (J, -210, 1200), (T, -200, 400)] {
            for temperature in from..=to {
                let temperature = f64::from(temperature);
                let voltage = millivolt(kind, temperature);
                let voltage = voltage.clamp(-8.095, 69.553);
                let back = celsius(kind, voltage);
                if back.is_nan() {
                    // The tables' ends are rounded to a microvolt.
                    assert!(
                        temperature <= f64::from(from) + 0.1 || temperature >= f64::from(to) - 0.1
                    );
                    continue;
                }
                assert!(
                    (back - temperature).abs() < 0.07,
                    "{kind:?} {temperature}: {back}"
                );
            }
        }
    }

    #[test]
    fn outside_the_range_there_is_no_number() {
        assert!(celsius(K, 60.0).is_nan());
        assert!(celsius(T, -6.0).is_nan());
        assert!(celsius(J, f64::NAN).is_nan());
        assert!(millivolt(K, 2000.0).is_nan());
    }
}
