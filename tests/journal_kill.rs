//! A process that writes the journal is killed, again and again: whatever it said was committed is
//! there afterwards, once and in order, and the next one goes on behind it.
//!
//! The writer is this same test binary, started anew with [`DIR`] in its environment.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kymo::journal::{
    Closed, Committed, DecodedBlock, Filter, From, Kind, Next, Observer, Options, Quanta, Reader,
    Recovery, RefusedWhy, Setup, Until, open, prune, verify,
};
use kymo_drivers::block::{Axis, Block, Priority, SourceId};

const ROUNDS: u64 = 50;
/// Tells a child where the journal is.
const DIR: &str = "KYMO_TEST_JOURNAL_DIR";
/// Tells a child its round, which all its blocks state.
const ROUND: &str = "KYMO_TEST_JOURNAL_ROUND";
/// The test that both are.
const NAME: &str = "what_was_told_to_be_durable_outlives_the_process";
/// What a child writes before a durable seq.
const WORD: &str = "durable ";
const FRAMES: usize = 64;

/// What stands in a block, by the round and the block's number in it.
fn value(round: u64, number: u64, frame: usize, column: usize) -> f64 {
    // Not exact in 32 bits: plain values, so that the segments fill.
    round as f64 * 1e9 + number as f64 + frame as f64 * 0.001 + column as f64 * 0.1
}

fn block(round: u64, number: u64) -> Block {
    let mut block = Block::unpooled(2, FRAMES);
    block.source = SourceId((round % 100) as u16);
    block.priority = Priority::Normal;
    block.first_frame = number;
    block.axis = Axis::Regular {
        start_ns: number as i64 * 1_000_000,
        period_ns: 1000.0,
    };
    for frame in 0..FRAMES {
        let values = [0, 1].map(|column| value(round, number, frame, column));
        block.frames.push(0, &values);
    }
    block
}

/// Tells the parent every durable seq.
struct Tell;

impl Observer for Tell {
    fn committed(&mut self, _block: &Committed, _commit_ns: i64) {}

    fn failed(&mut self, block: &Committed) {
        panic!("the journal failed at {block:?}");
    }

    fn durable(&mut self, seq: u64) {
        // In one write, past the capture of the test's output. The parent may be gone.
        let _ = std::io::stdout().write_all(format!("{WORD}{seq}\n").as_bytes());
    }
}

struct Silent;

impl Observer for Silent {
    fn committed(&mut self, _block: &Committed, _commit_ns: i64) {}
    fn failed(&mut self, _block: &Committed) {}
}

fn setup(run: String, observer: impl Observer + 'static) -> Setup {
    let start = Instant::now();
    Setup {
        options: Options {
            commit_interval: Duration::from_millis(3),
            segment_bytes: 1 << 20,
            queue_blocks: [256; 4],
        },
        quanta: Quanta::default(),
        run,
        clock: Arc::new(move || 1_700_000_000_000_000_000 + start.elapsed().as_nanos() as i64),
        observer: Box::new(observer),
        room: Arc::new(|| {}),
    }
}

/// The child: writes until it is killed.
fn write_until_killed(dir: &Path) {
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let setup = setup(format!("{{\"round\":{round}}}"), Tell);
    let (_journal, mut sender, _) = open(dir, setup).unwrap();
    for number in 0.. {
        let mut next = block(round, number);
        while let Err(refused) = sender.try_append_block(next) {
            assert_eq!(refused.why, RefusedWhy::Full, "{:?}", sender.failure());
            next = refused.block;
            std::thread::park_timeout(Duration::from_micros(50));
        }
    }
}

fn start_child(dir: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Lets a child write for `time` after its first commit, then kills it; the last seq it told.
fn run_and_kill(dir: &Path, round: u64, time: Duration) -> u64 {
    let mut child = start_child(dir, round);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        let (mut line, mut last) = (String::new(), 0);
        while output.read_line(&mut line).unwrap() > 0 {
            // What has no end was cut off by the kill, and what is not the word is the harness's.
            if let Some(seq) = line
                .strip_suffix('\n')
                .and_then(|line| line.strip_prefix(WORD))
            {
                let seq = seq.parse().unwrap();
                assert!(seq >= last, "{seq} told after {last}");
                last = seq;
                let _ = tell.send(());
            }
            line.clear();
        }
        last
    });
    let begun = told.recv_timeout(Duration::from_secs(60));
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let _ = told.recv_timeout(left);
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success(), "it ended by itself");
    let last = reading.join().unwrap();
    assert!(begun.is_ok(), "round {round} committed nothing");
    last
}

