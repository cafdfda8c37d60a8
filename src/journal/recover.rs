//! Recovery: making sense of what a run left behind, before a new one begins.
//!
//! **Always holds.** Nothing committed is ever cut away: the tail of the last segment is cut only
//! if no intact record and no cursor says that something in it was synced. Recovery can itself
//! be killed at any moment and done again. Earlier segments are only looked at, and only at
//! their headers: [`super::verify`] reads everything.
//!
//! **Must not know.** Runs to come.

use std::path::PathBuf;

use super::cursor;
use super::error::Error;
use super::files::{Dir, Handle};
use super::log::WRITE_BYTES;
use super::record::Kind;
use super::scan::{Found, Scan};
use super::segment::{self, HEADER_BYTES, Header, HeaderState};

/// A tail that a crash left half written, and that was cut off. It was never committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub path: PathBuf,
    /// Where it was cut, bytes.
    pub at: u64,
    /// Bytes cut.
    pub bytes: u64,
    /// Whole records among them: behind the tear, and uncommitted like the rest.
    pub records: u64,
}

/// Committed data that cannot be read. The segment was left as it is, for [`super::repair`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The segment.
    pub path: PathBuf,
    /// The first byte that belongs to no intact record.
    pub at: u64,
    /// Seqs that are known to have been committed and are not there: from, to, both included.
    pub seqs: (u64, u64),
}

/// A segment that the one after it names, and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// First seq of the missing segment.
    pub first_seq: u64,
    /// First seq of the segment after it, which is there.
    pub before: u64,
}

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments found.
    pub segments: usize,
    /// First seq of the oldest.
    pub first_seq: Option<u64>,
    /// Seq of the first record to be written now.
    pub next_seq: u64,
    /// Whether the run before was closed with a ledger.
    pub was_closed: bool,
    /// The tail that was cut.
    pub torn: Option<Torn>,
    /// Committed data of the last segment that cannot be read.
    pub damaged: Option<Damaged>,
    /// Segments that are gone.
    pub missing: Vec<Missing>,
    /// Segments that the one after them does not know: records may be there twice.
    pub doubled: Vec<PathBuf>,
    /// Segments whose header is damaged.
    pub bad_headers: Vec<PathBuf>,
    /// Half-made files that were removed: nothing in them was committed.
    pub removed: Vec<PathBuf>,
    /// A last segment without a readable record, set aside under this name.
    pub set_aside: Option<PathBuf>,
}

impl Recovery {
    /// Whether committed data were found damaged or missing: to be told loudly.
    #[must_use]
    pub fn has_lost_committed(&self) -> bool {
        self.damaged.is_some()
            || !self.missing.is_empty()
            || !self.doubled.is_empty()
            || !self.bad_headers.is_empty()
    }

    /// What a person should know, one sentence each; empty if all was well.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        if let Some(torn) = &self.torn {
            messages.push(format!(
                "{}: cut a torn tail of {} bytes at byte {} ({} whole records in it); none of it was committed",
                torn.path.display(), torn.bytes, torn.at, torn.records
            ));
        }
        if let Some(damaged) = &self.damaged {
            messages.push(format!(
                "{}: committed records {} to {} cannot be read, from byte {} on; the file was left as it is",
                damaged.path.display(), damaged.seqs.0, damaged.seqs.1, damaged.at
            ));
        }
        for missing in &self.missing {
            messages.push(format!(
                "the segment {} is missing: records {} to {} are gone",
                segment::name(missing.first_seq),
                missing.first_seq,
                missing.before - 1
            ));
        }
        for path in &self.doubled {
            messages.push(format!(
                "{}: the segment after it does not know it; records may be there twice",
                path.display()
            ));
        }
        for path in &self.bad_headers {
            messages.push(format!(
                "{}: the segment's header is damaged",
                path.display()
            ));
        }
        if let Some(path) = &self.set_aside {
            messages.push(format!(
                "{}: holds no readable record and was set aside",
                path.display()
            ));
        }
        messages
    }
}

