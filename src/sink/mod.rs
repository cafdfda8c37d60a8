//! Sinks: followers of the journal that write to something remote.
//!
//! An outage costs disk and never data: a sink reads the journal from its cursor on, sends batches, and moves the cursor
//! only past what the receiver has accepted. What is sent twice, after a reset or a crash, overwrites itself.
//!
//! The parts, in the order in which a record passes them: [`feed`] reads records and makes batches of lines, [`courier`]
//! sends them at the [`pace`] the receiver bears and deals with each answer, [`progress`] knows which records are
//! done, `state` keeps that on disk, `follower` runs it all on a thread of its own.
//!
//! **Always holds.**
//! - Of everything that was journaled, in samples: `journaled = written + rejected + not selected + not finite + given up
//!   + unreadable + behind`.
//! - A sink holds nobody up: its thread reads the journal, and nobody waits for it, but for its `linger` at the end of a run.
//! - The journal is kept for a sink until its cursor has passed, or until the sink is allowed no more disk: then it gives up the
//!   oldest, counts it, and says how to send it from the store.
//! - Without a sink in the configuration nothing here runs, and nothing touches the network.
//!
//! **Must not know.** Devices, rules, the configuration; which kind of sink it is, but for the list in [`Kind`].

pub mod batch;
pub mod courier;
pub mod dead_letter;
pub mod feed;
mod follower;
pub mod influx;
pub mod pace;
pub mod progress;
pub mod select;
mod state;
pub mod template;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::journal;
use batch::{Body, Lines};
use feed::Encode;
use influx::answer::Verdict;
use pace::PaceOptions;
use select::Selection;
pub use state::{SinkStatus, StateName, statuses};

/// The directory in the data directory: what each sink has done, and what was refused.
pub const DIR: &str = "sinks";

/// An operating error of a sink.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the file system failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A secret or a certificate is missing or wrong.
    #[error("sink `{name}`: {what}")]
    Setup {
        /// Which sink.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// There is no such sink.
    #[error("no sink is called `{name}`; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: String,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

/// What is sent first after an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    /// Everything in its order.
    #[default]
    OldestFirst,
    /// What comes now, and beside it what was missed, the newest of it first.
    NewestFirst,
}

impl CatchUp {
    /// Names in a configuration.
    pub const NAMES: [(&'static str, Self); 2] = [
        ("oldest-first", Self::OldestFirst),
        ("newest-first", Self::NewestFirst),
    ];
}

/// A sink.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkOptions {
    /// Its name.
    pub name: String,
    /// What it writes to.
    pub kind: Kind,
    /// What is sent.
    pub selection: Selection,
    /// How fast, at most.
    pub pace: PaceOptions,
    /// A batch that is not full is sent when its first record has waited so long.
    pub batch_age: Duration,
    /// What is sent first after an outage.
    pub catch_up: CatchUp,
    /// So much of the journal is kept for it.
    pub backlog_bytes_max: u64,
    /// So long may the end of a run wait for what is not sent yet.
    pub linger: Duration,
}

/// The kinds of sinks: to add one is a variant here, and its file.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// InfluxDB and what takes the same protocol.
    Influx(Box<influx::Options>),
}

impl Kind {
    /// Its name in a configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Influx(_) => "influxdb",
        }
    }

    /// What it writes to, for the eye.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Influx(options) => options.url.to_string(),
        }
    }

    /// Reads what it needs of secrets and certificates; nothing is sent.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn destination(&self) -> Result<Box<dyn Destination>, String> {
        match self {
            Self::Influx(options) => Ok(Box::new(influx::Influx::new(options)?)),
        }
    }

    /// What makes lines of blocks for it.
    #[must_use]
    pub fn encoder(&self, selection: &Selection) -> Box<dyn Encode> {
        match self {
            Self::Influx(options) => Box::new(influx::lanes::Encoder::new(options, selection)),
        }
    }
}

/// A verdict on its way.
pub type Sending = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// Where batches go.
pub trait Destination: Send {
    /// Sends lines; what became of them.
    fn send(&self, body: Body) -> Sending;
    /// Reads secrets and certificates again, and connects anew.
    ///
    /// # Errors
    /// What is missing or wrong.
    fn renew(&mut self) -> Result<(), String>;
    /// What it is called in messages.
    fn place(&self) -> String;
}

/// What the journal has committed in this run: told by its observer, read by sinks.
#[derive(Debug, Default)]
struct Journaled {
    /// Samples in blocks of this run that are committed.
    samples: u64,
    /// Everything up to here is.
    seq: u64,
}

/// Tells sinks of commits. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Waker {
    journaled: Arc<Mutex<Journaled>>,
    notifies: Arc<Vec<Arc<Notify>>>,
}

impl Waker {
    /// To be called after a commit: everything up to `seq` is on disk, with so many samples more than the last time.
    pub fn committed(&self, seq: u64, samples: u64) {
        let journaled = self.journaled.lock();
        let mut journaled = journaled.unwrap_or_else(PoisonError::into_inner);
        journaled.seq = seq;
        journaled.samples += samples;
        drop(journaled);
        for notify in self.notifies.iter() {
            notify.notify_one();
        }
    }

    fn journaled(&self) -> (u64, u64) {
        let journaled = self.journaled.lock();
        let journaled = journaled.unwrap_or_else(PoisonError::into_inner);
        (journaled.seq, journaled.samples)
    }
}

/// What sinks are started with.
pub struct SinksSetup {
    /// The data directory, which this process has locked.
    pub data_dir: PathBuf,
    /// The sinks.
    pub sinks: Vec<SinkOptions>,
    /// The journal, before any block of this run is in it.
    pub journal: journal::Status,
    /// Whether a store takes segments of the journal away that all followers have passed.
    pub is_pruned: bool,
    /// A segment of the journal, bytes.
    pub journal_segment_bytes: u64,
    /// The run.
    pub run: String,
    /// Its clock.
    pub clock: Clock,
}

