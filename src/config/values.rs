//! Values of a configuration: what each key may hold, and what is said if it holds something else.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

pub(super) use crate::nearest::nearest;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Behind the key's name: "is …", "must be …".
    pub(super) what: String,
    pub(super) label: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            label: label.into(),
            help: None,
        }
    }

    fn kind(value: &DeValue<'_>, expected: &str) -> Self {
        Self::new(
            format!("must be {expected}, and is {}", article(value.type_str())),
            format!("{expected} is expected"),
        )
    }
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

type Read<T> = Result<T, Wrong>;

/// A string that is not empty.
pub(super) fn text(value: &DeValue<'_>) -> Read<String> {
    match value.as_str() {
        Some("") => Err(Wrong::new("is empty", "some text is expected")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Wrong::kind(value, "a string")),
    }
}

/// A list of strings that are not empty.
pub(super) fn texts(value: &DeValue<'_>) -> Read<Vec<String>> {
    let array = value
        .as_array()
        .ok_or_else(|| Wrong::kind(value, "a list of strings"))?;
    array.iter().map(|item| text(item.get_ref())).collect()
}

/// A list of whole numbers within a range.
pub(super) fn integers(range: RangeInclusive<i64>) -> impl Fn(&DeValue<'_>) -> Read<Vec<i64>> {
    let each = integer(range);
    move |value| {
        let array = value
            .as_array()
            .ok_or_else(|| Wrong::kind(value, "a list of whole numbers"))?;
        array.iter().map(|item| each(item.get_ref())).collect()
    }
}

/// `true` or `false`.
pub(super) fn flag(value: &DeValue<'_>) -> Read<bool> {
    value
        .as_bool()
        .ok_or_else(|| Wrong::kind(value, "true or false"))
}

/// A whole number within a range.
pub(super) fn integer(range: RangeInclusive<i64>) -> impl Fn(&DeValue<'_>) -> Read<i64> {
    move |value| {
        let Some(integer) = value.as_integer() else {
            return Err(Wrong::kind(value, "a whole number"));
        };
        let found = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        found
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (low, high) = (range.start(), range.end());
                let bounds = if *high == i64::MAX {
                    format!("at least {low}")
                } else {
                    format!("{low} to {high}")
                };
                Wrong::new(format!("is {integer}, and must be {bounds}"), bounds)
            })
    }
}

/// A finite number within a range.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&DeValue<'_>) -> Read<f64> {
    move |value| {
        let found = match value {
            #[allow(clippy::cast_precision_loss)]
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .map(|i| i as f64),
            DeValue::Float(float) => float.as_str().parse().ok(),
            other => return Err(Wrong::kind(other, "a number")),
        };
        found
            .filter(|number: &f64| number.is_finite() && range.contains(number))
            .ok_or_else(|| {
                let bounds = if *range.start() == f64::MIN {
                    "a finite number".to_owned()
                } else {
                    format!("{} to {}", range.start(), range.end())
                };
                Wrong::new(format!("must be {bounds}"), bounds)
            })
    }
}

/// Any finite number.
pub(super) fn any_number(value: &DeValue<'_>) -> Read<f64> {
    number(f64::MIN..=f64::MAX)(value)
}

/// One of some words, and what it stands for.
pub(super) fn choice<'c, T: Copy>(
    choices: &'c [(&'c str, T)],
) -> impl Fn(&DeValue<'_>) -> Read<T> + 'c {
    move |value| {
        let names = || choices.iter().map(|(name, _)| *name);
        let Some(word) = value.as_str() else {
            return Err(Wrong::kind(value, &format!("one of {}", quoted(names()))));
        };
        let found = choices.iter().find(|(name, _)| *name == word);
        found
            .map(|(_, what)| *what)
            .ok_or_else(|| unknown(word, names()))
    }
}

/// A word that is none of those known.
pub(super) fn unknown<'n>(word: &str, names: impl Iterator<Item = &'n str> + Clone) -> Wrong {
    let label = nearest(word, names.clone()).map_or_else(
        || "unknown".to_owned(),
        |near| format!("did you mean \"{near}\"?"),
    );
    let mut wrong = Wrong::new(
        format!("is \"{}\", which is not known", shortened(word)),
        label,
    );
    wrong.help = Some(format!("known are {}", quoted(names)));
    wrong
}

fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 24;
    let names: Vec<&str> = names.collect();
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("\"{name}\""))
        .collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}

/// At most so much of a word that nobody wrote on purpose.
pub(super) fn shortened(word: &str) -> String {
    const SHOWN: usize = 60;
    if word.chars().count() <= SHOWN {
        return word.to_owned();
    }
    word.chars().take(SHOWN).chain(['…']).collect()
}

/// A duration within limits.
pub(super) fn duration(limits: (Duration, Duration)) -> impl Fn(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let Some(text) = value.as_str() else {
            let mut wrong = Wrong::kind(value, "a duration");
            wrong.help = Some("write it with its unit, as in \"5ms\" or \"2h\"".to_owned());
            return Err(wrong);
        };
        let found = parse_duration(text)
            .map_err(|what| Wrong::new(format!("is \"{}\": {what}", shortened(text)), what))?;
        if (limits.0..=limits.1).contains(&found) {
            return Ok(found);
        }
        let bounds = if limits.1 == Duration::MAX {
            format!("at least {:?}", limits.0)
        } else {
            format!("{:?} to {:?}", limits.0, limits.1)
        };
        Err(Wrong::new(
            format!("is {text}, and must be {bounds}"),
            bounds,
        ))
    }
}

