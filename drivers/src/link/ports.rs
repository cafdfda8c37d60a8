//! Which serial ports and USB devices there are, and whether they can be opened.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Access;

use super::OpenError;
use super::sysfs::{self, Tree, Tty, UsbDevice};

/// The serial ports that the system knows, sorted by path.
#[must_use]
pub fn list() -> Vec<Tty> {
    sysfs::ttys(&Tree::default())
}

/// The USB devices that are neither a serial port nor a hub, sorted by port.
#[must_use]
pub fn list_usb() -> Vec<UsbDevice> {
    let tree = Tree::default();
    let ttys = sysfs::ttys(&tree);
    let is_tty = |device: &UsbDevice| {
        let mut used = ttys.iter().filter_map(|tty| tty.usb.as_ref());
        used.any(|(of_tty, _)| of_tty.port == device.port)
    };
    let mut devices = sysfs::usb_devices(&tree);
    devices.retain(|device| !device.is_hub() && !is_tty(device));
    devices
}

/// Whether this process may open a device, as far as its file says. Nothing is opened.
///
/// # Errors
/// Why it may not.
pub fn may_open(path: &Path) -> Result<(), OpenError> {
    let failed = |errno: rustix::io::Errno| super::serial::classify(path, errno.into());
    rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).map_err(failed)
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
