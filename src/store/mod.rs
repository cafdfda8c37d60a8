//! The store: every sample in Parquet, as pandas, polars and DuckDB open it.
//!
//! A follower of the journal, `kymo-store`, turns blocks into segments. It never holds anybody up: if it is slow,
//! it reads further back in the journal.
//!
//! # On disk
//!
//! `<data>/store/<run>/<lane>/<first seq>-<last seq>-<CRC32C>.parquet`
//!
//! - *lane*: the source's name, or `source.priority` if its channels have several priorities; `@events` for the
//!   run's alerts, gaps and other events.
//! - *first seq*, *last seq*, 20 digits: which of the journal's records of this lane are in it. The ranges of a
//!   lane follow each other without overlap.
//! - *CRC32C*, 8 hexadecimal digits: of the whole file, so that a changed byte is found whatever the journal still has.
//!
//! A segment has a column `time` (timestamp, ns, UTC) and one of `f64` for each channel, sorted by time. Fields carry
//! `unit`, `calibration` and `calibration_version`; the file carries `kymo.*` in its key-value metadata (see
//! [`table`]).
//!
//! **Always holds.**
//! - A segment is written under a temporary name, synced, renamed, and its directory synced: it is there whole or
//!   not at all. The cursor in the journal moves only after that.
//! - No record is in two segments that count: a segment whose range lies within another's is what a crash left of
//!   compaction, is passed over by every reader, and removed at the next start.
//!
//! **Must not know.** Devices, rules, HTTP; who asks.

pub mod audit;
mod compact;
mod events;
mod follower;
mod lanes;
pub mod layout;
pub mod read;
pub mod removed;
mod retention;
mod segment;
pub mod table;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

pub use events::EventRow;
pub use follower::{Store, StoreSetup, StoreStatus, StoreWaker};
pub use retention::Limits;

/// The store's directory in the data directory.
pub const DIR: &str = "store";

/// The name of the store's cursor in the journal.
pub const CURSOR: &str = "store";

/// An operating error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the file system failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A segment cannot be written or read as Parquet.
    #[error("cannot {doing} {}: {source}", path.display())]
    Parquet {
        /// What was being done.
        doing: &'static str,
        /// To which segment.
        path: PathBuf,
        /// What the library said.
        source: parquet::errors::ParquetError,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] crate::journal::Error),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] crate::data_dir::Error),
    /// A run record that this version does not understand.
    #[error("the journal's run record at seq {seq} cannot be read: {what}")]
    RunRecord {
        /// Its number.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    fn parquet(
        doing: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.to_owned();
        move |source| Self::Parquet {
            doing,
            path,
            source,
        }
    }
}

/// A run record of the journal.
fn parse_run(seq: u64, json: &[u8]) -> Result<crate::run_record::RunRecord, Error> {
    serde_json::from_slice(json).map_err(|error| Error::RunRecord {
        seq,
        what: error.to_string(),
    })
}

/// How the store is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// A segment is finished when its first row has waited so long…
    pub segment_age: Duration,
    /// …or when it has so many values.
    pub segment_values: usize,
    /// What is kept, for each source by its name; others have no limit.
    pub limits: Vec<(String, Limits)>,
    /// Share of one core that compaction takes at most, 0 to 1.
    pub compaction_share: f64,
    /// How long the journal is kept although every follower has passed it.
    pub journal_age: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_age: Duration::from_secs(60),
            segment_values: 1 << 22,
            limits: Vec::new(),
            compaction_share: 0.25,
            journal_age: Duration::from_secs(600),
        }
    }
}
