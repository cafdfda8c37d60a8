//! Feeding a decoder as a reader does: in pieces, with what it left put in front of the next.

use std::process::Command;

use kymo_drivers::block::GapReason;
use kymo_drivers::frames::{Frames, Tally};
use kymo_drivers::protocol::Protocol;

/// Python with this module, if there is one; where it has to be there, its absence is a failure.
pub(crate) fn python_with(module: &str) -> Option<String> {
    let python = std::env::var("KYMO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = format!("import {module}");
    let found = Command::new(&python).args(["-c", &import]).output();
    if found.is_ok_and(|found| found.status.success()) {
        return Some(python);
    }
    let is_required = std::env::var("KYMO_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(
        !is_required,
        "`{python}` has no {module}; KYMO_PYTHON names one that has"
    );
    #[allow(clippy::print_stderr)]
    {
        eprintln!("skipped: `{python}` has no {module}");
    }
    None
}

/// One frame's values, equal if they are the same bit by bit: so that `nan` equals itself.
#[derive(Debug, Clone)]
pub(crate) struct Row(pub(crate) Vec<f64>);

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && (self.0.iter().zip(&other.0)).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

/// A loss with its place counted over the whole stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) before: usize,
    pub(crate) frames: Option<u64>,
    pub(crate) reason: GapReason,
}

/// All that came of a stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Decoded {
    pub(crate) rows: Vec<Row>,
    /// Where each frame ended, counted from the start of the stream.
    pub(crate) ends: Vec<usize>,
    pub(crate) losses: Vec<Lost>,
    pub(crate) tally: Tally,
    /// Bytes left for the next call.
    pub(crate) pending: usize,
}

/// A reader's loop around a decoder.
pub(crate) struct Feed {
    protocol: Box<dyn Protocol>,
    out: Frames,
    buffer: Vec<u8>,
    /// Bytes done with before the buffer's first.
    done: usize,
    pub(crate) decoded: Decoded,
}

impl Feed {
    /// `room` frames are taken at once.
    pub(crate) fn new(protocol: Box<dyn Protocol>, room: usize) -> Self {
        Self {
            out: Frames::with_capacity(protocol.channels(), room),
            protocol,
            buffer: Vec::new(),
            done: 0,
            decoded: Decoded::default(),
        }
    }

    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        loop {
            let used = self.protocol.decode(&self.buffer, &mut self.out);
            assert!(used <= self.buffer.len(), "done with bytes never shown");
            let full = self.out.is_full();
            self.take(used);
            if !full {
                break;
            }
        }
        assert!(
            self.buffer.len() <= self.protocol.tail_max(),
            "{} bytes left, more than {}",
            self.buffer.len(),
            self.protocol.tail_max()
        );
        self.decoded.pending = self.buffer.len();
    }

    /// The link was opened anew: what was pending is gone.
    pub(crate) fn reset(&mut self) {
        self.protocol.reset();
        self.done += self.buffer.len();
        self.buffer.clear();
        self.decoded.pending = 0;
    }

    fn take(&mut self, used: usize) {
        let (out, decoded) = (&mut self.out, &mut self.decoded);
        let first = decoded.rows.len();
        for index in 0..out.len() {
            let values = (0..out.channels()).map(|channel| out.column(channel)[index]);
            decoded.rows.push(Row(values.collect()));
            let end = out.ends()[index] as usize;
            assert!(end <= used, "a frame that ends in bytes not done with");
            decoded.ends.push(self.done + end);
        }
        decoded.losses.extend(out.losses.iter().map(|loss| Lost {
            before: first + loss.before as usize,
            frames: loss.frames,
            reason: loss.reason,
        }));
        let tally = out.take_tally();
        decoded.tally.corrupt_frames += tally.corrupt_frames;
        decoded.tally.skipped_bytes += tally.skipped_bytes;
        decoded.tally.lost_frames += tally.lost_frames;
        out.clear();
        self.buffer.drain(..used);
        self.done += used;
    }
}

/// Decodes a stream that comes in one piece.
pub(crate) fn whole(protocol: Box<dyn Protocol>, bytes: &[u8]) -> Decoded {
    let mut feed = Feed::new(protocol, bytes.len() + 1);
    feed.feed(bytes);
    feed.decoded
}

/// Decodes a stream that comes cut at these places.
pub(crate) fn cut(
    protocol: Box<dyn Protocol>,
    bytes: &[u8],
    places: &[usize],
    room: usize,
) -> Decoded {
    let mut feed = Feed::new(protocol, room);
    let mut places: Vec<usize> = places.iter().map(|p| p % (bytes.len() + 1)).collect();
    places.push(bytes.len());
    places.sort_unstable();
    let mut from = 0;
    for to in places {
        feed.feed(&bytes[from..to]);
        from = to;
    }
    feed.decoded
}
