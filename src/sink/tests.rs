//! The courier against a receiver that does anything, and the feed against a journal of blocks of any size.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kymo_drivers::block::{Axis, Pool, Priority, SourceId};

use super::batch::{Batch, Body, Counts, Lines};
use super::courier::{Courier, Stream};
use super::dead_letter::{self, DeadLetters};
use super::feed::{Feed, Limits};
use super::influx::answer::{Refused, Verdict};
use super::influx::dialect::{Choice, Dialect, Endpoint};
use super::influx::lanes::Encoder;
use super::pace::{Pace, PaceOptions};
use super::select::Selection;
use super::template::Template;
use super::{Destination, Sending, influx};
use crate::journal::{self, Quanta};
use crate::run_record::{ChannelRecord, LaneRecord, RunRecord, SourceRecord};
use crate::sink::feed::Encode;

/// A receiver that does anything, but keeps what it says it keeps. A line with `bad` in it is never kept.
struct Odd {
    random: Arc<Mutex<fastrand::Rng>>,
    kept: Arc<Mutex<BTreeSet<String>>>,
    /// How often anything but success is answered, in percent.
    trouble: u32,
}

impl Odd {
    fn verdict(&self, body: &Body) -> Verdict {
        let mut random = self.random.lock().expect("one at a time");
        let lines: Vec<String> = body
            .each_line()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let good = lines.iter().filter(|line| !line.contains("bad")).cloned();
        let keep = || {
            self.kept
                .lock()
                .expect("one at a time")
                .extend(good.clone());
        };
        let bad: BTreeMap<usize, String> = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.contains("bad"))
            .map(|(number, _)| (number, "no good".to_owned()))
            .collect();
        if random.u32(..100) < self.trouble {
            // It may have kept everything before it went wrong.
            if random.bool() {
                keep();
            }
            return match random.u32(..6) {
                0 => Verdict::Failed("reset".to_owned()),
                1 => Verdict::TimedOut,
                2 => Verdict::Denied("who are you?".to_owned()),
                3 if lines.len() > 1 => Verdict::TooLarge("too large".to_owned()),
                _ => Verdict::Busy {
                    retry_after: random.bool().then_some(Duration::from_secs(3)),
                    said: "later".to_owned(),
                },
            };
        }
        if bad.is_empty() {
            keep();
            return Verdict::Accepted;
        }
        if bad.len() == lines.len() {
            return Verdict::Refused(Refused::All("no good".to_owned()));
        }
        match random.u32(..3) {
            0 => {
                keep();
                Verdict::Refused(Refused::Lines {
                    lines: bad,
                    others_are_written: true,
                })
            }
            1 => {
                let first = bad.into_iter().take(1).collect();
                Verdict::Refused(Refused::Lines {
                    lines: first,
                    others_are_written: false,
                })
            }
            _ => Verdict::Refused(Refused::Some("no good".to_owned())),
        }
    }
}

impl Destination for Odd {
    fn send(&self, body: Body) -> Sending {
        let verdict = self.verdict(&body);
        let yields = self.random.lock().expect("one at a time").u32(..4);
        Box::pin(async move {
            // So that answers come in another order than requests went.
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            verdict
        })
    }

    fn renew(&mut self) -> Result<(), String> {
        let is_well = self.random.lock().expect("one at a time").bool();
        if is_well {
            Ok(())
        } else {
            Err("no token".to_owned())
        }
    }

    fn place(&self) -> String {
        "nowhere".to_owned()
    }
}

