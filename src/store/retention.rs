//! What is kept and what goes: limits by age and bytes, the journal's passed segments, a full disk.
//!
//! **Always holds.** Removed is only what is whole in its place and older than its limit, whole segments at a time,
//! oldest first. While a follower of the journal other than the store has not got a record, the segment with it stays,
//! unless the disk itself runs out; then the least urgent source goes first, and what went is counted and said. Before a
//! segment goes, a line in the run's directory says so: see [`removed`].
//!
//! **Must not know.** What is under construction.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::compact::{self, Files};
use super::follower::StoreStatus;
use super::layout::{self, EVENTS, Segment};
use super::removed::{self, Removed};
use super::segment::fail;
use super::{Error, Options};
use crate::journal;

/// What is kept of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Not longer than this, by the times of its samples.
    pub age: Option<Duration>,
    /// Not more than this on disk.
    pub bytes: Option<u64>,
}

/// Times at which the store's place in the journal is remembered, over the journal's age.
const PASSED_MAX: u32 = 256;

/// Why a segment went that no limit asked for.
const DISK: &str = "disk";

/// How often the disk's free space is looked at: it is one system call, and a fast source fills a small disk fast.
const ROOM_LOOK: Duration = Duration::from_millis(500);

/// How often the store is looked through, in looks at the free space.
const LOOKS: u32 = 10;

pub(super) struct KeeperSetup {
    pub(super) store: PathBuf,
    pub(super) journal_dir: PathBuf,
    pub(super) options: Options,
    pub(super) journal_segment_bytes: u64,
    pub(super) status: Arc<StoreStatus>,
    pub(super) closing: Arc<AtomicBool>,
    /// Held while segments are removed, or merged.
    pub(super) files: Arc<Files>,
}

/// Looks after finished segments, on a thread of its own.
pub(super) struct Keeper {
    setup: KeeperSetup,
    /// When the store's place in the journal was seen last, to give the journal's segments an age.
    passed: Vec<(Instant, u64)>,
}

/// One lane's directory and what its segments say of it.
struct LaneDir {
    path: PathBuf,
    source: String,
    priority: u8,
    segments: Vec<Segment>,
}

