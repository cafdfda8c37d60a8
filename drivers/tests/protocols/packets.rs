//! Binary packets: what is particular to them.

use kymo_drivers::block::GapReason;
use kymo_drivers::protocol::packet::{
    ByteOrder, Checksum, ChecksumKind, Counter, Field, Framing, Length, Options, Scalar, checksum,
};
use kymo_drivers::protocol::{self, Protocol};

use crate::common::{Feed, Lost, cut, whole};
use crate::encode::cobs;
use crate::kinds::{Kind, SIZED_MAX, fields, row, values};

fn build(options: Options) -> Box<dyn Protocol> {
    protocol::Options::Packet(options).build().unwrap()
}

fn packet_options(kind: Kind) -> Options {
    let protocol::Options::Packet(options) = kind.options() else {
        panic!("{kind:?} is no packet");
    };
    options
}

/// Two sync bytes, one byte of value.
fn tiny(length: usize, checksum: Option<Checksum>) -> Options {
    Options {
        framing: Framing::Sync {
            bytes: vec![0xAA, 0x55],
            length: Length::Fixed(length),
        },
        checksum,
        constants: Vec::new(),
        frames: 1,
        timestamp: None,
        counter: None,
        fields: vec![byte_at(2)],
    }
}

fn byte_at(at: usize) -> Field {
    Field::new(at, Scalar::U8, ByteOrder::Little)
}

#[test]
fn a_good_packet_that_starts_inside_a_falsely_assumed_one_is_found() {
    for kind in [Kind::Sync, Kind::Sized] {
        let first = kind.frame(0, values(0));
        let inner = kind.frame(1, values(1));
        // Sync bytes and a length to be believed, and then the good packet where more was promised.
        let false_start: &[u8] = match kind {
            Kind::Sync => &[0xAA, 0x55, 0x01],
            _ => &[0x7E, 0x14, 0x01],
        };
        let after = [kind.frame(2, values(2)), kind.frame(3, values(3))];
        let bytes = [&first, false_start, &inner, &after.concat()].concat();
        let decoded = whole(kind.build(), &bytes);
        let expected: Vec<_> = (0..4).map(|count| row(values(count))).collect();
        assert_eq!(decoded.rows, expected, "{kind:?}");
        assert_eq!(decoded.losses, [], "{kind:?}");
        assert_eq!(decoded.tally.corrupt_frames, 1, "{kind:?}");
        assert_eq!(decoded.tally.skipped_bytes, 0, "{kind:?}");
    }
}

#[test]
fn rubbish_behind_a_good_packet_found_inside_another_is_skipped_and_counted() {
    let kind = Kind::Sized;
    let inner = kind.frame(0, values(0));
    for started in [false, true] {
        // What was assumed has 24 bytes: 3, the good one's 11, and 10 of rubbish.
        let mut bytes = Vec::new();
        if started {
            bytes.extend(kind.frame(255, values(9)));
        }
        bytes.extend([0x7E, 0x14, 0x01]);
        bytes.extend(&inner);
        bytes.extend([0x33; 10]);
        let decoded = whole(kind.build(), &bytes);
        assert_eq!(decoded.rows.len(), 1 + usize::from(started));
        assert_eq!(decoded.tally.corrupt_frames, 1);
        assert_eq!(decoded.tally.skipped_bytes, 10, "started: {started}");
    }
}

#[test]
fn a_length_that_claims_too_much_or_too_little_is_rubbish() {
    let kind = Kind::Sized;
    let claims = [0_u8, 4, u8::try_from(SIZED_MAX - 4 + 1).unwrap(), 255];
    for claim in claims {
        let bytes = [&[0x7E, claim][..], &kind.frame(0, values(0))].concat();
        let mut feed = Feed::new(kind.build(), 4);
        feed.feed(&bytes[..2]);
        assert_eq!(
            feed.decoded.pending, 0,
            "a claim of {claim} is not waited for"
        );
        feed.feed(&bytes[2..]);
        assert_eq!(feed.decoded.rows, [row(values(0))]);
        assert_eq!(feed.decoded.tally.skipped_bytes, 2);
        assert_eq!(feed.decoded.tally.corrupt_frames, 0);
    }
}

#[test]
fn sync_bytes_cut_in_the_middle_are_waited_for() {
    let kind = Kind::Sync;
    let mut feed = Feed::new(kind.build(), 4);
    feed.feed(&[0x11, 0xAA]);
    assert_eq!(feed.decoded.pending, 1);
    feed.feed(&kind.frame(7, values(7))[1..]);
    assert_eq!(feed.decoded.rows, [row(values(7))]);
    assert_eq!(feed.decoded.tally.skipped_bytes, 1);
}

#[test]
fn sync_bytes_that_overlap_themselves_are_found() {
    let mut options = tiny(5, None);
    options.framing = Framing::Sync {
        bytes: vec![0xAA, 0xAA, 0x55],
        length: Length::Fixed(5),
    };
    options.fields = vec![byte_at(3)];
    let bytes = [0xAA, 0xAA, 0xAA, 0x55, 7, 0, 0xAA, 0xAA, 0x55, 8, 0];
    for at in 0..bytes.len() {
        let decoded = cut(build(options.clone()), &bytes, &[at], 9);
        assert_eq!(decoded.rows.len(), 2, "cut at {at}");
        assert_eq!(decoded.tally.skipped_bytes, 1, "cut at {at}");
        assert_eq!(decoded.losses, [], "cut at {at}");
    }
}

