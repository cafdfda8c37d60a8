//! The log: appending records to segments, committing, going over to the next segment.
//!
//! **Always holds.** What [`Log::commit`] reports is on disk, and so is everything before it and
//! every name needed to find it. After an error nothing is reported any more.
//!
//! **Must not know.** Queues, and who is told of a commit. It has no thread of its own: tests
//! drive it step by step.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::{Duration, Instant};

use kymo_drivers::block::BlockData;

use super::Clock;
use super::block::{self, Quantum};
use super::error::Error;
use super::files::{Dir, Handle};
#[cfg(test)]
use super::prepare::Step;
use super::prepare::{Preparer, Publish, Rotation};
use super::record::{self, FLAG_REPEATED, HEAD_BYTES, Head, Kind, NO_SOURCE, RECORD_BYTES_MAX};
use super::recover::Start;
use super::segment::{self, HEADER_BYTES, Header, NEXT_NAME};
use super::status::Shared;

/// The buffer is written out when it holds this much: large enough that the system call costs
/// nothing beside the copy, small enough to stay in the cache.
pub(super) const WRITE_BYTES: usize = 256 << 10;

/// How long the writer waits for room on a full disk before it gives up.
const BLOCKED_MAX: Duration = Duration::from_secs(5);

/// How often it looks meanwhile.
const BLOCKED_LOOK: Duration = Duration::from_millis(50);

/// For each source, lane and column, how its values came from integers, where they did.
#[derive(Debug, Clone, Default)]
pub struct Quanta(pub Vec<Vec<Vec<Option<Quantum>>>>);

impl Quanta {
    /// The columns of one lane of one source; empty if nothing is known about it.
    #[must_use]
    pub fn columns(&self, source: u16, lane: u8) -> &[Option<Quantum>] {
        self.0
            .get(usize::from(source))
            .and_then(|lanes| lanes.get(usize::from(lane)))
            .map_or(&[], Vec::as_slice)
    }
}

/// Who prepares segments.
pub(super) enum Hands {
    /// Nobody yet: the first segment is made by the log itself, under the same temporary name.
    Nobody,
    /// A thread of its own.
    Thread(Thread),
    /// The caller, when the log has to wait or a test says so.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "tests drive the preparer by hand")
    )]
    Inline(Preparer),
}

impl Hands {
    fn wake(&self) {
        if let Self::Thread(thread) = self {
            thread.unpark();
        }
    }

    /// Waits until the preparer may have done something.
    fn wait(&mut self) {
        match self {
            Self::Thread(_) => std::thread::park(),
            Self::Inline(preparer) => {
                preparer.step();
            }
            Self::Nobody => unreachable!("the log waits only after its first segment"),
        }
    }

    /// How long a full disk is waited for: on a disk that somebody makes room on, a follower of the journal above
    /// all, there may be a place in a moment, and blocks wait in their queues as long. A test waits for nobody.
    fn patience(&self) -> Duration {
        match self {
            Self::Thread(_) => BLOCKED_MAX,
            Self::Inline(_) | Self::Nobody => Duration::ZERO,
        }
    }

    /// Lets an inline preparer do one thing.
    #[cfg(test)]
    pub(super) fn step(&mut self) -> Option<Step> {
        match self {
            Self::Thread(_) | Self::Nobody => None,
            Self::Inline(preparer) => Some(preparer.step()),
        }
    }
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// Everything appended is on disk.
    Done,
    /// The current segment has no durable name yet: ask again when the preparer wakes the writer.
    Waiting,
}

pub(super) struct Setup {
    pub(super) dir: Dir,
    pub(super) segment_bytes: u64,
    pub(super) run: String,
    pub(super) quanta: Quanta,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    pub(super) rotation: Arc<Rotation>,
}

/// The open journal of one run.
pub(super) struct Log {
    setup: Setup,
    hands: Hands,
    /// Records of the current segment that are not yet written to its file.
    buffer: Vec<u8>,
    file: Handle,
    /// Its first seq.
    first_seq: u64,
    /// Bytes written to it.
    written: u64,
    /// Bytes of it up to its first record that is not the run's: a segment never stays at that.
    head_bytes: u64,
    next_seq: u64,
    is_dirty: bool,
    /// A segment was handed over to be published and was not yet seen to be.
    publishing: bool,
}

