//! From tokens to a tree that knows no types yet.
//!
//! From the weakest to the strongest: `or`, `and`, `not`, comparison (which does not chain), `+ -`, `* / %`, sign,
//! `^` (to the right), `in UNIT`.

use std::ops::Range;

use super::error::ExpressionError;
use super::token::{Placed, Token};

/// How deep a tree may be: what recurses over it must not run out of stack.
pub(super) const DEPTH_MAX: usize = 200;

/// A part of an expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
    /// Of the tree under it, itself included.
    depth: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Number {
        value: f64,
        unit: Option<String>,
    },
    Truth(bool),
    Channel(String),
    Negated(Box<Part>),
    Not(Box<Part>),
    Binary {
        operator: &'static str,
        left: Box<Part>,
        right: Box<Part>,
    },
    Converted {
        part: Box<Part>,
        unit: String,
    },
    Call {
        name: String,
        name_span: Range<usize>,
        arguments: Vec<Part>,
    },
}

struct Reader<'t> {
    tokens: &'t [Placed],
    at: usize,
    /// Where the text ends.
    end: usize,
    depth: usize,
}

/// The tree of a whole text of tokens.
pub(super) fn parse(tokens: &[Placed], end: usize) -> Result<Part, ExpressionError> {
    let mut reader = Reader {
        tokens,
        at: 0,
        end,
        depth: 0,
    };
    let part = reader.level(0)?;
    match reader.tokens.get(reader.at) {
        None => Ok(part),
        Some(placed) => {
            let what = match placed.token {
                Token::Close => "this parenthesis closes nothing",
                Token::Comma => "a comma separates arguments of a function only",
                Token::Operator("<" | "<=" | ">" | ">=" | "==" | "!=") => {
                    "comparisons do not chain: join them by `and`"
                }
                _ => "an operator is expected here",
            };
            Err(ExpressionError::new(
                placed.span.clone(),
                what,
                "unexpected",
            ))
        }
    }
}

/// Binary operators that associate to the left, by level.
const LEVELS: [&[&str]; 2] = [&["||"], &["&&"]];
const COMPARISONS: [&str; 6] = ["<", "<=", ">", ">=", "==", "!="];
const SUMS: [&str; 2] = ["+", "-"];
const PRODUCTS: [&str; 3] = ["*", "/", "%"];

