//! The writer thread, and the journal's handle.
//!
//! **Always holds.** Each block taken from a queue is reported to the [`Observer`] exactly once:
//! as committed, when it is on disk, or as failed. Nothing is written after the first error. With
//! nothing queued and nothing uncommitted the thread sleeps without a deadline.
//!
//! **Must not know.** The layout of what it writes, and what the observer does with the counts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use kymo_drivers::block::{Block, Priority, SourceId};

use super::error::Error;
use super::files::Dir;
use super::log::{self, Commit, Hands, Log, Quanta};
use super::prepare::{Preparer, Rotation};
use super::queues::{Queues, Sender};
use super::record::Kind;
use super::recover::{self, Recovery};
use super::status::{Shared, Status};
use super::{Clock, Options};

/// Blocks written and not yet committed at most; one more brings the commit forward. At 100 ms
/// that is 80000 blocks a second.
const PENDING_MAX: usize = 8192;

/// A block, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Which source.
    pub source: SourceId,
    /// Which of its lanes.
    pub lane: u8,
    /// How urgent.
    pub priority: Priority,
    /// Its record; 0 if it never got one.
    pub seq: u64,
    /// Frames in it.
    pub frames: u64,
    /// Values in it.
    pub samples: u64,
    /// When the read that brought its last frame returned, UTC ns.
    pub read_ns: i64,
}

impl Committed {
    fn of(block: &Block, seq: u64) -> Self {
        Self {
            source: block.source,
            lane: block.lane,
            priority: block.priority,
            seq,
            frames: block.frames.len() as u64,
            samples: block.frames.samples(),
            read_ns: block.read_ns,
        }
    }
}

/// Told by the writer thread what became of the blocks. Must not block.
pub trait Observer: Send {
    /// The block is on disk, since `commit_ns` (UTC ns).
    fn committed(&mut self, block: &Committed, commit_ns: i64);
    /// The block was taken, and is not on disk for all anyone knows: the journal has failed.
    fn failed(&mut self, block: &Committed);
    /// Everything up to `seq` is on disk: after the blocks of a commit, the time to wake followers.
    fn durable(&mut self, seq: u64) {
        let _ = seq;
    }
}

/// What a run's journal is opened with.
pub struct Setup {
    /// How it is kept.
    pub options: Options,
    /// How values came from integers.
    pub quanta: Quanta,
    /// The run record: JSON.
    pub run: String,
    /// The run's clock.
    pub clock: Clock,
    /// Told of commits.
    pub observer: Box<dyn Observer>,
    /// Called by the writer thread when a queue that was full has room, and when the journal fails.
    pub room: Arc<dyn Fn() + Send + Sync>,
}

/// A journal that was closed in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Seq of the last record: the ledger, if there is one. All is on disk.
    pub last_seq: u64,
}

type Ledger = Box<dyn FnOnce() -> String + Send>;

/// A running journal. Dropping it commits what was handed over, without a ledger.
pub struct Journal {
    queues: Arc<Queues>,
    shared: Arc<Shared>,
    ledger: flume::Sender<Ledger>,
    writer: Option<JoinHandle<Result<Closed, Arc<Error>>>>,
}

/// Recovers the journal in `dir`, begins a segment in it with the run's record, and starts the writer.
///
/// The caller has made sure that no other process writes there.
pub fn open(dir: &Path, setup: Setup) -> Result<(Journal, Sender, Recovery), Error> {
    open_in(&Dir::os(dir), setup)
}