/// Where the next run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) next_seq: u64,
    /// First seq of the segment before the one to be made, 0 if there is none.
    pub(super) previous: u64,
}

/// Looks through the journal, cuts what was never committed, and says where to go on.
pub(super) fn recover(dir: &Dir) -> Result<(Recovery, Start), Error> {
    let listing = segment::list(dir)?;
    let mut recovery = Recovery {
        segments: listing.segments.len(),
        first_seq: listing.segments.first().copied(),
        ..Recovery::default()
    };
    check_chain(dir, &listing.segments, &mut recovery)?;
    for name in &listing.leftovers {
        dir.remove_if_there(name)?;
        recovery.removed.push(dir.file(name));
    }
    let cursors = cursor::highest(&dir.sub(segment::CURSORS_NAME))?;
    let mut start = Start {
        next_seq: cursors + 1,
        previous: 0,
    };
    if let Some((last, earlier)) = listing.segments.split_last() {
        start = recover_last(dir, *last, cursors, &mut recovery)?;
        if start.previous == 0 {
            // The last segment is gone: the one before it is the last now.
            start.previous = earlier.last().copied().unwrap_or(0);
        }
    }
    // A segment that was set aside takes its seqs with it, also if it was the only one.
    start.next_seq = start.next_seq.max(segment::highest_set_aside(&listing));
    if !listing.leftovers.is_empty() || recovery.set_aside.is_some() || recovery.torn.is_some() {
        dir.sync()?;
    }
    recovery.next_seq = start.next_seq;
    Ok((recovery, start))
}

/// Compares each header with its name and with the segment before.
fn check_chain(dir: &Dir, segments: &[u64], recovery: &mut Recovery) -> Result<(), Error> {
    let mut before = None;
    for first_seq in segments {
        let file = dir.open(&segment::name(*first_seq), false)?;
        match Header::read(&file, *first_seq)? {
            HeaderState::Good(header) => match before {
                Some(before) if before < header.previous => recovery.missing.push(Missing {
                    first_seq: header.previous,
                    before: *first_seq,
                }),
                Some(before) if before > header.previous => {
                    recovery.doubled.push(dir.file(&segment::name(before)));
                }
                _ => {}
            },
            HeaderState::Damaged if Some(first_seq) == segments.last() => {}
            HeaderState::Damaged => recovery.bad_headers.push(file.path),
        }
        before = Some(*first_seq);
    }
    Ok(())
}

/// What scanning the last segment found.
struct Tail {
    /// Highest seq before the first bad byte, or the one before the segment.
    sound_seq: u64,
    /// First byte that is not part of the sound beginning.
    sound_bytes: u64,
    /// Whole records behind the first bad byte.
    later_records: u64,
    /// Highest seq of any whole record.
    highest_seq: u64,
    /// Highest seq that any whole record says was synced.
    stated_seq: u64,
    /// Where the record that first said so begins: everything before it was synced.
    stated_bytes: u64,
    was_closed: bool,
}

