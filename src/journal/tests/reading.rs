//! Readers: where they begin, how far they go, and following a writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;

use super::super::block::BlockSummary;
use super::super::log::{Commit, Log};
use super::super::prune::prune_in;
use super::super::reader::{Filter, From, Lost, Next, Reader, Until};
use super::super::record::Kind;
use super::super::runs::runs_in;
use super::super::segment;
use super::super::status::{DurableSeq, Shared, Status};
use super::damage::small_journal;
use super::faulty::{Crash, Disk};
use super::{Read, begin, begin_with, block, clock, close, drain, read_all, reader, seqs};

#[test]
fn reading_begins_with_any_seq() {
    let (disk, records) = small_journal();
    for seq in 0..records.len() as u64 + 3 {
        let mut reader = reader(&disk.dir(), From::Seq(seq), Until::Written);
        let skipped = seq.saturating_sub(1).min(records.len() as u64);
        let (read, lost) = drain(&mut reader).unwrap();
        assert_eq!(read, records[skipped as usize..]);
        assert_eq!(lost, []);
        assert_eq!(reader.next_seq(), seq.max(records.len() as u64 + 1));
    }
}

#[test]
fn there_need_be_no_journal_yet() {
    let disk = Disk::default();
    let mut reader = reader(&disk.dir(), From::Seq(1), Until::Written);
    assert_eq!(reader.next().unwrap(), Next::End);
    let (_, mut log) = begin(&disk, 900, "run").unwrap();
    log.append_block(&block(1, 5)).unwrap();
    log.commit_now().unwrap();
    assert_eq!(seqs(&drain(&mut reader).unwrap().0), [1, 2]);
}

#[test]
fn reading_begins_with_any_time() {
    let disk = Disk::default();
    let now_ns = Arc::new(AtomicI64::new(1000));
    let run_clock = Arc::clone(&now_ns);
    let run_clock = Arc::new(move || run_clock.load(Ordering::Relaxed));
    let shared = Arc::new(Shared::default());
    let (_, mut log) = begin_with(&disk, 600, "run", run_clock, shared).unwrap();
    for second in 0..40 {
        // Written some time after what it tells of happened, or at once.
        let time_ns = now_ns.load(Ordering::Relaxed) - 7 * (second % 3);
        let json = "x".repeat(second as usize * 3 % 50);
        log.append_json(Kind::Event, None, time_ns, &json).unwrap();
        now_ns.fetch_add(second % 2 * 10, Ordering::Relaxed);
    }
    log.commit_now().unwrap();
    let mut all = reader(&disk.dir(), From::Seq(1), Until::Written);
    let mut times = Vec::new();
    while let Next::Record(record) = all.next().unwrap() {
        if record.kind == Some(Kind::Event) {
            times.push((record.seq, record.t_last_ns));
        }
    }
    assert!(segment::list(&disk.dir()).unwrap().segments.len() > 4);
    for from_ns in 950..1250 {
        let mut reader = reader(&disk.dir(), From::Time(from_ns), Until::Written);
        let (mut records, lost) = drain(&mut reader).unwrap();
        // Whatever the time, what runs is told first.
        assert_eq!(records[0].kind, Some(Kind::Run));
        records.retain(|record| record.kind == Some(Kind::Event));
        let wanted = times.iter().filter(|(_, last_ns)| *last_ns >= from_ns);
        let wanted: Vec<u64> = wanted.map(|(seq, _)| *seq).collect();
        assert_eq!(seqs(&records), wanted, "from {from_ns}");
        assert_eq!(lost, []);
    }
}

#[test]
fn a_segment_pruned_while_a_time_is_looked_for_is_no_error() {
    let (disk, _) = small_journal();
    // No such file: the second call, after the list.
    disk.fail_once(2, 2);
    let dir = disk.dir();
    Reader::open_in(dir, From::Time(0), Until::Written, Filter::default()).unwrap();
    assert!(disk.has_failed());
}

