//! What a reader has to say that is no sample.

use std::fmt;

use kymo_drivers::block::SourceId;

use crate::lanes::StageGate;

/// Something happened to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEvent {
    /// Which source.
    pub source: SourceId,
    /// When, UTC ns.
    pub time_ns: i64,
    /// What.
    pub kind: SourceEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEventKind {
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
    /// The reader's thread broke: a mistake in Kymo. The source is lost for this run.
    Failed,
}

impl SourceEventKind {
    /// Its name in the journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::NothingDecodes { .. } => "nothing_decodes",
            Self::Silent { .. } => "silent",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for SourceEventKind {
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
            Self::Failed => write!(f, "its reader broke down; the source is lost for this run"),
        }
    }
}

/// Where a reader's events go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventSender {
    events: flume::Sender<SourceEvent>,
    stage: StageGate,
}

impl EventSender {
    /// Events go into `events`, whose receiver is woken by `stage`.
    #[must_use]
    pub fn new(events: flume::Sender<SourceEvent>, stage: StageGate) -> Self {
        Self { events, stage }
    }

    /// Sends an event. If the stage is so far behind that its events' bound is reached, the
    /// event is given up: back-off makes events rare, and every one of them shows in the ledger too.
    pub(super) fn send(&self, source: SourceId, time_ns: i64, kind: SourceEventKind) {
        if self
            .events
            .try_send(SourceEvent {
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
