//! A device's clock, fitted to the host's.
//!
//! What a device counts (its frames at a nominal rate, or the ticks of its own timestamp) goes at an even pace; the
//! times at which the host read them do not. [`Fit`] finds the line between the two.
//!
//! **How.** A read can be late, and never early: so the line is the one *below* the observations, not the one through
//! their middle, and a late read, or a burst of them, moves nothing. The observation that was least late in each quarter
//! of a second is kept, for the last `POINTS_MAX` of these; the line is the edge of their lower convex hull above
//! the middle of them, which is the line below all of them that is least far from them in sum (S. Moon, P. Skelly and D.
//! Towsley, "Estimation and removal of clock skew from network delay measurements", INFOCOM 1999). What is given out
//! follows the line with a bounded slew.
//!
//! **Discontinuity.** An observation far below the line says that the device's count has jumped: the fit begins anew at
//! once. Observations that stay above it say that the device has paused, lost something unseen or slowed down: it begins
//! anew as soon as lateness times its duration exceeds `PATIENCE_NS_S`: soon for what is large, later for
//! what is small, and not at all for what is within the usual jitter. The pace is kept when it begins anew.
//!
//! **Always holds.** Time goes on wherever the device's count does: the pace and the slew together stay far from -1.
//! Memory is taken once. Any numbers at all neither panic nor make a NaN.
//!
//! **Must not know.** What time it is: it is told when something was read.

use std::collections::VecDeque;

/// Least late observations kept: with `BUCKET_NS`, sixteen seconds.
pub const POINTS_MAX: usize = 64;

/// Of so much device time one observation is kept, the least late.
const BUCKET_NS: f64 = 0.25e9;

/// Observations kept before the pace is taken from them; until then it is the nominal one, or the one before.
const POINTS_FOR_PACE: usize = 8;

/// The pace found differs from the nominal one by at most so much; a nominal rate that is further off is wrong.
const DRIFT_MAX: f64 = 0.02;

/// How fast what is given out moves towards the line: 500 ppm, as much as NTP slews a clock.
const SLEW: f64 = 500e-6;

/// The same in the first [`YOUNG_NS`] after the fit began (anew): its first observation may have been late by anything.
const SLEW_YOUNG: f64 = 0.02;
const YOUNG_NS: f64 = 4e9;

/// Lateness (ns) times its duration (s) from which the fit begins anew: 5 ms for 100 ms, 250 µs for 2 s.
pub const PATIENCE_NS_S: f64 = 0.5e6;

/// Lateness below this, or below [`JITTER_TIMES`] the median, is jitter.
const LATE_MIN_NS: f64 = 150e3;
const JITTER_TIMES: f64 = 3.0;

/// A read that is earlier than the line says by more than this, and by [`EARLY_JITTER_TIMES`] the median, is a jump of the device's count.
const EARLY_MIN_NS: f64 = 200e3;
/// The same while fewer than [`POINTS_FOR_PACE`] observations are kept: what it began with may have been very late.
const EARLY_MIN_YOUNG_NS: f64 = 5e6;
const EARLY_JITTER_TIMES: f64 = 4.0;

/// So many values of lateness are averaged before their median is followed.
const MEDIAN_FROM: u32 = 32;

/// How wrong the pace may be, before and after it was found: what is early by no more than that is no jump.
const PACE_UNKNOWN: f64 = 0.02;
const PACE_KNOWN: f64 = 100e-6;
/// For no longer than this: whatever a device's count does in a longer time, it is not drift.
const PACE_ERROR_FOR_NS: f64 = 10e9;

/// An observation: device time since the fit began, and by how much host time exceeds it, ns.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    x: f64,
    r: f64,
}

/// The line: at device time `x` the host's is `x + offset + drift * x`.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    offset: f64,
    drift: f64,
}

impl Line {
    fn at(self, x: f64) -> f64 {
        self.drift.mul_add(x, self.offset)
    }
}

/// What an observation said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// How late the read was by the fit, ns; not below 0.
    pub late_ns: f64,
    /// Whether the fit began (anew) with it.
    pub began: bool,
}

