//! The receiving end of all lanes: which block is next.
//!
//! **Order.** The most urgent priority that has a block; within a priority the lanes in turn.
//! A lower priority that was passed over [`SHARE`] times while it had a block gets one block, so
//! that nothing starves for ever; two such blocks never follow one another. Hence a critical block
//! that finds no other critical block before it waits for the block in hand and no more, unless
//! the block in hand was critical and the next one is a share: then for that one.

use std::sync::Arc;
use std::time::Duration;

use kymo_drivers::block::{Block, Gap, GapReason, Priority, SourceId};
use kymo_drivers::link::recorded::VirtualTime;
use tokio::sync::Notify;

use super::Overflow;
use super::gate::{Gate, Wake};
use super::lane::{LaneOptions, LaneSender, Shared};
use super::order::InOrder;
use super::ready::Ready;
use super::sync::{AtomicU64, Ordering};

/// A lower priority gets one block in so many: 3 % of the blocks, measured as no more than noise in
/// the latency of the critical lane.
pub const SHARE: u32 = 32;

const PRIORITIES: usize = Priority::ALL.len();

impl Wake for Notify {
    fn wake(&self) {
        self.notify_one();
    }
}

/// Wakes the stage if it sleeps. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StageGate(Arc<Gate<Notify>>);

impl StageGate {
    /// To be called after work for the stage was published.
    pub fn signal(&self) {
        self.0.signal();
    }
}

/// What the intake hands out.
#[derive(Debug)]
pub enum Item {
    /// A block.
    Block(Block),
    /// What is missing at the end of a lane, where no block follows that could carry it.
    End {
        /// Which source.
        source: SourceId,
        /// Which of its lanes.
        lane: u8,
        /// How urgent the lane was.
        priority: Priority,
        /// What is missing.
        gaps: Vec<Gap>,
    },
}

/// Makes lanes.
#[derive(Debug)]
pub struct LanesBuilder {
    lanes: [Vec<(LaneOptions, Arc<Shared>)>; PRIORITIES],
    /// The time of each source, and what it counts by, if blocks are taken in the order in which they were sent.
    times: Option<Vec<(VirtualTime, Arc<AtomicU64>)>>,
}

/// The receiving end of all lanes of a run.
#[derive(Debug)]
pub struct Intake {
    pub(super) levels: [Level; PRIORITIES],
    stage: StageGate,
    /// The last block was a lower priority's share.
    shared_last: bool,
    pub(super) open_lanes: usize,
    pub(super) order: Option<InOrder>,
}

/// All lanes of one priority.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) lanes: Vec<Lane>,
    ready: Arc<Ready>,
    /// Lanes that may have a block, as far as this side knows.
    own: Vec<u64>,
    /// Whose turn it is.
    turn: usize,
    /// Times this level was passed over since its last block.
    passed_over: u32,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) source: SourceId,
    pub(super) lane: u8,
    pub(super) done: bool,
    /// The number the next frame would have if none were lost.
    next_frame: u64,
    /// Time of the last frame, once there was one.
    last_ns: Option<i64>,
}

impl Default for LanesBuilder {
    fn default() -> Self {
        Self {
            lanes: std::array::from_fn(|_| Vec::new()),
            times: None,
        }
    }
}

impl LanesBuilder {
    /// For lanes of recordings, whose blocks are taken in the order in which they were sent by these times, one for each
    /// source: see [`Intake::next_in_order`]. A reader whose lane is full waits, whatever its policy.
    #[must_use]
    pub fn in_order(times: Vec<VirtualTime>) -> Self {
        let times = times.into_iter().map(|time| (time, Arc::default()));
        Self {
            times: Some(times.collect()),
            ..Self::default()
        }
    }

    /// Adds a lane. Its sender is at the same place of what [`LanesBuilder::build`] returns, counted over all calls.
    ///
    /// # Panics
    /// If blocks are to be taken in order, and the lane's source has no time.
    pub fn add(&mut self, mut options: LaneOptions) {
        let order = self.times.as_ref().map(|times| {
            options.overflow = Overflow::Block;
            times[usize::from(options.source.0)].clone()
        });
        let shared = Arc::new(Shared::new(options.depth, order));
        self.lanes[options.priority.index()].push((options, shared));
    }

