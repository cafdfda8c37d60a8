//! What every block goes through, piece by piece: a lane, calibration, statistics, a rule.
//!
//! `cargo bench --bench hot_path`. Figures are values a second; a block is 1024 frames.
#![allow(missing_docs)] // The macros' functions.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kymo::alert::{Column, Judge, Kind, Limits, Memory, RuleOptions, RuleState, Side};
use kymo::lanes::{Item, LaneOptions, LanesBuilder, Overflow};
use kymo::ledger::Ledger;
use kymo::stage::calibrate::{Calibration, ThermocoupleKind};
use kymo::stage::statistics::summarize;
use kymo_drivers::block::{Axis, Pool, Priority, SourceId};
use kymo_drivers::frames::Frames;

const FRAMES: usize = 1024;

#[allow(clippy::cast_precision_loss)]
fn wave() -> Vec<f64> {
    (0..FRAMES)
        .map(|index| (index as f64 * 0.01).sin() * 10.0)
        .collect()
}

/// From a pool into a lane, out of it, and back: what a block costs, whatever it holds.
fn lane(criterion: &mut Criterion) {
    let ledger = Ledger::new(1);
    let mut builder = LanesBuilder::default();
    builder.add(LaneOptions {
        source: SourceId(0),
        lane: 0,
        priority: Priority::Normal,
        overflow: Overflow::Block,
        depth: 64,
        counts: Arc::clone(ledger.source(SourceId(0))),
    });
    let (mut intake, _gate, mut senders) = builder.build();
    let (_, _, sender) = &mut senders[0];
    let pool = Pool::new(1, FRAMES, 8);
    let mut time_ns = 0;
    let mut group = criterion.benchmark_group("lane");
    group.throughput(Throughput::Elements(1));
    group.bench_function("block", |bencher| {
        bencher.iter(|| {
            let mut block = pool.take().expect("every block comes back");
            time_ns += 1;
            block.axis = Axis::Regular {
                start_ns: time_ns,
                period_ns: 1.0,
            };
            block.frames.push(0, &[1.0]);
            sender.push(block);
            match intake.next(|_| true) {
                Some(Item::Block(block)) => black_box(block.first_ns()),
                other => panic!("{other:?}"),
            }
        });
    });
    group.finish();
}

fn statistics(criterion: &mut Criterion) {
    let values = wave();
    let mut group = criterion.benchmark_group("statistics");
    group.throughput(Throughput::Elements(FRAMES as u64));
    group.bench_function("summarize", |bencher| {
        bencher.iter(|| summarize(black_box(&values)));
    });
    group.finish();
}

fn calibration(criterion: &mut Criterion) {
    let squares = (-11..=11)
        .map(|x| (f64::from(x), f64::from(x * x)))
        .collect();
    let thermocouple = Calibration::Thermocouple {
        kind: ThermocoupleKind::K,
        cold_junction: Some(1),
        millivolt: 1.0,
    };
    let cases = [
        (
            "linear",
            Calibration::Linear {
                scale: 0.5,
                offset: 1.0,
            },
        ),
        (
            "polynomial",
            Calibration::Polynomial(vec![1.0, 0.5, 0.25, 0.125]),
        ),
        ("table", Calibration::Table(squares)),
        (
            "thermistor",
            Calibration::Thermistor {
                a: 1.129e-3,
                b: 2.341e-4,
                c: 8.767e-8,
            },
        ),
        ("thermocouple", thermocouple),
    ];
    let mut group = criterion.benchmark_group("calibrate");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, calibration) in cases {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let mut fresh = Frames::with_capacity(2, FRAMES);
            for value in wave() {
                fresh.push(0, &[value, 25.0]);
            }
            let mut frames = Frames::with_capacity(2, FRAMES);
            bencher.iter(|| {
                // A calibrated column is not calibrated again: each time from fresh values.
                frames.clear();
                frames.copy_columns(&fresh, &[0, 1], 0..FRAMES);
                calibration.apply(&mut frames, 0);
                black_box(frames.column(0)[FRAMES - 1])
            });
        });
    }
    group.finish();
}

/// A rule that looks at every value, and one that a block's extremes have settled.
fn rule(criterion: &mut Criterion) {
    let values = wave();
    let mut group = criterion.benchmark_group("rule");
    group.throughput(Throughput::Elements(FRAMES as u64));
    for (name, limit) in [("each value", 5.0), ("settled", 50.0)] {
        let mut options = RuleOptions::new("bench", (0, 0), threshold(limit));
        options.hold = Duration::from_secs(1);
        let mut state = RuleState::new(&options, 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let summary = summarize(black_box(&values));
                if !state.is_settled_by(summary.min, summary.max) {
                    let time_ns = |index| i64::try_from(index).unwrap_or(0);
                    state.advance(&values, time_ns, |_, change| {
                        black_box(change);
                    });
                }
            });
        });
    }
    group.finish();
}

fn threshold(limit: f64) -> Kind {
    Kind::Threshold(Limits {
        side: Side::Above,
        limit,
        clear: limit,
    })
}

/// A thousand threshold rules over a thousand channels: one second of a kilohertz in blocks of 100 frames, statistics
/// included. The time of one iteration is the share of a core.
fn thousand_rules(criterion: &mut Criterion) {
    const CHANNELS: usize = 1000;
    const BLOCK: usize = 100;
    let rules: Vec<RuleOptions> = (0..CHANNELS)
        .map(|channel| RuleOptions::new(&format!("r{channel}"), (0, channel), threshold(50.0)))
        .collect();
    let mut judge = Judge::new(&rules, &[], &Memory::default(), 0);
    let columns: Vec<Vec<f64>> = (0..CHANNELS).map(|_| wave()[..BLOCK].to_vec()).collect();
    let mut group = criterion.benchmark_group("rules");
    group.sample_size(10);
    group.bench_function("1000 rules, 1000 channels, 1 kHz, one second", |bencher| {
        bencher.iter(|| {
            for block in 0..1000 / BLOCK {
                for (channel, values) in columns.iter().enumerate() {
                    let summary = summarize(black_box(values));
                    let column = Column {
                        values,
                        min: summary.min,
                        max: summary.max,
                    };
                    let time_ns = |index| i64::try_from(block * BLOCK + index).unwrap_or(0);
                    judge.look(&[channel], &column, time_ns, |rule, _, moved| {
                        black_box((rule, moved));
                    });
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, lane, statistics, calibration, rule, thousand_rules);
criterion_main!(benches);
