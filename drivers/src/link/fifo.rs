//! A FIFO: another program writes into a file that is a pipe.
//!
//! **Always holds.** When the writer closes it, the device is gone, and the next writer is a device that came back. What
//! the next one writes before it is looked for again waits in the pipe: the pipe is held open in between. One reader
//! at a time, as with a port: two would steal each other's bytes.
//!
//! **Must not know.** What the bytes mean.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::serial::classify;
use super::stream::Stream;
use super::wait::{Waited, wait_readable};
use super::{Link, OpenError, Read, Stop};

/// Which FIFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
}

/// An open FIFO.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    stream: Stream,
    /// Says that this process has it, and keeps the pipe.
    _lock: OwnedFd,
}

impl Fifo {
    /// Opens it, for this process alone, whether somebody writes or not.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let path = &options.path;
        let failed = |errno: Errno| classify(path, errno.into());
        // Looked at first: to open a device may do something to it.
        let kind = rustix::fs::stat(path).map_err(failed)?.st_mode;
        if FileType::from_raw_mode(kind) != FileType::Fifo {
            return Err(OpenError::NotA {
                path: path.clone(),
                what: "FIFO",
            });
        }
        let lock = open(path).map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::InUse { path: path.clone() }),
            Err(errno) => return Err(failed(errno)),
        }
        let stream = stream(path).map_err(failed)?;
        Ok(Self {
            path: path.clone(),
            stream,
            _lock: lock,
        })
    }
}

fn open(path: &PathBuf) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Opened anew, it says nothing of writers that were there before.
fn stream(path: &PathBuf) -> Result<Stream, Errno> {
    Ok(Stream::new(open(path)?, "the writer closed it"))
}

impl Link for Fifo {
    fn missing_peer(&self) -> Option<String> {
        Some(format!("nobody has written to {} yet", self.path.display()))
    }

    fn await_peer(&mut self, stop: &Stop) -> Result<bool, OpenError> {
        match wait_readable(self.stream.as_fd(), stop, None) {
            Ok(Waited::Ready) => Ok(true),
            Ok(Waited::TimedOut | Waited::Stopped) => Ok(false),
            Err(error) => Err(classify(&self.path, error)),
        }
    }

    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        self.stream.read(buffer, wait, stop)
    }

    fn ns_per_byte(&self) -> f64 {
        0.0
    }

    fn again(mut self: Box<Self>) -> Option<Box<dyn Link>> {
        // A file that is another one now, or none, is opened as at the beginning.
        let here = rustix::fs::fstat(&self.stream).ok()?;
        let there = rustix::fs::stat(&self.path).ok()?;
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino) {
            return None;
        }
        self.stream = stream(&self.path).ok()?;
        Some(self)
    }
}
