//! SCPI: an instrument that is queried in cycles, over a line, a socket or USBTMC.
//!
//! When the link is opened it is asked who it is (`*IDN?`), told its start commands, and asked for errors they made; then
//! the queries go out in cycles, one at a time. A frame is a cycle: one value for every channel, dated when the
//! cycle's last answer came; a channel that was not answered, or not asked in this cycle, is NaN. Or the answer is a
//! definite-length block (IEEE 488.2), and each of its samples a frame: the last is dated when the block's head came,
//! the others before it by the sample rate.
//!
//! **Always holds.** A late answer is not taken for the next one's: after a time-out, or an answer that is none, it is
//! asked who it is again, and whatever comes before that answer is passed over. Where that is not to be asked, the line must
//! be quiet for another time-out. What cannot be told is an answer later than two time-outs. Then its errors are read, counted and told. A query that is not answered is left out
//! at waits that double, and so is an instrument. No answer takes more memory than `ANSWER_BYTES_MAX`, a
//! waveform none at all.
//!
//! **Must not know.** What time it is but for what it is told, and where bytes come from.

mod answer;
mod options;
mod queries;
mod waveform;

use memchr::memchr;
use regex::bytes::Regex;

use super::polled::{Told, Waits, ns};
use super::{OptionsError, Protocol};
use crate::block::GapReason;
use crate::frames::{Frames, Tally};
pub use options::*;
use queries::Queries;

/// Errors read at once at most: a queue that does not end is not the instrument's.
const ERRORS_MAX: u32 = 32;

/// Characters shown of what an instrument says.
const SHOWN_MAX: usize = 100;

/// An instrument.
pub struct Scpi {
    queries: Queries,
    start: Vec<Vec<u8>>,
    pause_ns: i64,
    who: Option<Vec<u8>>,
    pattern: Option<Regex>,
    errors: Option<Vec<u8>>,
    waveform: Option<Waveform>,
    timeout_ns: i64,
    waits: Waits,
    step: Step,
    /// Nothing is sent before.
    hold_ns: i64,
    /// The last wait for the instrument itself, while it does not answer.
    wait_ns: Option<i64>,
    asked: Option<Asked>,
    /// How it answered when it was asked who it is.
    identity: Vec<u8>,
    /// How often it was asked, and has not said, who it is.
    whos: u32,
    /// It did not answer when it was asked for errors, and is not asked again.
    errors_off: bool,
    /// Samples of a block that broke off.
    cut_off: u64,
    row: Vec<f64>,
    is_ready: bool,
    is_started: bool,
    now_ns: i64,
    seen_ns: i64,
    heard_ns: i64,
    /// The last question ended without its answer.
    ended_ns: i64,
    left: usize,
    tally: Tally,
    told: Told,
}

/// What is done next when nothing is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Identify,
    Start(usize),
    /// Pass over what is late.
    Sync,
    /// Read so many errors more.
    Errors(u32),
    Run,
}

/// A question under way.
#[derive(Debug)]
struct Asked {
    what: What,
    deadline_ns: i64,
    sent_ns: i64,
    /// It said who it is, and was asked more often than it said so.
    is_known: bool,
    /// Part of an answer came that cannot be one.
    is_bad: bool,
    /// What came instead of an answer.
    instead: Option<String>,
    block: Option<Block>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Identity,
    Sync,
    Error,
    Query(usize),
}

/// A block whose head has come.
#[derive(Debug, Clone, Copy)]
struct Block {
    left: u64,
    head_ns: i64,
}

