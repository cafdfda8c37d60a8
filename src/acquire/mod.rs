//! Readers: one OS thread a source.

use std::time::Duration;

/// How a device that is gone is looked for: after `first`, then each time `factor` 2 later, up to
/// `max`, each wait shortened by a random part of up to a half so that many sources do not knock together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectOptions {
    /// First wait.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Default for ReconnectOptions {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            max: Duration::from_secs(5),
        }
    }
}
