//! Units: UCUM's notation, dimensions and scales, for what a laboratory uses.
//!
//! Symbols, prefixes and values are those of "The Unified Code for Units of Measure", 2.1, tables 1 to 9
//! (case sensitive). Kymo differs in two things: the mole is a dimension of its own, as in the SI, not
//! 6.02e23; and what UCUM does not know, or what is no unit at all (`counts`), is a dimension of its own, equal to
//! itself alone.
//!
//! **Points and differences.** `Cel` and `[degF]` have an offset: a value in them is a point on a scale. The
//! difference of two points is in kelvin; a point plus or minus a difference is a point. A difference can
//! not be compared with a point: what is "5 Cel more" is 5 K. In a product the offset falls away: `Cel/min` is
//! `K/min`.

mod parse;
mod table;

use std::fmt;

use parse::Parser;
pub(super) use parse::symbol_end;
use table::{ANGLE, ATOMS, Atom, BASES, FREQUENCY, NONE, PREFIXES, TIME};

/// A unit of measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// `base value = value * factor + offset`.
    factor: f64,
    offset: f64,
    dimension: [i32; BASES],
    /// What is not known, sorted by name.
    opaque: Vec<(String, i32)>,
    /// How it is written: symbols and their powers.
    symbols: Vec<(String, i32)>,
    /// It came about by taking one point from another.
    is_difference: bool,
}

/// An exponent beyond this is no physics.
const POWER_MAX: i32 = 24;
/// Symbols in one unit at most.
const SYMBOLS_MAX: usize = 32;

impl Unit {
    /// No unit: a plain number.
    #[must_use]
    pub fn one() -> Self {
        Self {
            factor: 1.0,
            offset: 0.0,
            dimension: NONE,
            opaque: Vec::new(),
            symbols: Vec::new(),
            is_difference: false,
        }
    }

