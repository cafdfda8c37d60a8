//! What happens in a run that is no sample: to a source, or to the host.
//!
//! **Always holds.** Sending an event waits for nobody: if the stage is so far behind that the bound of
//! its events is reached, the event is given up, and every loss it told of is in the ledger all the same.
//!
//! **Must not know.** Where events are written or shown.

use std::fmt;

use kymo_drivers::block::SourceId;
use kymo_drivers::link::LineErrors;
use serde::{Deserialize, Serialize};

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
    /// A person has something to say.
    Annotation {
        /// What.
        text: String,
        /// Who; empty if that was not said.
        who: String,
        /// When it was said, UTC ns: it may be about something earlier.
        noted_ns: i64,
    },
    /// Bytes of a device are missing in the capture: its buffer was full.
    NotRecorded {
        /// How many, since the last such event.
        bytes: u64,
    },
    /// The recording of a capture ended before the run did.
    CaptureFailed {
        /// Why.
        reason: String,
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

/// What a person has to say about a run while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// What.
    pub text: String,
    /// Of when, UTC ns; now, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<i64>,
    /// The source that it is about; none: the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who says it.
    #[serde(default)]
    pub who: String,
}

/// The longest text of an annotation, bytes.
pub const ANNOTATION_BYTES_MAX: usize = 4096;
/// The longest name of who says it, bytes.
const WHO_BYTES_MAX: usize = 256;

/// Why an annotation was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// There is nothing in it.
    #[error("the note is empty")]
    Empty,
    /// It is too long.
    #[error("{what} is {bytes} bytes long, and at most {max} are kept")]
    Long {
        /// What.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// There is no such source.
    #[error("there is no source `{source_name}`; there are {}", known.join(", "))]
    NoSource {
        /// What was asked for.
        source_name: String,
        /// Those that there are: some, if there are many.
        known: Vec<String>,
    },
    /// The run had not begun, or has not come so far.
    #[error("{time} is not within this run, which began at {started}")]
    NotWithin {
        /// The time asked for.
        time: String,
        /// When the run began.
        started: String,
    },
    /// The stage is far behind.
    #[error(
        "the run is so busy that its events' bound is reached: the note was not written down; try again"
    )]
    Busy,
}

impl Annotation {
    /// Whether it can be kept as it is.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn check(&self) -> Result<(), AnnotationError> {
        if self.text.trim().is_empty() {
            return Err(AnnotationError::Empty);
        }
        for (what, text, max) in [
            ("the note", &self.text, ANNOTATION_BYTES_MAX),
            ("the name of who notes it", &self.who, WHO_BYTES_MAX),
        ] {
            let bytes = text.len();
            if bytes > max {
                return Err(AnnotationError::Long { what, bytes, max });
            }
        }
        Ok(())
    }
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
            Self::Annotation { .. } => "annotation",
            Self::NotRecorded { .. } => "not_recorded",
            Self::CaptureFailed { .. } => "capture_failed",
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
            Self::Annotation { text, who, .. } if who.is_empty() => write!(f, "{text}"),
            Self::Annotation { text, who, .. } => write!(f, "{text} ({who})"),
            Self::Note { what } | Self::NotPermitted { what } => write!(f, "{what}"),
            Self::NotRecorded { bytes } => write!(
                f,
                "{bytes} bytes are missing in the capture: its disk is too slow; they were acquired all the same"
            ),
            Self::CaptureFailed { reason } => write!(
                f,
                "THE RECORDING OF THE CAPTURE ENDED: {reason}; acquisition goes on"
            ),
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
    /// Returns whether it was taken.
    #[allow(clippy::must_use_candidate)] // Most who say something cannot do anything about it.
    pub(super) fn send(&self, source: Option<SourceId>, time_ns: i64, kind: EventKind) -> bool {
        let is_taken = self
            .events
            .try_send(Event {
                source,
                time_ns,
                kind,
            })
            .is_ok();
        if is_taken {
            self.stage.signal();
        }
        is_taken
    }
}