#[test]
fn without_a_counter_a_loss_counts_what_was_corrupt() {
    for kind in [Kind::Sync, Kind::Cobs] {
        let mut options = packet_options(kind);
        options.counter = None;
        let good = |count| kind.frame(count, values(count));
        let bad = |count| kind.damaged(count, values(count));
        let bytes = [good(0), bad(1), bad(2), good(3), good(3), good(900)].concat();
        let decoded = whole(build(options), &bytes);
        assert_eq!(decoded.rows.len(), 4, "{kind:?}");
        let lost = Lost {
            before: 1,
            frames: Some(2),
            reason: GapReason::Corrupt,
        };
        assert_eq!(decoded.losses, [lost], "{kind:?}");
        assert_eq!(decoded.tally.corrupt_frames, 2, "{kind:?}");
        assert_eq!(decoded.tally.lost_frames, 0, "{kind:?}");
    }
}

#[test]
fn without_a_counter_skipped_bytes_are_a_loss_of_unknown_size() {
    let bytes = [0xAA, 0x55, 1, 0, 9, 9, 0xAA, 0x55, 2, 0];
    let decoded = whole(build(tiny(4, None)), &bytes);
    let lost = Lost {
        before: 1,
        frames: None,
        reason: GapReason::Corrupt,
    };
    assert_eq!(decoded.losses, [lost]);
    assert_eq!(decoded.tally.skipped_bytes, 2);
}

#[test]
fn half_a_stuffed_packet_at_the_start_is_skipped_not_corrupt() {
    let kind = Kind::Cobs;
    let half = &kind.frame(0, values(0))[4..];
    let bytes = [half, &kind.frame(1, values(1))].concat();
    let decoded = whole(kind.build(), &bytes);
    assert_eq!(decoded.rows, [row(values(1))]);
    assert_eq!(decoded.tally.corrupt_frames, 0);
    assert_eq!(decoded.tally.skipped_bytes, half.len() as u64 - 1);
}

#[test]
fn delimiters_alone_are_nothing() {
    let kind = Kind::Cobs;
    let good = kind.frame(1, values(1));
    let bytes = [&[0, 0, 0], &good[..], &[0, 0], &kind.frame(2, values(2))].concat();
    let decoded = whole(kind.build(), &bytes);
    assert_eq!(decoded.rows.len(), 2);
    assert_eq!(decoded.tally, Default::default());
}

#[test]
fn long_stuffed_packets_come_through_whatever_they_hold() {
    for length in [253_usize, 254, 255, 256, 507, 508, 509, 600] {
        for fill in [0_u8, 1, 0xFF] {
            let options = Options {
                constants: Vec::new(),
                frames: 1,
                timestamp: None,
                framing: Framing::Cobs {
                    length: Length::Fixed(length),
                },
                checksum: None,
                counter: None,
                fields: vec![byte_at(0), byte_at(length - 1)],
            };
            let mut packet = vec![fill; length];
            (packet[0], packet[length - 1]) = (3, 4);
            let bytes = [cobs(&packet), cobs(&packet)].concat();
            let decoded = cut(build(options.clone()), &bytes, &[length / 2, length], 3);
            assert_eq!(decoded.rows.len(), 2, "{length} bytes of {fill}");
            assert_eq!(decoded.rows[0].0, [3.0, 4.0]);
            assert_eq!(decoded.tally, Default::default());
            // Some encoders write a code for what follows a full run even if nothing does.
            if (length == 254 || length == 508) && fill != 0 {
                let mut bytes = cobs(&packet);
                bytes.insert(bytes.len() - 1, 1);
                assert_eq!(whole(build(options.clone()), &bytes).rows.len(), 1);
            }
        }
    }
}

#[test]
fn a_megabyte_without_an_end_is_corrupt_once() {
    let kind = Kind::Cobs;
    let mut feed = Feed::new(kind.build(), 16);
    feed.feed(&kind.frame(0, values(0)));
    for _ in 0..256 {
        feed.feed(&[0x55; 4096]);
        // Its end may yet turn out to be a packet.
        assert!(feed.decoded.pending <= 10);
    }
    feed.feed(&[0]);
    feed.feed(&kind.frame(1, values(1)));
    assert_eq!(feed.decoded.rows, [row(values(0)), row(values(1))]);
    assert_eq!(feed.decoded.tally.corrupt_frames, 1);
    assert_eq!(feed.decoded.tally.skipped_bytes, 0);
}

#[test]
fn a_megabyte_of_sync_bytes_does_not_pile_up() {
    let kind = Kind::Sized;
    let mut feed = Feed::new(kind.build(), 16);
    for _ in 0..256 {
        feed.feed(&[0x7E, 0x14].repeat(2048));
        assert!(feed.decoded.pending < SIZED_MAX);
    }
    feed.feed(&[0; SIZED_MAX]);
    feed.feed(&kind.frame(1, values(1)));
    assert_eq!(feed.decoded.rows, [row(values(1))]);
}

