//! Lanes: bounded, lock-free queues of blocks, one for each source and priority.

/// What a full lane does with a block more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The reader waits. Nothing is lost in Kymo; what the device sends meanwhile waits in the
    /// kernel's buffer, and is lost there if that runs over.
    #[default]
    Block,
    /// The oldest block that waits is dropped: the newest data survive.
    DropOldest,
    /// The new block is dropped: the oldest data survive.
    DropNewest,
}

impl Overflow {
    /// All policies with their names in the configuration.
    pub const NAMES: [(&'static str, Overflow); 3] = [
        ("block", Self::Block),
        ("drop-oldest", Self::DropOldest),
        ("drop-newest", Self::DropNewest),
    ];
}
