//! A plain file: read to its end, or followed as it grows.
//!
//! **Always holds.** At its end the source is finished, unless it is followed. A file that is followed is read from its
//! beginning, also the one that takes its place when it is moved away or cut short (as logs are rotated), after what was
//! left of the old one. A file that cannot be read any further is finished too: to begin again would give its frames twice.
//!
//! **Must not know.** What the bytes mean.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags, inotify};
use rustix::io::Errno;

use super::serial::classify;
use super::wait::{Waited, wait_readable};
use super::{Link, OpenError, Read, Stop};

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Wait at its end for more.
    pub follow: bool,
}

/// An open file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: OwnedFd,
    /// Tells of changes; `None`: it is not followed.
    changes: Option<OwnedFd>,
    at: u64,
    ended: Option<Read>,
}

/// A file on another host's disk changes without this kernel's knowing: so often it is looked at all the same.
const LOOK: Duration = Duration::from_secs(1);

impl File {
    /// Opens it.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let path = &options.path;
        let failed = |errno: Errno| classify(path, errno.into());
        // Looked at first: to open a device may do something to it, and a FIFO waits for its writer.
        let kind = rustix::fs::stat(path).map_err(failed)?.st_mode;
        if FileType::from_raw_mode(kind) != FileType::RegularFile {
            return Err(OpenError::NotA {
                path: path.clone(),
                what: "plain file",
            });
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let changes = options.follow.then(|| watch(path)).transpose();
        Ok(Self {
            path: path.clone(),
            file,
            changes: changes.map_err(failed)?,
            at: 0,
            ended: None,
        })
    }

    fn end(&mut self, read: Read) -> Read {
        self.ended = Some(read.clone());
        read
    }

    /// At the end of the file: why it will not grow any more, if so.
    fn is_over(&self) -> Option<String> {
        let here = rustix::fs::fstat(&self.file).ok()?;
        #[allow(clippy::cast_sign_loss)] // A size.
        if (here.st_size as u64) < self.at {
            return Some("the file was cut short".to_owned());
        }
        match rustix::fs::stat(&self.path) {
            Ok(there) if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) => None,
            Ok(_) => Some("another file is in its place".to_owned()),
            Err(_) => Some("the file was moved away".to_owned()),
        }
    }

    /// Takes what was told of changes, which says no more than that there were some.
    fn take_changes(&self) {
        let mut space = [MaybeUninit::uninit(); 1024];
        if let Some(changes) = &self.changes {
            let mut told = inotify::Reader::new(changes, &mut space);
            while told.next().is_ok() {}
        }
    }
}

/// A watch over a file, before it is read: no change after the read is missed.
fn watch(path: &PathBuf) -> Result<OwnedFd, Errno> {
    use inotify::{CreateFlags, WatchFlags};
    let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let what =
        WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
    inotify::add_watch(&changes, path, what)?;
    Ok(changes)
}

impl Link for File {
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        loop {
            // Before the read, so that what is written after this look is still read.
            let over = self.changes.as_ref().and_then(|_| self.is_over());
            match rustix::io::read(&self.file, &mut *buffer) {
                Ok(0) => {}
                Ok(count) => {
                    self.at += count as u64;
                    return Read::Data(count);
                }
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    let error = io::Error::from(errno);
                    return self.end(Read::Finished(format!("cannot be read further: {error}")));
                }
            }
            let Some(changes) = &self.changes else {
                return self.end(Read::Finished("read to its end".to_owned()));
            };
            if let Some(reason) = over {
                return self.end(Read::Gone(reason));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let limit = left.map_or(LOOK, |left| left.min(LOOK));
            match wait_readable(changes.as_fd(), stop, Some(limit)) {
                Ok(Waited::Ready) => self.take_changes(),
                Ok(Waited::TimedOut) if left.is_some_and(|left| left <= limit) => {
                    return Read::Quiet;
                }
                Ok(Waited::TimedOut) => {}
                Ok(Waited::Stopped) => return Read::Stopped,
                Err(error) => return Read::Gone(error.to_string()),
            }
        }
    }

    fn ns_per_byte(&self) -> f64 {
        0.0
    }
}
