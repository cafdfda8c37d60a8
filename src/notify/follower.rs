//! A durable notifier's thread: reads the journal's alerts, and delivers them one after the other.
//!
//! **Always holds.** The cursor moves behind an alert only when it has arrived, or is a dead letter on disk: so it
//! arrives at least once, also after `kill -9`. Alerts arrive in their order. What may arrive later is tried again, after
//! 1 s, 2 s, 4 s up to a minute, each shortened at random by up to a half, for as long as `give_up` says. A new notifier
//! begins with what happens from then on. When the run ends, what waits has two seconds to arrive; the rest is for the
//! next run.
//!
//! **Must not know.** What a delivery is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{DeadLetter, DeadLetters, Deliver, Message, Options, Outcome};
use crate::clock::{Clock, rfc3339};
use crate::journal::{self, Cursor, DurableSeq, Filter, From, Kind, Next, Reader, Until};
use crate::trouble::Trouble;

/// How long what waits may take to arrive when the run ends.
const GRACE: Duration = Duration::from_secs(2);
/// The first wait before another attempt, and the longest.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A look without being woken: nothing depends on it but patience.
const LOOK: Duration = Duration::from_millis(500);
/// The cursor moves past what is none of its business at most so often: each move is synced.
const PASS: Duration = Duration::from_secs(10);

/// The name of a notifier's cursor.
#[must_use]
pub fn cursor_name(notifier: &str) -> String {
    format!("notify-{notifier}")
}

/// Whether there is still time.
#[derive(Debug, Clone, Default)]
pub struct Patience(Arc<OnceLock<Instant>>);

impl Patience {
    /// The run ends: there is two seconds left.
    fn end(&self) {
        let _ = self.0.set(Instant::now() + GRACE);
    }

    /// The run ends.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.0.get().is_some()
    }

    /// There is no time left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.get().is_some_and(|end| Instant::now() >= *end)
    }
}

/// How a notifier stands.
#[derive(Debug, Default)]
pub struct Status {
    /// Messages that have arrived.
    pub delivered: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Messages that became dead letters.
    pub dead: AtomicU64,
    /// Records of the journal that could not be read: there may have been alerts in them.
    pub lost_records: AtomicU64,
    trouble: Trouble,
}

impl Status {
    /// What is wrong now, if anything is: it goes on trying.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.get()
    }
}

/// What a follower is made of.
pub struct FollowerSetup {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The notifier, as it was declared.
    pub options: Options,
    /// The notifier, ready.
    pub deliver: Box<dyn Deliver>,
    /// How far the journal is committed.
    pub durable: DurableSeq,
    /// The host.
    pub host: String,
    /// What time it is.
    pub clock: Clock,
}

/// A running notifier.
pub struct Follower {
    status: Arc<Status>,
    patience: Patience,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts the thread.
    ///
    /// # Errors
    /// If its cursor cannot be read or made, or the system gives no thread.
    pub fn start(setup: FollowerSetup) -> Result<Self, journal::Error> {
        let journal_dir = setup.data_dir.join(journal::DIR);
        let mut cursor = Cursor::open(&journal_dir, &cursor_name(&setup.options.name))?;
        if cursor.seq() == 0 {
            cursor.advance(setup.durable.get())?;
        }
        let (status, patience) = (Arc::<Status>::default(), Patience::default());
        let closing = Arc::<AtomicBool>::default();
        let name = format!("kymo-tell-{}", setup.options.name);
        let worker = Worker {
            dead: DeadLetters::of(&setup.data_dir),
            options: setup.options,
            deliver: setup.deliver,
            durable: setup.durable,
            journal_dir,
            cursor,
            moved: Instant::now(),
            host: setup.host,
            clock: setup.clock,
            status: Arc::clone(&status),
            patience: patience.clone(),
            closing: Arc::clone(&closing),
        };
        // Linux keeps fifteen characters of a thread's name.
        let thread = std::thread::Builder::new().name(name.chars().take(15).collect());
        let thread = thread.spawn(move || worker.run());
        let thread = thread.map_err(|source| journal::Error::Io {
            doing: "start a thread for",
            path: setup.data_dir,
            source,
        })?;
        Ok(Self {
            status,
            patience,
            closing,
            thread: Some(thread),
        })
    }

    /// How it stands; may be kept.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// What wakes it after a commit.
    #[must_use]
    pub fn thread(&self) -> Option<Thread> {
        Some(self.thread.as_ref()?.thread().clone())
    }

    /// The run is over and the journal closed: begins the end, without waiting for it.
    pub fn begin_close(&self) {
        self.patience.end();
        // Release: what was committed before is seen by who sees this.
        self.closing.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.begin_close();
        if let Some(thread) = self.thread.take() {
            // If it broke down, its status says so.
            let _ = thread.join();
        }
    }
}

struct Worker {
    options: Options,
    deliver: Box<dyn Deliver>,
    durable: DurableSeq,
    journal_dir: PathBuf,
    cursor: Cursor,
    /// When the cursor moved last.
    moved: Instant,
    dead: DeadLetters,
    host: String,
    clock: Clock,
    status: Arc<Status>,
    patience: Patience,
    closing: Arc<AtomicBool>,
}

/// Why reading stopped.
enum Stopped {
    /// The run is over.
    Closed,
    /// Something went wrong with the journal.
    Error(journal::Error),
}

