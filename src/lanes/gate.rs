//! The gate between one sleeper and those who bring work: a wake-up is sent only to one asleep.
//!
//! **Always holds.** Work published before [`Gate::signal`] is either seen by the sleeper's look
//! before it sleeps, or the sleeper is woken. Proof: the publisher writes the work, then (fence)
//! reads the flag; the sleeper writes the flag, then (fence) looks for work. With a sequentially
//! consistent fence on both sides at least one of them sees the other's write. `tests/loom_gate.rs`
//! checks every interleaving of this very file.
//!
//! **Must not know.** What the work is, or how the sleeper sleeps.

use super::sync::{AtomicBool, Ordering, fence};

/// How the sleeper is woken. A wake-up that comes before the sleep must end that sleep at once.
pub(crate) trait Wake {
    /// Wakes the sleeper.
    fn wake(&self);
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Gate<W> {
    asleep: AtomicBool,
    waker: W,
}

impl<W: Wake> Gate<W> {
    /// A gate in front of an awake sleeper.
    pub(crate) fn new(waker: W) -> Self {
        Self {
            asleep: AtomicBool::new(false),
            waker,
        }
    }

    /// To be called after work was published: wakes the sleeper if it sleeps.
    pub(crate) fn signal(&self) {
        // Pairs with the fence in `may_sleep`.
        fence(Ordering::SeqCst);
        // The plain look first keeps the cache line shared while the sleeper is awake; the exchange
        // lets only one of several publishers send the wake-up. Relaxed: the fence orders them.
        let (asleep, awake) = (true, false);
        if self.asleep.load(Ordering::Relaxed)
            && self
                .asleep
                .compare_exchange(asleep, awake, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.waker.wake();
        }
    }

    /// Announces sleep, then looks once more with `has_work`. True: sleep now, a wake-up will come.
    pub(crate) fn may_sleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `signal`.
        fence(Ordering::SeqCst);
        let sleep = !has_work();
        if !sleep {
            self.asleep.store(false, Ordering::Relaxed);
        }
        sleep
    }

    /// To be called after waking for another reason than the gate's wake-up.
    pub(crate) fn woke(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// What wakes the sleeper.
    pub(crate) fn waker(&self) -> &W {
        &self.waker
    }
}
