//! The thread of a device that speaks only when it is asked.
//!
//! What for: hears requests from the port, has the device answer them, and writes the answers: at once, or late, spoilt,
//! as another's, or not at all, where a test wants that.
//!
//! What always holds: as with the other devices, it waits in one place, in the kernel. Every request up to
//! `next_index` is in one count of the truth. What it remembers of unanswered bytes and unsent answers is bounded.
//!
//! What it must not know: what a request says.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::Truth;
use crate::devices::{Answering, Heard};
use crate::faults::{Begin, Faults, Hit, nanos};
use crate::mailbox::{Command, Mailbox};
use crate::pty::{Pty, Wrote};
use crate::truth::{Log, Lost};

/// How often a device looks whether a reader has come. Only while there is none.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes heard that are no request yet, at most: more is noise.
const HEARD_MAX: usize = 4096;

/// Answers on their way at most.
const ANSWERS_MAX: usize = 256;

/// The faults that only answers have, in [`FAULTS`](crate::FAULTS).
const LATE: usize = 10;
const WRONG: usize = 11;
const MISSING: usize = 12;

/// Bytes on their way.
struct Waiting {
    due: Instant,
    left: Vec<u8>,
    /// None: they are no answer.
    answer: Option<Told>,
}

/// What is to be told of an answer when it is out.
struct Told {
    number: u64,
    hits: Vec<Hit>,
    /// What else was done to it, for the log.
    more: String,
    /// The faults that did it, by number.
    faults: Vec<usize>,
    bytes: Vec<u8>,
}

pub(crate) struct Answerer {
    device: Box<dyn Answering>,
    port: Pty,
    mailbox: Arc<Mailbox>,
    published: Arc<Mutex<Truth>>,
    faults: Faults,
    log: Option<Log>,
    heard: Vec<u8>,
    out: VecDeque<Waiting>,
    /// When the first reader came: the time of its faults begins there.
    start: Option<Instant>,
    /// It hears and says nothing until then.
    stalled: Option<Instant>,
    /// It is unplugged, and comes back by itself then.
    away: Option<Instant>,
    is_paused: bool,
    /// How many of the next requests: stay unanswered, …
    mute: u64,
    /// … are answered with a bit flipped, …
    corrupt: u64,
    /// … as if another device did, …
    wrong: u64,
    /// … or late, and by how much.
    late: (u64, Duration),
    truth: Truth,
}

impl Answerer {
    pub(crate) fn new(
        device: Box<dyn Answering>,
        port: Pty,
        mailbox: Arc<Mailbox>,
        published: Arc<Mutex<Truth>>,
        faults: Faults,
        log: Option<Log>,
    ) -> Self {
        Self {
            device,
            port,
            mailbox,
            published,
            faults,
            log,
            heard: Vec::new(),
            out: VecDeque::new(),
            start: None,
            stalled: None,
            away: None,
            is_paused: false,
            mute: 0,
            corrupt: 0,
            wrong: 0,
            late: (0, Duration::ZERO),
            truth: Truth::default(),
        }
    }

