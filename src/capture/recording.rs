//! Records a run: takes what the readers' buffers hold, and writes it.
//!
//! One thread writes, a second one syncs, so that a slow disk is met by the kernel's memory first and by the buffers then.
//!
//! **Always holds.** Every byte that a reader read is counted once: as recorded when it is on disk, or as not recorded. A disk that
//! fails ends the recording, with an event and in the report; the run goes on. No more is waiting than the buffers,
//! `EVENTS_MAX` events and a chunk.
//!
//! **Must not know.** What the bytes mean, and who stops the run.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kymo_drivers::block::SourceId;
use serde::Serialize;

use super::format::Topic;
use super::ring::{Drain, Kind, Tap, ring};
use super::sync::{Job, Syncer};
use super::{Described, Error, Options, Writer};
use crate::clock::Clock;
use crate::event::{EventKind, EventSender};
use crate::ledger::SourceCounts;

/// Events that wait to be recorded at most.
const EVENTS_MAX: usize = 4096;
/// How often the buffers are looked at although none is a quarter full.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is told at most that something was not recorded.
const TELL_NS: i64 = 1_000_000_000;
/// The buffer for what is sent to a device: far less than what comes from it.
const SENT_BUFFER_BYTES: usize = 256 << 10;

/// What a recording is made of.
pub struct Setup {
    /// The first file.
    pub path: PathBuf,
    /// What it says of itself.
    pub described: Described,
    /// How it is written.
    pub options: Options,
    /// A chunk is ended and synced after so long.
    pub chunk_interval: Duration,
    /// The buffer of each source.
    pub buffer_bytes: usize,
    /// Where each source is counted.
    pub counts: Vec<Arc<SourceCounts>>,
    /// Where it says what happens.
    pub events: EventSender,
    /// What time it is.
    pub clock: Clock,
}

/// What became of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The first file.
    pub path: PathBuf,
    /// How many files there are.
    pub files: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the devices that are in it.
    pub recorded: u64,
    /// Bytes of the devices that are not.
    pub not_recorded: u64,
    /// Events that there was no room for.
    pub events_missed: u64,
    /// Why it ended before the run did, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Report {
    /// As a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "capture {}: {} bytes of devices in {} bytes, {} files",
            self.path.display(),
            self.recorded,
            self.bytes,
            self.files
        );
        if self.not_recorded > 0 {
            text.push_str(&format!("; {} BYTES WERE NOT RECORDED", self.not_recorded));
        }
        if self.events_missed > 0 {
            text.push_str(&format!("; {} events are missing", self.events_missed));
        }
        text.push('\n');
        if let Some(failure) = &self.failure {
            text.push_str(&format!("THE RECORDING ENDED BEFORE THE RUN: {failure}\n"));
        }
        text
    }
}

/// The ways into a recording for one source.
pub struct Taps {
    /// For what it sends, and what becomes of its link.
    pub read: Tap,
    /// For what it is sent.
    pub sent: Tap,
}

/// Takes events. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventTap {
    events: flume::Sender<(i64, Vec<u8>)>,
    missed: Arc<std::sync::atomic::AtomicU64>,
}

