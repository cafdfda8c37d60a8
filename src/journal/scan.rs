//! Going through one segment record by record.
//!
//! **Always holds.** No more than one record and one read-ahead are in memory, whatever the bytes
//! on disk say. A record is given out only after its checksum was compared.
//!
//! **Must not know.** Whether what it finds is damage, a torn tail or not yet written: that takes
//! the caller's knowledge of what was committed.

use super::error::Error;
use super::files::Handle;
use super::record::{self, HEAD_BYTES, Head};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// How far behind damage a seq may lie and still be believed: far more than fit a segment.
const SEQ_STEP_MAX: u64 = 1 << 32;

/// What is at a place in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole record; its payload is in [`Scan::payload`] until the next call.
    Record(Head),
    /// Bytes, but no whole record.
    Bad,
    /// The end of the file.
    End,
}

/// A place in a segment, with the bytes around it.
pub(super) struct Scan {
    pub(super) file: Handle,
    /// The file's size when last asked.
    pub(super) size: u64,
    window: Vec<u8>,
    /// Where in the file the window begins.
    window_at: u64,
    payload: std::ops::Range<usize>,
}

impl Scan {
    pub(super) fn new(file: Handle) -> Result<Self, Error> {
        let size = file.size()?;
        Ok(Self {
            file,
            size,
            window: Vec::new(),
            window_at: 0,
            payload: 0..0,
        })
    }

    /// Asks for the file's size again; the window may hold bytes from before they were written.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        self.size = self.file.size()?;
        self.window.clear();
        Ok(())
    }

    /// Has `bytes` from `at` on in the window if the file has them; the index of `at` in it.
    fn load(&mut self, at: u64, bytes: usize) -> Result<usize, Error> {
        let window_end = self.window_at + self.window.len() as u64;
        let wanted_end = (at + bytes as u64).min(self.size);
        if at < self.window_at || wanted_end > window_end {
            let ahead = (bytes.max(READ_BYTES) as u64).min(self.size.saturating_sub(at));
            // Bounded by the longest record: no truncation.
            self.window.resize(ahead as usize, 0);
            let filled = self.file.read_at(&mut self.window, at)?;
            self.window.truncate(filled);
            self.window_at = at;
        }
        Ok((at - self.window_at) as usize)
    }

    fn has(&self, index: usize, bytes: usize) -> bool {
        self.window.len() >= index + bytes
    }

    /// What is at `at`.
    pub(super) fn record_at(&mut self, at: u64) -> Result<Found, Error> {
        if at >= self.size {
            return Ok(Found::End);
        }
        let index = self.load(at, HEAD_BYTES)?;
        if !self.has(index, HEAD_BYTES) {
            return Ok(Found::Bad);
        }
        let head = Head::parse(&self.window[index..]);
        if !head.is_plausible() || at + head.total_bytes() as u64 > self.size {
            return Ok(Found::Bad);
        }
        let index = self.load(at, head.total_bytes())?;
        if !self.has(index, head.total_bytes())
            || !record::is_intact(&self.window[index..index + head.total_bytes()])
        {
            return Ok(Found::Bad);
        }
        let start = index + HEAD_BYTES;
        self.payload = start..start + head.length as usize;
        Ok(Found::Record(head))
    }

    /// The payload of the record last found.
    pub(super) fn payload(&self) -> &[u8] {
        &self.window[self.payload.clone()]
    }

    /// The whole record last found, as it lies in the file.
    pub(super) fn record_bytes(&self, head: &Head) -> &[u8] {
        &self.window[self.payload.start - HEAD_BYTES..][..head.total_bytes()]
    }

    /// The next place after `at` with a whole record whose seq follows `after_seq`.
    pub(super) fn resync(&mut self, at: u64, after_seq: u64) -> Result<Option<u64>, Error> {
        let mut place = at.next_multiple_of(8);
        if place == at {
            place += 8;
        }
        while place + HEAD_BYTES as u64 <= self.size {
            let index = self.load(place, HEAD_BYTES)?;
            if !self.has(index, HEAD_BYTES) {
                return Ok(None);
            }
            let head = Head::parse(&self.window[index..]);
            if head.is_plausible()
                && head.seq > after_seq
                && head.seq - after_seq <= SEQ_STEP_MAX
                && matches!(self.record_at(place)?, Found::Record(_))
            {
                return Ok(Some(place));
            }
            place += 8;
        }
        Ok(None)
    }
}
