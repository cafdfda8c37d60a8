//! The follower: reads the journal, fills segments, moves the cursor.
//!
//! **Always holds.** The cursor stands before every record that is not yet in a segment in its place. After
//! any error everything that was under construction is given up and read again from the cursor; a record that is
//! in a segment of its lane is passed over.
//!
//! **Must not know.** Compaction and retention: they touch only segments that are finished.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::compact::{Compactor, Files};
use super::lanes::Lanes;
use super::retention::{Keeper, KeeperSetup};
use super::{CURSOR, DIR, Error, Options, layout, parse_run};
use crate::journal::{
    self, Cursor, DecodedBlock, DurableSeq, Filter, From, Kind, Next, Reader, Status, Until,
};
use crate::run_record::RunRecord;
use crate::trouble::Trouble;

/// How long the follower sleeps if nobody wakes it: it looks at the ages of its segments then.
const LOOK: Duration = Duration::from_millis(500);

/// After an error it tries again after so long; each time twice as long, up to the longest.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What a store is started with.
pub struct StoreSetup {
    /// The data directory, which this process has locked.
    pub data_dir: PathBuf,
    /// How it is kept.
    pub options: Options,
    /// The journal.
    pub journal: Status,
    /// A segment of the journal, bytes: so much must stay free on the disk, twice.
    pub journal_segment_bytes: u64,
    /// The run that goes on: more segments of it will come to be merged.
    pub run: String,
}

/// How the store stands: read by anyone.
#[derive(Debug, Default)]
pub struct StoreStatus {
    /// Everything up to this record is in a segment.
    pub stored_seq: AtomicU64,
    /// Rows written.
    pub rows: AtomicU64,
    /// Records of the journal that could not be read.
    pub lost_records: AtomicU64,
    /// Samples removed because the disk ran out.
    pub removed_samples: AtomicU64,
    /// What is wrong now, if anything is.
    pub(super) trouble: Trouble,
}

impl StoreStatus {
    /// What is wrong now: the store goes on trying.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.get()
    }
}

/// A running store.
pub struct Store {
    status: Arc<StoreStatus>,
    closing: Arc<AtomicBool>,
    follower: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    compactor: Option<JoinHandle<()>>,
}

/// Wakes the follower: something was committed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoreWaker(Thread);

impl StoreWaker {
    /// To be called after a commit.
    pub fn wake(&self) {
        self.0.unpark();
    }
}

impl Store {
    /// Cleans up what a crash left, and starts the threads.
    ///
    /// # Errors
    /// If the store or its cursor cannot be read.
    pub fn start(setup: StoreSetup) -> Result<Self, Error> {
        let store = setup.data_dir.join(DIR);
        let journal_dir = setup.data_dir.join(journal::DIR);
        clean(&store)?;
        let cursor = Cursor::open(&journal_dir, CURSOR)?;
        let (status, closing) = (Arc::<StoreStatus>::default(), Arc::<AtomicBool>::default());
        status.stored_seq.store(cursor.seq(), Ordering::Relaxed);
        let files = Arc::new(Files::default());
        let compactor = Compactor {
            store: store.clone(),
            run: setup.run,
            share: setup.options.compaction_share,
            closing: Arc::clone(&closing),
            files: Arc::clone(&files),
            status: Arc::clone(&status),
            settled: HashSet::new(),
        };
        let keeper = Keeper::new(KeeperSetup {
            files,
            store: store.clone(),
            journal_dir: journal_dir.clone(),
            options: setup.options.clone(),
            journal_segment_bytes: setup.journal_segment_bytes,
            status: Arc::clone(&status),
            closing: Arc::clone(&closing),
        });
        let follower = Follower {
            lanes: Lanes::new(store, setup.options),
            durable: setup.journal.durable_seq(),
            journal_dir,
            cursor,
            status: Arc::clone(&status),
            closing: Arc::clone(&closing),
            block: DecodedBlock::default(),
        };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let started = Error::io("start a thread for", &setup.data_dir);
        let follower = thread("kymo-store")
            .spawn(move || follower.run())
            .map_err(started)?;
        let started = Error::io("start a thread for", &setup.data_dir);
        let keeper = thread("kymo-keeper")
            .spawn(move || keeper.run())
            .map_err(started)?;
        let started = Error::io("start a thread for", &setup.data_dir);
        let compactor = thread("kymo-compact")
            .spawn(move || compactor.run())
            .map_err(started)?;
        Ok(Self {
            status,
            closing,
            follower: Some(follower),
            keeper: Some(keeper),
            compactor: Some(compactor),
        })
    }

    /// How it stands; may be kept.
    #[must_use]
    pub fn status(&self) -> Arc<StoreStatus> {
        Arc::clone(&self.status)
    }

    /// What wakes the follower.
    #[must_use]
    pub fn waker(&self) -> Option<StoreWaker> {
        Some(StoreWaker(self.follower.as_ref()?.thread().clone()))
    }

    /// Stores what the closed journal still has, and ends. False if a thread broke down.
    #[must_use]
    pub fn close(mut self) -> bool {
        self.join()
    }