impl EventTap {
    /// Takes an event, as JSON. One that there is no room for is counted.
    pub fn put(&self, time_ns: i64, json: &str) {
        let event = (time_ns, json.as_bytes().to_vec());
        if self.events.try_send(event).is_err() {
            // Relaxed: a count, read when the recording has ended.
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A running recording.
pub struct Recording {
    path: PathBuf,
    thread: JoinHandle<Outcome>,
    closing: Arc<AtomicBool>,
    events: EventTap,
}

struct Outcome {
    files: u32,
    bytes: u64,
    recorded: u64,
    not_recorded: u64,
    failure: Option<String>,
}

impl Recording {
    /// Makes the first file, and starts to record; gives each source's ways in.
    ///
    /// # Errors
    /// If the file is there already or cannot be written, or the system gives no thread.
    pub fn start(setup: Setup) -> Result<(Self, Vec<Taps>), Error> {
        let path = setup.path.clone();
        let writer = Writer::create(&path, setup.described, setup.options)?;
        let (events_in, events) = flume::bounded(EVENTS_MAX);
        // The buffers' other ends wake the thread, so they are made when it is there.
        let (drains_in, drains_out) = flume::bounded::<Vec<[Drain; 2]>>(1);
        let closing = Arc::<AtomicBool>::default();
        let no_thread = |source: io::Error| Error::io("start to record", &path)(source);
        let syncer = Syncer::start(&setup.counts).map_err(no_thread)?;
        let running = Running {
            writer: Some(writer),
            syncer,
            pending: vec![0; setup.counts.len()],
            interval_ns: i64::try_from(setup.chunk_interval.as_nanos()).unwrap_or(i64::MAX),
            told_ns: i64::MIN,
            told: vec![0; setup.counts.len()],
            tell: setup.events,
            counts: setup.counts.clone(),
            clock: setup.clock.clone(),
            events,
            closing: Arc::clone(&closing),
            failure: None,
            files: 1,
            bytes: 0,
        };
        let thread = std::thread::Builder::new().name("kymo-capture".to_owned());
        let thread = thread.spawn(move || match drains_out.recv() {
            Ok(drains) => running.run(drains),
            Err(_) => running.run(Vec::new()),
        });
        let thread = thread.map_err(no_thread)?;
        let (mut taps, mut drains) = (Vec::new(), Vec::new());
        for counts in &setup.counts {
            counts.begin_capture();
            let make = |bytes| {
                let wake = thread.thread().clone();
                ring(bytes, Arc::clone(counts), wake, setup.clock.clone())
            };
            let (read, from_read) = make(setup.buffer_bytes);
            let (sent, from_sent) = make(SENT_BUFFER_BYTES);
            taps.push(Taps { read, sent });
            drains.push([from_read, from_sent]);
        }
        let _ = drains_in.send(drains);
        let recording = Self {
            path: path.clone(),
            thread,
            closing,
            events: EventTap {
                events: events_in,
                missed: Arc::default(),
            },
        };
        Ok((recording, taps))
    }

    /// Where events go.
    #[must_use]
    pub fn events(&self) -> EventTap {
        self.events.clone()
    }

    /// The first file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records what is there, and finishes the capture. The ways in must be gone.
    #[must_use]
    pub fn finish(self) -> Report {
        // Release: what was put in before is seen by the thread's last look.
        self.closing.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let outcome = self.thread.join().unwrap_or_else(|_| Outcome {
            files: 0,
            bytes: 0,
            recorded: 0,
            not_recorded: 0,
            failure: Some("the recording broke down: this is a mistake in kymo".to_owned()),
        });
        Report {
            path: self.path,
            files: outcome.files,
            bytes: outcome.bytes,
            recorded: outcome.recorded,
            not_recorded: outcome.not_recorded,
            events_missed: self.events.missed.load(Ordering::Relaxed),
            failure: outcome.failure,
        }
    }
}

/// The thread that writes.
struct Running {
    writer: Option<Writer>,
    syncer: Syncer,
    /// Bytes of each source that are written and not yet handed to be synced.
    pending: Vec<u64>,
    interval_ns: i64,
    told_ns: i64,
    /// Bytes not recorded of each source that were told of.
    told: Vec<u64>,
    tell: EventSender,
    counts: Vec<Arc<SourceCounts>>,
    clock: Clock,
    events: flume::Receiver<(i64, Vec<u8>)>,
    closing: Arc<AtomicBool>,
    failure: Option<String>,
    files: u32,
    bytes: u64,
}

impl Running {
    fn run(mut self, mut drains: Vec<[Drain; 2]>) -> Outcome {
        let mut flush_ns = self.clock.now_ns().saturating_add(self.interval_ns);
        loop {
            // Acquire: pairs with the release in `finish`; looked at before the buffers, so nothing is left behind.
            let closing = self.closing.load(Ordering::Acquire);
            if let Err(error) = self.look(&mut drains) {
                self.fail(&error.to_string());
            }
            let now_ns = self.clock.now_ns();
            if now_ns >= flush_ns {
                flush_ns = now_ns.saturating_add(self.interval_ns);
                if let Err(error) = self.flush() {
                    self.fail(&error.to_string());
                }
            }
            if let Some(what) = self.syncer.failure() {
                self.fail(&what);
            }
            self.tell_missing(now_ns);
            if closing && drains.iter().flatten().all(Drain::is_closed) {
                break;
            }
            std::thread::park_timeout(LOOK);
        }
        self.end(&drains)
    }

    /// Takes what is in the buffers.
    fn look(&mut self, drains: &mut [[Drain; 2]]) -> Result<(), Error> {
        let Self {
            writer,
            pending,
            counts,
            ..
        } = self;
        let mut first = Ok(());
        for (source, drains) in drains.iter_mut().enumerate() {
            for drain in drains {
                let taken = drain.take(|message| {
                    let bytes = (message.content.0.len() + message.content.1.len()) as u64;
                    let is_read = message.kind == Kind::Read;
                    let Some(writer) = writer.as_mut().filter(|_| first.is_ok()) else {
                        if is_read {
                            counts[source].add_not_recorded(bytes);
                        }
                        return Ok(());
                    };
                    let time_ns = message.time_ns;
                    let written = match message.kind {
                        Kind::Read => {
                            writer.bytes_message(Topic::Read, source, time_ns, message.content)
                        }
                        Kind::Sent => {
                            writer.bytes_message(Topic::Sent, source, time_ns, message.content)
                        }
                        _ => message
                            .change()
                            .map_or(Ok(()), |change| writer.link(source, time_ns, &change)),
                    };
                    if is_read {
                        pending[source] += bytes;
                    }
                    written
                });
                if taken.is_err() {
                    first = taken;
                }
            }
        }
        first?;
        while let Ok((time_ns, json)) = self.events.try_recv() {
            if let Some(writer) = &mut self.writer {
                writer.event(time_ns, &json)?;
            }
        }
        Ok(())
    }

    /// Ends the chunk and has it synced, unless the last sync still goes on: then the next one does it.
    fn flush(&mut self) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        writer.flush()?;
        if self.syncer.is_idle() {
            let files = writer.unsynced()?;
            let counted = vec![0; self.pending.len()];
            self.syncer.sync(Job {
                files,
                bytes: std::mem::replace(&mut self.pending, counted),
            });
        }
        Ok(())
    }

    /// Ends the recording; the run goes on.
    fn fail(&mut self, what: &str) {
        if self.failure.is_some() {
            return;
        }
        self.failure = Some(what.to_owned());
        if let Some(writer) = self.writer.take() {
            (self.files, self.bytes) = (writer.files(), writer.bytes());
            // What cannot be finished is readable up to its last whole chunk; a second error adds nothing.
            drop(writer);
        }
        for (counts, pending) in self.counts.iter().zip(&mut self.pending) {
            counts.add_not_recorded(std::mem::take(pending));
        }
        let kind = EventKind::CaptureFailed {
            reason: what.to_owned(),
        };
        self.tell.send(None, self.clock.now_ns(), kind);
    }

    /// Tells what was not recorded, unless the reason was told.
    fn tell_missing(&mut self, now_ns: i64) {
        if self.failure.is_some() || now_ns < self.told_ns.saturating_add(TELL_NS) {
            return;
        }
        for (source, (counts, told)) in (0..).zip(self.counts.iter().zip(&mut self.told)) {
            let missing = counts.not_recorded();
            if missing > *told {
                let kind = EventKind::NotRecorded {
                    bytes: missing - *told,
                };
                self.tell.send(Some(SourceId(source)), now_ns, kind);
                *told = missing;
                self.told_ns = now_ns;
            }
        }
    }

    fn end(mut self, drains: &[[Drain; 2]]) -> Outcome {
        if let Some(mut writer) = self.writer.take() {
            let lasts = drains.iter().enumerate();
            let lasts = lasts.flat_map(|(source, drains)| drains.iter().map(move |d| (source, d)));
            let mut written = Ok(());
            for (source, drain) in lasts {
                if let Some(missed) = drain.last() {
                    let change = missed.change();
                    written = written.and_then(|()| writer.link(source, missed.from_ns, &change));
                }
            }
            self.files = writer.files();
            let bytes = writer.bytes();
            self.syncer.wait();
            match written.and_then(|()| writer.finish()) {
                Ok(bytes) => {
                    self.bytes = bytes;
                    for (counts, pending) in self.counts.iter().zip(&mut self.pending) {
                        counts.add_recorded(std::mem::take(pending));
                    }
                }
                Err(error) => {
                    self.bytes = bytes;
                    self.fail(&error.to_string());
                }
            }
        }
        self.syncer.wait();
        if let Some(what) = self.syncer.failure() {
            self.fail(&what);
        }
        Outcome {
            files: self.files,
            bytes: self.bytes,
            recorded: self.counts.iter().map(|counts| counts.recorded()).sum(),
            not_recorded: self.counts.iter().map(|counts| counts.not_recorded()).sum(),
            failure: self.failure,
        }
    }
}
