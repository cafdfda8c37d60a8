//! In the steady state nothing is allocated on the path of a block: from the read on a pseudo-terminal through
//! lanes, stage and journal to the commit. Counted by the allocator of this whole process, but for what follows the
//! journal behind the commit; the device is another process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kymo::clock::Clock;
use kymo::config::parse;
use kymo::pipeline::Run;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Counts what is asked of the system's allocator, once it is told to, and keeps the first few places that asked.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static PLACES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers where the rules stand, behind the commit: it looks at the journal's folder now and then, whatever came.
const FOLLOWER: &str = "kymo-alerts";

/// Places kept: enough to see what there is to mend.
const PLACES_MAX: u64 = 4;

thread_local! {
    /// Set while a place is being looked up, which allocates.
    static IS_LOOKING: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !IS_COUNTING.load(Ordering::Relaxed) || IS_LOOKING.get() {
        return;
    }
    IS_LOOKING.set(true);
    let thread = std::thread::current();
    let is_on_the_path = thread.name() != Some(FOLLOWER);
    if is_on_the_path && ALLOCATIONS.fetch_add(1, Ordering::Relaxed) < PLACES_MAX {
        let place = format!("{:?}: {}", thread.name(), Backtrace::force_capture());
        PLACES.lock().expect("nobody panics with it").push(place);
    }
    IS_LOOKING.set(false);
}

// SAFETY: every call goes to the system's allocator unchanged; what counts them does not recurse.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Longer than anything here takes on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIGURATION: &str = r#"
[journal]
segment_size = "1GiB"
# Few blocks, so that all there may ever be have been made before it is counted.
queue_blocks = { normal = 1 }
[store]
enabled = false
[source.adc]
link = { type = "serial", path = "PATH", baud = 12_000_000 }
block_frames = 64
lane_blocks = 1
[source.adc.protocol]
type = "packet"
sync = "A5 5A"
length = 8
checksum = { kind = "xor8", from = 2, to = 7, at = 7 }
[[source.adc.channel]]
name = "a"
unit = "V"
calibration = { type = "linear", scale = 2.0, offset = 1.0 }
field = { at = 2, type = "i16" }
[[source.adc.channel]]
name = "b"
unit = "V"
field = { at = 4, type = "i16" }
[[rule]]
name = "never"
channel = "adc.a"
above = 1e9
"#;

/// Frames of one file that the device sends over and over.
const FRAMES: u16 = 8192;

fn packet(number: u16) -> [u8; 8] {
    let [low, high] = number.to_le_bytes();
    let [low2, high2] = number.wrapping_mul(3).to_le_bytes();
    let xor = low ^ high ^ low2 ^ high2;
    [0xA5, 0x5A, low, high, low2, high2, 0, xor]
}

/// A device in a process of its own, at the far end of a pseudo-terminal.
fn device(master: &OwnedFd, file: &Path) -> Child {
    let stdout = master.try_clone().expect("a descriptor more");
    Command::new("sh")
        .arg("-c")
        .arg("for i in $(seq 400); do cat \"$0\" || exit; done")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

#[test]
fn in_the_steady_state_no_block_costs_an_allocation() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bytes: Vec<u8> = (0..FRAMES).flat_map(packet).collect();
    let file = dir.path().join("frames");
    std::fs::write(&file, bytes).expect("the frames are written");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&master).expect("it may be opened");
    unlockpt(&master).expect("it may be opened");
    let mut settings = tcgetattr(&master).expect("settings");
    settings.make_raw();
    tcsetattr(&master, OptionalActions::Now, &settings).expect("raw");
    let path = ptsname(&master, Vec::new()).expect("a name");
    let path = path.to_str().expect("an ASCII name");

    let mut plan =
        parse("test", &CONFIGURATION.replace("PATH", path)).unwrap_or_else(|m| panic!("{m}"));
    plan.move_to(&dir.path().join("data"));
    let run = Run::start(plan, Clock::system()).expect("the run starts");
    let mut device = device(&master, &file);
    let journaled = || -> u64 { run.ledger().sources().map(|s| s.journaled()).sum() };
    let wait_for = |samples: u64| {
        let started = Instant::now();
        while journaled() < samples {
            assert!(started.elapsed() < PATIENCE, "{} samples came", journaled());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    // Pools fill, buffers grow to their size.
    wait_for(400_000);
    let samples = journaled();
    IS_COUNTING.store(true, Ordering::Relaxed);
    wait_for(samples + 1_000_000);
    IS_COUNTING.store(false, Ordering::Relaxed);
    let made = ALLOCATIONS.load(Ordering::Relaxed);
    let blocks = (journaled() - samples) / 128;
    device.kill().expect("the device ends");
    device.wait().expect("the device has ended");
    let report = run.stop();
    assert!(report.ledger.balanced, "{:?}", report.ledger);
    let places = PLACES.lock().expect("nobody panics with it");
    assert_eq!(
        made,
        0,
        "allocations over some {blocks} blocks:\n{}",
        places.join("\n")
    );
}
