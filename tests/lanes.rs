//! Lanes and stage from outside: overflow policies, order, and sums that must come out exactly.

use std::sync::Arc;

use kymo::lanes::{Intake, Item, LaneOptions, LaneSender, LanesBuilder, Overflow, SHARE};
use kymo::ledger::{Ledger, SourceCounts};
use kymo_drivers::block::{Block, Gap, GapReason, Pool, Priority, SourceId};

const ALL: fn(Priority) -> bool = |_| true;

fn one_lane(overflow: Overflow, depth: usize) -> (Intake, LaneSender, Arc<SourceCounts>) {
    let counts = Arc::new(SourceCounts::default());
    let mut builder = LanesBuilder::default();
    builder.add(LaneOptions {
        source: SourceId(0),
        lane: 0,
        priority: Priority::Bulk,
        overflow,
        depth,
        counts: Arc::clone(&counts),
    });
    let (intake, _, mut senders) = builder.build();
    let (_, _, sender) = senders.remove(0);
    (intake, sender, counts)
}

/// A block of `frames` frames of one channel, the first at `start` ns, one each ns, the value being the time.
fn block(pool: &Pool, start: u32, frames: u32) -> Block {
    let mut block = pool.take().expect("the pool is as large as the test");
    for time in start..start + frames {
        block.frames.push(0, &[f64::from(time)]);
    }
    let (_, times) = block.frames.ends_and_times_mut();
    for (time, at) in times.iter_mut().zip(start..) {
        *time = i64::from(at);
    }
    block
}

/// What the intake gives: values as `a..b`, gaps as `[frames reason from-to]`.
fn story(intake: &mut Intake) -> String {
    let mut story = Vec::new();
    while let Some(item) = intake.next(ALL) {
        let (block, gaps) = match item {
            Item::Block(block) => (Some(block), vec![]),
            Item::End { gaps, .. } => (None, gaps),
        };
        let all = block.iter().flat_map(|b| b.gaps.clone()).chain(gaps);
        for gap in all {
            let frames = gap.frames.map_or_else(|| "?".to_owned(), |n| n.to_string());
            story.push(format!(
                "[{frames} {} {}-{}]",
                gap.reason.name(),
                gap.from_ns,
                gap.to_ns
            ));
        }
        if let Some(block) = block {
            let values = block.frames.column(0);
            story.push(format!("{}..{}", values[0], values[values.len() - 1]));
        }
    }
    story.join(" ")
}

#[test]
fn drop_newest_keeps_the_oldest_and_leaves_a_gap_at_the_place() {
    let (mut intake, mut sender, counts) = one_lane(Overflow::DropNewest, 2);
    let pool = Pool::new(1, 10, 10);
    for start in [0, 10, 20, 30] {
        sender.push(block(&pool, start, 10));
    }
    assert_eq!(story(&mut intake), "0..9 10..19");
    sender.push(block(&pool, 40, 10));
    assert_eq!(story(&mut intake), "[20 lane_full 19-40] 40..49");
    assert_eq!(counts.dropped(), 20);
}

#[test]
fn drop_oldest_keeps_the_newest_and_leaves_a_gap_at_the_place() {
    let (mut intake, mut sender, counts) = one_lane(Overflow::DropOldest, 2);
    let pool = Pool::new(1, 10, 10);
    for start in [0, 10, 20, 30] {
        sender.push(block(&pool, start, 10));
    }
    assert_eq!(story(&mut intake), "[20 lane_full 20-20] 20..29 30..39");
    assert_eq!(counts.dropped(), 20);
}

#[test]
fn what_is_dropped_last_of_all_is_told_when_the_lane_closes() {
    let (mut intake, mut sender, counts) = one_lane(Overflow::DropNewest, 1);
    let pool = Pool::new(1, 10, 10);
    sender.push(block(&pool, 0, 10));
    let mut lost = block(&pool, 10, 10);
    let (from_ns, to_ns) = (9, 10);
    let reason = GapReason::DeviceCounter;
    lost.gaps.push(Gap {
        before: 0,
        from_ns,
        to_ns,
        frames: Some(3),
        reason,
    });
    sender.push(lost);
    drop(sender);
    assert_eq!(
        story(&mut intake),
        "0..9 [10 lane_full 9-10] [3 device_counter 9-10]"
    );
    assert_eq!(counts.dropped(), 10);
    assert!(intake.is_finished());
}

