//! Faults that are done to the device, and not to a frame of it: between two frames, when those before have gone out.

use std::io;
use std::time::Instant;

use super::{Next, Reader, Runner};
use crate::faults::Begin;
use crate::truth::Lost;

impl Runner {
    /// Does to the device what is pending, and says how long to wait if it stalls or is away.
    pub(super) fn suffer(&mut self, now: Instant) -> io::Result<Option<Next>> {
        if let Some((kind, begin)) = self.state.pending.take() {
            self.tell(kind, begin, now)?;
            match begin {
                Begin::Disconnect(time) => {
                    self.state.away = Some(now + time);
                    self.leave()?;
                    return Ok(Some(Next::After(time)));
                }
                Begin::Stall(time) => self.state.stalled = Some(now + time),
                // These wait for nothing.
                Begin::Jump(_) | Begin::Drift(_) | Begin::Flood(_) => {}
            }
        }
        match self.state.stalled {
            Some(until) if now < until => Ok(Some(Next::After(until - now))),
            _ => {
                self.state.stalled = None;
                Ok(None)
            }
        }
    }

    /// Counts and logs what is done to the device.
    fn tell(&mut self, kind: usize, begin: Begin, now: Instant) -> io::Result<()> {
        // That a clock has its own pace again ends a fault, and is none.
        let is_end = matches!(begin, Begin::Drift(pace) if pace == self.parts.slow);
        let truth = &mut self.state.truth;
        truth.faults[kind] += u64::from(!is_end);
        let Some(log) = &mut self.parts.log else {
            return Ok(());
        };
        let what = match begin {
            Begin::Jump(frames) => format!(",\"frames\":{frames}"),
            Begin::Stall(time) | Begin::Disconnect(time) | Begin::Flood(time) => {
                format!(",\"duration_s\":{:.6}", time.as_secs_f64())
            }
            Begin::Drift(slow) => format!(",\"ppm\":{:.3}", (slow - 1.0) * 1e6),
        };
        log.fault(kind, &what, truth.next_index, now)
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

    /// Begins what is due before the next frame. True: the frame has to wait for it, and it for those before to have gone out.
    pub(super) fn begin_faults(&mut self, own_ns: u64, now: Instant) -> io::Result<bool> {
        let next = self.state.truth.next_index;
        while let Some((kind, begin)) = self.parts.faults.begin(next, own_ns) {
            if matches!(begin, Begin::Stall(_) | Begin::Disconnect(_)) {
                self.state.pending = Some((kind, begin));
                return Ok(true);
            }
            self.tell(kind, begin, now)?;
            let state = &mut self.state;
            match begin {
                Begin::Jump(frames) => state.lose(Lost::Skipped, frames, &mut self.parts.log)?,
                Begin::Drift(slow) => state.schedule.drift(state.slot, slow),
                Begin::Flood(time) => {
                    let slots = state.schedule.slots_in(time);
                    state.schedule.rush(state.slot + slots);
                }
                Begin::Stall(_) | Begin::Disconnect(_) => {}
            }
        }
        Ok(false)
    }
}
