//! Envelopes: the lowest and the highest value of a channel in columns of time, at several widths.
//!
//! Each level's columns are four times as wide as those of the one before, and each level keeps the newest [`COLUMNS_MAX`] of
//! them. So whatever span is asked for, up to now, there is a level whose columns are about as wide as a pixel and which reaches
//! back far enough: the span of a whole run costs no more than that of a second.
//!
//! **Always holds.** Memory does not grow with the run: 64 KiB a level, levels made when they are needed. NaN is left out; a column
//! without a value is NaN in both.
//!
//! **Must not know.** Where values come from, who looks.

/// Columns kept of each level.
pub(super) const COLUMNS_MAX: usize = 4096;
/// The finest columns, ns.
const FINEST_NS: i64 = 1_000_000;
/// Each level is coarser by this.
const STEP: i64 = 4;
/// The coarsest reaches back 139 years.
const LEVELS: usize = 15;

const NOTHING: [f64; 2] = [f64::NAN; 2];

/// Columns of one width, one after another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    /// How wide, ns.
    pub(super) bucket_ns: i64,
    /// Column `i` begins at `(first + i) * bucket_ns`, UTC ns.
    pub(super) first: i64,
    /// Lowest and highest.
    pub(super) columns: Vec<[f64; 2]>,
}

#[derive(Debug, Default)]
struct Level {
    /// The newest column's number; its place is that modulo the ring's size.
    newest: Option<i64>,
    /// The oldest column's number that was ever there.
    oldest: i64,
    ring: Vec<[f64; 2]>,
}

impl Level {
    fn place(column: i64) -> usize {
        usize::try_from(column.rem_euclid(COLUMNS_MAX as i64)).unwrap_or(0)
    }

    /// Takes in the extremes of a column. What is older than the ring is passed over.
    fn add(&mut self, column: i64, low: f64, high: f64) {
        if self.ring.is_empty() {
            self.ring = vec![NOTHING; COLUMNS_MAX];
        }
        let newest = match self.newest {
            None => {
                (self.newest, self.oldest) = (Some(column), column);
                column
            }
            Some(newest) if column > newest => {
                let fresh = (column - newest).min(COLUMNS_MAX as i64);
                for empty in column - fresh + 1..=column {
                    self.ring[Self::place(empty)] = NOTHING;
                }
                self.newest = Some(column);
                column
            }
            Some(newest) => newest,
        };
        if column <= newest - COLUMNS_MAX as i64 {
            return;
        }
        self.oldest = self.oldest.min(column);
        let [known_low, known_high] = &mut self.ring[Self::place(column)];
        // `min` and `max` take the number where one is NaN.
        (*known_low, *known_high) = (known_low.min(low), known_high.max(high));
    }

    /// The oldest column that is still there.
    fn reach(&self) -> Option<i64> {
        let kept = self.newest? - COLUMNS_MAX as i64 + 1;
        Some(kept.max(self.oldest))
    }

    /// Columns from one number up to another, that excluded, as far as there are any.
    fn range(&self, from: i64, to: i64) -> (i64, Vec<[f64; 2]>) {
        let (Some(newest), Some(reach)) = (self.newest, self.reach()) else {
            return (from, Vec::new());
        };
        let (from, to) = (from.max(reach), to.min(newest + 1));
        let columns = (from..to).map(|column| self.ring[Self::place(column)]);
        (from, columns.collect())
    }
}

/// The envelopes of one channel.
#[derive(Debug, Default)]
pub(super) struct Pyramid {
    levels: Vec<Level>,
    /// The first time that was ever taken in, ns.
    since_ns: Option<i64>,
}

/// How wide the columns of a level are, ns.
fn bucket_ns(level: usize) -> i64 {
    FINEST_NS * STEP.pow(u32::try_from(level).unwrap_or(0))
}

impl Pyramid {
    /// Takes in values, in the order of their times.
    pub(super) fn add(&mut self, times_ns: &[i64], values: &[f64]) {
        if self.levels.is_empty() {
            self.levels.resize_with(LEVELS, Level::default);
        }
        if self.since_ns.is_none() {
            self.since_ns = times_ns.first().copied();
        }
        let mut from = 0;
        while from < times_ns.len() {
            let column = times_ns[from].div_euclid(FINEST_NS);
            let end_ns = (column + 1) * FINEST_NS;
            let count = times_ns[from..]
                .partition_point(|time_ns| *time_ns < end_ns)
                .max(1);
            let (mut low, mut high) = (f64::NAN, f64::NAN);
            for value in &values[from..from + count] {
                (low, high) = (low.min(*value), high.max(*value));
            }
            let mut place = column;
            for level in &mut self.levels {
                level.add(place, low, high);
                place = place.div_euclid(STEP);
            }
            from += count;
        }
    }

    /// The level for a span on so many pixels: the finest that has no more columns than pixels.
    pub(super) fn level(span_ns: i64, width: usize) -> usize {
        let width = i64::try_from(width.clamp(1, COLUMNS_MAX / 2)).unwrap_or(1);
        let fits = |level: &usize| span_ns / bucket_ns(*level) <= width;
        (0..LEVELS).find(fits).unwrap_or(LEVELS - 1)
    }

    /// Whether a level has everything from a time on that there ever was.
    pub(super) fn reaches(&self, level: usize, from_ns: i64) -> bool {
        let Some(since_ns) = self.since_ns else {
            return false;
        };
        let reach = self.levels.get(level).and_then(Level::reach);
        reach.is_some_and(|reach| reach * bucket_ns(level) <= from_ns.max(since_ns))
    }

