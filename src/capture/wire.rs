//! The records of MCAP that a capture is read from, taken apart by hand.
//!
//! The library's own parser is not used, since it can be made to panic (a short attachment), and to stop where a later chunk
//! is whole.
//!
//! **Always holds.** No bytes make it panic, and it takes no memory but what it returns, which is no more than the bytes.

use std::collections::BTreeMap;

pub(super) const MAGIC: &[u8] = mcap::MAGIC;
/// What stands before each record: what it is, and its length.
pub(super) const HEAD: usize = 9;

pub(super) mod op {
    pub(in crate::capture) const HEADER: u8 = 1;
    pub(in crate::capture) const FOOTER: u8 = 2;
    pub(in crate::capture) const CHANNEL: u8 = 4;
    pub(in crate::capture) const MESSAGE: u8 = 5;
    pub(in crate::capture) const CHUNK: u8 = 6;
    pub(in crate::capture) const METADATA: u8 = 12;
    pub(in crate::capture) const DATA_END: u8 = 15;
}

/// Takes fields from the front of a record; `None` as soon as one is not there.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    /// A time, which is a count from 1970 and so never negative.
    pub(super) fn time_ns(&mut self) -> Option<i64> {
        self.u64().map(|ns| i64::try_from(ns).unwrap_or(i64::MAX))
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    pub(super) fn map(&mut self) -> Option<BTreeMap<String, String>> {
        let length = usize::try_from(self.u32()?).ok()?;
        let mut inner = Self(self.bytes(length)?);
        let mut map = BTreeMap::new();
        while !inner.0.is_empty() {
            map.insert(inner.text()?.to_owned(), inner.text()?.to_owned());
        }
        Some(map)
    }

    /// The next record: what it is, and its content.
    pub(super) fn record(&mut self) -> Option<(u8, &'a [u8])> {
        let op = self.u8()?;
        let length = usize::try_from(self.u64()?).ok()?;
        Some((op, self.bytes(length)?))
    }
}

/// What a channel is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Channel {
    pub(super) id: u16,
    pub(super) topic: String,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Channel {
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let mut fields = Fields(record);
        let (id, _schema) = (fields.u16()?, fields.u16()?);
        let topic = fields.text()?.to_owned();
        let _encoding = fields.text()?;
        let metadata = fields.map()?;
        Some(Self {
            id,
            topic,
            metadata,
        })
    }
}

/// A chunk's own account of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkHead {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    pub(super) size: u64,
    pub(super) crc: u32,
    pub(super) compression: String,
    pub(super) compressed: u64,
}

impl ChunkHead {
    /// The longest: no compression has a longer name than this.
    pub(super) const BYTES_MAX: usize = 8 + 8 + 8 + 4 + 4 + 32 + 8;

    /// Reads it from the front of a chunk, and says how long it was.
    pub(super) fn read(record: &[u8]) -> Option<(Self, usize)> {
        let mut fields = Fields(record);
        let head = Self {
            from_ns: fields.time_ns()?,
            to_ns: fields.time_ns()?,
            size: fields.u64()?,
            crc: fields.u32()?,
            compression: fields.text()?.to_owned(),
            compressed: fields.u64()?,
        };
        Some((head, record.len() - fields.0.len()))
    }
}
