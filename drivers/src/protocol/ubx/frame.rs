//! The frame of a binary message: `B5 62`, class, number, length, payload, two bytes of checksum.
//!
//! u-blox ZED-F9P Interface Description, UBX-18010854, chapters "UBX Frame Structure" and "UBX Checksum": the length
//! is that of the payload, little-endian; the checksum is Fletcher's in 8 bits, modulo 256 (the algorithm of RFC
//! 1145), over class, number, length and payload.

use crate::protocol::nmea::Candidate;

pub(super) const SYNC: [u8; 2] = [0xB5, 0x62];

/// Sync bytes, class, number and length.
const HEADER_BYTES: usize = 6;

/// All that is not payload.
pub(super) const FRAME_BYTES: usize = HEADER_BYTES + 2;

/// What begins at `input[0]`.
pub(super) fn candidate(input: &[u8], payload_max: usize) -> Candidate {
    let seen = input.len().min(SYNC.len());
    if input[..seen] != SYNC[..seen] {
        return Candidate::Nothing;
    }
    let Some(header) = input.get(..HEADER_BYTES) else {
        return Candidate::Short;
    };
    let payload = usize::from(u16::from_le_bytes([header[4], header[5]]));
    if payload > payload_max {
        return Candidate::Nothing;
    }
    let length = payload + FRAME_BYTES;
    let Some(frame) = input.get(..length) else {
        return Candidate::Short;
    };
    let (covered, told) = frame[2..].split_at(length - 4);
    if told == checksum(covered) {
        let text = length;
        return Candidate::Good { text, length };
    }
    Candidate::Bad(length)
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let (a, b) = bytes.iter().fold((0_u8, 0_u8), |(a, b), byte| {
        let a = a.wrapping_add(*byte);
        (a, b.wrapping_add(a))
    });
    [a, b]
}

/// Class and number of a good message, and its payload.
pub(super) fn parts(frame: &[u8]) -> ([u8; 2], &[u8]) {
    let id = frame.get(2..4).map_or([0; 2], |id| [id[0], id[1]]);
    let payload = HEADER_BYTES..frame.len().saturating_sub(2);
    (id, frame.get(payload).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CFG-RATE, polled: a request printed in many manuals.
    const POLL: [u8; 8] = [0xB5, 0x62, 0x06, 0x08, 0x00, 0x00, 0x0E, 0x30];

    #[test]
    fn a_message_is_known_by_its_checksum() {
        assert_eq!(
            candidate(&POLL, 100),
            Candidate::Good { text: 8, length: 8 }
        );
        assert_eq!(parts(&POLL), ([0x06, 0x08], [].as_slice()));
        for place in 2..8 {
            for bit in 0..8 {
                let mut frame = [POLL.as_slice(), &[0; 300]].concat();
                frame[place] ^= 1 << bit;
                let found = candidate(&frame, 100);
                let is_good = matches!(found, Candidate::Good { .. });
                assert!(!is_good, "{place} {bit}: {found:?}");
            }
        }
    }

    #[test]
    fn a_claim_too_long_is_no_message_and_a_short_one_waits() {
        assert_eq!(
            candidate(&[0xB5, 0x62, 1, 7, 101, 0], 100),
            Candidate::Nothing
        );
        assert_eq!(
            candidate(&[0xB5, 0x62, 1, 7, 100, 0], 100),
            Candidate::Short
        );
        assert_eq!(candidate(&[0xB5], 100), Candidate::Short);
        assert_eq!(candidate(&[0xB5, 0x61], 100), Candidate::Nothing);
        for length in 0..POLL.len() {
            if length > 0 {
                assert_eq!(candidate(&POLL[..length], 100), Candidate::Short);
            }
        }
    }
}
