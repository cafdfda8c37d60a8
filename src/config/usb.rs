//! USB devices of the configuration: which one is meant, and how an endpoint is read.

use std::fmt::LowerHex;
use std::ops::RangeInclusive;

use kymo_drivers::link::find::Selector;
use kymo_drivers::link::usb::{BYTES_IN_FLIGHT_MAX, Options, TRANSFER_BYTES_MAX, TRANSFERS_MAX};
use toml::de::DeValue;

use super::section::{At, Section};
use super::values::{Wrong, flag, integer, shortened, size, text};

/// What can be said to name a device.
const IDENTITY_HELP: &str =
    "say which device: vendor and product, serial, or port; `kymo ports` lists what is plugged in";

/// The device that a serial port is: `usb = { vendor, product, serial, port, interface }`.
pub(super) fn selector(table: &Section<'_>) -> Option<Selector> {
    let selector = identity(table);
    let interface = table.get("interface", integer(0..=255));
    table.finish();
    Some(Selector {
        interface: interface.and_then(|at| u8::try_from(at.value).ok()),
        ..selector?
    })
}

/// An endpoint to be read: the keys of `link = { type = "usb", … }`.
pub(super) fn endpoint(table: &Section<'_>) -> Option<Options> {
    let selector = identity(table);
    let defaults = Options::new(Selector::default());
    let byte = |key, range, default| {
        let found: Option<At<i64>> = table.get(key, integer(range));
        found.map_or(default, |at| u8::try_from(at.value).unwrap_or(default))
    };
    let interface = byte("interface", 0..=255, defaults.interface);
    let alternate = byte("alternate", 0..=255, defaults.alternate);
    let endpoint = table.get("endpoint", in_endpoint);
    let out_endpoint = table.get("out_endpoint", out_endpoint);
    let transfers = table.get("transfers", integer(1..=TRANSFERS_MAX as i64));
    let transfer_size = table.get("transfer_size", size(1..=TRANSFER_BYTES_MAX as u64));
    let detach_driver = table.get("detach_driver", flag);
    let count = transfers.as_ref().map_or(defaults.transfers, |at| {
        usize::try_from(at.value).unwrap_or(1)
    });
    let bytes = transfer_size
        .as_ref()
        .map(|at| usize::try_from(at.value).unwrap_or(TRANSFER_BYTES_MAX));
    if let (Some(size), Some(bytes)) = (&transfer_size, bytes)
        && count.saturating_mul(bytes) > BYTES_IN_FLIGHT_MAX
    {
        let limit = BYTES_IN_FLIGHT_MAX >> 20;
        let what =
            format!("times {count} transfers is more than the {limit} MiB that the kernel lends");
        let wrong = Wrong::new(what, "fewer transfers, or smaller ones");
        table.wrong("transfer_size", size.span.clone(), &wrong);
    }
    Some(Options {
        device: selector?,
        interface,
        alternate,
        endpoint: endpoint.map_or(defaults.endpoint, |at| at.value),
        out_endpoint: out_endpoint.map(|at| at.value),
        transfers: count,
        transfer_bytes: bytes,
        detach_driver: detach_driver.is_some_and(|at| at.value),
    })
}

fn identity(table: &Section<'_>) -> Option<Selector> {
    let id = |key| {
        let found = table.get(key, integer(0..=0xFFFF))?;
        Some((u16::try_from(found.value).ok()?, found.span))
    };
    let (vendor, product) = (id("vendor"), id("product"));
    let serial = table.get("serial", text);
    let port = table.get("port", port);
    let is_named = ["vendor", "product", "serial", "port"]
        .iter()
        .any(|key| table.has(key));
    if !is_named {
        let what = format!("`{}` names no USB device", table.path());
        table.found.add(
            table.span.clone(),
            &what,
            "which one is meant?",
            Some(IDENTITY_HELP),
        );
        return None;
    }
    if let (None, Some((product, span))) = (&vendor, &product)
        && !table.has("vendor")
    {
        let what = format!("is {}, and `vendor` is missing", hex(product));
        let label = "the same number means another product with every vendor";
        table.wrong("product", span.clone(), &Wrong::new(what, label));
        return None;
    }
    Some(Selector {
        vendor: vendor.map(|(id, _)| id),
        product: product.map(|(id, _)| id),
        serial: serial.map(|at| at.value),
        port: port.map(|at| at.value),
        interface: None,
    })
}

fn hex(number: &impl LowerHex) -> String {
    format!("{number:#06x}")
}

/// The address of an endpoint that sends to the host.
fn in_endpoint(value: &DeValue<'_>) -> Result<u8, Wrong> {
    address(value, 0x81..=0x8F, "an endpoint that sends to the host")
}

/// The address of an endpoint that the host sends to.
fn out_endpoint(value: &DeValue<'_>) -> Result<u8, Wrong> {
    address(value, 0x01..=0x0F, "an endpoint that the host sends to")
}

fn address(value: &DeValue<'_>, range: RangeInclusive<u8>, label: &str) -> Result<u8, Wrong> {
    let given = integer(i64::MIN..=i64::MAX)(value)?;
    let address = u8::try_from(given)
        .ok()
        .filter(|address| range.contains(address));
    address.ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        Wrong::new(
            format!("is {given:#04x}, and must be {low:#04x} to {high:#04x}"),
            label,
        )
    })
}

/// A physical port: a bus, and the ports of the hubs on the way.
fn port(value: &DeValue<'_>) -> Result<String, Wrong> {
    let port = text(value)?;
    let is_number = |part: &str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit())
    };
    let is_right = port
        .split_once('-')
        .is_some_and(|(bus, ports)| is_number(bus) && ports.split('.').all(is_number));
    if is_right {
        return Ok(port);
    }
    let mut wrong = Wrong::new(
        format!("is \"{}\", which is no physical port", shortened(&port)),
        "the bus and the ports on the way, as in \"1-2.3\"",
    );
    wrong.help = Some("`kymo ports` shows where each device is plugged in".to_owned());
    Err(wrong)
}
