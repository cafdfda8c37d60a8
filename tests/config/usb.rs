//! USB devices in the configuration.

use kymo::config::parse;
use kymo::config::plan::Link;
use kymo_drivers::link::find::Selector;
use kymo_drivers::link::serial::Device;
use kymo_drivers::link::{Options, usb};

use super::said;

fn source(name: &str, link: &str) -> String {
    format!(
        "[source.{name}]\nlink = {{ {link} }}\nprotocol = {{ type = \"lines\" }}\n\
         [[source.{name}.channel]]\nname = \"a\"\n"
    )
}

fn device(link: &str) -> Options {
    let mut plan = parse("lab.toml", &source("s", link)).unwrap_or_else(|m| panic!("{m}"));
    match plan.sources.remove(0).link {
        Link::Device(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_serial_port_is_named_by_its_usb_device() {
    let whole = "type = \"serial\", baud = 9600, usb = { vendor = 0x0403, product = 0x6001, \
                 serial = \"A1\", port = \"1-2.3\", interface = 1 }";
    let Options::Serial(serial) = device(whole) else {
        panic!("it is a serial port");
    };
    let selector = Selector {
        vendor: Some(0x0403),
        product: Some(0x6001),
        serial: Some("A1".to_owned()),
        port: Some("1-2.3".to_owned()),
        interface: Some(1),
    };
    assert_eq!(serial.device, Device::Usb(selector));
    let by_port = "type = \"serial\", baud = 9600, usb = { port = \"12-1\" }";
    let shown = device(by_port).to_string();
    assert_eq!(shown, "USB device at port 12-1 at 9600 baud");
}

#[test]
fn an_endpoint_has_defaults_for_all_but_the_device() {
    let Options::Usb(least) = device("type = \"usb\", vendor = 0x1209, product = 1") else {
        panic!("it is an endpoint");
    };
    let selector = Selector {
        vendor: Some(0x1209),
        product: Some(1),
        ..Selector::default()
    };
    assert_eq!(least, usb::Options::new(selector.clone()));
    let whole = "type = \"usb\", vendor = 0x1209, product = 1, interface = 2, alternate = 1, endpoint = 0x83, \
                 out_endpoint = 0x04, transfers = 16, transfer_size = \"1MiB\", detach_driver = true";
    let expected = usb::Options {
        device: selector,
        interface: 2,
        alternate: 1,
        endpoint: 0x83,
        out_endpoint: Some(4),
        transfers: 16,
        transfer_bytes: Some(1 << 20),
        detach_driver: true,
    };
    assert_eq!(device(whole), Options::Usb(expected));
}

/// One source with a mistake of every kind each: all are told, in the order of the lines.
#[test]
fn every_mistake_about_usb_is_told_at_once() {
    let serial = |usb: &str| format!("type = \"serial\", baud = 9600, usb = {usb}");
    let links = [
        serial("{}"),
        serial("{ product = 0x6001 }"),
        serial("{ vendor = 0x10000, serial = 7 }"),
        serial("{ vendor = 1, port = \"usb1\" }"),
        serial("{ vendor = 1, sreial = \"A1\" }"),
        serial("\"0403:6001\""),
        serial("{ vendor = 1 }, path = \"/dev/ttyUSB0\""),
        "type = \"usb\"".to_owned(),
        "type = \"usb\", vendor = 1, endpoint = 0x02, out_endpoint = 0x81".to_owned(),
        "type = \"usb\", vendor = 1, transfers = 65, transfer_size = \"2MiB\"".to_owned(),
        "type = \"usb\", vendor = 1, transfers = 64, transfer_size = \"1MiB\"".to_owned(),
        "type = \"usb\", vendor = 1, interface = 256, detach_driver = 1, baud = 9600".to_owned(),
    ];
    let sections = links.iter().enumerate();
    let text: String = sections
        .map(|(place, link)| source(&format!("s{place}"), link))
        .collect();
    insta::assert_snapshot!(said(&text));
}

/// A port's name is checked by its form alone.
#[test]
fn physical_ports_have_a_form() {
    for right in ["1-1", "3-12", "12-1.2.3.4"] {
        device(&format!("type = \"usb\", port = \"{right}\""));
    }
    for wrong in [
        "1",
        "1-",
        "-1",
        "1-1.",
        "1-.1",
        "1-a",
        "1-1:1.0",
        "1-1234",
        "\u{661}-1",
    ] {
        let told = said(&source("s", &format!("type = \"usb\", port = \"{wrong}\"")));
        assert!(told.contains("which is no physical port"), "{told}");
    }
}
