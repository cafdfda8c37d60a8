//! `replay --verify`: the same capture replayed twice at a time, at different speeds and under different loads, and compared.
//!
//! Two replays run side by side, each with readers and a stage of its own and without a disk. What they hand on is compared step
//! by step as it comes, so that nothing need be kept, and the first difference is known with both values. One of them
//! goes as fast as it can; the other is disturbed: its lanes hold two blocks, and its readers rest and yield at random; or it
//! goes at a pace.
//!
//! **Always holds.** A difference ends the comparison at once. What waits to be compared is bounded.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kymo_drivers::link::recorded::Pace;
use kymo_drivers::link::{Link, Noticed, OpenError, Outlet, Read, Sender, Stop};
use serde::Serialize;

use super::build::{lanes, stage_channels};
use super::replay::Playback;
use super::tables::{self, Table};
pub use super::trace::Difference;
use super::trace::{Hash, Named, Step, Tracer};
use super::{Error, readers};
use crate::acquire::Reader;
use crate::capture::Capture;
use crate::capture::tape::Playing;
use crate::clock::Clock;
use crate::config::plan::Plan;
use crate::event::EventSender;
use crate::ledger::Ledger;
use crate::stage::{AlertSetup, Stage, StageOptions};

/// How a replay is compared with one that goes as fast as it can.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trial {
    /// As fast, but disturbed at random by this seed.
    Disturbed(u64),
    /// At so many times the capture's pace.
    Paced(f64),
}

/// What was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Over everything that was compared, in its order: SHA-256.
    pub hash: String,
    /// Of the replay that it was compared with: the same, unless there is a difference.
    pub other: String,
    /// Blocks.
    pub blocks: u64,
    /// Samples in them, those that were computed among them.
    pub samples: u64,
    /// Changes of alerts.
    pub alerts: u64,
    /// Events.
    pub events: u64,
    /// The first difference, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

/// Steps of a replay that wait for the other's, at most.
const STEPS_MAX: usize = 64;

/// Blocks in a lane of a replay that is disturbed.
const NARROW: usize = 2;

/// Compares two replays of a part of a capture. `seen`: told now and then how far they have come, UTC ns; false: stop.
///
/// # Errors
/// If the capture cannot be read, or the system gives no threads.
pub fn compare(
    plan: &Plan,
    capture: &Arc<Capture>,
    chosen: Option<&[usize]>,
    (playing, trial): (Playing, Trial),
    mut seen: impl FnMut(i64) -> bool,
) -> Result<Option<Compared>, Error> {
    let tables = tables::tables(plan);
    let named = Named {
        tables: &tables,
        rules: plan.rules.iter().map(|rule| rule.name.as_str()).collect(),
    };
    let first = Playback::new(plan, capture, chosen, (playing, None))?;
    let first = Bare::start(plan, &tables, first)?;
    let second = match trial {
        Trial::Paced(speed) => {
            let pace = Pace {
                from_ns: playing.from_ns.saturating_add(playing.shift_ns),
                host: Instant::now(),
                speed,
            };
            let playback = Playback::new(plan, capture, chosen, (playing, Some(pace)))?;
            Bare::start(plan, &tables, playback)?
        }
        Trial::Disturbed(seed) => {
            let mut seeds = fastrand::Rng::with_seed(seed);
            let disturb = |link| -> Box<dyn Link> {
                let random = fastrand::Rng::with_seed(seeds.u64(..));
                Box::new(Disturbed { link, random })
            };
            let playback = Playback::new(plan, capture, chosen, (playing, None))?.through(disturb);
            let mut narrow = plan.clone();
            for source in &mut narrow.sources {
                source.lane_blocks = NARROW;
            }
            Bare::start(&narrow, &tables, playback)?
        }
    };
    let mut compared = Compared::default();
    let mut hashes = [Hash::default(), Hash::default()];
    let is_over = loop {
        let (a, b) = (first.steps.recv().ok(), second.steps.recv().ok());
        if let Some(difference) = named.compare(a.as_ref(), b.as_ref()) {
            compared.difference = Some(difference);
        }
        for (hash, step) in hashes.iter_mut().zip([&a, &b]) {
            step.iter().for_each(|step| hash.add(step));
        }
        let Some(step) = &a else { break true };
        if compared.difference.is_some() {
            break true;
        }
        if compared.count(step).is_some_and(|time_ns| !seen(time_ns)) {
            break false;
        }
    };
    let [hash, other] = hashes.map(Hash::text);
    (compared.hash, compared.other) = (hash, other);
    first.end()?;
    second.end()?;
    Ok(is_over.then_some(compared))
}

