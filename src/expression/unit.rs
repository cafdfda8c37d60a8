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

use std::fmt;

/// Base dimensions: length, time, mass, angle, temperature, current, luminous intensity, amount.
const BASES: usize = 8;

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

struct Atom {
    symbol: &'static str,
    takes_prefix: bool,
    factor: f64,
    dimension: [i32; BASES],
    offset: f64,
}

const fn atom(
    symbol: &'static str,
    takes_prefix: bool,
    factor: f64,
    dimension: [i32; BASES],
) -> Atom {
    Atom {
        symbol,
        takes_prefix,
        factor,
        dimension,
        offset: 0.0,
    }
}

const NONE: [i32; BASES] = [0; BASES];
const LENGTH: [i32; BASES] = [1, 0, 0, 0, 0, 0, 0, 0];
const TIME: [i32; BASES] = [0, 1, 0, 0, 0, 0, 0, 0];
const MASS: [i32; BASES] = [0, 0, 1, 0, 0, 0, 0, 0];
const ANGLE: [i32; BASES] = [0, 0, 0, 1, 0, 0, 0, 0];
const TEMPERATURE: [i32; BASES] = [0, 0, 0, 0, 1, 0, 0, 0];
const CURRENT: [i32; BASES] = [0, 0, 0, 0, 0, 1, 0, 0];
const FREQUENCY: [i32; BASES] = [0, -1, 0, 0, 0, 0, 0, 0];
const FORCE: [i32; BASES] = [1, -2, 1, 0, 0, 0, 0, 0];
const PRESSURE: [i32; BASES] = [-1, -2, 1, 0, 0, 0, 0, 0];
const ENERGY: [i32; BASES] = [2, -2, 1, 0, 0, 0, 0, 0];
const POWER: [i32; BASES] = [2, -3, 1, 0, 0, 0, 0, 0];
const VOLTAGE: [i32; BASES] = [2, -3, 1, 0, 0, -1, 0, 0];
const VOLUME: [i32; BASES] = [3, 0, 0, 0, 0, 0, 0, 0];
const PI: f64 = std::f64::consts::PI;

