//! Drawing up the report when everything has ended.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, json};

use super::report::{Latencies, Report, Sources};
use crate::capture;
use crate::config::plan::Plan;
use crate::journal;
use crate::latency::{Latency, Summary};
use crate::ledger::Ledger;
use crate::stage::RuleCounts;
use crate::stage::computed::ComputedCounts;

/// Everything that a report is drawn up from.
pub(super) struct Draft {
    pub(super) run: String,
    pub(super) duration_ns: i64,
    pub(super) plan: Arc<Plan>,
    pub(super) ledger: Ledger,
    pub(super) read_to_stage: Summary,
    pub(super) read_to_alert: Summary,
    pub(super) computed: ComputedCounts,
    pub(super) capture: Option<capture::Report>,
    pub(super) committed: Arc<Mutex<Latency>>,
    pub(super) alerts: Vec<RuleCounts>,
    pub(super) in_flight: u64,
    pub(super) journal: journal::Status,
    pub(super) recovery: Vec<String>,
    pub(super) failure: Option<String>,
}

impl Draft {
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn report(&self) -> Report {
        let committed = self
            .committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let read = self.plan.sources.iter().map(|source| &source.name);
        let derived = self.plan.computed.derived.iter().map(|source| &source.name);
        let sources = read.chain(derived).zip(self.ledger.sources());
        let rules = self.plan.rules.iter().zip(&self.alerts);
        Report {
            run: self.run.clone(),
            duration_s: self.duration_ns as f64 / 1e9,
            sources: Sources(
                sources
                    .map(|(name, counts)| (name.clone(), counts.snapshot()))
                    .collect(),
            ),
            ledger: self.ledger.totals(self.in_flight),
            latency_us: Latencies {
                read_to_stage: self.read_to_stage,
                read_to_alert: self.read_to_alert,
                read_to_journal: committed.summary(),
            },
            alerts: rules
                .map(|(rule, counts)| {
                    let mut found = json!({ "fired": counts.fired, "cleared": counts.cleared });
                    if counts.acknowledged > 0 {
                        found["acknowledged"] = counts.acknowledged.into();
                    }
                    if counts.silenced > 0 {
                        found["silenced"] = counts.silenced.into();
                    }
                    if counts.late > 0 {
                        found["late"] = counts.late.into();
                    }
                    if counts.is_active {
                        found["active"] = true.into();
                    }
                    (rule.name.clone(), found)
                })
                .collect(),
            computed: (self.computed != ComputedCounts::default()).then_some(self.computed),
            capture: self.capture.clone(),
            replay: None,
            sinks: Map::new(),
            notifiers: Map::new(),
            store: None,
            events_dropped: self.journal.events_dropped(),
            recovery: self.recovery.clone(),
            failure: self.failure.clone(),
        }
    }
}
