//! What the run keeps: the store that follows the journal, and the counts of what the journal has committed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kymo_drivers::block::GapReason;
use serde_json::{Map, Value, json};

use super::report::StoreReport;
use crate::config::plan::Plan;
use crate::data_dir::DataDir;
use crate::journal;
use crate::latency::Latency;
use crate::ledger::Ledger;
use crate::sink::{self, SinkStatus, Sinks};
use crate::store::{self, Store, StoreSetup, StoreWaker};

/// Stores what the closed journal still has.
pub(super) fn close_store(store: Store) -> StoreReport {
    let status = store.status();
    // If one of its threads broke down, its trouble says so.
    let _ = store.close();
    StoreReport {
        rows: status.rows.load(Ordering::Relaxed),
        lost_records: status.lost_records.load(Ordering::Relaxed),
        removed_samples: status.removed_samples.load(Ordering::Relaxed),
        trouble: status.trouble(),
    }
}

/// The store, if there is to be one.
pub(super) fn start_store(
    plan: &Plan,
    data_dir: &DataDir,
    journal: &journal::Journal,
    run: &str,
) -> Result<Option<Store>, store::Error> {
    let Some(options) = &plan.store else {
        return Ok(None);
    };
    Store::start(StoreSetup {
        data_dir: data_dir.path().to_owned(),
        options: options.clone(),
        journal: journal.status(),
        journal_segment_bytes: plan.journal.segment_bytes,
        run: run.to_owned(),
    })
    .map(Some)
}

/// Has the sinks send what the closed journal still has, as long as they may; how they stand then.
pub(super) fn sink_report(sinks: Sinks) -> Map<String, Value> {
    let of = |(name, status): (String, SinkStatus)| {
        let mut report = json!({
            "written": status.written,
            "rejected": status.rejected,
            "behind": status.behind,
            "not_selected": status.not_selected,
            "not_finite": status.not_finite,
            "given_up": status.given_up,
            "unreadable": status.unreadable,
            "events": status.events,
        });
        for (key, text) in [("trouble", status.trouble), ("lost", status.lost)] {
            if let Some(text) = text {
                report[key] = Value::String(text);
            }
        }
        (name, report)
    };
    sinks.close().into_iter().map(of).collect()
}

/// What is said of sinks for which the journal is kept, and which are not configured any more.
pub(super) fn abandoned_sinks(plan: &Plan, data_dir: &DataDir) -> Result<Vec<String>, sink::Error> {
    let mut followers = sink::followers(data_dir.path())?;
    followers.retain(|(name, _)| !plan.sinks.iter().any(|sink| sink.name == *name));
    let of = |(name, seq): (String, u64)| {
        format!(
            "the journal is kept from record {} on for the sink `{name}`, which is not configured any more: \
             `kymo sink forget {name}` lets go of it",
            seq + 1
        )
    };
    Ok(followers.into_iter().map(of).collect())
}

/// Counts what the journal has committed, and what it could not.
pub(super) struct Observer {
    pub(super) follower: Arc<OnceLock<StoreWaker>>,
    pub(super) sinks: Arc<OnceLock<sink::Waker>>,
    /// Samples of the commit under way.
    pub(super) samples: u64,
    pub(super) ledger: Ledger,
    /// Locked by the journal's thread, once for each commit, and at the end of the run.
    pub(super) committed: Arc<Mutex<Latency>>,
    /// When the blocks of the commit under way were read, ns: its memory is kept from commit to commit.
    pub(super) reads_ns: Vec<i64>,
    /// When that commit was.
    pub(super) commit_ns: i64,
}

impl journal::Observer for Observer {
    fn committed(&mut self, block: &journal::Committed, commit_ns: i64) {
        self.ledger
            .source(block.source)
            .add_journaled(block.samples);
        self.samples += block.samples;
        if block.samples > 0 {
            self.reads_ns.push(block.read_ns);
            self.commit_ns = commit_ns;
        }
    }

    fn durable(&mut self, seq: u64) {
        let latency = self.committed.lock();
        let mut latency = latency.unwrap_or_else(PoisonError::into_inner);
        for read_ns in self.reads_ns.drain(..) {
            latency.record_ns(read_ns, self.commit_ns);
        }
        drop(latency);
        if let Some(follower) = self.follower.get() {
            follower.wake();
        }
        let samples = std::mem::take(&mut self.samples);
        if let Some(sinks) = self.sinks.get() {
            sinks.committed(seq, samples);
        }
    }

    fn failed(&mut self, block: &journal::Committed) {
        let counts = self.ledger.source(block.source);
        counts.add_dropped(GapReason::JournalFailed, block.samples);
    }
}