/// A device's clock by the host's.
#[derive(Debug, Clone)]
pub struct Fit {
    /// Device and host time at which it began; `None` before the first observation.
    origin: Option<(i64, i64)>,
    points: VecDeque<Point>,
    /// Where the latest bucket began.
    bucket_x: f64,
    last_x: f64,
    line: Line,
    has_pace: bool,
    /// What was given out last: where, and by how much host time exceeded device time there.
    given: Option<Point>,
    /// The median of the lateness, ns, and of how many.
    median: f64,
    seen: u32,
    /// Since when every observation has been late, and the least late of them.
    behind: Option<(f64, Point)>,
    restarts: u64,
    hull: Vec<Point>,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            origin: None,
            points: VecDeque::with_capacity(POINTS_MAX),
            bucket_x: 0.0,
            last_x: 0.0,
            line: Line::default(),
            has_pace: false,
            given: None,
            median: 0.0,
            seen: 0,
            behind: None,
            restarts: 0,
            hull: Vec::with_capacity(POINTS_MAX),
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
impl Fit {
    /// Forgets where the device's clock stood, not how fast it goes: it was opened anew, or its count has jumped.
    ///
    /// That it had no time to find a pace may come from the pace it was given: then that is forgotten too.
    pub fn restart(&mut self) {
        if self.origin.is_some() && self.points.len() < POINTS_FOR_PACE {
            self.line.drift = 0.0;
            self.has_pace = false;
        }
        self.restarts += u64::from(self.origin.is_some());
        self.origin = None;
    }

    /// Whether it has an observation to start from.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.origin.is_some()
    }

    /// By how much the device is slower than it says: host time for each unit of device time, less 1.
    #[must_use]
    pub fn drift(&self) -> f64 {
        self.line.drift
    }

    /// How often it began anew.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// At `host_ns` it was read that the device was at `device_ns`. Both must not run backwards but for a
    /// discontinuity.
    pub fn observe(&mut self, device_ns: i64, host_ns: i64) -> Observed {
        let Some((device_0, host_0)) = self.origin else {
            return self.begin(device_ns, host_ns);
        };
        let x = device_ns.wrapping_sub(device_0) as f64;
        let point = Point {
            x,
            r: host_ns.wrapping_sub(host_0) as f64 - x,
        };
        let late = point.r - self.line.at(x);
        let early_min = if self.points.len() < POINTS_FOR_PACE {
            EARLY_MIN_YOUNG_NS
        } else {
            EARLY_MIN_NS
        };
        let early_max = early_min.max(EARLY_JITTER_TIMES * self.median)
            + self.pace_error() * (x - self.last_x).clamp(0.0, PACE_ERROR_FOR_NS);
        if late < -early_max || x < self.last_x {
            self.restart();
            return self.begin(device_ns, host_ns);
        }
        if let Some(least) = self.left_behind(point, late) {
            // From the least late of those seen since, not from this one.
            self.restart();
            let device = device_0.wrapping_add(least.x as i64);
            let observed = self.begin(
                device,
                device
                    .wrapping_add(host_0.wrapping_sub(device_0))
                    .wrapping_add(least.r as i64),
            );
            self.last_x = x - least.x;
            return observed;
        }
        self.last_x = x;
        self.keep(point);
        let late = (point.r - self.line.at(x)).max(0.0);
        if self.behind.is_none() {
            self.count(late);
        }
        Observed {
            late_ns: late,
            began: false,
        }
    }

    fn begin(&mut self, device_ns: i64, host_ns: i64) -> Observed {
        self.origin = Some((device_ns, host_ns));
        self.points.clear();
        self.points.push_back(Point::default());
        (self.bucket_x, self.last_x) = (0.0, 0.0);
        self.line.offset = 0.0;
        self.given = None;
        self.behind = None;
        Observed {
            late_ns: 0.0,
            began: true,
        }
    }

    /// By how much the pace may be wrong.
    fn pace_error(&self) -> f64 {
        if self.has_pace {
            PACE_KNOWN
        } else {
            PACE_UNKNOWN
        }
    }

    /// Whether the line has been left behind for good, and then the least late observation since.
    fn left_behind(&mut self, point: Point, late: f64) -> Option<Point> {
        let pace = if self.has_pace { 0.0 } else { PACE_UNKNOWN };
        if late
            <= LATE_MIN_NS.max(JITTER_TIMES * self.median) + pace * point.x.min(PACE_ERROR_FOR_NS)
        {
            self.behind = None;
            return None;
        }
        let (since, least) = self.behind.get_or_insert((point.x, point));
        if late <= least.r - self.line.at(least.x) {
            *least = point;
        }
        let least_late = least.r - self.line.at(least.x);
        // A first observation has lasted no time yet: a millisecond stands for it, so that half a second is believed at once.
        let lasted_s = ((point.x - *since) / 1e9).max(1e-3);
        (least_late * lasted_s > PATIENCE_NS_S).then_some(*least)
    }

    /// The median of the lateness: the mean of the first, and from there a step towards each value.
    fn count(&mut self, late: f64) {
        self.seen = self.seen.saturating_add(1);
        if self.seen <= MEDIAN_FROM {
            self.median += (late - self.median) / f64::from(self.seen);
        } else if late > self.median {
            self.median += 0.02 * self.median.max(1e3);
        } else {
            self.median -= 0.02 * self.median;
        }
    }

