//! What a whole stream must decode to, told byte by byte: slow, plain, and never shown a cut.

use kymo_drivers::block::GapReason;

use crate::common::{Decoded, Lost, Row};
use crate::encode::{crc_ibm_3740, crc_modbus, sum16};
use crate::kinds::{Kind, LINE_MAX, SIZED_MAX};
use crate::receiver_model::{Found, look};

/// What must come of a stream, and what became of each of its bytes.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) decoded: Decoded,
    pub(crate) frame_bytes: usize,
    pub(crate) corrupt_bytes: usize,
    /// Delimiters, empty lines, comments.
    pub(crate) passed_bytes: usize,
    started: bool,
    counter: Option<u64>,
    corrupt: u64,
    /// What the last header said: the channel that each column is.
    columns: Option<Vec<Option<usize>>>,
}

pub(crate) fn expect(kind: Kind, first_line_whole: bool, bytes: &[u8]) -> Expected {
    let mut expected = Expected::default();
    match kind {
        Kind::Sync | Kind::Sized => expected.packets(kind, bytes),
        Kind::Cobs | Kind::Slip => expected.stuffed(kind, bytes),
        Kind::Sentence | Kind::Epoch | Kind::Ubx => expected.messages(kind, bytes),
        _ => expected.lines(kind, first_line_whole, bytes),
    }
    expected
}

impl Expected {
    fn good(&mut self, kind: Kind, count: Option<u64>, row: Row, end: usize) {
        let missing = match (count, self.counter) {
            (Some(now), Some(last)) => {
                let range = kind.counter_range();
                let step = (now + range - last) % range;
                let missing = step.saturating_sub(1);
                let known = (missing <= range / 2).then_some(missing);
                let reason = if known.is_some_and(|missing| missing <= self.corrupt) {
                    GapReason::Corrupt
                } else {
                    GapReason::DeviceCounter
                };
                (missing > 0).then_some((known, reason))
            }
            (None, _) if self.started && self.corrupt > 0 => {
                let known = kind.gone_with_a_damaged_frame().map(|_| self.corrupt);
                Some((known, GapReason::Corrupt))
            }
            _ => None,
        };
        if let Some((frames, reason)) = missing {
            if reason == GapReason::DeviceCounter {
                let lost = frames.unwrap_or(0).saturating_sub(self.corrupt);
                self.decoded.tally.lost_frames += lost;
            }
            self.decoded.losses.push(Lost {
                before: self.decoded.rows.len(),
                frames,
                reason,
            });
        }
        (self.started, self.counter, self.corrupt) = (true, count, 0);
        self.decoded.rows.push(row);
        self.decoded.ends.push(end);
    }

    fn corrupt(&mut self) {
        self.corrupt += 1;
        self.decoded.tally.corrupt_frames += 1;
    }

