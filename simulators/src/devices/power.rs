//! Three power meters on one RS-485 line, and a fourth that is dead: Modbus RTU, units 1 to 3 and none other.
//!
//! Input and holding registers are the same: 0 voltage `f32`, V; 2 current `f32`, words swapped, A; 4 power `i32`, bytes
//! swapped in each word, W; 6 energy `u64`, the least significant word first, Wh; 10 frequency `u16`, 0.01 Hz; 11 the
//! count `u16`. Behind that there is nothing: exception 2. Coils and discrete inputs 0 to 15 are the
//! count's bits.
//!
//! The count is how often a unit's registers were read before; all of its values follow from it. A unit's signals
//! differ by its seed, the device's own plus the unit's number.

use super::{Answering, Heard, PolledKind};
use crate::encode::crc16_modbus;
use crate::signals::{sine, triangle};

pub(super) const KIND: PolledKind = PolledKind {
    name: "power-meters",
    about: "three power meters, units 1 to 3 of a Modbus RTU line; every other unit is dead",
    channels: 6,
    make: |seed| {
        Box::new(Meters {
            seed,
            counts: [0; UNITS],
        })
    },
    sent,
};

/// Live units: 1 to this.
const UNITS: usize = 3;

/// Registers of a unit.
const REGISTERS: usize = 12;

struct Meters {
    seed: u64,
    /// How often each unit's registers were read.
    counts: [u64; UNITS],
}

/// Readings a second, for the signals' periods.
const RATE_HZ: f64 = 10.0;

fn voltage_v(index: u64, seed: u64) -> f32 {
    (230.0 + seed as f64 + 3.0 * sine(index, RATE_HZ, 20.0)) as f32
}

fn current_a(index: u64, seed: u64) -> f32 {
    (5.0 + seed as f64 * 0.25 + 4.0 * sine(index, RATE_HZ, 7.0)) as f32
}

/// It flows back now and then.
fn power_w(index: u64, seed: u64) -> i32 {
    (2_000_000.0 * triangle(index, RATE_HZ, 11.0)) as i32 - seed as i32
}

fn energy_wh(index: u64, seed: u64) -> u64 {
    0x0001_0002_0003_0000 + seed * 1_000_000 + index * 3
}

fn frequency_chz(index: u64) -> u16 {
    (5000.0 + 20.0 * sine(index, RATE_HZ, 30.0)).round() as u16
}

fn sent(channel: usize, index: u64, seed: u64) -> f64 {
    match channel {
        0 => f64::from(voltage_v(index, seed)),
        1 => f64::from(current_a(index, seed)),
        2 => f64::from(power_w(index, seed)),
        3 => energy_wh(index, seed) as f64,
        4 => f64::from(frequency_chz(index)),
        _ => f64::from(index as u16),
    }
}

fn registers(index: u64, seed: u64) -> [u16; REGISTERS] {
    let voltage = voltage_v(index, seed).to_bits();
    let current = current_a(index, seed).to_bits();
    let power = power_w(index, seed) as u32;
    let energy = energy_wh(index, seed);
    let high = |word: u32| (word >> 16) as u16;
    [
        high(voltage),
        voltage as u16,
        current as u16,
        high(current),
        high(power).swap_bytes(),
        (power as u16).swap_bytes(),
        energy as u16,
        (energy >> 16) as u16,
        (energy >> 32) as u16,
        (energy >> 48) as u16,
        frequency_chz(index),
        index as u16,
    ]
}

impl Meters {
    fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) {
        let (unit, function) = (request[0], request[1]);
        let from = usize::from(u16::from_be_bytes([request[2], request[3]]));
        let count = usize::from(u16::from_be_bytes([request[4], request[5]]));
        let place = usize::from(unit) - 1;
        let index = self.counts[place];
        out.extend_from_slice(&[unit, function]);
        let mut refuse = |code: u8| {
            out[1] |= 0x80;
            out.push(code);
        };
        match function {
            1 | 2 if count == 0 || from + count > 16 => refuse(2),
            3 | 4 if count == 0 || count > 125 => refuse(3),
            3 | 4 if from + count > REGISTERS => refuse(2),
            1 | 2 => {
                let bits = (index as u16 >> from) & ((1_u32 << count) - 1) as u16;
                let bytes = count.div_ceil(8);
                out.push(bytes as u8);
                out.extend_from_slice(&bits.to_le_bytes()[..bytes]);
            }
            3 | 4 => {
                self.counts[place] += 1;
                out.push((count * 2) as u8);
                for register in &registers(index, self.seed + u64::from(unit))[from..from + count] {
                    out.extend_from_slice(&register.to_be_bytes());
                }
            }
            _ => refuse(1),
        }
        seal(out);
    }
}

/// Appends the checksum.
fn seal(frame: &mut Vec<u8>) {
    let checksum = crc16_modbus(frame);
    frame.extend_from_slice(&checksum.to_le_bytes());
}

impl Answering for Meters {
    fn hear(&mut self, heard: &[u8], out: &mut Vec<u8>) -> Heard {
        // All requests that there are here have eight bytes.
        let Some(request) = heard.get(..8) else {
            return Heard::More;
        };
        if crc16_modbus(request) != 0 {
            return Heard::Nothing(1);
        }
        if !(1..=UNITS).contains(&usize::from(request[0])) {
            return Heard::Nothing(8);
        }
        self.answer(request, out);
        Heard::Request(8)
    }

    /// Another unit's answer, its checksum right.
    fn disguise(&self, answer: &mut Vec<u8>) {
        answer.truncate(answer.len().saturating_sub(2));
        if let Some(unit) = answer.first_mut() {
            *unit = *unit % UNITS as u8 + 1;
        }
        seal(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_the_standard_is_answered_byte_by_byte() {
        let mut meters = (KIND.make)(0);
        // Unit 1, function 4, from 11, one register; checksum 20 08 (checked with pymodbus).
        let mut out = Vec::new();
        let mut request = vec![1, 4, 0, 11, 0, 1];
        seal(&mut request);
        assert_eq!(meters.hear(&request, &mut out), Heard::Request(8));
        assert_eq!(out[..5], [1, 4, 2, 0, 0]);
        assert_eq!(crc16_modbus(&out), 0);
        out.clear();
        assert_eq!(meters.hear(&request, &mut out), Heard::Request(8));
        assert_eq!(out[..5], [1, 4, 2, 0, 1]);
    }

    #[test]
    fn a_dead_unit_is_silent_and_a_hole_is_refused() {
        let mut meters = (KIND.make)(0);
        let mut out = Vec::new();
        let mut dead = vec![9, 4, 0, 0, 0, 1];
        seal(&mut dead);
        assert_eq!(meters.hear(&dead, &mut out), Heard::Nothing(8));
        assert_eq!(out, []);
        let mut hole = vec![2, 3, 0, 11, 0, 2];
        seal(&mut hole);
        assert_eq!(meters.hear(&hole, &mut out), Heard::Request(8));
        assert_eq!(out[..3], [2, 0x83, 2]);
        assert_eq!(meters.hear(&hole[1..], &mut out), Heard::More);
    }
}
