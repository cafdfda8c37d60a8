//! From bytes to blocks: decodes what was read, has the frames dated (`dating.rs`), and fills the lanes' blocks.
//!
//! **Always holds.** A frame once decoded is either in a block that was pushed, or in one that
//! will be. The decoder writes straight into the block where a source has one lane; where its channels
//! differ in priority, a frame is decoded once and split.
//!
//! **Must not know.** Where bytes come from, and what the time is other than it is told.

use std::sync::Arc;

use kymo_drivers::block::{Axis, Block, Gap, GapReason, Pool};
use kymo_drivers::frames::Frames;
use kymo_drivers::protocol::Protocol;

use super::dating::{Dating, TimeOptions};
use super::reader::LaneOutput;
use crate::lanes::LaneSender;
use crate::ledger::SourceCounts;

pub(super) struct Assembler {
    stream: Stream,
    lanes: Vec<Lane>,
    /// Where frames are decoded to before they are split; `None` if one lane takes every value.
    scratch: Option<Frames>,
}

/// What is known of a source's stream, whichever block it goes into.
struct Stream {
    protocol: Box<dyn Protocol>,
    counts: Arc<SourceCounts>,
    /// Values of a frame over all lanes: a raw value kept beside the calibrated one is one more.
    samples_per_frame: u64,
    dating: Dating,
    /// A loss after which no frame has come yet: how many frames, why, and since when.
    loss: Option<(Option<u64>, GapReason, i64)>,
}

struct Lane {
    sender: LaneSender,
    pool: Pool,
    /// The source's channels in this lane, by their places.
    columns: Vec<usize>,
    age_max_ns: i64,
    /// Blocks go at their age, however full the lane is.
    keeps_to_age: bool,
    block: Option<Block>,
}

/// When bytes were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// When the read returned, UTC ns.
    pub(super) read_ns: i64,
    /// Time of one byte on the line, ns.
    pub(super) ns_per_byte: f64,
}

impl Assembler {
    pub(super) fn new(
        protocol: Box<dyn Protocol>,
        lanes: Vec<LaneOutput>,
        block_frames: usize,
        time: TimeOptions,
        counts: Arc<SourceCounts>,
    ) -> Self {
        // A column that the dating writes is one more than the protocol does.
        let channels = protocol.channels() + usize::from(time.offset_column.is_some());
        // Straight into the block if that has the frame's values, one for one.
        let is_straight = lanes.len() == 1 && lanes[0].columns.iter().copied().eq(0..channels);
        let scratch = (!is_straight).then(|| Frames::with_capacity(channels, block_frames));
        let samples_per_frame = lanes.iter().map(|lane| lane.columns.len() as u64).sum();
        let lanes = lanes
            .into_iter()
            .map(|lane| Lane {
                pool: Pool::new(lane.columns.len(), block_frames, lane.blocks_max),
                sender: lane.sender,
                columns: lane.columns,
                age_max_ns: i64::try_from(lane.block_age.as_nanos()).unwrap_or(i64::MAX),
                keeps_to_age: false,
                block: None,
            })
            .collect();
        let stream = Stream {
            protocol,
            dating: Dating::new(time, &counts),
            counts,
            samples_per_frame,
            loss: None,
        };
        Self {
            stream,
            lanes,
            scratch,
        }
    }

    /// Has every block sent at its age, also into a lane that is more than half full: where a block ends then depends on
    /// the bytes and their times alone, and not on the load.
    pub(super) fn keep_to_age(&mut self) {
        for lane in &mut self.lanes {
            lane.keeps_to_age = true;
        }
    }

    /// The most bytes that [`Assembler::feed`] leaves.
    pub(super) fn tail_max(&self) -> usize {
        self.stream.protocol.tail_max()
    }

    /// The link was opened anew.
    pub(super) fn reset(&mut self) {
        self.stream.protocol.reset();
        self.stream.dating.reset();
    }

    /// What comes next continues nothing: the next datagram.
    pub(super) fn boundary(&mut self) {
        self.stream.protocol.boundary();
    }

    /// The protocol's turn to ask: what it appends to `out` is to be sent. Returns when its next turn is due, UTC ns.
    pub(super) fn poll(&mut self, now_ns: i64, out: &mut Vec<u8>) -> Option<i64> {
        self.stream.protocol.poll(now_ns, out)
    }

