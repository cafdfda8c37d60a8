//! The story: who is plugged in when, and what is asked of `kymo`.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::ffs::Device;
use super::gadget::{Gadget, Identity, port_of, wait_for_port};
use super::kymo::{self, Running};
use super::sensor::Sensor;
use super::{Result, bare, frames, note, pause, wait_until};

const VENDOR: u16 = 0x1209;
const SENSOR: u16 = 0x0001;
const BULK: u16 = 0x0002;
const OTHER: u16 = 0x0003;

/// Number of the twin's first packet: so that its packets are told from the other's.
const TWIN_FIRST: u32 = 1_000_000;

/// Packets that show that a sensor is being read: more than the kernel's buffers on the way hold.
const FLOWING: u64 = 1500;

/// How long the full rate is measured.
const MEASURED: Duration = Duration::from_secs(5);

pub(crate) fn play(report: &mut Map<String, Value>) -> Result<()> {
    let mut watch = Running::start("watch", &["ports", "--watch", "--json"])?;
    wait_until("the watch has begun", || !watch.printed().is_empty())?;
    let lab = Lab::new()?;
    note("plugging in");
    lab.sensor.plug(0)?;
    lab.twin.plug(1)?;
    lab.bulk.plug(2)?;
    wait_for_port("SENSOR-A")?;
    wait_for_port("SENSOR-B")?;
    let ports = look(&["BULK-1"])?;
    report.insert("ports".to_owned(), ports.clone());
    report.insert("ports_text".to_owned(), kymo::text(&["ports"])?.into());
    let forbidden = kymo::json_for_nobody(&["ports", "--json"])?;
    report.insert("ports_for_nobody".to_owned(), forbidden);
    let found = Endpoints::find(&ports)?;
    replugged(&lab, &found, report)?;
    full_rate(&lab, &found, report)?;
    lab.sensor.pull()?;
    lab.twin.pull()?;
    lab.bulk.pull()?;
    wait_until("the sensors are gone", || {
        port_of("SENSOR-A").is_none() && port_of("SENSOR-B").is_none()
    })?;
    pause(Duration::from_secs(1));
    let status = watch.end()?;
    let lines = watch.printed();
    let lines = lines.lines().map(serde_json::from_str::<Value>);
    let lines: Vec<Value> = lines.collect::<std::result::Result<_, _>>()?;
    report.insert(
        "watch".to_owned(),
        json!({ "status": status, "lines": lines }),
    );
    Ok(())
}

/// The devices.
struct Lab {
    sensor: Gadget,
    /// The same but for its serial number.
    twin: Gadget,
    /// Plugged in to take the sensor's number.
    other: Gadget,
    bulk: Gadget,
    endpoints: Device,
}

impl Lab {
    fn new() -> Result<Self> {
        let identity = |product, serial| Identity {
            vendor: VENDOR,
            product,
            serial,
        };
        let sensor = Gadget::new(&identity(SENSOR, "SENSOR-A"), "acm.a")?;
        let twin = Gadget::new(&identity(SENSOR, "SENSOR-B"), "acm.b")?;
        let other = Gadget::new(&identity(OTHER, "OTHER-1"), "acm.other")?;
        let bulk = Gadget::new(&identity(BULK, "BULK-1"), "ffs.bulk")?;
        let endpoints = Device::new("bulk")?;
        Ok(Self {
            sensor,
            twin,
            other,
            bulk,
            endpoints,
        })
    }
}

/// What `kymo ports` says, once these devices are there.
fn look(serials: &[&str]) -> Result<Value> {
    let mut ports = Value::Null;
    let mut failed = None;
    wait_until("kymo ports lists what is plugged in", || {
        match kymo::json(&["ports", "--json"]) {
            Ok(found) => ports = found,
            Err(error) => failed = Some(error.to_string()),
        }
        failed.is_some() || serials.iter().all(|serial| row(&ports, serial).is_some())
    })?;
    failed.map_or(Ok(ports), |error| Err(error.into()))
}

fn row<'r>(ports: &'r Value, serial: &str) -> Option<&'r Value> {
    let mut rows = ports.as_array()?.iter();
    rows.find(|row| row["usb"]["serial_number"] == serial)
}

/// What the configuration needs of what `kymo ports` says: the kernel gives endpoints their addresses.
struct Endpoints {
    twin_port: String,
    /// The data endpoint of a serial device, which the kernel's driver has.
    taken: u8,
    bulk_in: u8,
    bulk_out: u8,
    slow: u8,
}

