//! The forms in which `kymo monitor` shows bytes.
//!
//! **Always holds.** Every byte is shown, or, decoded, belongs to a frame or is counted. What is kept between two reads
//! has a bound.
//!
//! **Must not know.** Where bytes come from.

use std::fmt::Write as _;
use std::io::{self, Write};

use kymo_drivers::frames::{Frames, Tally};
use kymo_drivers::link::Link;
use kymo_drivers::protocol::Protocol;
use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::config::plan::Source;

/// Shows bytes. What is shown is at most `left` lines, reads or frames; each call says how many it were.
pub(super) trait Show {
    /// Bytes came.
    fn bytes(&mut self, bytes: &[u8], now_ns: i64, link: &dyn Link, left: u64) -> io::Result<u64>;

    /// None came for a while, or there are no more.
    fn pause(&mut self, left: u64) -> io::Result<u64> {
        let _ = left;
        Ok(0)
    }

    /// Whether something waits to be shown at the next pause.
    fn waits(&self) -> bool {
        false
    }

    /// A protocol's turn to ask, and when its next is due, UTC ns.
    fn ask(&mut self, now_ns: i64, out: &mut Vec<u8>) -> Option<i64> {
        let _ = (now_ns, out);
        None
    }

    /// What there is to say at the end.
    fn summary(&self) -> Option<String> {
        None
    }
}

fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A longer line is shown in pieces.
const LINE_MAX: usize = 4096;

/// Lines, with what cannot be printed escaped.
pub(super) struct Text {
    json: bool,
    line: Vec<u8>,
    since_ns: i64,
}

impl Text {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            line: Vec::new(),
            since_ns: 0,
        }
    }

    fn show(&mut self) -> io::Result<()> {
        let time = rfc3339(self.since_ns);
        let text = printable(&self.line);
        self.line.clear();
        if self.json {
            print(&json!({ "time": time, "text": text }).to_string())
        } else {
            print(&format!("{time}  {text}"))
        }
    }
}

/// Text as it can be printed without harm to a terminal: controls and what is no UTF-8 are escaped.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\t' || c == '\\' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing into a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

impl Show for Text {
    fn bytes(&mut self, bytes: &[u8], now_ns: i64, _: &dyn Link, left: u64) -> io::Result<u64> {
        let mut shown = 0;
        for &byte in bytes {
            if shown >= left {
                break;
            }
            if self.line.is_empty() {
                self.since_ns = now_ns;
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() >= LINE_MAX {
                if byte == b'\n' && self.line.ends_with(b"\r") {
                    self.line.pop();
                }
                self.show()?;
                shown += 1;
            }
        }
        Ok(shown)
    }

    fn pause(&mut self, left: u64) -> io::Result<u64> {
        if self.line.is_empty() || left == 0 {
            return Ok(0);
        }
        self.show()?;
        Ok(1)
    }

    fn waits(&self) -> bool {
        !self.line.is_empty()
    }
}

/// Bytes of a row.
const ROW: usize = 16;

/// Offset, bytes, ASCII.
pub(super) struct Hex {
    json: bool,
    offset: u64,
}

impl Hex {
    pub(super) fn new(json: bool) -> Self {
        Self { json, offset: 0 }
    }
}

/// A row as `hexdump -C` shows it.
fn row(offset: u64, bytes: &[u8]) -> String {
    let mut text = format!("{offset:08x} ");
    for place in 0..ROW {
        if place == ROW / 2 {
            text.push(' ');
        }
        // Writing into a string cannot fail.
        let _ = match bytes.get(place) {
            Some(byte) => write!(text, " {byte:02x}"),
            None => write!(text, "   "),
        };
    }
    let ascii = bytes.iter().map(|byte| match byte {
        0x20..0x7f => char::from(*byte),
        _ => '.',
    });
    format!("{text}  |{}|", ascii.collect::<String>())
}

impl Show for Hex {
    fn bytes(&mut self, bytes: &[u8], now_ns: i64, _: &dyn Link, _: u64) -> io::Result<u64> {
        let time = rfc3339(now_ns);
        if self.json {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let read = json!({ "time": time, "offset": self.offset, "hex": hex.join(" ") });
            print(&read.to_string())?;
        } else {
            print(&format!("{time}  {} bytes", bytes.len()))?;
            for (offset, bytes) in (self.offset..).step_by(ROW).zip(bytes.chunks(ROW)) {
                print(&row(offset, bytes))?;
            }
        }
        self.offset += bytes.len() as u64;
        Ok(1)
    }
}

/// Frames decoded at once.
const FRAMES: usize = 1024;

/// Frames, by a source's protocol.
pub(super) struct Decoded {
    json: bool,
    protocol: Box<dyn Protocol>,
    /// Name and place of each channel.
    channels: Vec<(String, usize)>,
    frames: Frames,
    /// What is not decoded yet.
    rest: Vec<u8>,
    tally: Tally,
    shown: u64,
}

impl Decoded {
    pub(super) fn new(source: &Source, json: bool) -> anyhow::Result<Self> {
        let protocol = source.protocol.build().map_err(|errors| {
            let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("source `{}`: {}", source.name, told.join("; "))
        })?;
        let frames = Frames::with_capacity(protocol.channels(), FRAMES);
        let channels = source
            .channels
            .iter()
            .map(|channel| (channel.name.clone(), channel.place));
        Ok(Self {
            json,
            channels: channels.collect(),
            frames,
            rest: Vec::new(),
            tally: Tally::default(),
            shown: 0,
            protocol,
        })
    }

