//! What is written reads back; what is torn, damaged or hostile is read as far as it is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::writer::path_of;
use super::*;
use crate::clock::Clock;
use crate::event::EventSender;
use crate::lanes::LanesBuilder;
use crate::ledger::SourceCounts;

const BEGIN: i64 = 1_795_420_800_000_000_000;

fn described() -> Described {
    let source = |name: &str, starts_whole| SourceInfo {
        name: name.to_owned(),
        link: format!("a test's {name}"),
        starts_whole,
    };
    Described {
        run: "20261123T080000.000Z-0001".to_owned(),
        started_ns: BEGIN,
        host: "here".to_owned(),
        kymo: "0.1.0".to_owned(),
        configuration: "[run]\nduration = \"1s\"\n".to_owned(),
        calibration: [("imu.ax".to_owned(), "None [1]".to_owned())].into(),
        sources: vec![source("imu", false), source("gps", true)],
    }
}

fn entry(at: i64, source: usize, what: What) -> Entry {
    Entry {
        time_ns: BEGIN + at,
        source: Some(source),
        what,
    }
}

/// Messages of two sources and a run; the second source's lag behind in the file.
fn entries(count: i64) -> Vec<Entry> {
    let opened = |ns_per_byte| LinkChange::Opened {
        ns_per_byte,
        keeps_boundaries: false,
    };
    let mut all = vec![
        entry(0, 0, What::Link(opened(86_805.555_555_555_56))),
        entry(0, 1, What::Link(opened(0.0))),
    ];
    for n in 1..=count {
        let bytes: Vec<u8> = (0..n % 40).map(|b| (b * n) as u8).collect();
        all.push(entry(n * 1000, 0, What::Read(bytes.clone().into())));
        all.push(entry(n * 1000 - 700, 1, What::Read(bytes.clone().into())));
        if n % 7 == 0 {
            all.push(entry(n * 1000 + 1, 0, What::Sent(bytes.into())));
            all.push(Entry {
                time_ns: BEGIN + n * 1000 + 2,
                source: None,
                what: What::Event(Bytes::from(format!("{{\"event\":\"note\",\"n\":{n}}}"))),
            });
        }
    }
    let reason = "hung up".to_owned();
    all.push(entry(
        count * 1000 + 3,
        0,
        What::Link(LinkChange::Gone { reason }),
    ));
    all
}

fn in_order(mut all: Vec<Entry>) -> Vec<Entry> {
    all.sort_by_key(|entry| entry.time_ns);
    all
}

fn write(path: &Path, all: &[Entry], options: Options, flush_each: usize) -> u32 {
    let mut writer = Writer::create(path, described(), options).expect("it can be written");
    for (number, entry) in all.iter().enumerate() {
        writer.write(entry).expect("it can be written");
        if (number + 1) % flush_each == 0 {
            writer.flush().expect("it can be written");
        }
    }
    let files = writer.files();
    writer.finish().expect("it can be finished");
    files
}

fn read(capture: &Capture, selection: Selection) -> (Vec<Entry>, Vec<Damage>) {
    let mut entries = capture.entries(selection);
    let mut all = Vec::new();
    for entry in entries.by_ref() {
        all.push(entry.expect("it is in order"));
    }
    (all, entries.take_damage())
}

fn open(path: &Path) -> Capture {
    Capture::open(&[path.to_owned()]).expect("it is a capture")
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("a.mcap");
    (dir, path)
}

#[test]
fn what_is_written_reads_back_in_the_order_of_time() {
    for compression in [Compression::Lz4, Compression::None] {
        let (_dir, path) = scratch();
        let all = entries(300);
        let options = Options {
            compression,
            chunk_bytes: 900,
            ..Options::default()
        };
        assert_eq!(write(&path, &all, options, 50), 1);
        let capture = open(&path);
        assert_eq!(capture.described(), &described());
        assert_eq!(capture.damage(), []);
        assert_eq!(capture.check_files(), []);
        assert_eq!(
            read(&capture, Selection::default()),
            (in_order(all.clone()), vec![])
        );
        let selection = Selection {
            from_ns: Some(BEGIN + 50_000),
            to_ns: Some(BEGIN + 60_000),
            sources: Some(vec![1]),
        };
        let wanted = in_order(all).into_iter().filter(|entry| {
            (BEGIN + 50_000..BEGIN + 60_000).contains(&entry.time_ns) && entry.source != Some(0)
        });
        assert_eq!(read(&capture, selection).0, wanted.collect::<Vec<_>>());
    }
}

