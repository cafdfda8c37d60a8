//! Every call to the file system failing once, each in its turn: nothing is reported as committed
//! that is not on the disk, and the journal can be opened again.

use super::super::error::Error;
use super::super::log::{Commit, Log};
use super::super::record::Kind;
use super::super::recover::recover;
use super::faulty::{Crash, Disk, EIO, ENOSPC};
use super::{begin, block, close, payload, read_all, seqs};

const SEGMENT_BYTES: u64 = 1500;

/// Blocks over some segments, with a commit now and then; what was committed goes to `committed`.
fn write_some(log: &mut Log, committed: &mut u64) -> Result<(), Error> {
    *committed = log.last_seq();
    for number in 0..24 {
        log.append_block(&block(number, 20))?;
        if number % 3 == 1 {
            log.hands().step();
        }
        if number % 5 == 4 && log.commit()? == Commit::Done {
            *committed = log.last_seq();
        }
        if number % 7 == 6 {
            log.append_json(Kind::Event, Some(1), 1, "{}")?;
        }
    }
    log.commit_now()?;
    *committed = log.last_seq();
    close(log)?;
    *committed = log.last_seq();
    Ok(())
}

/// A disk with a run that was killed, half written.
fn used_disk() -> Disk {
    let disk = Disk::default();
    let (_, mut log) = begin(&disk, SEGMENT_BYTES, "before").unwrap();
    for number in 100..105 {
        log.append_block(&block(number, 20)).unwrap();
    }
    log.commit_now().unwrap();
    log.append_block(&block(105, 20)).unwrap();
    log.flush().unwrap();
    disk.after(Crash::PowerOffAmid(3))
}

#[test]
fn any_call_may_fail_once() {
    let used = used_disk();
    let before = seqs(&read_all(&used).0).len() as u64;
    for errno in [EIO, ENOSPC] {
        for call in 1.. {
            let disk = used.after(Crash::Killed);
            disk.fail_once(call, errno);
            let mut committed = before;
            let outcome = begin(&disk, SEGMENT_BYTES, "now").and_then(|(_, mut log)| {
                assert!(log.last_seq() > before);
                write_some(&mut log, &mut committed)
            });
            if !disk.has_failed() {
                outcome.unwrap();
                assert!(call > 100, "only {call} calls were made");
                break;
            }
            // Whatever was reported is there, if the power goes at once or if only the process
            // ends.
            for crash in [Crash::PowerOff, Crash::PowerOffAmid(call), Crash::Killed] {
                let disk = disk.after(crash);
                let (recovery, log) = begin(&disk, SEGMENT_BYTES, "after").unwrap();
                assert!(!recovery.has_lost_committed(), "call {call}: {recovery:?}");
                assert!(recovery.next_seq > committed, "call {call}: {recovery:?}");
                assert_eq!(log.last_seq(), recovery.next_seq);
                let (records, lost) = read_all(&disk);
                assert!(seqs(&records).into_iter().eq(1..=recovery.next_seq));
                assert_eq!(lost, []);
            }
        }
    }
}

#[test]
fn a_failed_sync_stops_the_log_for_good() {
    let disk = Disk::default();
    let (_, mut log) = begin(&disk, SEGMENT_BYTES, "run").unwrap();
    log.append_block(&block(1, 5)).unwrap();
    log.flush().unwrap();
    disk.fail_once(1, EIO);
    let error = log.commit().unwrap_err();
    assert!(matches!(error, Error::Io { doing: "sync", .. }), "{error}");
    drop(log);
    let after = disk.after(Crash::PowerOff);
    assert_eq!(seqs(&read_all(&after).0), [1]);
}

#[test]
fn what_a_failed_sync_threw_away_is_written_again_before_it_counts() {
    let disk = Disk::default();
    let (_, mut log) = begin(&disk, 1 << 20, "run").unwrap();
    for number in 0..50 {
        log.append_block(&block(number, 5)).unwrap();
    }
    log.commit_now().unwrap();
    let lost = block(50, 5);
    log.append_block(&lost).unwrap();
    log.flush().unwrap();
    disk.fail_once(1, EIO);
    log.commit().unwrap_err();
    drop(log);
    // The kernel still shows the block, so the next run finds it, and builds on it.
    let disk = disk.after(Crash::Killed);
    let (recovery, _) = begin(&disk, 1 << 20, "next").unwrap();
    assert_eq!(recovery.next_seq, 53);
    let disk = disk.after(Crash::PowerOff);
    let (records, holes) = read_all(&disk);
    assert_eq!(records[51].payload, payload(&lost));
    assert_eq!(holes, []);
}

#[test]
fn a_full_disk_is_a_warning_as_long_as_the_segment_has_room() {
    let disk = Disk::default();
    let (_, mut log) = begin(&disk, SEGMENT_BYTES, "run").unwrap();
    log.append_block(&block(1, 5)).unwrap();
    // remove, create, allocate
    disk.fail_once(3, ENOSPC);
    log.hands().step();
    assert_eq!(log.commit().unwrap(), Commit::Done);
    let error = loop {
        if let Err(error) = log.append_block(&block(2, 5)) {
            break error;
        }
    };
    let Error::NoNextSegment { reason, .. } = &error else {
        panic!("{error}");
    };
    assert!(reason.contains("reserve disk space"), "{reason}");
    assert!(reason.contains("No space left"), "{reason}");
    assert!(!disk.names().iter().any(|name| name.ends_with(".new")));
}

#[test]
fn a_full_disk_that_has_room_again_is_forgotten() {
    let disk = Disk::default();
    let (_, mut log) = begin(&disk, SEGMENT_BYTES, "run").unwrap();
    disk.fail_once(3, ENOSPC);
    log.hands().step();
    log.hands().step();
    for number in 0..20 {
        log.append_block(&block(number, 20)).unwrap();
    }
    log.commit_now().unwrap();
    assert!(disk.names().len() > 3);
}

#[test]
fn recovery_dies_at_any_call_and_is_done_again() {
    let used = used_disk();
    let (should, _) = recover(&used.after(Crash::Killed).dir()).unwrap();
    for call in 1.. {
        let disk = used.after(Crash::Killed);
        disk.die_at(call);
        if recover(&disk.dir()).is_ok() {
            assert!(call > 8, "only {call} calls were made");
            break;
        }
        for crash in [Crash::Killed, Crash::PowerOff, Crash::PowerOffAmid(call)] {
            let disk = disk.after(crash);
            let (recovery, _) = recover(&disk.dir()).unwrap();
            assert_eq!(recovery.next_seq, should.next_seq);
            assert!(!recovery.has_lost_committed());
        }
    }
}
