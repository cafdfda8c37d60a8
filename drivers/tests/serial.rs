//! The serial link over real pseudo-terminals: the test holds the far end.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kymo_drivers::link::serial::{FlowControl, Options, Parity};
use kymo_drivers::link::{self, Link, OpenError, Read, Stop, ports};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(30);

/// A pseudo-terminal seen from its far end.
struct Device {
    master: OwnedFd,
    path: PathBuf,
}

impl Device {
    fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let path = PathBuf::from(OsStr::from_bytes(name.as_bytes()));
        // Else what is sent would come back as an echo before anybody opened the port.
        let mut settings = tcgetattr(&master).unwrap();
        settings.make_raw();
        tcsetattr(&master, OptionalActions::Now, &settings).unwrap();
        Self { master, path }
    }

    fn send(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let sent = rustix::io::write(&self.master, bytes).unwrap();
            bytes = &bytes[sent..];
        }
    }

    fn open(&self) -> Box<dyn Link> {
        open(&self.path).unwrap()
    }
}

fn open(path: &Path) -> Result<Box<dyn Link>, OpenError> {
    link::Options::Serial(Options::new(path, 115_200)).open()
}

fn refused(path: &Path) -> OpenError {
    match open(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

/// Reads until so many bytes have come.
fn take(link: &mut dyn Link, count: usize) -> Vec<u8> {
    let stop = Stop::new().unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 1000];
    while all.len() < count {
        match link.read(&mut buffer, Some(PATIENCE), &stop) {
            Read::Data(count) => all.extend_from_slice(&buffer[..count]),
            other => panic!("{other:?} after {} bytes of {count}", all.len()),
        }
    }
    all
}

#[test]
fn every_byte_comes_through_unchanged() {
    let device = Device::new();
    let mut link = device.open();
    // All values: the controls for echo, line editing, signals and flow among them.
    let all: Vec<u8> = (0..=255).cycle().take(3000).collect();
    device.send(&all);
    assert_eq!(take(&mut *link, all.len()), all);
}

#[test]
fn a_read_takes_no_more_than_fits_and_leaves_the_rest() {
    let device = Device::new();
    let mut link = device.open();
    let stop = Stop::new().unwrap();
    device.send(b"abcdefg");
    let mut got = Vec::new();
    let mut buffer = [0; 3];
    while got.len() < 7 {
        let Read::Data(count) = link.read(&mut buffer, Some(PATIENCE), &stop) else {
            panic!("it is all there");
        };
        assert!((1..=3).contains(&count));
        got.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(got, b"abcdefg");
}

#[test]
fn a_quiet_device_is_not_a_missing_one() {
    let device = Device::new();
    let mut link = device.open();
    let stop = Stop::new().unwrap();
    let mut buffer = [0; 64];
    let start = Instant::now();
    assert_eq!(link.read(&mut buffer, Some(MOMENT), &stop), Read::Quiet);
    assert!(start.elapsed() >= MOMENT, "it waited");
    assert_eq!(
        link.read(&mut buffer, Some(Duration::ZERO), &stop),
        Read::Quiet
    );
    device.send(b"x");
    assert_eq!(link.read(&mut buffer, Some(PATIENCE), &stop), Read::Data(1));

    drop(device);
    let Read::Gone(reason) = link.read(&mut buffer, Some(PATIENCE), &stop) else {
        panic!("the device is gone");
    };
    assert!(!reason.is_empty());
    // And it stays so, whoever asks again.
    assert!(matches!(link.read(&mut buffer, None, &stop), Read::Gone(_)));
}

#[test]
fn a_hang_up_ends_a_wait_without_a_limit() {
    let device = Device::new();
    let mut link = device.open();
    let (said, heard) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        said.send(()).unwrap();
        link.read(&mut [0; 64], None, &Stop::new().unwrap())
    });
    heard.recv().unwrap();
    // It may or may not be waiting by now: both must end.
    drop(device);
    assert!(matches!(reader.join().unwrap(), Read::Gone(_)));
}

#[test]
fn a_hang_up_in_the_middle_garbles_nothing() {
    // When a pseudo-terminal hangs up, the system forgets what nobody had taken: what is delivered
    // is what was sent up to some place, and then the hang-up.
    let sent: Vec<u8> = (0..=255).cycle().take(2000).collect();
    for _ in 0..20 {
        let device = Device::new();
        let mut link = device.open();
        let bytes = sent.clone();
        let sender = std::thread::spawn(move || {
            for piece in bytes.chunks(50) {
                device.send(piece);
            }
        });
        let stop = Stop::new().unwrap();
        let mut buffer = [0; 64];
        let mut got = Vec::new();
        loop {
            match link.read(&mut buffer, Some(PATIENCE), &stop) {
                Read::Data(count) => got.extend_from_slice(&buffer[..count]),
                Read::Gone(_) => break,
                other => panic!("{other:?}"),
            }
        }
        sender.join().unwrap();
        assert!(
            sent.starts_with(&got),
            "{} bytes, not those sent",
            got.len()
        );
    }
}

