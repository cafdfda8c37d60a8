//! Repair killed at any call, and damage beyond a single byte.

use super::super::reader::Lost;
use super::super::repair::repair_in;
use super::super::segment;
use super::damage::{Place, places, small_journal, verified, without};
use super::faulty::{Crash, Disk};
use super::{Read, begin, read_all, seqs};

fn damage(disk: &Disk, place: &Place) {
    let mut content = disk.content(&place.name);
    content[place.bytes.start + 17] ^= 4;
    disk.set_content(&place.name, &content);
}

/// A journal with two damaged records in different segments, and a damaged header.
fn damaged_journal() -> (Disk, Vec<Read>) {
    let (disk, records) = small_journal();
    let places = places(&disk, &records);
    let headers: Vec<usize> = (0..places.len())
        .filter(|at| places[*at].seq == 0)
        .collect();
    damage(&disk, &places[headers[1]]);
    let mut left = records;
    for at in [headers[0] + 2, headers[2] + 1] {
        damage(&disk, &places[at]);
        left = without(&left, places[at].seq);
    }
    (disk, left)
}

#[test]
fn repair_is_killed_at_any_call_and_run_again() {
    let (damaged, left) = damaged_journal();
    for call in 1.. {
        let disk = damaged.after(Crash::Killed);
        disk.die_at(call);
        let is_over = repair_in(&disk.dir(), false).is_ok();
        for crash in [Crash::Killed, Crash::PowerOff, Crash::PowerOffAmid(call)] {
            let disk = disk.after(crash);
            assert_eq!(read_all(&disk).0, left, "call {call}, {crash:?}");
            repair_in(&disk.dir(), false).unwrap();
            let disk = disk.after(Crash::PowerOff);
            assert_eq!(read_all(&disk).0, left, "call {call}, {crash:?}");
            let report = verified(&disk);
            assert_eq!(report.missing_records(), 2);
            assert!(report.segments.iter().all(|segment| segment.bad_count == 0));
            // A second name for the same original, if it was killed right after the first.
            assert!((3..=4).contains(&report.set_aside.len()));
            let (recovery, _) = begin(&disk, 900, "next").unwrap();
            assert!(!recovery.has_lost_committed(), "{:?}", recovery.messages());
        }
        if is_over {
            assert!(call > 50, "only {call} calls were made");
            break;
        }
    }
}

#[test]
fn a_segment_with_nothing_left_is_set_aside_and_the_hole_is_told() {
    let (disk, records) = small_journal();
    let segments = segment::list(&disk.dir()).unwrap().segments;
    let name = segment::name(segments[1]);
    disk.set_content(&name, &vec![0xaa; disk.content(&name).len()]);
    let lost = [Lost {
        from_seq: segments[1],
        to_seq: segments[2] - 1,
    }];
    assert_eq!(read_all(&disk).1, lost);
    let report = repair_in(&disk.dir(), false).unwrap();
    assert_eq!(report.records_kept, 0);
    assert!(!disk.names().contains(&name));
    let (left, still_lost) = read_all(&disk);
    assert_eq!(still_lost, lost);
    assert_eq!(
        left.len(),
        records.len() - (segments[2] - segments[1]) as usize
    );
    let (recovery, _) = begin(&disk, 900, "next").unwrap();
    assert_eq!(recovery.missing.len(), 1);
    assert_eq!(recovery.missing[0].first_seq, segments[1]);
    assert_eq!(recovery.missing[0].before, segments[2]);
}

#[test]
fn seqs_of_a_last_segment_that_was_set_aside_do_not_start_again() {
    // Everything before it was pruned, so that only its name tells how far the journal had come.
    let (disk, _) = small_journal();
    let segments = segment::list(&disk.dir()).unwrap().segments;
    let last = *segments.last().unwrap();
    super::super::prune::prune_in(&disk.dir(), last - 1).unwrap();
    let name = segment::name(last);
    disk.set_content(&name, &vec![0xaa; disk.content(&name).len()]);
    let by_repair = disk.after(Crash::Killed);
    repair_in(&by_repair.dir(), false).unwrap();
    let (recovery, _) = begin(&by_repair, 900, "next").unwrap();
    assert!(recovery.next_seq >= last, "{recovery:?}");
    for call in 1.. {
        let disk = disk.after(Crash::Killed);
        disk.die_at(call);
        let is_over = begin(&disk, 900, "dies").is_ok();
        let (recovery, _) = begin(&disk.after(Crash::Killed), 900, "next").unwrap();
        assert!(recovery.next_seq >= last, "call {call}: {recovery:?}");
        if is_over {
            break;
        }
    }
}

#[test]
fn a_segment_that_is_there_twice_is_read_once() {
    let (disk, records) = small_journal();
    let segments = segment::list(&disk.dir()).unwrap().segments;
    let name = segment::name(segments[1]);
    let mut content = disk.content(&name);
    // The tail of the segment before it, once more in front of what follows.
    let before = disk.content(&segment::name(segments[0]));
    content.splice(64..64, before[64..].iter().copied());
    disk.set_content(&name, &content);
    let (left, lost) = read_all(&disk);
    assert_eq!(seqs(&left), seqs(&records));
    assert_eq!(lost, []);
    let report = verified(&disk);
    assert_eq!(
        report.segments[1].doubled_records,
        segments[1] - segments[0]
    );
    assert!(!report.is_sound());
}
