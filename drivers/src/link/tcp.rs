//! A TCP connection to a device, or to a serial server in raw mode.
//!
//! **Always holds.** Opening waits for nothing; [`Link::await_peer`] connects, within the limit, and the order to stop
//! ends it. A peer that is switched off is missed after twice the keep-alive time.
//!
//! **Must not know.** What the bytes mean. Telnet's options (RFC 2217) are not spoken: the server is set to raw.

use std::io;
use std::time::{Duration, Instant};

pub use super::socket::Tuning;
use super::stream::Stream;
use super::{Link, OpenError, Read, Sender, Stop, socket};

/// How to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `HOST:PORT`.
    pub address: String,
    /// Longest wait for the connection, over all addresses of the name.
    pub connect_timeout: Duration,
    /// How the connection is kept.
    pub tuning: Tuning,
}

impl Options {
    /// With the usual limits.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            connect_timeout: Duration::from_secs(3),
            tuning: Tuning::default(),
        }
    }
}

/// A connection, made when its peer is awaited.
#[derive(Debug)]
pub struct Tcp {
    options: Options,
    peer: Option<Stream>,
}

impl Tcp {
    /// A connection not yet made.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            peer: None,
        }
    }

    fn connect(&self, stop: &Stop) -> io::Result<Option<Stream>> {
        let Some(addresses) = socket::resolve(&self.options.address, stop)? else {
            return Ok(None);
        };
        let until = Instant::now() + self.options.connect_timeout;
        let mut failed = io::Error::from(io::ErrorKind::TimedOut);
        for (place, address) in addresses.iter().enumerate() {
            // An address that does not answer leaves the others their share of the time.
            let left = u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
            let limit = until.saturating_duration_since(Instant::now()) / left;
            match socket::connect(*address, limit, stop) {
                Ok(Some(peer)) => {
                    self.options.tuning.set(&peer)?;
                    return Ok(Some(Stream::new(peer, "the peer closed the connection")));
                }
                Ok(None) => return Ok(None),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl Link for Tcp {
    fn await_peer(&mut self, stop: &Stop) -> Result<bool, OpenError> {
        if self.peer.is_none() {
            self.peer = self.connect(stop).map_err(|source| OpenError::Network {
                what: format!("connect to {}", self.options.address),
                source,
            })?;
        }
        Ok(self.peer.is_some())
    }

    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        match &mut self.peer {
            Some(peer) => peer.read(buffer, wait, stop),
            None => Read::Gone("not connected".to_owned()),
        }
    }

    fn ns_per_byte(&self) -> f64 {
        0.0
    }

    fn sender(&self) -> Option<Box<dyn Sender>> {
        self.peer.as_ref()?.sender()
    }
}
