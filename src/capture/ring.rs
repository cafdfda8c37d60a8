//! The way from a device's reader to the recording: a buffer of bytes, bounded, without a lock.
//!
//! A message in it is a head of [`HEAD`] bytes (time, kind, length) and its bytes.
//!
//! **Always holds.** Putting something in takes no lock, allocates nothing and waits for nothing. What there is no room for is
//! counted, and stands as a gap before the next message that there is room for. Whoever takes out sees whole messages,
//! in the order in which they were put in.
//!
//! **Must not know.** What becomes of the messages.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use kymo_drivers::link::{self, Link};
use rtrb::{Consumer, Producer, RingBuffer};

use super::format::LinkChange;
use crate::clock::Clock;
use crate::ledger::SourceCounts;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read = 1,
    Sent = 2,
    Opened = 3,
    Gone = 4,
    Finished = 5,
    Left = 6,
    NotRecorded = 7,
}

const KINDS: [Kind; 7] = [
    Kind::Read,
    Kind::Sent,
    Kind::Opened,
    Kind::Gone,
    Kind::Finished,
    Kind::Left,
    Kind::NotRecorded,
];

/// Time, i64; kind, u8, and length, u32: little-endian.
const HEAD: usize = 13;
/// The content of a gap: from, to, reads, bytes.
const GAP: usize = 32;
/// Room that bytes leave for what becomes of the link: without that, a replay would be another run.
const RESERVE: usize = 8 << 10;
/// A reason is cut here: what a link says of its end is a line.
const REASON_BYTES_MAX: usize = 1024;

/// A source's end, for its reader. There is one, since a buffer has one writer.
pub struct Tap {
    ring: Producer<u8>,
    counts: Arc<SourceCounts>,
    recording: Thread,
    clock: Clock,
    /// What there was no room for since the last message.
    missed: Missed,
    /// What there was no room for to the end.
    last: Arc<OnceLock<Missed>>,
    /// When sending began.
    begun_ns: i64,
}

/// What there was no room for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    pub(super) reads: u64,
    pub(super) bytes: u64,
}

/// The other end.
pub(super) struct Drain {
    ring: Consumer<u8>,
    last: Arc<OnceLock<Missed>>,
}

/// A buffer of so many bytes. The thread is woken when it is a quarter full.
pub(super) fn ring(
    bytes: usize,
    counts: Arc<SourceCounts>,
    recording: Thread,
    clock: Clock,
) -> (Tap, Drain) {
    let (producer, consumer) = RingBuffer::new(bytes);
    let last = Arc::<OnceLock<Missed>>::default();
    let tap = Tap {
        ring: producer,
        counts,
        recording,
        clock,
        missed: Missed::default(),
        last: Arc::clone(&last),
        begun_ns: 0,
    };
    let ring = consumer;
    (tap, Drain { ring, last })
}

impl Tap {
    /// Bytes were read.
    pub fn read(&mut self, time_ns: i64, bytes: &[u8]) {
        self.put(Kind::Read, time_ns, bytes);
    }

    /// The device was opened.
    pub fn opened(&mut self, time_ns: i64, link: &dyn Link) {
        let mut about = [0; 9];
        about[..8].copy_from_slice(&link.ns_per_byte().to_le_bytes());
        about[8] = u8::from(link.keeps_boundaries());
        self.put(Kind::Opened, time_ns, &about);
    }

    /// The device was gone.
    pub fn gone(&mut self, time_ns: i64, reason: &str) {
        self.put(Kind::Gone, time_ns, cut(reason));
    }

    /// There was no more to come.
    pub fn finished(&mut self, time_ns: i64, reason: &str) {
        self.put(Kind::Finished, time_ns, cut(reason));
    }

    /// The device was let go of.
    pub fn left(&mut self, time_ns: i64) {
        self.put(Kind::Left, time_ns, &[]);
    }