    /// What the protocol has to tell.
    pub(super) fn told(&mut self) -> Option<String> {
        self.stream.protocol.told()
    }

    /// Decodes all whole frames of `input`, whose last byte came at the stamp; returns the bytes done with.
    pub(super) fn feed(&mut self, input: &[u8], stamp: Stamp) -> usize {
        let mut done = 0;
        loop {
            let rest = &input[done..];
            let (used, full) = if self.scratch.is_some() {
                self.decode_split(rest, stamp)
            } else {
                self.decode_straight(rest, stamp)
            };
            done += used;
            if !full {
                break;
            }
            self.send_full();
        }
        self.send_aged(stamp.read_ns);
        done
    }

    /// One lane that takes every value: the decoder writes into its block.
    fn decode_straight(&mut self, input: &[u8], stamp: Stamp) -> (usize, bool) {
        let lane = &mut self.lanes[0];
        let block = &mut **open_block(&mut lane.block, &lane.pool, stamp.read_ns);
        let used = self
            .stream
            .decode(input, stamp, &mut block.frames, &mut block.gaps);
        (used, block.frames.is_full())
    }

    /// Otherwise: decoded once, then each lane takes its columns.
    fn decode_split(&mut self, input: &[u8], stamp: Stamp) -> (usize, bool) {
        let Some(scratch) = self.scratch.as_mut() else {
            return (0, false);
        };
        scratch.clear();
        let mut gaps = Vec::new(); // Allocates only when there is a gap.
        let used = self.stream.decode(input, stamp, scratch, &mut gaps);
        for lane in &mut self.lanes {
            lane.take_columns(scratch, &gaps, stamp.read_ns);
        }
        (used, scratch.is_full())
    }

    fn send_full(&mut self) {
        for lane in &mut self.lanes {
            if lane
                .block
                .as_ref()
                .is_some_and(|block| block.frames.is_full())
            {
                lane.send();
            }
        }
    }

    /// Sends blocks that have waited long enough. While a lane is more than half full they
    /// wait until they are full themselves: many small blocks would fill it sooner.
    pub(super) fn send_aged(&mut self, now_ns: i64) {
        for lane in &mut self.lanes {
            let aged = lane.block.as_ref().is_some_and(|block| {
                !block.frames.is_empty() && now_ns.saturating_sub(block.read_ns) >= lane.age_max_ns
            });
            if aged && !lane.is_held_up() {
                lane.send();
            }
        }
    }

    /// Sends whatever there is.
    pub(super) fn send_all(&mut self) {
        for lane in &mut self.lanes {
            lane.send();
        }
    }

    /// How long until a block has waited long enough, ns; `None` if none waits.
    pub(super) fn age_left_ns(&self, now_ns: i64) -> Option<i64> {
        let waiting = self
            .lanes
            .iter()
            .filter_map(|lane| Some((lane, lane.block.as_ref()?)));
        waiting
            .filter(|(_, block)| !block.frames.is_empty())
            .map(|(lane, block)| {
                let left = block.read_ns.saturating_add(lane.age_max_ns) - now_ns;
                left.max(if lane.is_held_up() {
                    CONGESTED_WAIT_NS
                } else {
                    0
                })
            })
            .min()
    }

    /// The device is gone since `now_ns`: what it sends until it is back will be missing.
    pub(super) fn begin_gap(&mut self, now_ns: i64) {
        self.send_all();
        // Before the first frame there is no stream that could have a gap.
        if self.stream.dating.last_ns().is_some() {
            self.stream
                .loss
                .get_or_insert((None, GapReason::Disconnected, now_ns));
        }
    }

    /// The run ends at `now_ns`: a gap still open ends with it.
    pub(super) fn finish(&mut self, now_ns: i64) {
        self.send_all();
        self.stream.dating.finish();
        if let Some((frames, reason, since_ns)) = self.stream.loss.take() {
            let from_ns = self.stream.dating.last_ns().unwrap_or(since_ns);
            let gap = Gap {
                before: 0,
                from_ns,
                to_ns: now_ns.max(from_ns),
                frames,
                reason,
            };
            for lane in &mut self.lanes {
                lane.sender.end_with(gap);
            }
        }
    }
}

