//! Lanes: bounded, lock-free queues of blocks, one for each source and priority.
//!
//! **Always holds.** A lane has one producer (its [`LaneSender`] cannot be cloned) and one consumer
//! (the [`Intake`]). Blocks of a lane are taken in the order in which they were pushed. A block that
//! a policy drops is counted in the ledger, and leaves a gap at its place: frames are numbered when
//! they are pushed, so the receiver sees from the numbers what is missing. A full lane touches no
//! other lane.
//!
//! **Must not know.** What is in a block, what becomes of it, and who reads the device.

mod gate;
mod intake;
mod lane;
mod order;
mod ready;

pub use intake::{Intake, Item, LanesBuilder, SHARE, StageGate};
pub(crate) use lane::carry;
pub use lane::{LaneOptions, LaneSender};

/// What the lanes' own synchronisation is made of; the model checker puts its own here.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}

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
