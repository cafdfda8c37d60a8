//! `type = "modbus"`: a bus of units whose registers are polled.

use std::time::Duration;

use kymo_drivers::protocol::modbus::{self, Channel, Framing, Order, Scalar, Table};
use kymo_drivers::protocol::{Options, WAIT_LIMITS};

use super::Places;
use crate::config::section::Section;
use crate::config::values::{Wrong, any_number, choice, duration, integer, number, text};

/// What the channels have in common, unless they say otherwise.
struct Defaults {
    unit: i64,
    table: Option<Table>,
    order: Option<String>,
}

pub(super) fn read(
    section: &Section<'_>,
    channels: &[(Section<'_>, String)],
    ns_per_byte: f64,
    places: &mut Places,
) -> Option<Options> {
    let framing = section.get("framing", choice(&[("rtu", true), ("tcp", false)]));
    let silence = section.get(
        "silence",
        duration((Duration::ZERO, Duration::from_secs(10))),
    );
    let silence = silence.map_or_else(|| modbus::silence(ns_per_byte), |found| found.value);
    let framing = match framing {
        Some(framing) if !framing.value => Framing::Tcp,
        _ => Framing::Rtu {
            silence,
            ns_per_byte,
        },
    };
    let cycle = places.noted("cycle", section.need("cycle", duration(WAIT_LIMITS)));
    let timeout = places.noted("timeout", section.get("timeout", duration(WAIT_LIMITS)));
    let retries = section.get("retries", integer(0..=10));
    let registers_max = section.get("registers_max", integer(1..=modbus::REGISTERS_MAX.into()));
    let registers_max = places.noted("registers_max", registers_max);
    let bits_max = section.get("bits_max", integer(1..=modbus::BITS_MAX.into()));
    let bits_max = places.noted("bits_max", bits_max);
    let gap_max = section.get("gap_max", integer(0..=i64::from(modbus::BITS_MAX)));
    let (backoff_first, backoff_max) = super::backoff(section, places);
    let order = section.get("order", text);
    if let Some(order) = &order
        && Order::named(&order.value, 4).is_none_or(|_| order.value.len() != 4)
    {
        section.wrong("order", order.span.clone(), &unknown_order(&order.value));
    }
    let defaults = Defaults {
        unit: section
            .get("unit", integer(0..=255))
            .map_or(1, |at| at.value),
        table: section
            .get("table", choice(&Table::NAMES))
            .map(|at| at.value),
        order: order.map(|order| order.value),
    };
    let channels: Vec<Option<Channel>> = channels
        .iter()
        .enumerate()
        .map(|(index, (channel, _))| register(index, channel, &defaults, places))
        .collect();
    let small = |found: Option<i64>, default: u16| {
        found
            .and_then(|found| u16::try_from(found).ok())
            .unwrap_or(default)
    };
    Some(Options::Modbus(modbus::Options {
        framing,
        cycle: cycle?,
        timeout: timeout.unwrap_or(Duration::from_millis(500)),
        retries: retries
            .and_then(|retries| u8::try_from(retries.value).ok())
            .unwrap_or(1),
        gap_max: small(gap_max.map(|gap| gap.value), 0),
        registers_max: small(registers_max, modbus::REGISTERS_MAX),
        bits_max: small(bits_max, modbus::BITS_MAX),
        backoff_first,
        backoff_max,
        channels: channels.into_iter().collect::<Option<_>>()?,
    }))
}

fn unknown_order(order: &str) -> Wrong {
    let mut wrong = Wrong::new(
        format!(
            "is \"{}\", which is no order of bytes",
            crate::config::values::shortened(order)
        ),
        "\"ABCD\", \"CDAB\", \"BADC\" or \"DCBA\"",
    );
    wrong.help = Some(
        "A is the most significant byte, the first letter the first byte on the wire; these four say for numbers of \
         every width whether words and bytes are swapped, and a register may name any other order with all its \
         letters, as in \"EFGHABCD\""
            .to_owned(),
    );
    wrong
}

/// `register = { … }` of a channel.
fn register(
    index: usize,
    channel: &Section<'_>,
    defaults: &Defaults,
    places: &mut Places,
) -> Option<Channel> {
    let help =
        "say where it is read: register = { unit = 1, table = \"input\", at = 0, type = \"f32\" }";
    let section = channel.need_table("register", help)?;
    places
        .0
        .push((format!("field {index}"), section.span.clone()));
    let unit = section.get("unit", integer(0..=255));
    let table = section.get("table", choice(&Table::NAMES));
    let table = table.map(|table| table.value).or(defaults.table);
    let table = table.unwrap_or(Table::Holding);
    let at = section.need("at", integer(0..=65_535));
    let scalar = section.get("type", choice(&Scalar::NAMES));
    let bit = section.get("bit", integer(0..=15));
    let order = section.get("order", text);
    let scale = section.get("scale", number(f64::MIN..=f64::MAX));
    let offset = section.get("offset", any_number);
    let every = section.get("every", integer(1..=1_000_000_000));
    section.finish();
    if let Some(scale) = scale.as_ref().filter(|scale| scale.value == 0.0) {
        let wrong = Wrong::new("is 0, which makes every value the same", "not 0");
        section.wrong("scale", scale.span.clone(), &wrong);
    }
    let implied = if table.is_bits() || bit.is_some() {
        Scalar::Bit(0)
    } else {
        Scalar::U16
    };
    let mut scalar = scalar.map_or(implied, |scalar| scalar.value);
    if let Some(bit) = bit {
        if !matches!(scalar, Scalar::Bit(_)) {
            let wrong = Wrong::new("is for type \"bit\" alone", "the type is another");
            section.wrong("bit", bit.span, &wrong);
            return None;
        }
        scalar = Scalar::Bit(u8::try_from(bit.value).unwrap_or(0));
    }
    let order = match (order, &defaults.order) {
        (Some(order), _) => {
            let found = Order::named(&order.value, scalar.bytes());
            if found.is_none() {
                section.wrong("order", order.span, &unknown_order(&order.value));
            }
            found?
        }
        (None, Some(order)) => Order::named(order, scalar.bytes())?,
        (None, None) => Order::big(scalar.bytes()),
    };
    let unit = unit.map_or(defaults.unit, |unit| unit.value);
    Some(Channel {
        unit: u8::try_from(unit).ok()?,
        table,
        at: u16::try_from(at?.value).ok()?,
        scalar,
        order,
        scale: scale.map_or(1.0, |scale| scale.value),
        offset: offset.map_or(0.0, |offset| offset.value),
        every: every
            .and_then(|every| u32::try_from(every.value).ok())
            .unwrap_or(1),
    })
}
