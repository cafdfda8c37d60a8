//! The journal with its threads, on a disk that fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use kymo_drivers::block::Priority;

use super::super::error::Error;
use super::super::log::Quanta;
use super::super::queues::{Event, RefusedWhy, Sender};
use super::super::reader::{From, Next, Until};
use super::super::record::Kind;
use super::super::recover::recover;
use super::super::writer::{Committed, Journal, Observer, Setup, open_in};
use super::super::{BlockSummary, Clock, Options};
use super::damage::verified;
use super::faulty::{Crash, Disk};
use super::{block, read_all, reader};

/// What the observer was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) committed: Vec<Committed>,
    pub(super) failed: Vec<Committed>,
    pub(super) durable_seq: u64,
}

#[derive(Clone, Default)]
pub(super) struct Watch(pub(super) Arc<Mutex<Told>>);

impl Watch {
    fn count(&self) -> usize {
        let told = self.0.lock().unwrap();
        told.committed.len() + told.failed.len()
    }
}

impl Observer for Watch {
    fn committed(&mut self, block: &Committed, _commit_ns: i64) {
        self.0.lock().unwrap().committed.push(*block);
    }

    fn failed(&mut self, block: &Committed) {
        self.0.lock().unwrap().failed.push(*block);
    }

    fn durable(&mut self, seq: u64) {
        let mut told = self.0.lock().unwrap();
        assert!(seq >= told.durable_seq);
        assert!(told.committed.last().is_none_or(|block| block.seq <= seq));
        told.durable_seq = seq;
    }
}

fn real_clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || 1_700_000_000_000_000_000 + start.elapsed().as_nanos() as i64)
}

pub(super) fn setup(segment_bytes: u64, queue: usize, observer: impl Observer + 'static) -> Setup {
    Setup {
        options: Options {
            commit_interval: Duration::from_millis(1),
            segment_bytes,
            queue_blocks: [queue; 4],
        },
        quanta: Quanta::default(),
        run: "run".to_owned(),
        clock: real_clock(),
        observer: Box::new(observer),
        room: Arc::new(|| {}),
    }
}

/// Waits until it is so, for no longer than a test should take.
pub(super) fn wait(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "waited for {what}"
        );
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

/// Hands over `count` blocks, waiting for room; how many were taken.
pub(super) fn append(sender: &mut Sender, count: u64) -> u64 {
    for number in 0..count {
        let mut block = block(number, 20);
        loop {
            match sender.try_append_block(block) {
                Ok(()) => break,
                Err(refused) if refused.why == RefusedWhy::Failed => {
                    assert_eq!(refused.block.first_frame, number);
                    assert!(sender.failure().is_some());
                    return number;
                }
                Err(refused) => block = refused.block,
            }
            std::thread::park_timeout(Duration::from_micros(100));
        }
    }
    count
}

#[test]
fn closing_commits_everything_and_the_ledger_comes_last() {
    let disk = Disk::default();
    disk.be_short(5);
    let watch = Watch::default();
    let (journal, mut sender, _) = open_in(&disk.dir(), setup(4000, 8, watch.clone())).unwrap();
    let status = journal.status();
    assert_eq!(append(&mut sender, 200), 200);
    let event = Event {
        source: Some(1),
        time_ns: 3,
        json: "{\"a\":1}".to_owned(),
    };
    sender.try_append_event(event).unwrap();
    let seen = watch.clone();
    let closed = journal
        .close(sender, move || format!("{{\"blocks\":{}}}", seen.count()))
        .unwrap();

    let (records, lost) = read_all(&disk.after(Crash::PowerOff));
    assert_eq!(lost, []);
    let last = records.last().unwrap();
    assert_eq!((last.seq, last.kind), (closed.last_seq, Some(Kind::Ledger)));
    assert_eq!(
        last.payload, b"{\"blocks\":200}",
        "told before the ledger was asked for"
    );
    assert_eq!(
        records
            .iter()
            .filter(|read| read.kind == Some(Kind::Event))
            .count(),
        1
    );
    let told = watch.0.lock().unwrap();
    assert_eq!(told.failed, []);
    assert_eq!(told.durable_seq, closed.last_seq);
    let blocks = records.iter().filter(|read| read.kind == Some(Kind::Block));
    assert!(
        blocks
            .map(|read| read.seq)
            .eq(told.committed.iter().map(|block| block.seq))
    );
    assert!(status.failure().is_none() && status.trouble().is_none());
    assert_eq!(status.durable_seq().get(), closed.last_seq);
    assert!(status.commits() > 0 && status.bytes_written() > 200 * 400);
    let (recovery, _) = recover(&disk.dir()).unwrap();
    assert!(recovery.was_closed && recovery.torn.is_none());
    assert_eq!(recovery.removed, [""; 0].map(std::path::PathBuf::from));
    assert!(verified(&disk).is_sound());
}

#[test]
fn dropping_commits_everything_without_a_ledger() {
    let disk = Disk::default();
    let watch = Watch::default();
    let (journal, mut sender, _) = open_in(&disk.dir(), setup(4000, 8, watch.clone())).unwrap();
    append(&mut sender, 30);
    drop(journal);
    let refused = sender.try_append_block(block(1, 1)).unwrap_err();
    assert_eq!(refused.why, RefusedWhy::Failed);
    assert!(matches!(*sender.failure().unwrap(), Error::Closed));
    assert_eq!(watch.0.lock().unwrap().committed.len(), 30);
    let (records, _) = read_all(&disk.after(Crash::PowerOff));
    assert_eq!(
        records
            .iter()
            .filter(|read| read.kind == Some(Kind::Block))
            .count(),
        30
    );
    assert!(!recover(&disk.dir()).unwrap().0.was_closed);
}

