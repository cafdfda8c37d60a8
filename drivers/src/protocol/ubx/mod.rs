//! UBX: the binary protocol of u-blox receivers, mixed with their sentences in one stream.
//!
//! Channels stand in binary messages or in sentences; a frame is an epoch, or one message, as in [`super::nmea`].
//! Binary messages of one epoch share their millisecond of the week; messages and sentences of one epoch share their
//! time of day to a hundredth of a second, since a sentence rounds what NAV-PVT tells in nanoseconds.
//!
//! **Always holds.** A message whose checksum is wrong is corrupt: counted, and none of its values is given; what is
//! good within what it claimed to be is found. A claim longer than `payload_bytes_max` is rubbish.
//!
//! **Must not know.** How sentences are read.

mod frame;
mod messages;
mod options;

use memchr::memchr3;

use super::nmea::{
    Arrival, Binary, Candidate, Epoch, Found, Malformed, Merge, Sentences, Stamp, Stream, Time,
    no_channels,
};
use super::{OptionsError, Protocol};
use crate::frames::Frames;
use messages::{MESSAGES, Read};
pub use messages::{messages, quantities};
pub use options::*;

/// The decoder of binary messages and sentences.
pub struct Ubx(Stream<Messages>);

/// The binary messages that channels name.
struct Messages {
    declared: Vec<Message>,
    first: Option<[u8; 2]>,
    last: Option<[u8; 2]>,
    is_by_epoch: bool,
    payload_max: usize,
}

struct Message {
    id: [u8; 2],
    /// Its number among all declared messages.
    number: usize,
    slots: Vec<(usize, Read)>,
}

impl Ubx {
    /// Makes the decoder.
    ///
    /// # Errors
    /// Every mistake in the options.
    pub fn new(options: &Options) -> Result<Self, Vec<OptionsError>> {
        let fields = || options.fields.iter().enumerate();
        let in_sentences: Vec<_> = fields()
            .filter_map(|(channel, field)| match field {
                Field::Sentence(field) => Some((channel, field)),
                Field::Message { .. } => None,
            })
            .collect();
        let mut merges = vec![Merge::First; options.fields.len()];
        let mut mistakes = no_channels(options.fields.is_empty());
        let sentences = match Sentences::new(&in_sentences, &options.rules, &mut merges) {
            Ok(sentences) => Some(sentences),
            Err(more) => {
                mistakes.extend(more);
                None
            }
        };
        let messages = Messages::new(options, sentences.as_ref().map_or(0, Sentences::count));
        match (sentences, messages) {
            (Some(sentences), Ok(messages)) if mistakes.is_empty() => {
                let count = sentences.count() + messages.declared.len();
                let epoch = Epoch::new(merges, count, options.rules.has_last());
                let is_by_epoch = options.rules.is_by_epoch();
                return Ok(Self(Stream::new(sentences, messages, epoch, is_by_epoch)));
            }
            (_, Err(more)) => mistakes.extend(more),
            _ => {}
        }
        Err(mistakes)
    }
}

impl Messages {
    fn new(options: &Options, numbers_from: usize) -> Result<Self, Vec<OptionsError>> {
        let mut mistakes = Vec::new();
        let mut declared: Vec<Message> = Vec::new();
        for (channel, field) in options.fields.iter().enumerate() {
            let Field::Message { message, value } = field else {
                continue;
            };
            match compile(message, value, options.payload_bytes_max) {
                Err(what) => mistakes.push(OptionsError {
                    part: format!("field {channel}"),
                    what,
                }),
                Ok((id, read)) => match declared.iter_mut().find(|known| known.id == id) {
                    Some(message) => message.slots.push((channel, read)),
                    None => declared.push(Message {
                        id,
                        number: numbers_from + declared.len(),
                        slots: vec![(channel, read)],
                    }),
                },
            }
        }
        if !(1..=PAYLOAD_BYTES_MAX_LIMIT).contains(&options.payload_bytes_max) {
            mistakes.push(OptionsError {
                part: "payload_max".to_owned(),
                what: format!("a payload has 1 to {PAYLOAD_BYTES_MAX_LIMIT} bytes"),
            });
        }
        let (mut first, mut last) = (None, None);
        for (part, name) in options.rules.binary_names() {
            let id = messages::id(name);
            if id.is_none() {
                mistakes.push(OptionsError {
                    part: part.to_owned(),
                    what: no_message(name),
                });
            }
            *(if part == "first" {
                &mut first
            } else {
                &mut last
            }) = id;
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            declared,
            first,
            last,
            is_by_epoch: options.rules.is_by_epoch(),
            payload_max: options.payload_bytes_max,
        })
    }
}

