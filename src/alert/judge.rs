//! All rules of a run, moved on by what comes, by time, and by people.
//!
//! **Always holds.** Each rule sees the samples of its channel in their order; what one rule does depends on no other.
//!
//! **Must not know.** Where samples come from, and who is told.

use super::control::{ControlError, Order, RuleStanding};
use super::memory::{Memory, RuleMemory};
use super::rule::{Moved, RuleState};
use super::silence::{Silence, SilenceMemory};
use super::{RuleOptions, Severity};

/// One channel's samples in a block.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// The values.
    pub values: &'a [f64],
    /// The smallest that is not NaN; +∞ if there is none.
    pub min: f64,
    /// The largest that is not NaN; −∞ if there is none.
    pub max: f64,
}

/// The rules and where they stand.
#[derive(Debug, Clone)]
pub struct Judge {
    names: Vec<(String, Severity)>,
    rules: Vec<RuleState>,
    /// Those that time alone can change.
    waiting: Vec<usize>,
    /// Silences that people declared, to be taken back.
    silences: Vec<SilenceMemory>,
}

impl Judge {
    /// Rules that go on from where they stood. Those that wait for data wait from `start_ns` on.
    #[must_use]
    pub fn new(
        options: &[RuleOptions],
        silences: &[Silence],
        memory: &Memory,
        start_ns: i64,
    ) -> Self {
        let mut rules: Vec<RuleState> = options
            .iter()
            .map(|rule| RuleState::new(rule, start_ns))
            .collect();
        for silence in silences {
            for rule in &silence.rules {
                if let Some(rule) = rules.get_mut(*rule) {
                    rule.silence(silence.from_ns, silence.to_ns);
                }
            }
        }
        for (options, rule) in options.iter().zip(&mut rules) {
            for silence in memory.silences.iter().filter(|s| s.rule == options.name) {
                rule.silence(silence.from_ns, silence.to_ns);
            }
            if let Some(memory) = memory.rules.get(&options.name) {
                rule.restore(memory);
            }
        }
        let waiting = (0..rules.len())
            .filter(|rule| rules[*rule].waits())
            .collect();
        Self {
            names: options
                .iter()
                .map(|rule| (rule.name.clone(), rule.severity))
                .collect(),
            rules,
            waiting,
            silences: memory.silences.clone(),
        }
    }

    /// The rules in `watching` look at samples of their channel. `changed` is told which rule did what, and the
    /// sample's place.
    pub fn look(
        &mut self,
        watching: &[usize],
        column: &Column<'_>,
        time_ns: impl Fn(usize) -> i64,
        mut changed: impl FnMut(usize, usize, Moved),
    ) {
        for &rule in watching {
            let state = &mut self.rules[rule];
            if !state.is_settled_by(column.min, column.max) {
                state.advance(column.values, &time_ns, |place, moved| {
                    changed(rule, place, moved);
                });
            }
        }
    }

    /// The channels of a rule over a condition, by source and place; of another there are none.
    #[must_use]
    pub fn places(&self, rule: usize) -> Vec<(usize, usize)> {
        self.rules[rule].places()
    }

    /// Says which of a rule's [`Judge::places`] come in one lane; the lane's number in that rule.
    pub fn add_lane(&mut self, rule: usize, places: &[usize]) -> usize {
        let lane = self.rules[rule].add_lane(places);
        self.waiting = (0..self.rules.len())
            .filter(|rule| self.rules[*rule].waits())
            .collect();
        lane
    }

