//! What rules are to be known by after a restart: kept in the data directory, made of the journal.
//!
//! `<data dir>/alerts/memory` is a line with a checksum, and JSON: up to which record of the journal it knows the events
//! of alerts, and what they come to. A thread follows the journal and writes it anew some seconds after something
//! changed; what the journal has behind it is read at the start. `<data dir>/alerts/orders` is what people wanted of
//! rules while nothing ran.
//!
//! **Always holds.** An alert that is in the journal is remembered, and one that is not is not: after a crash a rule fires
//! again if the journal has not got its firing, and so is told of at least once. Files are written aside, synced and
//! renamed. A memory that is damaged is made anew from as much of the journal as there is, and that is said.
//!
//! **Must not know.** Rules, and who judges them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::alert::{Memory, Order};
use crate::data_dir::put_whole;
use crate::journal::{self, Cursor, DurableSeq, Filter, From, Kind, Next, Reader, Until};

/// The directory in the data directory.
pub const DIR: &str = "alerts";
/// The follower's cursor.
pub const CURSOR: &str = "alerts";

const FILE: &str = "memory";
const ORDERS: &str = "orders";
const HEAD: &str = "kymo alerts 1 crc32c ";

/// Orders kept for the next run at most.
const ORDERS_MAX: usize = 10_000;
/// The file is written at most so often, and the cursor moves: what is behind it holds the journal, which a disk that
/// is nearly full has no room for.
const WRITE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(500);

/// Why the memory cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Too many orders wait for the next run.
    #[error("{ORDERS_MAX} orders wait for the next run already")]
    TooMany,
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

/// What is remembered, and where that comes from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Remembered {
    /// What is remembered.
    pub memory: Memory,
    /// Up to which record of the journal.
    pub seq: u64,
    /// What was amiss, in words.
    pub amiss: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Checkpoint {
    seq: u64,
    memory: Memory,
}

