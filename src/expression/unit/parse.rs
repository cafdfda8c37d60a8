//! Units as they are written.

use super::{POWER_MAX, Unit};

/// Parentheses within one another at most.
const DEPTH_MAX: usize = 8;

/// A text that is read as a unit, from its front.
pub(super) struct Parser<'t> {
    pub(super) rest: &'t str,
}

impl Parser<'_> {
    /// Components joined by `.` and `/`, which binds what stands directly behind it.
    pub(super) fn term(&mut self, depth: usize) -> Option<Unit> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut unit = Unit::one();
        let mut is_first = true;
        loop {
            let power = if self.eat('/') {
                -1
            } else if is_first || self.eat('.') {
                1
            } else {
                return Some(unit);
            };
            let part = self.component(depth)?;
            unit = if is_first && power == 1 {
                part
            } else {
                unit.times(&part, power)?
            };
            is_first = false;
            if self.rest.is_empty() || self.rest.starts_with(')') {
                return Some(unit);
            }
        }
    }

    fn component(&mut self, depth: usize) -> Option<Unit> {
        if self.eat('(') {
            let unit = self.term(depth + 1)?;
            return self.eat(')').then_some(unit);
        }
        // An annotation alone, `{rpm}`, is a one with a remark.
        if self.rest.starts_with('{') {
            self.annotation()?;
            return Some(Unit::one());
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.number();
        }
        let end = symbol_end(self.rest);
        let (symbol, rest) = self.rest.split_at(end);
        self.rest = rest;
        let unit = Unit::symbol(symbol)?;
        let power = self.exponent()?;
        if self.rest.starts_with('{') {
            self.annotation()?;
        }
        if power == 1 {
            return Some(unit);
        }
        unit.to_power(power)
    }

    /// `100`, `10*3`, `10^-3`.
    fn number(&mut self) -> Option<Unit> {
        let digits = self.digits()?;
        let mut factor: f64 = digits.parse().ok()?;
        if digits == "10" && (self.eat('*') || self.eat('^')) {
            let sign = if self.eat('-') {
                -1
            } else {
                self.eat('+');
                1
            };
            let power: i32 = self.digits()?.parse().ok()?;
            factor = 10f64.powi(sign * power);
        }
        if factor == 1.0 {
            return Some(Unit::one());
        }
        Some(Unit {
            factor,
            symbols: vec![(format!("{factor}"), 1)],
            ..Unit::one()
        })
    }

    fn exponent(&mut self) -> Option<i32> {
        let sign = if self.eat('-') {
            -1
        } else if self.eat('+') || self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            1
        } else {
            return Some(1);
        };
        let power: i32 = self.digits()?.parse().ok()?;
        (1..=POWER_MAX).contains(&power).then_some(sign * power)
    }

    fn digits(&mut self) -> Option<String> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!digits.is_empty()).then(|| digits.to_owned())
    }

    fn annotation(&mut self) -> Option<()> {
        let end = self.rest.find('}')?;
        self.rest = &self.rest[end + 1..];
        Some(())
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

/// Where a symbol ends: letters, `%`, quotes, and anything in brackets.
pub(in crate::expression) fn symbol_end(text: &str) -> usize {
    let mut in_brackets = false;
    for (at, c) in text.char_indices() {
        let belongs = match c {
            '[' if !in_brackets => {
                in_brackets = true;
                true
            }
            ']' if in_brackets => {
                in_brackets = false;
                true
            }
            _ if in_brackets => !c.is_whitespace(),
            '%' | '\'' | 'µ' => true,
            _ => c.is_alphabetic() || c == '_',
        };
        if !belongs {
            return at;
        }
    }
    text.len()
}
