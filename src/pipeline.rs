//! The only file that knows all rooms: builds them, starts them, watches them, stops them.
//!
//! **Start**, from the end of the path to its beginning: data directory, journal, stage, simulators, readers.
//! **Stop**, from the beginning to the end: readers (which send what they hold), stage (which drains the
//! lanes), journal (which commits); then the ledger is drawn up, written into the journal, and returned.
//!
//! **Must not know.** The terminal.

mod build;
mod captured;
mod draft;
mod keep;
mod layout;
mod names;
mod note;
mod page;
mod punctual;
mod readers;
mod recorder;
mod replay;
mod report;
mod tables;
mod tell;
mod trace;
pub mod verify;

use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use kymo_drivers::link::{self, Outlet, Stop};
use kymo_simulators::Simulator;

use crate::acquire::{Device, Reader};
use crate::alert::{self, Control};
use crate::alert_memory;
use crate::capture::{self, Recording};
use crate::clock::{Clock, StepWatch, run_id};
use crate::config::plan::{Link, Plan};
use crate::control;
use crate::data_dir::{self, DataDir};
use crate::event::{Annotation, AnnotationError, EventKind, EventSender};
use crate::journal;
use crate::latency::{Latency, Summary};
use crate::ledger::Ledger;
use crate::playback;
use crate::serve;
use crate::sink::{self, Sinks, SinksSetup};
use crate::stage::computed::ComputedCounts;
use crate::stage::{AlertSetup, ChannelBoard, Outcome, Stage, StageLatencies, StageOptions};
use crate::store::{self, Store};

use build::{lanes, quanta, run_record, stage_channels};
use draft::Draft;
use keep::{AlertFollowers, Observer, abandoned_sinks, close_store, sink_report, start_store};
pub use names::{Names, RuleNames};
use note::Annotator;
use punctual::Punctual;
use recorder::JournalRecorder;
pub use recorder::Notice;
pub use replay::{Playback, Played, Timing, prepare};
pub use report::{Latencies, Report, Sources, StoreReport};
use tell::Tell;

