//! What the fuzz targets share: options out of bytes, and decoding whole and in pieces.

use kymo_drivers::block::GapReason;
use kymo_drivers::frames::{Frames, Tally};
use kymo_drivers::protocol::{Options, nmea};

/// The first bytes of an input, as choices; zeros once they are used up.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// At most `count` bytes are choices; the rest is the stream.
    #[must_use]
    pub fn split(data: &'a [u8], count: usize) -> (Self, &'a [u8]) {
        let (choices, stream) = data.split_at(count.min(data.len()));
        (Self(choices), stream)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0 {
            [byte, rest @ ..] => {
                self.0 = rest;
                *byte
            }
            [] => 0,
        }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u8) -> usize {
        usize::from(self.byte() % bound)
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One of them.
    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        let bound = u8::try_from(all.len()).unwrap_or(u8::MAX);
        all[self.below(bound)].clone()
    }
}

/// What came of a stream.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// Where each frame ended, from the stream's start.
    pub ends: Vec<usize>,
    /// The values bit by bit, so that `nan` equals itself.
    pub values: Vec<u64>,
    /// Place, size and reason of each loss.
    pub losses: Vec<(usize, Option<u64>, GapReason)>,
    /// Counts of the whole stream.
    pub tally: Tally,
    /// Bytes done with.
    pub consumed: usize,
}

/// Decodes the stream whole, and again in pieces and with little room; both must say the same.
/// `None` if the options do not work.
#[must_use]
pub fn decode(options: &Options, stream: &[u8], piece: usize, room: usize) -> Option<Decoded> {
    let whole = feed(options, stream, stream.len(), stream.len() + 1)?;
    let pieces = feed(options, stream, piece, room)?;
    assert_eq!(
        whole, pieces,
        "cut into pieces of {piece} it is another stream"
    );
    Some(whole)
}

fn feed(options: &Options, stream: &[u8], piece: usize, room: usize) -> Option<Decoded> {
    let mut protocol = options.build().ok()?;
    let mut out = Frames::with_capacity(protocol.channels(), room.max(1));
    let mut decoded = Decoded::default();
    let mut shown = 0;
    while shown < stream.len() {
        shown = (shown + piece.max(1)).min(stream.len());
        loop {
            out.clear();
            let input = &stream[decoded.consumed..shown];
            let used = protocol.decode(input, &mut out);
            assert!(used <= input.len());
            collect(&out, &mut decoded);
            decoded.consumed += used;
            if !out.is_full() {
                break;
            }
        }
        assert!(shown - decoded.consumed <= protocol.tail_max());
    }
    Some(decoded)
}

fn collect(out: &Frames, decoded: &mut Decoded) {
    let first = decoded.ends.len();
    for (index, end) in out.ends().iter().enumerate() {
        decoded.ends.push(decoded.consumed + *end as usize);
        for channel in 0..out.channels() {
            decoded.values.push(out.column(channel)[index].to_bits());
        }
    }
    for loss in &out.losses {
        let place = first + loss.before as usize;
        decoded.losses.push((place, loss.frames, loss.reason));
    }
    decoded.tally.corrupt_frames += out.tally.corrupt_frames;
    decoded.tally.skipped_bytes += out.tally.skipped_bytes;
    let lost = out.tally.lost_frames;
    decoded.tally.lost_frames = decoded.tally.lost_frames.saturating_add(lost);
}

/// The stretches of `bytes` that end with `delimiter`, as (start, end behind the delimiter), and
/// where the last of them ended.
#[must_use]
pub fn stretches(bytes: &[u8], delimiter: u8) -> (Vec<(usize, usize)>, usize) {
    let mut found = Vec::new();
    let mut start = 0;
    for (place, byte) in bytes.iter().enumerate() {
        if *byte == delimiter {
            found.push((start, place + 1));
            start = place + 1;
        }
    }
    (found, start)
}

/// Rules of a receiver; `boundaries` may begin or end an epoch.
pub fn receiver_rules(choices: &mut Choices<'_>, boundaries: &[&str]) -> nmea::Rules {
    let boundary = |choices: &mut Choices<'_>| {
        let name = choices.one_of(boundaries).to_owned();
        (!name.is_empty() && choices.flag()).then_some(name)
    };
    let frame = if choices.flag() {
        nmea::FrameBy::Sentence
    } else {
        nmea::FrameBy::Epoch {
            first: boundary(choices),
            last: boundary(choices),
        }
    };
    nmea::Rules {
        frame,
        talkers: choices.one_of(&[Vec::new(), vec!["GP".to_owned(), "GN".to_owned()]]),
        checksum_optional: choices.flag(),
        sentence_bytes_max: 16 + choices.below(100),
    }
}

/// Messages make frames one behind the other, and no byte is skipped twice.
pub fn account_messages(decoded: &Decoded) {
    assert!(decoded.ends.is_sorted(), "frames end one behind the other");
    assert!(
        decoded
            .ends
            .last()
            .is_none_or(|end| *end <= decoded.consumed)
    );
    assert!(decoded.tally.skipped_bytes <= decoded.consumed as u64);
    assert_eq!(decoded.tally.lost_frames, 0);
}