fn recover_last(
    dir: &Dir,
    first_seq: u64,
    cursors: u64,
    recovery: &mut Recovery,
) -> Result<Start, Error> {
    let name = segment::name(first_seq);
    let file = dir.open(&name, true)?;
    let header = Header::read(&file, first_seq)?;
    let mut scan = Scan::new(file)?;
    let tail = scan_tail(&mut scan, first_seq)?;
    let committed = tail.stated_seq.max(cursors);
    recovery.was_closed = tail.was_closed;
    let go_on = Start {
        next_seq: tail.highest_seq.max(committed) + 1,
        previous: first_seq,
    };
    let header_is_good = matches!(header, HeaderState::Good(_));
    if committed > tail.sound_seq || (!header_is_good && tail.highest_seq >= first_seq) {
        if !header_is_good {
            recovery.bad_headers.push(scan.file.path.clone());
        }
        if committed > tail.sound_seq {
            recovery.damaged = Some(Damaged {
                path: scan.file.path.clone(),
                at: tail.sound_bytes,
                seqs: (tail.sound_seq + 1, committed),
            });
        }
        // Seqs of whole records are not given out again, committed or not.
        write_again(&scan.file, tail.stated_bytes, scan.size)?;
        scan.file.sync()?;
        return Ok(go_on);
    }
    let cut = scan.size.saturating_sub(tail.sound_bytes);
    if cut > 0 {
        recovery.torn = Some(Torn {
            path: scan.file.path.clone(),
            at: tail.sound_bytes,
            bytes: cut,
            records: tail.later_records,
        });
    }
    if tail.sound_seq < first_seq {
        // Not one record: a crash right after the segment was made.
        discard(dir, &name, first_seq, scan.size, recovery)?;
        return Ok(Start {
            next_seq: first_seq,
            previous: 0,
        });
    }
    // Also gives back the space reserved beyond the end. From here on it counts as committed, so
    // it has to be synced.
    scan.file.set_size(tail.sound_bytes)?;
    write_again(&scan.file, tail.stated_bytes, tail.sound_bytes)?;
    scan.file.sync()?;
    Ok(Start {
        next_seq: tail.sound_seq + 1,
        previous: first_seq,
    })
}

fn scan_tail(scan: &mut Scan, first_seq: u64) -> Result<Tail, Error> {
    let mut tail = Tail {
        sound_seq: first_seq - 1,
        sound_bytes: HEADER_BYTES as u64,
        later_records: 0,
        highest_seq: first_seq - 1,
        stated_seq: 0,
        stated_bytes: 0,
        was_closed: false,
    };
    let mut at = HEADER_BYTES as u64;
    let mut is_sound = true;
    loop {
        match scan.record_at(at)? {
            Found::Record(head) if head.seq > tail.highest_seq => {
                if head.durable_seq > tail.stated_seq {
                    (tail.stated_seq, tail.stated_bytes) = (head.durable_seq, at);
                }
                at += head.total_bytes() as u64;
                tail.highest_seq = head.seq;
                tail.was_closed = head.kind == Kind::Ledger as u8;
                if is_sound {
                    (tail.sound_seq, tail.sound_bytes) = (head.seq, at);
                } else {
                    tail.later_records += 1;
                }
            }
            Found::Record(_) | Found::Bad => {
                is_sound = false;
                match scan.resync(at, tail.highest_seq)? {
                    Some(place) => at = place,
                    None => return Ok(tail),
                }
            }
            Found::End => return Ok(tail),
        }
    }
}

/// Writes what lies from `at` to `end` to its place once more.
///
/// What a killed process wrote may be with the kernel only, and a sync sees to that. But if a
/// sync failed, the kernel may still show what it gave up, and would not write it again unasked.
fn write_again(file: &Handle, mut at: u64, end: u64) -> Result<(), Error> {
    let mut bytes = vec![0; WRITE_BYTES];
    while at < end {
        let wanted = (WRITE_BYTES as u64).min(end - at) as usize;
        let count = file.read_at(&mut bytes[..wanted], at)?;
        if count == 0 {
            break;
        }
        file.write_all_at(&bytes[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

/// Takes a segment without any readable record out of the journal.
fn discard(
    dir: &Dir,
    name: &str,
    first_seq: u64,
    size: u64,
    recovery: &mut Recovery,
) -> Result<(), Error> {
    if size <= HEADER_BYTES as u64 {
        dir.remove(name)?;
        recovery.removed.push(dir.file(name));
    } else {
        let aside = segment::free_damaged_name(dir, first_seq)?;
        dir.rename(name, &aside)?;
        recovery.set_aside = Some(dir.file(&aside));
    }
    dir.sync()
}
