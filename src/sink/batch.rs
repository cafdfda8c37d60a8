//! Batches: lines to be sent together, what they were made of, and cutting them into pieces.
//!
//! **Always holds.** A body is whole lines, each ended by a newline, and no line holds one within. For each line it is
//! known how many samples are in it, in runs of equal counts, so that a body cut anywhere still counts exactly.
//!
//! **Must not know.** What is in a line, and who gets it.

use bytes::Bytes;

/// Lines, as they grow. Its memory is used again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lines {
    /// The text.
    pub text: Vec<u8>,
    /// How many lines in a row have how many samples each.
    runs: Vec<(u32, u32)>,
    lines: usize,
}

impl Lines {
    /// The line that stands at the end of the text is complete, and holds so many samples.
    pub fn end_line(&mut self, samples: u32) {
        self.lines += 1;
        match self.runs.last_mut() {
            Some((count, each)) if *each == samples && *count < u32::MAX => *count += 1,
            _ => self.runs.push((1, samples)),
        }
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.runs.clear();
        self.lines = 0;
    }

    /// Where it stands, to be cut there.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.text.len(),
            lines: self.lines,
            runs: self.runs.len(),
            last: self.runs.last().map_or(0, |run| run.0),
        }
    }

    /// Moves what stands behind a mark into `to`, which is cleared first.
    pub fn split_off(&mut self, mark: &Mark, to: &mut Self) {
        to.clear();
        to.text.extend_from_slice(&self.text[mark.bytes..]);
        to.lines = self.lines - mark.lines;
        if let Some((count, samples)) = mark
            .runs
            .checked_sub(1)
            .and_then(|last| self.runs.get(last))
            && *count > mark.last
        {
            to.runs.push((count - mark.last, *samples));
        }
        to.runs.extend_from_slice(&self.runs[mark.runs..]);
        self.text.truncate(mark.bytes);
        self.runs.truncate(mark.runs);
        if let Some(last) = self.runs.last_mut() {
            last.0 = mark.last;
        }
        self.lines = mark.lines;
    }

    /// Takes what there is, ready to be sent; room for as much again is made.
    #[must_use]
    pub fn take(&mut self) -> Body {
        let room = self.text.capacity();
        self.lines = 0;
        Body {
            text: Bytes::from(std::mem::replace(&mut self.text, Vec::with_capacity(room))),
            runs: std::mem::take(&mut self.runs),
        }
    }

    /// Lines in it.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines
    }
}

/// A place in [`Lines`].
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    bytes: usize,
    lines: usize,
    runs: usize,
    last: u32,
}

impl Mark {
    /// Whether nothing stands before it.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.bytes == 0
    }
}

/// Lines to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// The text.
    pub text: Bytes,
    runs: Vec<(u32, u32)>,
}

impl Body {
    /// Lines in it.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.runs.iter().map(|(count, _)| *count as usize).sum()
    }

    /// Samples in it.
    #[must_use]
    pub fn samples(&self) -> u64 {
        let samples = self.runs.iter();
        samples
            .map(|(count, each)| u64::from(*count) * u64::from(*each))
            .sum()
    }

    /// The lines, without their ends.
    pub fn each_line(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        text.split(|byte| *byte == b'\n').take(self.lines())
    }

    /// The lines before `at`, and those from there on.
    #[must_use]
    pub fn cut(&self, at: usize) -> (Self, Self) {
        let mut ends = memchr::memchr_iter(b'\n', &self.text);
        let byte = match at.checked_sub(1) {
            None => 0,
            Some(nth) => ends.nth(nth).map_or(self.text.len(), |end| end + 1),
        };
        let (mut front, mut back) = (Vec::new(), Vec::new());
        let mut left = u32::try_from(at).unwrap_or(u32::MAX);
        for (count, samples) in &self.runs {
            let before = left.min(*count);
            if before > 0 {
                front.push((before, *samples));
            }
            if *count > before {
                back.push((count - before, *samples));
            }
            left -= before;
        }
        (
            Self {
                text: self.text.slice(..byte),
                runs: front,
            },
            Self {
                text: self.text.slice(byte..),
                runs: back,
            },
        )
    }

    /// Lines from the front, at most so many bytes but at least one, and the others.
    #[must_use]
    pub fn cut_front(&self, bytes: usize) -> (Self, Self) {
        let bytes = bytes.min(self.text.len());
        let fitting = memchr::memchr_iter(b'\n', &self.text[..bytes]).count();
        self.cut(fitting.max(1))
    }

    /// Two halves, by lines.
    #[must_use]
    pub fn halves(&self) -> (Self, Self) {
        self.cut(self.lines() / 2)
    }

    /// The lines with these numbers, which rise, and the others.
    #[must_use]
    pub fn part(&self, wanted: &[usize]) -> (Self, Self) {
        let (mut taken, mut rest) = (Lines::default(), Lines::default());
        let each = self.runs.iter();
        let mut samples =
            each.flat_map(|(count, each)| std::iter::repeat_n(*each, *count as usize));
        let mut wanted = wanted.iter().copied().peekable();
        for (number, line) in self.each_line().enumerate() {
            let to = if wanted.next_if_eq(&number).is_some() {
                &mut taken
            } else {
                &mut rest
            };
            to.text.extend_from_slice(line);
            to.text.push(b'\n');
            to.end_line(samples.next().unwrap_or(0));
        }
        (taken.take(), rest.take())
    }
}

