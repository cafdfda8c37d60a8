//! What the handle tells the device's thread.
//!
//! What for: requests from any thread, obeyed by the one that owns the device and its port.
//!
//! What always holds: requests are obeyed in order, each between two frames. Posting never waits.
//! Whoever waits for an answer gets one, or sees the sender hang up when the thread has ended.
//! A request posted is seen at the device's next wait, also while it waits for room.
//!
//! What it must not know: how they are obeyed.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use crate::Truth;

/// When a frame left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The frame's number.
    pub index: u64,
    /// Just before the system call that took its last byte.
    pub at: Instant,
}

/// A request to the device's thread.
#[derive(Debug)]
pub(crate) enum Command {
    Stop,
    Pause(Sender<Truth>),
    Resume,
    Unplug(Sender<io::Result<()>>),
    Replug(Sender<io::Result<()>>),
    Inject(Vec<u8>),
    Skip(u64),
    Corrupt(u64),
    /// Answers as if another device did.
    Wrong(u64),
    /// Answers late, by so much.
    Late(u64, Duration),
    Level(Option<f64>, Sender<Written>),
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    /// `None`: closed.
    commands: Mutex<Option<VecDeque<Command>>>,
    bell: OwnedFd,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            commands: Mutex::new(Some(VecDeque::new())),
            bell: rustix::event::eventfd(0, flags)?,
        })
    }

    fn commands(&self) -> MutexGuard<'_, Option<VecDeque<Command>>> {
        // A queue is whole between any two of its operations, whoever panicked.
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn post(&self, command: Command) {
        match &mut *self.commands() {
            Some(commands) => commands.push_back(command),
            // Dropped, with the sender of its answer in it: so nobody waits for one.
            None => return,
        }
        // Fails only if the bell has been rung 2^64 - 2 times unheard; then it is ringing.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    pub(crate) fn take(&self) -> Option<Command> {
        self.commands().as_mut()?.pop_front()
    }

    /// Whether a request waits for which the bytes in hand are given up.
    pub(crate) fn is_urgent(&self) -> bool {
        let urgent = |command: &Command| matches!(command, Command::Stop | Command::Unplug(_));
        self.commands().iter().flatten().any(urgent)
    }

    /// Drops every request there is and will be.
    pub(crate) fn close(&self) {
        *self.commands() = None;
    }

    /// Waits for a request, for the port, if one is given, to be as it says, or until the time is over.
    /// Returns early at a signal.
    pub(crate) fn wait(
        &self,
        port: Option<(BorrowedFd<'_>, PollFlags)>,
        wait: Option<Duration>,
    ) -> io::Result<()> {
        let bell = PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN);
        let mut fds = [bell.clone(), bell];
        let mut count = 1;
        if let Some((port, state)) = port {
            fds[1] = PollFd::from_borrowed_fd(port, state);
            count = 2;
        }
        // Nobody waits for longer than a `Timespec` holds.
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match rustix::event::poll(&mut fds[..count], wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if fds[0].revents().contains(PollFlags::IN) {
            // Silenced before the requests are read, so that none is overheard.
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
        Ok(())
    }
}
