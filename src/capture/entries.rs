//! The messages of a capture, by time.
//!
//! Chunks are loaded in the order of their first messages; a message comes out when no chunk that is left can have an earlier one.
//!
//! **Always holds.** No more is held than the chunks that overlap, and [`PENDING_BYTES_MAX`] at most.
//!
//! **Must not know.** What becomes of the messages.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;

use super::format::{self, Entry, Topic, What};
use super::reader::{About, Capture, Damage, Selection};
use super::wire::{Fields, op};
use super::{Error, PENDING_BYTES_MAX};

/// A message that waits for its turn: by time, then by where it stands.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    time_ns: i64,
    file: usize,
    chunk: usize,
    begin: usize,
    end: usize,
    channel: u16,
}

/// The messages of a capture, by time.
pub struct Entries<'a> {
    capture: &'a Capture,
    selection: Selection,
    /// Begin, file and place of the chunks to come, the next one last.
    chunks: Vec<(i64, usize, usize)>,
    pending: BinaryHeap<Reverse<Pending>>,
    /// The chunks of what is pending, and how many of it are of each.
    held: BTreeMap<(usize, usize), (Bytes, usize)>,
    held_bytes: usize,
    done_bytes: u64,
    damage: Vec<Damage>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(
        capture: &'a Capture,
        selection: Selection,
        chunks: Vec<(i64, usize, usize)>,
    ) -> Self {
        Self {
            capture,
            selection,
            chunks,
            pending: BinaryHeap::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            done_bytes: 0,
            damage: Vec::new(),
        }
    }

    /// Damage found so far, and not yet taken.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damage)
    }

    /// Bytes of the chunks that were read so far, uncompressed.
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    fn load(&mut self, file: usize, chunk: usize) {
        let indexed = &self.capture.files[file];
        let place = &indexed.chunks[chunk];
        self.done_bytes += place.head.size;
        let data = match indexed.chunk(place) {
            Ok(data) => data,
            Err(what) => {
                self.damage.push(Damage {
                    path: indexed.path.clone(),
                    offset: place.offset,
                    what,
                    range_ns: Some((place.head.from_ns, place.head.to_ns)),
                });
                return;
            }
        };
        let mut count = 0;
        let mut range_ns: Option<(i64, i64)> = None;
        let mut fields = Fields(&data);
        while let Some((op, record)) = fields.record() {
            if op != op::MESSAGE {
                continue;
            }
            let end = data.len() - fields.0.len();
            let mut message = Fields(record);
            let header = (
                message.u16(),
                message.u32(),
                message.time_ns(),
                message.u64(),
            );
            let (Some(channel), Some(_), Some(time_ns), Some(_)) = header else {
                continue;
            };
            range_ns = Some(match range_ns {
                Some((from_ns, to_ns)) => (from_ns.min(time_ns), to_ns.max(time_ns)),
                None => (time_ns, time_ns),
            });
            let is_known = self.capture.about[file].contains_key(&channel);
            if is_known && self.selection.wants_time(time_ns) {
                count += 1;
                self.pending.push(Reverse(Pending {
                    time_ns,
                    file,
                    chunk,
                    begin: end - message.0.len(),
                    end,
                    channel,
                }));
            }
        }
        if range_ns.is_some_and(|range_ns| range_ns != (place.head.from_ns, place.head.to_ns)) {
            self.damage.push(Damage {
                path: indexed.path.clone(),
                offset: place.offset,
                what: "a chunk says other times than its messages: their order may be wrong"
                    .to_owned(),
                range_ns,
            });
        }
        if count > 0 {
            self.held_bytes += data.len();
            self.held.insert((file, chunk), (data, count));
        }
    }

    fn entry(&mut self, pending: &Pending) -> Option<Entry> {
        let at = (pending.file, pending.chunk);
        let (data, count) = self.held.get_mut(&at)?;
        let message = data.slice(pending.begin..pending.end);
        *count -= 1;
        if *count == 0 {
            self.held_bytes -= data.len();
            self.held.remove(&at);
        }
        let about = self.capture.about[pending.file].get(&pending.channel)?;
        let (source, what) = match *about {
            About::Events => (None, What::Event(message)),
            About::Source(source, topic) => {
                let what = match topic {
                    Topic::Read => format::bytes_of(&message).map(What::Read),
                    Topic::Sent => format::bytes_of(&message).map(What::Sent),
                    Topic::Link => serde_json::from_slice(&message).ok().map(What::Link),
                };
                (Some(source), what.or_else(|| self.unreadable(pending))?)
            }
        };
        Some(Entry {
            time_ns: pending.time_ns,
            source,
            what,
        })
    }

    fn unreadable(&mut self, pending: &Pending) -> Option<What> {
        let indexed = &self.capture.files[pending.file];
        self.damage.push(Damage {
            path: indexed.path.clone(),
            offset: indexed.chunks[pending.chunk].offset,
            what: "a message is not what its topic says".to_owned(),
            range_ns: Some((pending.time_ns, pending.time_ns)),
        });
        None
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // What comes may be as early as the next chunk's beginning.
            while let Some(&(from_ns, file, chunk)) = self.chunks.last()
                && self
                    .pending
                    .peek()
                    .is_none_or(|Reverse(first)| first.time_ns >= from_ns)
            {
                self.chunks.pop();
                self.load(file, chunk);
                if self.held_bytes > PENDING_BYTES_MAX {
                    self.chunks.clear();
                    self.pending.clear();
                    return Some(Err(Error::Unordered));
                }
            }
            let Reverse(first) = self.pending.pop()?;
            if let Some(entry) = self.entry(&first)
                && self.selection.wants(&entry)
            {
                return Some(Ok(entry));
            }
        }
    }
}
