//! Packets of several frames: the same packets declared once as arrays of one channel, and once as single
//! frames of three, which the other tests hold against the model.

use proptest::prelude::*;

use kymo_drivers::frames::Frames;
use kymo_drivers::protocol::packet::{ByteOrder, Constant, Field, Scalar, Timestamp};
use kymo_drivers::protocol::{Options, Protocol, packet};

use crate::common::{Decoded, Lost, Row, cut, whole};
use crate::kinds::{Kind, values};

const FRAMES: usize = 3;

/// The device's three channels as three frames of one channel, and a channel that is once in a packet.
fn as_array(kind: Kind) -> packet::Options {
    let Options::Packet(mut options) = kind.options() else {
        panic!("{kind:?} is no packet");
    };
    let first = options.fields[0];
    let counter = options.counter.expect("every kind has a counter");
    options.frames = FRAMES;
    options.fields = vec![
        Field { step: 2, ..first },
        Field::new(counter.at, Scalar::U8, counter.order),
    ];
    options
}

fn build(kind: Kind) -> Box<dyn Protocol> {
    Options::Packet(as_array(kind)).build().unwrap()
}

/// What the array must decode to, from what the single frames did; the channel that is once in a packet left out.
fn expected(single: &Decoded) -> Decoded {
    let times = |frames: Option<u64>| frames.map(|frames| frames * FRAMES as u64);
    let mut tally = single.tally;
    tally.lost_frames *= FRAMES as u64;
    Decoded {
        rows: single
            .rows
            .iter()
            .flat_map(|row| row.0.iter().map(|value| Row(vec![*value])))
            .collect(),
        ends: single.ends.iter().flat_map(|end| [*end; FRAMES]).collect(),
        losses: single
            .losses
            .iter()
            .map(|lost| Lost {
                before: lost.before * FRAMES,
                frames: times(lost.frames),
                reason: lost.reason,
            })
            .collect(),
        tally,
        pending: single.pending,
    }
}

/// The first channel alone, and that the second is the same for all frames of a packet.
fn first_channel(mut decoded: Decoded) -> Decoded {
    for packet in decoded.rows.chunks(FRAMES) {
        assert!(
            packet
                .iter()
                .all(|row| row.0[1].to_bits() == packet[0].0[1].to_bits())
        );
    }
    for row in &mut decoded.rows {
        row.0.truncate(1);
    }
    decoded
}

#[test]
fn every_frame_of_a_packet_comes_out_and_ends_with_it() {
    for kind in Kind::PACKETS {
        let bytes: Vec<u8> = (0..200).flat_map(|n| kind.frame(n, values(n))).collect();
        let decoded = whole(build(kind), &bytes);
        assert_eq!(decoded.rows.len(), 200 * FRAMES, "{kind:?}");
        let single = whole(kind.build(), &bytes);
        assert_eq!(first_channel(decoded), expected(&single), "{kind:?}");
    }
}

#[test]
fn a_packet_kept_aside_is_given_to_the_end_or_forgotten_with_the_stream() {
    for kind in Kind::PACKETS {
        let mut protocol = build(kind);
        let bytes = [kind.frame(0, values(0)), kind.frame(1, values(1))].concat();
        let mut out = Frames::with_capacity(2, 2);
        let used = protocol.decode(&bytes, &mut out);
        assert_eq!(used, kind.frame(0, values(0)).len(), "{kind:?}");
        assert_eq!(out.column(0), [0.0, 0.0], "{kind:?}");
        out.clear();
        // Nothing new has come, and there is room.
        assert_eq!(protocol.decode(&[], &mut out), 0, "{kind:?}");
        assert_eq!(
            (out.column(0), out.ends()),
            (&[-5_000.0][..], &[0][..]),
            "{kind:?}"
        );

        out.clear();
        protocol.decode(&bytes[used..], &mut out);
        assert!(out.is_full());
        protocol.reset();
        out.clear();
        protocol.decode(&bytes[..used], &mut out);
        assert_eq!(
            out.column(0),
            [0.0, 0.0],
            "{kind:?}: of the first packet, not the rest of the second"
        );
    }
}

#[test]
fn by_channel_each_channels_values_follow_one_another() {
    let Options::Packet(mut options) = Kind::Sync.options() else {
        panic!("it is a packet");
    };
    options.frames = 3;
    options.checksum = None;
    options.counter = None;
    options.fields = [4, 7]
        .map(|at| Field {
            step: 1,
            ..Field::new(at, Scalar::U8, ByteOrder::Big)
        })
        .to_vec();
    let decoded = whole(
        Options::Packet(options).build().unwrap(),
        &[0xAA, 0x55, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0],
    );
    let rows = [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]].map(|row| Row(row.to_vec()));
    assert_eq!(decoded.rows, rows);
}

