//! Reading: from a seq or a time on, through segments and runs, behind a writer that goes on.
//!
//! **Always holds.** Records come in order of seq, each once. What is missing is told as
//! [`Next::Lost`], never passed over. At the end [`Next::End`] comes; asking again later is how
//! one follows. No more than one record and a read-ahead are in memory.
//!
//! **Must not know.** Who writes: it may be another process.

use std::path::Path;

use super::error::Error;
use super::files::Dir;
use super::record::{Head, Kind, NO_SOURCE};
use super::scan::{Found, Scan};
use super::segment::{self, HEADER_BYTES, Header, HeaderState};
use super::status::DurableSeq;
use super::verify::Progress;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With this seq; 0 or 1 for the oldest there is.
    Seq(u64),
    /// With the first record that reaches this time, UTC ns; earlier ones are passed over, except run
    /// records: what comes is read by them.
    Time(i64),
}

/// How far to read.
#[derive(Debug, Clone)]
pub enum Until {
    /// As far as the writer, in this process, has committed.
    Durable(DurableSeq),
    /// As far as the journal itself says that it was committed: from another process. While
    /// nothing is written, the last commit stays out of sight until the next record or the ledger.
    Stated,
    /// Every whole record, committed or not: when nobody writes.
    Written,
}

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// These kinds; `None` for all, also unknown ones.
    pub kinds: Option<Vec<Kind>>,
    /// Of these sources, and those that belong to none; `None` for all.
    pub sources: Option<Vec<u16>>,
}

impl Filter {
    fn wants(&self, head: &Head) -> bool {
        let kind = self
            .kinds
            .as_ref()
            .is_none_or(|kinds| kinds.iter().any(|kind| *kind as u8 == head.kind));
        let source = self
            .sources
            .as_ref()
            .is_none_or(|sources| head.source == NO_SOURCE || sources.contains(&head.source));
        kind && source
    }
}

/// A record, as long as the reader is not asked for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub seq: u64,
    /// What it holds; `None` for a kind this program does not know.
    pub kind: Option<Kind>,
    /// A run record that only repeats the one at the beginning of the run.
    pub is_repeated: bool,
    /// The source it belongs to.
    pub source: Option<u16>,
    /// Its first time, UTC ns.
    pub t_first_ns: i64,
    /// Its last time, UTC ns.
    pub t_last_ns: i64,
    /// JSON, or a block for [`super::DecodedBlock`].
    pub payload: &'a [u8],
}

/// Records that are not there: damaged, or in a segment that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The first seq missing.
    pub from_seq: u64,
    /// The last seq missing.
    pub to_seq: u64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// A record.
    Record(Record<'a>),
    /// A hole in front of the next record.
    Lost(Lost),
    /// Nothing for now.
    End,
}

/// What [`Reader::advance`] stopped at.
enum Stop {
    Record(Head),
    Lost(Lost),
    End,
}

/// The segment being read.
struct Open {
    scan: Scan,
    first_seq: u64,
    at: u64,
    /// A later segment exists: this one does not grow any more.
    is_sealed: bool,
    /// Looks ahead for statements of what was committed.
    ahead: Option<Scan>,
    ahead_at: u64,
}

/// Reads a journal, and follows it.
pub struct Reader {
    dir: Dir,
    until: Until,
    filter: Filter,
    /// Records that end before it are passed over.
    from_ns: i64,
    /// The seq expected next.
    next_seq: u64,
    /// Up to which the journal says that it was committed.
    stated_seq: u64,
    open: Option<Open>,
    /// The segments from the first one read on, by their first seqs, with their sizes, when it was opened.
    sizes: Vec<(u64, u64)>,
}

impl Reader {
    /// A reader of the journal in `dir`. There need be nothing there yet.
    pub fn open(dir: &Path, from: From, until: Until, filter: Filter) -> Result<Self, Error> {
        Self::open_in(Dir::os(dir), from, until, filter)
    }

