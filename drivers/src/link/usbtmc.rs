//! `/dev/usbtmc*`: instruments that take and give whole messages over USB (USBTMC 1.0).
//!
//! The kernel's driver waits in a read until the instrument answers or its own time-out, 5 s unless told otherwise, is
//! over; it can be neither polled nor interrupted, and an instrument that is read from without having been asked
//! notes an error. So a helper thread reads, once after every message with a question mark in it, and hands the answer
//! on through a socket, where it can be waited for like any other link's bytes.
//!
//! **Always holds.** The order to stop ends a wait at once, whatever the helper is doing; the helper itself ends with the
//! link, after one time-out of the kernel at most. An answer ends with a line feed: where the instrument
//! leaves that to USB's end of message, it is added. A message goes out in one call.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::serial::classify;
use super::wait::{Waited, wait_readable};
use super::{Link, OpenError, Read, SendError, Sender, Stop};

/// Read at once at most. A longer answer comes in several reads, all but the last of which are full.
const READ_BYTES: usize = 64 << 10;

/// Which instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The device, or a symbolic link to it.
    pub path: PathBuf,
}

/// An open instrument.
#[derive(Debug)]
pub struct Usbtmc {
    answers: UnixStream,
    shared: Arc<Shared>,
    gone: Option<String>,
}

/// What the link, its senders and its helper share.
#[derive(Debug)]
struct Shared {
    device: OwnedFd,
    /// One up for every question, one down for every read.
    asked: OwnedFd,
    is_closed: AtomicBool,
    /// Why the helper ended.
    gone: Mutex<Option<String>>,
}

impl Usbtmc {
    /// Opens the instrument, for this process alone as far as others keep to `flock`.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let path = &options.path;
        let failed = |source: io::Error| classify(path, source);
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_char_device() {
            return Err(not_one(path));
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let device =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        if rustix::termios::isatty(&device) {
            return Err(not_one(path));
        }
        match rustix::fs::flock(&device, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::InUse { path: path.clone() }),
            Err(errno) => return Err(failed(errno.into())),
        }
        Self::over(device).map_err(failed)
    }

    /// An instrument behind an open descriptor whose reads wait.
    fn over(device: OwnedFd) -> io::Result<Self> {
        let (answers, to_link) = UnixStream::pair()?;
        answers.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            device,
            asked: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE)?,
            is_closed: AtomicBool::new(false),
            gone: Mutex::new(None),
        });
        let helper = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("usbtmc".to_owned())
            .spawn(move || helper.hand_on(to_link))?;
        Ok(Self {
            answers,
            shared,
            gone: None,
        })
    }
}

fn not_one(path: &Path) -> OpenError {
    OpenError::Io {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "it is no USBTMC device"),
    }
}

