//! One computed lane: what it is made of, and how its blocks come about.

use std::collections::VecDeque;

use kymo_drivers::block::{Axis, Block, Gap, GapReason, Pool, Priority, SourceId};

use crate::compute::align::{Alignment, Join, Moments};
use crate::compute::window::{self, Windows};
use crate::expression::{Column, Columns, Expression};

/// Inputs of one expression at most.
pub const INPUTS_MAX: usize = 32;

/// A lane that is computed.
#[derive(Debug, Clone)]
pub struct MachineOptions {
    /// Its source.
    pub source: SourceId,
    /// Its number within the source.
    pub lane: u8,
    /// How urgent its blocks are.
    pub priority: Priority,
    /// Its columns.
    pub channels: usize,
    /// Frames in a block at most.
    pub block_frames: usize,
    /// Blocks under way at most.
    pub blocks_max: usize,
    /// The lanes it looks at.
    pub inputs: Vec<LaneColumns>,
    /// What is done with them.
    pub work: Work,
    /// Whether nothing urgent should wait for it.
    pub is_heavy: bool,
}

/// Some columns of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneColumns {
    /// Which source.
    pub source: SourceId,
    /// Which of its lanes.
    pub lane: u8,
    /// Which columns of its blocks.
    pub columns: Vec<usize>,
    /// All columns of its blocks, and frames in a block at most.
    pub shape: (usize, usize),
}

/// What is done.
#[derive(Debug, Clone)]
pub enum Work {
    /// Windows over all columns of the one input.
    Windows(window::Options),
    /// A column for each of these.
    Derived {
        /// When there is a frame.
        moments: Moments,
        /// What an input is between its samples.
        alignment: Alignment,
        /// For how long, ns.
        hold_ns: i64,
        /// The columns.
        channels: Vec<Derived>,
    },
}

/// A column that is an expression.
#[derive(Debug, Clone)]
pub struct Derived {
    /// The expression.
    pub expression: Expression,
    /// Its inputs: which of the machine's inputs, and which of that one's columns.
    pub inputs: Vec<(usize, usize)>,
    /// `value = result * scale + offset`.
    pub conversion: (f64, f64),
}

/// What a machine gives.
#[derive(Debug)]
pub(in crate::stage) enum Ready {
    /// A block.
    Block(Block),
    /// Frames for which there was no block: all of them are under way, since the disk does not keep up.
    Lost {
        source: SourceId,
        lane: u8,
        priority: Priority,
        samples: u64,
        gap: Gap,
    },
    /// No frame of a lane before a time will come.
    Watermark(Watermark),
}

/// How far a lane is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stage) struct Watermark {
    pub(super) source: SourceId,
    pub(super) lane: u8,
    pub(super) time_ns: i64,
    /// Its source is silent, and not waited for.
    pub(super) is_given_up: bool,
}

/// The time behind all times: a lane whose watermark is there has ended.
pub(super) const END_NS: i64 = i64::MAX / 2;

enum Running {
    Windows(Windows),
    /// All inputs are of the lane that makes the moments.
    Straight(Vec<Derived>),
    Joined(Join, Vec<Derived>),
}

/// A computed lane at work.
pub(super) struct Machine {
    running: Running,
    inputs: Vec<LaneColumns>,
    lateness_ns: i64,
    output: Output,
    /// Times of a block whose frames have none of their own.
    times_ns: Vec<i64>,
    reached_ns: i64,
}

impl Machine {
    pub(super) fn new(options: MachineOptions) -> Self {
        let mut lateness_ns = 0;
        let running = match options.work {
            Work::Windows(window) => {
                lateness_ns = window.lateness_ns;
                let columns = options
                    .inputs
                    .first()
                    .map_or(0, |input| input.columns.len());
                Running::Windows(Windows::new(window, columns))
            }
            Work::Derived {
                moments,
                alignment,
                hold_ns,
                channels,
            } => {
                let columns: Vec<usize> = options
                    .inputs
                    .iter()
                    .map(|input| input.columns.len())
                    .collect();
                if columns.len() == 1 && moments == Moments::Stream(0) {
                    Running::Straight(channels)
                } else {
                    let batch = options.block_frames;
                    let join = Join::new(&columns, moments, alignment, hold_ns, batch);
                    Running::Joined(join, channels)
                }
            }
        };
        let (channels, frames) = (options.channels, options.block_frames);
        Self {
            running,
            inputs: options.inputs,
            lateness_ns,
            output: Output {
                source: options.source,
                lane: options.lane,
                priority: options.priority,
                pool: Pool::new(channels, frames, options.blocks_max),
                keeps_all: None,
                spare: Some(Block::unpooled(channels, frames)),
                block: None,
                is_lost: false,
                next_frame: 0,
                read_ns: 0,
                last_ns: None,
            },
            times_ns: Vec::new(),
            reached_ns: i64::MIN,
        }
    }

