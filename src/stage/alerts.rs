//! Rules within the stage: judged on every column, looked after when time passes, told what people want of them.
//!
//! **Always holds.** A rule that waits for data is looked at by the run's clock, at most a tenth of a second apart,
//! and never while blocks wait in the lanes, unless the stage has been behind for a second: what waits there may be what
//! the rule waits for. The alert's time is the deadline all the same.

use std::time::Duration;

use kymo_drivers::block::Block;

use super::Recorder;
use super::statistics::Summary;
use crate::alert::{
    Alert, Change, Column, Command, Judge, Memory, Moved, Order, RuleMemory, RuleOptions, Silence,
};
use crate::clock::Clock;
use crate::latency::Latency;

/// So long after its deadline a rule that waits for data is looked at: a block of samples may be under way, for
/// as long as `block_age` (5 ms) and what the machine adds.
const MARGIN_NS: i64 = 20_000_000;
/// Looks are at least and at most so far apart.
const LOOK_MIN_NS: i64 = 5_000_000;
const LOOK_MAX_NS: i64 = 100_000_000;
/// A stage that is behind for longer than this is no excuse any more.
const BEHIND_MAX_NS: i64 = 1_000_000_000;

/// A rule that looks at several lanes waits so long for one that sends nothing; what it sends after that is late.
const LATENESS_NS: i64 = 1_000_000_000;

/// What there is to be known of alerts beside the rules.
#[derive(Debug, Default)]
pub struct AlertSetup {
    /// The silences of the configuration.
    pub silences: Vec<Silence>,
    /// Where the rules stood when the last run ended.
    pub memory: Memory,
    /// What people wanted of the rules while nothing ran.
    pub orders: Vec<Order>,
    /// What people want of them now.
    pub commands: Option<flume::Receiver<Command>>,
}

/// What a rule did in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleCounts {
    /// Times it fired.
    pub fired: u64,
    /// Times it cleared.
    pub cleared: u64,
    /// Times somebody acknowledged it.
    pub acknowledged: u64,
    /// Changes of which nobody was told, because of a silence.
    pub silenced: u64,
    /// Samples of channels joined that came too late to be judged in their order.
    pub late: u64,
    /// Whether it is an alert at the end.
    pub is_active: bool,
}

/// A rule over a condition, some of whose channels come in a lane.
#[derive(Debug, Clone)]
pub(super) struct LaneRule {
    rule: usize,
    /// The lane's number in the rule.
    lane: usize,
    /// The column of each of the rule's channels that comes in this lane.
    columns: Vec<usize>,
}

/// What alerts did, counted, and for who follows it, one by one.
pub(super) struct Tally {
    pub(super) counts: Vec<RuleCounts>,
    /// Alerts that began, went on or are over since this was last emptied: rule, time, whether it is an alert.
    /// Filled only if somebody follows it.
    pub(super) moves: Vec<(usize, i64, bool)>,
    follows_moves: bool,
}

impl Tally {
    fn add(&mut self, rule: usize, moved: &Moved) {
        self.counts[rule].add(moved);
        if self.follows_moves {
            self.moves
                .push((rule, moved.time_ns, moved.state.is_active()));
        }
    }
}

/// The rules of a stage.
pub(super) struct Alerts {
    judge: Judge,
    orders: Vec<Order>,
    commands: Option<flume::Receiver<Command>>,
    pub(super) tally: Tally,
    pub(super) latency: Latency,
    /// When time is to be looked at next; `None`: no rule waits for data.
    look_ns: Option<i64>,
}

impl Alerts {
    pub(super) fn new(rules: &[RuleOptions], setup: AlertSetup, clock: &Clock) -> Self {
        let now_ns = clock.now_ns();
        let judge = Judge::new(rules, &setup.silences, &setup.memory, now_ns);
        Self {
            look_ns: None,
            judge,
            orders: setup.orders,
            commands: setup.commands,
            tally: Tally {
                counts: vec![RuleCounts::default(); rules.len()],
                moves: Vec::new(),
                follows_moves: false,
            },
            latency: Latency::default(),
        }
    }