/// UCUM tables 2 (base), 4 to 9 (derived, other), as a laboratory meets them. Base of mass: the gram, as in UCUM,
/// hence the thousands.
const ATOMS: &[Atom] = &[
    atom("m", true, 1.0, LENGTH),
    atom("s", true, 1.0, TIME),
    atom("g", true, 1.0, MASS),
    atom("rad", true, 1.0, ANGLE),
    atom("K", true, 1.0, TEMPERATURE),
    atom("A", true, 1.0, CURRENT),
    atom("cd", true, 1.0, [0, 0, 0, 0, 0, 0, 1, 0]),
    atom("mol", true, 1.0, [0, 0, 0, 0, 0, 0, 0, 1]),
    atom("%", false, 1e-2, NONE),
    atom("[ppth]", false, 1e-3, NONE),
    atom("[ppm]", false, 1e-6, NONE),
    atom("[ppb]", false, 1e-9, NONE),
    atom("Hz", true, 1.0, FREQUENCY),
    atom("N", true, 1e3, FORCE),
    atom("Pa", true, 1e3, PRESSURE),
    atom("J", true, 1e3, ENERGY),
    atom("W", true, 1e3, POWER),
    atom("C", true, 1.0, [0, 1, 0, 0, 0, 1, 0, 0]),
    atom("V", true, 1e3, VOLTAGE),
    atom("F", true, 1e-3, [-2, 4, -1, 0, 0, 2, 0, 0]),
    atom("Ohm", true, 1e3, [2, -3, 1, 0, 0, -2, 0, 0]),
    atom("S", true, 1e-3, [-2, 3, -1, 0, 0, 2, 0, 0]),
    atom("Wb", true, 1e3, [2, -2, 1, 0, 0, -1, 0, 0]),
    atom("T", true, 1e3, [0, -2, 1, 0, 0, -1, 0, 0]),
    atom("H", true, 1e3, [2, -2, 1, 0, 0, -2, 0, 0]),
    atom("G", true, 1e-1, [0, -2, 1, 0, 0, -1, 0, 0]),
    atom("sr", true, 1.0, [0, 0, 0, 2, 0, 0, 0, 0]),
    atom("lm", true, 1.0, [0, 0, 0, 2, 0, 0, 1, 0]),
    atom("lx", true, 1.0, [-2, 0, 0, 2, 0, 0, 1, 0]),
    atom("Bq", true, 1.0, FREQUENCY),
    atom("Gy", true, 1.0, [2, -2, 0, 0, 0, 0, 0, 0]),
    atom("Sv", true, 1.0, [2, -2, 0, 0, 0, 0, 0, 0]),
    atom("kat", true, 1.0, [0, -1, 0, 0, 0, 0, 0, 1]),
    Atom {
        symbol: "Cel",
        takes_prefix: false,
        factor: 1.0,
        dimension: TEMPERATURE,
        offset: 273.15,
    },
    Atom {
        symbol: "[degF]",
        takes_prefix: false,
        factor: 5.0 / 9.0,
        dimension: TEMPERATURE,
        offset: 459.67 * 5.0 / 9.0,
    },
    atom("[degR]", false, 5.0 / 9.0, TEMPERATURE),
    atom("deg", false, PI / 180.0, ANGLE),
    atom("gon", false, PI / 200.0, ANGLE),
    atom("circ", false, 2.0 * PI, ANGLE),
    atom("'", false, PI / 10_800.0, ANGLE),
    atom("''", false, PI / 648_000.0, ANGLE),
    atom("min", false, 60.0, TIME),
    atom("h", false, 3_600.0, TIME),
    atom("d", false, 86_400.0, TIME),
    atom("wk", false, 604_800.0, TIME),
    atom("a", false, 31_557_600.0, TIME),
    atom("L", true, 1e-3, VOLUME),
    atom("l", true, 1e-3, VOLUME),
    atom("ar", true, 100.0, [2, 0, 0, 0, 0, 0, 0, 0]),
    atom("t", true, 1e6, MASS),
    atom("u", true, 1.660_540_2e-24, MASS),
    atom("bar", true, 1e8, PRESSURE),
    atom("atm", false, 101_325e3, PRESSURE),
    atom("m[Hg]", true, 133_322e3, PRESSURE),
    atom("m[H2O]", true, 980_665e1, PRESSURE),
    atom("[psi]", false, 6_894_757.293_168_36, PRESSURE),
    atom("eV", true, 1.602_177_33e-16, ENERGY),
    atom("cal", true, 4_184.0, ENERGY),
    atom("dyn", true, 1e-2, FORCE),
    atom("gf", true, 9.806_65, FORCE),
    atom("[lbf_av]", false, 4_448.221_615_260_5, FORCE),
    atom("P", true, 100.0, [-1, -1, 1, 0, 0, 0, 0, 0]),
    atom("St", true, 1e-4, [2, -1, 0, 0, 0, 0, 0, 0]),
    atom("Gal", true, 1e-2, [1, -2, 0, 0, 0, 0, 0, 0]),
    atom("[g]", true, 9.806_65, [1, -2, 0, 0, 0, 0, 0, 0]),
    atom("Ao", false, 1e-10, LENGTH),
    atom("[in_i]", false, 2.54e-2, LENGTH),
    atom("[ft_i]", false, 0.3048, LENGTH),
    atom("[mil_i]", false, 2.54e-5, LENGTH),
    atom("[mi_i]", false, 1_609.344, LENGTH),
    atom("[nmi_i]", false, 1_852.0, LENGTH),
    atom(
        "[kn_i]",
        false,
        1_852.0 / 3_600.0,
        [1, -1, 0, 0, 0, 0, 0, 0],
    ),
    atom("[lb_av]", false, 453.592_37, MASS),
    atom("[gal_us]", false, 3.785_411_784e-3, VOLUME),
    atom("Ci", true, 3.7e10, FREQUENCY),
    atom("bit", true, 1.0, NONE),
    atom("By", true, 8.0, NONE),
];

/// UCUM table 1. The longer symbols first: `da` before `d`.
const PREFIXES: [(&str, f64); 25] = [
    ("da", 1e1),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Y", 1e24),
    ("Z", 1e21),
    ("E", 1e18),
    ("P", 1e15),
    ("T", 1e12),
    ("G", 1e9),
    ("M", 1e6),
    ("k", 1e3),
    ("h", 1e2),
    ("d", 1e-1),
    ("c", 1e-2),
    ("m", 1e-3),
    ("u", 1e-6),
    ("µ", 1e-6),
    ("n", 1e-9),
    ("p", 1e-12),
    ("f", 1e-15),
    ("a", 1e-18),
    ("z", 1e-21),
    ("y", 1e-24),
];

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

