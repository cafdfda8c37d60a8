//! The last segment cut off at every byte, and what else recovery may find.

use super::super::cursor::Cursor;
use super::super::error::Error;
use super::super::record::Kind;
use super::super::recover::recover;
use super::super::segment::{self, HEADER_BYTES, NEXT_NAME};
use super::damage::{places, small_journal};
use super::faulty::{Crash, Disk};
use super::{begin, block, read_all, seqs};

/// The first segment of a new journal.
const FIRST_NAME: &str = "00000000000000000001.kyj";

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_said() {
    let (sound, records) = small_journal();
    let places = places(&sound, &records);
    let name = places.last().unwrap().name.clone();
    let content = sound.content(&name);
    let first_seq: u64 = name[..20].parse().unwrap();
    for size in 0..=content.len() {
        let disk = sound.after(Crash::Killed);
        disk.set_content(&name, &content[..size]);
        let whole = places
            .iter()
            .rfind(|place| place.name != name || place.bytes.end <= size);
        let whole = whole.unwrap();
        let is_empty = whole.name != name || whole.seq == 0;
        let (recovery, _) = recover(&disk.dir()).unwrap();
        let last_seq = if is_empty { first_seq - 1 } else { whole.seq };
        assert_eq!(recovery.next_seq, last_seq + 1, "cut at {size}");
        assert!(!recovery.has_lost_committed());
        let end = if is_empty {
            HEADER_BYTES
        } else {
            whole.bytes.end
        };
        let cut = size.saturating_sub(end);
        let torn = recovery.torn.as_ref();
        assert_eq!(torn.map(|torn| torn.bytes), (cut > 0).then_some(cut as u64));
        assert_eq!(torn.map_or(0, |torn| torn.records), 0);
        assert_eq!(recovery.set_aside.is_some(), is_empty && cut > 0);
        assert_eq!(recovery.removed.len(), usize::from(is_empty && cut == 0));
        assert_eq!(recovery.was_closed, size == content.len());

        let disk = disk.after(Crash::PowerOff);
        let (left, lost) = read_all(&disk);
        assert!(seqs(&left).into_iter().eq(1..=last_seq));
        assert_eq!(lost, []);
        let (again, mut log) = begin(&disk, 900, "next").unwrap();
        assert_eq!((again.next_seq, &again.torn), (last_seq + 1, &None));
        log.append_block(&block(1, 5)).unwrap();
        log.commit_now().unwrap();
        let (left, lost) = read_all(&disk.after(Crash::PowerOff));
        assert!(seqs(&left).into_iter().eq(1..=last_seq + 2));
        assert_eq!(lost, []);
    }
}

#[test]
fn what_a_cursor_has_passed_is_told_wherever_the_file_ends() {
    let (sound, records) = small_journal();
    let name = places(&sound, &records).last().unwrap().name.clone();
    let last_seq = records.len() as u64;
    let mut cursor = Cursor::open_in(&sound.dir(), "follower").unwrap();
    cursor.advance(last_seq).unwrap();
    let content = sound.content(&name);
    for size in 0..content.len() {
        let disk = sound.after(Crash::Killed);
        disk.set_content(&name, &content[..size]);
        let (recovery, _) = begin(&disk, 900, "next").unwrap();
        assert_eq!(
            recovery.next_seq,
            last_seq + 1,
            "never given to another record"
        );
        let damaged = recovery.damaged.as_ref().unwrap();
        assert_eq!(damaged.seqs.1, last_seq);
        assert_eq!(
            disk.content(&name),
            &content[..size],
            "it was left as it is"
        );
        let (_, lost) = read_all(&disk);
        assert_eq!((lost[0].from_seq, lost[0].to_seq), damaged.seqs);
    }
}

