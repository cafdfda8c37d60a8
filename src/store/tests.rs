//! The store over a journal made here: nothing lost, nothing twice, whatever is merged, removed or cut off.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kymo_drivers::block::{Axis, Block, Priority, SourceId};

use super::compact::{Pace, compact};
use super::read::{Archive, Range, find};
use super::retention::{Keeper, KeeperSetup};
use super::{DIR, Limits, Options, Store, StoreSetup, layout};
use crate::data_dir::DataDir;
use crate::journal::{self, Quanta};
use crate::run_record::{ChannelRecord, LaneRecord, RunRecord, SourceRecord};

const FRAMES: usize = 100;

fn record(run: &str) -> RunRecord {
    RunRecord {
        run: run.to_owned(),
        started: String::new(),
        started_ns: 0,
        kymo: "test".to_owned(),
        host: "here".to_owned(),
        sources: vec![SourceRecord {
            name: "adc".to_owned(),
            rate_hz: None,
            lanes: vec![LaneRecord {
                kind: "raw".to_owned(),
                priority: "bulk".to_owned(),
                label: None,
                channels: vec![ChannelRecord {
                    place: 0,
                    name: "u".to_owned(),
                    unit: "V".to_owned(),
                    calibration: "None".to_owned(),
                }],
            }],
        }],
        configuration: String::new(),
    }
}

struct Ignore;

impl journal::Observer for Ignore {
    fn committed(&mut self, _: &journal::Committed, _: i64) {}
    fn failed(&mut self, _: &journal::Committed) {}
}

/// A data directory with a run of so many blocks, followed by a store with these options.
struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    fn new(blocks: usize, options: Options) -> Self {
        let made = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        drop(DataDir::take(&made.data()).expect("a new data directory"));
        made.run("run-1", blocks, options);
        made
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn lane(&self, run: &str) -> PathBuf {
        self.data().join(DIR).join(run).join("adc")
    }

    /// One run: frame `n` has the value `n`, at the time `n` ms.
    fn run(&self, run: &str, blocks: usize, options: Options) {
        let (journal, mut sender, _) = journal::open(
            &self.data().join(journal::DIR),
            journal::Setup {
                options: journal::Options::default(),
                quanta: Quanta::default(),
                run: serde_json::to_string(&record(run)).expect("it is JSON"),
                clock: Arc::new(|| 0),
                observer: Box::new(Ignore),
                room: Arc::new(|| {}),
            },
        )
        .expect("a journal");
        let store = Store::start(StoreSetup {
            data_dir: self.data(),
            options,
            journal: journal.status(),
            journal_segment_bytes: 1 << 20,
            run: run.to_owned(),
        })
        .expect("a store");
        for number in 0..blocks {
            let mut block = Block::unpooled(1, FRAMES);
            (block.source, block.priority) = (SourceId(0), Priority::Bulk);
            let first = number * FRAMES;
            block.first_frame = first as u64;
            let start_ns = i64::try_from(first).expect("small") * 1_000_000;
            block.axis = Axis::Regular {
                start_ns,
                period_ns: 1e6,
            };
            for frame in first..first + FRAMES {
                #[allow(clippy::cast_precision_loss)]
                block.frames.push(0, &[frame as f64]);
            }
            sender
                .try_append_block(block)
                .expect("there is room for so few");
        }
        journal
            .close(sender, || "{}".to_owned())
            .expect("a sound disk");
        let status = store.status();
        assert!(store.close());
        assert_eq!(status.trouble(), None);
    }

    /// Every value of a run, as a reader finds them.
    fn values(&self, run: &str, range: Range) -> Vec<f64> {
        let archive = Archive::open(&self.data()).expect("a data directory");
        let runs = archive.runs().expect("a store");
        let run = runs
            .iter()
            .find(|found| found.record.run == run)
            .expect("the run");
        let lane = find(run, |name| name == "adc.u")
            .pop()
            .expect("the channel");
        let mut rows = archive.read(run, &lane, range).expect("a lane");
        let mut values = Vec::new();
        while let Some(rows) = rows.next().expect("sound segments") {
            values.extend_from_slice(&rows.columns[0]);
        }
        values
    }
}

fn small_segments() -> Options {
    Options {
        segment_values: 8 * FRAMES,
        ..Options::default()
    }
}

#[allow(clippy::cast_precision_loss)]
fn numbers(range: std::ops::Range<usize>) -> Vec<f64> {
    range.map(|number| number as f64).collect()
}

fn no_rest() -> Pace {
    Pace::new(1.0, Box::new(|_| false))
}

fn merge_all(lane: &Path, is_ended: bool) -> usize {
    let mut merged = 0;
    while compact(lane, is_ended, &mut no_rest()).expect("sound segments") {
        merged += 1;
    }
    merged
}

#[test]
fn what_is_stored_is_read_once_and_a_range_of_it_exactly() {
    let made = Made::new(80, small_segments());
    assert_eq!(
        layout::list(&made.lane("run-1"))
            .expect("a lane")
            .segments
            .len(),
        10
    );
    assert_eq!(made.values("run-1", Range::all()), numbers(0..8000));
    let range = Range {
        from_ns: 1_234_000_000,
        to_ns: 5_000_000_000,
    };
    assert_eq!(made.values("run-1", range), numbers(1234..5000));
    // And again with the journal gone: the segments alone have everything.
    std::fs::remove_dir_all(made.data().join(journal::DIR)).expect("it is ours");
    std::fs::create_dir(made.data().join(journal::DIR)).expect("it is ours");
    assert_eq!(made.values("run-1", Range::all()), numbers(0..8000));
}

