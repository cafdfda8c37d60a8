//! What the commands say, to people and to machines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::lab::{expect_status, kymo, output, text, wait_until};

fn parsed(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn help_teaches() {
    for command in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["show", "--help"],
        &["query", "--help"],
        &["export", "--help"],
        &["ports", "--help"],
        &["bench", "--help"],
        &["journal", "--help"],
        &["journal", "verify", "--help"],
        &["journal", "repair", "--help"],
    ] {
        // The width of whoever runs the tests must not matter.
        let help = output(kymo().args(command).env("COLUMNS", "100"));
        expect_status(&help, 0);
        insta::assert_snapshot!(command.join(" "), text(&help.stdout));
    }
}

#[test]
fn a_wrong_configuration_touches_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (config, data) = (dir.path().join("lab.toml"), dir.path().join("data"));
    fs::write(&config, "[source.a]\npriority = \"hihg\"\n").expect("a file");
    for command in [&["run"][..], &["check"]] {
        let refused = output(
            kymo()
                .args(command)
                .arg("--config")
                .arg(&config)
                .arg("--data-dir")
                .arg(&data),
        );
        expect_status(&refused, 2);
        let told = text(&refused.stderr);
        assert!(
            told.contains("lab.toml:2:12") && told.contains("did you mean \"high\"?"),
            "{told}"
        );
        assert!(told.contains("4 mistakes"), "{told}");
        assert!(!told.contains('\u{1b}'), "no colours where no terminal is");
    }
    assert!(!data.exists());
    let missing = output(kymo().args(["run", "--config", "/nowhere/lab.toml"]));
    expect_status(&missing, 2);
    expect_status(&output(kymo().args(["run", "--duration", "soon"])), 2);
    expect_status(&output(kymo().args(["export", "--from", "yesterday"])), 2);
}

#[test]
fn check_says_what_a_configuration_comes_to() {
    let check = output(kymo().args(["check", "--json"]));
    expect_status(&check, 0);
    let found = parsed(&check);
    let imu = &found["sources"][1];
    assert_eq!(imu["samples_per_s"], 24_000.0);
    assert_eq!(imu["bytes_per_s"], 72_000.0);
    assert_eq!(imu["line_bytes_per_s"], 92_160.0);
    assert!(
        found["disk"]["bytes_per_day"].as_f64() > Some(1e9),
        "{found}"
    );
    assert!(
        found["memory_bytes_max"].as_u64() > Some(1 << 20),
        "{found}"
    );
    let shown = output(kymo().arg("check"));
    expect_status(&shown, 0);
    assert!(text(&shown.stdout).contains("config.toml is right"));
}

#[test]
fn check_warns_of_what_cannot_work() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("lab.toml");
    let shipped = include_str!("../../config.toml")
        .replace("baud = 921600 }", "baud = 115200 }")
        .replace(
            "rate_hz = 100_000",
            "rate_hz = 50_000\nlane_blocks = 2\nblock_frames = 64\nblock_age = \"1ms\"",
        )
        .replace(
            "[simulator.chamber]",
            "[simulator.spare]\ndevice = \"inertial-unit\"\n[simulator.chamber]",
        );
    fs::write(&config, shipped).expect("a file");
    let check = output(kymo().args(["check", "--json", "--config"]).arg(&config));
    expect_status(&check, 0);
    let warnings = parsed(&check)["warnings"].to_string();
    for part in [
        "source.imu: it sends 70.31 KiB/s, and its line carries 11.25 KiB/s: 625 %",
        "source.vibration: rate_hz says 50000 frames/s, and simulator.vibration sends 100000",
        "simulator.spare: no source reads it",
    ] {
        assert!(warnings.contains(part), "{part} is not in {warnings}");
    }
}

#[test]
fn ports_says_why_a_port_cannot_be_opened() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("lab.toml");
    let section = "[source.scale]\nlink = { type = \"serial\", path = \"/dev/nowhere\", baud = 9600 }\n\
        protocol = { type = \"lines\" }\n[[source.scale.channel]]\nname = \"mass\"\n";
    fs::write(&config, section).expect("a file");
    let ports = output(kymo().args(["ports", "--json", "--config"]).arg(&config));
    expect_status(&ports, 0);
    let ports = parsed(&ports);
    let port = ports
        .as_array()
        .and_then(|ports| ports.iter().find(|port| port["path"] == "/dev/nowhere"));
    let port = port.expect("a configured port is listed though it is not there");
    assert_eq!(port["can_be_opened"], false);
    assert_eq!(port["sources"][0], "scale");
    assert!(
        port["problem"]
            .as_str()
            .is_some_and(|problem| problem.contains("does not exist")),
        "{port}"
    );
}

