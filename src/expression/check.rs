//! From the tree to one whose types and units are right, with every conversion written out.
//!
//! Values stay in the units they come in, as long as units differ in nothing: so `p > 2.5 bar` over a channel in
//! bar compares the device's own numbers. Where two operands differ in scale, the right one is converted to the left
//! one's unit.

use std::ops::Range;

use super::error::ExpressionError;
use super::state::State;
use super::tree::{Kind, Part};
use super::unit::Unit;
use super::{Channels, Input};

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Truth,
    Value(Unit),
}

/// One operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub(super) enum Unary {
    Negate, Not, Known, Absolute, Root, Exponential, Logarithm, Logarithm10, Logarithm2, Sine, Cosine, Tangent,
    ArcSine, ArcCosine, ArcTangent, HyperbolicSine, HyperbolicCosine, HyperbolicTangent, Floor, Ceiling, Round, Sign,
}

/// Two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[rustfmt::skip]
pub(super) enum Binary {
    Add, Subtract, Multiply, Divide, Remainder, Power, Less, LessEqual, Greater, GreaterEqual, Equal, NotEqual,
    And, Or, Least, Greatest, Hypotenuse, ArcTangent2, Coalesce,
}

/// A checked tree.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(f64),
    /// A channel, by its place among the inputs.
    Channel(usize),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    /// `x * scale + offset`.
    Affine {
        of: Box<Node>,
        scale: f64,
        offset: f64,
    },
    Select {
        condition: Box<Node>,
        yes: Box<Node>,
        no: Box<Node>,
    },
    /// A function that remembers, by its place among the states.
    State {
        state: usize,
        of: Box<Node>,
    },
}

/// A checked part.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) node: Node,
    pub(super) kind: Type,
    pub(super) span: Range<usize>,
}

/// The check under way: what it found, and what it made.
pub(super) struct Checker<'c> {
    pub(super) channels: &'c dyn Channels,
    pub(super) inputs: Vec<Input>,
    pub(super) states: Vec<State>,
    pub(super) errors: Vec<ExpressionError>,
    pub(super) is_heavy: bool,
    pub(super) held_samples: usize,
}