impl Keeper {
    pub(super) fn new(setup: KeeperSetup) -> Self {
        Self {
            setup,
            passed: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        let mut looks: u32 = 0;
        while !pause(&self.setup.closing, ROOM_LOOK) {
            looks = looks.wrapping_add(1);
            let done = self.make_room().and_then(|()| {
                if looks.is_multiple_of(LOOKS) {
                    self.look_after()
                } else {
                    Ok(())
                }
            });
            if let Err(error) = done {
                self.setup.status.trouble.set(Some(error.to_string()));
            }
        }
    }

    pub(super) fn look_after(&mut self) -> Result<(), Error> {
        self.prune_journal()?;
        self.apply_limits()
    }

    /// Removes the journal's segments that every follower has passed for long enough.
    fn prune_journal(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let stored = self.setup.status.stored_seq.load(Ordering::Acquire);
        let age = self.setup.options.journal_age;
        // However long the age, some hundreds of entries are enough to tell it.
        let step = age / PASSED_MAX;
        let is_due = |(at, _): &(Instant, u64)| now.duration_since(*at) >= step;
        if self.passed.last().is_none_or(is_due) {
            self.passed.push((now, stored));
        }
        let old = self
            .passed
            .partition_point(|(at, _)| now.duration_since(*at) >= age);
        if let Some((_, seq)) = old
            .checked_sub(1)
            .and_then(|last| self.passed.get(last))
            .copied()
        {
            self.passed.drain(..old - 1);
            fail::point("before the journal is pruned");
            journal::prune(&self.setup.journal_dir, seq)?;
        }
        Ok(())
    }

    fn lanes(&self) -> Result<Vec<LaneDir>, Error> {
        let mut lanes = Vec::new();
        for run in layout::runs(&self.setup.store)? {
            for lane in layout::lanes(&self.setup.store, &run)? {
                let path = self.setup.store.join(&run).join(&lane);
                let segments = layout::list(&path)?.segments;
                // A name has no dot but the one in front of its priority, or of its label.
                let (source, priority) = lane.split_once('.').unwrap_or((&lane, ""));
                let priority = match priority {
                    name if is_priority(name) => index_of(name),
                    _ => segments
                        .first()
                        .map_or(2, |segment| priority_of(&segment.path)),
                };
                lanes.push(LaneDir {
                    path,
                    source: source.to_owned(),
                    priority,
                    segments,
                });
            }
        }
        Ok(lanes)
    }

    fn apply_limits(&self) -> Result<(), Error> {
        if self.setup.options.limits.is_empty() {
            return Ok(());
        }
        // A merge under way may take minutes; what goes by its age can wait for it.
        let Some(_files) = self.setup.files.try_take() else {
            return Ok(());
        };
        let lanes = self.lanes()?;
        for (source, limits) in &self.setup.options.limits {
            let of_source = lanes.iter().filter(|lane| lane.source == *source);
            let mut segments: Vec<&Segment> = of_source.flat_map(|lane| &lane.segments).collect();
            segments.sort_by_key(|segment| segment.first_seq);
            let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
            let oldest_ns = limits.age.map(|age| {
                let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
                crate::clock::Clock::system().now_ns().saturating_sub(age)
            });
            for segment in segments {
                let is_large = limits.bytes.is_some_and(|limit| total > limit);
                let is_old = match oldest_ns {
                    Some(oldest_ns) => last_time(&segment.path)? < oldest_ns,
                    None => false,
                };
                if !(is_large || is_old) || !self.is_passed(segment)? {
                    break;
                }
                remove(segment, if is_large { "bytes" } else { "age" })?;
                total -= segment.bytes;
            }
        }
        Ok(())
    }

    /// Whether every other follower of the journal has got what is in it.
    fn is_passed(&self, segment: &Segment) -> Result<bool, Error> {
        let cursors = journal::cursors(&self.setup.journal_dir)?;
        let mut others = cursors.iter().filter(|(name, _)| name != super::CURSOR);
        Ok(others.all(|(_, seq)| *seq >= segment.last_seq))
    }

    /// If the disk runs out: the journal's passed segments first, then the least urgent source's oldest.
    fn make_room(&mut self) -> Result<(), Error> {
        let wanted = self.setup.journal_segment_bytes.saturating_mul(2) + (8 << 20);
        if free_bytes(&self.setup.store).is_none_or(|free| free >= wanted) {
            return Ok(());
        }
        let stored = self.setup.status.stored_seq.load(Ordering::Acquire);
        journal::prune(&self.setup.journal_dir, stored)?;
        let _files = self.setup.files.take();
        let mut lanes = self.lanes()?;
        lanes.retain(|lane| !lane.path.ends_with(EVENTS));
        lanes.sort_by_key(|lane| {
            (
                u8::MAX - lane.priority,
                lane.segments.first().map_or(u64::MAX, |s| s.first_seq),
            )
        });
        let mut removed = 0;
        for segment in lanes.iter().flat_map(|lane| &lane.segments) {
            if free_bytes(&self.setup.store).is_none_or(|free| free >= wanted) {
                break;
            }
            removed += samples_of(&segment.path);
            remove(segment, DISK)?;
        }
        if removed > 0 {
            let total = self
                .setup
                .status
                .removed_samples
                .fetch_add(removed, Ordering::Relaxed);
            self.setup.status.trouble.set(Some(format!(
                "the disk is full: {} stored samples were removed, the least urgent and oldest first",
                total + removed
            )));
        }
        Ok(())
    }
}

/// Waits for so long, or until it is time to end: then true.
pub(super) fn pause(closing: &AtomicBool, wait: Duration) -> bool {
    let until = Instant::now() + wait;
    loop {
        if closing.load(Ordering::Acquire) {
            return true;
        }
        let Some(left) = until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
        else {
            return false;
        };
        std::thread::park_timeout(left);
    }
}

fn is_priority(name: &str) -> bool {
    let all = kymo_drivers::block::Priority::ALL;
    all.iter().any(|known| known.name() == name)
}

fn index_of(priority: &str) -> u8 {
    let all = kymo_drivers::block::Priority::ALL;
    let found = all.iter().position(|known| known.name() == priority);
    u8::try_from(found.unwrap_or(2)).unwrap_or(2)
}

fn open(path: &Path) -> Result<SerializedFileReader<std::fs::File>, Error> {
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    SerializedFileReader::new(file).map_err(Error::parquet("read", path))
}

/// The priority that a segment states, as its place among the priorities.
fn priority_of(path: &Path) -> u8 {
    let Ok(reader) = open(path) else { return 2 };
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    let found = pairs
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "kymo.priority");
    found
        .and_then(|pair| pair.value.as_deref())
        .map_or(2, index_of)
}

/// The latest time in a segment, by its statistics.
fn last_time(path: &Path) -> Result<i64, Error> {
    let reader = open(path)?;
    let groups = reader.metadata().row_groups().iter();
    let latest = groups.filter_map(|group| match group.column(0).statistics()? {
        parquet::file::statistics::Statistics::Int64(found) => found.max_opt().copied(),
        _ => None,
    });
    Ok(latest.max().unwrap_or(i64::MAX))
}

fn samples_of(path: &Path) -> u64 {
    let Ok(reader) = open(path) else { return 0 };
    let metadata = reader.metadata().file_metadata();
    let columns = metadata.schema_descr().num_columns().saturating_sub(1) as u64;
    u64::try_from(metadata.num_rows()).unwrap_or(0) * columns
}

/// Removes a segment, once it is written down that it goes: else it would look lost.
fn remove(segment: &Segment, why: &str) -> Result<(), Error> {
    let path = &segment.path;
    let Some(lane_dir) = path.parent() else {
        return Ok(());
    };
    // One that is damaged goes as well: what was in it cannot be told any more.
    let (rows, end_frame) = open(path).map_or((0, 0), |reader| {
        let metadata = reader.metadata();
        let frames = compact::frames_of(metadata);
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        (
            rows,
            frames.last().map_or(0, |(first, count)| first + count),
        )
    });
    let line = Removed {
        lane: lane_dir
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        first_seq: segment.first_seq,
        last_seq: segment.last_seq,
        rows,
        end_frame,
        why: why.to_owned(),
    };
    let Some(run_dir) = lane_dir.parent() else {
        return Ok(());
    };
    let noted = removed::append(run_dir, &line);
    fail::point("before a segment is removed");
    // On a disk without a byte to spare the line finds its place only when the segment is gone.
    if noted.is_err() && why != DISK {
        return noted;
    }
    std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    layout::sync_dir(lane_dir)?;
    noted.or_else(|_| removed::append(run_dir, &line))
}

fn free_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|path| path.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
