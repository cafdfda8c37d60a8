//! A TCP port that a device connects to: one at a time.
//!
//! **Always holds.** A second peer is refused, counted and told; so is one that is not on the list. The port stays open
//! while one peer leaves and the next comes, so none finds it closed.
//!
//! **Must not know.** What the bytes mean.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use super::socket::Tuning;
use super::stream::Stream;
use super::wait::{Both, Waited, wait_both, wait_readable};
use super::{LineError, Link, Noticed, OpenError, Read, Sender, Stop};

/// Where to listen, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The address and port of this host.
    pub bind: SocketAddr,
    /// Who may connect; empty: anybody.
    pub allow: Vec<IpAddr>,
    /// How a connection is kept.
    pub tuning: Tuning,
}

/// An open port, and its peer if there is one.
#[derive(Debug)]
pub struct TcpServer {
    listener: TcpListener,
    address: SocketAddr,
    allow: Vec<IpAddr>,
    tuning: Tuning,
    peer: Option<Stream>,
    noticed: Noticed,
    /// Nobody more can be taken, be it to be refused: the system has no descriptor left. Until the peer leaves,
    /// who knocks is left waiting, since to look again and again would be a spin.
    deaf: bool,
}

impl TcpServer {
    /// Listens.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => OpenError::InUse {
                path: format!("TCP port {}", options.bind).into(),
            },
            _ => OpenError::Network {
                what: format!("listen on {}", options.bind),
                source,
            },
        };
        let listener = TcpListener::bind(options.bind).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            allow: options.allow.clone(),
            tuning: options.tuning,
            peer: None,
            noticed: Noticed::default(),
            deaf: false,
        })
    }

    /// The address and port it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes whoever knocks: the next peer, or one to be refused.
    fn accept(&mut self) -> io::Result<()> {
        match self.listener.accept() {
            Ok((peer, from)) => self.judge(peer, from),
            Err(error) => match error.kind() {
                // It went away again, or was never there.
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn judge(&mut self, peer: TcpStream, from: SocketAddr) -> io::Result<()> {
        let ip = from.ip().to_canonical();
        let why = if self.peer.is_some() {
            "another is connected"
        } else if !self.allow.is_empty() && !self.allow.iter().any(|a| a.to_canonical() == ip) {
            "it is not on the list"
        } else {
            peer.set_nonblocking(true)?;
            self.tuning.set(&peer)?;
            self.peer = Some(Stream::new(peer.into(), "the peer closed the connection"));
            return Ok(());
        };
        self.noticed.line_errors.add(LineError::PeerRefused, 1);
        // One a look: who knocks without end shall not fill the memory.
        if self.noticed.notes.is_empty() {
            self.noticed
                .notes
                .push(format!("refused the peer {from}: {why}"));
        }
        Ok(())
    }
}

impl Link for TcpServer {
    fn missing_peer(&self) -> Option<String> {
        let free = self.peer.is_none();
        free.then(|| format!("nobody is connected to TCP port {} yet", self.address))
    }

    fn await_peer(&mut self, stop: &Stop) -> Result<bool, OpenError> {
        let failed = |address: SocketAddr, source| OpenError::Network {
            what: format!("take a peer on {address}"),
            source,
        };
        while self.peer.is_none() {
            match wait_readable(self.listener.as_fd(), stop, None) {
                Ok(Waited::Ready) => self
                    .accept()
                    .map_err(|source| failed(self.address, source))?,
                Ok(Waited::TimedOut) => {}
                Ok(Waited::Stopped) => return Ok(false),
                Err(source) => return Err(failed(self.address, source)),
            }
            // Who is refused again and again must not keep the order to stop from being seen.
            if stop.is_triggered() && self.peer.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        let Some(peer) = &mut self.peer else {
            return Read::Gone("not connected".to_owned());
        };
        if self.deaf {
            return peer.read(buffer, wait, stop);
        }
        let ready = match wait_both(peer.as_fd(), self.listener.as_fd(), stop, wait) {
            Ok(Both::Ready { first, second }) => (first, second),
            Ok(Both::TimedOut) => return Read::Quiet,
            Ok(Both::Stopped) => return Read::Stopped,
            Err(error) => return Read::Gone(error.to_string()),
        };
        let read = if ready.0 {
            // A hang-up met before stays, also when nothing is there to be polled for.
            peer.read(buffer, Some(Duration::ZERO), stop)
        } else {
            Read::Quiet
        };
        if ready.1
            && let Err(error) = self.accept()
        {
            self.noticed
                .notes
                .push(format!("who knocks is left waiting: {error}"));
            self.deaf = true;
        }
        read
    }

    fn ns_per_byte(&self) -> f64 {
        0.0
    }

    fn sender(&self) -> Option<Box<dyn Sender>> {
        self.peer.as_ref()?.sender()
    }

    fn watches(&self) -> bool {
        true
    }

    fn noticed(&mut self) -> Noticed {
        std::mem::take(&mut self.noticed)
    }

    fn again(mut self: Box<Self>) -> Option<Box<dyn Link>> {
        (self.peer, self.deaf) = (None, false);
        Some(self)
    }
}
