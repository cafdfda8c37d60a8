//! One file of a capture: where its chunks are, what it says of itself, and whether it is whole.
//!
//! **Always holds.** Records are walked from the front, so a file without an index is read as well as one with it. What does
//! not fit is said with its place, and what stands before it is used.
//!
//! **Must not know.** What messages mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::format::{CALIBRATION, CONFIGURATION, PROFILE, RUN};
use super::wire::{Channel, ChunkHead, Fields, HEAD, MAGIC, op};
use super::{CHUNK_BYTES_MAX, Error};

/// The longest record that is read whole without being a chunk: a configuration is at most 4 MiB.
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// Bytes read at once while records are walked: most that stand between chunks are smaller.
const LOOK_BYTES: usize = 64 << 10;

/// A chunk in a file.
#[derive(Debug, Clone)]
pub(super) struct ChunkPlace {
    pub(super) head: ChunkHead,
    /// Where its record begins.
    pub(super) offset: u64,
    /// Where its compressed bytes begin.
    pub(super) data_offset: u64,
}

/// What a file is found to be.
pub(super) struct Indexed {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes of the file.
    pub(super) bytes: u64,
    pub(super) chunks: Vec<ChunkPlace>,
    pub(super) channels: BTreeMap<u16, Channel>,
    pub(super) metadata: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) library: String,
    /// Where the data end, and their checksum.
    data_end: Option<(u64, u32)>,
    /// What is wrong, and at which byte; nothing: it is whole.
    pub(super) torn: Option<(u64, String)>,
}

