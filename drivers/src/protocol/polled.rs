//! What protocols that ask have in common: waits that grow, and what they have to tell.
//!
//! **Always holds.** Both are bounded: a wait never exceeds its longest, and of what is told the oldest
//! [`TOLD_MAX`] are kept until somebody takes them.
//!
//! **Must not know.** What is asked.

use std::collections::VecDeque;
use std::time::Duration;

/// What is kept to be told at most: an event for each request of a whole bus would help nobody.
const TOLD_MAX: usize = 32;

/// A duration as the time of a protocol is counted.
pub(super) fn ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The waits for something that does not answer: each twice the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    first_ns: i64,
    max_ns: i64,
}

impl Waits {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first_ns: ns(first),
            max_ns: ns(max),
        }
    }

    /// The wait after this one; `None`: the first.
    pub(super) fn after(&self, wait_ns: Option<i64>) -> i64 {
        wait_ns
            .map_or(self.first_ns, |wait| wait.saturating_mul(2))
            .min(self.max_ns)
    }

    pub(super) fn max_ns(&self) -> i64 {
        self.max_ns
    }
}

/// What happened that whoever watches the device should hear.
#[derive(Debug, Default)]
pub(super) struct Told(VecDeque<String>);

impl Told {
    pub(super) fn tell(&mut self, what: String) {
        if self.0.len() < TOLD_MAX {
            self.0.push_back(what);
        }
    }

    pub(super) fn take(&mut self) -> Option<String> {
        self.0.pop_front()
    }
}
