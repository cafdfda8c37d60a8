//! `type = "nmea"` and `type = "ubx"`: a navigation receiver.

use kymo_drivers::protocol::nmea::{self, FieldKind, FrameBy, Rules};
use kymo_drivers::protocol::{Options, ubx};
use toml::de::DeValue;

use super::Places;
use crate::config::section::Section;
use crate::config::values::{Wrong, choice, integer, number, text, texts, unknown};

type Channels<'a> = [(Section<'a>, String)];

pub(super) fn nmea(
    section: &Section<'_>,
    channels: &Channels<'_>,
    places: &mut Places,
) -> Option<Options> {
    let read = |channel: &Section<'_>| {
        if channel.is_table("field") {
            let table = channel.table("field")?;
            let field = sentence_field(&table);
            table.finish();
            return field;
        }
        let (sentence, quantity) = channel.need("field", named(false))?.value;
        Some(sentence_quantity(sentence, quantity))
    };
    let fields = fields(channels, places, NMEA_HELP, read);
    let rules = rules(section, fields.as_deref(), nmea_is_timed, places);
    let (fields, rules) = (fields?, rules?);
    Some(Options::Nmea(nmea::Options { fields, rules }))
}

pub(super) fn ubx(
    section: &Section<'_>,
    channels: &Channels<'_>,
    places: &mut Places,
) -> Option<Options> {
    let read = |channel: &Section<'_>| {
        if channel.is_table("field") {
            let table = channel.table("field")?;
            let field = if table.has("message") {
                message_field(&table)
            } else {
                sentence_field(&table).map(ubx::Field::Sentence)
            };
            table.finish();
            return field;
        }
        let (name, quantity) = channel.need("field", named(true))?.value;
        Some(if is_message(&name) {
            ubx::Field::Message {
                message: name,
                value: ubx::Value::Quantity(quantity),
            }
        } else {
            ubx::Field::Sentence(sentence_quantity(name, quantity))
        })
    };
    let fields = fields(channels, places, UBX_HELP, read);
    let is_timed = |field: &ubx::Field| match field {
        ubx::Field::Sentence(field) => nmea_is_timed(field),
        ubx::Field::Message { message, .. } => ubx::quantities(message).is_some(),
    };
    let rules = rules(section, fields.as_deref(), is_timed, places);
    let payload_max = section.get(
        "payload_max",
        integer(1..=i64::try_from(ubx::PAYLOAD_BYTES_MAX_LIMIT).unwrap_or(i64::MAX)),
    );
    let payload_max = places.noted("payload_max", payload_max);
    let (fields, rules) = (fields?, rules?);
    Some(Options::Ubx(ubx::Options {
        fields,
        rules,
        payload_bytes_max: payload_max
            .and_then(|max| usize::try_from(max).ok())
            .unwrap_or(ubx::PAYLOAD_BYTES_MAX_DEFAULT),
    }))
}

const NMEA_HELP: &str = "say which value it is: field = \"RMC.latitude\", or \
     { sentence = \"PGRME\", index = 1, type = \"number\" }";
const UBX_HELP: &str = "say which value it is: field = \"NAV-PVT.latitude\", or \"RMC.latitude\", or \
     { message = \"0A 09\", at = 4, type = \"U2\" }";

