//! Alerts: rules, their states, and what becomes of an alert.
//!
//! **Always holds.** A rule follows its channel's samples by their own times and in their own order, so the
//! same samples give the same alerts at any speed and however they were cut into blocks. A rule never
//! waits: not for a disk, not for whoever is told.
//!
//! **Must not know.** Devices, files, the network.

mod rule;

use std::time::Duration;

pub use rule::{Change, RuleState};

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
}

/// A threshold rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleOptions {
    /// Its name.
    pub name: String,
    /// The source watched, by its place in the plan.
    pub source: usize,
    /// The channel watched, by its place in the source.
    pub channel: usize,
    /// Which side of the limit is bad.
    pub side: Side,
    /// The limit, in the channel's unit.
    pub limit: f64,
    /// Where it clears again, on the good side of the limit or on it.
    pub clear: f64,
    /// How long the value must be bad before it fires, by the samples' own times.
    pub hold: Duration,
    /// How bad it is.
    pub severity: Severity,
    /// What to say, with `{value}`, `{limit}`, `{unit}`, `{channel}`, `{rule}`.
    pub message: String,
}

/// An alert that fired or cleared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alert {
    /// Which rule, by its place in the plan.
    pub rule: usize,
    /// What it did.
    pub change: Change,
    /// The time of the sample that did it, UTC ns.
    pub time_ns: i64,
    /// That sample's value.
    pub value: f64,
    /// When that sample's block was read, UTC ns.
    pub read_ns: i64,
    /// When the rule saw it, UTC ns.
    pub seen_ns: i64,
}

impl RuleOptions {
    /// The rule's message about a value.
    #[must_use]
    pub fn message(&self, channel: &str, unit: &str, value: f64) -> String {
        self.message
            .replace(
                "{value}",
                format!("{value:.6}")
                    .trim_end_matches('0')
                    .trim_end_matches('.'),
            )
            .replace("{limit}", &self.limit.to_string())
            .replace("{unit}", unit)
            .replace("{channel}", channel)
            .replace("{rule}", &self.name)
    }
}
