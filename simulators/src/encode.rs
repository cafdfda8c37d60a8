//! What devices put around their values: checksums and COBS.
//!
//! What for: the wire formats in `devices/`.
//!
//! What always holds: plain and bit by bit, as the definitions are written, so that reading them
//! is enough to believe them. Speed comes from elsewhere: a flood is encoded before it starts.
//!
//! What it must not know: how the drivers do it.

/// CRC-16/IBM-3740 (also "CCITT-FALSE"): polynomial 0x1021, start 0xFFFF, not reflected, no final
/// exclusive-or.
pub(crate) fn crc16_ibm_3740(bytes: &[u8]) -> u16 {
    let mut register = 0xFFFF_u16;
    for &byte in bytes {
        for bit in (0..8).rev() {
            let out = register >> 15 != u16::from(byte >> bit & 1);
            register <<= 1;
            if out {
                register ^= 0x1021;
            }
        }
    }
    register
}

/// CRC-8/SMBUS: polynomial 0x07, start 0, not reflected, no final exclusive-or.
pub(crate) fn crc8_smbus(bytes: &[u8]) -> u8 {
    let mut register = 0_u8;
    for &byte in bytes {
        for bit in (0..8).rev() {
            let out = register >> 7 != byte >> bit & 1;
            register <<= 1;
            if out {
                register ^= 0x07;
            }
        }
    }
    register
}

/// Appends `packet` in COBS with its closing zero (Cheshire and Baker, "Consistent Overhead Byte
/// Stuffing", IEEE/ACM Transactions on Networking 7(2), 1999).
pub(crate) fn cobs(packet: &[u8], out: &mut Vec<u8>) {
    let mut runs = packet.split(|&byte| byte == 0).peekable();
    while let Some(run) = runs.next() {
        let last = runs.peek().is_none();
        let mut rest = run;
        while rest.len() >= 254 {
            out.push(0xFF);
            out.extend_from_slice(&rest[..254]);
            rest = &rest[254..];
            if rest.is_empty() && last {
                // A full group implies no zero, so nothing need follow it.
                out.push(0);
                return;
            }
        }
        // At most 253 bytes are left, so the code fits.
        out.push(rest.len() as u8 + 1);
        out.extend_from_slice(rest);
    }
    out.push(0);
}

/// CRC-16/MODBUS: polynomial 0x8005 reflected, all ones at the start. Over a frame with its checksum it is 0.
pub(crate) fn crc16_modbus(bytes: &[u8]) -> u16 {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            let is_odd = crc & 1 == 1;
            crc >>= 1;
            if is_odd {
                crc ^= 0xA001;
            }
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_give_their_catalogued_check_values() {
        assert_eq!(crc16_ibm_3740(b"123456789"), 0x29B1);
        assert_eq!(crc8_smbus(b"123456789"), 0xF4);
        assert_eq!(crc16_modbus(b"123456789"), 0x4B37);
    }

    fn encoded(packet: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        cobs(packet, &mut out);
        out
    }

    #[test]
    fn cobs_encodes_the_cases_of_the_paper() {
        assert_eq!(encoded(&[]), [1, 0]);
        assert_eq!(encoded(&[0]), [1, 1, 0]);
        assert_eq!(encoded(&[0, 0]), [1, 1, 1, 0]);
        assert_eq!(encoded(&[0x11, 0x22, 0, 0x33]), [3, 0x11, 0x22, 2, 0x33, 0]);
        assert_eq!(encoded(&[0x11, 0, 0, 0]), [2, 0x11, 1, 1, 1, 0]);
        // The paper's figure 3: a packet that begins like an IP datagram.
        assert_eq!(
            encoded(&[0x45, 0, 0, 0x2C, 0x4C, 0x79, 0, 0, 0x40, 0x06, 0x4F, 0x37]),
            [
                2, 0x45, 1, 4, 0x2C, 0x4C, 0x79, 1, 5, 0x40, 0x06, 0x4F, 0x37, 0
            ]
        );
    }

    #[test]
    fn cobs_closes_a_group_at_254_bytes() {
        let long: Vec<u8> = (1..=255).collect();
        let mut full = vec![0xFF];
        full.extend_from_slice(&long[..254]);
        assert_eq!(encoded(&long[..254]), [&full[..], &[0]].concat());
        assert_eq!(encoded(&long), [&full[..], &[2, 255, 0]].concat());
        let zero_behind = [&long[..254], &[0]].concat();
        assert_eq!(encoded(&zero_behind), [&full[..], &[1, 1, 0]].concat());
    }

    proptest::proptest! {
        #[test]
        fn cobs_hides_every_zero_and_is_undone_by_the_definition(
            packet in proptest::collection::vec(proptest::prop_oneof![
                proptest::strategy::Just(0_u8), 0_u8..
            ], 0..600)
        ) {
            let coded = encoded(&packet);
            let (zero, body) = coded.split_last().unwrap();
            assert_eq!(*zero, 0);
            assert!(!body.contains(&0));
            let mut plain = Vec::new();
            let mut at = 0;
            while at < body.len() {
                let code = usize::from(body[at]);
                plain.extend_from_slice(&body[at + 1..at + code]);
                at += code;
                if code < 255 && at < body.len() {
                    plain.push(0);
                }
            }
            assert_eq!(plain, packet);
        }
    }
}