    /// Nothing is lost for want of a block: one more is made.
    pub(super) fn keep_all(&mut self) {
        let spare = self.output.spare.as_ref();
        self.output.keeps_all =
            spare.map(|spare| (spare.frames.channels(), spare.frames.capacity()));
    }

    pub(super) fn inputs(&self) -> &[LaneColumns] {
        &self.inputs
    }

    pub(super) fn output(&self) -> (SourceId, u8) {
        (self.output.source, self.output.lane)
    }

    /// Frames that came when what they belong to was closed.
    pub(super) fn late_frames(&self) -> u64 {
        match &self.running {
            Running::Windows(windows) => windows.late_frames(),
            Running::Straight(_) => 0,
            Running::Joined(join, _) => join.late_frames(),
        }
    }

    /// Takes a block of one of its inputs.
    pub(super) fn feed(&mut self, input: usize, block: &Block, ready: &mut VecDeque<Ready>) {
        self.output.read_ns = block.read_ns;
        let times_ns = match block.axis {
            Axis::Irregular => block.frames.times_ns(),
            Axis::Regular { .. } => {
                self.times_ns.clear();
                let times_ns = (0..block.frames.len()).map(|index| block.time_ns(index));
                self.times_ns.extend(times_ns);
                &self.times_ns
            }
        };
        let columns = &self.inputs[input].columns;
        let column = |place: usize| block.frames.column(columns[place]);
        let output = &mut self.output;
        match &mut self.running {
            Running::Windows(windows) => {
                let gaps = block.gaps.iter().map(|gap| gap.before as usize);
                windows.push(times_ns, column, gaps, |time_ns, row| {
                    output.push_row(time_ns, row, ready);
                });
            }
            Running::Straight(channels) => {
                let frames = output
                    .spare
                    .as_ref()
                    .map_or(1, |spare| spare.frames.capacity());
                let mut from = 0;
                while from < times_ns.len() {
                    let range = from..times_ns.len().min(from + frames);
                    from = range.end;
                    let times_ns = &times_ns[range.clone()];
                    let of_input = |(_, place): (usize, usize)| {
                        let values = &column(place)[range.clone()];
                        Column {
                            aligned: values,
                            times_ns,
                            values,
                        }
                    };
                    output.evaluate(channels, times_ns, of_input, ready);
                }
            }
            Running::Joined(join, channels) => {
                join.push(input, times_ns, column);
                drain(join, channels, output, ready);
            }
        }
        self.output.flush(ready);
        if let Some(last_ns) = block.last_ns().filter(|_| !block.frames.is_empty()) {
            self.reach(last_ns, false, ready);
        }
    }

    /// No frame of an input before a time will come.
    pub(super) fn advance(&mut self, input: usize, mark: Watermark, ready: &mut VecDeque<Ready>) {
        let output = &mut self.output;
        match &mut self.running {
            Running::Windows(windows) if mark.time_ns >= END_NS => {
                windows.finish(|time_ns, row| {
                    output.push_row(time_ns, row, ready);
                });
            }
            Running::Windows(windows) => {
                windows.advance(mark.time_ns, |time_ns, row| {
                    output.push_row(time_ns, row, ready);
                });
            }
            Running::Straight(_) => {}
            Running::Joined(join, channels) => {
                if mark.is_given_up {
                    join.give_up(input, mark.time_ns);
                } else {
                    join.advance(input, mark.time_ns);
                }
                drain(join, channels, output, ready);
            }
        }
        self.output.flush(ready);
        self.reach(mark.time_ns, mark.is_given_up, ready);
    }

    /// Says how far its own lane is known now.
    fn reach(&mut self, input_ns: i64, is_given_up: bool, ready: &mut VecDeque<Ready>) {
        let time_ns = match &self.running {
            Running::Joined(join, _) => join.reached_ns(),
            _ if input_ns >= END_NS => input_ns,
            _ => input_ns.saturating_sub(self.lateness_ns),
        };
        if time_ns > self.reached_ns {
            self.reached_ns = time_ns;
            let (source, lane) = self.output();
            let mark = Watermark {
                source,
                lane,
                time_ns,
                is_given_up,
            };
            ready.push_back(Ready::Watermark(mark));
        }
    }
}