    fn put(&mut self, kind: Kind, time_ns: i64, bytes: &[u8]) {
        let missed = self.missed;
        let is_missing = missed != Missed::default();
        let gap = if is_missing { HEAD + GAP } else { 0 };
        let reserve = match kind {
            Kind::Read | Kind::Sent => RESERVE,
            _ => 0,
        };
        if self.ring.slots() < gap + HEAD + bytes.len() + reserve {
            self.miss(kind, time_ns, bytes.len());
            return;
        }
        if is_missing {
            let mut content = [0; GAP];
            content[..8].copy_from_slice(&missed.from_ns.to_le_bytes());
            content[8..16].copy_from_slice(&missed.to_ns.to_le_bytes());
            content[16..24].copy_from_slice(&missed.reads.to_le_bytes());
            content[24..].copy_from_slice(&missed.bytes.to_le_bytes());
            // It stands where the first of what is missing would.
            self.push(Kind::NotRecorded, missed.from_ns, &content);
            self.missed = Missed::default();
        }
        self.push(kind, time_ns, bytes);
        let capacity = self.ring.buffer().capacity();
        if self.ring.slots() < capacity - capacity / 4 {
            self.recording.unpark();
        }
    }

    fn miss(&mut self, kind: Kind, time_ns: i64, bytes: usize) {
        if self.missed == Missed::default() {
            self.missed.from_ns = time_ns;
        }
        self.missed.to_ns = time_ns;
        self.missed.reads += 1;
        if kind == Kind::Read {
            self.missed.bytes += bytes as u64;
            self.counts.add_not_recorded(bytes as u64);
        }
        self.recording.unpark();
    }

    /// There is room for it: that was looked at, and nobody else puts anything in.
    fn push(&mut self, kind: Kind, time_ns: i64, bytes: &[u8]) {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&time_ns.to_le_bytes());
        head[8] = kind as u8;
        // It fits into the buffer, whose size is below 4 GiB.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        head[9..].copy_from_slice(&length.to_le_bytes());
        // The other end may see the head before the bytes, and leaves it until they are there.
        let pushed = self.ring.push_entire_slice(&head);
        let pushed = pushed.and_then(|()| self.ring.push_entire_slice(bytes));
        debug_assert!(pushed.is_ok(), "room was looked for");
    }

    fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }
}

impl Drop for Tap {
    /// What is missing at the end goes another way: there may never be room again.
    fn drop(&mut self) {
        if self.missed != Missed::default() {
            // Set once, here.
            let _ = self.last.set(self.missed);
        }
        self.recording.unpark();
    }
}

impl link::Observer for Tap {
    fn begins(&mut self) {
        self.begun_ns = self.now_ns();
    }

    fn sent(&mut self, bytes: &[u8]) {
        self.put(Kind::Sent, self.begun_ns, bytes);
    }
}

/// A text that is not too long, cut between characters.
fn cut(text: &str) -> &[u8] {
    let mut end = text.len().min(REASON_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}

impl Message<'_> {
    /// What it says of the link, if that is what it is.
    pub(super) fn change(&self) -> Option<LinkChange> {
        let content = [self.content.0, self.content.1].concat();
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(content.get(at..at + 8)?);
            Some(bytes)
        };
        let reason = || String::from_utf8_lossy(&content).into_owned();
        Some(match self.kind {
            Kind::Read | Kind::Sent => return None,
            Kind::Opened => LinkChange::Opened {
                ns_per_byte: f64::from_le_bytes(number(0)?),
                keeps_boundaries: content.get(8) == Some(&1),
            },
            Kind::Gone => LinkChange::Gone { reason: reason() },
            Kind::Finished => LinkChange::Finished { reason: reason() },
            Kind::Left => LinkChange::Left,
            Kind::NotRecorded => LinkChange::NotRecorded {
                from_ns: i64::from_le_bytes(number(0)?),
                to_ns: i64::from_le_bytes(number(8)?),
                reads: u64::from_le_bytes(number(16)?),
                bytes: u64::from_le_bytes(number(24)?),
            },
        })
    }
}

impl Missed {
    /// As it stands in a capture.
    pub(super) fn change(self) -> LinkChange {
        let Self {
            from_ns,
            to_ns,
            reads,
            bytes,
        } = self;
        LinkChange::NotRecorded {
            from_ns,
            to_ns,
            reads,
            bytes,
        }
    }
}

/// A message as it lies in the buffer: in two pieces, if it lies across the buffer's end.
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    pub(super) time_ns: i64,
    pub(super) content: (&'a [u8], &'a [u8]),
}

impl Drain {
    /// What was missing at the end, when nothing will come any more.
    pub(super) fn last(&self) -> Option<Missed> {
        self.last.get().copied()
    }

    /// Whether nothing will come any more.
    pub(super) fn is_closed(&self) -> bool {
        self.ring.is_abandoned() && self.ring.is_empty()
    }

