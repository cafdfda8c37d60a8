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

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    taken: usize,
    /// Where each frame that is not yet taken as a whole begins and ends.
    frames: VecDeque<(usize, usize)>,
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

    /// Appends a frame, and returns its bytes for the last changes.
    pub(crate) fn push_frame(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> &mut [u8] {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        self.frames.push_back((start, self.bytes.len()));
        &mut self.bytes[start..]
    }

    /// Appends bytes that are no frame.
    pub(crate) fn push_rubbish(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Tells when the frame just pushed left.
    pub(crate) fn watch(&mut self, index: u64, sender: Sender<Written>) {
        self.watches.push((self.bytes.len(), index, sender));
    }

    /// The next `count` bytes were taken by a call at this time: how many frames that completed.
    pub(crate) fn take(&mut self, count: usize, at: Instant) -> u64 {
        self.taken += count;
        assert!(
            self.taken <= self.bytes.len(),
            "no more is taken than is there"
        );
        let mut sent = 0;
        while self
            .frames
            .front()
            .is_some_and(|&(_, end)| end <= self.taken)
        {
            self.frames.pop_front();
            sent += 1;
        }
        let taken = self.taken;
        for (_, index, sender) in self.watches.extract_if(.., |(end, ..)| *end <= taken) {
            // Nobody may be interested any more.
            let _ = sender.send(Written { index, at });
        }
        if self.is_empty() {
            self.clear();
        }
        sent
    }

    /// Drops all that is not begun: how many frames that was.
    pub(crate) fn drop_unbegun(&mut self) -> u64 {
        let begun = self
            .frames
            .front()
            .filter(|&&(start, _)| start < self.taken);
        let keep = begun.map_or(self.taken, |&(_, end)| end);
        let before = self.frames.len();
        self.frames.retain(|&(_, end)| end <= keep);
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
        for frame in [b"aaa", b"bbb", b"ccc"] {
            outbox.push_frame(|out| out.extend_from_slice(frame));
        }
        outbox
    }

    #[test]
    fn a_frame_is_sent_when_its_last_byte_is_taken() {
        let mut outbox = three_frames_behind_rubbish();
        let now = Instant::now();
        assert_eq!(outbox.take(4, now), 0);
        assert_eq!(outbox.take(1, now), 1);
        assert_eq!(outbox.rest(), b"bbbccc");
        assert_eq!(outbox.take(6, now), 2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_frame_begun_is_kept_when_the_others_are_dropped() {
        let mut outbox = three_frames_behind_rubbish();
        outbox.take(3, Instant::now());
        assert_eq!(outbox.drop_unbegun(), 2);
        assert_eq!(outbox.rest(), b"aa");
        assert_eq!(outbox.take(2, Instant::now()), 1);

        let mut outbox = three_frames_behind_rubbish();
        outbox.take(5, Instant::now());
        assert_eq!(outbox.drop_unbegun(), 2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn giving_up_counts_the_frame_in_the_middle() {
        let mut outbox = three_frames_behind_rubbish();
        outbox.take(6, Instant::now());
        assert_eq!(outbox.give_up(), 2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_watcher_hears_of_its_own_frame() {
        let mut outbox = three_frames_behind_rubbish();
        let (sender, receiver) = std::sync::mpsc::channel();
        outbox.watch(2, sender);
        let now = Instant::now();
        outbox.take(10, now);
        assert!(receiver.try_recv().is_err());
        outbox.take(1, now);
        assert_eq!(receiver.try_recv(), Ok(Written { index: 2, at: now }));
    }
}
