//! One run: its segments, the journal's records of it, and its ledger, held against each other.
//!
//! **Must not know.** The segments' bytes, which `part.rs` sums up, and who asks.

use std::path::PathBuf;

use super::part::{self, Drops, Part};
use super::{Finding, RunAudit, RunState};
use crate::journal::{BlockSummary, DecodedBlock, Filter, From, Kind, Next, Reader, Until};
use crate::run_record::{LaneRecord, RunRecord};
use crate::store::Error;
use crate::store::layout::{self, EVENTS, LEDGER, Listing};
use crate::store::read::Archive;
use crate::store::removed::{self, Removed};

/// A run, and where it stands in the journal.
pub(super) struct Place<'a> {
    pub(super) record: &'a RunRecord,
    /// Its first record in the journal, if any of it is there still.
    pub(super) first_seq: Option<u64>,
    /// The first record of the run behind it.
    pub(super) end_seq: Option<u64>,
    pub(super) is_running: bool,
}

/// A lane, as it is put together.
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) source: usize,
    pub(super) lane: usize,
    pub(super) parts: Vec<Part>,
    /// Of the segments: the last record in one.
    last_seq: u64,
    pub(super) removed: Vec<Removed>,
    /// Frames that are in the journal alone: first, count.
    pub(super) tail: Vec<(u64, u64)>,
    pub(super) tail_rows: u64,
    /// Records that should be in a segment and are in none: first, last, rows.
    unstored: Option<(u64, u64, u64)>,
}

/// What the journal has of the run.
#[derive(Default)]
struct Walked {
    ledger: Option<Vec<u8>>,
    /// From where to where it was read.
    seqs: Option<(u64, u64)>,
    lost: Vec<(u64, u64)>,
}

/// A run that is looked at.
pub(super) struct Look<'a> {
    archive: &'a Archive,
    pub(super) place: &'a Place<'a>,
    dir: PathBuf,
    pub(super) found: RunAudit,
    pub(super) drops: Drops,
}

/// Looks at one run. The segments' parts are handed out, for their bytes to be summed up.
pub(super) fn look(archive: &Archive, place: &Place<'_>) -> Result<(RunAudit, Vec<Part>), Error> {
    let record = place.record;
    let mut look = Look {
        archive,
        place,
        dir: archive.store().join(&record.run),
        found: RunAudit {
            run: record.run.clone(),
            started: record.started.clone(),
            state: RunState::WithoutLedger,
            lanes: Vec::new(),
            findings: Vec::new(),
        },
        drops: Drops::default(),
    };
    // Before the listings: what is finished meanwhile is then in the journal all the same.
    let cursor = archive.cursor()?;
    let (events, events_seq) = look.events()?;
    let mut lanes = Vec::new();
    for (source, source_record) in record.sources.iter().enumerate() {
        for lane in 0..source_record.lanes.len() {
            lanes.push(look.lane(source, lane)?);
        }
    }
    let walked = look.walk(&mut lanes, cursor, events_seq)?;
    for lane in &lanes {
        look.compare(lane, &walked);
        look.stream(lane);
    }
    let ledger = match std::fs::read(look.dir.join(LEDGER)) {
        Ok(json) => Some(json),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => walked.ledger,
        Err(error) => return Err(Error::io("read", &look.dir.join(LEDGER))(error)),
    };
    look.found.state = match (&ledger, place.is_running) {
        (Some(_), _) => RunState::Closed,
        (None, true) => RunState::Running,
        (None, false) => RunState::WithoutLedger,
    };
    if let Some(json) = ledger {
        look.totals(&json);
    }
    let parts = lanes.into_iter().flat_map(|lane| lane.parts);
    let parts = parts.chain(events).collect();
    Ok((look.found, parts))
}

