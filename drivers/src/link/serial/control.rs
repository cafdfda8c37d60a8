//! What a serial port is set to beside its line: DTR, RTS, what a close does to them, low latency; and the watch over
//! the kernel's error counters.
//!
//! **Always holds.** What a port does not support is told once, and is no error: the port works without it. What
//! it supports and refuses is told too.
//!
//! **Must not know.** How bytes are read.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};

use super::ioctl::{Counters, DTR, Driver, Kernel, LOW_LATENCY, RTS};
use crate::link::{LineError, LineErrors};

/// A line that the host holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// Raised.
    On,
    /// Lowered. The kernel raises it when it opens a port, so for a moment it was on.
    Off,
    /// As the kernel sets it.
    #[default]
    Leave,
}

/// What a port is set to beside its line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// Data terminal ready: many boards reset when it changes.
    pub dtr: Level,
    /// Request to send.
    pub rts: Level,
    /// Whether the last close lowers both (`HUPCL`); `None`: as it is.
    pub hang_up: Option<bool>,
    /// Bytes are handed on at once, and not gathered for some milliseconds.
    pub low_latency: bool,
}

/// Where the kernel shows its terminals.
const SYS_TTY: &str = "/sys/class/tty";

impl Control {
    /// Sets an open port; says what it does not support.
    pub(super) fn set(&self, port: &impl AsFd, path: &Path) -> Vec<String> {
        let mut notes = Vec::new();
        self.set_hang_up(port, &mut notes);
        let kernel = Kernel(port);
        self.set_lines(&kernel, &mut notes);
        if self.low_latency {
            notes.extend(set_low_latency(&kernel, path, Path::new(SYS_TTY)));
        }
        notes
    }

    fn set_hang_up(&self, port: &impl AsFd, notes: &mut Vec<String>) {
        let Some(hang_up) = self.hang_up else {
            return;
        };
        let set = || -> io::Result<()> {
            let mut settings = tcgetattr(port)?;
            settings.control_modes.set(ControlModes::HUPCL, hang_up);
            Ok(tcsetattr(port, OptionalActions::Now, &settings)?)
        };
        if let Err(error) = set() {
            notes.push(unsupported("hang_up", &error));
        }
    }

    fn set_lines(&self, driver: &impl Driver, notes: &mut Vec<String>) {
        for (name, level, line) in [("dtr", self.dtr, DTR), ("rts", self.rts, RTS)] {
            let done = match level {
                Level::On => driver.raise(line),
                Level::Off => driver.lower(line),
                Level::Leave => Ok(()),
            };
            if let Err(error) = done {
                notes.push(unsupported(name, &error));
            }
        }
    }
}

fn unsupported(what: &str, error: &io::Error) -> String {
    format!("{what} is not supported by this port ({error})")
}

/// Has the driver hand bytes on at once: its flag, and the timer of an FTDI chip, which otherwise gathers bytes for
/// 16 ms. One of the two is enough.
fn set_low_latency(driver: &impl Driver, path: &Path, sys_tty: &Path) -> Option<String> {
    let flag = driver.settings().and_then(|mut settings| {
        settings.flags |= LOW_LATENCY;
        driver.set_settings(settings)
    });
    let timer = latency_timer(path, sys_tty).map(|timer| {
        std::fs::write(&timer, "1")
            .map_err(|error| format!("cannot write {}: {error}", timer.display()))
    });
    match (flag, timer) {
        (_, Some(Ok(()))) | (Ok(()), None) => None,
        // The timer is what gathers bytes, whether the driver took the flag or not.
        (_, Some(Err(what))) => Some(format!("low_latency is set in part only: {what}")),
        (Err(error), None) => Some(unsupported("low_latency", &error)),
    }
}

/// The file that holds an FTDI chip's timer, if the port has one.
fn latency_timer(path: &Path, sys_tty: &Path) -> Option<PathBuf> {
    let device = path.canonicalize().ok()?;
    let timer = sys_tty
        .join(device.file_name()?)
        .join("device/latency_timer");
    timer.exists().then_some(timer)
}

/// Watches a port's error counters.
#[derive(Debug)]
pub(super) struct Watch {
    /// As they were at the last look; `None`: the port has none.
    last: Option<Counters>,
}

impl Watch {
    /// From now on: what was counted before the port was opened was somebody else's loss.
    pub(super) fn new(port: &impl AsFd) -> Self {
        Self::over(&Kernel(port))
    }

    fn over(driver: &impl Driver) -> Self {
        Self {
            last: driver.counters().ok(),
        }
    }

    /// Whether the port has counters.
    pub(super) fn is_supported(&self) -> bool {
        self.last.is_some()
    }

    /// What was counted since the last look.
    pub(super) fn look(&mut self, port: &impl AsFd) -> LineErrors {
        self.look_at(&Kernel(port))
    }

    fn look_at(&mut self, driver: &impl Driver) -> LineErrors {
        let mut errors = LineErrors::default();
        // A port that is gone has no counters any more; what is lost with it is its own gap.
        let (Some(last), Ok(now)) = (self.last, driver.counters()) else {
            return errors;
        };
        let counts = [
            (LineError::Overrun, last.overrun, now.overrun),
            (LineError::Framing, last.frame, now.frame),
            (LineError::Parity, last.parity, now.parity),
            (LineError::Break, last.brk, now.brk),
            (LineError::BufferOverrun, last.buf_overrun, now.buf_overrun),
        ];
        for (error, last, now) in counts {
            // The kernel counts in 32 bits, round and round.
            #[allow(clippy::cast_sign_loss)]
            errors.add(error, u64::from(now.wrapping_sub(last) as u32));
        }
        self.last = Some(now);
        errors
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
