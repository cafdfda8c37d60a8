//! The courier: has batches sent, several at a time, and deals with each answer.
//!
//! **Always holds.** Batches of a stream land in their order, whatever the order of the answers; a batch lands when each of its
//! lines is accepted or in the dead letters. One bad line costs no other: where the receiver does not say which it is, the
//! batch is halved until it stands alone. A batch that was sent and not answered is sent again.
//!
//! **Must not know.** Where batches come from, and what a line says.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Destination;
use super::batch::{Batch, Body, Counts};
use super::dead_letter::DeadLetters;
use super::influx::answer::{Refused, Verdict};
use super::pace::{Epoch, May, Pace};
use super::state::Errors;

/// Which batches: those before others go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// What comes.
    Live,
    /// What was missed.
    Backlog,
}

/// A batch that is dealt with.
#[derive(Debug, Clone, Copy)]
pub struct Landed {
    /// The records that are done with.
    pub records: (u64, u64),
    /// Their samples.
    pub samples: u64,
    /// What became of them, and of batches before that named no record.
    pub counts: Counts,
    /// The time of the last of them, UTC ns.
    pub last_ns: i64,
}

/// A batch under way.
struct Slot {
    id: u64,
    batch: Batch,
    /// What of it is still to be sent, in this order.
    pieces: VecDeque<Body>,
    is_in_flight: bool,
    counts: Counts,
}

/// What is wrong, and whether only a person can help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub what: String,
    /// Whether only a person can help.
    pub is_denied: bool,
}

/// An answer that has come.
pub struct Answered(Option<(u64, Epoch, Verdict)>);

/// Sends batches.
pub struct Courier {
    destination: Box<dyn Destination>,
    pace: Pace,
    in_flight_max: usize,
    live: VecDeque<Slot>,
    backlog: VecDeque<Slot>,
    flights: JoinSet<(u64, Epoch, Verdict)>,
    next_id: u64,
    dead: DeadLetters,
    trouble: Option<Trouble>,
    /// Secrets and certificates are to be read again before the next request.
    is_stale: bool,
    /// Nothing is sent until nothing is in flight.
    is_held: bool,
    /// What landed of a stream without naming a record.
    unnamed: [Counts; 2],
    /// Bytes accepted.
    pub bytes: u64,
    /// Requests answered.
    pub requests: u64,
    /// Those that were no success.
    pub errors: Errors,
}

impl Courier {
    /// To a destination, at a pace.
    #[must_use]
    pub fn new(
        destination: Box<dyn Destination>,
        pace: Pace,
        in_flight_max: usize,
        dead: DeadLetters,
    ) -> Self {
        Self {
            destination,
            pace,
            in_flight_max,
            live: VecDeque::new(),
            backlog: VecDeque::new(),
            flights: JoinSet::new(),
            next_id: 0,
            dead,
            trouble: None,
            is_stale: false,
            is_held: false,
            unnamed: [Counts::default(); 2],
            bytes: 0,
            requests: 0,
            errors: Errors::default(),
        }
    }

    /// Whether another batch may be handed over: some more than can be in flight are prepared.
    #[must_use]
    pub fn has_room(&self, stream: Stream) -> bool {
        let waiting = match stream {
            Stream::Live => self.live.len(),
            Stream::Backlog => self.backlog.len(),
        };
        waiting <= self.in_flight_max
    }

