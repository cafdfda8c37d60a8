//! A serial sensor: a thread that writes packets into the far end of a serial gadget at a steady rate.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Result, frames, pause};

/// Packets written at once, and the pause behind them: 500 packets a second, if the clock were exact.
const BURST: u32 = 10;
const REST: Duration = Duration::from_millis(20);

/// A sensor that sends.
pub(crate) struct Sensor {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Sensor {
    /// Opens the far end and sends packets from `first` on.
    pub(crate) fn start(far_end: &Path, first: u32) -> Result<Self> {
        let port = open(far_end)?;
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || send(port, first, &theirs));
        Ok(Self { shared, thread })
    }

    /// Packets that the kernel took so far.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Stops between two packets; how many it sent.
    pub(crate) fn stop(self) -> Result<u64> {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            // A device that was pulled cannot send: that is no failure of the test.
            Ok(_) => Ok(self.shared.sent.load(Ordering::Relaxed)),
            Err(_) => Err("a sensor broke down".into()),
        }
    }
}

/// Opens the far end, and makes it pass bytes as they are.
fn open(far_end: &Path) -> Result<File> {
    let raw = Command::new("stty")
        .arg("-F")
        .arg(far_end)
        .args(["raw", "-echo"])
        .status()?;
    if !raw.success() {
        return Err(format!("cannot set {}", far_end.display()).into());
    }
    Ok(OpenOptions::new().write(true).open(far_end)?)
}

fn send(mut port: File, first: u32, shared: &Shared) -> io::Result<()> {
    let mut number = first;
    while !shared.stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let mut packet = [0; frames::SMALL];
            frames::write(&mut packet, number);
            port.write_all(&packet)?;
            number = number.wrapping_add(1);
            shared.sent.fetch_add(1, Ordering::Relaxed);
        }
        pause(REST);
    }
    Ok(())
}
