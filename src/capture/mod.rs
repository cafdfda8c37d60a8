//! Captures: the raw bytes of a run as they came, in MCAP files.
//!
//! Each file is complete by itself. Its profile is `kymo`; what is in it:
//!
//! | | |
//! |---|---|
//! | topic `/SOURCE/read` | `kymo.Bytes` (protobuf): the bytes of one read, at the time of the read |
//! | topic `/SOURCE/sent` | `kymo.Bytes`: what Kymo sent to the device, at the time it began to |
//! | topic `/SOURCE/link` | `kymo.Link` (JSON): opened, gone, finished, left; and what could not be recorded |
//! | topic `/events` | `kymo.Event` (JSON): the run's events, alerts and notes |
//! | metadata `kymo.run` | run, host, version, clock, number of the file |
//! | metadata `kymo.configuration` | the configuration's text |
//! | metadata `kymo.calibration` | what is done to each channel's value |
//!
//! Times are UTC ns; a source's link and reads stand in the order in which they happened, and share their sequence numbers.
//!
//! **Always holds.** What is in a whole chunk with the right checksum is read, whatever became of the rest of the file; what
//! is missing is said. No input makes the reader panic or take memory beyond [`CHUNK_BYTES_MAX`] a chunk and
//! [`PENDING_BYTES_MAX`] in all. A recording never makes a reader of a device wait: what its buffer has no room for is not recorded,
//! counted, and stands as a gap at its place.
//!
//! **Must not know.** Protocols, the journal, the configuration's meaning.

mod entries;
mod file;
pub mod format;
pub mod ports;
pub mod reader;
pub mod recording;
mod ring;
mod sync;
pub mod tape;
#[cfg(test)]
mod tests;
mod wire;
pub mod writer;

pub use entries::Entries;
pub use format::{Described, Entry, LinkChange, SourceInfo, What};
pub use reader::{Capture, Damage, Selection};
pub use recording::{Recording, Report, Setup};
pub use ring::Tap;
pub use writer::{Compression, Options, Writer};

use std::io;
use std::path::{Path, PathBuf};

/// The largest chunk believed, bytes without compression: Kymo's own are some MiB.
pub const CHUNK_BYTES_MAX: u64 = 64 << 20;
/// Bytes of chunks that are held at once, at most, to bring messages in order.
pub const PENDING_BYTES_MAX: usize = 512 << 20;

/// Why a capture could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no MCAP file.
    #[error("{} is not an MCAP file", path.display())]
    NotMcap {
        /// Which.
        path: PathBuf,
    },
    /// It is MCAP of another program.
    #[error("{} is no capture of kymo's: its profile is \"{profile}\"", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What it says it is.
        profile: String,
    },
    /// There is no capture in the directory.
    #[error("there is no capture in {}", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// Files of different captures were given as one.
    #[error("{} belongs to the run {found}, and not to {expected}: `kymo capture merge` joins captures", path.display())]
    Mixed {
        /// The file.
        path: PathBuf,
        /// Its run.
        found: String,
        /// The first file's.
        expected: String,
    },
    /// Its chunks overlap so much that they cannot be brought in order within bounds.
    #[error("the capture's chunks overlap by more than {} MiB", PENDING_BYTES_MAX >> 20)]
    Unordered,
    /// The library that writes MCAP.
    #[error("cannot write {}: {what}", path.display())]
    Mcap {
        /// The file.
        path: PathBuf,
        /// What it said.
        what: String,
    },
}

impl Error {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    fn mcap(path: &Path) -> impl FnOnce(mcap::McapError) -> Self {
        let path = path.to_owned();
        move |error| match error {
            mcap::McapError::Io(source) => Self::Io {
                what: "write",
                path,
                source,
            },
            other => Self::Mcap {
                path,
                what: other.to_string(),
            },
        }
    }
}
