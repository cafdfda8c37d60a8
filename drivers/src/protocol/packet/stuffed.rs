//! Packets with one byte between them that stands nowhere else, because what they hold is stuffed.
//!
//! - COBS: S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking
//!   7(2), 1999. A zero byte stands between packets.
//! - SLIP: RFC 1055. END (C0) stands between packets, and may stand in front of one too; within, it is ESC (DB) and
//!   DC, and ESC is ESC and DD.
//!
//! Noise in front of a packet leaves no delimiter between the two. Where a checksum can tell, the packet is found
//! at the end of what stands between two delimiters all the same.

use memchr::memchr;

use super::Stream;
use super::check::Shape;
use crate::frames::Frames;

/// Lengths tried for a packet at the end of rubbish.
const TRIES_MAX: usize = 1024;

/// How bytes are stuffed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuffing {
    Cobs,
    Slip,
}

const END: u8 = 0xC0;
const ESC: u8 = 0xDB;
const ESC_END: u8 = 0xDC;
const ESC_ESC: u8 = 0xDD;

impl Stuffing {
    fn delimiter(self) -> u8 {
        match self {
            Self::Cobs => 0,
            Self::Slip => END,
        }
    }

    /// The least bytes that a packet of this length takes, its delimiter left out.
    fn encoded_min(self, length: usize) -> usize {
        match self {
            Self::Cobs => length + 1,
            Self::Slip => length,
        }
    }

    /// The most: a byte for every 254, and one; every byte escaped.
    fn encoded_max(self, length: usize) -> usize {
        match self {
            Self::Cobs => length + length / 254 + 1,
            Self::Slip => 2 * length,
        }
    }

    /// Undoes it; false if the bytes are not well-formed.
    fn undo(self, encoded: &[u8], decoded: &mut Vec<u8>) -> bool {
        decoded.clear();
        match self {
            Self::Cobs => undo_cobs(encoded, decoded),
            Self::Slip => undo_slip(encoded, decoded),
        }
    }
}

pub(super) struct Stuffed {
    stuffing: Stuffing,
    decoded: Vec<u8>,
    length_max: usize,
    /// A delimiter was seen since the link was opened: what stands before the first may be half a packet.
    aligned: bool,
    /// The beginning of the chunk at hand was given up as too long; it ends with the next delimiter.
    overlong: bool,
}

impl Stuffed {
    pub(super) fn new(stuffing: Stuffing, length_max: usize) -> Self {
        Self {
            stuffing,
            decoded: Vec::with_capacity(stuffing.encoded_max(length_max)),
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

    /// The longest packet as encoded, its delimiter left out.
    pub(super) fn encoded_max(&self) -> usize {
        self.stuffing.encoded_max(self.length_max)
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
            let Some(length) = memchr(self.stuffing.delimiter(), rest) else {
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
        stream.take(shape, &self.decoded, end, out);
    }

    /// Whether the bytes are a good packet, which is then in `decoded`.
    fn is_packet(&mut self, shape: &Shape, encoded: &[u8]) -> bool {
        self.stuffing.undo(encoded, &mut self.decoded)
            && self.decoded.len() >= shape.header
            && shape.length(&self.decoded) == Some(self.decoded.len())
            && shape.is_one(&self.decoded)
            && shape.holds(&self.decoded)
    }

    /// Where in rubbish a good packet begins that ends with it: noise on the wire has no delimiter at its
    /// end. Only a checksum can tell; the tries are bounded, so that rubbish costs no more than it should.
    fn find_at_end(&mut self, shape: &Shape, encoded: &[u8]) -> Option<usize> {
        if !shape.is_checked() {
            return None;
        }
        let lengths = shape.lengths();
        let shortest = self.stuffing.encoded_min(*lengths.start());
        let longest = self.stuffing.encoded_max(*lengths.end());
        let mut sizes = (shortest..=longest).take(TRIES_MAX);
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

fn undo_slip(mut encoded: &[u8], decoded: &mut Vec<u8>) -> bool {
    while let Some(run) = memchr(ESC, encoded) {
        decoded.extend_from_slice(&encoded[..run]);
        decoded.push(match encoded.get(run + 1) {
            Some(&ESC_END) => END,
            Some(&ESC_ESC) => ESC,
            _ => return false,
        });
        encoded = &encoded[run + 2..];
    }
    decoded.extend_from_slice(encoded);
    true
}

fn undo_cobs(mut encoded: &[u8], decoded: &mut Vec<u8>) -> bool {
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
    use super::Stuffing;

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
            assert!(Stuffing::Cobs.undo(encoded, &mut decoded), "{encoded:?}");
            assert_eq!(decoded, expected, "{encoded:?}");
        }
        let long: Vec<u8> = (1..=254).collect();
        let mut decoded = Vec::new();
        assert!(Stuffing::Cobs.undo(&[&[0xFF][..], &long].concat(), &mut decoded));
        assert_eq!(decoded, long);
    }

    #[test]
    fn a_run_longer_than_what_is_there_is_refused() {
        assert!(!Stuffing::Cobs.undo(&[5, 1, 2], &mut Vec::new()));
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_is_refused() {
        let mut decoded = Vec::new();
        let encoded = [1, 0xDB, 0xDC, 2, 0xDB, 0xDD, 0xDC];
        assert!(Stuffing::Slip.undo(&encoded, &mut decoded));
        assert_eq!(decoded, [1, 0xC0, 2, 0xDB, 0xDC]);
        assert!(!Stuffing::Slip.undo(&[1, 0xDB], &mut decoded));
        assert!(!Stuffing::Slip.undo(&[0xDB, 0xDB, 0xDD], &mut decoded));
    }
}
