//! The declared sentences: which are wanted, and what is read of each.
//!
//! **Always holds.** A message in parts counts when its parts have come in order, from the first to the last; its
//! values are given with the last, all or none.
//!
//! **Must not know.** Where frames begin and end.

use super::epoch::{Arrival, Stamp, Time, Value, merged};
use super::fields::{Fields, Malformed};
use super::options::{FIELD_INDEX_MAX, Field, FieldKind, FrameBy, Rules, Value as Declared};
use super::sentence::{self, Address, Candidate, body, formatter, speaks};
use super::table::{Merge, Read, SENTENCES, TIMED, is_parted};
use crate::protocol::OptionsError;

pub(crate) struct Sentences {
    messages: Vec<Message>,
    first: Option<Boundary>,
    last: Option<Boundary>,
    talkers: Vec<[u8; 2]>,
    is_by_epoch: bool,
    checksum_optional: bool,
    bytes_max: usize,
    /// Where the fields of the sentence at hand end. Room for as many as a sentence can have.
    ends: Vec<u32>,
}

/// A sentence that some channel names.
struct Message {
    address: Address,
    /// Its number among all declared messages.
    number: usize,
    slots: Vec<Slot>,
    parts: Option<Parts>,
}

struct Slot {
    channel: usize,
    read: Read,
    /// Only of this part.
    part: Option<u32>,
    /// What the parts so far have brought.
    pending: f64,
}

/// How far a message in parts has come.
#[derive(Debug, Default)]
struct Parts {
    talker: [u8; 2],
    total: u32,
    /// The part that must come next; 0: none is under way.
    next: u32,
}

/// A sentence that begins or ends an epoch.
struct Boundary {
    address: Address,
    is_parted: bool,
}

/// What a sentence brought besides its values.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Broken(
    /// Messages given up because their parts did not follow each other.
    pub(crate) u64,
);

impl Sentences {
    /// The sentences that these channels name; each message gets the next number from `messages_before` on. `merges`
    /// says for each channel how its values are put together.
    ///
    /// # Errors
    /// Every mistake; those of a channel as `field N`.
    pub(crate) fn new(
        channels: &[(usize, &Field)],
        rules: &Rules,
        merges: &mut [Merge],
    ) -> Result<Self, Vec<OptionsError>> {
        let mut mistakes = rules.mistakes();
        let mut messages: Vec<Message> = Vec::new();
        for (channel, field) in channels {
            match compile(field) {
                Err(what) => mistakes.push(OptionsError {
                    part: format!("field {channel}"),
                    what,
                }),
                Ok((address, slot, merge)) => {
                    merges[*channel] = merge;
                    let slot = Slot {
                        channel: *channel,
                        ..slot
                    };
                    let known = messages.iter_mut().find(|known| known.address == address);
                    match known {
                        Some(message) => message.slots.push(slot),
                        None => messages.push(Message {
                            number: messages.len(),
                            parts: None,
                            slots: vec![slot],
                            address,
                        }),
                    }
                }
            }
        }
        for message in &mut messages {
            let is_in_parts = message.address.formatter().is_some_and(is_parted)
                || message.slots.iter().any(|slot| slot.part.is_some());
            message.parts = is_in_parts.then(Parts::default);
        }
        let mut boundary = |part: &str, declared: &Option<String>| {
            let name = declared.as_ref().filter(|name| !is_binary(name))?;
            match Address::parse(name) {
                Ok(address) => Some(Boundary {
                    is_parted: address.formatter().is_some_and(is_parted),
                    address,
                }),
                Err(what) => {
                    let part = part.to_owned();
                    mistakes.push(OptionsError { part, what });
                    None
                }
            }
        };
        let (mut first, mut last) = (None, None);
        let is_by_epoch = match &rules.frame {
            FrameBy::Sentence => false,
            FrameBy::Epoch {
                first: first_name,
                last: last_name,
            } => {
                first = boundary("first", first_name);
                last = boundary("last", last_name);
                true
            }
        };
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let talkers = rules.talkers.iter();
        Ok(Self {
            messages,
            first,
            last,
            talkers: talkers
                .filter_map(|talker| talker.as_bytes().try_into().ok())
                .collect(),
            is_by_epoch,
            checksum_optional: rules.checksum_optional,
            bytes_max: rules.sentence_bytes_max,
            ends: Vec::with_capacity(rules.sentence_bytes_max + 1),
        })
    }

