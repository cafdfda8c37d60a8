//! Each link in a run: the far end goes away and comes back, with the gap in the journal and the ledger balanced.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kymo_drivers::block::GapReason;
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use super::far_end::FarEnd;
use super::lab::{
    self, Lab, events, expect_status, json, kymo, output, recorded, text, wait_until,
};

/// A source of lines with one number each.
fn source(name: &str, link: &str) -> String {
    format!(
        "[source.{name}]\nlink = {link}\nprotocol = {{ type = \"lines\", first_line = \"whole\" }}\n\
         reconnect = {{ first = \"5ms\", max = \"20ms\" }}\nchannel = [{{ name = \"value\" }}]\n"
    )
}

/// Lines of the numbers from one to the other.
fn lines(numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers
        .map(|n| format!("{n}\n"))
        .collect::<String>()
        .into_bytes()
}

/// The run ends, and its journal holds the numbers from 0, with one gap where the cable was pulled.
#[track_caller]
fn one_gap(lab: Lab, count: u32, pulled_after: usize) {
    let (report, dir) = lab.stop();
    let source = &report.sources.0[0].1;
    assert_eq!(source.reconnects, 1, "{source:?}");
    assert_eq!(source.frames, u64::from(count), "{source:?}");
    assert_eq!(report.ledger.journaled, u64::from(count));
    let found = recorded(&dir.path().join("data"), 0);
    let numbers: Vec<f64> = (0..count).map(f64::from).collect();
    assert_eq!(found.columns[0], numbers);
    let [gap] = &found.gaps[..] else {
        panic!("{:?}", found.gaps);
    };
    assert_eq!((gap.reason, gap.frames), (GapReason::Disconnected, None));
    assert_eq!(gap.from_ns, found.times_ns[pulled_after - 1]);
    assert_eq!(gap.to_ns, found.times_ns[pulled_after]);
}

fn frames(lab: &Lab, count: u64) {
    wait_until("frames come", || lab.frames(0) >= count);
}

#[test]
fn a_port_that_comes_back_under_another_number_is_found_by_its_link() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let by_id = dir.path().join("scale");
    let first = FarEnd::open();
    std::os::unix::fs::symlink(first.path(), &by_id).expect("a link");
    let link = format!(
        "{{ type = \"serial\", path = \"{}\", baud = 9600 }}",
        by_id.display()
    );
    let mut lab = Lab::start(&source("scale", &link));
    lab.wait_for("connected");
    first.write(&lines(0..10));
    frames(&lab, 10);
    // Another one first, so that the system gives it another number.
    let second = FarEnd::open();
    assert_ne!(first.path(), second.path());
    // Its link goes first: the number that becomes free may be another test's in a moment.
    std::fs::remove_file(&by_id).expect("the link");
    drop(first);
    lab.wait_for("disconnected");
    std::os::unix::fs::symlink(second.path(), &by_id).expect("a link");
    lab.wait_for("connected");
    second.write(&lines(10..20));
    frames(&lab, 20);
    one_gap(lab, 20, 10);
}

#[test]
fn what_a_port_does_not_support_is_an_event_and_no_error() {
    let device = FarEnd::open();
    let link = format!(
        "{{ type = \"serial\", path = \"{}\", baud = 9600, dtr = \"off\", low_latency = true }}",
        device.path().display()
    );
    let mut lab = Lab::start(&source("scale", &link));
    assert!(lab.wait_for("note").starts_with("dtr is not supported"));
    assert!(
        lab.wait_for("note")
            .starts_with("low_latency is not supported")
    );
    device.write(&lines(0..3));
    frames(&lab, 3);
    let (report, _) = lab.stop();
    assert_eq!(report.sources.0[0].1.line_errors, None);
}

#[test]
fn a_server_that_is_gone_is_connected_to_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let mut lab = Lab::start(&source(
        "s",
        &format!("{{ type = \"tcp\", address = \"{address}\" }}"),
    ));
    let (mut peer, _) = listener.accept().expect("a peer");
    peer.write_all(&lines(0..10)).expect("it is sent");
    frames(&lab, 10);
    drop(peer);
    let told = lab.wait_for("disconnected");
    assert!(told.contains("the peer closed the connection"), "{told}");
    let (mut peer, _) = listener.accept().expect("it comes back");
    peer.write_all(&lines(10..20)).expect("it is sent");
    frames(&lab, 20);
    one_gap(lab, 20, 10);
}

