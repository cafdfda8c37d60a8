//! One device of each kind: three channels of 16 bit.

use kymo_drivers::protocol::packet::{
    self, ByteOrder, Checksum, Counter, Field, Framing, Length, Scalar, checksum,
};
use kymo_drivers::protocol::{Options, Protocol, lines, nmea, ubx};

use crate::common::Row;
use crate::encode::{cobs, crc_ibm_3740, crc_modbus, sentence, slip, sum16, ubx_frame};

pub(crate) type Values = [i16; 3];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `AA 55`, a counter of 16 bit, twelve bytes in all with a CRC.
    Sync,
    /// Byte stuffing; the counter goes to 199.
    Cobs,
    /// `7E`, a length field, a counter of 8 bit, up to two bytes of padding, and a sum.
    Sized,
    /// SLIP: a constant, a counter of 8 bit, nine bytes in all with a CRC.
    Slip,
    /// `1,2,3`
    Separated,
    /// `z=3 x=1 y=2`
    KeyValue,
    /// `P 1/2/3`
    Pattern,
    /// `$PTST,1,2,3*hh`
    Sentence,
    /// `$GPRMC,hhmmss.ss,1,2,3*hh`: each a moment of its own.
    Epoch,
    /// `B5 62`, class 0A, number 01, eight bytes of payload.
    Ubx,
    /// `z,t,x,y` and then `3,-,1,2`: a header with each frame, and another order each time.
    Columns,
    /// `{"a":{"x":1},"v":[2,3]}`
    Json,
    /// `1,0 V;2,0 V;3,0 V`: units, and decimal commas.
    Units,
}

/// The longest payload that [`Kind::Ubx`] believes.
pub(crate) const PAYLOAD_MAX: usize = 32;

/// The longest packet that [`Kind::Sized`] believes.
pub(crate) const SIZED_MAX: usize = 24;
/// The longest line.
pub(crate) const LINE_MAX: usize = 64;

impl Kind {
    pub(crate) const ALL: [Kind; 13] = [
        Self::Sync,
        Self::Cobs,
        Self::Sized,
        Self::Slip,
        Self::Separated,
        Self::KeyValue,
        Self::Pattern,
        Self::Sentence,
        Self::Epoch,
        Self::Ubx,
        Self::Columns,
        Self::Json,
        Self::Units,
    ];
    pub(crate) const PACKETS: [Kind; 4] = [Self::Sync, Self::Cobs, Self::Sized, Self::Slip];

    /// Whether a delimiter stands between packets.
    pub(crate) fn is_stuffed(self) -> bool {
        matches!(self, Self::Cobs | Self::Slip)
    }

    pub(crate) fn is_text(self) -> bool {
        !Self::PACKETS.contains(&self)
    }

    /// How many frames are gone with a damaged one: of an epoch the rest may have come.
    pub(crate) fn gone_with_a_damaged_frame(self) -> Option<u64> {
        (self != Self::Epoch).then_some(1)
    }

