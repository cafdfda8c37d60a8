//! What the links over the network share: sockets that do not block, connecting with a limit, names, and what the
//! kernel dropped.
//!
//! **Always holds.** Whatever waits here is ended by the order to stop.
//!
//! **Must not know.** What is read.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Stop;
use super::wait::{Waited, wait_for, wait_readable};

/// How a connection is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Ask a peer that is silent for so long whether it is still there, and give it up when it has not answered for
    /// as long again; `None`: never ask, so a peer that was switched off is never missed.
    pub keepalive: Option<Duration>,
    /// Small messages go out at once (`TCP_NODELAY`), and do not wait for the answer to the one before.
    pub nodelay: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            keepalive: Some(Duration::from_secs(10)),
            nodelay: true,
        }
    }
}

/// Probes that a peer leaves unanswered before it is given up.
const PROBES: u32 = 5;

impl Tuning {
    pub(super) fn set(self, socket: &impl AsFd) -> io::Result<()> {
        sockopt::set_tcp_nodelay(socket, self.nodelay)?;
        let Some(idle) = self.keepalive else {
            return Ok(());
        };
        // The kernel counts in whole seconds.
        let second = Duration::from_secs(1);
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, idle.max(second))?;
        sockopt::set_tcp_keepintvl(socket, (idle / PROBES).max(second))?;
        sockopt::set_tcp_keepcnt(socket, PROBES)?;
        // What was sent and is not acknowledged counts as silence too; without this it is tried for a quarter of an hour.
        let limit = u32::try_from((idle * 2).as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(socket, limit)?;
        Ok(())
    }
}

/// Connects; `None` if the order to stop came first.
pub(super) fn connect(
    address: SocketAddr,
    limit: Duration,
    stop: &Stop,
) -> io::Result<Option<OwnedFd>> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => return Ok(Some(socket)),
        Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    match wait_for(socket.as_fd(), PollFlags::OUT, stop, Some(limit))? {
        Waited::Ready => {
            sockopt::socket_error(&socket)??;
            Ok(Some(socket))
        }
        Waited::TimedOut => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer in {limit:?}"),
        )),
        Waited::Stopped => Ok(None),
    }
}

/// The addresses that a name and a port stand for; `None` if the order to stop came first.
///
/// A name is looked up by a thread of its own, since nothing ends a look-up before its time. It ends by itself.
pub(super) fn resolve(address: &str, stop: &Stop) -> io::Result<Option<Vec<SocketAddr>>> {
    if let Ok(address) = address.parse() {
        return Ok(Some(vec![address]));
    }
    let (done, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let (said, heard) = mpsc::sync_channel(1);
    let address = address.to_owned();
    std::thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || {
            let found = address.to_socket_addrs().map(Iterator::collect);
            // Nobody waits any more after the order to stop.
            let _ = said.send(found);
            drop(tell);
        })?;
    match wait_readable(done.as_fd(), stop, None)? {
        Waited::Ready => {}
        Waited::TimedOut | Waited::Stopped => return Ok(None),
    }
    let found: Vec<SocketAddr> = heard
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the look-up broke down")))?;
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(Some(found))
}

/// `SO_MEMINFO` of `asm-generic/socket.h`, and the place of the drops in its answer: `SK_MEMINFO_DROPS` of
/// `linux/sock_diag.h`.
const SO_MEMINFO: libc::c_int = 55;
const DROPS: usize = 8;
const MEMINFO: usize = 9;

/// Datagrams that found the socket's buffer full since it was opened. It is the counter that `SO_RXQ_OVFL` sends along
/// with each datagram; asked for like this, drops behind which no datagram came are seen too.
pub(super) fn drops(socket: &impl AsFd) -> io::Result<u32> {
    let mut answer = [0_u32; MEMINFO];
    #[allow(clippy::cast_possible_truncation)] // 36 bytes.
    let mut length = size_of_val(&answer) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `answer`, which has as many, and the length written into
    // `length`. Both live through the call; any bytes are valid numbers.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            answer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if (length as usize) < size_of_val(&answer) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(answer[DROPS])
}