/// The address in what is told of a port that waits.
fn told_address(told: &str) -> SocketAddr {
    let words = told.split(' ');
    words
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or_else(|| panic!("{told}"))
}

#[test]
fn a_device_that_connects_may_leave_and_come_back_and_another_is_refused_meanwhile() {
    let mut lab = Lab::start(&source(
        "s",
        "{ type = \"tcp-server\", bind = \"127.0.0.1:0\" }",
    ));
    let address = told_address(&lab.wait_for("disconnected"));
    let mut peer = TcpStream::connect(address).expect("it listens");
    lab.wait_for("connected");
    let _stranger = TcpStream::connect(address).expect("it is refused only then");
    peer.write_all(&lines(0..10)).expect("it is sent");
    frames(&lab, 10);
    assert!(lab.wait_for("note").contains("another is connected"));
    assert!(lab.wait_for("line_errors").contains("1 peer refused"));
    drop(peer);
    lab.wait_for("disconnected");
    let mut peer = TcpStream::connect(address).expect("it listens still");
    peer.write_all(&lines(10..20)).expect("it is sent");
    frames(&lab, 20);
    one_gap(lab, 20, 10);
}

#[test]
fn a_writer_of_a_fifo_may_leave_and_another_come() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("pipe");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    let mut lab = Lab::start(&source(
        "s",
        &format!("{{ type = \"fifo\", path = \"{}\" }}", path.display()),
    ));
    assert!(
        lab.wait_for("disconnected")
            .contains("nobody has written to")
    );
    std::fs::write(&path, lines(0..10)).expect("it is written");
    frames(&lab, 10);
    lab.wait_for("connected");
    // A writer that comes before the other's leaving was seen is no other writer.
    lab.wait_for("disconnected");
    let mut next = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("a reader");
    next.write_all(&lines(10..20)).expect("it is written");
    frames(&lab, 20);
    one_gap(lab, 20, 10);
}

#[test]
fn a_log_that_is_rotated_is_followed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("log");
    std::fs::write(&path, lines(0..10)).expect("a file");
    let link = format!(
        "{{ type = \"file\", path = \"{}\", follow = true }}",
        path.display()
    );
    let mut lab = Lab::start(&source("s", &link));
    frames(&lab, 10);
    std::fs::rename(&path, dir.path().join("log.1")).expect("it is rotated");
    assert!(
        lab.wait_for("disconnected")
            .contains("the file was moved away")
    );
    std::fs::write(&path, lines(10..20)).expect("a file");
    frames(&lab, 20);
    one_gap(lab, 20, 10);
}

/// What one datagram leaves is not joined to the next, and each is counted.
#[test]
fn a_datagram_ends_where_it_ends() {
    let near = UdpSocket::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its address");
    let configuration = source("s", &format!("{{ type = \"udp\", bind = \"{near}\" }}"));
    let mut lab = Lab::start(&configuration);
    lab.wait_for("connected");
    let far = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for datagram in [&b"0\n1"[..], b"1\n2\n", b"3", b"x\n", b"3\n"] {
        far.send_to(datagram, near).expect("it is sent");
    }
    frames(&lab, 4);
    let (report, dir) = lab.stop();
    let found = recorded(&dir.path().join("data"), 0);
    assert_eq!(found.columns[0], [0.0, 1.0, 2.0, 3.0]);
    let source = &report.sources.0[0].1;
    assert_eq!((source.skipped_bytes, source.corrupt_frames), (2, 1));
    assert_eq!(source.line_errors, Some(serde_json::Map::default()));
}

fn configured(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("lab.toml");
    std::fs::write(&path, text).expect("a configuration");
    path
}

fn run(dir: &TempDir, configuration: &str) -> Command {
    let mut command = lab::run();
    command.arg("--config").arg(configured(dir, configuration));
    command.arg("--data-dir").arg(dir.path().join("data"));
    command.arg("--report").arg(dir.path().join("report.json"));
    command
}