impl Reader<'_> {
    fn operator(&self) -> Option<&'static str> {
        match self.tokens.get(self.at)?.token {
            Token::Operator(operator) => Some(operator),
            _ => None,
        }
    }

    fn take(&mut self, wanted: &[&str]) -> Option<&'static str> {
        let operator = self
            .operator()
            .filter(|operator| wanted.contains(operator))?;
        self.at += 1;
        Some(operator)
    }

    fn part(&self, span: Range<usize>, kind: Kind) -> Result<Part, ExpressionError> {
        let under = match &kind {
            Kind::Negated(part) | Kind::Not(part) | Kind::Converted { part, .. } => part.depth,
            Kind::Binary { left, right, .. } => left.depth.max(right.depth),
            Kind::Call { arguments, .. } => {
                arguments.iter().map(|part| part.depth).max().unwrap_or(0)
            }
            _ => 0,
        };
        let depth = under + 1;
        if depth > DEPTH_MAX {
            return Err(too_deep(span));
        }
        Ok(Part { span, kind, depth })
    }

    fn binary(
        &self,
        operator: &'static str,
        left: Part,
        right: Part,
    ) -> Result<Part, ExpressionError> {
        let span = left.span.start..right.span.end;
        let (left, right) = (Box::new(left), Box::new(right));
        self.part(
            span,
            Kind::Binary {
                operator,
                left,
                right,
            },
        )
    }

    fn level(&mut self, level: usize) -> Result<Part, ExpressionError> {
        let Some(operators) = LEVELS.get(level) else {
            return self.negation();
        };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.take(operators) {
            let right = self.level(level + 1)?;
            left = self.binary(operator, left, right)?;
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Part, ExpressionError> {
        let start = self.start();
        if self.take(&["!"]).is_none() {
            return self.comparison();
        }
        self.deeper()?;
        let part = self.negation()?;
        self.depth -= 1;
        self.part(start..part.span.end, Kind::Not(Box::new(part)))
    }

    fn comparison(&mut self) -> Result<Part, ExpressionError> {
        let left = self.sum()?;
        let Some(operator) = self.take(&COMPARISONS) else {
            return Ok(left);
        };
        let right = self.sum()?;
        self.binary(operator, left, right)
    }

    fn sum(&mut self) -> Result<Part, ExpressionError> {
        let mut left = self.product()?;
        while let Some(operator) = self.take(&SUMS) {
            let right = self.product()?;
            left = self.binary(operator, left, right)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Part, ExpressionError> {
        let mut left = self.signed()?;
        while let Some(operator) = self.take(&PRODUCTS) {
            let right = self.signed()?;
            left = self.binary(operator, left, right)?;
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Part, ExpressionError> {
        let start = self.start();
        if self.take(&["+"]).is_some() {
            self.deeper()?;
            let part = self.signed()?;
            self.depth -= 1;
            return Ok(part);
        }
        if self.take(&["-"]).is_none() {
            return self.power();
        }
        self.deeper()?;
        let part = self.signed()?;
        self.depth -= 1;
        let span = start..part.span.end;
        // A negative number is a number: −5 Cel is a point, which could not be negated.
        if let Kind::Number { value, unit } = part.kind {
            return self.part(
                span,
                Kind::Number {
                    value: -value,
                    unit,
                },
            );
        }
        self.part(span, Kind::Negated(Box::new(part)))
    }

    fn power(&mut self) -> Result<Part, ExpressionError> {
        let base = self.converted()?;
        if self.take(&["^"]).is_none() {
            return Ok(base);
        }
        self.deeper()?;
        let exponent = self.signed()?;
        self.depth -= 1;
        self.binary("^", base, exponent)
    }

    fn converted(&mut self) -> Result<Part, ExpressionError> {
        let mut part = self.atom()?;
        while let Some(Placed {
            token: Token::In(unit),
            span,
        }) = self.tokens.get(self.at)
        {
            self.at += 1;
            let span = part.span.start..span.end;
            let (part_box, unit) = (Box::new(part), unit.clone());
            part = self.part(
                span,
                Kind::Converted {
                    part: part_box,
                    unit,
                },
            )?;
        }
        Ok(part)
    }

    fn atom(&mut self) -> Result<Part, ExpressionError> {
        let Some(placed) = self.tokens.get(self.at) else {
            let what = if self.tokens.is_empty() {
                "there is no expression"
            } else {
                "the expression ends too early"
            };
            return Err(ExpressionError::new(
                self.end..self.end,
                what,
                "a value is expected",
            ));
        };
        let span = placed.span.clone();
        self.at += 1;
        match &placed.token {
            Token::Number { value, unit } => {
                let (value, unit) = (*value, unit.clone());
                self.part(span, Kind::Number { value, unit })
            }
            Token::Channel(name) => self.part(span, Kind::Channel(name.clone())),
            Token::Word(word) => match word.as_str() {
                "true" => self.part(span, Kind::Truth(true)),
                "false" => self.part(span, Kind::Truth(false)),
                _ => self.call(word, span),
            },
            Token::Open => {
                self.deeper()?;
                let part = self.level(0)?;
                self.depth -= 1;
                let close = self.close(&span)?;
                Ok(Part {
                    span: span.start..close,
                    ..part
                })
            }
            _ => Err(ExpressionError::new(
                span,
                "a value is expected here",
                "unexpected",
            )),
        }
    }

    /// A function and its arguments; a word alone is a constant, and is called with none.
    fn call(&mut self, name: &str, name_span: Range<usize>) -> Result<Part, ExpressionError> {
        let mut arguments = Vec::new();
        let mut end = name_span.end;
        let opening = self
            .tokens
            .get(self.at)
            .filter(|placed| placed.token == Token::Open);
        if let Some(open) = opening {
            self.at += 1;
            self.deeper()?;
            let is_empty = self
                .tokens
                .get(self.at)
                .is_some_and(|placed| placed.token == Token::Close);
            if !is_empty {
                arguments.push(self.level(0)?);
                while self.at_comma() {
                    self.at += 1;
                    arguments.push(self.level(0)?);
                }
            }
            self.depth -= 1;
            end = self.close(&open.span)?;
        }
        let span = name_span.start..end;
        let name = name.to_owned();
        self.part(
            span,
            Kind::Call {
                name,
                name_span,
                arguments,
            },
        )
    }

    fn close(&mut self, open: &Range<usize>) -> Result<usize, ExpressionError> {
        match self.tokens.get(self.at) {
            Some(placed) if placed.token == Token::Close => {
                self.at += 1;
                Ok(placed.span.end)
            }
            Some(placed) => {
                let what = "`)` or an operator is expected here";
                Err(ExpressionError::new(
                    placed.span.clone(),
                    what,
                    "unexpected",
                ))
            }
            None => {
                let what = "this parenthesis is never closed";
                Err(ExpressionError::new(open.clone(), what, "`)` is missing"))
            }
        }
    }

    fn at_comma(&self) -> bool {
        self.tokens
            .get(self.at)
            .is_some_and(|placed| placed.token == Token::Comma)
    }

    fn start(&self) -> usize {
        self.tokens
            .get(self.at)
            .map_or(self.end, |placed| placed.span.start)
    }

    fn deeper(&mut self) -> Result<(), ExpressionError> {
        self.depth += 1;
        // A level of parentheses costs the parser several calls.
        if self.depth > DEPTH_MAX / 2 {
            return Err(too_deep(self.start()..self.end));
        }
        Ok(())
    }
}

fn too_deep(span: Range<usize>) -> ExpressionError {
    let help = "give a part of it a channel of its own";
    ExpressionError::new(span, "the expression is nested too deeply", "too deep").with_help(help)
}
