//! Simulated devices by themselves, read by `head`, which knows nothing of Kymo.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lab::{expect_status, kymo, output, text, wait_until};

const ADC: &str = "
[run]
data_dir = \"DATA\"

[source.adc]
rate_hz = 1000
link = { type = \"simulator\", device = \"adc\" }
protocol = { type = \"lines\" }

[[source.adc.channel]]
name = \"a\"

[simulator.adc]
device = \"adc-board\"

[simulator.spare]
device = \"inertial-unit\"
";

/// The configuration, with its data in `dir`.
fn configuration(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("lab.toml");
    let data = dir.join("data");
    fs::write(&path, ADC.replace("DATA", &data.to_string_lossy())).expect("a file");
    path
}

fn sim(dir: &Path, args: &[&str]) -> Command {
    let mut command = kymo();
    command.arg("sim").arg("--config").arg(configuration(dir));
    command
        .arg("--link-dir")
        .arg(dir.join("links"))
        .arg("--json")
        .args(args);
    command
}

/// Started, with the link of `name` in place.
fn started(dir: &Path, name: &str, args: &[&str]) -> Child {
    let link = dir.join("links").join(name);
    let before = fs::read_link(&link).ok();
    let child = sim(dir, args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    wait_until("the link is there", || {
        fs::read_link(&link).is_ok_and(|target| Some(target) != before)
    });
    child
}

fn head(link: &Path, bytes: usize) -> Vec<u8> {
    let read = output(Command::new("head").arg(format!("-c{bytes}")).arg(link));
    expect_status(&read, 0);
    assert_eq!(read.stdout.len(), bytes);
    read.stdout
}

/// Ends it as a service manager does, and gives its lines.
fn end(child: Child) -> Vec<Value> {
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it can be signalled");
    let ended = child.wait_with_output().expect("it ends");
    expect_status(&ended, 0);
    let lines = text(&ended.stdout);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

/// What a device sends from its first frame on.
fn sent(seed: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let child = started(dir.path(), "adc", &["adc", "--seed", seed]);
    let bytes = head(&dir.path().join("links/adc"), 4000);
    end(child);
    bytes
}

#[test]
fn any_program_reads_a_simulated_device_and_its_link_goes_at_the_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let links = dir.path().join("links");
    fs::create_dir(&links).expect("a folder");
    // Left behind by one that was killed.
    symlink("/dev/pts/999999", links.join("adc")).expect("a link");
    let child = started(dir.path(), "adc", &["adc"]);
    head(&links.join("adc"), 4000);
    assert!(fs::symlink_metadata(links.join("spare")).is_err());
    let lines = end(child);
    assert_eq!(lines[0]["started"]["name"], "adc", "{lines:?}");
    assert_eq!(lines[0]["started"]["device"], "adc-board", "{lines:?}");
    assert!(
        lines[1]["stopped"]["bytes_sent"].as_u64() >= Some(4000),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(fs::symlink_metadata(links.join("adc")).is_err());
    assert!(!dir.path().join("data").exists(), "nothing is acquired");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = sent("7");
    assert_eq!(bytes, sent("7"));
    assert_ne!(bytes, sent("8"));
}

#[test]
fn what_was_really_sent_is_logged_and_told_at_the_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let logs = dir.path().join("logs");
    let child = started(
        dir.path(),
        "adc",
        &["adc", "--truth", &logs.to_string_lossy()],
    );
    head(&dir.path().join("links/adc"), 4000);
    let lines = end(child);
    let log = fs::read_to_string(logs.join("adc.jsonl")).expect("it is there");
    let log: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(log[0]["start"]["device"], "adc-board");
    let frame = log.iter().find_map(|line| line.get("frame"));
    let frame = frame.expect("500 frames a second are told one by one");
    assert_eq!(frame["values"].as_array().map(Vec::len), Some(33));
    assert_eq!(
        frame["values"][32], 34,
        "the status byte of the first packet"
    );
    let (told, stopped) = (&log[log.len() - 1]["end"], &lines[1]["stopped"]);
    for count in ["next_index", "frames_sent", "bytes_sent", "frames_missed"] {
        assert_eq!(told[count], stopped[count], "{count}");
        assert!(stopped[count].is_u64(), "{count}");
    }
}

#[test]
fn a_foreign_file_or_link_stays_and_nothing_is_started() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let links = dir.path().join("links");
    fs::create_dir(&links).expect("a folder");
    fs::write(links.join("adc"), "mine").expect("a file");
    symlink(dir.path(), links.join("spare")).expect("a link");
    let refused = output(&mut sim(dir.path(), &[]));
    expect_status(&refused, 2);
    let told = text(&refused.stderr);
    assert!(
        told.contains("links/adc") && told.contains("links/spare"),
        "{told}"
    );
    assert_eq!(fs::read(links.join("adc")).expect("it is there"), b"mine");
    let kept = fs::read_link(links.join("spare")).expect("it is there");
    assert_eq!(kept, dir.path());
}

#[test]
fn a_folder_of_links_belongs_to_one_at_a_time() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let child = started(dir.path(), "spare", &[]);
    let link = fs::read_link(dir.path().join("links/adc")).expect("it is there");
    let refused = output(&mut sim(dir.path(), &["adc"]));
    expect_status(&refused, 2);
    assert!(text(&refused.stderr).contains("another `kymo sim`"));
    let kept = fs::read_link(dir.path().join("links/adc")).expect("it is there");
    assert_eq!(kept, link);
    end(child);
}

#[test]
fn it_stops_by_itself_and_tells_every_unknown_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    expect_status(&output(&mut sim(dir.path(), &["--duration", "50ms"])), 0);
    let refused = output(&mut sim(dir.path(), &["adc", "abc", "imu"]));
    expect_status(&refused, 2);
    let told = text(&refused.stderr);
    assert!(
        told.contains("`abc`, `imu`") && told.contains("adc, spare"),
        "{told}"
    );
}
