//! `[notifier.NAME]`: who is told of alerts; and `[[silence]]`: when nobody is.
//!
//! The kinds and their keys are those that `notify` lists: this file knows none by name.

use std::time::Duration;

use toml::de::DeValue;

use super::rule::{self, ReadRule};
use super::section::{At, Section};
use super::source::ReadSource;
use super::values::{Wrong, choice, duration, flag, integer, message, size, text, texts, unknown};
use crate::alert::{Change, Severity, Silence};
use crate::notify::{self, KINDS, Key, KeyKind, Kind, Settings, Value};

/// What a notifier is told of unless it says otherwise.
const ON: [Change; 3] = [Change::Fired, Change::Cleared, Change::Unsilenced];
/// An interlock acts when it fires, and when its cause is back.
const ON_INTERLOCK: [Change; 2] = [Change::Fired, Change::Resumed];

/// How long a message is tried unless its notifier says otherwise.
const GIVE_UP: Duration = Duration::from_secs(900);

/// The notifiers in these tables; those that rules name must be among them.
pub(super) fn read_all(
    tables: &[Section<'_>],
    sources: &[ReadSource],
    rules: &[ReadRule<'_>],
) -> Vec<notify::Options> {
    let read = |section: &Section<'_>| read(section, sources);
    let notifiers: Vec<notify::Options> = tables.iter().filter_map(read).collect();
    check_named(rules, tables);
    notifiers
}

fn read(section: &Section<'_>, sources: &[ReadSource]) -> Option<notify::Options> {
    section.check_name("notifier");
    let kinds: Vec<(&str, &'static Kind)> = KINDS.iter().map(|kind| (kind.name, *kind)).collect();
    let kind = section.need("type", choice(&kinds));
    let severity = section.get("severity", choice(&Severity::NAMES));
    let on = section.get("on", changes);
    let limits = (Duration::ZERO, Duration::from_secs(30 * 86_400));
    let Some(At { value: kind, .. }) = kind else {
        // Its other keys belong to the kind that was meant: they are neither known nor unknown.
        let _ = section.get("give_up", duration(limits));
        return None;
    };
    let is_durable = !kind.is_interlock;
    let give_up = is_durable
        .then(|| section.get("give_up", duration(limits)))
        .flatten();
    let mut settings = Settings::default();
    let mut is_whole = true;
    for key in kind.keys {
        match value(section, key, sources) {
            Some(value) => settings.set(key.name, value),
            None => is_whole &= !section.has(key.name) && !key.needed,
        }
    }
    section.finish();
    if !is_whole {
        return None;
    }
    // Made once to find out whether it can be; what is made is thrown away.
    if let Err(wrong) = (kind.make)(&settings) {
        let span = section.get(wrong.key, |_| Ok(())).map(|at| at.span);
        let said = Wrong::new(wrong.what, wrong.label);
        section.wrong(
            wrong.key,
            span.unwrap_or_else(|| section.span.clone()),
            &said,
        );
        return None;
    }
    let on_default: &[Change] = if kind.is_interlock {
        &ON_INTERLOCK
    } else {
        &ON
    };
    Some(notify::Options {
        name: section.name().to_owned(),
        kind,
        settings,
        severity: severity.map_or(Severity::Info, |severity| severity.value),
        on: on.map_or_else(|| on_default.to_vec(), |on| on.value),
        give_up: give_up.map_or(GIVE_UP, |give_up| give_up.value),
    })
}

fn changes(value: &DeValue<'_>) -> Result<Vec<Change>, Wrong> {
    let one = choice(&Change::NAMES);
    let array = value
        .as_array()
        .ok_or_else(|| Wrong::new("must be a list", "as in [\"fired\", \"cleared\"]"))?;
    if array.is_empty() {
        return Err(Wrong::new("is empty", "a notifier is told of something"));
    }
    array.iter().map(|item| one(item.get_ref())).collect()
}

fn value(section: &Section<'_>, key: &Key, sources: &[ReadSource]) -> Option<Value> {
    let name = key.name;
    if key.needed && !section.has(name) {
        section.missing(name, None);
        return None;
    }
    let found = match key.kind {
        KeyKind::Text => Value::Text(section.get(name, text)?.value),
        KeyKind::Texts => Value::Texts(section.get(name, texts)?.value),
        KeyKind::Flag => Value::Flag(section.get(name, flag)?.value),
        KeyKind::Duration(least, most) => {
            Value::Duration(section.get(name, duration((least, most)))?.value)
        }
        KeyKind::Integer(least, most) => {
            let found = section.get(name, integer(least..=most))?.value;
            Value::Integer(found.unsigned_abs())
        }
        KeyKind::Size(least, most) => Value::Integer(section.get(name, size(least..=most))?.value),
        KeyKind::Message => {
            let expected = "a text or { hex = \"…\" }, as in \"STOP\\r\\n\"";
            Value::Bytes(section.get(name, |value| message(value, expected))?.value)
        }
        KeyKind::Table => Value::Table(section.get(name, table)?.value),
        KeyKind::Json => Value::Json(section.get(name, |value| json(value, 0))?.value),
        KeyKind::Source => {
            let names = || sources.iter().map(|source| source.name.as_str());
            let place = section.get(name, |value| {
                let wanted = text(value)?;
                let place = names().position(|name| name == wanted);
                place.ok_or_else(|| unknown(&wanted, names()))
            })?;
            Value::Integer(place.value as u64)
        }
    };
    Some(found)
}

fn table(value: &DeValue<'_>) -> Result<Vec<(String, String)>, Wrong> {
    let table = value.as_table().ok_or_else(|| {
        Wrong::new(
            "must be a table of texts",
            "as in { Authorization = \"…\" }",
        )
    })?;
    let entries = table.iter();
    let entry = |(key, value): (
        &toml::Spanned<std::borrow::Cow<'_, str>>,
        &toml::Spanned<DeValue<'_>>,
    )| { Ok((key.get_ref().to_string(), text(value.get_ref())?)) };
    entries.map(entry).collect()
}

/// Any value as JSON. TOML's dates become texts.
fn json(value: &DeValue<'_>, depth: usize) -> Result<serde_json::Value, Wrong> {
    const DEPTH_MAX: usize = 16;
    if depth > DEPTH_MAX {
        return Err(Wrong::new(
            "is nested too deep",
            format!("at most {DEPTH_MAX} deep"),
        ));
    }
    Ok(match value {
        DeValue::String(text) => text.to_string().into(),
        DeValue::Integer(_) => integer(i64::MIN..=i64::MAX)(value)?.into(),
        DeValue::Float(_) => super::values::any_number(value)?.into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(array) => {
            let items = array.iter().map(|item| json(item.get_ref(), depth + 1));
            serde_json::Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let mut object = serde_json::Map::new();
            for (key, value) in table {
                object.insert(key.get_ref().to_string(), json(value.get_ref(), depth + 1)?);
            }
            serde_json::Value::Object(object)
        }
    })
}

/// The notifiers that rules name must be there. One that is wrong is told of at its own place.
fn check_named(rules: &[ReadRule<'_>], tables: &[Section<'_>]) {
    for rule in rules {
        let Some(span) = &rule.notify else { continue };
        for name in rule.options.notify.iter().flatten() {
            if tables.iter().any(|table| table.name() == name) {
                continue;
            }
            let mut wrong = unknown(name, tables.iter().map(Section::name));
            let shown = super::values::shortened(name);
            wrong.what = format!("names \"{shown}\": there is no such notifier");
            rule.section.wrong("notify", span.clone(), &wrong);
        }
    }
}

/// `[[silence]]`
pub(super) fn silences(root: &Section<'_>, rules: &[ReadRule<'_>]) -> Vec<Silence> {
    let mut silences = Vec::new();
    for section in root.list("silence") {
        let matching = section.need("rules", |value| rule::named(value, rules));
        let from = section.get("from", time);
        let to = section.need("to", time);
        let _reason = section.get("reason", text);
        section.finish();
        let from_ns = from.map_or(i64::MIN, |from| from.value);
        let (Some(rules), Some(to)) = (matching, to) else {
            continue;
        };
        if to.value <= from_ns {
            let wrong = Wrong::new("is not after `from`", "a later time is expected");
            section.wrong("to", to.span, &wrong);
            continue;
        }
        silences.push(Silence {
            rules: rules.value,
            from_ns,
            to_ns: to.value,
        });
    }
    silences
}

/// A time: RFC 3339 as a text, or TOML's own date and time; without a zone it is UTC.
fn time(value: &DeValue<'_>) -> Result<i64, Wrong> {
    let written = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        _ => return Err(Wrong::new("must be a time", "as in 2026-11-23T08:00:00Z")),
    };
    let zoned = written.parse::<jiff::Timestamp>().ok();
    let plain = || {
        let time = written.parse::<jiff::civil::DateTime>().ok()?;
        let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp())
    };
    let time = zoned.or_else(plain);
    time.and_then(|time| i64::try_from(time.as_nanosecond()).ok())
        .ok_or_else(|| {
            let shown = super::values::shortened(&written);
            Wrong::new(
                format!("is \"{shown}\", which is no time"),
                "as in 2026-11-23T08:00:00Z",
            )
        })
}
