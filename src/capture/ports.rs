//! A capture's sources on pseudo-terminals, for any program that reads serial ports.
//!
//! Each source has a port behind a stable symbolic link. What was read from the device is written to it at the time it was read;
//! where the device was gone, the reader is hung up on, and the link is away until it is back. What was sent to
//! the device is not played, and what a reader sends is taken and forgotten.
//!
//! **Always holds.** Every recorded byte is given, or counted as one that the reader had no room for, or that nobody was there
//! to take. What waits for a reader is what the kernel's buffer holds. At a pace no reader holds the playing up for more than
//! [`ROOM_WAIT`] a read; without a pace a reader is given as much as it takes.
//!
//! **Must not know.** What the bytes mean.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kymo_drivers::link::Stop;
use kymo_drivers::link::recorded::{Happened, Pace, Tape};
use kymo_simulators::Pty;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Capture;
use super::tape::{self, Found, Playing};

/// At a pace a read waits so long for room at the reader, at most.
pub const ROOM_WAIT: Duration = Duration::from_millis(20);
/// How often it is looked whether there is room, or a reader.
const LOOK: Duration = Duration::from_millis(1);
/// While the time of the next read is awaited, what a reader sends is taken so often.
const SLICE: Duration = Duration::from_millis(20);
/// What is still to be read when everything was played, or without a pace, is waited for so long, at most.
const DRAIN_WAIT: Duration = Duration::from_secs(2);
/// When the device is gone, at a pace.
const PACED_DRAIN_WAIT: Duration = Duration::from_millis(100);

/// The ports of a capture, not yet played.
pub struct Ports {
    ports: Vec<Port>,
}

struct Port {
    name: String,
    pty: Pty,
    capture: Arc<Capture>,
    /// Its place in the capture.
    source: usize,
    playing: Playing,
    found: Found,
}

/// How a tape ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Stopped,
    /// There was something on it, or there was not.
    Played(bool),
}

/// What became of a source's bytes.
#[derive(Debug, Clone)]
pub struct Given {
    /// Which source.
    pub name: String,
    /// Bytes that a reader was given.
    pub bytes: u64,
    /// Bytes for which the reader had no room: it did not read.
    pub no_room: u64,
    /// Bytes while nobody had the port open.
    pub no_reader: u64,
    /// Why it ended before it should, if it did.
    pub failure: Option<String>,
}

/// Told of every read that was played: when it was read by the capture, ns; how many bytes; how late.
pub type Seen<'a> = dyn FnMut(i64, usize, Option<Duration>) + Send + 'a;

impl Ports {
    /// Opens a port for each of these sources of a capture, with its link in the folder `links`. What is found damaged goes
    /// into `found`.
    ///
    /// # Errors
    /// What the system refused.
    pub fn open(
        capture: &Arc<Capture>,
        sources: &[usize],
        (playing, found): (Playing, &Found),
        links: &Path,
    ) -> io::Result<Self> {
        let port = |source: &usize| {
            let name = capture.described().sources[*source].name.clone();
            Ok(Port {
                pty: Pty::open(links, &name)?,
                capture: Arc::clone(capture),
                source: *source,
                playing,
                found: found.clone(),
                name,
            })
        };
        let ports = sources.iter().map(port).collect::<io::Result<_>>()?;
        Ok(Self { ports })
    }

    /// Name, link, and what the link leads to, of each.
    pub fn places(&self) -> impl Iterator<Item = (&str, &Path, &Path)> {
        let ports = self.ports.iter();
        ports.map(|port| (port.name.as_str(), port.pty.link(), port.pty.slave()))
    }

    /// Waits until every port was opened by somebody; false: the order to stop came first.
    ///
    /// # Errors
    /// What the system refused.
    pub fn wait_for_readers(&self, stop: &Stop) -> io::Result<bool> {
        for port in &self.ports {
            while !port.pty.has_reader()? {
                if stop.wait(LOOK) {
                    return Ok(false);
                }
            }
        }
        Ok(!stop.is_triggered())
    }

    /// Plays all of them, each on a thread of its own, until the end or the order to stop. Without a pace, as fast as they
    /// are read.
    #[must_use]
    pub fn play(self, pace: Option<Pace>, stop: &Stop, seen: Vec<Box<Seen<'_>>>) -> Vec<Given> {
        std::thread::scope(|scope| {
            let ports = self.ports.into_iter().zip(seen);
            let players: Vec<_> = ports
                .map(|(port, seen)| {
                    let name = port.name.clone();
                    (name, scope.spawn(move || port.play(pace, stop, seen)))
                })
                .collect();
            let end = |(name, player): (String, std::thread::ScopedJoinHandle<'_, Given>)| {
                player.join().unwrap_or_else(|_| Given {
                    failure: Some("its thread broke down: this is a mistake in kymo".to_owned()),
                    ..Given::new(name)
                })
            };
            players.into_iter().map(end).collect()
        })
    }
}

impl Given {
    fn new(name: String) -> Self {
        Self {
            name,
            bytes: 0,
            no_room: 0,
            no_reader: 0,
            failure: None,
        }
    }
}

