//! Modbus: units on a bus whose registers are read in cycles.
//!
//! RTU over a serial line, or over a network as a gateway passes it on, and Modbus TCP; functions 1 to 4
//! (Modbus Application Protocol V1.1b3, Modbus over Serial Line V1.02, Messaging on TCP/IP V1.0b). One request is under
//! way at a time, also over TCP: many devices and nearly all gateways take no second one.
//!
//! A frame is a cycle: one value for every channel, dated when the last answer of the cycle came. A channel that was
//! not answered, or that is not read in this cycle, is NaN.
//!
//! **Always holds.** A late answer is not taken for the next one's. Over TCP the transaction tells. RTU has none:
//! after a time-out the line must fall silent first, an answer must have the unit, the function and the number of bytes
//! that were asked, and for another time-out no other request that only *looks* the same is sent to that unit. What
//! cannot be told is an answer later than that, and which of two askings of the very same registers an answer
//! belongs to. A unit that is dead costs the others at most one time-out when it dies: after that it is asked once at
//! the end of a cycle, where that fits before the next, at waits that double. Memory is taken when the bus is made.
//!
//! **Must not know.** What time it is but for what it is told, and where bytes come from.

mod options;
mod plan;
mod turns;
mod wire;

use super::polled::Told;
use super::{OptionsError, Protocol};
use crate::frames::{Frames, Tally};
pub use options::*;
use plan::{Read, Request};
use turns::Turns;
use wire::{Expected, Found};

/// Longest wait for the rest of an answer whose CRC is wrong as far as it came, ns: USB adapters hand on bytes up to
/// 16 ms late.
const REST_WAIT_NS: i64 = 50_000_000;

/// A bus that is polled.
pub struct Modbus {
    requests: Vec<Request>,
    reads: Vec<Read>,
    turns: Turns,
    is_tcp: bool,
    silence_ns: i64,
    ns_per_byte: f64,
    timeout_ns: i64,
    /// The cycle's values so far.
    row: Vec<f64>,
    /// The cycle is over, and its frame not yet given.
    is_ready: bool,
    asked: Option<Asked>,
    transaction: u16,
    /// Transactions that timed out, the oldest overwritten first.
    stale: [u16; wire::STALE],
    stale_next: usize,
    /// Requests that are refused, until they are answered again: each is told once.
    refused: Vec<bool>,
    /// Whether the bus was asked since the link was opened.
    is_started: bool,
    now_ns: i64,
    /// All that came until then has been shown to the decoder.
    seen_ns: i64,
    /// Bytes came last.
    heard_ns: i64,
    /// The last request ended, answered or not.
    ended_ns: i64,
    /// Bytes that the decoder left.
    left: usize,
    tally: Tally,
    told: Told,
}

/// A request under way.
struct Asked {
    request: usize,
    expected: Expected,
    deadline_ns: i64,
    /// Until then its answer may come although the deadline is over.
    late_ns: i64,
    sent_ns: i64,
    /// Something like an answer came, and its CRC is wrong.
    is_suspect: bool,
}

impl Modbus {
    /// Makes the bus.
    ///
    /// # Errors
    /// Every mistake in the options.
    pub fn new(options: &Options) -> Result<Self, Vec<OptionsError>> {
        let mistakes = options.mistakes();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let (requests, reads) = plan::plan(options);
        let (silence, ns_per_byte, is_tcp) = match options.framing {
            Framing::Rtu {
                silence,
                ns_per_byte,
            } => (super::polled::ns(silence), ns_per_byte.max(0.0), false),
            Framing::Tcp => (0, 0.0, true),
        };
        Ok(Self {
            turns: Turns::new(&requests, options),
            refused: vec![false; requests.len()],
            requests,
            reads,
            is_tcp,
            silence_ns: silence,
            ns_per_byte,
            timeout_ns: super::polled::ns(options.timeout),
            row: vec![f64::NAN; options.channels.len()],
            is_ready: false,
            asked: None,
            transaction: 0,
            stale: [0; wire::STALE],
            stale_next: 0,
            is_started: false,
            now_ns: i64::MIN,
            seen_ns: i64::MIN,
            heard_ns: i64::MIN,
            ended_ns: i64::MIN,
            left: 0,
            tally: Tally::default(),
            told: Told::default(),
        })
    }