/// What was found in one child's run.
#[derive(Debug, Default)]
struct Found {
    first_seq: u64,
    last_seq: u64,
    blocks: u64,
}

/// Reads on from `from_seq`: every seq once, and of each round the blocks from the first on, with
/// no more and no less in them than was put there.
fn read_from(dir: &Path, from_seq: u64, round: u64) -> Found {
    let filter = Filter::default();
    let mut reader = Reader::open(dir, From::Seq(from_seq), Until::Written, filter).unwrap();
    let mut found = Found {
        first_seq: from_seq,
        last_seq: from_seq - 1,
        ..Found::default()
    };
    let mut decoded = DecodedBlock::default();
    loop {
        let record = match reader.next().unwrap() {
            Next::Record(record) => record,
            Next::Lost(lost) => panic!("{lost:?} in round {round}"),
            Next::End => return found,
        };
        assert_eq!(record.seq, found.last_seq + 1);
        found.last_seq = record.seq;
        if record.kind == Some(Kind::Run) {
            let expected = format!("{{\"round\":{round}}}");
            assert_eq!(record.payload, expected.as_bytes());
            continue;
        }
        assert_eq!(record.kind, Some(Kind::Block));
        decoded.decode(record.payload).unwrap();
        let summary = decoded.summary();
        assert_eq!(u64::from(summary.source.0), round % 100);
        assert_eq!(summary.first_frame, found.blocks, "in order, and each once");
        assert_eq!(summary.frames as usize, FRAMES);
        for column in 0..2 {
            for (frame, is) in decoded.column(column).iter().enumerate() {
                let should = value(round, found.blocks, frame, column);
                assert_eq!(is.to_bits(), should.to_bits());
            }
        }
        found.blocks += 1;
    }
}

/// Opens the journal and closes it again.
fn look_in(dir: &Path, round: u64) -> (Recovery, Closed) {
    let run = format!("{{\"look\":{round}}}");
    let (journal, sender, recovery) = open(dir, setup(run, Silent)).unwrap();
    let closed = journal.close(sender, || "{}".to_owned()).unwrap();
    (recovery, closed)
}

#[test]
fn what_was_told_to_be_durable_outlives_the_process() {
    if let Some(dir) = std::env::var_os(DIR) {
        return write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("journal");
    let mut rng = fastrand::Rng::with_seed(17);
    let (mut next_seq, mut blocks) = (1, 0);
    for round in 0..ROUNDS {
        let time = Duration::from_millis(rng.u64(20..=150));
        let told = run_and_kill(&dir, round, time);

        // What the kill left, before recovery touches it.
        let found = read_from(&dir, next_seq, round);
        let last_seq = found.last_seq;
        assert!(last_seq >= told, "{told} was told, {last_seq} is there");
        let (recovery, closed) = look_in(&dir, round);
        assert!(!recovery.has_lost_committed(), "{:?}", recovery.messages());
        assert_eq!(recovery.next_seq, found.last_seq + 1);
        assert!(!recovery.was_closed);
        blocks += found.blocks;
        // The run that looked: its record and its ledger.
        assert_eq!(closed.last_seq, recovery.next_seq + 1);
        next_seq = closed.last_seq + 1;
        // So that the disk does not fill: the last rounds stay, and are verified as a whole.
        if round < ROUNDS - 5 {
            prune(&dir, found.first_seq).unwrap();
        }
    }
    let report = verify(&dir, |_| {}).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert!(report.runs.len() >= 10);
    assert_eq!(report.runs.last().unwrap().last_seq, next_seq - 1);
    assert!(blocks > 10 * ROUNDS, "{blocks} blocks in all");
}
