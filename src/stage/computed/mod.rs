//! Computed lanes: windows and derived channels, made from the blocks that pass the stage.
//!
//! `Computed::feed` shows a block to the machines that look at its lane; what they make are blocks like any
//! other, which the stage then counts as acquired, judges, and hands on; and they may be looked at in turn. What takes long
//! is done by a thread of its own (`worker.rs`).
//!
//! **Watermarks.** A lane is known up to its last frame. One that has been silent for the lateness, by the run's clock and
//! while no block waits in any lane, is not waited for any longer; what it sends later for moments that have passed is late, which
//! is counted. So results depend on the frames' own times, unless a source lags by more than the stated lateness.
//!
//! **Always holds.** In the steady state nothing is allocated in the stage's thread. The order of a lane's blocks is that of their times.
//!
//! **Must not know.** Files, devices, the configuration.

mod engine;
mod machine;
mod worker;

use std::io;

use kymo_drivers::block::{Block, SourceId};

use crate::lanes::StageGate;

use engine::Engine;
pub(super) use machine::Ready;
pub use machine::{Derived, INPUTS_MAX, LaneColumns, MachineOptions, Work};
use machine::{END_NS, Watermark};
use worker::Worker;

/// What is computed in a stage.
#[derive(Debug, Clone)]
pub struct ComputedOptions {
    /// The lanes, each behind those that it looks at.
    pub machines: Vec<MachineOptions>,
    /// How long a silent lane is waited for, ns.
    pub lateness_ns: i64,
}

/// What became of it, beside the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct ComputedCounts {
    /// Frames that came too late for the window or moment they belong to.
    pub late_frames: u64,
    /// Frames of critical lanes that what takes long could not look at, because it was behind.
    pub missed_frames: u64,
    /// The thread for what takes long broke down: a mistake in Kymo.
    pub has_failed: bool,
}

/// Watermarks of silent lanes are looked after so often, ns.
const TICK_NS: i64 = 100_000_000;

/// Lanes that come from readers and are looked at; none has had a frame yet.
fn raw_lanes(machines: &[MachineOptions]) -> Vec<(SourceId, u8, i64)> {
    let is_made = |lane: &(SourceId, u8)| {
        let mut made = machines.iter();
        made.any(|machine| (machine.source, machine.lane) == *lane)
    };
    let inputs = machines.iter().flat_map(|machine| &machine.inputs);
    let mut raw: Vec<(SourceId, u8)> = inputs
        .map(|input| (input.source, input.lane))
        .filter(|lane| !is_made(lane))
        .collect();
    raw.sort_unstable();
    raw.dedup();
    let unseen = |(source, lane)| (source, lane, i64::MIN);
    raw.into_iter().map(unseen).collect()
}

/// The machines of a stage.
pub(super) struct Computed {
    light: Engine,
    heavy: Option<Worker>,
    /// Lanes that come from readers and are looked at: when their last frame was.
    raw: Vec<(SourceId, u8, i64)>,
    lateness_ns: i64,
    tick_ns: i64,
}

impl Computed {
    pub(super) fn start(options: ComputedOptions, gate: StageGate) -> io::Result<Self> {
        let raw = raw_lanes(&options.machines);
        let (heavy, light): (Vec<_>, Vec<_>) = options
            .machines
            .into_iter()
            .partition(|machine| machine.is_heavy);
        Ok(Self {
            raw,
            light: Engine::new(light),
            heavy: if heavy.is_empty() {
                None
            } else {
                Some(Worker::start(heavy, gate)?)
            },
            lateness_ns: options.lateness_ns,
            tick_ns: i64::MIN,
        })
    }

    /// For recordings: everything is computed at once, so that results come at a time that depends on no thread, and
    /// none is lost, however slow the disk is.
    pub(super) fn alone(options: ComputedOptions) -> Self {
        let raw = raw_lanes(&options.machines);
        let mut light = Engine::new(options.machines);
        light.keep_all();
        Self {
            raw,
            light,
            heavy: None,
            lateness_ns: options.lateness_ns,
            tick_ns: i64::MIN,
        }
    }

