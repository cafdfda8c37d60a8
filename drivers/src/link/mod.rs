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

pub mod find;
mod outlet;
pub mod ports;
pub mod serial;
pub mod usbtmc;
pub mod sysfs;
pub mod usb;
mod wait;
pub mod watch;

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
    /// An instrument of USB's test and measurement class.
    Usbtmc(usbtmc::Options),
    /// An endpoint of a USB device.
    Usb(usb::Options),
}

impl Options {
    /// Opens the device, for this process alone.
    ///
    /// # Errors
    /// What stood in the way; a caller may try again later.
    pub fn open(&self) -> Result<Box<dyn Link>, OpenError> {
        match self {
            Self::Serial(options) => Ok(Box::new(serial::Serial::open(options)?)),
            Self::Usbtmc(options) => Ok(Box::new(usbtmc::Usbtmc::open(options)?)),
            Self::Usb(options) => options.open(),
        }
    }

    /// Time that one byte takes on the line, ns; 0 where the link has no pace of its own.
    #[must_use]
    pub fn ns_per_byte(&self) -> f64 {
        match self {
            Self::Serial(options) => options.ns_per_byte(),
            Self::Usbtmc(_) => 0.0,
            Self::Usb(_) => 0.0,
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(options) => {
                write!(f, "{} at {} baud", options.device, options.baud)
            }
            Self::Usbtmc(options) => write!(f, "{} by USBTMC", options.path.display()),
            Self::Usb(options) => options.fmt(f),
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
    /// No such USB device is plugged in.
    #[error("no {what} is plugged in{}", listed("; of its kind there is", others))]
    NotPluggedIn {
        /// What was looked for.
        what: String,
        /// Devices of the same vendor and product that are.
        others: Vec<String>,
    },
    /// The USB device is there, and is no serial port for the kernel.
    #[error("{device} has no serial port{}", interface.map(|i| format!(" at interface {i}")).unwrap_or_default())]
    NoSerialPort {
        /// The device.
        device: String,
        /// The interface that was asked for.
        interface: Option<u8>,
    },
    /// More than one device is what was asked for.
    #[error("{} devices match {what}{}", found.len(), listed("", found))]
    Several {
        /// What was looked for.
        what: String,
        /// What is there.
        found: Vec<String>,
    },
    /// The USB device has no such endpoint, or not one that can be read.
    #[error(
        "{device} has no bulk or interrupt endpoint 0x{endpoint:02x} at interface {interface}, alternate setting {alternate}{}",
        listed("; it has", found)
    )]
    NoEndpoint {
        /// The device.
        device: String,
        /// The endpoint that was asked for.
        endpoint: u8,
        /// The interface that was asked for.
        interface: u8,
        /// The alternate setting that was asked for.
        alternate: u8,
        /// What it has.
        found: Vec<String>,
    },
    /// Somebody else has the interface of the USB device.
    #[error("interface {interface} of {device} is in use by {}", match driver.as_deref() {
        Some("usbfs") | None => "another program".to_owned(),
        Some(driver) => format!("the kernel's driver {driver}"),
    })]
    Claimed {
        /// The device.
        device: String,
        /// The interface.
        interface: u8,
        /// The driver that has it, where that is known.
        driver: Option<String>,
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

/// What is there, behind an introduction; nothing if nothing is.
fn listed(introduction: &str, found: &[String]) -> String {
    if found.is_empty() {
        return String::new();
    }
    format!("{introduction}: {}", found.join("; "))
}
