//! The follower: a sink's thread. Reads the journal, hands batches to the courier, notes what is done.
//!
//! **Always holds.** What is done is on disk before the cursor moves, and the cursor moves only over what is done. While the
//! courier has enough to do nothing more is read. `behind` is what was journaled and has not landed: known at the start from
//! what was noted last and a look at what came after.
//!
//! **Must not know.** What it writes to.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::account::{GivenUp, Rates};
use super::batch::Counts;
use super::courier::{Courier, Stream};
use super::dead_letter::DeadLetters;
use super::feed::{self, Feed, Limits};
use super::pace::Pace;
use super::progress::Progress;
use super::state::{self, SinkStatus, StateName};
use super::{CatchUp, Error, SinkOptions, Waker, cursor_name};
use crate::clock::{Clock, rfc3339};
use crate::journal::{self, Cursor, DurableSeq};

/// How often what is done is noted, and the status renewed.
const NOTE: Duration = Duration::from_secs(1);

/// How often it is looked how much of the journal is kept.
const LOOK: Duration = Duration::from_secs(2);

/// Behind by more than this, what comes is read apart from what was missed, if the newest is to go first.
const LAG_MAX: Duration = Duration::from_secs(3);

pub(super) struct FollowerSetup {
    pub(super) data_dir: PathBuf,
    pub(super) options: SinkOptions,
    pub(super) durable: DurableSeq,
    /// The journal's end, before any block of this run is in it.
    pub(super) start_seq: u64,
    pub(super) is_pruned: bool,
    pub(super) journal_segment_bytes: u64,
    pub(super) run: String,
    pub(super) clock: Clock,
    pub(super) waker: Waker,
    pub(super) notify: Arc<Notify>,
    pub(super) closing: Arc<AtomicBool>,
}

pub(super) struct Follower {
    setup: FollowerSetup,
    journal_dir: PathBuf,
    cursor: Cursor,
    progress: Progress,
    courier: Courier,
    live: Feed,
    missed: Feed,
    /// Ranges that were missed and are not read yet: rising.
    backlog: Vec<(u64, u64)>,
    /// Behind before the first block of this run.
    behind_at_start: u64,
    /// Dealt with since: samples of records that landed.
    landed: u64,
    status: Arc<Mutex<SinkStatus>>,
    shown: SinkStatus,
    lost_records: u64,
    counts: Counts,
    unreadable: u64,
    given_up: GivenUp,
    /// The time of the newest record that landed, UTC ns.
    landed_ns: i64,
    backlog_bytes: u64,
    /// The oldest is to be given up.
    is_over_bound: bool,
    /// What is wrong here, not with the receiver.
    local_trouble: Option<String>,
    rates: Rates,
    started: Instant,
    noted: Option<Instant>,
    looked: Option<Instant>,
}

impl Follower {
    pub(super) fn new(setup: FollowerSetup) -> Result<Self, Error> {
        let journal_dir = setup.data_dir.join(journal::DIR);
        let name = &setup.options.name;
        let mut cursor = Cursor::open(&journal_dir, &cursor_name(name))?;
        // From here on the journal is kept for it.
        cursor.keep()?;
        let destination = setup
            .options
            .kind
            .destination()
            .map_err(|what| Error::Setup {
                name: name.clone(),
                what,
            })?;
        let pace = Pace::new(setup.options.pace, fastrand::u64(..));
        let dead = DeadLetters::new(&setup.data_dir, name);
        let courier = Courier::new(destination, pace, setup.options.pace.in_flight_max, dead);
        let feed = || {
            let encode = setup.options.kind.encoder(&setup.options.selection);
            Feed::new(&journal_dir, setup.durable.clone(), encode)
        };
        Ok(Self {
            live: feed(),
            missed: feed(),
            progress: Progress::new(cursor.seq(), &[]),
            courier,
            cursor,
            backlog: Vec::new(),
            behind_at_start: 0,
            landed: 0,
            status: Arc::default(),
            shown: SinkStatus::default(),
            lost_records: 0,
            counts: Counts::default(),
            unreadable: 0,
            given_up: GivenUp::default(),
            landed_ns: i64::MIN,
            backlog_bytes: 0,
            is_over_bound: false,
            local_trouble: None,
            rates: Rates::default(),
            started: Instant::now(),
            noted: None,
            looked: None,
            journal_dir,
            setup,
        })
    }

    pub(super) fn status(&self) -> Arc<Mutex<SinkStatus>> {
        Arc::clone(&self.status)
    }