    /// Time that so many bytes take on the line.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn line_ns(&self, bytes: usize) -> i64 {
        (bytes as f64 * self.ns_per_byte) as i64
    }

    /// Until when the line is left alone. A device that never falls silent is not waited for longer than for an answer.
    fn silent_until_ns(&self) -> i64 {
        let silent = self.heard_ns.saturating_add(self.silence_ns);
        let longest = self
            .ended_ns
            .saturating_add(self.timeout_ns.max(self.silence_ns));
        silent.min(longest)
    }

    fn send(&mut self, request: usize, out: &mut Vec<u8>) -> i64 {
        let transaction = self.is_tcp.then(|| {
            self.transaction = self.transaction.wrapping_add(1);
            self.transaction
        });
        let before = out.len();
        wire::ask(&self.requests[request], transaction, out);
        let expected = Expected::to(&self.requests[request], transaction);
        let on_line = self.line_ns(out.len() - before + expected.answer_bytes());
        let deadline_ns = self
            .now_ns
            .saturating_add(self.timeout_ns)
            .saturating_add(on_line);
        self.asked = Some(Asked {
            request,
            expected,
            deadline_ns,
            late_ns: deadline_ns.saturating_add(self.timeout_ns),
            sent_ns: self.now_ns,
            is_suspect: false,
        });
        deadline_ns
    }

    /// The request under way got no answer.
    fn give_up(&mut self, asked: &Asked) {
        if asked.is_suspect {
            self.tally.corrupt_frames += 1;
        } else {
            self.tally.unanswered += 1;
        }
        self.ended_ns = self.now_ns;
        if let Some(transaction) = asked.expected.transaction {
            self.stale[self.stale_next] = transaction;
            self.stale_next = (self.stale_next + 1) % wire::STALE;
        }
        let unit = self.requests[asked.request].unit;
        // A transaction tells whose a late answer is.
        let late_ns = (!self.is_tcp).then_some(asked.late_ns);
        let failed = self.turns.failed(asked.request, self.now_ns, late_ns);
        if let Some(wait_ns) = failed {
            self.told.tell(format!(
                "unit {unit} does not answer; it is asked again after {:.1} s, and then ever more seldom",
                seconds(wait_ns)
            ));
        }
        self.is_ready |= self.turns.take_done();
    }

    /// The request under way was answered.
    fn answered(&mut self, asked: &Asked, data: &[u8]) {
        let request = asked.request;
        self.refused[request] = false;
        self.ended_ns = self.now_ns;
        let unit = self.requests[request].unit;
        self.turns
            .note_second(request, asked.sent_ns, asked.late_ns);
        if self.turns.answered(request) {
            for read in &self.reads[self.requests[request].reads.clone()] {
                self.row[read.channel] = read.value(data);
            }
        } else {
            self.told.tell(format!("unit {unit} answers again"));
        }
        self.is_ready |= self.turns.take_done();
    }

    /// The request under way was refused.
    fn was_refused(&mut self, asked: &Asked, code: u8) {
        let request = asked.request;
        self.tally.refused += 1;
        self.ended_ns = self.now_ns;
        let is_known = std::mem::replace(&mut self.refused[request], true);
        if !is_known {
            let Request {
                unit,
                table,
                at,
                count,
                ..
            } = self.requests[request];
            self.told.tell(format!(
                "unit {unit} refuses {count} of table `{}` from {at} on: exception {code}, {}",
                table.name(),
                wire::meaning(code)
            ));
        }
        self.turns
            .note_second(request, asked.sent_ns, asked.late_ns);
        if wire::is_gateways(code) {
            self.turns.lost(request, self.now_ns);
        } else {
            self.turns.refused(request);
        }
        self.is_ready |= self.turns.take_done();
    }

    /// Gives the frame of a cycle that is over.
    fn give(&mut self, end: usize, out: &mut Frames) {
        if self.is_ready && !out.is_full() {
            out.push(end, &self.row);
            self.row.fill(f64::NAN);
            self.is_ready = false;
        }
    }

    /// Looks for the answer, and returns the bytes done with.
    fn hear(&mut self, input: &[u8], out: &mut Frames) -> usize {
        let Some(asked) = &mut self.asked else {
            // Nobody asked: noise, an echo, an answer that comes too late.
            self.tally.skipped_bytes += input.len() as u64;
            return input.len();
        };
        let (at, end) = match asked.expected.find(input, &self.stale) {
            Found::Nothing { from, is_suspect } => {
                if is_suspect {
                    asked.is_suspect = true;
                    let rest = self.now_ns + self.silence_ns.max(REST_WAIT_NS);
                    asked.deadline_ns = asked.deadline_ns.min(rest);
                }
                self.tally.skipped_bytes += from as u64;
                return from;
            }
            Found::Answer { at, data, end } => {
                if let Some(asked) = self.asked.take() {
                    self.answered(&asked, &input[data..data + asked.expected.bytes]);
                }
                (at, end)
            }
            Found::Refused { at, end, code } => {
                if let Some(asked) = self.asked.take() {
                    self.was_refused(&asked, code);
                }
                (at, end)
            }
        };
        self.give(end, out);
        // What stands behind an answer was not asked for.
        self.tally.skipped_bytes += (at + input.len() - end) as u64;
        input.len()
    }
}