    /// A lane of a rule over a condition has come on: `values` gives each of its places' samples. `changed` is told
    /// the sample's place in the lane, if the rule looks at one lane alone.
    pub fn join<'v>(
        &mut self,
        (rule, lane): (usize, usize),
        len: usize,
        time_ns: impl Fn(usize) -> i64,
        values: impl Fn(usize) -> &'v [f64],
        changed: impl FnMut(Option<usize>, Moved),
    ) {
        self.rules[rule].join(lane, len, time_ns, values, changed);
    }

    /// Time has passed up to `now_ns`, and nothing has come that was not looked at. What comes from now on is
    /// not older than `complete_ns`.
    pub fn tick(&mut self, now_ns: i64, complete_ns: i64, mut changed: impl FnMut(usize, Moved)) {
        for &rule in &self.waiting {
            self.rules[rule].tick(now_ns, |moved| changed(rule, moved));
            self.rules[rule].pass(complete_ns, |moved| changed(rule, moved));
        }
    }

    /// Samples that came too late to be judged in their order, by rule.
    pub fn late(&self) -> impl Iterator<Item = u64> {
        self.rules.iter().map(RuleState::late)
    }

    /// Whether time alone can change any rule.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When time alone will change a rule next; `None`: never.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<i64> {
        let deadlines = self.waiting.iter();
        deadlines
            .filter_map(|rule| self.rules[*rule].deadline_ns())
            .min()
    }

    /// Does what somebody asks for. `changed` is told what rules did, `silenced` which silences there are now.
    ///
    /// # Errors
    /// If there is no such rule, or nothing to be done about it.
    pub fn obey(
        &mut self,
        order: &Order,
        now_ns: i64,
        mut changed: impl FnMut(usize, Moved),
        mut silenced: impl FnMut(&SilenceMemory),
    ) -> Result<Vec<RuleStanding>, ControlError> {
        match order {
            Order::List => Ok(self.standings(now_ns)),
            Order::Acknowledge { rule } => {
                let place = self.place(rule)?;
                let done = self.rules[place].acknowledge(now_ns, |moved| changed(place, moved));
                if done {
                    return Ok(vec![self.standing(place, now_ns)]);
                }
                Err(ControlError::NotActive { rule: rule.clone() })
            }
            Order::Silence {
                rule,
                until_ns,
                reason,
            } => {
                let place = self.place(rule)?;
                let silence = SilenceMemory {
                    id: format!("{now_ns}-{rule}"),
                    rule: rule.clone(),
                    from_ns: now_ns,
                    to_ns: *until_ns,
                    reason: reason.clone(),
                };
                self.rules[place].silence(silence.from_ns, silence.to_ns);
                silenced(&silence);
                self.silences.retain(|silence| silence.to_ns > now_ns);
                self.silences.push(silence);
                Ok(vec![self.standing(place, now_ns)])
            }
            Order::Unsilence { rule } => {
                let place = self.place(rule)?;
                let state = &mut self.rules[place];
                let mut any = false;
                for silence in &mut self.silences {
                    if silence.rule != *rule || silence.to_ns <= now_ns {
                        continue;
                    }
                    state.unsilence(silence.from_ns, silence.to_ns);
                    // What was silent stays so: the silence ends now.
                    silence.to_ns = now_ns;
                    state.silence(silence.from_ns, now_ns);
                    silenced(silence);
                    any = true;
                }
                if any {
                    return Ok(vec![self.standing(place, now_ns)]);
                }
                Err(ControlError::NotSilenced { rule: rule.clone() })
            }
        }
    }

    /// What is to be known of every rule that is anything but quiet, by name.
    pub fn memories(&self) -> impl Iterator<Item = (&str, RuleMemory)> {
        self.names
            .iter()
            .zip(&self.rules)
            .map(|((name, _), rule)| (name.as_str(), rule.memory()))
    }

    fn place(&self, rule: &str) -> Result<usize, ControlError> {
        self.names
            .iter()
            .position(|(name, _)| name == rule)
            .ok_or_else(|| {
                ControlError::unknown(rule, self.names.iter().map(|(name, _)| name.as_str()))
            })
    }

    fn standings(&self, now_ns: i64) -> Vec<RuleStanding> {
        (0..self.rules.len())
            .map(|rule| self.standing(rule, now_ns))
            .collect()
    }

    fn standing(&self, rule: usize, now_ns: i64) -> RuleStanding {
        let (name, severity) = &self.names[rule];
        RuleStanding {
            rule: name.clone(),
            severity: severity.name().to_owned(),
            state: self.rules[rule].memory(),
            silenced_until_ns: self.rules[rule].silenced_until_ns(now_ns),
        }
    }
}
