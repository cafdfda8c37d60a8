//! Faults as they are declared, and the layer between a device's encoder and its port that commits them.
//!
//! What for: every device, whatever it sends, loses bytes, flips bits, stalls, is unplugged, when its user says so.
//!
//! What always holds: what happens to a frame follows from the seed, the frame's number and its time by the device's own clock, so a
//! run can be repeated; only a flood, which has no clock, is timed by the host's. A frame keeps one byte at least. What happened to a
//! frame is told to the byte.
//!
//! What it must not know: ports, threads, what is in a frame.

mod moments;

use std::time::Duration;

use crate::signal::mix;
use moments::Moments;

/// Something that goes wrong with a device, again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// When.
    pub when: When,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultKind {
    /// So many bytes of a frame are lost.
    ByteLoss(u32),
    /// In so many bytes of a frame a bit is another.
    BitFlips(u32),
    /// So many bytes of a frame come twice.
    DoubledBytes(u32),
    /// A frame ends too soon.
    TruncatedFrames,
    /// So many bytes of noise come before a frame.
    Burst(u32),
    /// The device leaves out so many frame numbers, as if it had lost these frames itself.
    CounterJump(u64),
    /// Nothing is sent for so long; what came due meanwhile follows at once.
    Stall(Duration),
    /// The device hangs up, and comes back after so long.
    Disconnect(Duration),
    /// Its clock is slow by so many parts of a million, for so long by itself, or for ever.
    ClockDrift(f64, Option<Duration>),
    /// What is due in so long by its clock goes out at once, as fast as the port takes it.
    Flood(Duration),
    /// An answer comes so much later.
    LateAnswers(Duration),
    /// An answer is well formed, and not to what was asked.
    WrongAnswers,
    /// A request is not answered.
    MissingAnswers,
}

/// When it goes wrong, by the device's clock, which begins with its first frame.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// Each frame, or each byte of it where bytes are hit, has this probability.
    Always(f64),
    /// At each of some moments, once.
    Each(Rhythm),
    /// For so long from each of some moments, with this probability for each frame or byte.
    Within(Rhythm, Duration, f64),
}

/// Moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// One.
    At(Duration),
    /// The first, and again after every such time.
    Every(Duration, Duration),
    /// By chance, so long apart in the mean: the times between them are exponential.
    MeanEvery(Duration),
}

/// The name of each kind of fault for the configuration and the truth, in the order in which [`Truth`](crate::Truth) counts them.
pub const FAULTS: [&str; 13] = [
    "byte_loss",
    "bit_flips",
    "doubled_bytes",
    "truncated_frames",
    "burst",
    "counter_jump",
    "stall",
    "disconnect",
    "clock_drift",
    "flood",
    "late_answers",
    "wrong_answers",
    "missing_answers",
];

impl FaultKind {
    /// Its place in [`FAULTS`].
    pub(crate) fn place(&self) -> usize {
        match self {
            Self::ByteLoss(_) => 0,
            Self::BitFlips(_) => 1,
            Self::DoubledBytes(_) => 2,
            Self::TruncatedFrames => 3,
            Self::Burst(_) => 4,
            Self::CounterJump(_) => 5,
            Self::Stall(_) => 6,
            Self::Disconnect(_) => 7,
            Self::ClockDrift(..) => 8,
            Self::Flood(_) => 9,
            Self::LateAnswers(_) => 10,
            Self::WrongAnswers => 11,
            Self::MissingAnswers => 12,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        FAULTS[self.place()]
    }

    /// Whether it is done to the device, and not to a frame of it.
    fn is_of_device(&self) -> bool {
        matches!(
            self,
            Self::CounterJump(_)
                | Self::Stall(_)
                | Self::Disconnect(_)
                | Self::ClockDrift(..)
                | Self::Flood(_)
        )
    }
}

/// What begins before a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Begin {
    Jump(u64),
    Stall(Duration),
    Disconnect(Duration),
    /// Host time for each unit of the device's, from here on.
    Drift(f64),
    Flood(Duration),
}

/// What was done to a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// In [`FAULTS`].
    pub(crate) kind: usize,
    /// Places of bytes in the frame as this fault found it; of noise, none: it came before. Of a truncation, the place from which on all
    /// are lost.
    pub(crate) places: Vec<usize>,
    /// Bytes lost, changed, doubled or added.
    pub(crate) bytes: usize,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) late: Duration,
    pub(crate) is_wrong: bool,
    pub(crate) is_missing: bool,
}