    pub(super) fn run(mut self) {
        let _guard = PanicGuard(Arc::clone(&self.status));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.follow()),
            Err(error) => {
                self.local_trouble = Some(format!("the system gives no runtime: {error}"));
                self.show(StateName::Broken);
            }
        }
    }

    async fn follow(&mut self) {
        let mut begun = self.begin();
        loop {
            if let Err(error) = &begun {
                self.local_trouble = Some(error.to_string());
                self.show(StateName::Waiting);
                if self.is_closing() {
                    return;
                }
                let _ = tokio::time::timeout(LOOK, self.setup.notify.notified()).await;
                begun = self.begin();
                continue;
            }
            break;
        }
        let mut until: Option<Instant> = None;
        loop {
            // Before reading: what was committed before the closing is then read.
            let is_closing = self.is_closing();
            let now = self.now();
            if let Err(error) = self.fill(now, is_closing) {
                self.local_trouble = Some(error.to_string());
            }
            let next = self.courier.send(now);
            self.land();
            self.look_after();
            if is_closing {
                let until =
                    *until.get_or_insert_with(|| Instant::now() + self.setup.options.linger);
                // Nobody comes to lift a refusal in the next seconds; a server may well come back.
                let is_hopeless = self
                    .courier
                    .trouble()
                    .is_some_and(|trouble| trouble.is_denied)
                    && self.courier.in_flight()[0] == 0;
                if self.is_even() || is_hopeless || Instant::now() >= until {
                    break;
                }
            }
            self.wait(next).await;
        }
        self.land();
        self.note();
        self.show(StateName::Stopped);
        let _ = state::save(&self.setup.data_dir, &self.setup.options.name, &self.shown);
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, next: Option<Duration>) {
        let age = self.setup.options.batch_age;
        let due = [next, self.live.due(age), self.missed.due(age)];
        let until = due.into_iter().flatten().min();
        let mut wait = until.map_or(NOTE, |until| until.saturating_sub(self.now()));
        let (readable, _) = self.setup.waker.journaled();
        let has_more = self.courier.has_room(Stream::Live) && self.live.has_more(readable);
        if has_more && self.local_trouble.is_none() {
            wait = Duration::ZERO;
        }
        // Not at once again: what is due and cannot be sent yet waits for an answer.
        let wait = wait.clamp(Duration::from_millis(1), NOTE);
        tokio::select! {
            answered = self.courier.answered() => {
                let (now, now_ns) = (self.now(), self.setup.clock.now_ns());
                self.courier.take(answered, now, now_ns);
            }
            () = self.setup.notify.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn is_closing(&self) -> bool {
        self.setup.closing.load(Ordering::Acquire)
    }

    fn is_even(&self) -> bool {
        let (readable, _) = self.setup.waker.journaled();
        self.courier.is_empty()
            && self.backlog.is_empty()
            && self.missed.is_done()
            && self.live.is_even(readable)
    }

    /// Finds out where to go on, and how much is behind.
    fn begin(&mut self) -> Result<(), Error> {
        let end = self.setup.start_seq;
        let kept = state::load(&self.setup.data_dir, &self.setup.options.name);
        let kept = kept.filter(|kept| kept.cursor >= self.cursor.seq() && kept.journal_seq <= end);
        let count = |from, to| {
            feed::count(&self.journal_dir, &self.setup.durable, from, to)
                .map(|(samples, _)| samples)
        };
        let (mut progress, mut behind) = match &kept {
            Some(kept) => (
                Progress::new(kept.cursor, &kept.done),
                kept.behind + count(kept.journal_seq + 1, end)?,
            ),
            None => (
                Progress::new(self.cursor.seq(), &[]),
                count(self.cursor.seq() + 1, end)?,
            ),
        };
        match self.setup.options.catch_up {
            CatchUp::OldestFirst => {
                // Another order was configured before: what it did out of order is done again.
                for (from, to) in progress.ranges() {
                    behind += count(*from, *to)?;
                }
                progress = Progress::new(progress.cursor(), &[]);
                self.live.go_to(progress.cursor() + 1, u64::MAX);
            }
            CatchUp::NewestFirst => {
                self.backlog = progress.missing(end);
                self.live.go_to(end.max(progress.last()) + 1, u64::MAX);
            }
        }
        (self.progress, self.behind_at_start) = (progress, behind);
        self.rates.look(0, 0);
        Ok(())
    }

    /// Behind, and as of which record.
    fn behind(&self) -> (u64, u64) {
        let (seq, samples) = self.setup.waker.journaled();
        (
            (self.behind_at_start + samples).saturating_sub(self.landed),
            seq,
        )
    }

    /// Hands over batches while there is room for them.
    fn fill(&mut self, now: Duration, is_closing: bool) -> Result<(), Error> {
        let (readable, _) = self.setup.waker.journaled();
        let limits = Limits {
            bytes: self.courier.batch_bytes(),
            age: self.setup.options.batch_age,
            flush: is_closing,
            readable,
        };
        if self.setup.options.catch_up == CatchUp::NewestFirst {
            self.leave_behind(readable);
        }
        while self.courier.has_room(Stream::Live) {
            let Some(batch) = self.live.next(now, limits)? else {
                break;
            };
            self.courier.push(Stream::Live, batch);
        }
        while self.courier.has_room(Stream::Backlog) {
            if self.missed.is_done() {
                let Some((from, to)) = self.next_missed()? else {
                    break;
                };
                self.missed.go_to(from, to);
            }
            let Some(batch) = self.missed.next(now, limits)? else {
                break;
            };
            self.courier.push(Stream::Backlog, batch);
        }
        self.lost_records += self.live.take_lost() + self.missed.take_lost();
        self.local_trouble = None;
        Ok(())
    }

    /// The newest first: if what comes lies far behind, it is left for later, and reading goes on at the end.
    fn leave_behind(&mut self, readable: u64) {
        /// With more ranges than this what comes is read in its order.
        const RANGES: usize = super::progress::RANGES_MAX / 2;
        let last_ns = self.live.last_ns();
        let lag_ns = self.setup.clock.now_ns().saturating_sub(last_ns);
        let is_late = last_ns > i64::MIN
            && u128::from(lag_ns.unsigned_abs()) > LAG_MAX.as_nanos()
            && lag_ns > 0;
        let from = self.live.given_seq() + 1;
        if is_late
            && self.live.has_more(readable)
            && from <= readable
            && self.backlog.len() < RANGES
        {
            self.backlog.push((from, readable));
            self.live.go_to(readable + 1, u64::MAX);
        }
    }

    /// What was missed, the newest segment of it first.
    fn next_missed(&mut self) -> Result<Option<(u64, u64)>, Error> {
        let Some((from, to)) = self.backlog.pop() else {
            return Ok(None);
        };
        let segments = journal::segments(&self.journal_dir)?;
        let starts = segments.iter().map(|(first_seq, _)| *first_seq);
        let start = starts.filter(|first_seq| *first_seq <= to).max();
        let start = start.unwrap_or(from).max(from);
        if from < start {
            self.backlog.push((from, start - 1));
        }
        Ok(Some((start, to)))
    }

    /// Notes what has landed.
    fn land(&mut self) {
        while let Some(landed) = self.courier.land() {
            self.progress.complete(landed.records.0, landed.records.1);
            self.landed += landed.samples;
            self.counts.add(&landed.counts);
            self.landed_ns = self.landed_ns.max(landed.last_ns);
        }
        let (behind, seq) = self.behind();
        // Everything is done, and samples are left over: they were in records that could not be read.
        if behind > 0 && self.lost_records > 0 && self.progress.cursor() >= seq {
            self.unreadable += behind;
            self.landed += behind;
        }
    }

    /// Notes on disk what is done, and looks after the disk, each in its time.
    fn look_after(&mut self) {
        let is_due =
            |at: Option<Instant>, every| at.is_none_or(|at: Instant| at.elapsed() >= every);
        if self.is_over_bound || is_due(self.looked, LOOK) {
            self.looked = Some(Instant::now());
            if let Err(error) = self.look_at_disk() {
                self.local_trouble = Some(error.to_string());
            }
        }
        if is_due(self.noted, NOTE) {
            self.noted = Some(Instant::now());
            self.note();
        }
    }

    fn note(&mut self) {
        let (_, journaled) = self.setup.waker.journaled();
        self.rates.look(self.landed, journaled);
        let before = std::mem::take(&mut self.shown);
        self.show(self.state_name());
        let is_news = (
            before.cursor,
            &before.done,
            before.behind,
            before.state,
            before.journal_seq,
        ) != (
            self.shown.cursor,
            &self.shown.done,
            self.shown.behind,
            self.shown.state,
            self.shown.journal_seq,
        );
        if !is_news {
            return;
        }
        let name = &self.setup.options.name;
        let saved = state::save(&self.setup.data_dir, name, &self.shown);
        let moved = saved.and_then(|()| {
            let seq = self.progress.cursor().max(self.cursor.seq());
            Ok(self.cursor.advance(seq)?)
        });
        if let Err(error) = moved {
            self.local_trouble = Some(error.to_string());
        }
    }

    fn state_name(&self) -> StateName {
        match self.courier.trouble() {
            Some(trouble) if trouble.is_denied => StateName::Denied,
            Some(_) => StateName::Waiting,
            None if self.lag_s() > LAG_MAX.as_secs_f64() || !self.backlog.is_empty() => {
                StateName::CatchingUp
            }
            None => StateName::Sending,
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn lag_s(&self) -> f64 {
        let (behind, _) = self.behind();
        if behind == 0 || self.landed_ns == i64::MIN {
            return 0.0;
        }
        (self.setup.clock.now_ns().saturating_sub(self.landed_ns) as f64 / 1e9).max(0.0)
    }

    /// Renews the status.
    fn show(&mut self, state: StateName) {
        let (behind, journal_seq) = self.behind();
        let trouble = self.courier.trouble().map(|trouble| trouble.what.clone());
        let mut shown = SinkStatus {
            state,
            to: self.courier.place(),
            trouble: self.local_trouble.clone().or(trouble),
            lost: self.given_up.text(&self.setup.options.name),
            given_up: self.given_up.samples,
            unreadable: self.unreadable,
            behind,
            lag_s: self.lag_s(),
            even_in_s: self.rates.even_in_s(behind),
            backlog_bytes: self.backlog_bytes,
            samples_per_s: self.rates.landed_per_s,
            requests: self.courier.requests,
            errors: self.courier.errors,
            in_flight: self.courier.in_flight(),
            batch_bytes: self.courier.batch_bytes(),
            cursor: self.progress.cursor(),
            done: self.progress.ranges().to_vec(),
            journal_seq,
            run: self.setup.run.clone(),
            pid: std::process::id(),
            updated: rfc3339(self.setup.clock.now_ns()),
            ..SinkStatus::default()
        };
        shown.set_counts(&self.counts);
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = shown.clone();
        self.shown = shown;
    }

    /// How much of the journal is kept for it; gives up the oldest segment if that is more than is allowed.
    fn look_at_disk(&mut self) -> Result<(), Error> {
        let segments = journal::segments(&self.journal_dir)?;
        let ends = segments.iter().skip(1).map(|(first_seq, _)| first_seq - 1);
        let kept = segments.iter().zip(ends.chain([u64::MAX]));
        let kept: Vec<(u64, u64)> = kept
            .filter(|(_, end)| *end > self.progress.cursor())
            .map(|((_, bytes), end)| (end, *bytes))
            .collect();
        self.backlog_bytes = kept.iter().map(|(_, bytes)| bytes).sum();
        let is_full = || {
            let reserve = self.setup.journal_segment_bytes.saturating_mul(3) + (16 << 20);
            free_bytes(&self.journal_dir).is_some_and(|free| free < reserve)
        };
        let is_over = self.backlog_bytes > self.setup.options.backlog_bytes_max || is_full();
        // The last segment is being written: it is kept whoever wants it.
        self.is_over_bound = self.setup.is_pruned && kept.len() > 1 && is_over;
        if let Some((end, _)) = kept.first().copied().filter(|_| self.is_over_bound) {
            self.give_up(end)?;
        }
        Ok(())
    }

    /// Gives up everything up to a record, as soon as nothing is in flight.
    fn give_up(&mut self, end: u64) -> Result<(), Error> {
        if !self.courier.drop_all() {
            return Ok(());
        }
        for (from, to) in self.progress.missing(end) {
            let (samples, times) = feed::count(&self.journal_dir, &self.setup.durable, from, to)?;
            self.given_up.add(samples, times);
            self.landed += samples;
        }
        self.progress.complete(1, end);
        match self.setup.options.catch_up {
            CatchUp::OldestFirst => self.live.go_to(self.progress.cursor() + 1, u64::MAX),
            CatchUp::NewestFirst => {
                let (readable, _) = self.setup.waker.journaled();
                self.missed.go_to(1, 0);
                self.backlog = self.progress.missing(readable);
                self.live.go_to(readable + 1, u64::MAX);
            }
        }
        Ok(())
    }
}

fn free_bytes(path: &std::path::Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A panic must not look like a sink that is merely slow.
struct PanicGuard(Arc<Mutex<SinkStatus>>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            status.state = StateName::Broken;
            status.trouble = Some(
                "its thread broke down: this is a mistake in kymo; the journal has everything"
                    .to_owned(),
            );
        }
    }
}