/// Parentheses within one another at most.
const DEPTH_MAX: usize = 8;

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    /// Components joined by `.` and `/`, which binds what stands directly behind it.
    fn term(&mut self, depth: usize) -> Option<Unit> {
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
pub(super) fn symbol_end(text: &str) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(value: f64, from: &str, to: &str) -> Option<f64> {
        let (scale, offset) = Unit::parse(from).conversion_to(&Unit::parse(to))?;
        Some(value * scale + offset)
    }

    #[test]
    fn values_agree_with_ucum() {
        for (value, from, to, expected) in [
            (2.5, "bar", "mbar", 2500.0),
            (1.0, "bar", "kPa", 100.0),
            (1.0, "[psi]", "Pa", 6_894.757_293),
            (760.0, "mm[Hg]", "atm", 0.999_997_236),
            (1.0, "kg.m/s2", "N", 1.0),
            (1.0, "m.kg.s-2", "N", 1.0),
            (1.0, "J/s", "W", 1.0),
            (1.0, "V.A", "W", 1.0),
            (1.0, "V/A", "Ohm", 1.0),
            (1.0, "C/V", "F", 1.0),
            (1.0, "Wb/m2", "T", 1.0),
            (1.0, "Ohm-1", "S", 1.0),
            (1.0, "V.s/A", "H", 1.0),
            (36.0, "km/h", "m/s", 10.0),
            (180.0, "deg", "rad", PI),
            (60.0, "/min", "Hz", 1.0),
            (5.0, "%", "1", 0.05),
            (1.0, "ml", "cm3", 1.0),
            (1.0, "10*3/ul", "10^9/l", 1.0),
            (1.0, "dam", "dm", 100.0),
            (1.0, "[g]", "m/s2", 9.80665),
            (1.0, "µm", "um", 1.0),
            (60.0, "{turns}/min", "Hz", 1.0),
            (1.0, "mol/(m.m.m)", "mmol/l", 1.0),
            (3.0, "(m/s)/s", "m/s2", 3.0),
            (25.0, "Cel", "K", 298.15),
            (60.0, "Cel/min", "K/s", 1.0),
            (32.0, "[degF]", "Cel", 0.0),
            (7.0, "counts", "counts", 7.0),
        ] {
            let found = converted(value, from, to);
            let found = found.unwrap_or_else(|| panic!("{from} is {to}"));
            assert!(
                (found - expected).abs() <= 1e-6 * expected.abs().max(1e-6),
                "{from} {found}"
            );
        }
    }

    #[test]
    fn what_measures_another_thing_cannot_be_converted() {
        for (from, to) in [
            ("bar", "m"),
            ("counts", "ticks"),
            ("counts", "1"),
            ("Hz", "rad/s"),
            ("mol", "1"),
            ("N.m", "N"),
        ] {
            assert_eq!(converted(1.0, from, to), None, "{from} {to}");
        }
    }

    #[test]
    fn a_difference_is_no_point() {
        let celsius = Unit::parse("Cel");
        let difference = celsius.of_difference();
        assert_eq!(difference.to_string(), "K");
        assert_eq!(difference.conversion_to(&celsius), None);
        assert_eq!(
            difference.conversion_to(&Unit::parse("mK")),
            Some((1000.0, 0.0))
        );
        assert_eq!(
            Unit::parse("K").conversion_to(&celsius),
            Some((1.0, -273.15))
        );
        assert_eq!(
            Unit::parse("[degF]").of_difference().scale_to(&difference),
            5.0 / 9.0
        );
    }

    #[test]
    fn products_are_written_as_ucum_writes_them() {
        let unit = Unit::parse("m").times(&Unit::parse("s"), -2);
        assert_eq!(unit.map(|unit| unit.to_string()).as_deref(), Some("m/s2"));
        let hertz = Unit::one().times(&Unit::parse("s"), -1);
        assert_eq!(hertz.map(|unit| unit.to_string()).as_deref(), Some("1/s"));
        assert_eq!(
            Unit::parse("m2/s2")
                .root()
                .map(|u| u.to_string())
                .as_deref(),
            Some("m/s")
        );
        assert_eq!(Unit::parse("m").root(), None);
        let square = Unit::parse("counts").times(&Unit::parse("counts"), 1);
        assert_eq!(
            square.map(|unit| unit.to_string()).as_deref(),
            Some("counts2")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}|[mskgK/.()0-9*^{}\\[\\]%-]{0,30}") {
            let unit = Unit::parse(&text);
            let _ = (unit.to_string(), unit.root(), unit.times(&unit, -1), unit.to_power(24));
            proptest::prop_assert!(unit.is_alike(&unit));
        }
    }
}
