//! One serial port or USB device, as it is shown.

use std::fmt;
use std::path::{Path, PathBuf};

use kymo_drivers::link::serial::Device;
use kymo_drivers::link::sysfs::{Interface, Tree, UsbDevice};
use kymo_drivers::link::{self, OpenError, ports};
use serde_json::{Value, json};

use crate::config::plan::{Link, Plan};

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Open each serial port for a moment.
    Open,
    /// Open nothing.
    Permission,
}

/// A serial port, or a USB device that is none.
pub(super) struct Row {
    kind: &'static str,
    /// Its device file, or what was looked for and is not there.
    path: String,
    usb: Option<UsbDevice>,
    /// Of a serial port.
    interface: Option<u8>,
    sources: Vec<String>,
    problem: Option<OpenError>,
}

/// What makes a device the same one at two looks: one that was plugged in again has another address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    path: String,
    address: Option<(u8, u8)>,
}

/// What there is, and what the configuration names though it is not there.
pub(super) fn list(plan: Option<&Plan>, look: Look) -> Vec<Row> {
    let sources: Vec<(&str, &link::Options)> = plan.into_iter().flat_map(configured).collect();
    let mut rows: Vec<Row> = serial_rows(&sources, look);
    rows.extend(usb_rows(&sources));
    let is_shown = |name: &str| {
        let mut named = rows.iter().flat_map(|row| &row.sources);
        named.any(|shown| shown == name)
    };
    let missing: Vec<Row> = sources
        .iter()
        .filter(|(name, _)| !is_shown(name))
        .filter_map(|(name, options)| missing(name, options, look))
        .collect();
    rows.extend(missing);
    rows
}

/// The sources that read a device of this host.
fn configured(plan: &Plan) -> impl Iterator<Item = (&str, &link::Options)> {
    plan.sources.iter().filter_map(|source| match &source.link {
        Link::Device(options) => Some((source.name.as_str(), options)),
        Link::Simulator { .. } => None,
    })
}

fn serial_rows(sources: &[(&str, &link::Options)], look: Look) -> Vec<Row> {
    let ports = ports::list().into_iter().map(|port| {
        let reads = |options: &link::Options| match options {
            link::Options::Serial(serial) => match &serial.device {
                Device::Path(path) => same(path, &port.path),
                Device::Usb(selector) => port
                    .usb
                    .as_ref()
                    .is_some_and(|(device, interface)| selector.matches_port(device, *interface)),
            },
            _ => false,
        };
        let sources = names(sources, reads);
        let problem = problem(&port.path, look);
        let (usb, interface) = port.usb.unzip();
        Row {
            kind: "serial",
            path: port.path.to_string_lossy().into_owned(),
            usb,
            interface,
            sources,
            problem,
        }
    });
    ports.collect()
}

fn usb_rows(sources: &[(&str, &link::Options)]) -> Vec<Row> {
    let devices = ports::list_usb().into_iter().map(|device| {
        let reads = |options: &link::Options| match options {
            link::Options::Usb(usb) => usb.device.matches(&device),
            _ => false,
        };
        let path = device.file(&Tree::default());
        Row {
            kind: "usb",
            path: path.to_string_lossy().into_owned(),
            sources: names(sources, reads),
            problem: problem(&path, Look::Permission),
            usb: Some(device),
            interface: None,
        }
    });
    devices.collect()
}

/// A configured device that is not there, or is none that the system lists.
fn missing(name: &str, options: &link::Options, look: Look) -> Option<Row> {
    let (kind, path, problem) = match options {
        link::Options::Serial(serial) => match &serial.device {
            Device::Path(path) => ("serial", path.display().to_string(), problem(path, look)),
            Device::Usb(selector) => {
                let found = selector.tty(&Tree::default());
                ("serial", selector.to_string(), found.err())
            }
        },
        link::Options::Usb(usb) => {
            let found = usb.device.device(&Tree::default());
            ("usb", usb.device.to_string(), found.err())
        }
        // Not what is plugged in.
        _ => return None,
    };
    Some(Row {
        kind,
        path,
        usb: None,
        interface: None,
        sources: vec![name.to_owned()],
        problem,
    })
}

fn names(
    sources: &[(&str, &link::Options)],
    reads: impl Fn(&link::Options) -> bool,
) -> Vec<String> {
    let reading = sources.iter().filter(|(_, options)| reads(options));
    reading.map(|(name, _)| (*name).to_owned()).collect()
}

fn problem(path: &Path, look: Look) -> Option<OpenError> {
    match look {
        Look::Open => ports::probe(path).err(),
        Look::Permission => ports::may_open(path).err(),
    }
}

