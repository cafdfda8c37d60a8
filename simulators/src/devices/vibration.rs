//! A vibration sensor: one 16-bit channel, 100 kHz.
//!
//! Five bytes: `A5`; counter `u8`; velocity `i16` big-endian, 0.01 mm/s; CRC-8/SMBUS of the four
//! bytes before it.
//!
//! A chirp from 10 Hz to 10 kHz every ten seconds, with noise by seed.

use super::{Device, DeviceKind, to_i16};
use crate::encode::crc8_smbus;
use crate::signals::{chirp, noise};

pub(super) const KIND: DeviceKind = DeviceKind {
    name: "vibration-sensor",
    about: "a velocity of 16 bit at 100 kHz in checked packets of five bytes",
    rate_hz: 100_000.0,
    channels: 1,
    make: |rate_hz, seed| Box::new(Vibration { rate_hz, seed }),
    sent: |_channel, index, rate_hz, seed| f64::from(counts(index, rate_hz, seed)),
};

struct Vibration {
    rate_hz: f64,
    seed: u64,
}

fn counts(index: u64, rate_hz: f64, seed: u64) -> i16 {
    let swept = 2_000.0 * chirp(index, rate_hz, 10.0, 10_000.0, 10.0);
    to_i16(swept + 50.0 * noise(index, seed))
}

fn packet(counter: u8, counts: i16) -> [u8; 5] {
    let [high, low] = counts.to_be_bytes();
    let mut packet = [0xA5, counter, high, low, 0];
    packet[4] = crc8_smbus(&packet[..4]);
    packet
}

impl Device for Vibration {
    fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    fn frame(&mut self, index: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&packet(index as u8, counts(index, self.rate_hz, self.seed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_goes_high_byte_first_and_the_checksum_last() {
        // A5011234 00 divided by 107 as polynomials leaves 2B.
        assert_eq!(packet(1, 0x1234), [0xA5, 0x01, 0x12, 0x34, 0x2B]);
        assert_eq!(packet(2, -2)[2..4], [0xFF, 0xFE]);
    }

    #[test]
    fn the_counter_turns_over_at_256() {
        let mut device = (KIND.make)(100_000.0, 4);
        let mut out = Vec::new();
        device.frame(255, &mut out);
        device.frame(256, &mut out);
        assert_eq!((out[0], out[1]), (0xA5, 255));
        assert_eq!((out[5], out[6]), (0xA5, 0));
    }
}
