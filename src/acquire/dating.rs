//! When frames were taken: the times of what a read brought.
//!
//! **Raw.** A read returns at `read_ns` with the last byte of the input. A byte `n` bytes before the end arrived `n`
//! times the line's time for a byte earlier, and so did the frame that ended with it. Of several frames in one packet,
//! each is dated a period before the one behind it.
//!
//! **Fitted.** The device's own pace, from its timestamp or from the number of its frames at their nominal rate, is fitted
//! to the raw times of the last frame of each read: `kymo_drivers::clock`. Frames that the device's counter says are missing
//! advance the number; a loss of unknown size begins the fit anew.
//!
//! **Given.** A protocol that asks knows when it was answered: its times are taken as they are.
//!
//! **Always holds.** Times rise strictly within a source, whichever way: where they would turn back, a frame is dated
//! 1 ns after the one before it. Nothing is allocated per frame or read.
//!
//! **Must not know.** What the time is, other than it is told.

use std::sync::Arc;

use kymo_drivers::clock::{Fit, Ticks, Unwrap};
use kymo_drivers::frames::Frames;

use super::assemble::Stamp;
use crate::latency::Latency;
use crate::ledger::{ClockFigures, SourceCounts};

/// How a source's frames are dated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeOptions {
    /// Whether by the device's pace, or by when they were read.
    pub fitted: bool,
    /// Time between frames, ns, where it is known; needed for several frames in a packet, and to fit without a timestamp.
    pub period_ns: Option<f64>,
    /// The device's timestamp, where it has one.
    pub ticks: Option<Ticks>,
    /// Frames in each packet: at least 1.
    pub frames_per_packet: usize,
    /// Of these, the one whose time the timestamp is.
    pub stamped_frame: usize,
    /// The column, behind the protocol's own, that takes by how much a frame's raw time is later than its fitted one, s.
    pub offset_column: Option<usize>,
}

impl Default for TimeOptions {
    /// One frame a packet, dated by when it was read.
    fn default() -> Self {
        Self {
            fitted: false,
            period_ns: None,
            ticks: None,
            frames_per_packet: 1,
            stamped_frame: 0,
            offset_column: None,
        }
    }
}

pub(super) struct Dating {
    options: TimeOptions,
    /// Time of the last frame.
    last_ns: Option<i64>,
    /// Frames of the packet at hand that have been dated.
    in_packet: usize,
    device: Option<Device>,
}

/// What is known of a device's clock.
struct Device {
    fit: Fit,
    unwrap: Option<Unwrap>,
    /// Frames since the source was first opened, with those that are missing.
    frame: u64,
    /// Device time of the packet at hand, where it has a timestamp.
    stamp_ns: i64,
    /// Raw time of the last frame: how long a loss lasted.
    last_raw_ns: Option<i64>,
    /// Device and raw time of the last frame, if it has not been observed: a read that filled a block may have more.
    latest: Option<(i64, i64)>,
    late: Latency,
    published_ns: i64,
    counts: Arc<SourceCounts>,
}

/// How often the figures of a running source are brought up to date.
const PUBLISH_NS: i64 = 1_000_000_000;

/// More missing frames than this are not believed: even at a million a second they would have lasted an hour.
const MISSING_MAX: u64 = 1 << 32;

impl Dating {
    pub(super) fn new(options: TimeOptions, counts: &Arc<SourceCounts>) -> Self {
        let device = options.fitted.then(|| Device {
            fit: Fit::default(),
            unwrap: options.ticks.map(Unwrap::new),
            frame: 0,
            stamp_ns: 0,
            last_raw_ns: None,
            latest: None,
            late: Latency::default(),
            published_ns: i64::MIN,
            counts: Arc::clone(counts),
        });
        Self {
            options,
            last_ns: None,
            in_packet: 0,
            device,
        }
    }

    /// Time of the last frame.
    pub(super) fn last_ns(&self) -> Option<i64> {
        self.last_ns
    }

    /// The link was opened anew.
    pub(super) fn reset(&mut self) {
        self.in_packet = 0;
        if let Some(device) = &mut self.device {
            device.restart();
        }
    }

    /// The run ends.
    pub(super) fn finish(&mut self) {
        if let Some(device) = &mut self.device {
            device.publish();
        }
    }

