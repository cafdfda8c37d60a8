//! What is computed, piece by piece: expressions, windows, spectra.
//!
//! `cargo bench --bench computed`. Figures are frames a second; a block is 1024 frames.
#![allow(missing_docs)] // The macros' functions.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kymo::compute::spectrum::{Spectrum, Taper};
use kymo::compute::window::{Options, Span, Statistic, Windows};
use kymo::expression::{Channel, Channels, Column, Columns, Expression};

const FRAMES: usize = 1024;
const PERIOD_NS: i64 = 100_000;
const NAMES: [&str; 3] = ["a.x", "a.y", "a.z"];

/// Three channels of one source at 10 kHz.
struct Three;

impl Channels for Three {
    fn find(&self, name: &str) -> Option<Channel> {
        let channel = NAMES.iter().position(|known| *known == name)?;
        Some(Channel {
            channel,
            unit: "m/s2".to_owned(),
            rate_hz: Some(1e9 / PERIOD_NS as f64),
        })
    }

    fn names(&self) -> Vec<String> {
        NAMES.map(str::to_owned).to_vec()
    }

    fn clock_rate_hz(&self) -> Option<f64> {
        Some(1e9 / PERIOD_NS as f64)
    }
}

#[allow(clippy::cast_precision_loss)]
fn wave(phase: f64) -> Vec<f64> {
    (0..FRAMES)
        .map(|index| (index as f64 * 0.01 + phase).sin() * 10.0)
        .collect()
}

fn times(block: i64) -> Vec<i64> {
    let first = block * FRAMES as i64;
    (first..first + FRAMES as i64)
        .map(|index| index * PERIOD_NS)
        .collect()
}

fn expressions(criterion: &mut Criterion) {
    let values = [wave(0.0), wave(1.0), wave(2.0)];
    let mut group = criterion.benchmark_group("expressions");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, text) in [
        ("condition", "a.x > 9 m/s2"),
        ("magnitude", "sqrt(a.x^2 + a.y^2 + a.z^2)"),
        (
            "two conditions",
            "a.x > 9 m/s2 and (a.y < 0 m/s2 or a.z > 1 m/s2)",
        ),
        ("trailing mean", "mean(a.x, 10ms)"),
        ("filter", "lowpass(a.x, 200 Hz)"),
        ("median", "median(a.x, 10ms)"),
    ] {
        let mut expression = match Expression::compile(text, &Three) {
            Ok(expression) => expression,
            Err(errors) => panic!("{text}: {errors:?}"),
        };
        let mut block = 0;
        let mut out = vec![0.0; FRAMES];
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || {
                    block += 1;
                    times(block)
                },
                |times_ns| {
                    let inputs: Vec<Column<'_>> = expression
                        .inputs()
                        .iter()
                        .map(|input| Column {
                            aligned: &values[input.channel],
                            times_ns,
                            values: &values[input.channel],
                        })
                        .collect();
                    let columns = Columns {
                        times_ns,
                        inputs: &inputs,
                    };
                    expression.evaluate_columns(&columns, &mut out);
                    black_box(out[FRAMES - 1])
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn windows(criterion: &mut Criterion) {
    let values = wave(0.0);
    let span = Span::Time {
        length: 100_000_000,
        hop: 100_000_000,
    };
    let mut group = criterion.benchmark_group("windows");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, span, statistics) in [
        (
            "mean, rms, extremes",
            span,
            vec![
                Statistic::Mean,
                Statistic::Rms,
                Statistic::Min,
                Statistic::Max,
            ],
        ),
        (
            "the same, hopping by a tenth",
            Span::Time {
                length: 100_000_000,
                hop: 10_000_000,
            },
            vec![
                Statistic::Mean,
                Statistic::Rms,
                Statistic::Min,
                Statistic::Max,
            ],
        ),
        ("slope", span, vec![Statistic::Slope]),
        (
            "median and p99",
            span,
            vec![Statistic::Quantile(0.5), Statistic::Quantile(0.99)],
        ),
        ("spectral peak", span, vec![Statistic::PeakFrequency]),
    ] {
        let options = Options {
            span,
            statistics,
            rate_hz: Some(1e9 / PERIOD_NS as f64),
            lateness_ns: 0,
            taper: Taper::Hann,
        };
        let mut windows = Windows::new(options, 1);
        let mut block = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || {
                    block += 1;
                    times(block)
                },
                |times_ns| {
                    let closed = |time_ns: i64, row: &[f64]| {
                        black_box((time_ns, row[0]));
                    };
                    windows.push(times_ns, |_| &values, std::iter::empty(), closed);
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn spectra(criterion: &mut Criterion) {
    let values: Vec<f64> = wave(0.0).into_iter().cycle().take(8192).collect();
    let mut spectrum = Spectrum::new(values.len(), 10_000.0, Taper::Hann);
    let mut group = criterion.benchmark_group("spectra");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("8192 samples", |bencher| {
        bencher.iter(|| {
            assert!(spectrum.take(black_box(&values).iter().copied()));
            spectrum.peak()
        });
    });
    group.finish();
}

criterion_group!(benches, expressions, windows, spectra);
criterion_main!(benches);
