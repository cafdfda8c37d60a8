//! What no program could beat: from a byte written on a pseudo-terminal to a thread that reads it, and to another
//! one that the reader wakes, with nothing done in either. Two steps, as from a device to Kymo's stage.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use anyhow::Context;
use kymo_drivers::link::{self, Read, Stop};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::PATIENCE;
use crate::tuning::Scheduling;

/// The device's end of a pseudo-terminal.
pub(super) struct Far {
    pub(super) master: OwnedFd,
    pub(super) path: PathBuf,
}

impl Far {
    pub(super) fn open() -> anyhow::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let mut settings = tcgetattr(&master)?;
        settings.make_raw();
        tcsetattr(&master, OptionalActions::Now, &settings)?;
        let name = ptsname(&master, Vec::new())?;
        let path = PathBuf::from(name.to_str()?);
        Ok(Self { master, path })
    }
}

/// A reader, and the thread that it wakes.
pub(super) struct Wake {
    far: Far,
    stop: Stop,
    /// When the read returned, and when the other thread ran.
    woken: Receiver<(Instant, Instant)>,
}

impl Wake {
    /// Both threads are scheduled so, as far as it is permitted.
    pub(super) fn start(scheduling: &Scheduling) -> anyhow::Result<Self> {
        let far = Far::open()?;
        let stop = Stop::new()?;
        let mut link =
            link::Options::Serial(link::serial::Options::new(&far.path, 12_000_000)).open()?;
        let (wake, to_wake) = channel();
        let (note, woken) = channel();
        let (of_reader, of_other) = (scheduling.clone(), scheduling.clone());
        // Both end by themselves when this is dropped.
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("bare-woken").spawn(move || {
            let _ = of_other.apply();
            while let Ok(read) = to_wake.recv() {
                if note.send((read, Instant::now())).is_err() {
                    break;
                }
            }
        })?;
        let ordered = stop.clone();
        thread("bare-reader").spawn(move || {
            let _ = of_reader.apply();
            let mut buffer = [0; 64];
            loop {
                match link.read(&mut buffer, None, &ordered) {
                    Read::Data(_) if wake.send(Instant::now()).is_ok() => {}
                    Read::Quiet => {}
                    _ => break,
                }
            }
        })?;
        Ok(Self { far, stop, woken })
    }

    /// Writes a byte: when that was, when it was read, and when the other thread ran.
    pub(super) fn once(&self) -> anyhow::Result<[Instant; 3]> {
        let written = Instant::now();
        rustix::io::write(&self.far.master, b"!")?;
        let woken = self.woken.recv_timeout(PATIENCE);
        let (read, ran) = woken.context("the bare reader was not woken")?;
        Ok([written, read, ran])
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_wakes_once_and_in_order() {
        let wake = Wake::start(&Scheduling::default()).expect("a pseudo-terminal");
        for _ in 0..3 {
            let [written, read, ran] = wake.once().expect("it is woken");
            assert!(written <= read && read <= ran);
        }
        assert!(wake.woken.try_recv().is_err());
    }
}
