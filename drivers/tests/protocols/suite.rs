//! What holds for every protocol.

use kymo_drivers::block::GapReason;

use crate::common::{Decoded, Feed, Lost, Row, whole};
use crate::kinds::{Kind, row, values};

fn stream(kind: Kind, counts: impl IntoIterator<Item = u64>) -> Vec<u8> {
    counts
        .into_iter()
        .flat_map(|count| kind.frame(count, values(count)))
        .collect()
}

fn rows(counts: impl IntoIterator<Item = u64>) -> Vec<Row> {
    counts.into_iter().map(|count| row(values(count))).collect()
}

/// Nothing went wrong.
fn assert_clean(decoded: &Decoded, kind: Kind) {
    assert_eq!(decoded.losses, [], "{kind:?}");
    assert_eq!(decoded.tally, Default::default(), "{kind:?}");
    assert_eq!(decoded.pending, 0, "{kind:?}");
}

#[test]
fn frames_come_out_exactly_as_they_went_in() {
    for kind in Kind::ALL {
        let bytes = stream(kind, 0..1_000);
        let decoded = whole(kind.build(), &bytes);
        assert_eq!(decoded.rows, rows(0..1_000), "{kind:?}");
        assert_clean(&decoded, kind);
        let mut end = 0;
        let ends = (0..1_000).map(|count| {
            end += kind.frame(count, values(count)).len();
            end
        });
        assert_eq!(decoded.ends, ends.collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn extreme_values_come_out_as_they_went_in() {
    for kind in Kind::ALL {
        let all = [[i16::MIN, i16::MAX, 0], [0, -1, 1], [0, 0, 0], [-1, -1, -1]];
        let bytes: Vec<u8> = (0..).zip(all).flat_map(|(n, v)| kind.frame(n, v)).collect();
        let decoded = whole(kind.build(), &bytes);
        assert_eq!(decoded.rows, all.map(row), "{kind:?}");
        assert_clean(&decoded, kind);
    }
}

#[test]
fn a_counter_that_jumps_is_a_loss_at_its_place() {
    for kind in Kind::PACKETS {
        let counts = || (0..5).chain(9..12);
        let decoded = whole(kind.build(), &stream(kind, counts()));
        assert_eq!(decoded.rows, rows(counts()), "{kind:?}");
        let lost = Lost {
            before: 5,
            frames: Some(4),
            reason: GapReason::DeviceCounter,
        };
        assert_eq!(decoded.losses, [lost], "{kind:?}");
        assert_eq!(decoded.tally.lost_frames, 4, "{kind:?}");
        assert_eq!(decoded.tally.corrupt_frames, 0, "{kind:?}");
    }
}

#[test]
fn the_largest_loss_that_can_be_known_is_half_the_range() {
    for kind in Kind::PACKETS {
        let half = kind.counter_range() / 2;
        for (missing, known) in [(half, Some(half)), (half + 1, None)] {
            let counts = [10, 11, 12 + missing, 13 + missing];
            let decoded = whole(kind.build(), &stream(kind, counts));
            assert_eq!(decoded.rows, rows(counts), "{kind:?}");
            let lost = Lost {
                before: 2,
                frames: known,
                reason: GapReason::DeviceCounter,
            };
            assert_eq!(decoded.losses, [lost], "{kind:?}");
            assert_eq!(decoded.tally.lost_frames, known.unwrap_or(0), "{kind:?}");
        }
    }
}

#[test]
fn a_counter_that_wraps_loses_nothing_and_a_jump_over_its_end_is_counted() {
    for kind in Kind::PACKETS {
        let range = kind.counter_range();
        let counts = range - 3..range + 4;
        let decoded = whole(kind.build(), &stream(kind, counts.clone()));
        assert_eq!(decoded.rows, rows(counts), "{kind:?}");
        assert_clean(&decoded, kind);

        let decoded = whole(kind.build(), &stream(kind, [range - 2, range + 3]));
        assert_eq!(decoded.losses[0].frames, Some(4), "{kind:?}");
        assert_eq!(decoded.tally.lost_frames, 4, "{kind:?}");
    }
}

#[test]
fn a_frame_sent_twice_is_kept_twice() {
    // But a moment told twice is one moment.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Epoch) {
        let counts = [0, 1, 1, 2];
        let decoded = whole(kind.build(), &stream(kind, counts));
        assert_eq!(decoded.rows, rows(counts), "{kind:?}");
        assert_clean(&decoded, kind);
    }
}

#[test]
fn a_damaged_frame_is_corrupt_once_and_not_lost_too() {
    for kind in Kind::ALL {
        let bytes = [
            stream(kind, 0..4),
            kind.damaged(4, values(4)),
            stream(kind, 5..9),
        ];
        let decoded = whole(kind.build(), &bytes.concat());
        assert_eq!(decoded.rows, rows((0..4).chain(5..9)), "{kind:?}");
        let lost = Lost {
            before: 4,
            frames: kind.gone_with_a_damaged_frame(),
            reason: GapReason::Corrupt,
        };
        assert_eq!(decoded.losses, [lost], "{kind:?}");
        assert_eq!(decoded.tally.corrupt_frames, 1, "{kind:?}");
        assert_eq!(decoded.tally.lost_frames, 0, "{kind:?}");
        assert_eq!(decoded.tally.skipped_bytes, 0, "{kind:?}");
    }
}

#[test]
fn frames_missing_beside_a_damaged_one_are_lost() {
    for kind in Kind::PACKETS {
        let bytes = [
            stream(kind, 0..4),
            kind.damaged(4, values(4)),
            stream(kind, 7..9),
        ];
        let decoded = whole(kind.build(), &bytes.concat());
        assert_eq!(decoded.losses.len(), 1, "{kind:?}");
        assert_eq!(decoded.losses[0].frames, Some(3), "{kind:?}");
        assert_eq!(decoded.tally.corrupt_frames, 1, "{kind:?}");
        assert_eq!(decoded.tally.lost_frames, 2, "{kind:?}");
    }
}

#[test]
fn what_is_damaged_before_the_first_good_frame_is_no_gap() {
    for kind in Kind::ALL {
        // Byte stuffing knows only behind a delimiter that a packet is whole.
        let start: &[u8] = match kind {
            Kind::Cobs => &[0],
            Kind::Slip => &[0xC0],
            _ => &[],
        };
        let bytes = [
            start.to_vec(),
            kind.damaged(0, values(0)),
            stream(kind, 1..4),
        ];
        let decoded = whole(kind.build(), &bytes.concat());
        assert_eq!(decoded.rows, rows(1..4), "{kind:?}");
        assert_eq!(decoded.losses, [], "{kind:?}");
        assert_eq!(decoded.tally.corrupt_frames, 1, "{kind:?}");
        assert_eq!(decoded.tally.lost_frames, 0, "{kind:?}");
    }
}

#[test]
fn a_frame_cut_off_at_its_end_costs_only_itself() {
    for kind in Kind::PACKETS {
        let mut half = kind.frame(3, values(3));
        half.truncate(half.len() - 2);
        let bytes = [stream(kind, 0..3), half, stream(kind, 4..30)];
        let decoded = whole(kind.build(), &bytes.concat());
        assert_eq!(decoded.rows, rows((0..3).chain(4..30)), "{kind:?}");
        let counts = decoded.tally.lost_frames + decoded.tally.corrupt_frames;
        assert_eq!(counts, 1, "{kind:?}");
    }
}

#[test]
fn a_reset_forgets_the_counter_and_half_a_frame() {
    for kind in Kind::ALL {
        let mut feed = Feed::new(kind.build(), 16);
        feed.feed(&stream(kind, 0..3));
        feed.feed(&kind.frame(3, values(3))[..4]);
        feed.reset();
        feed.feed(&stream(kind, 50..53));
        assert_eq!(feed.decoded.rows, rows((0..3).chain(50..53)), "{kind:?}");
        assert_eq!(feed.decoded.losses, [], "{kind:?}");
        assert_eq!(feed.decoded.tally.lost_frames, 0, "{kind:?}");
        assert_eq!(feed.decoded.tally.corrupt_frames, 0, "{kind:?}");
    }
}

#[test]
fn a_reset_forgets_a_frame_found_corrupt() {
    for kind in Kind::ALL {
        let mut feed = Feed::new(kind.build(), 16);
        feed.feed(&[stream(kind, 0..2), kind.damaged(2, values(2))].concat());
        feed.reset();
        feed.feed(&stream(kind, 3..5));
        assert_eq!(feed.decoded.rows, rows((0..2).chain(3..5)), "{kind:?}");
        assert_eq!(feed.decoded.losses, [], "{kind:?}");
        assert_eq!(feed.decoded.tally.corrupt_frames, 1, "{kind:?}");
    }
}

#[test]
fn full_frames_are_left_alone() {
    for kind in Kind::ALL {
        let mut protocol = kind.build();
        let mut out = kymo_drivers::frames::Frames::with_capacity(3, 2);
        let bytes = stream(kind, 0..3);
        let used = protocol.decode(&bytes, &mut out);
        assert_eq!(out.len(), 2, "{kind:?}");
        assert_eq!(protocol.decode(&bytes[used..], &mut out), 0, "{kind:?}");
        out.clear();
        assert_eq!(
            protocol.decode(&bytes[used..], &mut out),
            bytes.len() - used
        );
        assert_eq!(out.len(), 1, "{kind:?}");
        assert_eq!(out.tally, Default::default(), "{kind:?}");
    }
}