    fn join(&mut self) -> bool {
        // Release: what was committed before is seen by who sees this.
        self.closing.store(true, Ordering::Release);
        let threads = [
            self.follower.take(),
            self.keeper.take(),
            self.compactor.take(),
        ];
        threads
            .into_iter()
            .flatten()
            .fold(true, |all_well, thread| {
                thread.thread().unpark();
                thread.join().is_ok() && all_well
            })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.join();
    }
}

/// Removes half-made segments, and those that lie within a compacted one.
fn clean(store: &std::path::Path) -> Result<(), Error> {
    for run in layout::runs(store)? {
        for lane in layout::lanes(store, &run)? {
            let dir = store.join(&run).join(&lane);
            let listing = layout::list(&dir)?;
            for path in listing.asides.iter().chain(&listing.leftovers) {
                std::fs::remove_file(path).map_err(Error::io("remove", path))?;
            }
        }
    }
    Ok(())
}

struct Follower {
    lanes: Lanes,
    durable: DurableSeq,
    journal_dir: PathBuf,
    cursor: Cursor,
    status: Arc<StoreStatus>,
    closing: Arc<AtomicBool>,
    block: DecodedBlock,
}

impl Follower {
    fn run(mut self) {
        let _guard = self.status.trouble.guard();
        let mut retry = RETRY;
        loop {
            let before = self.cursor.seq();
            let Err(error) = self.follow() else { return };
            self.status.trouble.set(Some(error.to_string()));
            // Read again from the cursor.
            self.lanes.give_up();
            if self.is_closing() {
                return;
            }
            retry = if self.cursor.seq() > before {
                RETRY
            } else {
                (retry * 2).min(RETRY_MAX)
            };
            let until = Instant::now() + retry;
            while let Some(left) = until.checked_duration_since(Instant::now())
                && !self.is_closing()
            {
                std::thread::park_timeout(left);
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// From the cursor on, until closed.
    fn follow(&mut self) -> Result<(), Error> {
        let start = self.cursor.seq() + 1;
        if let Some(run) = run_at(&self.journal_dir, start)? {
            self.lanes.begin_run(run)?;
        }
        let until = Until::Durable(self.durable.clone());
        let mut reader = Reader::open(
            &self.journal_dir,
            From::Seq(start),
            until,
            Filter::default(),
        )?;
        loop {
            // Before reading: what was committed before the closing is then read.
            let is_closing = self.is_closing();
            let is_at_end = self.read(&mut reader)?;
            if !is_at_end {
                continue;
            }
            if is_closing {
                self.lanes.finish_all()?;
                return self.advance(reader.next_seq() - 1);
            }
            if self.lanes.finish_aged()? {
                self.advance(reader.next_seq() - 1)?;
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Reads on for a while; whether the end was reached for now.
    fn read(&mut self, reader: &mut Reader) -> Result<bool, Error> {
        const RECORDS: usize = 4096;
        for _ in 0..RECORDS {
            let finished = match reader.next()? {
                Next::End => return Ok(true),
                Next::Lost(lost) => {
                    let count = lost.to_seq - lost.from_seq + 1;
                    self.status.lost_records.fetch_add(count, Ordering::Relaxed);
                    false
                }
                Next::Record(record) => match record.kind {
                    Some(Kind::Run) if !record.is_repeated || self.lanes.has_no_run() => {
                        let run = parse_run(record.seq, record.payload)?;
                        self.lanes.begin_run(run)?;
                        true
                    }
                    Some(Kind::Block) => {
                        self.block.decode(record.payload)?;
                        let rows = self.block.times_ns().len() as u64;
                        self.status.rows.fetch_add(rows, Ordering::Relaxed);
                        self.lanes.push_block(record.seq, &self.block)?
                    }
                    Some(Kind::Ledger) => {
                        self.lanes.end_run(record.payload)?;
                        true
                    }
                    Some(Kind::Event) => {
                        self.lanes
                            .push_event(record.seq, record.t_first_ns, record.payload)?
                    }
                    _ => false,
                },
            };
            if finished {
                let seq = reader.next_seq() - 1;
                self.advance(seq)?;
            }
        }
        let finished = self.lanes.finish_aged()?;
        if finished {
            self.advance(reader.next_seq() - 1)?;
        }
        Ok(false)
    }

    /// Moves the cursor to the last record before which nothing is under construction.
    fn advance(&mut self, read_seq: u64) -> Result<(), Error> {
        let seq = self
            .lanes
            .first_open_seq()
            .map_or(read_seq, |first| first - 1);
        if seq > self.cursor.seq() {
            super::segment::fail::point("before the cursor moves");
            self.cursor.advance(seq)?;
            self.status.stored_seq.store(seq, Ordering::Release);
        }
        self.status.trouble.set(None);
        Ok(())
    }
}

/// The run that the record at `seq` belongs to, if it began before.
fn run_at(journal_dir: &std::path::Path, seq: u64) -> Result<Option<RunRecord>, Error> {
    let runs = journal::runs(journal_dir)?;
    let found = runs.iter().rev().find(|run| run.first_seq < seq);
    found
        .map(|run| parse_run(run.first_seq, run.record.as_bytes()))
        .transpose()
}