impl Endpoints {
    fn find(ports: &Value) -> Result<Self> {
        let twin_port = row(ports, "SENSOR-B").and_then(|row| row["usb"]["port"].as_str());
        let endpoint = |serial, interface: usize, direction| {
            let endpoints = &row(ports, serial)?["usb"]["interfaces"][interface]["endpoints"];
            let mut endpoints = endpoints.as_array()?.iter();
            let found = endpoints.find(|endpoint| endpoint["direction"] == direction)?;
            u8::try_from(found["address"].as_u64()?).ok()
        };
        let found = || {
            Some(Self {
                twin_port: twin_port?.to_owned(),
                taken: endpoint("SENSOR-B", 1, "in")?,
                bulk_in: endpoint("BULK-1", 0, "in")?,
                bulk_out: endpoint("BULK-1", 0, "out")?,
                slow: endpoint("BULK-1", 1, "in")?,
            })
        };
        found().ok_or_else(|| format!("kymo ports does not say enough: {ports}").into())
    }
}

/// A source of the configuration.
fn source(name: &str, link: &str, more: &str, packet_bytes: usize) -> String {
    let (protocol, channels) = (
        frames::protocol(packet_bytes),
        frames::channels(name, packet_bytes),
    );
    format!("[source.{name}]\nlink = {{ {link} }}\n{more}{protocol}{channels}\n")
}

fn serial(name: &str, selector: &str) -> String {
    let link = format!(
        "type = \"serial\", baud = 115200, usb = {{ vendor = {VENDOR:#06x}, product = {SENSOR:#06x}{selector} }}"
    );
    source(name, &link, "", frames::SMALL)
}

fn bulk(found: &Endpoints) -> String {
    let link = format!(
        "type = \"usb\", vendor = {VENDOR:#06x}, product = {BULK:#06x}, endpoint = {:#04x}, out_endpoint = {:#04x}",
        found.bulk_in, found.bulk_out
    );
    source(
        "bulk",
        &link,
        "commands = { start = [\"GO\"] }\n",
        frames::LARGE,
    )
}

/// Everything is read at once, while the sensor and the bulk device are pulled and plugged in again.
fn replugged(lab: &Lab, found: &Endpoints, report: &mut Map<String, Value>) -> Result<()> {
    let slow = format!(
        "type = \"usb\", serial = \"BULK-1\", interface = 1, endpoint = {:#04x}",
        found.slow
    );
    let wrong = "type = \"usb\", vendor = 0x1209, product = 0x0002, endpoint = 0x8f";
    let taken = format!(
        "type = \"usb\", serial = \"SENSOR-B\", interface = 1, endpoint = {:#04x}",
        found.taken
    );
    let text = [
        "[store]\nenabled = false\n".to_owned(),
        serial("by_serial", ", serial = \"SENSOR-A\""),
        serial("by_port", &format!(", port = \"{}\"", found.twin_port)),
        serial("either", ""),
        bulk(found),
        source("slow", &slow, "", frames::SMALL),
        source("wrong", wrong, "", frames::SMALL),
        source("taken", &taken, "", frames::SMALL),
    ];
    fs::write("/tmp/lab.toml", text.concat())?;
    let check = kymo::json(&["check", "--json", "--config", "/tmp/lab.toml"])?;
    report.insert("check".to_owned(), check);
    let run = [
        "run",
        "--config",
        "/tmp/lab.toml",
        "--data-dir",
        "/tmp/lab",
        "--report",
        "/tmp/lab.json",
    ];
    let mut run = Running::start("run", &run)?;
    let before = wait_for_port("SENSOR-A")?;
    run.wait_for(&format!("/dev/{before}"))?;
    run.wait_for(&format!("/dev/{}", wait_for_port("SENSOR-B")?))?;
    wait_until("the bulk device is told to go", || lab.endpoints.is_going())?;
    // The port is open a moment before it is set to pass bytes as they are.
    pause(Duration::from_millis(500));
    let sensor = Sensor::start(&lab.sensor.far_end("acm.a")?, 0)?;
    let twin = Sensor::start(&lab.twin.far_end("acm.b")?, TWIN_FIRST)?;
    wait_until("the sensor is read", || sensor.sent() > FLOWING)?;
    wait_until("the bulk device is read", || lab.endpoints.sent() > FLOWING)?;

    note("pulling the sensor");
    lab.sensor.pull()?;
    let pulled_at = sensor.stop()?;
    wait_until("kymo lets go of it", || {
        !run.has_open(&format!("/dev/{before}"))
    })?;
    wait_until("its number is free", || port_of("SENSOR-A").is_none())?;
    lab.other.plug(3)?;
    let other = wait_for_port("OTHER-1")?;
    lab.sensor.plug(0)?;
    let after = wait_for_port("SENSOR-A")?;
    run.wait_for(&format!("/dev/{after}"))?;
    pause(Duration::from_millis(500));
    let sensor = Sensor::start(&lab.sensor.far_end("acm.a")?, u32::try_from(pulled_at)?)?;
    wait_until("the sensor is read again", || sensor.sent() > FLOWING)?;

    note("pulling the bulk device");
    lab.bulk.pull()?;
    // It begins anew when it is told to.
    lab.endpoints.hush();
    let bulk_at = lab.endpoints.next();
    lab.bulk.plug(2)?;
    wait_until("the bulk device is told to go again", || {
        lab.endpoints.is_going()
    })?;
    wait_until("the bulk device is read again", || {
        lab.endpoints.next() > bulk_at + FLOWING
    })?;

    note("stalling the bulk device");
    let stalled_at = lab.endpoints.next();
    lab.endpoints.stall();
    wait_until("the bulk device stalls", || !lab.endpoints.is_going())?;
    wait_until("the bulk device is told to go once more", || {
        lab.endpoints.is_going()
    })?;
    wait_until("the bulk device is read once more", || {
        lab.endpoints.next() > stalled_at + FLOWING
    })?;

    note("ending the run");
    let sensor_sent = pulled_at + sensor.stop()?;
    let twin_sent = twin.stop()?;
    lab.endpoints.fall_silent()?;
    pause(Duration::from_millis(500));
    let slow_sent = lab.endpoints.sent_slowly();
    let status = run.end()?;
    let exported = |what| kymo::text(&["export", "--data-dir", "/tmp/lab", "--what", what]);
    let summary = |channel| summary("/tmp/lab", channel);
    let done = json!({
        "status": status,
        "report": serde_json::from_str::<Value>(&fs::read_to_string("/tmp/lab.json")?)?,
        "audit": kymo::json(&["audit", "--json", "--data-dir", "/tmp/lab"])?,
        "events": exported("events")?,
        "gaps": exported("gaps")?,
        "names": { "before": before, "other": other, "after": after },
        "sent": {
            "by_serial": sensor_sent, "by_serial_before": pulled_at, "by_port": twin_sent,
            "bulk_before": bulk_at, "bulk_stalled": stalled_at, "bulk": lab.endpoints.next(), "slow": slow_sent,
        },
        "by_serial": summary("by_serial.v0")?,
        "by_port": summary("by_port.v0")?,
        "bulk": summary("bulk.v0")?,
        "slow": summary("slow.v0")?,
    });
    report.insert("replugged".to_owned(), done);
    lab.other.pull()?;
    Ok(())
}

