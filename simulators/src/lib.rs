//! Simulated laboratory devices on real pseudo-terminals.
//!
//! What for: Kymo's default run, its tests and its benchmarks read from these devices through the
//! same system calls as from a real serial port. Each is a thread of its own at the far end of a
//! pseudo-terminal, with its own clock, and does what real devices do to their readers: it floods,
//! falls silent, is unplugged and comes back under another number, sends rubbish, loses frames; on
//! request, or by itself, as [`Options::faults`] say.
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
//! `devices/` what is sent, `faults.rs` what goes wrong with it on the way, `truth.rs` what is told of that, `pty.rs` the port it goes to.

mod answerer;
mod checksum;
mod commands;
mod devices;
mod encode;
mod faults;
mod mailbox;
mod outbox;
mod pty;
mod runner;
mod schedule;
mod signal;
pub mod signals;
mod simulator;
mod truth;

use std::path::PathBuf;

pub use checksum::{CHECKSUMS, Checksum};
pub use commands::{COMMAND_BYTES_MAX, CommandOptions};
pub use devices::generic::{Channel, Form, GENERIC, Generic, RATE_HZ, SCALARS, Scalar};
pub use devices::{Answering, DEVICES, Device, DeviceKind, Heard, POLLED, PolledKind, expected};
pub use faults::{FAULTS, Fault, FaultKind, Rhythm, When};
pub use mailbox::Written;
pub use pty::Pty;
pub use signal::{Signal, Then};
pub use simulator::Simulator;
pub use truth::{LogOptions, Truth};

/// A simulated device, not yet started.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Its name: the thread is called after it, and its link in [`Options::links`] too.
    pub name: String,
    /// What kind of device: a name out of the lists [`DEVICES`], [`POLLED`] and [`GENERIC`].
    pub device: String,
    /// What a generic device says; of the other kinds nothing.
    pub generic: Option<Generic>,
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
    /// What goes wrong with it.
    pub faults: Vec<Fault>,
    /// After so many frame numbers a device that sends falls silent; `None`: it goes on.
    pub frames: Option<u64>,
    /// Where it is logged what it really did.
    pub truth: Option<LogOptions>,
    /// What it understands, if it sends by itself.
    pub commands: CommandOptions,
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
            generic: None,
            rate_hz: None,
            drift_ppm: 0.0,
            seed: 0,
            links: links.into(),
            when_full: WhenFull::Wait,
            faults: Vec::new(),
            frames: None,
            truth: None,
            commands: CommandOptions::default(),
        }
    }

    /// The rate at which a device that sends does so by its own clock, and by which the values of one that answers are counted.
    #[must_use]
    pub fn own_rate_hz(&self) -> f64 {
        let kind = DEVICES.iter().find(|kind| kind.name == self.device);
        let usual = kind.map_or(RATE_HZ, |kind| kind.rate_hz);
        self.rate_hz.unwrap_or(usual)
    }

    /// The raw value of a channel in a frame, exactly as it goes over the wire, however the device is declared; `None`: there is no such
    /// channel.
    #[must_use]
    pub fn sent(&self, channel: usize, index: u64) -> Option<f64> {
        let rate_hz = self.own_rate_hz();
        match &self.generic {
            Some(generic) => generic.sent(channel, index, rate_hz, self.seed),
            None => expected(&self.device, channel, index, rate_hz, self.seed),
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
