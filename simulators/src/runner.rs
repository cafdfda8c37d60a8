//! A device's thread: the one loop in which everything happens to it.
//!
//! What for: takes frames from the device when they are due, and writes them to the port.
//!
//! What always holds: it waits in one place, in the kernel, for a request, for room or for time,
//! and hears a request there whatever else it waits for. A reader that closes, hangs or was never
//! there does not end it. Every frame number up to `next_index` is in one count of the truth.
//!
//! What it must not know: what is in a frame; who holds the handle.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::devices::Device;
use crate::mailbox::{Command, Mailbox};
use crate::outbox::Outbox;
use crate::pty::{Pty, Wrote};
use crate::schedule::Schedule;
use crate::{Truth, WhenFull, Written};

/// Bytes encoded before they are offered. More than a pseudo-terminal ever takes at once (13 824 on
/// Linux 6.18), so that a flood fills it with each call; little enough to be obeyed soon.
const CHUNK_BYTES: usize = 16 * 1024;

/// How often a device looks whether a reader has come. Only while there is none.
const LOOK: Duration = Duration::from_millis(2);

/// The longest time between two looks: each look that finds nobody makes the next a sixteenth later. A thousand devices that
/// nobody reads would otherwise keep a processor busy, and their readers from coming.
const LOOK_MAX: Duration = Duration::from_millis(50);

/// A reader counts when it has stayed this long: programs often open a port once to try it, close
/// it, and open it again for good, and bytes sent to the first would be lost.
const SETTLE: Duration = Duration::from_millis(10);

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
enum Reader {
    Absent,
    Settling { since: Instant },
    Here,
}

/// What to wait for before the next turn, besides a request.
enum Next {
    Now,
    Room,
    After(Duration),
    Request,
}

pub(crate) struct Runner {
    pub(crate) device: Box<dyn Device>,
    pub(crate) port: Pty,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) when_full: WhenFull,
    pub(crate) published: Arc<Mutex<Truth>>,
    state: State,
}

struct State {
    schedule: Schedule,
    reader: Reader,
    /// Until the next look for a reader.
    look: Duration,
    outbox: Outbox,
    /// The next slot of the schedule. Slots and frame numbers part when frames are skipped.
    slot: u64,
    /// Frames still to be corrupted.
    corrupt: u64,
    /// Who wants to know when the next frame leaves.
    level_watch: Option<Sender<Written>>,
    truth: Truth,
}

impl Runner {
    /// `slow`: host time for each unit of the device's.
    pub(crate) fn new(
        device: Box<dyn Device>,
        slow: f64,
        port: Pty,
        mailbox: Arc<Mailbox>,
        when_full: WhenFull,
        published: Arc<Mutex<Truth>>,
    ) -> Self {
        let state = State {
            schedule: Schedule::new(device.rate_hz() / slow),
            reader: Reader::Absent,
            look: LOOK,
            outbox: Outbox::default(),
            slot: 0,
            corrupt: 0,
            level_watch: None,
            truth: Truth::default(),
        };
        Self {
            device,
            port,
            mailbox,
            when_full,
            published,
            state,
        }
    }

    /// Runs until stopped, or until the system refuses something.
    pub(crate) fn run(mut self) -> io::Result<Truth> {
        while self.obey_all() {
            let next = self.turn()?;
            self.publish();
            match next {
                Next::Now => {}
                Next::Room => {
                    let room = (self.port.as_fd(), PollFlags::OUT);
                    self.mailbox.wait(Some(room), None)?;
                }
                Next::After(time) => self.mailbox.wait(None, Some(time))?,
                Next::Request => self.mailbox.wait(None, None)?,
            }
        }
        Ok(self.state.truth)
    }

    /// One look at the world, and at most one write.
    fn turn(&mut self) -> io::Result<Next> {
        let state = &mut self.state;
        let idle = state.outbox.is_empty();
        if !self.port.is_plugged() || (state.schedule.is_paused() && idle) {
            return Ok(Next::Request);
        }
        let now = Instant::now();
        if !self.reader_is_here(now)? {
            self.miss(now);
            let state = &mut self.state;
            state.look = match state.reader {
                Reader::Absent => (state.look + state.look / 16).min(LOOK_MAX),
                Reader::Settling { .. } | Reader::Here => LOOK,
            };
            return Ok(Next::After(state.look));
        }
        self.state.look = LOOK;
        if idle {
            self.encode_due(now);
        }
        if self.state.outbox.is_empty() {
            let state = &self.state;
            return Ok(Next::After(state.schedule.until(state.slot, now)));
        }
        self.write()
    }

