//! A lane's stream of frames, and whether it is whole: each frame once, or dropped.
//!
//! **Must not know.** Files.

use std::collections::VecDeque;

/// What a piece of the stream does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// It follows what was before.
    Whole,
    /// Between the two so many frames were dropped, and that is written down.
    Dropped(u64),
    /// From this frame to that, both included, nothing says where they are.
    Hole(u64, u64),
    /// From this frame to that they were there before.
    Doubled(u64, u64),
}

/// A lane's stream, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The frame expected next.
    next: u64,
    /// Frames dropped, gap by gap, in order.
    drops: VecDeque<u64>,
}

impl Stream {
    /// A stream whose frames before `first` were removed.
    pub(super) fn new(first: u64, drops: VecDeque<u64>) -> Self {
        Self { next: first, drops }
    }

    /// Appends frames.
    pub(super) fn push(&mut self, first: u64, count: u64) -> Joint {
        let expected = self.next;
        let end = first + count;
        self.next = self.next.max(end);
        if first < expected {
            return Joint::Doubled(first, end.min(expected).saturating_sub(1).max(first));
        }
        let missing = first - expected;
        if missing == 0 {
            Joint::Whole
        } else if self.explain(missing) {
            Joint::Dropped(missing)
        } else {
            Joint::Hole(expected, first - 1)
        }
    }

    /// The frame behind the last.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// Whether neighbouring gaps were of just this size together; they, and those before, are then used up.
    fn explain(&mut self, missing: u64) -> bool {
        for start in 0..self.drops.len() {
            let mut sum = 0;
            for (count, frames) in self.drops.iter().skip(start).enumerate() {
                sum += frames;
                if sum == missing {
                    self.drops.drain(..=start + count);
                    return true;
                }
                if sum > missing {
                    break;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(drops: &[u64]) -> Stream {
        Stream::new(0, drops.iter().copied().collect())
    }

    #[test]
    fn a_hole_is_whole_only_with_gaps_of_its_size() {
        let mut stream = stream(&[7, 3, 5]);
        assert_eq!(stream.push(0, 10), Joint::Whole);
        assert_eq!(stream.push(20, 10), Joint::Dropped(10));
        assert_eq!(stream.push(34, 1), Joint::Hole(30, 33));
        assert_eq!(stream.push(40, 1), Joint::Dropped(5));
        assert_eq!(stream.push(46, 1), Joint::Hole(41, 45));
        assert_eq!(stream.end(), 47);
    }

    /// Gaps within a piece that is missing do not hide those behind it.
    #[test]
    fn gaps_of_what_is_missing_are_passed_over() {
        let mut stream = stream(&[2, 4]);
        assert_eq!(stream.push(100, 10), Joint::Hole(0, 99));
        assert_eq!(stream.push(114, 10), Joint::Dropped(4));
    }

    #[test]
    fn what_comes_again_is_doubled() {
        let mut stream = stream(&[]);
        assert_eq!(stream.push(0, 10), Joint::Whole);
        assert_eq!(stream.push(0, 10), Joint::Doubled(0, 9));
        assert_eq!(stream.push(8, 4), Joint::Doubled(8, 9));
        assert_eq!(stream.push(12, 1), Joint::Whole);
    }

    #[test]
    fn what_was_removed_in_front_is_no_hole() {
        let mut stream = Stream::new(50, VecDeque::new());
        assert_eq!(stream.push(50, 10), Joint::Whole);
    }
}
