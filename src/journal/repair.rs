//! Repairing: writing damaged segments anew with every record that is intact.
//!
//! **Always holds.** The original is kept under another name, and it is never without a name
//! from which the journal can be read: killed at any moment, repair can be run again. A sound
//! segment is not touched.
//!
//! **Must not know.** How to invent what is lost.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::{Dir, Handle};
use super::segment::{self, HEADER_BYTES, Header, HeaderState};
use super::verify::{Chain, SegmentReport, verify_segment};

/// One segment that was repaired, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedSegment {
    /// What was wrong, and what was salvaged.
    pub found: SegmentReport,
    /// Bytes that belonged to no intact record, and are not in the new file.
    pub lost_bytes: u64,
    /// Where the original is now; `None` in a dry run.
    pub original: Option<PathBuf>,
}

/// What repair did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// The damaged segments, by seq.
    pub segments: Vec<RepairedSegment>,
    /// Intact records in them.
    pub records_kept: u64,
    /// Seqs known to be missing in them.
    pub records_lost: u64,
}

/// Repairs the journal in `dir`; with `dry_run` it only says what it would do. Nobody may be writing.
pub fn repair(dir: &Path, dry_run: bool) -> Result<RepairReport, Error> {
    repair_in(&Dir::os(dir), dry_run)
}

pub(super) fn repair_in(dir: &Dir, dry_run: bool) -> Result<RepairReport, Error> {
    let segments = segment::list(dir)?.segments;
    let mut report = RepairReport::default();
    let mut chain = Chain::default();
    let mut previous = 0;
    if !dry_run {
        // A repair that was killed may have put a segment in its place without a sync after it.
        dir.sync()?;
    }
    for first_seq in segments {
        let file = dir.open(&segment::name(first_seq), false)?;
        let found = verify_segment(
            file.clone(),
            first_seq,
            &mut chain,
            &mut |_, _| Ok(()),
            &mut |_| {},
        )?;
        if found.is_header_damaged || found.bad_count > 0 {
            let original = match dry_run {
                true => None,
                false => Some(rewrite(dir, &file, &found, previous)?),
            };
            report.records_kept += found.records;
            report.records_lost += found.missing_records;
            report.segments.push(RepairedSegment {
                lost_bytes: found.bytes.saturating_sub(HEADER_BYTES as u64) - kept_bytes(&found),
                found,
                original,
            });
        }
        previous = first_seq;
    }
    Ok(report)
}

/// Bytes of the intact records. Bad ranges beyond those listed count as kept: a report, not a
/// decision, is what depends on it.
fn kept_bytes(found: &SegmentReport) -> u64 {
    let records_end = found.bytes.saturating_sub(HEADER_BYTES as u64);
    let bad: u64 = found
        .bad
        .iter()
        .filter(|range| range.from >= HEADER_BYTES as u64)
        .map(|range| range.to - range.from)
        .sum();
    records_end.saturating_sub(bad)
}

/// Writes the intact records aside, then puts them in the place of the original; the original's new path.
fn rewrite(
    dir: &Dir,
    original: &Handle,
    found: &SegmentReport,
    previous: u64,
) -> Result<PathBuf, Error> {
    let name = segment::name(found.first_seq);
    let aside = segment::repair_name(found.first_seq);
    let kept = segment::free_damaged_name(dir, found.first_seq)?;
    if found.records == 0 {
        // Nothing to salvage: an empty segment would only hide that.
        dir.rename(&name, &kept)?;
        dir.sync()?;
        return Ok(dir.file(&kept));
    }
    dir.remove_if_there(&aside)?;
    let file = dir.create(&aside)?;
    let header = match Header::read(original, found.first_seq)? {
        HeaderState::Good(header) => header,
        HeaderState::Damaged => Header {
            first_seq: found.first_seq,
            previous,
            created_ns: found.times_ns.map_or(0, |times| times.0),
            repaired: true,
        },
    };
    let header = Header {
        repaired: true,
        ..header
    };
    file.write_all_at(&header.encode(), 0)?;
    let mut at = HEADER_BYTES as u64;
    let mut last_seq = 0;
    verify_segment(
        original.clone(),
        found.first_seq,
        &mut Chain::default(),
        &mut |head, bytes| {
            if head.seq > last_seq {
                last_seq = head.seq;
                file.write_all_at(bytes, at)?;
                at += bytes.len() as u64;
            }
            Ok(())
        },
        &mut |_| {},
    )?;
    file.sync()?;
    // The original gets its second name first, so that the rename takes only the first from it.
    dir.link(&name, &kept)?;
    dir.sync()?;
    dir.rename(&aside, &name)?;
    dir.sync()?;
    Ok(dir.file(&kept))
}
