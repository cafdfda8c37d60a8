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

/// A sentence with its checksum, or a wrong one, and its line end.
pub(crate) fn sentence(text: &str, is_damaged: bool) -> Vec<u8> {
    let mut sum = 0;
    for byte in text.bytes().skip(1) {
        sum ^= byte;
    }
    let sum = if is_damaged { sum ^ 0x13 } else { sum };
    format!("{text}*{sum:02X}\r\n").into_bytes()
}

/// Fletcher's checksum as u-blox computes it.
pub(crate) fn ubx_checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sums = [0_u32; 2];
    for byte in bytes {
        sums[0] += u32::from(*byte);
        sums[1] += sums[0] % 256;
    }
    sums.map(|sum| u8::try_from(sum % 256).unwrap())
}

/// A binary message of a u-blox receiver.
pub(crate) fn ubx_frame(class: u8, number: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xB5, 0x62, class, number];
    frame.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
    frame.extend(payload);
    let sums = ubx_checksum(&frame[2..]);
    frame.extend(sums);
    frame
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
    // The example that every description of GGA repeats, and the poll of CFG-RATE.
    let gga = "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,";
    assert!(sentence(gga, false).ends_with(b",,*47\r\n"));
    assert_eq!(ubx_frame(6, 8, &[]), [0xB5, 0x62, 6, 8, 0, 0, 0x0E, 0x30]);
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
