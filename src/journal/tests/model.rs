//! Random histories against a list: what was reported as committed is there, intact, once, in
//! order; what follows it is the beginning of what was appended.

use proptest::prelude::*;

use super::super::error::Error;
use super::super::log::{Commit, Log};
use super::super::record::Kind;
use super::super::recover::recover;
use super::faulty::{Crash, Disk, EIO};
use super::{Read, begin, block, payload, read_all};

#[derive(Debug, Clone)]
enum Op {
    Block {
        frames: usize,
    },
    Event {
        bytes: usize,
    },
    Flush,
    Commit,
    Prepare,
    /// A crash between two calls.
    Crash(Aftermath),
    /// A crash at a call that is still to come.
    CrashAt {
        call: u64,
        /// The call fails and the process gives up; else the process is killed there.
        by_failure: bool,
        aftermath: Aftermath,
    },
    Close,
}

/// How a crash goes on.
#[derive(Debug, Clone)]
struct Aftermath {
    crash: Crash,
    /// At this call the recovery dies as well, and the disk is left like this.
    again: Option<(u64, Crash)>,
}

fn any_crash() -> impl Strategy<Value = Crash> {
    prop_oneof![
        1 => Just(Crash::Killed),
        1 => Just(Crash::PowerOff),
        3 => any::<u64>().prop_map(Crash::PowerOffAmid),
    ]
}

fn any_aftermath() -> impl Strategy<Value = Aftermath> {
    let again = proptest::option::of((1..60_u64, any_crash()));
    (any_crash(), again).prop_map(|(crash, again)| Aftermath { crash, again })
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..40_usize).prop_map(|frames| Op::Block { frames }),
        3 => (0..400_usize).prop_map(|bytes| Op::Event { bytes }),
        2 => Just(Op::Flush),
        4 => Just(Op::Commit),
        3 => Just(Op::Prepare),
        1 => any_aftermath().prop_map(Op::Crash),
        1 => (1..20_u64, any::<bool>(), any_aftermath()).prop_map(
            |(call, by_failure, aftermath)| Op::CrashAt { call, by_failure, aftermath },
        ),
        1 => Just(Op::Close),
    ]
}

/// A journal and what must be in it.
struct Model {
    disk: Disk,
    log: Log,
    segment_bytes: u64,
    /// What was appended, by seq - 1.
    appended: Vec<Read>,
    committed: u64,
    runs: u64,
    aftermath: Option<Aftermath>,
}

impl Model {
    fn new(segment_bytes: u64, short: Option<u64>) -> Self {
        let disk = Disk::default();
        if let Some(seed) = short {
            disk.be_short(seed);
        }
        let (recovery, log) = begin(&disk, segment_bytes, "run 0").unwrap();
        assert_eq!(recovery.next_seq, 1);
        let mut model = Self {
            disk,
            log,
            segment_bytes,
            appended: Vec::new(),
            committed: 1,
            runs: 0,
            aftermath: None,
        };
        model.note(1, Kind::Run, b"run 0");
        model
    }

    /// Notes what was appended as `seq`; a seq passed over is the head of a new segment.
    fn note(&mut self, seq: u64, kind: Kind, payload: &[u8]) {
        let run = format!("run {}", self.runs).into_bytes();
        let last = self.appended.len() as u64;
        assert!(seq == last + 1 || seq == last + 2, "seq {seq} after {last}");
        if seq == last + 2 {
            self.appended.push(Read {
                seq: last + 1,
                kind: Some(Kind::Run),
                is_repeated: true,
                payload: run,
            });
        }
        self.appended.push(Read {
            seq,
            kind: Some(kind),
            is_repeated: false,
            payload: payload.to_vec(),
        });
    }

