//! Windows: statistics over stretches of time or of frames, tumbling or hopping.
//!
//! Time is cut into panes of one hop, counted from the epoch (frames: from the first of the run); a window is the last
//! `length / hop` of them. What is kept of a pane can be merged, so a sample is looked at once, however many windows
//! it is in; spectra need the samples themselves, which stay in their panes.
//!
//! **Closing.** A window `[end - length, end)` is closed by the first frame not before `end + lateness`, or by a watermark
//! there. Its results are dated `end`; those of a window of frames with the time of its last frame. A frame that comes
//! behind that is late: counted, and left out. A window without a single frame gives no result.
//!
//! **Always holds.** The same frames give the same bits, however they were cut into blocks. Memory is bounded by the
//! panes of one window and the lateness. NaN is left out of every statistic, infinities count for the extremes only.
//!
//! **Must not know.** Blocks, units, names.

use std::collections::VecDeque;

use sketches_ddsketch::{Config, DDSketch};

use super::moments::Moments;
use super::spectrum::{Spectrum, Taper};

/// What a window spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Time, ns. The length is a multiple of the hop.
    Time {
        /// How long.
        length: i64,
        /// From one window's end to the next one's.
        hop: i64,
    },
    /// Frames. The length is a multiple of the hop.
    Frames {
        /// How many.
        length: i64,
        /// From one window's end to the next one's.
        hop: i64,
    },
}

impl Span {
    fn hop(self) -> i64 {
        match self {
            Self::Time { hop, .. } | Self::Frames { hop, .. } => hop.max(1),
        }
    }

    fn panes(self) -> i64 {
        match self {
            Self::Time { length, .. } | Self::Frames { length, .. } => (length / self.hop()).max(1),
        }
    }

    /// Frames in a window, if nothing is missing.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn expected(self, rate_hz: Option<f64>) -> Option<f64> {
        match self {
            Self::Time { length, .. } => Some(rate_hz? * length as f64 * 1e-9),
            Self::Frames { length, .. } => Some(length as f64),
        }
    }
}

/// One result of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// Finite values.
    Count,
    /// Mean of the finite values.
    Mean,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// The first that is not NaN.
    First,
    /// The last that is not NaN.
    Last,
    /// Sum of the finite values.
    Sum,
    /// Standard deviation (divisor n − 1).
    Deviation,
    /// Root of the mean square.
    Rms,
    /// Largest less smallest.
    PeakToPeak,
    /// The greater absolute value of the extremes, divided by the rms.
    Crest,
    /// Slope of the line with the least squares, per second.
    Slope,
    /// A quantile from 0 to 1, by DDSketch: within a hundredth of its value.
    Quantile(f64),
    /// Frequency of the highest peak, Hz.
    PeakFrequency,
    /// Its amplitude.
    PeakAmplitude,
    /// Power from one frequency to another, Hz.
    Band(f64, f64),
    /// Finite values, as a share of the frames expected.
    Complete,
    /// Gaps inside.
    Gaps,
}

impl Statistic {
    /// Whether it needs the samples themselves.
    #[must_use]
    pub fn is_spectral(self) -> bool {
        matches!(
            self,
            Self::PeakFrequency | Self::PeakAmplitude | Self::Band(..)
        )
    }

    /// Whether it takes so long, or takes memory anew, that nothing urgent should wait for it.
    #[must_use]
    pub fn is_heavy(self) -> bool {
        self.is_spectral() || matches!(self, Self::Quantile(_))
    }
}

/// What windows are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How long, how often.
    pub span: Span,
    /// What of each column.
    pub statistics: Vec<Statistic>,
    /// Frames a second, where known: needed for spectra, and to say how complete a window of time is.
    pub rate_hz: Option<f64>,
    /// How long behind its end a window stays open, ns.
    pub lateness_ns: i64,
    /// For spectra.
    pub taper: Taper,
}

impl Options {
    /// Results a second, where that is known.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn results_hz(&self) -> Option<f64> {
        match self.span {
            Span::Time { hop, .. } => Some(1e9 / hop.max(1) as f64),
            Span::Frames { hop, .. } => Some(self.rate_hz? / hop.max(1) as f64),
        }
    }
}

/// Relative error of quantiles.
pub const QUANTILE_ERROR: f64 = 0.01;
/// Bins of a sketch: with the error above they span 17 decades, beyond which the smallest collapse.
const SKETCH_BINS: u32 = 2048;
/// What is smaller counts as 0.
const SKETCH_MIN: f64 = 1e-30;

