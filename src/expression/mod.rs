//! Expressions: a small typed language over channels, checked once and then run over whole columns.
//!
//! ```text
//! chamber.pressure > 2.5 bar and rate(chamber.pressure, 200ms) > 0.1 bar/s
//! sqrt(imu.ax^2 + imu.ay^2 + imu.az^2)
//! lowpass(furnace.heater, 2 Hz) - furnace.wall
//! ```
//!
//! [`Expression::compile`] reads a text ([`Channels`] knows the names), checks types and units, and makes a
//! program of it; [`Expression::evaluate_columns`] gives one value for each moment of a block. The language is described in
//! `docs/expressions.md`.
//!
//! **Always holds.** No text makes it panic, and a wrong one gives all mistakes that can be told, each with its bytes
//! within the text. Evaluation allocates nothing. What is evaluated depends on the samples, their times and their
//! order alone, not on how they are cut into blocks. NaN means "not known": it runs through arithmetic, and a
//! condition over it is neither true nor false. A division by zero gives what IEEE 754 says; a divisor that is always zero
//! is a mistake.
//!
//! **Must not know.** Stages, blocks, rules, the configuration.

mod call;
mod check;
mod error;
mod functions;
mod program;
mod state;
#[cfg(test)]
mod tests;
mod token;
mod tree;
mod unit;

pub use error::ExpressionError;
pub use functions::functions;
pub use unit::Unit;

use check::{Checker, Type};
use program::Program;
use state::State;

/// The longest expression, bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Who knows the channels.
pub trait Channels {
    /// A channel by its name, `source.channel`.
    fn find(&self, name: &str) -> Option<Channel>;

    /// All names, to say which was meant.
    fn names(&self) -> Vec<String>;

    /// How many moments a second the expression will be evaluated for, if that is known.
    fn clock_rate_hz(&self) -> Option<f64>;
}

/// A channel, as whoever knows it describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// A number that means something to whoever gave it; different channels have different ones.
    pub channel: usize,
    /// Its unit, UCUM.
    pub unit: String,
    /// Samples a second, if that is known.
    pub rate_hz: Option<f64>,
}

/// A channel that an expression reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its number, as [`Channels::find`] gave it.
    pub channel: usize,
    /// Samples a second, if that is known.
    pub rate_hz: Option<f64>,
}

/// What an expression is evaluated over.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// The moments to evaluate it for, UTC ns, rising.
    pub times_ns: &'a [i64],
    /// One for each of [`Expression::inputs`], in order.
    pub inputs: &'a [Column<'a>],
}

/// One input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Column<'a> {
    /// The channel's value at each of the moments.
    pub aligned: &'a [f64],
    /// The times of the channel's own samples since the last evaluation, up to the last moment: functions
    /// that remember follow these. Where the moments are the channel's own, the same as they.
    pub times_ns: &'a [i64],
    /// Those samples' values.
    pub values: &'a [f64],
}

/// An expression, ready to run, with what its functions remember.
#[derive(Clone)]
pub struct Expression {
    inputs: Vec<Input>,
    unit: Option<Unit>,
    states: Vec<State>,
    program: Program,
    is_heavy: bool,
}

impl Expression {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// What is wrong with it, by the order of the text. What is no expression at all has one mistake; of
    /// one that is, all are told.
    pub fn compile(text: &str, channels: &dyn Channels) -> Result<Self, Vec<ExpressionError>> {
        let error = |span: std::ops::Range<usize>, what: &str, label: &str| {
            vec![ExpressionError::new(span, what, label)]
        };
        if text.len() > TEXT_BYTES_MAX {
            let label = format!("at most {TEXT_BYTES_MAX} bytes");
            return Err(error(0..text.len(), "the expression is too long", &label));
        }
        let knows = |name: &str| channels.find(name).is_some();
        let tokens = token::tokens(text, &knows).map_err(|error| vec![error])?;
        let part = tree::parse(&tokens, text.len()).map_err(|error| vec![error])?;
        let mut checker = Checker {
            channels,
            inputs: Vec::new(),
            states: Vec::new(),
            errors: Vec::new(),
            is_heavy: false,
            held_samples: 0,
        };
        let checked = checker.part(&part);
        let mut errors = checker.errors;
        errors.sort_by_key(|error| (error.span.start, error.span.end));
        let Some(checked) = checked.filter(|_| errors.is_empty()) else {
            return Err(errors);
        };
        if checker.inputs.is_empty() {
            let what = "the expression looks at no channel";
            return Err(error(0..text.len(), what, "it would always be the same"));
        }
        let unit = match checked.kind {
            Type::Truth => None,
            Type::Value(unit) => Some(unit),
        };
        Ok(Self {
            program: Program::new(&checked.node, checker.states.len()),
            inputs: checker.inputs,
            unit,
            states: checker.states,
            is_heavy: checker.is_heavy,
        })
    }

    /// The channels that a text names, whether or not it is right; `knows` says whether a name is a channel's.
    pub fn names(text: &str, knows: &dyn Fn(&str) -> bool) -> Vec<String> {
        let tokens = token::tokens(text, knows).unwrap_or_default();
        let name = |placed: token::Placed| match placed.token {
            token::Token::Channel(name) => Some(name),
            _ => None,
        };
        tokens.into_iter().filter_map(name).collect()
    }

    /// The channels it reads, each once.
    #[must_use]
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The unit of its values; `None` for a condition.
    #[must_use]
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// Whether it is a condition: its values are 1, 0, and NaN for "not known".
    #[must_use]
    pub fn is_condition(&self) -> bool {
        self.unit.is_none()
    }

    /// Whether it takes so long that nothing urgent should wait for it.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        self.is_heavy
    }

    /// Whether any of its functions remembers what came before.
    #[must_use]
    pub fn remembers(&self) -> bool {
        !self.states.is_empty()
    }

    /// Samples that left a trailing window before their time, because more came than its bound holds.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.states.iter().map(State::evicted_early).sum()
    }

    /// One value for each moment, as many as `out` has room for.
    ///
    /// # Panics
    /// If there are fewer columns than inputs, or an aligned column is shorter than the moments: mistakes of the caller.
    pub fn evaluate_columns(&mut self, columns: &Columns<'_>, out: &mut [f64]) {
        self.program.run(&mut self.states, columns, out);
    }
}

impl std::fmt::Debug for Expression {
    /// Without what it remembers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expression")
            .field("inputs", &self.inputs)
            .field("unit", &self.unit.as_ref().map(ToString::to_string))
            .finish_non_exhaustive()
    }
}
