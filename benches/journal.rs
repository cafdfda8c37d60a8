//! The journal: packing a block, writing blocks until they are committed, reading them back.
//!
//! `cargo bench --bench journal`. A block is 1024 frames of 6 channels, once of values that came
//! from integers and once of floats that did not. Writing goes to the directory for temporary
//! files, so its figures are that disk's.
#![allow(missing_docs)] // The macros' functions.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kymo::journal::{
    Committed, DecodedBlock, Filter, From, Kind, Next, Observer, Options, Quanta, Quantum, Reader,
    Setup, Until, encode_block, open,
};
use kymo_drivers::block::{Axis, Block, Pool};

const FRAMES: usize = 1024;
const CHANNELS: usize = 6;
const VALUES: u64 = (FRAMES * CHANNELS) as u64;
const QUANTUM: Quantum = (0.01, -40.0);

/// What is in the columns, and whether the journal knows how it came from integers.
struct Content {
    name: &'static str,
    values: Vec<f64>,
    quanta: Vec<Option<Quantum>>,
}

fn contents() -> [Content; 2] {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut of = |value: fn(&mut fastrand::Rng) -> f64| -> Vec<f64> {
        (0..FRAMES).map(|_| value(&mut rng)).collect()
    };
    [
        Content {
            name: "integers",
            values: of(|rng| f64::from(rng.i16(..)) * QUANTUM.0 + QUANTUM.1),
            quanta: vec![Some(QUANTUM); CHANNELS],
        },
        Content {
            name: "floats",
            values: of(fastrand::Rng::f64),
            quanta: Vec::new(),
        },
    ]
}

fn fill(block: &mut Block, content: &Content, number: u64) {
    block.first_frame = number * FRAMES as u64;
    block.axis = Axis::Regular {
        start_ns: number.cast_signed() * 1_024_000,
        period_ns: 1000.0,
    };
    for channel in 0..CHANNELS {
        let column = block.frames.spare_column(channel, FRAMES);
        column.copy_from_slice(&content.values);
    }
    block.frames.commit(FRAMES);
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(VALUES * 8));
    for content in contents() {
        let mut block = Block::unpooled(CHANNELS, FRAMES);
        fill(&mut block, &content, 0);
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::from_parameter(content.name), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_block(black_box(&block), &content.quanta, &mut out);
                black_box(out.len())
            });
        });
    }
    group.finish();
}

struct Silent;

impl Observer for Silent {
    fn committed(&mut self, _block: &Committed, _commit_ns: i64) {}

    fn failed(&mut self, block: &Committed) {
        panic!("the journal failed at {block:?}");
    }
}

/// Writes `count` blocks and closes the journal; how long it took until all was committed.
fn write(dir: &Path, content: &Content, count: u64) -> Duration {
    let start = Instant::now();
    let setup = Setup {
        options: Options::default(),
        quanta: Quanta(vec![vec![content.quanta.clone()]]),
        run: "{}".to_owned(),
        clock: Arc::new(move || i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX)),
        observer: Box::new(Silent),
        room: Arc::new(|| {}),
    };
    let (journal, mut sender, _) = open(dir, setup).expect("a new journal");
    let pool = Pool::new(CHANNELS, FRAMES, 256);
    let start = Instant::now();
    for number in 0..count {
        let mut block = loop {
            match pool.take() {
                Some(block) => break block,
                None => std::thread::park_timeout(Duration::from_micros(20)),
            }
        };
        fill(&mut block, content, number);
        // The pool is smaller than the queue.
        sender.try_append_block(block).expect("there is room");
    }
    journal
        .close(sender, || "{}".to_owned())
        .expect("a disk that works");
    start.elapsed()
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append_and_commit");
    group.throughput(Throughput::Elements(VALUES));
    group.sample_size(10);
    for content in contents() {
        group.bench_function(BenchmarkId::from_parameter(content.name), |bencher| {
            bencher.iter_custom(|count| {
                let dir = tempfile::tempdir().expect("a directory");
                write(dir.path(), &content, count)
            });
        });
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    const BLOCKS: u64 = 1000;
    let mut group = criterion.benchmark_group("read_back");
    group.throughput(Throughput::Elements(VALUES * BLOCKS));
    group.sample_size(10);
    for content in contents() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), &content, BLOCKS);
        let mut decoded = DecodedBlock::default();
        group.bench_function(BenchmarkId::from_parameter(content.name), |bencher| {
            bencher.iter(|| {
                let filter = Filter {
                    kinds: Some(vec![Kind::Block]),
                    sources: None,
                };
                let mut reader = Reader::open(dir.path(), From::Seq(1), Until::Written, filter)
                    .expect("the journal just written");
                let mut blocks = 0;
                while let Next::Record(record) = reader.next().expect("a disk that works") {
                    decoded.decode(record.payload).expect("a sound block");
                    blocks += 1;
                }
                assert_eq!(blocks, BLOCKS);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode, append, read);
criterion_main!(benches);
