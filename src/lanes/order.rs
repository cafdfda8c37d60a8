//! The receiving end for recordings: blocks in the order in which they were sent, by the recordings' own time.
//!
//! Every block bears the virtual time at which its reader sent it. The next one is the oldest of all; it is taken when
//! no source can send an older one any more: each has a block that waits, or has ended, or its time is known to be
//! beyond ([`VirtualTime::known_ns`]). At the same time the source that comes first in the configuration comes first, and
//! within a source what was sent first. So the order depends on the recordings alone: on no thread, no speed, no priority.
//!
//! **Always holds.** The times given out never fall. A source never waits for another but by its full lane. Nothing here is
//! in the way of a block that does not come from a recording.

use std::time::Duration;

use kymo_drivers::block::Priority;
use kymo_drivers::link::recorded::VirtualTime;

use super::intake::{Intake, Item, Level};
use super::sync::Ordering;

/// When something was sent: the virtual time, the source, its number within the source.
type Key = (i64, u16, u64);

/// What there is to be known of the lanes, to put their blocks in order.
#[derive(Debug)]
pub(super) struct InOrder {
    heads: Vec<Head>,
    times: Vec<VirtualTime>,
    /// Up to when each source was known when its lanes were last looked at.
    known_ns: Vec<i64>,
}

/// The oldest block of a lane.
#[derive(Debug)]
struct Head {
    /// Where the lane is: its level and its place there.
    level: usize,
    slot: usize,
    source: u16,
    item: Option<(Key, Item)>,
    /// More may come.
    is_open: bool,
}

impl InOrder {
    pub(super) fn new(levels: &[Level], times: Vec<VirtualTime>) -> Self {
        let mut heads = Vec::new();
        for (level, lanes) in levels.iter().enumerate() {
            for (slot, lane) in lanes.lanes.iter().enumerate() {
                heads.push(Head {
                    level,
                    slot,
                    source: lane.source.0,
                    item: None,
                    is_open: true,
                });
            }
        }
        let known_ns = times.iter().map(VirtualTime::known_ns).collect();
        Self {
            heads,
            times,
            known_ns,
        }
    }

    /// Whatever waits here is given up: how many samples that are.
    pub(super) fn discard(&mut self) -> u64 {
        let items = self.heads.iter_mut().filter_map(|head| head.item.take());
        let samples = items.map(|(_, item)| match item {
            Item::Block(block) => block.frames.samples(),
            Item::End { .. } => 0,
        });
        samples.sum()
    }

    /// Takes the oldest block of every lane that has one.
    fn fill(&mut self, levels: &mut [Level]) {
        loop {
            // First what is known, then what is there: what a reader sent before is then seen.
            for (known_ns, time) in self.known_ns.iter_mut().zip(&self.times) {
                *known_ns = time.known_ns();
            }
            let mut any = false;
            for head in self.heads.iter_mut().filter(|head| head.lacks()) {
                head.fill(levels, &self.times);
                any |= !head.lacks();
            }
            // Once more: of a source with several lanes, what was sent before what was found now is there by now.
            if !any {
                return;
            }
        }
    }

    fn oldest(&self) -> Option<(Key, usize)> {
        let heads = self.heads.iter().enumerate();
        let keys = heads.filter_map(|(place, head)| Some((head.item.as_ref()?.0, place)));
        keys.min()
    }

    /// Whether a source may still send something older; `known_ns`: up to when it is known.
    fn may_be_older(&self, source: usize, known_ns: i64, key: Key) -> bool {
        let of_source = || {
            let heads = self.heads.iter();
            heads.filter(|head| usize::from(head.source) == source)
        };
        let waits = of_source().any(|head| head.item.is_some());
        let is_open = of_source().any(|head| head.is_open);
        let (time_ns, of, _) = key;
        let is_first = source < usize::from(of);
        is_open && !waits && (known_ns < time_ns || (known_ns == time_ns && is_first))
    }

    fn is_next(&self, key: Key, known_ns: impl Fn(usize) -> i64) -> bool {
        let mut sources = 0..self.times.len();
        !sources.any(|source| self.may_be_older(source, known_ns(source), key))
    }