impl Worker {
    fn run(mut self) {
        let _guard = self.status.trouble.guard();
        let mut retry = RETRY;
        loop {
            match self.follow() {
                Stopped::Closed => return,
                Stopped::Error(error) => {
                    self.status.trouble.set(Some(error.to_string()));
                    if !self.pause(retry) {
                        return;
                    }
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// From the cursor on, until closed.
    fn follow(&mut self) -> Stopped {
        let reader = Reader::open(
            &self.journal_dir,
            From::Seq(self.cursor.seq() + 1),
            Until::Durable(self.durable.clone()),
            Filter {
                kinds: Some(vec![Kind::Event]),
                sources: None,
            },
        );
        let mut reader = match reader {
            Ok(reader) => reader,
            Err(error) => return Stopped::Error(error),
        };
        loop {
            // Before reading: what was committed before the closing is then read.
            let is_closing = self.closing.load(Ordering::Acquire);
            loop {
                let (seq, event) = match reader.next() {
                    Err(error) => return Stopped::Error(error),
                    Ok(Next::End) => break,
                    Ok(Next::Lost(lost)) => {
                        let count = lost.to_seq - lost.from_seq + 1;
                        self.status.lost_records.fetch_add(count, Ordering::Relaxed);
                        continue;
                    }
                    Ok(Next::Record(record)) => {
                        (record.seq, wanted(record.payload, &self.options.name))
                    }
                };
                let Some(event) = event else { continue };
                match self.tell(seq, &event) {
                    Ok(true) => {}
                    Ok(false) => return Stopped::Closed,
                    Err(error) => return Stopped::Error(error),
                }
            }
            let passed = reader.next_seq() - 1;
            if (is_closing || self.moved.elapsed() >= PASS)
                && let Err(error) = self.advance(passed)
            {
                return Stopped::Error(error);
            }
            if is_closing {
                return Stopped::Closed;
            }
            std::thread::park_timeout(LOOK);
        }
    }

    fn advance(&mut self, seq: u64) -> Result<(), journal::Error> {
        self.moved = Instant::now();
        if seq > self.cursor.seq() {
            self.cursor.advance(seq)?;
        }
        Ok(())
    }

    /// Delivers one alert, or makes a dead letter of it. False if the run ended before.
    fn tell(&mut self, seq: u64, event: &Value) -> Result<bool, journal::Error> {
        // Sorts by the order of the journal, and is the same after a restart.
        let id = format!("{seq:020}");
        let started = Instant::now();
        let (mut wait, mut attempts) = (RETRY, 0);
        loop {
            let message = Message {
                event,
                id: &id,
                host: &self.host,
            };
            attempts += 1;
            let (why, after) = match self.deliver.deliver(&message, &self.patience) {
                Outcome::Delivered => {
                    self.status.delivered.fetch_add(1, Ordering::Relaxed);
                    self.status.trouble.set(None);
                    return self.advance(seq).map(|()| true);
                }
                Outcome::Again { why, after } => (why, after),
                Outcome::Never { why } => (why, Some(Duration::MAX)),
            };
            self.status.failed.fetch_add(1, Ordering::Relaxed);
            self.status.trouble.set(Some(why.clone()));
            let is_never = after == Some(Duration::MAX);
            if !is_never && self.patience.is_ending() {
                return Ok(false);
            }
            if is_never || started.elapsed() >= self.options.give_up {
                return self.bury(&id, seq, event, (attempts, why));
            }
            // At random, so that many notifiers of one server do not come back all at once.
            let pause = after.unwrap_or_else(|| wait.mul_f64(fastrand::f64().mul_add(0.5, 0.5)));
            let left = self.options.give_up.saturating_sub(started.elapsed());
            if !self.pause(pause.min(left)) {
                return Ok(false);
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    fn bury(
        &mut self,
        id: &str,
        seq: u64,
        event: &Value,
        (attempts, why): (u64, String),
    ) -> Result<bool, journal::Error> {
        let letter = DeadLetter {
            id: id.to_owned(),
            notifier: self.options.name.clone(),
            given_up: rfc3339(self.clock.now_ns()),
            attempts,
            why,
            event: event.clone(),
        };
        // A dead letter that cannot be written is not given up: a full disk may have room again.
        while let Err(error) = self.dead.keep(&letter) {
            let what = format!("cannot keep a dead letter: {error}");
            self.status.trouble.set(Some(what));
            if !self.pause(RETRY_MAX) {
                return Ok(false);
            }
        }
        self.status.dead.fetch_add(1, Ordering::Relaxed);
        self.advance(seq).map(|()| true)
    }

    /// Waits; false if the run ended meanwhile.
    fn pause(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if self.patience.is_ending() {
                return false;
            }
            std::thread::park_timeout(left.min(LOOK));
        }
        !self.patience.is_ending()
    }
}

/// The event, if it is one that this notifier is to be told of.
fn wanted(payload: &[u8], notifier: &str) -> Option<Value> {
    let event: Value = serde_json::from_slice(payload).ok()?;
    let is_alert = event["event"] == "alert";
    let named = event["notify"].as_array()?;
    (is_alert && named.iter().any(|name| name == notifier)).then_some(event)
}

/// Delivers one event now: for who sends a dead letter again, or tries a notifier.
///
/// # Errors
/// What went wrong.
pub fn deliver_once(
    deliver: &mut dyn Deliver,
    (id, event): (&str, &Value),
    host: &str,
) -> Result<(), String> {
    let message = Message { event, id, host };
    match deliver.deliver(&message, &Patience::default()) {
        Outcome::Delivered => Ok(()),
        Outcome::Again { why, .. } | Outcome::Never { why } => Err(why),
    }
}
