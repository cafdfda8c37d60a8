//! Alerts: rules, their states, and what becomes of an alert.

use std::time::Duration;

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