    /// Runs until stopped, or until the system refuses something.
    pub(crate) fn run(mut self) -> io::Result<Truth> {
        loop {
            while let Some(command) = self.mailbox.take() {
                if matches!(command, Command::Stop) {
                    self.forget()?;
                    self.publish();
                    if let Some(log) = &mut self.log {
                        log.end(&self.truth)?;
                    }
                    return Ok(self.truth);
                }
                self.obey(command)?;
            }
            self.turn()?;
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if let Some(until) = self.away {
            if now < until {
                self.publish();
                return self.mailbox.wait(None, Some(until - now));
            }
            self.away = None;
            self.port.replug()?;
        }
        if let Some(log) = &mut self.log {
            log.rest(now, self.is_paused)?;
        }
        if !self.port.is_plugged() || self.is_paused {
            self.publish();
            return self.mailbox.wait(None, None);
        }
        if !self.port.has_reader()? {
            self.forget()?;
            self.publish();
            return self.mailbox.wait(None, Some(LOOK));
        }
        if self.start.is_none() {
            self.start = Some(now);
            if let Some(log) = &mut self.log {
                log.came(0, now)?;
            }
        }
        if let Some(until) = self.stalled.filter(|until| now < *until) {
            self.publish();
            return self.mailbox.wait(None, Some(until - now));
        }
        self.stalled = None;
        self.suffer(now)?;
        if self.stalled.is_some() || self.away.is_some() {
            return Ok(());
        }
        self.hear()?;
        let is_full = self.answer(now)?;
        self.publish();
        if is_full {
            let room = (self.port.as_fd(), PollFlags::OUT);
            return self.mailbox.wait(Some(room), Some(LOOK));
        }
        // Looks up now and then: a reader that leaves without a word is noticed.
        let due = self.out.front().map(|waiting| waiting.due);
        let wait = due.map_or(10 * LOOK, |due| due.saturating_duration_since(now));
        let requests = (self.port.as_fd(), PollFlags::IN);
        self.mailbox.wait(Some(requests), Some(wait))
    }

    /// Time since its first reader came.
    fn own_ns(&self, now: Instant) -> u64 {
        let start = self.start.unwrap_or(now);
        nanos(now.saturating_duration_since(start))
    }

    /// Stalls, or hangs up, if that is due.
    fn suffer(&mut self, now: Instant) -> io::Result<()> {
        let own_ns = self.own_ns(now);
        while let Some((kind, begin)) = self.faults.begin(self.truth.next_index, own_ns) {
            let (Begin::Stall(time) | Begin::Disconnect(time)) = begin else {
                // The others are refused by the configuration: they are done to a clock or a counter, and it has none.
                continue;
            };
            self.truth.faults[kind] += 1;
            let what = format!(",\"duration_s\":{:.6}", time.as_secs_f64());
            if let Some(log) = &mut self.log {
                log.fault(kind, &what, self.truth.next_index, now)?;
            }
            if matches!(begin, Begin::Stall(_)) {
                self.stalled = Some(now + time);
            } else {
                self.forget()?;
                self.port.unplug()?;
                self.away = Some(now + time);
            }
            break;
        }
        Ok(())
    }

    /// Takes what was said, and answers the requests in it.
    fn hear(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1024];
        let count = self.port.read(&mut buffer)?;
        self.heard.extend_from_slice(&buffer[..count]);
        let mut at = 0;
        loop {
            let mut answer = Vec::new();
            match self.device.hear(&self.heard[at..], &mut answer) {
                Heard::More => break,
                Heard::Nothing(bytes) => at += bytes,
                Heard::Request(bytes) => {
                    at += bytes;
                    self.send(answer)?;
                }
            }
        }
        self.heard.drain(..at);
        if self.heard.len() > HEARD_MAX {
            self.heard.clear();
        }
        Ok(())
    }

    /// The answer to a request, as the faults of the moment have it.
    fn send(&mut self, mut answer: Vec<u8>) -> io::Result<()> {
        let now = Instant::now();
        let number = self.truth.next_index;
        let own_ns = self.own_ns(now);
        let fault = self.faults.answer(number, own_ns);
        self.truth.next_index += 1;
        if self.mute > 0 || fault.is_missing {
            self.mute = self.mute.saturating_sub(u64::from(!fault.is_missing));
            self.truth.faults[MISSING] += u64::from(fault.is_missing);
            return self.lost(Lost::Skipped, number);
        }
        if self.out.len() >= ANSWERS_MAX {
            return self.lost(Lost::Dropped, number);
        }
        let mut told = Told {
            number,
            hits: Vec::new(),
            more: String::new(),
            faults: Vec::new(),
            bytes: Vec::new(),
        };
        if self.wrong > 0 || fault.is_wrong {
            self.wrong = self.wrong.saturating_sub(u64::from(!fault.is_wrong));
            self.device.disguise(&mut answer);
            told.more.push_str(",\"wrong\":true");
            told.faults.extend(fault.is_wrong.then_some(WRONG));
        }
        if self.corrupt > 0 {
            self.corrupt -= 1;
            self.truth.frames_corrupted += 1;
            crate::runner::flip_a_bit(&mut answer);
        }
        self.faults
            .strike(number, own_ns, &mut answer, 0, &mut told.hits);
        told.faults.extend(told.hits.iter().map(|hit| hit.kind));
        let mut due = now + fault.late;
        if !fault.late.is_zero() {
            let late_s = fault.late.as_secs_f64();
            told.more.push_str(&format!(",\"late_s\":{late_s:.6}"));
            told.faults.push(LATE);
        }
        if self.late.0 > 0 {
            self.late.0 -= 1;
            due += self.late.1;
        }
        // They leave in order, as over a line.
        if let Some(before) = self.out.back() {
            due = due.max(before.due);
        }
        told.bytes.clone_from(&answer);
        self.out.push_back(Waiting {
            due,
            left: answer,
            answer: Some(told),
        });
        Ok(())
    }

