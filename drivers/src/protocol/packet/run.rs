//! Runs: good packets of one length, one behind the other, which is what a healthy device sends.
//!
//! A few dozen packets at a time are looked at, one property after another: the same loop over all of them costs a
//! fraction of asking each packet everything (`benches/decode.rs`). They are few, so that rubbish that looks like packets
//! costs no more than that many looks a byte.
//!
//! **Always holds.** A packet is in a run only if [`Shape`] would call it good, and nothing is missing in front of it.
//! Where a run ends, it is not said why.
//!
//! **Must not know.** What becomes of the packets.

use super::check::{ChecksumShape, CounterShape, Shape, resolve};
use super::checksum::Engine;
use super::options::{ByteOrder, Length};

/// Packets looked at together.
const BATCH: usize = 32;

/// Packets that stand `stride` bytes apart, nothing between them.
#[derive(Clone, Copy)]
struct Packets<'i> {
    bytes: &'i [u8],
    stride: usize,
}

impl Packets<'_> {
    /// How many hold, up to the first that does not.
    #[inline]
    fn leading(self, mut holds: impl FnMut(&[u8]) -> bool) -> usize {
        let packets = self.bytes.chunks_exact(self.stride);
        packets.take_while(|packet| holds(packet)).count()
    }

    /// The first of them.
    fn first(self, count: usize) -> Self {
        Self {
            bytes: &self.bytes[..count * self.stride],
            ..self
        }
    }
}

impl Shape {
    /// How many packets of `stride` bytes at the start of the input are good, `most` at most, where `last` is the count
    /// of the packet before them.
    pub(super) fn run(
        &self,
        sync: &[u8],
        input: &[u8],
        stride: usize,
        most: usize,
        mut last: Option<u64>,
    ) -> usize {
        let most = most.min(input.len() / stride);
        let mut good = 0;
        while good < most {
            let count = BATCH.min(most - good);
            let bytes = &input[good * stride..];
            let mut packets = Packets { bytes, stride }.first(count);
            packets = packets.first(starting(packets, sync));
            if let Length::Field { .. } = self.length {
                packets =
                    packets.first(packets.leading(|packet| self.length(packet) == Some(stride)));
            }
            if !self.constants.is_empty() {
                packets = packets.first(packets.leading(|packet| self.is_one(packet)));
            }
            if let Some(checksum) = &self.checksum {
                packets = packets.first(checksum.holding(packets));
            }
            if let Some(counter) = &self.counter {
                packets = packets.first(counter.following(packets, &mut last));
            }
            let found = packets.bytes.len() / stride;
            good += found;
            if found < count {
                break;
            }
        }
        good
    }
}

fn starting(packets: Packets<'_>, sync: &[u8]) -> usize {
    // A call to compare one or two bytes would cost more than the comparison.
    match *sync {
        [only] => packets.leading(|packet| packet[0] == only),
        [first, second] => packets.leading(|packet| packet[..2] == [first, second]),
        _ => packets.leading(|packet| packet.starts_with(sync)),
    }
}

impl ChecksumShape {
    fn holding(&self, packets: Packets<'_>) -> usize {
        let (covered, at) = self.places(packets.stride);
        let found = at..at + self.width;
        if covered.start > covered.end || covered.end.max(found.end) > packets.stride {
            return 0;
        }
        match (&self.engine, self.order) {
            (Engine::Short16(crc), order) => {
                let read = match order {
                    ByteOrder::Little => u16::from_le_bytes,
                    ByteOrder::Big => u16::from_be_bytes,
                };
                packets.leading(|packet| {
                    let found = packet[at..].first_chunk().map(|bytes| read(*bytes));
                    found.is_some() && crc.checksum(&packet[covered.clone()]) == found
                })
            }
            (engine, order) => packets.leading(|packet| {
                engine.matches(&packet[covered.clone()], &packet[found.clone()], order)
            }),
        }
    }

    /// The bytes covered of a packet of so many bytes, and where the checksum stands.
    pub(super) fn places(&self, length: usize) -> (std::ops::Range<usize>, usize) {
        let from = resolve(self.from, length);
        let to = if self.to == 0 {
            length
        } else {
            resolve(self.to, length)
        };
        (from..to, resolve(self.at, length))
    }
}

impl CounterShape {
    /// How many have the count of the one before, or the next; `last` is the count of the last of them then.
    fn following(&self, packets: Packets<'_>, last: &mut Option<u64>) -> usize {
        let at = self.at;
        match (self.width, self.order) {
            (1, _) => self.each(packets, last, |packet| packet[at].into()),
            (2, ByteOrder::Little) => self.each(packets, last, |packet| {
                u16::from_le_bytes([packet[at], packet[at + 1]]).into()
            }),
            (2, ByteOrder::Big) => self.each(packets, last, |packet| {
                u16::from_be_bytes([packet[at], packet[at + 1]]).into()
            }),
            _ => self.each(packets, last, |packet| self.raw(packet)),
        }
    }

    #[inline]
    fn each(
        &self,
        packets: Packets<'_>,
        last: &mut Option<u64>,
        read: impl Fn(&[u8]) -> u64,
    ) -> usize {
        packets.leading(|packet| {
            let now = self.reduced(read(packet));
            let follows = last.is_none_or(|last| self.missing(last, now) == Some(0));
            if follows {
                *last = Some(now);
            }
            follows
        })
    }
}
