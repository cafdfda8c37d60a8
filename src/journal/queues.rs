//! Between the stage and the writer: bounded lock-free queues, one for each priority.
//!
//! **Always holds.** One producer: [`Sender`] cannot be cloned and its methods want it whole. A
//! refused block is given back. Who was told that there is no room is told when there is.
//!
//! **Must not know.** Records and files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use crossbeam_queue::ArrayQueue;
use kymo_drivers::block::{Block, Priority};

use super::error::Error;
use super::gate::Gate;
use super::log::WRITE_BYTES;
use super::status::Shared;

/// Events that wait at most: a burst of alerts, not a stream.
const EVENTS_MAX: usize = 1024;
/// Blocks that wake a writer that has a deadline.
const WAKE_BLOCKS: usize = 64;
/// Every so many blocks the least urgent one is taken first, so that none waits for ever.
const SHARE: u32 = 16;

/// Something to be noted beside the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The source it is about.
    pub source: Option<u16>,
    /// When it happened, UTC ns.
    pub time_ns: i64,
    /// What happened, as a JSON object.
    pub json: String,
}

/// Why a block was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedWhy {
    /// Its queue is full. The room callback tells when it no longer is.
    Full,
    /// The journal has stopped for good; [`Sender::failure`] says why.
    Failed,
}

/// A block that was not taken.
#[derive(Debug)]
pub struct Refused {
    /// The block.
    pub block: Block,
    /// Why.
    pub why: RefusedWhy,
}

/// What both sides share.
pub(super) struct Queues {
    blocks: [ArrayQueue<Block>; 4],
    events: ArrayQueue<Event>,
    /// What waits: counted up before the push and down after the pop, so never below nothing.
    queued_blocks: AtomicUsize,
    queued_bytes: AtomicUsize,
    /// The producer found this queue full and wants to know when it is not.
    wants_room: [AtomicBool; 4],
    is_closing: AtomicBool,
    pub(super) gate: Gate,
    room: Arc<dyn Fn() + Send + Sync>,
}

impl Queues {
    pub(super) fn new(capacities: [usize; 4], room: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            blocks: capacities.map(|capacity| ArrayQueue::new(capacity.max(1))),
            events: ArrayQueue::new(EVENTS_MAX),
            queued_blocks: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            wants_room: Default::default(),
            is_closing: AtomicBool::new(false),
            gate: Gate::default(),
            room,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.blocks.iter().all(ArrayQueue::is_empty)
    }

    /// Whether a writer with a deadline should not wait for it.
    pub(super) fn is_urgent(&self) -> bool {
        // Relaxed: ordered by the fences of the gate; a count that is a little old wakes a
        // little late, and the deadline bounds that.
        self.queued_blocks.load(Ordering::Relaxed) >= WAKE_BLOCKS
            || self.queued_bytes.load(Ordering::Relaxed) >= WRITE_BYTES
            || self
                .blocks
                .iter()
                .any(|queue| queue.len() >= queue.capacity().div_ceil(2))
    }

    pub(super) fn close(&self) {
        // Release: everything pushed before is seen by who sees this.
        self.is_closing.store(true, Ordering::Release);
        self.gate.knock(true);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    pub(super) fn pop_event(&self) -> Option<Event> {
        self.events.pop()
    }

    /// The next block: the most urgent, and now and then the least. `turn` counts the calls.
    pub(super) fn pop_block(&self, turn: &mut u32) -> Option<Block> {
        *turn = turn.wrapping_add(1);
        if turn.is_multiple_of(SHARE) {
            (0..4).rev().find_map(|index| self.pop_from(index))
        } else {
            (0..4).find_map(|index| self.pop_from(index))
        }
    }

    fn pop_from(&self, index: usize) -> Option<Block> {
        let queue = &self.blocks[index];
        let block = queue.pop()?;
        // Relaxed: see `is_urgent`.
        self.queued_blocks.fetch_sub(1, Ordering::Relaxed);
        self.queued_bytes
            .fetch_sub(bytes(&block), Ordering::Relaxed);
        // Pairs with the fence in `Sender::wants_room`: either the producer sees the place that
        // this pop made, or we see that it wants to be told.
        fence(Ordering::SeqCst);
        if self.wants_room[index].load(Ordering::Relaxed)
            && queue.len() <= queue.capacity() / 2
            && self.wants_room[index].swap(false, Ordering::Relaxed)
        {
            self.tell_room();
        }
        Some(block)
    }

    pub(super) fn tell_room(&self) {
        (self.room)();
    }
}

fn bytes(block: &Block) -> usize {
    block.frames.len() * block.frames.channels() * 8
}

/// The stage's end. There is one, and it cannot be cloned.
pub struct Sender {
    pub(super) queues: Arc<Queues>,
    pub(super) shared: Arc<Shared>,
}

impl Sender {
    /// Whether a block of this priority would be taken now. If not, the room callback will be
    /// called when half of the queue is free again.
    ///
    /// Says yes once the journal has failed: nobody should wait for it then.
    #[must_use]
    pub fn has_room(&self, priority: Priority) -> bool {
        let index = priority.index();
        self.shared.has_failed() || !self.queues.blocks[index].is_full() || !self.wants_room(index)
    }

    /// Asks to be told of room; whether there still is none.
    fn wants_room(&self, index: usize) -> bool {
        // Relaxed: ordered by the fence, which pairs with the one in `Queues::pop_from`.
        self.queues.wants_room[index].store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.queues.blocks[index].is_full() && !self.shared.has_failed()
    }

    /// Hands over a block, or gives it back at once.
    pub fn try_append_block(&mut self, block: Block) -> Result<(), Refused> {
        if self.shared.has_failed() {
            let why = RefusedWhy::Failed;
            return Err(Refused { block, why });
        }
        let queues = &*self.queues;
        let (index, bytes) = (block.priority.index(), bytes(&block));
        let queue = &queues.blocks[index];
        // Relaxed: see `Queues::is_urgent`.
        let blocks_before = queues.queued_blocks.fetch_add(1, Ordering::Relaxed);
        let bytes_before = queues.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(block) = queue.push(block) {
            queues.queued_blocks.fetch_sub(1, Ordering::Relaxed);
            queues.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.wants_room(index);
            queues.gate.knock(true);
            let why = RefusedWhy::Full;
            return Err(Refused { block, why });
        }
        let is_urgent = blocks_before + 1 >= WAKE_BLOCKS
            || bytes_before + bytes >= WRITE_BYTES
            || queue.len() >= queue.capacity().div_ceil(2);
        queues.gate.knock(is_urgent);
        Ok(())
    }

    /// Whether an event would be taken now, or never.
    #[must_use]
    pub fn has_room_for_event(&self) -> bool {
        self.shared.has_failed() || !self.queues.events.is_full()
    }

    /// Hands over an event. If too many wait it is given back, and counted in
    /// [`super::Status::events_dropped`].
    pub fn try_append_event(&mut self, event: Event) -> Result<(), Event> {
        let refused = if self.shared.has_failed() {
            Err(event)
        } else {
            self.queues.events.push(event)
        };
        match refused {
            Ok(()) => {
                self.queues.gate.knock(false);
                Ok(())
            }
            Err(event) => {
                // Relaxed: a count for reports.
                self.shared.events_dropped.fetch_add(1, Ordering::Relaxed);
                Err(event)
            }
        }
    }

    /// Why the journal stopped for good, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.shared.failure()
    }
}
