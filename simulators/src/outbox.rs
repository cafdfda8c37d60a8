//! Bytes that are due and not yet taken.
//!
//! What for: between the encoder and the port, where writes are partial.
//!
//! What always holds: a frame counts as sent when its last byte was taken. Frames are dropped
//! whole; one begun is finished, or given up together with everything behind it.
//!
//! What it must not know: the port, the device.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::time::Instant;

use crate::Written;

/// A frame on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Where it begins and ends.
    start: usize,
    end: usize,
    /// Its number.
    pub(crate) index: u64,
}

impl Waiting {
    /// Its bytes, with the noise before it.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    taken: usize,
    /// Frames that are not yet taken as a whole.
    frames: VecDeque<Waiting>,
    /// Who wants to know when the frame that ends here left.
    watches: Vec<(usize, u64, Sender<Written>)>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// What is left to be taken.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Appends a frame of this number.
    pub(crate) fn push_frame(&mut self, index: u64, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        let end = self.bytes.len();
        self.frames.push_back(Waiting { start, end, index });
    }

    /// Appends bytes that are no frame.
    pub(crate) fn push_rubbish(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Tells when the frame just pushed left.
    pub(crate) fn watch(&mut self, index: u64, sender: Sender<Written>) {
        self.watches.push((self.bytes.len(), index, sender));
    }

    /// The next `count` bytes were taken by a call at this time: gives the frames that it completed, in order.
    pub(crate) fn take(&mut self, count: usize, at: Instant, mut sent: impl FnMut(Waiting)) {
        self.taken += count;
        assert!(
            self.taken <= self.bytes.len(),
            "no more is taken than is there"
        );
        let taken = self.taken;
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.end <= taken) {
            sent(frame);
        }
        for (_, index, sender) in self.watches.extract_if(.., |(end, ..)| *end <= taken) {
            // Nobody may be interested any more.
            let _ = sender.send(Written { index, at });
        }
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops all that is not begun: how many frames that was.
    pub(crate) fn drop_unbegun(&mut self) -> u64 {
        let taken = self.taken;
        let begun = self.frames.front().filter(|frame| frame.start < taken);
        let keep = begun.map_or(self.taken, |frame| frame.end);
        let before = self.frames.len();
        self.frames.retain(|frame| frame.end <= keep);
        self.watches.retain(|&(end, ..)| end <= keep);
        self.bytes.truncate(keep);
        let dropped = before - self.frames.len();
        if self.is_empty() {
            self.clear();
        }
        dropped as u64
    }

    /// Gives everything up: how many frames that was.
    pub(crate) fn give_up(&mut self) -> u64 {
        let lost = self.frames.len() as u64;
        self.clear();
        lost
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
        self.frames.clear();
        self.watches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_frames_behind_rubbish() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.push_rubbish(b"??");
        for (index, frame) in (7..).zip([b"aaa", b"bbb", b"ccc"]) {
            outbox.push_frame(index, |out| out.extend_from_slice(frame));
        }
        outbox
    }

    /// The numbers of the frames that so many bytes more complete.
    fn taken(outbox: &mut Outbox, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        outbox.take(count, Instant::now(), |frame| {
            assert_eq!(frame.len(), 3);
            numbers.push(frame.index);
        });
        numbers
    }

    #[test]
    fn a_frame_is_sent_when_its_last_byte_is_taken() {
        let mut outbox = three_frames_behind_rubbish();
        assert_eq!(taken(&mut outbox, 4), []);
        assert_eq!(taken(&mut outbox, 1), [7]);
        assert_eq!(outbox.rest(), b"bbbccc");
        assert_eq!(taken(&mut outbox, 6), [8, 9]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_frame_begun_is_kept_when_the_others_are_dropped() {
        let mut outbox = three_frames_behind_rubbish();
        taken(&mut outbox, 3);
        assert_eq!(outbox.drop_unbegun(), 2);
        assert_eq!(outbox.rest(), b"aa");
        assert_eq!(taken(&mut outbox, 2), [7]);

        let mut outbox = three_frames_behind_rubbish();
        taken(&mut outbox, 5);
        assert_eq!(outbox.drop_unbegun(), 2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn giving_up_counts_the_frame_in_the_middle() {
        let mut outbox = three_frames_behind_rubbish();
        taken(&mut outbox, 6);
        assert_eq!(outbox.give_up(), 2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_watcher_hears_of_its_own_frame() {
        let mut outbox = three_frames_behind_rubbish();
        let (sender, receiver) = std::sync::mpsc::channel();
        outbox.watch(2, sender);
        let now = Instant::now();
        outbox.take(10, now, |_| ());
        assert!(receiver.try_recv().is_err());
        outbox.take(1, now, |_| ());
        assert_eq!(receiver.try_recv(), Ok(Written { index: 2, at: now }));
    }
}
