//! What of a run is sent.
//!
//! **Always holds.** Which frames a decimation keeps follows from their numbers alone: a run read again keeps the same.
//!
//! **Must not know.** To whom.

use glob::Pattern;

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// What devices sent.
    pub raw: bool,
    /// What was computed from it.
    pub derived: bool,
    /// Statistics over windows.
    pub windows: bool,
    /// Alerts, connections, clock steps, gaps.
    pub events: bool,
    /// Channels by `source.channel`; all, if there is none.
    pub channels: Vec<Pattern>,
    /// Of frames that are no windows, every so many one.
    pub decimate: u64,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            raw: true,
            derived: true,
            windows: false,
            events: false,
            channels: Vec::new(),
            decimate: 1,
        }
    }
}

impl Selection {
    /// Whether lanes of a kind are sent. One that is not known is as good as raw: nothing is held back by mistake.
    #[must_use]
    pub fn wants_kind(&self, kind: &str) -> bool {
        match kind {
            "window" => self.windows,
            "derived" => self.derived,
            _ => self.raw,
        }
    }

    /// Whether a channel is sent.
    #[must_use]
    pub fn wants_channel(&self, source: &str, channel: &str) -> bool {
        let name = format!("{source}.{channel}");
        self.channels.is_empty() || self.channels.iter().any(|pattern| pattern.matches(&name))
    }

    /// Every how many frames of a kind one is sent.
    #[must_use]
    pub fn every(&self, kind: &str) -> u64 {
        if kind == "window" {
            1
        } else {
            self.decimate.max(1)
        }
    }
}
