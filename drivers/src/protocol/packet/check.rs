//! A declaration, checked and compiled: what the decoders ask of a packet.

use super::checksum::{Engine, unsigned};
use super::options::{
    ByteOrder, Constant, Counter, Field, Framing, Length, Options, Scalar, Timestamp,
};
use crate::protocol::OptionsError;

/// The longest packet that can be declared, in bytes: a read buffer holds several.
pub(super) const LENGTH_MAX: usize = 16 << 10;

/// The most frames that a packet can be declared to hold: as many as the longest packet has bytes.
const FRAMES_MAX: usize = LENGTH_MAX;

/// What a packet of the declared kind looks like.
pub(super) struct Shape {
    pub(super) fields: Vec<Field>,
    /// Frames in a packet.
    pub(super) frames: usize,
    pub(super) timestamp: Option<Timestamp>,
    constants: Vec<Constant>,
    pub(super) counter: Option<CounterShape>,
    length: Length,
    pub(super) length_max: usize,
    /// Bytes from which the length can be told.
    pub(super) header: usize,
    checksum: Option<ChecksumShape>,
    /// The shortest packet that holds every field, the counter, the timestamp, the constants, and the checksum.
    length_min: usize,
}

struct ChecksumShape {
    engine: Engine,
    from: i64,
    to: i64,
    at: i64,
    width: usize,
    order: ByteOrder,
}

pub(super) struct CounterShape {
    at: usize,
    width: usize,
    order: ByteOrder,
    /// `None`: 2 to the 64.
    modulus: Option<u64>,
}

impl CounterShape {
    pub(super) fn read(&self, packet: &[u8]) -> u64 {
        let bytes = packet
            .get(self.at..self.at + self.width)
            .unwrap_or_default();
        // The usual widths without a loop: it is read twice for every packet.
        let count = match (bytes, self.order) {
            (&[byte], _) => u64::from(byte),
            (&[low, high], ByteOrder::Little) | (&[high, low], ByteOrder::Big) => {
                u64::from(u16::from_le_bytes([low, high]))
            }
            _ => unsigned(bytes, self.order),
        };
        match self.modulus {
            // A division for every packet would be a tenth of its cost.
            Some(modulus) if count >= modulus => count % modulus,
            _ => count,
        }
    }

    /// Packets missing between two counts; `None` if that cannot be known.
    pub(super) fn missing(&self, last: u64, now: u64) -> Option<u64> {
        let step = match self.modulus {
            None => now.wrapping_sub(last),
            // Both are below the modulus.
            Some(_) if now >= last => now - last,
            Some(modulus) => modulus - (last - now),
        };
        let half = self.modulus.map_or(u64::MAX / 2, |modulus| modulus / 2);
        match step {
            0 => Some(0),
            step if step - 1 > half => None,
            step => Some(step - 1),
        }
    }
}

impl Shape {
    /// # Errors
    /// Every mistake.
    pub(super) fn new(options: &Options) -> Result<Self, Vec<OptionsError>> {
        let mut mistakes = Mistakes::default();
        let (length, sync) = match &options.framing {
            Framing::Sync { bytes, length } => (*length, bytes.len()),
            Framing::Cobs { length } | Framing::Slip { length } => (*length, 0),
        };
        if matches!(&options.framing, Framing::Sync { bytes, .. } if bytes.is_empty()) {
            mistakes.add("sync", "at least one byte is needed, as in \"AA 55\"");
        }
        let (length_max, header) = mistakes.length(length, sync);
        let mut length_min = sync;
        let mut place = |mistakes: &mut Mistakes, part: &str, at: usize, width: usize| {
            let end = at.saturating_add(width);
            if end > length_max {
                mistakes.add(
                    part,
                    &format!("it ends at byte {end}, but a packet has {length_max}"),
                );
            }
            length_min = length_min.max(end);
        };
        if options.fields.is_empty() {
            mistakes.add("field", "at least one channel with a field is needed");
        }
        if !(1..=FRAMES_MAX).contains(&options.frames) {
            let what = format!("a packet holds 1 to {FRAMES_MAX} frames");
            mistakes.add("array", &what);
        }
        for (index, field) in options.fields.iter().enumerate() {
            let part = format!("field {index}");
            let steps = field.step.saturating_mul(options.frames.saturating_sub(1));
            let at = field.at.saturating_add(steps);
            place(&mut mistakes, &part, at, field.scalar.width());
            mistakes.field(&part, field);
        }
        for (index, constant) in options.constants.iter().enumerate() {
            let part = format!("constant {index}");
            if constant.bytes.is_empty() {
                mistakes.add(&part, "at least one byte is needed, as in \"01\"");
            }
            place(&mut mistakes, &part, constant.at, constant.bytes.len());
        }
        if let Some(timestamp) = &options.timestamp {
            place(
                &mut mistakes,
                "timestamp",
                timestamp.at,
                timestamp.scalar.width(),
            );
            mistakes.unsigned("timestamp", "timestamp", timestamp.scalar);
        }
        if let Some(counter) = &options.counter {
            place(&mut mistakes, "counter", counter.at, counter.scalar.width());
        }
        if let Length::Field { at, scalar, .. } = length {
            place(&mut mistakes, "length", at, scalar.width());
        }
        let counter = options
            .counter
            .as_ref()
            .and_then(|counter| mistakes.counter(counter));
        let checksum = options.checksum.as_ref().and_then(|checksum| {
            let shape = mistakes.checksum(checksum, length, length_max)?;
            length_min = length_min.max(shape.shortest());
            Some(shape)
        });
        mistakes.claims(length, length_min);
        mistakes.into_result()?;
        Ok(Self {
            fields: options.fields.clone(),
            frames: options.frames,
            timestamp: options.timestamp,
            constants: options.constants.clone(),
            counter,
            length,
            length_max,
            header,
            checksum,
            length_min,
        })
    }

