//! What happens in a run that is no sample: to a source, or to the host.
//!
//! **Always holds.** Sending an event waits for nobody: if the stage is so far behind that the bound of
//! its events is reached, the event is given up, and every loss it told of is in the ledger all the same.
//!
//! **Must not know.** Where events are written or shown.

use std::fmt;

use kymo_drivers::block::SourceId;
use kymo_drivers::link::LineErrors;

use crate::lanes::StageGate;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// To which source; `None`: to the host.
    pub source: Option<SourceId>,
    /// When, UTC ns.
    pub time_ns: i64,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The device was opened.
    Connected,
    /// The device is gone, or was never there.
    Disconnected {
        /// What the system said.
        reason: String,
        /// It may be opened with the group's permission, where that is what is missing.
        permission_group: Option<String>,
    },
    /// Bytes come, but for a second no frame was decoded from them.
    NothingDecodes {
        /// Bytes that came.
        bytes: u64,
        /// The first of the latest bytes, in hexadecimal.
        sample: String,
    },
    /// The device is open and has sent nothing for so long.
    Silent {
        /// Milliseconds.
        for_ms: u64,
    },
    /// Something could not be sent to the device.
    NotSent {
        /// What.
        what: String,
        /// Why.
        reason: String,
    },
    /// The host does not permit what the configuration wants of it; the run goes on without.
    NotPermitted {
        /// What, why, and what would help.
        what: String,
    },
    /// Something was lost below the link: the device sent it, or somebody did, and Kymo never saw it.
    LineErrors {
        /// What, since the last such event.
        errors: LineErrors,
    },
    /// The link or the protocol has something to tell: a setting that is not supported, a peer refused, a unit that does
    /// not answer, an instrument's own error.
    Note {
        /// What.
        what: String,
    },
    /// There is no more to come: a file was read to its end.
    Finished {
        /// What the link said of it.
        reason: String,
    },
    /// The reader's thread broke: a mistake in Kymo. The source is lost for this run.
    Failed,
    /// The host's wall clock was set. The times of samples go on as before.
    ClockStepped {
        /// By so much, ns; positive: forward.
        step_ns: i64,
    },
}

impl EventKind {
    /// Its name in the journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::NothingDecodes { .. } => "nothing_decodes",
            Self::Silent { .. } => "silent",
            Self::NotSent { .. } => "not_sent",
            Self::NotPermitted { .. } => "not_permitted",
            Self::LineErrors { .. } => "line_errors",
            Self::Note { .. } => "note",
            Self::Finished { .. } => "finished",
            Self::Failed => "failed",
            Self::ClockStepped { .. } => "clock_stepped",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => write!(f, "connected"),
            Self::Disconnected {
                reason,
                permission_group: None,
            } => {
                write!(f, "no connection: {reason}")
            }
            Self::Disconnected {
                reason,
                permission_group: Some(group),
            } => write!(
                f,
                "no connection: {reason}; join the group with `sudo usermod -aG {group} $USER` and log in again"
            ),
            Self::NothingDecodes { bytes, sample } => write!(
                f,
                "{bytes} bytes came and none of them decodes: is the baud rate right, and the protocol? They begin {sample}"
            ),
            Self::Silent { for_ms } => write!(f, "connected, and silent for {for_ms} ms"),
            Self::NotSent { what, reason } => {
                write!(f, "{what} did not reach the device: {reason}")
            }
            Self::LineErrors { errors } => {
                let told = errors.iter().map(|(error, count)| error.text(count));
                write!(f, "below the link: {}", told.collect::<Vec<_>>().join(", "))
            }
            Self::Note { what } | Self::NotPermitted { what } => write!(f, "{what}"),
            Self::Finished { reason } => write!(f, "finished: {reason}"),
            #[allow(clippy::cast_precision_loss)]
            Self::ClockStepped { step_ns } => write!(
                f,
                "the host's clock was set by {:+.3} s; the times of samples go on as before",
                *step_ns as f64 / 1e9
            ),
            Self::Failed => write!(f, "its reader broke down; the source is lost for this run"),
        }
    }
}

/// Where events go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventSender {
    events: flume::Sender<Event>,
    stage: StageGate,
}

impl EventSender {
    /// Events go into `events`, whose receiver is woken by `stage`.
    #[must_use]
    pub fn new(events: flume::Sender<Event>, stage: StageGate) -> Self {
        Self { events, stage }
    }

    /// Sends an event. If the stage is so far behind that its events' bound is reached, the
    /// event is given up: back-off makes events rare, and every one of them shows in the ledger too.
    pub(super) fn send(&self, source: Option<SourceId>, time_ns: i64, kind: EventKind) {
        if self
            .events
            .try_send(Event {
                source,
                time_ns,
                kind,
            })
            .is_ok()
        {
            self.stage.signal();
        }
    }
}
