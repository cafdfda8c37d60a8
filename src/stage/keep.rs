//! What is kept of a lane: everything, nothing, or what is around alerts.
//!
//! A lane that is kept around alerts is held here for as long as an alert may still want it, in blocks of its own that
//! frames are copied into, so that what a reader's pool holds has nothing to do with how long that is. When one of its rules
//! fires, what is held of the time before is handed on, as fast as the journal takes it, and everything that follows,
//! until the alerts are over and the time after them has passed.
//!
//! **Always holds.** Every frame leaves in its order, to be recorded or to be counted as not kept. Nothing is recorded
//! less than was asked for; as much as a sixteenth of the time more may be. What is held is bounded by the frames that the source
//! sends in that time, twice over; beyond that the oldest goes. In the steady state nothing is allocated.
//!
//! **Must not know.** Rules beyond their numbers; who records.

use std::collections::VecDeque;

use kymo_drivers::block::{Axis, Block, GapReason, Pool};

use super::{Recorder, Stage};

/// What is kept of a lane.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Keep {
    /// Everything.
    #[default]
    All,
    /// Nothing: it is there to be looked at and computed with.
    Nothing,
    /// What is around alerts.
    Around(AroundOptions),
}

/// How much is kept around which alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct AroundOptions {
    /// Of the time before a firing, ns.
    pub before_ns: i64,
    /// Of the time after the last alert is over, ns.
    pub after_ns: i64,
    /// An alert may be dated so long before the newest frame, ns: a rule over several lanes waits for the others, a window
    /// for what is late.
    pub late_ns: i64,
    /// The rules whose alerts count, by number.
    pub rules: Vec<usize>,
    /// Values in a frame.
    pub channels: usize,
    /// Frames in a block at most.
    pub block_frames: usize,
    /// Frames that come in the time before and that of being late, by the source's rate.
    pub frames: usize,
}

/// A lane's share of it.
#[derive(Debug, Default)]
pub(super) enum Keeper {
    #[default]
    All,
    Nothing,
    Around(Box<Around>),
}

impl Keeper {
    pub(super) fn new(keep: &Keep) -> Self {
        match keep {
            Keep::All => Self::All,
            Keep::Nothing => Self::Nothing,
            Keep::Around(options) => Self::Around(Box::new(Around::new(options.clone()))),
        }
    }

    /// An alert began, went on or is over.
    pub(super) fn note(&mut self, rule: usize, time_ns: i64, is_alert: bool) {
        if let Self::Around(around) = self {
            around.note(rule, time_ns, is_alert);
        }
    }
}

/// What is to be done with a block.
#[derive(Debug)]
enum Next {
    Record(Block),
    Lose(Block, GapReason),
}

#[derive(Debug)]
struct Held {
    block: Block,
    last_ns: i64,
    is_wanted: bool,
}

/// What is held of a lane.
#[derive(Debug)]
pub(super) struct Around {
    options: AroundOptions,
    /// Frames are copied column by column.
    columns: Vec<usize>,
    pool: Pool,
    /// The oldest first.
    held: VecDeque<Held>,
    frames: usize,
    /// By place in the options' rules.
    is_alert: Vec<bool>,
    /// The time that is wanted, ns: while an alert lasts there is no end of it.
    from_ns: i64,
    until_ns: i64,
    newest_ns: i64,
}

/// A block that is held spans this part of the time before and after at most.
const PARTS: i64 = 16;
/// Frames are held up to so many times what the source's rate promises.
const FRAMES_FACTOR: usize = 2;

impl Around {
    fn new(options: AroundOptions) -> Self {
        // Full ones, those that are cut off by their time, and those under way to the journal.
        let bound = FRAMES_FACTOR * (options.frames / options.block_frames.max(1))
            + 4 * PARTS as usize
            + 64;
        Self {
            columns: (0..options.channels).collect(),
            pool: Pool::new(options.channels, options.block_frames, bound),
            held: VecDeque::with_capacity(bound),
            frames: 0,
            is_alert: vec![false; options.rules.len()],
            from_ns: i64::MAX,
            until_ns: i64::MIN,
            newest_ns: i64::MIN,
            options,
        }
    }

    fn note(&mut self, rule: usize, time_ns: i64, is_alert: bool) {
        let Some(place) = self.options.rules.iter().position(|known| *known == rule) else {
            return;
        };
        let was_any = self.is_alert.contains(&true);
        self.is_alert[place] = is_alert;
        let is_any = self.is_alert.contains(&true);
        if is_alert && !was_any {
            let from_ns = time_ns.saturating_sub(self.options.before_ns);
            if self.until_ns < from_ns {
                self.from_ns = from_ns;
            }
            self.until_ns = i64::MAX;
            for held in self.held.iter_mut().filter(|held| held.last_ns >= from_ns) {
                held.is_wanted = true;
            }
        } else if was_any && !is_any {
            self.until_ns = time_ns.saturating_add(self.options.after_ns);
        }
    }