    /// The length of the packet at the start of `input`, which has at least `header` bytes; `None` if it is not to
    /// be believed.
    pub(super) fn length(&self, input: &[u8]) -> Option<usize> {
        match self.length {
            Length::Fixed(length) => Some(length),
            Length::Field {
                at,
                scalar,
                order,
                add,
                max,
            } => {
                let claimed = unsigned(input.get(at..at + scalar.width())?, order);
                let length = i64::try_from(claimed).ok()?.checked_add(add)?;
                let length = usize::try_from(length).ok()?;
                (self.length_min..=max).contains(&length).then_some(length)
            }
        }
    }

    /// Whether what is constant stands in the packet.
    pub(super) fn is_one(&self, packet: &[u8]) -> bool {
        self.constants.iter().all(|constant| {
            packet
                .get(constant.at..)
                .is_some_and(|rest| rest.starts_with(&constant.bytes))
        })
    }

    /// Whether there is a checksum to tell a packet from rubbish.
    pub(super) fn is_checked(&self) -> bool {
        self.checksum.is_some()
    }

    /// The lengths a packet can have.
    pub(super) fn lengths(&self) -> std::ops::RangeInclusive<usize> {
        match self.length {
            Length::Fixed(length) => length..=length,
            Length::Field { max, .. } => self.length_min..=max,
        }
    }

    /// Whether the packet's checksum is right.
    pub(super) fn holds(&self, packet: &[u8]) -> bool {
        let Some(checksum) = &self.checksum else {
            return true;
        };
        let from = resolve(checksum.from, packet.len());
        let to = if checksum.to == 0 {
            packet.len()
        } else {
            resolve(checksum.to, packet.len())
        };
        let at = resolve(checksum.at, packet.len());
        let (Some(covered), Some(found)) =
            (packet.get(from..to), packet.get(at..at + checksum.width))
        else {
            return false;
        };
        checksum.engine.matches(covered, found, checksum.order)
    }
}

impl ChecksumShape {
    /// The shortest packet for which all its offsets lie within.
    fn shortest(&self) -> usize {
        let reach = |offset: i64, behind: usize| {
            let size = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            if offset < 0 {
                size
            } else {
                size.saturating_add(behind)
            }
        };
        reach(self.from, 0)
            .max(reach(self.to, 0))
            .max(reach(self.at, self.width))
    }
}

/// An offset from the start, or, below zero, from the end.
fn resolve(offset: i64, length: usize) -> usize {
    let size = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    if offset < 0 {
        length.saturating_sub(size)
    } else {
        size
    }
}

/// The mistakes found so far.
#[derive(Default)]
struct Mistakes(Vec<OptionsError>);

impl Mistakes {
    fn add(&mut self, part: &str, what: &str) {
        self.0.push(OptionsError {
            part: part.to_owned(),
            what: what.to_owned(),
        });
    }