/// Why a run could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What is remembered of rules.
    #[error(transparent)]
    Alerts(#[from] alert_memory::Error),
    /// The capture to be recorded.
    #[error(transparent)]
    Capture(#[from] capture::Error),
    /// A sink.
    #[error(transparent)]
    Sink(#[from] sink::Error),
    /// What a simulated device plays back.
    #[error(transparent)]
    Playback(#[from] playback::Error),
    /// A simulated device.
    #[error("cannot start the simulated device `{name}`: {source}")]
    Simulator {
        /// Which.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Threads or descriptors.
    #[error("the system gives no thread or descriptor more: {0}")]
    System(#[from] io::Error),
    /// A protocol that the plan should not have let through.
    #[error("source `{name}`: {what}")]
    Protocol {
        /// Of which source.
        name: String,
        /// What is wrong.
        what: String,
    },
}

/// News that nobody has taken yet, at most: then alerts go untold, but not unrecorded.
const NOTICES_MAX: usize = 4096;

/// Events of readers that the stage has not taken yet, at most.
const EVENTS_MAX: usize = 1024;

/// A run under way.
pub struct Run {
    id: String,
    plan: Arc<Plan>,
    names: Arc<Names>,
    clock: Clock,
    started_ns: i64,
    stop: Stop,
    ledger: Ledger,
    boards: Vec<Vec<Arc<ChannelBoard>>>,
    /// The ways to the devices, by source.
    outlets: Vec<Outlet>,
    readers: Vec<Reader>,
    stage: JoinHandle<Outcome<JournalRecorder>>,
    journal: journal::Journal,
    store: Option<Store>,
    followers: AlertFollowers,
    recording: Option<Recording>,
    control: Control,
    annotator: Annotator,
    control_server: Option<control::Server>,
    sinks: Option<Sinks>,
    committed: Arc<Mutex<Latency>>,
    /// Written by the stage about once a second.
    stage_latencies: Arc<Mutex<StageLatencies>>,
    /// The live page, if it is served.
    page: Option<serve::Server>,
    /// It plays recordings, and what happens to the host is none of its business.
    is_replay: bool,
    recovery: Vec<String>,
    simulators: Vec<Simulator>,
    notices: flume::Receiver<Notice>,
    notices_in: flume::Sender<Notice>,
    events: EventSender,
    step_watch: StepWatch,
    _data_dir: DataDir,
}

impl Run {
    /// Starts everything.
    ///
    /// # Errors
    /// What could not be started. A device that is not there is no error: it is looked for.
    pub fn start(plan: Plan, clock: Clock) -> Result<Self, Error> {
        Self::start_with(plan, clock, None)
    }

    /// Starts everything, with recordings in the place of devices. Nothing of what was known before has a part in it, and
    /// nobody gives orders. `clock` is the host's.
    ///
    /// # Errors
    /// What could not be started.
    pub fn replay(plan: Plan, clock: Clock, playback: Playback) -> Result<Self, Error> {
        Self::start_with(plan, clock, Some(playback))
    }

    fn start_with(plan: Plan, clock: Clock, playback: Option<Playback>) -> Result<Self, Error> {
        let is_replay = playback.is_some();
        let plan = Arc::new(plan);
        Sinks::check(&plan.sinks)?;
        let data_dir = DataDir::take(&plan.data_dir)?;
        let tables = tables::tables(&plan);
        let names = Arc::new(Names::new(&plan, &tables));
        let started_ns = clock.now_ns();
        let id = run_id(started_ns);
        let ledger = Ledger::new(tables.len());

        // Of a replay, the time of the recordings.
        let (begin_ns, stage_clock) = match &playback {
            Some(playback) => (playback.begin_ns, Clock::manual(playback.begin_ns)),
            None => (started_ns, clock.clone()),
        };
        let times = playback.as_ref().map(Playback::times);
        let (intake, gate, senders) = lanes(&plan, &tables, &ledger, times);
        let committed = Arc::new(Mutex::new(Latency::default()));
        let follower = Arc::new(OnceLock::new());
        let tellers = Arc::new(OnceLock::new());
        let sink_waker = Arc::new(OnceLock::new());
        let (journal, sender, recovery) = journal::open(
            &data_dir.path().join(journal::DIR),
            journal::Setup {
                options: plan.journal.clone(),
                quanta: quanta(&tables),
                run: serde_json::to_string(&run_record(&plan, &tables, &id, begin_ns))
                    .unwrap_or_default(),
                clock: {
                    let clock = clock.clone();
                    Arc::new(move || clock.now_ns())
                },
                observer: Box::new(Observer {
                    follower: Arc::clone(&follower),
                    tellers: Arc::clone(&tellers),
                    sinks: Arc::clone(&sink_waker),
                    samples: 0,
                    ledger: ledger.clone(),
                    committed: Arc::clone(&committed),
                    is_timed: !is_replay,
                    reads_ns: Vec::new(),
                    commit_ns: 0,
                }),
                room: Arc::new({
                    let gate = gate.clone();
                    move || gate.signal()
                }),
            },
        )?;

        let store = start_store(&plan, &data_dir, &journal, &id)?;
        if let Some(waker) = store.as_ref().and_then(Store::waker) {
            // Set once, here.
            let _ = follower.set(waker);
        }

        let mut recovery = recovery.messages();
        recovery.extend(abandoned_sinks(&plan, &data_dir)?);
        let sinks = (!plan.sinks.is_empty())
            .then(|| {
                Sinks::start(&SinksSetup {
                    data_dir: data_dir.path().to_owned(),
                    sinks: plan.sinks.clone(),
                    journal: journal.status(),
                    is_pruned: store.is_some(),
                    journal_segment_bytes: plan.journal.segment_bytes,
                    run: id.clone(),
                    clock: clock.clone(),
                })
            })
            .transpose()?;
        if let Some(sinks) = &sinks {
            // Set once, here: before any block.
            let _ = sink_waker.set(sinks.waker());
        }

        let (notices_in, notices) = flume::bounded(NOTICES_MAX);
        // What a replayed source has to say waits for its place in time, however far the source is ahead.
        let (events_in, events_out) = if is_replay {
            flume::unbounded()
        } else {
            flume::bounded(EVENTS_MAX)
        };
        let events = EventSender::new(events_in, gate.clone());
        let punctual = Punctual::new(&plan.host, &events, &clock)?;
        let stop = Stop::new()?;
        let outlets: Vec<Outlet> = plan.sources.iter().map(|_| Outlet::new()).collect();
        let record = run_record(&plan, &tables, &id, begin_ns);
        let (recording, taps) =
            captured::start(&plan, &record, &ledger, (&events, &clock), &outlets)?;
        let (tell, durable) = Tell::new(
            &plan,
            &outlets,
            notices_in.clone(),
            (&events, &clock, &stop),
            build::host(),
        );
        let remembered = alert_memory::recall(data_dir.path())?;
        let amiss = remembered.amiss.clone();
        let (control, commands) = alert::control_channel(Arc::new(move || gate.signal()));
        let alerts = if is_replay {
            AlertSetup {
                silences: plan.silences.clone(),
                ..AlertSetup::default()
            }
        } else {
            AlertSetup {
                silences: plan.silences.clone(),
                memory: remembered.memory.clone(),
                orders: alert_memory::orders(data_dir.path())?,
                commands: Some(commands),
            }
        };
        let followers = AlertFollowers::start(
            &plan,
            &data_dir,
            remembered,
            (durable, journal.status().durable_seq(), &clock),
            is_replay,
        )?;
        // Set once, here.
        let _ = tellers.set(followers.threads());
        let stage_latencies = Arc::<Mutex<StageLatencies>>::default();
        let (stage, boards) = Stage::new(StageOptions {
            latencies: Arc::clone(&stage_latencies),
            intake,
            sources: tables.iter().map(stage_channels).collect(),
            keep: tables::keep(&plan, &tables),
            rules: plan.rules.clone(),
            alerts,
            computed: tables::computed(&plan, &tables),
            recorder: JournalRecorder {
                journal: sender,
                notices: notices_in.clone(),
                names: Arc::clone(&names),
                tell,
                clock: stage_clock.clone(),
                late: Vec::new(),
                capture: recording.as_ref().map(Recording::events),
                waits: is_replay,
            },
            ledger: ledger.clone(),
            events: events_out,
            clock: stage_clock,
        });
        let stage = match &playback {
            Some(playback) => stage.following(playback.pace),
            None => stage,
        };
        let stage = stage.start_with(punctual.stage())?;
        let annotator = Annotator {
            names: Arc::clone(&names),
            events: events.clone(),
            clock: clock.clone(),
            started_ns,
        };
        let control_server = if is_replay {
            None
        } else {
            alert_memory::forget_orders(data_dir.path())?;
            Some(control::Server::start(
                data_dir.path(),
                control::Obey {
                    rules: control.clone(),
                    note: annotator.for_control(),
                },
            )?)
        };

        let simulators = playback::devices(&plan)?
            .into_iter()
            .map(|options| {
                let name = options.name.clone();
                Simulator::start(options).map_err(|source| Error::Simulator { name, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        recovery.extend(amiss);
        let mut run = Self {
            id,
            plan: Arc::clone(&plan),
            names,
            step_watch: StepWatch::new(clock.wall_offset_ns()),
            clock,
            started_ns,
            stop,
            ledger,
            boards,
            outlets,
            readers: Vec::new(),
            stage,
            journal,
            store,
            followers,
            recording,
            control,
            annotator,
            control_server,
            sinks,
            committed,
            stage_latencies,
            page: None,
            is_replay,
            recovery,
            simulators,
            notices,
            notices_in,
            events,
            _data_dir: data_dir,
        };
        let devices = match playback {
            Some(playback) => playback.devices(),
            None => run.devices(),
        };
        let wiring = readers::Wiring {
            plan: &plan,
            tables: &tables,
            ledger: &run.ledger,
            outlets: &run.outlets,
            events: &run.events,
            stop: &run.stop,
        };
        run.readers = readers::start(&wiring, (senders, taps), devices, |source| {
            punctual.reader(source)
        })?;
        Ok(run)
    }

    /// The sources' devices, read by the run's clock.
    fn devices(&self) -> Vec<(Device, Clock)> {
        let sources = self.plan.sources.iter();
        let device = |link: &Link| Device::Declared(self.device(link));
        sources
            .map(|source| (device(&source.link), self.clock.clone()))
            .collect()
    }

    /// The device behind a link: for a simulator, its pseudo-terminal.
    fn device(&self, link: &Link) -> link::Options {
        match link {
            Link::Device(options) => options.clone(),
            Link::Simulator { simulator, serial } => {
                let path = self.simulators[*simulator].path().to_owned();
                link::Options::Serial(link::serial::Options {
                    device: link::serial::Device::Path(path),
                    ..serial.clone()
                })
            }
        }
    }

    /// The run's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is being run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What its sources, channels and rules are called.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The run's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The counts, as they rise.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Latest values and statistics, by source and channel.
    #[must_use]
    pub fn boards(&self) -> &[Vec<Arc<ChannelBoard>>] {
        &self.boards
    }

    /// The ways to the devices, by source: for who has something to say to one.
    #[must_use]
    pub fn outlets(&self) -> &[Outlet] {
        &self.outlets
    }

    /// Whether alerts come as lines of a notifier, too.
    #[must_use]
    pub fn shows_alerts_itself(&self) -> bool {
        let mut notifiers = self.plan.notifiers.iter();
        notifiers.any(|notifier| notifier.kind.shows)
    }

    /// The way to acknowledge and silence alerts.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Writes down what a person has to say: an event of the run, and of a running capture.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn annotate(&self, annotation: Annotation) -> Result<(), AnnotationError> {
        self.annotator.annotate(annotation)
    }

    /// The first file of the capture that is recorded, if one is.
    #[must_use]
    pub fn capture(&self) -> Option<&std::path::Path> {
        self.recording.as_ref().map(Recording::path)
    }

    /// The simulated devices, in the plan's order.
    #[must_use]
    pub fn simulators(&self) -> &[Simulator] {
        &self.simulators
    }

    /// Alerts and events, as they happen.
    #[must_use]
    pub fn notices(&self) -> &flume::Receiver<Notice> {
        &self.notices
    }

    /// Wakes whoever waits for notices: the sender's end of the same channel.
    #[must_use]
    pub fn notices_in(&self) -> flume::Sender<Notice> {
        self.notices_in.clone()
    }

    /// How the sinks stand, by name.
    #[must_use]
    pub fn sinks(&self) -> Vec<(String, sink::SinkStatus)> {
        self.sinks.as_ref().map_or_else(Vec::new, Sinks::status)
    }

    /// How the journal does.
    #[must_use]
    pub fn journal(&self) -> journal::Status {
        self.journal.status()
    }

    /// What the start found amiss in the journal.
    #[must_use]
    pub fn recovery(&self) -> &[String] {
        &self.recovery
    }

    /// Whether every source has come to its end, so that nothing more will come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !self.readers.is_empty() && self.readers.iter().all(Reader::is_finished)
    }

    /// Whether the stage has ended because every source has. A reader lets go of its lanes a moment before its thread
    /// is over, so that the stage may be first.
    fn has_run_out(&self) -> bool {
        const MOMENTS: usize = 100;
        (0..MOMENTS).any(|_| {
            let is_finished = self.is_finished();
            if !is_finished {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            is_finished
        })
    }

    /// Looks after the run; to be called about once a second. Says why it cannot go on, if it cannot.
    pub fn watch(&mut self) -> Option<String> {
        let step_ns = self.step_watch.look(self.clock.wall_offset_ns());
        if let Some(step_ns) = step_ns.filter(|_| !self.is_replay) {
            let now_ns = self.clock.now_ns();
            self.events
                .send(None, now_ns, EventKind::ClockStepped { step_ns });
        }
        if self.stage.is_finished() && !self.has_run_out() {
            return Some(format!("the stage broke down: {MISTAKE}"));
        }
        let failure = self.journal.status().failure()?;
        Some(failure.to_string())
    }

    /// Stops everything in order, and draws up the report.
    #[must_use]
    pub fn stop(mut self) -> Report {
        let mut failure = self.watch();
        drop(self.control_server.take());
        // It reads what is ended below.
        drop(self.page.take());
        self.stop.trigger();
        let acquired_ns = self.clock.now_ns();
        for reader in self.readers {
            let name = reader.name.clone();
            if !reader.join() {
                failure.get_or_insert(format!("the reader of `{name}` broke down: {MISTAKE}"));
            }
        }
        self.simulators.iter().for_each(Simulator::begin_stop);
        for (simulator, options) in self.simulators.into_iter().zip(&self.plan.simulators) {
            if let Err(error) = simulator.stop() {
                let what = format!("the simulated device `{}` failed: {error}", options.name);
                failure.get_or_insert(what);
            }
        }
        for outlet in &self.outlets {
            outlet.observe(None);
        }
        let outcome = self.stage.join();
        // The stage is over, and with it what it had to say.
        let capture = self.recording.map(Recording::finish);
        let mut draft = Draft {
            run: self.id,
            duration_ns: acquired_ns - self.started_ns,
            plan: self.plan,
            ledger: self.ledger,
            read_to_stage: Summary::default(),
            read_to_alert: Summary::default(),
            computed: ComputedCounts::default(),
            capture,
            committed: self.committed,
            alerts: Vec::new(),
            in_flight: 0,
            journal: self.journal.status(),
            recovery: self.recovery,
            failure,
        };
        let Ok(outcome) = outcome else {
            // The journal's sender went down with the stage: what it took is committed, without a ledger.
            drop(self.journal);
            draft
                .failure
                .get_or_insert(format!("the stage broke down: {MISTAKE}"));
            return draft.report();
        };
        draft.read_to_stage = outcome.read_to_stage.summary();
        draft.read_to_alert = outcome.read_to_alert.summary();
        draft.computed = outcome.computed;
        draft.alerts = outcome.alerts;
        draft.in_flight = outcome.in_flight;
        let sender = outcome.recorder.finish();
        let draft = Arc::new(draft);
        let for_journal = Arc::clone(&draft);
        // Asked for when every block is committed or counted as not: the sums stand still from there.
        let closed = self.journal.close(sender, move || {
            serde_json::to_string(&for_journal.report()).unwrap_or_default()
        });
        let mut report = draft.report();
        if let Err(error) = closed {
            report.failure.get_or_insert(error.to_string());
        }
        // At the same time: what is still to be told, and what is still to be stored.
        self.followers.begin_close();
        report.store = self.store.map(close_store);
        report.notifiers = self.followers.close();
        report.sinks = self.sinks.map(sink_report).unwrap_or_default();
        report
    }
}

/// What a defect is called when it is met by a user.
const MISTAKE: &str = "this is a mistake in kymo";