    /// Up to when everything has been taken; `None`: nothing comes any more.
    fn floor_ns(&self, known_ns: impl Fn(usize) -> i64) -> Option<i64> {
        let of_source = |source: usize| {
            let heads = || {
                let heads = self.heads.iter();
                heads.filter(move |head| usize::from(head.source) == source)
            };
            let waiting = heads().filter_map(|head| Some(head.item.as_ref()?.0.0));
            let is_open = heads().any(|head| head.is_open);
            waiting.min().or(is_open.then(|| known_ns(source)))
        };
        (0..self.times.len()).filter_map(of_source).min()
    }

    /// Whether [`Intake::next_in_order`] would find something new now.
    fn has_work(&self, levels: &[Level]) -> bool {
        let has_more = |head: &Head| {
            let shared = &levels[head.level].lanes[head.slot].shared;
            head.lacks() && (!shared.queue.is_empty() || shared.closed.load(Ordering::Acquire))
        };
        let known_ns = |source: usize| self.times[source].known_ns();
        self.heads.iter().any(has_more)
            || self
                .oldest()
                .is_some_and(|(key, _)| self.is_next(key, known_ns))
    }
}

impl Head {
    fn lacks(&self) -> bool {
        self.is_open && self.item.is_none()
    }

    fn fill(&mut self, levels: &mut [Level], times: &[VirtualTime]) {
        let lane = &mut levels[self.level].lanes[self.slot];
        // Acquire: pairs with the release in `LaneSender::drop`: what was sent before the closing is seen below.
        let is_closed = lane.shared.closed.load(Ordering::Acquire);
        if let Some(item) = lane.pop() {
            let sent = lane.shared.sent.as_ref().and_then(|sent| sent.queue.pop());
            let Some((time_ns, number)) = sent else {
                unreachable!("a block's time is there before the block");
            };
            self.item = Some(((time_ns, self.source, number), item));
        } else if is_closed {
            lane.done = true;
            self.is_open = false;
            let (source, lane_number) = (lane.source, lane.lane);
            let priority = Priority::ALL[self.level];
            let end = lane.end(priority).unwrap_or(Item::End {
                source,
                lane: lane_number,
                priority,
                gaps: Vec::new(),
            });
            // Its reader is gone, and its time stands still.
            let time_ns = times
                .get(usize::from(self.source))
                .map_or(i64::MAX, VirtualTime::now_ns);
            // Lanes of a source end in the order of their numbers.
            let number = u64::MAX - u64::from(u8::MAX) + u64::from(lane_number);
            self.item = Some(((time_ns, self.source, number), end));
        }
    }
}

impl Intake {
    /// What was sent next by the recordings' time, and when, UTC ns; `None` if that is not known yet. The end of
    /// each lane is given, too, if nothing is missing there.
    pub fn next_in_order(&mut self) -> Option<(i64, Item)> {
        let order = self.order.as_mut()?;
        order.fill(&mut self.levels);
        let (key, place) = order.oldest()?;
        if !order.is_next(key, |source| order.known_ns[source]) {
            return None;
        }
        let head = &mut order.heads[place];
        let (key, item) = head.item.take()?;
        if !head.is_open {
            self.open_lanes -= 1;
        }
        Some((key.0, item))
    }

    /// Everything that was sent before this time, UTC ns, has been taken; `None`: nothing comes any more.
    pub fn taken_up_to_ns(&mut self) -> Option<i64> {
        let order = self.order.as_mut()?;
        // A lane whose block was just taken may have older ones than its source is known to send.
        order.fill(&mut self.levels);
        order.floor_ns(|source| order.known_ns[source])
    }

    /// Sleeps until there may be something next in order, or everything before `until_ns` has been taken, or
    /// `has_other_work`; for no longer than `limit`, if there is one.
    pub async fn wait_in_order(
        &self,
        limit: Option<Duration>,
        until_ns: Option<i64>,
        has_other_work: impl FnOnce() -> bool,
    ) {
        let Some(order) = &self.order else { return };
        let is_time = || {
            let floor_ns = order.floor_ns(|source| order.times[source].known_ns());
            until_ns
                .zip(floor_ns)
                .is_some_and(|(until_ns, floor_ns)| until_ns <= floor_ns)
        };
        self.sleep(limit, || {
            order.has_work(&self.levels) || is_time() || has_other_work()
        })
        .await;
    }
}

#[cfg(test)]
mod tests;
