//! A device of the vendor's own class, whose endpoints are files: `Documentation/usb/functionfs.rst` and
//! `include/uapi/linux/usb/functionfs.h` of the kernel.
//!
//! Interface 0 has a bulk endpoint to the host and one from it; interface 1 an interrupt endpoint.
//! It begins to send on interface 0 when it is told to: `GO`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Result, frames, pause, wait_until};

const DESCRIPTORS_MAGIC_V2: u32 = 3;
const STRINGS_MAGIC: u32 = 2;
const HAS_FULL_SPEED: u32 = 1;
const HAS_HIGH_SPEED: u32 = 2;

/// What is sent to the device to make it begin.
pub(crate) const GO: &[u8] = b"GO";

/// A device whose endpoints are open, each with a thread that lasts as long as the guest.
pub(crate) struct Device {
    folder: PathBuf,
    /// Kept open: the device is gone when it is closed. Nothing is asked over it that needs an answer.
    _control: File,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whether it was told to begin.
    go: AtomicBool,
    is_full: AtomicBool,
    stall: AtomicBool,
    is_deaf: AtomicBool,
    /// Number of the next bulk packet: all before it were taken by the host or lost with the cable.
    next: AtomicU64,
    /// Bulk packets that the host took.
    sent: AtomicU64,
    /// The same of the interrupt endpoint.
    sent_slowly: AtomicU64,
}

impl Device {
    /// Describes the device; it can be plugged in afterwards.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let folder = Path::new("/dev").join(format!("ffs-{name}"));
        fs::create_dir(&folder)?;
        let mounted = Command::new("mount")
            .args(["-t", "functionfs", name])
            .arg(&folder)
            .status()?;
        if !mounted.success() {
            return Err("cannot mount functionfs".into());
        }
        let mut control = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join("ep0"))?;
        control.write_all(&descriptors())?;
        control.write_all(&strings())?;
        let device = Self {
            folder,
            _control: control,
            shared: Arc::default(),
        };
        device.spawn("ep1", send)?;
        device.spawn("ep2", listen)?;
        device.spawn("ep3", send_slowly)?;
        Ok(device)
    }

    fn spawn(&self, endpoint: &str, run: fn(&mut File, &Shared)) -> Result<()> {
        let path = self.folder.join(endpoint);
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || run(&mut file, &shared));
        Ok(())
    }

    /// From now on it sends as fast as the host takes it; before, ten packets every 20 ms.
    pub(crate) fn hurry(&self) {
        self.shared.is_full.store(true, Ordering::Relaxed);
    }

    /// Sends nothing more, but for what it is about to, until it is told `GO` again.
    pub(crate) fn hush(&self) {
        self.shared.go.store(false, Ordering::Relaxed);
    }

    /// Falls silent; returns when the last packet is with the host, which must read meanwhile.
    pub(crate) fn fall_silent(&self) -> Result<()> {
        self.hush();
        let mut last = self.next();
        let mut quiet = 0;
        wait_until("the bulk device falls silent", || {
            pause(Duration::from_millis(100));
            let next = self.next();
            quiet = if next == last { quiet + 1 } else { 0 };
            last = next;
            quiet > 3
        })
    }

    /// Stalls the endpoint that it sends on, and sends nothing more until it is told to.
    pub(crate) fn stall(&self) {
        self.shared.stall.store(true, Ordering::Relaxed);
    }

    /// Takes nothing from the host any more, or again.
    pub(crate) fn be_deaf(&self, is_deaf: bool) {
        self.shared.is_deaf.store(is_deaf, Ordering::Relaxed);
    }

    /// Whether it was told to begin.
    pub(crate) fn is_going(&self) -> bool {
        self.shared.go.load(Ordering::Relaxed)
    }

    pub(crate) fn next(&self) -> u64 {
        self.shared.next.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn sent_slowly(&self) -> u64 {
        self.shared.sent_slowly.load(Ordering::Relaxed)
    }
}

/// Bulk packets in one write: 64 KiB, so that a write is a whole number of the host's transfers.
const BATCH: usize = 1024;

