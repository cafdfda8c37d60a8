//! Blocks: the only thing that moves through the pipeline.
//!
//! A block holds up to some thousands of frames of one source and one priority, in columns, with
//! one time axis, and the gaps between them. It comes from a [`Pool`] and goes back there when it
//! is dropped, so a run in its steady state allocates nothing.
//!
//! **Always holds.** Times rise strictly within a block. `first_frame` numbers the frames of a
//! source from 0 for the whole run, so that whoever receives blocks sees by the numbers alone
//! that some did not come, and how many frames they held.
//!
//! **Must not know.** Who fills it, queues it or stores it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::frames::Frames;

/// How urgently a block is taken from its lane. Lower is more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Interlocks: never waits for more than the one block in hand.
    Critical = 0,
    /// Control loops and operators' eyes.
    High = 1,
    /// The ordinary measurement.
    Normal = 2,
    /// Floods that can wait: vibration, waveforms.
    Bulk = 3,
}

impl Priority {
    /// All priorities, the most urgent first.
    pub const ALL: [Priority; 4] = [Self::Critical, Self::High, Self::Normal, Self::Bulk];

    /// Its name in the configuration and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }

    /// Its place in [`Priority::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A source's number in its run: its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u16);

/// Why samples are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// The lane was full and its policy drops.
    LaneFull = 1,
    /// The queue in front of the journal was full: the disk did not keep up.
    JournalFull = 2,
    /// The device's own counter jumped: it sent, or claims to have sent, frames that never came.
    DeviceCounter = 3,
    /// Bytes came that were no good frame: noise, a bad checksum, a truncated frame.
    Corrupt = 4,
    /// The device was gone: unplugged, hung up, failing.
    Disconnected = 5,
    /// The journal could not be written: the disk failed or is full.
    JournalFailed = 6,
    /// The run was stopped at once, by a second signal or a failure, with blocks still under way.
    Aborted = 7,
    /// The configuration says that these are not to be written down: the one loss that is meant.
    NotKept = 8,
}

impl GapReason {
    /// All reasons.
    pub const ALL: [GapReason; 8] = [
        Self::LaneFull,
        Self::JournalFull,
        Self::DeviceCounter,
        Self::Corrupt,
        Self::Disconnected,
        Self::JournalFailed,
        Self::Aborted,
        Self::NotKept,
    ];

    /// Its name in reports and exports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LaneFull => "lane_full",
            Self::JournalFull => "journal_full",
            Self::DeviceCounter => "device_counter",
            Self::Corrupt => "corrupt",
            Self::Disconnected => "disconnected",
            Self::JournalFailed => "journal_failed",
            Self::Aborted => "aborted",
            Self::NotKept => "not_kept",
        }
    }

    /// The reason whose number in a file is `code`.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == code)
    }
}

/// A stretch of a source's stream that is missing, at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Index in the block of the first frame after the gap; the block's length if none is.
    pub before: u32,
    /// The last time known good before the gap, UTC ns.
    pub from_ns: i64,
    /// The first time known good after the gap, UTC ns.
    pub to_ns: i64,
    /// How many frames are missing, where that can be known.
    pub frames: Option<u64>,
    /// Why.
    pub reason: GapReason,
}

/// When the frames of a block were taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Axis {
    /// Frame `i` at `start_ns + round(i * period_ns)`.
    Regular {
        /// Time of the first frame, UTC ns.
        start_ns: i64,
        /// Time between frames, ns; positive.
        period_ns: f64,
    },
    /// Each frame has a time of its own, in [`Frames::times_ns`].
    Irregular,
}

/// What a block holds.
#[derive(Debug)]
pub struct BlockData {
    /// Which source.
    pub source: SourceId,
    /// Which of the source's lanes: its groups of channels by priority, from 0.
    pub lane: u8,
    /// How urgent.
    pub priority: Priority,
    /// Number of the first frame, counted from the start of the run for this source.
    pub first_frame: u64,
    /// When the frames were taken.
    pub axis: Axis,
    /// When the read that brought the first frame returned, UTC ns: where latencies start. The
    /// frames behind it came later, so what is measured from here is the worst of the block.
    pub read_ns: i64,
    /// The values.
    pub frames: Frames,
    /// What is missing, in order of `before`.
    pub gaps: Vec<Gap>,
}

