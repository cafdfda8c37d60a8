//! One source's thread: open, read, decode, push; and again when the device is gone.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kymo_drivers::block::SourceId;
use kymo_drivers::link::{self, Link, OpenError, Outlet, Read, SendError, Stop};
use kymo_drivers::protocol::Protocol;

use super::assemble::{Assembler, Stamp};
use super::backoff::{Backoff, ReconnectOptions};
use super::dating::TimeOptions;
use super::talk::{Commands, Talk};
use crate::capture::Tap;
use crate::clock::Clock;
use crate::event::{EventKind, EventSender};
use crate::lanes::LaneSender;
use crate::ledger::SourceCounts;

/// One of a source's lanes, for its reader.
#[derive(Debug)]
pub struct LaneOutput {
    /// Where its blocks go.
    pub sender: LaneSender,
    /// The values of a frame that it carries, by their places; a raw value kept beside a calibrated one
    /// has its place twice.
    pub columns: Vec<usize>,
    /// Its blocks that can be under way at once, at most.
    pub blocks_max: usize,
    /// How long a frame waits in a block that is not full; zero: a block for every read.
    pub block_age: Duration,
}

/// Where a reader's bytes come from.
pub enum Device {
    /// A device that is opened, and looked for again when it is gone.
    Declared(link::Options),
    /// A link that is there already, and that knows itself when its device is back: a recording.
    Open(Box<dyn Link>),
}

/// What a reader is made of.
pub struct ReaderOptions {
    /// The source's name: the thread's name too.
    pub name: String,
    /// The source's number.
    pub source: SourceId,
    /// The device.
    pub device: Device,
    /// How its bytes are decoded.
    pub protocol: Box<dyn Protocol>,
    /// What it is told when it was opened, and before it is left.
    pub commands: Commands,
    /// Where whoever else has something to say to the device finds it.
    pub outlet: Outlet,
    /// Where its bytes are recorded, if they are.
    pub tap: Option<Tap>,
    /// Where its blocks go: at least one lane.
    pub lanes: Vec<LaneOutput>,
    /// Frames in a block at most.
    pub block_frames: usize,
    /// How they are dated.
    pub time: TimeOptions,
    /// How a device that is gone is looked for.
    pub reconnect: ReconnectOptions,
    /// Where it counts.
    pub counts: Arc<SourceCounts>,
    /// Where it says what happens.
    pub events: EventSender,
    /// What time it is.
    pub clock: Clock,
    /// Ends it.
    pub stop: Stop,
}

/// A running reader.
#[derive(Debug)]
pub struct Reader {
    /// The source's name.
    pub name: String,
    thread: JoinHandle<()>,
}

/// Bytes read at once at most. A pseudo-terminal gives 4 KiB a read, a serial driver less; 64 KiB let
/// a reader that was held up catch up in one go.
const READ_BYTES_MAX: usize = 64 << 10;

/// Bytes come for so long and nothing decodes: then say so.
const DECODE_PATIENCE_NS: i64 = 1_000_000_000;

/// Bytes shown of what does not decode.
const SAMPLE_BYTES: usize = 24;

/// How often a link that can know of losses below it is asked for them.
const LOOK_NS: i64 = 1_000_000_000;

/// A connected device sends nothing for so long: then say so, once.
const SILENCE_PATIENCE: Duration = Duration::from_secs(3);

impl Reader {
    /// Starts a thread that reads the source until the order to stop.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(options: ReaderOptions) -> io::Result<Self> {
        Self::start_with(options, || ())
    }

    /// As [`Reader::start`], on a thread that prepares itself first.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start_with(
        options: ReaderOptions,
        prepare: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let name = options.name.clone();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let guard = FailureGuard {
                    source: options.source,
                    events: options.events.clone(),
                    clock: options.clock.clone(),
                };
                prepare();
                Running::new(options).run();
                std::mem::forget(guard);
            })?;
        Ok(Self { name, thread })
    }

    /// Whether it has ended by itself: its source is finished, or it broke down.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until the reader has ended; false if it broke down.
    #[must_use]
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

/// Says that the source has failed, unless the reader comes to its proper end.
struct FailureGuard {
    source: SourceId,
    events: EventSender,
    clock: Clock,
}

impl Drop for FailureGuard {
    fn drop(&mut self) {
        self.events
            .send(Some(self.source), self.clock.now_ns(), EventKind::Failed);
    }
}

