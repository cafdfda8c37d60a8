//! Links: how bytes come from a device.
//!
//! Each link is a file with an `Options` and the link itself. To add one: its file, and one line
//! in [`Options`] and [`Options::open`].
//!
//! **Always holds.** A read waits in the kernel, never spins, and says how much came, that the
//! device is *quiet*, or that it is *gone*: a quiet device is not a missing one. Bytes that came
//! before a hang-up are delivered before it is reported.
//!
//! **Must not know.** What the bytes mean.

mod outlet;
pub mod ports;
pub mod serial;
mod wait;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use outlet::{Connected, Descriptor, Outlet, SendError, Sender};
pub use wait::Stop;

/// What came of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, at least one, are at the start of the buffer.
    Data(usize),
    /// Nothing came in the time given; the device is there as far as can be known.
    Quiet,
    /// [`Stop::trigger`] was called, and nothing had come.
    Stopped,
    /// The device is gone, with what the system says of it. The link is of no more use.
    Gone(String),
}

/// An open connection to a device.
pub trait Link: Send {
    /// Waits at most `wait` (`None`: for ever) and then takes whatever is there, up to the
    /// buffer's size, without waiting for more.
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read;

    /// Time that one byte takes on the line, ns; 0 where the link has no pace of its own.
    fn ns_per_byte(&self) -> f64;

    /// The sending half, for whoever sends while another thread reads; `None` if nothing can be sent.
    fn sender(&self) -> Option<Box<dyn Sender>> {
        None
    }

    /// Whether each read brings one whole message of the device, a datagram, that no later one continues.
    fn keeps_boundaries(&self) -> bool {
        false
    }
}

/// A declared link, not yet open.
#[derive(Debug, Clone, PartialEq)]
pub enum Options {
    /// A serial port, or a pseudo-terminal.
    Serial(serial::Options),
}

impl Options {
    /// Opens the device, for this process alone.
    ///
    /// # Errors
    /// What stood in the way; a caller may try again later.
    pub fn open(&self) -> Result<Box<dyn Link>, OpenError> {
        match self {
            Self::Serial(options) => Ok(Box::new(serial::Serial::open(options)?)),
        }
    }

    /// Time that one byte takes on the line, ns; 0 where the link has no pace of its own.
    #[must_use]
    pub fn ns_per_byte(&self) -> f64 {
        match self {
            Self::Serial(options) => options.ns_per_byte(),
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(options) => {
                write!(f, "{} at {} baud", options.path.display(), options.baud)
            }
        }
    }
}

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such device.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The device.
        path: PathBuf,
    },
    /// Another process has it.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The device.
        path: PathBuf,
    },
    /// This process may not open it.
    #[error("no permission to open {}{}", path.display(), group.as_ref().map(|g| format!(" (it belongs to group `{g}`)")).unwrap_or_default())]
    NoPermission {
        /// The device.
        path: PathBuf,
        /// The group that may, where the file has one.
        group: Option<String>,
    },
    /// It is no device of the kind that was asked for.
    #[error("{} is not a serial port", path.display())]
    WrongKind {
        /// The device.
        path: PathBuf,
    },
    /// Anything else the system said.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The device.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