/// Running sinks.
pub struct Sinks {
    waker: Waker,
    closing: Arc<AtomicBool>,
    running: Vec<Running>,
}

struct Running {
    name: String,
    status: Arc<Mutex<SinkStatus>>,
    thread: Option<JoinHandle<()>>,
}

impl Sinks {
    /// Whether sinks can be started: secrets and certificates are there. Nothing is sent.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn check(sinks: &[SinkOptions]) -> Result<(), Error> {
        for sink in sinks {
            sink.kind.destination().map_err(|what| Error::Setup {
                name: sink.name.clone(),
                what,
            })?;
        }
        Ok(())
    }

    /// Starts a thread for each.
    ///
    /// # Errors
    /// If a cursor or a secret cannot be read, or there is no thread to be had.
    pub fn start(setup: &SinksSetup) -> Result<Self, Error> {
        let notifies: Vec<Arc<Notify>> = setup.sinks.iter().map(|_| Arc::default()).collect();
        let waker = Waker {
            journaled: Arc::default(),
            notifies: Arc::new(notifies.clone()),
        };
        let start_seq = setup.journal.durable_seq().get();
        waker.committed(start_seq, 0);
        let closing = Arc::new(AtomicBool::new(false));
        let mut running = Vec::new();
        for (options, notify) in setup.sinks.iter().zip(notifies) {
            let follower = follower::Follower::new(follower::FollowerSetup {
                data_dir: setup.data_dir.clone(),
                options: options.clone(),
                durable: setup.journal.durable_seq(),
                start_seq,
                is_pruned: setup.is_pruned,
                journal_segment_bytes: setup.journal_segment_bytes,
                run: setup.run.clone(),
                clock: setup.clock.clone(),
                waker: waker.clone(),
                notify,
                closing: Arc::clone(&closing),
            })?;
            let status = follower.status();
            let thread = std::thread::Builder::new()
                .name(format!("kymo-sink-{}", options.name))
                .spawn(move || follower.run())
                .map_err(Error::io("start a thread for", &setup.data_dir))?;
            running.push(Running {
                name: options.name.clone(),
                status,
                thread: Some(thread),
            });
        }
        Ok(Self {
            waker,
            closing,
            running,
        })
    }

    /// What tells them of commits.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// How they stand.
    #[must_use]
    pub fn status(&self) -> Vec<(String, SinkStatus)> {
        let of = |sink: &Running| {
            let status = sink.status.lock().unwrap_or_else(PoisonError::into_inner);
            (sink.name.clone(), status.clone())
        };
        self.running.iter().map(of).collect()
    }

    /// As [`Sinks::status`], for whoever looks on from elsewhere.
    pub fn watch(&self) -> impl Fn() -> Vec<(String, SinkStatus)> + Send + Sync + use<> {
        let running = self.running.iter();
        let running = running.map(|sink| (sink.name.clone(), Arc::clone(&sink.status)));
        let running: Vec<_> = running.collect();
        move || {
            let of = |(name, status): &(String, Arc<Mutex<SinkStatus>>)| {
                let status = status.lock().unwrap_or_else(PoisonError::into_inner);
                (name.clone(), status.clone())
            };
            running.iter().map(of).collect()
        }
    }

    /// Sends what the closed journal still has, for as long as each may linger, and ends.
    #[must_use]
    pub fn close(mut self) -> Vec<(String, SinkStatus)> {
        self.join();
        self.status()
    }

    fn join(&mut self) {
        // Release: what was committed before is seen by who sees this.
        self.closing.store(true, Ordering::Release);
        for notify in self.waker.notifies.iter() {
            notify.notify_one();
        }
        for sink in &mut self.running {
            if let Some(thread) = sink.thread.take() {
                // A panic is in its status.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.join();
    }
}

/// The name of a sink's cursor in the journal.
#[must_use]
pub fn cursor_name(sink: &str) -> String {
    format!("{CURSOR_PREFIX}{sink}")
}

const CURSOR_PREFIX: &str = "sink-";

/// The sinks for which the journal is kept, whether they are configured or not, and their cursors.
///
/// # Errors
/// If the cursors cannot be read.
pub fn followers(data_dir: &Path) -> Result<Vec<(String, u64)>, Error> {
    let cursors = journal::cursors(&data_dir.join(journal::DIR))?;
    let of_sinks = cursors.into_iter().filter_map(|(name, seq)| {
        let name = name.strip_prefix(CURSOR_PREFIX)?;
        Some((name.to_owned(), seq))
    });
    Ok(of_sinks.collect())
}

/// Lets go of what is kept for a sink: its cursor and what it has noted. Its dead letters stay.
///
/// # Errors
/// If there is none of that name, or its files cannot be removed.
pub fn forget(data_dir: &Path, name: &str) -> Result<(), Error> {
    let known = followers(data_dir)?;
    if !known.iter().any(|(known, _)| known == name) {
        let known: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let known = match known.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        return Err(Error::Unknown {
            name: name.to_owned(),
            known,
        });
    }
    state::remove(data_dir, name)?;
    journal::forget(&data_dir.join(journal::DIR), &cursor_name(name))?;
    Ok(())
}

/// Lines to be tried out: one point, as [`influx::test`] sends it.
fn single(text: &str, samples: u32) -> Body {
    let mut lines = Lines::default();
    lines.text.extend_from_slice(text.as_bytes());
    lines.text.push(b'\n');
    lines.end_line(samples);
    lines.take()
}
