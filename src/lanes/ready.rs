//! Which lanes may hold a block: a bit each, so that the stage need not look into a thousand
//! empty queues to find the one that is not.
//!
//! **Always holds.** A bit is set after its lane's push and taken away before its lane is popped
//! empty, so a block in a lane whose bit is clear is one whose producer has not set it yet, and will.

use super::sync::{AtomicU64, Ordering};

/// A set of small numbers, added to by many threads and emptied by one.
#[derive(Debug)]
pub(crate) struct Ready {
    words: Box<[AtomicU64]>,
}

impl Ready {
    /// An empty set of numbers below `size`.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            words: (0..size.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Adds a number. What was written before is visible to whoever takes the number.
    pub(crate) fn add(&self, number: usize) {
        // Release: pairs with the acquire in `take_into`. Not skipped when the bit looks set
        // already: that look would not be ordered after the push it announces.
        self.words[number / 64].fetch_or(1 << (number % 64), Ordering::Release);
    }

    /// Whether any number is in the set.
    pub(crate) fn any(&self) -> bool {
        self.words
            .iter()
            .any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Moves all numbers into `own`, a bit set of the same size, whose bits stay as they are otherwise.
    pub(crate) fn take_into(&self, own: &mut [u64]) {
        for (word, own) in self.words.iter().zip(own) {
            if word.load(Ordering::Relaxed) != 0 {
                *own |= word.swap(0, Ordering::Acquire);
            }
        }
    }

    /// Words of 64 bits that a bit set of this size takes.
    pub(crate) fn word_count(&self) -> usize {
        self.words.len()
    }
}
