//! A data acquisition board with a 24-bit converter: four channels, eight readings of each in a packet, 500 packets a
//! second.
//!
//! 106 bytes: `AD 24`; version `u8`, 1; packet counter `u8`; time of the first reading `u24` big-endian, in
//! microseconds of the board's own clock; status `u8`: bits 0 to 3 a channel out of its range, bits 4 to 6 the gain's
//! power of two; eight readings of four channels, each `i24` big-endian, channels next to each other; CRC-16/IBM-3740 of
//! all bytes before it, big-endian.
//!
//! What is called a frame here, and counted as one, is a packet. Its channels are its 32 values in the order in which they
//! are sent, and the status behind them. The timer starts a second before it wraps, so that a wrap is soon seen.
//!
//! Channels: sine of 10 Hz over nearly the full range; triangle of 1 Hz; noise by seed; the number of the reading.

use super::{Device, DeviceKind};
use crate::encode::crc16_ibm_3740;
use crate::signals::{noise, sine, triangle};

const CHANNELS: u64 = 4;
const READINGS: u64 = 8;
const VALUES: u64 = CHANNELS * READINGS;

/// What a channel of 24 bit can say.
const FULL_SCALE: f64 = 8_388_607.0;

/// The timer at the first reading.
const TIMER_START_US: u64 = (1 << 24) - 1_000_000;

pub(super) const KIND: DeviceKind = DeviceKind {
    name: "adc-board",
    about: "four channels of 24 bit, eight readings of each in a packet with a timestamp",
    rate_hz: 500.0,
    channels: VALUES as usize + 1,
    make: |rate_hz, seed| Box::new(Adc { rate_hz, seed }),
    sent: |channel, index, rate_hz, seed| match channel as u64 {
        place @ 0..VALUES => f64::from(reading(place, index, rate_hz, seed)),
        _ => f64::from(status(index)),
    },
};

struct Adc {
    rate_hz: f64,
    seed: u64,
}

/// The value at this place of packet number `index`.
fn reading(place: u64, index: u64, rate_hz: f64, seed: u64) -> i32 {
    let number = index * READINGS + place / CHANNELS;
    let rate_hz = rate_hz * READINGS as f64;
    match place % CHANNELS {
        0 => (8_000_000.0 * sine(number, rate_hz, 0.1)).round() as i32,
        1 => (FULL_SCALE * triangle(number, rate_hz, 1.0)).round() as i32,
        2 => (1_000.0 * noise(number, seed)).round() as i32,
        _ => (number % (1 << 23)) as i32,
    }
}

/// Gain 4; the second channel is marked as out of its range in every hundredth packet.
fn status(index: u64) -> u8 {
    let out_of_range = u8::from(index.is_multiple_of(100)) << 1;
    2 << 4 | out_of_range
}

fn timer_us(index: u64, rate_hz: f64) -> u64 {
    // Exact for 285 years of microseconds.
    let since_start = (index as f64 * 1e6 / rate_hz) as u64;
    TIMER_START_US.wrapping_add(since_start) % (1 << 24)
}

impl Device for Adc {
    fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    fn frame(&mut self, index: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0xAD, 0x24, 1, index as u8]);
        out.extend_from_slice(&timer_us(index, self.rate_hz).to_be_bytes()[5..]);
        out.push(status(index));
        for place in 0..VALUES {
            let value = reading(place, index, self.rate_hz, self.seed);
            out.extend_from_slice(&value.to_be_bytes()[1..]);
        }
        let checksum = crc16_ibm_3740(&out[start..]);
        out.extend_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_byte_by_byte() {
        let mut out = Vec::new();
        (KIND.make)(500.0, 0).frame(0, &mut out);
        assert_eq!(out.len(), 106);
        // 16 777 216 - 1 000 000 = 0xF0BDC0; gain 4, the second channel marked.
        assert_eq!(out[..8], [0xAD, 0x24, 1, 0, 0xF0, 0xBD, 0xC0, 0x22]);
        // The sine begins at 0, the triangle at -8 388 607 = 0x800001.
        assert_eq!(out[8..14], [0, 0, 0, 0x80, 0x00, 0x01]);
        // The readings number themselves: the second is twelve bytes on.
        assert_eq!(out[17..20], [0, 0, 0]);
        assert_eq!(out[29..32], [0, 0, 1]);
    }

    #[test]
    fn the_timer_wraps_after_its_first_second() {
        let timer = |index| {
            let mut out = Vec::new();
            (KIND.make)(500.0, 0).frame(index, &mut out);
            [out[4], out[5], out[6]]
        };
        assert_eq!(timer(499), [0xFF, 0xF8, 0x30]);
        assert_eq!(timer(500), [0, 0, 0]);
        assert_eq!(timer(501), [0, 0x07, 0xD0]);
    }
}
