//! An inertial measurement unit: six 16-bit channels, 4 kHz.
//!
//! Eighteen bytes, little-endian: `AA 55`; counter `u16`; ax, ay, az, gx, gy, gz as `i16`;
//! CRC-16/IBM-3740 of all after the sync bytes.
//!
//! Each channel has a shape that shows a different mistake: ax a slow sine, ay a fast one, az a
//! step around 1 g, gx a chirp, gy a triangle, gz the frame number itself.

use super::{Device, DeviceKind, to_i16};
use crate::encode::crc16_ibm_3740;
use crate::signals::{chirp, counter_i16, sine, step, triangle};

pub(super) const KIND: DeviceKind = DeviceKind {
    name: "inertial-unit",
    about: "three accelerations and three rotation rates of 16 bit in checked packets",
    rate_hz: 4000.0,
    channels: 6,
    make: |rate_hz, _seed| Box::new(Inertial { rate_hz }),
    sent: |channel, index, rate_hz, _seed| f64::from(counts(channel, index, rate_hz)),
};

struct Inertial {
    rate_hz: f64,
}

fn counts(channel: usize, index: u64, rate_hz: f64) -> i16 {
    match channel {
        0 => to_i16(16_000.0 * sine(index, rate_hz, 1.0)),
        1 => to_i16(4_000.0 * sine(index, rate_hz, 0.02)),
        // 1 g is 8192 counts of 4 g / 32768.
        2 => to_i16(8_192.0 + 1_024.0 * step(index, rate_hz, 2.0)),
        3 => to_i16(30_000.0 * chirp(index, rate_hz, 1.0, 501.0, 10.0)),
        4 => to_i16(32_767.0 * triangle(index, rate_hz, 5.0)),
        _ => counter_i16(index),
    }
}

impl Device for Inertial {
    fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    fn frame(&mut self, index: u64, out: &mut Vec<u8>) {
        let mut packet = [0; 18];
        packet[..2].copy_from_slice(&[0xAA, 0x55]);
        packet[2..4].copy_from_slice(&(index as u16).to_le_bytes());
        for (channel, field) in packet[4..16].chunks_exact_mut(2).enumerate() {
            field.copy_from_slice(&counts(channel, index, self.rate_hz).to_le_bytes());
        }
        let checksum = crc16_ibm_3740(&packet[2..16]);
        packet[16..].copy_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_258_has_its_counter_little_endian_in_two_places() {
        let mut out = Vec::new();
        (KIND.make)(4000.0, 0).frame(258, &mut out);
        assert_eq!(out.len(), 18);
        assert_eq!(out[..4], [0xAA, 0x55, 0x02, 0x01]);
        // az: 8192 - 1024 = 7168 = 0x1C00 in the first second.
        assert_eq!(out[8..10], [0x00, 0x1C]);
        assert_eq!(out[14..16], [0x02, 0x01]);
    }

    #[test]
    fn frame_zero_byte_by_byte() {
        let mut out = Vec::new();
        (KIND.make)(4000.0, 0).frame(0, &mut out);
        // gy starts at -32767 = 0x8001; checksum 94 81 (checked with Python's `binascii.crc_hqx`).
        assert_eq!(
            out,
            [
                0xAA, 0x55, 0, 0, 0, 0, 0, 0, 0x00, 0x1C, 0, 0, 0x01, 0x80, 0, 0, 0x94, 0x81
            ]
        );
    }
}
