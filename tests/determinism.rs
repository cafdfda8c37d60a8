//! The same samples at any speed, cut into blocks in any way, give the same windows, derived channels and alerts, bit for bit.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kymo::alert::{Alert, Condition, Kind, Limits, RuleOptions, Side};
use kymo::clock::Clock;
use kymo::compute::align::{Alignment, Moments};
use kymo::compute::spectrum::Taper;
use kymo::compute::window::{self, Span, Statistic};
use kymo::event::Event;
use kymo::expression::{Channel, Channels, Expression};
use kymo::lanes::{LaneOptions, LaneSender, LanesBuilder, Overflow};
use kymo::ledger::Ledger;
use kymo::stage::calibrate::Calibration;
use kymo::stage::computed::{ComputedOptions, Derived, LaneColumns, MachineOptions, Work};
use kymo::stage::{AlertSetup, ChannelOptions, Recorder, Stage, StageOptions};
use kymo_drivers::block::{Axis, Block, Gap, GapReason, Pool, Priority, SourceId};

const FAST: SourceId = SourceId(0);
const SLOW: SourceId = SourceId(1);
const JOINED: SourceId = SourceId(2);
/// Far ahead of the host's clock, so that no source is ever late: what is late is not the same at every speed.
const START_NS: i64 = 4_000_000_000_000_000_000;
const SECONDS: i64 = 2;
const BLOCK_FRAMES: usize = 64;

/// What came out: samples by source and lane, and the changes of alerts by rule.
#[derive(Debug, Default, PartialEq)]
struct Out {
    samples: std::collections::BTreeMap<(u16, u8), Vec<(i64, Vec<u64>)>>,
    alerts: std::collections::BTreeMap<usize, Vec<(i64, &'static str, u64)>>,
}

struct Collect(Arc<Mutex<Out>>);

impl Recorder for Collect {
    fn has_room(&self, _: Priority) -> bool {
        true
    }

    fn record(&mut self, block: Block) -> Result<(), (Block, GapReason)> {
        let mut out = self.0.lock().expect("nobody panics with it");
        let rows = out.samples.entry((block.source.0, block.lane)).or_default();
        for index in 0..block.frames.len() {
            let values = 0..block.frames.channels();
            let values = values.map(|channel| block.frames.column(channel)[index].to_bits());
            rows.push((block.time_ns(index), values.collect()));
        }
        Ok(())
    }

    fn record_gaps(&mut self, _: SourceId, _: u8, _: Priority, _: &[Gap]) {}

    fn record_alert(&mut self, alert: &Alert) {
        let mut out = self.0.lock().expect("nobody panics with it");
        let moved = &alert.moved;
        let change = (moved.time_ns, moved.change.name(), moved.value.to_bits());
        out.alerts.entry(alert.rule).or_default().push(change);
    }

    fn record_event(&mut self, _: &Event) {}
}

/// The value of a source's channel at its frame `index`: something that crosses limits, with NaN in between.
#[allow(clippy::cast_precision_loss)]
fn value(source: SourceId, channel: usize, index: i64) -> f64 {
    let t = index as f64 / if source == FAST { 1000.0 } else { 100.0 };
    match (source, channel) {
        (FAST, 0) if index % 97 == 0 => f64::NAN,
        (FAST, 0) => 3.0 * (t * 40.0).sin() + (t * 311.0).cos(),
        (FAST, _) => t.fract() * 10.0,
        _ => 5.0 * (t * 7.0).sin(),
    }
}

/// Sends a source's frames in blocks of sizes by seed, at a pace; 0: as fast as it goes.
fn play(mut sender: LaneSender, source: SourceId, seed: u64, speed: f64) {
    let (channels, period_ns) = if source == FAST {
        (2, 1_000_000)
    } else {
        (1, 10_000_000)
    };
    let frames = SECONDS * 1_000_000_000 / period_ns;
    let pool = Pool::new(channels, BLOCK_FRAMES, 64);
    let mut random = fastrand::Rng::with_seed(seed);
    let started = Instant::now();
    let mut index = 0;
    while index < frames {
        let count = random.i64(1..=BLOCK_FRAMES as i64).min(frames - index);
        let mut block = loop {
            match pool.take() {
                Some(block) => break block,
                None => std::thread::park_timeout(Duration::from_micros(50)),
            }
        };
        for frame in index..index + count {
            let values: Vec<f64> = (0..channels)
                .map(|channel| value(source, channel, frame))
                .collect();
            block.frames.push(0, &values);
        }
        block.axis = Axis::Regular {
            start_ns: START_NS + index * period_ns,
            period_ns: period_ns as f64,
        };
        index += count;
        if speed > 0.0 {
            let due = Duration::from_secs_f64((index * period_ns) as f64 / 1e9 / speed);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        } else if random.u8(..) < 8 {
            std::thread::sleep(Duration::from_micros(random.u64(..400)));
        }
        sender.push(block);
    }
}

struct Names;

const CHANNELS: [(&str, usize); 3] = [("fast.x", 0), ("fast.y", 1), ("slow.z", 2)];

impl Channels for Names {
    fn find(&self, name: &str) -> Option<Channel> {
        let (_, channel) = CHANNELS.iter().find(|(known, _)| *known == name)?;
        Some(Channel {
            channel: *channel,
            unit: "1".to_owned(),
            rate_hz: Some(if *channel < 2 { 1000.0 } else { 100.0 }),
        })
    }

