//! The thread for what takes long: spectra, quantiles, long medians.
//!
//! It is given copies of blocks through a bounded queue, in order, and gives back what its machines made, in order. While
//! the queue is nearly full the stage leaves lanes that are not critical alone, so their frames are never missed; a critical
//! block that finds no room is not looked at here, which is counted.
//!
//! **Always holds.** The stage never waits for this thread, but at the end of the run. If the thread breaks down, what
//! it would have made is missing, and said; the rest goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use kymo_drivers::block::{Block, Pool, SourceId};

use super::engine::Engine;
use super::machine::{LaneColumns, MachineOptions, Ready, Watermark};
use crate::lanes::StageGate;

/// Jobs that wait at most.
const JOBS_MAX: usize = 512;
/// So much room is left for what the lanes alone do not bound: watermarks, critical blocks.
const JOBS_SPARE: usize = 128;
/// Longest sleep before the thread looks for itself. Only a guard: it is woken.
const LOOK: Duration = Duration::from_millis(20);

enum Job {
    Block(Block),
    Watermark(Watermark),
}

struct Shared {
    jobs: ArrayQueue<Job>,
    results: ArrayQueue<Ready>,
    is_closing: AtomicBool,
    late_frames: AtomicU64,
    /// Jobs done, their results given back.
    done: AtomicU64,
}

/// The stage's end.
pub(super) struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Where copies come from, by the lanes that are looked at.
    pools: Vec<(SourceId, u8, Pool)>,
    columns: Vec<usize>,
    made: Vec<(SourceId, u8)>,
    /// Jobs given.
    given: u64,
    pub(super) missed_frames: u64,
}

impl Worker {
    pub(super) fn start(machines: Vec<MachineOptions>, gate: StageGate) -> std::io::Result<Self> {
        let mut pools: Vec<(SourceId, u8, Pool)> = Vec::new();
        let mut widest = 0;
        for LaneColumns {
            source,
            lane,
            shape,
            ..
        } in machines.iter().flat_map(|m| &m.inputs)
        {
            widest = widest.max(shape.0);
            if !pools.iter().any(|(s, l, _)| (s, l) == (source, lane)) {
                // In the queue, and one in hand at either end.
                pools.push((*source, *lane, Pool::new(shape.0, shape.1, JOBS_MAX + 2)));
            }
        }
        let shared = Arc::new(Shared {
            jobs: ArrayQueue::new(JOBS_MAX),
            results: ArrayQueue::new(JOBS_MAX),
            is_closing: AtomicBool::new(false),
            late_frames: AtomicU64::new(0),
            done: AtomicU64::new(0),
        });
        let engine = Engine::new(machines);
        let made = engine.made().collect();
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kymo-compute".to_owned());
        let thread = thread.spawn(move || work(engine, &its, &gate))?;
        Ok(Self {
            shared,
            thread: Some(thread),
            pools,
            columns: (0..widest).collect(),
            made,
            given: 0,
            missed_frames: 0,
        })
    }

    /// Whether a block more would find room.
    pub(super) fn has_room(&self) -> bool {
        self.shared.jobs.len() < JOBS_MAX - JOBS_SPARE || self.has_failed()
    }

    /// Whether there are results.
    pub(super) fn has_results(&self) -> bool {
        !self.shared.results.is_empty()
    }

    /// Whether the thread has broken down.
    pub(super) fn has_failed(&self) -> bool {
        let is_closing = self.shared.is_closing.load(Ordering::Relaxed);
        !is_closing && self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether a lane is one of those made here.
    pub(super) fn makes(&self, source: SourceId, lane: u8) -> bool {
        self.made.contains(&(source, lane))
    }

    /// Copies a block, if its lane is looked at.
    pub(super) fn feed(&mut self, block: &Block) {
        let lane = (block.source, block.lane);
        let found = self
            .pools
            .iter()
            .find(|(source, lane_, _)| (*source, *lane_) == lane);
        let Some((.., pool)) = found else { return };
        let copied = pool.take().map(|mut copy| {
            (copy.source, copy.lane, copy.priority) = (block.source, block.lane, block.priority);
            (copy.first_frame, copy.axis, copy.read_ns) =
                (block.first_frame, block.axis, block.read_ns);
            let frames = block.frames.len();
            let columns = &self.columns[..block.frames.channels()];
            copy.frames.copy_columns(&block.frames, columns, 0..frames);
            copy.gaps.extend_from_slice(&block.gaps);
            copy
        });
        let is_taken = copied.is_some_and(|copy| self.shared.jobs.push(Job::Block(copy)).is_ok());
        if is_taken {
            self.given += 1;
        } else {
            self.missed_frames += block.frames.len() as u64;
        }
        self.wake();
    }

    /// Passes a watermark on. One that finds no room is overtaken by the next.
    pub(super) fn advance(&mut self, mark: Watermark) {
        let is_watched = self
            .pools
            .iter()
            .any(|(source, lane, _)| (*source, *lane) == (mark.source, mark.lane));
        if !is_watched {
            return;
        }
        let mut job = Job::Watermark(mark);
        while let Err(refused) = self.shared.jobs.push(job) {
            // The end is told in any case: nothing else is under way then.
            if mark.time_ns < super::machine::END_NS || self.has_failed() {
                return;
            }
            job = refused;
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.given += 1;
        self.wake();
    }

    /// The next result.
    pub(super) fn next(&mut self) -> Option<Ready> {
        let ready = self.shared.results.pop()?;
        if self.shared.results.is_empty() {
            self.wake();
        }
        Some(ready)
    }

    /// Whether everything given has come back and was taken.
    pub(super) fn is_idle(&self) -> bool {
        // Acquire: what is counted as done has its results in the queue.
        let done = self.shared.done.load(Ordering::Acquire);
        (done == self.given || self.has_failed()) && self.shared.results.is_empty()
    }

    pub(super) fn late_frames(&self) -> u64 {
        self.shared.late_frames.load(Ordering::Relaxed)
    }

    /// Ends the thread; whether it did its work.
    pub(super) fn join(&mut self) -> bool {
        self.shared.is_closing.store(true, Ordering::Release);
        self.wake();
        self.thread
            .take()
            .is_none_or(|thread| thread.join().is_ok())
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

fn work(mut engine: Engine, shared: &Shared, gate: &StageGate) {
    loop {
        // Acquire: whatever was given before the closing is seen below.
        let is_closing = shared.is_closing.load(Ordering::Acquire);
        let Some(job) = shared.jobs.pop() else {
            if is_closing {
                return;
            }
            std::thread::park_timeout(LOOK);
            continue;
        };
        match job {
            Job::Block(block) => engine.feed(&block),
            Job::Watermark(mark) => engine.advance(mark),
        }
        shared
            .late_frames
            .store(engine.late_frames(), Ordering::Relaxed);
        while let Some(made) = engine.ready.pop_front() {
            // What one heavy machine makes may be looked at by another.
            match &made {
                Ready::Block(block) => engine.feed(block),
                Ready::Watermark(mark) => engine.advance(*mark),
                Ready::Lost { .. } => {}
            }
            let mut made = made;
            while let Err(refused) = shared.results.push(made) {
                made = refused;
                gate.signal();
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        // Release: pairs with the acquire in `is_idle`.
        shared.done.fetch_add(1, Ordering::Release);
        if !shared.results.is_empty() {
            gate.signal();
        }
    }
}