impl Stream {
    /// Decodes `input` into `frames`, dates what came, and turns the losses noted there into gaps.
    /// Returns the bytes done with.
    fn decode(
        &mut self,
        input: &[u8],
        stamp: Stamp,
        frames: &mut Frames,
        gaps: &mut Vec<Gap>,
    ) -> usize {
        let first = frames.len();
        if let Some((lost, reason, _)) = self.loss {
            // Noted again in front of what comes next, so that it joins what the protocol finds there.
            frames.lose(lost, reason);
        }
        let used = self.protocol.decode(input, frames);
        let last_before_ns = self.dating.last_ns();
        let is_all = !frames.is_full();
        self.dating.date(frames, first, input.len(), stamp, is_all);
        self.place_gaps(frames, last_before_ns, stamp.read_ns, gaps);
        let decoded = (frames.len() - first) as u64;
        self.counts
            .add_acquired(decoded, decoded * self.samples_per_frame);
        self.counts.add_tally(frames.take_tally());
        used
    }

    /// Gives every loss in front of a frame its times. The last one may have no frame behind it
    /// yet: it is kept for the next decoding.
    fn place_gaps(
        &mut self,
        frames: &mut Frames,
        last_before_ns: Option<i64>,
        now_ns: i64,
        gaps: &mut Vec<Gap>,
    ) {
        let since_ns = self.loss.take().map(|(_, _, since_ns)| since_ns);
        let times = frames.times_ns();
        for loss in &frames.losses {
            let before = loss.before as usize;
            let Some(&to_ns) = times.get(before) else {
                self.loss = Some((loss.frames, loss.reason, since_ns.unwrap_or(now_ns)));
                break;
            };
            let from_ns = match before.checked_sub(1) {
                Some(previous) => times[previous],
                None => last_before_ns.unwrap_or(to_ns),
            };
            let (before, frames, reason) = (loss.before, loss.frames, loss.reason);
            gaps.push(Gap {
                before,
                from_ns,
                to_ns,
                frames,
                reason,
            });
        }
        frames.losses.clear();
    }
}

impl Lane {
    /// Takes this lane's columns of all frames, and the gaps between them.
    fn take_columns(&mut self, frames: &Frames, gaps: &[Gap], read_ns: i64) {
        let mut from = 0;
        while from < frames.len() {
            let block = open_block(&mut self.block, &self.pool, read_ns);
            let start = block.frames.len();
            let to = frames.len().min(from + block.frames.room());
            block.frames.copy_columns(frames, &self.columns, from..to);
            for gap in gaps
                .iter()
                .filter(|gap| (from..to).contains(&(gap.before as usize)))
            {
                #[allow(clippy::cast_possible_truncation)] // Below a block's capacity.
                let before = (gap.before as usize - from + start) as u32;
                block.gaps.push(Gap { before, ..*gap });
            }
            from = to;
            if block.frames.is_full() {
                self.send();
            }
        }
    }

    /// Whether a block had better wait until it is full.
    fn is_held_up(&self) -> bool {
        !self.keeps_to_age && self.sender.is_congested()
    }

    fn send(&mut self) {
        if let Some(block) = self.block.take()
            && (!block.frames.is_empty() || !block.gaps.is_empty())
        {
            self.sender.push(block);
        }
    }
}

/// How long to wait before looking again whether a lane that was more than half full has emptied.
const CONGESTED_WAIT_NS: i64 = 1_000_000;

/// Longest sleep before looking again for a free block, when all of a pool are under way.
const POOL_WAIT: std::time::Duration = std::time::Duration::from_millis(1);

/// The block being filled, or a fresh one.
///
/// The pool has as many blocks as can be under way in lane and journal together, so it is never
/// empty for longer than it takes to write one down; then the reader waits.
fn open_block<'a>(slot: &'a mut Option<Block>, pool: &Pool, read_ns: i64) -> &'a mut Block {
    let block = slot.get_or_insert_with(|| {
        loop {
            if let Some(mut block) = pool.take() {
                block.axis = Axis::Irregular;
                return block;
            }
            std::thread::park_timeout(POOL_WAIT);
        }
    });
    if block.frames.is_empty() {
        block.read_ns = read_ns;
    }
    block
}