struct Running {
    source: SourceId,
    /// None: there is no other link than `first`.
    link: Option<link::Options>,
    first: Option<Box<dyn Link>>,
    assembler: Assembler,
    talk: Talk,
    tap: Option<Tap>,
    buffer: Box<[u8]>,
    backoff: Backoff,
    counts: Arc<SourceCounts>,
    events: EventSender,
    clock: Clock,
    stop: Stop,
}

/// Why reading an open link ended.
enum Ended {
    Stopped,
    Gone(String),
    Finished(String),
}

impl Running {
    fn new(options: ReaderOptions) -> Self {
        let mut assembler = Assembler::new(
            options.protocol,
            options.lanes,
            options.block_frames,
            options.time,
            Arc::clone(&options.counts),
        );
        let (link, first) = match options.device {
            Device::Declared(link) => (Some(link), None),
            Device::Open(link) => (None, Some(link)),
        };
        if first.is_some() {
            assembler.keep_to_age();
        }
        let buffer = vec![0; assembler.tail_max() + READ_BYTES_MAX].into_boxed_slice();
        Self {
            source: options.source,
            link,
            first,
            assembler,
            talk: Talk::new(options.outlet, options.commands),
            tap: options.tap,
            buffer,
            backoff: Backoff::new(options.reconnect),
            counts: options.counts,
            events: options.events,
            clock: options.clock,
            stop: options.stop,
        }
    }

    fn run(mut self) {
        let mut connected_before = false;
        let mut kept = self.first.take();
        while let Some(mut link) = self.open(kept.take()) {
            let opened_ns = self.clock.now_ns();
            if let Some(tap) = &mut self.tap {
                tap.opened(opened_ns, &*link);
            }
            self.tell(opened_ns, EventKind::Connected);
            if connected_before {
                self.counts.add_reconnect();
            }
            connected_before = true;
            self.assembler.reset();
            self.look(&mut *link);
            let connected = self.talk.outlet().connect(&*link);
            let ended = match self.talk.start(&self.stop) {
                Ok(()) => self.read(&mut *link),
                Err(error) => Ended::Gone(error.to_string()),
            };
            self.look(&mut *link);
            match ended {
                Ended::Stopped => {
                    self.leave();
                    if let Some(tap) = &mut self.tap {
                        tap.left(self.clock.now_ns());
                    }
                    break;
                }
                Ended::Finished(reason) => {
                    self.assembler.send_all();
                    if let Some(tap) = &mut self.tap {
                        tap.finished(self.clock.now_ns(), &reason);
                    }
                    self.tell(self.clock.now_ns(), EventKind::Finished { reason });
                    break;
                }
                Ended::Gone(reason) => {
                    let now_ns = self.clock.now_ns();
                    self.assembler.begin_gap(now_ns);
                    if let Some(tap) = &mut self.tap {
                        tap.gone(now_ns, &reason);
                    }
                    let kind = EventKind::Disconnected {
                        reason,
                        permission_group: None,
                    };
                    self.tell(now_ns, kind);
                }
            }
            drop(connected);
            kept = link.again();
            // A device that opens and hangs up at once must not be opened without a pause.
            let comes_by_itself = kept.as_ref().is_some_and(|link| link.comes_by_itself());
            if !comes_by_itself && self.stop.wait(self.backoff.next(fastrand::f64())) {
                break;
            }
        }
        self.assembler.finish(self.clock.now_ns());
    }

    /// An event that the stage has no room for is given up: it is in the ledger all the same.
    fn tell(&self, time_ns: i64, kind: EventKind) {
        let _ = self.events.send(Some(self.source), time_ns, kind);
    }

    /// Asks the link what it noticed, counts it and tells it.
    fn look(&self, link: &mut dyn Link) {
        let noticed = link.noticed();
        let now_ns = self.clock.now_ns();
        if link.watches() {
            self.counts.add_line_errors(&noticed.line_errors);
        }
        if !noticed.line_errors.is_empty() {
            let errors = noticed.line_errors;
            self.tell(now_ns, EventKind::LineErrors { errors });
        }
        for what in noticed.notes {
            self.tell(now_ns, EventKind::Note { what });
        }
    }

    /// Sends the stop commands; that they did not go out is told, and changes nothing.
    fn leave(&self) {
        if let Err(error) = self.talk.stop() {
            let kind = EventKind::NotSent {
                what: "the stop commands".to_owned(),
                reason: error.to_string(),
            };
            self.events
                .send(Some(self.source), self.clock.now_ns(), kind);
        }
    }