impl Compared {
    /// Counts a step; when it was, if it is a block.
    fn count(&mut self, step: &Step) -> Option<i64> {
        match step {
            Step::Block(block) => {
                self.blocks += 1;
                self.samples += block.frames.samples();
                return block.last_ns();
            }
            Step::Alert(_) => self.alerts += 1,
            Step::Event(_) => self.events += 1,
            Step::Gaps(..) | Step::States(_) => {}
        }
        None
    }
}

/// Readers and a stage, without a disk.
struct Bare {
    steps: flume::Receiver<Step>,
    readers: Vec<Reader>,
    /// Whether the stage came to its proper end.
    stage: JoinHandle<bool>,
    stop: Stop,
}

impl Bare {
    fn start(plan: &Plan, tables: &[Table], playback: Playback) -> Result<Self, Error> {
        let ledger = Ledger::new(tables.len());
        let (intake, gate, senders) = lanes(plan, tables, &ledger, Some(playback.times()));
        let (events_in, events) = flume::unbounded();
        let events_in = EventSender::new(events_in, gate);
        let (steps_in, steps) = flume::bounded(STEPS_MAX);
        let stop = Stop::new()?;
        let (stage, _) = Stage::new(StageOptions {
            intake,
            sources: tables.iter().map(stage_channels).collect(),
            keep: tables::keep(plan, tables),
            rules: plan.rules.clone(),
            alerts: AlertSetup {
                silences: plan.silences.clone(),
                ..AlertSetup::default()
            },
            computed: tables::computed(plan, tables),
            recorder: Tracer(steps_in),
            ledger: ledger.clone(),
            latencies: Arc::default(),
            events,
            clock: Clock::manual(playback.begin_ns),
        });
        let stage = stage.following(playback.pace).start()?;
        // What the stage leaves behind has the steps' sender: without it their end is seen.
        let stage = std::thread::Builder::new().spawn(move || stage.join().is_ok())?;
        let outlets: Vec<Outlet> = plan.sources.iter().map(|_| Outlet::new()).collect();
        let wiring = readers::Wiring {
            plan,
            tables,
            ledger: &ledger,
            outlets: &outlets,
            events: &events_in,
            stop: &stop,
        };
        let readers = readers::start(&wiring, (senders, Vec::new()), playback.devices(), |_| {
            || ()
        })?;
        Ok(Self {
            steps,
            readers,
            stage,
            stop,
        })
    }

    /// Ends what is still under way.
    fn end(self) -> Result<(), Error> {
        self.stop.trigger();
        // What nobody takes any more holds nobody up.
        drop(self.steps);
        let broke = |what: &str| Error::Protocol {
            name: what.to_owned(),
            what: super::MISTAKE.to_owned(),
        };
        for reader in self.readers {
            let name = reader.name.clone();
            if !reader.join() {
                return Err(broke(&name));
            }
        }
        if self.stage.join().unwrap_or(false) {
            return Ok(());
        }
        Err(broke("the stage"))
    }
}

/// A link whose reader is held up at random.
struct Disturbed {
    link: Box<dyn Link>,
    random: fastrand::Rng,
}

impl Link for Disturbed {
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        match self.random.u8(..) {
            0..4 => std::thread::park_timeout(Duration::from_micros(self.random.u64(..300))),
            4..64 => std::thread::yield_now(),
            _ => {}
        }
        self.link.read(buffer, wait, stop)
    }

    fn ns_per_byte(&self) -> f64 {
        self.link.ns_per_byte()
    }

    fn sender(&self) -> Option<Box<dyn Sender>> {
        self.link.sender()
    }

    fn keeps_boundaries(&self) -> bool {
        self.link.keeps_boundaries()
    }

    fn missing_peer(&self) -> Option<String> {
        self.link.missing_peer()
    }

    fn await_peer(&mut self, stop: &Stop) -> Result<bool, OpenError> {
        self.link.await_peer(stop)
    }

    fn again(self: Box<Self>) -> Option<Box<dyn Link>> {
        let Self { link, random } = *self;
        let link = link.again()?;
        Some(Box::new(Self { link, random }))
    }

    fn comes_by_itself(&self) -> bool {
        self.link.comes_by_itself()
    }

    fn watches(&self) -> bool {
        self.link.watches()
    }

    fn noticed(&mut self) -> Noticed {
        self.link.noticed()
    }
}