    fn show(&self, frame: usize, time: &str) -> io::Result<()> {
        let value = |place: usize| self.frames.column(place)[frame];
        if self.json {
            let values = self
                .channels
                .iter()
                .map(|(name, place)| (name.clone(), value(*place).into()));
            let values: Map<String, Value> = values.collect();
            return print(&json!({ "time": time, "values": values }).to_string());
        }
        let mut line = time.to_owned();
        for (name, place) in &self.channels {
            // Writing into a string cannot fail.
            let _ = write!(line, "  {name}={}", value(*place));
        }
        print(&line)
    }
}

impl Show for Decoded {
    fn bytes(&mut self, bytes: &[u8], now_ns: i64, link: &dyn Link, left: u64) -> io::Result<u64> {
        let mut shown = 0;
        self.rest.extend_from_slice(bytes);
        let mut done = 0;
        let length = self.rest.len();
        loop {
            self.frames.clear();
            let input = &self.rest[done..];
            done += self.protocol.decode(input, &mut self.frames);
            let bytes_after_start = input.len();
            for frame in 0..self.frames.len() {
                if shown >= left {
                    break;
                }
                let after = bytes_after_start - self.frames.ends()[frame] as usize;
                #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
                let back_ns = (after as f64 * link.ns_per_byte()) as i64;
                self.show(frame, &rfc3339(now_ns - back_ns))?;
                shown += 1;
            }
            let tally = self.frames.take_tally();
            self.tally.corrupt_frames += tally.corrupt_frames;
            self.tally.skipped_bytes += tally.skipped_bytes;
            self.tally.lost_frames += tally.lost_frames;
            if !self.frames.is_full() {
                break;
            }
        }
        if link.keeps_boundaries() {
            self.tally.skipped_bytes += (length - done) as u64;
            self.protocol.boundary();
            done = length;
        }
        self.rest.drain(..done);
        self.shown += shown;
        Ok(shown)
    }

    fn ask(&mut self, now_ns: i64, out: &mut Vec<u8>) -> Option<i64> {
        self.protocol.poll(now_ns, out)
    }

    fn summary(&self) -> Option<String> {
        Some(format!(
            "{} frames; {} corrupt, {} lost by the device; {} bytes that belong to none",
            self.shown, self.tally.corrupt_frames, self.tally.lost_frames, self.tally.skipped_bytes
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_device_sends_reaches_the_terminal_as_an_order() {
        let shown = printable(b"T=21.5\t\xc2\xb0C \x1b[2J\xff\\\x07");
        assert_eq!(shown, "T=21.5\t°C \\u{1b}[2J\\xff\\\\\\u{7}");
    }

    #[test]
    fn a_row_has_its_offset_its_bytes_and_what_they_are_in_ascii() {
        assert_eq!(
            row(0x20, b"AB\x00\xffEFGHI"),
            "00000020  41 42 00 ff 45 46 47 48  49                       |AB..EFGHI|"
        );
    }
}
