//! Which messages belong to one moment, and when its frame is whole.
//!
//! An epoch begins with the first message whose time is another than the last one's, or with the one declared to be
//! its first. Messages without a time belong to the epoch in which they come. Its frame is whole when every message
//! that a channel names has come; where one message is only part of a value (satellites of several systems), or a
//! last message is declared, with that, or with the beginning of the next epoch.
//!
//! **Always holds.** A message goes into one frame at most. Before the first message with a time nothing is taken:
//! it would belong to an epoch that nobody knows.
//!
//! **Must not know.** What a message looks like; where in the stream it stood.

use super::table::Merge;

/// A receiver's time, as far as a message tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Time {
    /// The message has none.
    #[default]
    None,
    /// It has a field for it, which is empty: the receiver does not know it yet. Which message that is.
    Unknown(u32),
    /// Hundredths of a second since midnight: as fine as both NMEA and UBX tell it of the same epoch
    /// (NAV-PVT has nanoseconds around what RMC rounds to hundredths).
    Utc(u32),
}

const DAY_HUNDREDTHS: f64 = 8_640_000.0;

impl Time {
    /// Of seconds since midnight.
    pub(crate) fn of_day_s(seconds: f64) -> Self {
        if !seconds.is_finite() {
            return Self::None;
        }
        let hundredths = (seconds * 100.0).round().rem_euclid(DAY_HUNDREDTHS);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Below DAY_HUNDREDTHS.
        Self::Utc(hundredths as u32)
    }
}

/// What a message says of its place among others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) time: Time,
    /// The millisecond of the week, which all binary messages of an epoch share.
    pub(crate) week_ms: Option<u32>,
    /// It is declared to be the first of its epoch.
    pub(crate) is_first: bool,
    /// It is declared to be the last.
    pub(crate) is_last: bool,
}

/// A value that came, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(crate) channel: usize,
    pub(crate) value: f64,
    /// The talker, for what is counted once a talker.
    pub(crate) talker: [u8; 2],
}

/// What a message brought: filled anew for each.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// Declared messages that are complete with it.
    pub(crate) messages: Vec<usize>,
    pub(crate) values: Vec<Value>,
}

impl Arrival {
    pub(crate) fn with_capacity(messages: usize, channels: usize) -> Self {
        Self {
            messages: Vec::with_capacity(messages),
            values: Vec::with_capacity(channels),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.values.clear();
    }
}

/// Talkers counted once in a frame at most; there are fewer systems of satellites.
const TALKERS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, Default)]
struct Talkers {
    count: usize,
    known: [[u8; 2]; TALKERS_MAX],
}

/// A frame being put together.
pub(crate) struct Row {
    pub(crate) values: Box<[f64]>,
    merges: Box<[Merge]>,
    talkers: Box<[Talkers]>,
}

impl Row {
    pub(crate) fn new(merges: Vec<Merge>) -> Self {
        Self {
            values: vec![f64::NAN; merges.len()].into_boxed_slice(),
            talkers: vec![Talkers::default(); merges.len()].into_boxed_slice(),
            merges: merges.into_boxed_slice(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.fill(f64::NAN);
        self.talkers.fill(Talkers::default());
    }

    pub(crate) fn put(&mut self, arrival: &Arrival) {
        for found in &arrival.values {
            let value = &mut self.values[found.channel];
            match self.merges[found.channel] {
                Merge::SumOfTalkers if !self.talkers[found.channel].is_new(found.talker) => {}
                merge => *value = merged(merge, *value, found.value),
            }
        }
    }
}

impl Talkers {
    /// Whether this one was not seen before; it is seen now.
    fn is_new(&mut self, talker: [u8; 2]) -> bool {
        if self.known[..self.count].contains(&talker) || self.count == TALKERS_MAX {
            return false;
        }
        self.known[self.count] = talker;
        self.count += 1;
        true
    }
}

/// What becomes of a value when another comes.
pub(super) fn merged(merge: Merge, known: f64, found: f64) -> f64 {
    match merge {
        _ if known.is_nan() => found,
        _ if found.is_nan() => known,
        Merge::First => known,
        Merge::Sum | Merge::SumOfTalkers => known + found,
        Merge::Max => known.max(found),
    }
}

/// The epoch at hand.
pub(crate) struct Epoch {
    pub(crate) row: Row,
    /// Which declared messages have come.
    came: Box<[bool]>,
    missing: usize,
    /// A frame is whole with its last message, or with the next epoch, not when all have come.
    waits: bool,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    time: Time,
    week_ms: Option<u32>,
    /// Something named has come since the last frame.
    is_begun: bool,
    /// Its frame was whole: what still comes of it was told before.
    is_told: bool,
}

impl Epoch {
    /// `messages` are declared; `has_last`: one of them, or another, is declared to be the last.
    pub(crate) fn new(merges: Vec<Merge>, messages: usize, has_last: bool) -> Self {
        let waits = has_last || merges.iter().any(|merge| merge.is_collective());
        Self {
            row: Row::new(merges),
            came: vec![false; messages].into_boxed_slice(),
            missing: messages,
            waits,
            state: State::default(),
        }
    }

    /// How many messages are declared.
    pub(crate) fn messages(&self) -> usize {
        self.came.len()
    }

    pub(crate) fn reset(&mut self) {
        self.state = State::default();
        self.clear();
    }

    /// Whether a frame has been begun, and is not yet given.
    pub(crate) fn is_begun(&self) -> bool {
        self.state.is_begun
    }

    /// The frame was given, or is to be forgotten.
    pub(crate) fn clear(&mut self) {
        self.row.clear();
        self.came.fill(false);
        self.missing = self.came.len();
        self.state.is_begun = false;
    }

    /// Whether a message with this stamp belongs to the next epoch.
    pub(crate) fn ends_before(&self, stamp: &Stamp) -> bool {
        let state = &self.state;
        if !state.is_open {
            return stamp.is_first || stamp.time != Time::None || stamp.week_ms.is_some();
        }
        let is_other_time = match (state.time, stamp.time) {
            (Time::None, _) | (_, Time::None) => false,
            // Without a time, an epoch lasts until the message that began it comes again.
            (known, found @ Time::Unknown(_)) => matches!(known, Time::Utc(_)) || known == found,
            (known, found) => known != found,
        };
        let is_other_week = (state.week_ms.zip(stamp.week_ms)).is_some_and(|(a, b)| a != b);
        stamp.is_first || is_other_time || is_other_week
    }

    /// The next epoch begins; its frame is empty.
    pub(crate) fn open(&mut self) {
        self.clear();
        self.state = State {
            is_open: true,
            ..State::default()
        };
    }

    /// Takes a message of this epoch; answers whether the frame is whole.
    pub(crate) fn take(&mut self, stamp: &Stamp, arrival: &Arrival) -> bool {
        let state = &mut self.state;
        if !state.is_open {
            return false;
        }
        if state.time == Time::None {
            state.time = stamp.time;
        }
        state.week_ms = state.week_ms.or(stamp.week_ms);
        if state.is_told && !self.waits {
            return false;
        }
        for message in &arrival.messages {
            state.is_begun = true;
            if !std::mem::replace(&mut self.came[*message], true) {
                self.missing -= 1;
            }
        }
        self.row.put(arrival);
        let is_whole = if self.waits {
            state.is_begun && stamp.is_last
        } else {
            state.is_begun && self.missing == 0
        };
        state.is_told |= is_whole;
        is_whole
    }
}
