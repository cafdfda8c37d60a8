//! Rules tried on what was recorded: what would have fired, when, and for how long.
//!
//! A [`Material`] gives recorded samples in order; [`rehearse`] runs rules over them. To try rules on something
//! else is one file: a `Material`.
//!
//! **Always holds.** The same rules over the same samples give the same, whoever asks and however often: nothing here looks at
//! a clock. What a rule does here is what it does in a run, with these differences: a rule that waits for data waits
//! from the beginning of each run or of the range, and looks at the time of the other recorded samples instead of a clock;
//! no lane is too late for a rule that joins several; and no person acknowledged or silenced anything.
//!
//! **Must not know.** Who asks, and how it is shown.

mod capture;
mod decoded;
mod store;

use crate::alert::{Change, Column, Judge, Memory, Moved, RuleOptions, Silence};
use crate::config::plan::Plan;
use crate::pipeline::Names;
use crate::stage::statistics::summarize;

pub use capture::CaptureMaterial;
pub(crate) use decoded::Decoded;
pub use store::StoreMaterial;

/// Samples of one lane, consecutive.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    /// Which lane, by its place in [`Act::lanes`].
    pub lane: usize,
    /// UTC ns, rising.
    pub times_ns: Vec<i64>,
    /// A column for each of the lane's channels.
    pub columns: Vec<Vec<f64>>,
}

/// A stretch of recorded time through which rules keep what they know: a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// Its name.
    pub name: String,
    /// When it began, UTC ns.
    pub start_ns: i64,
    /// Its lanes: the channels in each, by their source and place in the plan.
    pub lanes: Vec<Vec<(usize, usize)>>,
}

/// Recorded samples.
pub trait Material {
    /// What went wrong while reading.
    type Error;

    /// The next run; `None` after the last.
    ///
    /// # Errors
    /// If it cannot be read.
    fn next_act(&mut self) -> Result<Option<Act>, Self::Error>;

    /// The next samples of the run, of the lane whose next sample is the oldest; `None` after the last. Of every lane
    /// they come in order of time.
    ///
    /// # Errors
    /// If they cannot be read.
    fn next_piece(&mut self) -> Result<Option<Piece>, Self::Error>;

    /// What comes next in this run is not older than this, UTC ns; `None` if nothing comes.
    fn next_ns(&self) -> Option<i64>;
}

/// What a rule did.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// The rule, by its place in the plan.
    pub rule: usize,
    /// In which run.
    pub act: String,
    /// What.
    pub moved: Moved,
    /// In words.
    pub message: String,
}

/// An alert from its firing on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// When it fired, UTC ns.
    pub fired_ns: i64,
    /// When it cleared; `None`: it had not at the end.
    pub cleared_ns: Option<i64>,
    /// How long it was an alert, up to the end of what was recorded, s.
    pub seconds: f64,
    /// The value that fired it.
    pub value: f64,
}

/// What came of a rehearsal.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Everything that rules did, by time.
    pub happenings: Vec<Happening>,
    /// The alerts of each rule, by its place in the plan.
    pub episodes: Vec<Vec<Episode>>,
    /// Rules whose channels were not recorded, in any run.
    pub missing: Vec<usize>,
    /// The first and the last sample looked at, UTC ns.
    pub span_ns: Option<(i64, i64)>,
    /// Samples looked at.
    pub samples: u64,
}

/// Runs a plan's rules over recorded samples.
///
/// # Errors
/// If they cannot be read.
pub fn rehearse<M: Material>(plan: &Plan, material: &mut M) -> Result<Outcome, M::Error> {
    let names = Names::of_plan(plan);
    let mut outcome = Outcome {
        episodes: vec![Vec::new(); plan.rules.len()],
        ..Outcome::default()
    };
    let mut seen = vec![false; plan.rules.len()];
    let mut memory = Memory::default();
    while let Some(act) = material.next_act()? {
        let mut stage = Rehearsal::new(&plan.rules, &plan.silences, &memory, &act);
        for (rule, watched) in stage.watched.iter().enumerate() {
            seen[rule] |= *watched;
        }
        let mut last_ns = act.start_ns;
        while let Some(piece) = material.next_piece()? {
            outcome.samples += (piece.times_ns.len() * piece.columns.len()) as u64;
            if let (Some(first), Some(last)) = (piece.times_ns.first(), piece.times_ns.last()) {
                let span = outcome.span_ns.get_or_insert((*first, *last));
                *span = (span.0.min(*first), span.1.max(*last));
                last_ns = last_ns.max(*last);
            }
            stage.look(&piece);
            if let Some(next_ns) = material.next_ns() {
                // What comes next is not late: samples at that very time may come.
                stage.pass(next_ns, next_ns.saturating_sub(1));
            }
        }
        stage.pass(last_ns, i64::MAX);
        for (name, state) in stage.judge.memories() {
            memory.rules.insert(name.to_owned(), state);
        }
        outcome
            .happenings
            .extend(stage.found.into_iter().map(|(rule, moved)| Happening {
                rule,
                act: act.name.clone(),
                message: names.rules[rule].message(&moved),
                moved,
            }));
    }
    // Rules do not wait for each other, so what they did comes out of order; of one rule it does not.
    outcome
        .happenings
        .sort_by_key(|happening| (happening.moved.time_ns, happening.rule));
    outcome.missing = (0..seen.len()).filter(|rule| !seen[*rule]).collect();
    outcome.draw_up();
    Ok(outcome)
}

