//! Blocks in the order of the recordings' time, whatever the threads do.

use std::sync::Arc;
use std::time::Duration;

use kymo_drivers::block::{Block, SourceId};
use kymo_drivers::link::recorded::{Happened, Manner, Moment, Recorded};
use kymo_drivers::link::{Link as _, Read, Stop};

use super::*;
use crate::lanes::{LaneOptions, LaneSender, LanesBuilder, Overflow};
use crate::ledger::SourceCounts;

/// What is taken: when it was sent, by which source, and what.
type Taken = (i64, u16, u8);

/// Lanes of each source, of these priorities; one block fits into each.
const LANES: [&[Priority]; 3] = [
    &[Priority::Normal, Priority::Critical],
    &[Priority::Critical],
    &[Priority::Bulk, Priority::Normal, Priority::High],
];

/// Reads at random times, many of them the same for several sources; a block for each byte.
fn tape(random: &mut fastrand::Rng) -> Vec<Moment> {
    let mut time_ns = 0;
    let mut moment = |count: usize| {
        time_ns += random.i64(0..4);
        let bytes = (0..count).map(|_| random.u8(..)).collect();
        Moment {
            time_ns,
            what: Happened::Read(bytes),
        }
    };
    (0..60).map(|read| moment(1 + read % 7)).collect()
}

/// Sends what is on a tape, each byte into a lane of its own choice, held up at random.
fn send(mut senders: Vec<LaneSender>, tape: Vec<Moment>, time: &VirtualTime, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let stop = Stop::new().unwrap();
    let tape = Box::new(tape.into_iter());
    let mut link = Recorded::new(tape, time.clone(), None, Manner::default());
    let mut buffer = [0; 64];
    loop {
        if random.u8(..) < 40 {
            std::thread::park_timeout(Duration::from_micros(random.u64(..200)));
        }
        let Read::Data(count) = link.read(&mut buffer, None, &stop) else {
            return;
        };
        for byte in &buffer[..count] {
            let mut block = Block::unpooled(1, 1);
            block.frames.push(0, &[f64::from(*byte)]);
            let lane = usize::from(*byte) % senders.len();
            senders[lane].push(block);
        }
    }
}

/// What is taken of these tapes, and when each lane ended.
fn taken(tapes: &[Vec<Moment>], seed: u64) -> (Vec<Taken>, Vec<i64>) {
    let times: Vec<VirtualTime> = tapes.iter().map(|_| VirtualTime::new(0)).collect();
    let mut builder = LanesBuilder::in_order(times.clone());
    for (source, priorities) in (0..).zip(LANES) {
        for (lane, priority) in (0..).zip(priorities) {
            builder.add(LaneOptions {
                source: SourceId(source),
                lane,
                priority: *priority,
                // A recording's lane waits all the same.
                overflow: Overflow::DropOldest,
                depth: 1,
                counts: Arc::<SourceCounts>::default(),
            });
        }
    }
    let (mut intake, _gate, mut senders) = builder.build();
    senders.sort_by_key(|(source, lane, _)| (*source, *lane));
    let mut senders = senders.into_iter();
    let (mut all, mut ends) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        for (source, (tape, time)) in tapes.iter().zip(&times).enumerate() {
            let own = senders.by_ref().take(LANES[source].len());
            let own: Vec<LaneSender> = own.map(|(_, _, sender)| sender).collect();
            let tape = tape.clone();
            scope.spawn(move || send(own, tape, time, seed + source as u64));
        }
        while !intake.is_finished() {
            match intake.next_in_order() {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It was a byte.
                Some((time_ns, Item::Block(block))) => {
                    all.push((time_ns, block.source.0, block.frames.column(0)[0] as u8));
                }
                Some((time_ns, Item::End { .. })) => ends.push(time_ns),
                None => std::thread::yield_now(),
            }
        }
    });
    (all, ends)
}

#[test]
fn blocks_are_taken_as_they_were_sent_and_a_full_lane_holds_up_nobody_for_ever() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let tapes: Vec<Vec<Moment>> = LANES.iter().map(|_| tape(&mut random)).collect();
        let mut expected: Vec<Taken> = Vec::new();
        for (source, tape) in (0..).zip(&tapes) {
            for moment in tape {
                let Happened::Read(bytes) = &moment.what else {
                    unreachable!("there are only reads");
                };
                expected.extend(bytes.iter().map(|byte| (moment.time_ns, source, *byte)));
            }
        }
        // Stable: within a source and a time as sent.
        expected.sort_by_key(|(time_ns, source, _)| (*time_ns, *source));
        let (all, ends) = taken(&tapes, seed);
        assert_eq!(all, expected, "seed {seed}");
        let lanes: usize = LANES.iter().map(|lanes| lanes.len()).sum();
        assert_eq!(ends.len(), lanes, "every lane's end is told");
        assert!(ends.is_sorted(), "seed {seed}");
    }
}

#[test]
fn a_source_that_says_nothing_is_waited_for_as_long_as_its_time_is_not_known() {
    let times = vec![VirtualTime::new(0), VirtualTime::new(0)];
    let mut builder = LanesBuilder::in_order(times.clone());
    for source in 0..2 {
        builder.add(LaneOptions {
            source: SourceId(source),
            lane: 0,
            priority: Priority::Normal,
            overflow: Overflow::Block,
            depth: 4,
            counts: Arc::<SourceCounts>::default(),
        });
    }
    let (mut intake, _gate, mut senders) = builder.build();
    let stop = Stop::new().unwrap();
    let at = |time_ns| Moment {
        time_ns,
        what: Happened::Read(vec![1]),
    };
    let link = |time: &VirtualTime, moments: Vec<Moment>| {
        let tape = Box::new(moments.into_iter());
        Recorded::new(tape, time.clone(), None, Manner::default())
    };
    let mut buffer = [0; 8];
    // The second source sends at 5 ns.
    let mut second = link(&times[1], vec![at(5)]);
    assert_eq!(second.read(&mut buffer, None, &stop), Read::Data(1));
    let (_, _, mut sender) = senders.pop().unwrap();
    sender.push(Block::unpooled(1, 1));
    assert!(intake.next_in_order().is_none());
    assert_eq!(intake.taken_up_to_ns(), Some(0));
    // The first waits up to 5 ns: it could still send then, and goes before the second.
    let mut first = link(&times[0], vec![at(100)]);
    let wait = Some(Duration::from_nanos(5));
    assert_eq!(first.read(&mut buffer, wait, &stop), Read::Quiet);
    assert!(intake.next_in_order().is_none());
    let wait = Some(Duration::from_nanos(1));
    assert_eq!(first.read(&mut buffer, wait, &stop), Read::Quiet);
    let next = intake.next_in_order();
    assert!(matches!(next, Some((5, Item::Block(_)))), "{next:?}");
}
