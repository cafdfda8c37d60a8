//! The way to a device: bytes that Kymo sends.
//!
//! **Always holds.** A message goes out whole, or the sender hears how much of it did: two threads that
//! write to the same device never mix theirs. A write waits in the kernel, and never longer than it is told.
//!
//! **Must not know.** What the bytes mean, and who sends them.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::Link;
use super::wait::timespec;

/// Why a message did not go out.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The device is not there now.
    #[error("the device is not connected")]
    NotConnected,
    /// Nothing can be sent over this kind of link.
    #[error("nothing can be sent over this link")]
    ReadOnly,
    /// The device does not take bytes: its flow control holds them up, or its buffer is full.
    #[error("the device took {written} of {bytes} bytes in {waited:?}")]
    TimedOut {
        /// Bytes that went out.
        written: usize,
        /// Bytes of the message.
        bytes: usize,
        /// How long it was tried.
        waited: Duration,
    },
    /// The device is gone.
    #[error("cannot write to the device: {0}")]
    Io(#[from] io::Error),
}

/// The sending half of an open link.
pub trait Sender: Send {
    /// Sends all bytes, and waits at most `limit` for the device to take them.
    ///
    /// # Errors
    /// If not all of them went out.
    fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), SendError>;
}

/// Sends over a descriptor that does not block.
#[derive(Debug)]
pub struct Descriptor(pub OwnedFd);

impl Sender for Descriptor {
    fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), SendError> {
        let until = deadline(limit);
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(&self.0, &bytes[written..]) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let left = until.saturating_duration_since(now());
                    if left.is_zero() {
                        return Err(SendError::TimedOut {
                            written,
                            bytes: bytes.len(),
                            waited: limit,
                        });
                    }
                    wait_writable(&self.0, left)?;
                }
                Err(errno) => return Err(SendError::Io(errno.into())),
            }
        }
        Ok(())
    }
}

fn now() -> Instant {
    Instant::now()
}

/// A limit beyond what the clock can hold is no limit that anybody lives to see.
fn deadline(limit: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(3600);
    now() + limit.min(LONGEST)
}

/// Waits until the descriptor takes bytes or the time is over: the next write tells which.
fn wait_writable(device: &OwnedFd, limit: Duration) -> io::Result<()> {
    let mut set = [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::OUT)];
    match poll(&mut set, Some(&timespec(limit))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Hears what is sent to a device.
pub trait Observer: Send {
    /// Something is about to be sent.
    fn begins(&mut self);
    /// These bytes went out: all of a message, or what the device took of it.
    fn sent(&mut self, bytes: &[u8]);
}

#[derive(Default)]
struct Slot {
    sender: Option<Box<dyn Sender>>,
    observer: Option<Box<dyn Observer>>,
}

impl Slot {
    fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), SendError> {
        let Some(sender) = &mut self.sender else {
            return Err(SendError::NotConnected);
        };
        if let Some(observer) = &mut self.observer {
            observer.begins();
        }
        let sent = sender.send(bytes, limit);
        let count = match &sent {
            Ok(()) => bytes.len(),
            Err(SendError::TimedOut { written, .. }) => *written,
            // How much of it went out is not known.
            Err(_) => 0,
        };
        if let Some(observer) = self.observer.as_mut().filter(|_| count > 0) {
            observer.sent(&bytes[..count]);
        }
        sent
    }
}

/// Where other threads send to a source's device, whichever link it is open over at the moment.
/// Cheap to clone; all clones lead to the same device.
#[derive(Clone, Default)]
pub struct Outlet {
    slot: Arc<Mutex<Slot>>,
}

impl Outlet {
    /// An outlet to nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a message to the device.
    ///
    /// # Errors
    /// If it did not go out whole.
    pub fn send(&self, bytes: &[u8], limit: Duration) -> Result<(), SendError> {
        self.slot().send(bytes, limit)
    }

    /// Sends what the device takes at once, and waits neither for the device nor for another sender: for who has no
    /// time to wait.
    ///
    /// # Errors
    /// If it did not go out whole; [`SendError::TimedOut`] says how much of it did.
    pub fn send_now(&self, bytes: &[u8]) -> Result<(), SendError> {
        let slot = match self.slot.try_lock() {
            Ok(slot) => Some(slot),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        match slot {
            Some(mut slot) => slot.send(bytes, Duration::ZERO),
            None => Err(SendError::TimedOut {
                written: 0,
                bytes: bytes.len(),
                waited: Duration::ZERO,
            }),
        }
    }

    /// Leads to this link until the guard is dropped.
    ///
    /// A link that has no sending half leaves the outlet unconnected.
    #[must_use]
    pub fn connect(&self, link: &dyn Link) -> Connected {
        self.slot().sender = link.sender();
        Connected {
            outlet: self.clone(),
        }
    }

    /// Has somebody hear what is sent from now on; `None`: nobody.
    pub fn observe(&self, observer: Option<Box<dyn Observer>>) {
        self.slot().observer = observer;
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        // A thread that broke down while sending leaves a sender as good as it was.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_connected = self.slot().sender.is_some();
        f.debug_struct("Outlet")
            .field("is_connected", &is_connected)
            .finish()
    }
}

/// Keeps an outlet connected.
#[derive(Debug)]
pub struct Connected {
    outlet: Outlet,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.outlet.slot().sender = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    struct OnlyWriting(OwnedFd);

    impl Link for OnlyWriting {
        fn read(
            &mut self,
            _: &mut [u8],
            _: Option<Duration>,
            _: &crate::link::Stop,
        ) -> crate::link::Read {
            crate::link::Read::Quiet
        }

        fn ns_per_byte(&self) -> f64 {
            0.0
        }

        fn sender(&self) -> Option<Box<dyn Sender>> {
            let descriptor = self.0.try_clone().ok()?;
            Some(Box::new(Descriptor(descriptor)))
        }
    }

    #[test]
    fn a_message_reaches_the_device_that_is_connected_and_no_other() {
        let (far, near) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let link = OnlyWriting(near);
        let outlet = Outlet::new();
        let limit = Duration::from_millis(1);
        assert!(matches!(
            outlet.send_now(b"stop"),
            Err(SendError::NotConnected)
        ));
        assert!(matches!(
            outlet.send(b"stop", limit),
            Err(SendError::NotConnected)
        ));
        let connected = outlet.connect(&link);
        outlet.send(b"st", Duration::from_secs(60)).unwrap();
        outlet.send_now(b"op").unwrap();
        // Somebody else is sending.
        let busy = outlet.slot();
        assert!(matches!(
            outlet.send_now(b"wait"),
            Err(SendError::TimedOut { written: 0, .. })
        ));
        drop(busy);
        drop(connected);
        assert!(matches!(
            outlet.send(b"late", limit),
            Err(SendError::NotConnected)
        ));
        let mut got = [0; 16];
        let count = rustix::io::read(&far, &mut got).unwrap();
        assert_eq!(&got[..count], b"stop");
    }

    #[test]
    fn a_device_that_takes_nothing_more_is_given_up_after_the_limit() {
        let (far, near) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let mut sender = Descriptor(near);
        let message = vec![7; 1 << 20];
        let Err(SendError::TimedOut { written, .. }) =
            sender.send(&message, Duration::from_millis(5))
        else {
            panic!("a pipe does not hold a mebibyte");
        };
        let mut got = vec![0; 1 << 20];
        let mut count = 0;
        while let Ok(more) = rustix::io::read(&far, &mut got[count..]) {
            count += more;
        }
        assert_eq!(count, written);
    }
}
