//! Serial ports and pseudo-terminals.
//!
//! `serialport` opens and configures the port; reading is our own, on the descriptor. The crate's
//! `read` answers a hang-up with an error although bytes are still unread, and loses them.

mod control;
mod ioctl;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, FlockOperation, OFlags};
use rustix::io::Errno;

use super::find::Selector;
use super::stream::Stream;
use super::sysfs::Tree;
use super::{Link, Noticed, OpenError, Read, Sender, Stop};
pub use control::{Control, Level};

/// Parity bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Parity {
    None,
    Odd,
    Even,
}

/// Who may say when to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowControl {
    /// Nobody.
    None,
    /// The lines RTS and CTS.
    Hardware,
    /// The bytes XON and XOFF.
    Software,
}

/// Which serial port is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// The one of this path, which may be a symbolic link.
    Path(PathBuf),
    /// The one that this USB device is, whatever number it has now.
    Usb(Selector),
}

impl Device {
    /// Where it is now.
    ///
    /// # Errors
    /// If the USB device is not there, or not the only one.
    pub fn path(&self) -> Result<PathBuf, OpenError> {
        match self {
            Self::Path(path) => Ok(path.clone()),
            Self::Usb(selector) => selector.tty(&Tree::default()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Usb(selector) => selector.fmt(f),
        }
    }
}

/// How to open a serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which device.
    pub device: Device,
    /// Bits a second on the line; any number the port takes, standard or not.
    pub baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// Parity bit.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// Who may say when to send.
    pub flow_control: FlowControl,
    /// What it is set to beside its line.
    pub control: Control,
}

impl Options {
    /// Eight data bits, no parity, one stop bit, no flow control.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, baud: u32) -> Self {
        Self {
            device: Device::Path(path.into()),
            baud,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            flow_control: FlowControl::None,
            control: Control::default(),
        }
    }

    /// Time that one byte takes on the line, ns: start bit, data, parity and stop bits.
    #[must_use]
    pub fn ns_per_byte(&self) -> f64 {
        let parity = u32::from(self.parity != Parity::None);
        let bits = 1 + u32::from(self.data_bits) + parity + u32::from(self.stop_bits);
        f64::from(bits) * 1e9 / f64::from(self.baud.max(1))
    }
}

/// An open serial port.
#[derive(Debug)]
pub struct Serial {
    port: Stream,
    ns_per_byte: f64,
    watch: control::Watch,
    /// What was asked of it and is not supported, until it was told.
    notes: Vec<String>,
}

impl Serial {
    /// Opens the port for this process alone: `TIOCEXCL` against other programs, and `flock`,
    /// which, unlike `TIOCEXCL`, holds against a superuser too.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let path = &options.device.path()?;
        let failed = |source: io::Error| classify(path, source);
        // A look first, since `serialport` maps several reasons to the same error. Nothing is opened
        // for it: many boards reset when their port is opened, and a port opened twice loses its first bytes.
        rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK)
            .map_err(|errno| failed(errno.into()))?;
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_char_device() {
            return Err(OpenError::WrongKind { path: path.clone() });
        }
        let port = serialport::new(path.to_string_lossy(), options.baud)
            .data_bits(match options.data_bits {
                5 => serialport::DataBits::Five,
                6 => serialport::DataBits::Six,
                7 => serialport::DataBits::Seven,
                _ => serialport::DataBits::Eight,
            })
            .parity(match options.parity {
                Parity::None => serialport::Parity::None,
                Parity::Odd => serialport::Parity::Odd,
                Parity::Even => serialport::Parity::Even,
            })
            .stop_bits(match options.stop_bits {
                2 => serialport::StopBits::Two,
                _ => serialport::StopBits::One,
            })
            .flow_control(match options.flow_control {
                FlowControl::None => serialport::FlowControl::None,
                FlowControl::Hardware => serialport::FlowControl::Hardware,
                FlowControl::Software => serialport::FlowControl::Software,
            })
            .open_native()
            .map_err(|error| refused(path, error))?;
        // SAFETY: `into_raw_fd` gives up ownership of the descriptor, and we take it at once.
        let port = unsafe { OwnedFd::from_raw_fd(port.into_raw_fd()) };
        match rustix::fs::flock(&port, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::InUse { path: path.clone() }),
            Err(errno) => return Err(failed(errno.into())),
        }
        let flags = rustix::fs::fcntl_getfl(&port).map_err(|errno| failed(errno.into()))?;
        rustix::fs::fcntl_setfl(&port, flags | OFlags::NONBLOCK)
            .map_err(|errno| failed(errno.into()))?;
        let notes = options.control.set(&port, path);
        Ok(Self {
            watch: control::Watch::new(&port),
            port: Stream::new(port, "hung up"),
            ns_per_byte: options.ns_per_byte(),
            notes,
        })
    }
}

