//! Alignment: streams with times of their own, brought to common moments.
//!
//! The moments are the times of one of the streams, or a fixed step counted from the epoch. A moment is handed out once
//! every stream is known up to it (its watermark), so the result follows from the samples' times, not from the order in
//! which they came.
//!
//! **At a moment** a stream has its last value not after it (`last`), or what lies on the line between that and the next
//! (`linear`); NaN before its first sample, and where the value, or the two that the line joins, are further away
//! than the hold.
//!
//! **Always holds.** A stream holds at most [`HELD_MAX`] frames. If it is full because another stream lags, the other is
//! no longer waited for, which is counted; what then comes for moments that have passed is late, and counted.
//!
//! **Must not know.** What is done with the values.

/// Frames that wait in one stream at most: two and a half seconds of 100 kHz.
pub const HELD_MAX: usize = 1 << 18;

/// What a stream's value is between two of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alignment {
    /// The last one.
    #[default]
    Last,
    /// On the line between both.
    Linear,
}

impl Alignment {
    /// All of them with their names in the configuration.
    pub const NAMES: [(&'static str, Alignment); 2] =
        [("last", Self::Last), ("linear", Self::Linear)];
}

/// Where the moments come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moments {
    /// The times of a stream.
    Stream(usize),
    /// Multiples of so many ns, from the first stream's first sample on.
    Every(i64),
}

/// One stream, as far as it has come.
#[derive(Debug)]
struct Stream {
    times_ns: Vec<i64>,
    values: Vec<Vec<f64>>,
    /// Frames before this one are done with.
    head: usize,
    /// The last frame done with.
    held: Option<i64>,
    held_values: Vec<f64>,
    /// No frame before this time will come.
    watermark_ns: i64,
    /// Nobody waits for a next sample before this time.
    given_up_ns: i64,
}

/// Streams on their way to common moments.
#[derive(Debug)]
pub struct Join {
    streams: Vec<Stream>,
    moments: Moments,
    alignment: Alignment,
    hold_ns: i64,
    next_ns: Option<i64>,
    /// Of the moments at hand: the times, and each stream's columns.
    times_ns: Vec<i64>,
    aligned: Vec<Vec<Vec<f64>>>,
    /// Frames of each stream that these moments use up.
    used: Vec<usize>,
    late_frames: u64,
    given_up: u64,
}

impl Join {
    /// Streams of so many columns each; a batch is of `batch` moments at most.
    #[must_use]
    pub fn new(
        columns: &[usize],
        moments: Moments,
        alignment: Alignment,
        hold_ns: i64,
        batch: usize,
    ) -> Self {
        let stream = |columns: &usize| Stream {
            times_ns: Vec::new(),
            values: vec![Vec::new(); *columns],
            head: 0,
            held: None,
            held_values: vec![f64::NAN; *columns],
            watermark_ns: i64::MIN,
            given_up_ns: i64::MIN,
        };
        Self {
            streams: columns.iter().map(stream).collect(),
            moments,
            alignment,
            hold_ns,
            next_ns: None,
            times_ns: Vec::with_capacity(batch),
            aligned: columns
                .iter()
                .map(|columns| vec![Vec::with_capacity(batch); *columns])
                .collect(),
            used: vec![0; columns.len()],
            late_frames: 0,
            given_up: 0,
        }
    }

    /// Frames that came for moments that had passed.
    #[must_use]
    pub fn late_frames(&self) -> u64 {
        self.late_frames
    }

    /// Times a stream was no longer waited for because another was full.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Takes frames of a stream.
    pub fn push<'v>(
        &mut self,
        stream: usize,
        times_ns: &[i64],
        column: impl Fn(usize) -> &'v [f64],
    ) {
        let own = &mut self.streams[stream];
        // Up to there the moments may have been handed out.
        let late = times_ns.partition_point(|time_ns| *time_ns <= own.given_up_ns);
        self.late_frames += late as u64;
        own.times_ns.extend_from_slice(&times_ns[late..]);
        for (place, values) in own.values.iter_mut().enumerate() {
            values.extend_from_slice(&column(place)[late..]);
        }
        if let Some(last_ns) = times_ns.last() {
            own.watermark_ns = own.watermark_ns.max(*last_ns);
        }
        if self.streams[stream].waiting() > HELD_MAX {
            let reached_ns = self.streams[stream].watermark_ns;
            self.given_up += 1;
            for place in 0..self.streams.len() {
                self.give_up(place, reached_ns);
            }
        }
    }

    /// No frame of a stream before this time will come.
    pub fn advance(&mut self, stream: usize, watermark_ns: i64) {
        let own = &mut self.streams[stream];
        own.watermark_ns = own.watermark_ns.max(watermark_ns);
    }

