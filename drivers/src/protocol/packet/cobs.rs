//! Consistent overhead byte stuffing: S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing",
//! IEEE/ACM Transactions on Networking 7(2), 1999. A zero byte stands between packets and nowhere else.

use memchr::memchr;

use super::check::Shape;
use super::{Stream, append};
use crate::frames::Frames;

pub(super) struct Cobs {
    decoded: Vec<u8>,
    length_max: usize,
    /// A delimiter was seen since the link was opened: what stands before the first may be half a packet.
    aligned: bool,
    /// The packet at hand was given up as too long; what is left of it ends with the next delimiter.
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
                if self.overlong {
                    self.go_on_giving_up(stream, rest.len(), out);
                    at += rest.len();
                } else if rest.len() > self.encoded_max() {
                    self.give_up(stream, rest.len(), out);
                    self.overlong = true;
                    at += rest.len();
                }
                break;
            };
            at += length + 1;
            if std::mem::take(&mut self.overlong) {
                self.go_on_giving_up(stream, length, out);
            } else if length > 0 {
                self.packet(shape, stream, &rest[..length], at, out);
            }
            self.aligned = true;
        }
        at
    }

    fn packet(
        &mut self,
        shape: &Shape,
        stream: &mut Stream,
        encoded: &[u8],
        end: usize,
        out: &mut Frames,
    ) {
        let whole = encoded.len() <= self.encoded_max() && unstuff(encoded, &mut self.decoded);
        let packet = &self.decoded[..];
        let good = whole
            && packet.len() >= shape.header
            && shape.length(packet) == Some(packet.len())
            && shape.holds(packet);
        if !good {
            self.give_up(stream, encoded.len(), out);
            return;
        }
        let loss = stream.loss(shape, packet);
        if let Some((frames, reason)) = loss {
            out.lose(frames, reason);
        }
        stream.good(shape, packet, loss.and_then(|(frames, _)| frames), out);
        append(shape, packet, packet.len(), |_| end, out);
    }

    /// What is no packet: corrupt, or, before the first delimiter, merely the end of one whose
    /// beginning was sent before the link was open.
    fn give_up(&self, stream: &mut Stream, bytes: usize, out: &mut Frames) {
        if self.aligned {
            stream.corrupt(out);
        } else {
            stream.skip(bytes, out);
        }
    }

    /// More bytes of what was given up before its end had come. A corrupt packet is counted already.
    fn go_on_giving_up(&self, stream: &mut Stream, bytes: usize, out: &mut Frames) {
        if !self.aligned {
            stream.skip(bytes, out);
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