/// Ports that are there are told of at once, and it goes on until somebody says stop.
#[test]
fn a_watch_of_the_ports_ends_when_it_is_told_to() {
    let mut watch = kymo()
        .args(["ports", "--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let pid = rustix::process::Pid::from_child(&watch);
    // It listens to the kernel and to signals before it looks: from then on it ends in good order.
    let listens = format!("/proc/{}/status", watch.id());
    wait_until("it listens for signals", || {
        let status = fs::read_to_string(&listens).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.is_some_and(|mask| mask & (1 << (rustix::process::Signal::TERM.as_raw() - 1)) != 0)
    });
    assert_eq!(watch.try_wait().expect("a child"), None, "it goes on");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
    let output = watch.wait_with_output().expect("a child");
    expect_status(&output, 0);
    for line in text(&output.stdout).lines() {
        let line: Value = serde_json::from_str(line).expect("an object a line");
        assert_eq!(line["event"], "there");
        assert!(line["device"]["path"].is_string(), "{line}");
    }
}

/// A USB device that is not plugged in is listed by what was asked for.
#[test]
fn ports_names_a_configured_usb_device_that_is_not_there() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = dir.path().join("lab.toml");
    let rest = "protocol = { type = \"lines\" }\n[[source.NAME.channel]]\nname = \"a\"\n";
    let scale = "[source.scale]\nlink = { type = \"serial\", baud = 9600, usb = { serial = \"none like it\" } }\n";
    let bulk = "[source.bulk]\nlink = { type = \"usb\", serial = \"none like it\" }\n";
    let sections = [
        scale.to_owned() + &rest.replace("NAME", "scale"),
        bulk.to_owned() + &rest.replace("NAME", "bulk"),
    ];
    fs::write(&config, sections.concat()).expect("a file");
    let ports = output(kymo().args(["ports", "--json", "--config"]).arg(&config));
    expect_status(&ports, 0);
    let ports = parsed(&ports);
    for (name, kind) in [("scale", "serial"), ("bulk", "usb")] {
        let mut rows = ports.as_array().into_iter().flatten();
        let row = rows.find(|row| row["sources"][0] == name);
        let row = row.expect("it is listed though it is not there");
        assert_eq!(row["kind"], kind);
        let problem = "no USB device with serial number none like it is plugged in";
        assert_eq!(row["problem"], problem);
    }
    let told = output(kymo().args(["ports", "--config"]).arg(&config));
    assert!(text(&told.stdout).contains("[source bulk]"), "{told:?}");
    let check = output(kymo().args(["check", "--config"]).arg(&config));
    expect_status(&check, 0);
    let told = text(&check.stdout);
    assert!(
        told.contains("source.bulk: no USB device with serial"),
        "{told}"
    );
}

/// Who may not open a port is told which group to join.
#[test]
fn without_permission_the_group_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = kymo_simulators::Options::new("logger", "thermocouple-logger", dir.path());
    let logger = kymo_simulators::Simulator::start(options).expect("a simulated device");
    let device = logger.path().canonicalize().expect("the pseudo-terminal");
    fs::set_permissions(&device, fs::Permissions::from_mode(0o000)).expect("it is ours");
    let config = dir.path().join("lab.toml");
    let section = format!(
        "[source.s]\nlink = {{ type = \"serial\", path = \"{}\", baud = 9600 }}\n\
         protocol = {{ type = \"lines\" }}\n[[source.s.channel]]\nname = \"a\"\n",
        device.display()
    );
    fs::write(&config, section).expect("a file");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    // The superuser may open anything: somebody else has to try, with a program that they may read.
    let program = dir.path().join("kymo");
    fs::copy(env!("CARGO_BIN_EXE_kymo"), &program).expect("a copy");
    let mut run = Command::new(program);
    if rustix::process::geteuid().is_root() {
        run.uid(65_534).gid(65_534);
    }
    run.current_dir(dir.path())
        .args(["run", "--no-serve", "--duration", "2s", "--config"])
        .arg(&config);
    let run = output(run.arg("--data-dir").arg(dir.path().join("data")));
    expect_status(&run, 0);
    let told = text(&run.stdout);
    assert!(told.contains("no permission to open"), "{told}");
    assert!(
        told.contains("join the group with `sudo usermod -aG"),
        "{told}"
    );
}
