//! The interlock of a pressure chamber: one `f32` in bar, COBS packets, 1 kHz.
//!
//! Eight bytes in COBS, all little-endian: counter `u16`; pressure `f32`, bar; CRC-16/IBM-3740 of
//! the six bytes before it.
//!
//! The pressure swings between 1 and 3 bar every four seconds, so 2.5 bar is crossed upwards once
//! in each; a test can hold it at a level.

use super::{Device, DeviceKind};
use crate::encode::{cobs, crc16_ibm_3740};
use crate::signals::sine;

pub(super) const KIND: DeviceKind = DeviceKind {
    name: "pressure-interlock",
    about: "a chamber's pressure in bar, COBS packets; crosses 2.5 bar every four seconds",
    rate_hz: 1000.0,
    channels: 1,
    make: |rate_hz, _seed| {
        Box::new(Pressure {
            rate_hz,
            level: None,
        })
    },
    sent: |_channel, index, rate_hz, _seed| f64::from(pressure_bar(index, rate_hz)),
};

struct Pressure {
    rate_hz: f64,
    level: Option<f32>,
}

fn pressure_bar(index: u64, rate_hz: f64) -> f32 {
    (2.0 + sine(index, rate_hz, 4.0)) as f32
}

fn packet(counter: u16, pressure_bar: f32) -> [u8; 8] {
    let mut packet = [0; 8];
    packet[..2].copy_from_slice(&counter.to_le_bytes());
    packet[2..6].copy_from_slice(&pressure_bar.to_le_bytes());
    let checksum = crc16_ibm_3740(&packet[..6]);
    packet[6..].copy_from_slice(&checksum.to_le_bytes());
    packet
}

impl Device for Pressure {
    fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    fn frame(&mut self, index: u64, out: &mut Vec<u8>) {
        let pressure = self.level.unwrap_or(pressure_bar(index, self.rate_hz));
        cobs(&packet(index as u16, pressure), out);
    }

    fn set_level(&mut self, level: Option<f64>) -> bool {
        self.level = level.map(|level| level as f32);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_zero_is_two_bar() {
        let mut out = Vec::new();
        (KIND.make)(1000.0, 0).frame(0, &mut out);
        // Counter 00 00, 2.0 = 00 00 00 40, checksum D4 46 (checked with Python's `binascii.crc_hqx`).
        assert_eq!(out, [1, 1, 1, 1, 1, 4, 0x40, 0xD4, 0x46, 0]);
    }

    #[test]
    fn a_held_level_replaces_the_swing_until_it_is_let_go() {
        let mut device = (KIND.make)(1000.0, 0);
        let frame = |device: &mut dyn Device| {
            let mut out = Vec::new();
            device.frame(500, &mut out);
            out
        };
        let swing = frame(&mut *device);
        assert!(device.set_level(Some(3.5)));
        let mut held = Vec::new();
        cobs(&packet(500, 3.5), &mut held);
        assert_eq!(frame(&mut *device), held);
        assert!(device.set_level(None));
        assert_eq!(frame(&mut *device), swing);
    }

    #[test]
    fn the_limit_is_crossed_upwards_once_in_four_seconds() {
        let values: Vec<f32> = (0..8000).map(|index| pressure_bar(index, 1000.0)).collect();
        let crossings = values
            .windows(2)
            .filter(|pair| pair[0] <= 2.5 && pair[1] > 2.5);
        assert_eq!(crossings.count(), 2);
        assert!(values.iter().all(|value| (1.0..=3.0).contains(value)));
    }
}
