//! What the page shows: what is fixed for a run, and what the follower of the journal keeps up to date.
//!
//! **Must not know.** HTTP; devices.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::alert::Control;
use crate::clock::Clock;
use crate::event::Annotation;
use crate::journal;
use crate::latency::Summary;
use crate::ledger::Ledger;
use crate::sink::SinkStatus;
use crate::stage::ChannelBoard;

use super::options::Options;
use super::pyramid::Pyramid;

/// A source, for the page.
#[derive(Debug, Clone)]
pub struct SourceInfo {
    /// Its name.
    pub name: String,
    /// Its link; `None`: it is computed.
    pub link: Option<String>,
    /// How urgent.
    pub priority: String,
    /// Frames a second it should have.
    pub nominal_hz: Option<f64>,
}

/// A channel, for the page. Its number is its place in [`Setup::channels`].
#[derive(Debug, Clone)]
pub struct ChannelInfo {
    /// `source.channel`.
    pub name: String,
    /// Its source's number.
    pub source: usize,
    /// Its lane's number in the source, and its column there.
    pub place: (usize, usize),
    /// Its unit, UCUM.
    pub unit: String,
    /// Frames a second, where that is known.
    pub rate_hz: Option<f64>,
    /// `raw`, `derived`, `window`.
    pub kind: &'static str,
}

/// A rule, for the page.
#[derive(Debug, Clone)]
pub struct RuleInfo {
    /// Its name.
    pub name: String,
    /// `source.channel` of what it looks at.
    pub channel: String,
}

/// Latencies, by the part of the path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latencies {
    /// From the read to the stage.
    pub read_to_stage: Summary,
    /// From the read to the change of an alert.
    pub read_to_alert: Summary,
    /// From the read to the commit.
    pub read_to_journal: Summary,
}

/// Writes an annotation into the journal.
pub type Annotate = Box<dyn Fn(Annotation) -> Result<(), String> + Send + Sync>;

/// What the page is made of.
pub struct Setup {
    /// Where and how.
    pub options: Options,
    /// The run's name.
    pub run: String,
    /// The host's name.
    pub host: String,
    /// When the run began, UTC ns.
    pub started_ns: i64,
    /// The sources, by number: those that are read, then those that are computed.
    pub sources: Vec<SourceInfo>,
    /// The channels.
    pub channels: Vec<ChannelInfo>,
    /// The rules.
    pub rules: Vec<RuleInfo>,
    /// The counts.
    pub ledger: Ledger,
    /// Latest values, by source and channel.
    pub boards: Vec<Vec<Arc<ChannelBoard>>>,
    /// The way to acknowledge and silence.
    pub control: Control,
    /// The way to annotate.
    pub annotate: Annotate,
    /// How the sinks stand.
    pub sinks: Box<dyn Fn() -> Vec<(String, SinkStatus)> + Send + Sync>,
    /// How long things take.
    pub latencies: Box<dyn Fn() -> Latencies + Send + Sync>,
    /// The journal.
    pub journal: journal::Status,
    /// Where everything is.
    pub data_dir: PathBuf,
    /// What time it is.
    pub clock: Clock,
}

/// A source, as its events tell.
#[derive(Debug, Clone)]
pub(super) struct SourceState {
    pub(super) state: &'static str,
    pub(super) last_error: Option<String>,
    /// Frames a second, lately.
    pub(super) rate_hz: f64,
    /// Frames at the last look.
    pub(super) frames: u64,
}

/// Everything that is shared among the threads behind the page.
pub(super) struct Scene {
    pub(super) setup: Setup,
    /// By channel.
    pyramids: Vec<Mutex<Pyramid>>,
    sources: Mutex<Vec<SourceState>>,
    /// The text of each rule's latest alert.
    messages: Mutex<Vec<Option<String>>>,
    /// Rises whenever there is something new in the pyramids.
    pub(super) version: tokio::sync::watch::Sender<u64>,
    /// Events seen.
    pub(super) events: AtomicU64,
    /// Records that the follower passed over, because it was too far behind.
    pub(super) skipped: AtomicU64,
    pub(super) clients: AtomicUsize,
    pub(super) stopping: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scene {
    pub(super) fn new(setup: Setup) -> Self {
        let source = |info: &SourceInfo| SourceState {
            state: if info.link.is_some() {
                "connecting"
            } else {
                "computed"
            },
            last_error: None,
            rate_hz: 0.0,
            frames: 0,
        };
        Self {
            pyramids: setup.channels.iter().map(|_| Mutex::default()).collect(),
            sources: Mutex::new(setup.sources.iter().map(source).collect()),
            messages: Mutex::new(vec![None; setup.rules.len()]),
            version: tokio::sync::watch::Sender::new(0),
            events: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            clients: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            setup,
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn pyramid(&self, channel: usize) -> MutexGuard<'_, Pyramid> {
        locked(&self.pyramids[channel])
    }

    pub(super) fn sources(&self) -> MutexGuard<'_, Vec<SourceState>> {
        locked(&self.sources)
    }

    pub(super) fn messages(&self) -> MutexGuard<'_, Vec<Option<String>>> {
        locked(&self.messages)
    }

    /// Takes in an event of the journal.
    pub(super) fn event(&self, source: Option<u16>, json: &[u8]) {
        self.events.fetch_add(1, Ordering::Relaxed);
        let Ok(event) = serde_json::from_slice::<serde_json::Value>(json) else {
            return;
        };
        let name = event["event"].as_str().unwrap_or_default();
        if name == "alert" {
            let rule = event["rule"].as_str();
            let place = self
                .setup
                .rules
                .iter()
                .position(|known| Some(known.name.as_str()) == rule);
            if let Some(place) = place {
                self.messages()[place] = event["message"].as_str().map(str::to_owned);
            }
            return;
        }
        let (state, is_error) = match name {
            "connected" => (Some("connected"), false),
            "disconnected" => (Some("disconnected"), true),
            "silent" => (Some("silent"), true),
            "finished" => (Some("finished"), false),
            "failed" => (Some("failed"), true),
            "nothing_decodes" | "not_sent" | "line_errors" | "note" => (None, true),
            _ => return,
        };
        let mut sources = self.sources();
        let found = source.and_then(|source| sources.get_mut(usize::from(source)));
        if let Some(found) = found {
            found.state = state.unwrap_or(found.state);
            if is_error {
                found.last_error = event["text"].as_str().map(str::to_owned);
            }
        }
    }

    /// Frames of a source so far: what its reader decoded, or what was computed.
    pub(super) fn frames(&self, source: usize) -> u64 {
        if self.setup.sources[source].link.is_some() {
            let counts = self.setup.ledger.sources().nth(source);
            return counts.map_or(0, |counts| counts.frames());
        }
        let board = self
            .setup
            .boards
            .get(source)
            .and_then(|boards| boards.first());
        board.map_or(0, |board| board.read().count)
    }

    /// Looks at the rates; to be called every so many seconds.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn look(&self, seconds: f64) {
        let frames: Vec<u64> = (0..self.setup.sources.len())
            .map(|source| self.frames(source))
            .collect();
        for (source, frames) in self.sources().iter_mut().zip(frames) {
            let rate_hz = frames.saturating_sub(source.frames) as f64 / seconds;
            source.frames = frames;
            // Some of the last look, so that the figure can be read.
            source.rate_hz = if source.rate_hz == 0.0 {
                rate_hz
            } else {
                0.5 * (source.rate_hz + rate_hz)
            };
        }
    }
}
