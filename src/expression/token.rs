//! From text to tokens with their places.
//!
//! A number takes the unit that stands behind it, with or without a blank between: `2.5 bar`, `200ms`, `9.81 m/s2`.
//! Within a unit there is no blank, so `5 m / x.y` divides and `5 m/s` does not. A name with a dot is a
//! channel; names may hold `-`, so a minus behind a channel wants a blank, unless what is before it is a
//! channel and the whole is none. What a name cannot be otherwise stands between backticks.

use std::ops::Range;

use super::error::ExpressionError;
use super::unit::symbol_end;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number {
        value: f64,
        unit: Option<String>,
    },
    /// A name with a dot.
    Channel(String),
    /// A function, a constant.
    Word(String),
    /// `in` and the unit behind it.
    In(String),
    Operator(&'static str),
    Open,
    Close,
    Comma,
}

/// A token and the bytes it was made from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) span: Range<usize>,
}

const OPERATORS: [&str; 17] = [
    "<=", ">=", "==", "!=", "&&", "||", "<", ">", "+", "-", "*", "/", "^", "!", "%", "≤", "≥",
];

/// Words that stand between operands, and so never behind a number as its unit.
const WORDS: [&str; 4] = ["and", "or", "not", "in"];

/// All tokens of a text. `knows` says whether a name is a channel's.
pub(super) fn tokens(
    text: &str,
    knows: &dyn Fn(&str) -> bool,
) -> Result<Vec<Placed>, ExpressionError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, len) = if c.is_ascii_digit() || starts_with_point(rest) {
            number(rest, at)?
        } else if c.is_alphabetic() || c == '_' {
            word(rest, at, knows)?
        } else if c == '`' {
            quoted(rest, at)?
        } else {
            symbol(rest, at)?
        };
        let span = at..at + len;
        at = span.end;
        found.push(Placed { token, span });
    }
    Ok(found)
}

fn starts_with_point(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('.') && chars.next().is_some_and(|c| c.is_ascii_digit())
}

fn number(text: &str, at: usize) -> Result<(Token, usize), ExpressionError> {
    let mut end = digits_end(text, 0);
    if text[end..].starts_with('.') {
        end = digits_end(text, end + 1);
    }
    // An exponent only if digits follow: `2 eV` has none.
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let digits = end + 1 + sign;
        let after = digits_end(text, digits);
        if after > digits {
            end = after;
        }
    }
    let value: f64 = text[..end].parse().map_err(|_| {
        ExpressionError::new(at..at + end, "this is no number", "a number is expected")
    })?;
    if !value.is_finite() {
        let what = "this number is too large";
        return Err(ExpressionError::new(at..at + end, what, "beyond 1.8e308"));
    }
    let blank = text[end..].len() - text[end..].trim_start_matches(' ').len();
    let len = unit_len(&text[end + blank..]);
    if len == 0 {
        return Ok((Token::Number { value, unit: None }, end));
    }
    let unit = text[end + blank..][..len].to_owned();
    let token = Token::Number {
        value,
        unit: Some(unit),
    };
    Ok((token, end + blank + len))
}

fn digits_end(text: &str, from: usize) -> usize {
    let tail = &text[from..];
    let len = tail.find(|c: char| !(c.is_ascii_digit() || c == '_'));
    from + len.unwrap_or(tail.len())
}

/// How long the unit is that a text begins with: symbols with powers, joined by `.` and `/` without a blank.
fn unit_len(text: &str) -> usize {
    let mut end = 0;
    loop {
        let symbol = symbol_end(&text[end..]);
        if symbol == 0 {
            // What joins nothing is no part of it.
            return text[..end].trim_end_matches(['.', '/']).len();
        }
        if end == 0 {
            let word = &text[..symbol];
            // `5 % x` is a remainder: the unit stands directly behind its number, or before what ends an operand.
            let is_percent = word == "%" && !ends_operand(&text[symbol..]);
            if WORDS.contains(&word) || is_percent {
                return 0;
            }
        }
        end += symbol;
        let sign = usize::from(text[end..].starts_with(['-', '+']));
        let digits = text[end + sign..]
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len() - end - sign);
        if digits > 0 {
            end += sign + digits;
        }
        if !text[end..].starts_with(['.', '/']) {
            return end;
        }
        end += 1;
    }
}

/// Whether a text begins with what can follow an operand.
fn ends_operand(text: &str) -> bool {
    let text = text.trim_start();
    text.is_empty()
        || text.starts_with([
            ')', ',', '<', '>', '=', '!', '+', '-', '*', '&', '|', '≤', '≥', '/',
        ])
        || WORDS.iter().any(|word| text.starts_with(word))
}

