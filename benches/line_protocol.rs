//! Line protocol out of columns: bytes of text a second, on one core.
//!
//! `cargo bench --bench line_protocol`. A block is 1024 frames; once of six channels that came from integers of 16 bit, once of
//! one channel of noise, whose numbers have all their digits.
#![allow(missing_docs)] // The macros' functions.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kymo::sink::batch::Lines;
use kymo::sink::influx::line::{LineWriter, Precision, Series};

const FRAMES: usize = 1024;

struct Content {
    name: &'static str,
    columns: Vec<Vec<f64>>,
}

fn contents() -> [Content; 3] {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut of = |channels: usize, value: fn(&mut fastrand::Rng) -> f64| -> Vec<Vec<f64>> {
        let column = |_| (0..FRAMES).map(|_| value(&mut rng)).collect();
        (0..channels).map(column).collect()
    };
    [
        Content {
            name: "six_of_16_bit",
            columns: of(6, |rng| f64::from(rng.i16(..)) * 0.001_197_096_4),
        },
        Content {
            name: "one_of_two_decimals",
            columns: of(1, |rng| f64::from(rng.i16(..)) / 100.0),
        },
        Content {
            name: "one_of_noise",
            columns: of(1, fastrand::Rng::f64),
        },
    ]
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("line_protocol");
    for content in contents() {
        let tags = [("host".to_owned(), "bench".to_owned())];
        let mut series = Series::new("imu", &tags).expect("names");
        for column in 0..content.columns.len() {
            series
                .add_field(&format!("c{column}"), column)
                .expect("a name");
        }
        let series = [series];
        let times: Vec<i64> = (0..FRAMES as i64)
            .map(|frame| 1_795_420_800_000_000_000 + frame * 250_013)
            .collect();
        let mut writer = LineWriter::new(Precision::Ns);
        let mut lines = Lines::default();
        let mut write = |lines: &mut Lines| {
            lines.clear();
            writer.frames(
                &series,
                &times,
                |column| &content.columns[column],
                0..FRAMES,
                lines,
            )
        };
        write(&mut lines);
        group.throughput(Throughput::Bytes(lines.text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(content.name), |bencher| {
            bencher.iter(|| black_box(write(&mut lines)));
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
