//! What can be declared of a Modbus bus.

use std::time::Duration;

use crate::protocol::OptionsError;
use crate::protocol::polled::wait_mistakes;

/// How requests and answers are wrapped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Framing {
    /// Unit, function, data, CRC-16, over a serial line or a gateway that passes it on raw.
    Rtu {
        /// Silence on the line between an answer and the next request: `silence`.
        silence: Duration,
        /// Time of one byte on the line, ns; 0 where the line has no pace that is known.
        ns_per_byte: f64,
    },
    /// Modbus TCP: a header with a transaction number, no CRC.
    Tcp,
}

/// Silence between two frames on a line whose bytes take so long: 3.5 characters up to 19200 baud, 1.75 ms above
/// (Modbus over Serial Line V1.02, 2.5.1.1).
#[must_use]
pub fn silence(ns_per_byte: f64) -> Duration {
    const ABOVE_19200: Duration = Duration::from_micros(1750);
    // A character is 11 bits, whatever the line is set to.
    const NS_PER_BYTE_19200: f64 = 10.0 * 1e9 / 19_200.0;
    if ns_per_byte >= NS_PER_BYTE_19200 {
        Duration::from_secs_f64(3.5 * ns_per_byte / 1e9)
    } else {
        ABOVE_19200
    }
}

/// What is read of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Coils: bits, function 1.
    Coil,
    /// Discrete inputs: bits, function 2.
    Discrete,
    /// Holding registers: function 3.
    Holding,
    /// Input registers: function 4.
    Input,
}

impl Table {
    /// All, by name.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("coil", Self::Coil),
        ("discrete", Self::Discrete),
        ("holding", Self::Holding),
        ("input", Self::Input),
    ];

    /// Whether it holds bits.
    #[must_use]
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    pub(super) fn function(self) -> u8 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }

    pub(super) fn name(self) -> &'static str {
        Self::NAMES[usize::from(self.function()) - 1].0
    }
}

/// What a channel is, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scalar {
    /// A coil or a discrete input, or one bit of a register, 0 the least significant.
    Bit(u8),
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Scalar {
    /// All, by name.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("bit", Self::Bit(0)),
        ("u16", Self::U16),
        ("i16", Self::I16),
        ("u32", Self::U32),
        ("i32", Self::I32),
        ("u64", Self::U64),
        ("i64", Self::I64),
        ("f32", Self::F32),
        ("f64", Self::F64),
    ];

    /// Bytes in registers.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Bit(_) | Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether its raw value is an integer that a double holds exactly.
    #[must_use]
    pub fn is_small_integer(self) -> bool {
        !matches!(self, Self::U64 | Self::I64 | Self::F32 | Self::F64)
    }
}

/// In which order the bytes of a number come: place `i` on the wire holds byte `order[i]`, 0 the most significant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    places: [u8; 8],
    bytes: usize,
}

impl Order {
    /// The order that Modbus itself has: the most significant byte first.
    #[must_use]
    pub fn big(bytes: usize) -> Self {
        Self::of_words(bytes, false, false)
    }

    /// An order by name, for a number of so many bytes.
    ///
    /// `ABCD`, `CDAB`, `BADC` and `DCBA` say for every width whether the words come from the least significant
    /// on, and whether the bytes in each are swapped. Any other order is named by as many letters as the
    /// number has bytes, `A` for the most significant.
    #[must_use]
    pub fn named(name: &str, bytes: usize) -> Option<Self> {
        match name {
            "ABCD" => return Some(Self::of_words(bytes, false, false)),
            "CDAB" => return Some(Self::of_words(bytes, true, false)),
            "BADC" => return Some(Self::of_words(bytes, false, true)),
            "DCBA" => return Some(Self::of_words(bytes, true, true)),
            _ => {}
        }
        if name.len() != bytes || bytes > 8 {
            return None;
        }
        let (mut places, mut seen) = ([0; 8], 0_u32);
        for (place, letter) in places.iter_mut().zip(name.bytes()) {
            *place = letter
                .checked_sub(b'A')
                .filter(|n| usize::from(*n) < bytes)?;
            seen |= 1 << *place;
        }
        (seen.count_ones() as usize == bytes).then_some(Self { places, bytes })
    }

    fn of_words(bytes: usize, is_reversed: bool, is_swapped: bool) -> Self {
        let words = bytes / 2;
        let mut places = [0; 8];
        for (at, place) in places.iter_mut().enumerate().take(bytes) {
            let (word, byte) = (at / 2, at % 2);
            let word = if is_reversed { words - 1 - word } else { word };
            let byte = if is_swapped { 1 - byte } else { byte };
            // Below eight.
            *place = u8::try_from(word * 2 + byte).unwrap_or(0);
        }
        Self { places, bytes }
    }