fn word(
    text: &str,
    at: usize,
    knows: &dyn Fn(&str) -> bool,
) -> Result<(Token, usize), ExpressionError> {
    let end = name_end(text);
    let whole = &text[..end];
    if !whole.contains('.') {
        // Without a dot it is no channel, and its minus is one.
        let word = whole.split('-').next().unwrap_or(whole);
        return match word {
            "in" => conversion(text, at),
            "and" => Ok((Token::Operator("&&"), 3)),
            "or" => Ok((Token::Operator("||"), 2)),
            "not" => Ok((Token::Operator("!"), 3)),
            _ => Ok((Token::Word(word.to_owned()), word.len())),
        };
    }
    if !knows(whole) {
        let known = whole
            .rmatch_indices('-')
            .map(|(minus, _)| &whole[..minus])
            .find(|part| knows(part));
        if let Some(part) = known {
            return Ok((Token::Channel(part.to_owned()), part.len()));
        }
    }
    Ok((Token::Channel(whole.to_owned()), end))
}

/// Letters, digits and `_`; and `-` and `.` where a name goes on behind them.
fn name_end(text: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let goes_on = chars.peek().is_some_and(|(_, next)| is_part(*next));
        if !(is_part(c) || (matches!(c, '-' | '.') && goes_on)) {
            return at;
        }
    }
    text.len()
}

fn conversion(text: &str, at: usize) -> Result<(Token, usize), ExpressionError> {
    let rest = &text[2..];
    let blank = rest.len() - rest.trim_start().len();
    let start = 2 + blank;
    let len = if text[start..].starts_with("1") {
        1
    } else {
        unit_len(&text[start..])
    };
    if len == 0 {
        let what = "a unit is expected behind `in`";
        return Err(ExpressionError::new(at..at + 2, what, "as in `x in kPa`"));
    }
    Ok((Token::In(text[start..start + len].to_owned()), start + len))
}

fn quoted(text: &str, at: usize) -> Result<(Token, usize), ExpressionError> {
    let Some(len) = text[1..].find('`').filter(|len| *len > 0) else {
        let what = "a channel's name is expected between backticks";
        return Err(ExpressionError::new(at..at + 1, what, "it ends nowhere"));
    };
    Ok((Token::Channel(text[1..=len].to_owned()), len + 2))
}

fn symbol(text: &str, at: usize) -> Result<(Token, usize), ExpressionError> {
    let token = match text.as_bytes()[0] {
        b'(' => Some(Token::Open),
        b')' => Some(Token::Close),
        b',' => Some(Token::Comma),
        _ => None,
    };
    if let Some(token) = token {
        return Ok((token, 1));
    }
    if let Some(operator) = OPERATORS
        .iter()
        .find(|operator| text.starts_with(**operator))
    {
        let operator = match *operator {
            "≤" => ("<=", operator.len()),
            "≥" => (">=", operator.len()),
            other => (other, other.len()),
        };
        return Ok((Token::Operator(operator.0), operator.1));
    }
    let c = text.chars().next().unwrap_or(' ');
    let span = at..at + c.len_utf8();
    let error = ExpressionError::new(span, format!("`{c}` means nothing here"), "unexpected");
    Err(match c {
        '=' => error.with_help("two values are compared by `==`"),
        '&' => error.with_help("both must hold: `and`"),
        '|' => error.with_help("either must hold: `or`"),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let knows = |name: &str| ["a.b", "a.b-c", "x.y"].contains(&name);
        let found = tokens(text, &knows).unwrap_or_else(|error| panic!("{error}"));
        let show = |placed: &Placed| match &placed.token {
            Token::Number { value, unit } => {
                format!(
                    "{value}{}",
                    unit.as_ref().map_or(String::new(), |u| format!("[{u}]"))
                )
            }
            Token::Channel(name) => format!("${name}"),
            Token::Word(word) => word.clone(),
            Token::In(unit) => format!("in[{unit}]"),
            Token::Operator(operator) => (*operator).to_owned(),
            Token::Open => "(".to_owned(),
            Token::Close => ")".to_owned(),
            Token::Comma => ",".to_owned(),
        };
        found.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn numbers_take_their_units() {
        assert_eq!(shown("2.5 bar"), "2.5[bar]");
        assert_eq!(shown("200ms"), "200[ms]");
        assert_eq!(shown("9.81 m/s2 * 3"), "9.81[m/s2] * 3");
        assert_eq!(shown("5 m / x.y"), "5[m] / $x.y");
        assert_eq!(shown("5 m.s-2 - 3"), "5[m.s-2] - 3");
        assert_eq!(shown("1e3 eV"), "1000[eV]");
        assert_eq!(shown("1 e"), "1[e]");
        assert_eq!(shown("2 and 3 in %"), "2 && 3 in[%]");
        assert_eq!(shown("5 % > 3"), "5[%] > 3");
        assert_eq!(shown("5 % x.y"), "5 % $x.y");
        assert_eq!(shown("100 [degF]"), "100[[degF]]");
        assert_eq!(shown(".5"), "0.5");
        assert_eq!(shown("2µs"), "2[µs]");
    }

    #[test]
    fn names_may_hold_a_minus() {
        assert_eq!(shown("a.b-c"), "$a.b-c");
        assert_eq!(shown("a.b-x.y"), "$a.b - $x.y");
        assert_eq!(shown("a.b - c.d"), "$a.b - $c.d");
        assert_eq!(shown("a.b-3"), "$a.b - 3");
        assert_eq!(shown("`4ch.t`*2"), "$4ch.t * 2");
        assert_eq!(shown("pi-pi"), "pi - pi");
    }
}
