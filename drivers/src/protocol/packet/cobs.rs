//! Consistent overhead byte stuffing: S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing",
//! IEEE/ACM Transactions on Networking 7(2), 1999. A zero byte stands between packets and nowhere else.
//!
//! Noise in front of a packet leaves no zero between the two. Where a checksum can tell, the packet is found
//! at the end of what stands between two zeros all the same.

use memchr::memchr;

use super::check::Shape;
use super::{Stream, append};
use crate::frames::Frames;

/// Lengths tried for a packet at the end of rubbish.
const TRIES_MAX: usize = 1024;

pub(super) struct Cobs {
    decoded: Vec<u8>,
    length_max: usize,
    /// A delimiter was seen since the link was opened: what stands before the first may be half a packet.
    aligned: bool,
    /// The beginning of the chunk at hand was given up as too long; it ends with the next delimiter.
    overlong: bool,
}

impl Cobs {
    pub(super) fn new(length_max: usize) -> Self {
        Self {
            decoded: Vec::with_capacity(length_max + 1),
            length_max,
            aligned: false,
            overlong: false,
        }
    }

    pub(super) fn reset(&mut self) {
        (self.aligned, self.overlong) = (false, false);
    }

    /// What comes next is the beginning of a packet, as if a delimiter stood before it.
    pub(super) fn begin(&mut self) {
        (self.aligned, self.overlong) = (true, false);
    }

    /// The longest packet as encoded, its delimiter left out: a byte for every 254, and one.
    pub(super) fn encoded_max(&self) -> usize {
        self.length_max + self.length_max / 254 + 1
    }

    pub(super) fn decode(
        &mut self,
        shape: &Shape,
        stream: &mut Stream,
        input: &[u8],
        out: &mut Frames,
    ) -> usize {
        let mut at = 0;
        while !out.is_full() {
            let rest = &input[at..];
            let Some(length) = memchr(0, rest) else {
                // Longer than any packet: given up, but for its end, which may be a good packet
                // whose delimiter is still to come.
                let over = rest.len().saturating_sub(self.encoded_max());
                if over > 0 {
                    self.give_up(stream, over, out);
                    self.overlong = true;
                    at += over;
                }
                break;
            };
            at += length + 1;
            self.chunk(shape, stream, &rest[..length], at, out);
            self.aligned = true;
            self.overlong = false;
        }
        at
    }

    /// What stood between two delimiters: a packet, or rubbish, which may end in a packet.
    fn chunk(
        &mut self,
        shape: &Shape,
        stream: &mut Stream,
        encoded: &[u8],
        end: usize,
        out: &mut Frames,
    ) {
        let is_packet =
            !self.overlong && encoded.len() <= self.encoded_max() && self.is_packet(shape, encoded);
        let rubbish = if is_packet {
            0
        } else {
            self.find_at_end(shape, encoded).unwrap_or(encoded.len())
        };
        if rubbish > 0 {
            self.give_up(stream, rubbish, out);
        }
        if rubbish == encoded.len() {
            return;
        }
        let packet = &self.decoded[..];
        let loss = stream.loss(shape, packet);
        if let Some((frames, reason)) = loss {
            out.lose(frames, reason);
        }
        stream.good(shape, packet, loss.and_then(|(frames, _)| frames), out);
        append(shape, packet, packet.len(), |_| end, out);
    }

    /// Whether the bytes are a good packet, which is then in `decoded`.
    fn is_packet(&mut self, shape: &Shape, encoded: &[u8]) -> bool {
        unstuff(encoded, &mut self.decoded)
            && self.decoded.len() >= shape.header
            && shape.length(&self.decoded) == Some(self.decoded.len())
            && shape.holds(&self.decoded)
    }

    /// Where in rubbish a good packet begins that ends with it: noise on the wire has no delimiter at its
    /// end. Only a checksum can tell; the tries are bounded, so that rubbish costs no more than it should.
    fn find_at_end(&mut self, shape: &Shape, encoded: &[u8]) -> Option<usize> {
        if !shape.is_checked() {
            return None;
        }
        let lengths = shape.lengths();
        let longest = lengths.end() + lengths.end() / 254 + 1;
        let mut sizes = (lengths.start() + 1..=longest).take(TRIES_MAX);
        sizes.find_map(|size| {
            let start = encoded.len().checked_sub(size)?;
            // From its very beginning it was tried, unless it begins in the middle.
            let is_new = start > 0 || self.overlong;
            (is_new && self.is_packet(shape, &encoded[start..])).then_some(start)
        })
    }

    /// What is no packet: corrupt, or, before the first delimiter, merely the end of one whose
    /// beginning was sent before the link was open. What was too long is corrupt once, at its beginning.
    fn give_up(&self, stream: &mut Stream, bytes: usize, out: &mut Frames) {
        if !self.aligned {
            stream.skip(bytes, out);
        } else if !self.overlong {
            stream.corrupt(out);
        }
    }
}

/// Undoes the stuffing; false if the bytes are not well-formed.
fn unstuff(mut encoded: &[u8], decoded: &mut Vec<u8>) -> bool {
    decoded.clear();
    while let Some((&code, rest)) = encoded.split_first() {
        let Some((run, rest)) = rest.split_at_checked(usize::from(code) - 1) else {
            return false;
        };
        decoded.extend_from_slice(run);
        // A full run of 254 has no zero behind it, and neither has the last run.
        if code < 0xFF && !rest.is_empty() {
            decoded.push(0);
        }
        encoded = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::unstuff;

    /// Examples of the paper's figures and of the usual test vectors.
    #[test]
    fn stuffing_is_undone() {
        let cases: [(&[u8], &[u8]); 6] = [
            (&[1, 1], &[0]),
            (&[1, 1, 1], &[0, 0]),
            (&[3, 0x11, 0x22, 2, 0x33], &[0x11, 0x22, 0, 0x33]),
            (&[5, 0x11, 0x22, 0x33, 0x44], &[0x11, 0x22, 0x33, 0x44]),
            (&[2, 0x11, 1, 1, 1], &[0x11, 0, 0, 0]),
            (&[1], &[]),
        ];
        for (encoded, expected) in cases {
            let mut decoded = Vec::new();
            assert!(unstuff(encoded, &mut decoded), "{encoded:?}");
            assert_eq!(decoded, expected, "{encoded:?}");
        }
        let long: Vec<u8> = (1..=254).collect();
        let mut decoded = Vec::new();
        assert!(unstuff(&[&[0xFF][..], &long].concat(), &mut decoded));
        assert_eq!(decoded, long);
    }

    #[test]
    fn a_run_longer_than_what_is_there_is_refused() {
        assert!(!unstuff(&[5, 1, 2], &mut Vec::new()));
    }
}
