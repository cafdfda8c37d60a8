//! CRCs of packets of one short length: a table for every byte's place, so that no byte waits for the one before it.
//!
//! **Always holds.** The sum is the one of the crate `crc`, of whose sums the tables are made: but for a constant, a CRC
//! of bytes of one length is the exclusive or of what each byte makes at its place.
//!
//! **Must not know.** Which CRC it is.

/// Bytes covered at most: the tables of so many, 16 KiB, stay in the first-level cache beside the packets.
const LENGTH_MAX: usize = 32;

/// What each value of each byte adds to the sum.
#[derive(Debug, Clone)]
pub(super) struct ShortCrc {
    tables: Box<[[u16; 256]]>,
    /// The sum of zeros.
    constant: u16,
}

impl ShortCrc {
    /// Of so many bytes each time; `None` if they are too many.
    pub(super) fn new(length: usize, sum: impl Fn(&[u8]) -> u16) -> Option<Self> {
        if !(1..=LENGTH_MAX).contains(&length) {
            return None;
        }
        let mut bytes = vec![0; length];
        let constant = sum(&bytes);
        let mut tables = vec![[0; 256]; length].into_boxed_slice();
        for (place, table) in tables.iter_mut().enumerate() {
            for value in 0..=u8::MAX {
                bytes[place] = value;
                table[usize::from(value)] = sum(&bytes) ^ constant;
            }
            bytes[place] = 0;
        }
        Some(Self { tables, constant })
    }

    /// The sum of the bytes; `None` if they are not as many as it was made for.
    #[inline]
    pub(super) fn checksum(&self, bytes: &[u8]) -> Option<u16> {
        let each = self.tables.iter().zip(bytes);
        let sum = each.fold(self.constant, |sum, (table, byte)| {
            sum ^ table[usize::from(*byte)]
        });
        (bytes.len() == self.tables.len()).then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use crc::{Crc, Table};

    use super::super::checksum::CRCS;
    use super::super::checksum::CrcAlgorithm;
    use super::*;

    #[test]
    fn every_crc_of_16_bits_and_every_short_length_has_the_sum_of_the_crate() {
        let mut byte = 1_u8;
        for (_, algorithm) in CRCS {
            let CrcAlgorithm::U16(algorithm) = algorithm else {
                continue;
            };
            let crc = Crc::<u16, Table<16>>::new(algorithm);
            for length in 1..=LENGTH_MAX {
                let short = ShortCrc::new(length, |bytes| crc.checksum(bytes));
                let short = short.expect("a short length");
                let bytes: Vec<u8> = (0..length)
                    .map(|_| {
                        byte = byte.wrapping_mul(37).wrapping_add(11);
                        byte
                    })
                    .collect();
                assert_eq!(short.checksum(&bytes), Some(crc.checksum(&bytes)));
                assert_eq!(short.checksum(&bytes[1..]), None);
            }
            assert!(ShortCrc::new(LENGTH_MAX + 1, |bytes| crc.checksum(bytes)).is_none());
            assert!(ShortCrc::new(0, |bytes| crc.checksum(bytes)).is_none());
        }
    }
}