    /// Dates the frames from `first` on, which were decoded from an input of `input_len` bytes. `is_all`: with what
    /// the input held, so that the last of them is the latest there is.
    pub(super) fn date(
        &mut self,
        frames: &mut Frames,
        first: usize,
        input_len: usize,
        stamp: Stamp,
        is_all: bool,
    ) {
        let count = frames.len() - first;
        if count == 0 {
            if let Some(device) = self.device.as_mut().filter(|_| is_all) {
                device.observe_latest();
            }
            return;
        }
        if frames.given_ns().len() > first {
            for index in first..frames.len() {
                let given_ns = frames.given_ns()[index];
                frames.ends_and_times_mut().1[index] = given_ns;
            }
        } else if self.device.is_some() {
            self.date_fitted(frames, first, input_len, stamp, is_all);
        } else {
            self.date_raw(frames, first, input_len, stamp);
        }
        let mut floor = self.last_ns.map_or(i64::MIN, |last| last.saturating_add(1));
        let (_, times) = frames.ends_and_times_mut();
        for time in &mut times[first..] {
            *time = (*time).max(floor);
            floor = time.saturating_add(1);
        }
        self.last_ns = times.last().copied();
        let per_packet = self.options.frames_per_packet;
        if per_packet > 1 {
            self.in_packet = (self.in_packet + count) % per_packet;
        }
        if let Some(column) = self.options.offset_column {
            self.write_offsets(frames, first, input_len, stamp, column, count);
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn date_raw(&self, frames: &mut Frames, first: usize, input_len: usize, stamp: Stamp) {
        let (ends, times) = frames.ends_and_times_mut();
        let ends_and_times = ends[first..].iter().zip(&mut times[first..]);
        if self.options.frames_per_packet == 1 {
            for (end, time) in ends_and_times {
                let bytes_after = input_len.saturating_sub(*end as usize);
                *time = stamp.read_ns - (bytes_after as f64 * stamp.ns_per_byte) as i64;
            }
            return;
        }
        for (index, (end, time)) in ends_and_times.enumerate() {
            *time = self.raw_ns(*end, self.in_packet + index, input_len, stamp);
        }
    }

    /// When a frame was taken by when its packet was read; `place` counts from the start of a packet.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn raw_ns(&self, end: u32, place: usize, input_len: usize, stamp: Stamp) -> i64 {
        let bytes_after = input_len.saturating_sub(end as usize);
        let per_packet = self.options.frames_per_packet;
        let behind = per_packet - 1 - place % per_packet;
        let ns = bytes_after as f64 * stamp.ns_per_byte
            + behind as f64 * self.options.period_ns.unwrap_or(0.0);
        stamp.read_ns - ns as i64
    }

    fn date_fitted(
        &mut self,
        frames: &mut Frames,
        first: usize,
        input_len: usize,
        stamp: Stamp,
        is_all: bool,
    ) {
        let Some(mut device) = self.device.take() else {
            return;
        };
        let undated = frames.undated_mut();
        let raw_ns = |index: usize| {
            self.raw_ns(
                undated.ends[index],
                self.in_packet + index - first,
                input_len,
                stamp,
            )
        };
        let count = undated.times_ns.len();
        let mut losses = undated.losses.iter().peekable();
        let mut run = first;
        for index in first..count {
            let mut missing = Some(0);
            while let Some(loss) = losses.next_if(|loss| loss.before as usize <= index) {
                if loss.before as usize == index {
                    missing = loss.frames;
                }
            }
            let place = (self.in_packet + index - first) % self.options.frames_per_packet;
            let ticks = undated.ticks.get(index).copied();
            let is_lost = missing != Some(0);
            let raw = (is_lost || index + 1 == count).then(|| raw_ns(index));
            let continues = device.advance(&self.options, missing, ticks, place, raw);
            if !continues {
                device.close_run(&mut undated.times_ns[run..index], || raw_ns(index - 1));
                device.fit.restart();
                run = index;
            }
            undated.times_ns[index] = device.time_ns(&self.options, place);
        }
        let last_raw_ns = raw_ns(count - 1);
        let times_ns = &mut undated.times_ns[run..];
        device.latest = Some((times_ns[times_ns.len() - 1], last_raw_ns));
        if is_all || !device.fit.has_begun() {
            device.observe_latest();
        }
        device.fit.date(times_ns);
        device.last_raw_ns = Some(last_raw_ns);
        if stamp.read_ns.saturating_sub(device.published_ns) >= PUBLISH_NS {
            device.published_ns = stamp.read_ns;
            device.publish();
        }
        self.device = Some(device);
    }

    /// By how much each frame was read later than it is dated.
    #[allow(clippy::cast_precision_loss)]
    fn write_offsets(
        &self,
        frames: &mut Frames,
        first: usize,
        input_len: usize,
        stamp: Stamp,
        column: usize,
        count: usize,
    ) {
        // `in_packet` has moved on behind these frames.
        let per_packet = self.options.frames_per_packet;
        let before = (self.in_packet + per_packet - count % per_packet) % per_packet;
        for index in first..frames.len() {
            let raw = self.raw_ns(
                frames.ends()[index],
                before + index - first,
                input_len,
                stamp,
            );
            let offset_ns = raw.saturating_sub(frames.times_ns()[index]);
            frames.column_mut(column)[index] = offset_ns as f64 / 1e9;
        }
    }
}

impl Device {
    fn restart(&mut self) {
        self.fit.restart();
        if let Some(unwrap) = &mut self.unwrap {
            unwrap.forget();
        }
        self.last_raw_ns = None;
        self.latest = None;
    }