    /// Takes a block; gives it back at once if it is wanted and nothing is before it.
    fn take(&mut self, block: Block, has_room: bool) -> Option<Block> {
        let frames = block.frames.len();
        let (first_ns, last_ns) = (block.time_ns(0), block.time_ns(frames - 1));
        self.newest_ns = self.newest_ns.max(last_ns);
        let is_wanted = last_ns >= self.from_ns && first_ns <= self.until_ns;
        if is_wanted && has_room && self.held.is_empty() {
            return Some(block);
        }
        let mut from = 0;
        while from < frames {
            from += self.append(&block, from, is_wanted);
        }
        None
    }

    /// Copies frames of a block behind what is held, as many as fit into one: how many they were.
    fn append(&mut self, block: &Block, from: usize, is_wanted: bool) -> usize {
        let span_ns = (self.options.before_ns.max(self.options.after_ns) / PARTS).max(1);
        let first_ns = block.time_ns(from);
        let first_frame = block.first_frame + from as u64;
        let goes_on = |held: &Held| {
            let data = &held.block;
            held.is_wanted == is_wanted
                && !data.frames.is_full()
                && data.first_frame + data.frames.len() as u64 == first_frame
                && first_ns - data.time_ns(0) < span_ns
        };
        if !self.held.back().is_some_and(goes_on) {
            let capacity = self.options.block_frames;
            let mut fresh = self
                .pool
                .take()
                .unwrap_or_else(|| Block::unpooled(self.options.channels, capacity));
            (fresh.source, fresh.lane, fresh.priority) = (block.source, block.lane, block.priority);
            (fresh.first_frame, fresh.read_ns) = (first_frame, block.read_ns);
            fresh.axis = Axis::Irregular;
            self.held.push_back(Held {
                block: fresh,
                last_ns: first_ns,
                is_wanted,
            });
        }
        let Some(held) = self.held.back_mut() else {
            unreachable!("one was there, or was put there");
        };
        let into = &mut held.block;
        let start = into.frames.len();
        let begin_ns = if start == 0 {
            first_ns
        } else {
            into.time_ns(0)
        };
        let most = into.frames.room().min(block.frames.len() - from);
        let count = (1..most)
            .find(|more| block.time_ns(from + more) - begin_ns >= span_ns)
            .unwrap_or(most);
        into.frames
            .copy_columns(&block.frames, &self.columns, from..from + count);
        let (_, times) = into.frames.ends_and_times_mut();
        for (index, time) in times[start..].iter_mut().enumerate() {
            *time = block.time_ns(from + index);
        }
        held.last_ns = block.time_ns(from + count - 1);
        let is_last = from + count == block.frames.len();
        let here = |before: usize| {
            (from..from + count).contains(&before) || (is_last && before >= from + count)
        };
        for gap in block.gaps.iter().filter(|gap| here(gap.before as usize)) {
            let mut gap = *gap;
            let before = start + (gap.before as usize - from).min(count);
            gap.before = u32::try_from(before).unwrap_or(u32::MAX);
            into.gaps.push(gap);
        }
        self.frames += count;
        count
    }

    /// What is held and can wait no longer, in its order; `is_over`: nothing more will come.
    fn next(&mut self, has_room: bool, is_over: bool) -> Option<Next> {
        let front = self.held.front()?;
        let bound = FRAMES_FACTOR * self.options.frames + 2 * self.options.block_frames;
        let reason = if front.is_wanted {
            if has_room {
                let held = self.pop()?;
                return Some(Next::Record(held));
            }
            // It was asked for, and the disk does not keep up: a loss like any other.
            (self.frames > 2 * bound).then_some(GapReason::JournalFull)
        } else {
            let held_ns = self.options.before_ns.saturating_add(self.options.late_ns);
            let too_old_ns = self.newest_ns.saturating_sub(held_ns);
            let is_past = front.last_ns < too_old_ns || self.frames > bound;
            let is_passed_over = self.held.iter().any(|later| later.is_wanted);
            (is_over || is_past || is_passed_over).then_some(GapReason::NotKept)
        };
        let reason = reason?;
        Some(Next::Lose(self.pop()?, reason))
    }

    fn pop(&mut self) -> Option<Block> {
        let held = self.held.pop_front()?;
        self.frames -= held.block.frames.len();
        Some(held.block)
    }

