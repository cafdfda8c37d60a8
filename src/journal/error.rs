//! What can go wrong in the journal, with the values that make it understandable.

use std::io;
use std::path::{Path, PathBuf};

/// An operating error of the journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the file system failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb: "write to", "sync".
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something lies in the journal's directory that the journal did not put there.
    #[error("{} is no part of a journal; move it elsewhere", path.display())]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// A segment was written by a later version of the program.
    #[error(
        "{} has journal format version {found}; this program knows versions up to {known}",
        path.display()
    )]
    NewerFormat {
        /// The segment.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version known here.
        known: u16,
    },
    /// A segment's header states another first record than its name: a copy, or renamed by hand.
    #[error("{} holds records from seq {stated} on, not from {named} on as its name says", path.display())]
    Misnamed {
        /// The segment.
        path: PathBuf,
        /// First seq by its name.
        named: u64,
        /// First seq by its header.
        stated: u64,
    },
    /// The current segment is full and no other could be made ready.
    #[error("the journal's segment {} is full and the next cannot be made: {reason}", path.display())]
    NoNextSegment {
        /// The full segment.
        path: PathBuf,
        /// Why there is no next one.
        reason: String,
    },
    /// The preparer could not put the next segment in its place.
    #[error("the next segment could not be put in its place: {0}")]
    Preparing(std::sync::Arc<Error>),
    /// One record would be longer than any reader accepts.
    #[error("a journal record of {bytes} bytes is over the limit of {limit}")]
    RecordTooLong {
        /// Its payload, bytes.
        bytes: usize,
        /// [`super::RECORD_BYTES_MAX`].
        limit: usize,
    },
    /// A payload whose checksum is right but whose content makes no sense.
    #[error("a block record cannot be decoded: {what}")]
    BadPayload {
        /// What is wrong in it.
        what: String,
    },
    /// Not a name for a cursor.
    #[error("`{name}` is no name for a cursor: use letters, digits, `_` and `-`")]
    CursorName {
        /// The name.
        name: String,
    },
    /// A cursor only goes forward.
    #[error("cursor `{name}` is at seq {at} and cannot go back to {to}")]
    CursorBackwards {
        /// The cursor.
        name: String,
        /// Where it is.
        at: u64,
        /// Where it was told to go.
        to: u64,
    },
    /// A cursor's file is not what was written there.
    #[error("cursor file {} is damaged; remove it to have its follower begin anew", path.display())]
    CursorDamaged {
        /// The file.
        path: PathBuf,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// The writer or the preparer ended by a panic: a defect of the program.
    #[error("the journal's {thread} thread panicked")]
    Panicked {
        /// Which thread.
        thread: &'static str,
    },
}

impl Error {
    /// An I/O error with its circumstances.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        // The path is copied only if there is an error: a commit allocates nothing.
        move |source| Self::Io {
            doing,
            path: path.to_path_buf(),
            source,
        }
    }
}
