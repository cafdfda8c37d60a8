//! The stream of a receiver: finds its messages, and puts frames together of them.
//!
//! **Always holds.** Every byte is in a good message, in one found damaged, or skipped. The bytes of a frame that is
//! not yet whole are not done with: whoever ends the stream there counts them.
//!
//! **Must not know.** Sentences from binary messages, but for who finds them.

use memchr::memchr2;

use super::epoch::{Arrival, Epoch, Stamp};
use super::fields::Malformed;
use super::sentence::{Candidate, STARTS};
use super::sentences::Sentences;
use crate::block::GapReason;
use crate::frames::{Frames, Tally};

/// A second kind of message in the same stream.
pub(crate) trait Binary: Send {
    /// The next place at which a message of either kind may begin.
    fn next_start(&self, input: &[u8]) -> Option<usize>;
    /// What begins at `input[0]`, which is no sentence.
    fn candidate(&self, input: &[u8]) -> Candidate;
    /// What a good message says of its epoch; `None` if nobody wants anything of it.
    fn stamp(&self, message: &[u8]) -> Option<Stamp>;
    /// Reads what is wanted of it.
    fn take(&mut self, message: &[u8], arrival: &mut Arrival) -> Result<(), Malformed>;
    /// The most bytes that must be seen to know a message.
    fn bytes_max(&self) -> usize;
}

/// No other kind.
pub(crate) struct TextOnly;

impl Binary for TextOnly {
    fn next_start(&self, input: &[u8]) -> Option<usize> {
        memchr2(STARTS[0], STARTS[1], input)
    }
    fn candidate(&self, _input: &[u8]) -> Candidate {
        Candidate::Nothing
    }
    fn stamp(&self, _message: &[u8]) -> Option<Stamp> {
        None
    }
    fn take(&mut self, _message: &[u8], _arrival: &mut Arrival) -> Result<(), Malformed> {
        Ok(())
    }
    fn bytes_max(&self) -> usize {
        0
    }
}

/// An epoch that goes on for longer than this is given as it is: more than two seconds of a line at 57 600 baud.
pub const EPOCH_BYTES_MAX: usize = 16 << 10;

pub(crate) struct Stream<B> {
    sentences: Sentences,
    binary: B,
    epoch: Epoch,
    is_by_epoch: bool,
    arrival: Arrival,
    place: Place,
    /// A frame was decoded since the link was opened.
    is_started: bool,
    /// Damaged messages since the last frame.
    corrupt: u64,
}

/// Where in the input decoding is. All places count from the input's start.
#[derive(Debug, Default, Clone, Copy)]
struct Place {
    /// The next byte to look at.
    at: usize,
    /// Where the last message ended of which the frame at hand has something.
    frame_end: usize,
    /// Up to here goes a message found damaged.
    corrupt_end: usize,
    /// What was counted while the frame at hand is not whole: told with its bytes.
    held: Tally,
}

impl<B: Binary> Stream<B> {
    pub(crate) fn new(sentences: Sentences, binary: B, epoch: Epoch, is_by_epoch: bool) -> Self {
        let messages = epoch.messages();
        let channels = epoch.row.values.len();
        Self {
            sentences,
            binary,
            epoch,
            is_by_epoch,
            arrival: Arrival::with_capacity(messages, channels),
            place: Place::default(),
            is_started: false,
            corrupt: 0,
        }
    }

    pub(crate) fn channels(&self) -> usize {
        self.epoch.row.values.len()
    }

    pub(crate) fn tail_max(&self) -> usize {
        let message = self.sentences.bytes_max().max(self.binary.bytes_max());
        if self.is_by_epoch {
            message + EPOCH_BYTES_MAX
        } else {
            message
        }
    }

    pub(crate) fn reset(&mut self) {
        self.sentences.reset();
        self.epoch.reset();
        (self.place, self.is_started, self.corrupt) = (Place::default(), false, 0);
    }

