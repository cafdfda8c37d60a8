//! Every link, with a far end to it. A new one gets its kind here, and the suite runs over it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use kymo_drivers::link::tcp_server::TcpServer;
use kymo_drivers::link::{Link, Options, Read, Stop, fifo, file, serial, tcp, tcp_server, udp};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tempfile::TempDir;

/// Longer than anything here takes, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const MOMENT: Duration = Duration::from_millis(30);

/// The far end of a link, in a test's hand.
pub(crate) trait FarEnd: Send {
    fn send(&mut self, bytes: &[u8]);
    /// So many bytes of what the link sent.
    fn receive(&mut self, count: usize) -> Vec<u8> {
        panic!("nothing is sent to this far end, and {count} bytes are awaited");
    }
    /// Drops the connection; what was sent is under way. Gives back where the device's file is, if it has one.
    fn hang_up(self: Box<Self>) -> Option<TempDir>;
}

/// What becomes of a link when its far end hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Gone,
    Finished,
    /// Nobody can tell.
    Unseen,
}

/// Both ends.
pub(crate) type Ends = (Box<dyn Link>, Box<dyn FarEnd>);

pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) end: End,
    /// Whether what was sent before a hang-up is still delivered: a pseudo-terminal forgets it.
    pub(crate) delivers_last: bool,
    pub(crate) can_send: bool,
    pub(crate) can_be_quiet: bool,
    /// Whether somebody can connect again without the link's being opened anew.
    pub(crate) stays_open: bool,
    pub(crate) open: fn() -> Ends,
}

pub(crate) const KINDS: [Kind; 7] = [
    Kind {
        name: "serial",
        end: End::Gone,
        delivers_last: false,
        can_send: true,
        can_be_quiet: true,
        stays_open: false,
        open: open_serial,
    },
    Kind {
        name: "tcp",
        end: End::Gone,
        delivers_last: true,
        can_send: true,
        can_be_quiet: true,
        stays_open: false,
        open: open_tcp,
    },
    Kind {
        name: "tcp-server",
        end: End::Gone,
        delivers_last: true,
        can_send: true,
        can_be_quiet: true,
        stays_open: true,
        open: open_tcp_server,
    },
    Kind {
        name: "udp",
        end: End::Unseen,
        delivers_last: true,
        can_send: true,
        can_be_quiet: true,
        stays_open: false,
        open: open_udp,
    },
    Kind {
        name: "fifo",
        end: End::Gone,
        delivers_last: true,
        can_send: false,
        can_be_quiet: true,
        stays_open: true,
        open: open_fifo,
    },
    Kind {
        name: "file",
        end: End::Finished,
        delivers_last: true,
        can_send: false,
        can_be_quiet: false,
        stays_open: false,
        open: || open_file(false),
    },
    Kind {
        name: "file that is followed",
        end: End::Gone,
        delivers_last: true,
        can_send: false,
        can_be_quiet: true,
        stays_open: false,
        open: || open_file(true),
    },
];

/// Waits until there is somebody.
pub(crate) fn met(link: &mut dyn Link) {
    let stop = Stop::new().unwrap();
    assert!(link.await_peer(&stop).unwrap(), "nobody came");
}

/// Reads until so many bytes have come.
#[track_caller]
pub(crate) fn take(link: &mut dyn Link, count: usize) -> Vec<u8> {
    let stop = Stop::new().unwrap();
    let mut all = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while all.len() < count {
        match link.read(&mut buffer, Some(PATIENCE), &stop) {
            Read::Data(count) => all.extend_from_slice(&buffer[..count]),
            other => panic!("{other:?} after {} bytes of {count}", all.len()),
        }
    }
    all
}

/// A pseudo-terminal seen from its far end.
pub(crate) struct Pty {
    pub(crate) master: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Pty {
    pub(crate) fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let path = PathBuf::from(OsStr::from_bytes(name.as_bytes()));
        let mut settings = tcgetattr(&master).unwrap();
        settings.make_raw();
        tcsetattr(&master, OptionalActions::Now, &settings).unwrap();
        Self { master, path }
    }
}

