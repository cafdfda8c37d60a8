//! The audit, and what it finds; and a store that is killed at every place where that could hurt.

use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::lab::{
    self, CHAMBER, FURNACE, expect_status, interrupt, kymo, output, text, wait_until,
};

/// Two slow devices, and segments of a second.
fn small_lab(dir: &TempDir) -> PathBuf {
    let config = dir.path().join("lab.toml");
    let text = format!("[store]\nsegment_age = \"1s\"\n{CHAMBER}{FURNACE}");
    fs::write(&config, text).expect("a file");
    config
}

fn run(config: &Path, data: &Path, duration: &str) -> Command {
    let mut command = lab::run();
    command.args(["--duration", duration, "--config"]);
    command.arg(config).arg("--data-dir").arg(data);
    command
}

/// A run that has finished so many segments of each lane, and ended in order.
fn run_until(config: &Path, data: &Path, count: usize, lanes: &[&str]) {
    let mut child = run(config, data, "300s")
        .stdout(Stdio::null())
        .spawn()
        .expect("the program can be started");
    wait_until("the segments are there", || {
        lanes.iter().all(|lane| segments(data, lane).len() >= count)
    });
    interrupt(&child);
    assert!(child.wait().expect("it ends").success());
}

fn audit(data: &Path) -> Output {
    output(kymo().arg("audit").arg("--data-dir").arg(data))
}

fn audit_json(data: &Path) -> Value {
    let found = output(kymo().args(["audit", "--json", "--data-dir"]).arg(data));
    serde_json::from_slice(&found.stdout).expect("JSON")
}

#[track_caller]
fn expect_clean(data: &Path) {
    let found = audit(data);
    expect_status(&found, 0);
    let said = text(&found.stdout);
    assert!(
        said.contains("every sample is there once, or listed as dropped"),
        "{said}"
    );
}

/// Fails unless the audit ends with status 3 and names all of this.
#[track_caller]
fn expect_wrong(data: &Path, named: &[&str]) {
    let found = audit(data);
    expect_status(&found, 3);
    let said = text(&found.stdout);
    for name in named {
        assert!(said.contains(name), "no `{name}` in:\n{said}");
    }
}

/// The segments of a lane of the only run.
fn segments(data: &Path, lane: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for run in fs::read_dir(data.join("store"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let entries = fs::read_dir(run.path().join(lane)).into_iter().flatten();
        found.extend(entries.flatten().map(|entry| entry.path()));
    }
    found.retain(|path| path.extension().is_some_and(|end| end == "parquet"));
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str());
    name.expect("a segment has a name").to_owned()
}

#[test]
fn what_is_removed_changed_or_doubled_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let config = small_lab(&dir);
    run_until(&config, &data, 3, &["chamber", "furnace"]);
    expect_clean(&data);

    let chamber = segments(&data, "chamber");
    assert!(chamber.len() >= 3, "{chamber:?}");
    let aside = dir.path().join("aside.parquet");

    // In the middle a hole is left; at the end only the sums know.
    for (index, named) in [
        (1, "missing: a hole that no gap explains"),
        (chamber.len() - 1, "the ledger says that"),
    ] {
        fs::rename(&chamber[index], &aside).expect("it goes");
        expect_wrong(&data, &["chamber: ", named]);
        fs::rename(&aside, &chamber[index]).expect("it comes back");
    }
    expect_clean(&data);

    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&chamber[0])
        .expect("the segment");
    let middle = file.metadata().expect("its size").len() / 3;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], middle).expect("a bit");
    expect_wrong(
        &data,
        &[
            "chamber: frames 0 to ",
            "damaged: its CRC32C is",
            &name_of(&chamber[0]),
        ],
    );
    file.write_all_at(&byte, middle).expect("a bit");
    expect_clean(&data);

    // The same rows again, under records of their own behind the last; then over the edge of two.
    let furnace = segments(&data, "furnace");
    let crc = name_of(&furnace[0])[42..].to_owned();
    let edge = |path: &Path, from: usize| {
        name_of(path)[from..from + 20]
            .parse::<u64>()
            .expect("a seq")
    };
    let last = edge(furnace.last().expect("a segment"), 21);
    let ranges = [
        (last + 1, last + 9),
        (edge(&furnace[0], 0) + 1, edge(&furnace[1], 0) + 1),
        (edge(&furnace[0], 0), edge(&furnace[0], 21)),
    ];
    for (index, (first, last)) in ranges.into_iter().enumerate() {
        let crc = if index == 2 { "00000000.parquet" } else { &crc };
        let copy = furnace[0].with_file_name(format!("{first:020}-{last:020}-{crc}"));
        fs::copy(&furnace[0], &copy).expect("a copy");
        expect_wrong(&data, &["furnace: ", "doubled: ", &name_of(&copy)]);
        fs::remove_file(&copy).expect("it goes");
    }
    expect_clean(&data);
    let found = audit_json(&data);
    assert_eq!(found["clean"], true, "{found}");
    assert_eq!(found["runs"][0]["state"], "closed", "{found}");
}

