//! Cursors and pruning.

use super::super::cursor::{self, Cursor};
use super::super::error::Error;
use super::super::prune::prune_in;
use super::super::reader::Lost;
use super::super::segment::{self, CURSORS_NAME};
use super::faulty::{Crash, Disk, EIO};
use super::{begin, block, close, read_all, seqs};

fn four_segments() -> (Disk, Vec<u64>) {
    let disk = Disk::default();
    let (_, mut log) = begin(&disk, 1200, "run").unwrap();
    for number in 0..8 {
        log.append_block(&block(number, 20)).unwrap();
    }
    close(&mut log).unwrap();
    drop(log);
    let segments = segment::list(&disk.dir()).unwrap().segments;
    assert!(segments.len() >= 4, "{segments:?}");
    (disk, segments)
}

#[test]
fn a_cursor_goes_forward_only() {
    let disk = Disk::default();
    disk.dir().make().unwrap();
    let mut cursor = Cursor::open_in(&disk.dir(), "follower").unwrap();
    assert_eq!(cursor.seq(), 0);
    cursor.advance(5).unwrap();
    cursor.advance(5).unwrap();
    assert!(matches!(
        cursor.advance(4),
        Err(Error::CursorBackwards { at: 5, to: 4, .. })
    ));
    assert_eq!(cursor.seq(), 5);
    let again = Cursor::open_in(&disk.after(Crash::PowerOff).dir(), "follower").unwrap();
    assert_eq!(again.seq(), 5);
}

#[test]
fn a_cursor_has_a_name() {
    let disk = Disk::default();
    for name in ["", "a/b", "..", "a.new", "ä", &"x".repeat(101)] {
        let outcome = Cursor::open_in(&disk.dir(), name);
        assert!(matches!(outcome, Err(Error::CursorName { .. })), "{name}");
    }
}

#[test]
fn after_a_crash_a_cursor_is_where_it_was_put_last_or_before() {
    for by_failure in [false, true] {
        for call in 1.. {
            let disk = Disk::default();
            disk.dir().make().unwrap();
            let mut cursor = Cursor::open_in(&disk.dir(), "follower").unwrap();
            cursor.advance(7).unwrap();
            if by_failure {
                disk.fail_once(call, EIO);
            } else {
                disk.die_at(call);
            }
            let outcome = cursor.advance(12);
            let is_over = !disk.has_failed();
            for crash in [Crash::Killed, Crash::PowerOff, Crash::PowerOffAmid(call)] {
                let disk = disk.after(crash);
                let mut again = Cursor::open_in(&disk.dir(), "follower").unwrap();
                let expected: &[u64] = if outcome.is_ok() { &[12] } else { &[7, 12] };
                assert!(
                    expected.contains(&again.seq()),
                    "call {call}: {}",
                    again.seq()
                );
                again.advance(13).unwrap();
            }
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn a_damaged_cursor_is_told_and_holds_back_pruning() {
    let (disk, segments) = four_segments();
    let mut cursor = Cursor::open_in(&disk.dir(), "follower").unwrap();
    cursor.advance(segments[2]).unwrap();
    let name = format!("{CURSORS_NAME}/follower");
    let sound = disk.content(&name);
    for place in 0..sound.len() {
        for bit in 0..8 {
            let mut content = sound.clone();
            content[place] ^= 1 << bit;
            disk.set_content(&name, &content);
            let outcome = Cursor::open_in(&disk.dir(), "follower");
            assert!(
                matches!(outcome, Err(Error::CursorDamaged { .. })),
                "{place} {bit}"
            );
        }
        disk.set_content(&name, &sound[..place]);
        let outcome = Cursor::open_in(&disk.dir(), "follower");
        assert!(matches!(outcome, Err(Error::CursorDamaged { .. })));
    }
    assert!(prune_in(&disk.dir(), u64::MAX).unwrap().segments.is_empty());
    disk.set_content(&name, &sound);
    assert_eq!(prune_in(&disk.dir(), u64::MAX).unwrap().segments.len(), 2);
}

#[test]
fn pruning_removes_whole_segments_behind_the_seq_and_every_cursor() {
    let (disk, segments) = four_segments();
    let dir = disk.dir();
    let last_seq = seqs(&read_all(&disk).0).len() as u64;
    // Without a cursor, the cursors alone decide nothing.
    assert!(prune_in(&dir, u64::MAX).unwrap().segments.is_empty());
    // One short of the end of the first segment.
    assert!(prune_in(&dir, segments[1] - 2).unwrap().segments.is_empty());
    let mut slow = Cursor::open_in(&dir, "slow").unwrap();
    let mut fast = Cursor::open_in(&dir, "fast").unwrap();
    slow.advance(segments[1] - 1).unwrap();
    fast.advance(last_seq).unwrap();
    assert_eq!(cursor::highest(&dir.sub(CURSORS_NAME)).unwrap(), last_seq);

    let size = disk.content(&segment::name(1)).len() as u64;
    let pruned = prune_in(&dir, last_seq).unwrap();
    assert_eq!(pruned.segments, [dir.file(&segment::name(1))]);
    assert_eq!(pruned.bytes, size);
    let (records, lost) = read_all(&disk.after(Crash::PowerOff));
    assert_eq!(lost, []);
    assert!(seqs(&records).into_iter().eq(segments[1]..=last_seq));

    // Whoever wants what is gone is told.
    let from = super::From::Seq(1 + 1);
    let mut reader = super::reader(&dir, from, super::Until::Written);
    let (_, lost) = super::drain(&mut reader).unwrap();
    let hole = Lost {
        from_seq: 2,
        to_seq: segments[1] - 1,
    };
    assert_eq!(lost, [hole]);

    // The last segment stays.
    slow.advance(last_seq).unwrap();
    prune_in(&dir, u64::MAX).unwrap();
    assert_eq!(
        segment::list(&dir).unwrap().segments,
        segments[segments.len() - 1..]
    );
    drop((slow, fast));
    let (recovery, _) = begin(&disk, 1200, "next").unwrap();
    assert_eq!(recovery.next_seq, last_seq + 1);
    assert!(!recovery.has_lost_committed());
}
