//! The runs in a journal, found without reading it through: every run begins a segment, and every
//! segment begins with its run's record.
//!
//! **Must not know.** What the record says.

use std::path::Path;

use super::error::Error;
use super::files::Dir;
use super::record::Kind;
use super::scan::{Found, Scan};
use super::segment::{self, HEADER_BYTES};

/// A run, as its segments begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRun {
    /// First seq of its first segment that is still there.
    pub first_seq: u64,
    /// When its record was written, UTC ns.
    pub began_ns: i64,
    /// The run record: JSON.
    pub record: String,
}

/// The runs in the journal in `dir`, oldest first. A segment whose head is damaged tells of none.
///
/// # Errors
/// If the directory cannot be read, or holds what is no journal.
pub fn runs(dir: &Path) -> Result<Vec<FoundRun>, Error> {
    runs_in(&Dir::os(dir))
}

pub(super) fn runs_in(dir: &Dir) -> Result<Vec<FoundRun>, Error> {
    let mut runs: Vec<FoundRun> = Vec::new();
    for first_seq in segment::list(dir)?.segments {
        // Pruned since it was listed: not there any more.
        let Some(file) = dir.open_if_there(&segment::name(first_seq))? else {
            continue;
        };
        let mut scan = Scan::new(file)?;
        let Found::Record(head) = scan.record_at(HEADER_BYTES as u64)? else {
            continue;
        };
        if head.kind != Kind::Run as u8 {
            continue;
        }
        let record = String::from_utf8_lossy(scan.payload()).into_owned();
        // Two runs may say the same of themselves.
        let is_known =
            head.is_repeated_run() && runs.last().is_some_and(|run| run.record == record);
        if !is_known {
            runs.push(FoundRun {
                first_seq,
                began_ns: head.t_first_ns,
                record,
            });
        }
    }
    Ok(runs)
}
