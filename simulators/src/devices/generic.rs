//! Devices of which the user says what they measure and how they say it.
//!
//! What for: other software is tested against the very frames that its device sends, with signals whose values are known.
//!
//! | device | a frame |
//! |---|---|
//! | `lines` | the values in decimal, a separator between them, an end behind them |
//! | `packets` | sync bytes or COBS; counter; the values; a checksum of all that stands between sync bytes and checksum |
//! | `sentences` | `$`, the address, the values, `*` and the exclusive-or in hexadecimal, CR LF (NMEA 0183) |
//! | `registers` | asked for by Modbus RTU: the values from register 0 on, big-endian words, the high word first |
//! | `instrument` | asked for in SCPI: `*IDN?`, and a query that gives all values, commas between them |
//!
//! What always holds: a value is what the channel's signals give, as far as its number on the wire holds it; [`Channel::sent`] is that.
//! Of a device that is asked, the frame number counts its answers with values.
//!
//! What it must not know: ports, clocks, threads, faults.

use std::io::Write as _;

use super::{Answering, Device, Heard};
use crate::checksum::Checksum;
use crate::encode::{cobs, crc16_modbus};
use crate::signal::{Signal, frames_of, mix, sum};

/// The generic devices' names for the configuration.
pub const GENERIC: [&str; 5] = ["lines", "packets", "sentences", "registers", "instrument"];

/// Frames a second of a generic device unless told otherwise; of one that is asked, answers, for its signals' periods.
pub const RATE_HZ: f64 = 100.0;

/// What a generic device says, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Generic {
    /// How it says it.
    pub form: Form,
    /// What it measures: at least one channel.
    pub channels: Vec<Channel>,
}

/// How a generic device puts its values on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Text lines.
    Lines {
        /// Between two values.
        separator: String,
        /// Before the first.
        start: String,
        /// Behind the last.
        end: String,
        /// Each value behind its channel's name and `=`.
        names: bool,
    },
    /// Binary packets.
    Packets {
        /// What a packet begins with; empty: COBS.
        sync: Vec<u8>,
        /// Bytes of the frame number that follows; 0: none.
        counter: usize,
        /// What ends it.
        checksum: Option<Checksum>,
        /// The most significant byte goes first.
        is_big_endian: bool,
    },
    /// Sentences of NMEA 0183.
    Sentences {
        /// What stands between `$` and the first comma.
        address: String,
    },
    /// Registers of a Modbus RTU unit.
    Registers {
        /// Its number.
        unit: u8,
    },
    /// An instrument that speaks SCPI.
    Instrument {
        /// The answer to `*IDN?`.
        identity: String,
        /// What asks for the values.
        query: String,
    },
}

/// A quantity that a generic device measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What it is: parts that are added.
    pub signal: Vec<Signal>,
    /// Its number in packets and registers.
    pub scalar: Scalar,
    /// `value = number * scale + offset`, in packets and registers.
    pub scale: f64,
    /// See [`Channel::scale`].
    pub offset: f64,
    /// Digits behind the point, in text.
    pub decimals: usize,
}

/// A number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scalar {
    U8,
    I8,
    U16,
    I16,
    U24,
    I24,
    U32,
    I32,
    F32,
    F64,
}

/// Every number on the wire, by its name.
pub const SCALARS: [(&str, Scalar); 10] = [
    ("u8", Scalar::U8),
    ("i8", Scalar::I8),
    ("u16", Scalar::U16),
    ("i16", Scalar::I16),
    ("u24", Scalar::U24),
    ("i24", Scalar::I24),
    ("u32", Scalar::U32),
    ("i32", Scalar::I32),
    ("f32", Scalar::F32),
    ("f64", Scalar::F64),
];

impl Scalar {
    /// Its bytes.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U24 | Self::I24 => 3,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The number nearest to a value that it can be.
    fn nearest(self, value: f64) -> f64 {
        let bits = 8 * self.width() as i32;
        match self {
            Self::F32 => f64::from(value as f32),
            Self::F64 => value,
            // What is no number is none of theirs: they say 0.
            _ if value.is_nan() => 0.0,
            Self::U8 | Self::U16 | Self::U24 | Self::U32 => {
                value.round().clamp(0.0, 2_f64.powi(bits) - 1.0)
            }
            Self::I8 | Self::I16 | Self::I24 | Self::I32 => {
                let half = 2_f64.powi(bits - 1);
                value.round().clamp(-half, half - 1.0)
            }
        }
    }

    /// A number that it can be, as bytes, the least significant first.
    fn bytes(self, number: f64) -> Vec<u8> {
        match self {
            Self::F32 => (number as f32).to_le_bytes().to_vec(),
            Self::F64 => number.to_le_bytes().to_vec(),
            // A whole number of at most 32 bits, which an `i64` holds.
            _ => (number as i64).to_le_bytes()[..self.width()].to_vec(),
        }
    }
}