    fn lost(&mut self, why: Lost, number: u64) -> io::Result<()> {
        match why {
            Lost::Missed => self.truth.frames_missed += 1,
            Lost::Dropped => self.truth.frames_dropped += 1,
            Lost::Skipped => self.truth.frames_skipped += 1,
        }
        match &mut self.log {
            Some(log) => log.lost(why, number, 1),
            None => Ok(()),
        }
    }

    /// Writes what is due. True: there is no room for more.
    fn answer(&mut self, now: Instant) -> io::Result<bool> {
        while let Some(waiting) = self.out.front_mut() {
            if waiting.due > now {
                break;
            }
            match self.port.write(&waiting.left)? {
                _ if waiting.left.is_empty() => {}
                Wrote::Some(count) => {
                    self.truth.bytes_sent += count as u64;
                    waiting.left.drain(..count);
                }
                Wrote::Full => return Ok(true),
                Wrote::NoReader => {
                    self.forget()?;
                    return Ok(false);
                }
            }
            if waiting.left.is_empty()
                && let Some(told) = self.out.pop_front().and_then(|waiting| waiting.answer)
            {
                self.told(&told, now)?;
            }
        }
        Ok(false)
    }

    /// An answer is out.
    fn told(&mut self, told: &Told, now: Instant) -> io::Result<()> {
        self.truth.frames_sent += 1;
        self.truth.frames_hit += u64::from(!told.faults.is_empty());
        for kind in &told.faults {
            self.truth.faults[*kind] += 1;
        }
        match &mut self.log {
            Some(log) => log.answer(told.number, &told.hits, &told.more, &told.bytes, now),
            None => Ok(()),
        }
    }

    /// Nobody is there any more.
    fn forget(&mut self) -> io::Result<()> {
        self.heard.clear();
        let answers = self.out.drain(..).filter_map(|waiting| waiting.answer);
        let missed: Vec<u64> = answers.map(|told| told.number).collect();
        for number in missed {
            self.lost(Lost::Missed, number)?;
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        // Answers go to whoever still waits for them: a caller may have lost interest.
        match command {
            Command::Pause(quiet) => {
                self.is_paused = true;
                let _ = quiet.send(self.truth);
            }
            Command::Resume => self.is_paused = false,
            Command::Unplug(done) => {
                // By hand: it does not come back by itself.
                self.away = None;
                self.forget()?;
                let _ = done.send(self.port.unplug());
            }
            Command::Replug(done) => {
                self.away = None;
                let _ = done.send(self.port.replug());
            }
            Command::Inject(bytes) => self.out.push_back(Waiting {
                due: Instant::now(),
                left: bytes,
                answer: None,
            }),
            Command::Skip(requests) => self.mute += requests,
            Command::Corrupt(answers) => self.corrupt += answers,
            Command::Wrong(answers) => self.wrong += answers,
            Command::Late(answers, by) => self.late = (answers, by),
            // It has no level; whoever asked is hung up on. `Stop` is the caller's.
            Command::Level(..) | Command::Stop => {}
        }
        Ok(())
    }

    fn publish(&self) {
        // A count is whole whoever panicked while copying it.
        *self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.truth;
    }
}

impl Drop for Answerer {
    /// Also when the thread panics: nobody is left waiting for an answer.
    fn drop(&mut self) {
        self.mailbox.close();
    }
}
