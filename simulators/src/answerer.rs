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
use crate::mailbox::{Command, Mailbox};
use crate::pty::{Pty, Wrote};

/// How often a device looks whether a reader has come. Only while there is none.
const LOOK: Duration = Duration::from_millis(2);

/// Bytes heard that are no request yet, at most: more is noise.
const HEARD_MAX: usize = 4096;

/// Answers on their way at most.
const ANSWERS_MAX: usize = 256;

pub(crate) struct Answerer {
    device: Box<dyn Answering>,
    port: Pty,
    mailbox: Arc<Mailbox>,
    published: Arc<Mutex<Truth>>,
    heard: Vec<u8>,
    /// When each goes out, what of it is left, and whether it is an answer.
    answers: VecDeque<(Instant, Vec<u8>, bool)>,
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
    ) -> Self {
        Self {
            device,
            port,
            mailbox,
            published,
            heard: Vec::new(),
            answers: VecDeque::new(),
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
                    self.forget();
                    self.publish();
                    return Ok(self.truth);
                }
                self.obey(command);
            }
            self.turn()?;
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        if !self.port.is_plugged() || self.is_paused {
            self.publish();
            return self.mailbox.wait(None, None);
        }
        if !self.port.has_reader()? {
            self.forget();
            self.publish();
            return self.mailbox.wait(None, Some(LOOK));
        }
        self.hear()?;
        let now = Instant::now();
        let is_full = self.answer(now)?;
        self.publish();
        if is_full {
            let room = (self.port.as_fd(), PollFlags::OUT);
            return self.mailbox.wait(Some(room), Some(LOOK));
        }
        // Looks up now and then: a reader that leaves without a word is noticed.
        let due = self.answers.front().map(|(due, ..)| *due);
        let wait = due.map_or(10 * LOOK, |due| due.saturating_duration_since(now));
        let requests = (self.port.as_fd(), PollFlags::IN);
        self.mailbox.wait(Some(requests), Some(wait))
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
                    self.send(answer);
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
    fn send(&mut self, mut answer: Vec<u8>) {
        self.truth.next_index += 1;
        if self.mute > 0 {
            self.mute -= 1;
            self.truth.frames_skipped += 1;
            return;
        }
        if self.answers.len() >= ANSWERS_MAX {
            self.truth.frames_dropped += 1;
            return;
        }
        if self.wrong > 0 {
            self.wrong -= 1;
            self.device.disguise(&mut answer);
        }
        if self.corrupt > 0 {
            self.corrupt -= 1;
            self.truth.frames_corrupted += 1;
            crate::runner::flip_a_bit(&mut answer);
        }
        let mut due = Instant::now();
        if self.late.0 > 0 {
            self.late.0 -= 1;
            due += self.late.1;
        }
        // They leave in order, as over a line.
        if let Some((before, ..)) = self.answers.back() {
            due = due.max(*before);
        }
        self.answers.push_back((due, answer, true));
    }

    /// Writes what is due. True: there is no room for more.
    fn answer(&mut self, now: Instant) -> io::Result<bool> {
        while let Some((due, bytes, is_answer)) = self.answers.front_mut() {
            if *due > now {
                break;
            }
            match self.port.write(bytes)? {
                _ if bytes.is_empty() => {}
                Wrote::Some(count) => {
                    self.truth.bytes_sent += count as u64;
                    bytes.drain(..count);
                }
                Wrote::Full => return Ok(true),
                Wrote::NoReader => {
                    self.forget();
                    return Ok(false);
                }
            }
            if bytes.is_empty() {
                self.truth.frames_sent += u64::from(*is_answer);
                self.answers.pop_front();
            }
        }
        Ok(false)
    }

    /// Nobody is there any more.
    fn forget(&mut self) {
        self.heard.clear();
        let missed = self.answers.drain(..).filter(|(.., is_answer)| *is_answer);
        self.truth.frames_missed += missed.count() as u64;
    }

    fn obey(&mut self, command: Command) {
        // Answers go to whoever still waits for them: a caller may have lost interest.
        match command {
            Command::Pause(quiet) => {
                self.is_paused = true;
                let _ = quiet.send(self.truth);
            }
            Command::Resume => self.is_paused = false,
            Command::Unplug(done) => {
                self.forget();
                let _ = done.send(self.port.unplug());
            }
            Command::Replug(done) => {
                let _ = done.send(self.port.replug());
            }
            Command::Inject(bytes) => self.answers.push_back((Instant::now(), bytes, false)),
            Command::Skip(requests) => self.mute += requests,
            Command::Corrupt(answers) => self.corrupt += answers,
            Command::Wrong(answers) => self.wrong += answers,
            Command::Late(answers, by) => self.late = (answers, by),
            // It has no level; whoever asked is hung up on. `Stop` is the caller's.
            Command::Level(..) | Command::Stop => {}
        }
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