impl Checker<'_> {
    pub(super) fn wrong(&mut self, error: ExpressionError) {
        self.errors.push(error);
    }

    pub(super) fn fail<T>(
        &mut self,
        span: &Range<usize>,
        what: impl Into<String>,
        label: impl Into<String>,
    ) -> Option<T> {
        self.wrong(ExpressionError::new(span.clone(), what, label));
        None
    }

    /// A part; `None` if something in it is wrong, which has been noted.
    pub(super) fn part(&mut self, part: &Part) -> Option<Checked> {
        let span = part.span.clone();
        let value = |node: Node, unit: Unit| {
            let kind = Type::Value(unit);
            Some(Checked {
                node,
                kind,
                span: span.clone(),
            })
        };
        match &part.kind {
            Kind::Number {
                value: number,
                unit,
            } => {
                let unit = unit.as_deref().map_or_else(Unit::one, Unit::parse);
                value(Node::Constant(*number), unit)
            }
            Kind::Truth(truth) => Some(Checked {
                node: Node::Constant(f64::from(u8::from(*truth))),
                kind: Type::Truth,
                span,
            }),
            Kind::Channel(name) => {
                let (slot, unit) = self.channel(name, &span)?;
                value(Node::Channel(slot), unit)
            }
            Kind::Negated(of) => {
                let (node, unit, of_span) = self.value(of)?;
                self.no_point(&unit, &of_span, "negated")?;
                value(unary(Unary::Negate, node), unit)
            }
            Kind::Not(of) => {
                let node = self.truth(of)?;
                Some(Checked {
                    node: unary(Unary::Not, node),
                    kind: Type::Truth,
                    span,
                })
            }
            Kind::Converted { part, unit } => {
                let (node, from, of_span) = self.value(part)?;
                let to = Unit::parse(unit);
                let converted = self.converted(node, &from, &to, &of_span)?;
                value(converted, to)
            }
            Kind::Binary {
                operator,
                left,
                right,
            } => self.binary(operator, left, right, &span),
            Kind::Call {
                name,
                name_span,
                arguments,
            } => self.call(name, name_span, arguments, &span),
        }
    }

    /// A channel's place among the inputs.
    pub(super) fn channel(&mut self, name: &str, span: &Range<usize>) -> Option<(usize, Unit)> {
        let Some(found) = self.channels.find(name) else {
            let names = self.channels.names();
            let near = crate::nearest::nearest(name, names.iter().map(String::as_str));
            let label = near.map_or_else(
                || "unknown channel".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return self.fail(span, format!("there is no channel `{name}`"), label);
        };
        let unit = Unit::parse(&found.unit);
        let place = self
            .inputs
            .iter()
            .position(|input| input.channel == found.channel);
        let slot = place.unwrap_or_else(|| {
            self.inputs.push(Input {
                name: name.to_owned(),
                channel: found.channel,
                rate_hz: found.rate_hz,
            });
            self.inputs.len() - 1
        });
        Some((slot, unit))
    }

    /// A part that must be a value.
    pub(super) fn value(&mut self, part: &Part) -> Option<(Node, Unit, Range<usize>)> {
        let checked = self.part(part)?;
        match checked.kind {
            Type::Value(unit) => Some((checked.node, unit, checked.span)),
            Type::Truth => self.fail(&checked.span, "this is a condition", "a value is expected"),
        }
    }

    /// A part that must be a condition.
    pub(super) fn truth(&mut self, part: &Part) -> Option<Node> {
        let checked = self.part(part)?;
        match checked.kind {
            Type::Truth => Some(checked.node),
            Type::Value(_) => {
                let what = "this is a value";
                self.fail(
                    &checked.span,
                    what,
                    "a condition is expected, as in `x > 1 bar`",
                )
            }
        }
    }

    /// Says so if a unit is a point on a scale.
    pub(super) fn no_point(&mut self, unit: &Unit, span: &Range<usize>, done: &str) -> Option<()> {
        if !unit.is_point() {
            return Some(());
        }
        let what = format!("a value in {unit} is a point on a scale, which cannot be {done}");
        let error = ExpressionError::new(span.clone(), what, format!("this is in {unit}"));
        self.wrong(error.with_help("convert it first: `x in K`"));
        None
    }

    /// A value in another unit.
    pub(super) fn converted(
        &mut self,
        node: Node,
        from: &Unit,
        to: &Unit,
        span: &Range<usize>,
    ) -> Option<Node> {
        let Some((scale, offset)) = from.conversion_to(to) else {
            self.mismatch(from, to, span);
            return None;
        };
        Some(affine(node, scale, offset))
    }

    fn mismatch(&mut self, found: &Unit, wanted: &Unit, span: &Range<usize>) {
        let what = format!("{} does not go with {}", shown(found), shown(wanted));
        let mut error =
            ExpressionError::new(span.clone(), what, format!("this is {}", shown(found)));
        if found.is_alike(wanted) {
            error = error.with_help("one is a difference, the other a point: a difference is in K");
        } else if found.is_number() && !wanted.is_number() {
            error = error.with_help(format!("give it its unit, as in `2 {wanted}`"));
        } else if wanted.is_number() && !found.is_number() {
            error = error.with_help(format!(
                "a plain number is wanted: divide by the unit, as in `x / 1 {found}`"
            ));
        }
        self.wrong(error);
    }

    fn binary(
        &mut self,
        operator: &str,
        left: &Part,
        right: &Part,
        span: &Range<usize>,
    ) -> Option<Checked> {
        let done = |node: Node, kind: Type| {
            Some(Checked {
                node,
                kind,
                span: span.clone(),
            })
        };
        if matches!(operator, "&&" | "||") {
            // Both are looked at, so that the mistakes in both are told.
            let (left, right) = (self.truth(left), self.truth(right));
            let operation = if operator == "&&" {
                Binary::And
            } else {
                Binary::Or
            };
            return done(binary(operation, left?, right?), Type::Truth);
        }
        let (left, right) = (self.part(left), self.part(right));
        let (left, right) = (left?, right?);
        if let (Type::Truth, Type::Truth, "==" | "!=") = (&left.kind, &right.kind, operator) {
            let operation = if operator == "==" {
                Binary::Equal
            } else {
                Binary::NotEqual
            };
            return done(binary(operation, left.node, right.node), Type::Truth);
        }
        let (a, left_unit, left_span) = self.as_value(left)?;
        let (b, right_unit, right_span) = self.as_value(right)?;
        let comparison = match operator {
            "<" => Some(Binary::Less),
            "<=" => Some(Binary::LessEqual),
            ">" => Some(Binary::Greater),
            ">=" => Some(Binary::GreaterEqual),
            "==" => Some(Binary::Equal),
            "!=" => Some(Binary::NotEqual),
            _ => None,
        };
        if let Some(comparison) = comparison {
            let b = self.converted(b, &right_unit, &left_unit, &right_span)?;
            return done(binary(comparison, a, b), Type::Truth);
        }
        let (node, unit) = match operator {
            "+" | "-" => self.sum(operator, (a, &left_unit), (b, &right_unit), &right_span)?,
            "*" | "/" => {
                self.no_point(&left_unit, &left_span, "multiplied or divided")?;
                self.no_point(&right_unit, &right_span, "multiplied or divided")?;
                let is_product = operator == "*";
                if !is_product && matches!(b, Node::Constant(0.0)) {
                    return self.fail(&right_span, "this divides by zero", "it is always 0");
                }
                let power = if is_product { 1 } else { -1 };
                let operation = if is_product {
                    Binary::Multiply
                } else {
                    Binary::Divide
                };
                let Some(unit) = left_unit.times(&right_unit, power) else {
                    return self.fail(span, "this unit has too high a power", "no such unit");
                };
                simplified(binary(operation, a, b), unit)
            }
            "%" => {
                self.no_point(&left_unit, &left_span, "divided")?;
                let b = self.converted(b, &right_unit, &left_unit, &right_span)?;
                if matches!(b, Node::Constant(0.0)) {
                    return self.fail(&right_span, "this divides by zero", "it is always 0");
                }
                (binary(Binary::Remainder, a, b), left_unit)
            }
            _ => self.power((a, &left_unit, &left_span), (b, &right_unit, &right_span))?,
        };
        done(node, Type::Value(unit))
    }

    pub(super) fn as_value(&mut self, checked: Checked) -> Option<(Node, Unit, Range<usize>)> {
        match checked.kind {
            Type::Value(unit) => Some((checked.node, unit, checked.span)),
            Type::Truth => self.fail(&checked.span, "this is a condition", "a value is expected"),
        }
    }

    /// Points and differences: see the head of `unit.rs`.
    fn sum(
        &mut self,
        operator: &str,
        (a, left): (Node, &Unit),
        (b, right): (Node, &Unit),
        right_span: &Range<usize>,
    ) -> Option<(Node, Unit)> {
        if !left.is_alike(right) {
            self.mismatch(right, left, right_span);
            return None;
        }
        let is_plus = operator == "+";
        let operation = if is_plus {
            Binary::Add
        } else {
            Binary::Subtract
        };
        match (left.is_point(), right.is_point()) {
            (true, true) if is_plus => {
                let what = "two points on a scale cannot be added";
                let error =
                    ExpressionError::new(right_span.clone(), what, format!("this is in {right}"));
                self.wrong(error.with_help("a point and a difference can: write `5 K`"));
                None
            }
            (true, true) => {
                let b = self.converted(b, right, left, right_span)?;
                Some((binary(operation, a, b), left.of_difference()))
            }
            (false, true) if is_plus => {
                let a = affine(a, left.scale_to(right), 0.0);
                Some((binary(operation, a, b), right.clone()))
            }
            (false, true) => {
                self.no_point(right, right_span, "taken from a difference")?;
                None
            }
            // Two differences, or a point and a difference.
            (_, false) => {
                let b = affine(b, right.scale_to(left), 0.0);
                Some((binary(operation, a, b), left.clone()))
            }
        }
    }

    fn power(
        &mut self,
        (a, left, left_span): (Node, &Unit, &Range<usize>),
        (b, right, right_span): (Node, &Unit, &Range<usize>),
    ) -> Option<(Node, Unit)> {
        self.no_point(left, left_span, "raised to a power")?;
        let b = self.converted(b, right, &Unit::one(), right_span)?;
        if left.is_number() {
            let a = self.converted(a, left, &Unit::one(), left_span)?;
            return Some((binary(Binary::Power, a, b), Unit::one()));
        }
        let Node::Constant(exponent) = b else {
            let what = "the exponent of what has a unit must be a number written out";
            return self.fail(right_span, what, "not constant");
        };
        #[allow(clippy::cast_possible_truncation)] // Checked: it is a small whole number.
        let unit = if exponent == 0.5 {
            left.root()
        } else if exponent.fract() == 0.0 && exponent.abs() <= 100.0 {
            left.to_power(exponent as i32)
        } else {
            None
        };
        let Some(unit) = unit else {
            let what = format!("{} to the power of {exponent} is no unit", shown(left));
            return self.fail(right_span, what, "a small whole number is expected");
        };
        Some((binary(Binary::Power, a, b), unit))
    }
}

