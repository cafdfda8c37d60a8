//! `type = "scpi"`: an instrument that is queried.

use std::time::Duration;

use kymo_drivers::protocol::scpi::{self, Channel, Identity, Query, Sample, Waveform};
use kymo_drivers::protocol::{Options, WAIT_LIMITS};
use toml::de::DeValue;

use super::Places;
use crate::config::section::Section;
use crate::config::values::{
    Wrong, any_number, choice, duration, flag, integer, messages, number, text,
};

pub(super) fn read(
    section: &Section<'_>,
    channels: &[(Section<'_>, String)],
    places: &mut Places,
) -> Option<Options> {
    let cycle = places.noted("cycle", section.need("cycle", duration(WAIT_LIMITS)));
    let timeout = places.noted("timeout", section.get("timeout", duration(WAIT_LIMITS)));
    let (backoff_first, backoff_max) = super::backoff(section, places);
    let terminator = places.noted("terminator", section.get("terminator", line_end));
    let identity = identity(section, places);
    let start = places.noted("start", section.get("start", commands));
    let pause = section.get("pause", duration((Duration::ZERO, Duration::from_secs(60))));
    let errors = places.noted("errors", section.get("errors", text_or_none));
    let waveform = if section.has("waveform") {
        Some(waveform(section, places)?)
    } else {
        None
    };
    let mut queries = Vec::new();
    let channels: Vec<Option<Channel>> = channels
        .iter()
        .enumerate()
        .map(|(index, (channel, _))| query(index, channel, &mut queries, places))
        .collect();
    Some(Options::Scpi(scpi::Options {
        cycle: cycle?,
        timeout: timeout.unwrap_or(Duration::from_secs(2)),
        backoff_first,
        backoff_max,
        terminator: terminator.unwrap_or_else(|| "\n".to_owned()),
        identity,
        start: start.unwrap_or_default(),
        pause: pause.map_or(Duration::ZERO, |pause| pause.value),
        errors: errors.unwrap_or_else(|| Some("SYST:ERR?".to_owned())),
        queries,
        channels: channels.into_iter().collect::<Option<_>>()?,
        waveform,
    }))
}

/// Line feed, carriage return, or both.
fn line_end(value: &DeValue<'_>) -> Result<String, Wrong> {
    // `text` would do but for its words about what is expected.
    text(value).map_err(|wrong| Wrong::new(wrong.what, "\"\\n\", \"\\r\\n\" or \"\\r\""))
}

/// A text; the empty one stands for none.
#[allow(clippy::option_option)] // Outer: it is there; inner: it says something.
fn text_or_none(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    if value.as_str() == Some("") {
        return Ok(None);
    }
    text(value).map(Some)
}

/// `identity = "PATTERN"`, or `false`.
fn identity(section: &Section<'_>, places: &mut Places) -> Identity {
    let read = |value: &DeValue<'_>| match value.as_bool() {
        Some(is_asked) => flag(value).map(|_| {
            if is_asked {
                Identity::Any
            } else {
                Identity::NotAsked
            }
        }),
        None => text(value).map(Identity::Pattern),
    };
    let found = places.noted("identity", section.get("identity", read));
    found.unwrap_or(Identity::Any)
}

fn commands(value: &DeValue<'_>) -> Result<Vec<String>, Wrong> {
    let found = messages(value)?.into_iter().map(String::from_utf8);
    found.collect::<Result<_, _>>().map_err(|_| {
        Wrong::new(
            "holds bytes that are no text",
            "commands are text, as in [\"CONF:VOLT:DC 10\"]",
        )
    })
}

/// `waveform = { … }`
fn waveform(section: &Section<'_>, places: &mut Places) -> Option<Waveform> {
    let table = section.table("waveform")?;
    places.0.push(("waveform".to_owned(), table.span.clone()));
    let sample = table.need("type", choice(&Sample::NAMES));
    let order = table.get("order", choice(&[("big", true), ("little", false)]));
    let rate = table.need("sample_rate_hz", number(1e-3..=1e9));
    let samples_max = table.get("samples_max", integer(1..=1 << 32));
    table.finish();
    Some(Waveform {
        sample: sample?.value,
        is_big_endian: order.is_none_or(|order| order.value),
        sample_rate_hz: rate?.value,
        samples_max: samples_max.map_or(1 << 20, |max| max.value.unsigned_abs()),
    })
}

/// `query = { … }` of a channel: channels with the same question share it.
fn query(
    index: usize,
    channel: &Section<'_>,
    queries: &mut Vec<Query>,
    places: &mut Places,
) -> Option<Channel> {
    let help = "say what is asked for it: query = { ask = \"MEAS:VOLT?\", value = 0 }";
    let table = channel.need_table("query", help)?;
    places
        .0
        .push((format!("field {index}"), table.span.clone()));
    let ask = table.need("ask", text);
    let value = table.get("value", integer(0..=9999));
    let every = table.get("every", integer(1..=1_000_000_000));
    let scale = table.get("scale", number(f64::MIN..=f64::MAX));
    let offset = table.get("offset", any_number);
    table.finish();
    if let Some(scale) = scale.as_ref().filter(|scale| scale.value == 0.0) {
        let wrong = Wrong::new("is 0, which makes every value the same", "not 0");
        table.wrong("scale", scale.span.clone(), &wrong);
    }
    let ask = ask?.value;
    let known = queries.iter().position(|known| known.ask == ask);
    let place = known.unwrap_or_else(|| {
        let every = every.as_ref().map_or(1, |every| every.value);
        queries.push(Query {
            ask,
            every: u32::try_from(every).unwrap_or(1),
        });
        queries.len() - 1
    });
    if let Some(every) = every
        && i64::from(queries[place].every) != every.value
    {
        let what = format!(
            "is {}, and {} for an earlier channel with the same question",
            every.value, queries[place].every
        );
        table.wrong(
            "every",
            every.span,
            &Wrong::new(what, "one pace a question"),
        );
    }
    Some(Channel {
        query: place,
        value: value
            .and_then(|value| usize::try_from(value.value).ok())
            .unwrap_or(0),
        scale: scale.map_or(1.0, |scale| scale.value),
        offset: offset.map_or(0.0, |offset| offset.value),
    })
}
