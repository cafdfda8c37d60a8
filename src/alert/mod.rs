//! Alerts: rules, their states, and what becomes of an alert.
//!
//! [`Judge`] holds every rule. It is given the columns of blocks as they come, the time where a rule waits for
//! what does not come, and the orders of people ([`Control`]); it gives back each [`Change`] with what caused it.
//! A rule is a [`Kind`], which makes a verdict of every sample (`watch/`), and a machine (`machine.rs`), which makes
//! an alert of verdicts: `for`, `keep`, `latch`, `cooldown`, silences.
//!
//! **Always holds.** A rule follows its channel's samples by their own times and in their own order, so the
//! same samples give the same alerts at any speed and however they were cut into blocks. A rule never
//! waits: not for a disk, not for whoever is told. In the steady state nothing is allocated.
//!
//! **Must not know.** Devices, files, the network, who is told.

mod control;
mod judge;
mod machine;
mod memory;
mod rule;
mod silence;
mod template;
#[cfg(test)]
mod tests;
mod watch;

use std::time::Duration;

use crate::expression::Expression;

pub use control::{
    Answer, Command, Control, ControlError, Order, RuleStanding, channel as control_channel,
};
pub use judge::{Column, Judge};
pub use machine::{Change, Standing};
pub use memory::{Memory, RuleMemory};
pub use rule::{Moved, RuleState};
pub use silence::{Silence, SilenceMemory};
pub use template::{Template, TemplateError};

/// Which side of the limit is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Values above the limit fire.
    Above,
    /// Values below the limit fire.
    Below,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    /// All severities with their names in the configuration.
    pub const NAMES: [(&'static str, Severity); 3] = [
        ("info", Self::Info),
        ("warning", Self::Warning),
        ("critical", Self::Critical),
    ];

    /// Its name in the configuration and in the journal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, severity)| *severity)
    }
}

/// A limit with hysteresis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Which side of the limit is bad.
    pub side: Side,
    /// The limit.
    pub limit: f64,
    /// Where it clears again, on the good side of the limit or on it.
    pub clear: f64,
}

/// A condition over channels.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The condition.
    pub expression: Box<Expression>,
    /// Its inputs: each one's source, and its place in that.
    pub places: Vec<(usize, usize)>,
}

/// What a rule looks at.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The value is beyond a limit.
    Threshold(Limits),
    /// The value changes by more than the limit in a second, taken over a time.
    Rate {
        /// In the channel's unit a second.
        limits: Limits,
        /// The time over which the change is taken.
        over: Duration,
    },
    /// The trend of the value is beyond a limit within a time from now.
    Forecast {
        /// In the channel's unit.
        limits: Limits,
        /// So far ahead.
        within: Duration,
        /// The time over which the trend is taken.
        over: Duration,
    },
    /// The value has stayed the same.
    Stuck {
        /// For so long.
        after: Duration,
        /// Changes up to this are none.
        tolerance: f64,
    },
    /// No sample has come.
    NoData {
        /// For so long.
        after: Duration,
    },
    /// A condition holds.
    Expression {
        /// It is bad while this is true.
        when: Condition,
        /// It clears when this is true, and that is not; `None`: when that is not.
        clear: Option<Condition>,
    },
}

/// A rule.
#[derive(Debug, Clone)]
pub struct RuleOptions {
    /// Its name.
    pub name: String,
    /// The source watched, by its place in the plan.
    pub source: usize,
    /// The channel watched, by its place in the source.
    pub channel: usize,
    /// What it looks at.
    pub kind: Kind,
    /// How long it must be bad before it fires, by the samples' own times.
    pub hold: Duration,
    /// How long it stays an alert after it was good again.
    pub keep: Duration,
    /// The least time from one firing to the next.
    pub cooldown: Duration,
    /// Whether it stays an alert until somebody acknowledges it.
    pub latch: bool,
    /// How bad it is.
    pub severity: Severity,
    /// What else is to be known of it.
    pub labels: Vec<(String, String)>,
    /// What to say.
    pub message: Template,
    /// The notifiers to be told, by name; `None`: all that are not for named rules only.
    pub notify: Option<Vec<String>>,
}

impl RuleOptions {
    /// What a rule's message may name, beside `label.NAME`.
    pub const PLACEHOLDERS: [&'static str; 7] = [
        "value", "limit", "unit", "channel", "rule", "severity", "time",
    ];

