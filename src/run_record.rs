//! The run record: what makes a journal readable alone. Which run, which sources, which columns.
//!
//! Written once at the start of a run and repeated at the head of every segment. Extend it; rename nothing.
//!
//! **Must not know.** Who writes it and who reads it.

use serde::{Deserialize, Serialize};

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its name, which sorts by time.
    pub run: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// The same, UTC ns.
    pub started_ns: i64,
    /// The version of Kymo.
    pub kymo: String,
    /// The host.
    pub host: String,
    /// The sources, by their numbers.
    pub sources: Vec<SourceRecord>,
    /// The configuration, as it was written.
    pub configuration: String,
}

/// A source of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its name.
    pub name: String,
    /// Frames a second it should have sent, where that was declared.
    pub rate_hz: Option<f64>,
    /// Its lanes, by their numbers.
    pub lanes: Vec<LaneRecord>,
}

/// A lane of a source: the channels of one priority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneRecord {
    /// Their priority.
    pub priority: String,
    /// What they are: `raw`, from a device; `derived`; `window`.
    #[serde(default = "raw")]
    pub kind: String,
    /// What tells the lane from the others of its source, if its priority does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The columns of its blocks, in order.
    pub channels: Vec<ChannelRecord>,
}

fn raw() -> String {
    "raw".to_owned()
}

impl LaneRecord {
    /// What tells the lane from the others of its source.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.priority)
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelRecord {
    /// Its place among the source's channels.
    pub place: usize,
    /// The channel's name.
    pub name: String,
    /// Its unit, UCUM.
    pub unit: String,
    /// What was done to the device's value.
    pub calibration: String,
}