/// The numbers of the packets that were recorded: how many, the first, the last, and where they jump.
fn summary(data_dir: &str, channel: &str) -> Result<Value> {
    let rows = kymo::text(&["export", channel, "--data-dir", data_dir])?;
    let cells = rows
        .lines()
        .skip(1)
        .filter_map(|row| row.rsplit(',').next());
    let numbers: Vec<f64> = cells
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    let pairs = numbers.windows(2);
    let jumps: Vec<&[f64]> = pairs.filter(|pair| pair[1] != pair[0] + 1.0).collect();
    Ok(json!({
        "count": numbers.len(),
        "first": numbers.first(),
        "last": numbers.last(),
        "jumps": jumps.iter().take(10).collect::<Vec<_>>(),
    }))
}

/// The bulk device as fast as the bus goes: once read by a bare loop, once recorded by `kymo`.
fn full_rate(lab: &Lab, found: &Endpoints, report: &mut Map<String, Value>) -> Result<()> {
    note("measuring the bus");
    lab.endpoints.hurry();
    let endpoints = (found.bulk_in, found.bulk_out);
    let limit = bare::limit(&lab.endpoints, endpoints, MEASURED)?;
    let link = bare::link(&lab.endpoints, endpoints, MEASURED)?;
    report.insert("link".to_owned(), link);
    let text = ["[store]\nenabled = false\n".to_owned(), bulk(found)];
    fs::write("/tmp/bulk.toml", text.concat())?;
    let before = lab.endpoints.sent();
    let run = [
        "run",
        "--config",
        "/tmp/bulk.toml",
        "--data-dir",
        "/tmp/bulk",
        "--report",
        "/tmp/bulk.json",
    ];
    let mut run = Running::start("bulk", &run)?;
    wait_until("the bulk device is told to go", || lab.endpoints.is_going())?;
    pause(Duration::from_millis(500));
    let (started, first) = (Instant::now(), lab.endpoints.sent());
    pause(MEASURED);
    let bytes = (lab.endpoints.sent() - first) * frames::LARGE as u64;
    let rate = bytes as f64 / started.elapsed().as_secs_f64();
    lab.endpoints.fall_silent()?;
    pause(Duration::from_millis(500));
    let status = run.end()?;
    let done = json!({
        "status": status,
        "report": serde_json::from_str::<Value>(&fs::read_to_string("/tmp/bulk.json")?)?,
        "sent": lab.endpoints.sent() - before,
        "values": frames::values(frames::LARGE),
        "bytes_per_s": rate,
        "limit_bytes_per_s": limit,
    });
    report.insert("full_rate".to_owned(), done);
    Ok(())
}