    /// Bytes that the next batch should have.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.pace.batch_bytes()
    }

    /// Requests in flight, and how many may be.
    #[must_use]
    pub fn in_flight(&self) -> [usize; 2] {
        [self.flights.len(), self.pace.window()]
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.backlog.is_empty()
    }

    /// What is wrong now.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// What it writes to.
    #[must_use]
    pub fn place(&self) -> String {
        self.destination.place()
    }

    /// Takes a batch over.
    pub fn push(&mut self, stream: Stream, batch: Batch) {
        self.next_id += 1;
        let pieces = (batch.body.lines() > 0).then(|| batch.body.clone());
        let slot = Slot {
            id: self.next_id,
            counts: batch.counts,
            batch,
            pieces: pieces.into_iter().collect(),
            is_in_flight: false,
        };
        match stream {
            Stream::Live => self.live.push_back(slot),
            Stream::Backlog => self.backlog.push_back(slot),
        }
    }

    /// Sends what may be sent now. When it should be asked again, if nothing is answered before.
    pub fn send(&mut self, now: Duration) -> Option<Duration> {
        while !self.is_held {
            let slots = self.live.iter_mut().chain(&mut self.backlog);
            let mut waiting = slots.filter(|slot| !slot.is_in_flight && !slot.pieces.is_empty());
            let (slot, body) =
                waiting.find_map(|slot| slot.pieces.front().cloned().map(|body| (slot, body)))?;
            match self.pace.may_send(now, self.flights.len()) {
                May::Full => return None,
                May::Wait(until) => return Some(until),
                May::Send => {}
            }
            if self.is_stale && self.flights.is_empty() {
                if let Err(what) = self.destination.renew() {
                    self.trouble = Some(Trouble {
                        what,
                        is_denied: true,
                    });
                    self.pace.denied(now, self.pace.epoch());
                    continue;
                }
                self.is_stale = false;
            }
            slot.is_in_flight = true;
            let (id, epoch) = (slot.id, self.pace.epoch());
            let sending = self.destination.send(body);
            self.flights
                .spawn(async move { (id, epoch, sending.await) });
        }
        None
    }

    /// Waits for an answer; for ever if nothing is in flight.
    pub async fn answered(&mut self) -> Answered {
        match self.flights.join_next().await {
            Some(Ok(answered)) => Answered(Some(answered)),
            // A request that panicked is as good as one that was reset.
            Some(Err(_)) => Answered(None),
            None => std::future::pending().await,
        }
    }

    /// Deals with an answer. `now_ns` dates dead letters.
    pub fn take(&mut self, answered: Answered, now: Duration, now_ns: i64) {
        let Some((id, epoch, verdict)) = answered.0 else {
            for slot in self.live.iter_mut().chain(&mut self.backlog) {
                slot.is_in_flight = false;
            }
            self.flights.abort_all();
            self.errors.failed += 1;
            self.pace.failed(now, self.pace.epoch());
            return;
        };
        self.requests += 1;
        let mut slots = self.live.iter_mut().chain(&mut self.backlog);
        let Some(slot) = slots.find(|slot| slot.id == id) else {
            return;
        };
        slot.is_in_flight = false;
        let Some(piece) = slot.pieces.pop_front() else {
            return;
        };
        match verdict {
            Verdict::Accepted => {
                slot.counts.written += piece.samples();
                self.bytes += piece.text.len() as u64;
                self.pace.succeeded(epoch);
                self.trouble = None;
            }
            Verdict::Refused(refused) => {
                self.errors.refused += 1;
                self.pace.succeeded(epoch);
                self.trouble = None;
                let kept = part(slot, &piece, refused, &mut self.dead, now_ns);
                if let Err(what) = kept {
                    // Without a place for it nothing is given up: it is sent again, and refused again.
                    slot.pieces.push_front(piece);
                    self.pace.failed(now, self.pace.epoch());
                    self.trouble = Some(Trouble {
                        what,
                        is_denied: false,
                    });
                }
            }
            Verdict::TooLarge(said) => {
                self.errors.too_large += 1;
                self.pace.succeeded(epoch);
                self.pace.too_large(piece.text.len());
                let refused = match piece.lines() {
                    0 | 1 => Refused::All(said),
                    _ => Refused::Some(said),
                };
                if part(slot, &piece, refused, &mut self.dead, now_ns).is_err() {
                    slot.pieces.push_front(piece);
                }
            }
            Verdict::Busy { retry_after, said } => {
                self.errors.busy += 1;
                slot.pieces.push_front(piece);
                self.pace.overloaded(now, epoch, retry_after);
                self.set_trouble(format!("it is overloaded: {said}"), false);
            }
            Verdict::TimedOut => {
                self.errors.timed_out += 1;
                self.pace.timed_out(now, epoch);
                halve_if_longer(slot, piece, self.pace.batch_bytes());
                self.set_trouble("no answer came in time".to_owned(), false);
            }
            Verdict::Denied(said) => {
                self.errors.denied += 1;
                slot.pieces.push_front(piece);
                self.pace.denied(now, epoch);
                self.is_stale = true;
                self.set_trouble(said, true);
            }
            Verdict::Failed(said) => {
                self.errors.failed += 1;
                slot.pieces.push_front(piece);
                self.pace.failed(now, epoch);
                self.is_stale = true;
                self.set_trouble(said, false);
            }
        }
    }

    fn set_trouble(&mut self, what: String, is_denied: bool) {
        self.trouble = Some(Trouble { what, is_denied });
    }

    /// The next batch that is dealt with, and everything before it in its stream.
    pub fn land(&mut self) -> Option<Landed> {
        let streams = [&mut self.live, &mut self.backlog];
        for (slots, unnamed) in streams.into_iter().zip(&mut self.unnamed) {
            while slots
                .front()
                .is_some_and(|slot| slot.pieces.is_empty() && !slot.is_in_flight)
            {
                let Some(slot) = slots.pop_front() else { break };
                unnamed.add(&slot.counts);
                if let Some(records) = slot.batch.records {
                    return Some(Landed {
                        records,
                        samples: slot.batch.samples,
                        counts: std::mem::take(unnamed),
                        last_ns: slot.batch.last_ns,
                    });
                }
            }
        }
        None
    }

    /// Drops all batches, if none is in flight: whether that was so. Until then nothing more is sent.
    pub fn drop_all(&mut self) -> bool {
        self.is_held = !self.flights.is_empty();
        if self.is_held {
            return false;
        }
        self.live.clear();
        self.backlog.clear();
        // What was sent of a record that is dropped counts with the record.
        self.unnamed = [Counts::default(); 2];
        true
    }
}

