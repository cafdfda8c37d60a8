//! What a device sent, held against what was recorded of it: frame by frame, while both go on.
//!
//! **Always holds.** A frame that went out whole must be among the rows, once, in order, with its values, unless a hang-up took it: then
//! everything between it and the hang-up is missing, too, and no more than a pseudo-terminal holds. A frame that a fault changed may be
//! there, with its values. If bytes of it were lost, and it is there all the same, it was made whole by the first bytes of the frame behind
//! it (one time in 256 they are those that were lost): then that one may be missing. Nothing else may be there. Memory is what one side is ahead of the other.
//!
//! **Must not know.** Where the rows come from, and where the truth does.

use std::collections::VecDeque;

use super::log::Said;

/// The most bytes that a pseudo-terminal holds for a reader: a hang-up takes no more. 13 824 on their way and 4095 before the reader on
/// Linux 6.18; a quarter more for others.
const PORT_BYTES_MAX: u64 = 22 << 10;

/// The first findings of a source, at most: they come of the same mistake.
const FINDINGS_MAX: usize = 5;

/// Gives the values that a frame of this number has.
pub(super) type Values = Box<dyn Fn(u64) -> Vec<f64> + Send>;

/// What must come next.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// This frame, so long.
    Frame(u64, u64),
    /// This one, perhaps; whether bytes of it were lost.
    Perhaps(u64, bool),
    /// What was sent and has not come by here does not come any more.
    HungUp,
}

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Counts {
    /// Frames that went out whole.
    pub(super) sent: u64,
    /// Of these, those that came.
    pub(super) arrived: u64,
    /// Of these, those that a hang-up took.
    pub(super) taken_by_hang_ups: u64,
    /// Frames that a fault changed.
    pub(super) hit: u64,
    /// Of these, those that came all the same.
    pub(super) hit_and_arrived: u64,
    /// Frames that went out whole, and whose first bytes were taken for the end of a frame cut short.
    pub(super) taken_for_ends: u64,
}

/// One device, and the rows recorded of it.
pub(super) struct Checker {
    values: Values,
    /// Runs of frames that are known to have been sent: first number, how many, bytes of each.
    expected: VecDeque<(Expected, u64)>,
    rows: VecDeque<(f64, Vec<f64>)>,
    /// Frames that have not come, and may have been taken by a hang-up: the first, how many, bytes.
    missing: Option<(u64, u64, u64)>,
    /// A frame whose beginning was taken for the end of the one before it.
    beheaded: Option<u64>,
    counts: Counts,
    findings: Vec<String>,
}

