//! What is declared wrongly is told, and never panics.

use proptest::prelude::*;

use kymo_drivers::frames::Frames;
use kymo_drivers::protocol::packet::{
    self, Bits, ByteOrder, Checksum, ChecksumKind, Constant, Counter, Field, Framing, Length,
    Scalar, Timestamp,
};
use kymo_drivers::protocol::{Options, lines};

use crate::kinds::Kind;

/// Building fails, says something, and names this part.
fn assert_wrong(options: &Options, part: &str) {
    let Err(mistakes) = options.build() else {
        panic!("taken although the {part} is wrong: {options:?}");
    };
    let parts: Vec<&str> = mistakes.iter().map(|mistake| &*mistake.part).collect();
    assert!(
        parts.contains(&part),
        "{parts:?} instead of {part}: {options:?}"
    );
    assert!(
        mistakes
            .iter()
            .all(|mistake| !mistake.to_string().is_empty())
    );
}

fn lines(kind: Kind, change: impl FnOnce(&mut lines::Options)) -> Options {
    let mut options = kind.options();
    let Options::Lines(inner) = &mut options else {
        panic!("{kind:?} is no text");
    };
    change(inner);
    options
}

fn packet(kind: Kind, change: impl FnOnce(&mut packet::Options)) -> Options {
    let mut options = kind.options();
    let Options::Packet(inner) = &mut options else {
        panic!("{kind:?} is no packet");
    };
    change(inner);
    options
}

#[test]
fn lines_declared_wrongly_are_told() {
    use Kind::{KeyValue, Pattern, Separated};
    for kind in [Separated, KeyValue, Pattern] {
        assert_wrong(&lines(kind, |o| o.keys.clear()), "field");
        for mark in ["", " #", "a\nb"] {
            assert_wrong(
                &lines(kind, |o| o.comment = Some(mark.to_owned())),
                "comment",
            );
        }
        for limit in [0, (1 << 20) + 1, usize::MAX] {
            assert_wrong(&lines(kind, |o| o.line_bytes_max = limit), "line_max");
        }
    }
    for separator in ["", "\n", ",\n", "0", "a1"] {
        let separator = || separator.to_owned();
        let form = lines::Form::Separated {
            separator: separator(),
        };
        assert_wrong(&lines(Separated, |o| o.form = form), "separator");
        let form = lines::Form::KeyValue {
            separator: separator(),
            assign: '=',
        };
        assert_wrong(&lines(KeyValue, |o| o.form = form), "separator");
    }
    for (separator, assign) in [("=", '='), (" ", ' '), (" ", '\t'), (",", '\n')] {
        let form = lines::Form::KeyValue {
            separator: separator.to_owned(),
            assign,
        };
        assert_wrong(&lines(KeyValue, |o| o.form = form), "assign");
    }
    for key in ["", "x", " y", "a b", "a\tb", "a=b", "a\nb"] {
        assert_wrong(&lines(KeyValue, |o| o.keys[1] = key.to_owned()), "field 1");
    }
    assert_wrong(&lines(Pattern, |o| o.keys[2] = "x".to_owned()), "field 2");
    assert_wrong(&lines(Pattern, |o| o.keys[2] = "w".to_owned()), "pattern");
    for pattern in [
        "",
        "(",
        r"(?<x>\d)(?<y>\d)",
        r"(?<x>.)(?<x>.)(?<y>.)(?<z>.)",
        r"(\d{9999}){9999}",
    ] {
        let form = lines::Form::Pattern {
            pattern: pattern.to_owned(),
        };
        assert_wrong(&lines(Pattern, |o| o.form = form), "pattern");
    }
    // Places need no names.
    let unnamed = lines(Separated, |o| o.keys = vec![String::new(); 3]);
    assert!(unnamed.build().is_ok());
}

#[test]
fn frames_declared_wrongly_are_told() {
    let fixed = |length| Framing::Sync {
        bytes: vec![0xAA, 0x55],
        length: Length::Fixed(length),
    };
    for length in [0, 1, 2, (16 << 10) + 1, usize::MAX] {
        assert_wrong(&packet(Kind::Sync, |o| o.framing = fixed(length)), "length");
        if length != 1 && length != 2 {
            let framing = Framing::Cobs {
                length: Length::Fixed(length),
            };
            assert_wrong(&packet(Kind::Cobs, |o| o.framing = framing), "length");
        }
    }
    let no_sync = Framing::Sync {
        bytes: vec![],
        length: Length::Fixed(12),
    };
    assert_wrong(&packet(Kind::Sync, |o| o.framing = no_sync), "sync");

    let sized = |at, scalar, add, max| {
        packet(Kind::Sized, |o| {
            o.framing = Framing::Sync {
                bytes: vec![0x7E],
                length: Length::Field {
                    at,
                    scalar,
                    order: ByteOrder::Big,
                    add,
                    max,
                },
            };
        })
    };
    assert!(sized(1, Scalar::U8, 4, 24).build().is_ok());
    for scalar in [Scalar::I8, Scalar::I64, Scalar::F32, Scalar::F64] {
        assert_wrong(&sized(1, scalar, 4, 24), "length");
    }
    assert_wrong(&sized(24, Scalar::U8, 4, 24), "length");
    assert_wrong(&sized(usize::MAX, Scalar::U64, 4, 24), "length");
    assert_wrong(&sized(1, Scalar::U8, 4, 0), "length");
    assert_wrong(&sized(1, Scalar::U8, 4, usize::MAX), "length");
    // No claim that such a field can make is to be believed.
    assert_wrong(&sized(1, Scalar::U8, 25, 24), "length");
    assert_wrong(&sized(1, Scalar::U8, -247, 24), "length");
    assert_wrong(&sized(1, Scalar::U64, i64::MAX, 24), "length");
    assert!(sized(1, Scalar::U64, i64::MIN, 24).build().is_ok());
}

