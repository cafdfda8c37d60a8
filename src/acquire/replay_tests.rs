//! A reader that plays a recording makes the same blocks of it at any pace, under any load.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kymo_drivers::block::{Priority, SourceId};
use kymo_drivers::link::recorded::{Happened, Manner, Moment, Pace, Recorded, VirtualTime};
use kymo_drivers::link::{Outlet, Stop};
use kymo_drivers::protocol::Options;
use kymo_drivers::protocol::lines;
use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::event::EventSender;
use crate::lanes::{Item, LaneOptions, LanesBuilder, Overflow};
use crate::ledger::SourceCounts;

const MS: i64 = 1_000_000;

/// How a recording is played.
#[derive(Debug, Clone, Copy)]
struct Manners {
    speed: Option<f64>,
    /// Blocks in the lane.
    depth: usize,
    /// Who takes the blocks is slow.
    pause: Duration,
}

/// Everything that a reader makes of a tape, as text: blocks with all that is in them, and events.
fn played(tape: &[Moment], manners: Manners) -> Vec<String> {
    let counts = Arc::<SourceCounts>::default();
    let mut builder = LanesBuilder::default();
    builder.add(LaneOptions {
        source: SourceId(0),
        lane: 0,
        priority: Priority::Normal,
        overflow: Overflow::Block,
        depth: manners.depth,
        counts: Arc::clone(&counts),
    });
    let (mut intake, gate, senders) = builder.build();
    let (events, said) = flume::unbounded();
    let stop = Stop::new().unwrap();
    let time = VirtualTime::new(0);
    let pace = manners.speed.map(|speed| Pace {
        from_ns: 0,
        host: Instant::now(),
        speed,
    });
    let tape = tape.to_vec();
    let tape = Box::new(tape.into_iter());
    let link = Recorded::new(tape, time.clone(), pace, Manner::default());
    let protocol = Options::Lines(lines::Options {
        form: lines::Form::Separated {
            separator: ",".to_owned(),
        },
        keys: vec!["a".to_owned(), "b".to_owned()],
        suffixes: Vec::new(),
        decimal_comma: false,
        comment: None,
        first_line_whole: true,
        line_bytes_max: 200,
    });
    let lanes = senders.into_iter().map(|(_, _, sender)| LaneOutput {
        sender,
        columns: vec![0, 1],
        blocks_max: manners.depth + 4,
        block_age: Duration::from_millis(5),
    });
    let reader = Reader::start(ReaderOptions {
        name: "recorded".to_owned(),
        source: SourceId(0),
        device: Device::Open(Box::new(link)),
        protocol: protocol.build().unwrap(),
        commands: Commands::default(),
        outlet: Outlet::new(),
        tap: None,
        lanes: lanes.collect(),
        block_frames: 8,
        time: TimeOptions::default(),
        reconnect: ReconnectOptions::default(),
        counts: Arc::clone(&counts),
        events: EventSender::new(events, gate),
        clock: Clock::recorded(time),
        stop,
    })
    .unwrap();
    let mut all = Vec::new();
    while !intake.is_finished() {
        match intake.next(|_| true) {
            Some(Item::Block(block)) => {
                let mut text = format!("{} at {}:", block.first_frame, block.read_ns);
                for frame in 0..block.frames.len() {
                    let bits = |column: usize| block.frames.column(column)[frame].to_bits();
                    let _ = write!(
                        text,
                        " {}={:x},{:x}",
                        block.time_ns(frame),
                        bits(0),
                        bits(1)
                    );
                }
                let _ = write!(text, " {:?}", block.gaps);
                all.push(text);
                std::thread::park_timeout(manners.pause);
            }
            Some(Item::End { gaps, .. }) => all.push(format!("at the end {gaps:?}")),
            None => std::thread::park_timeout(Duration::from_micros(50)),
        }
    }
    assert!(reader.join());
    all.extend(
        said.drain()
            .map(|event| format!("{} {:?}", event.time_ns, event.kind)),
    );
    let counts = counts.snapshot();
    all.push(format!(
        "{} {} {}",
        counts.frames, counts.corrupt_frames, counts.skipped_bytes
    ));
    all
}

/// Lines, cut into reads anywhere; now and then the device is gone for a while, or sends rubbish.
fn tapes() -> impl Strategy<Value = Vec<Moment>> {
    let step = (0_i64..12, 1_usize..40, 0_u8..20);
    prop::collection::vec(step, 1..60).prop_map(|steps| {
        let mut text = String::new();
        for line in 0..400 {
            let _ = writeln!(text, "{line},{}", f64::from(line) / 7.0);
        }
        let mut bytes = text.as_bytes();
        let mut now = 1;
        let mut moment = |after: i64, what: Happened| {
            now += after;
            Moment {
                time_ns: now * MS,
                what,
            }
        };
        let mut tape = vec![moment(0, Happened::Opened(Manner::default()))];
        for (after, count, kind) in steps {
            match kind {
                0 => {
                    tape.push(moment(after, Happened::Gone("unplugged".to_owned())));
                    tape.push(moment(400, Happened::Opened(Manner::default())));
                }
                1 => tape.push(moment(after, Happened::Read(b"\xff\x00,,\n".to_vec()))),
                _ => {
                    let (read, rest) = bytes.split_at(count.min(bytes.len()));
                    bytes = rest;
                    tape.push(moment(after, Happened::Read(read.to_vec())));
                }
            }
        }
        tape
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_recording_gives_the_same_at_any_speed_and_under_any_load(tape in tapes()) {
        let free = Manners { speed: None, depth: 256, pause: Duration::ZERO };
        let expected = played(&tape, free);
        // Something came of it.
        prop_assert!(expected.len() > 1);
        let pressed = Manners { depth: 2, pause: Duration::from_micros(200), ..free };
        prop_assert_eq!(&expected, &played(&tape, pressed));
        let paced = Manners { speed: Some(50.0), ..free };
        prop_assert_eq!(&expected, &played(&tape, paced));
    }
}

#[test]
fn a_changed_recording_gives_something_else() {
    let tape = |text: &str| {
        let manner = Manner::default();
        let at = |time_ns, what| Moment { time_ns, what };
        vec![
            at(MS, Happened::Opened(manner)),
            at(2 * MS, Happened::Read(text.as_bytes().to_vec())),
        ]
    };
    let free = Manners {
        speed: None,
        depth: 8,
        pause: Duration::ZERO,
    };
    let expected = played(&tape("1,2\n"), free);
    assert_eq!(expected, played(&tape("1,2\n"), free));
    assert_ne!(expected, played(&tape("1,3\n"), free));
}