#[test]
fn a_rotated_capture_is_one_and_each_file_is_complete() {
    let (dir, path) = scratch();
    let all = entries(2000);
    let options = Options {
        chunk_bytes: 2000,
        rotate_bytes: 20_000,
        ..Options::default()
    };
    let files = write(&path, &all, options.clone(), 100);
    assert!(files > 2, "{files} files");
    let capture = open(&path);
    assert_eq!(capture.files().count(), files as usize);
    assert_eq!(
        read(&capture, Selection::default()),
        (in_order(all.clone()), vec![])
    );
    // As a directory, and as files in any order.
    let folder = open(dir.path());
    assert_eq!(read(&folder, Selection::default()).0.len(), all.len());
    let last = open(&path_of(&path, files));
    assert_eq!(last.described(), &described());
    assert!(!read(&last, Selection::default()).0.is_empty());

    let (_dir, path) = scratch();
    let options = Options {
        rotate_after: Some(Duration::from_micros(500)),
        ..options
    };
    assert!(write(&path, &all, options, 100) >= 4);
    assert_eq!(read(&open(&path), Selection::default()).0, in_order(all));
}

#[test]
fn a_file_that_is_there_is_not_written_over_and_captures_are_not_mixed() {
    let (_dir, path) = scratch();
    write(&path, &entries(3), Options::default(), 100);
    let again = Writer::create(&path, described(), Options::default());
    assert!(matches!(
        again.err(),
        Some(Error::Io { what: "create", .. })
    ));
    let other = path.with_file_name("b.mcap");
    let mut described = described();
    described.run = "another".to_owned();
    let writer = Writer::create(&other, described, Options::default()).expect("it can be written");
    writer.finish().expect("it can be finished");
    let mixed = Capture::open(&[path, other]).err();
    assert!(matches!(mixed, Some(Error::Mixed { .. })), "{mixed:?}");
}

/// A small capture with several chunks, whole, and its messages in order.
fn small() -> (Vec<u8>, Vec<Entry>) {
    let (_dir, path) = scratch();
    let all = entries(30);
    let options = Options {
        chunk_bytes: 600,
        ..Options::default()
    };
    write(&path, &all, options, 20);
    let bytes = std::fs::read(&path).expect("it is there");
    (bytes, in_order(all))
}

/// What is read of some bytes; `None`: nothing, with an error.
fn read_bytes(path: &Path, bytes: &[u8]) -> Option<(Vec<Entry>, usize)> {
    std::fs::write(path, bytes).expect("it can be written");
    let capture = Capture::open(&[path.to_owned()]).ok()?;
    let opened = capture.damage().len() + capture.check_files().len();
    let (all, damage) = read(&capture, Selection::default());
    Some((all, opened + damage.len()))
}

#[test]
fn a_torn_capture_is_read_up_to_its_last_whole_chunk_wherever_it_ends() {
    let (bytes, all) = small();
    let (_dir, path) = scratch();
    let mut before = 0;
    for end in 0..bytes.len() {
        let Some((found, damage)) = read_bytes(&path, &bytes[..end]) else {
            assert_eq!(
                before, 0,
                "a shorter one was read, and not that of {end} bytes"
            );
            continue;
        };
        assert!(
            damage > 0,
            "the end is missing at byte {end}, and nobody says so"
        );
        assert!(
            found.len() >= before,
            "a longer one has less, at byte {end}"
        );
        assert!(found.iter().all(|entry| all.contains(entry)), "byte {end}");
        before = found.len();
    }
    assert_eq!(before, all.len());
    assert_eq!(read_bytes(&path, &bytes), Some((all, 0)));
}

#[test]
fn a_flipped_byte_is_said_and_brings_nothing_that_was_not_recorded() {
    let (bytes, all) = small();
    let (_dir, path) = scratch();
    let end = bytes.len() - 8;
    let mut silent = Vec::new();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x41;
        let Some((found, damage)) = read_bytes(&path, &flipped) else {
            continue;
        };
        assert!(found.iter().all(|entry| all.contains(entry)), "byte {at}");
        if damage == 0 {
            assert_eq!(found, all, "byte {at} of {end}");
            silent.push(at);
        }
    }
    // What is said by nobody is in the index behind the data, which is not used.
    let data_end = silent.first().copied().unwrap_or(bytes.len());
    assert!(
        data_end > bytes.len() / 3,
        "byte {data_end} of {}",
        bytes.len()
    );
}

