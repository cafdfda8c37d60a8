//! Silences: times in which nobody is told of some rules.
//!
//! **Always holds.** A silence is a range of the samples' own times, so that it is the same whenever they are judged.
//! A silenced alert is an alert: it is in the journal and in the counts. If it is one still when its silence ends, that
//! is told.

use serde::{Deserialize, Serialize};

/// A time in which nobody is told of some rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// The rules, by their places.
    pub rules: Vec<usize>,
    /// From when on, UTC ns.
    pub from_ns: i64,
    /// Up to when, itself excluded, UTC ns.
    pub to_ns: i64,
}

/// A silence as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceMemory {
    /// Which one.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// From when on, UTC ns.
    pub from_ns: i64,
    /// Up to when, itself excluded, UTC ns.
    pub to_ns: i64,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The silences of one rule.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans(Vec<(i64, i64)>);

impl Spans {
    /// Spans of a rule at most: ranges of its configuration, and what people add.
    const MAX: usize = 1024;

    pub(super) fn add(&mut self, from_ns: i64, to_ns: i64) {
        if self.0.len() >= Self::MAX {
            // The one that ends first is the one that matters least.
            let first = (0..self.0.len()).min_by_key(|place| self.0[*place].1);
            self.0.swap_remove(first.unwrap_or(0));
        }
        self.0.push((from_ns, to_ns));
    }

    pub(super) fn remove(&mut self, from_ns: i64, to_ns: i64) {
        if let Some(place) = self.0.iter().position(|span| *span == (from_ns, to_ns)) {
            self.0.swap_remove(place);
        }
    }

    pub(super) fn cover(&self, time_ns: i64) -> bool {
        self.until_ns(time_ns).is_some()
    }

    /// When the silence at this time ends, if there is one.
    pub(super) fn until_ns(&self, time_ns: i64) -> Option<i64> {
        let here = self.0.iter();
        here.filter(|(from, to)| (*from..*to).contains(&time_ns))
            .map(|(_, to)| *to)
            .max()
    }
}
