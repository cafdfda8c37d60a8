//! A rule's state, moved on by verdicts on its samples.
//!
//! ```text
//! quiet ── bad ──► pending ── bad for `for`, `cooldown` over ──► firing
//! firing ── clear ──► quiet                            (without `keep` and `latch`)
//! firing ── clear ──► subsided ── clear for `keep` ──► quiet
//! subsided ── bad ──► firing
//! a latched rule leaves `subsided` only when it has been acknowledged, too
//! ```
//!
//! Becoming pending, and no longer pending, is no change of an alert, since there is none yet: it makes no event.
//!
//! **Always holds.** What is unknown (NaN) changes nothing. A gap is neither good nor bad: a rule pending before a
//! gap fires on the first bad sample after it, if `for` has passed by then, since nothing says that the value was good
//! in between. If time steps back, every wait begins anew from there: nothing waits for a time that is long gone.
//!
//! **Must not know.** What a verdict is made of.

use serde::{Deserialize, Serialize};

use super::memory::RuleMemory;
use super::{RuleOptions, ns};

/// What is made of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is bad.
    Bad,
    /// Not bad, and not so good that an alert clears.
    Between,
    /// Good.
    Clear,
    /// Neither.
    Unknown,
}

/// What an alert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It fired.
    Fired,
    /// Its cause has passed; it stays an alert, for `keep`, or until it is acknowledged.
    Subsided,
    /// Its cause is back, before it had cleared.
    Resumed,
    /// It cleared.
    Cleared,
    /// Somebody acknowledged it.
    Acknowledged,
    /// It fired in silence, and the silence is over.
    Unsilenced,
}

impl Change {
    /// All changes with their names in the configuration.
    pub const NAMES: [(&'static str, Change); 6] = [
        ("fired", Self::Fired),
        ("subsided", Self::Subsided),
        ("resumed", Self::Resumed),
        ("cleared", Self::Cleared),
        ("acknowledged", Self::Acknowledged),
        ("unsilenced", Self::Unsilenced),
    ];

    /// Its name in the journal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Subsided => "subsided",
            Self::Resumed => "resumed",
            Self::Cleared => "cleared",
            Self::Acknowledged => "acknowledged",
            Self::Unsilenced => "unsilenced",
        }
    }
}

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// No alert.
    #[default]
    Quiet,
    /// Bad, but not for long enough.
    Pending,
    /// An alert.
    Firing,
    /// An alert whose cause has passed.
    Subsided,
}

#[derive(Debug, Clone)]
pub(super) struct Machine {
    hold_ns: i64,
    keep_ns: i64,
    cooldown_ns: i64,
    latch: bool,
    standing: Standing,
    /// Since when, UTC ns.
    since_ns: i64,
    /// When it fired last.
    fired_ns: Option<i64>,
    acknowledged: bool,
}

impl Machine {
    pub(super) fn new(options: &RuleOptions) -> Self {
        Self {
            hold_ns: ns(options.hold),
            keep_ns: ns(options.keep),
            cooldown_ns: ns(options.cooldown),
            latch: options.latch,
            standing: Standing::Quiet,
            since_ns: i64::MIN,
            fired_ns: None,
            acknowledged: false,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.standing, Standing::Firing | Standing::Subsided)
    }

    pub(super) fn memory(&self) -> RuleMemory {
        RuleMemory {
            is: self.standing,
            since_ns: (self.standing != Standing::Quiet).then_some(self.since_ns),
            fired_ns: self.fired_ns,
            acknowledged: self.acknowledged,
            untold: false,
        }
    }

    pub(super) fn restore(&mut self, memory: &RuleMemory) {
        self.standing = memory.is;
        self.since_ns = memory.since_ns.unwrap_or(i64::MIN);
        self.fired_ns = memory.fired_ns;
        self.acknowledged = memory.acknowledged;
    }

    /// When it would fire if it stayed bad; `None` if it is not pending.
    pub(super) fn due_ns(&self) -> Option<i64> {
        let held = self.since_ns.saturating_add(self.hold_ns);
        (self.standing == Standing::Pending)
            .then(|| self.cooled_ns().map_or(held, |cooled| cooled.max(held)))
    }

    /// From when on it may fire again.
    fn cooled_ns(&self) -> Option<i64> {
        self.fired_ns
            .map(|fired| fired.saturating_add(self.cooldown_ns))
    }

    /// Moves on by a verdict on the sample at `time_ns`.
    pub(super) fn step(&mut self, time_ns: i64, verdict: Verdict) -> Option<Change> {
        if verdict == Verdict::Unknown {
            return None;
        }
        let is_bad = verdict == Verdict::Bad;
        match self.standing {
            Standing::Quiet | Standing::Pending if !is_bad => {
                self.standing = Standing::Quiet;
                None
            }
            Standing::Quiet | Standing::Pending => {
                if self.standing == Standing::Quiet || time_ns < self.since_ns {
                    (self.standing, self.since_ns) = (Standing::Pending, time_ns);
                }
                // A firing in the future of this sample was before the time stepped back.
                self.fired_ns = self.fired_ns.filter(|fired| *fired <= time_ns);
                if self.due_ns().is_none_or(|due| time_ns < due) {
                    return None;
                }
                (self.standing, self.since_ns) = (Standing::Firing, time_ns);
                self.fired_ns = Some(time_ns);
                self.acknowledged = false;
                Some(Change::Fired)
            }
            Standing::Firing if verdict == Verdict::Clear => {
                if self.keep_ns > 0 || (self.latch && !self.acknowledged) {
                    (self.standing, self.since_ns) = (Standing::Subsided, time_ns);
                    return Some(Change::Subsided);
                }
                self.standing = Standing::Quiet;
                Some(Change::Cleared)
            }
            Standing::Firing => None,
            Standing::Subsided if is_bad => {
                (self.standing, self.since_ns) = (Standing::Firing, time_ns);
                Some(Change::Resumed)
            }
            Standing::Subsided => {
                if self.keep_ns > 0 {
                    self.since_ns = self.since_ns.min(time_ns);
                }
                let kept = time_ns.saturating_sub(self.since_ns) >= self.keep_ns;
                if !kept || (self.latch && !self.acknowledged) {
                    return None;
                }
                self.standing = Standing::Quiet;
                Some(Change::Cleared)
            }
        }
    }

    /// Whether it can be, or cannot: it is no alert, or is acknowledged already.
    pub(super) fn acknowledge(&mut self) -> bool {
        let can = self.is_active() && !self.acknowledged;
        self.acknowledged |= can;
        can
    }

    /// Clears an alert that was only waiting to be acknowledged.
    pub(super) fn clear_acknowledged(&mut self, time_ns: i64) -> Option<Change> {
        let waits = self.standing == Standing::Subsided && self.latch && self.acknowledged;
        if waits && time_ns.saturating_sub(self.since_ns) >= self.keep_ns {
            self.standing = Standing::Quiet;
            return Some(Change::Cleared);
        }
        None
    }

    /// Whether values that are all not bad change nothing.
    pub(super) fn is_settled_without_bad(&self) -> bool {
        match self.standing {
            Standing::Quiet => true,
            Standing::Pending | Standing::Firing => false,
            Standing::Subsided => self.latch && !self.acknowledged && self.keep_ns == 0,
        }
    }
}
