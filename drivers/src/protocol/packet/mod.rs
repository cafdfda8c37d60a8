//! Binary packets, as declared: sync bytes or COBS, a length, a checksum, a counter, fields.
//!
//! **Resynchronisation.** A candidate that fails is given up by one byte only, and the search goes on behind
//! that byte: a good packet that begins inside rubbish, or inside a packet falsely assumed, is found. A length
//! field that claims more than `max` is rubbish, so waiting for the end of a packet is bounded.
//!
//! **Always holds.** Every byte done with is in exactly one of: a good packet; a corrupt one, which is a
//! candidate of believable length whose checksum fails; the skipped bytes; a COBS delimiter. A candidate that begins
//! within a corrupt packet is not another one; a good one found there ends it. What is corrupt or skipped
//! before the first good packet is counted, but is no gap: nothing was there before it.
//!
//! **The counter.** A jump over `n` packets is a loss of `n`. The same count twice is a packet sent
//! twice: both are kept, nothing is lost. A jump over more than half of the range cannot be told from a
//! device that started anew: a loss of unknown size. Without a counter, a loss counts the corrupt
//! packets in it, and is of unknown size if bytes were only skipped.
//!
//! **Must not know.** Time, and where the bytes come from.

mod check;
pub mod checksum;
mod cobs;
mod fields;
mod options;
mod sync;

use super::{OptionsError, Protocol};
use crate::block::GapReason;
use crate::frames::Frames;
use check::Shape;
pub use options::*;

/// The decoder of binary packets.
pub struct Packet {
    shape: Shape,
    framing: Mode,
    stream: Stream,
}

enum Mode {
    Sync(Box<sync::Sync>),
    Cobs(cobs::Cobs),
}

/// What is remembered of the stream from packet to packet.
#[derive(Debug, Default)]
struct Stream {
    /// A good packet was seen since the link was opened.
    started: bool,
    counter: Option<u64>,
    /// Corrupt packets since the last good one.
    corrupt: u64,
    /// Bytes were skipped since the last good packet.
    skipped: bool,
}

impl Packet {
    /// Compiles a declaration.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn new(options: &Options) -> Result<Self, Vec<OptionsError>> {
        let shape = Shape::new(options)?;
        let framing = match &options.framing {
            Framing::Sync { bytes, .. } => Mode::Sync(Box::new(sync::Sync::new(bytes))),
            Framing::Cobs { .. } => Mode::Cobs(cobs::Cobs::new(shape.length_max)),
        };
        Ok(Self {
            shape,
            framing,
            stream: Stream::default(),
        })
    }
}

impl Protocol for Packet {
    fn channels(&self) -> usize {
        self.shape.fields.len()
    }

    fn decode(&mut self, input: &[u8], out: &mut Frames) -> usize {
        match &mut self.framing {
            Mode::Sync(sync) => sync.decode(&self.shape, &mut self.stream, input, out),
            Mode::Cobs(cobs) => cobs.decode(&self.shape, &mut self.stream, input, out),
        }
    }

    fn tail_max(&self) -> usize {
        match &self.framing {
            Mode::Sync(_) => self.shape.length_max,
            Mode::Cobs(cobs) => cobs.encoded_max(),
        }
    }

    fn reset(&mut self) {
        self.stream = Stream::default();
        match &mut self.framing {
            Mode::Sync(sync) => sync.reset(),
            Mode::Cobs(cobs) => cobs.reset(),
        }
    }

    fn boundary(&mut self) {
        match &mut self.framing {
            Mode::Sync(sync) => sync.reset(),
            Mode::Cobs(cobs) => cobs.begin(),
        }
    }
}

impl Stream {
    /// The loss in front of a good packet, if there is one.
    fn loss(&self, shape: &Shape, packet: &[u8]) -> Option<(Option<u64>, GapReason)> {
        if !self.started {
            return None;
        }
        if let (Some(counter), Some(last)) = (&shape.counter, self.counter) {
            return match counter.missing(last, counter.read(packet)) {
                Some(0) => None,
                // They came, and were no good.
                Some(missing) if missing <= self.corrupt => {
                    Some((Some(missing), GapReason::Corrupt))
                }
                missing => Some((missing, GapReason::DeviceCounter)),
            };
        }
        match (self.corrupt, self.skipped) {
            (0, false) => None,
            (0, true) => Some((None, GapReason::Corrupt)),
            (corrupt, _) => Some((Some(corrupt), GapReason::Corrupt)),
        }
    }

    /// A good packet came; `loss` is what was missing in front of it.
    fn good(&mut self, shape: &Shape, packet: &[u8], loss: Option<u64>, out: &mut Frames) {
        // A packet that came corrupt is counted as that, and not as lost too.
        out.tally.lost_frames += loss.unwrap_or(0).saturating_sub(self.corrupt);
        *self = Self {
            started: true,
            counter: shape.counter.as_ref().map(|counter| counter.read(packet)),
            corrupt: 0,
            skipped: false,
        };
    }

    fn corrupt(&mut self, out: &mut Frames) {
        self.corrupt += 1;
        out.tally.corrupt_frames += 1;
    }

    fn skip(&mut self, bytes: usize, out: &mut Frames) {
        if bytes > 0 {
            self.skipped = true;
            out.tally.skipped_bytes += bytes as u64;
        }
    }
}

/// Appends packets that stand `stride` bytes apart to the frames, a column at a time; packet `i` ended
/// `end(i)` bytes into the input.
fn append(
    shape: &Shape,
    packets: &[u8],
    stride: usize,
    end: impl Fn(usize) -> usize,
    out: &mut Frames,
) {
    let count = packets.len() / stride;
    for (index, place) in out.spare_ends(count).iter_mut().enumerate() {
        // A read buffer is far below 4 GiB.
        *place = u32::try_from(end(index)).unwrap_or(u32::MAX);
    }
    for (channel, field) in shape.fields.iter().enumerate() {
        fields::decode_column(field, packets, stride, out.spare_column(channel, count));
    }
    out.commit(count);
}
