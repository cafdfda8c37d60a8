//! What can be declared of a binary packet.

/// Byte order of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// A number's type on the wire.
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
    U40,
    I40,
    U48,
    I48,
    U56,
    I56,
    U64,
    I64,
    F32,
    F64,
}

impl Scalar {
    /// All types with their names in the configuration.
    pub const NAMES: [(&'static str, Scalar); 18] = [
        ("u8", Self::U8),
        ("i8", Self::I8),
        ("u16", Self::U16),
        ("i16", Self::I16),
        ("u24", Self::U24),
        ("i24", Self::I24),
        ("u32", Self::U32),
        ("i32", Self::I32),
        ("u40", Self::U40),
        ("i40", Self::I40),
        ("u48", Self::U48),
        ("i48", Self::I48),
        ("u56", Self::U56),
        ("i56", Self::I56),
        ("u64", Self::U64),
        ("i64", Self::I64),
        ("f32", Self::F32),
        ("f64", Self::F64),
    ];

    /// Bytes on the wire.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U24 | Self::I24 => 3,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U40 | Self::I40 => 5,
            Self::U48 | Self::I48 => 6,
            Self::U56 | Self::I56 => 7,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether it is an integer.
    #[must_use]
    pub fn is_integer(self) -> bool {
        !matches!(self, Self::F32 | Self::F64)
    }

    /// Whether it is an integer that is never negative.
    #[must_use]
    pub fn is_unsigned(self) -> bool {
        matches!(
            self,
            Self::U8
                | Self::U16
                | Self::U24
                | Self::U32
                | Self::U40
                | Self::U48
                | Self::U56
                | Self::U64
        )
    }
}

/// Some bits of an integer. In a signed one the highest of them is the sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    /// The lowest of them; 0 is the integer's least significant.
    pub first: u8,
    /// How many.
    pub count: u8,
}

/// One channel's place in the packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Byte offset from the start of the packet (sync bytes included; after COBS or SLIP decoding).
    pub at: usize,
    /// Its type.
    pub scalar: Scalar,
    /// Its byte order.
    pub order: ByteOrder,
    /// The bits of it that are the number; `None`: all.
    pub bits: Option<Bits>,
    /// In a packet of several frames, bytes from the value of one frame to that of the next; 0: all frames share one.
    pub step: usize,
    /// The value is `raw * scale + offset`.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
}

impl Field {
    /// A whole number, once in a packet, and not scaled.
    #[must_use]
    pub fn new(at: usize, scalar: Scalar, order: ByteOrder) -> Self {
        Self {
            at,
            scalar,
            order,
            bits: None,
            step: 0,
            scale: 1.0,
            offset: 0.0,
        }
    }
}

/// Bytes that are the same in every packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    /// Byte offset from the start of the packet.
    pub at: usize,
    /// What stands there: at least one byte.
    pub bytes: Vec<u8>,
}

/// The device's own time, in its own ticks. What a tick is, and where they wrap, is for whoever dates the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Byte offset from the start of the packet.
    pub at: usize,
    /// Its type: an unsigned integer.
    pub scalar: Scalar,
    /// Its byte order.
    pub order: ByteOrder,
}

/// A counter that rises by one with every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Byte offset from the start of the packet.
    pub at: usize,
    /// Its type: an unsigned integer.
    pub scalar: Scalar,
    /// Its byte order.
    pub order: ByteOrder,
    /// It counts `0 .. modulus`; `None`: the whole range of its type.
    pub modulus: Option<u64>,
}

/// What protects the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumKind {
    /// The low 8 bits of the sum of all bytes.
    Sum8,
    /// The low 16 bits of the sum of all bytes.
    Sum16,
    /// The low 32 bits of the sum of all bytes.
    Sum32,
    /// What makes the sum of all bytes, itself included, 0 in its low 8 bits.
    Lrc8,
    /// All bits of the low 8 bits of the sum inverted.
    Inverted8,
    /// All bytes exclusive-ored.
    Xor8,
    /// Fletcher's checksum, RFC 1146, modulus 255, two bytes.
    Fletcher16,
    /// The same with modulus 256, as RFC 1145 and u-blox have it: the first sum is the lower byte.
    Fletcher16Modulus256,
    /// Fletcher's checksum of 16-bit words, least significant byte first, modulus 65535; a last odd byte counts as
    /// a word with a zero.
    Fletcher32,
    /// Adler-32, RFC 1950.
    Adler32,
    /// A CRC of the catalogue of parametrised CRC algorithms, by its place in [`super::checksum::CRCS`].
    Crc(usize),
}

/// A checksum and what it covers. Offsets below zero count from the packet's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// Which.
    pub kind: ChecksumKind,
    /// First byte covered.
    pub from: i64,
    /// First byte no longer covered; 0 means the packet's end.
    pub to: i64,
    /// Where it stands.
    pub at: i64,
    /// Its byte order.
    pub order: ByteOrder,
}

/// How long a packet is, in bytes, sync bytes and checksum included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Always so long.
    Fixed(usize),
    /// A field in the packet says: the length is `field + add`.
    Field {
        /// Byte offset of the field from the start of the packet.
        at: usize,
        /// Its type: an unsigned integer.
        scalar: Scalar,
        /// Its byte order.
        order: ByteOrder,
        /// What the field leaves out: header, checksum, …
        add: i64,
        /// The longest packet believed; a longer claim is rubbish.
        max: usize,
    },
}

/// How packets are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// Each packet starts with these bytes.
    Sync {
        /// At least one byte.
        bytes: Vec<u8>,
        /// How long it is.
        length: Length,
    },
    /// The Serial Line Internet Protocol's framing, RFC 1055: an END byte (C0) behind each packet.
    Slip {
        /// How long it is once decoded.
        length: Length,
    },
    /// Consistent overhead byte stuffing (Cheshire and Baker, 1999), packets parted by a zero byte.
    Cobs {
        /// How long it is once decoded.
        length: Length,
    },
}

/// A binary protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How packets are told apart.
    pub framing: Framing,
    /// What protects them.
    pub checksum: Option<Checksum>,
    /// Bytes that must stand in each; without them it is none.
    pub constants: Vec<Constant>,
    /// Frames in a packet: at least 1.
    pub frames: usize,
    /// When it was made, by the device's own clock.
    pub timestamp: Option<Timestamp>,
    /// What reveals lost packets.
    pub counter: Option<Counter>,
    /// The channels, in order.
    pub fields: Vec<Field>,
}
