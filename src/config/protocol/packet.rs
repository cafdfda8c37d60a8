//! `type = "packet"`: how binary packets are declared.

use kymo_drivers::protocol::packet::checksum;
use kymo_drivers::protocol::packet::{
    ByteOrder, Checksum, ChecksumKind, Counter, Field, Framing, Length, Scalar,
};
use kymo_drivers::protocol::{Options, packet};

use super::Places;
use crate::config::section::Section;
use crate::config::values::{
    Wrong, any_number, choice, hex, integer, number, shortened, text, unknown,
};

const ORDERS: [(&str, ByteOrder); 2] = [("little", ByteOrder::Little), ("big", ByteOrder::Big)];

pub(super) fn read(
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