/// A duration as it is written everywhere in Kymo: `10s`, `1500ms`, `2h`, `0`.
///
/// # Errors
/// What would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "" if number.trim() == "0" => 1.0,
        _ => {
            return Err(
                "a number with us, ms, s, min, h or d is expected, as in \"5ms\"".to_owned(),
            );
        }
    };
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_| format!("\"{}\" is no number", number.trim()))?;
    Duration::try_from_secs_f64(number * seconds)
        .map_err(|_| "a duration is not negative and at most some centuries".to_owned())
}

/// A number of bytes within a range.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    move |value| {
        let Some(text) = value.as_str() else {
            let mut wrong = Wrong::kind(value, "a size");
            wrong.help = Some("write it with its unit, as in \"64MiB\"".to_owned());
            return Err(wrong);
        };
        let found = parse_size(text).ok_or_else(|| {
            let expected = "a whole number with B, KiB, MiB or GiB is expected, as in \"64MiB\"";
            Wrong::new(
                format!("is \"{}\": {expected}", shortened(text)),
                "a size is expected",
            )
        })?;
        if range.contains(&found) {
            return Ok(found);
        }
        let bounds = format!("{} to {} MiB", range.start() >> 20, range.end() >> 20);
        Err(Wrong::new(
            format!("is {text}, and must be {bounds}"),
            bounds,
        ))
    }
}

/// A number of bytes as it is written everywhere in Kymo: `64MiB`.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.trim().parse::<u64>().ok()?.checked_mul(unit)
}

/// Bytes in hexadecimal: `"AA 55"`, `"AA55"`.
pub(super) fn hex(value: &DeValue<'_>) -> Read<Vec<u8>> {
    let text = value
        .as_str()
        .ok_or_else(|| Wrong::kind(value, "a string of hexadecimal bytes"))?;
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !is_hex || digits.len() > 128 {
        return Err(Wrong::new(
            format!(
                "is \"{}\", and must be bytes of two hexadecimal digits each",
                shortened(text)
            ),
            "as in \"AA 55\"",
        ));
    }
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        u8::from_str_radix(pair, 16).unwrap_or_default()
    });
    Ok(bytes.collect())
}

/// Messages to a device: each a text, sent as it is, or `{ hex = "AA 55" }`.
pub(super) fn messages(value: &DeValue<'_>) -> Read<Vec<Vec<u8>>> {
    /// Messages of a list, and bytes of one message, at most: a device is told some settings, not a file.
    const MOST: usize = 4096;
    let expected = "a list of texts or { hex = \"…\" }, as in [\"START\\r\\n\"]";
    let array = value
        .as_array()
        .ok_or_else(|| Wrong::kind(value, expected))?;
    let messages = array.iter().map(|item| message(item.get_ref(), expected));
    let messages: Vec<Vec<u8>> = messages.collect::<Read<_>>()?;
    if messages.len() > MOST || messages.iter().any(|message| message.len() > MOST) {
        return Err(Wrong::new(
            format!("holds more than {MOST} messages, or one of more than {MOST} bytes"),
            "too much",
        ));
    }
    Ok(messages)
}

/// One message to a device.
pub(super) fn message(value: &DeValue<'_>, expected: &str) -> Read<Vec<u8>> {
    if let Some(table) = value.as_table() {
        let [(key, bytes)] = table.iter().collect::<Vec<_>>()[..] else {
            return Err(Wrong::kind(value, expected));
        };
        if key.get_ref() != "hex" {
            return Err(Wrong::kind(value, expected));
        }
        return hex(bytes.get_ref());
    }
    match text(value) {
        Ok(text) => Ok(text.into_bytes()),
        Err(_) if value.as_str().is_none() => Err(Wrong::kind(value, expected)),
        Err(wrong) => Err(wrong),
    }
}

/// A list of finite numbers.
pub(super) fn numbers(value: &DeValue<'_>) -> Read<Vec<f64>> {
    let array = value
        .as_array()
        .ok_or_else(|| Wrong::kind(value, "a list of numbers"))?;
    array
        .iter()
        .map(|item| any_number(item.get_ref()))
        .collect()
}

/// A list of pairs of finite numbers.
pub(super) fn pairs(value: &DeValue<'_>) -> Read<Vec<(f64, f64)>> {
    let expected = "a list of pairs, as in [[0, 0.0], [10, 98.1]]";
    let array = value
        .as_array()
        .ok_or_else(|| Wrong::kind(value, expected))?;
    let pair = |item: &toml::Spanned<DeValue<'_>>| match numbers(item.get_ref())?.as_slice() {
        [x, y] => Ok((*x, *y)),
        other => Err(Wrong::new(
            format!(
                "must be {expected}; one of them has {} numbers",
                other.len()
            ),
            expected,
        )),
    };
    array.iter().map(pair).collect()
}
