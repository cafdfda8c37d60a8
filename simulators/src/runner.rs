//! A device's thread: the one loop in which everything happens to it.
//!
//! What for: takes frames from the device when they are due, and writes them to the port.
//!
//! What always holds: it waits in one place, in the kernel, for a request, for room or for time,
//! and hears a request there whatever else it waits for. A reader that closes, hangs or was never
//! there does not end it. Every frame number up to `next_index` is in one count of the truth.
//!
//! What it must not know: what is in a frame; who holds the handle.

mod suffer;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::commands::{Commands, Told};
use crate::devices::Device;
use crate::faults::{Begin, Faults};
use crate::mailbox::{Command, Mailbox};
use crate::outbox::Outbox;
use crate::pty::{Pty, Wrote};
use crate::schedule::Schedule;
use crate::truth::{HitFrame, Log, Lost};
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

/// What a device's thread is made of.
pub(crate) struct Parts {
    pub(crate) device: Box<dyn Device>,
    /// Host time for each unit of the device's.
    pub(crate) slow: f64,
    pub(crate) port: Pty,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) when_full: WhenFull,
    pub(crate) published: Arc<Mutex<Truth>>,
    pub(crate) faults: Faults,
    pub(crate) log: Option<Log>,
    pub(crate) commands: Option<Commands>,
    /// After so many frame numbers it falls silent.
    pub(crate) frames: Option<u64>,
}

pub(crate) struct Runner {
    parts: Parts,
    state: State,
}

struct State {
    schedule: Schedule,
    reader: Reader,
    /// Until the next look for a reader.
    look: Duration,
    outbox: Outbox,
    /// Frames in the outbox that faults have changed.
    hits: VecDeque<HitFrame>,
    /// The next slot of the schedule. Slots and frame numbers part when frames are skipped.
    slot: u64,
    /// Frames still to be corrupted.
    corrupt: u64,
    /// Who wants to know when the next frame leaves.
    level_watch: Option<Sender<Written>>,
    /// A fault that waits for the frames before it to have gone out, and its number.
    pending: Option<(usize, Begin)>,
    /// It stalls until then.
    stalled: Option<Instant>,
    /// It comes back by itself then.
    away: Option<Instant>,
    truth: Truth,
}

impl State {
    /// So many frame numbers from the next one on are not sent.
    fn lose(&mut self, why: Lost, count: u64, log: &mut Option<Log>) -> io::Result<()> {
        let first = self.truth.next_index;
        self.truth.next_index += count;
        self.count_lost(why, first, count, log)
    }

    fn count_lost(
        &mut self,
        why: Lost,
        first: u64,
        count: u64,
        log: &mut Option<Log>,
    ) -> io::Result<()> {
        match why {
            Lost::Missed => self.truth.frames_missed += count,
            Lost::Dropped => self.truth.frames_dropped += count,
            Lost::Skipped => self.truth.frames_skipped += count,
        }
        log.as_mut()
            .map_or(Ok(()), |log| log.lost(why, first, count))
    }
}

impl Runner {
    pub(crate) fn new(parts: Parts) -> Self {
        let state = State {
            schedule: Schedule::new(parts.device.rate_hz(), parts.slow),
            reader: Reader::Absent,
            look: LOOK,
            outbox: Outbox::default(),
            hits: VecDeque::new(),
            slot: 0,
            corrupt: 0,
            level_watch: None,
            pending: None,
            stalled: None,
            away: None,
            truth: Truth::default(),
        };
        Self { parts, state }
    }

    /// Runs until stopped, or until the system refuses something.
    pub(crate) fn run(mut self) -> io::Result<Truth> {
        while self.obey_all()? {
            let next = self.turn()?;
            self.publish();
            self.rest(matches!(next, Next::Request))?;
            let (room, heard) = match next {
                Next::Now => continue,
                Next::Room => (PollFlags::OUT, None),
                Next::After(time) => (PollFlags::empty(), Some(time)),
                Next::Request => (PollFlags::empty(), None),
            };
            // A port without a reader is always ready: its hang-up.
            let is_here = matches!(self.state.reader, Reader::Here);
            let listens = self.parts.commands.is_some() && is_here;
            let flags = room
                | if listens {
                    PollFlags::IN
                } else {
                    PollFlags::empty()
                };
            let port = (!flags.is_empty()).then(|| (self.parts.port.as_fd(), flags));
            self.parts.mailbox.wait(port, heard)?;
        }
        self.give_up()?;
        if let Some(log) = &mut self.parts.log {
            log.end(&self.state.truth)?;
        }
        Ok(self.state.truth)
    }