#[test]
fn a_blocked_reader_loses_nothing_and_goes_on_when_there_is_room() {
    let (mut intake, mut sender, counts) = one_lane(Overflow::Block, 2);
    let pool = Pool::new(1, 10, 100);
    let reader = std::thread::spawn(move || {
        for start in 0..50 {
            sender.push(block(&pool, start * 10, 10));
        }
    });
    let mut values = Vec::new();
    while !intake.is_finished() {
        match intake.next(ALL) {
            Some(Item::Block(block)) => values.extend_from_slice(block.frames.column(0)),
            Some(Item::End { gaps, .. }) => panic!("nothing may be missing: {gaps:?}"),
            None => std::thread::yield_now(),
        }
    }
    reader.join().expect("the reader ends");
    assert_eq!(values, (0..500).map(f64::from).collect::<Vec<_>>());
    assert_eq!(counts.dropped(), 0);
}

#[test]
fn a_reader_blocked_when_the_stage_dies_ends_and_counts_what_it_could_not_send() {
    let (intake, mut sender, counts) = one_lane(Overflow::Block, 1);
    let pool = Pool::new(1, 10, 100);
    let reader = std::thread::spawn(move || {
        for start in 0..5 {
            sender.push(block(&pool, start * 10, 10));
        }
    });
    drop(intake);
    reader.join().expect("the reader ends");
    assert!(counts.dropped() >= 40);
}

#[test]
fn a_block_goes_back_to_its_pool() {
    let pool = Pool::new(1, 10, 2);
    let (first, second) = (pool.take(), pool.take());
    assert!(first.is_some() && second.is_some() && pool.take().is_none());
    drop(first);
    assert!(pool.take().is_some());
    assert_eq!(pool.in_use(), 1);
}

/// All four priorities, always full: who gets how many blocks.
#[test]
fn the_most_urgent_goes_first_and_nothing_starves() {
    let ledger = Ledger::new(4);
    let mut builder = LanesBuilder::default();
    for priority in Priority::ALL {
        let source = SourceId(u16::try_from(priority.index()).expect("four priorities"));
        let counts = Arc::clone(ledger.source(source));
        let overflow = Overflow::DropNewest;
        builder.add(LaneOptions {
            source,
            lane: 0,
            priority,
            overflow,
            depth: 4,
            counts,
        });
    }
    let (mut intake, _, mut senders) = builder.build();
    let pool = Pool::new(1, 1, 100);
    let mut taken = Vec::new();
    for time in 0..1000 {
        for (_, _, sender) in &mut senders {
            sender.push(block(&pool, time, 1));
        }
        if let Some(Item::Block(block)) = intake.next(ALL) {
            taken.push(block.priority);
        }
    }
    for priority in [Priority::High, Priority::Normal, Priority::Bulk] {
        let share = taken.iter().filter(|p| **p == priority).count();
        assert!(
            (20..=1000 / SHARE as usize).contains(&share),
            "{priority:?} got {share}"
        );
    }
    assert!(
        taken
            .windows(2)
            .all(|pair| pair.contains(&Priority::Critical)),
        "between two critical blocks there is one other at most"
    );
}

#[test]
fn a_priority_that_is_not_admitted_waits_and_holds_nobody_up() {
    let mut builder = LanesBuilder::default();
    for (lane, priority) in [(0, Priority::High), (1, Priority::Bulk)] {
        let counts = Arc::new(SourceCounts::default());
        let (source, overflow) = (SourceId(0), Overflow::Block);
        builder.add(LaneOptions {
            source,
            lane,
            priority,
            overflow,
            depth: 4,
            counts,
        });
    }
    let (mut intake, _, mut senders) = builder.build();
    let pool = Pool::new(1, 1, 10);
    for (_, _, sender) in &mut senders {
        sender.push(block(&pool, 0, 1));
    }
    let mut next = |admit: fn(Priority) -> bool| match intake.next(admit) {
        Some(Item::Block(block)) => Some(block.priority),
        _ => None,
    };
    assert_eq!(next(|p| p != Priority::High), Some(Priority::Bulk));
    assert_eq!(next(|p| p != Priority::High), None);
    assert_eq!(next(ALL), Some(Priority::High));
}