impl Protocol for Modbus {
    fn channels(&self) -> usize {
        self.row.len()
    }

    fn decode(&mut self, input: &[u8], out: &mut Frames) -> usize {
        if out.is_full() {
            return 0;
        }
        self.give(0, out);
        if input.len() > self.left {
            self.heard_ns = self.now_ns;
        }
        self.seen_ns = self.now_ns;
        let done = self.hear(input, out);
        self.left = input.len() - done;
        let tally = std::mem::take(&mut self.tally);
        out.tally.corrupt_frames += tally.corrupt_frames;
        out.tally.skipped_bytes += tally.skipped_bytes;
        out.tally.unanswered += tally.unanswered;
        out.tally.refused += tally.refused;
        done
    }

    fn tail_max(&self) -> usize {
        wire::ANSWER_BYTES_MAX
    }

    fn reset(&mut self) {
        self.turns.reset();
        self.asked = None;
        self.is_started = false;
        self.is_ready = false;
        self.row.fill(f64::NAN);
        self.refused.fill(false);
        self.left = 0;
        self.seen_ns = i64::MIN;
    }

    fn poll(&mut self, now_ns: i64, out: &mut Vec<u8>) -> Option<i64> {
        self.now_ns = now_ns;
        if !self.is_started {
            self.is_started = true;
            self.turns.start(now_ns);
            // Whatever an earlier run asked may still be on the line.
            (self.heard_ns, self.ended_ns) = (now_ns, now_ns);
        }
        if let Some(asked) = &self.asked {
            // Late is only what has not been read yet when the time is over.
            if self.seen_ns < asked.deadline_ns {
                return Some(asked.deadline_ns);
            }
            if let Some(asked) = self.asked.take() {
                self.give_up(&asked);
                // What was counted and told is taken first.
                return Some(now_ns);
            }
        }
        let silent_ns = self.silent_until_ns();
        if now_ns < silent_ns {
            return Some(silent_ns);
        }
        if self.is_ready {
            // Its frame first: the next cycle writes over it.
            return Some(now_ns);
        }
        let next = self.turns.next(now_ns);
        if let Some(cycles) = self.turns.take_left_out() {
            self.told.tell(format!(
                "a cycle takes longer than it may: {cycles} were left out"
            ));
        }
        self.is_ready |= self.turns.take_done();
        match next {
            turns::Next::Ask(request) => Some(self.send(request, out)),
            turns::Next::Wait(until_ns) => Some(until_ns),
        }
    }

    fn told(&mut self) -> Option<String> {
        self.told.take()
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(super) fn channel(unit: u8, at: u16, scalar: Scalar) -> Channel {
        Channel {
            unit,
            table: Table::Holding,
            at,
            scalar,
            order: Order::big(scalar.bytes()),
            scale: 1.0,
            offset: 0.0,
            every: 1,
        }
    }

    pub(super) fn options(channels: Vec<Channel>) -> Options {
        Options {
            framing: Framing::Rtu {
                silence: silence(0.0),
                ns_per_byte: 0.0,
            },
            cycle: Duration::from_secs(1),
            timeout: Duration::from_millis(100),
            retries: 1,
            gap_max: 0,
            registers_max: REGISTERS_MAX,
            bits_max: BITS_MAX,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            channels,
        }
    }
}
