//! `[[rule]]`: what is looked at, when it is an alert, and who is told.

use std::ops::Range;
use std::time::Duration;

use glob::Pattern;
use toml::de::DeValue;

use super::expression::Catalogue;
use super::section::{At, Section, name};
use super::values::{Wrong, any_number, choice, duration, flag, number, text, texts, unknown};
use crate::alert::{
    CONDITION_INPUTS_MAX, Condition, Kind, Limits, RuleOptions, Severity, Side, Template,
    TemplateError,
};

/// The longest wait of any kind: a year.
const WAIT_MAX: Duration = Duration::from_secs(31_536_000);
/// Labels of a rule at most, and the longest.
const LABELS_MAX: usize = 32;
const LABEL_CHARS_MAX: usize = 256;

/// A channel: its source, and its place in that.
type Place = (usize, usize);

/// The kinds by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Threshold,
    Rate,
    Forecast,
    Stuck,
    NoData,
}

const WORDS: [(&str, Word); 5] = [
    ("threshold", Word::Threshold),
    ("rate", Word::Rate),
    ("forecast", Word::Forecast),
    ("stuck", Word::Stuck),
    ("no-data", Word::NoData),
];

/// A rule, and where what others have to check stands.
pub(super) struct ReadRule<'a> {
    pub(super) options: RuleOptions,
    pub(super) section: Section<'a>,
    /// Of `notify`.
    pub(super) notify: Option<Range<usize>>,
}

/// The rules. Unknown keys are not told yet: the caller may have more to ask for.
pub(super) fn read_all<'a>(root: &Section<'a>, catalogue: &Catalogue) -> Vec<ReadRule<'a>> {
    let mut rules: Vec<ReadRule<'a>> = Vec::new();
    for section in root.list("rule") {
        let read = read(&section, catalogue);
        section.finish();
        let Some((options, span, notify)) = read else {
            continue;
        };
        if rules.iter().any(|known| known.options.name == options.name) {
            let wrong = Wrong::new(
                format!("is \"{}\", the name of another rule", options.name),
                "every rule has a name of its own",
            );
            section.wrong("name", span, &wrong);
        }
        rules.push(ReadRule {
            options,
            section,
            notify,
        });
    }
    rules
}