#[test]
fn a_run_whose_files_are_all_read_ends_by_itself() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut configuration = String::new();
    for name in ["a", "b"] {
        let path = dir.path().join(name);
        std::fs::write(&path, lines(0..5000)).expect("a file");
        configuration += &source(
            name,
            &format!("{{ type = \"file\", path = \"{}\" }}", path.display()),
        );
    }
    expect_status(&output(&mut run(&dir, &configuration)), 0);
    let report = json(&dir.path().join("report.json"));
    assert_eq!(report["ledger"]["journaled"], 10_000);
    assert_eq!(report["ledger"]["balanced"], true);
    assert_eq!(report["sources"]["b"]["reconnects"], 0);
    let told = events(&dir.path().join("data"));
    let finished = told.iter().filter(|event| event["event"] == "finished");
    assert_eq!(finished.count(), 2, "{told:?}");
    assert!(recorded(&dir.path().join("data"), 0).gaps.is_empty());
}

#[test]
fn a_run_reads_what_another_program_pipes_into_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut child = run(&dir, &source("s", "{ type = \"stdin\" }"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it can be started");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(&lines(0..3000)).expect("it is taken");
    drop(input);
    assert!(child.wait().expect("it ends").success());
    let found = recorded(&dir.path().join("data"), 0);
    assert_eq!(found.columns[0].len(), 3000);
}

/// Ended by its id when the test is over.
struct Socat(Child);

impl Drop for Socat {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Without the program there is nothing to be tested, unless it has to be there.
#[allow(clippy::print_stdout)]
fn skipped() {
    let is_needed = std::env::var_os("KYMO_REQUIRE_SERVERS").is_some();
    assert!(!is_needed, "socat is not installed");
    println!("skipped: socat is not installed");
}

/// A program that is not ours at the far end; `None` if it is not installed. Gives back the address on which it listens.
fn socat(from: &str, to: &str) -> Option<(Socat, SocketAddr)> {
    let child = Command::new("socat")
        .args(["-d", "-d", "-u", from, to])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        skipped();
        return None;
    };
    let told = BufReader::new(child.stderr.take().expect("a pipe"));
    let child = Socat(child);
    for line in told.lines() {
        let line = line.expect("text");
        if let Some(address) = line.split(' ').filter_map(|word| word.parse().ok()).next() {
            return Some((child, address));
        }
    }
    panic!("socat says not where it listens");
}

#[test]
fn another_program_serves_a_tcp_client() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("lines");
    std::fs::write(&path, lines(0..20_000)).expect("a file");
    let Some((_socat, address)) = socat(
        &format!("FILE:{}", path.display()),
        "TCP-LISTEN:0,bind=127.0.0.1",
    ) else {
        return;
    };
    let mut lab = Lab::start(&source(
        "s",
        &format!("{{ type = \"tcp\", address = \"{address}\" }}"),
    ));
    frames(&lab, 20_000);
    lab.wait_for("disconnected");
    let (report, dir) = lab.stop();
    assert_eq!(report.sources.0[0].1.corrupt_frames, 0);
    let numbers: Vec<f64> = (0..20_000).map(f64::from).collect();
    assert_eq!(recorded(&dir.path().join("data"), 0).columns[0], numbers);
}

/// Runs `socat` until it ends.
fn socat_once(from: &Path, to: &str) -> bool {
    let done = Command::new("socat")
        .arg("-u")
        .arg(format!("FILE:{}", from.display()))
        .arg(to)
        .status();
    match done {
        Ok(status) => status.success(),
        Err(_) => {
            skipped();
            false
        }
    }
}

#[test]
fn another_program_connects_sends_datagrams_and_writes_to_a_port() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("lines");
    std::fs::write(&path, lines(0..500)).expect("a file");
    let near = UdpSocket::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its address");
    let mut lab = Lab::start(&format!(
        "{}{}",
        source(
            "server",
            "{ type = \"tcp-server\", bind = \"127.0.0.1:0\", allow = [\"127.0.0.1\"] }"
        ),
        source(
            "udp",
            &format!("{{ type = \"udp\", bind = \"{near}\", from = [\"127.0.0.1\"] }}")
        ),
    ));
    let address = told_address(&lab.wait_for("disconnected"));
    lab.wait_for("connected");
    if socat_once(&path, &format!("TCP:{address}")) && socat_once(&path, &format!("UDP:{near}")) {
        wait_until("both came", || lab.frames(0) == 500 && lab.frames(1) == 500);
    }
    lab.stop();
}