/// Plain forms of the sums, as their definitions give them.
fn sum_of(name: &str, bytes: &[u8]) -> Vec<u8> {
    let total: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    let weighted = |modulus: u32, start: u32| {
        let (mut low, mut high) = (start, 0);
        for byte in bytes {
            low = (low + u32::from(*byte)) % modulus;
            high = (high + low) % modulus;
        }
        (low, high)
    };
    let small = |value: u32| u8::try_from(value).unwrap();
    match name {
        "sum8" => vec![small(total % 256)],
        "sum16" => vec![small(total / 256 % 256), small(total % 256)],
        "xor8" => vec![bytes.iter().fold(0, |all, byte| all ^ byte)],
        "fletcher16" => {
            let (low, high) = weighted(255, 0);
            vec![small(high), small(low)]
        }
        "adler32" => {
            let (low, high) = weighted(65_521, 1);
            (high << 16 | low).to_be_bytes().to_vec()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_sum_is_checked_wherever_it_stands() {
    for name in ["sum8", "sum16", "xor8", "fletcher16", "adler32"] {
        let body: Vec<u8> = (0..40).map(|byte| byte * 6 + 1).collect();
        let sum = sum_of(name, &body);
        let width = sum.len();
        let length = 3 + body.len() + width;
        let behind = [&[0xAA, 0x55, 9], &body[..], &sum].concat();
        let before = [&[0xAA, 0x55, 9], &sum[..], &body].concat();
        let wide = i64::try_from(width).unwrap();
        for (packet, from, to, at) in [(behind, 3, -wide, -wide), (before, 3 + wide, 0, 3)] {
            let options = tiny(
                length,
                Some(Checksum {
                    kind: checksum::by_name(name).unwrap(),
                    from,
                    to,
                    at,
                    order: ByteOrder::Big,
                }),
            );
            let decoded = whole(build(options.clone()), &packet);
            assert_eq!(decoded.rows.len(), 1, "{name} at {at}");
            // Each covered byte, changed, is noticed.
            for place in 3..length {
                let mut damaged = packet.clone();
                damaged[place] ^= 0x10;
                let decoded = whole(build(options.clone()), &damaged);
                assert_eq!(decoded.rows.len(), 0, "{name} at {at}, byte {place}");
                assert_eq!(decoded.tally.corrupt_frames, 1);
            }
        }
    }
}

#[test]
fn a_counter_of_the_full_64_bits_wraps() {
    let options = Options {
        constants: Vec::new(),
        frames: 1,
        timestamp: None,
        framing: Framing::Cobs {
            length: Length::Fixed(8),
        },
        checksum: None,
        counter: Some(Counter {
            at: 0,
            scalar: Scalar::U64,
            order: ByteOrder::Big,
            modulus: None,
        }),
        fields: vec![byte_at(7)],
    };
    let counts = [u64::MAX - 1, u64::MAX, 0, 3, 3 + (1 << 63) + 1, 2];
    let bytes: Vec<u8> = counts
        .iter()
        .flat_map(|count| cobs(&count.to_be_bytes()))
        .collect();
    let decoded = whole(build(options), &bytes);
    assert_eq!(decoded.rows.len(), counts.len());
    let losses: Vec<_> = decoded
        .losses
        .iter()
        .map(|lost| (lost.before, lost.frames))
        .collect();
    let back = 2_u64.wrapping_sub(3 + (1 << 63) + 1) - 1;
    assert_eq!(losses, [(3, Some(2)), (4, None), (5, Some(back))]);
}

#[test]
fn integers_are_scaled_in_two_steps() {
    let mut options = packet_options(Kind::Sync);
    for field in &mut options.fields {
        (field.scale, field.offset) = (0.1, -40.0);
    }
    let decoded = whole(build(options), &Kind::Sync.frame(0, [3, -7, 32_767]));
    let expected = [3.0, -7.0, 32_767.0].map(|raw| raw * 0.1 + -40.0);
    assert_eq!(decoded.rows[0].0, expected);
}

#[test]
fn fields_may_stand_anywhere_also_over_each_other() {
    let mut options = packet_options(Kind::Sync);
    options.fields.extend(fields(0, ByteOrder::Big));
    let decoded = whole(build(options), &Kind::Sync.frame(0x0201, [3, 4, 5]));
    let sync = f64::from(i16::from_be_bytes([0xAA, 0x55]));
    assert_eq!(decoded.rows[0].0, [3.0, 4.0, 5.0, sync, 258.0, 768.0]);
}

#[test]
fn every_checksum_has_a_name_that_finds_it() {
    let mut kinds: Vec<ChecksumKind> = Vec::new();
    for name in checksum::names() {
        let kind = checksum::by_name(&name.to_lowercase()).unwrap();
        assert!(!kinds.contains(&kind), "{name} stands for another too");
        assert!((1..=11).contains(&kind.width()), "{name}");
        kinds.push(kind);
    }
    assert!(kinds.len() > 100);
}