    /// Tries until the device is open and somebody is there; `None` if the order to stop comes first. `kept` is a link
    /// that need not be opened anew.
    fn open(&mut self, mut kept: Option<Box<dyn Link>>) -> Option<Box<dyn Link>> {
        let mut said = None;
        while !self.stop.is_triggered() {
            let opened = match (kept.take(), &self.link) {
                (Some(link), _) => Ok(link),
                (None, Some(link)) => link.open(),
                (None, None) => break,
            };
            let error = match opened.and_then(|link| self.await_peer(link, &mut said)) {
                Ok(link) => return link,
                Err(error) => error,
            };
            let permission_group = match &error {
                OpenError::NoPermission { group, .. } => group.clone(),
                _ => None,
            };
            self.tell_absent(error.to_string(), permission_group, &mut said);
            if self.stop.wait(self.backoff.next(fastrand::f64())) {
                break;
            }
        }
        None
    }

    fn await_peer(
        &self,
        mut link: Box<dyn Link>,
        said: &mut Option<String>,
    ) -> Result<Option<Box<dyn Link>>, OpenError> {
        if let Some(reason) = link.missing_peer() {
            self.tell_absent(reason, None, said);
        }
        let is_there = link.await_peer(&self.stop)?;
        Ok(is_there.then_some(link))
    }

    /// Says why the device is not there; the same reason once, not at every attempt.
    fn tell_absent(&self, reason: String, group: Option<String>, said: &mut Option<String>) {
        if said.as_ref() == Some(&reason) {
            return;
        }
        *said = Some(reason.clone());
        let kind = EventKind::Disconnected {
            reason,
            permission_group: group,
        };
        self.tell(self.clock.now_ns(), kind);
    }

    /// Reads and decodes until the device is gone or the order to stop comes.
    fn read(&mut self, link: &mut dyn Link) -> Ended {
        let ns_per_byte = link.ns_per_byte();
        let keeps_boundaries = link.keeps_boundaries();
        let mut filled = 0;
        let opened_ns = self.clock.now_ns();
        let mut watch = Watch::new(opened_ns, self.counts.frames());
        let mut look_ns = link.watches().then_some(opened_ns + LOOK_NS);
        if let Err(error) = self.talk.turn(&mut self.assembler, opened_ns) {
            return Ended::Gone(error.to_string());
        }
        loop {
            let wait = self.wait(&watch, look_ns);
            let now_ns = match link.read(&mut self.buffer[filled..], wait, &self.stop) {
                Read::Data(count) => {
                    let read_ns = self.clock.now_ns();
                    self.counts.add_bytes(count);
                    if let Some(tap) = &mut self.tap {
                        tap.read(read_ns, &self.buffer[filled..filled + count]);
                    }
                    filled += count;
                    let stamp = Stamp {
                        read_ns,
                        ns_per_byte,
                    };
                    let asked_before = self.talk.turn(&mut self.assembler, read_ns);
                    let done = self.assembler.feed(&self.buffer[..filled], stamp);
                    let asked = asked_before.and(self.talk.turn(&mut self.assembler, read_ns));
                    self.tell_protocol(read_ns);
                    if let Some(kind) =
                        watch.bytes(&self.buffer[..filled], count, read_ns, self.counts.frames())
                    {
                        self.events.send(Some(self.source), read_ns, kind);
                    }
                    if self.counts.frames() > watch.frames_at_open {
                        self.backoff.reset();
                    }
                    if keeps_boundaries {
                        // What is left of a datagram belongs to no frame, and the next does not continue it.
                        self.counts.add_skipped(filled - done);
                        self.assembler.boundary();
                        filled = 0;
                    } else {
                        self.buffer.copy_within(done..filled, 0);
                        filled -= done;
                    }
                    // A read takes all that has come, so a device that never falls silent is
                    // stopped here; one that does is stopped in the wait.
                    if self.stop.is_triggered() {
                        self.counts.add_skipped(filled);
                        return Ended::Stopped;
                    }
                    if let Err(error) = asked {
                        self.counts.add_skipped(filled);
                        return Ended::Gone(error.to_string());
                    }
                    read_ns
                }
                Read::Quiet => {
                    let now_ns = self.clock.now_ns();
                    if let Err(error) = self.turn_unanswered(&mut filled, ns_per_byte, now_ns) {
                        self.counts.add_skipped(filled);
                        return Ended::Gone(error.to_string());
                    }
                    self.assembler.send_aged(now_ns);
                    if let Some(kind) = watch.quiet(now_ns) {
                        self.events.send(Some(self.source), now_ns, kind);
                    }
                    now_ns
                }
                Read::Stopped => {
                    self.counts.add_skipped(filled);
                    return Ended::Stopped;
                }
                Read::Gone(reason) => {
                    self.counts.add_skipped(filled);
                    return Ended::Gone(reason);
                }
                Read::Finished(reason) => {
                    self.counts.add_skipped(filled);
                    return Ended::Finished(reason);
                }
            };
            if look_ns.is_some_and(|due_ns| now_ns >= due_ns) {
                self.look(link);
                look_ns = Some(now_ns + LOOK_NS);
            }
        }
    }