    pub(crate) fn decode(&mut self, input: &[u8], out: &mut Frames) -> usize {
        // A frame begun keeps its bytes: the input starts with them again.
        let mut from = self.epoch.is_begun().then_some(0);
        while !out.is_full() {
            let at = self.place.at;
            let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let is_text = STARTS.contains(&rest[0]);
            let candidate = if is_text {
                self.sentences.candidate(rest)
            } else {
                self.binary.candidate(rest)
            };
            match candidate {
                Candidate::Short => break,
                Candidate::Nothing => self.skip(rest),
                Candidate::Bad(length) => {
                    if at >= self.place.corrupt_end {
                        self.corrupt(at + length);
                    }
                    self.place.at += 1;
                }
                Candidate::Good { text, length } => {
                    self.place.corrupt_end = self.place.corrupt_end.min(at);
                    let is_done = self.message(&rest[..text], is_text, at + length, &mut from, out);
                    if !is_done {
                        // The frame before it took the last room; the message is looked at again.
                        break;
                    }
                    self.place.at = at + length;
                }
            }
            if from.is_some_and(|from| self.place.at - from > EPOCH_BYTES_MAX) {
                self.give(&mut from, out);
            }
        }
        if from.is_none() {
            self.tell(out);
        }
        let done = from.unwrap_or(self.place.at);
        let place = &mut self.place;
        place.at -= done;
        place.frame_end = place.frame_end.saturating_sub(done);
        place.corrupt_end = place.corrupt_end.saturating_sub(done);
        done
    }

    /// Takes a good message that ends at `end`; false if there was no room for the frame that it ends.
    fn message(
        &mut self,
        message: &[u8],
        is_text: bool,
        end: usize,
        from: &mut Option<usize>,
        out: &mut Frames,
    ) -> bool {
        let start = self.place.at;
        let stamp = if is_text {
            self.sentences.stamp(message)
        } else {
            Ok(self.binary.stamp(message))
        };
        let stamp = match stamp {
            Ok(Some(stamp)) => stamp,
            Ok(None) => return true,
            Err(Malformed) => {
                self.corrupt(end);
                return true;
            }
        };
        if self.is_by_epoch && self.epoch.ends_before(&stamp) {
            if from.is_some() {
                self.give(from, out);
                if out.is_full() {
                    return false;
                }
            }
            self.epoch.open();
        }
        self.arrival.clear();
        let read = if is_text {
            let read = self.sentences.take(message, &mut self.arrival);
            read.map(|broken| self.broken(broken.0))
        } else {
            self.binary.take(message, &mut self.arrival)
        };
        if read == Err(Malformed) {
            self.corrupt(end);
        }
        let is_whole = if self.is_by_epoch {
            let is_whole = self.epoch.take(&stamp, &self.arrival);
            let is_part = !self.arrival.messages.is_empty() || stamp.is_last;
            if self.epoch.is_begun() && is_part {
                if from.is_none() {
                    // What came before it is done with.
                    self.tell(out);
                    *from = Some(start);
                }
                self.place.frame_end = end;
            }
            is_whole
        } else {
            self.epoch.row.put(&self.arrival);
            self.place.frame_end = end;
            !self.arrival.messages.is_empty()
        };
        if is_whole {
            self.give(from, out);
        }
        true
    }

    /// The frame at hand goes out.
    fn give(&mut self, from: &mut Option<usize>, out: &mut Frames) {
        let corrupt = std::mem::take(&mut self.corrupt);
        if corrupt > 0 && self.is_started {
            // A frame that is a sentence is gone with it; of an epoch the rest may have come.
            out.lose((!self.is_by_epoch).then_some(corrupt), GapReason::Corrupt);
        }
        self.is_started = true;
        out.push(self.place.frame_end, &self.epoch.row.values);
        self.epoch.clear();
        *from = None;
        self.tell(out);
    }

    fn tell(&mut self, out: &mut Frames) {
        let held = std::mem::take(&mut self.place.held);
        out.tally.corrupt_frames += held.corrupt_frames;
        out.tally.skipped_bytes += held.skipped_bytes;
    }

    /// Passes over what begins no message.
    fn skip(&mut self, rest: &[u8]) {
        let at = self.place.at;
        let next = (self.binary.next_start(&rest[1..])).map_or(rest.len(), |place| place + 1);
        let skipped = (at + next).saturating_sub(self.place.corrupt_end.max(at));
        self.place.held.skipped_bytes += skipped as u64;
        self.place.at += next;
    }

    /// A message up to `end` is damaged.
    fn corrupt(&mut self, end: usize) {
        self.corrupt += 1;
        self.place.held.corrupt_frames += 1;
        self.place.corrupt_end = end;
    }

    /// Messages whose parts did not follow each other. A part that came damaged is counted already.
    fn broken(&mut self, messages: u64) {
        if self.corrupt == 0 {
            self.corrupt += messages;
            self.place.held.corrupt_frames += messages;
        }
    }
}
