//! Datagrams.
//!
//! **Always holds.** A read brings one datagram, whole, of a sender that is on the list; it is never joined to the
//! next. A read asks for a datagram first and waits only if there is none, so a flood costs one system call
//! each. What the kernel had to drop is counted by the kernel, and asked for.
//!
//! **Must not know.** What the bytes mean. Nobody is connected: a sender that has gone silent cannot be told from one
//! that has nothing to say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};

use super::wait::{Waited, wait_for, wait_readable};
use super::{LineError, Link, Noticed, OpenError, Read, SendError, Sender, Stop, socket};

/// Where datagrams come in, and from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The address and port of this host.
    pub bind: SocketAddr,
    /// Who is listened to; empty: everybody.
    pub from: Vec<From>,
    /// Where what is sent goes; `None`: nothing can be sent.
    pub to: Option<SocketAddr>,
    /// A multicast group to join.
    pub group: Option<IpAddr>,
    /// The address of the interface on which the group is joined, for IPv4; `None`: the system chooses.
    pub interface: Option<Ipv4Addr>,
    /// Bytes of datagrams that wait in the kernel, at most; the system may allow less (`net.core.rmem_max`).
    pub receive_buffer: usize,
    /// Put behind each datagram that does not end so: the line end that many devices leave out.
    pub append: Vec<u8>,
}

impl Options {
    /// Everybody's datagrams to this address.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            from: Vec::new(),
            to: None,
            group: None,
            interface: None,
            receive_buffer: 4 << 20,
            append: Vec::new(),
        }
    }
}

/// A sender that is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct From {
    /// Its address.
    pub ip: IpAddr,
    /// Its port; `None`: any.
    pub port: Option<u16>,
}

impl From {
    fn is(self, sender: SocketAddr) -> bool {
        self.ip.to_canonical() == sender.ip().to_canonical()
            && self.port.is_none_or(|port| port == sender.port())
    }
}

/// An open socket.
#[derive(Debug)]
pub struct Udp {
    socket: OwnedFd,
    from: Vec<From>,
    to: Option<SocketAddr>,
    append: Vec<u8>,
    /// The kernel's count of drops at the last look; `None`: it has none.
    drops: Option<u32>,
    noticed: Noticed,
}

/// Datagrams of others that one read passes over, at most: then the caller gets its turn.
const REFUSED_MAX: usize = 256;

impl Udp {
    /// Opens the socket, for this process alone.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        Self::bind(options).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => OpenError::InUse {
                path: format!("UDP port {}", options.bind).into(),
            },
            _ => OpenError::Network {
                what: format!("receive on {}", options.bind),
                source,
            },
        })
    }

    fn bind(options: &Options) -> io::Result<Self> {
        let socket = UdpSocket::bind(options.bind)?;
        socket.set_nonblocking(true)?;
        match options.group {
            Some(IpAddr::V4(group)) => {
                let interface = options.interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
                socket.join_multicast_v4(&group, &interface)?;
            }
            Some(IpAddr::V6(group)) => socket.join_multicast_v6(&group, 0)?,
            None => {}
        }
        let mut noticed = Noticed::default();
        sockopt::set_socket_recv_buffer_size(&socket, options.receive_buffer)?;
        // The kernel gives twice what it grants, for its own keeping.
        let granted = sockopt::socket_recv_buffer_size(&socket)? / 2;
        if granted < options.receive_buffer {
            noticed.notes.push(format!(
                "the system keeps {granted} bytes of datagrams instead of {}; `sysctl -w net.core.rmem_max={}` allows it",
                options.receive_buffer, options.receive_buffer
            ));
        }
        Ok(Self {
            drops: socket::drops(&socket).ok(),
            socket: socket.into(),
            from: options.from.clone(),
            to: options.to,
            append: options.append.clone(),
            noticed,
        })
    }

    /// A datagram of `length` bytes was put into the buffer, as far as it fits; its bytes, with what is appended.
    fn take(&mut self, buffer: &mut [u8], length: usize) -> usize {
        let taken = length.min(buffer.len());
        if taken < length {
            self.noticed.line_errors.add(LineError::DatagramCut, 1);
            return taken;
        }
        let end = taken + self.append.len();
        if self.append.is_empty() || end > buffer.len() || buffer[..taken].ends_with(&self.append) {
            return taken;
        }
        buffer[taken..end].copy_from_slice(&self.append);
        end
    }
}

impl Link for Udp {
    fn read(&mut self, buffer: &mut [u8], wait: Option<Duration>, stop: &Stop) -> Read {
        let mut refused = 0;
        loop {
            // With TRUNC the length is the datagram's, however much of it was put into the buffer.
            match rustix::net::recvfrom(&self.socket, &mut *buffer, RecvFlags::TRUNC) {
                // An empty datagram says nothing.
                Ok((_, 0, _)) => refused += 1,
                Ok((_, length, sender)) => {
                    let sender = sender.and_then(|sender| SocketAddr::try_from(sender).ok());
                    let is_listed = |sender| self.from.iter().any(|from| from.is(sender));
                    if self.from.is_empty() || sender.is_some_and(is_listed) {
                        return Read::Data(self.take(buffer, length));
                    }
                    self.noticed.line_errors.add(LineError::DatagramRefused, 1);
                    refused += 1;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match wait_readable(self.socket.as_fd(), stop, wait) {
                    Ok(Waited::Ready) => {}
                    Ok(Waited::TimedOut) => return Read::Quiet,
                    Ok(Waited::Stopped) => return Read::Stopped,
                    Err(error) => return Read::Gone(error.to_string()),
                },
                Err(errno) => return Read::Gone(io::Error::from(errno).to_string()),
            }
            if refused >= REFUSED_MAX {
                let stopped = stop.is_triggered();
                return if stopped { Read::Stopped } else { Read::Quiet };
            }
        }
    }

    fn ns_per_byte(&self) -> f64 {
        0.0
    }

    fn keeps_boundaries(&self) -> bool {
        true
    }

    fn sender(&self) -> Option<Box<dyn Sender>> {
        Some(Box::new(Post {
            socket: self.socket.try_clone().ok()?,
            to: self.to?,
        }))
    }

    fn watches(&self) -> bool {
        true
    }

    fn noticed(&mut self) -> Noticed {
        if let (Some(last), Ok(now)) = (self.drops, socket::drops(&self.socket)) {
            let dropped = u64::from(now.wrapping_sub(last));
            self.noticed
                .line_errors
                .add(LineError::DatagramDropped, dropped);
            self.drops = Some(now);
        }
        std::mem::take(&mut self.noticed)
    }
}

/// Sends each message as one datagram.
#[derive(Debug)]
struct Post {
    socket: OwnedFd,
    to: SocketAddr,
}

impl Sender for Post {
    fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), SendError> {
        loop {
            match rustix::net::sendto(&self.socket, bytes, SendFlags::empty(), &self.to) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let never = Stop::new()?;
                    match wait_for(self.socket.as_fd(), PollFlags::OUT, &never, Some(limit))? {
                        Waited::Ready => {}
                        Waited::TimedOut | Waited::Stopped => {
                            return Err(SendError::TimedOut {
                                written: 0,
                                bytes: bytes.len(),
                                waited: limit,
                            });
                        }
                    }
                }
                Err(errno) => return Err(SendError::Io(errno.into())),
            }
        }
    }
}