    /// Notes from now on what becomes of alerts, beginning with those that are.
    pub(super) fn follow_moves(&mut self) {
        self.tally.follows_moves = true;
        self.tally.moves.reserve(self.tally.counts.len().max(64));
        for (rule, (_, memory)) in self.judge.memories().enumerate() {
            if memory.is_active() {
                let since_ns = memory.fired_ns.unwrap_or(i64::MIN);
                self.tally.moves.push((rule, since_ns, true));
            }
        }
    }

    /// Joins rules over conditions with the lanes that their channels come in: for each lane, by source and
    /// number, what comes in it. `lane_of` says of a channel, by source and place, which lane and column it is.
    pub(super) fn join_lanes(
        &mut self,
        lane_of: impl Fn((usize, usize)) -> (u8, usize),
        clock: &Clock,
    ) -> Vec<((usize, u8), LaneRule)> {
        let mut joined = Vec::new();
        for rule in 0..self.tally.counts.len() {
            let places = self.judge.places(rule);
            let mut lanes: Vec<((usize, u8), Vec<usize>)> = Vec::new();
            for (input, place) in places.iter().enumerate() {
                let key = (place.0, lane_of(*place).0);
                match lanes.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, inputs)) => inputs.push(input),
                    None => lanes.push((key, vec![input])),
                }
            }
            for (key, inputs) in lanes {
                let lane = self.judge.add_lane(rule, &inputs);
                let mut columns = vec![0; places.len()];
                for input in inputs {
                    columns[input] = lane_of(places[input]).1;
                }
                joined.push((
                    key,
                    LaneRule {
                        rule,
                        lane,
                        columns,
                    },
                ));
            }
        }
        self.look_ns = self.judge.waits().then(|| clock.now_ns());
        joined
    }

    /// Judges the rules over conditions that look at a block's lane.
    pub(super) fn join(
        &mut self,
        lane_rules: &[LaneRule],
        block: &Block,
        clock: &Clock,
        recorder: &mut impl Recorder,
    ) {
        for lane_rule in lane_rules {
            let (tally, latency) = (&mut self.tally, &mut self.latency);
            let rule = lane_rule.rule;
            self.judge.join(
                (rule, lane_rule.lane),
                block.frames.len(),
                |index| block.time_ns(index),
                |input| block.frames.column(lane_rule.columns[input]),
                |index, moved| {
                    let seen_ns = clock.now_ns();
                    latency.record_ns(block.read_ns, seen_ns);
                    tally.add(rule, &moved);
                    recorder.record_alert(&Alert {
                        rule,
                        moved,
                        frame: index.map(|index| block.first_frame + index as u64),
                        read_ns: block.read_ns,
                        seen_ns,
                    });
                },
            );
        }
    }

    /// Judges one column of a block.
    pub(super) fn look(
        &mut self,
        watching: &[usize],
        block: &Block,
        (place, summary): (usize, &Summary),
        clock: &Clock,
        recorder: &mut impl Recorder,
    ) {
        let values = block.frames.column(place);
        let column = Column {
            values,
            min: summary.min,
            max: summary.max,
        };
        let (tally, latency) = (&mut self.tally, &mut self.latency);
        self.judge.look(
            watching,
            &column,
            |index| block.time_ns(index),
            |rule, index, moved| {
                let seen_ns = clock.now_ns();
                latency.record_ns(block.read_ns, seen_ns);
                tally.add(rule, &moved);
                recorder.record_alert(&Alert {
                    rule,
                    moved,
                    frame: Some(block.first_frame + index as u64),
                    read_ns: block.read_ns,
                    seen_ns,
                });
            },
        );
    }

    /// How long the stage may sleep.
    pub(super) fn patience(&self, clock: &Clock) -> Option<Duration> {
        let left_ns = self.look_ns?.saturating_sub(clock.now_ns());
        Some(Duration::from_nanos(
            u64::try_from(left_ns).unwrap_or(0).max(1_000_000),
        ))
    }

    /// Looks at the rules that wait for data, if it is time.
    pub(super) fn look_at_time(
        &mut self,
        is_drained: bool,
        clock: &Clock,
        recorder: &mut impl Recorder,
    ) {
        let Some(look_ns) = self.look_ns else { return };
        let now_ns = clock.now_ns();
        if now_ns < look_ns || (!is_drained && now_ns < look_ns.saturating_add(BEHIND_MAX_NS)) {
            return;
        }
        self.look_after(now_ns, 1, recorder);
    }

    /// When the rules that wait for data are to be looked at next, ns; `None`: none waits.
    pub(super) fn due_ns(&self) -> Option<i64> {
        self.look_ns
    }

    /// Looks at the rules that wait for data; again at the next deadline, within so many times the time that usually lies
    /// between two looks.
    pub(super) fn look_after(&mut self, now_ns: i64, times: i64, recorder: &mut impl Recorder) {
        let tally = &mut self.tally;
        let silent_ns = now_ns.saturating_sub(MARGIN_NS);
        let complete_ns = now_ns.saturating_sub(LATENESS_NS);
        self.judge.tick(silent_ns, complete_ns, |rule, moved| {
            tally.add(rule, &moved);
            recorder.record_alert(&without_sample(rule, moved, now_ns));
        });
        let next = self.judge.deadline_ns().unwrap_or(i64::MAX);
        let after = |ns: i64| now_ns.saturating_add(ns.saturating_mul(times));
        self.look_ns = Some(
            next.saturating_add(MARGIN_NS)
                .clamp(after(LOOK_MIN_NS), after(LOOK_MAX_NS)),
        );
    }

    /// Whether somebody wants something.
    pub(super) fn has_orders(&self) -> bool {
        self.commands
            .as_ref()
            .is_some_and(|commands| !commands.is_empty())
    }

    /// Does what people want.
    pub(super) fn obey(&mut self, clock: &Clock, recorder: &mut impl Recorder) {
        for order in std::mem::take(&mut self.orders) {
            // What was asked of a rule that there is no more is of no interest any more.
            let _ = self.obey_one(&order, clock, recorder);
        }
        while let Some(command) = self.commands.as_ref().and_then(|c| c.try_recv().ok()) {
            let answer = self.obey_one(&command.order, clock, recorder);
            // Who does not wait any more needs no answer.
            let _ = command.answer.try_send(answer);
        }
    }

    fn obey_one(
        &mut self,
        order: &Order,
        clock: &Clock,
        recorder: &mut impl Recorder,
    ) -> crate::alert::Answer {
        let now_ns = clock.now_ns();
        let tally = &mut self.tally;
        let mut silences = Vec::new();
        let answer = self.judge.obey(
            order,
            now_ns,
            |rule, moved| {
                tally.add(rule, &moved);
                recorder.record_alert(&without_sample(rule, moved, now_ns));
            },
            |silence| silences.push(silence.clone()),
        );
        for silence in &silences {
            recorder.record_silence(silence, now_ns);
        }
        answer
    }

    /// Nothing comes any more: what still waits is judged. Says where the rules stand at the end, those too that are
    /// pending.
    pub(super) fn finish(&mut self, clock: &Clock, recorder: &mut impl Recorder) {
        let (now_ns, tally) = (clock.now_ns(), &mut self.tally);
        self.judge.tick(i64::MIN, i64::MAX, |rule, moved| {
            tally.add(rule, &moved);
            recorder.record_alert(&without_sample(rule, moved, now_ns));
        });
        let states: Vec<(String, RuleMemory)> = self
            .judge
            .memories()
            .map(|(name, memory)| (name.to_owned(), memory))
            .collect();
        for (counts, (_, state)) in self.tally.counts.iter_mut().zip(&states) {
            counts.is_active = state.is_active();
        }
        for (counts, late) in self.tally.counts.iter_mut().zip(self.judge.late()) {
            counts.late = late;
        }
        if !states.is_empty() {
            recorder.record_states(&states, clock.now_ns());
        }
    }
}

impl RuleCounts {
    fn add(&mut self, moved: &Moved) {
        match moved.change {
            Change::Fired => self.fired += 1,
            Change::Cleared => self.cleared += 1,
            Change::Acknowledged => self.acknowledged += 1,
            Change::Subsided | Change::Resumed | Change::Unsilenced => {}
        }
        self.silenced += u64::from(moved.silenced);
    }
}

/// A change that no sample made.
fn without_sample(rule: usize, moved: Moved, seen_ns: i64) -> Alert {
    Alert {
        rule,
        moved,
        frame: None,
        read_ns: moved.time_ns,
        seen_ns,
    }
}
