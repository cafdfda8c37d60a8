//! Addresses of a network, as values of the configuration.

use std::net::{IpAddr, SocketAddr};

use kymo_drivers::link::udp::From;
use toml::de::DeValue;

use super::values::{Wrong, shortened, text};

/// Addresses in a list, at most.
const LIST_MAX: usize = 1024;

fn wrong(word: &str, expected: &str) -> Wrong {
    Wrong::new(
        format!("is \"{}\", and must be {expected}", shortened(word)),
        expected,
    )
}

/// An address of this host with its port: `0.0.0.0:5000`, `[::]:5000`.
pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Wrong> {
    let word = text(value)?;
    let expected = "an address with its port, as in \"0.0.0.0:5000\" or \"[::]:5000\"";
    word.parse().map_err(|_| wrong(&word, expected))
}

/// A name or an address with its port: `moxa.lab:4001`.
pub(super) fn host_and_port(value: &DeValue<'_>) -> Result<String, Wrong> {
    let word = text(value)?;
    let is_right = word.parse::<SocketAddr>().is_ok()
        || word.rsplit_once(':').is_some_and(|(host, port)| {
            let is_name = !host.is_empty() && !host.contains([':', '/', ' ', '[', ']']);
            is_name && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
    if is_right {
        return Ok(word);
    }
    let expected = "a name or an address with its port, as in \"moxa.lab:4001\"";
    Err(wrong(&word, expected))
}

/// An address without a port.
pub(super) fn ip(value: &DeValue<'_>) -> Result<IpAddr, Wrong> {
    ip_of(&text(value)?)
}

fn ip_of(word: &str) -> Result<IpAddr, Wrong> {
    let expected = "an address, as in \"192.168.1.20\"";
    word.parse().map_err(|_| wrong(word, expected))
}

/// A list of addresses.
pub(super) fn ips(value: &DeValue<'_>) -> Result<Vec<IpAddr>, Wrong> {
    list(value, ip_of)
}

/// A list of senders: addresses, each with a port or without.
pub(super) fn senders(value: &DeValue<'_>) -> Result<Vec<From>, Wrong> {
    list(value, |word| match word.parse::<SocketAddr>() {
        Ok(address) => Ok(From {
            ip: address.ip(),
            port: Some(address.port()),
        }),
        Err(_) => ip_of(word).map(|ip| From { ip, port: None }),
    })
}

fn list<T>(value: &DeValue<'_>, read: impl Fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let expected = "a list of addresses, as in [\"192.168.1.20\"]";
    let is_no_list = || Wrong::new(format!("must be {expected}"), expected);
    let array = value.as_array().ok_or_else(is_no_list)?;
    if array.is_empty() || array.len() > LIST_MAX {
        let bounds = format!("1 to {LIST_MAX} addresses");
        return Err(Wrong::new(format!("must hold {bounds}"), bounds));
    }
    let words = array
        .iter()
        .map(|item| item.get_ref().as_str().ok_or_else(is_no_list));
    words.map(|word| read(word?)).collect()
}