#[test]
fn another_program_s_pseudo_terminal_is_a_serial_port() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (lines_path, port) = (dir.path().join("lines"), dir.path().join("port"));
    std::fs::write(&lines_path, lines(0..300)).expect("a file");
    let pty = format!("PTY,link={},raw,echo=0,wait-slave", port.display());
    let child = Command::new("socat")
        .args([
            "-u",
            &format!("FILE:{},ignoreeof", lines_path.display()),
            &pty,
        ])
        .stdin(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        skipped();
        return;
    };
    let _child = Socat(child);
    let link = format!(
        "{{ type = \"serial\", path = \"{}\", baud = 123457 }}",
        port.display()
    );
    let lab = Lab::start(&source("s", &link));
    frames(&lab, 300);
    lab.stop();
}

fn monitor(args: &[&str]) -> Command {
    let mut command = kymo();
    command.arg("monitor").args(args);
    command
}

#[test]
fn what_a_source_sends_is_shown_as_text_as_bytes_and_decoded() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("data");
    std::fs::write(&path, "1.5\n\x1b[2J\n2.5").expect("a file");
    let link = format!("{{ type = \"file\", path = \"{}\" }}", path.display());
    let config = configured(&dir, &source("s", &link));
    let config = config.to_str().expect("ASCII");
    let shown = |args: &[&str]| {
        let output = output(&mut monitor(&[&["s", "--config", config], args].concat()));
        expect_status(&output, 0);
        (text(&output.stdout), text(&output.stderr))
    };
    let parse = |text: &str| -> Vec<serde_json::Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let (out, err) = shown(&[]);
    let texts: Vec<&str> = out
        .lines()
        .filter_map(|line| line.split("  ").nth(1))
        .collect();
    assert_eq!(texts, ["1.5", "\\u{1b}[2J", "2.5"], "{out}");
    assert!(err.contains("read to its end"), "{err}");
    let told = parse(&shown(&["--json", "--count", "2"]).0);
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["text"], "1.5");
    let (out, _) = shown(&["--as", "hex"]);
    assert!(
        out.contains("00000000  31 2e 35 0a 1b 5b 32 4a  0a 32 2e 35              |1.5..[2J.2.5|"),
        "{out}"
    );
    let told = parse(&shown(&["--as", "hex", "--json"]).0);
    assert_eq!(told[0]["hex"], "31 2e 35 0a 1b 5b 32 4a 0a 32 2e 35");
    let (out, err) = shown(&["--as", "decoded", "--json"]);
    assert_eq!(parse(&out)[0]["values"]["value"], 1.5);
    assert!(err.contains("1 frames; 1 corrupt"), "{err}");
}

#[test]
fn a_simulated_source_is_shown_without_a_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().to_str().expect("ASCII");
    let shown = output(&mut monitor(&[
        "imu",
        "--as",
        "decoded",
        "--count",
        "20",
        "--data-dir",
        data,
    ]));
    expect_status(&shown, 0);
    assert_eq!(text(&shown.stdout).lines().count(), 20);
}

#[test]
fn a_port_that_a_run_has_open_is_refused_and_a_quiet_one_ends_after_its_time() {
    let device = FarEnd::open();
    let path = device.path().to_str().expect("ASCII").to_owned();
    let quiet = output(&mut monitor(&[&path, "--duration", "100ms"]));
    expect_status(&quiet, 0);
    assert!(quiet.stdout.is_empty());
    let link = format!("{{ type = \"serial\", path = \"{path}\", baud = 9600 }}");
    let mut lab = Lab::start(&source("s", &link));
    lab.wait_for("connected");
    let refused = output(&mut monitor(&[&path]));
    expect_status(&refused, 1);
    assert!(text(&refused.stderr).contains("is in use by another process"));
    device.write(b"7\n");
    frames(&lab, 1);
    lab.stop();
}

#[test]
fn a_wrong_target_is_told_with_what_would_be_right() {
    let wrong = output(&mut monitor(&["nothing"]));
    expect_status(&wrong, 2);
    assert!(text(&wrong.stderr).contains("there are chamber, imu"));
    let wrong = output(&mut monitor(&["/dev/null", "--as", "decoded"]));
    expect_status(&wrong, 2);
    let wrong = output(&mut monitor(&["/dev/null"]));
    expect_status(&wrong, 1);
    assert!(text(&wrong.stderr).contains("is not a serial port"));
}