impl Log {
    /// Begins a segment with the run's record; both are on disk when this returns.
    ///
    /// `hands` is called after that, to start whoever prepares the segments to come.
    pub(super) fn begin(
        setup: Setup,
        start: Start,
        hands: impl FnOnce() -> Result<Hands, Error>,
    ) -> Result<Self, Error> {
        setup.dir.remove_if_there(NEXT_NAME)?;
        let file = setup.dir.create(NEXT_NAME)?;
        file.allocate(setup.segment_bytes)?;
        let mut log = Self {
            setup,
            hands: Hands::Nobody,
            buffer: Vec::with_capacity(WRITE_BYTES + (1 << 20)),
            file,
            first_seq: start.next_seq,
            written: 0,
            head_bytes: 0,
            next_seq: start.next_seq,
            is_dirty: false,
            publishing: false,
        };
        log.setup.shared.set_durable_seq(start.next_seq - 1);
        log.append_segment_head(start.previous, 0)?;
        log.flush()?;
        log.file.sync()?;
        let name = segment::name(start.next_seq);
        log.setup.dir.rename(NEXT_NAME, &name)?;
        log.setup.dir.sync()?;
        log.file.path = log.setup.dir.file(&name);
        log.is_dirty = false;
        log.setup.shared.set_durable_seq(log.next_seq - 1);
        log.hands = hands()?;
        Ok(log)
    }

    #[cfg(test)]
    pub(super) fn hands(&mut self) -> &mut Hands {
        &mut self.hands
    }