    /// The bytes as they came, the most significant first.
    pub(super) fn restore(&self, wire: &[u8]) -> [u8; 8] {
        let mut big = [0; 8];
        for (byte, place) in wire.iter().zip(&self.places[..self.bytes]) {
            big[usize::from(*place)] = *byte;
        }
        big
    }
}

/// One value of a frame, and where it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// The unit's number on the bus.
    pub unit: u8,
    /// Which of its tables.
    pub table: Table,
    /// The first register or bit, counted from 0 as on the wire.
    pub at: u16,
    /// What stands there.
    pub scalar: Scalar,
    /// In which order.
    pub order: Order,
    /// The value is `raw * scale + offset`.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// It is read in every so many cycles.
    pub every: u32,
}

impl Channel {
    /// Registers or bits that it takes.
    pub(super) fn count(&self) -> u16 {
        if self.table.is_bits() {
            1
        } else {
            // At most four.
            u16::try_from(self.scalar.bytes() / 2).unwrap_or(1)
        }
    }
}

/// A bus of units that are polled in cycles.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How requests and answers are wrapped.
    pub framing: Framing,
    /// From the start of a cycle to the next: one frame each.
    pub cycle: Duration,
    /// Waited for an answer, over the time that request and answer take on the line.
    pub timeout: Duration,
    /// A request that is not answered is sent again so often.
    pub retries: u8,
    /// Registers or bits that nobody asked for, at most, that a request may read over to reach the next one.
    pub gap_max: u16,
    /// Registers in a request at most: 125 by the standard, fewer with many devices.
    pub registers_max: u16,
    /// Bits in a request at most: 2000 by the standard.
    pub bits_max: u16,
    /// After so long a unit that does not answer is asked again; each time twice as long.
    pub backoff_first: Duration,
    /// The longest of these waits.
    pub backoff_max: Duration,
    /// The values of a frame.
    pub channels: Vec<Channel>,
}

/// Registers that an answer can hold: 250 bytes.
pub const REGISTERS_MAX: u16 = 125;
/// Bits that an answer can hold, by the standard.
pub const BITS_MAX: u16 = 2000;

impl Options {
    /// Every mistake in it.
    pub(super) fn mistakes(&self) -> Vec<OptionsError> {
        let backoff = (self.backoff_first, self.backoff_max);
        let mut mistakes: Vec<_> = wait_mistakes(self.cycle, self.timeout, backoff).collect();
        let mut mistake = |part: &str, what: String| {
            mistakes.push(OptionsError {
                part: part.to_owned(),
                what,
            });
        };
        if !(1..=REGISTERS_MAX).contains(&self.registers_max) {
            let what = format!("an answer holds 1 to {REGISTERS_MAX} registers");
            mistake("registers_max", what);
        }
        if !(1..=BITS_MAX).contains(&self.bits_max) {
            mistake("bits_max", format!("an answer holds 1 to {BITS_MAX} bits"));
        }
        if self.channels.is_empty() {
            mistake("cycle", "nothing is read: there is no channel".to_owned());
        }
        for (index, channel) in self.channels.iter().enumerate() {
            for what in self.channel_mistakes(channel) {
                mistake(&format!("field {index}"), what);
            }
        }
        mistakes
    }

    fn channel_mistakes(&self, channel: &Channel) -> Vec<String> {
        let mut mistakes = Vec::new();
        let is_rtu = matches!(self.framing, Framing::Rtu { .. });
        if is_rtu && !(1..=247).contains(&channel.unit) {
            mistakes.push(format!(
                "unit {}: on a serial line units have the numbers 1 to 247",
                channel.unit
            ));
        }
        let is_bit = matches!(channel.scalar, Scalar::Bit(_));
        if channel.table.is_bits() && !is_bit {
            mistakes.push(format!(
                "the table `{}` holds bits: only type \"bit\" is there",
                channel.table.name()
            ));
        }
        match channel.scalar {
            Scalar::Bit(bit) if bit > 15 => {
                mistakes.push(format!("bit {bit}: a register has the bits 0 to 15"));
            }
            Scalar::Bit(bit) if bit > 0 && channel.table.is_bits() => {
                mistakes.push("a coil or discrete input is one bit itself".to_owned());
            }
            _ => {}
        }
        if channel.order.bytes != channel.scalar.bytes() {
            mistakes.push(format!(
                "the order is one of {} bytes, and the value has {}",
                channel.order.bytes,
                channel.scalar.bytes()
            ));
        }
        let last = u32::from(channel.at) + u32::from(channel.count());
        if last > 1 << 16 {
            mistakes.push(format!(
                "it would end behind register 65535: it begins at {} and takes {}",
                channel.at,
                channel.count()
            ));
        }
        if !channel.table.is_bits() && channel.count() > self.registers_max {
            mistakes.push(format!(
                "it takes {} registers, and a request reads {} at most",
                channel.count(),
                self.registers_max
            ));
        }
        if channel.every == 0 {
            mistakes.push("every 0th cycle is none".to_owned());
        }
        mistakes
    }
}