    /// The intake, the gate that wakes its owner, and the senders in no particular order.
    #[must_use]
    pub fn build(self) -> (Intake, StageGate, Vec<(SourceId, u8, LaneSender)>) {
        let stage = StageGate(Arc::new(Gate::new(Notify::new())));
        let mut senders = Vec::new();
        let mut open_lanes = 0;
        let levels = self.lanes.map(|lanes| {
            open_lanes += lanes.len();
            let ready = Arc::new(Ready::new(lanes.len()));
            let receivers = lanes
                .into_iter()
                .enumerate()
                .map(|(slot, (options, shared))| {
                    let (source, lane) = (options.source, options.lane);
                    let sender = LaneSender::new(
                        Arc::clone(&shared),
                        Arc::clone(&ready),
                        slot,
                        stage.clone(),
                        options,
                    );
                    senders.push((source, lane, sender));
                    Lane {
                        shared,
                        source,
                        lane,
                        done: false,
                        next_frame: 0,
                        last_ns: None,
                    }
                })
                .collect();
            let own = vec![0; ready.word_count()];
            Level {
                lanes: receivers,
                ready,
                own,
                turn: 0,
                passed_over: 0,
            }
        });
        let order = self.times.map(|times| {
            for (time, _) in &times {
                let gate = stage.clone();
                time.tell(move || gate.signal());
            }
            InOrder::new(&levels, times.into_iter().map(|(time, _)| time).collect())
        });
        (
            Intake {
                levels,
                stage: stage.clone(),
                shared_last: false,
                open_lanes,
                order,
            },
            stage,
            senders,
        )
    }
}

impl Intake {
    /// The next block, of a priority that `admit` lets through; `None` if there is none now.
    pub fn next(&mut self, admit: impl Fn(Priority) -> bool) -> Option<Item> {
        loop {
            let level = self.choose(&admit)?;
            // A level may look ready and turn out empty: then its bits are clear now, and the
            // choice is made anew.
            match self.levels[level].take(Priority::ALL[level]) {
                Taken::Item(item) => {
                    self.levels[level].passed_over = 0;
                    return Some(item);
                }
                Taken::Ended(item) => {
                    self.open_lanes -= 1;
                    if let Some(item) = item {
                        return Some(item);
                    }
                }
                Taken::Nothing => {}
            }
        }
    }

    fn choose(&mut self, admit: &impl Fn(Priority) -> bool) -> Option<usize> {
        let mut best = None;
        let mut starved = None;
        for (index, level) in self.levels.iter_mut().enumerate() {
            level.ready.take_into(&mut level.own);
            if !level.may_have_block() || !admit(Priority::ALL[index]) {
                continue;
            }
            if best.is_none() {
                best = Some(index);
            } else {
                level.passed_over = level.passed_over.saturating_add(1);
                if level.passed_over > SHARE && starved.is_none() {
                    starved = Some(index);
                }
            }
        }
        match starved {
            Some(index) if !self.shared_last => {
                self.shared_last = true;
                Some(index)
            }
            _ => {
                self.shared_last = false;
                best
            }
        }
    }

    /// Whether any lane of an admitted priority may hold a block.
    fn has_work(&self, admit: &impl Fn(Priority) -> bool) -> bool {
        self.levels
            .iter()
            .zip(Priority::ALL)
            .any(|(level, priority)| {
                (level.may_have_block() || level.ready.any()) && admit(priority)
            })
    }

    /// Sleeps until there may be a block of an admitted priority, or `has_other_work`, or the
    /// gate is signalled for any other reason.
    pub async fn wait(
        &self,
        admit: impl Fn(Priority) -> bool,
        has_other_work: impl FnOnce() -> bool,
    ) {
        let gate = &self.stage.0;
        if gate.may_sleep(|| self.has_work(&admit) || has_other_work()) {
            gate.waker().notified().await;
            gate.woke();
        }
    }

    /// As [`Intake::wait`], but for no longer than `limit`, if there is one.
    pub async fn wait_at_most(
        &self,
        limit: Option<Duration>,
        admit: impl Fn(Priority) -> bool,
        has_other_work: impl FnOnce() -> bool,
    ) {
        let Some(limit) = limit else {
            return self.wait(admit, has_other_work).await;
        };
        // Whether the time or the gate ended it: the owner is awake now.
        let _ = tokio::time::timeout(limit, self.wait(admit, has_other_work)).await;
        self.stage.0.woke();
    }

