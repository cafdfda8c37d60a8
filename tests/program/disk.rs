//! Data directories and disks as they are: somebody else's, taken, read-only, full, damaged.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::lab::{endless, expect_status, journal_of, json, kymo, output, run, text};

fn run_for(duration: &str, data: &Path) -> std::process::Output {
    output(
        run()
            .args(["--duration", duration])
            .arg("--data-dir")
            .arg(data),
    )
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(journal_of(data))
        .into_iter()
        .flatten()
        .flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "kyj"));
    paths.sort();
    paths
}

fn verify(data: &Path) -> (Option<i32>, Value) {
    let verify = output(
        kymo()
            .args(["journal", "verify", "--json"])
            .arg("--data-dir")
            .arg(data),
    );
    (
        verify.status.code(),
        serde_json::from_slice(&verify.stdout).expect("JSON"),
    )
}

#[test]
fn a_foreign_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("thesis.tex"), "x").expect("a file");
    let refused = run_for("1s", dir.path());
    expect_status(&refused, 2);
    assert!(text(&refused.stderr).contains("is not empty and not a kymo data directory"));
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
    for command in [
        &["export"][..],
        &["journal", "verify"],
        &["journal", "repair"],
    ] {
        let refused = output(kymo().args(command).arg("--data-dir").arg(dir.path()));
        expect_status(&refused, 2);
    }
}

#[test]
fn a_second_run_in_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let mut first = endless(&data, &[]);
    let second = run_for("1s", &data);
    let repair = output(
        kymo()
            .args(["journal", "repair"])
            .arg("--data-dir")
            .arg(&data),
    );
    let (_, verified) = verify(&data);
    first.kill().expect("it can be killed");
    first.wait().expect("it ends");
    expect_status(&second, 2);
    let told = format!("in use by another kymo (process {})", first.id());
    assert!(
        text(&second.stderr).contains(&told),
        "{}",
        text(&second.stderr)
    );
    expect_status(&repair, 2);
    assert_eq!(verified["in_use"], true);
    // Killed as it was, the directory is free again, and nothing in it is damaged.
    expect_status(&run_for("200ms", &data), 0);
}

/// A shell with a file system of its own, as large as told, at `dir`: `None`, said, where this is not allowed.
#[allow(clippy::print_stdout)] // Where a test says why it did nothing.
pub(crate) fn with_file_system(dir: &Path, options: &str, script: &str) -> Option<Command> {
    fs::create_dir_all(dir).expect("a directory");
    let mount = format!("mount -t tmpfs -o {options} tmpfs {}", dir.display());
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            &format!("{mount} && {{ {script}; }}"),
        ]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    };
    if shell("true")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Some(shell(script));
    }
    println!("skipped: a file system of its own cannot be mounted here (that takes root)");
    None
}

#[test]
fn a_full_disk_ends_the_run_loudly_and_keeps_what_was_committed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (small, report) = (dir.path().join("small"), dir.path().join("report.json"));
    let config = dir.path().join("lab.toml");
    let shipped = include_str!("../../config.toml").replace("64MiB", "1MiB");
    fs::write(&config, shipped).expect("a file");
    let script = format!(
        "{kymo} run --no-serve --config {config} --duration 300s --data-dir {small}/data --report {report}; echo status $?; \
         {kymo} journal verify --data-dir {small}/data",
        kymo = env!("CARGO_BIN_EXE_kymo"),
        config = config.display(),
        small = small.display(),
        report = report.display(),
    );
    let Some(mut command) = with_file_system(&small, "size=3m", &script) else {
        return;
    };
    let told = output(&mut command);
    let stdout = text(&told.stdout);
    assert!(stdout.contains("\nstatus 1\n"), "{stdout}");
    assert!(stdout.contains("THE RUN FAILED"), "{stdout}");
    assert!(stdout.contains("No space left on device"), "{stdout}");
    assert!(
        text(&told.stderr).contains("is full and the next cannot be made"),
        "{}",
        text(&told.stderr)
    );
    // Verify comes last: its status is the shell's.
    expect_status(&told, 0);
    assert!(stdout.contains("all sound"), "{stdout}");
    let report = json(&report);
    assert_eq!(report["ledger"]["balanced"], true, "{report}");
    assert!(
        report["ledger"]["journaled"].as_u64() > Some(100_000),
        "{report}"
    );
    assert!(report["failure"].is_string());
}

#[test]
fn a_read_only_directory_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let script = format!(
        "mount -o remount,ro {data} && exec {} run --no-serve --duration 1s --data-dir {data}",
        env!("CARGO_BIN_EXE_kymo"),
        data = data.display()
    );
    let Some(mut command) = with_file_system(&data, "size=1m", &script) else {
        return;
    };
    let refused = output(&mut command);
    expect_status(&refused, 2);
    assert!(
        text(&refused.stderr).contains("Read-only file system"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_damaged_journal_is_told_repaired_and_gone_on_with() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    // With a store beside it an export has no need of the journal.
    let config = dir.path().join("lab.toml");
    let shipped = include_str!("../../config.toml");
    fs::write(&config, format!("{shipped}\n[store]\nenabled = false\n")).expect("a file");
    let mut run = run();
    run.args(["--duration", "1s", "--config"]).arg(&config);
    expect_status(&output(run.arg("--data-dir").arg(&data)), 0);
    let segment = segments(&data).pop().expect("a segment");
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&segment)
        .expect("the segment");
    let middle = file.metadata().expect("its size").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], middle)
        .expect("a flipped bit");

    let (status, found) = verify(&data);
    assert_eq!((status, &found["sound"]), (Some(1), &Value::Bool(false)));
    assert_eq!(found["missing_records"], 1);
    let place = &found["segments"][0]["damaged_bytes"][0];
    assert!(
        place[0].as_u64() <= Some(middle) && place[1].as_u64() > Some(middle),
        "{place}"
    );
    let export = output(kymo().arg("export").arg("--data-dir").arg(&data));
    expect_status(&export, 1);
    assert!(text(&export.stderr).contains("1 records of the journal are damaged or missing"));

    let dry = output(
        kymo()
            .args(["journal", "repair", "--dry-run"])
            .arg("--data-dir")
            .arg(&data),
    );
    expect_status(&dry, 0);
    assert!(
        text(&dry.stdout).contains("would be written anew"),
        "{}",
        text(&dry.stdout)
    );
    let repair = output(
        kymo()
            .args(["journal", "repair"])
            .arg("--data-dir")
            .arg(&data),
    );
    expect_status(&repair, 0);
    assert!(
        text(&repair.stdout).contains("1 are lost"),
        "{}",
        text(&repair.stdout)
    );
    let (_, mended) = verify(&data);
    assert_eq!(mended["segments"][0]["damaged_places"], 0);
    assert_eq!(mended["missing_records"], 1);
    assert_eq!(mended["set_aside"].as_array().map(Vec::len), Some(1));
    expect_status(&run_for("200ms", &data), 0);
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let mut child = endless(&data, &[]);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let segment = segments(&data).pop().expect("a segment");
    let file = fs::OpenOptions::new()
        .append(true)
        .open(&segment)
        .expect("the segment");
    std::io::Write::write_all(&mut &file, b"half a record that the power cut off").expect("bytes");
    let next = run_for("300ms", &data);
    expect_status(&next, 0);
    let said = text(&next.stdout) + &text(&next.stderr);
    assert!(said.contains("cut a torn tail"), "{said}");
    let (status, found) = verify(&data);
    assert_eq!(status, Some(0), "{found}");
    assert_eq!(found["runs"][0]["closed"], false);
    assert_eq!(found["runs"][1]["closed"], true);
}
