//! The journal: the append-only log of blocks and events, and the durability point.

use std::time::Duration;

/// How the journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Longest time between group commits: what a power loss costs at most.
    pub commit_interval: Duration,
    /// A segment file is full at this size, bytes.
    pub segment_bytes: u64,
    /// Blocks that wait for the disk at most, for each priority, most urgent first.
    pub queue_blocks: [usize; 4],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_millis(100),
            segment_bytes: 64 << 20,
            queue_blocks: [4096, 2048, 1024, 1024],
        }
    }
}
