//! u-blox receivers: binary messages, alone and mixed with sentences.

use kymo_drivers::protocol::nmea::{FrameBy, Rules};
use kymo_drivers::protocol::ubx::{Field, Number, Options, PAYLOAD_BYTES_MAX_DEFAULT, Value};
use kymo_drivers::protocol::{self, Protocol};

use crate::common::{Decoded, whole};
use crate::encode::{sentence, ubx_frame};
use crate::receivers::{assert_rows, by_epoch, log, quantity};

const NAN: f64 = f64::NAN;

/// `NAV-PVT.latitude`, `RMC.latitude`.
pub(crate) fn field(name: &str) -> Field {
    match name.split_once('.').unwrap() {
        (message, value) if message.contains('-') => Field::Message {
            message: message.to_owned(),
            value: Value::Quantity(value.to_owned()),
        },
        _ => Field::Sentence(quantity(name)),
    }
}

fn at(message: &str, at: usize, number: Number, bits: Option<(u32, u32)>, scale: f64) -> Field {
    Field::Message {
        message: message.to_owned(),
        value: Value::At {
            at,
            number,
            bits,
            scale,
        },
    }
}

fn options(fields: Vec<Field>, rules: Rules) -> protocol::Options {
    protocol::Options::Ubx(Options {
        fields,
        rules,
        payload_bytes_max: PAYLOAD_BYTES_MAX_DEFAULT,
    })
}

pub(crate) fn build(fields: Vec<Field>, rules: Rules) -> Box<dyn Protocol> {
    let built = options(fields, rules).build();
    built.unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn decode(names: &[&str], rules: Rules, bytes: &[u8]) -> Decoded {
    whole(
        build(names.iter().map(|name| field(name)).collect(), rules),
        bytes,
    )
}

fn by_message() -> Rules {
    Rules {
        frame: FrameBy::Sentence,
        ..Rules::default()
    }
}

/// What a receiver tells in NAV-PVT, written field by field as the manual lists them.
#[derive(Clone, Copy)]
pub(crate) struct Pvt {
    pub(crate) week_ms: u32,
    pub(crate) date: (u16, u8, u8),
    pub(crate) time: (u8, u8, u8),
    pub(crate) nano: i32,
    pub(crate) valid: u8,
    pub(crate) latitude_e7: i32,
}

impl Pvt {
    pub(crate) fn frame(self) -> Vec<u8> {
        ubx_frame(1, 7, &self.payload())
    }

    fn payload(self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.week_ms.to_le_bytes());
        out.extend(self.date.0.to_le_bytes());
        out.extend([self.date.1, self.date.2]);
        out.extend([self.time.0, self.time.1, self.time.2]);
        out.push(self.valid);
        out.extend(25_u32.to_le_bytes()); // tAcc, ns
        out.extend(self.nano.to_le_bytes());
        out.extend([3, 0b1000_0001, 0, 11]); // fixType, flags, flags2, numSV
        out.extend((-1_223_344_556_i32).to_le_bytes()); // lon
        out.extend(self.latitude_e7.to_le_bytes());
        out.extend(123_456_i32.to_le_bytes()); // height, mm
        out.extend((-4_321_i32).to_le_bytes()); // hMSL, mm
        out.extend(900_u32.to_le_bytes()); // hAcc, mm
        out.extend(1_500_u32.to_le_bytes()); // vAcc, mm
        for velocity in [-1_000_i32, 250, 3] {
            out.extend(velocity.to_le_bytes());
        }
        out.extend(1_031_i32.to_le_bytes()); // gSpeed, mm/s
        out.extend(16_596_376_i32.to_le_bytes()); // headMot, 1e-5 deg
        out.extend(320_u32.to_le_bytes()); // sAcc, mm/s
        out.extend(1_234_567_u32.to_le_bytes()); // headAcc, 1e-5 deg
        out.extend(135_u16.to_le_bytes()); // pDOP
        out.extend([0; 6]); // flags3, reserved
        out.extend(9_000_000_i32.to_le_bytes()); // headVeh
        out.extend((-250_i16).to_le_bytes()); // magDec, 1e-2 deg
        out.extend(100_u16.to_le_bytes()); // magAcc
        assert_eq!(out.len(), 92);
        out
    }
}

