//! Spectra of stretches of samples: amplitude, peak, power in a band.
//!
//! A stretch is freed of its mean, tapered, and transformed by a real FFT (`realfft`). The amplitude at bin k is
//! `2 |X_k| / Σw`: a sine of amplitude a on a bin shows a. The power density is one-sided, `2 |X_k|² / (f_s Σw²)`, and the
//! power in a band is its sum over the bins within the band, times their distance. (Heinzel, Rüdiger and Schilling, "Spectrum
//! and spectral density estimation by the DFT", 2002, equations 19 to 24.)
//!
//! **Always holds.** Every stretch is transformed at the same length: the one that its rate and duration ask for. If jitter
//! brings a few samples less, zeros follow; if more, the last ones are left out. Of less than nine tenths, no spectrum is made.
//!
//! **Must not know.** What the values mean.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// What a stretch is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Taper {
    /// Nothing: for what is periodic in the stretch.
    Rectangular,
    /// Hann's: for most.
    #[default]
    Hann,
    /// Hamming's.
    Hamming,
    /// Blackman's: for small peaks beside large ones.
    Blackman,
    /// A flat top (HFT95 of the report above), for amplitudes: a peak between two bins shows its height.
    FlatTop,
}

impl Taper {
    /// All tapers with their names in the configuration.
    pub const NAMES: [(&'static str, Taper); 5] = [
        ("rectangular", Self::Rectangular),
        ("hann", Self::Hann),
        ("hamming", Self::Hamming),
        ("blackman", Self::Blackman),
        ("flat-top", Self::FlatTop),
    ];

    /// Cosine coefficients.
    fn coefficients(self) -> &'static [f64] {
        match self {
            Self::Rectangular => &[1.0],
            Self::Hann => &[0.5, -0.5],
            Self::Hamming => &[0.54, -0.46],
            Self::Blackman => &[0.42, -0.5, 0.08],
            Self::FlatTop => &[1.0, -1.938_337_9, 1.304_554_2, -0.402_827_0, 0.035_066_5],
        }
    }

    /// Its value at place `index` of `len`, periodic.
    #[allow(clippy::cast_precision_loss)]
    fn at(self, index: usize, len: usize) -> f64 {
        let angle = std::f64::consts::TAU * index as f64 / len as f64;
        let terms = self.coefficients().iter().enumerate();
        terms
            .map(|(order, c)| c * (order as f64 * angle).cos())
            .sum()
    }
}

/// Fewer samples than this share of the length make no spectrum.
const SHARE_MIN: f64 = 0.9;

/// Makes spectra of stretches of one length.
pub struct Spectrum {
    plan: Arc<dyn RealToComplex<f64>>,
    rate_hz: f64,
    weights: Vec<f64>,
    input: Vec<f64>,
    bins: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    /// Samples taken of the latest stretch.
    taken: usize,
    weight: f64,
    weight_squares: f64,
}

impl Spectrum {
    /// Of stretches of `len` samples at `rate_hz`.
    #[must_use]
    pub fn new(len: usize, rate_hz: f64, taper: Taper) -> Self {
        let len = len.max(2);
        let plan = RealFftPlanner::new().plan_fft_forward(len);
        Self {
            input: plan.make_input_vec(),
            bins: plan.make_output_vec(),
            scratch: plan.make_scratch_vec(),
            plan,
            rate_hz,
            weights: (0..len).map(|index| taper.at(index, len)).collect(),
            taken: 0,
            weight: 0.0,
            weight_squares: 0.0,
        }
    }

    /// Takes a stretch; whether it gave a spectrum. Values that are not finite count as missing, and as the mean.
    #[allow(clippy::cast_precision_loss)]
    pub fn take(&mut self, values: impl Iterator<Item = f64>) -> bool {
        let len = self.input.len();
        let (mut sum, mut finite) = (0.0, 0);
        self.taken = 0;
        for (place, value) in self.input.iter_mut().zip(values) {
            *place = value;
            self.taken += 1;
            if value.is_finite() {
                sum += value;
                finite += 1;
            }
        }
        if f64::from(finite) < SHARE_MIN * len as f64 {
            self.taken = 0;
            return false;
        }
        let mean = sum / f64::from(finite);
        (self.weight, self.weight_squares) = (0.0, 0.0);
        for (x, w) in self.input[..self.taken].iter_mut().zip(&self.weights) {
            *x = if x.is_finite() { (*x - mean) * w } else { 0.0 };
            self.weight += w;
            self.weight_squares += w * w;
        }
        self.input[self.taken..].fill(0.0);
        let (input, bins, scratch) = (&mut self.input, &mut self.bins, &mut self.scratch);
        // Fails only for buffers of another length than the plan's, which made them.
        self.plan.process_with_scratch(input, bins, scratch).is_ok()
    }