    /// A unit as it is written. What cannot be understood is a dimension of its own.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        Self::parse_known(text).unwrap_or_else(|| Self::opaque(text))
    }

    /// A unit as it is written, if every part of it is known.
    #[must_use]
    pub fn parse_known(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text.trim() };
        let unit = parser.term(0)?;
        (parser.rest.is_empty() && unit.is_sane()).then_some(unit)
    }

    fn opaque(text: &str) -> Self {
        Self {
            opaque: vec![(text.to_owned(), 1)],
            symbols: vec![(text.to_owned(), 1)],
            ..Self::one()
        }
    }

    fn is_sane(&self) -> bool {
        let is_small = |power: &i32| power.abs() <= POWER_MAX;
        self.factor.is_finite()
            && self.factor > 0.0
            && self.dimension.iter().all(is_small)
            && self.opaque.iter().all(|(_, power)| is_small(power))
            && self.symbols.len() <= SYMBOLS_MAX
    }

    /// A symbol with its prefix.
    fn symbol(text: &str) -> Option<Self> {
        let named = |symbol: &str| ATOMS.iter().find(|atom| atom.symbol == symbol);
        let make = |atom: &Atom, factor: f64| Self {
            factor: atom.factor * factor,
            offset: atom.offset,
            dimension: atom.dimension,
            opaque: Vec::new(),
            symbols: vec![(text.to_owned(), 1)],
            is_difference: false,
        };
        if let Some(atom) = named(text) {
            return Some(make(atom, 1.0));
        }
        PREFIXES.iter().find_map(|(prefix, factor)| {
            let atom = named(text.strip_prefix(prefix)?)?;
            atom.takes_prefix.then(|| make(atom, *factor))
        })
    }

    /// Whether it is a plain number, of any scale (`%`, `[ppm]`).
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.dimension == NONE && self.opaque.is_empty()
    }

    /// Whether it is a time.
    #[must_use]
    pub fn is_time(&self) -> bool {
        self.dimension == TIME && self.opaque.is_empty()
    }

    /// Whether it is a frequency.
    #[must_use]
    pub fn is_frequency(&self) -> bool {
        self.dimension == FREQUENCY && self.opaque.is_empty()
    }

    /// Whether it is an angle.
    #[must_use]
    pub fn is_angle(&self) -> bool {
        self.dimension == ANGLE && self.opaque.is_empty()
    }

    /// Whether a value in it is a point on a scale whose zero is a convention.
    #[must_use]
    pub fn is_point(&self) -> bool {
        self.offset != 0.0
    }

    /// Whether it came about by taking one point from another.
    #[must_use]
    pub fn is_difference(&self) -> bool {
        self.is_difference
    }

    /// What one of it is in base units: seconds for a time, hertz for a frequency, radian for an angle.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Whether both measure the same thing.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        self.dimension == other.dimension && self.opaque == other.opaque
    }

    /// `(scale, offset)` with `value in other = value * scale + offset`; `None` if there is no such thing.
    #[must_use]
    pub fn conversion_to(&self, other: &Self) -> Option<(f64, f64)> {
        let mixes =
            (self.is_difference && other.is_point()) || (other.is_difference && self.is_point());
        if !self.is_alike(other) || mixes {
            return None;
        }
        if self.factor == other.factor && self.offset == other.offset {
            return Some((1.0, 0.0));
        }
        Some((
            self.factor / other.factor,
            (self.offset - other.offset) / other.factor,
        ))
    }

    /// The factor from here to another unit, offsets left aside: for differences.
    #[must_use]
    pub fn scale_to(&self, other: &Self) -> f64 {
        self.factor / other.factor
    }

    /// What a difference of two values in it is measured in.
    #[must_use]
    pub fn of_difference(&self) -> Self {
        if !self.is_point() {
            return self.clone();
        }
        let symbol = if self.factor == 1.0 { "K" } else { "[degR]" };
        let unit = Self::parse(symbol);
        Self {
            is_difference: true,
            ..unit
        }
    }

    /// The unit of a product, or with `power` −1 of a quotient.
    #[must_use]
    pub fn times(&self, other: &Self, power: i32) -> Option<Self> {
        let other = other.to_power(power)?;
        let mut unit = self.clone();
        (unit.is_difference, unit.offset) = (false, 0.0);
        unit.factor *= other.factor;
        for (own, its) in unit.dimension.iter_mut().zip(other.dimension) {
            *own += its;
        }
        add_powers(&mut unit.opaque, &other.opaque);
        unit.opaque.sort();
        add_powers(&mut unit.symbols, &other.symbols);
        unit.is_sane().then_some(unit)
    }

    /// The unit to a power.
    #[must_use]
    pub fn to_power(&self, power: i32) -> Option<Self> {
        if power.abs() > POWER_MAX {
            return None;
        }
        let raised = |list: &[(String, i32)]| -> Vec<(String, i32)> {
            let raised = list.iter().map(|(name, own)| (name.clone(), own * power));
            raised.filter(|(_, power)| *power != 0).collect()
        };
        let unit = Self {
            factor: self.factor.powi(power),
            offset: 0.0,
            dimension: self.dimension.map(|own| own * power),
            opaque: raised(&self.opaque),
            symbols: raised(&self.symbols),
            is_difference: false,
        };
        unit.is_sane().then_some(unit)
    }

    /// The unit of a square root, if there is one.
    #[must_use]
    pub fn root(&self) -> Option<Self> {
        let is_even = |power: &i32| power % 2 == 0;
        let is_square = self.dimension.iter().all(is_even)
            && self.opaque.iter().all(|(_, power)| is_even(power));
        if !is_square {
            return None;
        }
        let halved = |list: &[(String, i32)]| -> Vec<(String, i32)> {
            list.iter()
                .map(|(name, power)| (name.clone(), power / 2))
                .collect()
        };
        let has_root = self.symbols.iter().all(|(_, power)| is_even(power));
        let symbols = if has_root {
            halved(&self.symbols)
        } else {
            vec![(format!("({self})^0.5"), 1)]
        };
        Some(Self {
            factor: self.factor.sqrt(),
            offset: 0.0,
            dimension: self.dimension.map(|own| own / 2),
            opaque: halved(&self.opaque),
            symbols,
            is_difference: false,
        })
    }
}

fn add_powers(list: &mut Vec<(String, i32)>, more: &[(String, i32)]) {
    for (name, power) in more {
        match list.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known += power,
            None => list.push((name.clone(), *power)),
        }
    }
    list.retain(|(_, power)| *power != 0);
}

impl fmt::Display for Unit {
    /// As UCUM writes it: `kg.m/s2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over: Vec<_> = self.symbols.iter().filter(|(_, p)| *p > 0).collect();
        let under: Vec<_> = self.symbols.iter().filter(|(_, p)| *p < 0).collect();
        if over.is_empty() {
            f.write_str("1")?;
        }
        let power = |power: i32| {
            if power.abs() == 1 {
                String::new()
            } else {
                power.abs().to_string()
            }
        };
        for (index, (symbol, its)) in over.iter().enumerate() {
            let dot = if index > 0 { "." } else { "" };
            write!(f, "{dot}{symbol}{}", power(*its))?;
        }
        for (symbol, its) in under {
            write!(f, "/{symbol}{}", power(*its))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
