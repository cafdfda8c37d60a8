//! One lane: the sender's end, which a reader owns, and what both ends share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use kymo_drivers::block::{Block, Gap, GapReason, Priority, SourceId};
use kymo_drivers::link::recorded::VirtualTime;

use super::Overflow;
use super::gate::{Gate, Wake};
use super::intake::StageGate;
use super::ready::Ready;
use super::sync::{AtomicBool, AtomicU64, Ordering};
use crate::ledger::SourceCounts;

/// What both ends of a lane know.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: ArrayQueue<Block>,
    /// Where a reader with the policy [`Overflow::Block`] sleeps until there is room.
    pub(super) space: Gate<Parked>,
    /// Nothing more will be pushed.
    pub(super) closed: AtomicBool,
    /// Nothing more will be taken: the stage is gone.
    pub(super) abandoned: AtomicBool,
    /// Frames numbered when the lane was closed.
    end_frame: AtomicU64,
    /// Gaps for which no block came any more. Locked at the end only, never on the way of a block.
    last_gaps: Mutex<Vec<Gap>>,
    /// When each block of the queue was sent, if they are taken in the order of that.
    pub(super) sent: Option<SentTimes>,
}

/// When blocks were sent, by the time of a recording.
#[derive(Debug)]
pub(super) struct SentTimes {
    pub(super) time: VirtualTime,
    /// Counts what the source sends, whichever lane it goes into: one thread does.
    pub(super) count: Arc<AtomicU64>,
    /// Time and number of each block in the queue, of one that is about to be there, and of one that was just taken.
    pub(super) queue: ArrayQueue<(i64, u64)>,
}

impl SentTimes {
    /// A block is sent now.
    fn note(&self) {
        // Relaxed: counted by one thread, and handed over by the queue.
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let has_room = self.queue.push((self.time.now_ns(), number)).is_ok();
        debug_assert!(has_room, "it has room for two more than the lane");
    }
}

impl Shared {
    pub(super) fn new(depth: usize, order: Option<(VirtualTime, Arc<AtomicU64>)>) -> Self {
        let sent = order.map(|(time, count)| SentTimes {
            time,
            count,
            // Its block is taken before its time is.
            queue: ArrayQueue::new(depth.max(1) + 2),
        });
        Self {
            sent,
            queue: ArrayQueue::new(depth.max(1)),
            space: Gate::new(Parked::default()),
            closed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            end_frame: AtomicU64::new(0),
            last_gaps: Mutex::default(),
        }
    }

    /// Frames numbered and gaps left over, once the lane is closed.
    pub(super) fn ending(&self) -> (u64, Vec<Gap>) {
        // Acquire comes with the load of `closed`, which the caller did.
        let gaps = std::mem::take(
            &mut *self
                .last_gaps
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        (self.end_frame.load(Ordering::Relaxed), gaps)
    }
}

/// A reader's thread, once it has slept for the first time.
#[derive(Debug, Default)]
pub(super) struct Parked(OnceLock<Thread>);

impl Wake for Parked {
    fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// What a lane is, for its sender.
#[derive(Debug)]
pub struct LaneOptions {
    /// Which source.
    pub source: SourceId,
    /// Which of the source's lanes, from 0.
    pub lane: u8,
    /// How urgent.
    pub priority: Priority,
    /// What to do when it is full.
    pub overflow: Overflow,
    /// Blocks that wait in it at most.
    pub depth: usize,
    /// Where losses are counted.
    pub counts: Arc<SourceCounts>,
}

/// The end into which one reader pushes. It cannot be cloned: a lane has a single producer.
///
/// Dropping it closes the lane, also when the reader panics.
#[derive(Debug)]
pub struct LaneSender {
    shared: Arc<Shared>,
    ready: Arc<Ready>,
    slot: usize,
    stage: StageGate,
    options: LaneOptions,
    next_frame: u64,
    /// Gaps of blocks that were dropped, to travel with the next block.
    carried: Vec<Gap>,
}

/// Longest sleep of a reader that waits for room before it looks for itself. Only a guard: the
/// gate wakes it.
const SPACE_WAIT_MAX: Duration = Duration::from_millis(100);

impl LaneSender {
    pub(super) fn new(
        shared: Arc<Shared>,
        ready: Arc<Ready>,
        slot: usize,
        stage: StageGate,
        options: LaneOptions,
    ) -> Self {
        Self {
            shared,
            ready,
            slot,
            stage,
            options,
            next_frame: 0,
            carried: Vec::with_capacity(8),
        }
    }

