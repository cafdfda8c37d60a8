//! Binary packets, as declared: sync bytes, COBS or SLIP, a length, constants, a checksum, a counter, a timestamp, fields.
//!
//! **Resynchronisation.** A candidate that fails is given up by one byte only, and the search goes on behind
//! that byte: a good packet that begins inside rubbish, or inside a packet falsely assumed, is found. A length
//! field that claims more than `max` is rubbish, so waiting for the end of a packet is bounded.
//!
//! **Arrays.** A packet holds one frame or several. If there is no room for all of them, those that fit are given, and the
//! packet is kept aside until there is room for the others; they end where the packet did. A corrupt packet counts
//! once; what a counter says is missing counts as so many frames.
//!
//! **Constants.** What has the sync bytes and not the constants is no packet: skipped, and searched further. Between
//! delimiters it is a corrupt one.
//!
//! **Always holds.** Every byte done with is in exactly one of: a good packet; a corrupt one, which is a
//! candidate of believable length whose checksum fails; the skipped bytes; a delimiter. A candidate that begins
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
mod fields;
mod options;
mod short_crc;
mod stuffed;
mod sync;

use std::ops::Range;

use super::{OptionsError, Protocol};
use crate::block::GapReason;
use crate::frames::Frames;
use check::Shape;
use checksum::unsigned;
pub use options::*;
use stuffed::Stuffing;

/// The decoder of binary packets.
pub struct Packet {
    shape: Shape,
    framing: Mode,
    stream: Stream,
}

enum Mode {
    Sync(Box<sync::Sync>),
    Stuffed(stuffed::Stuffed),
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
    rest: Rest,
}

/// A packet of which not all frames have been given yet.
#[derive(Debug, Default)]
struct Rest {
    /// Empty if there is none; its memory is kept.
    packet: Vec<u8>,
    /// Frames that have been given.
    given: usize,
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
            Framing::Cobs { .. } => {
                Mode::Stuffed(stuffed::Stuffed::new(Stuffing::Cobs, shape.length_max))
            }
            Framing::Slip { .. } => {
                Mode::Stuffed(stuffed::Stuffed::new(Stuffing::Slip, shape.length_max))
            }
        };
        let mut stream = Stream::default();
        if shape.frames > 1 {
            stream.rest.packet.reserve_exact(shape.length_max);
        }
        Ok(Self {
            shape,
            framing,
            stream,
        })
    }
}

impl Protocol for Packet {
    fn channels(&self) -> usize {
        self.shape.fields.len()
    }

    fn decode(&mut self, input: &[u8], out: &mut Frames) -> usize {
        self.stream.give_rest(&self.shape, out);
        match &mut self.framing {
            Mode::Sync(sync) => sync.decode(&self.shape, &mut self.stream, input, out),
            Mode::Stuffed(stuffed) => stuffed.decode(&self.shape, &mut self.stream, input, out),
        }
    }

    fn tail_max(&self) -> usize {
        match &self.framing {
            Mode::Sync(_) => self.shape.length_max,
            Mode::Stuffed(stuffed) => stuffed.encoded_max(),
        }
    }

    fn reset(&mut self) {
        let mut packet = std::mem::take(&mut self.stream.rest.packet);
        packet.clear();
        self.stream = Stream {
            rest: Rest { packet, given: 0 },
            ..Stream::default()
        };
        match &mut self.framing {
            Mode::Sync(sync) => sync.reset(),
            Mode::Stuffed(stuffed) => stuffed.reset(),
        }
    }

    fn boundary(&mut self) {
        match &mut self.framing {
            Mode::Sync(sync) => sync.reset(),
            Mode::Stuffed(stuffed) => stuffed.begin(),
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

    /// A good packet came that ended `end` bytes into the input: gives its frames, as many as there is room for.
    fn take(&mut self, shape: &Shape, packet: &[u8], end: usize, out: &mut Frames) {
        let loss = self.loss(shape, packet);
        if let Some((packets, reason)) = loss {
            let frames = packets.map(|packets| packets.saturating_mul(shape.frames as u64));
            out.lose(frames, reason);
        }
        self.good(shape, packet, loss.and_then(|(packets, _)| packets), out);
        let fit = shape.frames.min(out.room());
        append(shape, packet, packet.len(), 0..fit, |_| end, out);
        if fit < shape.frames {
            self.rest.packet.extend_from_slice(packet);
            self.rest.given = fit;
        }
    }

    /// Gives the frames that there was no room for. The packet ended where the input begins.
    fn give_rest(&mut self, shape: &Shape, out: &mut Frames) {
        let Rest { packet, given } = &mut self.rest;
        if packet.is_empty() || out.is_full() {
            return;
        }
        let to = shape.frames.min(*given + out.room());
        append(shape, packet, packet.len(), *given..to, |_| 0, out);
        *given = to;
        if to == shape.frames {
            packet.clear();
        }
    }

    /// A good packet came; `loss` is what was missing in front of it, in packets.
    fn good(&mut self, shape: &Shape, packet: &[u8], loss: Option<u64>, out: &mut Frames) {
        // A packet that came corrupt is counted as that, and not as lost too.
        let lost = loss.unwrap_or(0).saturating_sub(self.corrupt);
        let lost_frames = lost.saturating_mul(shape.frames as u64);
        // Counters of 64 bits can claim as much with each packet.
        out.tally.lost_frames = out.tally.lost_frames.saturating_add(lost_frames);
        self.started = true;
        self.counter = shape.counter.as_ref().map(|counter| counter.read(packet));
        (self.corrupt, self.skipped) = (0, false);
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

/// Appends the frames `frames` of each of the packets that stand `stride` bytes apart, a column at a time; packet `i`
/// ended `end(i)` bytes into the input.
fn append(
    shape: &Shape,
    packets: &[u8],
    stride: usize,
    frames: Range<usize>,
    end: impl Fn(usize) -> usize,
    out: &mut Frames,
) {
    let each = frames.len();
    let count = packets.len() / stride * each;
    if count == 0 {
        return;
    }
    // A read buffer is far below 4 GiB.
    let end = |index| u32::try_from(end(index)).unwrap_or(u32::MAX);
    let ends = out.spare_ends(count);
    if each == 1 {
        for (index, place) in ends.iter_mut().enumerate() {
            *place = end(index);
        }
    } else {
        for (index, places) in ends.chunks_mut(each).enumerate() {
            places.fill(end(index));
        }
    }
    if let Some(timestamp) = &shape.timestamp {
        let packets = packets.chunks_exact(stride);
        for (packet, places) in packets.zip(out.spare_ticks(count).chunks_mut(each)) {
            let place = timestamp.at..timestamp.at + timestamp.scalar.width();
            let bytes = packet.get(place).unwrap_or_default();
            places.fill(unsigned(bytes, timestamp.order));
        }
    }
    for (channel, field) in shape.fields.iter().enumerate() {
        let column = out.spare_column(channel, count);
        fields::decode_column(field, packets, stride, frames.clone(), column);
    }
    out.commit(count);
}