#[test]
fn what_stands_in_a_packet_declared_wrongly_is_told() {
    for kind in Kind::PACKETS {
        assert_wrong(&packet(kind, |o| o.fields.clear()), "field");
        for at in [24, 1 << 20, usize::MAX] {
            assert_wrong(&packet(kind, |o| o.fields[2].at = at), "field 2");
            let counter = |o: &mut packet::Options| o.counter.as_mut().unwrap().at = at;
            assert_wrong(&packet(kind, counter), "counter");
        }
        for wrong in [0.0, f64::NAN, f64::INFINITY] {
            assert_wrong(&packet(kind, |o| o.fields[1].scale = wrong), "field 1");
        }
        assert_wrong(&packet(kind, |o| o.fields[0].offset = f64::NAN), "field 0");
        for modulus in [0, 1, 65_537] {
            let counter = |o: &mut packet::Options| {
                o.counter.as_mut().unwrap().modulus = Some(modulus);
            };
            assert_wrong(&packet(kind, counter), "counter");
        }
        for scalar in [Scalar::I8, Scalar::F32] {
            let counter = |o: &mut packet::Options| o.counter.as_mut().unwrap().scalar = scalar;
            assert_wrong(&packet(kind, counter), "counter");
        }
    }
}

#[test]
fn checksums_declared_wrongly_are_told() {
    let wrong = [
        (0, 0, -2),    // covers itself
        (0, -1, -2),   // covers half of itself
        (4, 4, -2),    // covers nothing
        (6, 4, -2),    // ends before it starts
        (0, -2, -1),   // reaches over the end
        (0, -2, 11),   // the same from the start
        (0, -2, -13),  // before the start
        (-13, -2, -2), // covers from before the start
        (0, 13, -2),   // covers beyond the end
        (12, 0, -2),   // covers from the end
        (i64::MIN, i64::MAX, -2),
        (0, -2, i64::MIN),
        (0, -2, i64::MAX),
    ];
    for (from, to, at) in wrong {
        let place = |o: &mut packet::Options| {
            let checksum = o.checksum.as_mut().unwrap();
            (checksum.from, checksum.to, checksum.at) = (from, to, at);
        };
        assert_wrong(&packet(Kind::Sync, place), "checksum");
    }
    for place in [9_999, usize::MAX] {
        let unknown = |o: &mut packet::Options| {
            o.checksum.as_mut().unwrap().kind = ChecksumKind::Crc(place);
        };
        assert_wrong(&packet(Kind::Cobs, unknown), "checksum");
    }
}

#[test]
fn every_mistake_is_told_not_only_the_first() {
    let options = packet(Kind::Sync, |o| {
        o.fields[0].at = 99;
        o.fields[2].at = 99;
        o.counter.as_mut().unwrap().scalar = Scalar::F64;
        o.checksum.as_mut().unwrap().at = -1;
    });
    for part in ["field 0", "field 2", "counter", "checksum"] {
        assert_wrong(&options, part);
    }
    let options = lines(Kind::KeyValue, |o| {
        o.comment = Some(String::new());
        o.line_bytes_max = 0;
        o.keys[0] = String::new();
    });
    for part in ["comment", "line_max", "field 0"] {
        assert_wrong(&options, part);
    }
}

fn place() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0..24_usize, 1 => any::<usize>(), 1 => 16_000..17_000_usize]
}

fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![20 => -24..24_i64, 1 => any::<i64>()]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop::sample::select(&Scalar::NAMES[..]).prop_map(|(_, scalar)| scalar)
}

fn order() -> impl Strategy<Value = ByteOrder> {
    prop_oneof![Just(ByteOrder::Little), Just(ByteOrder::Big)]
}

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        place().prop_map(Length::Fixed),
        (place(), scalar(), order(), offset(), place()).prop_map(
            |(at, scalar, order, add, max)| Length::Field {
                at,
                scalar,
                order,
                add,
                max
            }
        ),
    ]
}

