//! From the journal to batches: reads records, has lines made of them, and cuts them where a batch is full.
//!
//! **Always holds.** Batches come in order, and the records they name follow each other without a hole. A record whose
//! lines are longer than a batch gets batches of its own, of which only the last names it; every other batch holds
//! whole records, and none reaches over the beginning of a segment.
//!
//! **Must not know.** Who makes lines of a block, and who sends them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use super::batch::{Batch, Counts, Lines};
use crate::journal::{
    self, BlockSummary, DecodedBlock, DurableSeq, Filter, From, Kind, Next, Reader, Until,
};
use crate::run_record::RunRecord;

/// Makes lines of blocks and events. What is counted is what does not become a line; samples in lines count when they are
/// accepted.
pub trait Encode: Send {
    /// What comes now is of this run.
    fn begin_run(&mut self, run: &RunRecord);
    /// Appends a block.
    fn block(&mut self, block: &DecodedBlock, out: &mut Lines) -> Counts;
    /// Appends an event.
    fn event(&mut self, time_ns: i64, json: &[u8], out: &mut Lines) -> Counts;
}

/// Records read at a time at most: what is not selected passes fast, and others want their turn.
const RECORDS_MAX: usize = 4096;

/// When a batch is sent.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// When it has so many bytes.
    pub bytes: usize,
    /// When its first record has waited so long.
    pub age: Duration,
    /// At once, when there is nothing more to read.
    pub flush: bool,
    /// Only up to this record.
    pub readable: u64,
}

/// Reads a range of the journal.
pub struct Feed {
    journal_dir: PathBuf,
    durable: DurableSeq,
    encode: Box<dyn Encode>,
    reader: Option<Reader>,
    /// The next record to be read, and the last one.
    next_seq: u64,
    to_seq: u64,
    /// The run whose records are read.
    run: Option<String>,
    lines: Lines,
    spare: Lines,
    open: Open,
    /// Batches that are complete.
    ready: VecDeque<Batch>,
    /// The last record that a batch names.
    named_seq: u64,
    block: DecodedBlock,
    /// The time of the record read last, UTC ns.
    last_ns: i64,
    /// Records that could not be read, since this was asked last.
    lost_records: u64,
}

/// The batch being filled.
#[derive(Debug, Default)]
struct Open {
    last_seq: Option<u64>,
    samples: u64,
    counts: Counts,
    since: Duration,
}

impl Feed {
    /// Of nothing, until [`Feed::go_to`] says where.
    #[must_use]
    pub fn new(journal_dir: &Path, durable: DurableSeq, encode: Box<dyn Encode>) -> Self {
        Self {
            journal_dir: journal_dir.to_owned(),
            durable,
            encode,
            reader: None,
            next_seq: 1,
            to_seq: 0,
            run: None,
            lines: Lines::default(),
            spare: Lines::default(),
            open: Open::default(),
            ready: VecDeque::new(),
            named_seq: 0,
            block: DecodedBlock::default(),
            last_ns: i64::MIN,
            lost_records: 0,
        }
    }

    /// Reads from one record on up to another, both included. What was under way is dropped.
    pub fn go_to(&mut self, from_seq: u64, to_seq: u64) {
        self.reader = None;
        self.next_seq = from_seq.max(1);
        self.named_seq = self.next_seq - 1;
        self.to_seq = to_seq;
        self.run = None;
        self.lines.clear();
        self.open = Open::default();
        self.ready.clear();
    }

    /// The last record that is in a batch that was given out, or before it.
    #[must_use]
    pub fn given_seq(&self) -> u64 {
        self.named_seq
    }

    /// The last record that it is to read.
    #[must_use]
    pub fn to_seq(&self) -> u64 {
        self.to_seq
    }

