//! A stage that stalls: what each overflow policy does with a flood meanwhile, to the sample.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kymo::alert::Alert;
use kymo::clock::Clock;
use kymo::event::Event;
use kymo::lanes::{LaneOptions, LaneSender, LanesBuilder, Overflow};
use kymo::ledger::Ledger;
use kymo::stage::calibrate::Calibration;
use kymo::stage::{AlertSetup, ChannelOptions, Recorder, Stage, StageOptions};
use kymo_drivers::block::{Axis, Block, Gap, GapReason, Pool, Priority, SourceId};

const CRITICAL: SourceId = SourceId(0);
const FLOOD: SourceId = SourceId(1);
const FRAMES: usize = 16;
const DEPTH: usize = 8;

/// What arrived behind the stage, by source.
#[derive(Default)]
struct Arrived {
    values: [Vec<f64>; 2],
    gaps: [Vec<Gap>; 2],
}

/// Stands still in the middle of a block until it is let go, then records.
struct Stalling {
    arrived: Arc<Mutex<Arrived>>,
    stalled: Arc<AtomicBool>,
    /// Refuses the flood instead of standing still: a disk that does not keep up.
    full: bool,
    ledger: Ledger,
}

impl Stalling {
    fn keep_gaps(&mut self, source: SourceId, gaps: &[Gap]) {
        let mut arrived = self.arrived.lock().expect("no test thread panics with it");
        arrived.gaps[usize::from(source.0)].extend_from_slice(gaps);
    }
}

impl Recorder for Stalling {
    fn has_room(&self, priority: Priority) -> bool {
        !(self.full && priority == Priority::Bulk && self.stalled.load(Ordering::SeqCst))
    }

    fn record(&mut self, block: Block) -> Result<(), (Block, GapReason)> {
        while !self.full && self.stalled.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.keep_gaps(block.source, &block.gaps);
        let mut arrived = self.arrived.lock().expect("no test thread panics with it");
        arrived.values[usize::from(block.source.0)].extend_from_slice(block.frames.column(0));
        self.ledger
            .source(block.source)
            .add_journaled(block.frames.samples());
        Ok(())
    }

    fn record_gaps(&mut self, source: SourceId, _: u8, _: Priority, gaps: &[Gap]) {
        self.keep_gaps(source, gaps);
    }

    fn record_alert(&mut self, _: &Alert) {}

    fn record_event(&mut self, _: &Event) {}
}

/// Pushes so many blocks of consecutive numbers.
fn flood(mut sender: LaneSender, ledger: &Ledger, source: SourceId, blocks: usize) {
    let pool = Pool::new(1, FRAMES, DEPTH + 4);
    for number in 0..blocks {
        let mut block = loop {
            match pool.take() {
                Some(block) => break block,
                None => std::thread::park_timeout(Duration::from_micros(100)),
            }
        };
        for frame in 0..FRAMES {
            #[allow(clippy::cast_precision_loss)]
            block.frames.push(0, &[(number * FRAMES + frame) as f64]);
        }
        let start_ns = i64::try_from(number * FRAMES).expect("small");
        block.axis = Axis::Regular {
            start_ns,
            period_ns: 1.0,
        };
        ledger
            .source(source)
            .add_acquired(FRAMES as u64, FRAMES as u64);
        sender.push(block);
    }
}

