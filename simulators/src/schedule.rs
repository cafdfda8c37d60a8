//! When frames are due.
//!
//! What for: the device's clock, which runs on while its port is unplugged or full, as a real one's
//! does, and stands while it is paused.
//!
//! What always holds: slot `n` is due at `start + n / rate`, absolutely, so nothing drifts. A flood
//! is always due.
//!
//! What it must not know: what is sent in a slot.

use std::time::{Duration, Instant};

/// A device with a rate above 1 kHz sends what came due together: one wake-up a millisecond.
const GRID: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Schedule {
    rate_hz: f64,
    start: Option<Instant>,
    paused: Option<Instant>,
}

impl Schedule {
    pub(crate) fn new(rate_hz: f64) -> Self {
        Self {
            rate_hz,
            start: None,
            paused: None,
        }
    }

    /// Slot 0 is due now, unless it was before.
    pub(crate) fn start(&mut self, now: Instant) {
        self.start.get_or_insert(now);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(crate) fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    pub(crate) fn resume(&mut self, now: Instant) {
        if let (Some(since), Some(start)) = (self.paused.take(), &mut self.start) {
            // A pause can have begun before the start.
            *start += now.saturating_duration_since(since.max(*start));
        }
    }

    /// How many slots have come due.
    pub(crate) fn due(&self, now: Instant) -> u64 {
        let Some(start) = self.start else { return 0 };
        if self.rate_hz.is_infinite() {
            return u64::MAX;
        }
        let elapsed = self.paused.unwrap_or(now).saturating_duration_since(start);
        // Exact for 104 days of nanoseconds; the cast saturates.
        (elapsed.as_nanos() as f64 * self.rate_hz / 1e9) as u64 + 1
    }

    /// How many slots went by with nobody to send to: a flood has no clock, and waits.
    pub(crate) fn gone_by(&self, now: Instant) -> u64 {
        if self.rate_hz.is_infinite() {
            0
        } else {
            self.due(now)
        }
    }

    /// Time until a wake-up for this slot.
    pub(crate) fn until(&self, slot: u64, now: Instant) -> Duration {
        let Some(start) = self.start else {
            return GRID;
        };
        let elapsed = now.saturating_duration_since(start);
        let grid_s = GRID.as_secs_f64();
        let mut due_s = slot as f64 / self.rate_hz;
        if self.rate_hz * grid_s > 1.0 {
            due_s = (due_s / grid_s).ceil() * grid_s;
        }
        // A very low rate is looked at once an hour.
        Duration::from_secs_f64((due_s - elapsed.as_secs_f64()).clamp(0.0, 3600.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn slots_come_due_on_time_and_are_woken_for_on_the_grid() {
        let now = Instant::now();
        let mut schedule = Schedule::new(4000.0);
        assert_eq!(schedule.due(now), 0);
        schedule.start(now);
        schedule.start(now + MS);
        assert_eq!(schedule.due(now), 1);
        assert_eq!(schedule.due(now + MS), 5);
        assert_eq!(schedule.until(1, now), MS);
        assert_eq!(schedule.until(4, now), MS);
        assert_eq!(schedule.until(5, now), 2 * MS);
        assert_eq!(schedule.until(5, now + 5 * MS), Duration::ZERO);
    }

    #[test]
    fn a_slow_device_is_woken_when_a_frame_is_due() {
        let now = Instant::now();
        let mut schedule = Schedule::new(400.0);
        schedule.start(now);
        assert_eq!(schedule.until(1, now), Duration::from_micros(2500));
    }

    #[test]
    fn the_clock_stands_while_paused() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1000.0);
        schedule.start(now);
        schedule.pause(now + 10 * MS);
        assert_eq!(schedule.due(now + 90 * MS), 11);
        schedule.resume(now + 90 * MS);
        assert_eq!(schedule.due(now + 90 * MS), 11);
        assert_eq!(schedule.due(now + 95 * MS), 16);
    }

    #[test]
    fn a_flood_is_always_due_and_never_late() {
        let now = Instant::now();
        let mut schedule = Schedule::new(f64::INFINITY);
        assert_eq!(schedule.due(now), 0);
        schedule.start(now);
        assert_eq!(schedule.due(now), u64::MAX);
        assert_eq!(schedule.gone_by(now), 0);
        assert_eq!(schedule.until(9, now), Duration::ZERO);
    }
}
