//! Streams of all sorts, cut anywhere, against the [`model`](crate::model).

use proptest::prelude::*;

use kymo_drivers::protocol::Options;

use crate::common::{Row, cut, whole};
use crate::kinds::{Kind, LINE_MAX, PAYLOAD_MAX, row, values};
use crate::model::expect;

/// What a device, or the line to it, may do next.
#[derive(Debug, Clone)]
enum Piece {
    Good,
    Damaged,
    /// So many frames never come.
    Missing(u16),
    /// A frame of which only these first bytes come.
    CutOff(usize),
    Rubbish(Vec<u8>),
    /// The beginning of a packet that never was.
    FalseStart,
    /// So many bytes of one sort: lines and packets that never end.
    Flood(u8, usize),
}

fn rubbish(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(
        &b"\xAA\x55\x7E\x08\x0B\x00\x00\xC0\xDB\xDC\n\n\r ,/=;V#Pxyz17\t$$!*GPTST\xB5\x62\x0A\x01"
            [..],
    );
    prop::collection::vec(prop_oneof![telling, any::<u8>()], 0..length)
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        8 => Just(Piece::Good),
        1 => Just(Piece::Damaged),
        1 => (1..300_u16).prop_map(Piece::Missing),
        1 => (0..12_usize).prop_map(Piece::CutOff),
        2 => rubbish(40).prop_map(Piece::Rubbish),
        2 => Just(Piece::FalseStart),
        1 => (any::<u8>(), 1..3 * LINE_MAX).prop_map(|(byte, count)| Piece::Flood(byte, count)),
    ];
    prop::collection::vec(piece, 0..40)
}

fn stream(kind: Kind, pieces: &[Piece]) -> Vec<u8> {
    let mut count = 0;
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Good => bytes.extend(kind.frame(count, values(count))),
            Piece::Damaged => bytes.extend(kind.damaged(count, values(count))),
            Piece::Missing(frames) => count += u64::from(*frames) - 1,
            Piece::CutOff(length) => {
                bytes.extend(kind.frame(count, values(count)).iter().take(*length));
            }
            Piece::Rubbish(rubbish) => bytes.extend(rubbish),
            Piece::FalseStart if kind == Kind::Sized => bytes.extend([0x7E, 0x14]),
            Piece::FalseStart if kind == Kind::Ubx => bytes.extend([0xB5, 0x62, 0x0A, 0x01, 20, 0]),
            Piece::FalseStart if kind == Kind::Sentence => bytes.extend(b"$PTST,1"),
            Piece::FalseStart if kind == Kind::Epoch => bytes.extend(b"!GPRMC,0000"),
            Piece::FalseStart => bytes.extend([0xAA, 0x55]),
            Piece::Flood(byte, length) => bytes.extend(vec![*byte; *length]),
        }
        if !matches!(
            piece,
            Piece::Rubbish(_) | Piece::FalseStart | Piece::Flood(..)
        ) {
            count += 1;
        }
    }
    bytes
}

fn options(kind: Kind, first_whole: bool) -> Options {
    let mut options = kind.options();
    if let Options::Lines(lines) = &mut options {
        lines.first_line_whole = first_whole;
    }
    options
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere_it_decodes_to_what_the_whole_does_and_every_byte_is_accounted_for(
        kind in prop::sample::select(&Kind::ALL[..]),
        first_whole in any::<bool>(),
        pieces in pieces(),
        places in prop::collection::vec(any::<usize>(), 0..60),
        room in 1..20_usize,
    ) {
        let bytes = stream(kind, &pieces);
        let expected = expect(kind, first_whole, &bytes);
        let at_once = whole(options(kind, first_whole).build().unwrap(), &bytes);
        prop_assert_eq!(&at_once, &expected.decoded);
        let in_pieces = cut(options(kind, first_whole).build().unwrap(), &bytes, &places, room);
        prop_assert_eq!(&in_pieces, &expected.decoded);

        let skipped = usize::try_from(in_pieces.tally.skipped_bytes).unwrap();
        prop_assert_eq!(
            expected.frame_bytes
                + expected.corrupt_bytes
                + expected.passed_bytes
                + skipped
                + in_pieces.pending,
            bytes.len()
        );
        prop_assert_eq!(expected.corrupt_bytes > 0, in_pieces.tally.corrupt_frames > 0);
    }

    #[test]
    fn byte_by_byte_it_decodes_to_what_the_whole_does(
        kind in prop::sample::select(&Kind::ALL[..]),
        pieces in pieces(),
    ) {
        let bytes = stream(kind, &pieces);
        let places: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(
            cut(kind.build(), &bytes, &places, 3),
            whole(kind.build(), &bytes)
        );
    }

    #[test]
    fn good_frames_after_rubbish_are_all_found(
        kind in prop::sample::select(&Kind::ALL[..]),
        mut bytes in rubbish(300),
        places in prop::collection::vec(any::<usize>(), 0..10),
    ) {
        if kind.is_text() {
            bytes.push(b'\n');
        }
        let before = bytes.len();
        bytes.extend((0..20).flat_map(|count| kind.frame(count, values(count))));
        // What is falsely assumed just before may claim more than has come: more comes.
        if !kind.is_text() && !kind.is_stuffed() || kind == Kind::Ubx {
            bytes.extend([0; PAYLOAD_MAX + 8]);
        }
        let decoded = cut(kind.build(), &bytes, &places, 1_000);
        // Rubbish that is itself a good frame, and reaches into the first true one, is nobody's fault.
        let expected = expect(kind, true, &bytes).decoded;
        let starts = || expected.ends.iter().filter(|end| **end > before);
        let first = kind.frame(0, values(0)).len();
        prop_assume!(starts().next() == Some(&(before + first)));
        let rows: Vec<Row> = (0..20).map(|count| row(values(count))).collect();
        prop_assert_eq!(&decoded.rows[decoded.rows.len() - 20..], &rows[..]);
    }

    #[test]
    fn any_bytes_at_all_neither_panic_nor_pile_up(
        kind in prop::sample::select(&Kind::ALL[..]),
        bytes in prop::collection::vec(any::<u8>(), 0..4_000),
        places in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let decoded = cut(kind.build(), &bytes, &places, 7);
        prop_assert_eq!(decoded, expect(kind, true, &bytes).decoded);
    }
}