    /// Whether more than half of the lane is taken: then a reader does better to fill its blocks
    /// than to send them early.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.shared.queue.len() * 2 > self.shared.queue.capacity()
    }

    /// Sends a block, numbers its frames, and counts what is lost by it, if anything is.
    pub fn push(&mut self, mut block: Block) {
        block.source = self.options.source;
        block.lane = self.options.lane;
        block.priority = self.options.priority;
        block.first_frame = self.next_frame;
        self.next_frame += block.frames.len() as u64;
        if !self.carried.is_empty() {
            block.gaps.splice(0..0, self.carried.drain(..));
        }
        if let Some(sent) = &self.shared.sent {
            sent.note();
        }
        match self.options.overflow {
            Overflow::Block => self.push_waiting(block),
            Overflow::DropNewest => {
                if let Err(block) = self.shared.queue.push(block) {
                    self.give_up(&block, GapReason::LaneFull);
                    return;
                }
            }
            Overflow::DropOldest => {
                if let Some(oldest) = self.shared.queue.force_push(block) {
                    self.give_up(&oldest, GapReason::LaneFull);
                }
            }
        }
        self.announce();
    }

    fn push_waiting(&mut self, mut block: Block) {
        let shared = Arc::clone(&self.shared);
        let mut waiting_since = None;
        loop {
            // Relaxed: the flag stands alone, and is only ever set.
            if shared.abandoned.load(Ordering::Relaxed) {
                self.give_up(&block, GapReason::Aborted);
                break;
            }
            match shared.queue.push(block) {
                Ok(()) => break,
                Err(refused) => block = refused,
            }
            waiting_since.get_or_insert_with(Instant::now);
            shared.space.waker().0.get_or_init(std::thread::current);
            let has_room = || !shared.queue.is_full() || shared.abandoned.load(Ordering::Relaxed);
            if shared.space.may_sleep(has_room) {
                std::thread::park_timeout(SPACE_WAIT_MAX);
                shared.space.woke();
            }
        }
        if let Some(since) = waiting_since {
            let waited = since.elapsed().as_nanos();
            self.options
                .counts
                .add_blocked_ns(u64::try_from(waited).unwrap_or(u64::MAX));
        }
    }

    /// Counts a block's samples as lost, and keeps its gaps for the next one. The gap that the
    /// block itself leaves is seen by the receiver, from the numbers of the frames.
    fn give_up(&mut self, block: &Block, reason: GapReason) {
        self.options
            .counts
            .add_dropped(reason, block.frames.samples());
        for gap in &block.gaps {
            carry(&mut self.carried, *gap);
        }
    }

    fn announce(&self) {
        self.ready.add(self.slot);
        self.stage.signal();
    }

    /// Gaps after which no block came: they are written down when the lane closes.
    pub fn end_with(&mut self, gap: Gap) {
        carry(&mut self.carried, gap);
    }
}

impl Drop for LaneSender {
    fn drop(&mut self) {
        let last = std::mem::take(&mut self.carried);
        *self
            .shared
            .last_gaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = last;
        self.shared
            .end_frame
            .store(self.next_frame, Ordering::Relaxed);
        // Release: whoever sees the lane closed sees all of the above, and every block pushed.
        self.shared.closed.store(true, Ordering::Release);
        self.announce();
    }
}

/// Adds a gap to those carried, joining it with one of the same reason: so there are never more
/// of them than reasons, however long a lane stays full.
pub(crate) fn carry(carried: &mut Vec<Gap>, mut gap: Gap) {
    gap.before = 0;
    match carried.iter_mut().find(|known| known.reason == gap.reason) {
        Some(known) => {
            known.from_ns = known.from_ns.min(gap.from_ns);
            known.to_ns = known.to_ns.max(gap.to_ns);
            known.frames = known
                .frames
                .zip(gap.frames)
                .map(|(a, b)| a.saturating_add(b));
        }
        None => carried.push(gap),
    }
}