pub(crate) const FIX: Pvt = Pvt {
    week_ms: 201_234_000,
    date: (2026, 11, 24),
    time: (7, 53, 36),
    nano: -123_456,
    valid: 0b0111,
    latitude_e7: 473_977_421,
};

fn timeutc(week_ms: u32, second: u8, valid: u8) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(week_ms.to_le_bytes());
    out.extend(30_u32.to_le_bytes());
    out.extend((-250_000_000_i32).to_le_bytes());
    out.extend(2026_u16.to_le_bytes());
    out.extend([11, 24, 7, 53, second, valid]);
    ubx_frame(1, 0x21, &out)
}

#[test]
fn nav_pvt_says_what_the_manual_says() {
    let names = [
        "NAV-PVT.utc",
        "NAV-PVT.time",
        "NAV-PVT.date",
        "NAV-PVT.time_accuracy",
        "NAV-PVT.fix",
        "NAV-PVT.valid",
        "NAV-PVT.carrier",
        "NAV-PVT.used",
        "NAV-PVT.longitude",
        "NAV-PVT.latitude",
        "NAV-PVT.height",
        "NAV-PVT.altitude",
        "NAV-PVT.horizontal_accuracy",
        "NAV-PVT.vertical_accuracy",
        "NAV-PVT.velocity_north",
        "NAV-PVT.velocity_east",
        "NAV-PVT.velocity_down",
        "NAV-PVT.speed",
        "NAV-PVT.course",
        "NAV-PVT.speed_accuracy",
        "NAV-PVT.course_accuracy",
        "NAV-PVT.pdop",
        "NAV-PVT.heading",
        "NAV-PVT.variation",
    ];
    let time = 7.0 * 3600.0 + 53.0 * 60.0 + 36.0 + -123_456.0 * 1e-9;
    let expected = [
        20_781.0 * 86_400.0 + time,
        time,
        20_781.0,
        25.0 * 1e-9,
        3.0,
        1.0,
        2.0,
        11.0,
        -1_223_344_556.0 * 1e-7,
        473_977_421.0 * 1e-7,
        123_456.0 * 1e-3,
        -4_321.0 * 1e-3,
        900.0 * 1e-3,
        1_500.0 * 1e-3,
        -1_000.0 * 1e-3,
        250.0 * 1e-3,
        3.0 * 1e-3,
        1_031.0 * 1e-3,
        16_596_376.0 * 1e-5,
        320.0 * 1e-3,
        1_234_567.0 * 1e-5,
        135.0 * 0.01,
        9_000_000.0 * 1e-5,
        -250.0 * 0.01,
    ];
    let decoded = decode(&names, by_epoch(None, None), &FIX.frame());
    assert_rows(&decoded, &[&expected]);
    assert_eq!(decoded.tally, Default::default());
    // An older receiver's is eight bytes shorter.
    let short = ubx_frame(1, 7, &FIX.payload()[..84]);
    let decoded = decode(&names, by_epoch(None, None), &short);
    let mut shorter = expected;
    shorter[22..].fill(NAN);
    assert_rows(&decoded, &[&shorter]);
}

#[test]
fn what_the_receiver_does_not_hold_for_valid_is_not_a_number() {
    let names = [
        "NAV-PVT.utc",
        "NAV-PVT.time",
        "NAV-PVT.date",
        "NAV-PVT.used",
    ];
    let time = 28_416.0 + -123_456.0 * 1e-9;
    for (valid, expected) in [
        (0b0000, [NAN, NAN, NAN, 11.0]),
        (0b0001, [NAN, NAN, 20_781.0, 11.0]),
        (0b0010, [NAN, time, NAN, 11.0]),
    ] {
        let fix = Pvt { valid, ..FIX };
        let decoded = decode(&names, by_epoch(None, None), &fix.frame());
        assert_rows(&decoded, &[&expected]);
    }
    // A time said to be valid that none can be.
    for fix in [
        Pvt {
            time: (24, 0, 0),
            ..FIX
        },
        Pvt {
            date: (2026, 2, 29),
            ..FIX
        },
        Pvt {
            nano: i32::MIN,
            ..FIX
        },
    ] {
        let decoded = decode(&names, by_epoch(None, None), &fix.frame());
        assert_eq!((decoded.rows.len(), decoded.tally.corrupt_frames), (0, 1));
    }
}

