//! `[source.NAME.protocol]`, and what each channel says about its place on the wire.

mod receiver;

use std::ops::Range;

use kymo_drivers::protocol::packet::checksum;
use kymo_drivers::protocol::packet::{
    ByteOrder, Checksum, ChecksumKind, Counter, Field, Framing, Length, Scalar,
};
use kymo_drivers::protocol::{Options, lines, packet};

use super::section::{At, Section};
use super::values::{Wrong, any_number, choice, hex, integer, number, shortened, text, unknown};

/// A protocol as far as it could be read.
pub(super) struct Protocol {
    pub(super) options: Options,
    /// Bytes of one frame on the wire, where all have as many.
    pub(super) frame_bytes: Option<usize>,
}

/// Where each part of the declaration stands, by the name that the protocol gives it in its own mistakes.
#[derive(Default)]
struct Places(Vec<(String, Range<usize>)>);

impl Places {
    /// A value, with its place noted.
    fn noted<T>(&mut self, part: &str, found: Option<At<T>>) -> Option<T> {
        let found = found?;
        self.0.push((part.to_owned(), found.span));
        Some(found.value)
    }
}

const HELP: &str = "add [source.NAME.protocol] with type = \"lines\" or type = \"packet\"";

const KINDS: [(&str, Kind); 4] = [
    ("lines", Kind::Lines),
    ("packet", Kind::Packet),
    ("nmea", Kind::Nmea),
    ("ubx", Kind::Ubx),
];