#[test]
fn a_tail_of_anything_at_all_is_cut() {
    let (sound, records) = small_journal();
    let name = places(&sound, &records).last().unwrap().name.clone();
    let content = sound.content(&name);
    let mut rng = fastrand::Rng::with_seed(1);
    for round in 0..200 {
        let disk = sound.after(Crash::Killed);
        let mut longer = content.clone();
        let count = rng.usize(1..600);
        match round % 4 {
            0 => longer.resize(content.len() + count, 0),
            1 => longer.extend((0..count).map(|_| rng.u8(..))),
            2 => longer.extend((0..count).map(|_| 0xff)),
            // An old record of the same file: the disk gave a block back that was used before.
            _ => longer.extend(&content[HEADER_BYTES..(HEADER_BYTES + count).min(content.len())]),
        }
        disk.set_content(&name, &longer);
        let (recovery, _) = recover(&disk.dir()).unwrap();
        assert!(!recovery.has_lost_committed(), "{:?}", recovery.messages());
        assert_eq!(recovery.next_seq, records.len() as u64 + 1);
        let torn = recovery.torn.unwrap();
        assert_eq!(torn.at, content.len() as u64);
        assert_eq!(disk.content(&name), content);
    }
}

#[test]
fn whole_records_behind_a_tear_are_counted_and_cut() {
    let disk = Disk::default();
    let (_, mut log) = begin(&disk, 1 << 20, "run").unwrap();
    let mut ends = Vec::new();
    for number in 0..5 {
        log.append_block(&block(number, 5)).unwrap();
        log.flush().unwrap();
        ends.push(disk.content(FIRST_NAME).len());
    }
    drop(log);
    let mut content = disk.content(FIRST_NAME);
    content[ends[1]..ends[2]].fill(0);
    disk.set_content(FIRST_NAME, &content);
    let (recovery, _) = recover(&disk.dir()).unwrap();
    let torn = recovery.torn.as_ref().unwrap();
    assert_eq!((torn.at, torn.records), (ends[1] as u64, 2));
    assert_eq!(recovery.next_seq, 4);
    assert!(recovery.messages()[0].contains("2 whole records"));
}

#[test]
fn a_missing_segment_is_told() {
    let (disk, _) = small_journal();
    let segments = segment::list(&disk.dir()).unwrap().segments;
    disk.dir().remove(&segment::name(segments[2])).unwrap();
    let (recovery, _) = recover(&disk.dir()).unwrap();
    assert_eq!(recovery.missing.len(), 1);
    assert!(recovery.has_lost_committed());
    let message = &recovery.messages()[0];
    let gone = format!("records {} to {} are gone", segments[2], segments[3] - 1);
    assert!(message.contains(&gone), "{message}");
}

#[test]
fn what_does_not_belong_there_is_refused() {
    for name in ["notes.txt", "00000000000000000001.kyj.bak", "1.kyj"] {
        let (disk, _) = small_journal();
        disk.dir().create(name).unwrap();
        let error = recover(&disk.dir()).unwrap_err();
        assert!(matches!(error, Error::ForeignFile { .. }), "{error}");
    }
}

#[test]
fn a_renamed_segment_and_a_newer_one_are_refused() {
    let (disk, _) = small_journal();
    let segments = segment::list(&disk.dir()).unwrap().segments;
    let first = segment::name(segments[0]);
    let other = segment::name(segments[1] - 1);
    let sound = disk.content(&first);
    let mut newer = sound.clone();
    newer[8] = 2;
    let crc = crc32c::crc32c(&newer[..60]);
    newer[60..64].copy_from_slice(&crc.to_le_bytes());
    disk.set_content(&first, &newer);
    let error = recover(&disk.dir()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NewerFormat {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    disk.set_content(&first, &sound);
    disk.dir().rename(&first, &other).unwrap();
    let error = recover(&disk.dir()).unwrap_err();
    assert!(
        matches!(error, Error::Misnamed { stated: 1, .. }),
        "{error}"
    );
}

#[test]
fn leftovers_are_removed_and_an_unknown_kind_is_kept() {
    let (disk, records) = small_journal();
    disk.dir().create(NEXT_NAME).unwrap();
    disk.dir().create(&segment::repair_name(1)).unwrap();
    let (recovery, _) = recover(&disk.dir()).unwrap();
    assert_eq!(recovery.removed.len(), 2);
    assert_eq!(recovery.next_seq, records.len() as u64 + 1);
    assert!(
        records
            .iter()
            .any(|record| record.kind == Some(Kind::Ledger))
    );
    assert_eq!(read_all(&disk).0, records);
}