/// Whatever a receiver answers, in whatever order: every good line is kept, every bad one is a dead letter once, and
/// batches land in their order with exact counts.
#[test]
fn whatever_is_answered_every_line_is_written_or_put_aside() {
    for seed in 0..60 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut random = fastrand::Rng::with_seed(seed);
        let kept = Arc::<Mutex<BTreeSet<String>>>::default();
        let odd = Odd {
            random: Arc::new(Mutex::new(random.fork())),
            kept: Arc::clone(&kept),
            trouble: random.u32(..80),
        };
        let in_flight_max = random.usize(1..6);
        let options = PaceOptions {
            in_flight_max,
            batch_bytes_max: 1 << 16,
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(20),
            retry_denied: Duration::from_secs(60),
        };
        let dead = DeadLetters::new(dir.path(), "lab");
        let mut courier =
            Courier::new(Box::new(odd), Pace::new(options, seed), in_flight_max, dead);
        let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
        let mut batches: Vec<Batch> = Vec::new();
        let (mut samples, mut bad_samples) = (0, 0);
        for number in 1..=random.u64(1..30) {
            let mut lines = Lines::default();
            for line in 0..random.u64(..12) {
                let is_bad = random.u32(..6) == 0;
                let text = format!("{}{number}-{line}", if is_bad { "bad" } else { "line" });
                let each = random.u32(1..4);
                lines.text.extend_from_slice(text.as_bytes());
                lines.text.push(b'\n');
                lines.end_line(each);
                samples += u64::from(each);
                if is_bad {
                    bad_samples += u64::from(each);
                    bad.insert(text);
                } else {
                    good.insert(text);
                }
            }
            batches.push(Batch {
                body: lines.take(),
                records: Some((number, number)),
                samples: 1,
                ..Batch::default()
            });
        }
        let count = batches.len() as u64;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let (counts, order) = runtime.block_on(async {
            let mut now = Duration::ZERO;
            let mut waiting = batches.into_iter();
            let (mut counts, mut order) = (Counts::default(), Vec::new());
            for _ in 0..100_000 {
                while courier.has_room(Stream::Live) {
                    let Some(batch) = waiting.next() else { break };
                    courier.push(Stream::Live, batch);
                }
                let next = courier.send(now);
                assert!(courier.in_flight()[0] <= in_flight_max, "seed {seed}");
                if courier.in_flight()[0] > 0 {
                    let answered = courier.answered().await;
                    courier.take(answered, now, 0);
                } else if let Some(next) = next {
                    now = next;
                }
                while let Some(landed) = courier.land() {
                    order.push(landed.records.0);
                    counts.add(&landed.counts);
                }
                if courier.is_empty() && waiting.len() == 0 {
                    break;
                }
            }
            (counts, order)
        });
        assert_eq!(order, (1..=count).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(*kept.lock().expect("it is over"), good, "seed {seed}");
        let (letters, _) = dead_letter::read(dir.path(), "lab").expect("readable");
        let lines: Vec<&String> = letters.iter().map(|letter| &letter.line).collect();
        assert_eq!(lines.len(), bad.len(), "seed {seed}: each once");
        assert!(
            lines.into_iter().all(|line| bad.contains(line)),
            "seed {seed}"
        );
        assert_eq!(
            (counts.written, counts.rejected),
            (samples - bad_samples, bad_samples),
            "seed {seed}"
        );
    }
}

fn run_record() -> RunRecord {
    let channel = |place: usize| ChannelRecord {
        place,
        name: format!("c{place}"),
        unit: "1".to_owned(),
        calibration: String::new(),
    };
    RunRecord {
        run: "r".to_owned(),
        started: String::new(),
        started_ns: 0,
        kymo: String::new(),
        host: String::new(),
        sources: vec![SourceRecord {
            name: "s".to_owned(),
            rate_hz: None,
            lanes: vec![LaneRecord {
                label: None,
                kind: "raw".to_owned(),
                priority: "normal".to_owned(),
                channels: vec![channel(0), channel(1)],
            }],
        }],
        configuration: String::new(),
    }
}

fn options() -> influx::Options {
    influx::Options {
        url: Endpoint::parse("http://127.0.0.1:1").expect("an address"),
        dialect: Choice::Is(Dialect::V1),
        database: Some("lab".to_owned()),
        retention_policy: None,
        bucket: None,
        organisation: None,
        auth: None,
        measurement: Template::parse("{source}").expect("a template"),
        field: Template::parse("{channel}").expect("a template"),
        tags: Vec::new(),
        events: "events".to_owned(),
        precision: influx::line::Precision::Ns,
        gzip: false,
        timeout: Duration::from_secs(1),
        tls: influx::Tls::default(),
        proxy: influx::Proxy::None,
        carrier: influx::Carrier::Own,
    }
}

struct Silent;

impl journal::Observer for Silent {
    fn committed(&mut self, _: &journal::Committed, _: i64) {}
    fn failed(&mut self, block: &journal::Committed) {
        panic!("the journal failed at {block:?}");
    }
}

/// A journal of blocks of these lengths, in small segments; its last record.
fn write(dir: &Path, lengths: &[usize]) -> u64 {
    let setup = journal::Setup {
        options: journal::Options {
            segment_bytes: 1 << 20,
            ..journal::Options::default()
        },
        quanta: Quanta::default(),
        run: serde_json::to_string(&run_record()).expect("JSON"),
        clock: Arc::new(|| 0),
        observer: Box::new(Silent),
        room: Arc::new(|| {}),
    };
    let (journal, mut sender, _) = journal::open(dir, setup).expect("a new journal");
    let pool = Pool::new(2, 4096, 8);
    let mut random = fastrand::Rng::with_seed(1);
    let mut frame = 0;
    for length in lengths {
        let mut block = loop {
            match pool.take() {
                Some(block) => break block,
                None => std::thread::park_timeout(Duration::from_millis(1)),
            }
        };
        (block.source, block.lane, block.priority) = (SourceId(0), 0, Priority::Normal);
        block.first_frame = frame;
        block.axis = Axis::Regular {
            start_ns: 1_000_000_000 + i64::try_from(frame).expect("small") * 1000,
            period_ns: 1000.0,
        };
        for column in 0..2 {
            let values = block.frames.spare_column(column, *length);
            values.fill_with(|| {
                if random.u32(..50) == 0 {
                    f64::NAN
                } else {
                    random.f64()
                }
            });
        }
        block.frames.commit(*length);
        frame += *length as u64;
        sender.try_append_block(block).expect("there is room");
    }
    let closed = journal
        .close(sender, || "{}".to_owned())
        .expect("a disk that works");
    closed.last_seq
}

