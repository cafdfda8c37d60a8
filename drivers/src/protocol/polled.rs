//! What protocols that ask have in common: cycles, waits that grow, and what they have to tell.
//!
//! **Always holds.** A cycle that comes late does not push the next ones back: those whose time is over are left out,
//! and counted. A wait never exceeds its longest, and of what is told the oldest [`TOLD_MAX`] are kept until somebody
//! takes them.
//!
//! **Must not know.** What is asked.

use std::collections::VecDeque;
use std::time::Duration;

use super::OptionsError;

/// The shortest and the longest cycle, time-out and back-off: a day is longer than any device needs.
pub const WAIT_LIMITS: (Duration, Duration) =
    (Duration::from_millis(1), Duration::from_secs(86_400));

/// What is wrong with the waits: each a part of the declaration and how long.
pub(super) fn wait_mistakes(
    cycle: Duration,
    timeout: Duration,
    backoff: (Duration, Duration),
) -> impl Iterator<Item = OptionsError> {
    let (least, most) = WAIT_LIMITS;
    let waits = [
        ("cycle", cycle),
        ("timeout", timeout),
        ("backoff", backoff.0),
        ("backoff", backoff.1),
    ];
    let out_of_limits = waits
        .into_iter()
        .filter(move |(_, wait)| !(least..=most).contains(wait))
        .map(|(part, wait)| (part, format!("{wait:?}: 1 ms to a day is possible")));
    let turned = (backoff.1 < backoff.0).then(|| {
        let what = "the longest wait is shorter than the first".to_owned();
        ("backoff", what)
    });
    out_of_limits
        .chain(turned)
        .map(|(part, what)| OptionsError {
            part: part.to_owned(),
            what,
        })
}

/// What is kept to be told at most: an event for each request of a whole bus would help nobody.
const TOLD_MAX: usize = 32;

/// A duration as the time of a protocol is counted.
pub(super) fn ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// When the next cycle begins, and which one it is.
#[derive(Debug)]
pub(super) struct Cycles {
    length_ns: i64,
    number: u64,
    /// `None`: none has begun since the link was opened.
    next_ns: Option<i64>,
    left_out: u64,
    left_out_told: bool,
}

impl Cycles {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length_ns: ns(length).max(1),
            number: 0,
            next_ns: None,
            left_out: 0,
            left_out_told: false,
        }
    }

    /// The link was opened anew.
    pub(super) fn reset(&mut self) {
        (self.number, self.next_ns) = (0, None);
        (self.left_out, self.left_out_told) = (0, false);
    }

    /// The first cycle is due now, unless one was due before.
    pub(super) fn start(&mut self, now_ns: i64) {
        self.next_ns.get_or_insert(now_ns);
    }

    /// When the next cycle is due; `None`: nothing has started.
    pub(super) fn next_ns(&self) -> Option<i64> {
        self.next_ns
    }

    /// The number of the cycle that begins now, if one is due. Those that should have begun and ended since are left out.
    pub(super) fn begin(&mut self, now_ns: i64) -> Option<u64> {
        let next_ns = self.next_ns.filter(|next_ns| now_ns >= *next_ns)?;
        let left_out = now_ns.saturating_sub(next_ns) / self.length_ns;
        self.left_out += left_out.unsigned_abs();
        let step = left_out.saturating_add(1).saturating_mul(self.length_ns);
        self.next_ns = Some(next_ns.saturating_add(step));
        let number = self.number + left_out.unsigned_abs();
        self.number = number + 1;
        Some(number)
    }

    /// How many cycles were left out; once after each opening.
    pub(super) fn take_left_out(&mut self) -> Option<u64> {
        let is_new = self.left_out > 0 && !self.left_out_told;
        self.left_out_told |= is_new;
        is_new.then_some(self.left_out)
    }
}

/// The waits for something that does not answer: each twice the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    first_ns: i64,
    max_ns: i64,
}

impl Waits {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first_ns: ns(first),
            max_ns: ns(max),
        }
    }

    /// The wait after this one; `None`: the first.
    pub(super) fn after(&self, wait_ns: Option<i64>) -> i64 {
        wait_ns
            .map_or(self.first_ns, |wait| wait.saturating_mul(2))
            .min(self.max_ns)
    }

    pub(super) fn max_ns(&self) -> i64 {
        self.max_ns
    }
}

/// What happened that whoever watches the device should hear.
#[derive(Debug, Default)]
pub(super) struct Told(VecDeque<String>);

impl Told {
    pub(super) fn tell(&mut self, what: String) {
        if self.0.len() < TOLD_MAX {
            self.0.push_back(what);
        }
    }

    pub(super) fn take(&mut self) -> Option<String> {
        self.0.pop_front()
    }
}
