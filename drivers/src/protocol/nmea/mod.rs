//! NMEA 0183: the sentences of a navigation receiver, and of a boat's instruments.
//!
//! A receiver tells a moment in several sentences (`RMC` the position and date, `GGA` the altitude, `GSA` the
//! dilutions, …). A frame is all that it says of one moment, an *epoch*: so that latitude and altitude of one fix
//! have one time, which is what a user expects of a source. What did not come of an epoch is NaN. Where sentences do
//! not belong together (wind, depth), each that a channel names is a frame of its own.
//!
//! Sentences that no channel names, those that begin with `!` (AIS) among them, are checked and passed over. What is
//! between sentences (comments, noise, stretches of another protocol) is skipped and counted.
//!
//! **Always holds.** A sentence whose checksum is wrong, or a named field of which is not what the standard says, is
//! corrupt: counted, and none of its values is given. The next good one after it is found.
//!
//! **Must not know.** What else is in the stream: that is [`super::ubx`]'s.

mod epoch;
mod fields;
mod options;
mod sentence;
mod sentences;
mod stream;
mod table;

use super::{OptionsError, Protocol};
use crate::frames::Frames;
pub(crate) use epoch::{Arrival, Epoch, Stamp, Time, Value as Found};
pub(crate) use fields::{DAY_S, Malformed, days};
pub use options::*;
pub(crate) use sentence::Candidate;
pub(crate) use sentences::{Sentences, is_binary};
pub use stream::EPOCH_BYTES_MAX;
pub(crate) use stream::{Binary, Stream};
pub(crate) use table::Merge;
pub use table::{quantities, sentences};

use stream::TextOnly;

/// The decoder of sentences.
pub struct Nmea(Stream<TextOnly>);

impl Nmea {
    /// Makes the decoder.
    ///
    /// # Errors
    /// Every mistake in the options.
    pub fn new(options: &Options) -> Result<Self, Vec<OptionsError>> {
        let channels: Vec<(usize, &Field)> = options.fields.iter().enumerate().collect();
        let mut merges = vec![Merge::First; channels.len()];
        let sentences = Sentences::new(&channels, &options.rules, &mut merges);
        let mut mistakes = no_channels(channels.is_empty());
        mistakes.extend(
            options
                .rules
                .binary_names()
                .map(|(part, name)| OptionsError {
                    part: part.to_owned(),
                    what: format!("`{name}` is a binary message: its protocol is ubx"),
                }),
        );
        match sentences {
            Err(more) => mistakes.extend(more),
            Ok(sentences) if mistakes.is_empty() => {
                let epoch = Epoch::new(merges, sentences.count(), options.rules.has_last());
                let is_by_epoch = options.rules.is_by_epoch();
                return Ok(Self(Stream::new(sentences, TextOnly, epoch, is_by_epoch)));
            }
            Ok(_) => {}
        }
        Err(mistakes)
    }
}

/// That a frame has a value at least.
pub(crate) fn no_channels(is_empty: bool) -> Vec<OptionsError> {
    let mistake = OptionsError {
        part: "field".to_owned(),
        what: "at least one channel is needed".to_owned(),
    };
    is_empty.then_some(mistake).into_iter().collect()
}

impl Protocol for Nmea {
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
