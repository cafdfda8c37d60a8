//! Which query is next, and which channels its answer holds.
//!
//! **Always holds.** In a cycle every query that is due is asked once, in the order of the declaration, but for those
//! that are left out because they were not answered.
//!
//! **Must not know.** How it is asked, and what else is asked in between.

use super::answer::number;
use super::options::Options;
use crate::protocol::polled::{Cycles, Waits};

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this query.
    Ask(usize),
    /// Nothing before then.
    Wait(i64),
}

#[derive(Debug)]
pub(super) struct Queries {
    queries: Vec<Query>,
    cycles: Cycles,
    waits: Waits,
    is_open: bool,
    is_done: bool,
}

#[derive(Debug)]
struct Query {
    text: String,
    message: Vec<u8>,
    every: u32,
    /// Its values: place in the answer, rising, channel, scale, offset.
    reads: Vec<(usize, usize, f64, f64)>,
    is_due: bool,
    /// It was not answered: since then it waits, so long, until then.
    left_out: Option<(i64, i64)>,
}

impl Queries {
    pub(super) fn new(options: &Options) -> Self {
        let queries = options.queries.iter().enumerate().map(|(place, query)| {
            let channels = options.channels.iter().enumerate();
            let mut reads: Vec<_> = channels
                .filter(|(_, channel)| channel.query == place)
                .map(|(index, channel)| (channel.value, index, channel.scale, channel.offset))
                .collect();
            reads.sort_by_key(|(value, index, ..)| (*value, *index));
            Query {
                text: query.ask.clone(),
                message: [query.ask.as_bytes(), options.terminator.as_bytes()].concat(),
                every: query.every.max(1),
                reads,
                is_due: false,
                left_out: None,
            }
        });
        Self {
            queries: queries.collect(),
            cycles: Cycles::new(options.cycle),
            waits: Waits::new(options.backoff_first, options.backoff_max),
            is_open: false,
            is_done: false,
        }
    }

    pub(super) fn reset(&mut self) {
        for query in &mut self.queries {
            (query.is_due, query.left_out) = (false, None);
        }
        self.cycles.reset();
        (self.is_open, self.is_done) = (false, false);
    }

    pub(super) fn text(&self, query: usize) -> &str {
        &self.queries[query].text
    }

    pub(super) fn message(&self, query: usize) -> &[u8] {
        &self.queries[query].message
    }

    /// Scale and offset of a query's first value.
    pub(super) fn scale(&self, query: usize) -> (f64, f64) {
        let first = self.queries[query].reads.first();
        first.map_or((1.0, 0.0), |(_, _, scale, offset)| (*scale, *offset))
    }

    /// Whether a cycle has ended since this was last asked.
    pub(super) fn take_done(&mut self) -> bool {
        std::mem::take(&mut self.is_done)
    }

    /// How many cycles were left out; once after each opening.
    pub(super) fn take_left_out(&mut self) -> Option<u64> {
        self.cycles.take_left_out()
    }

    pub(super) fn next(&mut self, now_ns: i64) -> Next {
        self.cycles.start(now_ns);
        if !self.is_open {
            self.begin(now_ns, true);
        }
        match self.queries.iter().position(|query| query.is_due) {
            Some(query) => Next::Ask(query),
            None => Next::Wait(self.cycles.next_ns().unwrap_or(now_ns)),
        }
    }

    /// Lets the cycles that are due go by; returns when the next is.
    pub(super) fn pass(&mut self, now_ns: i64) -> i64 {
        self.begin(now_ns, false);
        self.cycles.next_ns().unwrap_or(i64::MAX)
    }

    /// Begins the cycle that is due, if one is.
    fn begin(&mut self, now_ns: i64, is_asked: bool) {
        let Some(cycle) = self.cycles.begin(now_ns) else {
            return;
        };
        for query in &mut self.queries {
            let is_read = cycle.is_multiple_of(u64::from(query.every));
            let is_left_out = query.left_out.is_some_and(|(_, until)| now_ns < until);
            self.is_open |= is_read;
            query.is_due = is_read && is_asked && !is_left_out;
        }
        self.end_if_over();
    }

    fn end_if_over(&mut self) {
        if self.is_open && self.queries.iter().all(|query| !query.is_due) {
            (self.is_open, self.is_done) = (false, true);
        }
    }

    /// The query has been dealt with in this cycle.
    pub(super) fn over(&mut self, query: usize) {
        self.queries[query].is_due = false;
        self.queries[query].left_out = None;
        self.end_if_over();
    }

    /// The query was not answered: it is left out for a while. How long, if that is new.
    pub(super) fn failed(&mut self, query: usize, now_ns: i64) -> Option<i64> {
        let before = self.queries[query].left_out.map(|(wait_ns, _)| wait_ns);
        let wait_ns = self.waits.after(before);
        self.over(query);
        self.queries[query].left_out = Some((wait_ns, now_ns.saturating_add(wait_ns)));
        before.is_none().then_some(wait_ns)
    }

    /// What is left of the cycle is not asked.
    pub(super) fn give_up_cycle(&mut self) {
        for query in &mut self.queries {
            query.is_due = false;
        }
        self.end_if_over();
    }

    /// Writes an answer's values to their channels; false, and nothing is written, if it does not hold them.
    pub(super) fn read(&self, query: usize, answer: &[u8], row: &mut [f64]) -> bool {
        let reads = &self.queries[query].reads;
        let mut fields = answer.split(|byte| *byte == b',').enumerate();
        let mut field = fields.next();
        for &(value, channel, scale, offset) in reads {
            while field.is_some_and(|(place, _)| place < value) {
                field = fields.next();
            }
            match field.and_then(|(_, text)| number(text)) {
                Some(found) => row[channel] = found * scale + offset,
                None => {
                    for &(_, channel, ..) in reads {
                        row[channel] = f64::NAN;
                    }
                    return false;
                }
            }
        }
        true
    }
}
