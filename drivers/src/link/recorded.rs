//! What a device once sent, given again as it came: a link without a device.
//!
//! A [`Recorded`] plays a tape of [`Moment`]s against a [`VirtualTime`], which it alone moves. A read that would have waited
//! for a device moves that time instead: to the next recorded read if that is within the wait, or else by the wait. So
//! whoever asks the same virtual time sees the same waits, ages and time-outs, however fast the tape is played.
//!
//! **Always holds.** The virtual time never runs backwards, and what is given at it depends on the tape and on the
//! waits asked for, never on the host's clock: [`Pace`] only says how long the host sleeps meanwhile. Each recorded
//! read is given once, whole, in order. What is sent to the device goes nowhere. The link is back when the tape says so,
//! not when it is asked for.
//!
//! **Must not know.** Where the tape comes from; what the bytes mean.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{Link, OpenError, Read, SendError, Sender, Stop};

/// The time within a tape, UTC ns. Cheap to clone; all clones agree.
///
/// Besides the time that it is, it tells up to when it is known that nothing more comes: while the host sleeps until the
/// next moment of the tape, that moment is known already.
#[derive(Debug, Clone)]
pub struct VirtualTime(Arc<Times>);

struct Times {
    now_ns: AtomicI64,
    known_ns: AtomicI64,
    told: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times")
            .field("now_ns", &self.now_ns)
            .field("known_ns", &self.known_ns)
            .finish_non_exhaustive()
    }
}

impl VirtualTime {
    /// A time that stands still until a link moves it.
    #[must_use]
    pub fn new(now_ns: i64) -> Self {
        Self(Arc::new(Times {
            now_ns: AtomicI64::new(now_ns),
            known_ns: AtomicI64::new(now_ns),
            told: OnceLock::new(),
        }))
    }

    /// Now, UTC ns.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        // Acquire: with the release in `advance_to`, for whoever is told of the time by it alone.
        self.0.now_ns.load(Ordering::Acquire)
    }

    /// What its reader makes from now on, it makes at this time or later. Whatever it made before is visible to whoever
    /// asks this first.
    #[must_use]
    pub fn known_ns(&self) -> i64 {
        // Acquire: pairs with the release in `promise`.
        self.0.known_ns.load(Ordering::Acquire)
    }

    /// Has somebody told whenever more is known. Once.
    pub fn tell(&self, told: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.told.set(Box::new(told));
    }

    /// Nothing happens before this time any more.
    fn promise(&self, time_ns: i64) {
        let before_ns = self.0.known_ns.fetch_max(time_ns, Ordering::Release);
        if before_ns < time_ns
            && let Some(told) = self.0.told.get()
        {
            told();
        }
    }

    fn advance_to(&self, time_ns: i64) {
        self.0.now_ns.fetch_max(time_ns, Ordering::Release);
    }
}

/// What happened to a device.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// It was opened.
    Opened(Manner),
    /// These bytes were read at once.
    Read(Vec<u8>),
    /// It was gone, with what was said of it.
    Gone(String),
    /// It had no more to give, with what was said of it.
    Finished(String),
}

/// How a device's bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Manner {
    /// Time that one byte takes on the line, ns; 0 where there is no pace.
    pub ns_per_byte: f64,
    /// Whether each read brings one whole message.
    pub keeps_boundaries: bool,
}

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// UTC ns.
    pub time_ns: i64,
    /// What.
    pub what: Happened,
}

/// What happened to a device, one after the other.
pub type Tape = Box<dyn Iterator<Item = Moment> + Send>;

/// How fast a tape is played against the host's clock.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The virtual time at `host`, ns.
    pub from_ns: i64,
    /// The host's time at which playing begins.
    pub host: Instant,
    /// Times as fast as it was; above 0.
    pub speed: f64,
}

impl Pace {
    /// How long the host still has to wait for this virtual time.
    #[must_use]
    pub fn left(&self, time_ns: i64) -> Duration {
        self.due(time_ns).map_or(Duration::MAX, |due| {
            due.saturating_duration_since(Instant::now())
        })
    }

    /// How long this virtual time has passed by the host's clock.
    #[must_use]
    pub fn late(&self, time_ns: i64) -> Duration {
        self.due(time_ns).map_or(Duration::ZERO, |due| {
            Instant::now().saturating_duration_since(due)
        })
    }

    /// When this virtual time is due by the host's clock; `None`: later than anybody lives to see.
    fn due(&self, time_ns: i64) -> Option<Instant> {
        let virtual_ns = u64::try_from(time_ns.saturating_sub(self.from_ns)).unwrap_or(0);
        let virtual_s = Duration::from_nanos(virtual_ns).as_secs_f64();
        let after = Duration::try_from_secs_f64(virtual_s / self.speed).ok()?;
        self.host.checked_add(after)
    }
}

/// A recorded read that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// When it was read, by the tape.
    pub time_ns: i64,
    /// How many bytes.
    pub bytes: usize,
    /// How much later than due it was given, where there is a pace.
    pub late: Option<Duration>,
}

/// Who is told of every read that is given.
pub type Seen = Box<dyn FnMut(Played) + Send>;

/// What the tape's end is called.
const END: &str = "the recording is at its end";
/// What is said where the tape goes on with a device that was opened anew, or in another manner, without its having gone.
const HOLE: &str = "the recording does not say how the device was lost";