#[test]
fn the_order_to_stop_wakes_a_wait_and_stays() {
    let device = Device::new();
    let mut link = device.open();
    let stop = Stop::new().unwrap();
    assert!(!stop.is_triggered());
    let (order, (said, heard)) = (stop.clone(), mpsc::channel());
    let reader = std::thread::spawn(move || {
        said.send(()).unwrap();
        let read = link.read(&mut [0; 64], None, &order);
        (read, link)
    });
    heard.recv().unwrap();
    stop.trigger();
    let (read, mut link) = reader.join().unwrap();
    assert_eq!(read, Read::Stopped);
    assert!(stop.is_triggered());

    let start = Instant::now();
    assert_eq!(link.read(&mut [0; 64], None, &stop), Read::Stopped);
    assert!(stop.wait(PATIENCE));
    assert!(start.elapsed() < PATIENCE);
    // What has come is still taken.
    device.send(b"last");
    let (mut got, mut buffer) = (0, [0; 64]);
    // On its way for a moment: until it is there, the order is all there is.
    while got < 4 {
        match link.read(&mut buffer, None, &stop) {
            Read::Data(count) => got += count,
            Read::Stopped => assert!(start.elapsed() < PATIENCE),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(link.read(&mut buffer, None, &stop), Read::Stopped);
}

#[test]
fn a_wait_for_the_order_alone_ends_after_its_time() {
    let stop = Stop::new().unwrap();
    let start = Instant::now();
    assert!(!stop.wait(MOMENT));
    assert!(start.elapsed() >= MOMENT);
    stop.trigger();
    assert!(stop.wait(Duration::ZERO));
}

#[test]
fn a_port_in_use_is_refused_and_free_again_afterwards() {
    let device = Device::new();
    let first = device.open();
    let error = refused(&device.path);
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    let expected = format!("{} is in use by another process", device.path.display());
    assert_eq!(error.to_string(), expected);
    assert!(matches!(
        ports::probe(&device.path),
        Err(OpenError::InUse { .. })
    ));
    drop(first);
    ports::probe(&device.path).unwrap();

    // The attempt has not harmed what follows.
    let mut again = device.open();
    device.send(b"still");
    assert_eq!(take(&mut *again, 5), b"still");
}

#[test]
fn the_one_who_has_the_port_does_not_notice_an_attempt() {
    let device = Device::new();
    let mut link = device.open();
    device.send(b"abc");
    assert!(matches!(refused(&device.path), OpenError::InUse { .. }));
    device.send(b"def");
    assert_eq!(take(&mut *link, 6), b"abcdef");
    let stop = Stop::new().unwrap();
    assert_eq!(link.read(&mut [0; 9], Some(MOMENT), &stop), Read::Quiet);
}

#[test]
fn a_port_that_is_not_there_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ttyUSB0");
    let error = refused(&path);
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("{} does not exist", path.display())
    );
    assert!(matches!(
        ports::probe(&path),
        Err(OpenError::Missing { .. })
    ));

    // A link whose device was unplugged.
    let link = folder.path().join("by-id");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(refused(&link), OpenError::Missing { .. }));

    // A pseudo-terminal whose far end is gone.
    let device = Device::new();
    let path = device.path.clone();
    // While its near end is open, no other test's pseudo-terminal gets its number.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let _near = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
    drop(device);
    assert!(matches!(refused(&path), OpenError::Missing { .. }));
}

#[test]
fn what_is_no_serial_port_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    std::fs::write(&file, "1,2,3\n").unwrap();
    for path in [&file, folder.path(), Path::new("/dev/null")] {
        let error = refused(path);
        assert!(matches!(error, OpenError::WrongKind { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("{} is not a serial port", path.display())
        );
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"1,2,3\n");
}

#[test]
fn a_symbolic_link_to_a_port_is_followed() {
    let device = Device::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("thermometer");
    std::os::unix::fs::symlink(&device.path, &path).unwrap();
    let mut link = open(&path).unwrap();
    device.send(b"21.5");
    assert_eq!(take(&mut *link, 4), b"21.5");
    // In use by whatever name.
    assert!(matches!(refused(&device.path), OpenError::InUse { .. }));
}

#[test]
fn the_time_of_a_byte_counts_all_its_bits() {
    let mut options = Options::new("/dev/ttyUSB0", 1_000_000);
    assert_eq!(options.ns_per_byte(), 10_000.0);
    (options.parity, options.stop_bits) = (Parity::Even, 2);
    assert_eq!(options.ns_per_byte(), 12_000.0);
    options.data_bits = 7;
    options.flow_control = FlowControl::Software;
    assert_eq!(options.ns_per_byte(), 11_000.0);
    let shown = link::Options::Serial(options).to_string();
    assert_eq!(shown, "/dev/ttyUSB0 at 1000000 baud");
}

#[test]
fn an_unusual_speed_is_taken() {
    let device = Device::new();
    let options = Options::new(&device.path, 250_000);
    let link = link::Options::Serial(options).open().unwrap();
    assert_eq!(link.ns_per_byte(), 40_000.0);
    assert_eq!(tcgetattr(&device.master).unwrap().input_speed(), 250_000);
}