impl Shared {
    /// Reads answers until the link is closed or the instrument gone.
    fn hand_on(&self, mut link: UnixStream) {
        let mut buffer = vec![0; READ_BYTES];
        let mut is_continued = false;
        loop {
            if !is_continued && !self.wait_for_question() {
                return;
            }
            is_continued = false;
            match rustix::io::read(&self.device, &mut buffer) {
                Ok(0) => return self.leave("hung up".to_owned()),
                Ok(count) => {
                    is_continued = count == buffer.len();
                    let is_ended = is_continued || buffer[count - 1] == b'\n';
                    let mut bytes = count;
                    if !is_ended {
                        buffer[count] = b'\n';
                        bytes += 1;
                    }
                    if link.write_all(&buffer[..bytes]).is_err() {
                        return;
                    }
                }
                Err(Errno::INTR) => is_continued = true,
                // No answer, or one that broke off: the kernel has put the pipes in order.
                Err(Errno::TIMEDOUT | Errno::AGAIN | Errno::PIPE) => {}
                Err(errno) => return self.leave(io::Error::from(errno).to_string()),
            }
            if self.is_closed.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Waits until something was asked; false: the link was closed.
    fn wait_for_question(&self) -> bool {
        loop {
            match rustix::io::read(&self.asked, &mut [0; 8]) {
                Ok(_) => return !self.is_closed.load(Ordering::Relaxed),
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn leave(&self, reason: String) {
        *self.gone.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    fn ring(&self) {
        // Fails only at a count of 2^64 - 2.
        let _ = rustix::io::write(&self.asked, &1_u64.to_ne_bytes());
    }

    fn reason(&self) -> String {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.clone().unwrap_or_else(|| "hung up".to_owned())
    }
}

impl Link for Usbtmc {
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        if let Some(reason) = self.gone.take() {
            return Read::Gone(reason);
        }
        match wait_readable(self.answers.as_fd(), stop, wait) {
            Ok(Waited::Ready) => {}
            Ok(Waited::TimedOut) => return Read::Quiet,
            Ok(Waited::Stopped) => return Read::Stopped,
            Err(error) => return Read::Gone(error.to_string()),
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self.answers.read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.gone = Some(self.shared.reason());
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        match (filled, self.gone.take()) {
            (0, Some(reason)) => Read::Gone(reason),
            (0, None) => Read::Quiet,
            (_, reason) => {
                self.gone = reason;
                Read::Data(filled)
            }
        }
    }

    fn ns_per_byte(&self) -> f64 {
        0.0
    }

    fn sender(&self) -> Option<Box<dyn Sender>> {
        Some(Box::new(Messages(Arc::clone(&self.shared))))
    }
}

impl Drop for Usbtmc {
    fn drop(&mut self) {
        // Relaxed: the helper looks after the bell, whose system call orders both.
        self.shared.is_closed.store(true, Ordering::Relaxed);
        self.shared.ring();
        // The helper may hold the device for a time-out longer; whoever opens it next need not wait for that.
        let _ = rustix::fs::flock(&self.shared.device, FlockOperation::Unlock);
    }
}

/// Sends messages, and has the answers to questions read.
struct Messages(Arc<Shared>);

impl Sender for Messages {
    /// The kernel's driver takes a message whole, and waits for that up to its own time-out.
    fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), SendError> {
        let written = loop {
            match rustix::io::write(&self.0.device, bytes) {
                Ok(written) => break written,
                Err(Errno::INTR) => {}
                Err(Errno::TIMEDOUT | Errno::AGAIN) => break 0,
                Err(errno) => return Err(SendError::Io(errno.into())),
            }
        };
        if written < bytes.len() {
            return Err(SendError::TimedOut {
                written,
                bytes: bytes.len(),
                waited: limit,
            });
        }
        if bytes.contains(&b'?') {
            self.0.ring();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    /// An instrument that gives one message a read, as the kernel's driver does.
    fn instrument() -> (Usbtmc, OwnedFd) {
        let (near, far) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (Usbtmc::over(near).unwrap(), far)
    }

    fn ask(link: &Usbtmc, message: &[u8]) {
        let mut sender = link.sender().unwrap();
        sender.send(message, Duration::from_secs(60)).unwrap();
    }

    fn all(link: &mut Usbtmc, count: usize) -> Vec<u8> {
        let stop = Stop::new().unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 1000];
        while got.len() < count {
            match link.read(&mut buffer, Some(Duration::from_secs(60)), &stop) {
                Read::Data(count) => got.extend_from_slice(&buffer[..count]),
                other => panic!("{other:?} after {} bytes", got.len()),
            }
        }
        got
    }

    #[test]
    fn an_answer_is_read_after_a_question_and_not_before() {
        let (mut link, far) = instrument();
        let stop = Stop::new().unwrap();
        rustix::io::write(&far, b"unasked\n").unwrap();
        ask(&link, b"CONF:VOLT\n");
        let quiet = link.read(&mut [0; 64], Some(Duration::from_millis(30)), &stop);
        assert_eq!(quiet, Read::Quiet);
        ask(&link, b"READ?\n");
        assert_eq!(all(&mut link, 8), b"unasked\n");
        let mut got = [0; 64];
        let count = rustix::io::read(&far, &mut got).unwrap();
        assert_eq!(&got[..count], b"CONF:VOLT\n");
    }

    #[test]
    fn an_answer_without_a_line_end_gets_one_and_a_long_one_comes_whole() {
        let (mut link, far) = instrument();
        ask(&link, b"A?\n");
        rustix::io::write(&far, b"1.5").unwrap();
        assert_eq!(all(&mut link, 4), b"1.5\n");
        // Two reads of the helper: the first is full, so the message goes on.
        ask(&link, b"CURV?\n");
        rustix::io::write(&far, &vec![b'x'; READ_BYTES]).unwrap();
        rustix::io::write(&far, b"tail\n").unwrap();
        let got = all(&mut link, READ_BYTES + 5);
        assert!(got.ends_with(b"xtail\n"));
        assert_eq!(got.len(), READ_BYTES + 5);
    }

    #[test]
    fn the_order_to_stop_ends_a_wait_while_the_instrument_is_silent() {
        let (mut link, _far) = instrument();
        ask(&link, b"READ?\n");
        let stop = Stop::new().unwrap();
        let order = stop.clone();
        let started = Instant::now();
        let thread = std::thread::spawn(move || {
            std::thread::park_timeout(Duration::from_millis(20));
            order.trigger();
        });
        assert_eq!(link.read(&mut [0; 8], None, &stop), Read::Stopped);
        assert!(started.elapsed() < Duration::from_secs(60));
        thread.join().unwrap();
    }

    #[test]
    fn an_instrument_that_is_pulled_is_gone_behind_its_last_answer() {
        let (mut link, far) = instrument();
        ask(&link, b"A?\n");
        ask(&link, b"B?\n");
        rustix::io::write(&far, b"last\n").unwrap();
        // A socket closed with something unread in it takes back what it sent.
        for _ in 0..2 {
            assert_eq!(rustix::io::read(&far, &mut [0; 8]), Ok(3));
        }
        drop(far);
        assert_eq!(all(&mut link, 5), b"last\n");
        let stop = Stop::new().unwrap();
        let gone = link.read(&mut [0; 8], Some(Duration::from_secs(60)), &stop);
        assert!(matches!(gone, Read::Gone(_)), "{gone:?}");
    }

    #[test]
    fn what_is_no_such_device_is_told() {
        let refused = |path: &str| {
            let options = Options { path: path.into() };
            Usbtmc::open(&options).unwrap_err().to_string()
        };
        assert!(refused("/dev/usbtmc99").contains("does not exist"));
        assert!(refused("/").contains("no USBTMC device"));
    }
}
