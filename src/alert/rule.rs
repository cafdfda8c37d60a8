//! A threshold rule's state, moved on by samples.
//!
//! Quiet → (bad value) → pending → (bad for as long as `hold`) → firing → (value beyond `clear`) → quiet.
//!
//! NaN is neither good nor bad: it leaves the state as it is. A gap neither: a rule pending before a
//! gap fires on the first bad sample after it, if `hold` has passed by then, since nothing says that the
//! value was good in between.

use super::{RuleOptions, Side};

/// What an alert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It fired.
    Fired,
    /// It cleared.
    Cleared,
}

impl Change {
    /// Its name in the journal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Cleared => "cleared",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Quiet,
    /// Bad since the time given.
    Pending(i64),
    Firing,
}

/// A rule and where it stands.
#[derive(Debug, Clone)]
pub struct RuleState {
    side: Side,
    limit: f64,
    clear: f64,
    hold_ns: i64,
    state: State,
}

impl RuleState {
    /// A rule that has seen nothing.
    #[must_use]
    pub fn new(options: &RuleOptions) -> Self {
        Self {
            side: options.side,
            limit: options.limit,
            clear: options.clear,
            hold_ns: i64::try_from(options.hold.as_nanos()).unwrap_or(i64::MAX),
            state: State::Quiet,
        }
    }

    /// Whether it fires now.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.state == State::Firing
    }

    /// Whether values between `min` and `max` can change nothing, so that they need no look at each.
    #[must_use]
    pub fn is_settled_by(&self, min: f64, max: f64) -> bool {
        let worst = if self.side == Side::Above { max } else { min };
        let best = if self.side == Side::Above { min } else { max };
        match self.state {
            State::Quiet => !self.is_bad(worst),
            State::Firing => !self.is_clear(best),
            State::Pending(_) => false,
        }
    }

    /// Moves on by samples in order; `changed` is told each change with the sample's place.
    pub fn advance(
        &mut self,
        values: &[f64],
        time_ns: impl Fn(usize) -> i64,
        mut changed: impl FnMut(usize, Change),
    ) {
        for (index, value) in values.iter().enumerate() {
            if let Some(change) = self.step(*value, || time_ns(index)) {
                changed(index, change);
            }
        }
    }

    fn step(&mut self, value: f64, time_ns: impl FnOnce() -> i64) -> Option<Change> {
        if value.is_nan() {
            return None;
        }
        match self.state {
            State::Firing if self.is_clear(value) => {
                self.state = State::Quiet;
                Some(Change::Cleared)
            }
            State::Firing => None,
            State::Quiet | State::Pending(_) if !self.is_bad(value) => {
                self.state = State::Quiet;
                None
            }
            State::Quiet if self.hold_ns > 0 => {
                self.state = State::Pending(time_ns());
                None
            }
            State::Pending(since_ns) if time_ns().saturating_sub(since_ns) < self.hold_ns => None,
            State::Quiet | State::Pending(_) => {
                self.state = State::Firing;
                Some(Change::Fired)
            }
        }
    }

    fn is_bad(&self, value: f64) -> bool {
        match self.side {
            Side::Above => value > self.limit,
            Side::Below => value < self.limit,
        }
    }

    fn is_clear(&self, value: f64) -> bool {
        match self.side {
            Side::Above => value < self.clear,
            Side::Below => value > self.clear,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::alert::Severity;

    fn rule(side: Side, limit: f64, clear: f64, hold_ns: u64) -> RuleState {
        RuleState::new(&RuleOptions {
            name: "r".to_owned(),
            source: 0,
            channel: 0,
            side,
            limit,
            clear,
            hold: Duration::from_nanos(hold_ns),
            severity: Severity::Info,
            message: String::new(),
        })
    }

    /// Changes as `+` and `-` with the place of their sample; sample `i` is at `10 i` ns.
    fn changes(rule: &mut RuleState, values: &[f64]) -> String {
        let mut found = String::new();
        rule.advance(
            values,
            |index| index as i64 * 10,
            |index, change| {
                found += &format!(
                    "{}{index} ",
                    if change == Change::Fired { '+' } else { '-' }
                );
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

    proptest::proptest! {
        /// Looking only into blocks that are not settled gives the same changes as looking at every sample.
        #[test]
        fn skipping_settled_blocks_loses_no_change(
            values in proptest::collection::vec(-3.0..3.0_f64, 0..400), cut in 1..50_usize,
            hold_ns in 0..60_u64, clear in 0.0..1.0_f64,
        ) {
            let mut each = rule(Side::Above, 1.0, clear, hold_ns);
            let expected = changes(&mut each, &values);
            let mut skipping = rule(Side::Above, 1.0, clear, hold_ns);
            let mut found = String::new();
            for (block, values) in values.chunks(cut).enumerate() {
                let summary = crate::stage::statistics::summarize(values);
                if !skipping.is_settled_by(summary.min, summary.max) {
                    let place = |index| block * cut + index;
                    skipping.advance(values, |index| place(index) as i64 * 10, |index, change| {
                        found += &format!("{}{} ", if change == Change::Fired { '+' } else { '-' }, place(index));
                    });
                }
            }
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
