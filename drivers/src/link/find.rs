//! Finding a device by what it is, not by the number it got.
//!
//! A device that is pulled and plugged in again may come back as `/dev/ttyUSB1` instead of `0`. A
//! [`Selector`] says which one is meant: by vendor, product, serial number or physical port.
//!
//! **Always holds.** It is looked for anew each time. Of several that fit none is taken: which of them
//! was meant is for whoever wrote the configuration to say.
//!
//! **Must not know.** What is done with the device.

use std::fmt;
use std::path::PathBuf;

use super::OpenError;
use super::sysfs::{Tree, UsbDevice, ttys, usb_devices};

/// Which USB device is meant. What is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Vendor, as assigned by the USB Implementers Forum.
    pub vendor: Option<u16>,
    /// Product, as assigned by the vendor.
    pub product: Option<u16>,
    /// Serial number, as the device gives it.
    pub serial: Option<String>,
    /// Physical port: `1-2.3`.
    pub port: Option<String>,
    /// Number of the interface, where a device has several serial ports.
    pub interface: Option<u8>,
}

impl Selector {
    /// Whether the device is one that is meant, whatever its interfaces.
    #[must_use]
    pub fn matches(&self, device: &UsbDevice) -> bool {
        self.vendor.is_none_or(|vendor| vendor == device.vendor_id)
            && self
                .product
                .is_none_or(|product| product == device.product_id)
            && (self.serial.is_none() || self.serial == device.serial_number)
            && self.port.as_ref().is_none_or(|port| *port == device.port)
    }

    /// Whether this port of the device is one that is meant.
    #[must_use]
    pub fn matches_port(&self, device: &UsbDevice, interface: u8) -> bool {
        self.matches(device) && self.interface.is_none_or(|number| number == interface)
    }

