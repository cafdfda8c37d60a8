//! Segment files: their names and their header.
//!
//! **Always holds.** The first [`HEADER_BYTES`] bytes have this layout in every version of the
//! format, so that any program can tell a newer segment from a damaged one.
//!
//! **Must not know.** What the records hold.

use super::error::Error;
use super::files::{Dir, Handle};

/// The version of the format that is written here, and the newest that is read.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes before the first record.
pub(super) const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"KYMOJRNL";
/// A header flag: the segment was written by repair, and records are missing in it.
const FLAG_REPAIRED: u32 = 1;

/// The next segment, made ready under this name.
pub(super) const NEXT_NAME: &str = "next.kyj.new";
/// Where the followers' cursors are.
pub(super) const CURSORS_NAME: &str = "cursors";

/// What stands at the head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Seq of the first record; the segment's name.
    pub(super) first_seq: u64,
    /// `first_seq` of the segment before, 0 if there was none: a missing segment shows.
    pub(super) previous: u64,
    /// When it was begun, UTC ns.
    pub(super) created_ns: i64,
    /// Written by repair.
    pub(super) repaired: bool,
}

/// What the first bytes of a segment turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderState {
    Good(Header),
    /// Too short, or its checksum is wrong.
    Damaged,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        // 64: no truncation.
        bytes[10..12].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        let flags = if self.repaired { FLAG_REPAIRED } else { 0 };
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created_ns.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header of an open segment; an error only if it cannot be read, is newer, or belongs to
    /// a segment of another name.
    pub(super) fn read(file: &Handle, named: u64) -> Result<HeaderState, Error> {
        let mut bytes = [0; HEADER_BYTES];
        if file.read_at(&mut bytes, 0)? < HEADER_BYTES
            || bytes[..8] != MAGIC
            || u32_at(&bytes, 60) != crc32c::crc32c(&bytes[..60])
        {
            return Ok(HeaderState::Damaged);
        }
        let version = u16_at(&bytes, 8);
        if version > FORMAT_VERSION {
            return Err(Error::NewerFormat {
                path: file.path.clone(),
                found: version,
                known: FORMAT_VERSION,
            });
        }
        let header = Self {
            first_seq: u64_at(&bytes, 16),
            previous: u64_at(&bytes, 24),
            created_ns: i64_at(&bytes, 32),
            repaired: u32_at(&bytes, 12) & FLAG_REPAIRED != 0,
        };
        if header.first_seq != named {
            return Err(Error::Misnamed {
                path: file.path.clone(),
                named,
                stated: header.first_seq,
            });
        }
        Ok(HeaderState::Good(header))
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

pub(super) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    u64_at(bytes, at).cast_signed()
}

/// The name of the segment whose first record is `first_seq`.
pub(super) fn name(first_seq: u64) -> String {
    format!("{first_seq:020}.kyj")
}

/// The name under which repair writes it anew.
pub(super) fn repair_name(first_seq: u64) -> String {
    format!("{first_seq:020}.kyj.repair")
}

/// The next free name under which to keep a damaged original.
pub(super) fn free_damaged_name(dir: &Dir, first_seq: u64) -> Result<String, Error> {
    let taken = list(dir)?.damaged;
    let plain = format!("{first_seq:020}.kyj.damaged");
    let mut name = plain.clone();
    let mut copy = 2;
    while taken.contains(&name) {
        name = format!("{plain}-{copy}");
        copy += 1;
    }
    Ok(name)
}

/// The highest first seq of the segments that were set aside, 0 if there is none.
pub(super) fn highest_set_aside(listing: &Listing) -> u64 {
    let names = listing.damaged.iter();
    let first_seqs = names.filter_map(|name| name.get(..20)?.parse().ok());
    first_seqs.max().unwrap_or(0)
}

/// What lies in a journal's directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// First seqs of the segments, rising.
    pub(super) segments: Vec<u64>,
    /// Names of files left half made by a crash.
    pub(super) leftovers: Vec<String>,
    /// Names of damaged originals that repair or recovery set aside.
    pub(super) damaged: Vec<String>,
}

/// What is in a journal's directory; a file that does not belong there is an error.
pub(super) fn list(dir: &Dir) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    for entry in dir.list_if_there()? {
        let name = entry.name;
        if entry.is_dir && (name == CURSORS_NAME || name == "lost+found") {
            continue;
        }
        match classify(&name) {
            Some(Named::Segment(first_seq)) if !entry.is_dir => listing.segments.push(first_seq),
            Some(Named::Leftover) if !entry.is_dir => listing.leftovers.push(name),
            Some(Named::Damaged) if !entry.is_dir => listing.damaged.push(name),
            _ => {
                return Err(Error::ForeignFile {
                    path: dir.file(&name),
                });
            }
        }
    }
    listing.segments.sort_unstable();
    Ok(listing)
}

enum Named {
    Segment(u64),
    Leftover,
    Damaged,
}

fn classify(name: &str) -> Option<Named> {
    if name == NEXT_NAME {
        return Some(Named::Leftover);
    }
    let (digits, rest) = name.split_at_checked(20)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let first_seq = digits.parse().ok()?;
    match rest {
        ".kyj" => Some(Named::Segment(first_seq)),
        ".kyj.repair" => Some(Named::Leftover),
        _ if rest.starts_with(".kyj.damaged") => Some(Named::Damaged),
        _ => None,
    }
}
