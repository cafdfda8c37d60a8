//! USB devices made of files: `Documentation/usb/gadget_configfs.rst` of the kernel.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Result, wait_until};

const GADGETS: &str = "/sys/kernel/config/usb_gadget";

/// A device that can be plugged in and pulled.
pub(crate) struct Gadget {
    folder: PathBuf,
}

/// What the device says of itself.
pub(crate) struct Identity {
    pub(crate) vendor: u16,
    pub(crate) product: u16,
    pub(crate) serial: &'static str,
}

impl Gadget {
    /// A device with one function, `acm.NAME` or `ffs.NAME`.
    pub(crate) fn new(identity: &Identity, function: &str) -> Result<Self> {
        let folder = Path::new(GADGETS).join(identity.serial);
        let (strings, configuration) = (folder.join("strings/0x409"), folder.join("configs/c.1"));
        fs::create_dir(&folder)?;
        fs::create_dir(&strings)?;
        fs::create_dir(&configuration)?;
        let functions = folder.join("functions").join(function);
        fs::create_dir(&functions)?;
        fs::write(folder.join("idVendor"), format!("{:#06x}", identity.vendor))?;
        fs::write(
            folder.join("idProduct"),
            format!("{:#06x}", identity.product),
        )?;
        fs::write(strings.join("serialnumber"), identity.serial)?;
        fs::write(strings.join("manufacturer"), "Kymograph Works")?;
        fs::write(strings.join("product"), "Test Sensor")?;
        symlink(&functions, configuration.join(function))?;
        Ok(Self { folder })
    }

    /// The number N of `/dev/ttyGSN`, the far end of an `acm` function.
    pub(crate) fn far_end(&self, function: &str) -> Result<PathBuf> {
        let number = fs::read_to_string(
            self.folder
                .join("functions")
                .join(function)
                .join("port_num"),
        )?;
        Ok(PathBuf::from(format!("/dev/ttyGS{}", number.trim())))
    }

    /// Plugs it into a controller: 0 to 3.
    pub(crate) fn plug(&self, controller: u8) -> Result<()> {
        fs::write(self.folder.join("UDC"), format!("dummy_udc.{controller}"))?;
        Ok(())
    }

    /// Pulls it.
    pub(crate) fn pull(&self) -> Result<()> {
        fs::write(self.folder.join("UDC"), "\n")?;
        Ok(())
    }
}

/// The serial port that the device of this serial number is for the host now, if it is one.
pub(crate) fn port_of(serial: &str) -> Option<String> {
    let ports = fs::read_dir("/sys/class/tty")
        .into_iter()
        .flatten()
        .flatten();
    let mut names = ports.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| {
        let of_device = format!("/sys/class/tty/{name}/device/../serial");
        name.starts_with("ttyACM")
            && fs::read_to_string(of_device).is_ok_and(|text| text.trim() == serial)
    })
}

/// Waits until the host has made a serial port of a device.
pub(crate) fn wait_for_port(serial: &str) -> Result<String> {
    wait_until(&format!("{serial} becomes a serial port"), || {
        port_of(serial).is_some()
    })?;
    port_of(serial).ok_or_else(|| format!("{serial} is gone at once").into())
}