fn send(endpoint: &mut File, shared: &Shared) {
    let mut bytes = vec![0; BATCH * frames::LARGE];
    loop {
        if shared.stall.swap(false, Ordering::Relaxed) {
            shared.go.store(false, Ordering::Relaxed);
            // To read from an endpoint that sends is how FunctionFS is told to stall it: the answer is an error.
            let _ = endpoint.read(&mut [0; 512]);
        }
        if !shared.go.load(Ordering::Relaxed) {
            pause(Duration::from_millis(5));
            continue;
        }
        let is_full = shared.is_full.load(Ordering::Relaxed);
        // Ten packets are no multiple of the bus's packet, so that the host does not wait for more.
        let count = if is_full { BATCH } else { 10 };
        let first = shared.next.load(Ordering::Relaxed);
        for (place, packet) in bytes
            .chunks_exact_mut(frames::LARGE)
            .take(count)
            .enumerate()
        {
            frames::write(packet, (first + place as u64) as u32);
        }
        let written = endpoint.write(&bytes[..count * frames::LARGE]);
        shared.next.fetch_add(count as u64, Ordering::Relaxed);
        match written {
            Ok(taken) => {
                let packets = (taken / frames::LARGE) as u64;
                shared.sent.fetch_add(packets, Ordering::Relaxed);
            }
            // Pulled while it was sending.
            Err(_) => shared.go.store(false, Ordering::Relaxed),
        }
        if !is_full {
            pause(Duration::from_millis(20));
        }
    }
}

fn listen(endpoint: &mut File, shared: &Shared) {
    let mut bytes = [0; 512];
    loop {
        if shared.is_deaf.load(Ordering::Relaxed) {
            pause(Duration::from_millis(5));
            continue;
        }
        match endpoint.read(&mut bytes) {
            Ok(count) if &bytes[..count] == GO => shared.go.store(true, Ordering::Relaxed),
            Ok(_) => {}
            Err(_) => pause(Duration::from_millis(5)),
        }
    }
}

fn send_slowly(endpoint: &mut File, shared: &Shared) {
    let mut packet = [0; frames::SMALL];
    let mut number = 0;
    loop {
        frames::write(&mut packet, number);
        match endpoint.write(&packet) {
            Ok(_) => {
                number += 1;
                shared
                    .sent_slowly
                    .store(u64::from(number), Ordering::Relaxed);
            }
            Err(_) => pause(Duration::from_millis(5)),
        }
        pause(Duration::from_millis(10));
    }
}

/// What the device has, for both speeds of the bus.
fn descriptors() -> Vec<u8> {
    let mut all = Vec::new();
    for bulk_bytes in [64_u16, 512] {
        let [low, high] = bulk_bytes.to_le_bytes();
        // Length, type 4, number, alternate, endpoints, class of the vendor, subclass, protocol, string.
        all.extend([9, 4, 0, 0, 2, 0xFF, 0, 0, 1]);
        // Length, type 5, address, bulk, packet, interval.
        all.extend([7, 5, 0x81, 2, low, high, 0]);
        all.extend([7, 5, 0x02, 2, low, high, 0]);
        all.extend([9, 4, 1, 0, 1, 0xFF, 0, 0, 1]);
        // Interrupt, 64 bytes; at high speed every 2^(4-1) eighths of a millisecond.
        all.extend([7, 5, 0x83, 3, 64, 0, 4]);
    }
    const EACH: u32 = 5;
    let head = [
        DESCRIPTORS_MAGIC_V2,
        20 + all.len() as u32,
        HAS_FULL_SPEED | HAS_HIGH_SPEED,
        EACH,
        EACH,
    ];
    let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(all);
    bytes
}

/// The name of its interfaces, in American English (0x0409).
fn strings() -> Vec<u8> {
    let text = b"\x09\x04Kymo's test\0";
    let head = [STRINGS_MAGIC, 16 + text.len() as u32, 1, 1];
    let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(text);
    bytes
}
