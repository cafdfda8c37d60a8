//! Simulated laboratory devices on real pseudo-terminals.
//!
//! What for: Kymo's default run, its tests and its benchmarks read from these devices through the
//! same system calls as from a real serial port. Each is a thread of its own at the far end of a
//! pseudo-terminal, with its own clock, and does what real devices do to their readers: it floods,
//! falls silent, is unplugged and comes back under another number, sends rubbish, loses frames.
//!
//! What always holds: frame 0 leaves when a reader first has the port open; every frame number up
//! to [`Truth::next_index`] is in exactly one count of the [`Truth`]; the raw value of every sample
//! is a pure function of its frame number, which [`expected`] computes from outside; a closed or
//! slow reader never ends a device.
//!
//! What it must not know: the drivers. Checksums and framing are written here a second time on
//! purpose; with shared code, a test of one against the other would prove nothing.
//!
//! Where to start reading: [`Simulator`] is the handle, `runner.rs` the thread behind it, `answerer.rs` that of a
//! device which speaks only when asked,
//! `devices/` what is sent, `pty.rs` the port it goes to.

mod answerer;
mod devices;
mod encode;
mod mailbox;
mod outbox;
mod pty;
mod runner;
mod schedule;
pub mod signals;
mod simulator;

use std::path::PathBuf;

pub use devices::{Answering, DEVICES, Device, DeviceKind, Heard, POLLED, PolledKind, expected};
pub use mailbox::Written;
pub use pty::Pty;
pub use simulator::Simulator;

/// A simulated device, not yet started.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Its name: the thread is called after it, and its link in [`Options::links`] too.
    pub name: String,
    /// What kind of device: a name out of the lists [`DEVICES`] and [`POLLED`].
    pub device: String,
    /// Frames a second; `None`: the kind's own rate; infinity: a flood, as fast as the port takes
    /// it. A flood repeats the kind's first 65 536 frames at its own rate, always waits for room,
    /// and loses nothing.
    pub rate_hz: Option<f64>,
    /// By how much its clock is slow, in parts of a million: it takes its frames, and counts its time, so much
    /// slower than the host says. Negative: it is fast.
    pub drift_ppm: f64,
    /// Seed of whatever is random in it.
    pub seed: u64,
    /// The folder in which a symbolic link of the device's name leads to its pseudo-terminal,
    /// also after it came back under another number.
    pub links: PathBuf,
    /// What it does when the reader is slower than the device.
    pub when_full: WhenFull,
}

impl Options {
    /// A device at its own rate, with a true clock and seed 0, that waits for a slow reader.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        device: impl Into<String>,
        links: impl Into<PathBuf>,
    ) -> Self {
        Self {
            name: name.into(),
            device: device.into(),
            rate_hz: None,
            drift_ppm: 0.0,
            seed: 0,
            links: links.into(),
            when_full: WhenFull::Wait,
        }
    }
}

/// What a device does when its port takes no more bytes because the reader is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It waits, as if the line had flow control, and catches up at full speed: nothing is lost.
    #[default]
    Wait,
    /// It throws whole frames away, as a device with no flow control does:
    /// [`Truth::frames_dropped`]. A frame begun is always finished.
    Drop,
}

/// What a device really did: the count that a reader's ledger is compared with.
///
/// Of a device that answers, a frame is an answer, and its number counts the requests to it.
///
/// `next_index = frames_sent + frames_dropped + frames_missed + frames_skipped`, whenever nothing
/// is in hand: before the first frame, while paused, and in the answer of [`Simulator::stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Truth {
    /// The number that the next frame will carry, before it is cut to the width of the counter.
    pub next_index: u64,
    /// Frames written to the port to their last byte. A hang-up kills those that were not yet read.
    pub frames_sent: u64,
    /// Bytes written to the port: frames, parts of frames, and rubbish.
    pub bytes_sent: u64,
    /// Frames thrown away because the port was full: [`WhenFull::Drop`].
    pub frames_dropped: u64,
    /// Frames for which nobody was there: no reader, unplugged, or cut off in the middle.
    pub frames_missed: u64,
    /// Frames left out on request: [`Simulator::skip`].
    pub frames_skipped: u64,
    /// Frames encoded with a bit flipped on request: [`Simulator::corrupt_next`].
    pub frames_corrupted: u64,
}
