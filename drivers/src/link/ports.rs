//! Which serial ports there are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::OpenError;

/// What a USB device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbIdentity {
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
}

/// A serial port of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its device file.
    pub path: PathBuf,
    /// What it is, if it hangs on USB.
    pub usb: Option<UsbIdentity>,
}

/// The serial ports that the system knows, sorted by path.
///
/// # Errors
/// If the system's list of devices cannot be read.
pub fn list() -> std::io::Result<Vec<Port>> {
    let mut ports: Vec<Port> = serialport::available_ports()?
        .into_iter()
        .map(|port| Port {
            path: PathBuf::from(port.port_name),
            usb: match port.port_type {
                serialport::SerialPortType::UsbPort(usb) => Some(UsbIdentity {
                    vendor_id: usb.vid,
                    product_id: usb.pid,
                    serial_number: usb.serial_number,
                    manufacturer: usb.manufacturer,
                    product: usb.product,
                }),
                _ => None,
            },
        })
        .collect();
    ports.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(ports)
}

/// Whether a port could be opened now. It is opened for a moment and closed again: boards that
/// reset on DTR may notice.
///
/// # Errors
/// Why it could not.
pub fn probe(path: &Path) -> Result<(), OpenError> {
    use rustix::fs::{FlockOperation, Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let failed = |errno: rustix::io::Errno| super::serial::classify(path, errno.into());
    let port = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    if !rustix::termios::isatty(&port) {
        return Err(OpenError::WrongKind {
            path: path.to_owned(),
        });
    }
    match rustix::fs::flock(&port, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(errno) => Err(failed(errno)),
        Ok(()) => Ok(()),
    }
}

/// The name of the group that a device file belongs to.
#[must_use]
pub fn group_of(path: &Path) -> Option<String> {
    let gid = fs::metadata(path).ok()?.gid();
    group_name(&fs::read_to_string("/etc/group").ok()?, gid)
}

/// The name of group `gid` in a text of the form of `/etc/group` (group(5)).
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?;
        (number.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_number() {
        let groups = "root:x:0:\ndialout:x:20:ada,grace\n";
        assert_eq!(group_name(groups, 20).as_deref(), Some("dialout"));
        assert_eq!(group_name(groups, 21), None);
    }
}
