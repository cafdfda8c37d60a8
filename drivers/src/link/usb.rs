//! USB endpoints, without a driver of the kernel: devices of the vendor's own class.
//!
//! Several transfers wait in the kernel at any time, so that the bus never stands still while one that
//! has come is being decoded. `nusb` hands them to the kernel and takes them back, on a thread of its
//! own that all USB devices of this process share; it does nothing there but wake the reader.
//!
//! **Always holds.** Bytes come in the order of the bus; those that came before an error are delivered
//! before it is reported. Transfers in flight and their sizes are bounded by [`Options`], and their
//! memory is taken when the device is opened. A read waits in the kernel and ends on the order to stop.
//!
//! **Must not know.** What the bytes mean.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use nusb::descriptors::{ConfigurationDescriptor, InterfaceDescriptor, TransferType};
use nusb::transfer::{
    Buffer, Bulk, BulkOrInterrupt, Completion, In, Interrupt, Out, TransferError,
};
use nusb::{Device, Endpoint, ErrorKind, Interface, MaybeFuture};
use rustix::event::{EventfdFlags, eventfd};

use super::find::Selector;
use super::sysfs::{Tree, UsbDevice};
use super::wait::{Waited, wait_readable};
use super::{Link, OpenError, Read, SendError, Sender, Stop};

/// How to read a USB endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which device.
    pub device: Selector,
    /// Number of the interface.
    pub interface: u8,
    /// Alternate setting of the interface.
    pub alternate: u8,
    /// Address of the endpoint that is read, bulk or interrupt: 0x81 to 0x8F.
    pub endpoint: u8,
    /// Address of the endpoint that messages to the device go to, bulk or interrupt: 0x01 to 0x0F.
    pub out_endpoint: Option<u8>,
    /// Transfers that wait in the kernel at any time: 1 to [`TRANSFERS_MAX`].
    pub transfers: usize,
    /// Bytes that one transfer takes at most, rounded up to whole packets; `None`: 16 KiB of a bulk
    /// endpoint, one packet of an interrupt endpoint. It is handed on when it is full, or when the
    /// device sends a packet that is not.
    pub transfer_bytes: Option<usize>,
    /// Take the interface from a driver of the kernel that has it; it goes back when the link is closed.
    pub detach_driver: bool,
}

/// Transfers in flight at most.
pub const TRANSFERS_MAX: usize = 64;

/// Bytes of one transfer at most.
pub const TRANSFER_BYTES_MAX: usize = 1 << 20;

/// Bytes in flight at most: what the kernel lends all USB programs together
/// (`usbcore.usbfs_memory_mb`, 16 unless it was changed).
pub const BYTES_IN_FLIGHT_MAX: usize = 16 << 20;

const BULK_TRANSFER_BYTES: usize = 16 << 10;

/// Bytes of one transfer to the device at most.
const OUT_TRANSFER_BYTES: usize = 64 << 10;

/// How long a cancelled transfer may take to come back.
const CANCEL_PATIENCE: Duration = Duration::from_millis(500);

impl Options {
    /// Endpoint 1 of interface 0, with eight transfers in flight.
    #[must_use]
    pub fn new(device: Selector) -> Self {
        Self {
            device,
            interface: 0,
            alternate: 0,
            endpoint: 0x81,
            out_endpoint: None,
            transfers: 8,
            transfer_bytes: None,
            detach_driver: false,
        }
    }

