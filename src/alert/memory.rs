//! What is to be known of rules after a restart: the sum of the journal's alert events.
//!
//! **Always holds.** Every event of an alert says where its rule stands after it, so the last one of each rule is
//! its state, and the whole memory can be made anew from the journal.
//!
//! **Must not know.** Files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Standing;
use super::silence::SilenceMemory;

/// Silences remembered at most; the oldest goes.
const SILENCES_MAX: usize = 1024;

/// What is to be known of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RuleMemory {
    /// Where it stands.
    pub is: Standing,
    /// Since when, UTC ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ns: Option<i64>,
    /// When it fired last, UTC ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_ns: Option<i64>,
    /// Whether somebody acknowledged it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged: bool,
    /// It fired in silence, and nobody was told yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
}

impl RuleMemory {
    /// Whether it is an alert.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.is, Standing::Firing | Standing::Subsided)
    }
}

/// What is to be known of all rules, by name, and of silences.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The rules that are anything but new.
    #[serde(default)]
    pub rules: BTreeMap<String, RuleMemory>,
    /// The silences that were declared while running.
    #[serde(default)]
    pub silences: Vec<SilenceMemory>,
}

impl Memory {
    /// Takes in an event of the journal; others than those of alerts say nothing. Whether anything changed.
    pub fn take_in(&mut self, event: &Value) -> bool {
        match event["event"].as_str() {
            Some("alert") => {
                let state = RuleMemory::deserialize(&event["state"]).ok();
                let (Some(rule), Some(state)) = (event["rule"].as_str(), state) else {
                    return false;
                };
                self.rules.insert(rule.to_owned(), state);
                true
            }
            Some("alert_states") => {
                let states = BTreeMap::<String, RuleMemory>::deserialize(&event["rules"]);
                let states = states.unwrap_or_default();
                let any = !states.is_empty();
                self.rules.extend(states);
                any
            }
            Some("silence") => {
                let Ok(silence) = SilenceMemory::deserialize(&event["silence"]) else {
                    return false;
                };
                self.silences.retain(|known| known.id != silence.id);
                // One that ends before it begins was taken back.
                if silence.to_ns > silence.from_ns {
                    self.silences.push(silence);
                }
                let over = self.silences.len().saturating_sub(SILENCES_MAX);
                self.silences.drain(..over);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_event_of_a_rule_is_its_state() {
        let mut memory = Memory::default();
        let event =
            |is: &str| json!({"event": "alert", "rule": "hot", "state": {"is": is, "since_ns": 5}});
        assert!(memory.take_in(&event("firing")));
        assert!(memory.take_in(&event("subsided")));
        assert_eq!(memory.rules["hot"].is, Standing::Subsided);
        for nothing in [
            json!({"event": "connected"}),
            json!({"event": "alert", "rule": "hot"}),
            json!({"event": "alert", "rule": "hot", "state": {"is": "purple"}}),
            json!(7),
        ] {
            assert!(!memory.take_in(&nothing), "{nothing}");
        }
        assert_eq!(memory.rules["hot"].is, Standing::Subsided);
    }
}