#[test]
fn a_run_that_was_killed_is_clean_and_without_ledger() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let config = small_lab(&dir);
    let mut child = run(&config, &data, "300s")
        .stdout(Stdio::null())
        .spawn()
        .expect("the program can be started");
    wait_until("two segments are there", || {
        segments(&data, "chamber").len() >= 2
    });
    let meanwhile = audit(&data);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    expect_status(&meanwhile, 0);
    let said = text(&meanwhile.stdout);
    assert!(said.contains("it goes on"), "{said}");

    expect_clean(&data);
    expect_status(&output(&mut run(&config, &data, "500ms")), 0);
    expect_clean(&data);
    let found = audit_json(&data);
    assert_eq!(found["runs"][0]["state"], "without_ledger", "{found}");
    assert_eq!(found["runs"][1]["state"], "closed", "{found}");
}

#[test]
fn a_store_without_segments_is_the_journal_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let config = dir.path().join("lab.toml");
    fs::write(
        &config,
        format!("[store]\nenabled = false\n{CHAMBER}{FURNACE}"),
    )
    .expect("a file");
    expect_status(&output(&mut run(&config, &data, "500ms")), 0);
    expect_clean(&data);
}

/// The places of the store at which the process can be killed, and whether the keeper gets there: it looks every
/// five seconds.
const POINTS: [(&str, bool); 7] = [
    ("before a segment is finished", false),
    ("segment written aside", false),
    ("segment renamed", false),
    ("before the cursor moves", false),
    ("merged segment in its place", true),
    ("before the journal is pruned", true),
    ("before a segment is removed", true),
];

/// Kills a run at a place; whether it was killed before its time was over.
fn kill_at(point: &str, config: &Path, data: &Path, patience: Duration) -> bool {
    let mut child = run(config, data, "300s")
        .env("KYMO_KILL_AT", point)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started");
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            return status.signal() == Some(Signal::KILL.as_raw());
        }
        if started.elapsed() > patience {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_store_that_is_killed_anywhere_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("lab.toml");
    let keeps =
        "[store]\nsegment_age = \"1s\"\njournal_age = \"0s\"\nkeep = { bytes = \"1MiB\" }\n";
    let shipped = include_str!("../../config.toml").replace("64MiB", "1MiB");
    fs::write(&config, format!("{shipped}\n{keeps}")).expect("a file");
    // Something to merge, to prune and to remove.
    let before = dir.path().join("before");
    expect_status(&output(&mut run(&config, &before, "4s")), 0);
    expect_clean(&before);

    std::thread::scope(|scope| {
        for (index, (point, is_keepers)) in POINTS.into_iter().enumerate() {
            let (config, before) = (&config, &before);
            let data = dir.path().join(format!("data-{index}"));
            scope.spawn(move || {
                // Two cores do not carry all at once.
                if !is_keepers {
                    std::thread::park_timeout(Duration::from_secs(2 * index as u64));
                }
                let copied = Command::new("cp").arg("-a").arg(before).arg(&data).status();
                assert!(copied.is_ok_and(|status| status.success()));
                assert!(
                    kill_at(point, config, &data, Duration::from_secs(120)),
                    "`{point}` was never met"
                );
                let killed = audit(&data);
                let next = output(&mut run(config, &data, "1s"));
                let found = audit(&data);
                let told = format!(
                    "killed at `{point}`, before the next run:\n{}{}\nafter it:\n{}{}",
                    text(&killed.stdout),
                    text(&killed.stderr),
                    text(&found.stdout),
                    text(&found.stderr)
                );
                assert_eq!(killed.status.code(), Some(0), "{told}");
                assert_eq!(next.status.code(), Some(0), "{told}");
                assert_eq!(found.status.code(), Some(0), "{told}");
                if point == "before a segment is removed" {
                    assert!(
                        fs::read_dir(data.join("store"))
                            .expect("a store")
                            .flatten()
                            .any(|run| run.path().join("removed.jsonl").exists()),
                        "{told}"
                    );
                }
            });
        }
    });
}

/// Killed again and again at moments that nobody chose, with merging and removing going on.
#[test]
fn a_store_that_is_killed_at_random_stays_clean() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (config, data) = (dir.path().join("lab.toml"), dir.path().join("data"));
    let keeps =
        "[store]\nsegment_age = \"1s\"\njournal_age = \"0s\"\nkeep = { bytes = \"2MiB\" }\n";
    let shipped = include_str!("../../config.toml").replace("64MiB", "1MiB");
    fs::write(&config, format!("{shipped}\n{keeps}")).expect("a file");
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..12 {
        let mut child = run(&config, &data, "60s")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        std::thread::park_timeout(Duration::from_millis(random.u64(100..2500)));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        // Killed before it began, there is nothing to be audited.
        if data.join("KYMO").exists() {
            let found = audit(&data);
            let said = text(&found.stdout) + &text(&found.stderr);
            assert_eq!(
                found.status.code(),
                Some(0),
                "round {round}, seed {seed}:\n{said}"
            );
        }
    }
    expect_status(&output(&mut run(&config, &data, "1s")), 0);
    expect_clean(&data);
}