#[test]
fn compaction_joins_neighbours_and_changes_no_value() {
    let made = Made::new(80, small_segments());
    let lane = made.lane("run-1");
    let before = layout::list(&lane).expect("a lane").segments;
    assert_eq!(
        merge_all(&lane, false),
        1,
        "eight of ten, and two are too few"
    );
    assert_eq!(layout::list(&lane).expect("a lane").segments.len(), 3);
    assert_eq!(
        merge_all(&lane, true),
        1,
        "of an ended run the rest is merged too"
    );
    let after = layout::list(&lane).expect("a lane").segments;
    let range = |segments: &[layout::Segment]| {
        (segments[0].first_seq, segments[segments.len() - 1].last_seq)
    };
    assert_eq!(range(&after), range(&before));
    assert_eq!(made.values("run-1", Range::all()), numbers(0..8000));
}

/// A crash between the merged segment's rename and the removal of its parts.
#[test]
fn parts_left_beside_their_merged_segment_are_read_once_and_cleaned() {
    let made = Made::new(64, small_segments());
    let lane = made.lane("run-1");
    let parts: Vec<(PathBuf, Vec<u8>)> = layout::list(&lane)
        .expect("a lane")
        .segments
        .into_iter()
        .map(|part| {
            (
                part.path.clone(),
                std::fs::read(&part.path).expect("a segment"),
            )
        })
        .collect();
    assert_eq!(merge_all(&lane, false), 1);
    for (path, bytes) in &parts {
        std::fs::write(path, bytes).expect("a file");
    }
    std::fs::write(lane.join("merged.aside"), "half").expect("a file");
    let listing = layout::list(&lane).expect("a lane");
    assert_eq!(
        (
            listing.segments.len(),
            listing.leftovers.len(),
            listing.asides.len()
        ),
        (1, 8, 1)
    );
    assert_eq!(made.values("run-1", Range::all()), numbers(0..6400));
    // The next start removes them; and no record is stored again.
    made.run("run-2", 1, Options::default());
    let listing = layout::list(&lane).expect("a lane");
    assert_eq!(
        (
            listing.segments.len(),
            listing.leftovers.len(),
            listing.asides.len()
        ),
        (1, 0, 0)
    );
    assert_eq!(made.values("run-1", Range::all()), numbers(0..6400));
    assert_eq!(made.values("run-2", Range::all()), numbers(0..100));
}

/// The cursor is lost, or stands too early: what is in segments is not stored again.
#[test]
fn a_store_that_begins_anew_makes_no_segment_twice() {
    let made = Made::new(24, small_segments());
    let before = layout::list(&made.lane("run-1")).expect("a lane");
    let cursors = made.data().join(journal::DIR).join("cursors");
    std::fs::remove_file(cursors.join(super::CURSOR)).expect("the cursor");
    made.run("run-2", 1, small_segments());
    assert_eq!(layout::list(&made.lane("run-1")).expect("a lane"), before);
    assert_eq!(made.values("run-1", Range::all()), numbers(0..2400));
}

fn keeper(made: &Made, limits: Limits) -> Keeper {
    Keeper::new(KeeperSetup {
        store: made.data().join(DIR),
        journal_dir: made.data().join(journal::DIR),
        options: Options {
            limits: vec![("adc".to_owned(), limits)],
            journal_age: Duration::ZERO,
            compaction_share: 1.0,
            ..Options::default()
        },
        journal_segment_bytes: 1 << 20,
        status: Arc::default(),
        closing: Arc::default(),
        files: Arc::default(),
    })
}

#[test]
fn beyond_its_bytes_a_source_loses_its_oldest_segments_first() {
    let made = Made::new(56, small_segments());
    let lane = made.lane("run-1");
    let segments = layout::list(&lane).expect("a lane").segments;
    let newest: u64 = segments[4..].iter().map(|segment| segment.bytes).sum();
    let limits = Limits {
        age: None,
        bytes: Some(newest),
    };
    keeper(&made, limits).look_after().expect("a sound disk");
    let left = layout::list(&lane).expect("a lane").segments;
    assert_eq!(left, segments[4..]);
    assert_eq!(made.values("run-1", Range::all()), numbers(4 * 800..5600));
}

/// These samples are of 1970.
#[test]
fn beyond_its_age_a_segment_goes_and_a_follower_that_is_behind_holds_it() {
    let made = Made::new(16, small_segments());
    let limits = Limits {
        age: Some(Duration::from_secs(3600)),
        bytes: None,
    };
    let mut slow =
        journal::Cursor::open(&made.data().join(journal::DIR), "influxdb").expect("a cursor");
    slow.advance(2).expect("a sound disk");
    keeper(&made, limits).look_after().expect("a sound disk");
    assert_eq!(
        layout::list(&made.lane("run-1"))
            .expect("a lane")
            .segments
            .len(),
        2
    );
    let last = layout::list(&made.lane("run-1"))
        .expect("a lane")
        .last_seq();
    slow.advance(last).expect("a sound disk");
    keeper(&made, limits).look_after().expect("a sound disk");
    assert_eq!(
        layout::list(&made.lane("run-1")).expect("a lane").segments,
        []
    );
}