/// A body that no answer came for in time is sent in halves, if it is longer than batches are now.
fn halve_if_longer(slot: &mut Slot, piece: Body, bytes: usize) {
    if piece.lines() > 1 && piece.text.len() > bytes {
        let (front, back) = piece.halves();
        slot.pieces.push_front(back);
        slot.pieces.push_front(front);
    } else {
        slot.pieces.push_front(piece);
    }
}

/// Parts refused lines from the others, which are written, to be sent again, or to be told apart.
fn part(
    slot: &mut Slot,
    piece: &Body,
    refused: Refused,
    dead: &mut DeadLetters,
    now_ns: i64,
) -> Result<(), String> {
    match refused {
        Refused::All(reason) => {
            let letters = piece.each_line().map(|line| (line, reason.as_str()));
            dead.put(letters, now_ns)
                .map_err(|error| error.to_string())?;
            slot.counts.rejected += piece.samples();
        }
        Refused::Lines {
            lines,
            others_are_written,
        } => {
            let numbers: Vec<usize> = lines.keys().copied().collect();
            let (bad, good) = piece.part(&numbers);
            let letters = bad.each_line().zip(lines.values().map(String::as_str));
            dead.put(letters, now_ns)
                .map_err(|error| error.to_string())?;
            slot.counts.rejected += bad.samples();
            if others_are_written {
                slot.counts.written += good.samples();
            } else if good.lines() > 0 {
                slot.pieces.push_front(good);
            }
        }
        Refused::Some(_) => {
            let (front, back) = piece.halves();
            slot.pieces.push_front(back);
            slot.pieces.push_front(front);
        }
    }
    Ok(())
}