    /// One look at the world, and at most one write.
    fn turn(&mut self) -> io::Result<Next> {
        let now = Instant::now();
        if let Some(until) = self.state.away {
            if now < until {
                return Ok(Next::After(until - now));
            }
            self.come_back(now)?;
        }
        let state = &mut self.state;
        let idle = state.outbox.is_empty();
        if !self.parts.port.is_plugged() || (state.schedule.is_paused() && idle && !self.listens())
        {
            return Ok(Next::Request);
        }
        if !self.reader_is_here(now)? {
            self.miss(now)?;
            let state = &mut self.state;
            state.look = match state.reader {
                Reader::Absent => (state.look + state.look / 16).min(LOOK_MAX),
                Reader::Settling { .. } | Reader::Here => LOOK,
            };
            return Ok(Next::After(state.look));
        }
        self.state.look = LOOK;
        self.hear(now)?;
        if self.state.outbox.is_empty() {
            if let Some(next) = self.suffer(now)? {
                return Ok(next);
            }
            self.encode_due(now)?;
        }
        let state = &self.state;
        if state.outbox.is_empty() {
            if state.pending.is_some() {
                return Ok(Next::Now);
            }
            if state.schedule.is_paused() {
                // What its reader says is heard at once, that he leaves is looked for.
                return Ok(Next::After(LOOK_MAX));
            }
            return Ok(Next::After(state.schedule.until(state.slot, now)));
        }
        self.write()
    }

    fn listens(&self) -> bool {
        self.parts.commands.is_some()
    }

    fn reader_is_here(&mut self, now: Instant) -> io::Result<bool> {
        let state = &mut self.state;
        let next = state.truth.next_index;
        if !self.parts.port.has_reader()? {
            if matches!(state.reader, Reader::Here) {
                self.parts.port.discard()?;
                if let Some(log) = &mut self.parts.log {
                    log.left(next, now)?;
                }
                if let Some(commands) = &mut self.parts.commands {
                    commands.forget();
                }
            }
            state.reader = Reader::Absent;
            return Ok(false);
        }
        match state.reader {
            Reader::Here => return Ok(true),
            Reader::Absent => state.reader = Reader::Settling { since: now },
            Reader::Settling { since } if now.duration_since(since) >= SETTLE => {
                // What came due in the meantime was sent to nobody.
                self.miss(now)?;
                self.state.schedule.start(now);
                if self
                    .parts
                    .commands
                    .as_ref()
                    .is_some_and(Commands::is_silent)
                {
                    self.state.schedule.pause(now);
                }
                self.state.reader = Reader::Here;
                if let Some(log) = &mut self.parts.log {
                    log.came(self.state.truth.next_index, now)?;
                }
                return Ok(true);
            }
            Reader::Settling { .. } => {}
        }
        Ok(false)
    }

    /// Obeys what the reader has said over the port.
    fn hear(&mut self, now: Instant) -> io::Result<()> {
        let Some(commands) = &mut self.parts.commands else {
            return Ok(());
        };
        for told in commands.hear(&self.parts.port)? {
            match told {
                Told::Start => self.state.schedule.resume(now),
                Told::Stop => self.state.schedule.pause(now),
                Told::Answer(bytes) => self.state.outbox.push_rubbish(&bytes),
            }
        }
        Ok(())
    }

    /// What is in hand is lost: nobody is there.
    fn give_up(&mut self) -> io::Result<()> {
        let state = &mut self.state;
        let count = state.outbox.give_up();
        let first = state.truth.next_index - count;
        state.hits.clear();
        state.count_lost(Lost::Missed, first, count, &mut self.parts.log)
    }

    /// What is in hand, and what came due, finds nobody.
    fn miss(&mut self, now: Instant) -> io::Result<()> {
        self.give_up()?;
        let state = &mut self.state;
        state.schedule.end_rush(state.slot, now);
        let due = state.schedule.gone_by(now).max(state.slot);
        self.pass_over(Lost::Missed, due, now)
    }

    /// The slots up to `due` go by, and what faults they would have had with them.
    fn pass_over(&mut self, why: Lost, due: u64, now: Instant) -> io::Result<()> {
        let state = &mut self.state;
        let count = due - state.slot;
        if count == 0 {
            return Ok(());
        }
        state.lose(why, count, &mut self.parts.log)?;
        state.slot = due;
        if !self.parts.faults.is_empty() {
            let own_ns = state.schedule.own_ns(due - 1, now);
            self.parts.faults.pass(own_ns);
        }
        Ok(())
    }

    fn encode_due(&mut self, now: Instant) -> io::Result<()> {
        if self
            .parts
            .commands
            .as_ref()
            .is_some_and(Commands::is_silent)
        {
            return Ok(());
        }
        let has_faults = !self.parts.faults.is_empty();
        while self.state.slot < self.state.schedule.due(now)
            && self.state.outbox.len() < CHUNK_BYTES
            && self.state.pending.is_none()
        {
            let frames = self.parts.frames;
            if frames.is_some_and(|frames| self.state.truth.next_index >= frames) {
                // It has said all it had to say.
                self.state.schedule.pause(now);
                break;
            }
            let own_ns = if has_faults {
                self.state.schedule.own_ns(self.state.slot, now)
            } else {
                0
            };
            if has_faults && self.begin_faults(own_ns, now)? {
                break;
            }
            self.encode(own_ns);
        }
        Ok(())
    }

