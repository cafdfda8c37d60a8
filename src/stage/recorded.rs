//! The stage of a recording: time is the recording's, and everything happens in its order.
//!
//! What the stage takes it takes in the order in which it was sent (`lanes/order.rs`), and the stage's clock is the time of what
//! is in hand. What in a run is done when time passes (rules that wait for data, lanes that are silent) is done when all that was
//! sent before has been taken, and before anything later is; what readers have to say is written down in its place.
//!
//! **Always holds.** What comes of it depends on the recordings alone: on no thread, no speed and no disk. However long
//! nothing comes in a recording, it costs a few looks: they come ever more rarely.
//!
//! **Must not know.** Where the recordings are from.

use std::collections::BTreeMap;
use std::time::Duration;

use kymo_drivers::link::recorded::Pace;

use super::computed::Computed;
use super::{BLOCKS_PER_TURN, Recorder, Stage};
use crate::event::Event;
use crate::lanes::Item;

/// So many looks come at their usual pace, if nothing is sent; each further one after twice the time of the last.
const LOOKS: u32 = 16;

/// What a stage needs to follow recordings.
pub(super) struct Recorded {
    /// How fast they are played.
    pace: Option<Pace>,
    /// What readers have said and whose time has not come: by time, source, and as it came.
    said: BTreeMap<(i64, Option<u16>, u64), Event>,
    said_count: u64,
    /// Looks since something was taken.
    looks: u32,
}

impl Recorded {
    /// So many times the usual time lies between this look and the next.
    fn times(&self) -> i64 {
        1 << self.looks.saturating_sub(LOOKS).min(62)
    }

    /// Whether the host's time has come for something that is done when time passes.
    fn is_time(&self, time_ns: i64) -> bool {
        self.pace.is_none_or(|pace| pace.left(time_ns).is_zero())
    }
}

impl<R: Recorder> Stage<R> {
    /// Has it follow recordings, whose lanes are made by [`crate::lanes::LanesBuilder::in_order`]. Its clock must be a manual
    /// one that stands at their beginning; its recorder must take everything, if need be by waiting.
    #[must_use]
    pub fn following(mut self, pace: Option<Pace>) -> Self {
        self.recorded = Some(Recorded {
            pace,
            said: BTreeMap::new(),
            said_count: 0,
            looks: 0,
        });
        self
    }

    /// Handles what comes until every lane is closed and empty.
    pub(super) async fn follow(&mut self, mut recorded: Recorded) {
        loop {
            for _ in 0..BLOCKS_PER_TURN {
                let Some((time_ns, item)) = self.intake.next_in_order() else {
                    break;
                };
                self.settle(&mut recorded, time_ns, |_, _| true);
                self.clock.set_ns(time_ns);
                recorded.looks = 0;
                match item {
                    Item::Block(block) => self.handle(block),
                    Item::End { gaps, .. } if gaps.is_empty() => {}
                    Item::End {
                        source,
                        lane,
                        priority,
                        gaps,
                    } => self.end_lane(source, lane, priority, &gaps),
                }
                self.note_alerts();
                self.hand_on_all_held();
            }
            if let Some(taken_ns) = self.intake.taken_up_to_ns() {
                self.settle(&mut recorded, taken_ns, Recorded::is_time);
            }
            self.publish();
            if self.intake.is_finished() {
                break;
            }
            let due_ns = self.due_ns();
            let left = |pace: Pace| due_ns.map(|due_ns| pace.left(due_ns));
            let left = recorded.pace.and_then(left).filter(|left| !left.is_zero());
            // A look whose time has not come at the recording's pace is waited for, if nothing else happens.
            let due_ns = due_ns.filter(|_| left.is_none());
            let limit = left.map(|left| left.max(Duration::from_millis(1)));
            self.intake.wait_in_order(limit, due_ns, || false).await;
            tokio::task::consume_budget().await;
        }
        self.settle(&mut recorded, i64::MIN, |_, _| true);
        for (_, event) in std::mem::take(&mut recorded.said) {
            self.recorder.record_event(&event);
        }
    }

    /// When time has to be looked at next, ns; `None`: never.
    fn due_ns(&self) -> Option<i64> {
        let computed = self.computed.as_ref().map(Computed::due_ns);
        let due_ns = [computed, self.alerts.due_ns()].into_iter().flatten().min();
        due_ns.map(|due_ns| due_ns.max(self.clock.now_ns()))
    }

    /// Does what is due up to a time before which everything was taken, one after the other: looks up to then, and what readers
    /// said before then. `is_time`: whether a look may be made now.
    fn settle(
        &mut self,
        recorded: &mut Recorded,
        until_ns: i64,
        is_time: impl Fn(&Recorded, i64) -> bool,
    ) {
        while let Ok(event) = self.events.try_recv() {
            let source = event.source.map(|source| source.0);
            let key = (event.time_ns, source, recorded.said_count);
            recorded.said_count += 1;
            recorded.said.insert(key, event);
        }
        loop {
            let due_ns = self.due_ns().filter(|due_ns| *due_ns <= until_ns);
            let first = recorded.said.first_entry();
            let said = first.filter(|said| {
                let time_ns = said.key().0;
                time_ns < until_ns && due_ns.is_none_or(|due_ns| time_ns < due_ns)
            });
            if let Some(said) = said {
                self.recorder.record_event(&said.remove());
                continue;
            }
            let Some(due_ns) = due_ns.filter(|due_ns| is_time(recorded, *due_ns)) else {
                return;
            };
            self.look(due_ns, recorded.times());
            recorded.looks = recorded.looks.saturating_add(1);
        }
    }

    /// Time has passed up to `now_ns`.
    fn look(&mut self, now_ns: i64, times: i64) {
        self.clock.set_ns(now_ns);
        if self.alerts.due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            self.alerts.look_after(now_ns, times, &mut self.recorder);
        }
        let is_due = |computed: &&mut Computed| computed.due_ns() <= now_ns;
        if let Some(computed) = self.computed.as_mut().filter(is_due) {
            computed.look_after(now_ns, times);
            self.take_computed();
        }
        self.note_alerts();
        self.hand_on_all_held();
    }
}
