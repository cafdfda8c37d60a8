//! A rule: what it looks at, and where it stands.
//!
//! What each kind makes of samples that are no plain numbers stands in the head of its file in `watch/`. In short:
//! NaN changes nothing, except that for a rule that waits for data it is data; an infinity is a value as good as any,
//! except that no trend goes through it.

use super::machine::{Change, Machine, Standing, Verdict};
use super::memory::RuleMemory;
use super::silence::Spans;
use super::watch::{Forecast, Joined, NoData, Rate, Stuck};
use super::{Kind, Limits, RuleOptions, Side};

/// What a rule did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// What.
    pub change: Change,
    /// When, by the samples' own times, UTC ns.
    pub time_ns: i64,
    /// The value that did it, as the rule's kind understands it: a rate, a forecast, seconds.
    pub value: f64,
    /// Nobody is to be told.
    pub silenced: bool,
    /// Where the rule stands now.
    pub state: RuleMemory,
}

#[derive(Debug, Clone)]
enum Watch {
    Threshold(Limits),
    Rate(Rate),
    Forecast(Box<Forecast>),
    Stuck(Stuck),
    NoData(NoData),
    Joined(Box<Joined>),
}

/// A rule and where it stands.
#[derive(Debug, Clone)]
pub struct RuleState {
    watch: Watch,
    machine: Machine,
    silences: Spans,
    /// It fired in silence, and nobody was told yet.
    untold: bool,
}

impl Limits {
    pub(super) fn is_bad(&self, value: f64) -> bool {
        match self.side {
            Side::Above => value > self.limit,
            Side::Below => value < self.limit,
        }
    }

    pub(super) fn is_clear(&self, value: f64) -> bool {
        match self.side {
            Side::Above => value < self.clear,
            Side::Below => value > self.clear,
        }
    }

    pub(super) fn verdict(&self, value: f64) -> Verdict {
        if value.is_nan() {
            Verdict::Unknown
        } else if self.is_bad(value) {
            Verdict::Bad
        } else if self.is_clear(value) {
            Verdict::Clear
        } else {
            Verdict::Between
        }
    }
}

impl RuleState {
    /// A rule that has seen nothing. One that waits for data waits from `start_ns` on.
    #[must_use]
    pub fn new(options: &RuleOptions, start_ns: i64) -> Self {
        let watch = match &options.kind {
            Kind::Threshold(limits) => Watch::Threshold(*limits),
            Kind::Rate { limits, over } => Watch::Rate(Rate::new(*limits, *over)),
            Kind::Forecast {
                limits,
                within,
                over,
            } => Watch::Forecast(Box::new(Forecast::new(*limits, *within, *over))),
            Kind::Stuck { after, tolerance } => Watch::Stuck(Stuck::new(*after, *tolerance)),
            Kind::NoData { after } => Watch::NoData(NoData::new(*after, start_ns)),
            Kind::Expression { when, clear } => {
                Watch::Joined(Box::new(Joined::new(when, clear.as_ref())))
            }
        };
        Self {
            watch,
            machine: Machine::new(options),
            silences: Spans::default(),
            untold: false,
        }
    }