impl Scpi {
    /// Makes the instrument.
    ///
    /// # Errors
    /// Every mistake in the options.
    pub fn new(options: &Options) -> Result<Self, Vec<OptionsError>> {
        let mistakes = options.mistakes();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let message = |text: &str| [text.as_bytes(), options.terminator.as_bytes()].concat();
        let pattern = match &options.identity {
            Identity::Pattern(pattern) => Regex::new(pattern).ok(),
            _ => None,
        };
        Ok(Self {
            queries: Queries::new(options),
            start: options.start.iter().map(|text| message(text)).collect(),
            pause_ns: ns(options.pause),
            who: (options.identity != Identity::NotAsked).then(|| message("*IDN?")),
            pattern,
            errors: options.errors.as_deref().map(message),
            waveform: options.waveform.clone(),
            timeout_ns: ns(options.timeout),
            waits: Waits::new(options.backoff_first, options.backoff_max),
            step: Step::Identify,
            hold_ns: i64::MIN,
            wait_ns: None,
            asked: None,
            identity: Vec::new(),
            whos: 0,
            errors_off: false,
            cut_off: 0,
            row: vec![f64::NAN; options.channels.len()],
            is_ready: false,
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

    fn ask(&mut self, what: What) -> i64 {
        let deadline_ns = self.now_ns.saturating_add(self.timeout_ns);
        self.asked = Some(Asked {
            what,
            deadline_ns,
            sent_ns: self.now_ns,
            is_known: false,
            is_bad: false,
            instead: None,
            block: None,
        });
        deadline_ns
    }

    fn ask_who(&mut self, what: What) -> i64 {
        self.whos = self.whos.saturating_add(1);
        self.ask(what)
    }

    /// It said who it is. As often as it was asked, if it can be: what else is late comes before the last time.
    fn recognised(&mut self) {
        self.whos = self.whos.saturating_sub(1);
        let Some(asked) = &mut self.asked else { return };
        if self.whos > 0 {
            asked.is_known = true;
            asked.deadline_ns = (asked.sent_ns).saturating_add(self.timeout_ns.saturating_mul(2));
            return;
        }
        let what = asked.what;
        self.asked = None;
        self.known(what);
    }

    /// It is known to listen, and nothing else of it is on its way.
    fn known(&mut self, what: What) {
        self.whos = 0;
        if self.wait_ns.take().is_some() {
            self.told.tell("answers again".to_owned());
        }
        if what == What::Identity {
            self.step = Step::Start(0);
        } else {
            self.go_on();
        }
    }

    /// What comes after the instrument is known to listen.
    fn go_on(&mut self) {
        self.step = if self.errors.is_some() && !self.errors_off {
            Step::Errors(ERRORS_MAX)
        } else {
            Step::Run
        };
    }

    /// The question under way got no answer.
    fn give_up(&mut self, asked: Asked) {
        if asked.is_known {
            self.known(asked.what);
            return;
        }
        self.ended_ns = self.now_ns;
        let is_cut_off = asked.block.is_some();
        if asked.is_bad || is_cut_off {
            self.tally.corrupt_frames += 1;
        } else if asked.instead.is_none() {
            self.tally.unanswered += 1;
        }
        self.cut_off += asked.block.map_or(0, |block| block.left);
        match asked.what {
            What::Identity => self.not_identified(asked.instead),
            // It says that it is another than it was: or its first answer came with noise in it.
            What::Sync if asked.instead.is_some() => self.step = Step::Identify,
            What::Sync => self.lost("does not answer any more"),
            What::Error => {
                self.errors_off = true;
                let what = "does not answer when asked for its errors, and is not asked again";
                self.told.tell(what.to_owned());
                self.step = Step::Sync;
            }
            What::Query(query) => {
                let wait_ns = self.queries.failed(query, self.now_ns);
                if let Some(wait_ns) = wait_ns {
                    self.told.tell(format!(
                        "`{}` is not answered; it is left out for {:.1} s, and then ever longer",
                        self.queries.text(query),
                        seconds(wait_ns)
                    ));
                }
                self.step = Step::Sync;
            }
        }
        self.is_ready |= self.queries.take_done();
    }

    fn not_identified(&mut self, instead: Option<String>) {
        let Some(instead) = instead else {
            self.lost("does not say who it is");
            return;
        };
        self.tally.refused += 1;
        if instead.as_bytes() != self.identity {
            self.identity = instead.clone().into_bytes();
            let expected = self
                .pattern
                .as_ref()
                .map_or("maker, model, serial number and version", |p| p.as_str());
            self.told.tell(format!(
                "says it is \"{instead}\", which is not what is declared ({expected}): it is left alone, and asked again, ever more seldom"
            ));
        }
        let wait_ns = self.waits.after(self.wait_ns);
        self.wait_ns = Some(wait_ns);
        self.hold_ns = self.now_ns.saturating_add(wait_ns);
    }

    /// The instrument itself does not answer: it is left alone for a while.
    fn lost(&mut self, how: &str) {
        if self.wait_ns.is_none() {
            self.told.tell(how.to_owned());
        }
        let wait_ns = self.waits.after(self.wait_ns);
        self.wait_ns = Some(wait_ns);
        self.hold_ns = self.now_ns.saturating_add(wait_ns);
        self.queries.give_up_cycle();
    }

    /// The answer was none: whatever else is on its way is passed over.
    fn was_bad(&mut self, query: usize) {
        self.tally.corrupt_frames += 1;
        self.ended_ns = self.now_ns;
        self.asked = None;
        self.queries.over(query);
        self.step = Step::Sync;
        self.is_ready |= self.queries.take_done();
    }

    fn give(&mut self, end: usize, out: &mut Frames) {
        if self.is_ready && self.waveform.is_none() && !out.is_full() {
            out.push(end, &self.row);
            self.row.fill(f64::NAN);
            self.is_ready = false;
        } else if self.waveform.is_some() {
            self.is_ready = false;
        }
    }

    /// A line, its end left out.
    fn line(&mut self, line: &[u8]) {
        let Some(asked) = &mut self.asked else { return };
        let text = line.trim_ascii();
        if text.is_empty() && !asked.is_bad {
            return;
        }
        let is_right = |text| match &self.pattern {
            Some(pattern) => pattern.is_match(text),
            None => answer::has_four_fields(text),
        };
        match asked.what {
            What::Identity => {
                if is_right(text) && !asked.is_bad {
                    text.clone_into(&mut self.identity);
                    self.recognised();
                } else {
                    asked.instead = Some(shown(text));
                    asked.is_bad = false;
                    self.tally.skipped_bytes += line.len() as u64;
                }
            }
            What::Sync => {
                if text.ends_with(&self.identity) && !self.identity.is_empty() {
                    self.tally.skipped_bytes += (text.len() - self.identity.len()) as u64;
                    self.recognised();
                } else {
                    if is_right(text) {
                        asked.instead = Some(shown(text));
                    }
                    asked.is_bad = false;
                    self.tally.skipped_bytes += line.len() as u64;
                }
            }
            What::Error => self.error(text),
            What::Query(query) => {
                if asked.is_bad || !self.queries.read(query, text, &mut self.row) {
                    self.was_bad(query);
                } else {
                    self.asked = None;
                    self.queries.over(query);
                    self.is_ready |= self.queries.take_done();
                }
            }
        }
    }

    /// An entry of the error queue.
    fn error(&mut self, text: &[u8]) {
        let Some(number) = answer::error_number(text) else {
            self.tally.skipped_bytes += text.len() as u64;
            return;
        };
        self.asked = None;
        let left = match self.step {
            Step::Errors(left) => left.saturating_sub(1),
            _ => 0,
        };
        if number != 0 {
            self.tally.refused += 1;
            self.told.tell(format!("error {}", shown(text)));
        }
        self.step = if number == 0 || left == 0 {
            Step::Run
        } else {
            Step::Errors(left)
        };
    }

    /// One piece of the input: returns the bytes done with; 0: more are needed.
    fn piece(&mut self, input: &[u8], base: usize, out: &mut Frames) -> usize {
        let Some(asked) = &mut self.asked else {
            self.tally.skipped_bytes += visible(input);
            return input.len();
        };
        if let What::Query(query) = asked.what
            && self.waveform.is_some()
        {
            return self.waveform(input, base, query, out);
        }
        match memchr(b'\n', input) {
            Some(end) if end <= ANSWER_BYTES_MAX => {
                self.line(&input[..end]);
                end + 1
            }
            None if input.len() <= ANSWER_BYTES_MAX => 0,
            _ => {
                asked.is_bad = true;
                self.tally.skipped_bytes += ANSWER_BYTES_MAX as u64;
                ANSWER_BYTES_MAX
            }
        }
    }

    /// The next message, if one is due; otherwise when.
    fn next(&mut self, out: &mut Vec<u8>) -> i64 {
        loop {
            if self.now_ns < self.hold_ns {
                return self.while_held();
            }
            match self.step {
                Step::Identify => {
                    let Some(who) = &self.who else {
                        self.step = Step::Start(0);
                        continue;
                    };
                    out.extend_from_slice(who);
                    return self.ask_who(What::Identity);
                }
                Step::Start(place) => {
                    let Some(command) = self.start.get(place) else {
                        self.go_on();
                        continue;
                    };
                    out.extend_from_slice(command);
                    self.step = Step::Start(place + 1);
                    self.hold_ns = self.now_ns.saturating_add(self.pause_ns);
                    return self.hold_ns;
                }
                Step::Sync => {
                    if let Some(who) = &self.who {
                        out.extend_from_slice(who);
                        return self.ask_who(What::Sync);
                    }
                    let last_ns = self.heard_ns.max(self.ended_ns);
                    let quiet_ns = last_ns.saturating_add(self.timeout_ns);
                    if self.now_ns < quiet_ns {
                        return quiet_ns;
                    }
                    self.go_on();
                }
                Step::Errors(_) => {
                    let Some(errors) = &self.errors else {
                        self.step = Step::Run;
                        continue;
                    };
                    out.extend_from_slice(errors);
                    return self.ask(What::Error);
                }
                Step::Run => {
                    return match self.queries.next(self.now_ns) {
                        queries::Next::Ask(query) => {
                            out.extend_from_slice(self.queries.message(query));
                            self.ask(What::Query(query))
                        }
                        queries::Next::Wait(until_ns) => until_ns,
                    };
                }
            }
        }
    }

    /// While it is left alone, its cycles go by unanswered.
    fn while_held(&mut self) -> i64 {
        if self.step != Step::Sync {
            return self.hold_ns;
        }
        let until_ns = self.queries.pass(self.now_ns);
        until_ns.min(self.hold_ns)
    }
}

impl Protocol for Scpi {
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
        if self.cut_off > 0 {
            out.lose(Some(self.cut_off), GapReason::Corrupt);
            self.cut_off = 0;
        }
        let mut done = 0;
        while done < input.len() && !out.is_full() {
            let piece = self.piece(&input[done..], done, out);
            if piece == 0 {
                break;
            }
            done += piece;
            self.give(done, out);
        }
        self.left = input.len() - done;
        let tally = std::mem::take(&mut self.tally);
        out.tally.corrupt_frames += tally.corrupt_frames;
        out.tally.skipped_bytes += tally.skipped_bytes;
        out.tally.unanswered += tally.unanswered;
        out.tally.refused += tally.refused;
        done
    }

    fn tail_max(&self) -> usize {
        ANSWER_BYTES_MAX
    }

    fn reset(&mut self) {
        self.queries.reset();
        self.step = Step::Identify;
        self.hold_ns = i64::MIN;
        self.wait_ns = None;
        self.asked = None;
        self.whos = 0;
        self.errors_off = false;
        self.cut_off = 0;
        self.row.fill(f64::NAN);
        self.is_ready = false;
        self.is_started = false;
        self.left = 0;
        self.seen_ns = i64::MIN;
    }

    fn poll(&mut self, now_ns: i64, out: &mut Vec<u8>) -> Option<i64> {
        self.now_ns = now_ns;
        if !self.is_started {
            self.is_started = true;
            self.heard_ns = now_ns;
        }
        if let Some(asked) = &self.asked {
            // Late is only what has not been read yet when the time is over.
            if self.seen_ns < asked.deadline_ns {
                return Some(asked.deadline_ns);
            }
            if let Some(asked) = self.asked.take() {
                self.give_up(asked);
                // What was counted and told is taken first.
                return Some(now_ns);
            }
        }
        if self.is_ready {
            // Its frame first: the next cycle writes over it.
            return Some(now_ns);
        }
        let due_ns = self.next(out);
        if let Some(cycles) = self.queries.take_left_out() {
            self.told.tell(format!(
                "a cycle takes longer than it may: {cycles} were left out"
            ));
        }
        self.is_ready |= self.queries.take_done();
        Some(if self.is_ready { now_ns } else { due_ns })
    }

    fn told(&mut self) -> Option<String> {
        self.told.take()
    }
}

/// Bytes that are no line ends and spaces: those stand between answers, and are no loss.
fn visible(bytes: &[u8]) -> u64 {
    let is_visible = |byte: &&u8| !byte.is_ascii_whitespace();
    bytes.iter().filter(is_visible).count() as u64
}

/// What an instrument said, as it can be shown.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let clean = text.chars().map(|c| if c.is_control() { '.' } else { c });
    clean.take(SHOWN_MAX).collect()
}

#[allow(clippy::cast_precision_loss)]
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