    /// Finds the device and opens it for this process alone.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn open(&self) -> Result<Box<dyn Link>, OpenError> {
        let tree = Tree::default();
        let found = self.device.device(&tree)?;
        let failed = |error: &nusb::Error| classify(&found, &tree, self.interface, error);
        let listed = nusb::list_devices()
            .wait()
            .map_err(|error| failed(&error))?;
        let is_found = |info: &nusb::DeviceInfo| {
            (info.busnum(), info.device_address()) == (found.bus, found.address)
        };
        let info = listed.into_iter().find(is_found);
        let info = info.ok_or_else(|| OpenError::NotPluggedIn {
            what: self.device.to_string(),
            others: Vec::new(),
        })?;
        let device = info.open().wait().map_err(|error| failed(&error))?;
        // Before the interface is claimed, since nothing is then taken from anybody in vain.
        let kind = self.endpoint_kind(&device, &found, self.endpoint)?;
        let out = match self.out_endpoint {
            Some(address) => Some((address, self.endpoint_kind(&device, &found, address)?)),
            None => None,
        };
        let interface = if self.detach_driver {
            device.detach_and_claim_interface(self.interface).wait()
        } else {
            device.claim_interface(self.interface).wait()
        };
        let interface = interface.map_err(|error| failed(&error))?;
        if self.alternate != 0 {
            let set = interface.set_alt_setting(self.alternate).wait();
            set.map_err(|error| failed(&error))?;
        }
        let woken = |source| OpenError::Io {
            path: found.file(&tree),
            source,
        };
        Ok(match kind {
            Kind::Bulk => {
                let endpoint = interface.endpoint::<Bulk, In>(self.endpoint);
                let endpoint = endpoint.map_err(|error| failed(&error))?;
                let out = Way { interface, out };
                Box::new(Usb::start(endpoint, out, self, BULK_TRANSFER_BYTES).map_err(woken)?)
            }
            Kind::Interrupt => {
                let endpoint = interface.endpoint::<Interrupt, In>(self.endpoint);
                let endpoint = endpoint.map_err(|error| failed(&error))?;
                let out = Way { interface, out };
                Box::new(Usb::start(endpoint, out, self, 1).map_err(woken)?)
            }
        })
    }

    /// Bulk or interrupt, if the endpoint is there and one of them.
    fn endpoint_kind(
        &self,
        device: &Device,
        found: &UsbDevice,
        address: u8,
    ) -> Result<Kind, OpenError> {
        let configuration = device.active_configuration().ok();
        let settings: Vec<InterfaceDescriptor<'_>> = configuration
            .iter()
            .flat_map(ConfigurationDescriptor::interface_alt_settings)
            .collect();
        let is_meant = |setting: &&InterfaceDescriptor<'_>| {
            (setting.interface_number(), setting.alternate_setting())
                == (self.interface, self.alternate)
        };
        let setting = settings.iter().find(is_meant);
        let mut endpoints = setting.into_iter().flat_map(InterfaceDescriptor::endpoints);
        let endpoint = endpoints.find(|endpoint| endpoint.address() == address);
        match endpoint.map(|endpoint| endpoint.transfer_type()) {
            Some(TransferType::Bulk) => Ok(Kind::Bulk),
            Some(TransferType::Interrupt) => Ok(Kind::Interrupt),
            _ => Err(OpenError::NoEndpoint {
                device: found.to_string(),
                endpoint: address,
                interface: self.interface,
                alternate: self.alternate,
                found: settings.iter().map(shown).collect(),
            }),
        }
    }
}

/// The kinds of endpoint that can be read as a stream.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bulk,
    Interrupt,
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, interface {}, endpoint 0x{:02x}",
            self.device, self.interface, self.endpoint
        )
    }
}

/// An interface's setting and what it has, for who named the wrong one.
fn shown(setting: &InterfaceDescriptor<'_>) -> String {
    let endpoints = setting.endpoints().map(|endpoint| {
        let kind = format!("{:?}", endpoint.transfer_type()).to_lowercase();
        format!("0x{:02x} {kind}", endpoint.address())
    });
    let endpoints: Vec<String> = endpoints.collect();
    let number = setting.interface_number();
    let alternate = match setting.alternate_setting() {
        0 => String::new(),
        alternate => format!(" alternate {alternate}"),
    };
    format!("interface {number}{alternate}: {}", endpoints.join(", "))
}

/// The open error that an error of `nusb` means.
fn classify(found: &UsbDevice, tree: &Tree, interface: u8, error: &nusb::Error) -> OpenError {
    let path = found.file(tree);
    match error.kind() {
        ErrorKind::PermissionDenied => OpenError::NoPermission {
            group: super::ports::group_of(&path),
            path,
        },
        ErrorKind::Busy => OpenError::Claimed {
            device: found.to_string(),
            interface,
            driver: found
                .interfaces
                .iter()
                .find(|candidate| candidate.number == interface)
                .and_then(|interface| interface.driver.clone()),
        },
        ErrorKind::Disconnected => OpenError::Missing { path },
        _ => OpenError::Io {
            path,
            source: io::Error::other(error.to_string()),
        },
    }
}

/// An open endpoint.
struct Usb<T: BulkOrInterrupt> {
    endpoint: Endpoint<T, In>,
    out: Way,
    /// Readable since a transfer came back.
    returned: Arc<Returned>,
    waker: Waker,
    /// A transfer that has come, and how much of it was handed on.
    current: Option<(Buffer, usize)>,
    /// What ended the link: reported by the read after the one that delivers what came before.
    gone: Option<String>,
}

/// Wakes the reader: `nusb`'s thread writes, the reader waits for it together with the order to stop.
#[derive(Debug)]
struct Returned(OwnedFd);

impl Wake for Returned {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The only failure is a counter at its limit, and then it is readable already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl<T: BulkOrInterrupt> Usb<T> {
    fn start(
        endpoint: Endpoint<T, In>,
        out: Way,
        options: &Options,
        least: usize,
    ) -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let returned = Arc::new(Returned(eventfd(0, flags)?));
        let mut usb = Self {
            endpoint,
            out,
            waker: Waker::from(Arc::clone(&returned)),
            returned,
            current: None,
            gone: None,
        };
        let packet = usb.endpoint.max_packet_size().max(1);
        let bytes = options
            .transfer_bytes
            .unwrap_or(least)
            .clamp(1, TRANSFER_BYTES_MAX);
        let bytes = bytes.next_multiple_of(packet);
        for _ in 0..options.transfers.clamp(1, TRANSFERS_MAX) {
            let buffer = usb.endpoint.allocate(bytes);
            usb.endpoint.submit(buffer);
        }
        Ok(usb)
    }