impl Outcome {
    #[allow(clippy::cast_precision_loss)]
    fn draw_up(&mut self) {
        for happening in &self.happenings {
            let (episodes, moved) = (&mut self.episodes[happening.rule], &happening.moved);
            match moved.change {
                Change::Fired => episodes.push(Episode {
                    fired_ns: moved.time_ns,
                    cleared_ns: None,
                    seconds: 0.0,
                    value: moved.value,
                }),
                Change::Cleared => {
                    if let Some(episode) = episodes.last_mut() {
                        episode.cleared_ns = Some(moved.time_ns);
                    }
                }
                _ => {}
            }
        }
        let end_ns = self.span_ns.map_or(0, |span| span.1);
        for episode in self.episodes.iter_mut().flatten() {
            let until = episode.cleared_ns.unwrap_or(end_ns);
            episode.seconds = until.saturating_sub(episode.fired_ns).max(0) as f64 / 1e9;
        }
    }

    /// Whether a rule is an alert at the end.
    #[must_use]
    pub fn is_active(&self, rule: usize) -> bool {
        let last = self.episodes[rule].last();
        last.is_some_and(|episode| episode.cleared_ns.is_none())
    }
}

/// The rules in one run.
struct Rehearsal {
    judge: Judge,
    /// For each lane and column, the rules that look at it.
    columns: Vec<Vec<Vec<usize>>>,
    /// For each lane, the rules that join it: rule, lane of the rule, and the column of each of its channels.
    joins: Vec<Vec<(usize, usize, Vec<usize>)>>,
    /// Whether a rule's channels are there.
    watched: Vec<bool>,
    found: Vec<(usize, Moved)>,
}

impl Rehearsal {
    fn new(rules: &[RuleOptions], silences: &[Silence], memory: &Memory, act: &Act) -> Self {
        let mut judge = Judge::new(rules, silences, memory, act.start_ns);
        let mut watched = vec![false; rules.len()];
        let mut columns: Vec<Vec<Vec<usize>>> = Vec::new();
        for lane in &act.lanes {
            let of_channel = |place: &(usize, usize)| {
                let watching = (0..rules.len()).filter(|rule| rules[*rule].watches(*place));
                watching.collect::<Vec<usize>>()
            };
            columns.push(lane.iter().map(of_channel).collect());
        }
        for rule in columns.iter().flatten().flatten() {
            watched[*rule] = true;
        }
        let mut joins = vec![Vec::new(); act.lanes.len()];
        for (rule, watched) in watched.iter_mut().enumerate() {
            let places = judge.places(rule);
            let find = |place: &(usize, usize)| {
                act.lanes.iter().enumerate().find_map(|(lane, channels)| {
                    let column = channels.iter().position(|channel| channel == place)?;
                    Some((lane, column))
                })
            };
            let found: Option<Vec<(usize, usize)>> = places.iter().map(find).collect();
            // Without one of its channels a condition is never known.
            let Some(found) = found.filter(|found| !found.is_empty()) else {
                continue;
            };
            *watched = true;
            for (lane, join) in joins.iter_mut().enumerate() {
                let inputs: Vec<usize> = (0..found.len())
                    .filter(|input| found[*input].0 == lane)
                    .collect();
                if !inputs.is_empty() {
                    let of_rule = judge.add_lane(rule, &inputs);
                    join.push((rule, of_rule, found.iter().map(|f| f.1).collect()));
                }
            }
        }
        Self {
            judge,
            columns,
            joins,
            watched,
            found: Vec::new(),
        }
    }

    fn look(&mut self, piece: &Piece) {
        let Self {
            judge,
            columns,
            joins,
            found,
            ..
        } = self;
        if piece.times_ns.is_empty() {
            return;
        }
        let time_ns = |index: usize| piece.times_ns[index];
        for (watching, values) in columns[piece.lane].iter().zip(&piece.columns) {
            let summary = summarize(values);
            let column = Column {
                values,
                min: summary.min,
                max: summary.max,
            };
            judge.look(watching, &column, time_ns, |rule, _, moved| {
                found.push((rule, moved));
            });
        }
        for (rule, lane, of_input) in &joins[piece.lane] {
            judge.join(
                (*rule, *lane),
                piece.times_ns.len(),
                time_ns,
                |input| piece.columns[of_input[input]].as_slice(),
                |_, moved| found.push((*rule, moved)),
            );
        }
    }

    fn pass(&mut self, now_ns: i64, complete_ns: i64) {
        let found = &mut self.found;
        // A rule whose channel was not recorded waits for nothing.
        let watched = &self.watched;
        self.judge.tick(now_ns, complete_ns, |rule, moved| {
            if watched[rule] {
                found.push((rule, moved));
            }
        });
    }
}