fn drain(
    join: &mut Join,
    channels: &mut [Derived],
    output: &mut Output,
    ready: &mut VecDeque<Ready>,
) {
    while join.take_batch() {
        let of_input = |(stream, column): (usize, usize)| {
            let (times_ns, values) = join.own(stream, column);
            Column {
                aligned: join.aligned(stream, column),
                times_ns,
                values,
            }
        };
        output.evaluate(channels, join.times_ns(), of_input, ready);
        join.done();
    }
}

/// Where a machine's frames go.
struct Output {
    source: SourceId,
    lane: u8,
    priority: Priority,
    pool: Pool,
    /// Channels and frames of a block that is made if the pool has none left.
    keeps_all: Option<(usize, usize)>,
    /// Takes what finds no block, so that what remembers goes on remembering. `None` while it is in use.
    spare: Option<Block>,
    block: Option<Block>,
    /// The block in hand is the spare one.
    is_lost: bool,
    next_frame: u64,
    read_ns: i64,
    last_ns: Option<i64>,
}

impl Output {
    /// The block in hand, with room.
    fn open(&mut self, ready: &mut VecDeque<Ready>) -> Option<&mut Block> {
        if self
            .block
            .as_ref()
            .is_some_and(|block| block.frames.is_full())
        {
            self.flush(ready);
        }
        if self.block.is_none() {
            let more = |(channels, frames)| Block::unpooled(channels, frames);
            let block = self.pool.take().or_else(|| self.keeps_all.map(more));
            self.is_lost = block.is_none();
            let mut block = block.or_else(|| self.spare.take())?;
            block.frames.clear();
            block.gaps.clear();
            (block.source, block.lane, block.priority) = (self.source, self.lane, self.priority);
            (block.axis, block.read_ns) = (Axis::Irregular, self.read_ns);
            block.first_frame = self.next_frame;
            self.block = Some(block);
        }
        self.block.as_mut()
    }

    fn push_row(&mut self, time_ns: i64, row: &[f64], ready: &mut VecDeque<Ready>) {
        // Times rise strictly within a lane, also where windows of frames end together.
        let time_ns = self
            .last_ns
            .map_or(time_ns, |last_ns| time_ns.max(last_ns + 1));
        self.last_ns = Some(time_ns);
        if let Some(block) = self.open(ready) {
            block.frames.push(0, row);
            if let Some(time) = block.frames.ends_and_times_mut().1.last_mut() {
                *time = time_ns;
            }
            self.next_frame += 1;
        }
    }

    /// Evaluates all columns at some moments, no more than fit into a block.
    fn evaluate<'c>(
        &mut self,
        channels: &mut [Derived],
        times_ns: &'c [i64],
        of_input: impl Fn((usize, usize)) -> Column<'c>,
        ready: &mut VecDeque<Ready>,
    ) {
        self.flush(ready);
        let count = times_ns.len();
        let Some(block) = self.open(ready) else {
            return;
        };
        for (place, channel) in channels.iter_mut().enumerate() {
            let mut inputs = [Column::default(); INPUTS_MAX];
            for (column, input) in inputs.iter_mut().zip(&channel.inputs) {
                *column = of_input(*input);
            }
            let columns = Columns {
                times_ns,
                inputs: &inputs[..channel.inputs.len()],
            };
            let out = block.frames.spare_column(place, count);
            channel.expression.evaluate_columns(&columns, out);
            let (scale, offset) = channel.conversion;
            if (scale, offset) != (1.0, 0.0) {
                for value in out {
                    *value = *value * scale + offset;
                }
            }
        }
        block.frames.commit(count);
        block
            .frames
            .ends_and_times_mut()
            .1
            .copy_from_slice(times_ns);
        self.last_ns = times_ns.last().copied();
        self.next_frame += count as u64;
        self.flush(ready);
    }

    /// Hands the block in hand on.
    fn flush(&mut self, ready: &mut VecDeque<Ready>) {
        let Some(block) = self.block.take() else {
            return;
        };
        if !self.is_lost {
            ready.push_back(Ready::Block(block));
            return;
        }
        if let (Some(from_ns), Some(to_ns)) = (block.first_ns(), block.last_ns()) {
            let frames = Some(block.frames.len() as u64);
            let reason = GapReason::JournalFull;
            ready.push_back(Ready::Lost {
                source: self.source,
                lane: self.lane,
                priority: self.priority,
                samples: block.frames.samples(),
                gap: Gap {
                    before: 0,
                    from_ns,
                    to_ns,
                    frames,
                    reason,
                },
            });
        }
        self.spare = Some(block);
    }
}