    /// Whether the whole range has been given out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ready.is_empty() && self.open.last_seq.is_none() && self.next_seq > self.to_seq
    }

    /// Whether there is nothing to be read, and nothing waits to be given out.
    #[must_use]
    pub fn is_even(&self, readable: u64) -> bool {
        let is_empty = self.ready.is_empty() && self.open.last_seq.is_none();
        is_empty && !self.has_more(readable)
    }

    /// Whether there is something to be read.
    #[must_use]
    pub fn has_more(&self, readable: u64) -> bool {
        self.next_seq <= self.to_seq.min(readable)
    }

    /// When the batch under construction is to be sent, whatever else comes.
    #[must_use]
    pub fn due(&self, age: Duration) -> Option<Duration> {
        self.open.last_seq.map(|_| self.open.since + age)
    }

    /// The time of the record read last, UTC ns; the smallest if there is none yet.
    #[must_use]
    pub fn last_ns(&self) -> i64 {
        self.last_ns
    }

    /// Records that could not be read, since it was asked last.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost_records)
    }

    /// The next batch, if one is full, old enough, or the last of its range.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn next(&mut self, now: Duration, limits: Limits) -> Result<Option<Batch>, Error> {
        for _ in 0..RECORDS_MAX {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            if self.next_seq > self.to_seq {
                self.close();
                return Ok(self.ready.pop_front());
            }
            if self.next_seq > limits.readable {
                self.close_if_due(now, limits);
                return Ok(self.ready.pop_front());
            }
            let Some(reader) = &mut self.reader else {
                self.open_reader()?;
                continue;
            };
            let passed = match reader.next()? {
                Next::End => {
                    self.close_if_due(now, limits);
                    return Ok(self.ready.pop_front());
                }
                Next::Lost(lost) => {
                    let last = lost.to_seq.min(self.to_seq);
                    self.lost_records += last - lost.from_seq.min(last) + 1;
                    last
                }
                Next::Record(record) => {
                    let seq = record.seq;
                    if record.kind == Some(Kind::Run) {
                        // A new segment. What was read before is a batch.
                        let run = parse_run(record.payload);
                        self.close();
                        self.begin(run);
                    } else if matches!(record.kind, Some(Kind::Block | Kind::Event)) {
                        self.last_ns = record.t_last_ns;
                        let mark = self.lines.mark();
                        let (samples, counts) = match record.kind {
                            Some(Kind::Block) => match self.block.decode(record.payload) {
                                Ok(()) => {
                                    let samples = self.block.summary().samples();
                                    (samples, self.encode.block(&self.block, &mut self.lines))
                                }
                                Err(_) => {
                                    self.lost_records += 1;
                                    (0, Counts::default())
                                }
                            },
                            _ => (
                                0,
                                self.encode.event(
                                    record.t_first_ns,
                                    record.payload,
                                    &mut self.lines,
                                ),
                            ),
                        };
                        if self.lines.text.len() > limits.bytes {
                            self.overflow(mark, seq, limits.bytes, samples, counts);
                            self.next_seq = seq + 1;
                            continue;
                        }
                        self.open.samples += samples;
                        self.open.counts.add(&counts);
                    }
                    seq
                }
            };
            self.next_seq = passed + 1;
            if self.open.last_seq.is_none() {
                self.open.since = now;
            }
            self.open.last_seq = Some(passed);
        }
        // Much was read of which nothing is sent: that it is done with should be known.
        if self.lines.text.is_empty() {
            self.close();
        }
        Ok(self.ready.pop_front())
    }

    fn open_reader(&mut self) -> Result<(), Error> {
        let before = run_before(&self.journal_dir, self.next_seq)?;
        self.begin(before);
        let until = Until::Durable(self.durable.clone());
        let from = From::Seq(self.next_seq);
        self.reader = Some(Reader::open(
            &self.journal_dir,
            from,
            until,
            Filter::default(),
        )?);
        Ok(())
    }

    fn close_if_due(&mut self, now: Duration, limits: Limits) {
        if limits.flush || now >= self.open.since + limits.age {
            self.close();
        }
    }

    /// The batch under construction is complete.
    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        let Some(last_seq) = open.last_seq else {
            return;
        };
        self.ready.push_back(Batch {
            body: self.lines.take(),
            records: Some((self.named_seq + 1, last_seq)),
            samples: open.samples,
            counts: open.counts,
            last_ns: self.last_ns,
        });
        self.named_seq = last_seq;
    }

    /// The record read last does not fit into the batch: what is before it goes, and it begins another, or several.
    fn overflow(
        &mut self,
        mark: super::batch::Mark,
        seq: u64,
        bytes: usize,
        samples: u64,
        counts: Counts,
    ) {
        if self.open.last_seq.is_some() {
            let mut spare = std::mem::take(&mut self.spare);
            self.lines.split_off(&mark, &mut spare);
            self.close();
            self.spare = std::mem::replace(&mut self.lines, spare);
        }
        let mut rest = self.lines.take();
        while rest.text.len() > bytes && rest.lines() > 1 {
            let (front, back) = rest.cut_front(bytes);
            if back.lines() == 0 {
                break;
            }
            self.ready.push_back(Batch {
                body: front,
                ..Batch::default()
            });
            rest = back;
        }
        self.ready.push_back(Batch {
            body: rest,
            records: Some((self.named_seq + 1, seq)),
            samples,
            counts,
            last_ns: self.last_ns,
        });
        self.named_seq = seq;
    }

    fn begin(&mut self, run: Option<RunRecord>) {
        match run {
            Some(run) => {
                if self.run.as_deref() != Some(run.run.as_str()) {
                    self.encode.begin_run(&run);
                    self.run = Some(run.run);
                }
            }
            // Nobody knows what these blocks are: no line is made of them.
            None => {
                self.encode.begin_run(&unknown_run());
                self.run = Some(String::new());
            }
        }
    }
}