    pub(crate) fn options(self) -> Options {
        match self {
            Self::Sync => Options::Packet(packet::Options {
                framing: Framing::Sync {
                    bytes: vec![0xAA, 0x55],
                    length: Length::Fixed(12),
                },
                checksum: sum("CRC-16/IBM-3740", 2, ByteOrder::Big),
                constants: Vec::new(),
                frames: 1,
                timestamp: None,
                counter: counter(2, Scalar::U16, None),
                fields: fields(4, ByteOrder::Little),
            }),
            Self::Cobs => Options::Packet(packet::Options {
                framing: Framing::Cobs {
                    length: Length::Fixed(9),
                },
                checksum: sum("CRC-16/MODBUS", 0, ByteOrder::Little),
                constants: Vec::new(),
                frames: 1,
                timestamp: None,
                counter: counter(0, Scalar::U8, Some(200)),
                fields: fields(1, ByteOrder::Big),
            }),
            Self::Sized => Options::Packet(packet::Options {
                framing: Framing::Sync {
                    bytes: vec![0x7E],
                    length: Length::Field {
                        at: 1,
                        scalar: Scalar::U8,
                        order: ByteOrder::Big,
                        add: 4,
                        max: SIZED_MAX,
                    },
                },
                checksum: sum("sum16", 1, ByteOrder::Big),
                constants: Vec::new(),
                frames: 1,
                timestamp: None,
                counter: counter(2, Scalar::U8, None),
                fields: fields(3, ByteOrder::Big),
            }),
            Self::Slip => Options::Packet(packet::Options {
                framing: Framing::Slip {
                    length: Length::Fixed(10),
                },
                checksum: sum("CRC-16/MODBUS", 0, ByteOrder::Big),
                constants: vec![packet::Constant {
                    at: 1,
                    bytes: vec![0xC0],
                }],
                frames: 1,
                timestamp: None,
                counter: counter(0, Scalar::U8, None),
                fields: fields(2, ByteOrder::Little),
            }),
            Self::Separated => text(lines::Form::Separated {
                separator: ",".to_owned(),
            }),
            Self::KeyValue => text(lines::Form::KeyValue {
                separator: " ".to_owned(),
                assign: '=',
            }),
            Self::Pattern => text(lines::Form::Pattern {
                pattern: r"^P (?<x>\S+)/(?<y>\S+)/(?<z>\S+)$".to_owned(),
            }),
            Self::Sentence => Options::Nmea(nmea::Options {
                fields: [1, 2, 3].map(|index| numbered("PTST", index)).to_vec(),
                rules: rules(nmea::FrameBy::Sentence),
            }),
            Self::Epoch => Options::Nmea(nmea::Options {
                fields: [2, 3, 4].map(|index| numbered("GPRMC", index)).to_vec(),
                rules: rules(nmea::Rules::default().frame),
            }),
            Self::Ubx => Options::Ubx(ubx::Options {
                fields: [0, 2, 4]
                    .map(|at| ubx::Field::Message {
                        message: "0A 01".to_owned(),
                        value: ubx::Value::At {
                            at,
                            number: ubx::Number::I2,
                            bits: None,
                            scale: 1.0,
                        },
                    })
                    .to_vec(),
                rules: rules(nmea::FrameBy::Sentence),
                payload_bytes_max: PAYLOAD_MAX,
            }),
            Self::Columns => text(lines::Form::Columns {
                separator: ",".to_owned(),
            }),
            Self::Json => {
                let mut options = text(lines::Form::Json);
                if let Options::Lines(lines) = &mut options {
                    lines.keys = ["a.x", "v[0]", "v[1]"].map(str::to_owned).to_vec();
                }
                options
            }
            Self::Units => {
                let mut options = text(lines::Form::Separated {
                    separator: ";".to_owned(),
                });
                if let Options::Lines(lines) = &mut options {
                    lines.decimal_comma = true;
                    let volts = lines::Suffix {
                        unit: "V".to_owned(),
                        prefixes: false,
                    };
                    lines.suffixes = vec![Some(volts); 3];
                }
                options
            }
        }
    }

    pub(crate) fn build(self) -> Box<dyn Protocol> {
        self.options().build().unwrap()
    }

    /// The counter counts from 0 to below this.
    pub(crate) fn counter_range(self) -> u64 {
        match self {
            Self::Sync => 65_536,
            Self::Cobs => 200,
            Self::Sized | Self::Slip => 256,
            _ => panic!("lines have no counter"),
        }
    }

    /// The frame that is number `count` of its device.
    pub(crate) fn frame(self, count: u64, values: Values) -> Vec<u8> {
        self.encode(count, values, 0)
    }

    /// A frame that came as it was sent but for what a checksum, or the digits, are there to show.
    pub(crate) fn damaged(self, count: u64, values: Values) -> Vec<u8> {
        self.encode(count, values, 0x0102)
    }