#[test]
fn only_what_is_wanted_is_given() {
    let (disk, records) = small_journal();
    let read = |kinds: Option<Vec<Kind>>, sources: Option<Vec<u16>>| -> Vec<Read> {
        let filter = Filter { kinds, sources };
        let mut reader = Reader::open_in(disk.dir(), From::Seq(1), Until::Written, filter).unwrap();
        let (records, lost) = drain(&mut reader).unwrap();
        assert_eq!(lost, []);
        records
    };
    assert_eq!(read(None, None), records);
    let blocks = read(Some(vec![Kind::Block]), None);
    assert_eq!(blocks.len(), 10);
    assert!(blocks.iter().all(|record| record.kind == Some(Kind::Block)));
    let both = read(Some(vec![Kind::Block, Kind::Ledger]), None);
    assert_eq!(both.len(), 12);
    assert_eq!(read(Some(vec![]), None), []);
    let of_source = read(Some(vec![Kind::Block]), Some(vec![1]));
    assert_eq!(of_source.len(), 4);
    for record in &of_source {
        assert_eq!(BlockSummary::parse(&record.payload).unwrap().source.0, 1);
    }
    // What belongs to no source is always wanted; the events are of source 2.
    let others = read(None, Some(vec![1]));
    let kinds = [Kind::Run, Kind::Ledger, Kind::Block];
    assert!(
        others
            .iter()
            .all(|record| kinds.contains(&record.kind.unwrap()))
    );
    let unowned = records
        .iter()
        .filter(|record| matches!(record.kind, Some(Kind::Run | Kind::Ledger)));
    assert_eq!(others.len(), unowned.count() + 4);
}

#[test]
fn an_uncommitted_record_is_out_of_sight() {
    let disk = Disk::default();
    let shared = Arc::new(Shared::default());
    let (_, mut log) = begin_with(&disk, 1 << 20, "run", clock(), Arc::clone(&shared)).unwrap();
    let dir = disk.dir();
    let mut durable = reader(
        &dir,
        From::Seq(1),
        Until::Durable(Status(shared).durable_seq()),
    );
    let mut stated = reader(&dir, From::Seq(1), Until::Stated);
    let mut written = reader(&dir, From::Seq(1), Until::Written);
    let mut fixed = reader(&dir, From::Seq(1), Until::Durable(DurableSeq::fixed(2)));
    let mut read = |log: &mut Log, flush: bool| {
        if flush {
            log.flush().unwrap();
        }
        [&mut durable, &mut stated, &mut written, &mut fixed].map(|reader| {
            let (records, lost) = drain(reader).unwrap();
            assert_eq!(lost, []);
            seqs(&records)
        })
    };
    // The run record is committed, but nothing says so yet.
    assert_eq!(read(&mut log, true), [vec![1], vec![], vec![1], vec![1]]);
    log.append_block(&block(1, 5)).unwrap();
    let nothing: [Vec<u64>; 4] = Default::default();
    assert_eq!(read(&mut log, false), nothing);
    assert_eq!(read(&mut log, true), [vec![], vec![1], vec![2], vec![2]]);
    log.commit_now().unwrap();
    assert_eq!(read(&mut log, true), [vec![2], vec![], vec![], vec![]]);
    log.append_block(&block(2, 5)).unwrap();
    assert_eq!(read(&mut log, true), [vec![], vec![2], vec![3], vec![]]);
    // The ledger vouches for itself: nothing comes after it.
    close(&mut log).unwrap();
    assert_eq!(
        read(&mut log, true),
        [vec![3, 4], vec![3, 4], vec![4], vec![]]
    );
}

#[derive(Debug, Clone)]
enum Op {
    Append(usize),
    Flush,
    Commit,
    Prepare,
    Prune(u8),
    Poll(usize),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..30_usize).prop_map(Op::Append),
        2 => Just(Op::Flush),
        3 => Just(Op::Commit),
        2 => Just(Op::Prepare),
        1 => any::<u8>().prop_map(Op::Prune),
        5 => (0..3_usize).prop_map(Op::Poll),
    ]
}

/// A reader and what it has told so far.
struct Follower {
    reader: Reader,
    next_seq: u64,
}

impl Follower {
    /// Reads to the end: in order, each once, and what is missing was pruned.
    fn poll(&mut self, pruned: u64) {
        loop {
            let (from, to) = match self.reader.next().unwrap() {
                Next::Record(record) => (record.seq, record.seq),
                Next::Lost(Lost { from_seq, to_seq }) => {
                    assert!(to_seq <= pruned, "{to_seq} was not pruned, {pruned} was");
                    (from_seq, to_seq)
                }
                Next::End => break,
            };
            assert_eq!(from, self.next_seq);
            self.next_seq = to + 1;
        }
        assert_eq!(self.reader.next_seq(), self.next_seq);
    }
}