fn parse_run(payload: &[u8]) -> Option<RunRecord> {
    serde_json::from_slice(payload).ok()
}

fn unknown_run() -> RunRecord {
    RunRecord {
        run: String::new(),
        started: String::new(),
        started_ns: 0,
        kymo: String::new(),
        host: String::new(),
        sources: Vec::new(),
        configuration: String::new(),
    }
}

/// The run that a record belongs to.
fn run_before(journal_dir: &Path, seq: u64) -> Result<Option<RunRecord>, Error> {
    let runs = journal::runs(journal_dir)?;
    let found = runs.iter().rev().find(|run| run.first_seq <= seq);
    Ok(found.and_then(|run| parse_run(run.record.as_bytes())))
}

/// Samples in the journal's blocks from one record to another, both included, and their first and last time.
///
/// # Errors
/// If the journal cannot be read.
pub fn count(
    journal_dir: &Path,
    durable: &DurableSeq,
    from_seq: u64,
    to_seq: u64,
) -> Result<(u64, Option<(i64, i64)>), Error> {
    let filter = Filter {
        kinds: Some(vec![Kind::Block]),
        sources: None,
    };
    if from_seq > to_seq {
        return Ok((0, None));
    }
    let until = Until::Durable(durable.clone());
    let mut reader = Reader::open(journal_dir, From::Seq(from_seq), until, filter)?;
    let (mut samples, mut times): (u64, Option<(i64, i64)>) = (0, None);
    loop {
        match reader.next()? {
            Next::Record(record) if record.seq <= to_seq => {
                let Ok(summary) = BlockSummary::parse(record.payload) else {
                    continue;
                };
                samples += summary.samples();
                let (first, last) = times.unwrap_or((i64::MAX, i64::MIN));
                if summary.frames > 0 {
                    times = Some((first.min(record.t_first_ns), last.max(record.t_last_ns)));
                }
            }
            Next::Lost(lost) if lost.from_seq <= to_seq => {}
            _ => return Ok((samples, times)),
        }
    }
}