impl Channel {
    /// The number that goes over the wire in frame `index`, by a form: whole, or rounded to the digits printed.
    #[must_use]
    pub fn sent(&self, form: &Form, index: u64, rate_hz: f64, seed: u64) -> f64 {
        let value = sum(&self.signal, index, rate_hz, seed);
        match form {
            Form::Packets { .. } | Form::Registers { .. } => {
                self.scalar.nearest((value - self.offset) / self.scale)
            }
            Form::Lines { .. } | Form::Sentences { .. } | Form::Instrument { .. } => self
                .printed(value)
                .parse()
                // `NaN` and `inf` are numbers to Rust.
                .unwrap_or(f64::NAN),
        }
    }

    fn printed(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }
}

impl Generic {
    /// Whether it speaks only when it is asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        matches!(self.form, Form::Registers { .. } | Form::Instrument { .. })
    }

    /// The number of a channel that goes over the wire in a frame; `None`: there is no such channel.
    #[must_use]
    pub fn sent(&self, channel: usize, index: u64, rate_hz: f64, seed: u64) -> Option<f64> {
        let declared = self.channels.get(channel)?;
        Some(declared.sent(&self.form, index, rate_hz, mix(seed, channel as u64)))
    }

    /// All numbers of a frame.
    fn row(&self, index: u64, rate_hz: f64, seed: u64) -> impl Iterator<Item = (&Channel, f64)> {
        let channels = (0..).zip(&self.channels);
        channels.map(move |(place, channel)| {
            let seed = mix(seed, place);
            (channel, channel.sent(&self.form, index, rate_hz, seed))
        })
    }

    /// Its texts, the separator between them.
    fn print(&self, separator: &str, names: bool, row: Row, out: &mut Vec<u8>) {
        for (place, channel) in (0..).zip(&self.channels) {
            if place > 0 {
                out.extend_from_slice(separator.as_bytes());
            }
            if names {
                out.extend_from_slice(channel.name.as_bytes());
                out.push(b'=');
            }
            let value = sum(
                &channel.signal,
                row.index,
                row.rate_hz,
                mix(row.seed, place),
            );
            out.extend_from_slice(channel.printed(value).as_bytes());
        }
    }

    /// Frames after which it falls silent.
    fn frames(&self) -> Option<u64> {
        let channels = self.channels.iter();
        channels
            .filter_map(|channel| frames_of(&channel.signal))
            .min()
    }
}

/// Which row of values.
#[derive(Debug, Clone, Copy)]
struct Row {
    index: u64,
    rate_hz: f64,
    seed: u64,
}

/// A generic device that sends by itself.
pub(crate) struct Sender {
    generic: Generic,
    rate_hz: f64,
    seed: u64,
}

impl Sender {
    pub(crate) fn new(generic: Generic, rate_hz: f64, seed: u64) -> Self {
        Self {
            generic,
            rate_hz,
            seed,
        }
    }

    fn packet(&self, index: u64, out: &mut Vec<u8>) {
        let Form::Packets {
            sync,
            counter,
            checksum,
            is_big_endian,
        } = &self.generic.form
        else {
            return;
        };
        let order = |mut bytes: Vec<u8>| {
            if *is_big_endian {
                bytes.reverse();
            }
            bytes
        };
        let mut body = order(index.to_le_bytes()[..*counter].to_vec());
        for (channel, number) in self.generic.row(index, self.rate_hz, self.seed) {
            body.extend(order(channel.scalar.bytes(number)));
        }
        if let Some(checksum) = checksum {
            let sum = checksum.of(&body).to_le_bytes();
            body.extend(order(sum[..checksum.width].to_vec()));
        }
        if sync.is_empty() {
            cobs(&body, out);
        } else {
            out.extend_from_slice(sync);
            out.extend(body);
        }
    }
}

impl Device for Sender {
    fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    fn frame(&mut self, index: u64, out: &mut Vec<u8>) {
        let row = Row {
            index,
            rate_hz: self.rate_hz,
            seed: self.seed,
        };
        match &self.generic.form {
            Form::Lines {
                separator,
                start,
                end,
                names,
            } => {
                out.extend_from_slice(start.as_bytes());
                self.generic.print(separator, *names, row, out);
                out.extend_from_slice(end.as_bytes());
            }
            Form::Sentences { address } => {
                out.push(b'$');
                let begin = out.len();
                out.extend_from_slice(address.as_bytes());
                out.push(b',');
                self.generic.print(",", false, row, out);
                let sum = out[begin..].iter().fold(0, |sum, byte| sum ^ byte);
                let written = write!(out, "*{sum:02X}\r\n");
                debug_assert!(written.is_ok(), "a vector takes every byte");
            }
            // The others are asked, and never sent by themselves.
            _ => self.packet(index, out),
        }
    }

    fn frames(&self) -> Option<u64> {
        self.generic.frames()
    }
}