impl Link for Serial {
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        self.port.read(buffer, wait, stop)
    }

    fn ns_per_byte(&self) -> f64 {
        self.ns_per_byte
    }

    fn sender(&self) -> Option<Box<dyn Sender>> {
        self.port.sender()
    }

    fn watches(&self) -> bool {
        self.watch.is_supported()
    }

    fn noticed(&mut self) -> Noticed {
        Noticed {
            line_errors: self.watch.look(&self.port),
            notes: std::mem::take(&mut self.notes),
        }
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        // The exclusive mark stays with a terminal that somebody else keeps open, as the far end of a
        // pseudo-terminal does; then nobody could open it again. A failure means it is gone.
        let _ = rustix::termios::ioctl_tiocnxcl(&self.port);
    }
}

impl AsFd for Serial {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}

/// The open error that `serialport`'s error means. It has no number of the system's any more.
fn refused(path: &Path, error: serialport::Error) -> OpenError {
    match error.kind() {
        // Of a port that was there a moment ago this is what it says when somebody else has it,
        // be it by `TIOCEXCL` or by `flock`.
        serialport::ErrorKind::NoDevice => OpenError::InUse {
            path: path.to_owned(),
        },
        // Everything that it has no word for. It has opened the file already, so that a second
        // look does no more harm.
        serialport::ErrorKind::Unknown => match super::ports::probe(path) {
            Err(reason) => reason,
            Ok(()) => classify(path, error.into()),
        },
        _ => classify(path, error.into()),
    }
}

/// The open error that a system error means.
pub(super) fn classify(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NXIO | Errno::NODEV) => OpenError::Missing { path },
        Some(Errno::BUSY) => OpenError::InUse { path },
        Some(Errno::ACCESS | Errno::PERM) => {
            let group = super::ports::group_of(&path);
            OpenError::NoPermission { path, group }
        }
        Some(Errno::NOTTY) => OpenError::WrongKind { path },
        _ => match source.kind() {
            io::ErrorKind::NotFound => OpenError::Missing { path },
            io::ErrorKind::PermissionDenied => {
                let group = super::ports::group_of(&path);
                OpenError::NoPermission { path, group }
            }
            _ => OpenError::Io { path, source },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::Mode;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    /// The far end of a pseudo-terminal keeps what it has not read when the near end is closed, as a
    /// serial driver may; the near end, which the link reads otherwise, does not.
    #[test]
    fn bytes_unread_at_a_hang_up_are_still_delivered() {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&far).unwrap();
        unlockpt(&far).unwrap();
        let name = ptsname(&far, Vec::new()).unwrap();
        let near = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        rustix::fs::fcntl_setfl(&far, OFlags::NONBLOCK).unwrap();
        let mut link = Serial {
            watch: control::Watch::new(&far),
            port: Stream::new(far, "hung up"),
            ns_per_byte: 0.0,
            notes: Vec::new(),
        };
        rustix::io::write(&near, &[b'7'; 1000]).unwrap();
        drop(near);

        let stop = Stop::new().unwrap();
        let mut buffer = [0; 400];
        let mut got = Vec::new();
        let reason = loop {
            match link.read(&mut buffer, None, &stop) {
                Read::Data(count) => got.extend_from_slice(&buffer[..count]),
                Read::Gone(reason) => break reason,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(got, [b'7'; 1000]);
        assert!(!reason.is_empty());
    }
}