    /// Frequency of a bin, Hz.
    #[allow(clippy::cast_precision_loss)]
    fn hz(&self, bin: usize) -> f64 {
        bin as f64 * self.rate_hz / self.input.len() as f64
    }

    /// Whether a bin stands for its mirror as well.
    fn is_doubled(&self, bin: usize) -> bool {
        bin > 0 && !(self.input.len().is_multiple_of(2) && bin == self.input.len() / 2)
    }

    /// Frequency and amplitude of the highest bin; NaN if there was no spectrum.
    #[must_use]
    pub fn peak(&self) -> (f64, f64) {
        if self.taken == 0 {
            return (f64::NAN, f64::NAN);
        }
        let bins = self.bins.iter().enumerate().skip(1);
        let amplitude = |bin: usize, x: &Complex<f64>| {
            let both = if self.is_doubled(bin) { 2.0 } else { 1.0 };
            both * x.norm() / self.weight
        };
        let (mut at, mut highest) = (0, f64::NEG_INFINITY);
        for (bin, x) in bins {
            let height = amplitude(bin, x);
            if height > highest {
                (at, highest) = (bin, height);
            }
        }
        (self.hz(at), highest)
    }

    /// The amplitude at each bin, from 0 Hz up, in the value's unit.
    pub fn amplitudes(&self) -> impl Iterator<Item = f64> {
        let amplitude = |(bin, x): (usize, &Complex<f64>)| {
            let both = if self.is_doubled(bin) { 2.0 } else { 1.0 };
            both * x.norm() / self.weight
        };
        self.bins.iter().enumerate().map(amplitude)
    }

    /// Power from one frequency to another, both included, in the value's unit squared; NaN if there was no spectrum.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn band(&self, low_hz: f64, high_hz: f64) -> f64 {
        if self.taken == 0 {
            return f64::NAN;
        }
        let scale = 1.0 / (self.weight_squares * self.input.len() as f64);
        let within = self.bins.iter().enumerate().filter(|(bin, _)| {
            let hz = self.hz(*bin);
            hz >= low_hz && hz <= high_hz
        });
        let power = |(bin, x): (usize, &Complex<f64>)| {
            let both = if self.is_doubled(bin) { 2.0 } else { 1.0 };
            both * x.norm_sqr() * scale
        };
        within.map(power).sum()
    }
}

impl std::fmt::Debug for Spectrum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spectrum")
            .field("len", &self.input.len())
            .field("rate_hz", &self.rate_hz)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f64, amplitude: f64, len: usize) -> Vec<f64> {
        let step = std::f64::consts::TAU * hz / 1000.0;
        (0..len)
            .map(|i| 5.0 + amplitude * (step * i as f64).sin())
            .collect()
    }

    #[test]
    fn a_sine_shows_its_frequency_amplitude_and_power() {
        for (_, taper) in Taper::NAMES {
            let mut spectrum = Spectrum::new(1000, 1000.0, taper);
            assert!(spectrum.take(sine(50.0, 3.0, 1000).into_iter()));
            let (hz, amplitude) = spectrum.peak();
            assert!(
                (hz - 50.0).abs() < 1e-9 && (amplitude - 3.0).abs() < 1e-6,
                "{taper:?} {amplitude}"
            );
            // The power of a sine is half of its amplitude squared; all of it is near its bin.
            assert!((spectrum.band(40.0, 60.0) - 4.5).abs() < 1e-6);
            assert!(spectrum.band(100.0, 400.0) < 1e-9);
        }
    }

    /// Parseval: with a rectangular taper the power of all bins is the variance.
    #[test]
    fn all_power_is_the_variance() {
        let mut random = fastrand::Rng::with_seed(7);
        for len in [999, 1000] {
            let values: Vec<f64> = (0..len).map(|_| random.f64()).collect();
            let mean = values.iter().sum::<f64>() / len as f64;
            let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / len as f64;
            let mut spectrum = Spectrum::new(len, 1000.0, Taper::Rectangular);
            assert!(spectrum.take(values.into_iter()));
            assert!((spectrum.band(0.0, 500.0) - variance).abs() < 1e-12);
        }
    }

    #[test]
    fn a_stretch_with_too_little_in_it_gives_none() {
        let mut spectrum = Spectrum::new(100, 1000.0, Taper::Hann);
        assert!(!spectrum.take(sine(50.0, 1.0, 89).into_iter()));
        assert!(spectrum.peak().0.is_nan() && spectrum.band(0.0, 500.0).is_nan());
        assert!(spectrum.take(sine(50.0, 1.0, 95).into_iter()));
        assert!((spectrum.peak().0 - 50.0).abs() < 10.1);
        assert!(spectrum.take(sine(50.0, 1.0, 104).into_iter()));
        let holes = sine(50.0, 1.0, 100).into_iter().enumerate();
        assert!(!spectrum.take(holes.map(|(i, x)| if i % 5 == 0 { f64::NAN } else { x })));
    }
}
