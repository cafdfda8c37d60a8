//! The journal with its threads when it cannot go on: it stops, says why, and accounts for every block.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kymo_drivers::block::{Block, Priority};

use super::super::error::Error;
use super::super::queues::{Event, RefusedWhy};
use super::super::recover::recover;
use super::super::writer::open_in;
use super::super::{BlockSummary, RECORD_BYTES_MAX};
use super::faulty::{Crash, Disk, EIO, ENOSPC};
use super::threaded::{Watch, append, setup, wait};
use super::{block, read_all, seqs};

/// A run on a disk of which one call fails; whether it was over before that call came.
fn fail_at(call: u64, errno: i32) -> bool {
    let disk = Disk::default();
    disk.fail_once(call, errno);
    let watch = Watch::default();
    let Ok((journal, mut sender, _)) = open_in(&disk.dir(), setup(3000, 8, watch.clone())) else {
        assert!(disk.has_failed());
        let (journal, sender, recovery) = open_in(&disk.dir(), setup(3000, 8, watch)).unwrap();
        assert!(!recovery.has_lost_committed());
        journal.close(sender, String::new).unwrap();
        return false;
    };
    let status = journal.status();
    let taken = append(&mut sender, 60);
    let outcome = journal.close(sender, || "{}".to_owned());
    let told = watch.0.lock().unwrap();
    assert_eq!(outcome.is_err(), status.failure().is_some());
    if let Err(error) = &outcome {
        assert!(disk.has_failed());
        assert_eq!(error.to_string(), status.failure().unwrap().to_string());
        assert_eq!(status.durable_seq().get().max(1), told.durable_seq.max(1));
    } else {
        assert_eq!((told.failed.len(), taken), (0, 60));
    }
    // Each block taken was told once, as one or the other.
    let mut all: Vec<i64> = told
        .committed
        .iter()
        .chain(&told.failed)
        .map(|block| block.read_ns)
        .collect();
    all.sort_unstable();
    assert!(
        all.into_iter()
            .eq((0..taken as i64).map(|number| number * 1000))
    );
    // What was told to be committed is there, whatever the power does.
    for crash in [Crash::PowerOff, Crash::PowerOffAmid(call), Crash::Killed] {
        let disk = disk.after(crash);
        let (recovery, _) = recover(&disk.dir()).unwrap();
        assert!(!recovery.has_lost_committed());
        let (records, lost) = read_all(&disk);
        assert_eq!(lost, []);
        assert!(seqs(&records).into_iter().eq(1..recovery.next_seq));
        for block in &told.committed {
            let record = &records[block.seq as usize - 1];
            let summary = BlockSummary::parse(&record.payload).unwrap();
            assert_eq!(summary.read_ns, block.read_ns);
        }
    }
    !disk.has_failed()
}

#[test]
fn a_failing_disk_stops_the_journal_and_every_block_is_accounted_for() {
    for errno in [EIO, ENOSPC] {
        let mut call = 1;
        while !fail_at(call, errno) {
            call += 1;
            assert!(call < 2000, "a run makes no end of calls");
        }
        assert!(call > 40, "only {call} calls were made");
    }
}

#[test]
fn after_a_failure_nothing_is_taken_and_nobody_waits() {
    let disk = Disk::default();
    let rooms = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&rooms);
    let mut setup = setup(1 << 20, 8, Watch::default());
    setup.room = Arc::new(move || {
        told.fetch_add(1, Ordering::SeqCst);
    });
    let (journal, mut sender, _) = open_in(&disk.dir(), setup).unwrap();
    let status = journal.status();
    wait("the next segment", || disk.names().len() == 2);
    disk.fail_once(1, EIO);
    sender.try_append_block(block(1, 3)).unwrap();
    wait("the failure", || status.failure().is_some());
    wait("the call", || rooms.load(Ordering::SeqCst) > 0);
    assert!(sender.has_room(Priority::Normal));
    let refused = sender.try_append_block(block(2, 3)).unwrap_err();
    assert_eq!(
        (refused.why, refused.block.first_frame),
        (RefusedWhy::Failed, 2)
    );
    let event = Event {
        source: None,
        time_ns: 0,
        json: "{}".to_owned(),
    };
    assert_eq!(sender.try_append_event(event.clone()), Err(event));
    assert_eq!(status.events_dropped(), 1);
    let message = status.failure().unwrap().to_string();
    assert!(message.contains("00000000000000000001.kyj"), "{message}");
    assert!(message.contains("Input/output error"), "{message}");
    // The disk is well again; the journal stays as it is.
    disk.heal();
    assert!(journal.close(sender, String::new).is_err());
}

#[test]
fn a_block_too_long_for_a_record_is_a_failure_that_says_so() {
    let disk = Disk::default();
    let watch = Watch::default();
    let (journal, mut sender, _) = open_in(&disk.dir(), setup(1 << 20, 8, watch.clone())).unwrap();
    let frames = RECORD_BYTES_MAX / 8;
    let mut long = Block::unpooled(1, frames);
    long.frames.commit(frames);
    sender.try_append_block(long).unwrap();
    let status = journal.status();
    wait("the failure", || status.failure().is_some());
    assert!(matches!(
        *status.failure().unwrap(),
        Error::RecordTooLong { .. }
    ));
    assert!(journal.close(sender, String::new).is_err());
    assert_eq!(watch.0.lock().unwrap().failed.len(), 1);
}