    /// The one device that is meant.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn device(&self, tree: &Tree) -> Result<UsbDevice, OpenError> {
        let mut found = usb_devices(tree);
        found.retain(|device| !device.is_hub());
        let others = self.others(&found);
        found.retain(|device| self.matches(device));
        let shown = found.iter().map(ToString::to_string).collect();
        self.only(found, shown, others)
    }

    /// The device file of the one serial port that is meant.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn tty(&self, tree: &Tree) -> Result<PathBuf, OpenError> {
        let mut found = Vec::new();
        let mut shown = Vec::new();
        for tty in ttys(tree) {
            let Some((device, interface)) = tty.usb else {
                continue;
            };
            if self.matches_port(&device, interface) {
                let path = tty.path.display();
                shown.push(format!("{path} ({device}, interface {interface})"));
                found.push(tty.path);
            }
        }
        let devices = if found.is_empty() {
            usb_devices(tree)
        } else {
            Vec::new()
        };
        if let Some(device) = devices.iter().find(|device| self.matches(device)) {
            // Plugged in, and the kernel has made no serial port of it, or not yet.
            return Err(OpenError::NoSerialPort {
                device: device.to_string(),
                interface: self.interface,
            });
        }
        self.only(found, shown, self.others(&devices))
    }

    fn only<T>(
        &self,
        mut found: Vec<T>,
        shown: Vec<String>,
        others: Vec<String>,
    ) -> Result<T, OpenError> {
        if found.len() > 1 {
            return Err(OpenError::Several {
                what: self.to_string(),
                found: shown,
            });
        }
        found.pop().ok_or_else(|| OpenError::NotPluggedIn {
            what: self.to_string(),
            others,
        })
    }

    /// Devices of the same kind, with another serial number or at another port: a look at them shows a mistake.
    fn others(&self, devices: &[UsbDevice]) -> Vec<String> {
        let kind = Self {
            vendor: self.vendor,
            product: self.product,
            ..Self::default()
        };
        if kind == Self::default() {
            return Vec::new();
        }
        let same = devices.iter().filter(|device| kind.matches(device));
        same.map(ToString::to_string).collect()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("USB device")?;
        match (self.vendor, self.product) {
            (Some(vendor), Some(product)) => write!(f, " {vendor:04x}:{product:04x}")?,
            (Some(vendor), None) => write!(f, " of vendor {vendor:04x}")?,
            (None, Some(product)) => write!(f, " of product {product:04x}")?,
            (None, None) => {}
        }
        if let Some(serial) = &self.serial {
            write!(f, " with serial number {serial}")?;
        }
        if let Some(port) = &self.port {
            write!(f, " at port {port}")?;
        }
        if let Some(interface) = self.interface {
            write!(f, ", interface {interface}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use crate::link::sysfs::Tty;

    /// A host with these devices, in a temporary folder laid out as the kernel does.
    struct Host {
        folder: tempfile::TempDir,
        tree: Tree,
    }

    impl Host {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let tree = Tree {
                sys: folder.path().join("sys"),
                dev: folder.path().join("dev"),
            };
            fs::create_dir_all(tree.sys.join("bus/usb/devices")).unwrap();
            fs::create_dir_all(tree.sys.join("class/tty")).unwrap();
            fs::create_dir_all(&tree.dev).unwrap();
            Self { folder, tree }
        }

        /// Plugs in a device, with a serial port for each name.
        fn plug(&self, port: &str, id: (u16, u16), serial: &str, ttys: &[&str]) {
            let at = self.tree.sys.join("devices/pci0/usb1").join(port);
            let address = fs::read_dir(self.tree.sys.join("bus/usb/devices"))
                .unwrap()
                .count()
                + 2;
            for (name, text) in [
                ("idVendor", format!("{:04x}", id.0)),
                ("idProduct", format!("{:04x}", id.1)),
                ("serial", serial.to_owned()),
                ("manufacturer", "Lab\u{1b}[31m".to_owned()),
                ("busnum", "1".to_owned()),
                ("devnum", address.to_string()),
                ("bDeviceClass", "00".to_owned()),
            ] {
                write(&at, name, &text);
            }
            symlink(&at, self.tree.sys.join("bus/usb/devices").join(port)).unwrap();
            for (number, tty) in ttys.iter().enumerate() {
                let interface = at.join(format!("{port}:1.{number}"));
                write(&interface, "bInterfaceNumber", &format!("{number:02x}"));
                write(&interface, "bAlternateSetting", " 0");
                write(&interface, "bInterfaceClass", "ff");
                let endpoint = interface.join("ep_81");
                write(&endpoint, "bEndpointAddress", "81");
                write(&endpoint, "type", "Bulk");
                write(&endpoint, "wMaxPacketSize", "0200");
                symlink("/bus/usb/drivers/ftdi_sio", interface.join("driver")).unwrap();
                let place = self.tree.sys.join("class/tty").join(tty);
                fs::create_dir_all(&place).unwrap();
                // As ftdi_sio does: a folder of the port between the interface and the tty.
                fs::create_dir_all(interface.join(tty)).unwrap();
                symlink(interface.join(tty), place.join("device")).unwrap();
                fs::write(self.tree.dev.join(tty), "").unwrap();
            }
        }

        fn tty(&self, selector: &Selector) -> Result<String, String> {
            let found = selector
                .tty(&self.tree)
                .map_err(|error| error.to_string())?;
            let below = found.strip_prefix(self.folder.path()).unwrap();
            Ok(below.display().to_string())
        }
    }

    fn write(folder: &Path, name: &str, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), format!("{text}\n")).unwrap();
    }

    fn scales() -> Selector {
        Selector {
            vendor: Some(0x0403),
            product: Some(0x6001),
            ..Selector::default()
        }
    }

    #[test]
    fn a_device_is_found_under_whatever_number_it_has() {
        let host = Host::new();
        host.plug("1-1", (0x0403, 0x6001), "A1", &["ttyUSB7"]);
        host.plug("1-2.3", (0x2341, 0x0043), "B2", &["ttyACM0"]);
        assert_eq!(host.tty(&scales()).as_deref(), Ok("dev/ttyUSB7"));
        let port = Selector {
            port: Some("1-2.3".to_owned()),
            ..Selector::default()
        };
        assert_eq!(host.tty(&port).as_deref(), Ok("dev/ttyACM0"));
        let device = scales().device(&host.tree).unwrap();
        assert_eq!(
            device.file(&host.tree),
            host.tree.dev.join("bus/usb/001/002")
        );
        assert_eq!(device.interfaces[0].driver.as_deref(), Some("ftdi_sio"));
        let endpoint = &device.interfaces[0].endpoints[0];
        assert_eq!((endpoint.address, endpoint.packet_bytes), (0x81, 512));
    }

    #[test]
    fn of_two_equal_devices_none_is_taken_and_both_are_listed() {
        let host = Host::new();
        host.plug("1-1", (0x0403, 0x6001), "A1", &["ttyUSB0"]);
        host.plug("1-2", (0x0403, 0x6001), "A2", &["ttyUSB1"]);
        let error = host.tty(&scales()).unwrap_err();
        for part in [
            "USB device 0403:6001",
            "serial A1 port 1-1",
            "serial A2 port 1-2",
            "ttyUSB1",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let by_serial = Selector {
            serial: Some("A2".to_owned()),
            ..scales()
        };
        assert_eq!(host.tty(&by_serial).as_deref(), Ok("dev/ttyUSB1"));
        let by_port = Selector {
            port: Some("1-1".to_owned()),
            ..scales()
        };
        assert_eq!(host.tty(&by_port).as_deref(), Ok("dev/ttyUSB0"));
        assert!(matches!(
            scales().device(&host.tree),
            Err(OpenError::Several { .. })
        ));
    }

    #[test]
    fn one_of_a_devices_ports_is_chosen_by_its_interface() {
        let host = Host::new();
        host.plug("1-1", (0x0403, 0x6001), "A1", &["ttyUSB0", "ttyUSB1"]);
        assert!(host.tty(&scales()).unwrap_err().contains("interface 1"));
        let second = Selector {
            interface: Some(1),
            ..scales()
        };
        assert_eq!(host.tty(&second).as_deref(), Ok("dev/ttyUSB1"));
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let host = Host::new();
        let none = host.tty(&scales()).unwrap_err();
        assert_eq!(none, "no USB device 0403:6001 is plugged in");
        host.plug("1-1", (0x0403, 0x6001), "A1", &["ttyUSB0"]);
        let other = Selector {
            serial: Some("A9".to_owned()),
            ..scales()
        };
        let error = host.tty(&other).unwrap_err();
        assert!(error.contains("with serial number A9"), "{error}");
        assert!(error.contains("serial A1 port 1-1"), "{error}");
        host.plug("1-3", (0x1209, 0x0001), "C", &[]);
        let bare = Selector {
            vendor: Some(0x1209),
            ..Selector::default()
        };
        assert!(matches!(
            bare.tty(&host.tree),
            Err(OpenError::NoSerialPort { .. })
        ));
    }

    #[test]
    fn a_devices_texts_cannot_write_to_the_terminal() {
        let host = Host::new();
        host.plug("1-1", (0x0403, 0x6001), "A1", &["ttyUSB0"]);
        let shown = scales().device(&host.tree).unwrap().to_string();
        assert_eq!(shown, "0403:6001 Lab\u{FFFD}[31m serial A1 port 1-1");
    }

    #[test]
    fn places_for_ports_that_do_not_exist_are_not_listed() {
        let host = Host::new();
        for (name, kind) in [("ttyS0", "4"), ("ttyS1", "0")] {
            let at = host.tree.sys.join("class/tty").join(name);
            write(&at, "type", kind);
            fs::create_dir_all(at.join("device")).unwrap();
            fs::write(host.tree.dev.join(name), "").unwrap();
        }
        // A console: nothing behind it.
        fs::create_dir_all(host.tree.sys.join("class/tty/tty1")).unwrap();
        fs::write(host.tree.dev.join("tty1"), "").unwrap();
        let path = host.tree.dev.join("ttyS0");
        assert_eq!(ttys(&host.tree), [Tty { path, usb: None }]);
    }

    #[test]
    fn a_host_without_usb_has_no_devices() {
        let tree = Tree {
            sys: "/nonexistent".into(),
            dev: "/nonexistent".into(),
        };
        assert_eq!(usb_devices(&tree), []);
        assert_eq!(ttys(&tree), []);
    }
}
