//! No bytes make the reader of captures panic, take memory without bound, or give messages out of order.

#![no_main]

use std::io::Write as _;

use kymo::capture::{Capture, Selection};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut file) = tempfile::NamedTempFile::new() else {
        return;
    };
    if file.write_all(data).is_err() {
        return;
    }
    let Ok(capture) = Capture::open(&[file.path().to_owned()]) else {
        return;
    };
    let wrong = capture.check_files().len() + capture.damage().len();
    let sources = capture.described().sources.len();
    let mut entries = capture.entries(Selection::default());
    let mut last_ns = i64::MIN;
    while let Some(Ok(entry)) = entries.next() {
        assert!(entry.source.is_none_or(|source| source < sources));
        if entry.time_ns < last_ns {
            let said = wrong + entries.take_damage().len();
            assert!(said > 0, "out of order, and nobody says so");
            return;
        }
        last_ns = entry.time_ns;
    }
});
