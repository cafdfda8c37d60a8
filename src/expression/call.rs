//! Calls of functions: what each wants, and what it gives.

use std::ops::Range;

use super::check::{Binary, Checked, Checker, Node, Type, Unary, binary, shown, unary};
use super::error::ExpressionError;
use super::functions::{FUNCTIONS, Rule, StatisticUnit};
use super::state::{State, Statistic};
use super::tree::Part;
use super::unit::Unit;
use crate::compute::biquad::{BUTTERWORTH, Biquad, Shape};
use crate::compute::calculus::{Derivative, Integral};
use crate::compute::median::Median;
use crate::compute::trailing::Trailing;

/// Samples that one function remembers at most, and where the rate is not known.
const HELD_MAX: usize = 1 << 18;
const HELD_UNKNOWN: usize = 1 << 15;
/// Samples that all functions of an expression remember at most: 80 bytes each.
const HELD_ALL_MAX: usize = 1 << 19;
/// Beyond so many samples in a moving median, it is work for another thread.
const MEDIAN_LIGHT: usize = 1024;
/// A median's window at most: a step moves half of it.
const MEDIAN_MAX: usize = 1 << 16;
/// So many sample periods without a sample are a gap.
const GAP_PERIODS: f64 = 10.0;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        name: &str,
        name_span: &Range<usize>,
        arguments: &[Part],
        span: &Range<usize>,
    ) -> Option<Checked> {
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            let names = FUNCTIONS.iter().map(|function| function.name);
            let near = crate::nearest::nearest(name, names.clone());
            let label = near.map_or_else(
                || "unknown".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let error =
                ExpressionError::new(name_span.clone(), format!("`{name}` is not known"), label);
            let known: Vec<&str> = names.collect();
            let help = format!(
                "a channel is written `source.channel`; functions are {}",
                known.join(", ")
            );
            self.wrong(error.with_help(help));
            return None;
        };
        let (fewest, most) = function.arguments;
        if !(fewest..=most).contains(&arguments.len()) {
            let wanted = if fewest == most {
                fewest.to_string()
            } else {
                format!("{fewest} to {most}")
            };
            let s = if (fewest, most) == (1, 1) { "" } else { "s" };
            let what = format!(
                "`{name}` takes {wanted} argument{s}, and has {}",
                arguments.len()
            );
            return self.fail(span, what, format!("as in `{}`", function.usage));
        }
        let (node, kind) = match function.rule {
            Rule::Known => {
                let (node, ..) = self.value(&arguments[0])?;
                (unary(Unary::Known, node), Type::Truth)
            }
            Rule::If => self.choice(arguments)?,
            rule => {
                let (node, unit) = self.valued(rule, arguments, span)?;
                (node, Type::Value(unit))
            }
        };
        Some(Checked {
            node,
            kind,
            span: span.clone(),
        })
    }

    fn valued(
        &mut self,
        rule: Rule,
        arguments: &[Part],
        span: &Range<usize>,
    ) -> Option<(Node, Unit)> {
        match rule {
            Rule::Pi => Some((Node::Constant(std::f64::consts::PI), Unit::one())),
            Rule::Same(operation) => {
                let (node, unit, _) = self.value(&arguments[0])?;
                Some((unary(operation, node), unit))
            }
            Rule::Linear(operation) => {
                let (node, unit, of) = self.value(&arguments[0])?;
                self.no_point(&unit, &of, "given its absolute value")?;
                Some((unary(operation, node), unit))
            }
            Rule::Plain(operation) => {
                let node = self.plain(&arguments[0])?;
                Some((unary(operation, node), Unit::one()))
            }
            Rule::OfAngle(operation) => {
                let (node, unit, of) = self.value(&arguments[0])?;
                let radian = Unit::parse("rad");
                let to = if unit.is_angle() { radian } else { Unit::one() };
                let node = self.converted(node, &unit, &to, &of)?;
                Some((unary(operation, node), Unit::one()))
            }
            Rule::ToAngle(operation) => {
                let node = self.plain(&arguments[0])?;
                Some((unary(operation, node), Unit::parse("rad")))
            }
            Rule::Root => {
                let (node, unit, of) = self.value(&arguments[0])?;
                self.no_point(&unit, &of, "given a root")?;
                let Some(root) = unit.root() else {
                    let what = format!("{} has no square root", shown(&unit));
                    return self.fail(&of, what, "its powers are odd");
                };
                // Of a plain number in percent, say, the root is that of the number.
                if unit.is_number() {
                    let node = self.converted(node, &unit, &Unit::one(), &of)?;
                    return Some((unary(Unary::Root, node), Unit::one()));
                }
                Some((unary(Unary::Root, node), root))
            }
            Rule::Sign => {
                let (node, unit, of) = self.value(&arguments[0])?;
                self.no_point(&unit, &of, "given a sign")?;
                Some((unary(Unary::Sign, node), Unit::one()))
            }
            Rule::Fold(operation) => {
                let (nodes, unit, first) = self.of_a_kind(arguments)?;
                if operation == Binary::Hypotenuse {
                    self.no_point(&unit, &first, "squared")?;
                }
                let node = nodes.into_iter().reduce(|a, b| binary(operation, a, b))?;
                Some((node, unit))
            }
            Rule::ArcTangent2 => {
                let (nodes, unit, first) = self.of_a_kind(arguments)?;
                self.no_point(&unit, &first, "divided")?;
                let node = nodes
                    .into_iter()
                    .reduce(|a, b| binary(Binary::ArcTangent2, a, b))?;
                Some((node, Unit::parse("rad")))
            }
            Rule::Clamp => {
                let (nodes, unit, _) = self.of_a_kind(arguments)?;
                let [x, low, high] = nodes.try_into().ok()?;
                let above = binary(Binary::Greatest, x, low);
                Some((binary(Binary::Least, above, high), unit))
            }
            rule => self.remembering(rule, arguments, span),
        }
    }

    fn plain(&mut self, part: &Part) -> Option<Node> {
        let (node, unit, span) = self.value(part)?;
        self.converted(node, &unit, &Unit::one(), &span)
    }

    /// Values of one kind, all in the first one's unit.
    fn of_a_kind(&mut self, arguments: &[Part]) -> Option<(Vec<Node>, Unit, Range<usize>)> {
        let checked: Vec<_> = arguments.iter().map(|part| self.value(part)).collect();
        let checked: Vec<_> = checked.into_iter().collect::<Option<_>>()?;
        let (_, unit, first) = checked.first().cloned()?;
        let nodes = checked
            .into_iter()
            .map(|(node, its, span)| self.converted(node, &its, &unit, &span));
        let nodes: Vec<Option<Node>> = nodes.collect();
        Some((nodes.into_iter().collect::<Option<_>>()?, unit, first))
    }

    fn choice(&mut self, arguments: &[Part]) -> Option<(Node, Type)> {
        let [condition, yes, no] = arguments else {
            return None;
        };
        let condition = self.truth(condition);
        let (yes, no) = (self.part(yes), self.part(no));
        let (condition, yes, no) = (condition?, yes?, no?);
        let (no_node, kind) = match (&yes.kind, no.kind) {
            (Type::Truth, Type::Truth) => (no.node, Type::Truth),
            (Type::Value(unit), Type::Value(other)) => {
                let node = self.converted(no.node, &other, unit, &no.span)?;
                (node, Type::Value(unit.clone()))
            }
            _ => {
                let what = "one choice is a condition, the other a value";
                return self.fail(&no.span, what, "both must be of a kind");
            }
        };
        let select = Node::Select {
            condition: Box::new(condition),
            yes: Box::new(yes.node),
            no: Box::new(no_node),
        };
        Some((select, kind))
    }

    fn remembering(
        &mut self,
        rule: Rule,
        arguments: &[Part],
        span: &Range<usize>,
    ) -> Option<(Node, Unit)> {
        let (node, unit, of) = self.value(&arguments[0])?;
        let rate_hz = match &node {
            Node::Channel(slot) => self.inputs[*slot].rate_hz,
            _ => self.channels.clock_rate_hz(),
        };
        #[allow(clippy::cast_possible_truncation)] // Saturates: never a gap.
        let gap_ns = rate_hz.map_or(i64::MAX, |hz| (GAP_PERIODS * 1e9 / hz) as i64);
        let (state, unit) = match rule {
            Rule::Trailing(statistic, result) => {
                let window_ns = self.duration(&arguments[1])?;
                let unit = match result {
                    StatisticUnit::Same => unit,
                    StatisticUnit::Difference => unit.of_difference(),
                    StatisticUnit::Plain => Unit::one(),
                    StatisticUnit::Linear => {
                        self.no_point(&unit, &of, "summed")?;
                        unit
                    }
                };
                let held = self.held(window_ns, rate_hz, HELD_MAX, &arguments[1].span)?;
                let window = Trailing::new(window_ns, held);
                (State::Trailing { window, statistic }, unit)
            }
            Rule::Median => {
                let window_ns = self.duration(&arguments[1])?;
                let held = self.held(window_ns, rate_hz, MEDIAN_MAX, &arguments[1].span)?;
                self.is_heavy |= held > MEDIAN_LIGHT;
                (State::Median(Median::new(window_ns, held)), unit)
            }
            Rule::Rate => {
                let unit = self.per_second(&unit, span)?;
                let state = match arguments.get(1) {
                    Some(window) => {
                        let window_ns = self.duration(window)?;
                        let held = self.held(window_ns, rate_hz, HELD_MAX, &window.span)?;
                        let window = Trailing::new(window_ns, held);
                        State::Trailing {
                            window,
                            statistic: Statistic::Slope,
                        }
                    }
                    None => {
                        let derivative = Derivative::new(gap_ns);
                        State::Derivative {
                            derivative,
                            value: f64::NAN,
                        }
                    }
                };
                (state, unit)
            }
            Rule::Predict => {
                let ahead_ns = self.duration(&arguments[1])?;
                let window = arguments.get(2).unwrap_or(&arguments[1]);
                let window_ns = self.duration(window)?;
                let held = self.held(window_ns, rate_hz, HELD_MAX, &window.span)?;
                let window = Trailing::new(window_ns, held);
                #[allow(clippy::cast_precision_loss)]
                let statistic = Statistic::Ahead(ahead_ns as f64 * 1e-9);
                (State::Trailing { window, statistic }, unit)
            }
            Rule::Age => (State::Age { last_ns: None }, Unit::parse("s")),
            Rule::Filter(shape) => {
                let filter = self.filter(shape, arguments, rate_hz, &of)?;
                let unit = match shape {
                    // What these let through of a constant is nothing: a difference.
                    Shape::High | Shape::Band => unit.of_difference(),
                    Shape::Low | Shape::Notch => unit,
                };
                (
                    State::Filter {
                        filter,
                        gap_ns,
                        last_ns: None,
                        value: f64::NAN,
                    },
                    unit,
                )
            }
            Rule::Integral => {
                self.no_point(&unit, &of, "integrated")?;
                let Some(unit) = unit.times(&Unit::parse("s"), 1) else {
                    return self.fail(span, "this unit has too high a power", "no such unit");
                };
                (
                    State::Integral {
                        integral: Integral::new(gap_ns),
                        value: 0.0,
                    },
                    unit,
                )
            }
            _ => {
                let unit = self.per_second(&unit, span)?;
                (
                    State::Derivative {
                        derivative: Derivative::new(gap_ns),
                        value: f64::NAN,
                    },
                    unit,
                )
            }
        };
        self.states.push(state);
        let state = self.states.len() - 1;
        Some((
            Node::State {
                state,
                of: Box::new(node),
            },
            unit,
        ))
    }

    fn per_second(&mut self, unit: &Unit, span: &Range<usize>) -> Option<Unit> {
        let found = unit.of_difference().times(&Unit::parse("s"), -1);
        if found.is_none() {
            self.wrong(ExpressionError::new(
                span.clone(),
                "this unit has too high a power",
                "no such unit",
            ));
        }
        found
    }

    /// An argument that must be a number written out, in some unit.
    fn constant(&mut self, part: &Part, unit: &Unit, wanted: &str) -> Option<f64> {
        let (node, its, span) = self.value(part)?;
        if its.conversion_to(unit).is_none() {
            let what = format!("{} is no {wanted}", shown(&its));
            let mut error = ExpressionError::new(span, what, format!("a {wanted} is expected"));
            if unit.is_time() && its.to_string() == "m" {
                error = error.with_help("`m` is the metre; a minute is `min`");
            }
            self.wrong(error);
            return None;
        }
        let node = self.converted(node, &its, unit, &span)?;
        match node {
            Node::Constant(x) if x.is_finite() && x > 0.0 => Some(x),
            Node::Constant(_) => self.fail(
                &span,
                format!("a {wanted} must be above 0"),
                "must be positive",
            ),
            _ => {
                let what = format!("this {wanted} must be a number written out");
                self.fail(&span, what, "not constant")
            }
        }
    }

    /// A duration, ns.
    #[allow(clippy::cast_possible_truncation)]
    fn duration(&mut self, part: &Part) -> Option<i64> {
        const LONGEST_S: f64 = 31_557_600.0;
        let seconds = self.constant(part, &Unit::parse("s"), "duration")?;
        if !(1e-9..=LONGEST_S).contains(&seconds) {
            let label = "1 ns to 1 year";
            return self.fail(
                &part.span,
                format!("a duration of {seconds} s is too much"),
                label,
            );
        }
        Some((seconds * 1e9).round() as i64)
    }

    fn filter(
        &mut self,
        shape: Shape,
        arguments: &[Part],
        rate_hz: Option<f64>,
        of: &Range<usize>,
    ) -> Option<Biquad> {
        let hz = self.constant(&arguments[1], &Unit::parse("Hz"), "frequency")?;
        let q = match arguments.get(2) {
            Some(part) => self.constant(part, &Unit::one(), "quality")?,
            None => BUTTERWORTH,
        };
        let Some(rate_hz) = rate_hz else {
            let what = "a filter needs to know the rate of what it filters";
            let error = ExpressionError::new(of.clone(), what, "its rate is not known");
            self.wrong(
                error.with_help("give the source its rate_hz, or the derived source its `every`"),
            );
            return None;
        };
        let filter = Biquad::new(shape, hz, q, rate_hz);
        if filter.is_none() {
            let what = format!("{hz} Hz is not below half the rate of {rate_hz} Hz");
            self.wrong(ExpressionError::new(
                arguments[1].span.clone(),
                what,
                "too high",
            ));
        }
        filter
    }

    /// How many samples a window must hold.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    fn held(
        &mut self,
        window_ns: i64,
        rate_hz: Option<f64>,
        most: usize,
        span: &Range<usize>,
    ) -> Option<usize> {
        let held = match rate_hz {
            // A quarter more: devices run a little fast, and jitter brings samples together.
            Some(hz) => (window_ns as f64 * 1e-9 * hz * 1.25).ceil() as usize + 16,
            None => HELD_UNKNOWN.min(most),
        };
        self.held_samples += held;
        if held > most || self.held_samples > HELD_ALL_MAX {
            let what = format!("this window holds some {held} samples");
            let label = format!("at most {most}, and {HELD_ALL_MAX} in one expression");
            let error = ExpressionError::new(span.clone(), what, label);
            self.wrong(
                error.with_help("let a [[window]] make fewer values first, and look at those"),
            );
            return None;
        }
        Some(held)
    }
}