    fn into_result(self) -> Result<(), Vec<OptionsError>> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.0)
        }
    }

    /// The longest packet, and the bytes from which a length can be told.
    fn length(&mut self, length: Length, sync: usize) -> (usize, usize) {
        let (longest, header) = match length {
            Length::Fixed(length) => (length, sync),
            Length::Field {
                at, scalar, max, ..
            } => {
                self.unsigned("length", "length field", scalar);
                (max, at.saturating_add(scalar.width()).max(sync))
            }
        };
        if longest <= sync || longest > LENGTH_MAX {
            self.add("length", &format!(
                "{longest} bytes: a packet must be longer than its sync bytes and have at most {LENGTH_MAX}"
            ));
        }
        (longest, header)
    }

    /// A length field of which no value can be believed.
    fn claims(&mut self, length: Length, shortest: usize) {
        let Length::Field {
            scalar, add, max, ..
        } = length
        else {
            return;
        };
        let range = 1_i128 << (8 * scalar.width());
        let (least, most) = (i128::from(add), i128::from(add) + range - 1);
        if most < shortest as i128 || least > max as i128 {
            let what =
                format!("it says {least} to {most} bytes, but a packet has {shortest} to {max}");
            self.add("length", &what);
        }
    }

    fn field(&mut self, part: &str, field: &Field) {
        if !field.scale.is_finite() || field.scale == 0.0 || !field.offset.is_finite() {
            self.add(part, "scale and offset must be finite, and the scale not 0");
        }
        let Some(bits) = field.bits else { return };
        if !field.scalar.is_integer() {
            self.add(part, "only an integer has bits to choose from");
        }
        let (end, width) = (
            usize::from(bits.first) + usize::from(bits.count),
            8 * field.scalar.width(),
        );
        if bits.count == 0 || end > width {
            let what = format!(
                "{} bits from bit {} on: its type has {width}",
                bits.count, bits.first
            );
            self.add(part, &what);
        }
    }

    fn unsigned(&mut self, part: &str, name: &str, scalar: Scalar) -> bool {
        if !scalar.is_unsigned() {
            self.add(
                part,
                &format!("the {name} must be an unsigned integer: u8, u16, u24, u32 … u64"),
            );
        }
        scalar.is_unsigned()
    }

    fn counter(&mut self, counter: &Counter) -> Option<CounterShape> {
        if !self.unsigned("counter", "counter", counter.scalar) {
            return None;
        }
        let width = counter.scalar.width();
        let range = 1_u64.checked_shl(8 * u32::try_from(width).unwrap_or(8));
        let range = if width == 8 { None } else { range };
        if let Some(modulus) = counter.modulus
            && (modulus < 2 || range.is_some_and(|range| modulus > range))
        {
            self.add("counter", &format!(
                "a modulus of {modulus} does not fit: it must be at least 2 and at most the range of the type"
            ));
            return None;
        }
        let modulus = counter.modulus.or(range);
        Some(CounterShape {
            at: counter.at,
            width,
            order: counter.order,
            modulus,
        })
    }

    fn checksum(
        &mut self,
        checksum: &super::options::Checksum,
        length: Length,
        length_max: usize,
    ) -> Option<ChecksumShape> {
        let Some(engine) = Engine::new(checksum.kind) else {
            self.add("checksum", "there is no such checksum");
            return None;
        };
        let width = checksum.kind.width();
        let mut shape = ChecksumShape {
            engine,
            from: checksum.from,
            to: checksum.to,
            at: checksum.at,
            width,
            order: checksum.order,
        };
        if shape.shortest() > length_max {
            self.add(
                "checksum",
                &format!("it reaches beyond the packet's {length_max} bytes"),
            );
            return None;
        }
        // With a fixed length the range is known now; otherwise the longest packet stands for all.
        let total = if let Length::Fixed(total) = length {
            total
        } else {
            length_max
        };
        let from = resolve(checksum.from, total);
        let to = if checksum.to == 0 {
            total
        } else {
            resolve(checksum.to, total)
        };
        let at = resolve(checksum.at, total);
        if at + width > total {
            self.add(
                "checksum",
                &format!(
                    "{width} bytes at {} do not fit into {total} bytes",
                    checksum.at
                ),
            );
        } else if from >= to {
            self.add(
                "checksum",
                &format!("it covers nothing: from byte {from} to byte {to}"),
            );
        } else if from < at + width && at < to {
            self.add(
                "checksum",
                &format!("it covers itself: it stands at byte {at}, within {from} to {to}"),
            );
        } else if let Length::Fixed(_) = length {
            shape.engine = shape.engine.for_length(to - from);
        }
        Some(shape)
    }
}
