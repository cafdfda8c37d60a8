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

pub mod fifo;
pub mod file;
pub mod find;
mod noticed;
mod outlet;
pub mod ports;
pub mod recorded;
pub mod serial;
mod socket;
pub mod stdin;
mod stream;
pub mod sysfs;
pub mod tcp;
pub mod tcp_server;
pub mod udp;
pub mod usb;
pub mod usbtmc;
mod wait;
pub mod watch;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use noticed::{LineError, LineErrors, Noticed};
pub use outlet::{Connected, Descriptor, Observer, Outlet, SendError, Sender};
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
    /// There is no more to come, ever: the end of a file. The link is of no more use, and is not opened again.
    Finished(String),
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

    /// What to tell while [`Link::await_peer`] waits, for a link that can be open with nobody at its far end.
    fn missing_peer(&self) -> Option<String> {
        None
    }

    /// Waits until there is somebody at the far end; to be called once before the first read. False: the order to
    /// stop came first, or nobody will ever come.
    ///
    /// # Errors
    /// What stood in the way. The link is of no more use.
    fn await_peer(&mut self, stop: &Stop) -> Result<bool, OpenError> {
        let _ = stop;
        Ok(true)
    }

    /// After [`Read::Gone`]: the same link ready to await its next peer, where it need not be opened anew, so that
    /// nothing is missed in between.
    fn again(self: Box<Self>) -> Option<Box<dyn Link>> {
        None
    }

    /// Whether [`Link::await_peer`] itself takes the time until the device is back, so that nobody need pause before it.
    fn comes_by_itself(&self) -> bool {
        false
    }

    /// Whether it can know of losses below it: then [`Link::noticed`] is to be asked about once a second.
    fn watches(&self) -> bool {
        false
    }

    /// What it noticed since it was last asked.
    fn noticed(&mut self) -> Noticed {
        Noticed::default()
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
    /// A connection to a device.
    Tcp(tcp::Options),
    /// A port that a device connects to.
    TcpServer(tcp_server::Options),
    /// Datagrams.
    Udp(udp::Options),
    /// Standard input.
    Stdin,
    /// A FIFO.
    Fifo(fifo::Options),
    /// A plain file.
    File(file::Options),
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
            Self::Tcp(options) => Ok(Box::new(tcp::Tcp::new(options))),
            Self::TcpServer(options) => Ok(Box::new(tcp_server::TcpServer::open(options)?)),
            Self::Udp(options) => Ok(Box::new(udp::Udp::open(options)?)),
            Self::Stdin => Ok(Box::new(stdin::Stdin::open()?)),
            Self::Fifo(options) => Ok(Box::new(fifo::Fifo::open(options)?)),
            Self::File(options) => Ok(Box::new(file::File::open(options)?)),
        }
    }

    /// Time that one byte takes on the line, ns; 0 where the link has no pace of its own.
    #[must_use]
    pub fn ns_per_byte(&self) -> f64 {
        match self {
            Self::Serial(options) => options.ns_per_byte(),
            _ => 0.0,
        }
    }

    /// Whether anything can be sent over it.
    #[must_use]
    pub fn can_send(&self) -> bool {
        match self {
            Self::Serial(_) | Self::Usbtmc(_) | Self::Tcp(_) | Self::TcpServer(_) => true,
            Self::Usb(options) => options.out_endpoint.is_some(),
            Self::Udp(options) => options.to.is_some(),
            Self::Stdin | Self::Fifo(_) | Self::File(_) => false,
        }
    }

    /// Whether what comes first over it is the beginning of something, and not the middle: a sender that begins when
    /// it is read, a message, a file.
    #[must_use]
    pub fn starts_whole(&self) -> bool {
        match self {
            Self::Serial(_) | Self::Usb(_) | Self::Usbtmc(_) | Self::Tcp(_) => false,
            Self::TcpServer(_) | Self::Udp(_) | Self::Stdin | Self::Fifo(_) | Self::File(_) => true,
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
            Self::Tcp(options) => write!(f, "TCP to {}", options.address),
            Self::TcpServer(options) => write!(f, "TCP port {}", options.bind),
            Self::Udp(options) => write!(f, "UDP port {}", options.bind),
            Self::Stdin => write!(f, "standard input"),
            Self::Fifo(options) => write!(f, "FIFO {}", options.path.display()),
            Self::File(options) => write!(f, "file {}", options.path.display()),
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
    /// It is no file of the kind that was asked for.
    #[error("{} is not a {what}", path.display())]
    NotA {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        what: &'static str,
    },
    /// The network did not do what was asked of it.
    #[error("cannot {what}: {source}")]
    Network {
        /// What was asked.
        what: String,
        /// What the system said.
        source: io::Error,
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