/// A generic device that is asked.
pub(crate) struct Answerer {
    generic: Generic,
    rate_hz: f64,
    seed: u64,
    /// How often its values were asked for.
    count: u64,
}

/// The longest command that is taken.
const LINE_MAX: usize = 256;

impl Answerer {
    pub(crate) fn new(generic: Generic, rate_hz: f64, seed: u64) -> Self {
        Self {
            generic,
            rate_hz,
            seed,
            count: 0,
        }
    }

    /// Where in its recorded values it stands: it goes on with the last when they have come to their end.
    fn index(&self) -> u64 {
        let last = self.generic.frames().map(|frames| frames.saturating_sub(1));
        last.map_or(self.count, |last| self.count.min(last))
    }

    fn hear_command(&mut self, heard: &[u8], out: &mut Vec<u8>) -> Heard {
        let Form::Instrument { identity, query } = &self.generic.form else {
            return Heard::Nothing(heard.len());
        };
        let Some(end) = heard.iter().position(|byte| *byte == b'\n') else {
            return if heard.len() > LINE_MAX {
                Heard::Nothing(heard.len())
            } else {
                Heard::More
            };
        };
        let line = heard[..end].trim_ascii();
        if line.eq_ignore_ascii_case(b"*IDN?") {
            out.extend_from_slice(identity.as_bytes());
        } else if line.eq_ignore_ascii_case(query.as_bytes()) {
            let row = Row {
                index: self.index(),
                rate_hz: self.rate_hz,
                seed: self.seed,
            };
            self.generic.print(",", false, row, out);
            self.count += 1;
        } else if line.eq_ignore_ascii_case(b"SYST:ERR?") {
            out.extend_from_slice(b"+0,\"No error\"");
        } else {
            return Heard::Nothing(end + 1);
        }
        out.push(b'\n');
        Heard::Request(end + 1)
    }

    fn hear_modbus(&mut self, heard: &[u8], out: &mut Vec<u8>) -> Heard {
        let Form::Registers { unit } = self.generic.form else {
            return Heard::Nothing(heard.len());
        };
        let Some(request) = heard.get(..8) else {
            return Heard::More;
        };
        if crc16_modbus(request) != 0 {
            return Heard::Nothing(1);
        }
        if request[0] != unit {
            return Heard::Nothing(8);
        }
        let from = usize::from(u16::from_be_bytes([request[2], request[3]]));
        let count = usize::from(u16::from_be_bytes([request[4], request[5]]));
        out.extend_from_slice(&request[..2]);
        let registers = self.registers();
        let refusal = match request[1] {
            3 | 4 if count == 0 || count > 125 => Some(3),
            3 | 4 if from + count > registers.len() => Some(2),
            3 | 4 => None,
            _ => Some(1),
        };
        if let Some(code) = refusal {
            out[1] |= 0x80;
            out.push(code);
        } else {
            self.count += 1;
            // At most 250.
            out.push((2 * count) as u8);
            out.extend(registers[from..from + count].as_flattened());
        }
        seal(out);
        Heard::Request(8)
    }

    /// The values, two bytes a register, the most significant first; one of a single byte has a register to itself.
    fn registers(&self) -> Vec<[u8; 2]> {
        let row = self.generic.row(self.index(), self.rate_hz, self.seed);
        let registers = row.flat_map(|(channel, number)| {
            let mut bytes = channel.scalar.bytes(number);
            // A register is as wide as two bytes: what is narrower is carried over with its sign.
            if !bytes.len().is_multiple_of(2) {
                let is_signed = matches!(channel.scalar, Scalar::I8 | Scalar::I24);
                bytes.push(if is_signed && number < 0.0 { 0xFF } else { 0 });
            }
            bytes.reverse();
            let words: Vec<[u8; 2]> = bytes.as_chunks().0.to_vec();
            words
        });
        registers.collect()
    }
}

/// Appends Modbus's checksum.
fn seal(frame: &mut Vec<u8>) {
    let checksum = crc16_modbus(frame);
    frame.extend_from_slice(&checksum.to_le_bytes());
}

impl Answering for Answerer {
    fn hear(&mut self, heard: &[u8], out: &mut Vec<u8>) -> Heard {
        match self.generic.form {
            Form::Registers { .. } => self.hear_modbus(heard, out),
            _ => self.hear_command(heard, out),
        }
    }

    /// Another unit's answer, or an answer to something else.
    fn disguise(&self, answer: &mut Vec<u8>) {
        if !matches!(self.generic.form, Form::Registers { .. }) {
            *answer = b"OVERLOAD\n".to_vec();
            return;
        }
        answer.truncate(answer.len().saturating_sub(2));
        if let Some(unit) = answer.first_mut() {
            *unit = unit.wrapping_add(1);
        }
        seal(answer);
    }
}

#[cfg(test)]
mod tests;