    fn names(&self) -> Vec<String> {
        CHANNELS.map(|(name, _)| name.to_owned()).to_vec()
    }

    fn clock_rate_hz(&self) -> Option<f64> {
        Some(1000.0)
    }
}

fn compiled(text: &str) -> Expression {
    match Expression::compile(text, &Names) {
        Ok(expression) => expression,
        Err(errors) => panic!("{text}: {errors:?}"),
    }
}

/// Source and place of an expression's inputs.
fn places(expression: &Expression) -> Vec<(usize, usize)> {
    let places = [(0, 0), (0, 1), (1, 0)];
    expression
        .inputs()
        .iter()
        .map(|input| places[input.channel])
        .collect()
}

fn rules() -> Vec<RuleOptions> {
    let limits = Limits {
        side: Side::Above,
        limit: 2.0,
        clear: 0.0,
    };
    let condition = |text: &str| {
        let when = compiled(text);
        let when = Condition {
            places: places(&when),
            expression: Box::new(when),
        };
        Kind::Expression { when, clear: None }
    };
    let over = Duration::from_millis(20);
    vec![
        RuleOptions::new("threshold", (0, 0), Kind::Threshold(limits)),
        RuleOptions::new("rate", (0, 1), Kind::Rate { limits, over }),
        RuleOptions::new(
            "stuck",
            (1, 0),
            Kind::Stuck {
                after: Duration::from_millis(50),
                tolerance: 0.4,
            },
        ),
        RuleOptions::new("trailing", (0, 0), condition("mean(fast.x, 30ms) > 1")),
        RuleOptions::new("joined", (0, 0), condition("fast.x > 1 and slow.z > 2")),
    ]
}

fn computed() -> ComputedOptions {
    let fast = |columns: Vec<usize>| LaneColumns {
        source: FAST,
        lane: 0,
        columns,
        shape: (2, BLOCK_FRAMES),
    };
    let slow = LaneColumns {
        source: SLOW,
        lane: 0,
        columns: vec![0],
        shape: (1, BLOCK_FRAMES),
    };
    let windows = |lane: u8, statistics: Vec<Statistic>, is_heavy: bool, hop: i64| MachineOptions {
        source: FAST,
        lane,
        priority: Priority::Normal,
        channels: 2 * statistics.len(),
        block_frames: BLOCK_FRAMES,
        blocks_max: 4096,
        inputs: vec![fast(vec![0, 1])],
        work: Work::Windows(window::Options {
            span: Span::Time {
                length: 100_000_000,
                hop,
            },
            statistics,
            rate_hz: Some(1000.0),
            lateness_ns: 0,
            taper: Taper::Hann,
        }),
        is_heavy,
    };
    let light = vec![
        Statistic::Mean,
        Statistic::Rms,
        Statistic::Slope,
        Statistic::Count,
    ];
    let heavy = vec![Statistic::Quantile(0.5), Statistic::PeakFrequency];
    let expression = compiled("lowpass(fast.x, 50 Hz) + slow.z * fast.y");
    let inputs = expression.inputs().iter().map(|input| match input.channel {
        0 => (0, 0),
        1 => (0, 1),
        _ => (1, 0),
    });
    let joined = MachineOptions {
        source: JOINED,
        lane: 0,
        priority: Priority::Normal,
        channels: 1,
        block_frames: BLOCK_FRAMES,
        blocks_max: 4096,
        inputs: vec![fast(vec![0, 1]), slow],
        work: Work::Derived {
            moments: Moments::Stream(0),
            alignment: Alignment::Linear,
            hold_ns: 1_000_000_000,
            channels: vec![Derived {
                inputs: inputs.collect(),
                expression,
                conversion: (1.0, 0.0),
            }],
        },
        is_heavy: false,
    };
    ComputedOptions {
        machines: vec![
            windows(1, light, false, 10_000_000),
            windows(2, heavy, true, 100_000_000),
            joined,
        ],
        lateness_ns: 1_000_000_000,
    }
}

fn played(seed: u64, speed: f64) -> Out {
    let ledger = Ledger::new(3);
    let mut builder = LanesBuilder::default();
    for source in [FAST, SLOW] {
        builder.add(LaneOptions {
            source,
            lane: 0,
            priority: Priority::Normal,
            overflow: Overflow::Block,
            depth: 16,
            counts: Arc::clone(ledger.source(source)),
        });
    }
    let (intake, _gate, senders) = builder.build();
    let out = Arc::new(Mutex::new(Out::default()));
    let (_events_in, events) = flume::bounded(1);
    let channels = |lanes: &[(u8, usize)]| {
        let each = lanes
            .iter()
            .flat_map(|(lane, count)| std::iter::repeat_n(*lane, *count));
        each.map(|lane| ChannelOptions {
            lane,
            calibration: Calibration::None,
        })
        .collect()
    };
    let (stage, _) = Stage::new(StageOptions {
        intake,
        sources: vec![
            channels(&[(0, 2), (1, 8), (2, 4)]),
            channels(&[(0, 1)]),
            channels(&[(0, 1)]),
        ],
        keep: Vec::new(),
        latencies: Arc::default(),
        rules: rules(),
        alerts: AlertSetup::default(),
        computed: Some(computed()),
        recorder: Collect(Arc::clone(&out)),
        ledger: ledger.clone(),
        events,
        clock: Clock::system(),
    });
    let stage = stage.start().expect("a thread");
    let players: Vec<_> = senders
        .into_iter()
        .map(|(source, _, sender)| {
            std::thread::spawn(move || play(sender, source, seed + u64::from(source.0), speed))
        })
        .collect();
    for player in players {
        player.join().expect("a player ends");
    }
    let outcome = stage.join().expect("the stage ends");
    assert_eq!(outcome.in_flight, 0);
    assert_eq!(
        outcome.computed,
        kymo::stage::computed::ComputedCounts::default()
    );
    let out = std::mem::take(&mut *out.lock().expect("all threads have ended"));
    out
}

#[test]
fn the_same_samples_give_the_same_windows_and_alerts_at_any_speed() {
    let at_pace = played(1, 1.0);
    assert_eq!(at_pace.samples[&(0, 0)].len(), 2000);
    assert_eq!(
        at_pace.samples[&(2, 0)].len(),
        2000,
        "a frame of the joined source for each"
    );
    assert!(
        at_pace.samples[&(0, 1)].len() >= 190,
        "windows hop by 10 ms"
    );
    assert_eq!(at_pace.samples[&(0, 2)].len(), 20, "windows of 100 ms");
    for rule in 0..rules().len() {
        let changes = at_pace.alerts.get(&rule).map_or(0, Vec::len);
        assert!(changes >= 2, "rule {rule} has {changes} changes");
    }
    for (seed, speed) in [(2, 10.0), (3, 0.0), (4, 0.0), (5, 0.0)] {
        let other = played(seed, speed);
        assert!(
            at_pace.alerts == other.alerts,
            "alerts differ at {speed}x, seed {seed}"
        );
        for (lane, rows) in &at_pace.samples {
            let others = &other.samples[lane];
            let first = rows.iter().zip(others).position(|(a, b)| a != b);
            assert_eq!(
                first, None,
                "lane {lane:?} differs at {speed}x, seed {seed}"
            );
            assert_eq!(
                rows.len(),
                others.len(),
                "lane {lane:?} at {speed}x, seed {seed}"
            );
        }
    }
}
