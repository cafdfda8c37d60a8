//! What can be declared of a u-blox receiver.

use crate::protocol::nmea;

/// Where a channel's value stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// In a sentence: the receiver speaks both.
    Sentence(nmea::Field),
    /// In a binary message.
    Message {
        /// `NAV-PVT`, or class and number in hexadecimal: `01 07`.
        message: String,
        /// Which of its values.
        value: Value,
    },
}

/// A value of a binary message.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One that the table of known messages names: see [`quantities`](super::quantities).
    Quantity(String),
    /// A number at a place of the payload, as the receiver's manual tells it.
    At {
        /// Its offset in the payload.
        at: usize,
        /// Its type.
        number: Number,
        /// Only these bits of it: the lowest one's place, and how many.
        bits: Option<(u32, u32)>,
        /// The value is `raw * scale`.
        scale: f64,
    },
}

/// A number's type, by its name in the manual. All are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Number {
    U1,
    I1,
    U2,
    I2,
    U4,
    I4,
    R4,
    R8,
}

impl Number {
    /// All types by their names; `X` are bit fields.
    pub const NAMES: [(&'static str, Number); 11] = [
        ("U1", Self::U1),
        ("I1", Self::I1),
        ("X1", Self::U1),
        ("U2", Self::U2),
        ("I2", Self::I2),
        ("X2", Self::U2),
        ("U4", Self::U4),
        ("I4", Self::I4),
        ("X4", Self::U4),
        ("R4", Self::R4),
        ("R8", Self::R8),
    ];
}

/// A u-blox receiver: binary messages and sentences in one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The channels, in order.
    pub fields: Vec<Field>,
    /// What makes a frame, and what concerns the sentences. A binary message, too, may be the first or the last.
    pub rules: nmea::Rules,
    /// The longest payload believed, in bytes; a longer claim is rubbish.
    pub payload_bytes_max: usize,
}

/// Longer than what a receiver sends unasked: raw measurements of 64 signals are 2064 bytes.
pub const PAYLOAD_BYTES_MAX_DEFAULT: usize = 4096;

/// The longest payload there can be.
pub const PAYLOAD_BYTES_MAX_LIMIT: usize = 65_535;