    fn reader_is_here(&mut self, now: Instant) -> io::Result<bool> {
        let state = &mut self.state;
        if !self.port.has_reader()? {
            if matches!(state.reader, Reader::Here) {
                self.port.discard()?;
            }
            state.reader = Reader::Absent;
            return Ok(false);
        }
        match state.reader {
            Reader::Here => return Ok(true),
            Reader::Absent => state.reader = Reader::Settling { since: now },
            Reader::Settling { since } if now.duration_since(since) >= SETTLE => {
                // What came due in the meantime was sent to nobody.
                self.miss(now);
                self.state.schedule.start(now);
                self.state.reader = Reader::Here;
                return Ok(true);
            }
            Reader::Settling { .. } => {}
        }
        Ok(false)
    }

    /// What is in hand, and what came due, finds nobody.
    fn miss(&mut self, now: Instant) {
        let state = &mut self.state;
        state.truth.frames_missed += state.outbox.give_up();
        let due = state.schedule.gone_by(now).max(state.slot);
        state.truth.frames_missed += due - state.slot;
        state.truth.next_index += due - state.slot;
        state.slot = due;
    }

    fn encode_due(&mut self, now: Instant) {
        let state = &mut self.state;
        let due = state.schedule.due(now);
        while state.slot < due && state.outbox.len() < CHUNK_BYTES {
            let index = state.truth.next_index;
            let device = &mut self.device;
            let frame = state.outbox.push_frame(|out| device.frame(index, out));
            if state.corrupt > 0 {
                state.corrupt -= 1;
                state.truth.frames_corrupted += 1;
                flip_a_bit(frame);
            }
            if let Some(sender) = state.level_watch.take() {
                state.outbox.watch(index, sender);
            }
            state.truth.next_index += 1;
            state.slot += 1;
        }
    }

    fn write(&mut self) -> io::Result<Next> {
        let state = &mut self.state;
        let now = Instant::now();
        match self.port.write(state.outbox.rest())? {
            Wrote::Some(count) => {
                state.truth.bytes_sent += count as u64;
                state.truth.frames_sent += state.outbox.take(count, now);
                Ok(Next::Now)
            }
            Wrote::Full if self.when_full == WhenFull::Drop => {
                let due = state.schedule.gone_by(now).max(state.slot);
                let late = due - state.slot;
                state.truth.frames_dropped += state.outbox.drop_unbegun() + late;
                state.truth.next_index += late;
                state.slot = due;
                Ok(Next::After(state.schedule.until(due, now)))
            }
            Wrote::Full => Ok(Next::Room),
            Wrote::NoReader => {
                self.miss(now);
                Ok(Next::After(LOOK))
            }
        }
    }

    /// Obeys what was asked, between two frames. Answers whether to go on.
    fn obey_all(&mut self) -> bool {
        loop {
            if !self.state.outbox.is_empty() {
                if !self.mailbox.is_urgent() {
                    return true;
                }
                self.state.truth.frames_missed += self.state.outbox.give_up();
            }
            match self.mailbox.take() {
                None => return true,
                Some(Command::Stop) => return false,
                Some(command) => self.obey(command),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        let state = &mut self.state;
        // Answers go to whoever still waits for them: a caller may have lost interest.
        match command {
            Command::Stop => unreachable!("handled by the caller"),
            Command::Pause(quiet) => {
                state.schedule.pause(now);
                let _ = quiet.send(state.truth);
            }
            Command::Resume => {
                state.schedule.resume(now);
            }
            Command::Unplug(done) => {
                state.reader = Reader::Absent;
                let _ = done.send(self.port.unplug());
            }
            Command::Replug(done) => {
                if !self.port.is_plugged() {
                    self.miss(now);
                }
                let _ = done.send(self.port.replug());
            }
            Command::Inject(bytes) => state.outbox.push_rubbish(&bytes),
            Command::Skip(frames) => {
                state.truth.next_index += frames;
                state.truth.frames_skipped += frames;
            }
            Command::Corrupt(frames) => state.corrupt += frames,
            // Who sends unasked is neither late nor anybody else.
            Command::Wrong(_) | Command::Late(..) => {}
            Command::Level(level, watch) => {
                if self.device.set_level(level) {
                    state.level_watch = Some(watch);
                }
            }
        }
    }

    fn publish(&self) {
        // A count is whole whoever panicked while copying it.
        *self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.state.truth;
    }
}

impl Drop for Runner {
    /// Also when the thread panics: nobody is left waiting for an answer.
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

/// Spoils a frame so that no reader can take it for good: one bit in its middle, which any CRC
/// finds, and which makes a letter of a digit. It never makes a zero, which would end a COBS packet.
pub(crate) fn flip_a_bit(frame: &mut [u8]) {
    let middle = frame.len() / 2;
    if let Some(byte) = frame.get_mut(middle) {
        *byte ^= if *byte == 0x40 { 0x20 } else { 0x40 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_spoils_digits_points_and_commas_and_makes_no_zero() {
        for byte in b"0123456789.,-" {
            let mut frame = [*byte];
            flip_a_bit(&mut frame);
            assert!(frame[0].is_ascii_lowercase(), "{}", frame[0]);
        }
        let mut frame = [0x40];
        flip_a_bit(&mut frame);
        assert_eq!(frame, [0x60]);
    }
}
