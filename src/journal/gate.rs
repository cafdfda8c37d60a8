//! The gate the writer sleeps behind: waking it costs a load unless it really sleeps.
//!
//! **Always holds.** Whoever makes work known and then knocks, or finds the writer awake, can
//! rely on the writer seeing that work before it sleeps again.
//!
//! **Must not know.** What the work is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::thread::Thread;
use std::time::Duration;

/// Running: it looks at the queues before it sleeps.
const AWAKE: u8 = 0;
/// Asleep with a deadline: only what is urgent wakes it earlier.
const DATED: u8 = 1;
/// Asleep with nothing to do: anything wakes it.
const IDLE: u8 = 2;

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: AtomicU8,
    thread: OnceLock<Thread>,
}

impl Gate {
    /// Says which thread sleeps here: once, by that thread.
    pub(super) fn enter(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Sleeps until `timeout`, a knock or an unpark from elsewhere, unless `stay` says, after
    /// the door was shut, that there is work.
    pub(super) fn sleep(
        &self,
        is_dated: bool,
        timeout: Option<Duration>,
        stay: impl FnOnce() -> bool,
    ) {
        // Relaxed: the fence orders it. It pairs with the fence in `knock`: either we see the
        // work in `stay`, or whoever made it known sees that we sleep.
        let state = if is_dated { DATED } else { IDLE };
        self.state.store(state, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !stay() {
            match timeout {
                Some(timeout) => std::thread::park_timeout(timeout),
                None => std::thread::park(),
            }
        }
        // Relaxed: whoever misses it wakes us once too often.
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Wakes the writer, if it sleeps and the work is worth it. The work was made known before.
    pub(super) fn knock(&self, is_urgent: bool) {
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence; see `sleep`.
        let wakes = match self.state.load(Ordering::Relaxed) {
            AWAKE => false,
            DATED => is_urgent,
            _ => true,
        };
        // The swap lets one knock through only.
        if wakes && self.state.swap(AWAKE, Ordering::Relaxed) != AWAKE {
            // Set: a thread that sleeps here has entered. The release of its `set` is seen with
            // the fence above.
            if let Some(thread) = self.thread.get() {
                thread.unpark();
            }
        }
    }
}