impl Port {
    fn play(mut self, pace: Option<Pace>, stop: &Stop, mut seen: Box<Seen<'_>>) -> Given {
        let mut given = Given::new(self.name.clone());
        given.failure = self
            .play_passes(pace, stop, (&mut given, &mut *seen))
            .err()
            .map(|error| error.to_string());
        given
    }

    /// Plays it once, or until the order to stop. A reader is not hung up on between two passes.
    fn play_passes(
        &mut self,
        pace: Option<Pace>,
        stop: &Stop,
        (given, seen): (&mut Given, &mut Seen<'_>),
    ) -> io::Result<()> {
        let mut next = Some(self.playing);
        while let Some(playing) = next.take() {
            let once = Playing {
                passes: 1,
                ..playing
            };
            let tape = tape::tape(Arc::clone(&self.capture), self.source, once, &self.found)?;
            match self.play_tape(tape, pace, (stop, &mut *given, &mut *seen))? {
                Ended::Stopped => return Ok(()),
                // It has nothing to say, in no pass.
                Ended::Played(false) => break,
                Ended::Played(true) if playing.passes == 0 => next = playing.next(),
                Ended::Played(true) => {}
            }
        }
        self.drain(stop, DRAIN_WAIT)
    }

    fn play_tape(
        &mut self,
        tape: Tape,
        pace: Option<Pace>,
        (stop, given, seen): (&Stop, &mut Given, &mut Seen<'_>),
    ) -> io::Result<Ended> {
        let mut any = false;
        for moment in tape {
            any = true;
            if !self.wait_until(moment.time_ns, pace, stop)? {
                return Ok(Ended::Stopped);
            }
            match moment.what {
                Happened::Opened(_) => self.pty.replug()?,
                Happened::Gone(_) => {
                    let limit = pace.map_or(DRAIN_WAIT, |_| PACED_DRAIN_WAIT);
                    self.drain(stop, limit)?;
                    self.pty.unplug()?;
                }
                Happened::Finished(_) => return Ok(Ended::Played(any)),
                Happened::Read(bytes) => {
                    let late = pace.map(|pace| pace.late(moment.time_ns));
                    seen(moment.time_ns, bytes.len(), late);
                    // A tape may begin in the middle, or have a hole.
                    self.pty.replug()?;
                    self.offer(&bytes, pace.is_some(), (stop, &mut *given))?;
                }
            }
        }
        Ok(Ended::Played(any))
    }

    /// Waits for a time of the capture; false: the order to stop came first.
    fn wait_until(&self, time_ns: i64, pace: Option<Pace>, stop: &Stop) -> io::Result<bool> {
        self.forget_input()?;
        while let Some(left) = pace
            .map(|pace| pace.left(time_ns))
            .filter(|left| !left.is_zero())
        {
            if stop.wait(left.min(SLICE)) {
                return Ok(false);
            }
            self.forget_input()?;
        }
        Ok(!stop.is_triggered())
    }

    /// Writes to the reader, as far as there is one that takes it.
    fn offer(
        &self,
        bytes: &[u8],
        is_paced: bool,
        (stop, given): (&Stop, &mut Given),
    ) -> io::Result<()> {
        let mut rest = bytes;
        let until = Instant::now() + ROOM_WAIT;
        while !rest.is_empty() {
            if !self.pty.has_reader()? {
                given.no_reader += rest.len() as u64;
                return Ok(());
            }
            match rustix::io::write(self.pty.as_fd(), rest) {
                Ok(count) if count > 0 => {
                    given.bytes += count as u64;
                    rest = &rest[count..];
                }
                Ok(_) | Err(Errno::AGAIN) => {
                    let is_late = is_paced && Instant::now() >= until;
                    if is_late || stop.wait(LOOK) {
                        given.no_room += rest.len() as u64;
                        return Ok(());
                    }
                    self.forget_input()?;
                }
                // The reader went away just now, or a signal came: looked at again.
                Err(Errno::IO | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Takes what the reader sends: the device of the past does not hear it.
    fn forget_input(&self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(self.pty.as_fd(), &mut buffer) {
                Ok(0) | Err(Errno::AGAIN | Errno::IO) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits until the reader has read what it was given, within bounds: a hang-up would take it away.
    fn drain(&self, stop: &Stop, limit: Duration) -> io::Result<()> {
        let until = Instant::now() + limit;
        let mut looks = 0;
        // Twice: between the two the kernel hands on what is on its way.
        while looks < 2 && self.pty.is_plugged() && self.pty.has_reader()? {
            looks = if self.is_read()? { looks + 1 } else { 0 };
            if Instant::now() >= until || stop.wait(10 * LOOK) {
                break;
            }
        }
        Ok(())
    }

    /// Whether nothing waits for the reader, as far as that can be seen.
    fn is_read(&self) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let slave = match rustix::fs::open(self.pty.slave(), flags, Mode::empty()) {
            Ok(slave) => slave,
            // The reader has it for itself alone: it cannot be seen, and is waited for.
            Err(Errno::BUSY) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        Ok(rustix::io::ioctl_fionread(&slave)? == 0)
    }
}
