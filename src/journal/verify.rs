//! Verifying: reading everything, changing nothing.
//!
//! **Always holds.** Memory is bounded by one record and a few numbers a segment, however large
//! the journal. Every bit of every segment is covered by a checksum that is compared.
//!
//! **Must not know.** How to mend what it finds: that is `repair.rs`.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::Dir;
use super::record::{Head, Kind};
use super::scan::{Found, Scan};
use super::segment::{self, HEADER_BYTES, Header, HeaderState};

/// Places listed for one segment; more are only counted.
const PLACES_MAX: usize = 64;

/// Bytes of a segment that belong to no intact record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRange {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
}

/// What is in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// First seq by its name.
    pub first_seq: u64,
    /// Its size.
    pub bytes: u64,
    /// Intact records.
    pub records: u64,
    /// Lowest and highest seq of these.
    pub seqs: Option<(u64, u64)>,
    /// Earliest and latest time in them, UTC ns.
    pub times_ns: Option<(i64, i64)>,
    /// The header cannot be read.
    pub is_header_damaged: bool,
    /// It was written by repair.
    pub is_repaired: bool,
    /// Where it is damaged, or torn; the first few places.
    pub bad: Vec<BadRange>,
    /// How many such places there are.
    pub bad_count: u64,
    /// Seqs missing in front of it or in it: from, to; the first few places.
    pub missing: Vec<(u64, u64)>,
    /// How many seqs that are.
    pub missing_records: u64,
    /// Records whose seq had been there before.
    pub doubled_records: u64,
}

impl SegmentReport {
    /// Whether nothing is wrong in it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.is_header_damaged
            && self.bad_count == 0
            && self.missing_records == 0
            && self.doubled_records == 0
    }
}

/// The records of one run, by their seqs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSpan {
    /// Seq of its run record, or of the first record of it that is left.
    pub first_seq: u64,
    /// Its last record.
    pub last_seq: u64,
    /// When it began, UTC ns.
    pub began_ns: i64,
    /// It ended with a ledger.
    pub is_closed: bool,
}

/// What is in a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The segments, by seq.
    pub segments: Vec<SegmentReport>,
    /// The runs, by seq.
    pub runs: Vec<RunSpan>,
    /// Bytes in all segments.
    pub bytes: u64,
    /// Intact records.
    pub records: u64,
    /// Damaged originals that were set aside.
    pub set_aside: Vec<PathBuf>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.segments.iter().all(SegmentReport::is_sound)
    }

    /// Seqs that are missing in all.
    #[must_use]
    pub fn missing_records(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.missing_records)
            .sum()
    }
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes of all segments.
    pub bytes_total: u64,
}

/// Reads the whole journal in `dir`. `progress` is called every few megabytes.
///
/// While a run goes on, the last segment may seem torn: verify when nobody writes.
pub fn verify(dir: &Path, mut progress: impl FnMut(Progress)) -> Result<Report, Error> {
    verify_in(&Dir::os(dir), &mut progress)
}

pub(super) fn verify_in(dir: &Dir, progress: &mut dyn FnMut(Progress)) -> Result<Report, Error> {
    let listing = segment::list(dir)?;
    let mut report = Report {
        set_aside: listing.damaged.iter().map(|name| dir.file(name)).collect(),
        ..Report::default()
    };
    let mut scans = Progress {
        bytes: 0,
        bytes_total: 0,
    };
    for first_seq in &listing.segments {
        scans.bytes_total += dir.open(&segment::name(*first_seq), false)?.size()?;
    }
    let mut chain = Chain::default();
    for first_seq in &listing.segments {
        let file = dir.open(&segment::name(*first_seq), false)?;
        let segment = verify_segment(
            file,
            *first_seq,
            &mut chain,
            &mut |_, _| Ok(()),
            &mut |at| {
                progress(Progress {
                    bytes: scans.bytes + at,
                    ..scans
                });
            },
        )?;
        scans.bytes += segment.bytes;
        report.bytes += segment.bytes;
        report.records += segment.records;
        report.segments.push(segment);
    }
    progress(scans);
    report.runs = chain.runs;
    Ok(report)
}

