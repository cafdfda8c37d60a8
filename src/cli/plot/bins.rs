//! A channel, squeezed into so many columns that no peak is lost.
//!
//! Nobody knows beforehand how long a channel is, so it is read once, into bins that are made twice as wide whenever
//! they do not reach: never fewer than half of them are in use, and a column of the picture is several of them.
//!
//! **Must not know.** What is drawn with it.

/// Bins at most: several to a column of the widest picture.
const BINS_MAX: usize = 1 << 15;

/// Columns of a picture at most.
pub(in crate::cli) const COLUMNS_MAX: usize = BINS_MAX / 16;

/// The values in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Envelope {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) first: f64,
    pub(super) last: f64,
    pub(super) first_ns: i64,
    pub(super) last_ns: i64,
    /// No line leads to it from what is before.
    pub(super) is_broken: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    envelope: Option<Envelope>,
    /// NaN is the last that came: the line does not go on from here.
    ends_broken: bool,
}

impl Bin {
    fn join(self, later: Self) -> Self {
        let Some(mut second) = later.envelope else {
            return Self {
                envelope: self.envelope,
                ends_broken: self.ends_broken || later.ends_broken,
            };
        };
        let envelope = match self.envelope {
            // What breaks within a bin is narrower than a dot.
            Some(first) => Envelope {
                min: first.min.min(second.min),
                max: first.max.max(second.max),
                last: second.last,
                last_ns: second.last_ns,
                ..first
            },
            None => {
                second.is_broken |= self.ends_broken;
                second
            }
        };
        Self {
            envelope: Some(envelope),
            ends_broken: later.ends_broken,
        }
    }
}

/// A channel's values, in the order of their times.
#[derive(Debug)]
pub(in crate::cli) struct Bins {
    start_ns: i64,
    width_ns: i64,
    bins: Vec<Bin>,
    last_ns: i64,
    /// Values that are numbers.
    pub(super) count: u64,
}

impl Default for Bins {
    fn default() -> Self {
        Self {
            start_ns: 0,
            width_ns: 1,
            bins: Vec::new(),
            last_ns: i64::MIN,
            count: 0,
        }
    }
}

impl Bins {
    pub(in crate::cli) fn push(&mut self, time_ns: i64, value: f64) {
        if self.bins.is_empty() {
            self.start_ns = time_ns;
        }
        self.last_ns = self.last_ns.max(time_ns);
        let place = self.reach(time_ns);
        let bin = if value.is_finite() {
            self.count += 1;
            Bin {
                envelope: Some(Envelope {
                    min: value,
                    max: value,
                    first: value,
                    last: value,
                    first_ns: time_ns,
                    last_ns: time_ns,
                    is_broken: false,
                }),
                ends_broken: false,
            }
        } else {
            Bin {
                envelope: None,
                ends_broken: true,
            }
        };
        self.bins[place] = self.bins[place].join(bin);
    }

    /// The bin of a time, which is there when this returns.
    fn reach(&mut self, time_ns: i64) -> usize {
        loop {
            // A clock that was behind does not lead out of the picture.
            let behind = time_ns.saturating_sub(self.start_ns).max(0) / self.width_ns;
            let place = usize::try_from(behind).unwrap_or(usize::MAX);
            if place < BINS_MAX {
                if self.bins.len() <= place {
                    self.bins.resize(place + 1, Bin::default());
                }
                return place;
            }
            let pairs = self.bins.chunks(2);
            let joined = pairs.map(|pair| pair.iter().copied().fold(Bin::default(), Bin::join));
            self.bins = joined.collect();
            self.width_ns *= 2;
        }
    }

    /// The first time and the last.
    pub(in crate::cli) fn span(&self) -> Option<(i64, i64)> {
        (!self.bins.is_empty()).then_some((self.start_ns, self.last_ns))
    }

    /// The columns of a picture from `from_ns` to `to_ns`; `breaks`, sorted, are where values are missing.
    pub(super) fn columns(
        &self,
        (from_ns, to_ns): (i64, i64),
        count: usize,
        breaks: &[(i64, i64)],
    ) -> Vec<Option<Envelope>> {
        let mut columns = vec![Bin::default(); count];
        let span = i128::from(to_ns) - i128::from(from_ns);
        for (index, bin) in self.bins.iter().enumerate() {
            let middle = i128::from(self.start_ns)
                + i128::from(self.width_ns) * index as i128
                + i128::from(self.width_ns / 2);
            let place = (middle - i128::from(from_ns)) * count as i128 / span.max(1);
            let place = usize::try_from(place.max(0)).unwrap_or(0).min(count - 1);
            columns[place] = columns[place].join(*bin);
        }
        let mut ends_broken = false;
        let mut last_ns: Option<i64> = None;
        let mut envelopes = Vec::with_capacity(count);
        for column in columns {
            let envelope = column.envelope.map(|mut envelope| {
                let is_missing = last_ns.is_some_and(|last_ns| {
                    let next = breaks.partition_point(|(_, to)| *to <= last_ns);
                    breaks
                        .get(next)
                        .is_some_and(|(from, _)| *from < envelope.first_ns)
                });
                envelope.is_broken |= ends_broken || is_missing || last_ns.is_none();
                last_ns = Some(envelope.last_ns);
                envelope
            });
            ends_broken = column.ends_broken || (ends_broken && envelope.is_none());
            envelopes.push(envelope);
        }
        envelopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peak_is_lost_however_long_it_gets() {
        let mut bins = Bins::default();
        for index in 0..1_000_000 {
            let value = match index {
                123_456 => 1000.0,
                654_321 => -1000.0,
                _ => f64::from(index % 7),
            };
            bins.push(i64::from(index) * 1000, value);
        }
        let columns = bins.columns((0, 1_000_000_000), 200, &[]);
        assert!(columns.iter().all(Option::is_some));
        let find = |value: f64| {
            let has = |c: &Option<Envelope>| c.is_some_and(|c| c.min == value || c.max == value);
            columns.iter().position(has)
        };
        assert_eq!(find(1000.0), Some(24));
        assert_eq!(find(-1000.0), Some(130));
        assert!(
            columns
                .iter()
                .skip(1)
                .flatten()
                .all(|column| !column.is_broken)
        );
    }

    #[test]
    fn nan_and_gaps_break_the_line() {
        let mut bins = Bins::default();
        for index in 0..100 {
            let value = if index == 50 { f64::NAN } else { 1.0 };
            bins.push(index * 10, value);
        }
        let broken = |breaks: &[(i64, i64)]| {
            let columns = bins.columns((0, 1000), 100, breaks);
            let places = columns.iter().enumerate();
            let broken = places.filter(|(_, c)| c.is_some_and(|c| c.is_broken));
            broken.map(|(place, _)| place).collect::<Vec<_>>()
        };
        assert_eq!(broken(&[]), [0, 51]);
        assert_eq!(broken(&[(200, 210), (300, 310)]), [0, 21, 31, 51]);
        assert_eq!(bins.count, 99);
    }
}
