//! Removing whole segments that nobody needs any more.

use std::path::{Path, PathBuf};

use super::cursor;
use super::error::Error;
use super::files::Dir;
use super::segment::{self, CURSORS_NAME};

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The segments, oldest first.
    pub segments: Vec<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes the segments whose records all are at or before `up_to_seq` and every cursor, oldest first.
///
/// The last segment always stays. With `u64::MAX` the cursors alone decide, and where there is
/// none, nothing is removed. May be called while a run goes on.
pub fn prune(dir: &Path, up_to_seq: u64) -> Result<Pruned, Error> {
    prune_in(&Dir::os(dir), up_to_seq)
}

/// The segments of the journal in `dir`: the first seq and the bytes of each, rising.
///
/// # Errors
/// If the directory cannot be read.
pub fn segments(dir: &Path) -> Result<Vec<(u64, u64)>, Error> {
    let dir = Dir::os(dir);
    let mut found = Vec::new();
    for first_seq in segment::list(&dir)?.segments {
        // Pruned since it was listed: not there any more.
        if let Some(file) = dir.open_if_there(&segment::name(first_seq))? {
            found.push((first_seq, file.size()?));
        }
    }
    Ok(found)
}

pub(super) fn prune_in(dir: &Dir, up_to_seq: u64) -> Result<Pruned, Error> {
    let slowest = cursor::seqs(&dir.sub(CURSORS_NAME))?.into_iter().min();
    let passed = match slowest {
        None if up_to_seq == u64::MAX => return Ok(Pruned::default()),
        None => up_to_seq,
        Some(seq) => seq.min(up_to_seq),
    };
    let segments = segment::list(dir)?.segments;
    let mut pruned = Pruned::default();
    for pair in segments.windows(2) {
        // A segment ends right before the next one begins.
        if pair[1] - 1 > passed {
            break;
        }
        let name = segment::name(pair[0]);
        pruned.bytes += dir.open(&name, false)?.size()?;
        dir.remove(&name)?;
        pruned.segments.push(dir.file(&name));
    }
    if !pruned.segments.is_empty() {
        dir.sync()?;
    }
    Ok(pruned)
}
