//! Reading what was acquired: out of segments, and, for what is in none yet, out of the journal's tail.
//!
//! Open an [`Archive`] on a data directory, also while a run writes into it; find the run and the lane in
//! [`Archive::runs`]; [`Archive::read`] then gives the rows of a lane in order of time.
//!
//! ```no_run
//! # fn main() -> Result<(), kymo::store::Error> {
//! use kymo::store::read::{Archive, Range, find};
//!
//! let archive = Archive::open("kymo-data".as_ref())?;
//! for run in archive.runs()? {
//!     for lane in find(&run, |channel| channel == "imu.ax") {
//!         let mut rows = archive.read(&run, &lane, Range::all())?;
//!         while let Some(rows) = rows.next()? {
//!             println!("{} rows from {}", rows.times_ns.len(), rows.times_ns[0]);
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Always holds.** A sample is given once, whether it is in a segment, in the journal, or in both. A segment that
//! goes away while it is read, because it was compacted, is looked for again.
//!
//! **Must not know.** Who asks, and what they do with it.

mod lane;
mod overview;
mod tail;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use lane::{Amount, LaneRows, Rows};
pub use overview::{LaneOverview, Overview};

use super::layout;
use super::{CURSOR, DIR, Error};
use crate::data_dir;
use crate::journal;
use crate::run_record::RunRecord;

/// A data directory, to be read.
#[derive(Debug, Clone)]
pub struct Archive {
    store: PathBuf,
    journal: PathBuf,
    in_use: bool,
}

/// A run, as it is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it says of itself.
    pub record: RunRecord,
    /// Its first record in the journal, if any of it is there still.
    pub(in crate::store) first_seq: Option<u64>,
    /// The first record of the run behind it.
    pub(in crate::store) end_seq: Option<u64>,
}

/// Channels of one lane of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The source, by its place in the run's record.
    pub source: usize,
    /// The lane, by its place in the source.
    pub lane: usize,
    /// The channels wanted, by their places in the lane.
    pub columns: Vec<usize>,
    /// Their names, `source.channel`.
    pub names: Vec<String>,
}

/// Times: from the first on, up to the second, itself excluded. UTC ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first time wanted.
    pub from_ns: i64,
    /// The first time no longer wanted.
    pub to_ns: i64,
}

impl Range {
    /// All times.
    #[must_use]
    pub fn all() -> Self {
        Self {
            from_ns: i64::MIN,
            to_ns: i64::MAX,
        }
    }

    /// Whether a time is within.
    #[must_use]
    pub fn contains(self, time_ns: i64) -> bool {
        (self.from_ns..self.to_ns).contains(&time_ns)
    }

    /// Whether any time from `first_ns` to `last_ns`, both included, is within.
    #[must_use]
    pub fn overlaps(self, first_ns: i64, last_ns: i64) -> bool {
        last_ns >= self.from_ns && first_ns < self.to_ns
    }
}

/// The lanes of a run with channels that are wanted, and those channels.
pub fn find(run: &Run, wants: impl Fn(&str) -> bool) -> Vec<Lane> {
    let mut found = Vec::new();
    for (source, record) in run.record.sources.iter().enumerate() {
        for (lane, lane_record) in record.lanes.iter().enumerate() {
            let named = lane_record.channels.iter().enumerate();
            let named = named.map(|(place, c)| (place, format!("{}.{}", record.name, c.name)));
            let (columns, names): (Vec<usize>, Vec<String>) =
                named.filter(|(_, name)| wants(name)).unzip();
            if !columns.is_empty() {
                found.push(Lane {
                    source,
                    lane,
                    columns,
                    names,
                });
            }
        }
    }
    found
}

impl Archive {
    /// A data directory, also one that a run writes into.
    ///
    /// # Errors
    /// If it is no data directory.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        data_dir::readable(data_dir)?;
        Ok(Self {
            store: data_dir.join(DIR),
            journal: data_dir.join(journal::DIR),
            in_use: data_dir::in_use(data_dir),
        })
    }

    /// The store's directory.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The journal's directory.
    #[must_use]
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// Whether a run writes into it.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.in_use
    }

    /// The runs, oldest first.
    ///
    /// # Errors
    /// If journal or store cannot be read.
    pub fn runs(&self) -> Result<Vec<Run>, Error> {
        let found = journal::runs(&self.journal)?;
        let mut runs: Vec<Run> = Vec::new();
        for (index, run) in found.iter().enumerate() {
            let end_seq = found.get(index + 1).map(|next| next.first_seq);
            let record = super::parse_run(run.first_seq, run.record.as_bytes())?;
            runs.push(Run {
                record,
                first_seq: Some(run.first_seq),
                end_seq,
            });
        }
        for name in layout::runs(&self.store)? {
            if runs.iter().all(|run| run.record.run != name)
                && let Some(record) = layout::read_run(&self.store.join(&name))?
            {
                runs.push(Run {
                    record,
                    first_seq: None,
                    end_seq: None,
                });
            }
        }
        runs.sort_by(|a, b| {
            (a.record.started_ns, &a.record.run).cmp(&(b.record.started_ns, &b.record.run))
        });
        Ok(runs)
    }

    /// The directory of a lane's segments; there need be none.
    #[must_use]
    pub fn lane_dir(&self, run: &Run, source: usize, lane: usize) -> PathBuf {
        let name = layout::lane_name(&run.record, source, lane).unwrap_or_default();
        self.store.join(&run.record.run).join(name)
    }

    /// Rows of a lane within a range, in order of time.
    ///
    /// # Errors
    /// If journal or store cannot be read.
    pub fn read(&self, run: &Run, lane: &Lane, range: Range) -> Result<LaneRows, Error> {
        LaneRows::new(self, run, lane, range)
    }

    /// How far the store has come.
    pub(in crate::store) fn cursor(&self) -> Result<u64, Error> {
        let cursors = journal::cursors(&self.journal)?;
        Ok(cursors
            .iter()
            .find(|(name, _)| name == CURSOR)
            .map_or(0, |(_, seq)| *seq))
    }

    /// The journal behind `stored_seq`, as far as it belongs to the run; `None` if all of that is stored. The cursor
    /// was read before the segments were listed.
    fn tail(
        &self,
        run: &Run,
        cursor: u64,
        stored_seq: u64,
        source: Option<u16>,
    ) -> Result<Option<tail::Tail>, Error> {
        let Some(first_seq) = run.first_seq else {
            return Ok(None);
        };
        if run.end_seq.is_some_and(|end| cursor >= end - 1) {
            return Ok(None);
        }
        // Everything up to the cursor is in segments, whichever lane's.
        let from = (stored_seq + 1).max(first_seq).max(cursor + 1);
        tail::Tail::open(self, run, from, source).map(Some)
    }
}

/// Reads again what was merged or removed between listing and opening.
fn again_if_gone<T>(read: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    const TRIES: usize = 16;
    for _ in 1..TRIES {
        match read() {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            done => return done,
        }
    }
    read()
}