pub(super) fn open_in(dir: &Dir, setup: Setup) -> Result<(Journal, Sender, Recovery), Error> {
    dir.make()?;
    let (recovery, start) = recover::recover(dir)?;
    let shared = Arc::new(Shared::default());
    let rotation = Arc::new(Rotation::new());
    let preparer = Preparer::new(
        dir.clone(),
        setup.options.segment_bytes,
        Arc::clone(&rotation),
        Arc::clone(&shared),
    );
    let log_setup = log::Setup {
        dir: dir.clone(),
        segment_bytes: setup.options.segment_bytes,
        run: setup.run,
        quanta: setup.quanta,
        clock: Arc::clone(&setup.clock),
        shared: Arc::clone(&shared),
        rotation: Arc::clone(&rotation),
    };
    let mut prepare_thread = None;
    let log = Log::begin(log_setup, start, || {
        let handle = spawn("kymo-prepare", dir, move || preparer.run())?;
        let thread = handle.thread().clone();
        prepare_thread = Some(handle);
        Ok(Hands::Thread(thread))
    })?;
    let queues = Arc::new(Queues::new(setup.options.queue_blocks, setup.room));
    let (ledger, ledgers) = flume::bounded(1);
    let writer = Writer {
        log,
        queues: Arc::clone(&queues),
        shared: Arc::clone(&shared),
        rotation,
        clock: setup.clock,
        observer: setup.observer,
        commit_interval: setup.options.commit_interval,
        pending: Vec::with_capacity(PENDING_MAX),
        deadline_ns: None,
        waits_for_preparer: false,
        turn: 0,
        ledgers,
        prepare_thread,
    };
    let thread = spawn("kymo-journal", dir, move || writer.run())?;
    let journal = Journal {
        queues: Arc::clone(&queues),
        shared: Arc::clone(&shared),
        ledger,
        writer: Some(thread),
    };
    Ok((journal, Sender { queues, shared }, recovery))
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    dir: &Dir,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(Error::io("start a thread for", &dir.path))
}

impl Journal {
    /// How it stands; may be kept.
    #[must_use]
    pub fn status(&self) -> Status {
        Status(Arc::clone(&self.shared))
    }

    /// Commits everything handed over, then writes and commits the ledger.
    ///
    /// `ledger` is called on the writer thread after the last block was reported to the observer,
    /// so that it can state the final counts. Waits for all that.
    pub fn close(
        mut self,
        sender: Sender,
        ledger: impl FnOnce() -> String + Send + 'static,
    ) -> Result<Closed, Arc<Error>> {
        drop(sender);
        // There is room for the only ledger there will be; without a writer it goes nowhere.
        let _ = self.ledger.try_send(Box::new(ledger));
        self.join()
    }

