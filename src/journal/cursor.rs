//! Cursors: how far each follower has come, kept on disk.
//!
//! A cursor is the small text file `<dir>/cursors/<name>`, written aside, synced and renamed.
//!
//! **Always holds.** A cursor never goes back. After a crash it is where it was last put, or where
//! it was put before that; never elsewhere. A damaged one is an error, not a guess.
//!
//! **Must not know.** What its follower does.

use std::path::Path;

use super::error::Error;
use super::files::{Dir, Handle};
use super::segment::CURSORS_NAME;

/// Longest cursor file: far longer than any that is written here.
const FILE_BYTES_MAX: usize = 256;

/// A follower's place: it is done with everything up to [`Cursor::seq`].
pub struct Cursor {
    dir: Dir,
    name: String,
    seq: u64,
}

impl Cursor {
    /// The cursor of this name in the journal at `dir`, at seq 0 if there is none yet.
    pub fn open(dir: &Path, name: &str) -> Result<Self, Error> {
        Self::open_in(&Dir::os(dir), name)
    }

    pub(super) fn open_in(journal: &Dir, name: &str) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::CursorName {
                name: name.to_owned(),
            });
        }
        let dir = journal.sub(CURSORS_NAME);
        let seq = match dir.open_if_there(name)? {
            Some(file) => read(&file)?,
            None => 0,
        };
        Ok(Self {
            dir,
            name: name.to_owned(),
            seq,
        })
    }

    /// Everything up to this seq has been dealt with; 0 for nothing.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Moves forward to `seq`, durably when this returns.
    pub fn advance(&mut self, seq: u64) -> Result<(), Error> {
        if seq < self.seq {
            return Err(Error::CursorBackwards {
                name: self.name.clone(),
                at: self.seq,
                to: seq,
            });
        }
        if seq == self.seq {
            return Ok(());
        }
        self.write(seq)?;
        self.seq = seq;
        Ok(())
    }

    /// Puts its file there if there is none yet: from here on nothing behind its place is pruned, durably.
    pub fn keep(&mut self) -> Result<(), Error> {
        match self.dir.open_if_there(&self.name)? {
            Some(_) => Ok(()),
            None => self.write(self.seq),
        }
    }

    fn write(&self, seq: u64) -> Result<(), Error> {
        if self.seq == 0 {
            self.dir.make()?;
        }
        let aside = format!("{}.new", self.name);
        self.dir.remove_if_there(&aside)?;
        let file = self.dir.create(&aside)?;
        file.write_all_at(encode(seq).as_bytes(), 0)?;
        file.sync()?;
        self.dir.rename(&aside, &self.name)?;
        self.dir.sync()
    }
}

/// Removes a cursor of the journal in `dir`: its follower does not come back. There need be none.
///
/// # Errors
/// If it cannot be removed.
pub fn forget(dir: &Path, name: &str) -> Result<(), Error> {
    if !is_name(name) {
        return Err(Error::CursorName {
            name: name.to_owned(),
        });
    }
    let dir = Dir::os(dir).sub(CURSORS_NAME);
    if dir.open_if_there(name)?.is_some() {
        dir.remove_if_there(name)?;
        dir.sync()?;
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn encode(seq: u64) -> String {
    let line = format!("kymo cursor 1 seq {seq}");
    let crc = crc32c::crc32c(line.as_bytes());
    format!("{line} crc32c {crc:08x}\n")
}

fn read(file: &Handle) -> Result<u64, Error> {
    let mut bytes = [0; FILE_BYTES_MAX];
    let count = file.read_at(&mut bytes, 0)?;
    decode(&bytes[..count]).ok_or_else(|| Error::CursorDamaged {
        path: file.path.clone(),
    })
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let seq = text
        .strip_prefix("kymo cursor 1 seq ")?
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    (encode(seq) == text).then_some(seq)
}

/// The seqs of all cursors in `dir`. One that is damaged counts as being at the beginning: it
/// holds back pruning, and its follower will complain.
pub(super) fn seqs(dir: &Dir) -> Result<Vec<u64>, Error> {
    Ok(all(dir)?.into_iter().map(|(_, seq)| seq).collect())
}

/// The cursors of the journal in `dir` by their names, and how far each has come. One that is damaged counts as being
/// at the beginning.
///
/// # Errors
/// If they cannot be read.
pub fn cursors(dir: &Path) -> Result<Vec<(String, u64)>, Error> {
    all(&Dir::os(dir).sub(CURSORS_NAME))
}

fn all(dir: &Dir) -> Result<Vec<(String, u64)>, Error> {
    let mut seqs = Vec::new();
    for entry in dir.list_if_there()? {
        if entry.is_dir || !is_name(&entry.name) {
            continue;
        }
        let Some(file) = dir.open_if_there(&entry.name)? else {
            continue;
        };
        match read(&file) {
            Ok(seq) => seqs.push((entry.name, seq)),
            Err(Error::CursorDamaged { .. }) => seqs.push((entry.name, 0)),
            Err(error) => return Err(error),
        }
    }
    Ok(seqs)
}

/// The furthest any cursor has come; 0 if there is none.
pub(super) fn highest(dir: &Dir) -> Result<u64, Error> {
    Ok(seqs(dir)?.into_iter().max().unwrap_or(0))
}