/// A device on a tape.
pub struct Recorded {
    tape: Tape,
    next: Option<Moment>,
    time: VirtualTime,
    pace: Option<Pace>,
    manner: Manner,
    /// Of the read in hand: its bytes, and how many of them were given.
    rest: (Vec<u8>, usize),
    seen: Option<Seen>,
}

impl Recorded {
    /// A link that plays a tape. It moves `time`; `pace`: as fast as it goes, if there is none. `manner` holds for bytes that
    /// stand on the tape before the device was opened: a tape may begin in the middle.
    #[must_use]
    pub fn new(mut tape: Tape, time: VirtualTime, pace: Option<Pace>, manner: Manner) -> Self {
        let next = tape.next();
        Self {
            tape,
            next,
            time,
            pace,
            manner,
            rest: (Vec::new(), 0),
            seen: None,
        }
    }

    /// Has somebody told of every read.
    #[must_use]
    pub fn seen_by(mut self, seen: Seen) -> Self {
        self.seen = Some(seen);
        self
    }

    /// Lets the virtual time come to `time_ns`; false: the order to stop came first.
    fn wait_until(&self, time_ns: i64, stop: &Stop) -> bool {
        self.time.promise(time_ns);
        if let Some(pace) = &self.pace {
            let left = pace.left(time_ns);
            if !left.is_zero() && stop.wait(left) {
                return false;
            }
        }
        if stop.is_triggered() {
            return false;
        }
        self.time.advance_to(time_ns);
        true
    }

    fn advance(&mut self) -> Option<Moment> {
        std::mem::replace(&mut self.next, self.tape.next())
    }

    /// What the next moment on the tape is for the reader; the virtual time is there.
    fn give(&mut self, buffer: &mut [u8]) -> Option<Read> {
        // The device is opened once more: that stays on the tape, for whoever awaits it.
        if let Some(Moment {
            what: Happened::Opened(_),
            ..
        }) = self.next
        {
            return Some(Read::Gone(HOLE.to_owned()));
        }
        let moment = self.advance()?;
        match moment.what {
            Happened::Opened(_) => None,
            Happened::Read(bytes) => {
                if let Some(seen) = &mut self.seen {
                    seen(Played {
                        time_ns: moment.time_ns,
                        bytes: bytes.len(),
                        late: self.pace.map(|pace| pace.late(moment.time_ns)),
                    });
                }
                self.rest = (bytes, 0);
                self.give_rest(buffer)
            }
            Happened::Gone(reason) => Some(Read::Gone(reason)),
            Happened::Finished(reason) => Some(Read::Finished(reason)),
        }
    }

    fn give_rest(&mut self, buffer: &mut [u8]) -> Option<Read> {
        let (bytes, given) = &mut self.rest;
        let left = &bytes[*given..];
        let count = left.len().min(buffer.len());
        if count == 0 {
            return None;
        }
        buffer[..count].copy_from_slice(&left[..count]);
        *given += count;
        Some(Read::Data(count))
    }
}

impl Link for Recorded {
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        if let Some(read) = self.give_rest(buffer) {
            return read;
        }
        let until_ns = wait.map(|wait| {
            let wait_ns = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
            self.time.now_ns().saturating_add(wait_ns)
        });
        loop {
            let Some(next) = &self.next else {
                return Read::Finished(END.to_owned());
            };
            let next_ns = next.time_ns;
            if let Some(until_ns) = until_ns.filter(|until_ns| next_ns > *until_ns) {
                return if self.wait_until(until_ns, stop) {
                    Read::Quiet
                } else {
                    Read::Stopped
                };
            }
            if !self.wait_until(next_ns, stop) {
                return Read::Stopped;
            }
            // A recorded read of nothing is nothing.
            if let Some(read) = self.give(buffer) {
                return read;
            }
        }
    }

    fn ns_per_byte(&self) -> f64 {
        self.manner.ns_per_byte
    }

    fn keeps_boundaries(&self) -> bool {
        self.manner.keeps_boundaries
    }

    fn sender(&self) -> Option<Box<dyn Sender>> {
        Some(Box::new(Nowhere))
    }

    /// Lets the time come at which the device was opened. At the end of the tape nobody comes any more.
    fn await_peer(&mut self, stop: &Stop) -> Result<bool, OpenError> {
        self.rest = (Vec::new(), 0);
        while let Some(next) = &self.next {
            let time_ns = next.time_ns;
            let is_there = !matches!(next.what, Happened::Gone(_) | Happened::Finished(_));
            if !self.wait_until(time_ns, stop) {
                return Ok(false);
            }
            if let Happened::Opened(manner) = next.what {
                self.manner = manner;
            }
            if is_there {
                if let Some(Happened::Opened(_)) = self.next.as_ref().map(|next| &next.what) {
                    self.advance();
                }
                return Ok(true);
            }
            // It was lost once more before anybody had it.
            self.advance();
        }
        Ok(false)
    }

    fn again(self: Box<Self>) -> Option<Box<dyn Link>> {
        Some(self)
    }

    fn comes_by_itself(&self) -> bool {
        true
    }
}

/// Where bytes go that are sent to a device of the past.
struct Nowhere;

impl Sender for Nowhere {
    fn send(&mut self, _: &[u8], _: Duration) -> Result<(), SendError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
