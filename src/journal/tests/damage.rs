//! Every byte of a small journal changed, each in its turn: it is found, exactly what is lost is
//! told, everything else is given, and repair salvages it.

use std::ops::Range;

use super::super::reader::Lost;
use super::super::record::{HEAD_BYTES, Kind};
use super::super::recover::recover;
use super::super::repair::repair_in;
use super::super::segment::{self, HEADER_BYTES};
use super::super::verify::{Report, verify_in};
use super::faulty::{Crash, Disk};
use super::{Read, begin, block, close, read_all, seqs};

/// Where each record of the journal lies.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) bytes: Range<usize>,
    /// 0 for a header.
    pub(super) seq: u64,
}

/// Two runs over some segments, closed, with every kind of record in them.
pub(super) fn small_journal() -> (Disk, Vec<Read>) {
    let disk = Disk::default();
    for run in ["one", "two"] {
        let (_, mut log) = begin(&disk, 900, run).unwrap();
        for number in 0..5 {
            log.append_block(&block(number, 9)).unwrap();
            log.append_json(Kind::Event, Some(2), 9, "{\"event\":1}")
                .unwrap();
            log.commit_now().unwrap();
        }
        close(&mut log).unwrap();
    }
    let disk = disk.after(Crash::PowerOff);
    let (records, lost) = read_all(&disk);
    assert_eq!(lost, []);
    (disk, records)
}

/// Headers and records, in order.
pub(super) fn places(disk: &Disk, records: &[Read]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut records = records.iter().peekable();
    let segments = segment::list(&disk.dir()).unwrap().segments;
    for (index, first_seq) in segments.iter().enumerate() {
        let name = segment::name(*first_seq);
        let end = segments.get(index + 1).copied().unwrap_or(u64::MAX);
        let mut at = HEADER_BYTES;
        places.push(Place {
            name: name.clone(),
            bytes: 0..at,
            seq: 0,
        });
        while let Some(record) = records.next_if(|record| record.seq < end) {
            let bytes = HEAD_BYTES + record.payload.len().next_multiple_of(8);
            places.push(Place {
                name: name.clone(),
                bytes: at..at + bytes,
                seq: record.seq,
            });
            at += bytes;
        }
        assert_eq!(disk.content(&name).len(), at);
    }
    places
}

pub(super) fn verified(disk: &Disk) -> Report {
    verify_in(&disk.dir(), &mut |_| {}).unwrap()
}

/// All but one.
pub(super) fn without(records: &[Read], seq: u64) -> Vec<Read> {
    let others = records.iter().filter(|record| record.seq != seq);
    others.cloned().collect()
}

/// What a reader tells of a lost record: nothing if there is nothing behind it.
fn hole(records: &[Read], seq: u64) -> Vec<Lost> {
    let is_told = seq != 0 && seq != records.len() as u64;
    let hole = Lost {
        from_seq: seq,
        to_seq: seq,
    };
    is_told.then_some(hole).into_iter().collect()
}

/// Calls `check` with the journal in which one byte is another, for every byte.
fn for_each_byte(mut check: impl FnMut(&Disk, &[Read], &Place, &[u8])) {
    let (sound, records) = small_journal();
    let report = verified(&sound);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.records, records.len() as u64);
    assert_eq!(report.runs.len(), 2);
    assert!(report.runs.iter().all(|run| run.is_closed));
    assert!(report.segments.len() >= 5);
    let mut tried = 0;
    for place in places(&sound, &records) {
        for at in place.bytes.clone() {
            let disk = sound.after(Crash::Killed);
            let mut content = disk.content(&place.name);
            // Each bit in its turn, and now and then all.
            content[at] ^= if at % 9 == 8 { 0xff } else { 1 << (at % 9) };
            disk.set_content(&place.name, &content);
            check(&disk, &records, &place, &content);
            tried += 1;
        }
    }
    assert_eq!(tried, report.bytes);
}

#[test]
fn every_damaged_byte_is_found_and_costs_no_more_than_its_record() {
    for_each_byte(|disk, records, place, content| {
        let report = verified(disk);
        assert!(!report.is_sound());
        let bad = report
            .segments
            .iter()
            .filter(|segment| segment.bad_count > 0);
        let bad: Vec<_> = bad.flat_map(|segment| segment.bad.clone()).collect();
        assert_eq!(bad.len(), 1, "{bad:?}");
        assert_eq!(
            bad[0].from..bad[0].to,
            place.bytes.start as u64..place.bytes.end as u64
        );

        let (left, lost) = read_all(disk);
        assert_eq!(left, without(records, place.seq));
        assert_eq!(lost, hole(records, place.seq));

        // Looking changes nothing.
        assert_eq!(disk.content(&place.name), content);
    });
}