/// The layer itself.
#[derive(Debug)]
pub(crate) struct Faults {
    active: Vec<Active>,
    seed: u64,
    /// Host time for each unit of the device's without any fault.
    slow: f64,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    /// None: it has no moments.
    moments: Option<Moments>,
    /// The window at hand ends here, ns.
    until_ns: u64,
    /// A drift that has not ended yet.
    is_drifting: bool,
}

impl Faults {
    pub(crate) fn new(list: &[Fault], seed: u64, slow: f64) -> Self {
        let active = (0..).zip(list).map(|(place, fault)| {
            let rhythm = match fault.when {
                When::Always(_) => None,
                When::Each(rhythm) | When::Within(rhythm, ..) => Some(rhythm),
            };
            Active {
                fault: fault.clone(),
                moments: rhythm.map(|rhythm| Moments::new(rhythm, mix(seed, place))),
                until_ns: 0,
                is_drifting: false,
            }
        });
        Self {
            active: active.collect(),
            seed,
            slow,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// What begins before frame `index`, which is due at this time of the device's clock; to be asked until there is nothing more.
    pub(crate) fn begin(&mut self, index: u64, time_ns: u64) -> Option<(usize, Begin)> {
        let seed = self.seed;
        let base = self.slow;
        for (place, active) in (0..).zip(&mut self.active) {
            if !active.fault.kind.is_of_device() {
                continue;
            }
            let kind = active.fault.kind.place();
            if active.is_drifting && time_ns >= active.until_ns {
                active.is_drifting = false;
                return Some((kind, Begin::Drift(base)));
            }
            if !active.is_due(index, time_ns, mix(seed, place)) {
                continue;
            }
            let begin = match active.fault.kind {
                FaultKind::CounterJump(frames) => Begin::Jump(frames),
                FaultKind::Stall(duration) => Begin::Stall(duration),
                FaultKind::Disconnect(duration) => Begin::Disconnect(duration),
                FaultKind::Flood(duration) => Begin::Flood(duration),
                FaultKind::ClockDrift(ppm, duration) => {
                    active.is_drifting = duration.is_some();
                    active.until_ns = duration.map_or(0, |d| time_ns.saturating_add(nanos(d)));
                    Begin::Drift(base * (1.0 + ppm * 1e-6))
                }
                _ => continue,
            };
            return Some((kind, begin));
        }
        None
    }

    /// Does to frame `index`, which is the bytes from `start` on, what is due, and tells it; noise that comes before it is put there.
    /// Returns where the frame itself begins.
    pub(crate) fn strike(
        &mut self,
        index: u64,
        time_ns: u64,
        bytes: &mut Vec<u8>,
        start: usize,
        hits: &mut Vec<Hit>,
    ) -> usize {
        let mut start = start;
        for (place, active) in (0..).zip(&mut self.active) {
            let mut dice = Dice::new(mix(mix(self.seed, place), index));
            if let Some(hit) = active.strike(time_ns, bytes, &mut start, &mut dice) {
                hits.push(hit);
            }
        }
        start
    }

    /// What becomes of answer `index`.
    pub(crate) fn answer(&mut self, index: u64, time_ns: u64) -> Answer {
        let mut answer = Answer::default();
        for (place, active) in (0..).zip(&mut self.active) {
            let (late, is_wrong, is_missing) = match active.fault.kind {
                FaultKind::LateAnswers(late) => (late, false, false),
                FaultKind::WrongAnswers => (Duration::ZERO, true, false),
                FaultKind::MissingAnswers => (Duration::ZERO, false, true),
                _ => continue,
            };
            if active.is_due(index, time_ns, mix(self.seed, place)) {
                answer.late += late;
                answer.is_wrong |= is_wrong;
                answer.is_missing |= is_missing;
            }
        }
        answer
    }

    /// Nobody was there until this time: what was due by then happened to nobody.
    pub(crate) fn pass(&mut self, time_ns: u64) {
        for active in &mut self.active {
            // A clock drifts whoever looks.
            if let (Some(moments), false) = (
                &mut active.moments,
                matches!(active.fault.kind, FaultKind::ClockDrift(..)),
            ) {
                while let Some(moment_ns) = moments.take(time_ns) {
                    active.until_ns = match active.fault.when {
                        When::Within(_, window, _) => moment_ns.saturating_add(nanos(window)),
                        _ => active.until_ns,
                    };
                }
            }
        }
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Active {
    /// The probability for each frame, or each byte, at this time; `None`: moments decide.
    fn probability(&mut self, time_ns: u64) -> Option<f64> {
        match self.fault.when {
            When::Always(probability) => Some(probability),
            When::Each(_) => None,
            When::Within(_, window, probability) => {
                while let Some(moment_ns) = self.moments.as_mut()?.take(time_ns) {
                    self.until_ns = moment_ns.saturating_add(nanos(window));
                }
                Some(if time_ns < self.until_ns {
                    probability
                } else {
                    0.0
                })
            }
        }
    }

    /// Whether it happens once, at this frame.
    fn is_due(&mut self, index: u64, time_ns: u64, seed: u64) -> bool {
        match self.probability(time_ns) {
            Some(probability) => Dice::new(mix(seed, index)).falls(probability),
            None => self.is_moment(time_ns),
        }
    }

    /// Whether a moment has come that was not there at the frame before. Two between two frames are one.
    fn is_moment(&mut self, time_ns: u64) -> bool {
        let Some(moments) = &mut self.moments else {
            return false;
        };
        let mut is_due = false;
        while moments.take(time_ns).is_some() {
            is_due = true;
        }
        is_due
    }

    fn strike(
        &mut self,
        time_ns: u64,
        bytes: &mut Vec<u8>,
        start: &mut usize,
        dice: &mut Dice,
    ) -> Option<Hit> {
        let kind = self.fault.kind.place();
        let length = bytes.len() - *start;
        let count = match self.fault.kind {
            FaultKind::ByteLoss(count)
            | FaultKind::BitFlips(count)
            | FaultKind::DoubledBytes(count) => count as usize,
            FaultKind::TruncatedFrames | FaultKind::Burst(_) => 1,
            _ => return None,
        };
        if length == 0 {
            return None;
        }
        let is_per_byte = !matches!(
            self.fault.kind,
            FaultKind::TruncatedFrames | FaultKind::Burst(_)
        );
        let mut places: Vec<usize> = match self.probability(time_ns) {
            Some(probability) if is_per_byte => {
                (0..length).filter(|_| dice.falls(probability)).collect()
            }
            Some(probability) if dice.falls(probability) => vec![0],
            None if self.is_moment(time_ns) => dice.choose(count, length),
            _ => return None,
        };
        match self.fault.kind {
            FaultKind::BitFlips(_) => {
                for place in &places {
                    bytes[*start + place] ^= 1 << dice.below(8);
                }
            }
            FaultKind::DoubledBytes(_) => {
                for place in places.iter().rev() {
                    let byte = bytes[*start + place];
                    bytes.insert(*start + place, byte);
                }
            }
            FaultKind::ByteLoss(_) => {
                // One stays: a frame of none would be nowhere.
                places.truncate(length - 1);
                for place in places.iter().rev() {
                    bytes.remove(*start + place);
                }
            }
            FaultKind::TruncatedFrames => {
                if length < 2 {
                    return None;
                }
                let keep = 1 + dice.below(length - 1);
                bytes.truncate(*start + keep);
                return Some(Hit {
                    kind,
                    places: vec![keep],
                    bytes: length - keep,
                });
            }
            FaultKind::Burst(count) => {
                let noise: Vec<u8> = (0..count).map(|_| dice.below(256) as u8).collect();
                let at = *start;
                *start += noise.len();
                let added = noise.len();
                bytes.splice(at..at, noise);
                return Some(Hit {
                    kind,
                    places: Vec::new(),
                    bytes: added,
                });
            }
            _ => return None,
        }
        (!places.is_empty()).then_some(Hit {
            kind,
            bytes: places.len(),
            places,
        })
    }
}

/// Random numbers of one frame (SplitMix64): the same for the same seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        // The finalizer of `mix`, which adds the same constant once more.
        mix(self.0, 0)
    }

    fn falls(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        // The bounds here are so small against 2^64 that none is favoured.
        (self.next() % bound.max(1) as u64) as usize
    }

    /// So many different places below `bound`, in order; all of them, if there are no more.
    fn choose(&mut self, count: usize, bound: usize) -> Vec<usize> {
        let mut places: Vec<usize> = Vec::with_capacity(count.min(bound));
        while places.len() < count.min(bound) {
            let place = self.below(bound);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places.sort_unstable();
        places
    }
}

#[cfg(test)]
mod tests;