struct Pane {
    index: i64,
    frames: u64,
    gaps: u64,
    last_ns: i64,
    columns: Vec<PaneColumn>,
}

struct PaneColumn {
    moments: Moments,
    first: f64,
    last: f64,
    sketch: Option<DDSketch>,
    samples: Vec<f64>,
}

/// Windows over some columns of one stream of frames.
pub struct Windows {
    options: Options,
    columns: usize,
    has_sketch: bool,
    spectrum: Option<Spectrum>,
    samples_max: usize,
    panes: VecDeque<Pane>,
    idle: Vec<Pane>,
    /// The pane that the next window ends with; `None` before the first frame.
    next: Option<i64>,
    /// Frames numbered so far.
    frames: i64,
    /// Times of slopes count from the first frame.
    origin_ns: i64,
    /// Gaps behind which no frame has come yet.
    gaps_ahead: u64,
    late_frames: u64,
    row: Vec<f64>,
}

impl Windows {
    /// Windows over so many columns.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    pub fn new(options: Options, columns: usize) -> Self {
        let expected = options.span.expected(options.rate_hz).unwrap_or(0.0);
        let is_spectral = options.statistics.iter().any(|s| s.is_spectral());
        let spectrum = is_spectral.then(|| {
            let rate_hz = options.rate_hz.unwrap_or(1.0);
            Spectrum::new(expected.round() as usize, rate_hz, options.taper)
        });
        let of_pane = expected / options.span.panes() as f64;
        let row = vec![0.0; columns * options.statistics.len()];
        Self {
            columns,
            has_sketch: options
                .statistics
                .iter()
                .any(|s| matches!(s, Statistic::Quantile(_))),
            samples_max: if is_spectral {
                (of_pane * 1.25) as usize + 16
            } else {
                0
            },
            spectrum,
            options,
            panes: VecDeque::new(),
            idle: Vec::new(),
            next: None,
            frames: 0,
            origin_ns: 0,
            gaps_ahead: 0,
            late_frames: 0,
            row,
        }
    }

    /// Frames that came when their windows were closed.
    #[must_use]
    pub fn late_frames(&self) -> u64 {
        self.late_frames
    }

    /// Takes frames; `gaps` are the places in front of which something is missing. Each window that closes is told, with its
    /// time and a value for each column's each statistic.
    pub fn push<'v>(
        &mut self,
        times_ns: &[i64],
        column: impl Fn(usize) -> &'v [f64],
        gaps: impl Iterator<Item = usize> + Clone,
        mut closed: impl FnMut(i64, &[f64]),
    ) {
        let hop = self.options.span.hop();
        let count = times_ns.len();
        let mut from = 0;
        while from < count {
            let is_time = matches!(self.options.span, Span::Time { .. });
            let place = if is_time { times_ns[from] } else { self.frames };
            let pane = place.div_euclid(hop);
            let len = if is_time {
                let end = pane.saturating_add(1).saturating_mul(hop);
                times_ns[from..]
                    .partition_point(|time_ns| *time_ns < end)
                    .max(1)
            } else {
                let left = hop - place.rem_euclid(hop);
                usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(count - from)
            };
            let to = from + len;
            if is_time {
                self.close(times_ns[from], &mut closed);
            }
            self.frames += i64::try_from(len).unwrap_or(0);
            if self.next.is_none() {
                self.origin_ns = times_ns[from];
            }
            let next = *self.next.get_or_insert(pane);
            // In front of these frames, or inside of them.
            let inside = gaps
                .clone()
                .filter(|before| (from..to).contains(before))
                .count() as u64;
            let inside = inside + std::mem::take(&mut self.gaps_ahead);
            if is_time && pane < next {
                self.late_frames += len as u64;
            } else {
                let stretch = &times_ns[from..to];
                self.add(pane, stretch, |c| &column(c)[from..to], inside);
            }
            from = to;
            if !is_time && self.frames.rem_euclid(hop) == 0 {
                self.close_frames(pane, &mut closed);
            }
        }
        self.gaps_ahead += gaps.filter(|before| *before >= count).count() as u64;
        if let (Some(last_ns), Span::Time { .. }) = (times_ns.last(), self.options.span) {
            self.close(*last_ns, &mut closed);
        }
    }

    /// No frame before this time will come any more: closes what ends before it.
    pub fn advance(&mut self, watermark_ns: i64, mut closed: impl FnMut(i64, &[f64])) {
        if matches!(self.options.span, Span::Time { .. }) {
            self.close(watermark_ns, &mut closed);
        }
    }

    /// Nothing will come any more: closes the windows whose last pane has begun. Of a window of frames that is not full,
    /// there is no result.
    pub fn finish(&mut self, mut closed: impl FnMut(i64, &[f64])) {
        if let (Span::Time { .. }, Some(last)) = (self.options.span, self.panes.back()) {
            let end = last
                .index
                .saturating_add(1)
                .saturating_mul(self.options.span.hop());
            self.close(end.saturating_add(self.options.lateness_ns), &mut closed);
        }
    }

    fn add<'v>(
        &mut self,
        index: i64,
        times_ns: &[i64],
        column: impl Fn(usize) -> &'v [f64],
        gaps: u64,
    ) {
        let at = self.panes.partition_point(|pane| pane.index < index);
        if self.panes.get(at).is_none_or(|pane| pane.index != index) {
            let fresh = self.fresh(index);
            self.panes.insert(at, fresh);
        }
        let (origin_ns, samples_max) = (self.origin_ns, self.samples_max);
        let pane = &mut self.panes[at];
        pane.frames += times_ns.len() as u64;
        pane.gaps += gaps;
        pane.last_ns = times_ns.last().copied().unwrap_or(pane.last_ns);
        for (place, own) in pane.columns.iter_mut().enumerate() {
            let values = column(place);
            for (value, time_ns) in values.iter().zip(times_ns) {
                #[allow(clippy::cast_precision_loss)]
                let time_s = time_ns.saturating_sub(origin_ns) as f64 * 1e-9;
                own.moments.push(time_s, *value);
            }
            let known = |value: &&f64| !value.is_nan();
            if own.first.is_nan() {
                own.first = values.iter().find(known).copied().unwrap_or(f64::NAN);
            }
            own.last = values.iter().rev().find(known).copied().unwrap_or(own.last);
            if let Some(sketch) = &mut own.sketch {
                for value in values.iter().filter(|value| value.is_finite()) {
                    sketch.add(*value);
                }
            }
            let room = samples_max.saturating_sub(own.samples.len());
            own.samples
                .extend_from_slice(&values[..values.len().min(room)]);
        }
    }

    fn fresh(&mut self, index: i64) -> Pane {
        let (has_sketch, samples_max) = (self.has_sketch, self.samples_max);
        let mut pane = self.idle.pop().unwrap_or_else(|| Pane {
            index,
            frames: 0,
            gaps: 0,
            last_ns: 0,
            columns: (0..self.columns)
                .map(|_| PaneColumn::new(samples_max))
                .collect(),
        });
        (pane.index, pane.frames, pane.gaps) = (index, 0, 0);
        for column in &mut pane.columns {
            column.clear(has_sketch);
        }
        pane
    }

    /// Closes windows of time.
    fn close(&mut self, watermark_ns: i64, closed: &mut impl FnMut(i64, &[f64])) {
        let hop = self.options.span.hop();
        let Some(mut next) = self.next else { return };
        // The pane that holds the first moment not yet past.
        let reached = watermark_ns
            .saturating_sub(self.options.lateness_ns)
            .div_euclid(hop);
        while next < reached {
            let Some(oldest) = self.panes.front().map(|pane| pane.index) else {
                next = reached;
                break;
            };
            // Windows without a pane in them are passed over.
            next = next.max(oldest);
            if next >= reached {
                break;
            }
            self.fill_row(next);
            closed(next.saturating_add(1).saturating_mul(hop), &self.row);
            next += 1;
            self.drop_panes(next);
        }
        self.next = Some(next.max(self.next.unwrap_or(next)));
    }

    /// Closes the window of frames that ends with a pane now full.
    fn close_frames(&mut self, pane: i64, closed: &mut impl FnMut(i64, &[f64])) {
        // The first windows would not be full.
        if pane + 1 >= self.options.span.panes() {
            self.fill_row(pane);
            let last_ns = self.panes.back().map_or(0, |pane| pane.last_ns);
            closed(last_ns, &self.row);
        }
        self.next = Some(pane + 1);
        self.drop_panes(pane + 1);
    }

    /// Drops the panes that the window ending with `next` has none of.
    fn drop_panes(&mut self, next: i64) {
        let first = next - self.options.span.panes() + 1;
        while self.panes.front().is_some_and(|pane| pane.index < first) {
            self.idle.extend(self.panes.pop_front());
        }
    }

    /// The results of the window that ends with a pane.
    #[allow(clippy::cast_precision_loss)]
    fn fill_row(&mut self, last: i64) {
        let first = last - self.options.span.panes() + 1;
        let from = self.panes.partition_point(|pane| pane.index < first);
        let to = self.panes.partition_point(|pane| pane.index <= last);
        let panes = || self.panes.range(from..to);
        let gaps: u64 = panes().map(|pane| pane.gaps).sum();
        let expected = self.options.span.expected(self.options.rate_hz);
        let count = self.options.statistics.len();
        for column in 0..self.columns {
            let mut moments = Moments::default();
            for pane in panes() {
                moments = moments.merged(&pane.columns[column].moments);
            }
            let mut sketch = None;
            if self.has_sketch {
                let mut merged = new_sketch();
                for part in panes().filter_map(|pane| pane.columns[column].sketch.as_ref()) {
                    // Sketches of one configuration can be merged.
                    let _ = merged.merge(part);
                }
                sketch = Some(merged);
            }
            if let Some(spectrum) = &mut self.spectrum {
                let samples = self
                    .panes
                    .range(from..to)
                    .flat_map(|p| &p.columns[column].samples);
                // A gap inside would be taken for a jump of the signal; what there is counts as none then.
                let is_whole = gaps == 0 && spectrum.take(samples.copied());
                if !is_whole {
                    spectrum.take(std::iter::empty());
                }
            }
            let panes = || self.panes.range(from..to);
            let spectrum = self.spectrum.as_ref();
            let peak = || spectrum.map_or((f64::NAN, f64::NAN), Spectrum::peak);
            for (place, statistic) in self.options.statistics.iter().enumerate() {
                self.row[column * count + place] = match *statistic {
                    Statistic::Count => moments.count as f64,
                    Statistic::Mean => moments.mean(),
                    Statistic::Min => moments.min(),
                    Statistic::Max => moments.max(),
                    Statistic::First => panes()
                        .map(|pane| pane.columns[column].first)
                        .find(|first| !first.is_nan())
                        .unwrap_or(f64::NAN),
                    Statistic::Last => panes()
                        .rev()
                        .map(|pane| pane.columns[column].last)
                        .find(|last| !last.is_nan())
                        .unwrap_or(f64::NAN),
                    Statistic::Sum => moments.sum(),
                    Statistic::Deviation => moments.deviation(),
                    Statistic::Rms => moments.rms(),
                    Statistic::PeakToPeak => moments.max() - moments.min(),
                    Statistic::Crest => {
                        moments.min().abs().max(moments.max().abs()) / moments.rms()
                    }
                    Statistic::Slope => moments.slope(),
                    Statistic::Quantile(q) => quantile(sketch.as_ref(), q),
                    Statistic::PeakFrequency => peak().0,
                    Statistic::PeakAmplitude => peak().1,
                    Statistic::Band(low, high) => {
                        spectrum.map_or(f64::NAN, |spectrum| spectrum.band(low, high))
                    }
                    Statistic::Complete => {
                        expected.map_or(f64::NAN, |expected| moments.count as f64 / expected)
                    }
                    Statistic::Gaps => gaps as f64,
                };
            }
        }
    }
}

fn new_sketch() -> DDSketch {
    DDSketch::new(Config::new(QUANTILE_ERROR, SKETCH_BINS, SKETCH_MIN))
}

fn quantile(sketch: Option<&DDSketch>, q: f64) -> f64 {
    let found = sketch.and_then(|sketch| sketch.quantile(q).ok().flatten());
    found.unwrap_or(f64::NAN)
}

impl PaneColumn {
    fn new(samples_max: usize) -> Self {
        Self {
            moments: Moments::default(),
            first: f64::NAN,
            last: f64::NAN,
            sketch: None,
            samples: Vec::with_capacity(samples_max),
        }
    }

    fn clear(&mut self, has_sketch: bool) {
        self.moments = Moments::default();
        (self.first, self.last) = (f64::NAN, f64::NAN);
        self.sketch = has_sketch.then(new_sketch);
        self.samples.clear();
    }
}

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows")
            .field("options", &self.options)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