impl Checker {
    /// A device whose frames have these values; the first of them is the frame's number.
    pub(super) fn new(values: Values) -> Self {
        Self {
            values,
            expected: VecDeque::new(),
            rows: VecDeque::new(),
            missing: None,
            beheaded: None,
            counts: Counts::default(),
            findings: Vec::new(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// What is wrong, as far as it is known.
    pub(super) fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Whether there are rows that cannot be judged before more is known of what was sent.
    pub(super) fn waits(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The device says what it did.
    pub(super) fn say(&mut self, said: Said) {
        match said {
            Said::Sent {
                first,
                count,
                bytes,
            } => {
                self.counts.sent += count;
                let each = bytes.div_ceil(count.max(1));
                self.expected
                    .push_back((Expected::Frame(first, each), count));
            }
            Said::Hit { number, is_short } => {
                self.counts.hit += 1;
                let perhaps = Expected::Perhaps(number, is_short);
                self.expected.push_back((perhaps, 1));
            }
            Said::HungUp { .. } => self.expected.push_back((Expected::HungUp, 1)),
            Said::End => {}
        }
    }

    /// A row was recorded; its first value says which frame it is.
    pub(super) fn row(&mut self, values: Vec<f64>) {
        let number = values.first().copied().unwrap_or(f64::NAN);
        self.rows.push_back((number, values));
    }

    /// Compares what is known of both sides.
    pub(super) fn compare(&mut self) {
        while let Some((number, _)) = self.rows.front() {
            let number = *number;
            let Some(expected) = self.next_expected() else {
                return;
            };
            match expected {
                Expected::HungUp => self.forgive(),
                Expected::Frame(sent, bytes) if (sent as f64) < number => self.miss(sent, bytes),
                Expected::Perhaps(sent, _) if (sent as f64) < number => {}
                Expected::Frame(sent, _) | Expected::Perhaps(sent, _) if sent as f64 == number => {
                    self.expect_none_missing(sent);
                    self.arrive(expected, sent);
                    continue;
                }
                // It comes before what is due: it was not sent here, or it came before.
                _ => {
                    let what = if number.is_nan() {
                        "a row that names no frame was recorded".to_owned()
                    } else {
                        format!("frame {number} was recorded and not sent, or a second time")
                    };
                    self.find(what);
                    self.rows.pop_front();
                    continue;
                }
            }
            self.pass();
        }
    }

    /// Nothing more comes on either side: what has not come is missing.
    pub(super) fn finish(&mut self) {
        self.compare();
        while let Some(expected) = self.next_expected() {
            match expected {
                Expected::HungUp => self.forgive(),
                Expected::Frame(sent, bytes) => self.miss(sent, bytes),
                Expected::Perhaps(..) => {}
            }
            self.pass();
        }
        self.expect_none_missing(u64::MAX);
        for _ in 0..self.rows.len() {
            let (number, _) = self.rows.pop_front().unwrap_or_default();
            self.find(format!("frame {number} was recorded and not sent"));
        }
    }

    fn next_expected(&self) -> Option<Expected> {
        self.expected.front().map(|(expected, _)| *expected)
    }

    /// What is due is done with: the next of its run, or the next run.
    fn pass(&mut self) {
        if let Some((expected, left)) = self.expected.front_mut() {
            *left -= 1;
            if *left == 0 {
                self.expected.pop_front();
            } else if let Expected::Frame(number, _) = expected {
                *number += 1;
            }
        }
    }

    fn arrive(&mut self, expected: Expected, number: u64) {
        if let Expected::Perhaps(_, is_short) = expected {
            self.counts.hit_and_arrived += 1;
            self.beheaded = is_short.then_some(number + 1);
        } else {
            self.counts.arrived += 1;
        }
        if let Some((_, row)) = self.rows.pop_front() {
            let sent = (self.values)(number);
            if sent != row {
                self.find(format!(
                    "frame {number} was sent as {sent:?} and recorded as {row:?}"
                ));
            }
        }
        self.pass();
    }

    fn miss(&mut self, number: u64, bytes: u64) {
        if self.beheaded == Some(number) {
            self.counts.taken_for_ends += 1;
            return;
        }
        let (_, count, sum) = self.missing.get_or_insert((number, 0, 0));
        *count += 1;
        *sum += bytes;
    }

    /// The device hung up: what is missing up to here may have been in its port.
    fn forgive(&mut self) {
        match self.missing {
            Some((_, count, bytes)) if bytes <= PORT_BYTES_MAX => {
                self.counts.taken_by_hang_ups += count;
                self.missing = None;
            }
            _ => self.expect_none_missing(u64::MAX),
        }
    }

    /// A later frame came: what is missing before it should have come.
    fn expect_none_missing(&mut self, next: u64) {
        if let Some((first, count, _)) = self.missing.take() {
            let s = if count == 1 { "" } else { "s" };
            let until = if next == u64::MAX {
                String::new()
            } else {
                format!(", and frame {next} did")
            };
            self.find(format!(
                "{count} frame{s} from number {first} on went out whole and never came{until}"
            ));
        }
    }

    fn find(&mut self, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(number: u64) -> Vec<f64> {
        vec![number as f64, number as f64 * 0.5]
    }

    fn sent(first: u64, count: u64) -> Said {
        Said::Sent {
            first,
            count,
            bytes: count * 20,
        }
    }

    fn hit(number: u64) -> Said {
        Said::Hit {
            number,
            is_short: false,
        }
    }

    /// A device that says this, and the rows of these frames.
    fn checked(said: &[Said], rows: impl IntoIterator<Item = u64>) -> Checker {
        let mut checker = Checker::new(Box::new(values));
        // The rows first, and then the truth bit by bit: whoever is ahead waits.
        rows.into_iter().for_each(|row| checker.row(values(row)));
        for said in said {
            checker.say(*said);
            checker.compare();
        }
        checker.finish();
        checker
    }

    #[test]
    fn what_is_right_has_no_findings_and_is_counted() {
        let said = [
            sent(0, 3),
            hit(3),
            sent(4, 2),
            hit(6),
            Said::HungUp { next: 7 },
            sent(9, 2),
            Said::End,
        ];
        let checker = checked(&said, [0, 1, 2, 4, 6, 9, 10]);
        assert_eq!(
            checker.findings(),
            ["1 frame from number 5 on went out whole and never came, and frame 6 did"]
        );
        let checker = checked(&said, [0, 1, 2, 3, 4, 9, 10]);
        assert_eq!(checker.findings(), [""; 0]);
        let counts = Counts {
            sent: 7,
            arrived: 6,
            taken_by_hang_ups: 1,
            hit: 2,
            hit_and_arrived: 1,
            taken_for_ends: 0,
        };
        assert_eq!(checker.counts(), counts);
    }

    /// The frame behind one that was cut short, and came all the same, lost its beginning to it; no other did.
    #[test]
    fn a_frame_made_whole_by_the_next_one_excuses_that_one() {
        let short = Said::Hit {
            number: 2,
            is_short: true,
        };
        let said = [sent(0, 2), short, sent(3, 3)];
        let excused = checked(&said, [0, 1, 2, 4, 5]);
        assert_eq!(excused.findings(), [""; 0]);
        assert_eq!(excused.counts().taken_for_ends, 1);
        let found = ["1 frame from number 3 on went out whole and never came, and frame 4 did"];
        assert_eq!(checked(&said, [0, 1, 4, 5]).findings(), found);
        let long = [sent(0, 2), hit(2), sent(3, 3)];
        assert_eq!(checked(&long, [0, 1, 2, 4, 5]).findings(), found);
        let two = checked(&said, [0, 1, 2, 5]);
        let found = ["1 frame from number 4 on went out whole and never came, and frame 5 did"];
        assert_eq!(two.findings(), found);
    }

    #[test]
    fn a_frame_that_never_came_is_found() {
        let checker = checked(&[sent(0, 5)], [0, 1, 3, 4]);
        assert_eq!(
            checker.findings(),
            ["1 frame from number 2 on went out whole and never came, and frame 3 did"]
        );
        let checker = checked(&[sent(0, 5)], [0, 1, 2]);
        assert_eq!(
            checker.findings(),
            ["2 frames from number 3 on went out whole and never came"]
        );
    }

    #[test]
    fn a_hang_up_excuses_no_more_than_a_port_holds() {
        let said = [sent(0, 5000), Said::HungUp { next: 5000 }, sent(5000, 1)];
        let few = checked(&said, (0..4000).chain([5000]));
        assert_eq!(few.findings(), [""; 0]);
        assert_eq!(few.counts().taken_by_hang_ups, 1000);
        let many = checked(&said, (0..2000).chain([5000]));
        assert_eq!(
            many.findings(),
            ["3000 frames from number 2000 on went out whole and never came"]
        );
    }

    #[test]
    fn a_frame_that_was_not_sent_or_comes_twice_is_found() {
        let twice = checked(&[sent(0, 3)], [0, 1, 1, 2]);
        assert_eq!(
            twice.findings(),
            ["frame 1 was recorded and not sent, or a second time"]
        );
        let skipped = checked(&[sent(0, 2), sent(5, 2)], [0, 1, 3, 5, 6]);
        assert_eq!(
            skipped.findings(),
            ["frame 3 was recorded and not sent, or a second time"]
        );
        let behind = checked(&[sent(0, 2)], [0, 1, 2]);
        assert_eq!(behind.findings(), ["frame 2 was recorded and not sent"]);
        let back = checked(&[sent(0, 3)], [0, 2, 1]);
        assert_eq!(back.findings().len(), 2, "{:?}", back.findings());
    }

    #[test]
    fn a_value_that_is_not_as_sent_is_found_also_of_a_frame_that_was_hit() {
        for said in [sent(7, 1), hit(7)] {
            let mut checker = Checker::new(Box::new(values));
            checker.say(said);
            checker.row(vec![7.0, 3.0]);
            checker.finish();
            assert_eq!(
                checker.findings(),
                ["frame 7 was sent as [7.0, 3.5] and recorded as [7.0, 3.0]"]
            );
        }
    }

    #[test]
    fn what_is_found_is_bounded() {
        let checker = checked(&[sent(0, 2000)], (0..1000).map(|n| n * 2));
        assert_eq!(checker.findings().len(), FINDINGS_MAX);
        assert_eq!(checker.counts().arrived, 1000);
    }
}
