//! Bins of time: statistics of every channel, one row a bin.
//!
//! **Always holds.** Only one bin of a channel is open at a time; what is finished is a row of numbers, and there are at
//! most [`CELLS_MAX`].

use std::collections::BTreeMap;

use anyhow::bail;

use super::select::Column;
use super::sink::{Batch, Cells, Sink};
use super::stat::{Running, Stat};
use crate::store::read::Rows;

/// Numbers held at most: 160 MB.
const CELLS_MAX: usize = 10_000_000;

/// Rows written at once.
const BATCH_ROWS: usize = 8192;

pub(super) struct Bins {
    every_ns: i64,
    stats: Vec<Stat>,
    /// By channel: the bin that is open.
    open: Vec<Option<(i64, Running)>>,
    /// By the bin's first time. The second number is 0, except where two runs have the same times because the clock
    /// was set back between them: then each has a row.
    rows: BTreeMap<(i64, u32), Vec<Option<f64>>>,
}

impl Bins {
    pub(super) fn new(every_ns: i64, stats: Vec<Stat>, channels: usize) -> Self {
        Self {
            every_ns,
            stats,
            open: vec![None; channels],
            rows: BTreeMap::new(),
        }
    }

    /// The output's columns.
    pub(super) fn columns(&self, channels: &[Column]) -> Vec<Column> {
        let of_channel = |channel: &Column| {
            let columns = self.stats.iter().map(|stat| Column {
                name: format!("{}.{}", channel.name, stat.name()),
                unit: if *stat == Stat::Count {
                    String::new()
                } else {
                    channel.unit.clone()
                },
                calibration: channel.calibration.clone(),
                is_count: *stat == Stat::Count,
            });
            columns.collect::<Vec<_>>()
        };
        channels.iter().flat_map(of_channel).collect()
    }

    /// Takes rows of a lane whose channels have these places.
    pub(super) fn push(&mut self, places: &[usize], rows: &Rows) -> anyhow::Result<()> {
        let every_ns = self.every_ns;
        let bin_of = |time_ns: i64| time_ns.saturating_sub(time_ns.rem_euclid(every_ns));
        let mut from = 0;
        while let Some(first_ns) = rows.times_ns.get(from) {
            let bin = bin_of(*first_ns);
            let rest = &rows.times_ns[from..];
            // Times rise.
            let to = from
                + rest
                    .partition_point(|time_ns| bin_of(*time_ns) <= bin)
                    .max(1);
            for (place, values) in places.iter().zip(&rows.columns) {
                let is_open = self.open[*place]
                    .as_ref()
                    .is_some_and(|(open, _)| *open == bin);
                if !is_open {
                    self.finish(*place)?;
                    self.open[*place] = Some((bin, Running::new(&self.stats)));
                }
                if let Some((_, running)) = &mut self.open[*place] {
                    running.add(&values[from..to]);
                }
            }
            from = to;
        }
        Ok(())
    }

    fn finish(&mut self, place: usize) -> anyhow::Result<()> {
        let Some((bin, running)) = self.open[place].take() else {
            return Ok(());
        };
        let count = self.stats.len();
        let cells = place * count..(place + 1) * count;
        let mut number = 0;
        while let Some(row) = self.rows.get(&(bin, number))
            && row[cells.clone()].iter().any(Option::is_some)
        {
            number += 1;
        }
        let width = self.open.len() * count;
        let row = self
            .rows
            .entry((bin, number))
            .or_insert_with(|| vec![None; width]);
        for (cell, stat) in row[cells].iter_mut().zip(&self.stats) {
            *cell = running.get(stat);
        }
        if self.rows.len() * width > CELLS_MAX {
            bail!(
                "this makes more than {CELLS_MAX} numbers: {} bins of {} channels with {count} statistics each, and \
                 more to come; take a longer --every, a shorter time, fewer channels or fewer statistics",
                self.rows.len(),
                self.open.len()
            );
        }
        Ok(())
    }

    /// Writes all bins, by time.
    pub(super) fn write(mut self, sink: &mut dyn Sink) -> anyhow::Result<u64> {
        for place in 0..self.open.len() {
            self.finish(place)?;
        }
        let rows: Vec<_> = self.rows.into_iter().collect();
        let width = self.open.len() * self.stats.len();
        for rows in rows.chunks(BATCH_ROWS) {
            let times_ns: Vec<i64> = rows.iter().map(|((bin, _), _)| *bin).collect();
            let columns: Vec<Vec<Option<f64>>> = (0..width)
                .map(|column| rows.iter().map(|(_, cells)| cells[column]).collect())
                .collect();
            sink.write(&Batch {
                times_ns: &times_ns,
                cells: columns.iter().map(|cells| Cells::Some(cells)).collect(),
            })?;
            if !sink.wants_more() {
                break;
            }
        }
        Ok(rows.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came, row by row.
    #[derive(Default)]
    struct Seen(Vec<(i64, Vec<Option<f64>>)>);

    impl Sink for Seen {
        fn write(&mut self, batch: &Batch<'_>) -> anyhow::Result<()> {
            for (row, time_ns) in batch.times_ns.iter().enumerate() {
                let cells = batch.cells.iter().map(|cells| cells.get(row));
                self.0.push((*time_ns, cells.collect()));
            }
            Ok(())
        }

        fn finish(&mut self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    fn bins_of(pushes: &[(usize, &[i64])]) -> Vec<(i64, Vec<Option<f64>>)> {
        let mut bins = Bins::new(10, vec![Stat::Count], 2);
        for (place, times_ns) in pushes {
            let rows = Rows {
                times_ns: times_ns.to_vec(),
                columns: vec![vec![1.0; times_ns.len()]],
            };
            bins.push(&[*place], &rows).expect("few bins");
        }
        let mut seen = Seen::default();
        bins.write(&mut seen).expect("rows");
        seen.0
    }

    #[test]
    fn lanes_meet_in_the_rows_of_their_bins() {
        let found = bins_of(&[(0, &[-1, 0, 9]), (0, &[9, 10]), (1, &[5, 25])]);
        let (one, two, three) = (Some(1.0), Some(2.0), Some(3.0));
        let expected = [
            (-10, vec![one, None]),
            (0, vec![three, one]),
            (10, vec![one, None]),
            (20, vec![None, one]),
        ];
        assert_eq!(found, expected);
        // A clock that was set back between two runs: each has its row.
        let found = bins_of(&[(0, &[0, 1, 15]), (0, &[2, 18, 19])]);
        let expected = [
            (0, vec![two, None]),
            (0, vec![one, None]),
            (10, vec![one, None]),
            (10, vec![two, None]),
        ];
        assert_eq!(found, expected);
        // The ends of time are no trouble.
        assert_eq!(bins_of(&[(0, &[i64::MIN, i64::MAX])]).len(), 2);
    }
}
