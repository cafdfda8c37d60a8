//! The journal on a disk that crashes and fails.

mod blocks;
mod cursors;
mod damage;
mod failing;
mod faulty;
mod model;
mod preparing;
mod reading;
mod recovery;
mod repairing;
mod stopping;
mod threaded;
mod unsynced;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kymo_drivers::block::{Axis, Block, Priority, SourceId};

use super::Clock;
use super::error::Error;
use super::files::Dir;
use super::log::{Hands, Log, Quanta, Setup};
use super::prepare::{Preparer, Rotation};
use super::reader::{Filter, From, Lost, Next, Reader, Until};
use super::record::Kind;
use super::recover::{Recovery, recover};
use super::status::Shared;
use faulty::Disk;

/// A clock that goes on by a millisecond whenever it is asked.
fn clock() -> Clock {
    let now_ns = AtomicI64::new(1_700_000_000_000_000_000);
    Arc::new(move || now_ns.fetch_add(1_000_000, Ordering::Relaxed))
}

/// A block that is recognised by its number.
fn block(number: u64, frames: usize) -> Block {
    let mut block = Block::unpooled(2, frames);
    block.source = SourceId((number % 3) as u16);
    block.priority = Priority::ALL[(number % 4) as usize];
    block.first_frame = number;
    block.read_ns = number as i64 * 1000;
    block.axis = Axis::Regular {
        start_ns: number as i64 * 1_000_000,
        period_ns: 10.0,
    };
    for frame in 0..frames {
        // Not exact in 32 bits, so that a column takes 8 bytes a value.
        let value = number as f64 + frame as f64 * 0.1;
        block.frames.push(0, &[value, -value]);
    }
    block
}

/// The payload of such a block's record.
fn payload(block: &Block) -> Vec<u8> {
    let mut bytes = Vec::new();
    super::encode_block(block, &[], &mut bytes);
    bytes
}

/// A journal without threads: recovers what is on the disk and begins a run.
fn begin(disk: &Disk, segment_bytes: u64, run: &str) -> Result<(Recovery, Log), Error> {
    let shared = Arc::new(Shared::default());
    begin_with(disk, segment_bytes, run, clock(), shared)
}

fn begin_with(
    disk: &Disk,
    segment_bytes: u64,
    run: &str,
    clock: Clock,
    shared: Arc<Shared>,
) -> Result<(Recovery, Log), Error> {
    let dir = disk.dir();
    dir.make()?;
    let (recovery, start) = recover(&dir)?;
    let rotation = Arc::new(Rotation::new());
    let preparer = Preparer::new(
        dir.clone(),
        segment_bytes,
        Arc::clone(&rotation),
        Arc::clone(&shared),
    );
    let setup = Setup {
        dir,
        segment_bytes,
        run: run.to_owned(),
        quanta: Quanta::default(),
        clock,
        shared,
        rotation,
    };
    let log = Log::begin(setup, start, || Ok(Hands::Inline(preparer)))?;
    Ok((recovery, log))
}

/// Closes a run in order.
fn close(log: &mut Log) -> Result<(), Error> {
    log.commit_now()?;
    log.append_json(Kind::Ledger, None, 1, "{\"ledger\":1}")?;
    log.commit_now()?;
    log.trim()
}

/// A record as a reader gave it out.
#[derive(Clone, PartialEq, Eq)]
struct Read {
    seq: u64,
    kind: Option<Kind>,
    is_repeated: bool,
    payload: Vec<u8>,
}

impl std::fmt::Debug for Read {
    /// In so few words that a list of them can be read.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seq, bytes) = (self.seq, self.payload.len());
        let again = if self.is_repeated { " again" } else { "" };
        write!(out, "{seq}: {:?}{again}, {bytes} bytes", self.kind)
    }
}

/// Everything a reader gives out before it comes to the end.
fn drain(reader: &mut Reader) -> Result<(Vec<Read>, Vec<Lost>), Error> {
    let (mut records, mut lost) = (Vec::new(), Vec::new());
    loop {
        match reader.next()? {
            Next::Record(record) => records.push(Read {
                seq: record.seq,
                kind: record.kind,
                is_repeated: record.is_repeated,
                payload: record.payload.to_vec(),
            }),
            Next::Lost(hole) => lost.push(hole),
            Next::End => return Ok((records, lost)),
        }
    }
}

fn reader(dir: &Dir, from: From, until: Until) -> Reader {
    Reader::open_in(dir.clone(), from, until, Filter::default()).unwrap()
}

/// Every whole record on the disk, and the holes between them.
fn read_all(disk: &Disk) -> (Vec<Read>, Vec<Lost>) {
    drain(&mut reader(&disk.dir(), From::Seq(1), Until::Written)).unwrap()
}

fn seqs(records: &[Read]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}