    fn packets(&mut self, kind: Kind, bytes: &[u8]) {
        let sync: &[u8] = if kind == Kind::Sync {
            &[0xAA, 0x55]
        } else {
            &[0x7E]
        };
        let mut corrupt_to = 0;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let seen = rest.len().min(sync.len());
            let mut length = None;
            if rest[..seen] == sync[..seen] {
                if rest.len() < 2 {
                    break;
                }
                length = match kind {
                    Kind::Sync => Some(12),
                    _ => Some(usize::from(rest[1]) + 4).filter(|l| (9..=SIZED_MAX).contains(l)),
                };
            }
            if let Some(length) = length {
                if rest.len() < length {
                    break;
                }
                if let Some((count, row)) = packet(kind, &rest[..length]) {
                    self.frame_bytes += length;
                    at += length;
                    self.good(kind, Some(count), row, at);
                    corrupt_to = 0;
                    continue;
                }
                if at >= corrupt_to {
                    self.corrupt();
                    corrupt_to = at + length;
                }
            }
            if at < corrupt_to {
                self.corrupt_bytes += 1;
            } else {
                self.decoded.tally.skipped_bytes += 1;
            }
            at += 1;
        }
        self.decoded.pending = bytes.len() - at;
    }

    fn messages(&mut self, kind: Kind, bytes: &[u8]) {
        let mut corrupt_to = 0;
        let mut moment = None;
        let mut at = 0;
        while at < bytes.len() {
            match look(kind, &bytes[at..]) {
                Found::Short => break,
                Found::Frame(length, row, time) => {
                    at += length;
                    corrupt_to = 0;
                    if kind == Kind::Epoch && moment == time {
                        self.passed_bytes += length;
                    } else {
                        moment = time;
                        self.frame_bytes += length;
                        self.good(kind, None, row, at);
                    }
                    continue;
                }
                Found::Other(length) => {
                    at += length;
                    corrupt_to = 0;
                    self.passed_bytes += length;
                    continue;
                }
                Found::Malformed(length) => {
                    at += length;
                    corrupt_to = 0;
                    self.corrupt();
                    self.corrupt_bytes += length;
                    continue;
                }
                Found::Damaged(length) => {
                    if at >= corrupt_to {
                        self.corrupt();
                        corrupt_to = at + length;
                    }
                }
                Found::Nothing => {}
            }
            if at < corrupt_to {
                self.corrupt_bytes += 1;
            } else {
                self.decoded.tally.skipped_bytes += 1;
            }
            at += 1;
        }
        self.decoded.pending = bytes.len() - at;
    }

    fn stuffed(&mut self, kind: Kind, bytes: &[u8]) {
        let (delimiter, sizes) = match kind {
            // Ten bytes; every one of them may be escaped.
            Kind::Slip => (0xC0, 10..=20),
            _ => (0, 10..=10),
        };
        let longest = *sizes.end();
        let decode = |chunk: &[u8]| match kind {
            Kind::Slip => unslip(chunk),
            _ => unstuff(chunk),
        };
        let good = |chunk: &[u8]| decode(chunk).and_then(|decoded| packet(kind, &decoded));
        let mut at = 0;
        let mut aligned = false;
        while let Some(length) = bytes[at..].iter().position(|byte| *byte == delimiter) {
            let chunk = &bytes[at..at + length];
            at += length + 1;
            self.passed_bytes += 1;
            // Alone, or at the end of noise.
            let alone = (length <= longest).then_some(0);
            let at_end = sizes.clone().filter_map(|size| length.checked_sub(size));
            let found = alone
                .into_iter()
                .chain(at_end)
                .find_map(|rubbish| Some((rubbish, good(&chunk[rubbish..])?)));
            if let Some((rubbish, (count, row))) = found {
                if rubbish > 0 {
                    self.chunk_without_packet(aligned, rubbish);
                }
                self.frame_bytes += length - rubbish;
                self.good(kind, Some(count), row, at);
            } else if length > 0 {
                self.chunk_without_packet(aligned, length);
            }
            aligned = true;
        }
        let left = bytes.len() - at;
        if left > longest {
            self.chunk_without_packet(aligned, left - longest);
        }
        self.decoded.pending = left.min(longest);
    }

    fn chunk_without_packet(&mut self, aligned: bool, length: usize) {
        if aligned {
            self.corrupt();
            self.corrupt_bytes += length;
        } else {
            self.decoded.tally.skipped_bytes += length as u64;
        }
    }

    fn lines(&mut self, kind: Kind, first_line_whole: bool, bytes: &[u8]) {
        let mut at = 0;
        let mut aligned = first_line_whole;
        while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            let line = &bytes[at..at + length];
            let text = line.trim_ascii();
            at += length + 1;
            if !aligned {
                self.decoded.tally.skipped_bytes += length as u64 + 1;
                aligned = true;
            } else if length <= LINE_MAX && (text.is_empty() || text.starts_with(b"#")) {
                if kind == Kind::Columns
                    && let Some(said) = text.strip_prefix(b"#")
                    && let Some(columns) = std::str::from_utf8(said).ok().and_then(header)
                {
                    self.columns = Some(columns);
                }
                self.passed_bytes += length + 1;
            } else if length > LINE_MAX {
                self.corrupt();
                self.corrupt_bytes += length + 1;
            } else if kind == Kind::Columns
                && let Some(columns) = std::str::from_utf8(text).ok().and_then(header)
            {
                self.columns = Some(columns);
                self.passed_bytes += length + 1;
            } else if let Some(row) = std::str::from_utf8(text)
                .ok()
                .and_then(|t| self.row(kind, t))
            {
                self.frame_bytes += length + 1;
                self.good(kind, None, row, at);
            } else {
                self.corrupt();
                self.corrupt_bytes += length + 1;
            }
        }
        let left = bytes.len() - at;
        if !aligned {
            self.decoded.tally.skipped_bytes += left as u64;
        } else if left > LINE_MAX {
            self.corrupt();
            self.corrupt_bytes += left;
        } else {
            self.decoded.pending = left;
        }
    }
}

impl Expected {
    /// A line's values, by the columns that the last header named where there are any.
    fn row(&mut self, kind: Kind, text: &str) -> Option<Row> {
        if kind != Kind::Columns {
            return row(kind, text);
        }
        let fields: Vec<&str> = text.split(',').collect();
        let columns = self
            .columns
            .clone()
            .filter(|columns| columns.len() == fields.len());
        let values = columns.and_then(|columns| {
            let mut row = vec![0.0; 3];
            for (column, field) in columns.iter().zip(&fields) {
                if let Some(channel) = column {
                    row[*channel] = field.trim_ascii().parse().ok()?;
                }
            }
            Some(Row(row))
        });
        let names_some = fields.iter().any(|field| channel(field).is_some());
        let has_number = fields
            .iter()
            .any(|field| field.trim_ascii().parse::<f64>().is_ok());
        if values.is_none() && names_some && !has_number {
            self.columns = None;
        }
        values
    }
}