/// What is carried from segment to segment.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The highest seq so far; `None` before the first segment.
    highest_seq: Option<u64>,
    runs: Vec<RunSpan>,
}

impl Chain {
    fn note_run(&mut self, head: &Head) {
        let is_new = head.kind == Kind::Run as u8 && !head.is_repeated_run();
        match self.runs.last_mut() {
            Some(run) if !is_new && !run.is_closed => {
                run.last_seq = head.seq;
                run.is_closed = head.kind == Kind::Ledger as u8;
            }
            _ => self.runs.push(RunSpan {
                first_seq: head.seq,
                last_seq: head.seq,
                began_ns: head.t_first_ns,
                is_closed: head.kind == Kind::Ledger as u8,
            }),
        }
    }
}

/// Every this many bytes progress is told.
const PROGRESS_BYTES: u64 = 4 << 20;

/// What is done with each intact record and its bytes.
pub(super) type EachRecord<'a> = &'a mut dyn FnMut(&Head, &[u8]) -> Result<(), Error>;

/// Goes through one segment. `record` is given each intact record with its bytes.
pub(super) fn verify_segment(
    file: super::files::Handle,
    first_seq: u64,
    chain: &mut Chain,
    record: EachRecord<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<SegmentReport, Error> {
    let header = Header::read(&file, first_seq)?;
    let mut scan = Scan::new(file)?;
    let mut report = SegmentReport {
        path: scan.file.path.clone(),
        first_seq,
        bytes: scan.size,
        records: 0,
        seqs: None,
        times_ns: None,
        is_header_damaged: matches!(header, HeaderState::Damaged),
        is_repaired: matches!(header, HeaderState::Good(header) if header.repaired),
        bad: Vec::new(),
        bad_count: 0,
        missing: Vec::new(),
        missing_records: 0,
        doubled_records: 0,
    };
    // What is missing between two segments shows at the first record of the second, and what is
    // missing before the oldest was pruned.
    chain.highest_seq.get_or_insert(first_seq - 1);
    if report.is_header_damaged {
        report.note_bad(0, (HEADER_BYTES as u64).min(scan.size));
    }
    let mut at = HEADER_BYTES as u64;
    let mut told = 0;
    loop {
        match scan.record_at(at)? {
            Found::Record(head) => {
                report.note_record(&head, chain);
                record(&head, scan.record_bytes(&head))?;
                at += head.total_bytes() as u64;
                if at - told >= PROGRESS_BYTES {
                    told = at;
                    progress(at);
                }
            }
            Found::Bad => {
                let known = report
                    .seqs
                    .map_or(first_seq.saturating_sub(1), |seqs| seqs.1);
                let place = scan.resync(at, known)?;
                report.note_bad(at, place.unwrap_or(scan.size));
                match place {
                    Some(place) => at = place,
                    None => return Ok(report),
                }
            }
            Found::End => return Ok(report),
        }
    }
}

impl SegmentReport {
    fn note_bad(&mut self, from: u64, to: u64) {
        self.bad_count += 1;
        if self.bad.len() < PLACES_MAX {
            self.bad.push(BadRange { from, to });
        }
    }

    fn note_record(&mut self, head: &Head, chain: &mut Chain) {
        self.records += 1;
        let (low, high) = self.seqs.unwrap_or((head.seq, head.seq));
        self.seqs = Some((low.min(head.seq), high.max(head.seq)));
        let (first, last) = self.times_ns.unwrap_or((head.t_first_ns, head.t_last_ns));
        self.times_ns = Some((first.min(head.t_first_ns), last.max(head.t_last_ns)));
        let before = chain.highest_seq.unwrap_or(0);
        if head.seq <= before {
            self.doubled_records += 1;
            return;
        }
        if head.seq > before + 1 {
            self.missing_records += head.seq - before - 1;
            if self.missing.len() < PLACES_MAX {
                self.missing.push((before + 1, head.seq - 1));
            }
        }
        chain.highest_seq = Some(head.seq);
        chain.note_run(head);
    }
}