    /// Whether more waits for the journal than is held in peace.
    fn is_crowded(&self) -> bool {
        let bound = FRAMES_FACTOR * self.options.frames + 2 * self.options.block_frames;
        self.frames > bound && self.held.front().is_some_and(|held| held.is_wanted)
    }
}

impl<R: Recorder> Stage<R> {
    /// Hands a block on, as its lane is kept.
    pub(super) fn hand_on(&mut self, block: Block) {
        let (source, number) = (usize::from(block.source.0), usize::from(block.lane));
        let lane = &mut self.lanes[source][number];
        match &mut lane.keep {
            Keeper::All => self.record(block),
            Keeper::Nothing => self.lose(&block, GapReason::NotKept),
            // Gaps alone: nothing that could be held.
            Keeper::Around(_) if block.frames.is_empty() => self.lose(&block, GapReason::NotKept),
            Keeper::Around(around) => {
                let has_room = self.recorder.has_room(block.priority);
                if let Some(block) = around.take(block, has_room) {
                    self.record(block);
                }
                self.hand_on_held((source, number), false);
            }
        }
    }

    /// Hands on what is held of lanes kept around alerts, where the journal has room again.
    pub(super) fn hand_on_all_held(&mut self) {
        for place in 0..self.around.len() {
            self.hand_on_held(self.around[place], false);
        }
    }