proptest! {
    #[test]
    fn followers_see_everything_once_and_nothing_that_could_still_be_lost(
        segment_bytes in 300..3000_u64,
        ops in proptest::collection::vec(any_op(), 1..150),
    ) {
        let disk = Disk::default();
        let shared = Arc::new(Shared::default());
        let (_, mut log) =
            begin_with(&disk, segment_bytes, "run", clock(), Arc::clone(&shared)).unwrap();
        let durable = Status(shared).durable_seq();
        let untils = [Until::Durable(durable.clone()), Until::Stated, Until::Written];
        let mut followers = untils.map(|until| Follower {
            reader: reader(&disk.dir(), From::Seq(1), until),
            next_seq: 1,
        });
        let mut pruned = 0;
        for op in ops.iter().chain([&Op::Commit]) {
            match op {
                Op::Append(frames) => log.append_block(&block(log.last_seq(), *frames)).unwrap(),
                Op::Flush => log.flush().unwrap(),
                Op::Commit => {
                    if log.commit().unwrap() == Commit::Done {
                        prop_assert_eq!(durable.get(), log.last_seq());
                    }
                }
                Op::Prepare => {
                    log.hands().step();
                }
                Op::Prune(part) => {
                    prune_in(&disk.dir(), durable.get() * u64::from(*part) / 255).unwrap();
                    pruned = segment::list(&disk.dir()).unwrap().segments[0] - 1;
                }
                Op::Poll(index) => followers[*index].poll(pruned),
            }
            prop_assert!(followers[0].next_seq <= durable.get() + 1);
            if let Op::Poll(0) = op {
                prop_assert_eq!(followers[0].next_seq, durable.get() + 1);
            }
            if let Op::Poll(1) = op {
                let kept = read_all(&disk.after(Crash::PowerOff)).0;
                let last = kept.last().map_or(0, |record| record.seq);
                prop_assert!(followers[1].next_seq <= last + 1);
            }
        }
        close(&mut log).unwrap();
        for follower in &mut followers {
            follower.poll(pruned);
            prop_assert_eq!(follower.next_seq, log.last_seq() + 1);
        }
    }
}

#[test]
fn a_reader_does_not_stop_at_damage_but_tells_a_writer_not_done_from_it() {
    let disk = Disk::default();
    let (_, mut log) = begin(&disk, 1 << 20, "run").unwrap();
    let mut follower = reader(&disk.dir(), From::Seq(1), Until::Stated);
    for number in 0..4 {
        log.append_block(&block(number, 5)).unwrap();
        log.commit_now().unwrap();
    }
    let name = segment::name(1);
    let mut content = disk.content(&name);
    let size = content.len();
    content[size / 2] ^= 1;
    disk.set_content(&name, &content);
    let (records, lost) = drain(&mut follower).unwrap();
    assert_eq!(seqs(&records), [1, 2, 4]);
    assert_eq!(
        lost,
        [Lost {
            from_seq: 3,
            to_seq: 3
        }]
    );
    // Half a record at the end is not damage: more may come.
    let mut content = disk.content(&name);
    content.extend_from_slice(&[1; 70]);
    disk.set_content(&name, &content);
    assert_eq!(drain(&mut follower).unwrap(), (vec![], vec![]));
}

#[test]
fn the_runs_are_found_by_the_heads_of_their_segments() {
    let (disk, records) = small_journal();
    let runs = runs_in(&disk.dir()).unwrap();
    let firsts = records
        .iter()
        .filter(|read| read.kind == Some(Kind::Run) && !read.is_repeated);
    let firsts: Vec<u64> = firsts.map(|record| record.seq).collect();
    let found: Vec<(u64, &str)> = runs
        .iter()
        .map(|run| (run.first_seq, &*run.record))
        .collect();
    assert_eq!(found, [(1, "one"), (firsts[1], "two")]);

    // A run that says what the one before it said is another run all the same.
    begin(&disk, 900, "two").unwrap();
    assert_eq!(runs_in(&disk.dir()).unwrap().len(), 3);

    // Without its beginning it is found by the next of its segments.
    let second = segment::list(&disk.dir()).unwrap().segments[1];
    prune_in(&disk.dir(), second - 1).unwrap();
    let runs = runs_in(&disk.dir()).unwrap();
    assert_eq!((runs[0].first_seq, &*runs[0].record), (second, "one"));
}

#[test]
fn progress_goes_from_nothing_to_everything() {
    let (disk, _) = small_journal();
    let sizes = disk
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".kyj"));
    let total: usize = sizes.map(|name| disk.content(&name).len()).sum();
    let mut reader = reader(&disk.dir(), From::Seq(1), Until::Written);
    let mut before = reader.progress();
    assert_eq!((before.bytes, before.bytes_total), (0, total as u64));
    while let Next::Record(_) = reader.next().unwrap() {
        let now = reader.progress();
        assert!(now.bytes > before.bytes && now.bytes <= now.bytes_total);
        before = now;
    }
    assert_eq!(before.bytes, total as u64);
}