    /// The protocol's turn although nothing came: it may have waited long enough for an answer.
    fn turn_unanswered(
        &mut self,
        filled: &mut usize,
        ns_per_byte: f64,
        now_ns: i64,
    ) -> Result<(), SendError> {
        let is_due = self.talk.is_due(now_ns);
        self.talk.turn(&mut self.assembler, now_ns)?;
        if is_due {
            let stamp = Stamp {
                read_ns: now_ns,
                ns_per_byte,
            };
            let done = self.assembler.feed(&self.buffer[..*filled], stamp);
            self.buffer.copy_within(done..*filled, 0);
            *filled -= done;
            self.talk.turn(&mut self.assembler, now_ns)?;
            self.tell_protocol(now_ns);
        }
        Ok(())
    }

    /// Hands on what the protocol has to tell.
    fn tell_protocol(&mut self, now_ns: i64) {
        while let Some(what) = self.assembler.told() {
            self.tell(now_ns, EventKind::Note { what });
        }
    }

    /// How long to wait for bytes: until a block has waited long enough, until it is the protocol's turn to
    /// ask, until the link is to be asked what it noticed, or until it is time to say that the device is silent;
    /// otherwise for ever.
    fn wait(&self, watch: &Watch, look_ns: Option<i64>) -> Option<Duration> {
        let now_ns = self.clock.now_ns();
        let nanos = |ns: i64| Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
        let age = self.assembler.age_left_ns(now_ns).map(nanos);
        let turn = self.talk.due_in_ns(now_ns).map(nanos);
        let silence = (!watch.silence_said && !watch.any_bytes).then_some(SILENCE_PATIENCE);
        let look = look_ns.map(|due_ns| nanos(due_ns.saturating_sub(now_ns)));
        [age, turn, look, silence].into_iter().flatten().min()
    }
}

/// Watches an open link for bytes that do not decode, and for silence.
struct Watch {
    opened_ns: i64,
    frames_at_open: u64,
    bytes: u64,
    any_bytes: bool,
    first_bytes_ns: i64,
    decode_said: bool,
    silence_said: bool,
}

impl Watch {
    fn new(now_ns: i64, frames: u64) -> Self {
        Self {
            opened_ns: now_ns,
            frames_at_open: frames,
            bytes: 0,
            any_bytes: false,
            first_bytes_ns: now_ns,
            decode_said: false,
            silence_said: false,
        }
    }

    fn bytes(&mut self, input: &[u8], count: usize, now_ns: i64, frames: u64) -> Option<EventKind> {
        if !self.any_bytes {
            (self.any_bytes, self.first_bytes_ns) = (true, now_ns);
        }
        if self.decode_said || frames > self.frames_at_open {
            self.decode_said = true;
            return None;
        }
        self.bytes += count as u64;
        if now_ns - self.first_bytes_ns < DECODE_PATIENCE_NS {
            return None;
        }
        self.decode_said = true;
        let latest = &input[input.len() - count..];
        let sample: Vec<String> = latest
            .iter()
            .take(SAMPLE_BYTES)
            .map(|byte| format!("{byte:02X}"))
            .collect();
        Some(EventKind::NothingDecodes {
            bytes: self.bytes,
            sample: sample.join(" "),
        })
    }

    fn quiet(&mut self, now_ns: i64) -> Option<EventKind> {
        let silent_ns = now_ns - self.opened_ns;
        let patience_ns = i64::try_from(SILENCE_PATIENCE.as_nanos()).unwrap_or(i64::MAX);
        if self.any_bytes || self.silence_said || silent_ns < patience_ns {
            return None;
        }
        self.silence_said = true;
        Some(EventKind::Silent {
            for_ms: u64::try_from(silent_ns / 1_000_000).unwrap_or(0),
        })
    }
}
