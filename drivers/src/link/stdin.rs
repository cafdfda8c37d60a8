//! Standard input: what another program writes through a pipe.
//!
//! **Always holds.** Its flags are left alone, since other programs may have the same description open: a read comes only
//! after the kernel has said that it will not wait. Its end is the end of the source.
//!
//! **Must not know.** What the bytes mean.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::wait::{Waited, wait_readable};
use super::{Link, OpenError, Read, Stop};

/// Standard input.
#[derive(Debug)]
pub struct Stdin {
    descriptor: OwnedFd,
    finished: Option<String>,
}

impl Stdin {
    /// Takes part in it.
    ///
    /// # Errors
    /// If the process was started without one.
    pub fn open() -> Result<Self, OpenError> {
        let descriptor = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3);
        let descriptor = descriptor.map_err(|errno| OpenError::Io {
            path: "standard input".into(),
            source: errno.into(),
        })?;
        Ok(Self::over(descriptor))
    }

    fn over(descriptor: OwnedFd) -> Self {
        Self {
            descriptor,
            finished: None,
        }
    }
}

impl Link for Stdin {
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        if let Some(reason) = &self.finished {
            return Read::Finished(reason.clone());
        }
        match wait_readable(self.descriptor.as_fd(), stop, wait) {
            Ok(Waited::Ready) => {}
            Ok(Waited::TimedOut) => return Read::Quiet,
            Ok(Waited::Stopped) => return Read::Stopped,
            Err(error) => return Read::Gone(error.to_string()),
        }
        let reason = match rustix::io::read(&self.descriptor, buffer) {
            Ok(0) => "standard input has ended".to_owned(),
            Ok(count) => return Read::Data(count),
            Err(Errno::INTR | Errno::AGAIN) => return Read::Quiet,
            Err(errno) => format!(
                "standard input cannot be read any further: {}",
                io::Error::from(errno)
            ),
        };
        self.finished = Some(reason.clone());
        Read::Finished(reason)
    }

    fn ns_per_byte(&self) -> f64 {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn what_came_before_the_end_is_read_and_then_it_is_finished_for_good() {
        let (near, far) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut link = Stdin::over(near);
        let stop = Stop::new().unwrap();
        let mut buffer = [0; 8];
        let moment = Some(Duration::from_millis(5));
        assert_eq!(link.read(&mut buffer, moment, &stop), Read::Quiet);
        rustix::io::write(&far, b"1,2\n").unwrap();
        drop(far);
        assert_eq!(link.read(&mut buffer, None, &stop), Read::Data(4));
        for _ in 0..2 {
            let read = link.read(&mut buffer, None, &stop);
            assert_eq!(read, Read::Finished("standard input has ended".to_owned()));
        }
    }

    #[test]
    fn the_order_to_stop_ends_a_wait() {
        let (near, _far) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let stop = Stop::new().unwrap();
        stop.trigger();
        let read = Stdin::over(near).read(&mut [0; 8], None, &stop);
        assert_eq!(read, Read::Stopped);
    }
}