/// A unit as it is spoken of.
pub(super) fn shown(unit: &Unit) -> String {
    let text = unit.to_string();
    if text == "1" {
        "a plain number".to_owned()
    } else if unit.is_difference() {
        format!("a difference in {text}")
    } else {
        format!("`{text}`")
    }
}

/// A product that is a plain number is one of scale 1: `mm/m` needs no unit.
fn simplified(node: Node, unit: Unit) -> (Node, Unit) {
    if unit.is_number() {
        let scale = unit.factor();
        return (affine(node, scale, 0.0), Unit::one());
    }
    (node, unit)
}

pub(super) fn unary(operation: Unary, of: Node) -> Node {
    if let Node::Constant(x) = of {
        return Node::Constant(operation.apply(x));
    }
    Node::Unary(operation, Box::new(of))
}

pub(super) fn binary(operation: Binary, a: Node, b: Node) -> Node {
    if let (Node::Constant(x), Node::Constant(y)) = (&a, &b) {
        return Node::Constant(operation.apply(*x, *y));
    }
    Node::Binary(operation, Box::new(a), Box::new(b))
}

pub(super) fn affine(of: Node, scale: f64, offset: f64) -> Node {
    if scale == 1.0 && offset == 0.0 {
        return of;
    }
    if let Node::Constant(x) = of {
        return Node::Constant(x * scale + offset);
    }
    Node::Affine {
        of: Box::new(of),
        scale,
        offset,
    }
}
