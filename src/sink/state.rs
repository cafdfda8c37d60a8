//! What a sink keeps on disk: `DATA_DIR/sinks/NAME.json`, replaced whole, once a second while anything changes.
//!
//! It holds how the sink stands, for whoever asks from outside, and what it has done, for its next start. The
//! journal's cursor is moved only after it is on disk, so the cursor is never beyond it.
//!
//! **Always holds.** Half of it is never seen. Without it, or if it makes no sense, the cursor alone says where to go on,
//! and what is behind is counted anew.
//!
//! **Must not know.** How anything is sent.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::batch::Counts;
use super::{DIR, Error};
use crate::data_dir::put_whole;

/// What a sink is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// It has begun.
    #[default]
    Starting,
    /// It sends what comes.
    Sending,
    /// It sends what was missed.
    CatchingUp,
    /// The receiver cannot be reached, or wants to be left alone.
    Waiting,
    /// The receiver refuses in a way that only a person can change.
    Denied,
    /// The run is over.
    Stopped,
    /// Its thread broke down: a mistake in Kymo.
    Broken,
}

impl StateName {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Sending => "sending",
            Self::CatchingUp => "catching up",
            Self::Waiting => "waiting",
            Self::Denied => "denied",
            Self::Stopped => "stopped",
            Self::Broken => "broken",
        }
    }
}

/// How a sink stands. Counts are samples unless the name says otherwise, and of this run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// What it is doing.
    pub state: StateName,
    /// What it writes to.
    pub to: String,
    /// What is wrong now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What was given up, and how to send it from the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// Accepted by the receiver.
    pub written: u64,
    /// Refused by it: see the dead letters.
    pub rejected: u64,
    /// Not wanted by the configuration.
    pub not_selected: u64,
    /// NaN and infinities.
    pub not_finite: u64,
    /// Given up because they took more disk than is allowed.
    pub given_up: u64,
    /// In records of the journal that are damaged or gone.
    pub unreadable: u64,
    /// Journaled, and not dealt with yet; of earlier runs, too.
    pub behind: u64,
    /// How old the newest sample is that was sent in its order, s.
    pub lag_s: f64,
    /// When it will be even at the present rates, s; `None`: it is, or will not be.
    #[serde(default)]
    pub even_in_s: Option<f64>,
    /// Of the journal kept for it, bytes.
    pub backlog_bytes: u64,
    /// Event lines accepted.
    pub events: u64,
    /// Dealt with, a second.
    pub samples_per_s: f64,
    /// Requests that were answered.
    pub requests: u64,
    /// Of these, by what became of them.
    pub errors: Errors,
    /// Requests in flight now, and at most.
    pub in_flight: [usize; 2],
    /// Bytes of a batch now.
    pub batch_bytes: usize,
    /// Everything in the journal up to here is dealt with.
    pub cursor: u64,
    /// And these ranges.
    #[serde(default)]
    pub done: Vec<(u64, u64)>,
    /// `behind` is as of this record.
    pub journal_seq: u64,
    /// The run.
    pub run: String,
    /// The process.
    pub pid: u32,
    /// When this was written, RFC 3339.
    pub updated: String,
}

/// Answers that were no success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// Lines refused.
    pub refused: u64,
    /// 413.
    pub too_large: u64,
    /// 429, 503.
    pub busy: u64,
    /// No answer in time.
    pub timed_out: u64,
    /// 401, 403, 404 and their like.
    pub denied: u64,
    /// No connection, a reset, another status of the server's failing.
    pub failed: u64,
}

impl SinkStatus {
    pub(super) fn set_counts(&mut self, counts: &Counts) {
        self.written = counts.written;
        self.rejected = counts.rejected;
        self.not_selected = counts.not_selected;
        self.not_finite = counts.not_finite;
        self.events = counts.events;
    }

    /// Dealt with in this run.
    #[must_use]
    pub fn processed(&self) -> u64 {
        self.written
            + self.rejected
            + self.not_selected
            + self.not_finite
            + self.given_up
            + self.unreadable
    }
}

fn path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(DIR).join(format!("{name}.json"))
}

/// Replaces it; on disk when this returns.
pub(super) fn save(data_dir: &Path, name: &str, status: &SinkStatus) -> Result<(), Error> {
    let dir = data_dir.join(DIR);
    let path = path(data_dir, name);
    fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
    // A struct of numbers and texts is always JSON.
    let text = serde_json::to_vec_pretty(status).unwrap_or_default();
    put_whole(
        &dir,
        &format!("{name}.json.new"),
        &format!("{name}.json"),
        &text,
    )
    .map_err(Error::io("write", &path))
}

/// What was kept, if it makes sense.
pub(super) fn load(data_dir: &Path, name: &str) -> Option<SinkStatus> {
    let text = fs::read(path(data_dir, name)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Removes it.
pub(super) fn remove(data_dir: &Path, name: &str) -> Result<(), Error> {
    let path = path(data_dir, name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", &path)(error))
        }
        _ => Ok(()),
    }
}

/// How the sinks of a data directory stand, by name: as they last wrote it down.
///
/// # Errors
/// If the directory cannot be read.
pub fn statuses(data_dir: &Path) -> Result<Vec<(String, SinkStatus)>, Error> {
    let dir = data_dir.join(DIR);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", &dir)(error)),
    };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_suffix(".json")?.to_owned())
    });
    let mut found: Vec<(String, SinkStatus)> = names
        .filter_map(|name| load(data_dir, &name).map(|status| (name, status)))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}
