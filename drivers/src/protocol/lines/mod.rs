//! Text lines: one line, one frame.
//!
//! Lines end with LF or CR LF. Empty lines and comments are passed over. Numbers are decimal, with or without
//! an exponent; `nan`, `inf` and `infinity` are numbers too, in any case of their letters. A line that does not
//! hold one number for every channel is corrupt, also one that is not UTF-8 and one that is too long.
//!
//! Where a header names the columns, what comes before the first one since the link was opened is corrupt: which
//! value is which is not known. A line that is a header is no frame, and not corrupt.
//!
//! **Always holds.** A line is a frame, a corrupt one, or none; it never makes two. A line of any length
//! takes no more memory than `line_bytes_max`. What stands before the first line end after the link was opened
//! is skipped, unless it is known to be whole.
//!
//! **Must not know.** Time, and where the bytes come from.

mod columns;
mod form;
mod json;
mod numbers;
mod options;
mod separator;

use memchr::memchr;

use super::{OptionsError, Protocol};
use crate::block::GapReason;
use crate::frames::Frames;
use form::{Line, Parser};
pub use options::*;

/// The decoder of text lines.
pub struct Lines {
    parser: Parser,
    comment: Option<Vec<u8>>,
    line_bytes_max: usize,
    first_line_whole: bool,
    /// One line's values.
    row: Vec<f64>,
    stream: Stream,
}

/// What is remembered of the stream from line to line.
#[derive(Debug, Default)]
struct Stream {
    /// The next line begins at its beginning.
    aligned: bool,
    /// The line at hand was given up as too long; the rest of it ends with the next line end.
    overlong: bool,
    /// A frame was decoded since the link was opened.
    started: bool,
    /// Corrupt lines since the last frame.
    corrupt: u64,
}

impl Lines {
    /// Makes the decoder.
    ///
    /// # Errors
    /// Every mistake in the options.
    pub fn new(options: &Options) -> Result<Self, Vec<OptionsError>> {
        let mut mistakes = options.mistakes();
        let parser = match Parser::new(options) {
            Ok(parser) if mistakes.is_empty() => parser,
            Ok(_) => return Err(mistakes),
            Err(more) => {
                mistakes.extend(more);
                return Err(mistakes);
            }
        };
        let mut lines = Self {
            parser,
            comment: options
                .comment
                .as_ref()
                .map(|mark| mark.as_bytes().to_vec()),
            line_bytes_max: options.line_bytes_max,
            first_line_whole: options.first_line_whole,
            row: vec![0.0; options.keys.len()],
            stream: Stream::default(),
        };
        lines.reset();
        Ok(lines)
    }

    /// One line, its end left out; `end` is where it ended in the input.
    fn line(&mut self, line: &[u8], end: usize, out: &mut Frames) {
        let text = line.trim_ascii();
        if text.is_empty() {
            return;
        }
        let mark = self.comment.as_ref();
        if let Some(said) = mark.and_then(|mark| text.strip_prefix(&mark[..])) {
            self.parser.comment(said);
            return;
        }
        match self.parser.parse(line, &mut self.row) {
            Line::Values => {}
            Line::Header => return,
            Line::Corrupt => return self.corrupt(out),
        }
        let corrupt = std::mem::take(&mut self.stream.corrupt);
        if corrupt > 0 && self.stream.started {
            out.lose(Some(corrupt), GapReason::Corrupt);
        }
        self.stream.started = true;
        out.push(end, &self.row);
    }

    fn corrupt(&mut self, out: &mut Frames) {
        self.stream.corrupt += 1;
        out.tally.corrupt_frames += 1;
    }
}

impl Protocol for Lines {
    fn channels(&self) -> usize {
        self.row.len()
    }

    fn decode(&mut self, input: &[u8], out: &mut Frames) -> usize {
        let mut at = 0;
        while !out.is_full() {
            let rest = &input[at..];
            let Some(length) = memchr(b'\n', rest) else {
                if self.stream.overlong {
                    // Part of the line that was counted as corrupt when it was given up.
                    at = input.len();
                } else if !self.stream.aligned {
                    out.tally.skipped_bytes += rest.len() as u64;
                    at = input.len();
                } else if rest.len() > self.line_bytes_max {
                    self.corrupt(out);
                    self.stream.overlong = true;
                    at = input.len();
                }
                break;
            };
            at += length + 1;
            if std::mem::take(&mut self.stream.overlong) {
                // Its end; it is counted already.
            } else if !self.stream.aligned {
                out.tally.skipped_bytes += length as u64 + 1;
                self.stream.aligned = true;
            } else if length > self.line_bytes_max {
                self.corrupt(out);
            } else {
                self.line(&rest[..length], at, out);
            }
        }
        at
    }

    fn tail_max(&self) -> usize {
        self.line_bytes_max
    }

    fn reset(&mut self) {
        self.stream = Stream {
            aligned: self.first_line_whole,
            ..Stream::default()
        };
        self.parser.reset();
    }

    fn boundary(&mut self) {
        (self.stream.aligned, self.stream.overlong) = (true, false);
    }
}