    /// How many are declared.
    pub(crate) fn count(&self) -> usize {
        self.messages.len()
    }

    /// The most bytes that must be seen to know a sentence: its text and its line end.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max + 2
    }

    pub(crate) fn reset(&mut self) {
        for message in &mut self.messages {
            if let Some(parts) = &mut message.parts {
                *parts = Parts::default();
            }
        }
    }

    pub(crate) fn candidate(&self, input: &[u8]) -> Candidate {
        sentence::candidate(input, self.bytes_max, self.checksum_optional)
    }

    /// What a good sentence says of its epoch; `None` if nobody wants anything of it.
    ///
    /// # Errors
    /// If its time is none.
    pub(crate) fn stamp(&mut self, text: &[u8]) -> Result<Option<Stamp>, Malformed> {
        let (start, body) = (text[0], body(text));
        let talkers = &self.talkers;
        let meant = |address: &Address| address.matches(start, body, talkers);
        let mut is_wanted = self.messages.iter().any(|message| meant(&message.address));
        let mut stamp = Stamp::default();
        if !self.is_by_epoch {
            return Ok(is_wanted.then_some(stamp));
        }
        split(body, &mut self.ends);
        let fields = Fields {
            text: body,
            ends: &self.ends,
        };
        if let Some((letters, index)) = timed(start, fields.get(0), talkers) {
            let time_s = fields.time_s(index)?;
            stamp.time = if time_s.is_nan() {
                Time::Unknown(u32::from_be_bytes([0, letters[0], letters[1], letters[2]]))
            } else {
                Time::of_day_s(time_s)
            };
            is_wanted = true;
        }
        // Of a sentence in parts the first part begins an epoch, and the last one ends it.
        if let Some(first) = self.first.as_ref().filter(|first| meant(&first.address)) {
            stamp.is_first = !first.is_parted || part(fields)?.number == 1;
            is_wanted = true;
        }
        if let Some(last) = self.last.as_ref().filter(|last| meant(&last.address)) {
            stamp.is_last = !last.is_parted || part(fields)?.is_last();
            is_wanted = true;
        }
        Ok(is_wanted.then_some(stamp))
    }

    /// Reads what is wanted of a good sentence.
    ///
    /// # Errors
    /// If a field is not what it must be: then none of the sentence's values is given.
    pub(crate) fn take(&mut self, text: &[u8], arrival: &mut Arrival) -> Result<Broken, Malformed> {
        let (start, body) = (text[0], body(text));
        let mut broken = Broken::default();
        split(body, &mut self.ends);
        let fields = Fields {
            text: body,
            ends: &self.ends,
        };
        for message in &mut self.messages {
            if message.address.matches(start, body, &self.talkers)
                && let Err(malformed) = message.take(fields, arrival, &mut broken)
            {
                arrival.clear();
                return Err(malformed);
            }
        }
        Ok(broken)
    }
}

/// A message of the binary protocol, not a sentence: its class and name are told apart by a hyphen or a space.
pub(crate) fn is_binary(name: &str) -> bool {
    name.contains(['-', ' '])
}

/// The three letters of a sentence with a time, and the time's field.
fn timed(start: u8, address: &[u8], talkers: &[[u8; 2]]) -> Option<([u8; 3], usize)> {
    let letters = formatter(address).filter(|_| start == b'$' && speaks(address, talkers))?;
    let (_, index) = TIMED.iter().find(|(known, _)| *known == letters)?;
    Some((*letters, *index))
}

/// Where the fields end. The buffer has room for as many as fit a sentence.
#[allow(clippy::cast_possible_truncation)] // A sentence has at most SENTENCE_BYTES_MAX_LIMIT bytes.
fn split(body: &[u8], ends: &mut Vec<u32>) {
    ends.clear();
    ends.extend(memchr::memchr_iter(b',', body).map(|place| place as u32));
    ends.push(body.len() as u32);
}