#[test]
fn repair_keeps_everything_but_the_damaged_record() {
    for_each_byte(|disk, records, place, content| {
        let dir = disk.dir();
        let dry = repair_in(&dir, true).unwrap();
        assert_eq!(disk.content(&place.name), content);
        let report = repair_in(&dir, false).unwrap();
        let mut without_originals = report.clone();
        for repaired in &mut without_originals.segments {
            repaired.original = None;
        }
        assert_eq!(without_originals, dry);
        assert_eq!(report.segments.len(), 1);
        let repaired = &report.segments[0];
        assert_eq!(
            repaired.lost_bytes,
            if place.seq == 0 {
                0
            } else {
                place.bytes.len() as u64
            }
        );
        let original = repaired.original.as_ref().unwrap();
        let original = original.file_name().unwrap().to_str().unwrap();
        assert_eq!(original, format!("{}.damaged", place.name));

        let disk = disk.after(Crash::PowerOff);
        assert_eq!(disk.content(original), content);
        let (left, lost) = read_all(&disk);
        assert_eq!(left, without(records, place.seq));
        assert_eq!(lost, hole(records, place.seq));
        let after = verified(&disk);
        assert_eq!(after.missing_records(), lost.len() as u64);
        for segment in &after.segments {
            assert!(
                !segment.is_header_damaged && segment.bad_count == 0,
                "{segment:?}"
            );
            assert_eq!(segment.is_repaired, segment.path.ends_with(&place.name));
        }
        assert_eq!(after.set_aside.len(), 1);
        assert!(repair_in(&disk.dir(), false).unwrap().segments.is_empty());
    });
}

#[test]
fn recovery_cuts_nothing_that_was_committed_and_the_next_run_goes_on_behind_it() {
    for_each_byte(|disk, records, place, content| {
        let last = records.len() as u64;
        let (recovery, mut log) = begin(disk, 900, "three").unwrap();
        let is_last_segment = segment::list(&disk.dir())
            .unwrap()
            .segments
            .iter()
            .rev()
            .nth(1)
            == place.name[..20].parse().ok().as_ref();
        if place.seq == last {
            // Nothing says that it was ever whole.
            let torn = recovery.torn.as_ref().unwrap();
            assert_eq!(
                (torn.at, torn.bytes),
                (place.bytes.start as u64, place.bytes.len() as u64)
            );
            assert_eq!(torn.records, 0);
            assert_eq!(recovery.next_seq, last);
            assert!(!recovery.was_closed);
        } else {
            assert_eq!(disk.content(&place.name), content, "it was left as it is");
            assert_eq!(recovery.next_seq, last + 1);
            assert!(recovery.was_closed);
            let damaged = recovery
                .damaged
                .as_ref()
                .map(|damaged| (damaged.at, damaged.seqs.0));
            let told = (is_last_segment && place.seq != 0)
                .then_some((place.bytes.start as u64, place.seq));
            assert_eq!(damaged, told);
            assert_eq!(recovery.bad_headers.len(), usize::from(place.seq == 0));
            assert_eq!(
                recovery.has_lost_committed(),
                is_last_segment || place.seq == 0,
                "only the last segment is read through"
            );
            assert_eq!(
                recovery.messages().len(),
                usize::from(is_last_segment || place.seq == 0)
            );
        }
        log.append_json(Kind::Event, None, 1, "later").unwrap();
        log.commit_now().unwrap();
        let (left, lost) = read_all(disk);
        let mut expected: Vec<u64> = (1..recovery.next_seq + 2).collect();
        let is_hole = place.seq != 0 && place.seq != last;
        expected.retain(|seq| !(is_hole && *seq == place.seq));
        assert_eq!(seqs(&left), expected);
        assert_eq!(lost, hole(records, place.seq));
    });
}

#[test]
fn recovery_again_tells_the_same_damage() {
    let (disk, records) = small_journal();
    let places = places(&disk, &records);
    let place = &places[places.len() - 2];
    let mut content = disk.content(&place.name);
    content[place.bytes.start + 60] ^= 1;
    disk.set_content(&place.name, &content);
    let (first, start) = recover(&disk.dir()).unwrap();
    assert_eq!(first.damaged.as_ref().unwrap().seqs, (place.seq, place.seq));
    assert_eq!(recover(&disk.dir()).unwrap(), (first, start));
}
