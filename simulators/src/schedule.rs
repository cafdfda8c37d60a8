//! When frames are due.
//!
//! What for: the device's clock, which runs on while its port is unplugged or full, as a real one's
//! does, and stands while it is paused.
//!
//! What always holds: slot `n` is due at `start + n / rate`, absolutely, so nothing drifts but what is told to: from where the clock
//! was given another pace, or slots were sent ahead of it, they are counted anew. A flood is always due.
//!
//! What it must not know: what is sent in a slot.

use std::time::{Duration, Instant};

/// A device with a rate above 1 kHz sends what came due together: one wake-up a millisecond.
const GRID: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Schedule {
    /// Slots a second of the host.
    rate_hz: f64,
    /// Slots a second of the device's own clock.
    own_rate_hz: f64,
    /// When slot `first` is due.
    start: Option<Instant>,
    first: u64,
    paused: Option<Instant>,
    /// Slots before this one are due at once.
    rush_to: u64,
}

impl Schedule {
    /// `slow`: host time for each unit of the device's.
    pub(crate) fn new(own_rate_hz: f64, slow: f64) -> Self {
        Self {
            rate_hz: own_rate_hz / slow,
            own_rate_hz,
            start: None,
            first: 0,
            paused: None,
            rush_to: 0,
        }
    }

    /// Slot 0 is due now, unless it was before.
    pub(crate) fn start(&mut self, now: Instant) {
        self.start.get_or_insert(now);
    }

    /// When a slot is due by the device's own clock, ns from slot 0. A flood has no clock but the host's.
    pub(crate) fn own_ns(&self, slot: u64, now: Instant) -> u64 {
        if self.own_rate_hz.is_infinite() {
            let start = self.start.unwrap_or(now);
            return crate::faults::nanos(now.saturating_duration_since(start));
        }
        // Whole at any whole number of slots a nanosecond; the cast saturates.
        (slot as f64 * 1e9 / self.own_rate_hz) as u64
    }

    /// Slots in so long by the device's own clock; a flood counts none.
    pub(crate) fn slots_in(&self, time: Duration) -> u64 {
        if self.own_rate_hz.is_infinite() {
            return 0;
        }
        // The cast saturates.
        (time.as_secs_f64() * self.own_rate_hz).round() as u64
    }

    /// From this slot on the clock has another pace: so much host time for each unit of its own.
    pub(crate) fn drift(&mut self, slot: u64, slow: f64) {
        if self.own_rate_hz.is_infinite() {
            return;
        }
        if let Some(start) = &mut self.start {
            *start +=
                Duration::from_secs_f64(slot.saturating_sub(self.first) as f64 / self.rate_hz);
            self.first = slot.max(self.first);
        }
        self.rate_hz = self.own_rate_hz / slow;
    }

    /// All slots before this one are due at once; the clock then goes on from there.
    pub(crate) fn rush(&mut self, to: u64) {
        self.rush_to = self.rush_to.max(to);
    }

    /// The slot has been reached: if that ends a rush, the clock goes on with the slot from now.
    pub(crate) fn reached(&mut self, slot: u64, now: Instant) {
        if self.rush_to > 0 && slot >= self.rush_to {
            self.end_rush(slot, now);
        }
    }

    /// Nobody is there to be rushed to.
    pub(crate) fn end_rush(&mut self, slot: u64, now: Instant) {
        if self.rush_to > 0 {
            self.rush_to = 0;
            // Unless the clock has come by it in the meantime.
            if slot >= self.gone_by(now) {
                (self.start, self.first) = (Some(now), slot);
            }
        }
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
        if self.rate_hz.is_infinite() && self.start.is_some() {
            return u64::MAX;
        }
        let rush_to = if self.is_paused() { 0 } else { self.rush_to };
        self.by_clock(now).max(rush_to)
    }

    fn by_clock(&self, now: Instant) -> u64 {
        let Some(start) = self.start else { return 0 };
        let now = self.paused.unwrap_or(now);
        let Some(elapsed) = now.checked_duration_since(start) else {
            return self.first;
        };
        // Exact for 104 days of nanoseconds; the cast saturates.
        let slots = (elapsed.as_nanos() as f64 * self.rate_hz / 1e9) as u64;
        self.first.saturating_add(slots).saturating_add(1)
    }

    /// How many slots went by with nobody to send to: a flood has no clock, and waits.
    pub(crate) fn gone_by(&self, now: Instant) -> u64 {
        if self.rate_hz.is_infinite() {
            0
        } else {
            self.by_clock(now)
        }
    }

    /// Time until a wake-up for this slot.
    pub(crate) fn until(&self, slot: u64, now: Instant) -> Duration {
        let Some(start) = self.start else {
            return GRID;
        };
        if slot < self.rush_to {
            return Duration::ZERO;
        }
        let elapsed = now.saturating_duration_since(start);
        let early = start.saturating_duration_since(now);
        let grid_s = GRID.as_secs_f64();
        let mut due_s = slot.saturating_sub(self.first) as f64 / self.rate_hz + early.as_secs_f64();
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
        let mut schedule = Schedule::new(4000.0, 1.0);
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
        let mut schedule = Schedule::new(400.0, 1.0);
        schedule.start(now);
        assert_eq!(schedule.until(1, now), Duration::from_micros(2500));
    }

    #[test]
    fn the_clock_stands_while_paused() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1000.0, 1.0);
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
        let mut schedule = Schedule::new(f64::INFINITY, 1.0);
        assert_eq!(schedule.due(now), 0);
        schedule.start(now);
        assert_eq!(schedule.due(now), u64::MAX);
        assert_eq!(schedule.gone_by(now), 0);
        assert_eq!(schedule.until(9, now), Duration::ZERO);
    }

    #[test]
    fn a_clock_with_another_pace_goes_on_from_where_it_was() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1000.0, 1.0);
        schedule.start(now);
        assert_eq!(schedule.own_ns(10, now), 10_000_000);
        // From slot 10 on each takes two milliseconds; by its own clock still one.
        schedule.drift(10, 2.0);
        assert_eq!(schedule.due(now + 10 * MS), 11);
        assert_eq!(schedule.due(now + 11 * MS), 11);
        assert_eq!(schedule.due(now + 14 * MS), 13);
        assert_eq!(schedule.until(13, now + 14 * MS), 2 * MS);
        assert_eq!(schedule.own_ns(13, now), 13_000_000);
        schedule.drift(13, 1.0);
        assert_eq!(schedule.due(now + 16 * MS), 14);
        assert_eq!(schedule.due(now + 17 * MS), 15);
    }

    #[test]
    fn slots_sent_ahead_are_due_at_once_and_the_clock_goes_on_behind_them() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1000.0, 1.0);
        schedule.start(now);
        schedule.rush(5 + schedule.slots_in(100 * MS));
        assert_eq!(schedule.due(now + 5 * MS), 105);
        assert_eq!(schedule.until(50, now + 5 * MS), Duration::ZERO);
        assert_eq!(
            schedule.gone_by(now + 5 * MS),
            6,
            "nobody is late for a rush"
        );
        schedule.reached(60, now + 6 * MS);
        assert_eq!(schedule.due(now + 6 * MS), 105);
        schedule.reached(105, now + 8 * MS);
        assert_eq!(schedule.due(now + 8 * MS), 106);
        assert_eq!(schedule.due(now + 10 * MS), 108);
    }
}