    /// Whether it is an alert now.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.machine.is_active()
    }

    /// Where it stands.
    #[must_use]
    pub fn memory(&self) -> RuleMemory {
        RuleMemory {
            untold: self.untold,
            ..self.machine.memory()
        }
    }

    /// Goes on from where it stood.
    pub fn restore(&mut self, memory: &RuleMemory) {
        self.machine.restore(memory);
        self.untold = memory.untold;
    }

    /// Nobody is to be told of what happens in this time.
    pub fn silence(&mut self, from_ns: i64, to_ns: i64) {
        self.silences.add(from_ns, to_ns);
    }

    /// Takes a silence back.
    pub fn unsilence(&mut self, from_ns: i64, to_ns: i64) {
        self.silences.remove(from_ns, to_ns);
    }

    /// When its silence at this time ends, if there is one.
    #[must_use]
    pub fn silenced_until_ns(&self, time_ns: i64) -> Option<i64> {
        self.silences.until_ns(time_ns)
    }

    /// Whether values between `min` and `max` can change nothing, so that they need no look at each.
    #[must_use]
    pub fn is_settled_by(&self, min: f64, max: f64) -> bool {
        if self.untold {
            return false;
        }
        match &self.watch {
            Watch::Threshold(limits) => {
                let (worst, best) = match limits.side {
                    Side::Above => (max, min),
                    Side::Below => (min, max),
                };
                match self.machine.standing() {
                    Standing::Firing => !limits.is_clear(best),
                    _ => !limits.is_bad(worst) && self.machine.is_settled_without_bad(),
                }
            }
            _ => false,
        }
    }

    /// Moves on by samples in order; `changed` is told each change with the sample's place.
    pub fn advance(
        &mut self,
        values: &[f64],
        time_ns: impl Fn(usize) -> i64,
        mut changed: impl FnMut(usize, Moved),
    ) {
        if let Watch::NoData(no_data) = &mut self.watch
            && !self.untold
            && self.machine.standing() == Standing::Quiet
            && no_data.passes((0..values.len()).map(&time_ns))
        {
            return;
        }
        for (index, value) in values.iter().enumerate() {
            // An alert cannot come of a good sample: no time needs to be asked for.
            if self.untold {
                self.end_silence(time_ns(index), *value, |moved| changed(index, moved));
            }
            if self.is_idle_at(*value) {
                continue;
            }
            self.step(*value, time_ns(index), |moved| changed(index, moved));
        }
    }

    /// A quiet threshold and a value that is not bad: the common case, kept short.
    fn is_idle_at(&self, value: f64) -> bool {
        match &self.watch {
            Watch::Threshold(limits) => {
                self.machine.standing() == Standing::Quiet && !limits.is_bad(value)
            }
            _ => false,
        }
    }

    fn step(&mut self, value: f64, time_ns: i64, mut changed: impl FnMut(Moved)) {
        if matches!(self.watch, Watch::NoData(_)) {
            self.run_out(time_ns, &mut changed);
        }
        let (verdict, shown) = match &mut self.watch {
            Watch::Threshold(limits) => (limits.verdict(value), value),
            Watch::Rate(rate) => rate.look(value, time_ns),
            Watch::Forecast(forecast) => forecast.look(value, time_ns),
            Watch::Stuck(stuck) => stuck.look(value, time_ns),
            Watch::NoData(no_data) => (Verdict::Clear, no_data.come(time_ns)),
            // It is given whole lanes: see `join`.
            Watch::Joined(_) => return,
        };
        self.apply(time_ns, verdict, shown, changed);
    }

    /// Moves on by the verdict of whoever judges for it.
    fn apply(&mut self, time_ns: i64, verdict: Verdict, value: f64, changed: impl FnOnce(Moved)) {
        if let Some(change) = self.machine.step(time_ns, verdict) {
            self.tell(change, time_ns, value, changed);
        }
    }

    fn tell(&mut self, change: Change, time_ns: i64, value: f64, told: impl FnOnce(Moved)) {
        let covered = self.silences.cover(time_ns);
        let silenced = covered || self.untold;
        match change {
            Change::Fired => self.untold = covered,
            Change::Cleared => self.untold = false,
            _ => {}
        }
        told(Moved {
            change,
            time_ns,
            value,
            silenced: if change == Change::Fired {
                covered
            } else {
                silenced
            },
            state: self.memory(),
        });
    }

    /// What fired in silence is told when the silence is over.
    fn end_silence(&mut self, time_ns: i64, value: f64, told: impl FnOnce(Moved)) {
        if self.silences.cover(time_ns) {
            return;
        }
        self.untold = false;
        if self.machine.is_active() {
            self.tell(Change::Unsilenced, time_ns, value, told);
        }
    }

    /// No sample has come before `until_ns`: a rule that waits for one may fire.
    fn run_out(&mut self, until_ns: i64, mut changed: impl FnMut(Moved)) {
        let Watch::NoData(no_data) = &self.watch else {
            return;
        };
        let no_data = no_data.clone();
        // Quiet, pending, firing: no more steps than that.
        for _ in 0..3 {
            let deadline_ns = no_data.deadline_ns();
            let at_ns = match self.machine.standing() {
                Standing::Firing => return,
                Standing::Pending => self
                    .machine
                    .due_ns()
                    .map_or(deadline_ns, |due| due.max(deadline_ns)),
                Standing::Quiet | Standing::Subsided => deadline_ns,
            };
            if at_ns >= until_ns {
                return;
            }
            let waited = no_data.waited_s(at_ns);
            self.apply(at_ns, Verdict::Bad, waited, &mut changed);
        }
    }

    /// The channels of a rule over a condition, by source and place, each once; of another there are none.
    #[must_use]
    pub fn places(&self) -> Vec<(usize, usize)> {
        match &self.watch {
            Watch::Joined(joined) => joined.places().collect(),
            _ => Vec::new(),
        }
    }

    /// Says which of [`RuleState::places`] come in one lane; the lane's number in this rule.
    pub fn add_lane(&mut self, places: &[usize]) -> usize {
        match &mut self.watch {
            Watch::Joined(joined) => joined.add_stream(places),
            _ => 0,
        }
    }

    /// A lane of a rule over a condition has come on: `values` gives each of its places' samples. `changed` is told the
    /// sample's place in the lane, if the rule looks at one lane alone.
    pub fn join<'v>(
        &mut self,
        lane: usize,
        len: usize,
        time_ns: impl Fn(usize) -> i64,
        values: impl Fn(usize) -> &'v [f64],
        changed: impl FnMut(Option<usize>, Moved),
    ) {
        let Watch::Joined(joined) = &mut self.watch else {
            return;
        };
        joined.take(lane, len, time_ns, values);
        let complete_ns = joined.complete_ns();
        self.judge_up_to(complete_ns, changed);
    }

    /// Nothing will come any more that is older than this: what waits for it need not wait.
    pub fn pass(&mut self, complete_ns: i64, mut changed: impl FnMut(Moved)) {
        if matches!(&self.watch, Watch::Joined(joined) if joined.joins()) {
            self.judge_up_to(complete_ns, |_, moved| changed(moved));
        }
    }

    fn judge_up_to(&mut self, up_to_ns: i64, mut changed: impl FnMut(Option<usize>, Moved)) {
        let Watch::Joined(joined) = &mut self.watch else {
            return;
        };
        let (count, joins) = (joined.evaluate(up_to_ns), joined.joins());
        for index in 0..count {
            let Watch::Joined(joined) = &self.watch else {
                return;
            };
            let (time_ns, verdict, value) = joined.moment(index);
            let place = (!joins).then_some(index);
            if self.untold && verdict != Verdict::Unknown {
                self.end_silence(time_ns, value, |moved| changed(place, moved));
            }
            self.apply(time_ns, verdict, value, |moved| changed(place, moved));
        }
    }

    /// Samples that came too late to be judged in their order.
    #[must_use]
    pub fn late(&self) -> u64 {
        match &self.watch {
            Watch::Joined(joined) => joined.late(),
            _ => 0,
        }
    }

    /// Whether time alone can change it.
    #[must_use]
    pub fn waits(&self) -> bool {
        match &self.watch {
            Watch::NoData(_) => true,
            Watch::Joined(joined) => joined.joins(),
            _ => false,
        }
    }

    /// When time alone will change it next, if nothing comes; `None` if never.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<i64> {
        let Watch::NoData(no_data) = &self.watch else {
            return None;
        };
        match self.machine.standing() {
            Standing::Firing => {
                let end = self.silences.until_ns(self.machine.memory().since_ns?);
                end.filter(|_| self.untold)
            }
            Standing::Pending => self.machine.due_ns(),
            Standing::Quiet | Standing::Subsided => Some(no_data.deadline_ns()),
        }
    }

    /// Time has passed up to `now_ns`, and nothing has come.
    pub fn tick(&mut self, now_ns: i64, mut changed: impl FnMut(Moved)) {
        let Watch::NoData(no_data) = &self.watch else {
            return;
        };
        let waited = no_data.waited_s(now_ns);
        self.run_out(now_ns.saturating_add(1), &mut changed);
        if self.untold {
            self.end_silence(now_ns, waited, changed);
        }
    }

    /// Somebody has seen it. False if there is nothing to acknowledge.
    pub fn acknowledge(&mut self, now_ns: i64, mut changed: impl FnMut(Moved)) -> bool {
        if !self.machine.acknowledge() {
            return false;
        }
        self.tell(Change::Acknowledged, now_ns, f64::NAN, &mut changed);
        if let Some(change) = self.machine.clear_acknowledged(now_ns) {
            self.tell(change, now_ns, f64::NAN, changed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(side: Side, limit: f64, clear: f64, hold_ns: u64) -> RuleState {
        let kind = Kind::Threshold(Limits { side, limit, clear });
        let mut options = RuleOptions::new("r", (0, 0), kind);
        options.hold = std::time::Duration::from_nanos(hold_ns);
        RuleState::new(&options, 0)
    }

    /// Changes as `+` and `-` with the place of their sample; sample `i` is at `10 i` ns.
    fn changes(rule: &mut RuleState, values: &[f64]) -> String {
        let mut found = String::new();
        rule.advance(
            values,
            |index| index as i64 * 10,
            |index, moved| {
                let fired = moved.change == Change::Fired;
                found += &format!("{}{index} ", if fired { '+' } else { '-' });
            },
        );
        found
    }

    #[test]
    fn hysteresis_keeps_an_alert_from_fluttering() {
        let mut above = rule(Side::Above, 2.0, 1.0, 0);
        assert_eq!(
            changes(&mut above, &[2.0, 2.1, 1.5, 2.1, 1.0, 0.9, 0.9]),
            "+1 -5 "
        );
        let mut below = rule(Side::Below, 2.0, 3.0, 0);
        assert_eq!(changes(&mut below, &[2.0, 1.9, 2.5, 3.0, 3.1]), "+1 -4 ");
    }

    #[test]
    fn a_value_must_stay_bad_for_the_whole_hold() {
        let mut held = rule(Side::Above, 2.0, 2.0, 20);
        assert_eq!(changes(&mut held, &[3.0, 3.0, 1.0, 3.0, 3.0, 3.0]), "+5 ");
    }

    #[test]
    fn nan_changes_nothing_and_infinity_is_a_value() {
        let mut above = rule(Side::Above, 2.0, 2.0, 20);
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!(changes(&mut above, &[3.0, nan, 3.0, nan, 0.0]), "+2 -4 ");
        assert_eq!(changes(&mut above, &[inf, inf, inf]), "+2 ");
    }

    #[test]
    fn a_block_whose_extremes_are_harmless_needs_no_look() {
        let mut above = rule(Side::Above, 2.0, 1.0, 0);
        assert!(above.is_settled_by(-5.0, 2.0));
        assert!(!above.is_settled_by(-5.0, 2.1));
        changes(&mut above, &[3.0]);
        assert!(above.is_firing());
        assert!(above.is_settled_by(1.0, 9.0));
        assert!(!above.is_settled_by(0.9, 9.0));
    }
}