    /// Columns of a level from one time up to another.
    pub(super) fn series(&self, level: usize, from_ns: i64, to_ns: i64) -> Series {
        let bucket_ns = bucket_ns(level);
        let from = from_ns.div_euclid(bucket_ns);
        let to = to_ns.div_euclid(bucket_ns).saturating_add(1);
        let (first, columns) = self
            .levels
            .get(level)
            .map_or((from, Vec::new()), |level| level.range(from, to));
        Series {
            bucket_ns,
            first,
            columns,
        }
    }
}

/// Columns of any width, made of rows that come in their order: for what is read from the store.
pub(super) struct Folding {
    series: Series,
}

impl Folding {
    /// Of a range, on so many columns.
    pub(super) fn new(from_ns: i64, to_ns: i64, width: usize) -> Self {
        let span_ns = to_ns.saturating_sub(from_ns).max(1);
        let width = width.clamp(1, COLUMNS_MAX);
        let bucket_ns = (span_ns / i64::try_from(width).unwrap_or(1)).max(1);
        let first = from_ns.div_euclid(bucket_ns);
        let count = usize::try_from(to_ns.div_euclid(bucket_ns) - first + 1).unwrap_or(1);
        Self {
            series: Series {
                bucket_ns,
                first,
                columns: vec![NOTHING; count.min(COLUMNS_MAX + 2)],
            },
        }
    }

    /// What is to be taken in, so that the first and the last column are whole, too: from when to when, UTC ns.
    pub(super) fn span_ns(&self) -> (i64, i64) {
        let Series {
            bucket_ns, first, ..
        } = self.series;
        let count = i64::try_from(self.series.columns.len()).unwrap_or(i64::MAX);
        let begin_of = |column: i64| column.saturating_mul(bucket_ns);
        (begin_of(first), begin_of(first.saturating_add(count)))
    }

    /// Takes in rows.
    pub(super) fn add(&mut self, times_ns: &[i64], values: &[f64]) {
        let Series {
            bucket_ns,
            first,
            columns,
        } = &mut self.series;
        for (time_ns, value) in times_ns.iter().zip(values) {
            let place = time_ns.div_euclid(*bucket_ns) - *first;
            let column = usize::try_from(place)
                .ok()
                .and_then(|place| columns.get_mut(place));
            if let Some([low, high]) = column {
                (*low, *high) = (low.min(*value), high.max(*value));
            }
        }
    }

    pub(super) fn finish(self) -> Series {
        self.series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// A kilohertz, value = number.
    #[allow(clippy::cast_precision_loss)]
    fn fed(seconds: i64) -> Pyramid {
        let mut pyramid = Pyramid::default();
        for second in 0..seconds {
            let times: Vec<i64> = (0..1000).map(|i| second * SECOND + i * 1_000_000).collect();
            let values: Vec<f64> = times.iter().map(|t| (t / 1_000_000) as f64).collect();
            pyramid.add(&times, &values);
        }
        pyramid
    }

    #[test]
    fn a_column_has_the_extremes_of_its_time() {
        let pyramid = fed(10);
        let level = Pyramid::level(10 * SECOND, 1000);
        let series = pyramid.series(level, 0, 10 * SECOND);
        assert_eq!(series.bucket_ns, 16_000_000);
        assert_eq!(series.first, 0);
        assert_eq!(series.columns[3], [48.0, 63.0]);
        assert_eq!(series.columns.len(), 625);
    }

    #[test]
    fn every_span_up_to_now_is_there_at_the_screens_resolution() {
        let pyramid = fed(100);
        for span in [SECOND, 7 * SECOND, 60 * SECOND, 100 * SECOND, 3600 * SECOND] {
            for width in [200, 1200, 4000] {
                let level = Pyramid::level(span, width);
                assert!(
                    pyramid.reaches(level, 100 * SECOND - span),
                    "{span} {width}"
                );
                let series = pyramid.series(level, 100 * SECOND - span, 100 * SECOND);
                assert!(series.columns.len() <= width.min(COLUMNS_MAX / 2) + 2);
            }
        }
        assert!(
            !pyramid.reaches(0, 90 * SECOND),
            "the finest level reaches back four seconds"
        );
    }

    #[test]
    fn what_is_missing_is_empty_and_what_is_nan_is_left_out() {
        let mut pyramid = Pyramid::default();
        pyramid.add(&[0, 500_000, 9_000_000], &[1.0, f64::NAN, 2.0]);
        let series = pyramid.series(0, 0, 9_000_000);
        assert_eq!(series.columns[0], [1.0, 1.0]);
        assert!(series.columns[1..9].iter().all(|column| column[0].is_nan()));
        assert_eq!(series.columns[9], [2.0, 2.0]);
    }

    #[test]
    fn a_pause_longer_than_the_ring_leaves_nothing_old_behind() {
        let mut pyramid = Pyramid::default();
        pyramid.add(&[0], &[1.0]);
        pyramid.add(&[3600 * SECOND], &[2.0]);
        let series = pyramid.series(0, 3599 * SECOND, 3600 * SECOND);
        assert!(
            series.columns[..series.columns.len() - 1]
                .iter()
                .all(|c| c[0].is_nan())
        );
        assert_eq!(series.columns.last(), Some(&[2.0, 2.0]));
        assert_eq!(pyramid.series(0, 0, SECOND).columns, Vec::<[f64; 2]>::new());
    }

    #[test]
    fn rows_are_folded_into_any_width() {
        let mut folding = Folding::new(0, 1000, 10);
        let times: Vec<i64> = (0..1000).collect();
        #[allow(clippy::cast_precision_loss)]
        let values: Vec<f64> = times.iter().map(|t| *t as f64).collect();
        folding.add(&times, &values);
        let series = folding.finish();
        assert_eq!(series.columns[9], [900.0, 999.0]);
        assert!(series.columns[10][0].is_nan());
    }
}
