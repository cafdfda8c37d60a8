//! Dead letters: lines that were refused, with the reason, in `DATA_DIR/sinks/NAME.dead-letters.jsonl`.
//!
//! One JSON object a line: `{"time":…,"reason":…,"line":…}`. When the file is full, it becomes `….1.jsonl`, in place of what was
//! there, and a new one begins.
//!
//! **Always holds.** A letter is on disk before the sink's cursor passes its record. After a crash in between it may be there
//! twice. The two files never take more than twice [`FILE_BYTES_MAX`] and a batch; what goes with the older one is in
//! the store, as everything is.
//!
//! **Must not know.** What a line means.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DIR, Error};
use crate::clock::rfc3339;

/// A file is full at this size.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// When, RFC 3339.
    pub time: String,
    /// Why.
    pub reason: String,
    /// The line.
    pub line: String,
}

/// Where refused lines are put.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    older: PathBuf,
    file: Option<File>,
    bytes: u64,
}

/// The file of a sink's dead letters, and that of its older ones.
#[must_use]
pub fn paths(data_dir: &Path, sink: &str) -> [PathBuf; 2] {
    let dir = data_dir.join(DIR);
    [
        dir.join(format!("{sink}.dead-letters.jsonl")),
        dir.join(format!("{sink}.dead-letters.1.jsonl")),
    ]
}

impl DeadLetters {
    /// For a sink. The file is made with the first letter.
    #[must_use]
    pub fn new(data_dir: &Path, sink: &str) -> Self {
        let [path, older] = paths(data_dir, sink);
        Self {
            path,
            older,
            file: None,
            bytes: 0,
        }
    }

    /// Puts lines away, on disk when this returns.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn put<'l>(
        &mut self,
        letters: impl Iterator<Item = (&'l [u8], &'l str)>,
        now_ns: i64,
    ) -> Result<(), Error> {
        let mut text = Vec::new();
        for (line, reason) in letters {
            let letter = Letter {
                time: rfc3339(now_ns),
                reason: reason.to_owned(),
                line: String::from_utf8_lossy(line).into_owned(),
            };
            // A struct of texts is always JSON.
            let _ = serde_json::to_writer(&mut text, &letter);
            text.push(b'\n');
        }
        let wrote = self.write(&text);
        if wrote.is_err() {
            self.file = None;
        }
        wrote.map_err(Error::io("write the refused lines to", &self.path))
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.file.is_some() && self.bytes >= FILE_BYTES_MAX {
            self.file = None;
            fs::rename(&self.path, &self.older)?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                if let Some(dir) = self.path.parent() {
                    fs::create_dir_all(dir)?;
                }
                let mut file = OpenOptions::new()
                    .create(true)
                    .read(true)
                    .append(true)
                    .open(&self.path)?;
                self.bytes = file.metadata()?.len();
                end_torn_line(&mut file, self.bytes)?;
                none.insert(file)
            }
        };
        file.write_all(text)?;
        file.sync_data()?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}

/// A crash may leave half a letter: what comes behind it begins a line of its own.
fn end_torn_line(file: &mut File, bytes: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut last = [b'\n'];
    if let Some(at) = bytes.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// The letters of a sink, the oldest first, and how many lines were none: half-written ones.
///
/// # Errors
/// If a file cannot be read.
pub fn read(data_dir: &Path, sink: &str) -> Result<(Vec<Letter>, usize), Error> {
    let (mut letters, mut torn) = (Vec::new(), 0);
    for path in paths(data_dir, sink).iter().rev() {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_slice(line) {
                Ok(letter) => letters.push(letter),
                Err(_) => torn += 1,
            }
        }
    }
    Ok((letters, torn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_found_again_and_half_of_one_spoils_no_other() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut letters = DeadLetters::new(dir.path(), "lab");
        let put = |letters: &mut DeadLetters, line: &str| {
            letters
                .put([(line.as_bytes(), "no")].into_iter(), 0)
                .expect("a disk that works");
        };
        put(&mut letters, "m a=1 1");
        let [path, _] = paths(dir.path(), "lab");
        let mut file = OpenOptions::new()
            .append(true)
            .open(&path)
            .expect("the file");
        file.write_all(b"{\"time\":\"half").expect("half a letter");
        let mut letters = DeadLetters::new(dir.path(), "lab");
        put(&mut letters, "m a=2 2");
        let (found, torn) = read(dir.path(), "lab").expect("readable");
        let lines: Vec<&str> = found.iter().map(|letter| letter.line.as_str()).collect();
        assert_eq!((lines, torn), (vec!["m a=1 1", "m a=2 2"], 1));
        assert_eq!(found[0].reason, "no");
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_two_are_bounded() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut letters = DeadLetters::new(dir.path(), "lab");
        let line = vec![b'x'; 1 << 20];
        for _ in 0..80 {
            letters
                .put([(line.as_slice(), "no")].into_iter(), 0)
                .expect("a disk that works");
        }
        let sizes = paths(dir.path(), "lab").map(|path| fs::metadata(path).expect("a file").len());
        assert!(
            sizes.iter().all(|size| *size <= FILE_BYTES_MAX + (2 << 20)),
            "{sizes:?}"
        );
    }
}
