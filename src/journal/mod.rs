//! The journal: the append-only log of blocks and events, and the durability point.
//!
//! One OS thread, `kymo-journal`, takes blocks from bounded queues, packs them into records,
//! appends these to a segment file and syncs it once every commit interval; what was synced is
//! *committed*, and only then told to the [`Observer`]. A second thread, `kymo-prepare`, keeps the next
//! segment ready, so that a rotation is a change of descriptors. Followers read with a [`Reader`]
//! and keep their place in a [`Cursor`]. [`verify`] and [`repair`] look after what is on disk.
//!
//! **Always holds.**
//! - Seqs begin at 1 and rise by one from record to record, through all segments and runs. A
//!   seq that was committed, or that a cursor has passed, is never given to another record.
//! - A segment has its final name only after everything in the segment before it was synced, and
//!   nothing in it counts as committed before that name is itself on disk.
//! - After any crash everything committed is there, intact, once, in order. What follows it may
//!   be there as far as it is whole; a torn tail is cut, and said.
//! - Every run begins a segment, and no segment holds records of two runs.
//! - The first error of a write or a sync is the last: the writer stops, and says so. A sync
//!   that failed is never tried again, since the kernel may have thrown the data away.
//!
//! **Must not know.** HTTP, Parquet, devices, the configuration.
//!
//! # The format, version 1
//!
//! `<dir>/<first seq, 20 digits>.kyj`, all little endian. A segment is a header and records.
//!
//! | header | what |
//! |---|---|
//! | 0 | magic `KYMOJRNL` |
//! | 8 | format version u16, header bytes u16 (64) |
//! | 12 | flags u32: bit 0, written by repair |
//! | 16 | first seq u64: as in the name |
//! | 24 | first seq of the segment before u64, 0 if none: shows a missing one |
//! | 32 | created i64, UTC ns |
//! | 40 | zeros |
//! | 60 | CRC32C of bytes 0 to 60 |
//!
//! | record | what |
//! |---|---|
//! | 0 | CRC32C u32 of everything from byte 4 to the end of the padding |
//! | 4 | payload bytes u32, without padding |
//! | 8 | kind u8, flags u8 (bit 0: a run record repeated at the head of a later segment) |
//! | 10 | source u16, 65535 for none |
//! | 12 | zeros |
//! | 16 | seq u64 |
//! | 24 | durable seq u64: all up to it was known to be synced when this was written |
//! | 32 | first time i64, UTC ns |
//! | 40 | last time i64, UTC ns |
//! | 48 | payload, padded with zeros to a multiple of 8 |
//!
//! The durable seq is what tells damage from a torn tail: a record that cannot be read, and
//! that a later one says was synced, was damaged after it was written, and is not cut away.
//!
//! | kind | payload |
//! |---|---|
//! | 1 run | JSON; at the head of every segment, so that a segment can be read alone |
//! | 2 block | see `block.rs` and `columns.rs` |
//! | 3 event | JSON |
//! | 4 ledger | JSON; the last record of a run that was closed |

mod block;
mod columns;
mod cursor;
mod error;
mod files;
mod gate;
mod log;
mod prepare;
mod prune;
mod queues;
mod reader;
mod record;
mod recover;
mod repair;
mod runs;
mod scan;
mod segment;
mod status;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::sync::Arc;
use std::time::Duration;

pub use block::{BlockSummary, DecodedBlock, Quantum, encode_block};
pub use cursor::{Cursor, cursors, forget};
pub use error::Error;
pub use log::Quanta;
pub use prune::{Pruned, prune, segments};
pub use queues::{Event, Refused, RefusedWhy, Sender};
pub use reader::{Filter, From, Lost, Next, Reader, Record, Until};
pub use record::{Kind, RECORD_BYTES_MAX};
pub use recover::{Damaged, Missing, Recovery, Torn};
pub use repair::{RepairReport, RepairedSegment, repair};
pub use runs::{FoundRun, runs};
pub use segment::FORMAT_VERSION;
pub use status::{DurableSeq, Status};
pub use verify::{BadRange, Progress, Report, RunSpan, SegmentReport, verify};
pub use writer::{Closed, Committed, Journal, Observer, Setup, open};

/// The journal's directory in the data directory.
pub const DIR: &str = "journal";

/// Tells the time, UTC ns, as the run counts it.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

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