    fn encode(&mut self, own_ns: u64) {
        let Parts { device, faults, .. } = &mut self.parts;
        let state = &mut self.state;
        let index = state.truth.next_index;
        let is_corrupt = state.corrupt > 0;
        let mut hits = Vec::new();
        let mut hit = None;
        state.outbox.push_frame(index, |out| {
            let begin = out.len();
            device.frame(index, out);
            if is_corrupt {
                flip_a_bit(&mut out[begin..]);
            }
            let length = out.len() - begin;
            let start = faults.strike(index, own_ns, out, begin, &mut hits);
            if !hits.is_empty() {
                hit = Some(HitFrame {
                    index,
                    hits,
                    length,
                    bytes: out[begin..].to_vec(),
                    noise: start - begin,
                });
            }
        });
        state.hits.extend(hit);
        if is_corrupt {
            state.corrupt -= 1;
            state.truth.frames_corrupted += 1;
        }
        if let Some(sender) = state.level_watch.take() {
            state.outbox.watch(index, sender);
        }
        state.truth.next_index += 1;
        state.slot += 1;
    }

    fn write(&mut self) -> io::Result<Next> {
        let now = Instant::now();
        match self.parts.port.write(self.state.outbox.rest())? {
            Wrote::Some(count) => {
                self.took(count, now)?;
                self.state.schedule.reached(self.state.slot, now);
                Ok(Next::Now)
            }
            Wrote::Full if self.parts.when_full == WhenFull::Drop => {
                let state = &mut self.state;
                let due = state.schedule.gone_by(now).max(state.slot);
                let count = state.outbox.drop_unbegun();
                let first = state.truth.next_index - count;
                state.hits.retain(|hit| hit.index < first);
                state.count_lost(Lost::Dropped, first, count, &mut self.parts.log)?;
                self.pass_over(Lost::Dropped, due, now)?;
                Ok(Next::After(self.state.schedule.until(due, now)))
            }
            Wrote::Full => Ok(Next::Room),
            Wrote::NoReader => {
                self.miss(now)?;
                Ok(Next::After(LOOK))
            }
        }
    }

    /// The port took so many bytes: counts and tells the frames that went out.
    fn took(&mut self, count: usize, now: Instant) -> io::Result<()> {
        let State {
            outbox,
            hits,
            truth,
            ..
        } = &mut self.state;
        let log = &mut self.parts.log;
        truth.bytes_sent += count as u64;
        let mut told = Ok(());
        outbox.take(count, now, |frame| {
            truth.frames_sent += 1;
            let hit = hits.pop_front_if(|hit| hit.index == frame.index);
            if let Some(hit) = &hit {
                truth.frames_hit += 1;
                for what in &hit.hits {
                    truth.faults[what.kind] += 1;
                }
            }
            let Some(log) = log else { return };
            let tell = match &hit {
                Some(hit) => log.hit(hit, now),
                None => log.sent(frame.index, frame.len(), now),
            };
            if told.is_ok() {
                told = tell;
            }
        });
        told
    }

    /// Obeys what was asked, between two frames. Answers whether to go on.
    fn obey_all(&mut self) -> io::Result<bool> {
        loop {
            if !self.state.outbox.is_empty() {
                if !self.parts.mailbox.is_urgent() {
                    return Ok(true);
                }
                self.give_up()?;
            }
            match self.parts.mailbox.take() {
                None => return Ok(true),
                Some(Command::Stop) => return Ok(false),
                Some(command) => self.obey(command)?,
            }
        }
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        let now = Instant::now();
        // Answers go to whoever still waits for them: a caller may have lost interest.
        match command {
            Command::Stop => unreachable!("handled by the caller"),
            Command::Pause(quiet) => {
                self.state.schedule.pause(now);
                self.rest(true)?;
                let _ = quiet.send(self.state.truth);
            }
            Command::Resume => self.state.schedule.resume(now),
            Command::Unplug(done) => {
                // By hand: it does not come back by itself.
                self.state.away = None;
                let _ = done.send(self.leave());
            }
            Command::Replug(done) => {
                let _ = done.send(self.come_back(now));
            }
            Command::Inject(bytes) => self.state.outbox.push_rubbish(&bytes),
            Command::Skip(frames) => {
                self.state
                    .lose(Lost::Skipped, frames, &mut self.parts.log)?;
            }
            Command::Corrupt(frames) => self.state.corrupt += frames,
            // Who sends unasked is neither late nor anybody else.
            Command::Wrong(_) | Command::Late(..) => {}
            Command::Level(level, watch) => {
                if self.parts.device.set_level(level) {
                    self.state.level_watch = Some(watch);
                }
            }
        }
        Ok(())
    }

    /// The log is brought up to date now and then.
    fn rest(&mut self, is_quiet: bool) -> io::Result<()> {
        match &mut self.parts.log {
            Some(log) => log.rest(Instant::now(), is_quiet),
            None => Ok(()),
        }
    }

    fn publish(&self) {
        // A count is whole whoever panicked while copying it.
        *self
            .parts
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.state.truth;
    }
}

impl Drop for Runner {
    /// Also when the thread panics: nobody is left waiting for an answer.
    fn drop(&mut self) {
        self.parts.mailbox.close();
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
