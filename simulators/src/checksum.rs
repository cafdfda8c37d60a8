//! Checksums by name, for the frames of generic devices.
//!
//! What for: a user declares the frame that the device in hand sends.
//!
//! What always holds: bit by bit, as the catalogue of parametrised CRC algorithms (Greg Cook,
//! <https://reveng.sourceforge.io/crc-catalogue/>) defines them; each row is checked against the catalogue's check value.
//!
//! What it must not know: how the drivers do it.

/// A checksum that a generic device can put at the end of its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// Its name, which is the drivers' name for it, too.
    pub name: &'static str,
    way: Way,
    /// Bytes on the wire.
    pub width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Polynomial, start, both reflected, exclusive-or at the end.
    Crc(u64, u64, bool, u64),
    /// All bytes added.
    Sum,
    /// All bytes exclusive-or.
    Xor,
}

const fn crc(
    name: &'static str,
    width: usize,
    polynomial: u64,
    start: u64,
    is_reflected: bool,
    end: u64,
) -> Checksum {
    Checksum {
        name,
        way: Way::Crc(polynomial, start, is_reflected, end),
        width,
    }
}

/// Every checksum that there is.
#[rustfmt::skip]
pub const CHECKSUMS: &[Checksum] = &[
    crc("CRC-8/SMBUS",        1, 0x07, 0, false, 0),
    crc("CRC-8/MAXIM-DOW",    1, 0x31, 0, true, 0),
    crc("CRC-8/SAE-J1850",    1, 0x1D, 0xFF, false, 0xFF),
    crc("CRC-16/ARC",         2, 0x8005, 0, true, 0),
    crc("CRC-16/IBM-3740",    2, 0x1021, 0xFFFF, false, 0),
    crc("CRC-16/KERMIT",      2, 0x1021, 0, true, 0),
    crc("CRC-16/MODBUS",      2, 0x8005, 0xFFFF, true, 0),
    crc("CRC-16/XMODEM",      2, 0x1021, 0, false, 0),
    crc("CRC-32/ISO-HDLC",    4, 0x04C1_1DB7, 0xFFFF_FFFF, true, 0xFFFF_FFFF),
    crc("CRC-32/ISCSI",       4, 0x1EDC_6F41, 0xFFFF_FFFF, true, 0xFFFF_FFFF),
    crc("CRC-32/MPEG-2",      4, 0x04C1_1DB7, 0xFFFF_FFFF, false, 0),
    Checksum { name: "sum8", way: Way::Sum, width: 1 },
    Checksum { name: "xor8", way: Way::Xor, width: 1 },
    Checksum { name: "sum16", way: Way::Sum, width: 2 },
];

impl Checksum {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        CHECKSUMS
            .iter()
            .copied()
            .find(|checksum| checksum.name == name)
    }

    /// The checksum of these bytes, in its low bits.
    pub(crate) fn of(&self, bytes: &[u8]) -> u64 {
        let bits = 8 * self.width;
        let mask = (1 << bits) - 1;
        match self.way {
            Way::Sum => bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>() & mask,
            Way::Xor => bytes.iter().fold(0, |sum, byte| sum ^ u64::from(*byte)),
            Way::Crc(polynomial, start, is_reflected, end) => {
                let mut register = start;
                for byte in bytes {
                    for bit in 0..8 {
                        let place = if is_reflected { bit } else { 7 - bit };
                        let out = register >> (bits - 1) & 1 != u64::from(byte >> place & 1);
                        register = register << 1 & mask;
                        if out {
                            register ^= polynomial;
                        }
                    }
                }
                if is_reflected {
                    register = register.reverse_bits() >> (64 - bits);
                }
                register ^ end
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gives_its_catalogued_check_value() {
        let values: Vec<u64> = CHECKSUMS.iter().map(|c| c.of(b"123456789")).collect();
        assert_eq!(
            values,
            [
                0xF4,
                0xA1,
                0x4B,
                0xBB3D,
                0x29B1,
                0x2189,
                0x4B37,
                0x31C3,
                0xCBF4_3926,
                0xE306_9283,
                0x0376_E6E7,
                // 0x31 to 0x39 are 477; their exclusive-or is 0x31.
                0xDD,
                0x31,
                0x01DD,
            ]
        );
    }
}
