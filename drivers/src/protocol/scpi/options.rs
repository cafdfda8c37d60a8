//! What can be declared of an instrument that is queried.

use std::time::Duration;

use crate::protocol::OptionsError;
use crate::protocol::polled::wait_mistakes;

/// What the instrument must say it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// It is not asked. Then nothing but a pause tells a late answer from the next one's.
    NotAsked,
    /// Any answer to `*IDN?` with the four fields of IEEE 488.2 will do.
    Any,
    /// The answer to `*IDN?` must match this regular expression.
    Pattern(String),
}

/// What is asked in a cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The query, as in `MEAS:VOLT?`.
    pub ask: String,
    /// It is asked in every so many cycles.
    pub every: u32,
}

/// One value of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// The query's place.
    pub query: usize,
    /// Its place among the answer's values, between commas, from 0.
    pub value: usize,
    /// The value is `raw * scale + offset`.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
}

/// A sample in a waveform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sample {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    F64,
}

impl Sample {
    /// All, by name.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("u8", Self::U8),
        ("i8", Self::I8),
        ("u16", Self::U16),
        ("i16", Self::I16),
        ("u32", Self::U32),
        ("i32", Self::I32),
        ("f32", Self::F32),
        ("f64", Self::F64),
    ];

    /// Bytes of one.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// An answer that is a definite-length block of samples: each becomes a frame of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    /// What a sample is.
    pub sample: Sample,
    /// Whether its most significant byte comes first.
    pub is_big_endian: bool,
    /// Samples a second.
    pub sample_rate_hz: f64,
    /// Samples of a block at most; a longer one is not believed.
    pub samples_max: u64,
}

/// An instrument that is queried in cycles.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// From the start of a cycle to the next: one frame each, or one waveform.
    pub cycle: Duration,
    /// Waited for an answer; for a waveform, for more of it.
    pub timeout: Duration,
    /// After so long what did not answer is asked again; each time twice as long.
    pub backoff_first: Duration,
    /// The longest of these waits.
    pub backoff_max: Duration,
    /// Ends what is sent.
    pub terminator: String,
    /// What it must say it is.
    pub identity: Identity,
    /// Sent, one after the other, once it is known; they have no answer.
    pub start: Vec<String>,
    /// After each of them.
    pub pause: Duration,
    /// Asks for the oldest error; `None`: it is not asked.
    pub errors: Option<String>,
    /// What is asked in a cycle.
    pub queries: Vec<Query>,
    /// The values of a frame.
    pub channels: Vec<Channel>,
    /// Whether the answer, to the only query, is a waveform of the only channel.
    pub waveform: Option<Waveform>,
}

/// The longest answer, in bytes, that is no waveform.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The longest message to an instrument.
pub const MESSAGE_BYTES_MAX: usize = 4096;

impl Options {
    /// Every mistake in it.
    pub(super) fn mistakes(&self) -> Vec<OptionsError> {
        let backoff = (self.backoff_first, self.backoff_max);
        let mut mistakes: Vec<_> = wait_mistakes(self.cycle, self.timeout, backoff).collect();
        let mut mistake = |part: &str, what: String| {
            mistakes.push(OptionsError {
                part: part.to_owned(),
                what,
            });
        };
        if !matches!(self.terminator.as_str(), "\n" | "\r\n" | "\r") {
            let what = "a message ends with \"\\n\", \"\\r\\n\" or \"\\r\"".to_owned();
            mistake("terminator", what);
        }
        if let Identity::Pattern(pattern) = &self.identity
            && let Err(error) = regex::Regex::new(pattern)
        {
            mistake("identity", format!("it is no regular expression: {error}"));
        }
        for command in &self.start {
            if let Some(what) = message_mistake(command) {
                mistake("start", what);
            } else if command.contains('?') {
                let what = format!("`{command}` is a query, and nobody waits for its answer");
                mistake("start", what);
            }
        }
        if let Some(what) = self.errors.as_deref().and_then(query_mistake) {
            mistake("errors", what);
        }
        for (index, channel) in self.channels.iter().enumerate() {
            let part = format!("field {index}");
            let Some(query) = self.queries.get(channel.query) else {
                mistake(&part, "it has no query".to_owned());
                continue;
            };
            if let Some(what) = query_mistake(&query.ask) {
                mistake(&part, what);
            }
            if query.every == 0 {
                mistake(&part, "every 0th cycle is none".to_owned());
            }
        }
        if self.channels.is_empty() {
            mistake("cycle", "nothing is asked: there is no channel".to_owned());
        }
        if let Some(waveform) = &self.waveform {
            if self.channels.len() != 1 || self.queries.len() != 1 {
                let what = "a waveform is the only channel of its source".to_owned();
                mistake("waveform", what);
            }
            if !(1e-3..=1e9).contains(&waveform.sample_rate_hz) {
                let what = "sample_rate_hz: 0.001 to 1e9 is possible".to_owned();
                mistake("waveform", what);
            }
            if !(1..=1 << 32).contains(&waveform.samples_max) {
                mistake("waveform", "samples_max: 1 to 2^32".to_owned());
            }
        }
        mistakes
    }
}

fn message_mistake(message: &str) -> Option<String> {
    if message.trim().is_empty() || message.len() > MESSAGE_BYTES_MAX {
        return Some(format!(
            "a message has 1 to {MESSAGE_BYTES_MAX} bytes, and says something"
        ));
    }
    (!message.is_ascii() || message.contains(['\r', '\n', '\0']))
        .then(|| "a message is ASCII text of one line; its end is added".to_owned())
}

fn query_mistake(query: &str) -> Option<String> {
    let is_query = query.contains('?');
    message_mistake(query)
        .or_else(|| (!is_query).then(|| format!("`{query}` is no query: it has no question mark")))
}