fn no_message(name: &str) -> String {
    let known: Vec<&str> = messages().collect();
    format!(
        "`{name}` is no message known: {}; or class and number, as in `0A 09`",
        known.join(", ")
    )
}

/// # Errors
/// What would be right.
fn compile(message: &str, value: &Value, payload_max: usize) -> Result<([u8; 2], Read), String> {
    let id = messages::id(message).ok_or_else(|| no_message(message))?;
    let known = MESSAGES.iter().find(|known| known.id == id);
    match value {
        Value::Quantity(name) => {
            let quantities = known.map(|known| known.quantities).unwrap_or_default();
            let found = quantities.iter().find(|(known, _)| known == name);
            let Some((_, read)) = found else {
                let names: Vec<&str> = quantities.iter().map(|(name, _)| *name).collect();
                return Err(if names.is_empty() {
                    format!(
                        "the quantities of `{message}` are not known: say where it stands, as in \
                         {{ message = \"{message}\", at = 4, type = \"U2\" }}"
                    )
                } else {
                    format!("{message} has no `{name}`; it has {}", names.join(", "))
                });
            };
            Ok((id, *read))
        }
        Value::At {
            at,
            number,
            bits,
            scale,
        } => {
            if *at >= payload_max {
                return Err(format!(
                    "offset {at} lies behind the longest payload, of {payload_max} bytes"
                ));
            }
            let Some((low, count)) = *bits else {
                return Ok((id, Read::Scaled(*number, *at, *scale)));
            };
            let width = match number {
                Number::U1 | Number::I1 => 8,
                Number::U2 | Number::I2 => 16,
                Number::U4 | Number::I4 => 32,
                Number::R4 | Number::R8 => return Err("a float has no bit fields".to_owned()),
            };
            if count == 0 || low.checked_add(count).is_none_or(|end| end > width) {
                return Err(format!(
                    "bit {low} and {count} from it: the number has bits 0 to {}",
                    width - 1
                ));
            }
            Ok((id, Read::Bits(*number, *at, low, count)))
        }
    }
}

impl Binary for Messages {
    fn next_start(&self, input: &[u8]) -> Option<usize> {
        memchr3(b'$', b'!', frame::SYNC[0], input)
    }

    fn candidate(&self, input: &[u8]) -> Candidate {
        frame::candidate(input, self.payload_max)
    }

    fn stamp(&self, message: &[u8]) -> Option<Stamp> {
        let (id, payload) = frame::parts(message);
        let is_named = self.declared.iter().any(|declared| declared.id == id);
        let mut stamp = Stamp::default();
        if !self.is_by_epoch {
            return is_named.then_some(stamp);
        }
        let known = MESSAGES.iter().find(|known| known.id == id);
        if let Some(known) = known {
            stamp.time = known.calendar.map_or(Time::None, |c| c.time(payload));
            stamp.week_ms = known.week_ms.and_then(|at| messages::week_ms(payload, at));
        }
        stamp.is_first = self.first == Some(id);
        stamp.is_last = self.last == Some(id);
        (is_named || known.is_some() || stamp.is_first || stamp.is_last).then_some(stamp)
    }

    fn take(&mut self, message: &[u8], arrival: &mut Arrival) -> Result<(), Malformed> {
        let (id, payload) = frame::parts(message);
        let Some(declared) = self.declared.iter().find(|declared| declared.id == id) else {
            return Ok(());
        };
        for (channel, read) in &declared.slots {
            let Ok(value) = read.read(payload) else {
                arrival.clear();
                return Err(Malformed);
            };
            arrival.values.push(Found {
                channel: *channel,
                value,
                talker: *b"UB",
            });
        }
        arrival.messages.push(declared.number);
        Ok(())
    }

    fn bytes_max(&self) -> usize {
        self.payload_max + frame::FRAME_BYTES
    }
}

impl Protocol for Ubx {
    fn channels(&self) -> usize {
        self.0.channels()
    }

    fn decode(&mut self, input: &[u8], out: &mut Frames) -> usize {
        self.0.decode(input, out)
    }

    fn tail_max(&self) -> usize {
        self.0.tail_max()
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