/// Counts of samples by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The receiver has accepted them.
    pub written: u64,
    /// It has refused them: they are in the dead-letter file.
    pub rejected: u64,
    /// The configuration does not want them sent.
    pub not_selected: u64,
    /// NaN and infinities, which a line cannot hold.
    pub not_finite: u64,
    /// Lines that are no samples: events.
    pub events: u64,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.rejected += other.rejected;
        self.not_selected += other.not_selected;
        self.not_finite += other.not_finite;
        self.events += other.events;
    }

    /// All samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.written + self.rejected + self.not_selected + self.not_finite
    }
}

/// Lines to be sent together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The lines; there need be none, where nothing of some records is wanted.
    pub body: Body,
    /// The records of the journal that end in it: the first and the last. `None`: it is the beginning of one that is
    /// longer than a batch.
    pub records: Option<(u64, u64)>,
    /// Samples of these records, whatever becomes of them.
    pub samples: u64,
    /// What is known before it is sent: not selected, not finite, events.
    pub counts: Counts,
    /// The time of its last record, UTC ns.
    pub last_ns: i64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(samples: &[u32]) -> Lines {
        let mut lines = Lines::default();
        for (number, samples) in samples.iter().enumerate() {
            lines
                .text
                .extend_from_slice(format!("line{number}\n").as_bytes());
            lines.end_line(*samples);
        }
        lines
    }

    fn listed(body: &Body) -> Vec<String> {
        body.each_line()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }

    proptest! {
        #[test]
        fn a_body_cut_anywhere_counts_exactly(samples in proptest::collection::vec(0_u32..4, 0..40), at in 0_usize..50) {
            let body = lines(&samples).take();
            let at = at.min(samples.len());
            let (front, back) = body.cut(at);
            prop_assert_eq!(front.lines(), at);
            prop_assert_eq!(back.lines(), samples.len() - at);
            prop_assert_eq!(front.samples(), samples[..at].iter().map(|n| u64::from(*n)).sum::<u64>());
            prop_assert_eq!(front.samples() + back.samples(), body.samples());
            let mut both = listed(&front);
            both.extend(listed(&back));
            prop_assert_eq!(both, listed(&body));
        }

        #[test]
        fn lines_are_parted_by_their_numbers(samples in proptest::collection::vec(0_u32..4, 1..40), pick in any::<u64>()) {
            let body = lines(&samples).take();
            let wanted: Vec<usize> = (0..samples.len()).filter(|n| pick >> (n % 64) & 1 == 1).collect();
            let (taken, rest) = body.part(&wanted);
            prop_assert_eq!(taken.lines(), wanted.len());
            prop_assert_eq!(taken.samples(), wanted.iter().map(|n| u64::from(samples[*n])).sum::<u64>());
            prop_assert_eq!(taken.samples() + rest.samples(), body.samples());
            let expected: Vec<String> = wanted.iter().map(|n| format!("line{n}")).collect();
            prop_assert_eq!(listed(&taken), expected);
        }

        #[test]
        fn what_stands_behind_a_mark_is_moved(before in proptest::collection::vec(0_u32..3, 0..20), behind in proptest::collection::vec(0_u32..3, 0..20)) {
            let mut all = lines(&before);
            let (mark, first) = (all.mark(), all.clone());
            for samples in &behind {
                all.text.extend_from_slice(b"more\n");
                all.end_line(*samples);
            }
            let mut rest = lines(&[1, 2]);
            all.split_off(&mark, &mut rest);
            prop_assert_eq!(all, first);
            prop_assert_eq!(rest.lines(), behind.len());
            prop_assert_eq!(rest.take().samples(), behind.iter().map(|n| u64::from(*n)).sum::<u64>());
        }

        #[test]
        fn taking_from_the_front_leaves_whole_lines(samples in proptest::collection::vec(0_u32..3, 1..30), bytes in 0_usize..60) {
            let all = lines(&samples).take();
            let mut left = all.clone();
            let mut taken = Vec::new();
            let mut count = 0;
            while left.lines() > 0 {
                let (body, rest) = left.cut_front(bytes);
                prop_assert!(body.lines() > 0);
                prop_assert!(body.text.len() <= bytes || body.lines() == 1);
                count += body.samples();
                taken.extend(listed(&body));
                left = rest;
            }
            prop_assert_eq!(taken, listed(&all));
            prop_assert_eq!(count, all.samples());
        }
    }
}