    /// Takes what has come until the buffer is full or nothing is left.
    fn drain(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some((transfer, taken)) = &mut self.current else {
                if !self.next() {
                    break;
                }
                continue;
            };
            let is_empty = transfer.is_empty();
            let left = &transfer[*taken..];
            let count = left.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&left[..count]);
            filled += count;
            *taken += count;
            if *taken == transfer.len()
                && let Some((transfer, _)) = self.current.take()
                && self.gone.is_none()
            {
                // At once and one by one: so `nusb` uses the same memory for it again.
                self.endpoint.submit(transfer);
            }
            // However many of those come, the reader gets its turn.
            if is_empty {
                break;
            }
        }
        filled
    }

    /// Takes the next transfer that has come back, if one has.
    fn next(&mut self) -> bool {
        if self.gone.is_some() || self.endpoint.pending() == 0 {
            return false;
        }
        let mut context = Context::from_waker(&self.waker);
        let Poll::Ready(completion) = self.endpoint.poll_next_complete(&mut context) else {
            return false;
        };
        let Completion { buffer, status, .. } = completion;
        if let Err(error) = status {
            self.gone = Some(error.to_string());
            if error == TransferError::Stall {
                self.clear_halt();
            }
        }
        self.current = Some((buffer, 0));
        true
    }

    /// Makes a stalled endpoint ready for whoever opens it next: a stall outlives the link.
    fn clear_halt(&mut self) {
        self.endpoint.cancel_all();
        while self.endpoint.pending() > 0 {
            if self.endpoint.wait_next_complete(CANCEL_PATIENCE).is_none() {
                return;
            }
        }
        // A failure shows when the link is opened again.
        let _ = self.endpoint.clear_halt().wait();
    }
}

impl<T: BulkOrInterrupt> Link for Usb<T> {
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        let mut filled = self.drain(buffer);
        if filled == 0 && self.gone.is_none() {
            match wait_readable(self.returned.0.as_fd(), stop, wait) {
                Ok(Waited::Ready) => {
                    let mut count = [0; 8];
                    // It was readable, and nobody else reads it.
                    let _ = rustix::io::read(&self.returned.0, &mut count);
                    filled = self.drain(buffer);
                    // A device that sends nothing but empty packets is always ready.
                    if filled == 0 && self.gone.is_none() && stop.is_triggered() {
                        return Read::Stopped;
                    }
                }
                Ok(Waited::TimedOut) => return Read::Quiet,
                Ok(Waited::Stopped) => return Read::Stopped,
                Err(error) => self.gone = Some(error.to_string()),
            }
        }
        match &self.gone {
            _ if filled > 0 => Read::Data(filled),
            Some(reason) => Read::Gone(reason.clone()),
            // An empty transfer, or one that was taken before it was waited for: early, but quiet.
            None => Read::Quiet,
        }
    }

    fn ns_per_byte(&self) -> f64 {
        0.0
    }

    fn sender(&self) -> Option<Box<dyn Sender>> {
        self.out.sender()
    }
}

/// The way to the device: the endpoint is opened when somebody wants to send.
struct Way {
    interface: Interface,
    out: Option<(u8, Kind)>,
}

impl Way {
    fn sender(&self) -> Option<Box<dyn Sender>> {
        let (address, kind) = self.out?;
        match kind {
            Kind::Bulk => {
                let endpoint = self.interface.endpoint::<Bulk, Out>(address).ok()?;
                Some(Box::new(Sending { endpoint }))
            }
            Kind::Interrupt => {
                let endpoint = self.interface.endpoint::<Interrupt, Out>(address).ok()?;
                Some(Box::new(Sending { endpoint }))
            }
        }
    }
}

/// The sending half.
struct Sending<T: BulkOrInterrupt> {
    endpoint: Endpoint<T, Out>,
}

impl<T: BulkOrInterrupt> Sender for Sending<T> {
    fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), SendError> {
        let timed_out = |written| SendError::TimedOut {
            written,
            bytes: bytes.len(),
            waited: limit,
        };
        let started = Instant::now();
        let mut written = 0;
        for part in bytes.chunks(OUT_TRANSFER_BYTES) {
            // One that could not be cancelled would mix with what comes now.
            if self.endpoint.pending() > 0 {
                return Err(timed_out(written));
            }
            self.endpoint.submit(part.to_vec().into());
            let left = limit.saturating_sub(started.elapsed());
            let done = self.endpoint.wait_next_complete(left).or_else(|| {
                self.endpoint.cancel_all();
                self.endpoint.wait_next_complete(CANCEL_PATIENCE)
            });
            let Some(Completion {
                actual_len, status, ..
            }) = done
            else {
                return Err(timed_out(written));
            };
            written += actual_len;
            match status {
                Ok(()) => {}
                Err(TransferError::Cancelled) => return Err(timed_out(written)),
                Err(error) => return Err(SendError::Io(error.into())),
            }
        }
        Ok(())
    }
}
