//! Blocks come back bit for bit, and no payload makes the decoder panic.

use kymo_drivers::block::{Axis, Block, Gap, GapReason, Priority, SourceId};
use proptest::prelude::*;

use super::super::block::Quantum;
use super::super::{BlockSummary, DecodedBlock, encode_block};

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<i16>().prop_map(|integer| f64::from(integer) * 0.25 - 3.0),
        any::<i32>().prop_map(|integer| f64::from(integer) * 0.25 - 3.0),
        any::<f32>().prop_map(f64::from),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        any::<u64>().prop_map(|low| f64::from_bits(0x7ff0_0000_0000_0001 | low >> 12)),
    ]
}

fn any_column(frames: usize) -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        proptest::collection::vec(any_value(), frames),
        any_value().prop_map(move |value| vec![value; frames]),
        proptest::collection::vec(any::<i16>(), frames)
            .prop_map(|column| column.iter().map(|i| f64::from(*i) * 0.25 - 3.0).collect()),
        proptest::collection::vec(any::<i32>(), frames)
            .prop_map(|column| column.iter().map(|i| f64::from(*i) * 0.25 - 3.0).collect()),
    ]
}

fn any_quantum() -> impl Strategy<Value = Option<Quantum>> {
    prop_oneof![
        Just(None),
        Just(Some((0.25, -3.0))),
        Just(Some((0.0, 0.0))),
        (any_value(), any_value()).prop_map(Some),
    ]
}

/// A regular axis, steps that fit 32 bits, or any times at all.
fn any_times(frames: usize) -> impl Strategy<Value = (Axis, Vec<i64>)> {
    prop_oneof![
        (any::<i32>(), 0.001..1e12_f64).prop_map(move |(start, period_ns)| {
            let start_ns = i64::from(start);
            (
                Axis::Regular {
                    start_ns,
                    period_ns,
                },
                vec![0; frames],
            )
        }),
        (
            any::<i64>(),
            proptest::collection::vec(any::<u32>(), frames)
        )
            .prop_map(|(start, steps)| {
                let rise = |time: &mut i64, step: &u32| {
                    *time = time.wrapping_add(i64::from(*step));
                    Some(*time)
                };
                (Axis::Irregular, steps.iter().scan(start, rise).collect())
            }),
        proptest::collection::vec(any::<i64>(), frames).prop_map(|times| (Axis::Irregular, times)),
    ]
}

fn any_gap() -> impl Strategy<Value = Gap> {
    let times = (any::<i64>(), any::<i64>());
    let reason = (0..GapReason::ALL.len()).prop_map(|index| GapReason::ALL[index]);
    (any::<u32>(), times, any::<Option<u64>>(), reason).prop_map(
        |(before, (from_ns, to_ns), frames, reason)| Gap {
            before,
            from_ns,
            to_ns,
            frames,
            reason,
        },
    )
}

fn any_block() -> impl Strategy<Value = Block> {
    (0..70_usize, 0..5_usize).prop_flat_map(|(frames, channels)| {
        let head = (
            any::<u16>(),
            any::<u8>(),
            0..4_usize,
            any::<u64>(),
            any::<i64>(),
        );
        let columns = proptest::collection::vec(any_column(frames), channels);
        let gaps = proptest::collection::vec(any_gap(), 0..4);
        (head, columns, any_times(frames), gaps).prop_map(
            move |(
                (source, lane, priority, first_frame, read_ns),
                columns,
                (axis, times),
                gaps,
            )| {
                let mut block = Block::unpooled(channels, frames);
                block.source = SourceId(source);
                block.lane = lane;
                block.priority = Priority::ALL[priority];
                block.first_frame = first_frame;
                block.read_ns = read_ns;
                block.axis = axis;
                block.gaps = gaps;
                for frame in 0..frames {
                    let values: Vec<f64> = columns.iter().map(|column| column[frame]).collect();
                    block.frames.push(0, &values);
                }
                block.frames.ends_and_times_mut().1.copy_from_slice(&times);
                block
            },
        )
    })
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn a_block_comes_back_bit_for_bit(
        block in any_block(),
        quanta in proptest::collection::vec(any_quantum(), 0..6),
    ) {
        let mut bytes = Vec::new();
        encode_block(&block, &quanta, &mut bytes);
        prop_assert!(bytes.len() <= super::super::block::bytes_max(&block));
        // Decoded into one that was used before: nothing of that may stay.
        let mut back = DecodedBlock::default();
        let other = super::payload(&super::block(7, 9));
        back.decode(&other).unwrap();
        back.decode(&bytes).unwrap();
        let summary = *back.summary();
        prop_assert_eq!(summary, BlockSummary::parse(&bytes).unwrap());
        prop_assert_eq!(summary.source, block.source);
        prop_assert_eq!(summary.lane, block.lane);
        prop_assert_eq!(summary.priority, block.priority);
        prop_assert_eq!(summary.first_frame, block.first_frame);
        prop_assert_eq!(summary.read_ns, block.read_ns);
        prop_assert_eq!(summary.axis, block.axis);
        prop_assert_eq!(summary.samples(), block.frames.samples());
        prop_assert_eq!(back.gaps(), block.gaps.as_slice());
        prop_assert_eq!(back.columns(), block.frames.channels());
        for column in 0..back.columns() {
            prop_assert_eq!(bits(back.column(column)), bits(block.frames.column(column)));
        }
        prop_assert_eq!(back.times_ns().len(), block.frames.len());
        for (frame, time_ns) in back.times_ns().iter().enumerate() {
            prop_assert_eq!(*time_ns, block.time_ns(frame));
        }
    }

    #[test]
    fn a_payload_that_makes_no_sense_is_refused_and_nothing_worse(
        block in any_block(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let mut bytes = Vec::new();
        encode_block(&block, &[Some((0.25, -3.0))], &mut bytes);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut back = DecodedBlock::default();
        let outcome = back.decode(&bytes);
        prop_assert!(outcome.is_ok() || !is_cut || back.columns() == 0);
        for column in 0..back.columns() {
            prop_assert_eq!(back.column(column).len(), back.times_ns().len());
        }
    }
}
