//! Dead letters: messages that could not be delivered, one file each, to be seen and sent again.
//!
//! `<data dir>/alerts/dead/<notifier>/<id>.json`, written aside, synced and renamed.
//!
//! **Always holds.** A message is a dead letter, on disk, before its notifier passes on. There are at most
//! ten thousand of a notifier: then the oldest goes, and how many went is counted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data_dir::put_whole;

/// Dead letters of a notifier at most: some ten MiB.
const LETTERS_MAX: usize = 10_000;

/// A message that could not be delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The message's name.
    pub id: String,
    /// Whom it was for.
    pub notifier: String,
    /// When it was given up, RFC 3339.
    pub given_up: String,
    /// How often it was tried.
    pub attempts: u64,
    /// What went wrong at last.
    pub why: String,
    /// The alert's event.
    pub event: Value,
}

/// The dead letters of a data directory.
#[derive(Debug, Clone)]
pub struct DeadLetters(PathBuf);

impl DeadLetters {
    /// Those in a data directory; there need be none.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("alerts").join("dead"))
    }

    fn dir(&self, notifier: &str) -> PathBuf {
        self.0.join(notifier)
    }

    /// Keeps a letter; how many old ones went for it.
    ///
    /// # Errors
    /// If it cannot be written: then it is not there.
    pub fn keep(&self, letter: &DeadLetter) -> io::Result<usize> {
        let dir = self.dir(&letter.notifier);
        fs::create_dir_all(&dir)?;
        let text = serde_json::to_string_pretty(letter)?;
        let name = format!("{}.json", letter.id);
        put_whole(&dir, &format!("{name}.new"), &name, text.as_bytes())?;
        let mut names = names(&dir)?;
        let over = names.len().saturating_sub(LETTERS_MAX);
        names.sort();
        for name in &names[..over] {
            fs::remove_file(dir.join(name))?;
        }
        Ok(over)
    }

    /// All letters, oldest first; and the files that are none.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn list(&self) -> io::Result<(Vec<DeadLetter>, Vec<PathBuf>)> {
        let (mut letters, mut damaged) = (Vec::new(), Vec::new());
        for notifier in names(&self.0)? {
            let dir = self.dir(&notifier);
            let mut names = names(&dir)?;
            names.sort();
            for name in names.iter().filter(|name| name.ends_with(".json")) {
                let path = dir.join(name);
                let letter = fs::read(&path).map(|bytes| serde_json::from_slice(&bytes));
                match letter {
                    Ok(Ok(letter)) => letters.push(letter),
                    // Sent again by somebody else meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    _ => damaged.push(path),
                }
            }
        }
        letters.sort_by(|a: &DeadLetter, b| (&a.given_up, &a.id).cmp(&(&b.given_up, &b.id)));
        Ok((letters, damaged))
    }

    /// Removes a letter that has arrived.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, letter: &DeadLetter) -> io::Result<()> {
        let path = self
            .dir(&letter.notifier)
            .join(format!("{}.json", letter.id));
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