impl Indexed {
    /// Walks a file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::io("read", path)(source);
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut look = Look::new(&file, bytes);
        let not_mcap = || Error::NotMcap {
            path: path.to_owned(),
        };
        let begin = look.at(0, MAGIC.len()).map_err(io)?;
        if begin != Some(MAGIC) {
            return Err(not_mcap());
        }
        let mut found = Self {
            path: path.to_owned(),
            bytes,
            chunks: Vec::new(),
            channels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            library: String::new(),
            data_end: None,
            torn: None,
            file: file.try_clone().map_err(io)?,
        };
        found.walk(&mut look).map_err(io)?;
        if found.library.is_empty() && found.metadata.is_empty() && found.chunks.is_empty() {
            return Err(not_mcap());
        }
        found.learn_channels();
        Ok(found)
    }

    /// Checks that it is a capture of Kymo's.
    fn is_ours(profile: &str) -> bool {
        profile == PROFILE
    }

    fn walk(&mut self, look: &mut Look<'_>) -> std::io::Result<()> {
        let mut offset = MAGIC.len() as u64;
        loop {
            let Some(head) = look.at(offset, HEAD)? else {
                self.tear(
                    offset,
                    "the file ends in the middle of a record, or without its end",
                );
                return Ok(());
            };
            let mut fields = Fields(head);
            let (Some(op), Some(length)) = (fields.u8(), fields.u64()) else {
                return Ok(());
            };
            let begin = offset + HEAD as u64;
            let Some(end) = begin.checked_add(length).filter(|end| *end <= self.bytes) else {
                let left = self.bytes - begin;
                self.tear(
                    offset,
                    &format!("a record of {length} bytes begins, and {left} bytes follow"),
                );
                return Ok(());
            };
            if op == op::CHUNK {
                let front = usize::try_from(length).unwrap_or(usize::MAX);
                let front = look.at(begin, front.min(ChunkHead::BYTES_MAX))?;
                let head = front.and_then(ChunkHead::read);
                let fits = |head: &ChunkHead, front: usize| {
                    head.compressed == length - front as u64 && head.size <= CHUNK_BYTES_MAX
                };
                match head {
                    Some((head, front)) if fits(&head, front) => self.chunks.push(ChunkPlace {
                        head,
                        offset,
                        data_offset: begin + front as u64,
                    }),
                    _ => self.tear(offset, "a chunk's own account of itself is wrong"),
                }
            } else if matches!(op, op::HEADER | op::CHANNEL | op::METADATA)
                && length <= RECORD_BYTES_MAX
            {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if let Some(record) = look.at(begin, length)?
                    && self.take(op, record).is_none()
                {
                    self.tear(offset, "a record cannot be read");
                }
            } else if op == op::DATA_END {
                let crc = look.at(begin, 4)?.and_then(|record| Fields(record).u32());
                self.data_end = crc.map(|crc| (offset, crc));
            } else if op == op::FOOTER {
                let magic = look.at(end, MAGIC.len())?;
                if magic != Some(MAGIC) {
                    self.tear(end, "the end of the file is missing");
                }
                return Ok(());
            }
            offset = end;
        }
    }

    fn take(&mut self, op: u8, record: &[u8]) -> Option<()> {
        let mut fields = Fields(record);
        match op {
            op::HEADER => {
                let profile = fields.text()?.to_owned();
                self.library = fields.text()?.to_owned();
                self.metadata
                    .insert(String::new(), BTreeMap::from([(String::new(), profile)]));
            }
            op::METADATA => {
                let name = fields.text()?.to_owned();
                self.metadata.insert(name, fields.map()?);
            }
            _ => {
                let channel = Channel::read(record)?;
                self.channels.insert(channel.id, channel);
            }
        }
        Some(())
    }

    /// Its profile.
    pub(super) fn check_profile(&self) -> Result<(), Error> {
        let profile = self.metadata.get("").and_then(|header| header.get(""));
        let profile = profile.map_or("", String::as_str);
        if Self::is_ours(profile) {
            return Ok(());
        }
        Err(Error::Foreign {
            path: self.path.clone(),
            profile: profile.chars().take(64).collect(),
        })
    }

    fn tear(&mut self, offset: u64, what: &str) {
        // The first is what matters: those behind it may be its consequence.
        self.torn.get_or_insert((offset, what.to_owned()));
    }

    /// The chunks that have messages; in one without, both times are 0.
    pub(super) fn filled(&self) -> impl Iterator<Item = &ChunkPlace> {
        let is_filled = |chunk: &&ChunkPlace| (chunk.head.from_ns, chunk.head.to_ns) != (0, 0);
        self.chunks.iter().filter(is_filled)
    }

    /// Compares the checksum over everything before the index, where there is one: it covers the configuration, too.
    pub(super) fn check_data(&self) -> Result<(), String> {
        let Some((end, crc)) = self.data_end.filter(|(_, crc)| *crc != 0) else {
            return Ok(());
        };
        let mut hasher = crc32fast::Hasher::new();
        let mut buffer = vec![0; LOOK_BYTES];
        let mut offset = 0;
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let part = &mut buffer[..left.min(LOOK_BYTES)];
            let read = self.file.read_exact_at(part, offset);
            read.map_err(|error| format!("the file cannot be read: {error}"))?;
            hasher.update(part);
            offset += part.len() as u64;
        }
        if hasher.finalize() == crc {
            return Ok(());
        }
        Err("the checksum of the file's data is wrong: something between its chunks, as the configuration, was changed".to_owned())
    }

    /// The channels stand in the first chunk, and in an index that a torn file has not.
    fn learn_channels(&mut self) {
        let first = self.chunks.first().cloned();
        let Some(Ok(data)) = first.map(|place| self.chunk(&place)) else {
            return;
        };
        let mut fields = Fields(&data);
        while let Some((op, record)) = fields.record() {
            if op == op::CHANNEL
                && let Some(channel) = Channel::read(record)
            {
                // Before what the index says: the chunk has a checksum.
                self.channels.insert(channel.id, channel);
            }
        }
    }

    /// A chunk's records, checked.
    pub(super) fn chunk(&self, place: &ChunkPlace) -> Result<Bytes, String> {
        let head = &place.head;
        // Both are within bounds: the file has the one, and the other was compared with `CHUNK_BYTES_MAX`.
        let length = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        if head.compressed > 2 * CHUNK_BYTES_MAX {
            return Err(format!(
                "a chunk of {} bytes is not believed",
                head.compressed
            ));
        }
        let mut raw = vec![0; length(head.compressed)];
        let read = self.file.read_exact_at(&mut raw, place.data_offset);
        read.map_err(|error| format!("a chunk cannot be read: {error}"))?;
        let data = match head.compression.as_str() {
            "" => raw,
            "lz4" => {
                let mut data = Vec::with_capacity(length(head.size));
                // One byte more than it should give: then it is seen that there is more.
                let decoder = lz4_flex::frame::FrameDecoder::new(&raw[..]);
                let done = decoder.take(head.size + 1).read_to_end(&mut data);
                done.map_err(|error| format!("a chunk cannot be decompressed: {error}"))?;
                data
            }
            other => {
                let other: String = other.chars().take(16).collect();
                return Err(format!(
                    "a chunk is compressed by \"{other}\", which this program cannot read: lz4 or none can be"
                ));
            }
        };
        if data.len() as u64 != head.size {
            return Err(format!(
                "a chunk has {} bytes and should have {}",
                data.len(),
                head.size
            ));
        }
        // A checksum of 0 is none: the format says so.
        if head.crc != 0 && crc32fast::hash(&data) != head.crc {
            return Err("a chunk's checksum is wrong".to_owned());
        }
        Ok(data.into())
    }

    fn text(&self, record: &str, key: &str) -> String {
        let found = self.metadata.get(record).and_then(|map| map.get(key));
        found.cloned().unwrap_or_default()
    }

    /// A value of the metadata about the run.
    pub(super) fn about(&self, key: &str) -> String {
        self.text(RUN, key)
    }

    pub(super) fn configuration(&self) -> String {
        self.text(CONFIGURATION, "text")
    }

    pub(super) fn calibration(&self) -> BTreeMap<String, String> {
        self.metadata.get(CALIBRATION).cloned().unwrap_or_default()
    }
}

/// A window on a file that moves forward.
struct Look<'a> {
    file: &'a File,
    bytes: u64,
    window: Vec<u8>,
    offset: u64,
}

impl<'a> Look<'a> {
    fn new(file: &'a File, bytes: u64) -> Self {
        Self {
            file,
            bytes,
            window: Vec::new(),
            offset: 0,
        }
    }

    /// So many bytes at a place; `None` if the file does not have them.
    fn at(&mut self, offset: u64, count: usize) -> std::io::Result<Option<&[u8]>> {
        if offset
            .checked_add(count as u64)
            .is_none_or(|end| end > self.bytes)
        {
            return Ok(None);
        }
        let within = offset.checked_sub(self.offset);
        let within = within.and_then(|within| usize::try_from(within).ok());
        let is_there = within.is_some_and(|within| {
            within
                .checked_add(count)
                .is_some_and(|end| end <= self.window.len())
        });
        if let Some(within) = within.filter(|_| is_there) {
            return Ok(self.window.get(within..within + count));
        }
        let left = usize::try_from(self.bytes - offset).unwrap_or(usize::MAX);
        self.window.resize(count.max(LOOK_BYTES).min(left), 0);
        self.file.read_exact_at(&mut self.window, offset)?;
        self.offset = offset;
        Ok(self.window.get(..count))
    }
}
