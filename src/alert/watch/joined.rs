//! A condition over channels of one or several lanes.
//!
//! It is evaluated at every sample of any of its channels, the others with their last value by then; before their
//! first they are not known. Channels of one lane come together, so a condition over one lane is evaluated with its
//! block. With several, samples wait until all lanes have come as far, and are then taken in order of time: so it does not
//! matter which came first. A lane that sends nothing is not waited for longer than whoever owns the rule says; what it
//! sends after that is late, is passed over, and counted.
//!
//! What NaN, infinities and gaps do in an expression stands in `docs/expressions.md`. While the condition is not known,
//! the rule's state stays as it is. If the time of one of several lanes steps back, its samples are late until it has
//! caught up.
//!
//! **Always holds.** Of each lane at most [`WAITING_MAX`] samples wait; then the oldest are evaluated, whether the other
//! lanes have come as far or not.

use super::super::Condition;
use super::super::machine::Verdict;
use crate::expression::{Column, Columns, Expression};

/// Channels of a rule at most.
pub(in crate::alert) const INPUTS_MAX: usize = 16;
/// Samples of a lane that wait at most: more than a second of the fastest source.
const WAITING_MAX: usize = 1 << 18;

#[derive(Debug, Clone)]
pub(in crate::alert) struct Joined {
    when: Evaluation,
    clear: Option<Evaluation>,
    inputs: Vec<Input>,
    streams: Vec<Stream>,
    /// Everything up to here has been evaluated.
    done_ns: i64,
    late: u64,
    moments: Vec<i64>,
    /// How far each stream has come in a merge.
    merged: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Evaluation {
    expression: Expression,
    /// For each of the expression's inputs, which one of the rule's it is.
    inputs: Vec<usize>,
    out: Vec<f64>,
}

#[derive(Debug, Clone)]
struct Input {
    place: (usize, usize),
    stream: usize,
    /// Values that wait, one for each of the stream's times.
    values: Vec<f64>,
    /// At each moment.
    aligned: Vec<f64>,
    last: f64,
}

/// The channels of one lane.
#[derive(Debug, Clone)]
struct Stream {
    times_ns: Vec<i64>,
    seen_ns: i64,
}

impl Joined {
    /// A condition for firing, and one for clearing, if that is another.
    pub(in crate::alert) fn new(when: &Condition, clear: Option<&Condition>) -> Self {
        let mut inputs: Vec<Input> = Vec::new();
        let mut evaluation = |condition: &Condition| {
            let places = condition.places.iter().map(|place| {
                let known = inputs.iter().position(|input| input.place == *place);
                known.unwrap_or_else(|| {
                    inputs.push(Input {
                        place: *place,
                        stream: 0,
                        values: Vec::new(),
                        aligned: Vec::new(),
                        last: f64::NAN,
                    });
                    inputs.len() - 1
                })
            });
            Evaluation {
                inputs: places.collect(),
                expression: (*condition.expression).clone(),
                out: Vec::new(),
            }
        };
        let when = evaluation(when);
        let clear = clear.map(&mut evaluation);
        Self {
            when,
            clear,
            inputs,
            streams: Vec::new(),
            done_ns: i64::MIN,
            late: 0,
            moments: Vec::new(),
            merged: Vec::new(),
        }
    }

    /// The channels, by their places, each once.
    pub(in crate::alert) fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        self.inputs.iter().map(|input| input.place)
    }

    /// Adds a lane, in which these of the channels come.
    pub(in crate::alert) fn add_stream(&mut self, inputs: &[usize]) -> usize {
        let stream = self.streams.len();
        for input in inputs {
            self.inputs[*input].stream = stream;
        }
        self.streams.push(Stream {
            times_ns: Vec::new(),
            seen_ns: i64::MIN,
        });
        self.merged.push(0);
        stream
    }

    /// Whether samples of one lane wait for those of another.
    pub(in crate::alert) fn joins(&self) -> bool {
        self.streams.len() > 1
    }

    /// Samples that came too late.
    pub(in crate::alert) fn late(&self) -> u64 {
        self.late
    }