fn run(overflow: Overflow, full: bool) -> (Ledger, u64, Arrived) {
    let ledger = Ledger::new(2);
    let mut builder = LanesBuilder::default();
    for (source, priority, overflow) in [
        (CRITICAL, Priority::Critical, Overflow::Block),
        (FLOOD, Priority::Bulk, overflow),
    ] {
        let counts = Arc::clone(ledger.source(source));
        builder.add(LaneOptions {
            source,
            lane: 0,
            priority,
            overflow,
            depth: DEPTH,
            counts,
        });
    }
    let (intake, gate, senders) = builder.build();
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let stalled = Arc::new(AtomicBool::new(true));
    let (_events_in, events) = flume::bounded(1);
    let channel = || {
        vec![ChannelOptions {
            lane: 0,
            calibration: Calibration::None,
        }]
    };
    let recorder = Stalling {
        arrived: Arc::clone(&arrived),
        stalled: Arc::clone(&stalled),
        full,
        ledger: ledger.clone(),
    };
    let (stage, _) = Stage::new(StageOptions {
        intake,
        sources: vec![channel(), channel()],
        keep: Vec::new(),
        latencies: Arc::default(),
        rules: vec![],
        alerts: AlertSetup::default(),
        computed: None,
        recorder,
        ledger: ledger.clone(),
        events,
        clock: Clock::system(),
    });
    let stage = stage.start().expect("a thread");
    let producers: Vec<_> = senders
        .into_iter()
        .map(|(source, _, sender)| {
            let ledger = ledger.clone();
            let blocks = if source == CRITICAL { 40 } else { 1000 };
            std::thread::spawn(move || flood(sender, &ledger, source, blocks))
        })
        .collect();
    // Long enough for the lanes to fill; the sums below do not depend on it.
    std::thread::park_timeout(Duration::from_millis(50));
    stalled.store(false, Ordering::SeqCst);
    gate.signal();
    for producer in producers {
        producer.join().expect("a producer ends");
    }
    let outcome = stage.join().expect("the stage ends");
    let arrived = std::mem::take(&mut *arrived.lock().expect("all threads have ended"));
    (ledger, outcome.in_flight, arrived)
}

fn check(overflow: Overflow, full: bool) {
    let (ledger, in_flight, arrived) = run(overflow, full);
    assert_eq!(in_flight, 0);
    let totals = ledger.totals(in_flight);
    assert!(totals.balanced, "{totals:?}");
    assert_eq!(totals.acquired, 1040 * FRAMES as u64);
    #[allow(clippy::cast_precision_loss)]
    let all: Vec<f64> = (0..40 * FRAMES).map(|value| value as f64).collect();
    assert_eq!(
        arrived.values[0], all,
        "the critical source loses nothing, and keeps its order"
    );
    assert_eq!(arrived.gaps[0], []);
    let dropped = ledger.source(FLOOD).dropped();
    let told: u64 = arrived.gaps[1].iter().filter_map(|gap| gap.frames).sum();
    assert_eq!(told, dropped, "every dropped sample stands in a gap");
    assert_eq!(
        arrived.values[1].len() as u64 + dropped,
        1000 * FRAMES as u64
    );
    assert!(
        arrived.values[1].is_sorted_by(|a, b| a < b),
        "order is kept"
    );
    assert!(
        arrived.gaps[1]
            .iter()
            .all(|gap| gap.reason == GapReason::LaneFull)
    );
    match overflow {
        Overflow::Block => assert_eq!(dropped, 0),
        _ => assert!(dropped > 0, "the flood was meant to overflow"),
    }
    if overflow == Overflow::DropOldest {
        #[allow(clippy::cast_precision_loss)]
        let newest = (1000 * FRAMES - 1) as f64;
        assert_eq!(
            arrived.values[1].last(),
            Some(&newest),
            "the newest survive"
        );
    }
}

#[test]
fn a_stalled_stage_makes_a_blocked_reader_wait_and_nothing_is_lost() {
    check(Overflow::Block, false);
}

#[test]
fn a_stalled_stage_drops_the_oldest_and_the_ledger_balances_to_the_sample() {
    check(Overflow::DropOldest, false);
}

#[test]
fn a_stalled_stage_drops_the_newest_and_the_ledger_balances_to_the_sample() {
    check(Overflow::DropNewest, false);
}

#[test]
fn a_disk_that_takes_no_bulk_holds_up_no_critical_block() {
    for overflow in [Overflow::Block, Overflow::DropOldest, Overflow::DropNewest] {
        check(overflow, true);
    }
}
