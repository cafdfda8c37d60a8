//! Encoders written for these tests alone, the plain way.

/// A CRC of 16 bits, bit by bit. `reflected`: least significant bit first.
pub(crate) fn crc16(poly: u16, init: u16, reflected: bool, bytes: &[u8]) -> u16 {
    let mut register = init;
    for byte in bytes {
        for bit in 0..8 {
            let bit = if reflected { bit } else { 7 - bit };
            let input = byte >> bit & 1 == 1;
            if reflected {
                let out = register & 1 == 1;
                register >>= 1;
                if out != input {
                    register ^= poly.reverse_bits();
                }
            } else {
                let out = register & 0x8000 != 0;
                register <<= 1;
                if out != input {
                    register ^= poly;
                }
            }
        }
    }
    register
}

/// CRC-16/IBM-3740.
pub(crate) fn crc_ibm_3740(bytes: &[u8]) -> u16 {
    crc16(0x1021, 0xFFFF, false, bytes)
}

/// CRC-16/MODBUS.
pub(crate) fn crc_modbus(bytes: &[u8]) -> u16 {
    crc16(0x8005, 0xFFFF, true, bytes)
}

/// The sum of all bytes, in 16 bits.
pub(crate) fn sum16(bytes: &[u8]) -> u16 {
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    u16::try_from(sum % 65_536).unwrap()
}

/// Byte stuffing with the delimiter behind it.
pub(crate) fn cobs(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut pieces = bytes.split(|byte| *byte == 0).peekable();
    while let Some(mut piece) = pieces.next() {
        let last = pieces.peek().is_none();
        while piece.len() >= 254 {
            let (run, rest) = piece.split_at(254);
            encoded.push(0xFF);
            encoded.extend_from_slice(run);
            piece = rest;
            // Nothing follows a full run at the very end: no code for it either.
            if piece.is_empty() && last {
                encoded.push(0);
                return encoded;
            }
        }
        encoded.push(u8::try_from(piece.len() + 1).unwrap());
        encoded.extend_from_slice(piece);
    }
    encoded.push(0);
    encoded
}

/// RFC 1055, with an END behind.
pub(crate) fn slip(bytes: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        0xC0 => vec![0xDB, 0xDC],
        0xDB => vec![0xDB, 0xDD],
        other => vec![*other],
    };
    let mut encoded: Vec<u8> = bytes.iter().flat_map(escape).collect();
    encoded.push(0xC0);
    encoded
}

#[test]
fn the_encoders_meet_known_values() {
    assert_eq!(crc_ibm_3740(b"123456789"), 0x29B1);
    assert_eq!(crc_modbus(b"123456789"), 0x4B37);
    assert_eq!(sum16(b"\xFF\x02"), 0x0101);
    assert_eq!(slip(&[1, 0xC0, 0xDB]), [1, 0xDB, 0xDC, 0xDB, 0xDD, 0xC0]);
    assert_eq!(cobs(&[]), [1, 0]);
    assert_eq!(cobs(&[0]), [1, 1, 0]);
    assert_eq!(cobs(&[0x11, 0x22, 0, 0x33]), [3, 0x11, 0x22, 2, 0x33, 0]);
    let run: Vec<u8> = (1..=254).collect();
    assert_eq!(cobs(&run), [&[0xFF], &run[..], &[0]].concat());
    let longer: Vec<u8> = (1..=255).collect();
    assert_eq!(cobs(&longer), [&[0xFF], &run[..], &[2, 0xFF, 0]].concat());
    let zero_behind = [&run[..], &[0]].concat();
    assert_eq!(cobs(&zero_behind), [&[0xFF], &run[..], &[1, 1, 0]].concat());
}