impl Message {
    fn take(
        &mut self,
        fields: Fields<'_>,
        arrival: &mut Arrival,
        broken: &mut Broken,
    ) -> Result<(), Malformed> {
        let talker = match fields.get(0) {
            [a, b, ..] => [*a, *b],
            _ => [0; 2],
        };
        let mut number = 1;
        let mut is_last = true;
        if let Some(parts) = &mut self.parts {
            let told = part(fields);
            let Ok(found) = told else {
                broken.0 += parts.give_up();
                return Err(Malformed);
            };
            if !parts.follows(talker, found) {
                broken.0 += parts.give_up();
                if found.number != 1 {
                    // Its beginning did not come. If that was damaged it was counted; if it never was, nobody knows.
                    return Ok(());
                }
            }
            (number, is_last) = (found.number, found.is_last());
            *parts = Parts {
                talker,
                total: found.total,
                next: if is_last { 0 } else { number + 1 },
            };
        }
        if number == 1 {
            self.slots
                .iter_mut()
                .for_each(|slot| slot.pending = f64::NAN);
        }
        for slot in &mut self.slots {
            if slot.part.is_none_or(|part| part == number) {
                let Ok(value) = slot.read.read(fields) else {
                    // Counted as malformed: not as broken, too.
                    if let Some(parts) = &mut self.parts {
                        parts.give_up();
                    }
                    return Err(Malformed);
                };
                slot.pending = merged(slot.read.fold(), slot.pending, value);
            }
        }
        if is_last {
            arrival.messages.push(self.number);
            arrival.values.extend(self.slots.iter().map(|slot| Value {
                channel: slot.channel,
                value: slot.pending,
                talker,
            }));
        }
        Ok(())
    }
}

impl Parts {
    fn follows(&self, talker: [u8; 2], found: Part) -> bool {
        let is_same = talker == self.talker && found.total == self.total;
        if self.next > 1 {
            is_same && found.number == self.next
        } else {
            found.number == 1
        }
    }

    /// Ends what is under way: how many messages that were.
    fn give_up(&mut self) -> u64 {
        let was_begun = self.next > 1;
        *self = Self::default();
        u64::from(was_begun)
    }
}

/// Which part of a message a sentence is.
#[derive(Debug, Clone, Copy)]
struct Part {
    total: u32,
    number: u32,
}

impl Part {
    fn is_last(self) -> bool {
        self.number == self.total
    }
}

/// Which part this is, by its first two fields.
fn part(fields: Fields<'_>) -> Result<Part, Malformed> {
    let count = |index: usize| {
        let value = fields.number(index)?;
        let is_count = (1.0..=9999.0).contains(&value) && value.fract() == 0.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // Whole, and within the range.
        is_count.then_some(value as u32).ok_or(Malformed)
    };
    let (total, number) = (count(1)?, count(2)?);
    (number <= total)
        .then_some(Part { total, number })
        .ok_or(Malformed)
}

/// # Errors
/// What would be right.
fn compile(field: &Field) -> Result<(Address, Slot, Merge), String> {
    let address = Address::parse(&field.sentence)?;
    let slot = |read: Read, part: Option<u32>| Slot {
        channel: 0,
        read,
        part,
        pending: f64::NAN,
    };
    match &field.value {
        Declared::Quantity(name) => {
            let sentence = address
                .formatter()
                .and_then(|formatter| SENTENCES.iter().find(|(known, _)| *known == formatter));
            let Some((sentence, quantities)) = sentence else {
                return Err(format!(
                    "the quantities of `{}` are not known: say which field it is, as in \
                     {{ sentence = \"{}\", index = 1, type = \"number\" }}",
                    field.sentence, field.sentence
                ));
            };
            let found = quantities.iter().find(|(known, ..)| known == name);
            let Some((_, read, merge)) = found else {
                let names: Vec<&str> = quantities.iter().map(|(name, ..)| *name).collect();
                return Err(format!(
                    "{sentence} has no `{name}`; it has {}",
                    names.join(", ")
                ));
            };
            Ok((address, slot(read.clone(), None), *merge))
        }
        Declared::At { index, kind, part } => {
            if !(1..=FIELD_INDEX_MAX).contains(index) {
                return Err(format!(
                    "field {index}: the first field behind the address is 1, the last one {FIELD_INDEX_MAX}"
                ));
            }
            if *part == Some(0) {
                return Err("part 0: the first part of a message is 1".to_owned());
            }
            let read = match kind {
                FieldKind::Number => Read::Number(*index),
                FieldKind::Hexadecimal => Read::Hexadecimal(*index),
                FieldKind::Time => Read::Time(*index),
                FieldKind::Date => Read::Date(*index),
                FieldKind::Latitude => Read::Latitude(*index),
                FieldKind::Longitude => Read::Longitude(*index),
                FieldKind::Equals(text) => Read::Equals(*index, text.as_bytes().into()),
            };
            Ok((address, slot(read, *part), Merge::First))
        }
    }
}
