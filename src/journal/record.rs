//! Records: the head that stands before every payload, and its checksum.
//!
//! **Always holds.** The checksum covers everything after itself: the length, kind and seq as well
//! as the payload and its padding. A record begins at a multiple of 8 bytes.
//!
//! **Must not know.** Files, and what a payload means.

use super::error::Error;
use super::segment::{i64_at, u16_at, u32_at, u64_at};

/// Bytes of a record before its payload.
pub(super) const HEAD_BYTES: usize = 48;
/// Longest payload. 4096 frames of 1024 channels as plain values fit; whoever scans a damaged
/// segment needs no more memory than this, whatever a damaged length says.
pub const RECORD_BYTES_MAX: usize = 40 << 20;
/// The source of a record that belongs to none.
pub(super) const NO_SOURCE: u16 = u16::MAX;
/// A flag of a run record: written again at the head of a later segment of the same run.
pub(super) const FLAG_REPEATED: u8 = 1;

/// What a record holds. Readers skip kinds they do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// What runs: id, configuration, sources and channels; JSON. At the head of every segment.
    Run = 1,
    /// A block of frames: see [`super::DecodedBlock`].
    Block = 2,
    /// Something that happened: an alert, a reconnection, a clock step; JSON.
    Event = 3,
    /// The counts at the end of a run; JSON.
    Ledger = 4,
}

impl Kind {
    /// The kind whose number in a file is `code`.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Run, Self::Block, Self::Event, Self::Ledger]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the payload, without padding.
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) source: u16,
    pub(super) seq: u64,
    /// Everything up to this seq was known to be synced when this record was written.
    pub(super) durable_seq: u64,
    pub(super) t_first_ns: i64,
    pub(super) t_last_ns: i64,
}

impl Head {
    /// Reads a head, whose checksum the caller has still to compare.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self {
            length: u32_at(bytes, 4),
            kind: bytes[8],
            flags: bytes[9],
            source: u16_at(bytes, 10),
            seq: u64_at(bytes, 16),
            durable_seq: u64_at(bytes, 24),
            t_first_ns: i64_at(bytes, 32),
            t_last_ns: i64_at(bytes, 40),
        }
    }

    /// Whether this can be a head at all: so that the search behind damage computes few checksums.
    pub(super) fn is_plausible(&self) -> bool {
        self.length as usize <= RECORD_BYTES_MAX && self.durable_seq < self.seq && self.kind != 0
    }

    /// Bytes of the whole record: head, payload, padding.
    pub(super) fn total_bytes(&self) -> usize {
        HEAD_BYTES + padded(self.length as usize)
    }

    pub(super) fn is_repeated_run(&self) -> bool {
        self.kind == Kind::Run as u8 && self.flags & FLAG_REPEATED != 0
    }
}

/// Whether a whole record is what was written.
pub(super) fn is_intact(record: &[u8]) -> bool {
    crc32c::crc32c(&record[4..]) == u32_at(record, 0)
}

/// Appends a record to `out`, whose payload `write` appends. `head.length` is found here.
pub(super) fn append(
    out: &mut Vec<u8>,
    head: Head,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), Error> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    write(out);
    let length = out.len() - start - HEAD_BYTES;
    if length > RECORD_BYTES_MAX {
        out.truncate(start);
        return Err(Error::RecordTooLong {
            bytes: length,
            limit: RECORD_BYTES_MAX,
        });
    }
    out.resize(start + HEAD_BYTES + padded(length), 0);
    let record = &mut out[start..];
    // No truncation: RECORD_BYTES_MAX is far below 4 GiB.
    record[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    record[8] = head.kind;
    record[9] = head.flags;
    record[10..12].copy_from_slice(&head.source.to_le_bytes());
    record[16..24].copy_from_slice(&head.seq.to_le_bytes());
    record[24..32].copy_from_slice(&head.durable_seq.to_le_bytes());
    record[32..40].copy_from_slice(&head.t_first_ns.to_le_bytes());
    record[40..48].copy_from_slice(&head.t_last_ns.to_le_bytes());
    let crc = crc32c::crc32c(&record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

/// The next multiple of 8.
pub(super) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_too_long_leaves_nothing_behind() {
        let head = Head {
            length: 0,
            kind: Kind::Event as u8,
            flags: 0,
            source: NO_SOURCE,
            seq: 1,
            durable_seq: 0,
            t_first_ns: 0,
            t_last_ns: 0,
        };
        let mut out = vec![7; 3];
        let error = append(&mut out, head, |out| {
            out.resize(out.len() + RECORD_BYTES_MAX + 1, 0);
        });
        assert!(matches!(error, Err(Error::RecordTooLong { .. })));
        assert_eq!(out, [7; 3]);
    }
}