/// Whether two paths lead to the same device: `/dev/serial/by-id/…` is a link.
fn same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> { path.canonicalize().ok() };
    a == b || matches!((real(a), real(b)), (Some(a), Some(b)) if a == b)
}

impl Row {
    pub(super) fn identity(&self) -> Identity {
        Identity {
            path: self.path.clone(),
            address: self.usb.as_ref().map(|usb| (usb.bus, usb.address)),
        }
    }

    /// Whether it is there, and not only named in the configuration.
    pub(super) fn is_there(&self) -> bool {
        self.usb.is_some() || Path::new(&self.path).exists()
    }

    pub(super) fn json(&self) -> Value {
        let usb = self.usb.as_ref();
        json!({
            "kind": self.kind,
            "path": self.path,
            "device": usb.map(ToString::to_string),
            "usb": usb.map(|usb| json!({
                "vendor_id": usb.vendor_id,
                "product_id": usb.product_id,
                "serial_number": usb.serial_number,
                "manufacturer": usb.manufacturer,
                "product": usb.product,
                "port": usb.port,
                "bus": usb.bus,
                "address": usb.address,
                "interface": self.interface,
                "interfaces": usb.interfaces.iter().map(interface).collect::<Vec<_>>(),
            })),
            "sources": self.sources,
            "can_be_opened": self.problem.is_none(),
            "problem": self.problem.as_ref().map(ToString::to_string),
            "hint": self.hint(),
        })
    }

    /// The rule of udev that gives it to a group.
    fn rule(&self, usb: &UsbDevice) -> String {
        let (vendor, product) = (usb.vendor_id, usb.product_id);
        // A serial port is a child of the device that the numbers belong to.
        let (subsystem, of, group) = match self.interface {
            Some(_) => ("tty", "ATTRS", "dialout"),
            None => ("usb", "ATTR", "plugdev"),
        };
        format!(
            "a rule in /etc/udev/rules.d gives it to a group: SUBSYSTEM==\"{subsystem}\", \
             {of}{{idVendor}}==\"{vendor:04x}\", {of}{{idProduct}}==\"{product:04x}\", \
             GROUP=\"{group}\", MODE=\"0660\""
        )
    }

    /// What a person can do about its problem.
    fn hint(&self) -> Option<String> {
        match self.problem.as_ref()? {
            OpenError::NoPermission { group, .. } => match (group.as_deref(), &self.usb) {
                // Nobody should join that group to read a sensor.
                (Some("root") | None, Some(usb)) => Some(self.rule(usb)),
                (Some(group), _) => Some(format!(
                    "join the group with `sudo usermod -aG {group} $USER` and log in again"
                )),
                (None, None) => None,
            },
            OpenError::InUse { path } => {
                Some(format!("`fuser -v {}` says by whom", path.display()))
            }
            OpenError::Several { .. } => {
                Some("say which one by `serial` or `port` in the configuration".to_owned())
            }
            _ => None,
        }
    }
}

fn interface(interface: &Interface) -> Value {
    let endpoints = interface.endpoints.iter().map(|endpoint| {
        json!({
            "address": endpoint.address,
            "type": endpoint.kind.to_lowercase(),
            "direction": direction(endpoint.address),
            "packet_bytes": endpoint.packet_bytes,
        })
    });
    json!({
        "number": interface.number,
        "alternate": interface.alternate,
        "class": interface.class,
        "driver": interface.driver,
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn direction(endpoint: u8) -> &'static str {
    if endpoint & 0x80 == 0 { "out" } else { "in" }
}

/// As many lines as it takes, without the last line's end.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20}", self.path)?;
        if let Some(usb) = &self.usb {
            write!(f, " {usb}")?;
        }
        if !self.sources.is_empty() {
            write!(f, "  [source {}]", self.sources.join(", "))?;
        }
        let interfaces = self.usb.iter().flat_map(|usb| &usb.interfaces);
        for interface in interfaces.filter(|_| self.kind == "usb") {
            write!(f, "\n{:<20} interface {}", "", interface.number)?;
            if let Some(driver) = &interface.driver {
                write!(f, " (in use by {driver})")?;
            }
            for (place, endpoint) in interface.endpoints.iter().enumerate() {
                let sign = if place == 0 { ':' } else { ',' };
                let (address, kind) = (endpoint.address, endpoint.kind.to_lowercase());
                write!(f, "{sign} 0x{address:02x} {kind} {}", direction(address))?;
            }
        }
        if let Some(problem) = &self.problem {
            write!(f, "\n{:<20} cannot be opened: {problem}", "")?;
        }
        if let Some(hint) = self.hint() {
            write!(f, "\n{:<20} {hint}", "")?;
        }
        Ok(())
    }
}