    /// Takes a lane's samples: `len` of them, and `values` of each input that comes in it.
    pub(in crate::alert) fn take<'v>(
        &mut self,
        stream: usize,
        len: usize,
        time_ns: impl Fn(usize) -> i64,
        values: impl Fn(usize) -> &'v [f64],
    ) {
        let joins = self.joins();
        let lane = &mut self.streams[stream];
        let first = lane.times_ns.len();
        lane.times_ns.extend((0..len).map(time_ns));
        let mut on_time = 0;
        if joins {
            // Rising from what was seen on: what does not is late, wherever it stands in the block.
            let mut newest_ns = lane.seen_ns.max(self.done_ns);
            let times = &lane.times_ns[first..];
            on_time = times.partition_point(|time| *time <= newest_ns);
            if times[on_time..].windows(2).any(|pair| pair[0] >= pair[1]) {
                on_time = len;
            } else if let Some(last) = times[on_time..].last() {
                newest_ns = *last;
            }
            self.late += on_time as u64;
            lane.seen_ns = newest_ns;
            lane.times_ns.drain(first..first + on_time);
        } else if let Some(last) = lane.times_ns.last() {
            lane.seen_ns = *last;
        }
        for (place, input) in self.inputs.iter_mut().enumerate() {
            if input.stream == stream {
                input.values.extend_from_slice(&values(place)[on_time..len]);
            }
        }
    }

    /// Up to when samples can be evaluated: all lanes have come as far, or one of them waits with too many.
    pub(in crate::alert) fn complete_ns(&self) -> i64 {
        let seen = self.streams.iter().map(|lane| lane.seen_ns).min();
        let crowded = self
            .streams
            .iter()
            .filter(|lane| lane.times_ns.len() > WAITING_MAX);
        let crowded = crowded.map(|lane| lane.times_ns[lane.times_ns.len() - WAITING_MAX]);
        seen.unwrap_or(i64::MIN)
            .max(crowded.max().unwrap_or(i64::MIN))
    }

    /// Evaluates what there is up to a time; how many moments that were.
    pub(in crate::alert) fn evaluate(&mut self, up_to_ns: i64) -> usize {
        self.moments.clear();
        for input in &mut self.inputs {
            input.aligned.clear();
        }
        if self.joins() {
            self.merge(up_to_ns);
            self.done_ns = self.done_ns.max(up_to_ns);
        } else if let Some(lane) = self.streams.first() {
            self.moments.extend_from_slice(&lane.times_ns);
            self.merged[0] = lane.times_ns.len();
            for input in &mut self.inputs {
                input.aligned.extend_from_slice(&input.values);
            }
        }
        if !self.moments.is_empty() {
            let Self {
                when,
                clear,
                inputs,
                streams,
                merged,
                moments,
                ..
            } = self;
            for evaluation in std::iter::once(when).chain(clear) {
                evaluation.run(inputs, streams, merged, moments);
            }
        }
        for (lane, merged) in self.streams.iter_mut().zip(&self.merged) {
            lane.times_ns.drain(..*merged);
        }
        for input in &mut self.inputs {
            let merged = self.merged[input.stream];
            input.values.drain(..merged);
        }
        self.merged.fill(0);
        self.moments.len()
    }

    /// Takes all lanes' samples in order of time.
    fn merge(&mut self, up_to_ns: i64) {
        loop {
            let heads = self.streams.iter().zip(&self.merged);
            let next = heads.filter_map(|(lane, at)| lane.times_ns.get(*at)).min();
            let Some(moment) = next.copied().filter(|moment| *moment <= up_to_ns) else {
                return;
            };
            for input in &mut self.inputs {
                let (lane, at) = (&self.streams[input.stream], self.merged[input.stream]);
                if lane.times_ns.get(at) == Some(&moment) {
                    input.last = input.values[at];
                }
                input.aligned.push(input.last);
            }
            for (lane, at) in self.streams.iter().zip(&mut self.merged) {
                *at += usize::from(lane.times_ns.get(*at) == Some(&moment));
            }
            self.moments.push(moment);
        }
    }

    /// A moment of the last evaluation: its time, what it comes to, and the first channel's value.
    pub(in crate::alert) fn moment(&self, index: usize) -> (i64, Verdict, f64) {
        let when = self.when.out[index];
        let clear = self.clear.as_ref().map(|clear| clear.out[index]);
        let verdict = if when.is_nan() {
            Verdict::Unknown
        } else if when != 0.0 {
            Verdict::Bad
        } else if clear.is_none_or(|clear| clear == 1.0) {
            Verdict::Clear
        } else {
            Verdict::Between
        };
        let value = self
            .inputs
            .first()
            .map_or(f64::NAN, |input| input.aligned[index]);
        (self.moments[index], verdict, value)
    }
}

impl Evaluation {
    fn run(&mut self, inputs: &[Input], streams: &[Stream], merged: &[usize], moments: &[i64]) {
        let mut columns = [Column::default(); INPUTS_MAX];
        let count = self.inputs.len().min(INPUTS_MAX);
        for (column, place) in columns.iter_mut().zip(&self.inputs) {
            let input = &inputs[*place];
            let own = merged[input.stream];
            *column = Column {
                aligned: &input.aligned,
                times_ns: &streams[input.stream].times_ns[..own],
                values: &input.values[..own],
            };
        }
        self.out.resize(moments.len(), 0.0);
        let columns = Columns {
            times_ns: moments,
            inputs: &columns[..count],
        };
        self.expression.evaluate_columns(&columns, &mut self.out);
    }
}
