//! `link = { … }` of a source: a function for each type.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use kymo_drivers::link::serial::{Device, FlowControl, Level, Parity};
use kymo_drivers::link::tcp::Tuning;
use kymo_drivers::link::{self, fifo, file, serial, tcp, tcp_server, udp, usbtmc};

use super::address::{host_and_port, ip, ips, senders, socket_address};
use super::plan::Link;
use super::section::Section;
use super::simulator::Simulator;
use super::usb;
use super::values::{
    Wrong, choice, duration, flag, integer, message, parse_duration, size, text, unknown,
};

const HELP: &str = "as in link = { type = \"serial\", path = \"/dev/ttyUSB0\", baud = 115200 }";

#[derive(Clone, Copy)]
enum Kind {
    Serial,
    Usb,
    Tcp,
    TcpServer,
    Udp,
    Stdin,
    Fifo,
    File,
    Simulator,
    Usbtmc,
}

const KINDS: [(&str, Kind); 10] = [
    ("serial", Kind::Serial),
    ("usb", Kind::Usb),
    ("usbtmc", Kind::Usbtmc),
    ("tcp", Kind::Tcp),
    ("tcp-server", Kind::TcpServer),
    ("udp", Kind::Udp),
    ("stdin", Kind::Stdin),
    ("fifo", Kind::Fifo),
    ("file", Kind::File),
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
        Kind::Tcp => of_tcp(&table).map(Link::Device),
        Kind::TcpServer => of_tcp_server(&table).map(Link::Device),
        Kind::Udp => of_udp(&table).map(Link::Device),
        Kind::Stdin => Some(Link::Device(link::Options::Stdin)),
        Kind::Fifo => {
            path(&table).map(|path| Link::Device(link::Options::Fifo(fifo::Options { path })))
        }
        Kind::File => of_file(&table).map(Link::Device),
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

fn path(table: &Section<'_>) -> Option<PathBuf> {
    Some(table.need("path", text)?.value.into())
}

fn of_file(table: &Section<'_>) -> Option<link::Options> {
    let follow = table.get("follow", flag).is_some_and(|at| at.value);
    let path = path(table)?;
    Some(link::Options::File(file::Options { path, follow }))
}

/// How a connection is kept.
fn tuning(table: &Section<'_>) -> Tuning {
    let default = Tuning::default();
    // The kernel counts in seconds, in 15 bits.
    let keepalive = |value: &toml::de::DeValue<'_>| {
        if value
            .as_str()
            .is_some_and(|text| parse_duration(text) == Ok(Duration::ZERO))
        {
            return Ok(None);
        }
        let limits = (Duration::from_secs(1), Duration::from_secs(32_767));
        duration(limits)(value).map(Some)
    };
    Tuning {
        keepalive: table
            .get("keepalive", keepalive)
            .map_or(default.keepalive, |at| at.value),
        nodelay: table
            .get("nodelay", flag)
            .map_or(default.nodelay, |at| at.value),
    }
}

fn of_tcp(table: &Section<'_>) -> Option<link::Options> {
    let address = table.need("address", host_and_port);
    let limits = (Duration::from_millis(10), Duration::from_secs(300));
    let connect_timeout = table.get("connect_timeout", duration(limits));
    let tuning = tuning(table);
    let mut options = tcp::Options::new(address?.value);
    options.tuning = tuning;
    if let Some(timeout) = connect_timeout {
        options.connect_timeout = timeout.value;
    }
    Some(link::Options::Tcp(options))
}

fn of_tcp_server(table: &Section<'_>) -> Option<link::Options> {
    let bind = table.need("bind", socket_address);
    let allow = table.get("allow", ips);
    let tuning = tuning(table);
    Some(link::Options::TcpServer(tcp_server::Options {
        bind: bind?.value,
        allow: allow.map_or_else(Vec::new, |at| at.value),
        tuning,
    }))
}

fn of_udp(table: &Section<'_>) -> Option<link::Options> {
    let bind = table.need("bind", socket_address);
    let from = table.get("from", senders);
    let to = table.get("to", socket_address);
    let group = table.get("group", ip);
    let interface = table.get("interface", ip);
    let buffer = table.get("receive_buffer", size(4 << 10..=1 << 30));
    let append = table.get("append", |value| {
        message(value, "a text or { hex = \"…\" }, as in \"\\n\"")
    });
    if let Some(group) = &group
        && !group.value.is_multicast()
    {
        let what = format!("is \"{}\", which is no multicast address", group.value);
        let label = "as in \"239.1.2.3\"";
        table.wrong("group", group.span.clone(), &Wrong::new(what, label));
        return None;
    }
    let interface = match interface.as_ref().map(|at| (at.value, at)) {
        None => None,
        Some((IpAddr::V4(ip), _)) if group.as_ref().is_some_and(|at| at.value.is_ipv4()) => {
            Some(ip)
        }
        Some((_, at)) => {
            let wrong = Wrong::new(
                "says where an IPv4 `group` is joined, and must be the IPv4 address of an interface",
                "as in \"192.168.1.5\", beside a `group`",
            );
            table.wrong("interface", at.span.clone(), &wrong);
            return None;
        }
    };
    let bind = bind?;
    let families = [
        &to.as_ref().map(|at| at.value.is_ipv4()),
        &group.as_ref().map(|at| at.value.is_ipv4()),
    ];
    if families
        .iter()
        .any(|is_ipv4| is_ipv4.is_some_and(|is_ipv4| is_ipv4 != bind.value.is_ipv4()))
    {
        let wrong = Wrong::new(
            format!(
                "is \"{}\", and `to` or `group` is of the other family",
                bind.value
            ),
            "all IPv4, or all IPv6",
        );
        table.wrong("bind", bind.span, &wrong);
        return None;
    }
    let mut options = udp::Options::new(bind.value);
    options.from = from.map_or_else(Vec::new, |at| at.value);
    options.to = to.map(|at| at.value);
    options.group = group.map(|at| at.value);
    options.interface = interface;
    if let Some(bytes) = buffer.and_then(|at| usize::try_from(at.value).ok()) {
        options.receive_buffer = bytes;
    }
    options.append = append.map_or_else(Vec::new, |at| at.value);
    Some(link::Options::Udp(options))
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
    let control = control(table, flow_control);
    Some(serial::Options {
        device: Device::Path(PathBuf::new()),
        baud: u32::try_from(baud).ok()?,
        data_bits: u8::try_from(data_bits).unwrap_or(8),
        parity,
        stop_bits: u8::try_from(stop_bits).unwrap_or(1),
        flow_control,
        control,
    })
}

/// What a port is set to beside its line.
fn control(table: &Section<'_>, flow_control: FlowControl) -> serial::Control {
    let levels = [
        ("on", Level::On),
        ("off", Level::Off),
        ("leave", Level::Leave),
    ];
    let dtr = table.get("dtr", choice(&levels));
    let rts = table.get("rts", choice(&levels));
    if let Some(rts) = &rts
        && rts.value != Level::Leave
        && flow_control == FlowControl::Hardware
    {
        let wrong = Wrong::new(
            "is set, and flow_control = \"hardware\" sets it too",
            "only one of them can",
        );
        table.wrong("rts", rts.span.clone(), &wrong);
    }
    serial::Control {
        dtr: dtr.map_or(Level::Leave, |at| at.value),
        rts: rts.map_or(Level::Leave, |at| at.value),
        hang_up: table.get("hang_up", flag).map(|at| at.value),
        low_latency: table.get("low_latency", flag).is_some_and(|at| at.value),
    }
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
