//! What the system shows of USB devices and serial ports, read from `/sys`.
//!
//! **Always holds.** Nothing is opened: a device does not notice that it was looked at. Whatever goes
//! away while it is being read is left out. Texts that a device gives of itself hold no control
//! characters, so that they can be shown on a terminal.
//!
//! **Must not know.** Which device anybody wants: `find.rs` does.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the system shows its devices: other folders in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            dev: "/dev".into(),
        }
    }
}

/// A USB device that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbDevice {
    /// Vendor, as assigned by the USB Implementers Forum.
    pub vendor_id: u16,
    /// Product, as assigned by the vendor.
    pub product_id: u16,
    /// Serial number, if the device has one.
    pub serial_number: Option<String>,
    /// Vendor's name.
    pub manufacturer: Option<String>,
    /// Product's name.
    pub product: Option<String>,
    /// The physical port: the bus and the ports of the hubs on the way, `1-2.3`. It stays when a device
    /// is pulled and plugged in again at the same place.
    pub port: String,
    /// Number of its bus.
    pub bus: u8,
    /// Its number on the bus: another one each time it is plugged in.
    pub address: u8,
    /// Device class; 9 is a hub.
    pub class: u8,
    /// Its interfaces, by number.
    pub interfaces: Vec<Interface>,
}

/// One interface of a USB device, in the alternate setting that is chosen now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub number: u8,
    /// The alternate setting.
    pub alternate: u8,
    /// Interface class; 255 is the vendor's own.
    pub class: u8,
    /// Who has it: a driver of the kernel, or `usbfs` for a program.
    pub driver: Option<String>,
    /// Its endpoints, by address.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address; from 0x80 on it sends to the host.
    pub address: u8,
    /// `Bulk`, `Interrupt`, `Isochronous`.
    pub kind: String,
    /// Bytes of a packet at most.
    pub packet_bytes: u16,
}

/// A serial port of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tty {
    /// Its device file.
    pub path: PathBuf,
    /// The USB device that it is a port of, and the number of the interface.
    pub usb: Option<(UsbDevice, u8)>,
}

/// USB class of a hub.
const CLASS_HUB: u8 = 9;

impl UsbDevice {
    /// Whether it is only there for others to be plugged into.
    #[must_use]
    pub fn is_hub(&self) -> bool {
        self.class == CLASS_HUB
    }

    /// Its file, for programs that speak USB themselves.
    #[must_use]
    pub fn file(&self, tree: &Tree) -> PathBuf {
        let (bus, address) = (self.bus, self.address);
        tree.dev.join(format!("bus/usb/{bus:03}/{address:03}"))
    }
}

impl fmt::Display for UsbDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor_id, self.product_id)?;
        for name in [&self.manufacturer, &self.product].into_iter().flatten() {
            write!(f, " {name}")?;
        }
        if let Some(serial) = &self.serial_number {
            write!(f, " serial {serial}")?;
        }
        write!(f, " port {}", self.port)
    }
}

/// The USB devices that are plugged in, hubs among them, sorted by port. A host without USB has none.
#[must_use]
pub fn usb_devices(tree: &Tree) -> Vec<UsbDevice> {
    let folders = entries(&tree.sys.join("bus/usb/devices"));
    let mut devices: Vec<UsbDevice> = folders.iter().filter_map(|at| usb_device(at)).collect();
    devices.sort_by(|a, b| a.port.cmp(&b.port));
    devices
}

/// The serial ports that have something behind them, sorted by path.
#[must_use]
pub fn ttys(tree: &Tree) -> Vec<Tty> {
    let mut ttys: Vec<Tty> = entries(&tree.sys.join("class/tty"))
        .iter()
        .filter_map(|at| tty(tree, at))
        .collect();
    ttys.sort_by(|a, b| a.path.cmp(&b.path));
    ttys
}

fn tty(tree: &Tree, at: &Path) -> Option<Tty> {
    let path = tree.dev.join(at.file_name()?);
    if !path.exists() {
        return None;
    }
    // A console and the like have no device behind them; a telephone's port need not.
    let device = fs::canonicalize(at.join("device")).ok();
    let is_wireless = at.file_name()?.to_string_lossy().starts_with("rfcomm");
    if device.is_none() && !is_wireless {
        return None;
    }
    // The kernel keeps places for ports on cards that were never found: of type 0, PORT_UNKNOWN.
    if text(at, "type").as_deref() == Some("0") {
        return None;
    }
    let usb = device.and_then(|device| {
        let interface = device
            .ancestors()
            .find(|at| at.join("bInterfaceNumber").exists())?;
        Some((
            usb_device(interface.parent()?)?,
            interface_number(interface)?,
        ))
    });
    Some(Tty { path, usb })
}

/// The device that a folder shows, if it shows one: interfaces have folders beside the devices'.
fn usb_device(at: &Path) -> Option<UsbDevice> {
    let at = fs::canonicalize(at).ok()?;
    let vendor_id = hex(&at, "idVendor")?;
    let mut interfaces: Vec<Interface> = entries(&at)
        .iter()
        .filter_map(|folder| interface(folder))
        .collect();
    interfaces.sort_by_key(|interface| interface.number);
    Some(UsbDevice {
        vendor_id,
        product_id: hex(&at, "idProduct")?,
        serial_number: text(&at, "serial"),
        manufacturer: text(&at, "manufacturer"),
        product: text(&at, "product"),
        port: at.file_name()?.to_string_lossy().into_owned(),
        bus: text(&at, "busnum")?.parse().ok()?,
        address: text(&at, "devnum")?.parse().ok()?,
        class: hex_byte(&at, "bDeviceClass")?,
        interfaces,
    })
}

fn interface(at: &Path) -> Option<Interface> {
    let number = interface_number(at)?;
    let driver = fs::read_link(at.join("driver")).ok();
    let mut endpoints: Vec<Endpoint> = entries(at)
        .iter()
        .filter_map(|folder| endpoint(folder))
        .collect();
    endpoints.sort_by_key(|endpoint| endpoint.address);
    Some(Interface {
        number,
        alternate: text(at, "bAlternateSetting")?.parse().ok()?,
        class: hex_byte(at, "bInterfaceClass")?,
        driver: driver.and_then(|to| Some(to.file_name()?.to_string_lossy().into_owned())),
        endpoints,
    })
}

fn interface_number(at: &Path) -> Option<u8> {
    hex_byte(at, "bInterfaceNumber")
}

fn endpoint(at: &Path) -> Option<Endpoint> {
    Some(Endpoint {
        address: hex_byte(at, "bEndpointAddress")?,
        kind: text(at, "type")?,
        // The bits above the size say how many packets there are in a microframe.
        packet_bytes: hex(at, "wMaxPacketSize")? & 0x07FF,
    })
}

/// What is in a folder; nothing if it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten();
    found.flatten().map(|entry| entry.path()).collect()
}

/// A text of a device; `None` if there is none, or nothing in it.
fn text(at: &Path, name: &str) -> Option<String> {
    // A string of a device has 126 characters at most (USB 2.0, 9.6.7), so this file is short.
    let bytes = fs::read(at.join(name)).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let shown = |c: char| if c.is_control() { '\u{FFFD}' } else { c };
    let text: String = text.trim().chars().map(shown).collect();
    (!text.is_empty()).then_some(text)
}

fn hex(at: &Path, name: &str) -> Option<u16> {
    u16::from_str_radix(&text(at, name)?, 16).ok()
}

fn hex_byte(at: &Path, name: &str) -> Option<u8> {
    u8::from_str_radix(&text(at, name)?, 16).ok()
}
