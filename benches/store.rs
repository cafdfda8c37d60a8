//! Parquet encodings on signals like real ones, and a range out of a segment.
//!
//! `cargo bench --bench store`; before the times it prints the bytes of a value for each signal and encoding. Throughput
//! is in values: one column of values; the column of times is measured by itself.
#![allow(missing_docs)] // The macros' functions.
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kymo::data_dir::DataDir;
use kymo::journal;
use kymo::run_record::{ChannelRecord, LaneRecord, RunRecord, SourceRecord};
use kymo::store::read::{Archive, Range, find};
use kymo::store::{self, layout, table};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterProperties;

const ROWS: usize = table::GROUP_ROWS;

/// Columns as devices give them.
fn signals() -> Vec<(&'static str, Vec<f64>)> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut gauss = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
    let mut column = |value: &mut dyn FnMut(f64, f64) -> f64| -> Vec<f64> {
        (0..ROWS).map(|row| value(row as f64, gauss())).collect()
    };
    vec![
        (
            "12 bit",
            column(&mut |row, g| ((row * 1e-3).sin() * 1500.0 + g * 4.0).round() * 0.01),
        ),
        (
            "16 bit",
            column(&mut |row, g| {
                ((row * 3e-4).sin() * 28_000.0 + g * 60.0).round() * 0.001_197_096_4
            }),
        ),
        (
            "temperature",
            // Millivolt of three decimals, calibrated by a polynomial: slow, and every bit of the mantissa used.
            column(&mut |row, g| {
                let mv = ((row * 1e-6).sin() * 20_000.0 + g * 2.0).round() / 1000.0;
                25.0 + mv * 24.3 + mv * mv * 0.003
            }),
        ),
        ("noise", column(&mut |_, g| g)),
    ]
}

fn times() -> Vec<i64> {
    let mut random = fastrand::Rng::with_seed(11);
    let jitter = |random: &mut fastrand::Rng| random.i64(0..400);
    (0..ROWS)
        .map(|row| 1_795_475_410_850_021_324 + row as i64 * 10_000 + jitter(&mut random))
        .collect()
}

fn plain(encoding: Encoding, compression: Compression, dictionary: bool) -> WriterProperties {
    WriterProperties::builder()
        .set_encoding(encoding)
        .set_compression(compression)
        .set_dictionary_enabled(dictionary)
        .set_dictionary_page_size_limit(1 << 20)
        .set_max_row_group_row_count(Some(ROWS))
        .build()
}

fn write(schema: &SchemaRef, batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))
        .expect("a schema of one column");
    writer.write(batch).expect("memory");
    writer.into_inner().expect("memory")
}

type MakeProperties = Box<dyn Fn() -> WriterProperties>;

fn encode(criterion: &mut Criterion) {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new(
        "value",
        DataType::Float64,
        false,
    )]));
    let store = Arc::clone(&schema);
    let encodings: [(&str, MakeProperties); 5] = [
        ("the store's", Box::new(move || table::properties(&store))),
        (
            "plain",
            Box::new(|| plain(Encoding::PLAIN, Compression::UNCOMPRESSED, false)),
        ),
        (
            "plain, lz4",
            Box::new(|| plain(Encoding::PLAIN, Compression::LZ4_RAW, false)),
        ),
        (
            "split, lz4",
            Box::new(|| plain(Encoding::BYTE_STREAM_SPLIT, Compression::LZ4_RAW, false)),
        ),
        (
            "dictionary",
            Box::new(|| plain(Encoding::PLAIN, Compression::UNCOMPRESSED, true)),
        ),
    ];
    let mut group = criterion.benchmark_group("encode");
    group
        .throughput(Throughput::Elements(ROWS as u64))
        .sample_size(10);
    for (signal, values) in signals() {
        let column: ArrayRef = Arc::new(Float64Array::from(values));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).expect("one column");
        for (name, properties) in &encodings {
            let bytes = write(&schema, &batch, properties()).len();
            println!(
                "{signal:12} {name:12} {:5.2} bytes a value",
                bytes as f64 / ROWS as f64
            );
            group.bench_function(BenchmarkId::new(*name, signal), |bencher| {
                bencher.iter(|| black_box(write(&schema, &batch, properties())).len());
            });
        }
    }
    let schema = table::schema(&record(), 0, 0).expect("there is such a lane");
    let time: SchemaRef = Arc::new(Schema::new(vec![schema.field(0).clone()]));
    let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(times()).with_timezone("UTC"));
    let batch = RecordBatch::try_new(Arc::clone(&time), vec![column]).expect("one column");
    let bytes = write(&time, &batch, table::properties(&time)).len();
    println!(
        "times        the store's  {:5.2} bytes a value",
        bytes as f64 / ROWS as f64
    );
    group.bench_function(BenchmarkId::new("the store's", "times"), |bencher| {
        bencher.iter(|| black_box(write(&time, &batch, table::properties(&time))).len());
    });
    group.finish();
}

