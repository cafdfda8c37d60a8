//! A port that a device owns: the master side of a pseudo-terminal, and a stable link to the other.
//!
//! What for: readers open the link as they would `/dev/serial/by-id/…`; the device writes to the
//! master.
//!
//! What always holds: the slave side is raw before anybody can open it. The link leads to the
//! present pseudo-terminal or is not there; it is replaced in one step, and nothing but a symbolic
//! link is ever replaced or removed. No descriptor of the slave side is kept, so that the master
//! shows whether a reader has it open. A port that comes back has another number than before.
//!
//! What it must not know: frames, rates, devices.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, QueueSelector};

/// A pseudo-terminal with a symbolic link to its slave side.
#[derive(Debug)]
pub struct Pty {
    pair: Pair,
    link: PathBuf,
    plugged: bool,
}

/// What became of bytes on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// So many were taken, at least one.
    Some(usize),
    /// There is no room.
    Full,
    /// Nobody is there to take them.
    NoReader,
}

impl Pty {
    /// Opens a pseudo-terminal and links to it as `name` in the folder `links`, which is made if it
    /// is not there.
    ///
    /// # Errors
    /// The name is no file name, something else than a symbolic link stands in its place, or the
    /// system refused.
    pub fn open(links: &Path, name: &str) -> io::Result<Self> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            let message = format!("{name:?} cannot be the name of a link");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        std::fs::create_dir_all(links)?;
        let mut port = Self {
            pair: Pair::open()?,
            link: links.join(name),
            plugged: false,
        };
        port.replug()?;
        Ok(port)
    }

    /// The stable link.
    #[must_use]
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// The slave side to which the link leads while the port is plugged in.
    #[must_use]
    pub fn slave(&self) -> &Path {
        &self.pair.slave
    }

    /// Whether it is there for readers.
    #[must_use]
    pub fn is_plugged(&self) -> bool {
        self.plugged
    }

    /// Hangs up on the reader, who loses what it had not yet read, and takes the link away.
    ///
    /// # Errors
    /// There is no new pseudo-terminal to come back with; the old one is then still there.
    pub fn unplug(&mut self) -> io::Result<()> {
        if self.plugged {
            // The next one is opened while the last is still there: so its number differs.
            let next = Pair::open()?;
            self.remove_link();
            self.pair = next;
            self.plugged = false;
        }
        Ok(())
    }

    /// Comes back after [`Pty::unplug`].
    ///
    /// # Errors
    /// The link could not be made.
    pub fn replug(&mut self) -> io::Result<()> {
        if !self.plugged {
            link_atomically(&self.pair.slave, &self.link)?;
            self.plugged = true;
        }
        Ok(())
    }

    /// Whether a reader has the slave side open.
    ///
    /// # Errors
    /// The system refused to look.
    pub fn has_reader(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.pair.master, PollFlags::empty())];
        // On Linux the master shows a hang-up from the slave side's last closing to its next opening.
        match rustix::event::poll(&mut fds, Some(&Timespec::default())) {
            Ok(_) => Ok(!fds[0].revents().contains(PollFlags::HUP)),
            Err(Errno::INTR) => self.has_reader(),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Forgets what was written and not yet read, so that the next reader gets no old bytes.
    pub(crate) fn discard(&self) -> io::Result<()> {
        // First what is on its way, from the master; then the 4 KiB before the reader, which only
        // the slave side reaches.
        rustix::termios::tcflush(&self.pair.master, QueueSelector::OFlush)?;
        match self.pair.open_slave() {
            Ok(slave) => Ok(rustix::termios::tcflush(&slave, QueueSelector::IFlush)?),
            // The last reader had it for itself alone (TIOCEXCL) and did not give that up: then
            // nobody without privileges opens it again, and there is no next reader to care for.
            Err(Errno::BUSY) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Offers bytes, without waiting.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<Wrote> {
        match rustix::io::write(&self.pair.master, bytes) {
            Ok(0) | Err(Errno::AGAIN) => Ok(Wrote::Full),
            Ok(count) => Ok(Wrote::Some(count)),
            Err(Errno::IO) => Ok(Wrote::NoReader),
            Err(Errno::INTR) => self.write(bytes),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes what the reader has said, without waiting: how many bytes.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::io::read(&self.pair.master, &mut *buffer) {
            Ok(count) => Ok(count),
            // Nothing, or nobody.
            Err(Errno::AGAIN | Errno::IO) => Ok(0),
            Err(Errno::INTR) => self.read(buffer),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes the link, unless it is no longer ours.
    fn remove_link(&self) {
        if std::fs::read_link(&self.link).is_ok_and(|target| target == self.pair.slave) {
            // A link that is gone already is as good.
            let _ = std::fs::remove_file(&self.link);
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if self.plugged {
            self.remove_link();
        }
    }
}

impl AsFd for Pty {
    /// The master side.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pair.master.as_fd()
    }
}

#[derive(Debug)]
struct Pair {
    master: OwnedFd,
    slave: PathBuf,
}

impl Pair {
    fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let slave = PathBuf::from(OsStr::from_bytes(name.as_bytes()));
        let status = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, status | OFlags::NONBLOCK)?;

        // Opened and closed once: before that the master would not show that there is no reader.
        let pair = Self { master, slave };
        let once = pair.open_slave()?;
        let mut settings = rustix::termios::tcgetattr(&once)?;
        settings.make_raw();
        rustix::termios::tcsetattr(&once, OptionalActions::Now, &settings)?;
        Ok(pair)
    }

    fn open_slave(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(&self.slave, flags, Mode::empty())
    }
}

/// Makes or replaces the symbolic link in one step: a reader finds the old one or the new one.
fn link_atomically(target: &Path, link: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(link) {
        Ok(there) if !there.is_symlink() => {
            let message = format!("{} is there and is no symbolic link", link.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut aside = link.as_os_str().to_owned();
    aside.push(format!(".{}.aside", std::process::id()));
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => std::os::unix::fs::symlink(target, &aside)?,
    }
    std::fs::rename(&aside, link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    fn open_slave(path: &Path) -> std::fs::File {
        // 0o400 is O_NOCTTY on Linux.
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(0o400);
        options.open(path).unwrap()
    }

    #[test]
    fn the_master_sees_readers_come_and_go() {
        let links = tempfile::tempdir().unwrap();
        let port = Pty::open(links.path(), "p").unwrap();
        assert!(!port.has_reader().unwrap());
        for _ in 0..2 {
            let reader = open_slave(port.link());
            assert!(port.has_reader().unwrap());
            drop(reader);
            assert!(!port.has_reader().unwrap());
        }
    }

    #[test]
    fn every_byte_passes_unchanged() {
        let links = tempfile::tempdir().unwrap();
        let port = Pty::open(links.path(), "p").unwrap();
        let mut reader = open_slave(port.link());
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(port.write(&all).unwrap(), Wrote::Some(256));
        let mut got = [0; 256];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(got[..], all);
    }

    #[test]
    fn bytes_for_a_reader_that_left_can_be_forgotten() {
        let links = tempfile::tempdir().unwrap();
        let port = Pty::open(links.path(), "p").unwrap();
        let reader = open_slave(port.link());
        port.write(b"stale").unwrap();
        drop(reader);
        port.discard().unwrap();
        let mut reader = open_slave(port.link());
        port.write(b"new").unwrap();
        let mut got = [0; 9];
        assert_eq!(reader.read(&mut got).unwrap(), 3);
        assert_eq!(&got[..3], b"new");
    }

    #[test]
    fn it_comes_back_under_another_number_behind_the_same_link() {
        let links = tempfile::tempdir().unwrap();
        let mut port = Pty::open(links.path(), "p").unwrap();
        let first = std::fs::read_link(port.link()).unwrap();
        let mut reader = open_slave(port.link());
        port.unplug().unwrap();
        assert!(!port.link().exists());
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "a hang-up");
        port.replug().unwrap();
        let second = std::fs::read_link(port.link()).unwrap();
        assert_eq!(second, port.slave());
        assert_ne!(first, second);
        open_slave(port.link());
    }

    #[test]
    fn only_symbolic_links_are_replaced_and_only_its_own_is_removed() {
        let links = tempfile::tempdir().unwrap();
        std::fs::write(links.path().join("file"), "mine").unwrap();
        let refused = Pty::open(links.path(), "file").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);

        let old = Pty::open(links.path(), "p").unwrap();
        let new = Pty::open(links.path(), "p").unwrap();
        drop(old);
        assert_eq!(std::fs::read_link(new.link()).unwrap(), new.slave());
        drop(new);
        let left: Vec<_> = std::fs::read_dir(links.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        let links = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "/dev/null"] {
            let refused = Pty::open(links.path(), name).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
