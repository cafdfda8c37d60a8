//! `[capture]`: whether and how the bytes of the devices are recorded.

use std::path::PathBuf;
use std::time::Duration;

use super::plan;
use super::section::Section;
use super::values::{choice, duration, flag, size, text};
use crate::capture::Compression;

const COMPRESSIONS: [(&str, Compression); 2] =
    [("lz4", Compression::Lz4), ("none", Compression::None)];

/// What the section says, and whether a run records by itself.
pub(super) fn read(root: &Section<'_>) -> (plan::Capture, bool) {
    let mut capture = plan::Capture::default();
    let Some(section) = root.table("capture") else {
        return (capture, false);
    };
    let record = section.get("record", flag);
    capture.dir = section.get("dir", text).map(|dir| PathBuf::from(dir.value));
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    if let Some(interval) = section.get("chunk_interval", duration((ms(10), s(60)))) {
        capture.chunk_interval = interval.value;
    }
    if let Some(bytes) = section.get("chunk_size", size(1 << 16..=16 << 20)) {
        capture.writer.chunk_bytes = bytes.value;
    }
    if let Some(compression) = section.get("compression", choice(&COMPRESSIONS)) {
        capture.writer.compression = compression.value;
    }
    if let Some(bytes) = section.get("rotate_size", size(1 << 20..=1 << 40)) {
        capture.writer.rotate_bytes = bytes.value;
    }
    if let Some(age) = section.get("rotate_age", duration((s(1), s(31 * 86_400)))) {
        capture.writer.rotate_after = Some(age.value);
    }
    if let Some(bytes) = section.get("buffer", size(1 << 20..=1 << 30)) {
        capture.buffer_bytes = usize::try_from(bytes.value).unwrap_or(usize::MAX);
    }
    section.finish();
    (capture, record.is_some_and(|record| record.value))
}
