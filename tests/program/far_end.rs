//! The far end of a pseudo-terminal, held by a test: what a device would see of Kymo, and say to it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::lab::PATIENCE;

/// A pseudo-terminal without a device: the test is the device.
pub(crate) struct FarEnd {
    master: OwnedFd,
    path: PathBuf,
}

impl FarEnd {
    pub(crate) fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("it may be opened");
        unlockpt(&master).expect("it may be opened");
        let mut settings = tcgetattr(&master).expect("settings");
        settings.make_raw();
        tcsetattr(&master, OptionalActions::Now, &settings).expect("raw");
        let flags = rustix::fs::fcntl_getfl(&master).expect("flags");
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).expect("not blocking");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let path = PathBuf::from(name.to_str().expect("an ASCII name"));
        Self { master, path }
    }

    /// What Kymo opens.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is behind it, for whoever hands its bytes on.
    pub(crate) fn into_master(self) -> OwnedFd {
        self.master
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::io::write(&self.master, rest) {
                Ok(count) => rest = &rest[count..],
                Err(rustix::io::Errno::AGAIN) => self.wait(PollFlags::OUT),
                Err(errno) => panic!("the near end takes no bytes: {errno}"),
            }
        }
    }

    /// What Kymo wrote, until it ends with `end`.
    #[track_caller]
    pub(crate) fn read_until(&self, end: &[u8]) -> Vec<u8> {
        let started = Instant::now();
        let mut got = Vec::new();
        while !got.ends_with(end) {
            assert!(
                started.elapsed() < PATIENCE,
                "waited in vain for {:?}, got {:?}",
                String::from_utf8_lossy(end),
                String::from_utf8_lossy(&got)
            );
            let mut byte = [0];
            match rustix::io::read(&self.master, &mut byte) {
                Ok(1) => got.push(byte[0]),
                // Nothing there, or nobody has the near end open yet.
                _ => self.wait(PollFlags::IN),
            }
        }
        got
    }

    /// The next bytes that Kymo writes.
    #[track_caller]
    pub(crate) fn read_exactly(&self, count: usize) -> Vec<u8> {
        let started = Instant::now();
        let mut got = Vec::new();
        while got.len() < count {
            assert!(
                started.elapsed() < PATIENCE,
                "waited in vain, got {got:02X?}"
            );
            let mut byte = [0];
            match rustix::io::read(&self.master, &mut byte) {
                Ok(1) => got.push(byte[0]),
                _ => self.wait(PollFlags::IN),
            }
        }
        got
    }

    /// Waits a moment at most: a hang-up is ready at once and for ever.
    fn wait(&self, what: PollFlags) {
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        let mut set = [PollFd::from_borrowed_fd(self.master.as_fd(), what)];
        let _ = poll(&mut set, Some(&limit));
        if set[0].revents().contains(PollFlags::HUP) {
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
    }
}

#[test]
fn a_device_is_told_its_commands_when_it_is_opened_and_before_it_is_left() {
    let device = FarEnd::open();
    let mut lab = super::lab::Lab::start(&format!(
        r#"
[source.scale]
link = {{ type = "serial", path = "{}", baud = 115200 }}
protocol = {{ type = "lines", first_line = "whole" }}
commands = {{ start = ["RATE 10\r\n", {{ hex = "02 53 03" }}], stop = ["HALT\r\n"], pause = "1ms" }}
[[source.scale.channel]]
name = "mass"
"#,
        device.path().display()
    ));
    lab.wait_for("connected");
    assert_eq!(device.read_until(b"\x03"), b"RATE 10\r\n\x02S\x03");
    device.write(b"12.5\n");
    super::lab::wait_until("the line came", || lab.frames(0) == 1);
    let (report, _data) = lab.stop();
    assert_eq!(device.read_until(b"\n"), b"HALT\r\n");
    assert_eq!(report.ledger.journaled, 1);
}

#[test]
fn another_thread_sends_to_a_device_while_its_reader_waits() {
    let device = FarEnd::open();
    let mut lab = super::lab::Lab::start(&format!(
        r#"
[source.valve]
link = {{ type = "serial", path = "{}", baud = 115200 }}
protocol = {{ type = "lines" }}
[[source.valve.channel]]
name = "position"
"#,
        device.path().display()
    ));
    lab.wait_for("connected");
    let outlet = lab.run.outlets()[0].clone();
    super::lab::wait_until("the valve can be told", || {
        outlet
            .send(b"CLOSE\n", std::time::Duration::from_millis(100))
            .is_ok()
    });
    assert_eq!(device.read_until(b"\n"), b"CLOSE\n");
    lab.stop();
    assert!(
        outlet
            .send(b"late", std::time::Duration::from_millis(1))
            .is_err()
    );
}