    /// A rule of a kind with nothing but its name.
    #[must_use]
    pub fn new(name: &str, (source, channel): (usize, usize), kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            source,
            channel,
            message: Template::plain(kind.default_message()),
            kind,
            hold: Duration::ZERO,
            keep: Duration::ZERO,
            cooldown: Duration::ZERO,
            latch: false,
            severity: Severity::Warning,
            labels: Vec::new(),
            notify: None,
        }
    }

    /// Whether it looks at the column of this channel, by source and place. One over a condition looks at lanes.
    #[must_use]
    pub fn watches(&self, place: (usize, usize)) -> bool {
        let is_column = !matches!(self.kind, Kind::Expression { .. });
        is_column && (self.source, self.channel) == place
    }

    /// Whether it looks at this channel, by source and place, in whichever way.
    #[must_use]
    pub fn looks_at(&self, place: (usize, usize)) -> bool {
        match &self.kind {
            Kind::Expression { when, clear } => {
                let clear = clear.iter().flat_map(|clear| &clear.places);
                when.places.iter().chain(clear).any(|known| *known == place)
            }
            _ => self.watches(place),
        }
    }

    /// Whether it looks at any channel of this source.
    #[must_use]
    pub fn looks_at_source(&self, source: usize) -> bool {
        match &self.kind {
            Kind::Expression { when, clear } => {
                let clear = clear.iter().flat_map(|clear| &clear.places);
                when.places
                    .iter()
                    .chain(clear)
                    .any(|place| place.0 == source)
            }
            _ => self.source == source,
        }
    }

    /// The rule's message about a value.
    #[must_use]
    pub fn message(&self, channel: &str, unit: &str, value: f64, time_ns: i64) -> String {
        self.message.render(|name, out| match name {
            "value" => out.push_str(&number(value)),
            "limit" => out.push_str(&number(self.kind.limit())),
            "unit" => out.push_str(&self.kind.unit(unit)),
            "channel" => out.push_str(channel),
            "rule" => out.push_str(&self.name),
            "severity" => out.push_str(self.severity.name()),
            "time" => out.push_str(&crate::clock::rfc3339(time_ns)),
            other => {
                let label = other.strip_prefix("label.").unwrap_or_default();
                let found = self.labels.iter().find(|(known, _)| known == label);
                out.push_str(found.map_or("", |(_, value)| value));
            }
        })
    }
}

/// A number as people read it: up to six digits behind the point, and no zeros at the end.
#[must_use]
pub fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    if !text.contains('.') {
        return text;
    }
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "0" && value != 0.0 {
        return format!("{value:e}");
    }
    text.to_owned()
}

impl Kind {
    /// Its name in the configuration and in the journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Threshold(_) => "threshold",
            Self::Rate { .. } => "rate",
            Self::Forecast { .. } => "forecast",
            Self::Stuck { .. } => "stuck",
            Self::NoData { .. } => "no-data",
            Self::Expression { .. } => "expression",
        }
    }

    /// What stands for the limit: for kinds that wait, the wait in seconds; NaN if there is none.
    #[must_use]
    pub fn limit(&self) -> f64 {
        match self {
            Self::Threshold(limits) | Self::Rate { limits, .. } | Self::Forecast { limits, .. } => {
                limits.limit
            }
            Self::Stuck { after, .. } | Self::NoData { after } => after.as_secs_f64(),
            Self::Expression { .. } => f64::NAN,
        }
    }

    /// The unit of value and limit.
    #[must_use]
    pub fn unit(&self, of_channel: &str) -> String {
        match self {
            Self::Threshold(_) | Self::Forecast { .. } | Self::Expression { .. } => {
                of_channel.to_owned()
            }
            Self::Rate { .. } => format!("{of_channel}/s"),
            Self::Stuck { .. } | Self::NoData { .. } => "s".to_owned(),
        }
    }

    /// What is said if the rule says nothing else.
    #[must_use]
    pub fn default_message(&self) -> &'static [&'static str] {
        match self {
            Self::Threshold(_) => &[
                "",
                "channel",
                " is ",
                "value",
                " ",
                "unit",
                ", its limit is ",
                "limit",
                " ",
                "unit",
            ],
            Self::Rate { .. } => &[
                "",
                "channel",
                " changes by ",
                "value",
                " ",
                "unit",
                ", its limit is ",
                "limit",
                " ",
                "unit",
            ],
            Self::Forecast { .. } => &[
                "",
                "channel",
                " will be ",
                "value",
                " ",
                "unit",
                ", its limit is ",
                "limit",
                " ",
                "unit",
            ],
            Self::Stuck { .. } => &["", "channel", " has not changed for ", "value", " s"],
            Self::Expression { .. } => &["", "rule", ": ", "channel", " is ", "value", " ", "unit"],
            Self::NoData { .. } => &["no data of ", "channel", " for ", "value", " s"],
        }
    }
}

/// A change of an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alert {
    /// Which rule, by its place in the plan.
    pub rule: usize,
    /// What it did, when, and where it stands now.
    pub moved: Moved,
    /// The sample's frame in its lane, if a sample did it.
    pub frame: Option<u64>,
    /// When that sample's block was read, UTC ns; without a sample, the time of the change.
    pub read_ns: i64,
    /// When the rule saw it, UTC ns.
    pub seen_ns: i64,
}

/// Channels that a condition may look at, at most.
pub const CONDITION_INPUTS_MAX: usize = watch::INPUTS_MAX;

fn ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