/// All batches of a journal.
fn batches(dir: &Path, last_seq: u64, bytes: usize, selection: &Selection) -> Vec<Batch> {
    let durable = journal::DurableSeq::fixed(last_seq);
    let mut feed = Feed::new(dir, durable, Box::new(Encoder::new(&options(), selection)));
    feed.go_to(1, u64::MAX);
    let limits = Limits {
        bytes,
        age: Duration::from_secs(1),
        flush: true,
        readable: last_seq,
    };
    let mut all = Vec::new();
    while !feed.is_even(last_seq) {
        all.extend(
            feed.next(Duration::ZERO, limits)
                .expect("a journal that can be read"),
        );
    }
    assert_eq!(feed.take_lost(), 0);
    all
}

#[test]
fn batches_of_any_size_hold_the_same_lines_and_name_every_record_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut random = fastrand::Rng::with_seed(3);
    let lengths: Vec<usize> = (0..120)
        .map(|n| {
            if n % 9 == 0 {
                random.usize(1..4096)
            } else {
                random.usize(1..40)
            }
        })
        .collect();
    let last_seq = write(dir.path(), &lengths);
    let frames: usize = lengths.iter().sum();
    let text_of = |batches: &[Batch]| -> Vec<u8> {
        batches
            .iter()
            .flat_map(|batch| batch.body.text.to_vec())
            .collect()
    };
    let whole = text_of(&batches(
        dir.path(),
        last_seq,
        usize::MAX,
        &Selection::default(),
    ));
    for bytes in [1, 100, 4096, 50_000, 1 << 20] {
        let all = batches(dir.path(), last_seq, bytes, &Selection::default());
        assert!(text_of(&all) == whole, "{bytes}: the same lines");
        let mut next = 1;
        for (from, to) in all.iter().filter_map(|batch| batch.records) {
            assert!(
                from == next && to >= from,
                "{bytes}: {from}..{to} after {next}"
            );
            next = to + 1;
        }
        assert_eq!(next, last_seq + 1, "{bytes}");
        assert!(
            all.iter()
                .all(|batch| batch.body.text.len() <= bytes || batch.body.lines() == 1)
        );
        let samples: u64 = all.iter().map(|batch| batch.samples).sum();
        assert_eq!(samples, (frames * 2) as u64);
        let sent: u64 = all.iter().map(|batch| batch.body.samples()).sum();
        let left_out: u64 = all.iter().map(|batch| batch.counts.samples()).sum();
        assert_eq!(sent + left_out, samples, "{bytes}");
    }
    // A range read alone holds what the whole has there.
    let durable = journal::DurableSeq::fixed(last_seq);
    let (samples, times) = super::feed::count(dir.path(), &durable, 1, last_seq).expect("readable");
    assert_eq!(samples, (frames * 2) as u64);
    assert!(times.is_some_and(|(first, last)| first == 1_000_000_000 && last > first));
}

#[test]
fn a_decimation_keeps_the_same_frames_however_they_are_cut() {
    let selection = Selection {
        decimate: 7,
        ..Selection::default()
    };
    let of = |lengths: &[usize]| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let last_seq = write(dir.path(), lengths);
        let all = batches(dir.path(), last_seq, 1 << 20, &selection);
        let times = all.iter().flat_map(|batch| {
            let lines = batch.body.each_line();
            lines
                .map(|line| {
                    String::from_utf8_lossy(line)
                        .rsplit(' ')
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                })
                .collect::<Vec<_>>()
        });
        times.collect::<Vec<_>>()
    };
    let expected: Vec<String> = (0..1000)
        .step_by(7)
        .map(|frame| (1_000_000_000 + frame * 1000).to_string())
        .collect();
    for lengths in [&[1000][..], &[3, 1, 13, 500, 483]] {
        let mut found = of(lengths);
        // A frame whose values are both NaN is no line.
        assert!(found.len() >= expected.len() - 3, "{lengths:?}");
        found.retain(|time| !expected.contains(time));
        assert!(found.is_empty(), "{lengths:?}: {found:?}");
    }
}

#[test]
fn nothing_is_allocated_once_a_batch_was_as_large() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let last_seq = write(dir.path(), &[4096]);
    let filter = journal::Filter::default();
    let until = journal::Until::Written;
    let mut reader =
        journal::Reader::open(dir.path(), journal::From::Seq(1), until, filter).expect("a journal");
    let mut block = journal::DecodedBlock::default();
    while let journal::Next::Record(record) = reader.next().expect("readable") {
        if record.kind == Some(journal::Kind::Block) {
            block.decode(record.payload).expect("a block");
        }
    }
    assert!(last_seq > 1);
    let mut encoder = Encoder::new(&options(), &Selection::default());
    encoder.begin_run(&run_record());
    let mut lines = Lines::default();
    encoder.block(&block, &mut lines);
    let (place, room) = (lines.text.as_ptr(), lines.text.capacity());
    for _ in 0..10 {
        lines.clear();
        encoder.block(&block, &mut lines);
        assert_eq!((lines.text.as_ptr(), lines.text.capacity()), (place, room));
    }
}
