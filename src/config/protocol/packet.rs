//! `type = "packet"`: how binary packets are declared.

use kymo_drivers::clock::Ticks;
use kymo_drivers::protocol::packet::checksum;
use kymo_drivers::protocol::packet::{
    Bits, ByteOrder, Checksum, ChecksumKind, Constant, Counter, Field, Framing, Length, Scalar,
    Timestamp,
};
use kymo_drivers::protocol::{Options, packet};

use super::{Places, Timing};
use crate::config::section::{At, Section};
use crate::config::values::{
    Wrong, any_number, choice, flag, hex, integer, number, shortened, text, unknown,
};

const ORDERS: [(&str, ByteOrder); 2] = [("little", ByteOrder::Little), ("big", ByteOrder::Big)];

pub(super) fn read(
    section: &Section<'_>,
    channels: &[(Section<'_>, String)],
    places: &mut Places,
    timing: &mut Timing,
) -> Option<(Options, Option<usize>)> {
    let order = section
        .get("order", choice(&ORDERS))
        .map_or(ByteOrder::Little, |at| at.value);
    let kinds = [
        ("sync", Kind::Sync),
        ("cobs", Kind::Cobs),
        ("slip", Kind::Slip),
    ];
    let kind = section
        .get("framing", choice(&kinds))
        .map_or(Kind::Sync, |framing| framing.value);
    let length = length(section, order, places);
    let sync = if kind != Kind::Sync {
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
    let constants = constants(section, places);
    let array = array(section, places);
    let timestamp = timestamp(section, order, places);
    let fields: Vec<Option<Placed>> = channels
        .iter()
        .enumerate()
        .map(|(index, (channel, _))| field(index, channel, order, places))
        .collect();
    let fields: Vec<Placed> = fields.into_iter().collect::<Option<_>>()?;
    let (length, sync, array, timestamp) = (length?, sync?, array?, timestamp?);
    let framing = match kind {
        Kind::Cobs => Framing::Cobs { length },
        Kind::Slip => Framing::Slip { length },
        Kind::Sync => Framing::Sync {
            bytes: sync,
            length,
        },
    };
    let packet_bytes = match (length, kind) {
        // One code byte for every 254 bytes begun, and the zero at the end.
        (Length::Fixed(bytes), Kind::Cobs) => Some(bytes + bytes.div_ceil(254) + 1),
        (Length::Fixed(bytes), Kind::Sync) => Some(bytes),
        // How many are escaped depends on what they are.
        (Length::Fixed(_), Kind::Slip) | (Length::Field { .. }, _) => None,
    };
    let frame_bytes = packet_bytes.map(|bytes| bytes.div_ceil(array.frames.max(1)));
    let fields = array.place(fields);
    *timing = Timing {
        ticks: timestamp.as_ref().map(|stamp| stamp.ticks),
        frames_per_packet: array.frames,
        stamped_frame: match &timestamp {
            Some(stamp) if stamp.is_of_last => array.frames.saturating_sub(1),
            _ => 0,
        },
    };
    let options = packet::Options {
        framing,
        constants: constants?,
        frames: array.frames,
        timestamp: timestamp.map(|stamp| stamp.place),
        checksum: checksum?,
        counter: counter?,
        fields,
    };
    Some((Options::Packet(options), frame_bytes))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sync,
    Cobs,
    Slip,
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
) -> Option<Placed> {
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
    let most = integer(0..=63);
    let first = table.get("bit", &most);
    let count = table.get("bits", integer(1..=64));
    let step = table.get("step", place);
    let is_once = table.get("once", flag).is_some_and(|once| once.value);
    if let Some(step) = step.as_ref().filter(|_| is_once) {
        let wrong = Wrong::new("has no meaning for what stands once", "leave it out");
        table.wrong("step", step.span.clone(), &wrong);
    }
    let narrow = |at: At<i64>| u8::try_from(at.value).unwrap_or(u8::MAX);
    let bits = match (first.map(narrow), count.map(narrow)) {
        (None, None) => None,
        (first, count) => Some(Bits {
            first: first.unwrap_or(0),
            count: count.unwrap_or(1),
        }),
    };
    if let Some(scale) = scale.as_ref().filter(|scale| scale.value == 0.0) {
        let wrong = Wrong::new("is 0, which makes every value the same", "not 0");
        table.wrong("scale", scale.span.clone(), &wrong);
    }
    table.finish();
    let field = Field {
        bits,
        scale: scale.map_or(1.0, |scale| scale.value),
        offset: offset.map_or(0.0, |offset| offset.value),
        ..Field::new(at?.value, scalar?.value, order)
    };
    Some(Placed {
        field,
        step: step.map(|step| step.value),
        is_once,
    })
}

/// A field, its step not yet known.
struct Placed {
    field: Field,
    step: Option<usize>,
    is_once: bool,
}

/// Several frames in one packet.
struct Array {
    frames: usize,
    is_by_channel: bool,
    step: Option<usize>,
}

impl Array {
    /// The fields with the steps from frame to frame: one behind the other if by channel, otherwise over the values
    /// of all channels.
    fn place(&self, fields: Vec<Placed>) -> Vec<Field> {
        let in_array = fields.iter().filter(|placed| !placed.is_once);
        let together: usize = in_array.map(|placed| placed.field.scalar.width()).sum();
        let placed = fields.into_iter().map(|placed| {
            let default = if self.is_by_channel {
                placed.field.scalar.width()
            } else {
                self.step.unwrap_or(together)
            };
            let step = match placed.step {
                _ if placed.is_once || self.frames < 2 => 0,
                step => step.unwrap_or(default),
            };
            Field {
                step,
                ..placed.field
            }
        });
        placed.collect()
    }
}

fn array(section: &Section<'_>, places: &mut Places) -> Option<Array> {
    if !section.has("array") {
        return Some(Array {
            frames: 1,
            is_by_channel: false,
            step: None,
        });
    }
    let table = section.table("array")?;
    places.0.push(("array".to_owned(), table.span.clone()));
    let frames = table.need("frames", integer(1..=16_384));
    let layouts = [("interleaved", false), ("by-channel", true)];
    let layout = table.get("layout", choice(&layouts));
    let is_by_channel = layout.is_some_and(|layout| layout.value);
    let step = table.get("step", place);
    if let Some(step) = step.as_ref().filter(|_| is_by_channel) {
        let what = "is for interleaved values: by channel, each follows the one before";
        table.wrong("step", step.span.clone(), &Wrong::new(what, "leave it out"));
    }
    table.finish();
    Some(Array {
        frames: usize::try_from(frames?.value).ok()?,
        is_by_channel,
        step: step.map(|step| step.value),
    })
}

fn constants(section: &Section<'_>, places: &mut Places) -> Option<Vec<Constant>> {
    let list = section.list("constant").into_iter().enumerate();
    let constants = list.map(|(index, table)| {
        places
            .0
            .push((format!("constant {index}"), table.span.clone()));
        let at = table.need("at", place);
        let bytes = table.need("bytes", hex);
        table.finish();
        Some(Constant {
            at: at?.value,
            bytes: bytes?.value,
        })
    });
    // All are read, so that the mistakes of all are told.
    let constants: Vec<Option<Constant>> = constants.collect();
    constants.into_iter().collect()
}

struct Stamp {
    place: Timestamp,
    ticks: Ticks,
    is_of_last: bool,
}

/// Outer `None`: there is a mistake in it; inner `None`: there is no timestamp.
#[allow(clippy::option_option)]
fn timestamp(
    section: &Section<'_>,
    order: ByteOrder,
    places: &mut Places,
) -> Option<Option<Stamp>> {
    if !section.has("timestamp") {
        return Some(None);
    }
    let table = section.table("timestamp")?;
    places.0.push(("timestamp".to_owned(), table.span.clone()));
    let at = table.need("at", place);
    let scalar = table.need("type", choice(&Scalar::NAMES));
    let order = table
        .get("order", choice(&ORDERS))
        .map_or(order, |at| at.value);
    // Ten seconds to a tenth of a nanosecond a tick.
    let hz = table.need("hz", number(0.1..=1e10));
    let modulus = table.get("modulus", integer(2..=i64::MAX));
    let of = table.get("of", choice(&[("first", false), ("last", true)]));
    table.finish();
    let (at, scalar, hz) = (at?, scalar?, hz?);
    let bits = 8 * u32::try_from(scalar.value.width()).unwrap_or(8);
    let range = 1_u64.checked_shl(bits);
    if let Some(modulus) = &modulus
        && range.is_some_and(|range| modulus.value.unsigned_abs() > range)
    {
        let what = format!("is more than its type of {bits} bits can count to");
        table.wrong(
            "modulus",
            modulus.span.clone(),
            &Wrong::new(what, "too large"),
        );
    }
    Some(Some(Stamp {
        place: Timestamp {
            at: at.value,
            scalar: scalar.value,
            order,
        },
        ticks: Ticks {
            tick_ns: 1e9 / hz.value,
            modulus: modulus.map(|at| at.value.unsigned_abs()).or(range),
        },
        is_of_last: of.is_some_and(|of| of.value),
    }))
}