impl BlockData {
    fn new(channels: usize, capacity: usize) -> Self {
        Self {
            source: SourceId(0),
            lane: 0,
            priority: Priority::Normal,
            first_frame: 0,
            axis: Axis::Irregular,
            read_ns: 0,
            frames: Frames::with_capacity(channels, capacity),
            gaps: Vec::with_capacity(8),
        }
    }

    /// The time of frame `index`, UTC ns.
    #[must_use]
    pub fn time_ns(&self, index: usize) -> i64 {
        match self.axis {
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            Axis::Regular {
                start_ns,
                period_ns,
            } => start_ns + (index as f64 * period_ns).round() as i64,
            Axis::Irregular => self.frames.times_ns()[index],
        }
    }

    /// The time of the first frame, or of the first gap if there is no frame.
    #[must_use]
    pub fn first_ns(&self) -> Option<i64> {
        if self.frames.is_empty() {
            self.gaps.first().map(|gap| gap.from_ns)
        } else {
            Some(self.time_ns(0))
        }
    }

    /// The time of the last frame, or of the end of the last gap if there is no frame.
    #[must_use]
    pub fn last_ns(&self) -> Option<i64> {
        match self.frames.len() {
            0 => self.gaps.last().map(|gap| gap.to_ns),
            count => Some(self.time_ns(count - 1)),
        }
    }
}

/// A block in use. Dropping it gives its memory back to the pool it came from.
#[derive(Debug)]
pub struct Block {
    /// `None` only while being dropped.
    data: Option<Box<BlockData>>,
    pool: Option<Arc<PoolShared>>,
}

impl Block {
    /// A block that belongs to no pool: for tests and tools that read.
    #[must_use]
    pub fn unpooled(channels: usize, capacity: usize) -> Self {
        Self {
            data: Some(Box::new(BlockData::new(channels, capacity))),
            pool: None,
        }
    }
}

impl Deref for Block {
    type Target = BlockData;

    fn deref(&self) -> &BlockData {
        self.data
            .as_ref()
            .expect("a block has data until it is dropped")
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut BlockData {
        self.data
            .as_mut()
            .expect("a block has data until it is dropped")
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let (Some(data), Some(pool)) = (self.data.take(), self.pool.take()) {
            // A pool has room for every block it ever made, so this cannot fail; were it to, the
            // block would merely be freed.
            let _ = pool.idle.push(data);
        }
    }
}

#[derive(Debug)]
struct PoolShared {
    idle: ArrayQueue<Box<BlockData>>,
    made: AtomicUsize,
    channels: usize,
    capacity: usize,
}

/// Blocks of one shape, made on demand up to a bound and then used again and again.
///
/// Cheap to clone: all clones share the blocks.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<PoolShared>,
}

impl Pool {
    /// A pool of at most `bound` blocks of `capacity` frames with `channels` values each.
    #[must_use]
    pub fn new(channels: usize, capacity: usize, bound: usize) -> Self {
        Self {
            shared: Arc::new(PoolShared {
                idle: ArrayQueue::new(bound.max(1)),
                made: AtomicUsize::new(0),
                channels,
                capacity,
            }),
        }
    }

    /// An empty block, or `None` while all of the pool's blocks are in use.
    #[must_use]
    pub fn take(&self) -> Option<Block> {
        let data = match self.shared.idle.pop() {
            Some(mut data) => {
                data.frames.clear();
                data.gaps.clear();
                data
            }
            None => self.make()?,
        };
        Some(Block {
            data: Some(data),
            pool: Some(Arc::clone(&self.shared)),
        })
    }

    /// A block more, if the bound allows.
    fn make(&self) -> Option<Box<BlockData>> {
        let bound = self.shared.idle.capacity();
        // Relaxed: the counter orders nothing but itself; blocks are handed over by the queue.
        self.shared
            .made
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |made| {
                (made < bound).then_some(made + 1)
            })
            .ok()?;
        Some(Box::new(BlockData::new(
            self.shared.channels,
            self.shared.capacity,
        )))
    }

    /// Blocks now lent out.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.shared
            .made
            .load(Ordering::Relaxed)
            .saturating_sub(self.shared.idle.len())
    }
}
