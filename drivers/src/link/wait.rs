//! Waiting for a descriptor or for the order to stop, in the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// The order to stop, which ends every wait that was given it. Cheap to clone; it cannot be taken back.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Readable once the order was given, and never read, so it stays so for every waiter.
    descriptor: Arc<OwnedFd>,
    /// The same without a system call, for who is not waiting.
    triggered: Arc<AtomicBool>,
}

impl Stop {
    /// An order not yet given.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            descriptor: Arc::new(descriptor),
            triggered: Arc::default(),
        })
    }

    /// Gives the order.
    pub fn trigger(&self) {
        // Relaxed: the flag orders nothing; who acts on it a read later does no harm.
        self.triggered.store(true, Ordering::Relaxed);
        // The only failure is a counter at its limit, and then it is readable already.
        let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
    }

    /// Whether the order was given.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.triggered.load(Ordering::Relaxed)
    }

    /// Waits for the order at most so long, and says whether it was given.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let mut set = [PollFd::from_borrowed_fd(
            self.descriptor.as_fd(),
            PollFlags::IN,
        )];
        loop {
            match poll(&mut set, Some(&timespec(limit))) {
                Err(Errno::INTR) => {}
                _ => return !set[0].revents().is_empty(),
            }
        }
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// Bytes are there, or a hang-up: a read will tell.
    Ready,
    /// The time passed.
    TimedOut,
    /// The order to stop.
    Stopped,
}

/// Waits until `device` can be read, `stop` is given, or `limit` has passed (`None`: never).
///
/// A device that is ready wins over the order to stop, so that what has come is still taken.
pub(super) fn wait_readable(
    device: BorrowedFd<'_>,
    stop: &Stop,
    limit: Option<Duration>,
) -> io::Result<Waited> {
    wait_for(device, PollFlags::IN, stop, limit)
}

/// As [`wait_readable`], for whatever `device` is to be ready for.
pub(super) fn wait_for(
    device: BorrowedFd<'_>,
    what: PollFlags,
    stop: &Stop,
    limit: Option<Duration>,
) -> io::Result<Waited> {
    let mut set = [
        PollFd::from_borrowed_fd(device, what),
        PollFd::from_borrowed_fd(stop.descriptor.as_fd(), PollFlags::IN),
    ];
    wait(&mut set, limit)?;
    Ok(if !set[0].revents().is_empty() {
        Waited::Ready
    } else if !set[1].revents().is_empty() {
        Waited::Stopped
    } else {
        Waited::TimedOut
    })
}

/// What ended a wait for two descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Both {
    /// One of them, or both.
    Ready {
        /// The first.
        first: bool,
        /// The second.
        second: bool,
    },
    /// The time passed.
    TimedOut,
    /// The order to stop.
    Stopped,
}

/// As [`wait_readable`], for two descriptors.
pub(super) fn wait_both(
    first: BorrowedFd<'_>,
    second: BorrowedFd<'_>,
    stop: &Stop,
    limit: Option<Duration>,
) -> io::Result<Both> {
    let mut set = [
        PollFd::from_borrowed_fd(first, PollFlags::IN),
        PollFd::from_borrowed_fd(second, PollFlags::IN),
        PollFd::from_borrowed_fd(stop.descriptor.as_fd(), PollFlags::IN),
    ];
    wait(&mut set, limit)?;
    let [first, second, stopped] = [0, 1, 2].map(|place: usize| !set[place].revents().is_empty());
    Ok(if first || second {
        Both::Ready { first, second }
    } else if stopped {
        Both::Stopped
    } else {
        Both::TimedOut
    })
}

fn wait(set: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.map(timespec);
    loop {
        match poll(set, limit.as_ref()) {
            // The wait starts again with its full limit: signals are rare, and the limits short.
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(()),
        }
    }
}

pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