    /// Takes what is there now, message by message. Stops at the first error, and loses that message.
    pub(super) fn take<E>(
        &mut self,
        mut each: impl FnMut(&Message<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let there = self.ring.slots();
            if there < HEAD {
                return Ok(());
            }
            let Ok(chunk) = self.ring.read_chunk(there) else {
                return Ok(());
            };
            let (front, back) = chunk.as_slices();
            let mut done = 0;
            let mut outcome = Ok(());
            while outcome.is_ok() && done + HEAD <= there {
                let mut head = [0; HEAD];
                let (a, b) = piece((front, back), done, HEAD);
                head[..a.len()].copy_from_slice(a);
                head[a.len()..].copy_from_slice(b);
                let mut time = [0; 8];
                time.copy_from_slice(&head[..8]);
                let mut length = [0; 4];
                length.copy_from_slice(&head[9..]);
                let length = u32::from_le_bytes(length) as usize;
                let kind = KINDS.into_iter().find(|kind| *kind as u8 == head[8]);
                let Some(kind) = kind else {
                    unreachable!("the buffer's other end puts in kinds alone");
                };
                if done + HEAD + length > there {
                    break;
                }
                let content = piece((front, back), done + HEAD, length);
                done += HEAD + length;
                outcome = each(&Message {
                    kind,
                    time_ns: i64::from_le_bytes(time),
                    content,
                });
            }
            chunk.commit(done);
            if outcome.is_err() || done == 0 {
                return outcome;
            }
        }
    }
}

/// Part of what lies in two pieces.
fn piece<'a>(
    (front, back): (&'a [u8], &'a [u8]),
    begin: usize,
    length: usize,
) -> (&'a [u8], &'a [u8]) {
    let end = begin + length;
    let split = front.len();
    if end <= split {
        (&front[begin..end], &[])
    } else if begin >= split {
        (&back[begin - split..end - split], &[])
    } else {
        (&front[begin..], &back[..end - split])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(bytes: usize) -> (Tap, Drain, Arc<SourceCounts>) {
        let counts = Arc::<SourceCounts>::default();
        let here = std::thread::current();
        let (tap, drain) = ring(bytes, Arc::clone(&counts), here, Clock::manual(7));
        (tap, drain, counts)
    }

    fn taken(drain: &mut Drain) -> Vec<(Kind, i64, Vec<u8>)> {
        let mut found = Vec::new();
        let done: Result<(), ()> = drain.take(|message| {
            let content = [message.content.0, message.content.1].concat();
            found.push((message.kind, message.time_ns, content));
            Ok(())
        });
        done.expect("nothing here fails");
        found
    }

    #[test]
    fn messages_come_out_whole_and_in_order_wherever_the_buffer_ends() {
        let (mut tap, mut drain, _) = small(RESERVE + 1000);
        for round in 0..500_i64 {
            let length = usize::try_from(round % 97).expect("small");
            let bytes = vec![u8::try_from(round % 251).expect("small"); length];
            tap.read(round, &bytes);
            tap.gone(round, "away");
            assert_eq!(
                taken(&mut drain),
                vec![
                    (Kind::Read, round, bytes),
                    (Kind::Gone, round, b"away".to_vec())
                ]
            );
        }
        drop(tap);
        assert!(drain.is_closed());
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_stands_as_a_gap_at_its_place() {
        let (mut tap, mut drain, counts) = small(RESERVE + 200);
        tap.read(1, &[1; 150]);
        tap.read(2, &[2; 150]);
        tap.read(3, &[3; 100]);
        // A change of the link has room of its own.
        assert_eq!(counts.not_recorded(), 250);
        tap.gone(4, "away");
        let found = taken(&mut drain);
        let kinds: Vec<Kind> = found.iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds, [Kind::Read, Kind::NotRecorded, Kind::Gone]);
        let (front, back) = (&found[1].2[..], &[][..]);
        let gap = Message {
            kind: Kind::NotRecorded,
            time_ns: 2,
            content: (front, back),
        };
        let missed = Missed {
            from_ns: 2,
            to_ns: 3,
            reads: 2,
            bytes: 250,
        };
        assert_eq!(gap.change(), Some(missed.change()));
        assert_eq!(found[1].1, 2);
        tap.read(5, &[0; 150]);
        tap.read(6, &[0; 150]);
        drop(tap);
        assert_eq!(taken(&mut drain).len(), 1);
        assert_eq!(drain.last().map(|missed| missed.bytes), Some(150));
    }
}
