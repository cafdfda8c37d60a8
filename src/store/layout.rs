//! Where things are in the store, and what they are called.

use std::path::{Path, PathBuf};

use super::Error;
use crate::data_dir;
use crate::run_record::RunRecord;

/// The lane directory of a run's events.
pub const EVENTS: &str = "@events";

/// A run's record, in the run's directory.
pub const RUN: &str = "run.json";

/// A run's ledger, in the run's directory; there is one if the run was closed.
pub const LEDGER: &str = "ledger.json";

/// What ends a segment's name.
const SUFFIX: &str = "parquet";

/// What is under construction: never read, removed at the next start.
pub(super) const ASIDE: &str = "aside";

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it is.
    pub path: PathBuf,
    /// The first of the journal's records in it.
    pub first_seq: u64,
    /// The last.
    pub last_seq: u64,
    /// CRC32C of the file, as it was when it was made.
    pub crc: u32,
    /// Its size.
    pub bytes: u64,
}

/// The name of a segment.
#[must_use]
pub fn name(first_seq: u64, last_seq: u64, crc: u32) -> String {
    format!("{first_seq:020}-{last_seq:020}-{crc:08x}.{SUFFIX}")
}

pub(super) fn parse(name: &str) -> Option<(u64, u64, u32)> {
    let stem = name.strip_suffix(SUFFIX)?.strip_suffix('.')?;
    let (first, rest) = stem.split_once('-')?;
    let (last, crc) = rest.split_once('-')?;
    if (first.len(), last.len(), crc.len()) != (20, 20, 8) {
        return None;
    }
    Some((
        first.parse().ok()?,
        last.parse().ok()?,
        u32::from_str_radix(crc, 16).ok()?,
    ))
}

/// The directory of one lane of a run, by its number in the run record.
#[must_use]
pub fn lane_name(record: &RunRecord, source: usize, lane: usize) -> Option<String> {
    let source = record.sources.get(source)?;
    let found = source.lanes.get(lane)?;
    // What is computed beside it does not change the name of a source's one lane.
    let plain = source.lanes.iter().filter(|lane| lane.label.is_none());
    Some(if found.label.is_none() && plain.count() == 1 {
        source.name.clone()
    } else {
        format!("{}.{}", source.name, found.label())
    })
}

/// The runs in the store, oldest first.
///
/// # Errors
/// If the store cannot be read. No store is no error.
pub fn runs(store: &Path) -> Result<Vec<String>, Error> {
    directories(store)
}

/// The lanes of a run, `@events` among them.
///
/// # Errors
/// If the store cannot be read.
pub fn lanes(store: &Path, run: &str) -> Result<Vec<String>, Error> {
    directories(&store.join(run))
}

fn directories(path: &Path) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = entries(path)?
        .into_iter()
        .filter(|entry| entry.is_dir())
        .filter_map(|entry| Some(entry.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// What is in a directory; nothing, if it is not there.
pub(super) fn entries(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let found = match std::fs::read_dir(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    found
        .map(|entry| {
            entry
                .map(|entry| entry.path())
                .map_err(Error::io("read", path))
        })
        .collect()
}

/// The segments of one lane that count, by seq, and what a crash has left beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The segments, without overlap.
    pub segments: Vec<Segment>,
    /// Segments whose range lies within another's.
    pub leftovers: Vec<PathBuf>,
    /// Half-made files.
    pub asides: Vec<PathBuf>,
    /// Files that are no part of a store.
    pub foreign: Vec<PathBuf>,
}

impl Listing {
    /// The last record that is in a segment, 0 if none is.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.last_seq)
    }
}

/// Lists a lane's directory as it was at one moment: while a merged segment takes the place of its parts, a single
/// reading of the directory may show neither.
///
/// # Errors
/// If it cannot be read. A lane that is not there has no segments.
pub fn list(lane: &Path) -> Result<Listing, Error> {
    let mut listing = list_once(lane)?;
    loop {
        let again = list_once(lane)?;
        if again.segments == listing.segments {
            return Ok(again);
        }
        listing = again;
    }
}

fn list_once(lane: &Path) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    for path in entries(lane)? {
        let file_name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if let Some((first_seq, last_seq, crc)) = parse(file_name) {
            // Gone since it was listed: compacted or removed.
            let Ok(found) = path.metadata() else { continue };
            listing.segments.push(Segment {
                first_seq,
                last_seq,
                crc,
                bytes: found.len(),
                path,
            });
        } else if path.extension().is_some_and(|end| end == ASIDE) {
            listing.asides.push(path);
        } else {
            listing.foreign.push(path);
        }
    }
    // The widest first among those that begin together: what lies within it comes behind.
    listing
        .segments
        .sort_by_key(|segment| (segment.first_seq, u64::MAX - segment.last_seq));
    let mut covered = 0;
    let all = std::mem::take(&mut listing.segments);
    for segment in all {
        if segment.last_seq <= covered {
            listing.leftovers.push(segment.path);
        } else {
            covered = segment.last_seq;
            listing.segments.push(segment);
        }
    }
    Ok(listing)
}

/// Puts a small file in its place, whole or not at all. One that is there already stays.
pub(super) fn write_json(dir: &Path, name: &str, json: &[u8]) -> Result<(), Error> {
    let path = dir.join(name);
    if path.exists() {
        return Ok(());
    }
    make_dir(dir)?;
    let aside = format!("{name}.{ASIDE}");
    data_dir::put_whole(dir, &aside, name, json).map_err(Error::io("write", &path))
}

/// The record of the run whose directory this is, if it can be read.
pub(super) fn read_run(dir: &Path) -> Result<Option<RunRecord>, Error> {
    let path = dir.join(RUN);
    match std::fs::read(&path) {
        Ok(json) => Ok(serde_json::from_slice(&json).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

/// Makes a directory and its parents, each synced into the one above.
pub(super) fn make_dir(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_dir(parent)?;
    }
    match std::fs::create_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("create", dir)(error)),
    }
    dir.parent().map_or(Ok(()), sync_dir)
}

/// Makes what was renamed, created or removed in a directory last.
pub(super) fn sync_dir(path: &Path) -> Result<(), Error> {
    let dir = std::fs::File::open(path).map_err(Error::io("open", path))?;
    dir.sync_all().map_err(Error::io("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not() {
        assert_eq!(
            parse(&name(7, 1 << 40, 0xDEAD_BEEF)),
            Some((7, 1 << 40, 0xDEAD_BEEF))
        );
        for other in [
            "",
            "x.parquet",
            "7-8-deadbeef.parquet",
            "00000000000000000007-8.parquet",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_lies_within_another_segment_does_not_count() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let make = |name: &str| std::fs::write(dir.path().join(name), "x").expect("a file");
        for (first, last) in [(1, 10), (11, 20), (1, 20), (21, 30)] {
            make(&name(first, last, 0));
        }
        make("half.aside");
        make("notes.txt");
        let listing = list(dir.path()).expect("a directory");
        let ranges: Vec<_> = listing
            .segments
            .iter()
            .map(|s| (s.first_seq, s.last_seq))
            .collect();
        assert_eq!(ranges, [(1, 20), (21, 30)]);
        assert_eq!(listing.leftovers.len(), 2);
        assert_eq!((listing.asides.len(), listing.foreign.len()), (1, 1));
        assert_eq!(
            list(&dir.path().join("none")).expect("no lane is no error"),
            Listing::default()
        );
    }
}