    pub(super) fn open_in(
        dir: Dir,
        from: From,
        until: Until,
        filter: Filter,
    ) -> Result<Self, Error> {
        let segments = segment::list(&dir)?.segments;
        let oldest = segments.first().copied().unwrap_or(1);
        let (next_seq, from_ns) = match from {
            From::Seq(seq) if seq <= 1 => (oldest, i64::MIN),
            From::Seq(seq) => (seq, i64::MIN),
            From::Time(time_ns) => (seek(&dir, &segments, time_ns)?.unwrap_or(oldest), time_ns),
        };
        let begin = segments
            .partition_point(|first| *first <= next_seq)
            .saturating_sub(1);
        let mut sizes = Vec::with_capacity(segments.len() - begin.min(segments.len()));
        for first_seq in segments.get(begin..).unwrap_or_default() {
            if let Some(file) = dir.open_if_there(&segment::name(*first_seq))? {
                sizes.push((*first_seq, file.size()?));
            }
        }
        Ok(Self {
            dir,
            until,
            filter,
            from_ns,
            next_seq,
            stated_seq: 0,
            open: None,
            sizes,
        })
    }

    /// The seq that would be read next: everything before it has been given out or passed over.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// How far it has come, in bytes of segments that were there when it was opened.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let first_seq = self.open.as_ref().map_or(0, |open| open.first_seq);
        let passed = self.sizes.iter().filter(|(seq, _)| *seq < first_seq);
        let passed: u64 = passed.map(|(_, size)| size).sum();
        Progress {
            bytes: passed + self.open.as_ref().map_or(0, |open| open.at),
            bytes_total: self.sizes.iter().map(|(_, size)| size).sum(),
        }
    }

    /// The next record that is wanted, a hole, or the end for now.
    // Not an iterator: the record borrows from the reader, and the end is not final.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Next<'_>, Error> {
        let head = match self.advance()? {
            Stop::Record(head) => head,
            Stop::Lost(lost) => return Ok(Next::Lost(lost)),
            Stop::End => return Ok(Next::End),
        };
        let payload = self
            .open
            .as_ref()
            .map_or(&[][..], |open| open.scan.payload());
        Ok(Next::Record(Record {
            seq: head.seq,
            kind: Kind::from_code(head.kind),
            is_repeated: head.is_repeated_run(),
            source: (head.source != NO_SOURCE).then_some(head.source),
            t_first_ns: head.t_first_ns,
            t_last_ns: head.t_last_ns,
            payload,
        }))
    }

    fn advance(&mut self) -> Result<Stop, Error> {
        loop {
            if let Until::Durable(durable) = &self.until
                && self.next_seq > durable.get()
            {
                return Ok(Stop::End);
            }
            let Some(open) = &mut self.open else {
                if self.open_segment()? {
                    continue;
                }
                return Ok(Stop::End);
            };
            match open.scan.record_at(open.at)? {
                Found::Record(head) if head.seq < self.next_seq => {
                    open.at += head.total_bytes() as u64;
                }
                Found::Record(head) if head.seq > self.next_seq => {
                    return Ok(Stop::Lost(self.lose_up_to(head.seq)));
                }
                Found::Record(head) => {
                    if !self.is_committed(head.seq)? {
                        return Ok(Stop::End);
                    }
                    self.next_seq += 1;
                    if let Some(open) = &mut self.open {
                        open.at += head.total_bytes() as u64;
                    }
                    // Whose records these are is known only from the run's.
                    let is_late = head.t_last_ns >= self.from_ns || head.kind == Kind::Run as u8;
                    if is_late && self.filter.wants(&head) {
                        return Ok(Stop::Record(head));
                    }
                }
                found => {
                    if !self.pass_end(found == Found::Bad)? {
                        return Ok(Stop::End);
                    }
                }
            }
        }
    }

    fn lose_up_to(&mut self, seq: u64) -> Lost {
        let lost = Lost {
            from_seq: self.next_seq,
            to_seq: seq - 1,
        };
        self.next_seq = seq;
        lost
    }

    /// Opens the segment that holds the next seq, or the first one after it.
    fn open_segment(&mut self) -> Result<bool, Error> {
        let segments = segment::list(&self.dir)?.segments;
        let after = segments.partition_point(|first| *first <= self.next_seq);
        let Some(first_seq) = segments.get(after.saturating_sub(1)).copied() else {
            return Ok(false);
        };
        self.go_to(&segments, first_seq)
    }

    fn go_to(&mut self, segments: &[u64], first_seq: u64) -> Result<bool, Error> {
        let Some(file) = self.dir.open_if_there(&segment::name(first_seq))? else {
            // Pruned since it was listed: whoever asks again finds the next.
            return Ok(false);
        };
        // A damaged header does not hide the records behind it.
        Header::read(&file, first_seq)?;
        let later = segments.iter().find(|first| **first > first_seq);
        if let Some(later) = later {
            self.stated_seq = self.stated_seq.max(later - 1);
        }
        self.open = Some(Open {
            scan: Scan::new(file)?,
            first_seq,
            at: HEADER_BYTES as u64,
            is_sealed: later.is_some(),
            ahead: None,
            ahead_at: HEADER_BYTES as u64,
        });
        Ok(true)
    }

    /// At a place without a record: goes on behind it, if there is anything behind it.
    fn pass_end(&mut self, is_bad: bool) -> Result<bool, Error> {
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        if !open.is_sealed {
            let segments = segment::list(&self.dir)?.segments;
            let later = segments.iter().find(|first| **first > open.first_seq);
            let size = open.scan.size;
            open.scan.refresh()?;
            if let Some(later) = later {
                // Nothing more comes into this one; what came before the list is read first.
                open.is_sealed = true;
                self.stated_seq = self.stated_seq.max(later - 1);
                return Ok(true);
            }
            if open.scan.size > size {
                return Ok(true);
            }
        }
        if is_bad && let Some(place) = open.scan.resync(open.at, self.next_seq - 1)? {
            let at = open.at;
            open.at = place;
            // Damage only if it was committed; else the writer is not done with it.
            let is_damage = open.is_sealed || self.is_committed(self.next_seq)?;
            if !is_damage && let Some(open) = &mut self.open {
                open.at = at;
            }
            return Ok(is_damage);
        }
        if !open.is_sealed {
            return Ok(false);
        }
        let first_seq = open.first_seq;
        let segments = segment::list(&self.dir)?.segments;
        match segments.iter().find(|first| **first > first_seq).copied() {
            Some(later) => self.go_to(&segments, later),
            None => Ok(false),
        }
    }

    /// Whether a record may be given out.
    fn is_committed(&mut self, seq: u64) -> Result<bool, Error> {
        match &self.until {
            Until::Durable(durable) => Ok(seq <= durable.get()),
            Until::Written => Ok(true),
            Until::Stated => {
                if seq > self.stated_seq {
                    self.look_ahead(seq)?;
                }
                Ok(seq <= self.stated_seq)
            }
        }
    }

    /// Looks for a later record that says that `seq` was committed.
    fn look_ahead(&mut self, seq: u64) -> Result<(), Error> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let ahead = match &mut open.ahead {
            Some(ahead) => ahead,
            none => none.insert(Scan::new(open.scan.file.clone())?),
        };
        if open.ahead_at < open.at {
            open.ahead_at = open.at;
        }
        let mut is_refreshed = false;
        while self.stated_seq < seq {
            match ahead.record_at(open.ahead_at)? {
                Found::Record(head) => {
                    open.ahead_at += head.total_bytes() as u64;
                    let stated = if head.kind == Kind::Ledger as u8 {
                        // The end of a run: the writer commits it right away.
                        head.seq
                    } else {
                        head.durable_seq
                    };
                    self.stated_seq = self.stated_seq.max(stated);
                }
                _ if !is_refreshed => {
                    is_refreshed = true;
                    ahead.refresh()?;
                }
                Found::Bad => match ahead.resync(open.ahead_at, seq)? {
                    Some(place) => open.ahead_at = place,
                    None => break,
                },
                Found::End => break,
            }
        }
        if self.stated_seq < seq && !open.is_sealed {
            // Nothing more may come into this segment: then the next one says it by being there.
            let segments = segment::list(&self.dir)?.segments;
            if let Some(later) = segments.iter().find(|first| **first > open.first_seq) {
                self.stated_seq = self.stated_seq.max(later - 1);
            }
        }
        Ok(())
    }
}

/// The segment to begin with for records of `time_ns` and later: the first that was still being
/// written then. A record is written after the times in it.
fn seek(dir: &Dir, segments: &[u64], time_ns: i64) -> Result<Option<u64>, Error> {
    for pair in segments.windows(2) {
        let Some(file) = dir.open_if_there(&segment::name(pair[1]))? else {
            // Pruned since it was listed, and with it what came before it.
            continue;
        };
        if let HeaderState::Good(header) = Header::read(&file, pair[1])?
            && header.created_ns >= time_ns
        {
            return Ok(Some(pair[0]));
        }
    }
    Ok(segments.last().copied())
}