/// Stands still at its first commit until it is let go.
struct Stalling(Option<mpsc::Receiver<()>>, Watch);

impl Observer for Stalling {
    fn committed(&mut self, block: &Committed, commit_ns: i64) {
        if let Some(gate) = self.0.take() {
            let _ = gate.recv();
        }
        self.1.committed(block, commit_ns);
    }

    fn failed(&mut self, block: &Committed) {
        self.1.failed(block);
    }
}

#[test]
fn a_full_queue_gives_the_block_back_and_tells_when_there_is_room() {
    let disk = Disk::default();
    let (go, gate) = mpsc::channel();
    let watch = Watch::default();
    let rooms = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&rooms);
    let mut setup = setup(1 << 20, 4, Stalling(Some(gate), watch.clone()));
    setup.room = Arc::new(move || {
        told.fetch_add(1, Ordering::SeqCst);
    });
    let (journal, mut sender, _) = open_in(&disk.dir(), setup).unwrap();
    let normal = |number| {
        let mut block = block(number, 3);
        block.priority = Priority::Normal;
        block
    };
    let mut taken = 0;
    let refused = loop {
        match sender.try_append_block(normal(taken)) {
            Ok(()) => taken += 1,
            Err(refused) if journal.status().commits() > 0 => break refused,
            // The writer is not yet where it stands still.
            Err(_) => std::thread::park_timeout(Duration::from_micros(100)),
        }
    };
    assert_eq!(refused.why, RefusedWhy::Full);
    assert_eq!(refused.block.first_frame, taken);
    let before = rooms.load(Ordering::SeqCst);
    assert!(!sender.has_room(Priority::Normal));
    assert!(
        sender.has_room(Priority::Critical),
        "each priority has a queue of its own"
    );
    let mut urgent = block(99, 3);
    urgent.priority = Priority::Critical;
    sender.try_append_block(urgent).unwrap();
    go.send(()).unwrap();
    wait("room", || rooms.load(Ordering::SeqCst) > before);
    assert!(sender.has_room(Priority::Normal));
    sender.try_append_block(refused.block).unwrap();
    journal.close(sender, String::new).unwrap();

    // In order within their priority, and the urgent one before what waited.
    let told = watch.0.lock().unwrap();
    assert_eq!(told.committed.len() as u64, taken + 2);
    let place = told
        .committed
        .iter()
        .position(|block| block.priority == Priority::Critical);
    assert!(place.unwrap() < taken as usize - 1);
    let (records, _) = read_all(&disk);
    let blocks = records.iter().filter(|read| read.kind == Some(Kind::Block));
    let mut numbers: Vec<u64> = blocks
        .map(|read| BlockSummary::parse(&read.payload).unwrap().first_frame)
        .collect();
    numbers.retain(|number| *number != 99);
    assert!(numbers.into_iter().eq(0..=taken));
}

#[test]
fn an_idle_journal_sleeps() {
    let disk = Disk::default();
    let watch = Watch::default();
    let (journal, mut sender, _) = open_in(&disk.dir(), setup(1 << 20, 8, watch.clone())).unwrap();
    sender.try_append_block(block(1, 3)).unwrap();
    wait("the commit", || watch.count() == 1);
    std::thread::park_timeout(Duration::from_millis(20));
    let (wakes, calls) = (journal.status().wakes(), disk.calls());
    std::thread::park_timeout(Duration::from_millis(50));
    assert_eq!((journal.status().wakes(), disk.calls()), (wakes, calls));
    drop((journal, sender));
}

#[test]
fn a_follower_keeps_up_through_rotations_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let journal_dir = super::super::files::Dir::os(&dir.path().join("journal"));
    let opened = open_in(&journal_dir, setup(64 << 10, 64, Watch::default())).unwrap();
    let (journal, mut sender, _): (Journal, _, _) = opened;
    let until = Until::Durable(journal.status().durable_seq());
    let mut follower = reader(&journal_dir, From::Seq(1), until);
    let follower = std::thread::spawn(move || {
        let mut numbers = Vec::new();
        loop {
            match follower.next().unwrap() {
                Next::Record(record) if record.kind == Some(Kind::Ledger) => return numbers,
                Next::Record(record) if record.kind == Some(Kind::Block) => {
                    numbers.push(BlockSummary::parse(record.payload).unwrap().first_frame);
                }
                Next::Record(_) => {}
                Next::Lost(lost) => panic!("{lost:?}"),
                Next::End => std::thread::park_timeout(Duration::from_micros(200)),
            }
        }
    });
    append(&mut sender, 3000);
    journal.close(sender, || "{}".to_owned()).unwrap();
    let mut numbers = follower.join().unwrap();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..3000));
    let runs = super::super::runs(&journal_dir.path).unwrap();
    assert_eq!(runs.len(), 1);
    let report = super::super::verify(&journal_dir.path, |_| {}).unwrap();
    assert!(report.is_sound());
    assert!(
        report.segments.len() > 10,
        "{} segments",
        report.segments.len()
    );
    assert!(report.runs[0].is_closed);
}