    /// Keeps the observation if none in its bucket was less late, and draws the line anew.
    fn keep(&mut self, point: Point) {
        let drift = self.line.drift;
        let is_new = point.x - self.bucket_x >= BUCKET_NS;
        if is_new {
            if self.points.len() == POINTS_MAX {
                self.points.pop_front();
            }
            self.points.push_back(point);
            self.bucket_x = point.x;
        } else {
            let Some(least) = self.points.back_mut() else {
                return;
            };
            if point.r - drift * point.x >= least.r - drift * least.x {
                return;
            }
            *least = point;
        }
        self.draw();
    }

    fn draw(&mut self) {
        if self.points.len() >= POINTS_FOR_PACE
            && let Some((from, to)) = self.edge()
        {
            let drift = (to.r - from.r) / (to.x - from.x);
            if drift.is_finite() {
                self.line.drift = drift.clamp(-DRIFT_MAX, DRIFT_MAX);
                self.has_pace = true;
            }
        }
        // Below all of them, whatever the pace.
        let drift = self.line.drift;
        let offsets = self.points.iter().map(|p| p.r - drift * p.x);
        self.line.offset = offsets.fold(f64::INFINITY, f64::min);
    }

    /// The edge of the lower hull above the middle of the points.
    fn edge(&mut self) -> Option<(Point, Point)> {
        self.hull.clear();
        for &point in &self.points {
            while let [.., a, b] = self.hull[..]
                && (b.r - a.r) * (point.x - a.x) >= (point.r - a.r) * (b.x - a.x)
            {
                self.hull.pop();
            }
            self.hull.push(point);
        }
        let middle = self.points.iter().map(|p| p.x).sum::<f64>() / self.points.len() as f64;
        let edges = self.hull.windows(2);
        let mut above = edges.filter(|edge| edge[1].x >= middle && edge[1].x > edge[0].x);
        above.next().map(|edge| (edge[0], edge[1]))
    }

    /// Turns device times, which rise, into host times. Before the first observation they stay as they are.
    pub fn date(&mut self, times_ns: &mut [i64]) {
        let Some((device_0, host_0)) = self.origin else {
            return;
        };
        let shift = host_0.wrapping_sub(device_0);
        let line = self.line;
        let mut last = self.given;
        // Where what was given out is away from the line, and by how much.
        let (from, gap) = last.map_or((0.0, 0.0), |given| (given.x, line.at(given.x) - given.r));
        for time in times_ns {
            let x = time.wrapping_sub(device_0) as f64;
            let slew = if x < YOUNG_NS { SLEW_YOUNG } else { SLEW };
            let left = (gap.abs() - slew * (x - from).max(0.0)).max(0.0);
            let r = line.at(x) - left.copysign(gap);
            *time = time.wrapping_add(shift).wrapping_add(r.round() as i64);
            last = Some(Point { x, r });
        }
        self.given = last;
    }
}

/// A device's timestamp: how long a tick is, and where it wraps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ticks {
    /// Time of one tick, ns; positive.
    pub tick_ns: f64,
    /// It counts `0 .. modulus`; `None`: 2 to the 64.
    pub modulus: Option<u64>,
}

impl Ticks {
    /// After so long it wraps, ns.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn wrap_ns(self) -> f64 {
        let modulus = self.modulus.map_or(2f64.powi(64), |modulus| modulus as f64);
        modulus * self.tick_ns
    }
}

/// Counts a timestamp on over its wraps.
#[derive(Debug, Clone)]
pub struct Unwrap {
    ticks: Ticks,
    last: Option<u64>,
    total: u64,
}

impl Unwrap {
    /// Nothing has been seen of it yet.
    #[must_use]
    pub fn new(ticks: Ticks) -> Self {
        Self {
            ticks,
            last: None,
            total: 0,
        }
    }

    /// The next timestamp need not continue from the last one.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// The device's time at this timestamp, ns since the first one; false if the timestamp has gone back, or
    /// forward by more than half of its range: then time stands there, and nothing is known of what lies between.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    pub fn advance(&mut self, raw: u64) -> (i64, bool) {
        let now = self.ticks.modulus.map_or(raw, |modulus| raw % modulus);
        let mut continues = true;
        if let Some(last) = self.last {
            let step = match self.ticks.modulus {
                None => now.wrapping_sub(last),
                Some(_) if now >= last => now - last,
                Some(modulus) => modulus - (last - now),
            };
            let half = self
                .ticks
                .modulus
                .map_or(u64::MAX / 2, |modulus| modulus / 2);
            continues = step <= half;
            if continues {
                self.total = self.total.saturating_add(step);
            }
        }
        self.last = Some(now);
        ((self.total as f64 * self.ticks.tick_ns) as i64, continues)
    }
}

#[cfg(test)]
#[path = "clock/tests.rs"]
mod tests;