impl FarEnd for Pty {
    fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let sent = rustix::io::write(&self.master, bytes).unwrap();
            bytes = &bytes[sent..];
        }
    }

    fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut all = vec![0; count];
        let mut filled = 0;
        while filled < count {
            filled += rustix::io::read(&self.master, &mut all[filled..]).unwrap();
        }
        all
    }

    fn hang_up(self: Box<Self>) -> Option<TempDir> {
        None
    }
}

fn open_serial() -> Ends {
    let pty = Pty::new();
    let mut link = Options::Serial(serial::Options::new(&pty.path, 115_200))
        .open()
        .unwrap();
    met(&mut *link);
    (link, Box::new(pty))
}

impl FarEnd for TcpStream {
    fn send(&mut self, bytes: &[u8]) {
        self.write_all(bytes).unwrap();
    }

    fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut all = vec![0; count];
        self.read_exact(&mut all).unwrap();
        all
    }

    fn hang_up(self: Box<Self>) -> Option<TempDir> {
        None
    }
}

fn open_tcp() -> Ends {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut link = Options::Tcp(tcp::Options::new(address.to_string()))
        .open()
        .unwrap();
    met(&mut *link);
    let (far, _) = listener.accept().unwrap();
    (link, Box::new(far))
}

/// A port for whoever comes, and where it is.
pub(crate) fn server(allow: &[&str]) -> (TcpServer, SocketAddr) {
    let server = TcpServer::open(&tcp_server::Options {
        bind: "127.0.0.1:0".parse().unwrap(),
        allow: allow.iter().map(|ip| ip.parse().unwrap()).collect(),
        tuning: tcp::Tuning::default(),
    });
    let server = server.unwrap();
    let address = server.address();
    (server, address)
}

fn open_tcp_server() -> Ends {
    let (mut link, address) = server(&[]);
    let far = TcpStream::connect(address).unwrap();
    met(&mut link);
    (Box::new(link), Box::new(far))
}

/// A port of this host that nobody has.
pub(crate) fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

struct Datagrams(UdpSocket);

impl FarEnd for Datagrams {
    fn send(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(1000) {
            self.0.send(piece).unwrap();
        }
    }

    fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut all = vec![0; count + 1];
        let got = self.0.recv(&mut all).unwrap();
        all.truncate(got);
        all
    }

    fn hang_up(self: Box<Self>) -> Option<TempDir> {
        None
    }
}

fn open_udp() -> Ends {
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    let near = free_udp();
    let link = Options::Udp(udp::Options {
        to: Some(far.local_addr().unwrap()),
        ..udp::Options::new(near)
    });
    let mut link = link.open().unwrap();
    met(&mut *link);
    far.connect(near).unwrap();
    (link, Box::new(Datagrams(far)))
}

struct Writer {
    file: File,
    folder: TempDir,
}

impl FarEnd for Writer {
    fn send(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
    }

    fn hang_up(self: Box<Self>) -> Option<TempDir> {
        drop(self.file);
        // A file that is followed ends by being taken away; one that is open already does not mind.
        let path = self.folder.path().join("data");
        if path.metadata().unwrap().is_file() {
            std::fs::rename(&path, self.folder.path().join("data.1")).unwrap();
        }
        Some(self.folder)
    }
}

pub(crate) fn fifo_in(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("data");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

fn open_fifo() -> Ends {
    let folder = tempfile::tempdir().unwrap();
    let path = fifo_in(&folder);
    let link = Options::Fifo(fifo::Options { path: path.clone() })
        .open()
        .unwrap();
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::empty())
        .unwrap()
        .into();
    (link, Box::new(Writer { file, folder }))
}

fn open_file(follow: bool) -> Ends {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .unwrap();
    let mut link = Options::File(file::Options { path, follow })
        .open()
        .unwrap();
    met(&mut *link);
    (link, Box::new(Writer { file, folder }))
}