#[test]
fn a_timestamp_is_told_for_every_frame_as_it_came() {
    let mut options = as_array(Kind::Sync);
    options.timestamp = Some(Timestamp {
        at: 2,
        scalar: Scalar::U16,
        order: ByteOrder::Little,
    });
    let mut protocol = Options::Packet(options).build().unwrap();
    let bytes: Vec<u8> = (65_534..65_538)
        .flat_map(|n| Kind::Sync.frame(n, values(n)))
        .collect();
    let mut out = Frames::with_capacity(2, 5);
    let used = protocol.decode(&bytes, &mut out);
    assert_eq!(out.ticks(), [65_534, 65_534, 65_534, 65_535, 65_535]);
    out.clear();
    protocol.decode(&bytes[used..], &mut out);
    assert_eq!(out.ticks(), [65_535, 0, 0, 0, 1]);
}

#[test]
fn what_lacks_its_constant_is_no_packet() {
    let constant = |options: &mut packet::Options, at, byte| {
        options.constants = vec![Constant {
            at,
            bytes: vec![byte],
        }];
        options.checksum = None;
    };
    // Without a checksum, only the constant tells them apart.
    let mut options = as_array(Kind::Sync);
    constant(&mut options, 3, 0);
    let stream: Vec<u8> = [1, 2, 256, 257, 3]
        .into_iter()
        .flat_map(|n| Kind::Sync.frame(n, values(n)))
        .collect();
    let decoded = whole(Options::Packet(options).build().unwrap(), &stream);
    assert_eq!(decoded.rows.len(), 3 * FRAMES);
    assert_eq!(
        (decoded.tally.skipped_bytes, decoded.tally.corrupt_frames),
        (24, 0)
    );

    let mut options = as_array(Kind::Cobs);
    constant(&mut options, 0, 7);
    let stream: Vec<u8> = [7, 8, 7]
        .into_iter()
        .flat_map(|n| Kind::Cobs.frame(n, values(n)))
        .collect();
    let decoded = whole(Options::Packet(options).build().unwrap(), &stream);
    assert_eq!(decoded.rows.len(), 2 * FRAMES);
    assert_eq!(
        (decoded.tally.skipped_bytes, decoded.tally.corrupt_frames),
        (0, 1)
    );
}

#[test]
fn a_slip_packet_may_have_a_delimiter_in_front_too() {
    let stream: Vec<u8> = (0..5)
        .flat_map(|n| [vec![0xC0, 0xC0], Kind::Slip.frame(n, values(n))].concat())
        .collect();
    let decoded = whole(Kind::Slip.build(), &stream);
    assert_eq!(decoded.rows.len(), 5);
    assert_eq!(decoded.tally, Default::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere_with_any_room_an_array_is_its_packets_frames(
        kind in prop::sample::select(&Kind::PACKETS[..]),
        pieces in prop::collection::vec(
            prop_oneof![
                6 => (0..3_u64).prop_map(Ok),
                1 => prop::collection::vec(any::<u8>(), 0..30).prop_map(Err),
            ],
            0..30,
        ),
        places in prop::collection::vec(any::<usize>(), 0..40),
        room in 1..20_usize,
    ) {
        let mut count = 0;
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Ok(missing) => {
                    count += 1 + missing;
                    bytes.extend(kind.frame(count, values(count)));
                }
                Err(rubbish) => bytes.extend(rubbish),
            }
        }
        let single = expected(&whole(kind.build(), &bytes));
        prop_assert_eq!(first_channel(cut(build(kind), &bytes, &places, room)), single);
    }
}

/// Found by the fuzz target.
#[test]
fn jumps_of_a_wide_counter_add_up_without_overflow() {
    let mut options = as_array(Kind::Slip);
    options.checksum = None;
    options.constants = Vec::new();
    if let Some(counter) = &mut options.counter {
        counter.scalar = Scalar::U64;
    }
    let packets = (0..4_u64).flat_map(|n| {
        let mut packet = (n << 62).to_le_bytes().to_vec();
        packet.extend([0, 0]);
        crate::encode::slip(&packet)
    });
    let decoded = whole(
        Options::Packet(options).build().unwrap(),
        &packets.collect::<Vec<u8>>(),
    );
    assert_eq!(decoded.rows.len(), 4 * FRAMES);
    assert_eq!(decoded.tally.lost_frames, u64::MAX);
}
