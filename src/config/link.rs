//! `link = { … }` of a source: a function for each type.

use std::path::PathBuf;

use kymo_drivers::link::serial::{Device, FlowControl, Parity};
use kymo_drivers::link::{self, serial, usbtmc};

use super::Simulator;
use super::plan::Link;
use super::section::Section;
use super::usb;
use super::values::{Wrong, choice, integer, text, unknown};

const HELP: &str = "as in link = { type = \"serial\", path = \"/dev/ttyUSB0\", baud = 115200 }";

#[derive(Clone, Copy)]
enum Kind {
    Serial,
    Usb,
    Simulator,
    Usbtmc,
}

const KINDS: [(&str, Kind); 4] = [
    ("serial", Kind::Serial),
    ("usb", Kind::Usb),
    ("usbtmc", Kind::Usbtmc),
    ("simulator", Kind::Simulator),
];

/// Reads a source's link; `read_by` notes which simulator is read by which source.
pub(super) fn read(
    section: &Section<'_>,
    simulators: &[Simulator],
    read_by: &mut [Option<String>],
) -> Option<Link> {
    let table = section.need_table("link", HELP)?;
    let kind = table.need("type", choice(&KINDS))?.value;
    let link = match kind {
        Kind::Serial => of_serial(&table),
        Kind::Usb => usb::endpoint(&table).map(|usb| Link::Device(link::Options::Usb(usb))),
        Kind::Simulator => of_simulator(section, &table, simulators, read_by),
        Kind::Usbtmc => of_usbtmc(&table),
    };
    table.finish();
    link
}

fn of_serial(table: &Section<'_>) -> Option<Link> {
    let device = port(table);
    let baud = table.need("baud", integer(BAUD));
    // Read even if these two are wrong, so that its keys are not called unknown.
    let line = line(table, baud.map_or(0, |baud| baud.value));
    let serial = serial::Options {
        device: device?,
        ..line?
    };
    if serial.baud == 0 {
        return None;
    }
    Some(Link::Device(link::Options::Serial(serial)))
}

/// Which serial port: by its path, or by the USB device that it is.
fn port(table: &Section<'_>) -> Option<Device> {
    if !table.has("usb") {
        return Some(Device::Path(table.need("path", text)?.value.into()));
    }
    let path = table.get("path", text);
    let selector = table.table("usb").and_then(|usb| usb::selector(&usb));
    if let Some(path) = path {
        let wrong = Wrong::new("stands beside `usb`", "one of them says which port");
        table.wrong("path", path.span, &wrong);
        return None;
    }
    selector.map(Device::Usb)
}

fn of_usbtmc(table: &Section<'_>) -> Option<Link> {
    let path = table.need("path", text)?.value.into();
    Some(Link::Device(link::Options::Usbtmc(usbtmc::Options {
        path,
    })))
}

fn of_simulator(
    section: &Section<'_>,
    table: &Section<'_>,
    simulators: &[Simulator],
    read_by: &mut [Option<String>],
) -> Option<Link> {
    let simulator = device(section, table, simulators, read_by);
    // A pseudo-terminal has no pace of its own, and takes any rate.
    let baud = table
        .get("baud", integer(BAUD))
        .map_or(12_000_000, |baud| baud.value);
    let serial = line(table, baud)?;
    Some(Link::Simulator {
        simulator: simulator?,
        serial,
    })
}

/// Bits a second.
const BAUD: std::ops::RangeInclusive<i64> = 50..=20_000_000;

/// How the line is set; which port it is comes from elsewhere.
fn line(table: &Section<'_>, baud: i64) -> Option<serial::Options> {
    let parities = [
        ("none", Parity::None),
        ("odd", Parity::Odd),
        ("even", Parity::Even),
    ];
    let controls = [
        ("none", FlowControl::None),
        ("hardware", FlowControl::Hardware),
        ("software", FlowControl::Software),
    ];
    let data_bits = table
        .get("data_bits", integer(5..=8))
        .map_or(8, |bits| bits.value);
    let stop_bits = table
        .get("stop_bits", integer(1..=2))
        .map_or(1, |bits| bits.value);
    let parity = table
        .get("parity", choice(&parities))
        .map_or(Parity::None, |at| at.value);
    let flow_control = table
        .get("flow_control", choice(&controls))
        .map_or(FlowControl::None, |at| at.value);
    Some(serial::Options {
        device: Device::Path(PathBuf::new()),
        baud: u32::try_from(baud).ok()?,
        data_bits: u8::try_from(data_bits).unwrap_or(8),
        parity,
        stop_bits: u8::try_from(stop_bits).unwrap_or(1),
        flow_control,
    })
}

/// The simulator that a link names; each has one reader.
fn device(
    section: &Section<'_>,
    table: &Section<'_>,
    simulators: &[Simulator],
    read_by: &mut [Option<String>],
) -> Option<usize> {
    let device = table.need("device", text)?;
    let place = simulators
        .iter()
        .position(|simulator| simulator.name == device.value);
    let Some(place) = place else {
        let names = simulators.iter().map(|simulator| simulator.name.as_str());
        let mut wrong = unknown(&device.value, names);
        wrong.help = Some(format!(
            "declare it: [simulator.{}] with device = \"{}\", say",
            super::values::shortened(&device.value),
            kymo_simulators::DEVICES
                .first()
                .map_or("", |kind| kind.name)
        ));
        table.wrong("device", device.span, &wrong);
        return None;
    };
    if let Some(other) = &read_by[place] {
        let wrong = Wrong::new(
            format!(
                "is \"{}\", which the source `{other}` reads already",
                device.value
            ),
            "a port has one reader",
        );
        table.wrong("device", device.span, &wrong);
        return None;
    }
    read_by[place] = Some(section.name().to_owned());
    Some(place)
}