    /// Whether there is room for a block more of a lane that can wait.
    pub(super) fn has_room(&self) -> bool {
        self.heavy.as_ref().is_none_or(Worker::has_room)
    }

    /// Whether something was made that nobody has taken.
    pub(super) fn has_results(&self) -> bool {
        self.heavy.as_ref().is_some_and(Worker::has_results)
    }

    /// Shows a block to the machines.
    pub(super) fn feed(&mut self, block: &Block) {
        let lane = (block.source, block.lane);
        if let Some(raw) = self.raw.iter_mut().find(|(s, l, _)| (*s, *l) == lane)
            && let Some(last_ns) = block.last_ns()
        {
            raw.2 = raw.2.max(last_ns);
        }
        self.light.feed(block);
        if let Some(worker) = &mut self.heavy {
            // What the worker made it has shown to its own machines already.
            if !worker.makes(block.source, block.lane) {
                worker.feed(block);
            }
        }
    }

    /// What was made: a block, or frames that were lost. Watermarks are passed on within.
    pub(super) fn next(&mut self) -> Option<Ready> {
        loop {
            let light = self.light.ready.pop_front();
            let ready = light.or_else(|| self.heavy.as_mut()?.next())?;
            let Ready::Watermark(mark) = ready else {
                return Some(ready);
            };
            self.advance(mark);
        }
    }

    fn advance(&mut self, mark: Watermark) {
        if self.light.watches(mark.source, mark.lane) {
            self.light.advance(mark);
        }
        if let Some(worker) = &mut self.heavy
            && !worker.makes(mark.source, mark.lane)
        {
            worker.advance(mark);
        }
    }

    /// Looks after silent lanes, if it is time and no block waits.
    pub(super) fn tick(&mut self, now_ns: i64, is_drained: bool) {
        if is_drained && now_ns >= self.tick_ns {
            self.look_after(now_ns, 1);
        }
    }

    /// When silent lanes are to be looked after next, ns.
    pub(super) fn due_ns(&self) -> i64 {
        self.tick_ns
    }

    /// Looks after silent lanes; again after so many times the time that usually lies between two looks.
    pub(super) fn look_after(&mut self, now_ns: i64, times: i64) {
        self.tick_ns = now_ns.saturating_add(TICK_NS.saturating_mul(times));
        let time_ns = now_ns.saturating_sub(self.lateness_ns);
        for index in 0..self.raw.len() {
            let (source, lane, last_ns) = self.raw[index];
            if last_ns < time_ns && last_ns > i64::MIN {
                self.raw[index].2 = time_ns;
                self.advance(Watermark {
                    source,
                    lane,
                    time_ns,
                    is_given_up: true,
                });
            }
        }
    }

    /// Every lane has ended. To be called until it says that nothing is under way any more, and all that is ready was taken.
    pub(super) fn end(&mut self) {
        for index in 0..self.raw.len() {
            let (source, lane, _) = self.raw[index];
            let time_ns = END_NS;
            self.advance(Watermark {
                source,
                lane,
                time_ns,
                is_given_up: true,
            });
        }
    }

    /// Whether the worker, if there is one, has given back everything. To be asked when nothing else is ready.
    pub(super) fn is_done(&self) -> bool {
        match &self.heavy {
            None => true,
            Some(worker) => worker.is_idle(),
        }
    }

    /// How long the stage may sleep at most.
    pub(super) fn patience() -> std::time::Duration {
        std::time::Duration::from_nanos(TICK_NS.unsigned_abs())
    }

    /// The counts, when everything has ended.
    pub(super) fn counts(&mut self) -> ComputedCounts {
        let mut counts = ComputedCounts {
            late_frames: self.light.late_frames(),
            ..ComputedCounts::default()
        };
        if let Some(worker) = &mut self.heavy {
            counts.has_failed = !worker.join();
            counts.late_frames += worker.late_frames();
            counts.missed_frames = worker.missed_frames;
        }
        counts
    }
}
