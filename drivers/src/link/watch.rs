//! Devices coming and going, told by the kernel.
//!
//! **Always holds.** The wait is in the kernel, on its own messages; nothing is polled. A message is
//! only a reason to look again, and nothing in it is believed: so a lost or forged one does no harm
//! beyond a look too few or too many.
//!
//! **Must not know.** What came or went: `sysfs.rs` shows what is there.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use super::Stop;
use super::wait::{Waited, wait_readable};

/// The kernel's own messages (`lib/kobject_uevent.c`).
const GROUP_KERNEL: u32 = 1;

/// The messages of udev, which come when it has set permissions and made its links.
const GROUP_UDEV: u32 = 2;

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A USB device or a serial port may have come or gone.
    Devices,
    /// The time passed.
    None,
    /// The order to stop.
    Stopped,
}

/// Hears of devices that come and go.
#[derive(Debug)]
pub struct Watch {
    socket: OwnedFd,
}

impl Watch {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system has no such messages for this process.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(KOBJECT_UEVENT);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        let is_udev_there = Path::new("/run/udev/control").exists();
        let group = if is_udev_there {
            GROUP_UDEV
        } else {
            GROUP_KERNEL
        };
        bind(&socket, &SocketAddrNetlink::new(0, group))?;
        Ok(Self { socket })
    }

    /// Waits until devices may have come or gone, the order to stop, or `limit` (`None`: for ever).
    ///
    /// # Errors
    /// If the system refuses the wait.
    pub fn wait(&mut self, limit: Option<Duration>, stop: &Stop) -> io::Result<Change> {
        loop {
            match wait_readable(self.socket.as_fd(), stop, limit)? {
                Waited::Ready if self.take()? => return Ok(Change::Devices),
                // Something else happened on this host: the wait goes on.
                Waited::Ready => {}
                Waited::TimedOut => return Ok(Change::None),
                Waited::Stopped => return Ok(Change::Stopped),
            }
        }
    }

    /// Takes the messages that are there; says whether one was of our devices.
    fn take(&mut self) -> io::Result<bool> {
        // A message of the kernel has 2 KiB at most, of udev 8.
        let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
        let mut is_ours = false;
        loop {
            match recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok(((message, _), _)) => is_ours |= concerns_us(message),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(is_ours),
                // So many came that the kernel dropped some.
                Err(Errno::NOBUFS) => is_ours = true,
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Whether a message, of the kernel or of udev, is of a USB device or a serial port.
fn concerns_us(message: &[u8]) -> bool {
    let mut parts = message.split(|byte| *byte == 0);
    parts.any(|part| matches!(part, b"SUBSYSTEM=usb" | b"SUBSYSTEM=tty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_other_devices_are_passed_over() {
        let port = b"add@/devices/x/tty/ttyACM0\0ACTION=add\0SUBSYSTEM=tty\0DEVNAME=ttyACM0\0";
        assert!(concerns_us(port));
        assert!(concerns_us(
            b"libudev\0\xfe\xed\xca\xfe\x28\0\0\0SEQNUM=1\0SUBSYSTEM=usb\0"
        ));
        assert!(!concerns_us(
            b"add@/devices/x\0ACTION=add\0SUBSYSTEM=net\0INTERFACE=usb0\0"
        ));
        assert!(!concerns_us(b""));
    }

    #[test]
    fn a_watch_ends_on_the_order_to_stop() {
        let mut watch = Watch::new().expect("netlink is there on every Linux");
        let stop = Stop::new().unwrap();
        assert_eq!(
            watch.wait(Some(Duration::ZERO), &stop).unwrap(),
            Change::None
        );
        stop.trigger();
        assert_eq!(watch.wait(None, &stop).unwrap(), Change::Stopped);
    }
}