    fn join(&mut self) -> Result<Closed, Arc<Error>> {
        self.queues.close();
        let Some(writer) = self.writer.take() else {
            return Err(Arc::new(Error::Closed));
        };
        writer.join().unwrap_or_else(|_| {
            Err(Arc::new(Error::Panicked {
                thread: "kymo-journal",
            }))
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.writer.is_some() {
            // Whoever drops it without closing has no use for the outcome.
            let _ = self.join();
        }
    }
}

struct Writer {
    log: Log,
    queues: Arc<Queues>,
    shared: Arc<Shared>,
    rotation: Arc<Rotation>,
    clock: Clock,
    observer: Box<dyn Observer>,
    commit_interval: Duration,
    /// Written, not committed.
    pending: Vec<Committed>,
    /// When the next commit is due, if something waits for one.
    deadline_ns: Option<i64>,
    /// It is past due, but the segment has no durable name yet.
    waits_for_preparer: bool,
    turn: u32,
    ledgers: flume::Receiver<Ledger>,
    prepare_thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn run(mut self) -> Result<Closed, Arc<Error>> {
        let _guard = PanicGuard(Arc::clone(&self.shared), Arc::clone(&self.queues));
        self.queues.gate.enter();
        self.rotation.set_writer(std::thread::current());
        let outcome = self.write().map_err(|error| self.fail(error));
        self.rotation.close();
        if let Some(thread) = self.prepare_thread.take() {
            thread.thread().unpark();
            // It has nothing left to do that anybody depends on.
            let _ = thread.join();
        }
        if outcome.is_ok() {
            self.shared.fail(Arc::new(Error::Closed));
        }
        outcome
    }

    /// Until closed.
    fn write(&mut self) -> Result<Closed, Error> {
        loop {
            // Before draining: what was handed over before the closing is then drained.
            let is_closing = self.queues.is_closing();
            let has_more = self.drain()?;
            self.commit_if_due()?;
            if has_more {
                continue;
            }
            if is_closing {
                return self.finish();
            }
            self.sleep();
        }
    }

    /// Appends what is queued until a buffer is full; whether there may be more.
    fn drain(&mut self) -> Result<bool, Error> {
        while self.pending.len() < PENDING_MAX {
            if let Some(event) = self.queues.pop_event() {
                self.log
                    .append_json(Kind::Event, event.source, event.time_ns, &event.json)?;
            } else if let Some(block) = self.queues.pop_block(&mut self.turn) {
                // Noted first: if appending fails it is reported as failed with the others.
                self.pending.push(Committed::of(&block, 0));
                self.log.append_block(&block)?;
                if let Some(noted) = self.pending.last_mut() {
                    noted.seq = self.log.last_seq();
                }
            } else {
                return Ok(false);
            }
            if self.log.wants_flush() {
                self.log.flush()?;
                return Ok(true);
            }
        }
        self.log.commit_now()?;
        self.report();
        Ok(true)
    }

    fn commit_if_due(&mut self) -> Result<(), Error> {
        if !self.log.is_dirty() {
            return Ok(());
        }
        let now_ns = (self.clock)();
        let deadline_ns = *self.deadline_ns.get_or_insert_with(|| {
            // An interval of centuries is as good as the longest there is.
            let interval = i64::try_from(self.commit_interval.as_nanos()).unwrap_or(i64::MAX);
            now_ns.saturating_add(interval)
        });
        if now_ns >= deadline_ns {
            match self.log.commit()? {
                Commit::Done => self.report(),
                Commit::Waiting => self.waits_for_preparer = true,
            }
        }
        Ok(())
    }

    /// Tells of a commit.
    fn report(&mut self) {
        self.deadline_ns = None;
        self.waits_for_preparer = false;
        let commit_ns = (self.clock)();
        for block in self.pending.drain(..) {
            self.observer.committed(&block, commit_ns);
        }
        self.observer.durable(self.shared.durable_seq());
    }

    fn sleep(&mut self) {
        let is_dated = self.log.is_dirty();
        // The preparer wakes us when it has published the segment.
        let timeout = match self.deadline_ns {
            Some(deadline_ns) if !self.waits_for_preparer => {
                let left_ns = deadline_ns.saturating_sub((self.clock)());
                Some(u64::try_from(left_ns).unwrap_or(0))
            }
            _ => None,
        };
        let queues = &self.queues;
        queues
            .gate
            .sleep(is_dated, timeout.map(Duration::from_nanos), || {
                queues.is_closing()
                    || if is_dated {
                        queues.is_urgent()
                    } else {
                        !queues.is_empty()
                    }
            });
        // Relaxed: a count for reports.
        self.shared.wakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Commits the last records and the ledger.
    fn finish(&mut self) -> Result<Closed, Error> {
        self.log.commit_now()?;
        self.report();
        if let Ok(ledger) = self.ledgers.try_recv() {
            let now_ns = (self.clock)();
            self.log
                .append_json(Kind::Ledger, None, now_ns, &ledger())?;
            self.log.commit_now()?;
            self.report();
        }
        self.log.trim()?;
        Ok(Closed {
            last_seq: self.log.last_seq(),
        })
    }

    /// After the first error: everything not committed is reported, until closed.
    fn fail(&mut self, error: Error) -> Arc<Error> {
        let error = Arc::new(error);
        self.shared.fail(Arc::clone(&error));
        for block in self.pending.drain(..) {
            self.observer.failed(&block);
        }
        self.queues.tell_room();
        loop {
            let is_closing = self.queues.is_closing();
            while self.queues.pop_event().is_some() {
                // Relaxed: a count for reports.
                self.shared.events_dropped.fetch_add(1, Ordering::Relaxed);
            }
            while let Some(block) = self.queues.pop_block(&mut self.turn) {
                self.observer.failed(&Committed::of(&block, 0));
            }
            if is_closing {
                return error;
            }
            let queues = &self.queues;
            queues
                .gate
                .sleep(false, None, || queues.is_closing() || !queues.is_empty());
        }
    }
}

/// A panic of the writer must not look like a journal that goes on.
struct PanicGuard(Arc<Shared>, Arc<Queues>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Arc::new(Error::Panicked {
                thread: "kymo-journal",
            }));
            self.1.tell_room();
        }
    }
}