    /// No frame of a stream before this time is waited for, also none that a line would go to.
    pub fn give_up(&mut self, stream: usize, watermark_ns: i64) {
        self.advance(stream, watermark_ns);
        let own = &mut self.streams[stream];
        own.given_up_ns = own.given_up_ns.max(watermark_ns);
    }

    /// Up to where every moment can be handed out.
    #[must_use]
    pub fn reached_ns(&self) -> i64 {
        let reached = |(place, stream): (usize, &Stream)| {
            let is_clock = self.moments == Moments::Stream(place);
            if self.alignment == Alignment::Last || is_clock {
                return stream.watermark_ns;
            }
            // A line needs its other end.
            let last_ns = stream.times_ns.last().copied().or(stream.held);
            last_ns.unwrap_or(i64::MIN).max(stream.given_up_ns)
        };
        let streams = self.streams.iter().enumerate();
        streams.map(reached).min().unwrap_or(i64::MIN)
    }

    /// Prepares the next batch of moments; whether there is any. Ask for its columns, then say [`Join::done`].
    pub fn take_batch(&mut self) -> bool {
        let reached_ns = self.reached_ns();
        self.take_moments(reached_ns);
        let Some(last_ns) = self.times_ns.last().copied() else {
            self.trim();
            return false;
        };
        for (place, stream) in self.streams.iter().enumerate() {
            let waiting = &stream.times_ns[stream.head..];
            self.used[place] = waiting.partition_point(|time_ns| *time_ns <= last_ns);
            let (alignment, hold_ns) = (self.alignment, self.hold_ns);
            for (column, aligned) in self.aligned[place].iter_mut().enumerate() {
                stream.align(column, &self.times_ns, (alignment, hold_ns), aligned);
            }
        }
        true
    }

    fn take_moments(&mut self, reached_ns: i64) {
        self.times_ns.clear();
        let batch = self.times_ns.capacity();
        match self.moments {
            Moments::Stream(place) => {
                let stream = &self.streams[place];
                let waiting = &stream.times_ns[stream.head..];
                let ready = waiting.partition_point(|time_ns| *time_ns <= reached_ns);
                self.times_ns
                    .extend_from_slice(&waiting[..ready.min(batch)]);
            }
            Moments::Every(step_ns) => {
                if self.next_ns.is_none() {
                    let first = self.streams.first().and_then(|s| s.times_ns.first());
                    self.next_ns = first.map(|first_ns| round_up(*first_ns, step_ns));
                }
                let Some(mut next_ns) = self.next_ns else {
                    return;
                };
                while next_ns <= reached_ns && self.times_ns.len() < batch {
                    if self
                        .streams
                        .iter()
                        .any(|stream| stream.has_at(next_ns, self.hold_ns))
                    {
                        self.times_ns.push(next_ns);
                        next_ns += step_ns;
                        continue;
                    }
                    // Nothing is known of any stream here: on to where something is.
                    let after = self
                        .streams
                        .iter()
                        .filter_map(|stream| stream.first_after(next_ns));
                    match after.min() {
                        Some(after_ns) if after_ns <= reached_ns => {
                            next_ns = round_up(after_ns, step_ns).max(next_ns + step_ns);
                        }
                        _ => {
                            next_ns = round_up(reached_ns.saturating_add(1), step_ns);
                        }
                    }
                }
                self.next_ns = Some(next_ns);
            }
        }
    }

    /// The moments of the batch.
    #[must_use]
    pub fn times_ns(&self) -> &[i64] {
        &self.times_ns
    }

    /// A column at these moments.
    #[must_use]
    pub fn aligned(&self, stream: usize, column: usize) -> &[f64] {
        &self.aligned[stream][column]
    }

    /// The stream's own frames since the last batch, up to the last moment: their times and a column.
    #[must_use]
    pub fn own(&self, stream: usize, column: usize) -> (&[i64], &[f64]) {
        let own = &self.streams[stream];
        let range = own.head..own.head + self.used[stream];
        (&own.times_ns[range.clone()], &own.values[column][range])
    }

    /// The batch is done with.
    pub fn done(&mut self) {
        for (stream, used) in self.streams.iter_mut().zip(&mut self.used) {
            stream.pass(std::mem::take(used));
        }
    }

    /// Where no moment comes, frames of the others must not pile up for ever: the oldest go.
    fn trim(&mut self) {
        for stream in &mut self.streams {
            let waiting = stream.waiting();
            if waiting > HELD_MAX {
                self.late_frames += (waiting - HELD_MAX / 2) as u64;
                stream.pass(waiting - HELD_MAX / 2);
            }
        }
    }
}

impl Stream {
    fn waiting(&self) -> usize {
        self.times_ns.len() - self.head
    }