    /// Whether every lane is closed and empty.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.open_lanes == 0
    }

    /// Sleeps until `has_work`, for no longer than `limit`, if there is one, or until the gate is signalled.
    pub(super) async fn sleep(&self, limit: Option<Duration>, has_work: impl FnOnce() -> bool) {
        let gate = &self.stage.0;
        if !gate.may_sleep(has_work) {
            return;
        }
        match limit {
            None => gate.waker().notified().await,
            Some(limit) => {
                // Whether the time or the gate ended it: the owner is awake now.
                let _ = tokio::time::timeout(limit, gate.waker().notified()).await;
            }
        }
        gate.woke();
    }

    /// The gate that wakes the owner of this intake.
    #[must_use]
    pub fn gate(&self) -> StageGate {
        self.stage.clone()
    }

    /// Samples in the lanes now: counted in the queues, by taking everything out of them.
    #[must_use]
    pub fn count_and_discard(&mut self) -> u64 {
        let mut samples = self.order.as_mut().map_or(0, InOrder::discard);
        for lane in self.levels.iter().flat_map(|level| &level.lanes) {
            while let Some(block) = lane.shared.queue.pop() {
                samples += block.frames.samples();
            }
        }
        samples
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        for lane in self.levels.iter().flat_map(|level| &level.lanes) {
            lane.shared.abandoned.store(true, Ordering::Relaxed);
            lane.shared.space.signal();
        }
    }
}

enum Taken {
    Item(Item),
    Ended(Option<Item>),
    Nothing,
}

impl Level {
    fn may_have_block(&self) -> bool {
        self.own.iter().any(|word| *word != 0)
    }

    /// A block of the lane whose turn it is, among those whose bit is set.
    fn take(&mut self, priority: Priority) -> Taken {
        while let Some(slot) = next_bit(&self.own, self.turn) {
            self.turn = slot + 1;
            let lane = &mut self.lanes[slot];
            if let Some(item) = lane.pop() {
                return Taken::Item(item);
            }
            self.own[slot / 64] &= !(1 << (slot % 64));
            // Acquire: pairs with the release in `LaneSender::drop`. A block may have been pushed
            // between the look above and the closing, so look again.
            if !lane.done && lane.shared.closed.load(Ordering::Acquire) {
                if let Some(item) = lane.pop() {
                    self.own[slot / 64] |= 1 << (slot % 64);
                    return Taken::Item(item);
                }
                lane.done = true;
                return Taken::Ended(lane.end(priority));
            }
        }
        Taken::Nothing
    }
}

impl Lane {
    pub(super) fn pop(&mut self) -> Option<Item> {
        let mut block = self.shared.queue.pop()?;
        self.shared.space.signal();
        let missing = block.first_frame.saturating_sub(self.next_frame);
        if missing > 0 {
            let to_ns = block.first_ns().unwrap_or(0);
            let gap = self.lane_full(missing, to_ns);
            block.gaps.insert(0, gap);
        }
        self.next_frame = block.first_frame + block.frames.len() as u64;
        self.last_ns = block.last_ns().or(self.last_ns);
        Some(Item::Block(block))
    }

    /// What no block can carry any more once the lane is closed.
    pub(super) fn end(&mut self, priority: Priority) -> Option<Item> {
        let (end_frame, mut gaps) = self.shared.ending();
        let missing = end_frame.saturating_sub(self.next_frame);
        if missing > 0 {
            let to_ns = gaps
                .iter()
                .map(|gap| gap.to_ns)
                .max()
                .or(self.last_ns)
                .unwrap_or(0);
            gaps.insert(0, self.lane_full(missing, to_ns));
        }
        let (source, lane) = (self.source, self.lane);
        (!gaps.is_empty()).then_some(Item::End {
            source,
            lane,
            priority,
            gaps,
        })
    }

    fn lane_full(&self, missing: u64, to_ns: i64) -> Gap {
        Gap {
            before: 0,
            from_ns: self.last_ns.unwrap_or(to_ns).min(to_ns),
            to_ns,
            frames: Some(missing),
            reason: GapReason::LaneFull,
        }
    }
}

/// The first set bit at or after `from`, or else the first of all.
fn next_bit(words: &[u64], from: usize) -> Option<usize> {
    let start = (from / 64).min(words.len());
    let later = words[start..].iter().enumerate().find_map(|(index, word)| {
        let mask = if index == 0 && start == from / 64 {
            !0 << (from % 64)
        } else {
            !0
        };
        let word = word & mask;
        (word != 0).then(|| (start + index) * 64 + word.trailing_zeros() as usize)
    });
    later.or_else(|| {
        words.iter().enumerate().find_map(|(index, word)| {
            (*word != 0).then(|| index * 64 + word.trailing_zeros() as usize)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::next_bit;

    #[test]
    fn lanes_take_turns() {
        let words = [1 << 3 | 1 << 63, 1];
        assert_eq!(next_bit(&words, 0), Some(3));
        assert_eq!(next_bit(&words, 4), Some(63));
        assert_eq!(next_bit(&words, 64), Some(64));
        assert_eq!(next_bit(&words, 65), Some(3));
        assert_eq!(next_bit(&words, 128), Some(3));
        assert_eq!(next_bit(&[0], 0), None);
        assert_eq!(next_bit(&[], 0), None);
    }
}