fn packets() -> impl Strategy<Value = packet::Options> {
    let framing = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..3), length())
            .prop_map(|(bytes, length)| Framing::Sync { bytes, length }),
        length().prop_map(|length| Framing::Cobs { length }),
        length().prop_map(|length| Framing::Slip { length }),
    ];
    let kind = prop_oneof![
        Just(ChecksumKind::Sum8),
        Just(ChecksumKind::Adler32),
        (0..130_usize).prop_map(ChecksumKind::Crc),
    ];
    let checksum =
        (kind, offset(), offset(), offset(), order()).prop_map(|(kind, from, to, at, order)| {
            Checksum {
                kind,
                from,
                to,
                at,
                order,
            }
        });
    let counter = (place(), scalar(), order(), prop::option::of(0..70_000_u64)).prop_map(
        |(at, scalar, order, modulus)| Counter {
            at,
            scalar,
            order,
            modulus,
        },
    );
    let bits = (0..70_u8, 0..70_u8).prop_map(|(first, count)| Bits { first, count });
    let bits = prop::option::of(bits);
    let step = prop_oneof![4 => 0..4_usize, 1 => any::<usize>()];
    let field = (
        place(),
        scalar(),
        order(),
        bits,
        step,
        any::<f64>(),
        any::<f64>(),
    )
        .prop_map(|(at, scalar, order, bits, step, scale, offset)| Field {
            at,
            scalar,
            order,
            bits,
            step,
            scale,
            offset,
        });
    let constant = (place(), prop::collection::vec(0..4_u8, 0..3))
        .prop_map(|(at, bytes)| Constant { at, bytes });
    let timestamp = (place(), scalar(), order()).prop_map(|(at, scalar, order)| Timestamp {
        at,
        scalar,
        order,
    });
    let frames = prop_oneof![4 => Just(1_usize), 4 => 0..9_usize, 1 => any::<usize>()];
    (
        framing,
        prop::option::of(checksum),
        prop::option::of(counter),
        prop::collection::vec(field, 0..3),
        prop::collection::vec(constant, 0..2),
        prop::option::of(timestamp),
        frames,
    )
        .prop_map(
            |(framing, checksum, counter, fields, constants, timestamp, frames)| packet::Options {
                framing,
                checksum,
                constants,
                frames,
                timestamp,
                counter,
                fields,
            },
        )
}

fn forms() -> impl Strategy<Value = lines::Form> {
    let separator = || prop_oneof!["[ ,;\t]{0,2}", any::<String>()];
    prop_oneof![
        separator().prop_map(|separator| lines::Form::Separated { separator }),
        separator().prop_map(|separator| lines::Form::Columns { separator }),
        Just(lines::Form::Json),
        (separator(), any::<char>())
            .prop_map(|(separator, assign)| lines::Form::KeyValue { separator, assign }),
        prop_oneof![any::<String>(), Just("(?<a>.)?(?<b>.*)".to_owned())]
            .prop_map(|pattern| lines::Form::Pattern { pattern }),
    ]
}

fn suffix() -> impl Strategy<Value = lines::Suffix> {
    let unit = prop_oneof!["[Vm1]", any::<String>()];
    (unit, any::<bool>()).prop_map(|(unit, prefixes)| lines::Suffix { unit, prefixes })
}

/// Whatever was taken decodes whatever comes, without a panic and within its bounds.
fn exercise(options: &Options, bytes: &[u8]) {
    let Ok(mut protocol) = options.build() else {
        return;
    };
    let mut out = Frames::with_capacity(protocol.channels(), 5);
    let mut at = 0;
    for to in [bytes.len() / 3, bytes.len() / 2, bytes.len()] {
        loop {
            out.clear();
            at += protocol.decode(&bytes[at..to], &mut out);
            if !out.is_full() {
                break;
            }
        }
        assert!(to - at <= protocol.tail_max());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn packets_declared_anyhow_never_panic(
        options in packets(),
        bytes in prop::collection::vec(prop_oneof![Just(0), 0..4_u8, any::<u8>()], 0..300),
    ) {
        exercise(&Options::Packet(options), &bytes);
    }

    #[test]
    fn lines_declared_anyhow_never_panic(
        form in forms(),
        keys in prop::collection::vec(prop_oneof!["[ab]", any::<String>()], 0..3),
        comment in prop::option::of(any::<String>()),
        first_line_whole in any::<bool>(),
        line_bytes_max in prop_oneof![0..100_usize, any::<usize>()],
        suffixes in prop::collection::vec(prop::option::of(suffix()), 0..4),
        decimal_comma in any::<bool>(),
        text in "[ab=1 ,;.\t\r\n{}:\\[\\]\"\\\\Vm]{0,200}",
    ) {
        let options = lines::Options {
            form,
            keys,
            suffixes,
            decimal_comma,
            comment,
            first_line_whole,
            line_bytes_max,
        };
        exercise(&Options::Lines(options), text.as_bytes());
    }
}