    fn apply(&mut self, op: &Op) {
        let log = &mut self.log;
        let outcome = match op {
            Op::Block { frames } => {
                let block = block(log.last_seq(), *frames);
                log.append_block(&block).map(|()| {
                    let seq = self.log.last_seq();
                    self.note(seq, Kind::Block, &payload(&block));
                })
            }
            Op::Event { bytes } => {
                let json = format!("{}{}", log.last_seq(), " ".repeat(*bytes));
                log.append_json(Kind::Event, None, 5, &json).map(|()| {
                    let seq = self.log.last_seq();
                    self.note(seq, Kind::Event, json.as_bytes());
                })
            }
            Op::Flush => log.flush(),
            Op::Commit => log.commit().map(|commit| {
                if commit == Commit::Done {
                    self.note_committed();
                }
            }),
            Op::Prepare => {
                log.hands().step();
                Ok(())
            }
            Op::Close => self.close().map(|()| {
                let was_closed = self.restart(Crash::PowerOff);
                assert!(was_closed, "a closed run is seen to have been closed");
            }),
            Op::Crash(aftermath) => {
                self.crash(aftermath);
                Ok(())
            }
            Op::CrashAt {
                call,
                by_failure,
                aftermath,
            } => {
                if *by_failure {
                    self.disk.fail_once(*call, EIO);
                } else {
                    self.disk.die_at(*call);
                }
                self.aftermath = Some(aftermath.clone());
                Ok(())
            }
        };
        if let Err(error) = outcome {
            assert!(self.disk.has_failed(), "failed on a sound disk: {error}");
        }
        if self.disk.has_failed() {
            let aftermath = self.aftermath.take().unwrap();
            self.crash(&aftermath);
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        self.log.commit_now()?;
        self.note_committed();
        self.log.append_json(Kind::Ledger, None, 1, "{}")?;
        self.note(self.log.last_seq(), Kind::Ledger, b"{}");
        self.log.commit_now()?;
        self.note_committed();
        self.log.trim()
    }

    fn note_committed(&mut self) {
        self.committed = self.log.last_seq();
        // If the power went now, all of it would be there.
        self.check(&self.disk.after(Crash::PowerOff));
    }

    /// What is on the disk is what was appended.
    fn check(&self, disk: &Disk) {
        let (records, lost) = read_all(disk);
        let mut both = records.iter().zip(&self.appended);
        let different = both.find(|(is, should)| is != should);
        assert!(different.is_none(), "one for the other: {different:?}");
        assert_eq!(records.len(), self.appended.len());
        assert_eq!(lost, []);
    }

    fn crash(&mut self, aftermath: &Aftermath) {
        let mut crash = aftermath.crash;
        if let Some((call, then)) = aftermath.again {
            let disk = self.disk.after(crash);
            disk.die_at(call);
            // What it begins may be there or not: it comes after what it found.
            if let Ok((recovery, _)) = disk.dir().make().and_then(|()| recover(&disk.dir())) {
                self.keep(recovery.next_seq - 1);
                self.runs += 1;
                let run = format!("run {}", self.runs);
                self.note(recovery.next_seq, Kind::Run, run.as_bytes());
                drop(begin(&disk, self.segment_bytes, &run));
            }
            self.disk = disk;
            crash = then;
        }
        self.restart(crash);
    }

    /// What was recovered is what there is now.
    fn keep(&mut self, seq: u64) {
        let (last, committed) = (self.appended.len() as u64, self.committed);
        assert!(
            seq >= committed,
            "{committed} was committed, {seq} is there"
        );
        assert!(seq <= last, "{last} was appended, {seq} is there");
        self.appended.truncate(seq as usize);
    }

    /// Recovers after a crash and begins the next run; whether the one before was closed.
    fn restart(&mut self, crash: Crash) -> bool {
        self.disk = self.disk.after(crash);
        self.aftermath = None;
        let dir = self.disk.dir();
        dir.make().unwrap();
        let (first, _) = recover(&dir).unwrap();
        assert!(!first.has_lost_committed(), "{:?}", first.messages());
        self.keep(first.next_seq - 1);
        self.check(&self.disk);

        self.runs += 1;
        let run = format!("run {}", self.runs);
        let (second, log) = begin(&self.disk, self.segment_bytes, &run).unwrap();
        assert_eq!(second.next_seq, first.next_seq);
        assert_eq!(second.was_closed, first.was_closed);
        assert_eq!((&second.torn, &second.set_aside), (&None, &None));
        assert_eq!(second.removed, Vec::<std::path::PathBuf>::new());
        assert!(!second.has_lost_committed());
        self.log = log;
        self.note(second.next_seq, Kind::Run, run.as_bytes());
        self.note_committed();
        first.was_closed
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_committed_outlives_every_crash(
        segment_bytes in 300..6000_u64,
        short in proptest::option::of(any::<u64>()),
        ops in proptest::collection::vec(any_op(), 1..80),
    ) {
        let mut model = Model::new(segment_bytes, short);
        for op in &ops {
            model.apply(op);
        }
        model.crash(&Aftermath { crash: Crash::PowerOff, again: None });
    }
}

#[test]
fn segments_of_the_usual_size_outlive_a_crash_too() {
    let segment_bytes = super::super::Options::default().segment_bytes;
    let large = Op::Event { bytes: 15 << 20 };
    let small = Op::Block { frames: 30 };
    let power_off = |seed| {
        let crash = Crash::PowerOffAmid(seed);
        Op::Crash(Aftermath {
            crash,
            again: Some((25, Crash::Killed)),
        })
    };
    let mut model = Model::new(segment_bytes, None);
    for round in 0..2 {
        for op in [
            &large,
            &small,
            &large,
            &Op::Commit,
            &large,
            &large,
            &large,
            &small,
        ] {
            model.apply(op);
        }
        let heads = model.appended.iter().filter(|record| record.is_repeated);
        assert!(heads.count() >= 1, "it went over to a second segment");
        model.apply(&Op::Commit);
        model.apply(&power_off(round));
    }
}
