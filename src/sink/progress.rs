//! Which records are done: everything up to a cursor, and ranges beyond it.
//!
//! **Always holds.** The cursor never goes back; ranges lie beyond it, rise, and neither touch nor overlap. There are
//! at most [`RANGES_MAX`]; beyond that the shortest is forgotten, which costs sending it again and loses nothing.
//!
//! **Must not know.** Files.

/// Ranges beyond the cursor that are remembered.
pub const RANGES_MAX: usize = 64;

/// What is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    cursor: u64,
    ranges: Vec<(u64, u64)>,
}

impl Progress {
    /// Everything up to `cursor` is done, and these ranges; what makes no sense of them is left out.
    #[must_use]
    pub fn new(cursor: u64, ranges: &[(u64, u64)]) -> Self {
        let mut progress = Self {
            cursor,
            ranges: Vec::new(),
        };
        for (from, to) in ranges {
            progress.complete(*from, *to);
        }
        progress
    }

    /// Everything up to it is done.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// What is done beyond the cursor.
    #[must_use]
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// The last record that is done.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.ranges.last().map_or(self.cursor, |range| range.1)
    }

    /// The records from one to another are done, both included.
    pub fn complete(&mut self, from: u64, to: u64) {
        let from = from.max(self.cursor.saturating_add(1));
        if from > to {
            return;
        }
        let start = self
            .ranges
            .partition_point(|range| range.1.saturating_add(1) < from);
        let end = self
            .ranges
            .partition_point(|range| range.0 <= to.saturating_add(1));
        let merged = self.ranges[start..end.max(start)]
            .iter()
            .fold((from, to), |all, range| {
                (all.0.min(range.0), all.1.max(range.1))
            });
        self.ranges.splice(start..end.max(start), [merged]);
        if self.ranges[0].0 == self.cursor + 1 {
            self.cursor = self.ranges.remove(0).1;
        }
        if self.ranges.len() > RANGES_MAX {
            let lengths = self.ranges.iter().enumerate();
            let shortest = lengths.min_by_key(|(_, range)| range.1 - range.0);
            let shortest = shortest.map_or(0, |(place, _)| place);
            self.ranges.remove(shortest);
        }
    }

    /// What is not done, up to a record: rising.
    #[must_use]
    pub fn missing(&self, to: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = self.cursor + 1;
        for (from, end) in &self.ranges {
            if next < *from {
                missing.push((next, from - 1));
            }
            next = end + 1;
        }
        if next <= to {
            missing.push((next, to));
        }
        missing.retain(|range| range.0 <= to);
        if let Some(last) = missing.last_mut() {
            last.1 = last.1.min(to);
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_records(steps in proptest::collection::vec((1_u64..120, 0_u64..10), 0..60)) {
            let mut progress = Progress::new(3, &[]);
            let mut model: BTreeSet<u64> = (1..=3).collect();
            for (from, more) in steps {
                progress.complete(from, from + more);
                model.extend(from..=from + more);
                prop_assert!(progress.ranges().iter().all(|(a, b)| a <= b && *a > progress.cursor() + 1));
                prop_assert!(progress.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                let missing: Vec<u64> = progress.missing(100).into_iter().flat_map(|(a, b)| a..=b).collect();
                let expected: Vec<u64> = (1..=100).filter(|seq| !model.contains(seq)).collect();
                prop_assert_eq!(missing, expected);
                let again = Progress::new(progress.cursor(), progress.ranges());
                prop_assert_eq!(&again, &progress);
            }
        }
    }

    #[test]
    fn ranges_are_bounded_and_forgetting_one_only_repeats_it() {
        let mut progress = Progress::default();
        for place in 0..200 {
            progress.complete(10 + place * 10, 12 + place * 10);
        }
        assert_eq!(progress.ranges().len(), RANGES_MAX);
        progress.complete(1, 5000);
        assert_eq!((progress.cursor(), progress.ranges().len()), (5000, 0));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut progress = Progress::new(u64::MAX - 2, &[]);
        progress.complete(0, u64::MAX - 1);
        assert_eq!(progress.cursor(), u64::MAX - 1);
    }
}
