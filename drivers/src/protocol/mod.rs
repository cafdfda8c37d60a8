//! Protocols: how bytes become frames.
//!
//! Each protocol is a folder with the same files: `mod.rs` (what it is, its decoder),
//! `options.rs` (what can be declared). To add one: its folder, and one line in [`Options`] and
//! [`Options::build`].
//!
//! **Always holds.** A protocol is a pure function of the bytes: cut anywhere, they decode to the
//! same frames. Any bytes at all neither panic nor allocate without bound. After rubbish the next
//! whole good frame is decoded.
//!
//! **Asking.** A device that speaks only when asked has a protocol that says what to ask: [`Protocol::poll`]
//! gives the bytes and the time of its next turn, and is itself a function of what it was told.
//!
//! **Must not know.** Where bytes come from, what time it is other than it is told, what becomes of the frames.

pub mod lines;
pub mod modbus;
pub mod nmea;
pub mod packet;
mod polled;
pub mod scpi;
pub mod ubx;

pub use polled::WAIT_LIMITS;

use crate::frames::Frames;

/// Turns bytes into frames.
pub trait Protocol: Send {
    /// Values in a frame.
    fn channels(&self) -> usize;

    /// Appends to `out` the frames at the front of `input`, until it is full or no whole frame is left.
    ///
    /// Returns how many bytes it is done with; the caller shows it the rest again, with more
    /// bytes behind it. A frame's end in `out` counts from the start of `input`.
    fn decode(&mut self, input: &[u8], out: &mut Frames) -> usize;

    /// The most bytes that [`Protocol::decode`] may leave although `out` is not full: the caller's
    /// buffer must hold at least one byte more.
    fn tail_max(&self) -> usize;

    /// Forgets whatever is remembered of the stream: the link was opened anew. What follows
    /// need not continue what came before, so no counter jump is reported across it.
    fn reset(&mut self);

    /// What comes next continues no frame that was begun: it is the next datagram. Counters go on across it.
    fn boundary(&mut self) {}

    /// A turn of a protocol that asks: appends to `out` what is to be sent to the device at `now_ns` (UTC ns,
    /// never running backwards), and returns when its next turn is due; `None`: it has no more to ask.
    ///
    /// Called once after every [`Protocol::reset`], with the time of the read before and after every
    /// [`Protocol::decode`], and when the turn is due. What is appended goes out at once. After a turn that was
    /// due, `decode` is called, too, with what there is, maybe nothing: so it can give a frame, and count, although
    /// the device says nothing.
    fn poll(&mut self, now_ns: i64, out: &mut Vec<u8>) -> Option<i64> {
        let _ = (now_ns, out);
        None
    }

    /// What happened that a person should hear, one after the other: a unit does not answer, a device refuses. Few and
    /// bounded; whoever does not ask misses only the words, for all of it is counted.
    fn told(&mut self) -> Option<String> {
        None
    }
}

/// A declared protocol, not yet made.
#[derive(Debug, Clone, PartialEq)]
pub enum Options {
    /// Text lines.
    Lines(lines::Options),
    /// Binary packets.
    Packet(packet::Options),
    /// Sentences of NMEA 0183.
    Nmea(nmea::Options),
    /// Binary messages of u-blox receivers, and sentences.
    Ubx(ubx::Options),
    /// Units on a bus that are polled.
    Modbus(modbus::Options),
    /// An instrument that is queried.
    Scpi(scpi::Options),
}

/// A declaration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct OptionsError {
    /// Which part of the declaration, as it is called in the configuration (`"checksum"`,
    /// `"field 3"`, …).
    pub part: String,
    /// What is wrong with it and what would be right.
    pub what: String,
}

impl Options {
    /// Whether it speaks to a device that answers only when it is asked: then its link must carry both ways.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(self, Self::Modbus(_) | Self::Scpi(_))
    }

    /// Makes the protocol.
    ///
    /// # Errors
    /// Every mistake in the declaration, not only the first.
    pub fn build(&self) -> Result<Box<dyn Protocol>, Vec<OptionsError>> {
        match self {
            Self::Lines(options) => Ok(Box::new(lines::Lines::new(options)?)),
            Self::Packet(options) => Ok(Box::new(packet::Packet::new(options)?)),
            Self::Nmea(options) => Ok(Box::new(nmea::Nmea::new(options)?)),
            Self::Ubx(options) => Ok(Box::new(ubx::Ubx::new(options)?)),
            Self::Modbus(options) => Ok(Box::new(modbus::Modbus::new(options)?)),
            Self::Scpi(options) => Ok(Box::new(scpi::Scpi::new(options)?)),
        }
    }
}
