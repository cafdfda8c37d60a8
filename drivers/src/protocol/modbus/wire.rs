//! Requests and answers as bytes: RTU and TCP.
//!
//! **Always holds.** What is taken for an answer says that it is one to the request: RTU by unit, function, number of
//! bytes and CRC, TCP by transaction, too. It is searched for at every byte, so that rubbish before it costs nothing but
//! itself.

use crc::{CRC_16_MODBUS, Crc, Table as CrcTable};

use super::plan::Request;

const CRC: Crc<u16, CrcTable<16>> = Crc::<u16, CrcTable<16>>::new(&CRC_16_MODBUS);

/// Bytes of the longest answer: header, unit, function, count, 250 bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 7 + 2 + 255;

/// Transactions whose answers may still come.
pub(super) const STALE: usize = 16;

/// What an answer must say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) unit: u8,
    pub(super) function: u8,
    /// Bytes of data.
    pub(super) bytes: usize,
    /// `None`: RTU, which has none.
    pub(super) transaction: Option<u16>,
}

/// What was found in the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The answer: it begins at `at`, its data at `data`, and it ends before `end`.
    Answer { at: usize, data: usize, end: usize },
    /// The unit refuses, with this exception code.
    Refused { at: usize, end: usize, code: u8 },
    /// Not yet; an answer may begin at `from`, and what is before it is none. `is_suspect`: among that is
    /// what looked like the answer, and its CRC is wrong, or its transaction is right and the rest is not.
    Nothing { from: usize, is_suspect: bool },
}

/// Appends a request.
pub(super) fn ask(request: &Request, transaction: Option<u16>, out: &mut Vec<u8>) {
    let start = out.len();
    if let Some(transaction) = transaction {
        out.extend_from_slice(&transaction.to_be_bytes());
        // Protocol 0, six bytes behind.
        out.extend_from_slice(&[0, 0, 0, 6]);
    }
    out.extend_from_slice(&[request.unit, request.table.function()]);
    out.extend_from_slice(&request.at.to_be_bytes());
    out.extend_from_slice(&request.count.to_be_bytes());
    if transaction.is_none() {
        let crc = CRC.checksum(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

impl Expected {
    pub(super) fn to(request: &Request, transaction: Option<u16>) -> Self {
        Self {
            unit: request.unit,
            function: request.table.function(),
            bytes: request.data_bytes(),
            transaction,
        }
    }

    /// Bytes of the answer on the wire.
    pub(super) fn answer_bytes(&self) -> usize {
        self.bytes + if self.transaction.is_some() { 9 } else { 5 }
    }

    /// Looks for the answer. Answers to the stale transactions are passed over.
    pub(super) fn find(&self, input: &[u8], stale: &[u16]) -> Found {
        let (mut partial, mut is_suspect) = (None, false);
        let mut at = 0;
        while at < input.len() {
            let look = match self.transaction {
                None => self.rtu(&input[at..]),
                Some(transaction) => self.tcp(&input[at..], transaction, stale),
            };
            match look {
                Look::No => {}
                Look::Suspect => is_suspect = true,
                Look::Partial => {
                    partial.get_or_insert(at);
                }
                Look::Pass(bytes) => {
                    at += bytes;
                    continue;
                }
                Look::Answer(data, bytes) => {
                    return Found::Answer {
                        at,
                        data: at + data,
                        end: at + bytes,
                    };
                }
                Look::Refused(code, bytes) => {
                    let end = at + bytes;
                    return Found::Refused { at, end, code };
                }
            }
            at += 1;
        }
        Found::Nothing {
            from: partial.unwrap_or(input.len()),
            is_suspect,
        }
    }

    /// Whether an RTU answer begins here.
    fn rtu(&self, bytes: &[u8]) -> Look {
        if bytes[0] != self.unit {
            return Look::No;
        }
        let Some(function) = bytes.get(1) else {
            return Look::Partial;
        };
        let is_refusal = *function == self.function | 0x80;
        if !is_refusal && *function != self.function {
            return Look::No;
        }
        let Some(third) = bytes.get(2) else {
            return Look::Partial;
        };
        if !is_refusal && usize::from(*third) != self.bytes {
            return Look::No;
        }
        let length = if is_refusal { 5 } else { 5 + self.bytes };
        let Some(frame) = bytes.get(..length) else {
            return Look::Partial;
        };
        // A CRC over itself, least significant byte first, leaves nothing.
        if CRC.checksum(frame) != 0 {
            return Look::Suspect;
        }
        if is_refusal {
            Look::Refused(*third, length)
        } else {
            Look::Answer(3, length)
        }
    }

    /// Whether a TCP answer begins here.
    fn tcp(&self, bytes: &[u8], transaction: u16, stale: &[u16]) -> Look {
        let [high, low] = transaction.to_be_bytes();
        let is_ours = |tid: &[u8]| tid == &[high, low][..tid.len()];
        let is_stale = |tid: &[u8]| stale.iter().any(|s| tid == &s.to_be_bytes()[..tid.len()]);
        let tid = &bytes[..bytes.len().min(2)];
        let ours = is_ours(tid);
        if !ours && !is_stale(tid) {
            return Look::No;
        }
        // Protocol 0, a length of one byte.
        if bytes.iter().skip(2).take(3).any(|byte| *byte != 0) {
            return Look::No;
        }
        let Some(length) = bytes.get(5).map(|length| usize::from(*length)) else {
            return Look::Partial;
        };
        if !(3..=254).contains(&length) {
            return Look::No;
        }
        let Some(frame) = bytes.get(6..6 + length) else {
            return Look::Partial;
        };
        let whole = 6 + length;
        if !ours {
            return Look::Pass(whole);
        }
        match *frame {
            [unit, function, code] if unit == self.unit && function == self.function | 0x80 => {
                Look::Refused(code, whole)
            }
            [unit, function, count, ..]
                if unit == self.unit
                    && function == self.function
                    && usize::from(count) == self.bytes
                    && length == 3 + self.bytes =>
            {
                Look::Answer(9, whole)
            }
            _ => Look::Suspect,
        }
    }
}

/// What begins at a byte.
enum Look {
    No,
    /// It may be an answer once there are more bytes.
    Partial,
    /// It looked like an answer, and is none.
    Suspect,
    /// A late answer of so many bytes.
    Pass(usize),
    /// Where the data begin, and the length.
    Answer(usize, usize),
    /// The code, and the length.
    Refused(u8, usize),
}

/// What an exception means (Modbus Application Protocol V1.1b3, 7).
pub(super) fn meaning(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "server device failure",
        5 => "acknowledge, still at work",
        6 => "server device busy",
        8 => "memory parity error",
        0x0A => "gateway path unavailable",
        0x0B => "gateway target device failed to respond",
        _ => "an exception that the standard does not name",
    }
}

/// Whether an exception comes from a gateway whose unit does not answer.
pub(super) fn is_gateways(code: u8) -> bool {
    matches!(code, 0x0A | 0x0B)
}
