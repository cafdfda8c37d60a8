//! A bench multimeter that speaks SCPI: lines, answers ended by LF.
//!
//! `*IDN?`; `CONF…`, `*RST`, `*CLS` without an answer; `READ?` one value, volts; `MEAS:ALL?` four: volts, amperes, ohms, the
//! count; `CURV?` a definite-length block of 500 `i16`, big-endian, the samples numbered on from block to
//! block; `SYST:ERR?` the oldest error. Anything else is error -113 and has no answer.
//!
//! The count is how often it measured before; a value is a whole number of millionths, printed with an exponent.

use std::collections::VecDeque;
use std::io::Write as _;

use super::{Answering, Heard, PolledKind};
use crate::signals::{noise, sine};

pub(super) const KIND: PolledKind = PolledKind {
    name: "multimeter",
    about: "a bench multimeter that is queried in SCPI: volts, amperes, ohms, waveforms",
    channels: 5,
    make: |seed| {
        Box::new(Multimeter {
            seed,
            count: 0,
            samples: 0,
            errors: VecDeque::new(),
        })
    },
    sent,
};

/// Measurements a second, for the signals' periods.
const RATE_HZ: f64 = 10.0;

/// Samples in a block.
const BLOCK: u64 = 500;

/// Errors remembered; what comes then is the one that says so, as in IEEE 488.2.
const ERRORS_MAX: usize = 8;

/// The longest command that is taken.
const LINE_MAX: usize = 256;

struct Multimeter {
    seed: u64,
    count: u64,
    samples: u64,
    errors: VecDeque<&'static str>,
}

/// Volts, amperes, ohms in millionths.
fn millionths(channel: usize, index: u64, seed: u64) -> i64 {
    let value = match channel {
        0 => 10.0 * sine(index, RATE_HZ, 9.0) + 0.001 * noise(index, seed),
        1 => 0.02 + 0.01 * sine(index, RATE_HZ, 5.0),
        _ => 1000.0 + seed as f64,
    };
    (value * 1e6).round() as i64
}

/// Sample number `index` of all waveforms.
fn sample(index: u64) -> i16 {
    (index.wrapping_mul(37) % 65_536) as u16 as i16
}

fn sent(channel: usize, index: u64, seed: u64) -> f64 {
    match channel {
        0..=2 => millionths(channel, index, seed) as f64 / 1e6,
        3 => index as f64,
        _ => f64::from(sample(index)),
    }
}

impl Multimeter {
    fn obey(&mut self, command: &str, out: &mut Vec<u8>) -> bool {
        let value = |channel| millionths(channel, self.count, self.seed);
        // A vector takes every byte.
        let _ = match command {
            "*IDN?" => writeln!(out, "KYMO,DMM-6,{},1.0", self.seed),
            "READ?" => {
                let written = writeln!(out, "{:+}E-06", value(0));
                self.count += 1;
                written
            }
            "MEAS:ALL?" => {
                let (volts, amperes, ohms) = (value(0), value(1), value(2));
                let count = self.count;
                self.count += 1;
                writeln!(out, "{volts:+}E-06,{amperes:+}E-06,{ohms:+}E-06,{count}")
            }
            "CURV?" => {
                let written = write!(out, "#4{:04}", BLOCK * 2);
                for index in self.samples..self.samples + BLOCK {
                    out.extend_from_slice(&sample(index).to_be_bytes());
                }
                self.samples += BLOCK;
                out.push(b'\n');
                written
            }
            "SYST:ERR?" => {
                let error = self.errors.pop_front().unwrap_or("+0,\"No error\"");
                writeln!(out, "{error}")
            }
            "*RST" | "*CLS" => {
                self.errors.clear();
                Ok(())
            }
            other if other.starts_with("CONF") => Ok(()),
            _ => {
                if self.errors.len() < ERRORS_MAX {
                    self.errors.push_back("-113,\"Undefined header\"");
                } else {
                    self.errors[ERRORS_MAX - 1] = "-350,\"Queue overflow\"";
                }
                Ok(())
            }
        };
        !out.is_empty()
    }
}

impl Answering for Multimeter {
    fn hear(&mut self, heard: &[u8], out: &mut Vec<u8>) -> Heard {
        let Some(end) = heard.iter().position(|byte| *byte == b'\n') else {
            return if heard.len() > LINE_MAX {
                Heard::Nothing(heard.len())
            } else {
                Heard::More
            };
        };
        let line = String::from_utf8_lossy(&heard[..end]);
        if self.obey(line.trim(), out) {
            Heard::Request(end + 1)
        } else {
            Heard::Nothing(end + 1)
        }
    }

    /// An answer to something else.
    fn disguise(&self, answer: &mut Vec<u8>) {
        *answer = b"OVERLOAD\n".to_vec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(device: &mut dyn Answering, command: &[u8]) -> String {
        let mut out = Vec::new();
        device.hear(command, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn it_says_who_it_is_and_measures_and_remembers_errors() {
        let mut device = (KIND.make)(7);
        assert_eq!(asked(&mut *device, b"*IDN?\r\n"), "KYMO,DMM-6,7,1.0\n");
        let all = asked(&mut *device, b"MEAS:ALL?\n");
        let fields: Vec<f64> = all.trim().split(',').map(|f| f.parse().unwrap()).collect();
        let expected: Vec<f64> = (0..4).map(|channel| sent(channel, 0, 7)).collect();
        assert_eq!(fields, expected);
        assert_eq!(asked(&mut *device, b"NONSENSE?\n"), "");
        assert_eq!(
            asked(&mut *device, b"SYST:ERR?\n"),
            "-113,\"Undefined header\"\n"
        );
        assert_eq!(asked(&mut *device, b"SYST:ERR?\n"), "+0,\"No error\"\n");
        assert_eq!(asked(&mut *device, b"half a comm"), "");
    }

    #[test]
    fn a_waveform_is_a_block_of_its_length() {
        let mut device = (KIND.make)(0);
        let mut out = Vec::new();
        assert_eq!(device.hear(b"CURV?\n", &mut out), Heard::Request(6));
        assert_eq!(&out[..6], b"#41000");
        assert_eq!(out.len(), 6 + 1000 + 1);
        assert_eq!(out[8..10], 37_i16.to_be_bytes());
    }
}