impl Look<'_> {
    pub(super) fn wrong(&mut self, lane: &str, what: String) -> &mut Finding {
        self.note(lane, what, true)
    }

    pub(super) fn note(&mut self, lane: &str, what: String, is_wrong: bool) -> &mut Finding {
        let finding = Finding {
            run: Some(self.found.run.clone()),
            lane: Some(lane.to_owned()),
            is_wrong,
            what,
            ..Finding::default()
        };
        self.found.findings.push(finding);
        let last = self.found.findings.len() - 1;
        &mut self.found.findings[last]
    }

    /// Takes the dropped frames out of the events; the segments of these, and the last record in one.
    fn events(&mut self) -> Result<(Vec<Part>, u64), Error> {
        let listing = layout::list(&self.dir.join(EVENTS))?;
        let parts = self.parts(EVENTS, &listing, false)?;
        for part in &parts {
            if let Err(error) = self.drops.read(&part.path) {
                self.wrong(EVENTS, error.to_string()).file = Some(part.path.clone());
            }
        }
        Ok((parts, listing.last_seq()))
    }

    fn lane(&mut self, source: usize, lane: usize) -> Result<Lane, Error> {
        let record = self.place.record;
        let name = layout::lane_name(record, source, lane).unwrap_or_default();
        let listing = layout::list(&self.dir.join(&name))?;
        let parts = self.parts(&name, &listing, true)?;
        // Behind the listing: a segment that is not in it any more has its line.
        let mut removed = removed::read(&self.dir)?;
        removed.retain(|removed| removed.lane == name);
        Ok(Lane {
            name,
            source,
            lane,
            parts,
            last_seq: listing.last_seq(),
            removed,
            tail: Vec::new(),
            tail_rows: 0,
            unstored: None,
        })
    }

    /// The segments of a listing, and what is wrong with them beside each other.
    fn parts(
        &mut self,
        lane: &str,
        listing: &Listing,
        has_frames: bool,
    ) -> Result<Vec<Part>, Error> {
        for path in &listing.leftovers {
            let name = path.file_name().and_then(|name| name.to_str());
            let range = name
                .and_then(layout::parse)
                .map(|(first, last, _)| (first, last));
            let same = listing
                .segments
                .iter()
                .find(|segment| Some((segment.first_seq, segment.last_seq)) == range);
            match same {
                Some(same) => {
                    let what = format!("doubled: {} holds the same records", same.path.display());
                    self.wrong(lane, what).file = Some(path.clone());
                }
                None => {
                    let what =
                        "a leftover: its records are in a larger segment; the next run removes it";
                    self.note(lane, what.to_owned(), false).file = Some(path.clone());
                }
            }
        }
        for path in &listing.foreign {
            let what = "no segment of a store: it is passed over".to_owned();
            self.note(lane, what, false).file = Some(path.clone());
        }
        let mut parts: Vec<Part> = Vec::new();
        for segment in &listing.segments {
            let Some(part) = part::look(segment, has_frames)? else {
                let what = "it went away while it was looked at".to_owned();
                self.wrong(lane, what).file = Some(segment.path.clone());
                continue;
            };
            for what in &part.wrongs {
                self.wrong(lane, what.clone()).file = Some(part.path.clone());
            }
            if let Some(before) = parts.last().filter(|p| p.last_seq >= part.first_seq) {
                let what = format!(
                    "doubled: records {} to {} are in {} too",
                    part.first_seq,
                    before.last_seq.min(part.last_seq),
                    before.path.display()
                );
                self.wrong(lane, what).file = Some(part.path.clone());
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// Reads what the journal has of the run: heads of blocks, and gaps that are in no segment.
    fn walk(&mut self, lanes: &mut [Lane], cursor: u64, events_seq: u64) -> Result<Walked, Error> {
        let mut walked = Walked::default();
        let Some(first_seq) = self.place.first_seq else {
            return Ok(walked);
        };
        // While somebody writes, only what is committed is final.
        let until = if self.archive.in_use() {
            Until::Stated
        } else {
            Until::Written
        };
        let filter = Filter {
            kinds: Some(vec![Kind::Run, Kind::Block, Kind::Ledger]),
            sources: None,
        };
        let mut reader = Reader::open(self.archive.journal(), From::Seq(first_seq), until, filter)?;
        let mut block = DecodedBlock::default();
        let mut last_seq = first_seq;
        loop {
            let record = match reader.next()? {
                Next::End => break,
                Next::Lost(lost) => {
                    walked.lost.push((lost.from_seq, lost.to_seq));
                    continue;
                }
                Next::Record(record) => record,
            };
            let is_other =
                record.kind == Some(Kind::Run) && !record.is_repeated && record.seq != first_seq;
            if is_other || self.place.end_seq.is_some_and(|end| record.seq >= end) {
                break;
            }
            last_seq = record.seq;
            match record.kind {
                Some(Kind::Ledger) => walked.ledger = Some(record.payload.to_vec()),
                Some(Kind::Block) => {
                    let summary = BlockSummary::parse(record.payload)?;
                    if summary.gaps > 0 && record.seq > cursor.max(events_seq) {
                        block.decode(record.payload)?;
                        self.gaps(&block);
                    }
                    let place = (usize::from(summary.source.0), usize::from(summary.lane));
                    let lane = lanes
                        .iter_mut()
                        .find(|lane| (lane.source, lane.lane) == place);
                    if let Some(lane) = lane.filter(|_| summary.frames > 0) {
                        lane.take(record.seq, &summary, cursor);
                    }
                }
                _ => {}
            }
        }
        walked.seqs = Some((first_seq, last_seq));
        Ok(walked)
    }

    fn gaps(&mut self, block: &DecodedBlock) {
        let summary = block.summary();
        let source = self.place.record.sources.get(usize::from(summary.source.0));
        let name = source.map_or("?", |source| source.name.as_str());
        let lane = source.and_then(|source| source.lanes.get(usize::from(summary.lane)));
        let label = lane.map_or(summary.priority.name(), LaneRecord::label);
        for gap in block.gaps() {
            let frames = gap.frames.unwrap_or(0);
            self.drops.add(name, label, gap.reason.name(), frames);
        }
    }

    /// Where both have a block, both have its rows.
    fn compare(&mut self, lane: &Lane, walked: &Walked) {
        if let Some((first, last, rows)) = lane.unstored {
            let what = format!(
                "records {first} to {last} of the journal with {rows} rows should be in a segment, and are in none"
            );
            self.wrong(&lane.name, what);
        }
        let Some((from, to)) = walked.seqs else {
            return;
        };
        for part in &lane.parts {
            let is_whole = part.first_seq >= from && part.last_seq <= to;
            let is_lost = |(a, b): &(u64, u64)| *a <= part.last_seq && *b >= part.first_seq;
            if is_whole
                && part.wrongs.is_empty()
                && !walked.lost.iter().any(is_lost)
                && part.rows != part.journal_rows
            {
                let what = format!(
                    "it has {} rows; the journal has {} in the same records",
                    part.rows, part.journal_rows
                );
                self.wrong(&lane.name, what).file = Some(part.path.clone());
            }
        }
    }
}

impl Lane {
    /// Finds the place of a block of the journal: in a segment, removed, or in the journal alone.
    fn take(&mut self, seq: u64, summary: &BlockSummary, cursor: u64) {
        let rows = u64::from(summary.frames);
        let behind = self.parts.partition_point(|part| part.first_seq <= seq);
        let before = behind.checked_sub(1).and_then(|at| self.parts.get_mut(at));
        if let Some(part) = before.filter(|part| part.last_seq >= seq) {
            part.journal_rows += rows;
        } else if self
            .removed
            .iter()
            .any(|gone| (gone.first_seq..=gone.last_seq).contains(&seq))
        {
            // It went, and the line says so.
        } else if seq > cursor.max(self.last_seq) {
            self.tail_rows += rows;
            match self.tail.last_mut() {
                Some((first, count)) if *first + *count == summary.first_frame => *count += rows,
                _ => self.tail.push((summary.first_frame, rows)),
            }
        } else {
            let unstored = self.unstored.get_or_insert((seq, seq, 0));
            unstored.1 = seq;
            unstored.2 += rows;
        }
    }
}
