//! Faults that are done to the device, and not to a frame of it: between two frames, when those before have gone out.

use std::io;
use std::time::{Duration, Instant};

use super::{Next, Parts, Reader, Runner};
use crate::faults::Begin;
use crate::truth::Lost;

/// A fault of the device's that waits for the frames before it to have gone out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pending {
    Stall(Duration),
    Disconnect(Duration),
}

impl Runner {
    /// Does to the device what is pending, and says how long to wait if it stalls or is away.
    pub(super) fn suffer(&mut self, now: Instant) -> io::Result<Option<Next>> {
        match self.state.pending.take() {
            Some(Pending::Stall(time)) => self.state.stalled = Some(now + time),
            Some(Pending::Disconnect(time)) => {
                self.state.away = Some(now + time);
                self.leave()?;
                return Ok(Some(Next::After(time)));
            }
            None => {}
        }
        match self.state.stalled {
            Some(until) if now < until => Ok(Some(Next::After(until - now))),
            _ => {
                self.state.stalled = None;
                Ok(None)
            }
        }
    }

    /// The port hangs up.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.state.reader = Reader::Absent;
        self.parts.port.unplug()
    }

    /// The port is there again, if it was away.
    pub(super) fn come_back(&mut self, now: Instant) -> io::Result<()> {
        self.state.away = None;
        if !self.parts.port.is_plugged() {
            self.miss(now)?;
        }
        self.parts.port.replug()
    }

    /// Begins what is due before the next frame. True: the frame has to wait for it.
    pub(super) fn begin_faults(&mut self, own_ns: u64, now: Instant) -> io::Result<bool> {
        let Parts {
            faults, log, slow, ..
        } = &mut self.parts;
        let state = &mut self.state;
        while let Some((kind, begin)) = faults.begin(state.truth.next_index, own_ns) {
            // That a clock has its own pace again ends a fault, and is none.
            let is_end = matches!(begin, Begin::Drift(pace) if pace == *slow);
            state.truth.faults[kind] += u64::from(!is_end);
            let (next, seconds) = (state.truth.next_index, |time: Duration| {
                format!(",\"duration_s\":{:.6}", time.as_secs_f64())
            });
            let what = match begin {
                Begin::Jump(frames) => format!(",\"frames\":{frames}"),
                Begin::Stall(time) | Begin::Disconnect(time) | Begin::Flood(time) => seconds(time),
                Begin::Drift(slow) => format!(",\"ppm\":{:.3}", (slow - 1.0) * 1e6),
            };
            if let Some(log) = log {
                log.fault(kind, &what, next, now)?;
            }
            match begin {
                Begin::Jump(frames) => state.lose(Lost::Skipped, frames, log)?,
                Begin::Drift(slow) => state.schedule.drift(state.slot, slow),
                Begin::Flood(time) => {
                    let slots = state.schedule.slots_in(time);
                    state.schedule.rush(state.slot + slots);
                }
                Begin::Stall(time) => state.pending = Some(Pending::Stall(time)),
                Begin::Disconnect(time) => state.pending = Some(Pending::Disconnect(time)),
            }
            if state.pending.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
