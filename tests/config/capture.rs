//! The section about captures.

use std::path::PathBuf;
use std::time::Duration;

use kymo::capture::Compression;
use kymo::config::parse;

use super::said;

const SOURCE: &str = "[source.s]\nlink = { type = \"stdin\" }\nprotocol = { type = \"lines\" }\n\
                      [[source.s.channel]]\nname = \"a\"\n";

#[test]
fn a_run_records_if_the_configuration_says_so() {
    let plan = parse("lab.toml", SOURCE).unwrap_or_else(|m| panic!("{m}"));
    assert_eq!(plan.capture, None);
    assert_eq!(plan.capture_options.chunk_interval, Duration::from_secs(1));
    let text = format!(
        "{SOURCE}[capture]\nrecord = true\ndir = \"/data/captures\"\nchunk_interval = \"250ms\"\n\
         chunk_size = \"4MiB\"\ncompression = \"none\"\nrotate_size = \"2GiB\"\nrotate_age = \"1h\"\n\
         buffer = \"32MiB\"\n"
    );
    let plan = parse("lab.toml", &text).unwrap_or_else(|m| panic!("{m}"));
    let capture = plan.capture.expect("it records");
    assert_eq!(capture.dir, Some(PathBuf::from("/data/captures")));
    assert_eq!(capture.chunk_interval, Duration::from_millis(250));
    assert_eq!(capture.writer.chunk_bytes, 4 << 20);
    assert_eq!(capture.writer.compression, Compression::None);
    assert_eq!(capture.writer.rotate_bytes, 2 << 30);
    assert_eq!(capture.writer.rotate_after, Some(Duration::from_secs(3600)));
    assert_eq!(capture.buffer_bytes, 32 << 20);
}

#[test]
fn every_mistake_about_captures_is_said_with_its_line() {
    let text = format!(
        "{SOURCE}[capture]\nrecord = 1\nchunk_interval = \"2min\"\nchunk_size = \"1GiB\"\n\
         compression = \"zip\"\nrotate_size = \"1KiB\"\nrotate_age = \"1ms\"\nbuffer = 5\ndirectory = \"x\"\n"
    );
    let said = said(&text);
    for (line, key) in (7..).zip([
        "record",
        "chunk_interval",
        "chunk_size",
        "compression",
        "rotate_size",
        "rotate_age",
        "buffer",
        "directory",
    ]) {
        assert!(said.contains(&format!(":{line}:")), "{key}: {said}");
        assert!(said.contains(&format!("capture.{key}")), "{key}: {said}");
    }
}
