//! Whose turn it is: cycles, retries, units that do not answer.
//!
//! **Always holds.** In a cycle the units that answer go first; one that failed in this cycle goes behind them, and one
//! that is down is not asked before the cycle's frame is done, and then only where its time-out ends before
//! the next cycle, or has found no such place for as long as the longest wait.
//!
//! **Must not know.** Bytes and values.

use super::options::Options;
use super::plan::Request;
use crate::protocol::polled::{Cycles, Waits, ns};

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this request.
    Ask(usize),
    /// Nothing before then.
    Wait(i64),
}

#[derive(Debug)]
pub(super) struct Turns {
    cycles: Cycles,
    /// What a probe of a dead unit may cost.
    probe_ns: i64,
    retries: u8,
    waits: Waits,
    units: Vec<Unit>,
    turns: Vec<Turn>,
    /// Which requests look the same: each has the number of the first that looks like it.
    alike: Vec<usize>,
    /// For each such number: an answer to this request may still come until then.
    strays: Vec<Option<(usize, i64)>>,
    /// The place of each request's unit.
    unit_of: Vec<usize>,
    /// In how many cycles each request is sent once.
    every: Vec<u32>,
    is_open: bool,
    /// A cycle has ended whose frame was not given.
    is_done: bool,
    probe: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    down: Option<Down>,
    /// It failed in this cycle.
    is_behind: bool,
}

#[derive(Debug, Clone, Copy)]
struct Down {
    asked_again_ns: i64,
    wait_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Not in this cycle, or not any more.
    Over,
    /// To be sent; it failed so often already.
    Due(u8),
}

impl Turns {
    pub(super) fn new(requests: &[Request], options: &Options) -> Self {
        let units = requests.iter().map(|r| r.unit_place + 1).max().unwrap_or(0);
        Self {
            cycles: Cycles::new(options.cycle),
            probe_ns: ns(options.timeout),
            retries: options.retries,
            waits: Waits::new(options.backoff_first, options.backoff_max),
            units: vec![Unit::default(); units],
            turns: vec![Turn::Over; requests.len()],
            alike: requests
                .iter()
                .enumerate()
                .map(|(place, request)| {
                    let first = requests.iter().position(|other| other.looks_like(request));
                    first.unwrap_or(place)
                })
                .collect(),
            strays: vec![None; requests.len()],
            unit_of: requests.iter().map(|r| r.unit_place).collect(),
            every: requests.iter().map(|r| r.every.max(1)).collect(),
            is_open: false,
            is_done: false,
            probe: None,
        }
    }

    pub(super) fn reset(&mut self) {
        self.units.fill(Unit::default());
        self.turns.fill(Turn::Over);
        self.strays.fill(None);
        (self.is_open, self.is_done, self.probe) = (false, false, None);
        self.cycles.reset();
    }

    /// The first cycle begins.
    pub(super) fn start(&mut self, now_ns: i64) {
        self.cycles.reset();
        self.cycles.start(now_ns);
    }

    /// Whether a cycle has ended since this was last asked.
    pub(super) fn take_done(&mut self) -> bool {
        std::mem::take(&mut self.is_done)
    }

    /// How many cycles were left out; once after each opening.
    pub(super) fn take_left_out(&mut self) -> Option<u64> {
        self.cycles.take_left_out()
    }

    /// Nothing is under way: what is next?
    pub(super) fn next(&mut self, now_ns: i64) -> Next {
        if !self.is_open
            && let Some(cycle) = self.cycles.begin(now_ns)
        {
            self.begin(cycle);
            if self.is_done {
                // Nobody is there to be asked: its frame comes first.
                return Next::Wait(now_ns);
            }
        }
        if self.is_open {
            return self.next_due(now_ns);
        }
        self.next_probe(now_ns)
    }

    fn begin(&mut self, cycle: u64) {
        let mut is_any_read = false;
        for (request, turn) in self.turns.iter_mut().enumerate() {
            let is_read = cycle.is_multiple_of(u64::from(self.every[request]));
            is_any_read |= is_read;
            let is_up = self.units[self.unit_of[request]].down.is_none();
            *turn = if is_read && is_up {
                Turn::Due(0)
            } else {
                Turn::Over
            };
        }
        for unit in &mut self.units {
            unit.is_behind = false;
        }
        self.is_open = is_any_read;
        self.end_if_over();
    }

    fn end_if_over(&mut self) {
        if self.is_open && self.turns.iter().all(|turn| *turn == Turn::Over) {
            (self.is_open, self.is_done) = (false, true);
        }
    }

