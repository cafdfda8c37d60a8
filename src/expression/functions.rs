//! The functions: their names, how they are written, and the rule that each follows.

use super::check::{Binary, Unary};
use super::state::Statistic;
use crate::compute::biquad::Shape;

/// What a function does with units.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// Same in as out.
    Same(Unary),
    /// Same in as out, points excepted.
    Linear(Unary),
    /// A plain number in and out.
    Plain(Unary),
    /// An angle or a plain number in, a plain number out.
    OfAngle(Unary),
    /// A plain number in, an angle out.
    ToAngle(Unary),
    /// The root.
    Root,
    /// Anything in, a sign out.
    Sign,
    /// Whether it is no NaN.
    Known,
    /// Two or more of a kind.
    Fold(Binary),
    /// Two of a kind, an angle out.
    ArcTangent2,
    /// `clamp(x, low, high)`
    Clamp,
    /// `if(condition, yes, no)`
    If,
    /// Statistics of a trailing window.
    Trailing(Statistic, StatisticUnit),
    /// The median of one.
    Median,
    /// The slope of one, or of the last two samples.
    Rate,
    /// `predict(x, ahead, window)`
    Predict,
    /// Time since the last sample.
    Age,
    /// A biquad.
    Filter(Shape),
    Integral,
    Derivative,
    Pi,
}

/// What a statistic of a value is measured in.
#[derive(Debug, Clone, Copy)]
pub(super) enum StatisticUnit {
    Same,
    Difference,
    /// Not of points.
    Linear,
    Plain,
}

/// A function, as it is known.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) rule: Rule,
    /// Fewest and most arguments.
    pub(super) arguments: (usize, usize),
    /// How it is written.
    pub(super) usage: &'static str,
}

const fn function(
    name: &'static str,
    rule: Rule,
    arguments: (usize, usize),
    usage: &'static str,
) -> Function {
    Function {
        name,
        rule,
        arguments,
        usage,
    }
}

/// Every function. A new one is a line here, and a rule if it follows none of those.
#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    function("abs", Rule::Linear(Unary::Absolute), (1, 1), "abs(x)"),
    function("sqrt", Rule::Root, (1, 1), "sqrt(x)"),
    function("exp", Rule::Plain(Unary::Exponential), (1, 1), "exp(x)"),
    function("ln", Rule::Plain(Unary::Logarithm), (1, 1), "ln(x)"),
    function("log10", Rule::Plain(Unary::Logarithm10), (1, 1), "log10(x)"),
    function("log2", Rule::Plain(Unary::Logarithm2), (1, 1), "log2(x)"),
    function("sin", Rule::OfAngle(Unary::Sine), (1, 1), "sin(x)"),
    function("cos", Rule::OfAngle(Unary::Cosine), (1, 1), "cos(x)"),
    function("tan", Rule::OfAngle(Unary::Tangent), (1, 1), "tan(x)"),
    function("asin", Rule::ToAngle(Unary::ArcSine), (1, 1), "asin(x)"),
    function("acos", Rule::ToAngle(Unary::ArcCosine), (1, 1), "acos(x)"),
    function("atan", Rule::ToAngle(Unary::ArcTangent), (1, 1), "atan(x)"),
    function("atan2", Rule::ArcTangent2, (2, 2), "atan2(y, x)"),
    function("sinh", Rule::Plain(Unary::HyperbolicSine), (1, 1), "sinh(x)"),
    function("cosh", Rule::Plain(Unary::HyperbolicCosine), (1, 1), "cosh(x)"),
    function("tanh", Rule::Plain(Unary::HyperbolicTangent), (1, 1), "tanh(x)"),
    function("floor", Rule::Same(Unary::Floor), (1, 1), "floor(x)"),
    function("ceil", Rule::Same(Unary::Ceiling), (1, 1), "ceil(x)"),
    function("round", Rule::Same(Unary::Round), (1, 1), "round(x)"),
    function("sign", Rule::Sign, (1, 1), "sign(x)"),
    function("known", Rule::Known, (1, 1), "known(x)"),
    function("least", Rule::Fold(Binary::Least), (2, 16), "least(a, b, …)"),
    function("greatest", Rule::Fold(Binary::Greatest), (2, 16), "greatest(a, b, …)"),
    function("hypot", Rule::Fold(Binary::Hypotenuse), (2, 16), "hypot(a, b, …)"),
    function("coalesce", Rule::Fold(Binary::Coalesce), (2, 16), "coalesce(a, b, …)"),
    function("clamp", Rule::Clamp, (3, 3), "clamp(x, low, high)"),
    function("if", Rule::If, (3, 3), "if(condition, yes, no)"),
    function("pi", Rule::Pi, (0, 0), "pi"),
    function("mean", Rule::Trailing(Statistic::Mean, StatisticUnit::Same), (2, 2), "mean(x, 200ms)"),
    function("min", Rule::Trailing(Statistic::Min, StatisticUnit::Same), (2, 2), "min(x, 200ms)"),
    function("max", Rule::Trailing(Statistic::Max, StatisticUnit::Same), (2, 2), "max(x, 200ms)"),
    function("sd", Rule::Trailing(Statistic::Deviation, StatisticUnit::Difference), (2, 2), "sd(x, 200ms)"),
    function("p2p", Rule::Trailing(Statistic::PeakToPeak, StatisticUnit::Difference), (2, 2), "p2p(x, 200ms)"),
    function("rms", Rule::Trailing(Statistic::Rms, StatisticUnit::Linear), (2, 2), "rms(x, 200ms)"),
    function("sum", Rule::Trailing(Statistic::Sum, StatisticUnit::Linear), (2, 2), "sum(x, 200ms)"),
    function("count", Rule::Trailing(Statistic::Count, StatisticUnit::Plain), (2, 2), "count(x, 200ms)"),
    function("median", Rule::Median, (2, 2), "median(x, 200ms)"),
    function("rate", Rule::Rate, (1, 2), "rate(x) or rate(x, 200ms)"),
    function("predict", Rule::Predict, (2, 3), "predict(x, 10s) or predict(x, 10s, 30s)"),
    function("age", Rule::Age, (1, 1), "age(x)"),
    function("lowpass", Rule::Filter(Shape::Low), (2, 3), "lowpass(x, 10 Hz) or lowpass(x, 10 Hz, 0.7)"),
    function("highpass", Rule::Filter(Shape::High), (2, 3), "highpass(x, 10 Hz) or highpass(x, 10 Hz, 0.7)"),
    function("bandpass", Rule::Filter(Shape::Band), (2, 3), "bandpass(x, 50 Hz, 5)"),
    function("notch", Rule::Filter(Shape::Notch), (2, 3), "notch(x, 50 Hz, 10)"),
    function("integral", Rule::Integral, (1, 1), "integral(x)"),
    function("derivative", Rule::Derivative, (1, 1), "derivative(x)"),
];

/// The names of all functions, and how each is written.
#[must_use]
pub fn functions() -> Vec<(&'static str, &'static str)> {
    FUNCTIONS
        .iter()
        .map(|function| (function.name, function.usage))
        .collect()
}
