//! What a plot shows, before it is drawn: channels over time, in panels, and marks.
//!
//! **Must not know.** Dots and pixels.

use super::bins::{Bins, Envelope};
use crate::clock::rfc3339;

/// A channel.
pub(in crate::cli) struct Series {
    pub(in crate::cli) name: String,
    pub(in crate::cli) unit: String,
    pub(in crate::cli) bins: Bins,
    /// Where its values are missing, sorted.
    pub(in crate::cli) breaks: Vec<(i64, i64)>,
}

impl Series {
    /// As a legend names it.
    pub(super) fn label(&self) -> String {
        let label = if self.unit.is_empty() {
            self.name.clone()
        } else {
            format!("{} [{}]", self.name, self.unit)
        };
        if self.bins.count == 0 {
            return format!("{label} (no values)");
        }
        label
    }
}

/// Something that happened.
pub(in crate::cli) struct Mark {
    pub(in crate::cli) from_ns: i64,
    pub(in crate::cli) to_ns: i64,
    pub(in crate::cli) is_alert: bool,
    pub(in crate::cli) text: String,
}

/// Channels over time.
pub(in crate::cli) struct Picture {
    pub(in crate::cli) from_ns: i64,
    pub(in crate::cli) to_ns: i64,
    pub(in crate::cli) series: Vec<Series>,
    pub(in crate::cli) marks: Vec<Mark>,
}

impl Picture {
    /// Channels that share an axis, by their places; with `each`, every one has its own.
    pub(super) fn panels(&self, each: bool) -> Vec<Vec<usize>> {
        let mut panels: Vec<Vec<usize>> = Vec::new();
        for (place, series) in self.series.iter().enumerate() {
            let unit = |panel: &Vec<usize>| self.series[panel[0]].unit == series.unit;
            match panels.iter_mut().find(|panel| !each && unit(panel)) {
                Some(panel) => panel.push(place),
                None => panels.push(vec![place]),
            }
        }
        panels
    }

    /// The columns of a channel.
    pub(super) fn columns(&self, place: usize, count: usize) -> Vec<Option<Envelope>> {
        let series = &self.series[place];
        let span = (self.from_ns, self.to_ns);
        series.bins.columns(span, count, &series.breaks)
    }

    /// Which of so many columns a time is in.
    pub(super) fn column_of(&self, time_ns: i64, count: usize) -> usize {
        let span = (i128::from(self.to_ns) - i128::from(self.from_ns)).max(1);
        let behind = (i128::from(time_ns) - i128::from(self.from_ns)).max(0);
        let column = behind * count as i128 / span;
        usize::try_from(column).map_or(count - 1, |column| column.min(count - 1))
    }

    /// The marks in words: how many of each.
    pub(super) fn marks_text(&self) -> String {
        let alerts = self.marks.iter().filter(|mark| mark.is_alert).count();
        let gaps = self.marks.len() - alerts;
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        format!(
            "! {alerts} alert{}, ~ {gaps} gap{}",
            plural(alerts),
            plural(gaps)
        )
    }

    /// First and last time.
    pub(super) fn ends(&self) -> (String, String) {
        (rfc3339(self.from_ns), rfc3339(self.to_ns))
    }
}

/// The lowest and the highest value, with some room.
pub(super) fn bounds<'a>(columns: impl Iterator<Item = &'a Option<Envelope>>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for envelope in columns.flatten() {
        low = low.min(envelope.min);
        high = high.max(envelope.max);
    }
    if low > high {
        return (0.0, 1.0);
    }
    // Halves first: the difference of two values need not be a value.
    let half = high / 2.0 - low / 2.0;
    let room = if half > 0.0 {
        half * 0.04
    } else {
        (low.abs() * 0.05).max(0.5)
    };
    (
        (low - room).max(f64::MIN / 2.0),
        (high + room).min(f64::MAX / 2.0),
    )
}

/// A value on an axis from `low` to `high`, as precise as the axis is.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn tick(value: f64, low: f64, high: f64) -> String {
    let span = (high / 2.0 - low / 2.0) * 2.0;
    let largest = low.abs().max(high.abs());
    if !(1e-4..1e7).contains(&largest) {
        return format!("{value:.3e}");
    }
    let decimals = (3.0 - span.log10().ceil()).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_as_precise_as_their_axis() {
        assert_eq!(tick(1.23456, 0.0, 5.0), "1.23");
        assert_eq!(tick(1234.56, 0.0, 2000.0), "1235");
        assert_eq!(tick(0.0, 0.0, 2e9), "0.000e0");
    }

    #[test]
    fn an_axis_has_room_also_around_a_constant() {
        assert_eq!(bounds([].iter()), (0.0, 1.0));
        let envelope = |value: f64| Envelope {
            min: value,
            max: value,
            first: value,
            last: value,
            first_ns: 0,
            last_ns: 0,
            is_broken: true,
        };
        let (low, high) = bounds([Some(envelope(3.0)), None].iter());
        assert!(low < 3.0 && high > 3.0);
        let (low, high) = bounds([Some(envelope(f64::MAX)), Some(envelope(f64::MIN))].iter());
        assert!(low.is_finite() && high.is_finite());
    }
}
