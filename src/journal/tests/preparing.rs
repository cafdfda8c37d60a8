//! The preparer beside a writer that does things in its own time.

use std::sync::Arc;

use super::super::prepare::{Preparer, Publish, Rotation, Step};
use super::super::segment::{self, NEXT_NAME};
use super::super::status::Shared;
use super::faulty::{Crash, Disk};

#[test]
fn a_file_the_writer_has_taken_keeps_its_name_until_it_is_published() {
    let disk = Disk::default();
    let dir = disk.dir();
    dir.make().unwrap();
    let rotation = Arc::new(Rotation::new());
    let shared = Arc::new(Shared::default());
    let mut preparer = Preparer::new(dir.clone(), 1000, Arc::clone(&rotation), shared);
    let old = dir.create(&segment::name(1)).unwrap();
    assert_eq!(preparer.step(), Step::Again);
    let new = rotation.take_ready().unwrap();
    // The writer is between taking the file and handing it back.
    assert_eq!(preparer.step(), Step::Idle);
    new.write_all_at(b"records", 0).unwrap();
    assert_eq!(disk.content(NEXT_NAME), b"records");
    rotation.hand_over(Publish {
        old,
        old_bytes: 0,
        new,
        first_seq: 7,
    });
    assert!(!rotation.is_published(7));
    assert_eq!(preparer.step(), Step::Again);
    assert!(rotation.is_published(7));
    let after = disk.after(Crash::PowerOff);
    assert_eq!(after.content(&segment::name(7)), b"records");
    // Only now the next one.
    assert!(!disk.names().iter().any(|name| name == NEXT_NAME));
    assert_eq!(preparer.step(), Step::Again);
    assert_eq!(preparer.step(), Step::Idle);
    assert_eq!(disk.content(NEXT_NAME), b"");
    rotation.close();
    assert_eq!(preparer.step(), Step::Done);
    assert!(!disk.names().iter().any(|name| name == NEXT_NAME));
}
