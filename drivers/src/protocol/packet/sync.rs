//! Packets that start with fixed bytes.

use memchr::memmem::Finder;

use super::check::Shape;
use super::{Stream, append};
use crate::frames::Frames;

pub(super) struct Sync {
    finder: Finder<'static>,
    /// Bytes at the start of the next input that belong to a packet already counted as corrupt.
    corrupt_left: usize,
}

/// What stands at a place of the input.
enum Candidate {
    /// A packet of this length, whose checksum holds.
    Good(usize),
    /// One whose checksum fails.
    Bad(usize),
    /// Nothing: no sync bytes, a length not to be believed, a constant that is another.
    Nothing,
    /// It takes more bytes to say.
    Short,
}

impl Sync {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self {
            finder: Finder::new(bytes).into_owned(),
            corrupt_left: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.corrupt_left = 0;
    }

    pub(super) fn decode(
        &mut self,
        shape: &Shape,
        stream: &mut Stream,
        input: &[u8],
        out: &mut Frames,
    ) -> usize {
        let mut at = 0;
        let mut corrupt_end = self.corrupt_left;
        while !out.is_full() {
            let start = at;
            at = self.good_run(shape, stream, input, at, out);
            if at > start {
                // A good packet within a corrupt one shows that it was none: it ends where the good one starts.
                corrupt_end = corrupt_end.min(start);
            }
            if out.is_full() {
                break;
            }
            match self.candidate(shape, &input[at..]) {
                Candidate::Short => break,
                // The run ended in front of a good packet because something is missing there, or because not all of
                // its frames fit.
                Candidate::Good(length) => {
                    corrupt_end = corrupt_end.min(at);
                    let packet = &input[at..at + length];
                    at += length;
                    stream.take(shape, packet, at, out);
                }
                Candidate::Bad(length) => {
                    if at >= corrupt_end {
                        stream.corrupt(out);
                        corrupt_end = at + length;
                    }
                    at += 1;
                }
                Candidate::Nothing => {
                    let next = self.next_start(&input[at..]);
                    let skipped = (at + next).saturating_sub(corrupt_end.max(at));
                    stream.skip(skipped, out);
                    at += next;
                }
            }
        }
        self.corrupt_left = corrupt_end.saturating_sub(at);
        at
    }

    /// Appends good packets of one length that follow each other without a gap, all at once.
    fn good_run(
        &self,
        shape: &Shape,
        stream: &mut Stream,
        input: &[u8],
        start: usize,
        out: &mut Frames,
    ) -> usize {
        let mut at = start;
        let mut stride = 0;
        let mut left = out.room() / shape.frames;
        while left > 0
            && let Candidate::Good(length) = self.candidate(shape, &input[at..])
            && (stride == 0 || stride == length)
        {
            let packet = &input[at..at + length];
            if !stream.started || stream.loss(shape, packet).is_some() {
                break;
            }
            stream.good(shape, packet, None, out);
            (stride, at, left) = (length, at + length, left - 1);
        }
        if at > start {
            append(
                shape,
                &input[start..at],
                stride,
                0..shape.frames,
                |index| start + (index + 1) * stride,
                out,
            );
        }
        at
    }

    fn candidate(&self, shape: &Shape, input: &[u8]) -> Candidate {
        let sync = self.finder.needle();
        // They are few: a call to compare them would cost more than the comparison. Short input may be their beginning.
        if input.iter().zip(sync).any(|(byte, wanted)| byte != wanted) {
            return Candidate::Nothing;
        }
        if input.len() < sync.len().max(shape.header) {
            return Candidate::Short;
        }
        let Some(length) = shape.length(input) else {
            return Candidate::Nothing;
        };
        match input.get(..length) {
            None => Candidate::Short,
            Some(packet) if !shape.is_one(packet) => Candidate::Nothing,
            Some(packet) if shape.holds(packet) => Candidate::Good(length),
            Some(_) => Candidate::Bad(length),
        }
    }

    /// How many bytes to the next place at which the sync bytes stand, or may stand once more has come;
    /// at least one.
    fn next_start(&self, input: &[u8]) -> usize {
        let sync = self.finder.needle();
        if let Some(place) = input.get(1..).and_then(|rest| self.finder.find(rest)) {
            return place + 1;
        }
        let tail = input.len().saturating_sub(sync.len() - 1).max(1);
        (tail..input.len())
            .find(|place| sync.starts_with(&input[*place..]))
            .unwrap_or(input.len())
    }
}
