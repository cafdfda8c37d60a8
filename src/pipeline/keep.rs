//! What the run keeps: the store that follows the journal, and the counts of what the journal has committed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use kymo_drivers::block::GapReason;
use serde_json::{Map, Value, json};

use super::report::StoreReport;
use super::tell::Durable;
use crate::alert_memory;
use crate::clock::Clock;
use crate::config::plan::Plan;
use crate::data_dir::DataDir;
use crate::journal;
use crate::latency::Latency;
use crate::ledger::Ledger;
use crate::notify;
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

/// Those that follow the journal's alerts: the memory of the rules, and the notifiers.
pub(super) struct AlertFollowers {
    memory: Option<alert_memory::Keeper>,
    notifiers: Vec<(String, notify::Follower)>,
}

impl AlertFollowers {
    /// Starts those that there are. The cursors of those that there are no more would hold the journal for ever, and go; but
    /// not in a replay, which has none and knows nothing of them.
    pub(super) fn start(
        plan: &Plan,
        data_dir: &DataDir,
        remembered: alert_memory::Remembered,
        (durable, committed, clock): (Durable, journal::DurableSeq, &Clock),
        is_replay: bool,
    ) -> Result<Self, super::Error> {
        let journal_dir = data_dir.path().join(journal::DIR);
        let has_rules = !plan.rules.is_empty();
        for (name, _) in journal::cursors(&journal_dir)? {
            let is_notifier = name.starts_with(&notify::cursor_name(""));
            let is_wanted =
                |(options, _): &(notify::Options, _)| name == notify::cursor_name(&options.name);
            let is_memory = name == alert_memory::CURSOR;
            let is_gone =
                (is_notifier && !durable.iter().any(is_wanted)) || (is_memory && !has_rules);
            if is_gone && !is_replay {
                journal::forget(&journal_dir, &name)?;
            }
        }
        let memory = has_rules
            .then(|| alert_memory::Keeper::start(data_dir.path(), remembered, committed.clone()))
            .transpose()?;
        let mut notifiers = Vec::with_capacity(durable.len());
        for (options, deliver) in durable {
            let name = options.name.clone();
            let follower = notify::Follower::start(notify::FollowerSetup {
                data_dir: data_dir.path().to_owned(),
                options,
                deliver,
                durable: committed.clone(),
                host: super::build::host(),
                clock: clock.clone(),
            })?;
            notifiers.push((name, follower));
        }
        Ok(Self { memory, notifiers })
    }

    /// What is to be woken after a commit.
    pub(super) fn threads(&self) -> Vec<Thread> {
        let memory = self.memory.as_ref().and_then(alert_memory::Keeper::thread);
        let notifiers = self.notifiers.iter();
        memory
            .into_iter()
            .chain(notifiers.filter_map(|(_, follower)| follower.thread()))
            .collect()
    }

    /// The journal is closed: whoever still has something to tell hurries.
    pub(super) fn begin_close(&self) {
        for (_, follower) in &self.notifiers {
            follower.begin_close();
        }
    }

    /// What became of the notifiers.
    pub(super) fn close(self) -> Map<String, Value> {
        let mut found = Map::new();
        for (name, follower) in self.notifiers {
            let status = follower.status();
            // Waits for its end: until then the counts move.
            drop(follower);
            let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
            let mut report = json!({
                "delivered": count(&status.delivered),
                "failed_attempts": count(&status.failed),
                "dead": count(&status.dead),
            });
            if count(&status.lost_records) > 0 {
                report["lost_records"] = count(&status.lost_records).into();
            }
            if let Some(trouble) = status.trouble() {
                report["trouble"] = trouble.into();
            }
            found.insert(name, report);
        }
        if let Some(trouble) = self.memory.and_then(alert_memory::Keeper::close) {
            // What it has not written down is in the journal.
            found.insert(
                "(memory of the rules)".to_owned(),
                json!({"delivered": 0, "dead": 0, "trouble": trouble}),
            );
        }
        found
    }
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
    /// Those that follow the journal's alerts.
    pub(super) tellers: Arc<OnceLock<Vec<Thread>>>,
    pub(super) sinks: Arc<OnceLock<sink::Waker>>,
    /// Samples of the commit under way.
    pub(super) samples: u64,
    pub(super) ledger: Ledger,
    /// Locked by the journal's thread, once for each commit, and at the end of the run.
    pub(super) committed: Arc<Mutex<Latency>>,
    /// Whether the times between read and commit are those of this host.
    pub(super) is_timed: bool,
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
        if block.samples > 0 && self.is_timed {
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
        for teller in self.tellers.get().into_iter().flatten() {
            teller.unpark();
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
