//! Links as they are declared.

use std::time::Duration;

use kymo::config::parse;
use kymo::config::plan::Link;
use kymo_drivers::link::Options;
use kymo_drivers::link::serial::Level;

/// The link of a source declared with it.
fn link(link: &str) -> Options {
    let text = format!(
        "[source.s]\nlink = {link}\nprotocol = {{ type = \"lines\" }}\nchannel = [{{ name = \"a\" }}]\n"
    );
    let mut plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    match plan.sources.remove(0).link {
        Link::Device(options) => options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_mistake_of_a_link_is_told_at_once() {
    let said = parse("links.toml", include_str!("links.toml")).expect_err("it is wrong");
    insta::assert_snapshot!(said.to_string());
}

#[test]
fn a_port_is_left_as_it_is_unless_something_is_asked_of_it() {
    let Options::Serial(plain) = link(r#"{ type = "serial", path = "/dev/ttyS0", baud = 9600 }"#)
    else {
        panic!("a serial port");
    };
    assert_eq!(plain.control, Default::default());
    let Options::Serial(serial) = link(
        r#"{ type = "serial", path = "/dev/ttyS0", baud = 9600, dtr = "off", rts = "on", hang_up = false, low_latency = true }"#,
    ) else {
        panic!("a serial port");
    };
    assert_eq!(
        (serial.control.dtr, serial.control.rts),
        (Level::Off, Level::On)
    );
    assert_eq!(serial.control.hang_up, Some(false));
    assert!(serial.control.low_latency);
}

#[test]
fn links_over_the_network_have_their_limits() {
    let Options::Tcp(tcp) = link(
        r#"{ type = "tcp", address = "moxa.lab:4001", connect_timeout = "1s", keepalive = "0" }"#,
    ) else {
        panic!("a connection");
    };
    assert_eq!(tcp.address, "moxa.lab:4001");
    assert_eq!(tcp.connect_timeout, Duration::from_secs(1));
    assert_eq!(tcp.tuning.keepalive, None);
    assert!(tcp.tuning.nodelay);
    let Options::TcpServer(server) =
        link(r#"{ type = "tcp-server", bind = "[::]:4000", allow = ["192.168.1.20", "::1"] }"#)
    else {
        panic!("a port");
    };
    assert_eq!(server.allow.len(), 2);
    assert_eq!(server.tuning.keepalive, Some(Duration::from_secs(10)));
    let Options::Udp(udp) = link(
        r#"{ type = "udp", bind = "0.0.0.0:5000", from = ["10.0.0.1", "10.0.0.2:99"], to = "10.0.0.1:7", group = "239.1.2.3", interface = "10.0.0.9", receive_buffer = "1MiB", append = "\n" }"#,
    ) else {
        panic!("datagrams");
    };
    assert_eq!(udp.from[0].port, None);
    assert_eq!(udp.from[1].port, Some(99));
    assert_eq!(udp.receive_buffer, 1 << 20);
    assert_eq!(udp.append, b"\n");
    assert!(link(r#"{ type = "udp", bind = "0.0.0.0:5000", to = "10.0.0.1:7" }"#).can_send());
    assert!(!link(r#"{ type = "udp", bind = "0.0.0.0:5000" }"#).can_send());
}

#[test]
fn two_clients_may_read_one_server_and_two_sources_one_file() {
    for link in [
        r#"{ type = "tcp", address = "moxa.lab:4001" }"#,
        r#"{ type = "file", path = "a.csv" }"#,
    ] {
        let source = |name| {
            format!(
                "[source.{name}]\nlink = {link}\nprotocol = {{ type = \"lines\" }}\nchannel = [{{ name = \"a\" }}]\n"
            )
        };
        let text = source("a") + &source("b");
        assert!(parse("lab.toml", &text).is_ok());
    }
}
