//! The thread that syncs a capture's files, so that the one that writes need not wait for the disk.
//!
//! **Always holds.** Bytes are counted as recorded when the sync behind them is done, and as not recorded when it failed. A sync that
//! failed is not tried again: the kernel may have thrown the pages away.
//!
//! **Must not know.** What is in the files.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::ledger::SourceCounts;

/// Files to be synced, and what is on disk then: bytes of each source.
pub(super) struct Job {
    pub(super) files: Vec<std::fs::File>,
    pub(super) bytes: Vec<u64>,
}

/// The thread that syncs: one job at a time.
pub(super) struct Syncer {
    jobs: Option<flume::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    busy: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Syncer {
    pub(super) fn start(counts: &[Arc<SourceCounts>]) -> io::Result<Self> {
        let (jobs_in, jobs) = flume::bounded::<Job>(1);
        let shared = Arc::<Shared>::default();
        let (counts, of_thread) = (counts.to_vec(), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("kymo-capture-sync".to_owned());
        let thread = thread.spawn(move || {
            for job in jobs {
                let synced = job.files.iter().try_for_each(std::fs::File::sync_data);
                for (counts, bytes) in counts.iter().zip(job.bytes) {
                    match synced {
                        Ok(()) => counts.add_recorded(bytes),
                        Err(_) => counts.add_not_recorded(bytes),
                    }
                }
                if let Err(error) = synced {
                    let mut failure = lock(&of_thread.failure);
                    failure.get_or_insert(format!("cannot sync the capture: {error}"));
                }
                // Release: the failure is seen by whoever sees this.
                of_thread.busy.store(false, Ordering::Release);
            }
        })?;
        Ok(Self {
            jobs: Some(jobs_in),
            thread: Some(thread),
            shared,
        })
    }

    /// Whether it would begin at once.
    pub(super) fn is_idle(&self) -> bool {
        // Acquire: pairs with the release of the thread.
        !self.shared.busy.load(Ordering::Acquire)
    }

    pub(super) fn sync(&self, job: Job) {
        self.shared.busy.store(true, Ordering::Relaxed);
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.is_idle().then(|| lock(&self.shared.failure).clone())?
    }

    /// Waits until everything is synced; nothing can be synced afterwards.
    pub(super) fn wait(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