/// The channel of this name.
fn channel(field: &str) -> Option<usize> {
    let name = field.trim_ascii();
    let quoted = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    let name = quoted.map_or(name, str::trim_ascii);
    ["x", "y", "z"].iter().position(|known| *known == name)
}

/// The columns that a line names, if it names each channel once.
fn header(text: &str) -> Option<Vec<Option<usize>>> {
    let columns: Vec<Option<usize>> = text.trim_ascii().split(',').map(channel).collect();
    let once = |channel| columns.iter().filter(|c| **c == Some(channel)).count() == 1;
    (once(0) && once(1) && once(2)).then_some(columns)
}

/// Undoes SLIP's escapes; the delimiter is left out.
pub(crate) fn unslip(chunk: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut bytes = chunk.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            0xDB => match bytes.next()? {
                0xDC => 0xC0,
                0xDD => 0xDB,
                _ => return None,
            },
            other => *other,
        });
    }
    Some(decoded)
}

/// The count and the values, if the packet's checksum is right.
fn packet(kind: Kind, packet: &[u8]) -> Option<(u64, Row)> {
    let body = packet.len().checked_sub(2)?;
    let two = |at: usize| [packet[at], packet[at + 1]];
    let three = |at: usize, convert: fn([u8; 2]) -> i16| {
        Row((0..3)
            .map(|index| convert(two(at + 2 * index)).into())
            .collect())
    };
    match kind {
        Kind::Sync => {
            (crc_ibm_3740(&packet[2..body]) == u16::from_be_bytes(two(body))).then(|| {
                (
                    u16::from_le_bytes(two(2)).into(),
                    three(4, i16::from_le_bytes),
                )
            })
        }
        Kind::Cobs => (packet.len() == 9
            && crc_modbus(&packet[..body]) == u16::from_le_bytes(two(body)))
        .then(|| (u64::from(packet[0]) % 200, three(1, i16::from_be_bytes))),
        Kind::Slip => (packet.len() == 10
            && packet[1] == 0xC0
            && crc_modbus(&packet[..body]) == u16::from_be_bytes(two(body)))
        .then(|| (packet[0].into(), three(2, i16::from_le_bytes))),
        Kind::Sized => (sum16(&packet[1..body]) == u16::from_be_bytes(two(body)))
            .then(|| (packet[2].into(), three(3, i16::from_be_bytes))),
        _ => None,
    }
}

/// Undoes byte stuffing; the delimiter is left out.
pub(crate) fn unstuff(chunk: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < chunk.len() {
        let code = usize::from(chunk[at]);
        decoded.extend_from_slice(chunk.get(at + 1..at + code)?);
        at += code;
        if code < 255 && at < chunk.len() {
            decoded.push(0);
        }
    }
    Some(decoded)
}

/// A line's values.
fn row(kind: Kind, text: &str) -> Option<Row> {
    let number = |text: &str| text.trim_ascii().parse::<f64>().ok();
    let values: Vec<f64> = match kind {
        Kind::Separated => text.split(',').map(number).collect::<Option<_>>()?,
        Kind::Json => {
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            let found = [&value["a"]["x"], &value["v"][0], &value["v"][1]];
            found
                .map(serde_json::Value::as_f64)
                .into_iter()
                .collect::<Option<_>>()?
        }
        Kind::Units => {
            let comma = |text: &str| {
                let number = text.trim_ascii().strip_suffix('V')?;
                (!number.contains('.'))
                    .then(|| number.replace(',', ".").trim_ascii().parse().ok())?
            };
            text.split(';').map(comma).collect::<Option<_>>()?
        }
        Kind::KeyValue => {
            let mut found: [Option<f64>; 3] = [None; 3];
            for pair in text.split([' ', '\t']) {
                let Some((key, value)) = pair.split_once('=') else {
                    continue;
                };
                let place = ["x", "y", "z"].iter().position(|k| *k == key.trim_ascii());
                if let Some(place) = place
                    && found[place].replace(number(value)?).is_some()
                {
                    return None;
                }
            }
            found.into_iter().collect::<Option<_>>()?
        }
        _ => {
            let parts = text.strip_prefix("P ")?;
            if parts.contains(char::is_whitespace) {
                return None;
            }
            parts.split('/').map(number).collect::<Option<_>>()?
        }
    };
    (values.len() == 3).then_some(Row(values))
}
