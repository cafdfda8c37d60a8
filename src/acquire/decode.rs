//! Bytes that were recorded, decoded and dated as a reader does it: for whoever has them without a device.
//!
//! **Always holds.** The same bytes with the same times give the same frames as they did in the run.
//!
//! **Must not know.** Where the bytes come from.

use std::sync::Arc;
use std::time::Duration;

use kymo_drivers::block::{Block, Priority, SourceId};
use kymo_drivers::protocol::Protocol;

use super::assemble::{Assembler, Stamp};
use super::dating::TimeOptions;
use super::reader::LaneOutput;
use crate::lanes::{Intake, Item, LaneOptions, LanesBuilder, Overflow};
use crate::ledger::SourceCounts;

/// Bytes fed at once: what they make fits into the lane, even if every byte is a frame.
const FEED_BYTES_MAX: usize = 64 << 10;
/// The most blocks that one feed fills: a frame has at least a byte, and one block is in hand.
const BLOCKS_MAX: usize = 4096;

/// Makes blocks of a source's recorded bytes.
pub struct Decoder {
    assembler: Assembler,
    intake: Intake,
    counts: Arc<SourceCounts>,
    rest: Vec<u8>,
    asked: Vec<u8>,
    due_ns: Option<i64>,
    ns_per_byte: f64,
    keeps_boundaries: bool,
}

impl Decoder {
    /// A decoder that gives these values of each frame, by their places.
    #[must_use]
    pub fn new(
        protocol: Box<dyn Protocol>,
        places: &[usize],
        block_frames: usize,
        time: TimeOptions,
    ) -> Self {
        let counts = Arc::<SourceCounts>::default();
        let mut builder = LanesBuilder::default();
        let block_frames = block_frames.max(FEED_BYTES_MAX / BLOCKS_MAX * 4);
        builder.add(LaneOptions {
            source: SourceId(0),
            lane: 0,
            priority: Priority::Normal,
            overflow: Overflow::Block,
            depth: BLOCKS_MAX,
            counts: Arc::clone(&counts),
        });
        let (intake, _, senders) = builder.build();
        let lanes = senders.into_iter().map(|(_, _, sender)| LaneOutput {
            sender,
            columns: places.to_vec(),
            blocks_max: BLOCKS_MAX + 2,
            // Blocks are taken as soon as there are any.
            block_age: Duration::ZERO,
        });
        Self {
            assembler: Assembler::new(
                protocol,
                lanes.collect(),
                block_frames,
                time,
                Arc::clone(&counts),
            ),
            intake,
            counts,
            rest: Vec::new(),
            asked: Vec::new(),
            due_ns: None,
            ns_per_byte: 0.0,
            keeps_boundaries: false,
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> &SourceCounts {
        &self.counts
    }

    /// The device was opened.
    pub fn opened(&mut self, time_ns: i64, ns_per_byte: f64, keeps_boundaries: bool) {
        self.assembler.reset();
        self.rest.clear();
        (self.ns_per_byte, self.keeps_boundaries) = (ns_per_byte, keeps_boundaries);
        self.turn(time_ns);
    }

    /// The device was gone, or let go of.
    pub fn ended(&mut self, time_ns: i64) {
        self.counts.add_skipped(self.rest.len());
        self.rest.clear();
        self.assembler.begin_gap(time_ns);
    }

    /// Bytes were read; blocks are to be taken before the next.
    pub fn read(&mut self, time_ns: i64, bytes: &[u8]) {
        self.turns_until(time_ns);
        for part in bytes.chunks(FEED_BYTES_MAX) {
            self.counts.add_bytes(part.len());
            self.rest.extend_from_slice(part);
            self.feed(time_ns);
        }
        if self.keeps_boundaries {
            self.counts.add_skipped(self.rest.len());
            self.rest.clear();
            self.assembler.boundary();
        }
        self.turn(time_ns);
    }

    fn feed(&mut self, read_ns: i64) {
        let stamp = Stamp {
            read_ns,
            ns_per_byte: self.ns_per_byte,
        };
        let done = self.assembler.feed(&self.rest, stamp);
        self.rest.drain(..done);
        // What a protocol leaves is bounded; an input that breaks the bound would be a mistake in it.
        debug_assert!(self.rest.len() <= self.assembler.tail_max());
    }

    /// The protocol's turns that were due before a time: what it would have waited for in vain, it does here, too.
    fn turns_until(&mut self, time_ns: i64) {
        const TURNS_MAX: usize = 10_000;
        for _ in 0..TURNS_MAX {
            let Some(due_ns) = self.due_ns.filter(|due_ns| *due_ns < time_ns) else {
                break;
            };
            self.turn(due_ns);
            self.feed(due_ns);
            if self.due_ns == Some(due_ns) {
                break;
            }
        }
        self.turn(time_ns);
    }

    fn turn(&mut self, time_ns: i64) {
        self.due_ns = self.assembler.poll(time_ns, &mut self.asked);
        self.asked.clear();
    }

    /// The next block that is ready.
    pub fn next_block(&mut self) -> Option<Block> {
        loop {
            match self.intake.next(|_| true)? {
                Item::Block(block) => return Some(block),
                Item::End { .. } => {}
            }
        }
    }
}