/// The rules that some patterns name, by place.
pub(super) fn named(value: &DeValue<'_>, rules: &[ReadRule<'_>]) -> Result<Vec<usize>, Wrong> {
    let mut found = Vec::new();
    for pattern in texts(value)? {
        let parsed = Pattern::new(&pattern).map_err(|error| {
            let what = format!("has \"{pattern}\", which is no pattern: {error}");
            Wrong::new(what, "* and ? stand for any text and any character")
        })?;
        let places: Vec<usize> = (0..rules.len())
            .filter(|place| parsed.matches(&rules[*place].options.name))
            .collect();
        if places.is_empty() {
            let names = rules.iter().map(|rule| rule.options.name.as_str());
            let mut wrong = unknown(&pattern, names);
            wrong.what = format!("has \"{pattern}\": no rule is called so");
            return Err(wrong);
        }
        found.extend(places);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

type Read = (RuleOptions, Range<usize>, Option<Range<usize>>);

fn read(section: &Section<'_>, catalogue: &Catalogue) -> Option<Read> {
    let name = section.need("name", name);
    let (place, kind) = if section.has("when") {
        let kind = expression(section, catalogue);
        (
            kind.as_ref().and_then(|kind| kind.1),
            kind.map(|kind| kind.0),
        )
    } else {
        (channel(section, catalogue), kind(section))
    };
    let wait = |least: Duration| duration((least, WAIT_MAX));
    let hold = section.get("for", wait(Duration::ZERO));
    let keep = section.get("keep", wait(Duration::ZERO));
    let cooldown = section.get("cooldown", wait(Duration::ZERO));
    let latch = section.get("latch", flag);
    let severity = section.get("severity", choice(&Severity::NAMES));
    let labels = labels(section);
    let known = |name: &str| {
        let label = name.strip_prefix("label.");
        let is_label = |label: &str| labels.iter().any(|(known, _)| known == label);
        RuleOptions::PLACEHOLDERS.contains(&name) || label.is_some_and(is_label)
    };
    let message = section.get("message", |value| {
        template(value, &RuleOptions::PLACEHOLDERS, known)
    });
    let notify = section.get("notify", texts);
    let (name, place, kind) = (name?, place?, kind?);
    let mut rule = RuleOptions::new(&name.value, place, kind);
    let zero = |wait: Option<At<Duration>>| wait.map_or(Duration::ZERO, |wait| wait.value);
    (rule.hold, rule.keep, rule.cooldown) = (zero(hold), zero(keep), zero(cooldown));
    rule.latch = latch.is_some_and(|latch| latch.value);
    rule.severity = severity.map_or(rule.severity, |severity| severity.value);
    rule.labels = labels;
    if let Some(message) = message {
        rule.message = message.value;
    }
    let span = notify.as_ref().map(|notify| notify.span.clone());
    rule.notify = notify.map(|notify| notify.value);
    Some((rule, name.span, span))
}

fn kind(section: &Section<'_>) -> Option<Kind> {
    let word = section.get("kind", choice(&WORDS));
    if word.is_none() && section.has("kind") {
        // Whatever belongs to the kind that was meant is not unknown.
        let limits = ["above", "below", "clear"].map(|key| section.get(key, any_number));
        let times = ["within", "over", "after"]
            .map(|key| section.get(key, duration((Duration::ZERO, WAIT_MAX))));
        let _ = (limits, times, section.get("tolerance", any_number));
        return None;
    }
    let word = word.map_or(Word::Threshold, |word| word.value);
    let some = Duration::from_millis(1);
    let wait = || duration((some, WAIT_MAX));
    // Every key is asked for before a missing one ends it, so that none counts as unknown.
    match word {
        Word::Threshold => limits(section).map(Kind::Threshold),
        Word::Rate => {
            let (limits, over) = (limits(section), section.get("over", wait()));
            Some(Kind::Rate {
                limits: limits?,
                over: over.map_or(Duration::from_secs(1), |over| over.value),
            })
        }
        Word::Forecast => {
            let limits = limits(section);
            let within = section.need("within", wait());
            let over = section.get("over", wait());
            let (limits, within) = (limits?, within?.value);
            Some(Kind::Forecast {
                limits,
                within,
                // A trend seen for so long may be believed for as long again.
                over: over.map_or(within, |over| over.value),
            })
        }
        Word::Stuck => {
            let after = section.need("after", wait());
            let tolerance = section.get("tolerance", number(0.0..=f64::MAX));
            Some(Kind::Stuck {
                after: after?.value,
                tolerance: tolerance.map_or(0.0, |tolerance| tolerance.value),
            })
        }
        Word::NoData => section
            .need("after", wait())
            .map(|after| Kind::NoData { after: after.value }),
    }
}

fn limits(section: &Section<'_>) -> Option<Limits> {
    let (above, below) = (
        section.get("above", any_number),
        section.get("below", any_number),
    );
    let clear = section.get("clear", any_number);
    let (side, limit) = match (above, below) {
        (Some(above), None) => (Side::Above, above),
        (None, Some(below)) => (Side::Below, below),
        (Some(_), Some(below)) => {
            let wrong = Wrong::new(
                "stands beside `above`",
                "one of the two; make two rules of it",
            );
            section.wrong("below", below.span, &wrong);
            return None;
        }
        (None, None) => {
            if !section.has("above") && !section.has("below") {
                section.missing("above", Some("give the limit: above = 2.5, or below = 2.5"));
            }
            return None;
        }
    };
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
    Some(Limits {
        side,
        limit: limit.value,
        clear: clear.map_or(limit.value, |clear| clear.value),
    })
}

/// `when`, and `clear` if it is a condition of its own; and the first channel in it.
fn expression(section: &Section<'_>, catalogue: &Catalogue) -> Option<(Kind, Option<Place>)> {
    let when = section.get("when", text);
    let clear = section.get("clear", text);
    let condition = |key: &str, text: &At<String>| condition(section, (key, text), catalogue);
    let has_clear = section.has("clear");
    let when = condition("when", &when?);
    let clear = clear.and_then(|text| condition("clear", &text));
    let when = when.filter(|_| clear.is_some() == has_clear)?;
    let mut places = when.places.clone();
    places.extend(clear.iter().flat_map(|clear| &clear.places));
    places.sort_unstable();
    places.dedup();
    if places.len() > CONDITION_INPUTS_MAX {
        let what = format!(
            "looks at {} channels, more than {CONDITION_INPUTS_MAX}",
            places.len()
        );
        let span = section.get("when", text).map(|when| when.span);
        let wrong = Wrong::new(what, "fewer are expected");
        section.wrong("when", span.unwrap_or(0..0), &wrong);
        return None;
    }
    let first = when.places.first().copied();
    Some((Kind::Expression { when, clear }, first))
}

fn condition(
    section: &Section<'_>,
    (key, text): (&str, &At<String>),
    catalogue: &Catalogue,
) -> Option<Condition> {
    let expression = super::expression::compile(section, key, text, catalogue)?;
    if let Some(unit) = expression.unit() {
        let mut wrong = Wrong::new(
            "is a value, and must be a condition",
            format!("in {unit}: compare it with something"),
        );
        wrong.help = Some("as in \"chamber.pressure > 2.5 bar\"".to_owned());
        section.wrong(key, text.span.clone(), &wrong);
        return None;
    }
    let inputs = expression.inputs().iter();
    let places = inputs.map(|input| catalogue.entry(input.channel).place);
    Some(Condition {
        places: places.collect(),
        expression: Box::new(expression),
    })
}

/// The places of source and channel.
fn channel(section: &Section<'_>, catalogue: &Catalogue) -> Option<Place> {
    let channel = section.need("channel", text)?;
    let entries = catalogue.entries();
    let found = entries.iter().find(|entry| entry.name == channel.value);
    if found.is_none() {
        let mut wrong = unknown(
            &channel.value,
            entries.iter().map(|entry| entry.name.as_str()),
        );
        wrong.what = format!("{}: there is no such channel", wrong.what);
        section.wrong("channel", channel.span, &wrong);
    }
    found.map(|entry| entry.place)
}

/// `labels = { room = "B12" }`
fn labels(section: &Section<'_>) -> Vec<(String, String)> {
    let read = |value: &DeValue<'_>| {
        let Some(table) = value.as_table() else {
            return Err(Wrong::new(
                "must be a table of texts",
                "as in { room = \"B12\" }",
            ));
        };
        if table.len() > LABELS_MAX {
            let what = format!("has {} labels, more than {LABELS_MAX}", table.len());
            return Err(Wrong::new(what, "fewer are expected"));
        }
        let label = |(key, value): (
            &toml::Spanned<std::borrow::Cow<'_, str>>,
            &toml::Spanned<DeValue<'_>>,
        )| {
            let text = text(value.get_ref())?;
            if key.get_ref().len() > LABEL_CHARS_MAX || text.len() > LABEL_CHARS_MAX {
                let what = format!("has a label of more than {LABEL_CHARS_MAX} bytes");
                return Err(Wrong::new(what, "shorter ones are expected"));
            }
            Ok((key.get_ref().to_string(), text))
        };
        table.iter().map(label).collect()
    };
    section
        .get("labels", read)
        .map_or_else(Vec::new, |labels| labels.value)
}

/// A text whose names in braces are all known.
pub(super) fn template(
    value: &DeValue<'_>,
    known: &[&str],
    is_known: impl Fn(&str) -> bool,
) -> Result<Template, Wrong> {
    Template::parse(&text(value)?, is_known).map_err(|error| wrong_template(&error, known))
}

/// What is said of a text that is no template.
pub(super) fn wrong_template(error: &TemplateError, known: &[&str]) -> Wrong {
    let label = match error {
        TemplateError::Unknown { .. } => {
            let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
            format!("known are {}", known.join(", "))
        }
        TemplateError::Brace { .. } => "braces stand around the name of a value".to_owned(),
    };
    Wrong::new(error.to_string(), label)
}
