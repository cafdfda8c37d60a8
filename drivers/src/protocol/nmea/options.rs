//! What can be declared of a receiver that speaks NMEA 0183.

use crate::protocol::OptionsError;

/// Where a channel's value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The sentence: `RMC` of any talker, `GNRMC` of that talker, `PGRME` of a maker; `PUBX,00` where leading
    /// fields tell sentences of one address apart; `!AIVDM` where it begins with an exclamation mark.
    pub sentence: String,
    /// Which of its values.
    pub value: Value,
}

/// A value of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One that the table of known sentences names: see [`quantities`](super::quantities).
    Quantity(String),
    /// A field by its number; the first behind the address is 1.
    At {
        /// Its number.
        index: usize,
        /// How it is read.
        kind: FieldKind,
        /// Of a message in parts (how many there are, and which it is, in its fields 1 and 2): only from this one.
        part: Option<u32>,
    },
}

/// How a field is read. An empty field is NaN, whatever its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldKind {
    /// A decimal number.
    Number,
    /// A hexadecimal number.
    Hexadecimal,
    /// `hhmmss.ss`: seconds since midnight.
    Time,
    /// `ddmmyy`: days since 1970-01-01.
    Date,
    /// `ddmm.mm`, with N or S in the field behind it: degrees.
    Latitude,
    /// `dddmm.mm`, with E or W in the field behind it: degrees.
    Longitude,
    /// 1 if it is this text, otherwise 0.
    Equals(String),
}

/// What makes a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameBy {
    /// All that the receiver says of one moment. What of it did not come is NaN.
    Epoch {
        /// The sentence that begins an epoch, where the first one with another time does not.
        first: Option<String>,
        /// The sentence that ends it; of a sentence in parts the last part.
        last: Option<String>,
    },
    /// Each sentence that a channel names is a frame; the other channels are NaN in it.
    Sentence,
}

/// What concerns all sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What makes a frame.
    pub frame: FrameBy,
    /// Whose sentences are taken where a talker is not named; of anybody if there is none here.
    pub talkers: Vec<String>,
    /// Whether a sentence without a checksum is good, too.
    pub checksum_optional: bool,
    /// The longest sentence taken, in bytes, its line end left out. The standard says 82 with it; receivers exceed that.
    pub sentence_bytes_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            frame: FrameBy::Epoch {
                first: None,
                last: None,
            },
            talkers: Vec::new(),
            checksum_optional: false,
            sentence_bytes_max: SENTENCE_BYTES_MAX_DEFAULT,
        }
    }
}

/// Three times what the standard allows: makers' own sentences are longer.
pub const SENTENCE_BYTES_MAX_DEFAULT: usize = 256;

/// The longest sentence that can be asked for: the reader's buffer holds one.
pub const SENTENCE_BYTES_MAX_LIMIT: usize = 4096;

/// The highest number of a field.
pub const FIELD_INDEX_MAX: usize = 255;

/// A receiver that speaks NMEA 0183.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The channels, in order.
    pub fields: Vec<Field>,
    /// What concerns all sentences.
    pub rules: Rules,
}

impl Rules {
    /// Mistakes in what does not concern a channel.
    pub(crate) fn mistakes(&self) -> Vec<OptionsError> {
        let mut mistakes = Vec::new();
        let mut mistake = |part: &str, what: String| {
            mistakes.push(OptionsError {
                part: part.to_owned(),
                what,
            });
        };
        for talker in &self.talkers {
            if talker.len() != 2 || !talker.bytes().all(|b| b.is_ascii_alphanumeric()) {
                let what = format!("`{talker}` is no talker: two letters, as in GP or GN");
                mistake("talkers", what);
            }
        }
        if !(16..=SENTENCE_BYTES_MAX_LIMIT).contains(&self.sentence_bytes_max) {
            let what = format!(
                "{} bytes: a sentence may be 16 to {SENTENCE_BYTES_MAX_LIMIT} bytes long",
                self.sentence_bytes_max
            );
            mistake("sentence_max", what);
        }
        mistakes
    }
}

impl Rules {
    pub(crate) fn is_by_epoch(&self) -> bool {
        matches!(self.frame, FrameBy::Epoch { .. })
    }

    /// Whether the last message of an epoch is declared.
    pub(crate) fn has_last(&self) -> bool {
        matches!(self.frame, FrameBy::Epoch { last: Some(_), .. })
    }

    /// The first and the last message of an epoch, where they are binary ones.
    pub(crate) fn binary_names(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let (first, last) = match &self.frame {
            FrameBy::Epoch { first, last } => (first.as_ref(), last.as_ref()),
            FrameBy::Sentence => (None, None),
        };
        let named = |part, name: Option<_>| Some((part, name?));
        [named("first", first), named("last", last)]
            .into_iter()
            .flatten()
            .filter(|(_, name)| super::is_binary(name))
    }
}