fn record() -> RunRecord {
    let channel = |(place, (name, _)): (usize, (&str, Vec<f64>))| ChannelRecord {
        place,
        name: name.replace(' ', "_"),
        unit: "V".to_owned(),
        calibration: "None".to_owned(),
    };
    RunRecord {
        run: "bench".to_owned(),
        started: String::new(),
        started_ns: 0,
        kymo: String::new(),
        host: String::new(),
        sources: vec![SourceRecord {
            name: "adc".to_owned(),
            rate_hz: None,
            lanes: vec![LaneRecord {
                kind: "raw".to_owned(),
                priority: "bulk".to_owned(),
                label: None,
                channels: signals().into_iter().enumerate().map(channel).collect(),
            }],
        }],
        configuration: String::new(),
    }
}

/// A thousand rows of one channel, and all of them, out of a segment of eight row groups.
fn read(criterion: &mut Criterion) {
    const GROUPS: usize = 8;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    drop(DataDir::take(&data).expect("a new data directory"));
    let record = record();
    let lane_dir = data.join(store::DIR).join(&record.run).join("adc");
    std::fs::create_dir_all(&lane_dir).expect("a directory");
    std::fs::create_dir_all(data.join(journal::DIR)).expect("a directory");
    let json = serde_json::to_vec(&record).expect("it is JSON");
    std::fs::write(
        data.join(store::DIR).join(&record.run).join(layout::RUN),
        json,
    )
    .expect("a file");
    let schema = table::schema(&record, 0, 0).expect("there is such a lane");
    let properties = table::properties(&schema);
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).expect("memory");
    let base = times();
    for group in 0..GROUPS {
        let shift = (group * ROWS) as i64 * 10_000;
        let times: Vec<i64> = base.iter().map(|time| time + shift).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(
            TimestampNanosecondArray::from(times).with_timezone("UTC"),
        )];
        for (_, values) in signals() {
            columns.push(Arc::new(Float64Array::from(values)));
        }
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("equal lengths");
        writer
            .write(&batch)
            .and_then(|()| writer.flush())
            .expect("memory");
    }
    let bytes = writer.into_inner().expect("memory");
    std::fs::write(lane_dir.join(layout::name(1, 2, 0)), bytes).expect("a file");

    let archive = Archive::open(&data).expect("a data directory");
    let run = archive.runs().expect("a store").pop().expect("a run");
    let lane = find(&run, |name| name == "adc.16_bit")
        .pop()
        .expect("a channel");
    let middle = base[0] + (GROUPS / 2 * ROWS + ROWS / 2) as i64 * 10_000;
    let narrow = Range {
        from_ns: middle,
        to_ns: middle + 10_000_000,
    };
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10);
    for (name, range, rows) in [
        ("a thousand rows", narrow, 1000),
        ("all rows", Range::all(), GROUPS * ROWS),
    ] {
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || archive.read(&run, &lane, range).expect("a lane"),
                |mut found| {
                    let mut count = 0;
                    while let Some(rows) = found.next().expect("a whole segment") {
                        count += black_box(&rows.columns[0]).len();
                    }
                    assert!(count.abs_diff(rows) <= 1, "{count}");
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, encode, read);
criterion_main!(benches);