    /// The next frame, number `place` of its packet, with so many missing in front of it; false if its device time
    /// does not continue that of the frame before.
    #[allow(clippy::cast_precision_loss)]
    fn advance(
        &mut self,
        options: &TimeOptions,
        missing: Option<u64>,
        ticks: Option<u64>,
        place: usize,
        raw_ns: Option<i64>,
    ) -> bool {
        let missing = missing.filter(|frames| *frames <= MISSING_MAX);
        let is_known = missing.is_some();
        self.frame = self
            .frame
            .saturating_add(1)
            .saturating_add(missing.unwrap_or(0));
        let (Some(unwrap), Some(ticks)) = (&mut self.unwrap, ticks) else {
            return is_known;
        };
        if place > 0 {
            return true;
        }
        let (stamp_ns, continues) = unwrap.advance(ticks);
        self.stamp_ns = stamp_ns;
        let wrap_ns = options.ticks.map_or(f64::INFINITY, Ticks::wrap_ns);
        // How often it wrapped while nothing came cannot be told.
        let lasted_ns = raw_ns
            .zip(self.last_raw_ns)
            .map_or(0, |(now, last)| now.saturating_sub(last));
        continues && (missing == Some(0) || (lasted_ns as f64) < wrap_ns / 2.0)
    }

    /// Device time of the frame at hand, ns.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn time_ns(&self, options: &TimeOptions, place: usize) -> i64 {
        let period_ns = options.period_ns.unwrap_or(0.0);
        if self.unwrap.is_some() {
            let from_stamp = place as f64 - options.stamped_frame as f64;
            return self.stamp_ns + (from_stamp * period_ns).round() as i64;
        }
        (self.frame as f64 * period_ns).round() as i64
    }

    /// Dates the frames in front of a discontinuity.
    fn close_run(&mut self, times_ns: &mut [i64], last_raw_ns: impl Fn() -> i64) {
        if let Some(last_ns) = times_ns.last().copied() {
            if !self.fit.has_begun() {
                self.fit.observe(last_ns, last_raw_ns());
            }
            self.fit.date(times_ns);
        }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn observe_latest(&mut self) {
        let Some((device_ns, raw_ns)) = self.latest.take() else {
            return;
        };
        let observed = self.fit.observe(device_ns, raw_ns);
        if !observed.began {
            self.late.record_ns(0, observed.late_ns as i64);
        }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn publish(&self) {
        let late = self.late.summary();
        self.counts.set_clock(ClockFigures {
            drift_ppb: (self.fit.drift() * 1e9).round() as i64,
            jitter_ns_p50: (late.p50 * 1e3) as u64,
            jitter_ns_p99: (late.p99 * 1e3) as u64,
            reads: late.count,
            restarts: self.fit.restarts(),
        });
    }
}

#[cfg(test)]
#[path = "dating/tests.rs"]
mod tests;