/// Every channel's field, if all are right.
fn fields<T>(
    channels: &Channels<'_>,
    places: &mut Places,
    help: &str,
    read: impl Fn(&Section<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let fields: Vec<Option<T>> = channels
        .iter()
        .enumerate()
        .map(|(index, (channel, _))| {
            if !channel.has("field") {
                channel.missing("field", Some(help));
                return None;
            }
            // Where it stands, for what only the protocol can judge.
            let span = channel.get("field", |_| Ok(()))?.span;
            places.0.push((format!("field {index}"), span));
            read(channel)
        })
        .collect();
    fields.into_iter().collect()
}

/// `RMC.latitude`, `GNRMC.latitude`; `NAV-PVT.latitude` where there are messages.
fn named(has_messages: bool) -> impl Fn(&DeValue<'_>) -> Result<(String, String), Wrong> {
    move |value| {
        let found = text(value)?;
        let (sentence, quantity) = found
            .split_once('.')
            .ok_or_else(|| Wrong::new("must be as in \"RMC.latitude\"", "SENTENCE.quantity"))?;
        if is_message(sentence) && !has_messages {
            let mut wrong = Wrong::new(
                format!("is \"{found}\", of a binary message"),
                "no sentence",
            );
            wrong.help = Some("type = \"ubx\" reads those, and sentences, too".to_owned());
            return Err(wrong);
        }
        let known = if is_message(sentence) {
            ubx::quantities(sentence)
        } else {
            nmea::quantities(formatter(sentence))
        };
        if let Some(known) = known
            && !known.contains(&quantity)
        {
            let mut wrong = unknown(quantity, known.into_iter());
            wrong.what = format!("is \"{found}\", and {sentence} has no such quantity");
            return Err(wrong);
        }
        Ok((sentence.to_owned(), quantity.to_owned()))
    }
}

fn is_message(name: &str) -> bool {
    name.contains(['-', ' '])
}

/// The three letters behind the talker, if any.
fn formatter(sentence: &str) -> &str {
    let start = sentence.len().saturating_sub(3);
    sentence.get(start..).unwrap_or_default()
}

fn sentence_quantity(sentence: String, quantity: String) -> nmea::Field {
    nmea::Field {
        sentence,
        value: nmea::Value::Quantity(quantity),
    }
}

/// `{ sentence = "PGRME", index = 1, type = "number" }`
fn sentence_field(table: &Section<'_>) -> Option<nmea::Field> {
    #[derive(Clone, Copy)]
    enum Kind {
        Number,
        Hexadecimal,
        Time,
        Date,
        Latitude,
        Longitude,
        Equals,
    }
    let kinds = [
        ("number", Kind::Number),
        ("hex", Kind::Hexadecimal),
        ("time", Kind::Time),
        ("date", Kind::Date),
        ("latitude", Kind::Latitude),
        ("longitude", Kind::Longitude),
        ("equals", Kind::Equals),
    ];
    let sentence = table.need("sentence", text);
    let last = i64::try_from(nmea::FIELD_INDEX_MAX).unwrap_or(i64::MAX);
    let index = table.need("index", integer(1..=last));
    let kind = table.need("type", choice(&kinds));
    let part = table.get("part", integer(1..=9999));
    let kind = match kind?.value {
        Kind::Number => FieldKind::Number,
        Kind::Hexadecimal => FieldKind::Hexadecimal,
        Kind::Time => FieldKind::Time,
        Kind::Date => FieldKind::Date,
        Kind::Latitude => FieldKind::Latitude,
        Kind::Longitude => FieldKind::Longitude,
        Kind::Equals => FieldKind::Equals(table.need("text", text)?.value),
    };
    Some(nmea::Field {
        sentence: sentence?.value,
        value: nmea::Value::At {
            index: usize::try_from(index?.value).ok()?,
            kind,
            part: part.and_then(|part| u32::try_from(part.value).ok()),
        },
    })
}

/// `{ message = "NAV-PVT", at = 21, type = "X1", bit = 6, bits = 2 }`
fn message_field(table: &Section<'_>) -> Option<ubx::Field> {
    let message = table.need("message", text);
    let at = table.need("at", integer(0..=65_534));
    let kind = table.need("type", choice(&ubx::Number::NAMES));
    let scale = table.get("scale", number(f64::MIN..=f64::MAX));
    if let Some(scale) = scale.as_ref().filter(|scale| scale.value == 0.0) {
        let wrong = Wrong::new("is 0, which makes every value the same", "not 0");
        table.wrong("scale", scale.span.clone(), &wrong);
    }
    let bit = table.get("bit", integer(0..=31));
    let bits = table.get("bits", integer(1..=32));
    let low = bit.as_ref().map(|bit| bit.value);
    let count = bits.map(|bits| bits.value);
    if let (None, Some(_)) = (low, count) {
        table.missing("bit", Some("`bit` is the lowest of them, from 0"));
        return None;
    }
    let small = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    Some(ubx::Field::Message {
        message: message?.value,
        value: ubx::Value::At {
            at: usize::try_from(at?.value).ok()?,
            number: kind?.value,
            bits: low.map(|low| (small(low), small(count.unwrap_or(1)))),
            scale: scale.map_or(1.0, |scale| scale.value),
        },
    })
}

fn nmea_is_timed(field: &nmea::Field) -> bool {
    nmea::quantities(formatter(&field.sentence)).is_some_and(|names| names.contains(&"time"))
}

/// What makes a frame, and what concerns all sentences. Where no channel's message has a time, nothing would tell one
/// epoch from the next: then each sentence is a frame, unless declared otherwise.
fn rules<T>(
    section: &Section<'_>,
    fields: Option<&[T]>,
    is_timed: impl Fn(&T) -> bool,
    places: &mut Places,
) -> Option<Rules> {
    let frames = [("epoch", true), ("sentence", false)];
    let frame = section.get("frame", choice(&frames));
    let first = places.noted("first", section.get("first", text));
    let last = section.get("last", text);
    let has_boundary = first.is_some() || last.is_some();
    let by_default = has_boundary || fields.is_some_and(|fields| fields.iter().any(is_timed));
    let is_by_epoch = frame.as_ref().map_or(by_default, |frame| frame.value);
    if let Some(frame) = frame.filter(|frame| !frame.value && has_boundary) {
        let wrong = Wrong::new(
            "is \"sentence\", and only an epoch has a first and a last one",
            "leave it out, or `first` and `last`",
        );
        section.wrong("frame", frame.span, &wrong);
    }
    let last = places.noted("last", last);
    let talkers = places.noted("talkers", section.get("talkers", texts));
    let optional = [("required", false), ("optional", true)];
    let checksum = section.get("checksum", choice(&optional));
    let longest = i64::try_from(nmea::SENTENCE_BYTES_MAX_LIMIT).unwrap_or(i64::MAX);
    let sentence_max = section.get("sentence_max", integer(16..=longest));
    let sentence_max = places.noted("sentence_max", sentence_max);
    Some(Rules {
        frame: if is_by_epoch {
            FrameBy::Epoch { first, last }
        } else {
            FrameBy::Sentence
        },
        talkers: talkers.unwrap_or_default(),
        checksum_optional: checksum.is_some_and(|checksum| checksum.value),
        sentence_bytes_max: sentence_max
            .and_then(|max| usize::try_from(max).ok())
            .unwrap_or(nmea::SENTENCE_BYTES_MAX_DEFAULT),
    })
}