#[test]
fn hostile_lengths_are_not_believed() {
    let (bytes, _) = small();
    let (_dir, path) = scratch();
    for at in (8..bytes.len() - 8).step_by(3) {
        for value in [u64::MAX, i64::MAX as u64, 1 << 40, 0] {
            let mut changed = bytes.clone();
            changed[at..at + 8].copy_from_slice(&value.to_le_bytes());
            // It need not be read; it must not harm.
            let _ = read_bytes(&path, &changed);
        }
    }
    for rubbish in [
        &b""[..],
        b"\x89MCAP0\r\n",
        b"MCAP",
        &[0xFF; 4000],
        &[0; 4000],
    ] {
        assert_eq!(read_bytes(&path, rubbish), None);
    }
    let mut foreign = Vec::new();
    let mut writer = mcap::Writer::new(io::Cursor::new(&mut foreign)).expect("a writer");
    writer.finish().expect("it can be finished");
    drop(writer);
    std::fs::write(&path, &foreign).expect("it can be written");
    let refused = Capture::open(&[path]).err();
    assert!(
        matches!(refused, Some(Error::Foreign { .. })),
        "{refused:?}"
    );
}

/// A link that says what is to be recorded of it.
struct Line;

impl kymo_drivers::link::Link for Line {
    fn read(
        &mut self,
        _: &mut [u8],
        _: Option<Duration>,
        _: &kymo_drivers::link::Stop,
    ) -> kymo_drivers::link::Read {
        kymo_drivers::link::Read::Quiet
    }

    fn ns_per_byte(&self) -> f64 {
        1e9 / 11_520.0
    }
}

fn setup(path: &Path, counts: &Arc<SourceCounts>) -> (Setup, flume::Receiver<crate::event::Event>) {
    let (_, gate, _) = LanesBuilder::default().build();
    let (events_in, events) = flume::bounded(1000);
    let mut described = described();
    described.sources.truncate(1);
    let setup = Setup {
        path: path.to_owned(),
        described,
        options: Options::default(),
        chunk_interval: Duration::from_millis(20),
        buffer_bytes: 1 << 20,
        counts: vec![Arc::clone(counts)],
        events: EventSender::new(events_in, gate),
        clock: Clock::system(),
    };
    (setup, events)
}

#[test]
fn every_byte_is_counted_as_recorded_or_as_not_recorded_and_what_is_missing_stands_in_the_capture()
{
    let (_dir, path) = scratch();
    let counts = Arc::<SourceCounts>::default();
    let (setup, events) = setup(&path, &counts);
    let clock = setup.clock.clone();
    let (recording, taps) = Recording::start(setup).expect("it starts");
    let mut taps = taps.into_iter().next().expect("there is one source");
    taps.read.opened(clock.now_ns(), &Line);
    // Far faster than any disk, so that the buffer is full now and then.
    let bytes = vec![0xA5; 60_000];
    let mut put = 0;
    for _ in 0..4000 {
        taps.read.read(clock.now_ns(), &bytes);
        put += bytes.len() as u64;
    }
    taps.read.left(clock.now_ns());
    drop(taps);
    let report = recording.finish();
    assert_eq!(report.failure, None);
    assert_eq!(report.recorded + report.not_recorded, put, "{report:?}");
    assert!(report.not_recorded > 0 && report.recorded > 0, "{report:?}");
    let (found, damage) = read(&open(&path), Selection::default());
    assert_eq!(damage, []);
    let (mut there, mut missing) = (0, 0);
    for entry in &found {
        match &entry.what {
            What::Read(bytes) => there += bytes.len() as u64,
            What::Link(LinkChange::NotRecorded { bytes, .. }) => missing += bytes,
            _ => {}
        }
    }
    assert_eq!((there, missing), (report.recorded, report.not_recorded));
    let told = events
        .try_iter()
        .any(|event| event.kind.name() == "not_recorded");
    assert!(told, "nobody says that bytes are missing");
    assert!(matches!(
        found[0].what,
        What::Link(LinkChange::Opened { .. })
    ));
    assert_eq!(
        found.last().map(|last| &last.what),
        Some(&What::Link(LinkChange::Left))
    );
}

#[test]
fn what_is_recorded_is_on_disk_within_the_interval_though_nobody_finishes_it() {
    let (_dir, path) = scratch();
    let counts = Arc::<SourceCounts>::default();
    let (setup, _events) = setup(&path, &counts);
    let (recording, taps) = Recording::start(setup).expect("it starts");
    let mut taps = taps.into_iter().next().expect("there is one source");
    taps.read.read(BEGIN, b"pressure 21.5\n");
    recording
        .events()
        .put(BEGIN + 1, "{\"event\":\"annotation\"}");
    for _ in 0..2000 {
        if counts.recorded() > 0 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(counts.recorded(), 14);
    let torn = open(&path);
    assert_eq!(torn.damage().len(), 1);
    let (found, damage) = read(&torn, Selection::default());
    assert_eq!(damage, []);
    assert_eq!(
        found[0].what,
        What::Read(Bytes::from_static(b"pressure 21.5\n"))
    );
    drop(taps);
    assert_eq!(recording.finish().failure, None);
    assert_eq!(open(&path).damage(), []);
}