    /// Nothing more comes: hands on what is held, however long the disk takes.
    pub(super) fn finish_held(&mut self) {
        for (source, number) in std::mem::take(&mut self.around) {
            loop {
                self.hand_on_held((source, number), true);
                let Keeper::Around(around) = &self.lanes[source][number].keep else {
                    break;
                };
                if around.held.is_empty() {
                    break;
                }
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
        }
    }

    fn hand_on_held(&mut self, (source, number): (usize, usize), is_over: bool) {
        loop {
            let lane = &mut self.lanes[source][number];
            let Keeper::Around(around) = &mut lane.keep else {
                return;
            };
            let front = around.held.front();
            let priority = front.map(|held| held.block.priority);
            let has_room = priority.is_some_and(|priority| self.recorder.has_room(priority));
            let next = around.next(has_room, is_over);
            if let Some(priority) = priority {
                self.crowded[priority.index()] = around.is_crowded();
            }
            match next {
                Some(Next::Record(block)) => self.record(block),
                Some(Next::Lose(block, reason)) => self.lose(&block, reason),
                None => return,
            }
        }
    }

    /// Tells the lanes that are kept around alerts what became of alerts.
    pub(super) fn note_alerts(&mut self) {
        if self.alerts.tally.moves.is_empty() {
            return;
        }
        for index in 0..self.alerts.tally.moves.len() {
            let (rule, time_ns, is_alert) = self.alerts.tally.moves[index];
            for (source, number) in &self.around {
                self.lanes[*source][*number]
                    .keep
                    .note(rule, time_ns, is_alert);
            }
        }
        self.alerts.tally.moves.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const LATE_MS: i64 = 30;

    fn around(before_ms: i64, after_ms: i64) -> Around {
        Around::new(AroundOptions {
            before_ns: before_ms * MS,
            after_ns: after_ms * MS,
            late_ns: LATE_MS * MS,
            rules: vec![3, 5],
            channels: 1,
            block_frames: 8,
            frames: usize::try_from(before_ms + LATE_MS).unwrap(),
        })
    }

    /// A frame a millisecond.
    fn block(first: u64, count: usize) -> Block {
        let mut block = Block::unpooled(1, count);
        block.first_frame = first;
        block.axis = Axis::Regular {
            start_ns: i64::try_from(first).unwrap() * MS,
            period_ns: 1e6,
        };
        for index in 0..count {
            #[allow(clippy::cast_precision_loss)]
            block.frames.push(0, &[(first + index as u64) as f64]);
        }
        block
    }

    /// Feeds frames, blocks of five, and gives those recorded and those not kept.
    fn played(
        mut around: Around,
        frames: u64,
        alerts: &[(u64, usize, bool)],
    ) -> (Vec<u64>, Vec<u64>) {
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        let mut numbers = |next: &Next| {
            let (block, into) = match next {
                Next::Record(block) => (block, &mut kept),
                Next::Lose(block, reason) => {
                    assert_eq!(*reason, GapReason::NotKept);
                    (block, &mut lost)
                }
            };
            for index in 0..block.frames.len() {
                let number = block.first_frame + index as u64;
                #[allow(clippy::cast_precision_loss)]
                let value = number as f64;
                assert_eq!(block.frames.column(0)[index], value);
                assert_eq!(block.time_ns(index), i64::try_from(number).unwrap() * MS);
                into.push(number);
            }
        };
        for first in (0..frames).step_by(5) {
            for (at, rule, is_alert) in alerts
                .iter()
                .filter(|(at, ..)| (first..first + 5).contains(at))
            {
                around.note(*rule, i64::try_from(*at).unwrap() * MS, *is_alert);
            }
            if let Some(block) = around.take(block(first, 5), true) {
                numbers(&Next::Record(block));
            }
            while let Some(next) = around.next(true, false) {
                numbers(&next);
            }
        }
        while let Some(next) = around.next(true, true) {
            numbers(&next);
        }
        (kept, lost)
    }

    #[test]
    fn without_an_alert_nothing_is_kept_and_every_frame_is_counted() {
        let (kept, lost) = played(around(100, 50), 1000, &[]);
        assert!(kept.is_empty());
        assert_eq!(lost, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_around_an_alert_is_kept_in_order_and_once() {
        let (kept, lost) = played(around(100, 50), 1000, &[(400, 3, true), (500, 3, false)]);
        let (first, last) = (kept[0], *kept.last().unwrap());
        assert!((290..=300).contains(&first), "{first}");
        assert!((550..=558).contains(&last), "{last}");
        assert_eq!(kept, (first..=last).collect::<Vec<_>>());
        assert_eq!(kept.len() + lost.len(), 1000);
    }

    #[test]
    fn alerts_that_overlap_are_kept_through_and_others_do_not_count() {
        let alerts = [
            (400, 3, true),
            (420, 5, true),
            (450, 3, false),
            (600, 5, false),
            (800, 4, true),
        ];
        let (kept, _) = played(around(100, 50), 1000, &alerts);
        assert!(*kept.last().unwrap() >= 650 && *kept.last().unwrap() < 660);
        assert_eq!(kept, (kept[0]..=*kept.last().unwrap()).collect::<Vec<_>>());
    }

    #[test]
    fn an_alert_at_the_very_start_keeps_what_there_is() {
        let (kept, _) = played(around(100, 50), 300, &[(2, 3, true), (10, 3, false)]);
        assert_eq!(kept[0], 0);
        assert!((60..=66).contains(kept.last().unwrap()), "{kept:?}");
    }

    #[test]
    fn an_alert_that_lasts_to_the_end_is_kept_to_the_end() {
        let (kept, _) = played(around(100, 50), 1000, &[(700, 5, true)]);
        assert_eq!(kept.last(), Some(&999));
    }

    #[test]
    fn a_disk_that_takes_nothing_loses_the_oldest_and_says_so() {
        let mut around = around(100, 50);
        around.note(3, 0, true);
        let mut lost = 0;
        for first in (0..2000).step_by(5) {
            assert!(around.take(block(first, 5), false).is_none());
            while let Some(next) = around.next(false, false) {
                let Next::Lose(block, GapReason::JournalFull) = next else {
                    panic!("{next:?}");
                };
                lost += block.frames.len();
            }
        }
        assert!(around.is_crowded());
        assert_eq!(lost + around.frames, 2000);
        assert!(around.frames <= 2 * (2 * 130 + 16) + 8);
    }

    #[test]
    fn an_alert_that_is_dated_back_finds_the_time_before_it() {
        // Seen with the frame at 500 ms, of 475 ms: what another lane held up.
        let mut around = around(100, 50);
        let mut first_kept = None;
        for first in (0..600).step_by(5) {
            if first == 500 {
                around.note(3, 475 * MS, true);
            }
            if let Some(block) = around.take(block(first, 5), true) {
                first_kept.get_or_insert(block.first_frame);
            }
            while let Some(next) = around.next(true, false) {
                if let Next::Record(block) = next {
                    first_kept.get_or_insert(block.first_frame);
                }
            }
        }
        let first_kept = first_kept.expect("something is kept");
        assert!((360..=375).contains(&first_kept), "{first_kept}");
    }

    #[test]
    fn gaps_stay_at_their_frames() {
        let mut around = around(100, 50);
        let mut with_gap = block(0, 10);
        with_gap.gaps.push(kymo_drivers::block::Gap {
            before: 9,
            from_ns: 8 * MS,
            to_ns: 9 * MS,
            frames: None,
            reason: GapReason::Corrupt,
        });
        assert!(around.take(with_gap, true).is_none());
        let gaps: Vec<(u64, u32)> = around
            .held
            .iter()
            .flat_map(|held| {
                held.block
                    .gaps
                    .iter()
                    .map(|gap| (held.block.first_frame, gap.before))
            })
            .collect();
        assert_eq!(
            gaps.iter()
                .map(|(first, before)| first + u64::from(*before))
                .collect::<Vec<_>>(),
            [9]
        );
    }
}