/// Reads the protocol of a source whose link may begin in the middle of a line, or not.
pub(super) fn read(
    source: &Section<'_>,
    channels: &[(Section<'_>, String)],
    starts_whole: bool,
) -> Option<Protocol> {
    let section = source.need_table("protocol", HELP)?;
    let mut places = Places::default();
    let kind = section.need("type", choice(&KINDS))?;
    let (options, frame_bytes) = match kind.value {
        Kind::Lines => (lines(&section, channels, starts_whole, &mut places)?, None),
        Kind::Packet => packet(&section, channels, &mut places)?,
        Kind::Nmea => (receiver::nmea(&section, channels, &mut places)?, None),
        Kind::Ubx => (receiver::ubx(&section, channels, &mut places)?, None),
    };
    section.finish();
    // What only the protocol itself can judge: whether the parts fit each other.
    if let Err(errors) = options.build() {
        for error in errors {
            let place = places.0.iter().find(|(part, _)| *part == error.part);
            let span = place.map_or_else(|| section.span.clone(), |(_, span)| span.clone());
            // A channel's name says more than its number.
            let index = error.part.strip_prefix("field ");
            let channel = index.and_then(|index| channels.get(index.parse::<usize>().ok()?));
            let part = channel.map_or_else(
                || format!("source.{}.protocol.{}", source.name(), error.part),
                |(_, name)| format!("source.{}.{name}", source.name()),
            );
            section
                .found
                .add(span, &format!("`{part}`: {}", error.what), "", None);
        }
        return None;
    }
    Some(Protocol {
        options,
        frame_bytes,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Lines,
    Packet,
    Nmea,
    Ubx,
}

fn lines(
    section: &Section<'_>,
    channels: &[(Section<'_>, String)],
    starts_whole: bool,
    places: &mut Places,
) -> Option<Options> {
    #[derive(Clone, Copy)]
    enum Form {
        Separated,
        KeyValue,
        Pattern,
    }
    let forms = [
        ("values", Form::Separated),
        ("key-value", Form::KeyValue),
        ("pattern", Form::Pattern),
    ];
    let implied = if section.has("pattern") {
        Form::Pattern
    } else {
        Form::Separated
    };
    let form = section
        .get("form", choice(&forms))
        .map_or(implied, |form| form.value);
    let mut separator = |default: &str| {
        let found = places.noted("separator", section.get("separator", text));
        found.unwrap_or_else(|| default.to_owned())
    };
    let form = match form {
        Form::Separated => lines::Form::Separated {
            separator: separator(","),
        },
        Form::KeyValue => {
            let one_character = |value: &toml::de::DeValue<'_>| {
                let found = text(value)?;
                let mut characters = found.chars();
                match (characters.next(), characters.next()) {
                    (Some(character), None) => Ok(character),
                    _ => Err(Wrong::new("must be one character", "as in \"=\"")),
                }
            };
            let separator = separator(" ");
            lines::Form::KeyValue {
                separator,
                assign: places
                    .noted("assign", section.get("assign", one_character))
                    .unwrap_or('='),
            }
        }
        Form::Pattern => lines::Form::Pattern {
            pattern: places.noted("pattern", section.need("pattern", text))?,
        },
    };
    let by_place = matches!(form, lines::Form::Separated { .. });
    let keys = channels.iter().enumerate().map(|(index, (channel, name))| {
        let key = if by_place {
            None
        } else {
            channel.get("key", text)
        };
        let span = key
            .as_ref()
            .map_or_else(|| channel.span.clone(), |key| key.span.clone());
        places.0.push((format!("field {index}"), span));
        key.map_or_else(|| name.clone(), |key| key.value)
    });
    let keys = keys.collect();
    let starts = [("whole", true), ("cut", false)];
    let first_line = section.get("first_line", choice(&starts));
    let line_max = section.get("line_max", integer(1..=1 << 20));
    let line_max = places.noted("line_max", line_max);
    Some(Options::Lines(lines::Options {
        form,
        keys,
        comment: places.noted("comment", section.get("comment", text)),
        first_line_whole: first_line.map_or(starts_whole, |first| first.value),
        line_bytes_max: line_max
            .and_then(|max| usize::try_from(max).ok())
            .unwrap_or(lines::LINE_BYTES_MAX_DEFAULT),
    }))
}

const ORDERS: [(&str, ByteOrder); 2] = [("little", ByteOrder::Little), ("big", ByteOrder::Big)];

fn packet(
    section: &Section<'_>,
    channels: &[(Section<'_>, String)],
    places: &mut Places,
) -> Option<(Options, Option<usize>)> {
    let order = section
        .get("order", choice(&ORDERS))
        .map_or(ByteOrder::Little, |at| at.value);
    let is_cobs = section
        .get("framing", choice(&[("sync", false), ("cobs", true)]))
        .is_some_and(|framing| framing.value);
    let length = length(section, order, places);
    let sync = if is_cobs {
        Some(Vec::new())
    } else {
        let sync = section.need("sync", hex);
        if let Some(sync) = &sync {
            places.0.push(("sync".to_owned(), sync.span.clone()));
        }
        sync.map(|sync| sync.value)
    };
    let counter = counter(section, order, places);
    let checksum = checksum(section, order, places);
    let fields: Vec<Option<Field>> = channels
        .iter()
        .enumerate()
        .map(|(index, (channel, _))| field(index, channel, order, places))
        .collect();
    let fields: Vec<Field> = fields.into_iter().collect::<Option<_>>()?;
    let (length, sync) = (length?, sync?);
    let framing = if is_cobs {
        Framing::Cobs { length }
    } else {
        Framing::Sync {
            bytes: sync,
            length,
        }
    };
    let frame_bytes = match length {
        // One code byte for every 254 bytes begun, and the zero at the end.
        Length::Fixed(bytes) if is_cobs => Some(bytes + bytes.div_ceil(254) + 1),
        Length::Fixed(bytes) => Some(bytes),
        Length::Field { .. } => None,
    };
    let options = packet::Options {
        framing,
        checksum: checksum?,
        counter: counter?,
        fields,
    };
    Some((Options::Packet(options), frame_bytes))
}

/// Byte offsets and lengths in a packet.
fn place(value: &toml::de::DeValue<'_>) -> Result<usize, Wrong> {
    let found = integer(0..=65_535)(value)?;
    usize::try_from(found).map_err(|_| Wrong::new("is too large", "too large"))
}

fn length(section: &Section<'_>, order: ByteOrder, places: &mut Places) -> Option<Length> {
    if !section.is_table("length") {
        let found = section.need("length", place)?;
        places.0.push(("length".to_owned(), found.span));
        return Some(Length::Fixed(found.value));
    }
    let table = section.table("length")?;
    places.0.push(("length".to_owned(), table.span.clone()));
    let at = table.need("at", place);
    let scalar = table.need("type", choice(&Scalar::NAMES));
    let order = table
        .get("order", choice(&ORDERS))
        .map_or(order, |at| at.value);
    let add = table
        .get("add", integer(-65_535..=65_535))
        .map_or(0, |add| add.value);
    let max = table.get("max", place).map_or(1024, |max| max.value);
    table.finish();
    Some(Length::Field {
        at: at?.value,
        scalar: scalar?.value,
        order,
        add,
        max,
    })
}

/// Outer `None`: there is a mistake in it; inner `None`: there is no counter.
#[allow(clippy::option_option)]
fn counter(
    section: &Section<'_>,
    order: ByteOrder,
    places: &mut Places,
) -> Option<Option<Counter>> {
    if !section.has("counter") {
        return Some(None);
    }
    let table = section.table("counter")?;
    places.0.push(("counter".to_owned(), table.span.clone()));
    let at = table.need("at", place);
    let scalar = table.need("type", choice(&Scalar::NAMES));
    let order = table
        .get("order", choice(&ORDERS))
        .map_or(order, |at| at.value);
    let modulus = table.get("modulus", integer(2..=i64::MAX));
    table.finish();
    Some(Some(Counter {
        at: at?.value,
        scalar: scalar?.value,
        order,
        modulus: modulus.map(|modulus| modulus.value.unsigned_abs()),
    }))
}

/// Outer `None`: there is a mistake in it; inner `None`: there is no checksum.
#[allow(clippy::option_option)]
fn checksum(
    section: &Section<'_>,
    order: ByteOrder,
    places: &mut Places,
) -> Option<Option<Checksum>> {
    if !section.has("checksum") {
        return Some(None);
    }
    let table = section.table("checksum")?;
    places.0.push(("checksum".to_owned(), table.span.clone()));
    let kind = table.need("kind", checksum_kind);
    let offset = integer(-65_535..=65_535);
    let from = table.need("from", &offset);
    let to = table.get("to", &offset).map_or(0, |to| to.value);
    let at = table.need("at", &offset);
    let order = table
        .get("order", choice(&ORDERS))
        .map_or(order, |at| at.value);
    table.finish();
    Some(Some(Checksum {
        kind: kind?.value,
        from: from?.value,
        to,
        at: at?.value,
        order,
    }))
}

fn checksum_kind(value: &toml::de::DeValue<'_>) -> Result<ChecksumKind, Wrong> {
    let name = text(value)?;
    checksum::by_name(&name).ok_or_else(|| {
        let mut wrong = unknown(&name, checksum::names().collect::<Vec<_>>().into_iter());
        wrong.what = format!("is \"{}\", which is no known checksum", shortened(&name));
        wrong.help = Some(
            "the names are sum8, sum16, xor8, fletcher16, adler32, and those of the catalogue of \
             parametrised CRC algorithms (reveng), such as CRC-16/MODBUS"
                .to_owned(),
        );
        wrong
    })
}

fn field(
    index: usize,
    channel: &Section<'_>,
    order: ByteOrder,
    places: &mut Places,
) -> Option<Field> {
    let help =
        "say where it stands in the packet: field = { at = 4, type = \"i16\", scale = 0.01 }";
    let table = channel.need_table("field", help)?;
    places
        .0
        .push((format!("field {index}"), table.span.clone()));
    let at = table.need("at", place);
    let scalar = table.need("type", choice(&Scalar::NAMES));
    let scale = table.get("scale", number(f64::MIN..=f64::MAX));
    let offset = table.get("offset", any_number);
    let order = table
        .get("order", choice(&ORDERS))
        .map_or(order, |at| at.value);
    if let Some(scale) = scale.as_ref().filter(|scale| scale.value == 0.0) {
        let wrong = Wrong::new("is 0, which makes every value the same", "not 0");
        table.wrong("scale", scale.span.clone(), &wrong);
    }
    table.finish();
    Some(Field {
        at: at?.value,
        scalar: scalar?.value,
        order,
        scale: scale.map_or(1.0, |scale| scale.value),
        offset: offset.map_or(0.0, |offset| offset.value),
    })
}