    fn pass(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.head += count;
        let last = self.head - 1;
        self.held = Some(self.times_ns[last]);
        for (held, values) in self.held_values.iter_mut().zip(&self.values) {
            *held = values[last];
        }
        // Moved to the front when that costs less than it frees.
        if self.head * 2 >= self.times_ns.len() {
            self.times_ns.drain(..self.head);
            for values in &mut self.values {
                values.drain(..self.head);
            }
            self.head = 0;
        }
    }

    /// Whether there is a value at a moment.
    fn has_at(&self, now_ns: i64, hold_ns: i64) -> bool {
        let waiting = &self.times_ns[self.head..];
        let after = waiting.partition_point(|time_ns| *time_ns <= now_ns);
        let last = after
            .checked_sub(1)
            .map(|place| waiting[place])
            .or(self.held);
        last.is_some_and(|last_ns| now_ns.saturating_sub(last_ns) <= hold_ns)
    }

    fn first_after(&self, now_ns: i64) -> Option<i64> {
        let waiting = &self.times_ns[self.head..];
        let after = waiting.partition_point(|time_ns| *time_ns <= now_ns);
        waiting.get(after).copied()
    }

    #[allow(clippy::cast_precision_loss)]
    fn align(
        &self,
        column: usize,
        moments_ns: &[i64],
        (alignment, hold_ns): (Alignment, i64),
        out: &mut Vec<f64>,
    ) {
        out.clear();
        let (times_ns, values) = (
            &self.times_ns[self.head..],
            &self.values[column][self.head..],
        );
        let mut next = 0;
        for now_ns in moments_ns {
            while next < times_ns.len() && times_ns[next] <= *now_ns {
                next += 1;
            }
            let before = match next.checked_sub(1) {
                Some(last) => Some((times_ns[last], values[last])),
                None => self.held.map(|held_ns| (held_ns, self.held_values[column])),
            };
            let value = before.map_or(f64::NAN, |(before_ns, value)| {
                if before_ns == *now_ns {
                    return value;
                }
                match alignment {
                    Alignment::Last if now_ns.saturating_sub(before_ns) <= hold_ns => value,
                    Alignment::Linear => {
                        let after = times_ns.get(next).zip(values.get(next));
                        after.map_or(f64::NAN, |(after_ns, after)| {
                            let whole_ns = after_ns.saturating_sub(before_ns);
                            if whole_ns > hold_ns {
                                return f64::NAN;
                            }
                            let part = (now_ns - before_ns) as f64 / whole_ns as f64;
                            value + (after - value) * part
                        })
                    }
                    Alignment::Last => f64::NAN,
                }
            });
            out.push(value);
        }
    }
}