/// Reads what is remembered, of a data directory into which nobody writes.
///
/// # Errors
/// If the journal cannot be read.
pub fn recall(data_dir: &Path) -> Result<Remembered, Error> {
    let path = data_dir.join(DIR).join(FILE);
    let mut amiss = Vec::new();
    let checkpoint = match fs::read(&path) {
        Ok(bytes) => decode(&bytes).unwrap_or_else(|| {
            amiss.push(format!(
                "{} is damaged: where the rules stood was made anew from the journal",
                path.display()
            ));
            Checkpoint::default()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Checkpoint::default(),
        Err(error) => return Err(io_error("read", &path)(error)),
    };
    let Checkpoint { seq, mut memory } = checkpoint;
    let journal_dir = data_dir.join(journal::DIR);
    let mut reader = Reader::open(
        &journal_dir,
        From::Seq(seq + 1),
        Until::Written,
        events_only(),
    )?;
    let mut lost = 0;
    loop {
        match reader.next()? {
            Next::End => break,
            // Before the first record of what is left of the journal nothing is missing: it was stored and pruned.
            Next::Lost(found) if seq == 0 && found.from_seq == 1 => {}
            Next::Lost(found) => lost += found.to_seq - found.from_seq + 1,
            Next::Record(record) => {
                take_in(&mut memory, record.payload);
            }
        }
    }
    if lost > 0 {
        amiss.push(format!(
            "{lost} records of the journal are missing: a rule may stand where it no longer stood"
        ));
    }
    Ok(Remembered {
        memory,
        seq: reader.next_seq().saturating_sub(1).max(seq),
        amiss,
    })
}

fn events_only() -> Filter {
    Filter {
        kinds: Some(vec![Kind::Event]),
        sources: None,
    }
}

fn take_in(memory: &mut Memory, payload: &[u8]) -> bool {
    serde_json::from_slice(payload).is_ok_and(|event| memory.take_in(&event))
}

fn encode(checkpoint: &Checkpoint) -> String {
    // Maps by name and numbers: nothing that cannot be JSON.
    let json = serde_json::to_string(checkpoint).unwrap_or_default();
    format!("{HEAD}{:08x}\n{json}\n", crc32c::crc32c(json.as_bytes()))
}

fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, json) = text.split_once('\n')?;
    let json = json.strip_suffix('\n')?;
    let crc = u32::from_str_radix(head.strip_prefix(HEAD)?, 16).ok()?;
    if crc != crc32c::crc32c(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// What people wanted of rules while nothing ran.
///
/// # Errors
/// If they cannot be read.
pub fn orders(data_dir: &Path) -> Result<Vec<Order>, Error> {
    let path = data_dir.join(DIR).join(ORDERS);
    match fs::read_to_string(&path) {
        // A line that is none was written by nobody who matters: renaming keeps out halves.
        Ok(text) => Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

/// Keeps an order for the next run, of a data directory that this process holds.
///
/// # Errors
/// If it cannot be kept.
pub fn keep_order(data_dir: &Path, order: &Order) -> Result<(), Error> {
    let mut all = orders(data_dir)?;
    if all.len() >= ORDERS_MAX {
        return Err(Error::TooMany);
    }
    all.push(order.clone());
    let lines = all
        .iter()
        .filter_map(|order| serde_json::to_string(order).ok());
    let text: String = lines.map(|line| line + "\n").collect();
    let dir = data_dir.join(DIR);
    fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
    put_whole(&dir, "orders.new", ORDERS, text.as_bytes()).map_err(io_error("write into", &dir))
}

/// The orders have been given.
///
/// # Errors
/// If the file cannot be removed.
pub fn forget_orders(data_dir: &Path) -> Result<(), Error> {
    let path = data_dir.join(DIR).join(ORDERS);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", &path)(error))
        }
        _ => Ok(()),
    }
}

/// The thread that keeps the memory.
pub struct Keeper {
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<String>>>,
}

impl Keeper {
    /// Starts it, from what was recalled on.
    ///
    /// # Errors
    /// If the system gives no thread, or the directory cannot be made.
    pub fn start(
        data_dir: &Path,
        remembered: Remembered,
        durable: DurableSeq,
    ) -> Result<Self, Error> {
        let dir = data_dir.join(DIR);
        fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        let journal_dir = data_dir.join(journal::DIR);
        let worker = Worker {
            cursor: Cursor::open(&journal_dir, CURSOR)?,
            checkpoint: Checkpoint {
                seq: remembered.seq,
                memory: remembered.memory,
            },
            dir,
            journal_dir,
            durable,
            closing: Arc::default(),
            written: None,
            is_changed: true,
        };
        let closing = Arc::clone(&worker.closing);
        let thread = std::thread::Builder::new().name("kymo-alerts".to_owned());
        let thread = thread
            .spawn(move || worker.run())
            .map_err(io_error("start a thread for", data_dir))?;
        Ok(Self {
            closing,
            thread: Some(thread),
        })
    }

    /// What wakes it after a commit.
    #[must_use]
    pub fn thread(&self) -> Option<Thread> {
        Some(self.thread.as_ref()?.thread().clone())
    }

    /// The journal is closed: writes down the end. Says what is wrong, if anything is.
    #[must_use]
    pub fn close(mut self) -> Option<String> {
        self.join()
    }

    fn join(&mut self) -> Option<String> {
        // Release: what was committed before is seen by who sees this.
        self.closing.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        thread
            .join()
            .unwrap_or_else(|_| Some("its thread broke down: this is a mistake in kymo".to_owned()))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

struct Worker {
    dir: PathBuf,
    journal_dir: PathBuf,
    cursor: Cursor,
    checkpoint: Checkpoint,
    durable: DurableSeq,
    closing: Arc<AtomicBool>,
    /// When the file was written last.
    written: Option<Instant>,
    is_changed: bool,
}

impl Worker {
    /// Until closed; what was wrong at the end.
    fn run(mut self) -> Option<String> {
        loop {
            let trouble = match self.follow() {
                Ok(()) => return None,
                Err(error) => Some(error.to_string()),
            };
            // What is not written down is in the journal: the next run reads it there.
            if self.closing.load(Ordering::Acquire) {
                return trouble;
            }
            std::thread::park_timeout(WRITE);
        }
    }

    fn follow(&mut self) -> Result<(), Error> {
        let mut reader = Reader::open(
            &self.journal_dir,
            From::Seq(self.checkpoint.seq + 1),
            Until::Durable(self.durable.clone()),
            events_only(),
        )?;
        loop {
            let is_closing = self.closing.load(Ordering::Acquire);
            loop {
                match reader.next()? {
                    Next::End => break,
                    Next::Lost(_) => {}
                    Next::Record(record) => {
                        self.is_changed |= take_in(&mut self.checkpoint.memory, record.payload);
                        self.checkpoint.seq = record.seq;
                    }
                }
            }
            self.checkpoint.seq = self.checkpoint.seq.max(reader.next_seq().saturating_sub(1));
            if is_closing
                || self
                    .written
                    .is_none_or(|written| written.elapsed() >= WRITE)
            {
                self.write()?;
            }
            if is_closing {
                return Ok(());
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// The file first, and then the cursor: what is not in the one is still in the journal.
    fn write(&mut self) -> Result<(), Error> {
        let is_ahead = self.checkpoint.seq > self.cursor.seq();
        if !self.is_changed && !is_ahead {
            return Ok(());
        }
        let text = encode(&self.checkpoint);
        put_whole(&self.dir, "memory.new", FILE, text.as_bytes())
            .map_err(io_error("write into", &self.dir))?;
        self.is_changed = false;
        if is_ahead {
            self.cursor.advance(self.checkpoint.seq)?;
        }
        self.written = Some(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let mut memory = Memory::default();
        let event =
            json!({"event": "alert", "rule": "hot", "state": {"is": "firing", "since_ns": 5}});
        assert!(memory.take_in(&event));
        Checkpoint { seq: 7, memory }
    }

    #[test]
    fn a_damaged_memory_is_no_memory_wherever_it_is_damaged() {
        let text = encode(&checkpoint());
        assert_eq!(decode(text.as_bytes()), Some(checkpoint()));
        for at in 0..text.len() {
            assert_eq!(decode(&text.as_bytes()[..at]), None, "cut at {at}");
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 4;
            assert_eq!(decode(&flipped), None, "flipped at {at}");
        }
    }

    #[test]
    fn a_torn_memory_is_said_and_made_anew() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = dir.path().join(DIR);
        fs::create_dir_all(&at).expect("a directory");
        fs::write(at.join(FILE), &encode(&checkpoint())[..40]).expect("a file");
        let remembered = recall(dir.path()).expect("it is read all the same");
        assert_eq!(remembered.memory, Memory::default());
        assert!(
            remembered.amiss[0].contains("is damaged"),
            "{:?}",
            remembered.amiss
        );
        fs::write(at.join(FILE), encode(&checkpoint())).expect("a file");
        let remembered = recall(dir.path()).expect("it is read");
        assert_eq!(
            (remembered.memory, remembered.amiss.len()),
            (checkpoint().memory, 0)
        );
    }

    #[test]
    fn orders_wait_for_the_next_run() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(orders(dir.path()).expect("none is none"), []);
        let order = |rule: &str| Order::Acknowledge {
            rule: rule.to_owned(),
        };
        keep_order(dir.path(), &order("hot")).expect("kept");
        keep_order(dir.path(), &order("cold")).expect("kept");
        assert_eq!(
            orders(dir.path()).expect("read"),
            [order("hot"), order("cold")]
        );
        forget_orders(dir.path()).expect("forgotten");
        forget_orders(dir.path()).expect("twice is no error");
        assert_eq!(orders(dir.path()).expect("none is none"), []);
    }
}