    /// Seq of the record last appended.
    pub(super) fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// Whether something waits for a commit.
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty || self.publishing
    }

    /// Whether the buffer should be written out.
    pub(super) fn wants_flush(&self) -> bool {
        self.buffer.len() >= WRITE_BYTES
    }

    pub(super) fn append_block(&mut self, block: &BlockData) -> Result<(), Error> {
        let bytes = block::bytes_max(block);
        self.make_room(bytes)?;
        let times = (block.first_ns().unwrap_or(0), block.last_ns().unwrap_or(0));
        let head = self.head(Kind::Block, 0, block.source.0, times);
        let quanta = self.setup.quanta.columns(block.source.0, block.lane);
        record::append(&mut self.buffer, head, |out| {
            block::encode_block(block, quanta, out);
        })?;
        self.appended();
        Ok(())
    }

    pub(super) fn append_json(
        &mut self,
        kind: Kind,
        source: Option<u16>,
        time_ns: i64,
        json: &str,
    ) -> Result<(), Error> {
        self.make_room(json.len())?;
        let head = self.head(kind, 0, source.unwrap_or(NO_SOURCE), (time_ns, time_ns));
        record::append(&mut self.buffer, head, |out| {
            out.extend_from_slice(json.as_bytes());
        })?;
        self.appended();
        Ok(())
    }

    fn head(&self, kind: Kind, flags: u8, source: u16, times: (i64, i64)) -> Head {
        Head {
            length: 0,
            kind: kind as u8,
            flags,
            source,
            seq: self.next_seq,
            durable_seq: self.setup.shared.durable_seq(),
            t_first_ns: times.0,
            t_last_ns: times.1,
        }
    }

    fn appended(&mut self) {
        self.next_seq += 1;
        self.is_dirty = true;
    }

    /// Header and run record of the segment that begins with the next seq.
    fn append_segment_head(&mut self, previous: u64, flags: u8) -> Result<(), Error> {
        let created_ns = (self.setup.clock)();
        let header = Header {
            first_seq: self.next_seq,
            previous,
            created_ns,
            repaired: false,
        };
        self.buffer.extend_from_slice(&header.encode());
        let head = self.head(Kind::Run, flags, NO_SOURCE, (created_ns, created_ns));
        let run = self.setup.run.as_bytes();
        record::append(&mut self.buffer, head, |out| out.extend_from_slice(run))?;
        self.head_bytes = self.buffer.len() as u64;
        self.appended();
        Ok(())
    }

    /// Writes out what is buffered. Not durable yet.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        // Relaxed: a count for reports.
        self.setup
            .shared
            .bytes_written
            .fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        self.buffer.clear();
        Ok(())
    }

    /// Puts everything appended on disk, if the current segment's name already is.
    pub(super) fn commit(&mut self) -> Result<Commit, Error> {
        self.flush()?;
        if !self.see_published()? {
            return Ok(Commit::Waiting);
        }
        if self.is_dirty {
            self.file.sync()?;
            self.is_dirty = false;
            self.setup.shared.set_durable_seq(self.next_seq - 1);
            // Relaxed: a count for reports.
            self.setup.shared.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Commit::Done)
    }

    /// As [`Log::commit`], waiting for the preparer if need be.
    pub(super) fn commit_now(&mut self) -> Result<(), Error> {
        while self.commit()? == Commit::Waiting {
            self.hands.wait();
        }
        Ok(())
    }

    /// Gives back the space reserved beyond the end. Everything has been committed.
    pub(super) fn trim(&mut self) -> Result<(), Error> {
        self.file.set_size(self.written)?;
        self.file.sync()
    }

    fn see_published(&mut self) -> Result<bool, Error> {
        if let Some(error) = self.setup.rotation.failure() {
            return Err(Error::Preparing(error));
        }
        if self.publishing && self.setup.rotation.is_published(self.first_seq) {
            self.publishing = false;
        }
        Ok(!self.publishing)
    }

    /// Goes over to the next segment if a record of `payload` bytes might not fit this one.
    fn make_room(&mut self, payload: usize) -> Result<(), Error> {
        if payload > RECORD_BYTES_MAX {
            return Err(Error::RecordTooLong {
                bytes: payload,
                limit: RECORD_BYTES_MAX,
            });
        }
        let at = self.written + self.buffer.len() as u64;
        let end = at + (HEAD_BYTES + record::padded(payload)) as u64;
        if at == self.head_bytes || end <= self.setup.segment_bytes {
            return Ok(());
        }
        self.rotate()
    }

    fn rotate(&mut self) -> Result<(), Error> {
        self.flush()?;
        while !self.see_published()? {
            self.hands.wait();
        }
        let new = self.next_file()?;
        let previous = self.first_seq;
        let old = std::mem::replace(&mut self.file, new);
        let old_bytes = std::mem::replace(&mut self.written, 0);
        self.first_seq = self.next_seq;
        self.append_segment_head(previous, FLAG_REPEATED)?;
        self.flush()?;
        self.setup.rotation.hand_over(Publish {
            old,
            old_bytes,
            new: self.file.clone(),
            first_seq: self.first_seq,
        });
        self.publishing = true;
        self.hands.wake();
        self.file.path = self.setup.dir.file(&segment::name(self.first_seq));
        Ok(())
    }

    /// The file made ready; waits while it is being made, fails if it cannot be made for long.
    fn next_file(&mut self) -> Result<Handle, Error> {
        let mut blocked_since = None;
        loop {
            if let Some(file) = self.setup.rotation.take_ready() {
                return Ok(file);
            }
            if let Some(error) = self.setup.rotation.failure() {
                return Err(Error::Preparing(error));
            }
            if self.setup.rotation.is_blocked() {
                if blocked_since.is_none() {
                    // Nothing is reported meanwhile, but what is written is safe.
                    self.file.sync()?;
                }
                let since = *blocked_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.hands.patience() {
                    return Err(Error::NoNextSegment {
                        path: self.path(),
                        reason: self.setup.shared.trouble.get().unwrap_or_default(),
                    });
                }
                // The preparer tries again by itself.
                std::thread::park_timeout(BLOCKED_LOOK);
                continue;
            }
            self.hands.wake();
            self.hands.wait();
        }
    }

    fn path(&self) -> PathBuf {
        self.file.path.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.setup.rotation.close();
        self.hands.wake();
    }
}

// The smallest useful buffer is a header and a head.
const _: () = assert!(WRITE_BYTES > HEADER_BYTES + HEAD_BYTES);
