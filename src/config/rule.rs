//! `[[rule]]`: threshold rules.

use std::time::Duration;

use super::section::{Section, name};
use super::source::ReadSource;
use super::values::{Wrong, any_number, choice, duration, text, unknown};
use crate::alert::{RuleOptions, Severity, Side};

/// What a message may name.
const PLACEHOLDERS: [&str; 5] = ["{value}", "{limit}", "{unit}", "{channel}", "{rule}"];

pub(super) fn read_all(root: &Section<'_>, sources: &[ReadSource]) -> Vec<RuleOptions> {
    let mut rules: Vec<RuleOptions> = Vec::new();
    for section in root.list("rule") {
        let Some((rule, span)) = read(&section, sources) else {
            continue;
        };
        if rules.iter().any(|known| known.name == rule.name) {
            let wrong = Wrong::new(
                format!("is \"{}\", the name of another rule", rule.name),
                "every rule has a name of its own",
            );
            section.wrong("name", span, &wrong);
        }
        rules.push(rule);
    }
    rules
}

fn read(
    section: &Section<'_>,
    sources: &[ReadSource],
) -> Option<(RuleOptions, std::ops::Range<usize>)> {
    let name = section.need("name", name);
    let place = channel(section, sources);
    let (above, below) = (
        section.get("above", any_number),
        section.get("below", any_number),
    );
    let limit = match (above, below) {
        (Some(above), None) => Some((Side::Above, above)),
        (None, Some(below)) => Some((Side::Below, below)),
        (Some(_), Some(below)) => {
            let wrong = Wrong::new(
                "stands beside `above`",
                "one of the two; make two rules of it",
            );
            section.wrong("below", below.span, &wrong);
            None
        }
        (None, None) => {
            if !section.has("above") && !section.has("below") {
                section.missing("above", Some("give the limit: above = 2.5, or below = 2.5"));
            }
            None
        }
    };
    let clear = section.get("clear", any_number);
    let hold = section.get(
        "for",
        duration((Duration::ZERO, Duration::from_secs(31_536_000))),
    );
    let severity = section.get("severity", choice(&Severity::NAMES));
    let message = section.get("message", message);
    section.finish();
    let (side, limit) = limit?;
    if let Some(clear) = &clear {
        let is_bad = match side {
            Side::Above => clear.value > limit.value,
            Side::Below => clear.value < limit.value,
        };
        if is_bad {
            let (word, other) = match side {
                Side::Above => ("above", "at most"),
                Side::Below => ("below", "at least"),
            };
            let wrong = Wrong::new(
                format!(
                    "is {}, which still fires: the rule fires {word} {}",
                    clear.value, limit.value
                ),
                format!("{other} {}", limit.value),
            );
            section.wrong("clear", clear.span.clone(), &wrong);
        }
    }
    let (name, (source, channel)) = (name?, place?);
    let rule = RuleOptions {
        name: name.value,
        source,
        channel,
        side,
        limit: limit.value,
        clear: clear.map_or(limit.value, |clear| clear.value),
        hold: hold.map_or(Duration::ZERO, |hold| hold.value),
        severity: severity.map_or(Severity::Warning, |severity| severity.value),
        message: message.map_or_else(
            || "{channel} is {value} {unit}, its limit is {limit} {unit}".to_owned(),
            |message| message.value,
        ),
    };
    Some((rule, name.span))
}

/// The places of source and channel.
fn channel(section: &Section<'_>, sources: &[ReadSource]) -> Option<(usize, usize)> {
    let channel = section.need("channel", text)?;
    let names = sources.iter().enumerate().flat_map(|(place, source)| {
        let channels = source.channels.iter().enumerate();
        channels.map(move |(channel, name)| ((place, channel), format!("{}.{name}", source.name)))
    });
    let names: Vec<((usize, usize), String)> = names.collect();
    let found = names.iter().find(|(_, name)| *name == channel.value);
    if found.is_none() {
        let mut wrong = unknown(&channel.value, names.iter().map(|(_, name)| name.as_str()));
        wrong.what = format!("{}: there is no such channel", wrong.what);
        section.wrong("channel", channel.span, &wrong);
    }
    found.map(|(place, _)| *place)
}

/// A text whose names in braces are all known.
fn message(value: &toml::de::DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let mut rest = text.as_str();
    while let Some(start) = rest.find('{') {
        let end = rest[start..]
            .find('}')
            .map_or(rest.len(), |end| start + end + 1);
        let placeholder = &rest[start..end];
        if !PLACEHOLDERS.contains(&placeholder) {
            let shown = super::values::shortened(placeholder);
            let label = format!("known are {}", PLACEHOLDERS.join(", "));
            return Err(Wrong::new(
                format!("names {shown}, which is not known"),
                label,
            ));
        }
        rest = &rest[end..];
    }
    Ok(text)
}