#[test]
fn nav_timeutc_and_the_other_messages_say_what_the_manual_says() {
    let names = [
        "NAV-TIMEUTC.utc",
        "NAV-TIMEUTC.valid",
        "NAV-TIMEUTC.standard",
        "NAV-DOP.hdop",
        "NAV-CLOCK.bias",
        "NAV-STATUS.fix",
    ];
    let mut dop = 5_000_u32.to_le_bytes().to_vec();
    for value in 101_u16..=107 {
        dop.extend(value.to_le_bytes());
    }
    let mut clock = 5_000_u32.to_le_bytes().to_vec();
    for value in [-123_i32, 45, 6, 7] {
        clock.extend(value.to_le_bytes());
    }
    let mut status = 5_000_u32.to_le_bytes().to_vec();
    status.extend([3, 0x0D, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    let bytes = [
        timeutc(5_000, 59, 0b0011_0111),
        ubx_frame(1, 0x04, &dop),
        ubx_frame(1, 0x22, &clock),
        ubx_frame(1, 0x03, &status),
    ];
    let time = 28_380.0 + 59.0 + -250_000_000.0 * 1e-9;
    let decoded = decode(&names, by_epoch(None, None), &bytes.concat());
    let utc = 20_781.0 * 86_400.0 + time;
    assert_rows(
        &decoded,
        &[&[utc, 1.0, 3.0, 105.0 * 0.01, -123.0 * 1e-9, 3.0]],
    );
    // Leap seconds unknown: no UTC.
    let decoded = decode(
        &names[..2],
        by_epoch(None, None),
        &timeutc(5_000, 59, 0b0011),
    );
    assert_rows(&decoded, &[&[NAN, 0.0]]);
}

#[test]
fn any_message_is_declared_by_its_numbers_and_offsets() {
    let fields = vec![
        at("0A 09", 0, Number::U2, None, 0.1),
        at("0x0a 0x09", 2, Number::I1, None, 1.0),
        at("NAV-PVT", 21, Number::U1, Some((6, 2)), 1.0),
        at("0A 09", 3, Number::R4, None, 2.0),
    ];
    let payload = [&[0x10, 0x27, 0xFF], 1.5_f32.to_le_bytes().as_slice()].concat();
    let bytes = [
        ubx_frame(0x0A, 9, &payload),
        FIX.frame(),
        ubx_frame(0x0A, 9, &payload[..3]),
    ];
    let decoded = whole(build(fields, by_message()), &bytes.concat());
    assert_rows(
        &decoded,
        &[
            &[10_000.0 * 0.1, -1.0, NAN, 3.0],
            &[NAN, NAN, 2.0, NAN],
            &[10_000.0 * 0.1, -1.0, NAN, NAN],
        ],
    );
}

/// One epoch in both protocols; the fraction of the binary time is what a sentence rounds away.
fn epoch(second: u8, nano: i32, order: &str) -> Vec<u8> {
    let fix = Pvt {
        week_ms: 201_234_000 + 1000 * u32::from(second),
        time: (7, 53, second),
        nano,
        ..FIX
    };
    let rmc = format!("$GNRMC,0753{second:02}.00,A,,,,,{second}.5,,241126,,,A,V");
    let end = fix.week_ms.to_le_bytes();
    order
        .chars()
        .flat_map(|which| match which {
            'P' => fix.frame(),
            'R' => sentence(&rmc, false),
            'V' => sentence("$GNVTG,,T,,M,,N,,K,A", false),
            'E' => ubx_frame(1, 0x61, &end),
            _ => ubx_frame(1, 0x35, &[&end[..], &[1, second, 0, 0]].concat()),
        })
        .collect()
}

#[test]
fn messages_and_sentences_of_one_moment_are_one_frame() {
    let names = ["NAV-PVT.used", "RMC.speed_kn", "NAV-SAT.in_view"];
    for order in ["PRVS", "RVPS", "SPR", "SRP", "RSP", "PSR"] {
        for nano in [-400_000, 0, 400_000, -1] {
            let mut bytes = Vec::new();
            for second in [10, 11, 12] {
                bytes.extend(epoch(second, nano, order));
            }
            let decoded = decode(&names, by_epoch(None, None), &bytes);
            let row = |second: f64| [11.0, second + 0.5, second];
            assert_rows(&decoded, &[&row(10.0), &row(11.0), &row(12.0)]);
            assert_eq!(decoded.tally, Default::default(), "{order}");
        }
    }
    // Of one epoch the sentence is missing, of the next the message, and the last one ends.
    let bytes = [
        epoch(10, 0, "PRSE"),
        epoch(11, 0, "PSE"),
        epoch(12, 0, "RE"),
        epoch(13, 0, "PRSE"),
    ];
    let decoded = decode(&names, by_epoch(None, Some("NAV-EOE")), &bytes.concat());
    assert_rows(
        &decoded,
        &[
            &[11.0, 10.5, 10.0],
            &[11.0, NAN, 11.0],
            &[NAN, 12.5, NAN],
            &[11.0, 13.5, 13.0],
        ],
    );
    // A message that begins each epoch by declaration.
    let bytes = [epoch(10, 0, "S"), epoch(10, 0, "S"), epoch(10, 0, "S")];
    let decoded = decode(
        &["NAV-SAT.in_view"],
        by_epoch(Some("NAV-SAT"), None),
        &bytes.concat(),
    );
    assert_eq!(decoded.rows.len(), 3);
}

#[test]
fn sentences_within_what_falsely_claimed_to_be_a_message_are_found() {
    let false_start = [0xB5, 0x62, 0x01, 0x07, 0x60, 0x00];
    let bytes = [
        &false_start[..],
        &log("$GNRMC,120000.00,A,,,,,1.5,,241126,,,A,V"),
        &FIX.frame(),
        &[0; 200],
    ];
    let decoded = decode(&["RMC.speed_kn"], by_epoch(None, None), &bytes.concat());
    assert_rows(&decoded, &[&[1.5]]);
    assert_eq!(decoded.tally.corrupt_frames, 1);
    assert_eq!(decoded.tally.skipped_bytes, 200);
    // A `$` and an `!` within a message begin nothing.
    let text = ubx_frame(4, 2, b"$GNRMC,120000,A,,,,,9.9,,241126*00 !");
    let decoded = decode(&["RMC.speed_kn"], by_epoch(None, None), &text);
    assert_eq!((decoded.rows.len(), decoded.tally), (0, Default::default()));
}

#[test]
fn what_cannot_work_is_told_whole() {
    let fields = vec![
        field("NAV-PVT.lattitude"),
        field("NAV-PVTX.latitude"),
        field("RMC.lattitude"),
        at("0A 09", 70_000, Number::U1, None, 1.0),
        at("0A 09", 0, Number::U1, Some((7, 2)), 1.0),
        at("0A 09", 0, Number::R4, Some((0, 2)), 1.0),
        at("NAV", 0, Number::R4, None, 1.0),
        field("NAV-EOE.end"),
    ];
    let mistakes = options(fields, by_epoch(Some("NAV-FOO"), Some("GG")));
    let mistakes = mistakes.build().err().unwrap();
    let parts: Vec<&str> = mistakes.iter().map(|m| m.part.as_str()).collect();
    for channel in 0..8 {
        let part = format!("field {channel}");
        assert!(parts.contains(&part.as_str()), "{part} is not in {parts:?}");
    }
    assert!(parts.contains(&"first") && parts.contains(&"last"));
}
