//! A descriptor of bytes without boundaries, which does not block: read until nothing is left, or to its end.
//!
//! **Always holds.** Bytes that came before a hang-up are delivered before it is reported, and then it stays so.
//!
//! **Must not know.** What kind of device it is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::wait::{Waited, wait_readable};
use super::{Descriptor, Read, Sender, Stop};

#[derive(Debug)]
pub(super) struct Stream {
    descriptor: OwnedFd,
    /// What a hang-up is called.
    hung_up: &'static str,
    /// A hang-up that was met.
    gone: Option<String>,
}

impl Stream {
    /// Takes a descriptor that does not block.
    pub(super) fn new(descriptor: OwnedFd, hung_up: &'static str) -> Self {
        Self {
            descriptor,
            hung_up,
            gone: None,
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        if let Some(reason) = &self.gone {
            return Read::Gone(reason.clone());
        }
        match wait_readable(self.descriptor.as_fd(), stop, wait) {
            Ok(Waited::Ready) => self.drain(buffer),
            Ok(Waited::TimedOut) => Read::Quiet,
            Ok(Waited::Stopped) => Read::Stopped,
            Err(error) => Read::Gone(error.to_string()),
        }
    }

    /// Takes what is there until the buffer is full or nothing is left.
    pub(super) fn drain(&mut self, buffer: &mut [u8]) -> Read {
        let mut filled = 0;
        while filled < buffer.len() {
            match rustix::io::read(&self.descriptor, &mut buffer[filled..]) {
                Ok(0) => {
                    self.gone = Some(self.hung_up.to_owned());
                    break;
                }
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => {
                    self.gone = Some(io::Error::from(errno).to_string());
                    break;
                }
            }
        }
        if filled > 0 {
            return Read::Data(filled);
        }
        match &self.gone {
            Some(reason) => Read::Gone(reason.clone()),
            None => Read::Quiet,
        }
    }

    pub(super) fn sender(&self) -> Option<Box<dyn Sender>> {
        let descriptor = self.descriptor.try_clone().ok()?;
        Some(Box::new(Descriptor(descriptor)))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