    fn encode(self, count: u64, [x, y, z]: Values, damage: u16) -> Vec<u8> {
        let mark = if damage == 0 { "" } else { "x" };
        match self {
            Self::Sync => {
                let count = u16::try_from(count % 65_536).unwrap();
                let mut packet = vec![0xAA, 0x55];
                packet.extend(count.to_le_bytes());
                packet.extend([x, y, z].iter().flat_map(|value| value.to_le_bytes()));
                let crc = crc_ibm_3740(&packet[2..]) ^ damage;
                packet.extend(crc.to_be_bytes());
                packet
            }
            Self::Cobs => {
                let mut packet = vec![u8::try_from(count % 200).unwrap()];
                packet.extend([x, y, z].iter().flat_map(|value| value.to_be_bytes()));
                let crc = crc_modbus(&packet) ^ damage;
                packet.extend(crc.to_le_bytes());
                cobs(&packet)
            }
            Self::Sized => {
                let padding = u8::try_from(count % 3).unwrap();
                let mut packet = vec![0x7E, 7 + padding, u8::try_from(count % 256).unwrap()];
                packet.extend([x, y, z].iter().flat_map(|value| value.to_be_bytes()));
                packet.extend((0..padding).map(|_| 0xEE));
                let sum = sum16(&packet[1..]) ^ damage;
                packet.extend(sum.to_be_bytes());
                packet
            }
            Self::Slip => {
                let mut packet = vec![u8::try_from(count % 256).unwrap(), 0xC0];
                packet.extend([x, y, z].iter().flat_map(|value| value.to_le_bytes()));
                let crc = crc_modbus(&packet) ^ damage;
                packet.extend(crc.to_be_bytes());
                slip(&packet)
            }
            Self::Separated => format!("{x}, {y}{mark},{z}\r\n").into_bytes(),
            Self::KeyValue => format!("z={z}  x={x} t=7 y={y}{mark}\n").into_bytes(),
            Self::Pattern => format!("P {x}/{y}{mark}/{z}\n").into_bytes(),
            Self::Sentence => sentence(&format!("$PTST,{x},{y},{z}"), damage != 0),
            Self::Epoch => {
                let hundredths = count % 8_640_000;
                let (minutes, rest) = (hundredths / 6000, hundredths % 6000);
                let (hours, minutes) = (minutes / 60, minutes % 60);
                let (seconds, part) = (rest / 100, rest % 100);
                let time = format!("{hours:02}{minutes:02}{seconds:02}.{part:02}");
                sentence(&format!("$GPRMC,{time},{x},{y},{z}"), damage != 0)
            }
            Self::Ubx => {
                let mut payload: Vec<u8> = [x, y, z].iter().flat_map(|v| v.to_le_bytes()).collect();
                payload.extend(u16::try_from(count % 65_536).unwrap().to_le_bytes());
                let mut frame = ubx_frame(0x0A, 0x01, &payload);
                let last = frame.len() - 1;
                frame[last] ^= damage.to_le_bytes()[0];
                frame
            }
            Self::Columns if count.is_multiple_of(2) => {
                format!("z,t,x,y\n{z},-,{x},{y}{mark}\n").into_bytes()
            }
            Self::Columns => format!("# y, \"x\",z\r\n{y}{mark},{x},{z}\r\n").into_bytes(),
            Self::Json => format!("{{\"a\":{{\"x\":{x}}},\"s\":\"}}\",\"v\":[{y}{mark}, {z}]}}\n")
                .into_bytes(),
            Self::Units => format!("{x},0 V;{y},00{mark}V; {z} V\n").into_bytes(),
        }
    }
}

/// Values that differ from frame to frame.
pub(crate) fn values(count: u64) -> Values {
    let low = i16::try_from(count % 30_000).unwrap();
    [low, -low, low / 3 - 5_000]
}

pub(crate) fn row([x, y, z]: Values) -> Row {
    Row(vec![x.into(), y.into(), z.into()])
}

pub(crate) fn text(form: lines::Form) -> Options {
    Options::Lines(lines::Options {
        form,
        keys: ["x", "y", "z"].map(str::to_owned).to_vec(),
        comment: Some("#".to_owned()),
        suffixes: Vec::new(),
        decimal_comma: false,
        first_line_whole: true,
        line_bytes_max: LINE_MAX,
    })
}

fn numbered(sentence: &str, index: usize) -> nmea::Field {
    nmea::Field {
        sentence: sentence.to_owned(),
        value: nmea::Value::At {
            index,
            kind: nmea::FieldKind::Number,
            part: None,
        },
    }
}

fn rules(frame: nmea::FrameBy) -> nmea::Rules {
    nmea::Rules {
        frame,
        sentence_bytes_max: LINE_MAX,
        ..nmea::Rules::default()
    }
}

/// A checksum of two bytes at the packet's end, over all from `from` up to it.
pub(crate) fn sum(name: &str, from: i64, order: ByteOrder) -> Option<Checksum> {
    Some(Checksum {
        kind: checksum::by_name(name).unwrap(),
        from,
        to: -2,
        at: -2,
        order,
    })
}

fn counter(at: usize, scalar: Scalar, modulus: Option<u64>) -> Option<Counter> {
    Some(Counter {
        at,
        scalar,
        order: ByteOrder::Little,
        modulus,
    })
}

/// Three neighbours of 16 bit.
pub(crate) fn fields(at: usize, order: ByteOrder) -> Vec<Field> {
    (0..3)
        .map(|index| Field::new(at + 2 * index, Scalar::I16, order))
        .collect()
}