    /// The next request of an open cycle.
    fn next_due(&self, now_ns: i64) -> Next {
        let due = (0..self.turns.len()).filter(|r| self.turns[*r] != Turn::Over);
        let (mut best, mut soonest_ns) = (None, i64::MAX);
        for request in due {
            let unit = &self.units[self.unit_of[request]];
            let ready_ns = self.ready_ns(request, now_ns);
            soonest_ns = soonest_ns.min(ready_ns);
            let key = (unit.is_behind, request);
            if ready_ns <= now_ns && best.is_none_or(|best| key < best) {
                best = Some(key);
            }
        }
        best.map_or(Next::Wait(soonest_ns), |(_, request)| Next::Ask(request))
    }

    /// When the request may be sent: no answer to one that looks the same may be on its way.
    fn ready_ns(&self, request: usize, now_ns: i64) -> i64 {
        match self.strays[self.alike[request]] {
            Some((stray, until_ns)) if stray != request => until_ns.max(now_ns),
            _ => now_ns,
        }
    }

    /// The unit that is down and has waited longest, if there is time for it.
    fn next_probe(&mut self, now_ns: i64) -> Next {
        let next_cycle_ns = self.cycles.next_ns().unwrap_or(now_ns);
        let mut soonest_ns = next_cycle_ns;
        let mut best: Option<(i64, usize)> = None;
        for (place, unit) in self.units.iter().enumerate() {
            let Some(down) = unit.down else { continue };
            let due_ns = down.asked_again_ns;
            let fits = now_ns.saturating_add(self.probe_ns) <= next_cycle_ns;
            let has_waited = now_ns >= due_ns.saturating_add(self.waits.max_ns());
            if now_ns < due_ns {
                soonest_ns = soonest_ns.min(due_ns);
            } else if (fits || has_waited) && best.is_none_or(|(since, _)| due_ns < since) {
                best = Some((due_ns, place));
            }
        }
        let request =
            best.and_then(|(_, place)| self.unit_of.iter().position(|unit| *unit == place));
        match request {
            Some(request) if self.ready_ns(request, now_ns) > now_ns => {
                Next::Wait(self.ready_ns(request, now_ns).min(next_cycle_ns))
            }
            Some(request) => {
                self.probe = Some(request);
                Next::Ask(request)
            }
            None => Next::Wait(soonest_ns),
        }
    }

    /// The request was answered. False: it was a probe, and the unit is up again; its values come with the next cycle.
    pub(super) fn answered(&mut self, request: usize) -> bool {
        let unit = &mut self.units[self.unit_of[request]];
        unit.is_behind = false;
        if self.probe.take().is_some() {
            unit.down = None;
            return false;
        }
        self.turns[request] = Turn::Over;
        self.end_if_over();
        true
    }

    /// The request was refused: the unit is there.
    pub(super) fn refused(&mut self, request: usize) {
        self.answered(request);
    }

    /// The request was answered. Had it been sent before, and not so long ago that no answer to that could be on its
    /// way, then there is a second one to come.
    pub(super) fn note_second(&mut self, request: usize, sent_ns: i64, late_ns: i64) {
        if let Some((stray, until_ns)) = &mut self.strays[self.alike[request]]
            && *stray == request
            && *until_ns > sent_ns
        {
            *until_ns = late_ns;
        }
    }

    /// The request got no answer, and one may still come until `late_ns`. If that makes the unit count as
    /// down: how long it is left alone.
    pub(super) fn failed(
        &mut self,
        request: usize,
        now_ns: i64,
        late_ns: Option<i64>,
    ) -> Option<i64> {
        if let Some(late_ns) = late_ns {
            self.strays[self.alike[request]] = Some((request, late_ns));
        }
        let Turn::Due(failures) = self.turns[request] else {
            self.lost(request, now_ns);
            return None;
        };
        if failures < self.retries && self.probe.is_none() {
            self.turns[request] = Turn::Due(failures + 1);
            self.units[self.unit_of[request]].is_behind = true;
            return None;
        }
        Some(self.lost(request, now_ns))
    }

    /// The request's unit is down: it is left alone for the time returned.
    pub(super) fn lost(&mut self, request: usize, now_ns: i64) -> i64 {
        self.probe = None;
        let place = self.unit_of[request];
        let unit = &mut self.units[place];
        let wait_ns = self.waits.after(unit.down.map(|down| down.wait_ns));
        unit.down = Some(Down {
            asked_again_ns: now_ns.saturating_add(wait_ns),
            wait_ns,
        });
        for (turn, unit_of) in self.turns.iter_mut().zip(&self.unit_of) {
            if *unit_of == place {
                *turn = Turn::Over;
            }
        }
        self.end_if_over();
        wait_ns
    }
}
