//! How the journal stands: read by anyone, written by the writer and the preparer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::error::Error;
use crate::trouble::Trouble;

/// What the threads of the journal share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    durable_seq: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) wakes: AtomicU64,
    pub(super) events_dropped: AtomicU64,
    has_failed: AtomicBool,
    failure: OnceLock<Arc<Error>>,
    /// Why no next segment can be made, for now. Taken only by the preparer and by who asks.
    pub(super) trouble: Trouble,
}

impl Shared {
    pub(super) fn durable_seq(&self) -> u64 {
        // Acquire, with the release below: who sees the seq may read the records up to it.
        self.durable_seq.load(Ordering::Acquire)
    }

    pub(super) fn set_durable_seq(&self, seq: u64) {
        self.durable_seq.store(seq, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        // Acquire, with the release below: who sees the flag finds the error.
        self.has_failed.load(Ordering::Acquire)
    }

    /// Keeps the first error.
    pub(super) fn fail(&self, error: Arc<Error>) {
        let _ = self.failure.set(error);
        self.has_failed.store(true, Ordering::Release);
    }

    pub(super) fn failure(&self) -> Option<Arc<Error>> {
        self.failure.get().cloned()
    }
}

/// Up to which seq everything is committed: for followers in this process.
#[derive(Debug, Clone)]
pub struct DurableSeq(Arc<Shared>);

impl DurableSeq {
    /// The seq, 0 before the first commit.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.durable_seq()
    }

    /// One that stands still: for tests and for reading up to a known seq.
    #[must_use]
    pub fn fixed(seq: u64) -> Self {
        let shared = Shared::default();
        shared.set_durable_seq(seq);
        Self(Arc::new(shared))
    }
}

/// A view of a running journal. Cheap to clone, and outlives it.
#[derive(Debug, Clone)]
pub struct Status(pub(super) Arc<Shared>);

impl Status {
    /// Up to which seq everything is committed.
    #[must_use]
    pub fn durable_seq(&self) -> DurableSeq {
        DurableSeq(Arc::clone(&self.0))
    }

    /// Why the journal stopped for good, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.0
            .failure()
            .filter(|error| !matches!(**error, Error::Closed))
    }

    /// Why no next segment can be made, for now: a warning while the current one has room.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.get()
    }

    /// Bytes written to segments by this run.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        // Relaxed, here and below: counts that order nothing.
        self.0.bytes_written.load(Ordering::Relaxed)
    }

    /// Group commits of this run.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }

    /// How often the writer woke up.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.0.wakes.load(Ordering::Relaxed)
    }

    /// Events refused because their queue was full.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        self.0.events_dropped.load(Ordering::Relaxed)
    }
}