/// The first multiple of a step that is not before a time.
fn round_up(time_ns: i64, step_ns: i64) -> i64 {
    let rest = time_ns.rem_euclid(step_ns);
    if rest == 0 {
        time_ns
    } else {
        time_ns.saturating_add(step_ns - rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAN: f64 = f64::NAN;

    fn join(moments: Moments, alignment: Alignment, hold_ns: i64) -> Join {
        Join::new(&[1, 1], moments, alignment, hold_ns, 64)
    }

    /// Everything that can be had: moments, and both streams at them.
    fn all(join: &mut Join) -> Vec<(i64, f64, f64)> {
        let mut rows = Vec::new();
        while join.take_batch() {
            let both = join.aligned(0, 0).iter().zip(join.aligned(1, 0));
            rows.extend(
                join.times_ns()
                    .iter()
                    .zip(both)
                    .map(|(t, (a, b))| (*t, *a, *b)),
            );
            join.done();
        }
        rows
    }

    fn same(found: &[(i64, f64, f64)], expected: &[(i64, f64, f64)]) -> bool {
        let bits = |rows: &[(i64, f64, f64)]| {
            rows.iter()
                .map(|(t, a, b)| (*t, a.to_bits(), b.to_bits()))
                .collect::<Vec<_>>()
        };
        bits(found) == bits(expected)
    }

    #[test]
    fn a_moment_waits_until_every_stream_is_known() {
        let mut join = join(Moments::Stream(0), Alignment::Last, 100);
        join.push(0, &[10, 20, 30], |_| &[1.0, 2.0, 3.0]);
        assert!(all(&mut join).is_empty());
        join.push(1, &[15, 22], |_| &[7.0, 8.0]);
        assert!(same(&all(&mut join), &[(10, 1.0, NAN), (20, 2.0, 7.0)]));
        join.advance(1, 30);
        assert!(same(&all(&mut join), &[(30, 3.0, 8.0)]));
    }

    #[test]
    fn a_line_waits_for_its_other_end_and_does_not_bridge_a_gap() {
        let mut join = join(Moments::Stream(0), Alignment::Linear, 10);
        join.push(0, &[10, 20, 30, 40], |_| &[1.0, 2.0, 3.0, 4.0]);
        join.push(1, &[8, 18, 28], |_| &[0.0, 10.0, 20.0]);
        join.advance(1, 40);
        assert!(same(&all(&mut join), &[(10, 1.0, 2.0), (20, 2.0, 12.0)]));
        join.push(1, &[60], |_| &[0.0]);
        assert!(same(&all(&mut join), &[(30, 3.0, NAN), (40, 4.0, NAN)]));
    }

    #[test]
    fn a_value_is_held_for_so_long_and_no_longer() {
        let mut join = join(Moments::Every(10), Alignment::Last, 15);
        join.push(0, &[5], |_| &[1.0]);
        join.push(1, &[5], |_| &[2.0]);
        for stream in [0, 1] {
            join.give_up(stream, 1_000_000_000);
        }
        assert!(same(&all(&mut join), &[(10, 1.0, 2.0), (20, 1.0, 2.0)]));
        join.push(0, &[2_000_000_003], |_| &[3.0]);
        join.push(1, &[2_000_000_003], |_| &[4.0]);
        join.give_up(0, 2_000_000_020);
        join.give_up(1, 2_000_000_020);
        assert_eq!(all(&mut join).first(), Some(&(2_000_000_010, 3.0, 4.0)));
    }

    #[test]
    fn what_comes_too_late_is_counted() {
        let mut join = join(Moments::Stream(0), Alignment::Last, 100);
        join.push(0, &[10, 20], |_| &[1.0, 2.0]);
        join.give_up(1, 20);
        assert_eq!(all(&mut join).len(), 2);
        join.push(1, &[15, 25], |_| &[7.0, 8.0]);
        assert_eq!(join.late_frames(), 1);
    }

    #[test]
    fn a_stream_that_lags_is_given_up_when_another_is_full() {
        let mut join = join(Moments::Stream(0), Alignment::Last, 100);
        let values = vec![0.0; 4096];
        let mut rows = 0;
        for block in 0..80_i64 {
            let times: Vec<i64> = (0..4096).map(|i| block * 4096 + i).collect();
            join.push(0, &times, |_| &values);
            rows += all(&mut join).len();
            assert!(join.streams[0].times_ns.len() <= HELD_MAX + 4096);
        }
        assert!(rows > 0 && join.given_up() > 0);
        // Without moments, what waits for them goes.
        let mut join = Join::new(&[1, 1], Moments::Stream(1), Alignment::Last, 100, 64);
        for block in 0..200_i64 {
            let times: Vec<i64> = (0..4096).map(|i| block * 4096 + i).collect();
            join.push(0, &times, |_| &values);
            assert!(all(&mut join).is_empty());
            assert!(join.streams[0].waiting() <= HELD_MAX + 4096);
        }
        assert!(join.late_frames() > 0);
    }

    proptest! {
        /// Whichever stream's frames come first, and however they are cut.
        #[test]
        fn the_order_of_arrival_does_not_matter(
            a in proptest::collection::vec((1..20_i64, -9..9_i32), 1..60),
            b in proptest::collection::vec((1..50_i64, -9..9_i32), 1..60),
            turns in proptest::collection::vec((any::<bool>(), 1..5_usize), 1..80),
            linear in any::<bool>(), every in any::<bool>(),
        ) {
            let dated = |steps: &[(i64, i32)]| -> (Vec<i64>, Vec<f64>) {
                let mut now = 0;
                steps.iter().map(|(step, v)| { now += step; (now, f64::from(*v)) }).unzip()
            };
            let streams = [dated(&a), dated(&b)];
            let alignment = if linear { Alignment::Linear } else { Alignment::Last };
            let moments = if every { Moments::Every(7) } else { Moments::Stream(0) };
            let run = |turns: &[(bool, usize)]| {
                let mut join = join(moments, alignment, 40);
                let (mut at, mut rows) = ([0, 0], Vec::new());
                for (which, count) in turns.iter().chain([(false, 100), (true, 100)].iter()) {
                    let stream = usize::from(*which);
                    let (times, values) = &streams[stream];
                    let (from, to) = (at[stream], times.len().min(at[stream] + count));
                    at[stream] = to;
                    join.push(stream, &times[from..to], |_| &values[from..to]);
                    rows.extend(all(&mut join));
                }
                for stream in [0, 1] {
                    join.give_up(stream, i64::MAX / 2);
                    // The end: no more than this can be asked for.
                }
                rows.extend(all(&mut join));
                rows
            };
            let (found, expected) = (run(&turns), run(&[]));
            prop_assert!(same(&found, &expected), "{:?}\n{:?}", found, expected);
        }
    }
}
