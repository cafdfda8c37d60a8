//! The data directory: whose it is, and that only one run has it.
//!
//! **Always holds.** A directory is used only if it is empty, or bears the mark of a Kymo data
//! directory of a format that this version knows. One process writes into it at a time, by a lock that the
//! system takes away from a process that dies.
//!
//! **Must not know.** What is in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The file that marks a data directory.
const MARK: &str = "KYMO";

/// What stands in it: the format, and what to do with the directory.
const MARK_TEXT: &str = "kymo data directory, format 1\n\
    Written by kymo. `kymo export`, `kymo journal verify` read it; do not change files by hand.\n";

/// The mark, before it is in its place.
const MARK_ASIDE: &str = "kymo.mark";

const MARK_START: &str = "kymo data directory, format ";
const FORMAT: u32 = 1;

/// The file that a running process holds locked.
const LOCK: &str = "kymo.lock";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process writes into it.
    #[error("{} is in use by another kymo{}; stop that one, or choose another with --data-dir", path.display(), holder.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other's process id.
        holder: Option<String>,
    },
    /// There are files in it, and no mark.
    #[error("{} is not empty and not a kymo data directory; nothing was written there. Choose another with --data-dir", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The mark is of a format that this version does not know.
    #[error("{} was written by a newer kymo (format {found}; this one knows {FORMAT})", path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// The mark's format.
        found: String,
    },
    /// There is none.
    #[error("{} does not exist: nothing was ever recorded there", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A data directory that this process may write into, until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, and takes it for this process.
    ///
    /// # Errors
    /// If it is another's, foreign, of a newer format, or cannot be written.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { what, path, source }
        };
        fs::create_dir_all(path).map_err(io("create", path))?;
        let marked = check(path)?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(io("write into", path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = fs::read_to_string(&lock_path).ok();
                let holder = holder
                    .map(|pid| pid.trim().to_owned())
                    .filter(|pid| !pid.is_empty());
                return Err(Error::InUse {
                    path: path.to_owned(),
                    holder,
                });
            }
            Err(errno) => return Err(io("lock", &lock_path)(errno.into())),
        }
        let mut writer = &lock;
        lock.set_len(0).map_err(io("write", &lock_path))?;
        writeln!(writer, "{}", std::process::id()).map_err(io("write", &lock_path))?;
        if !marked {
            put_whole(path, MARK_ASIDE, MARK, MARK_TEXT.as_bytes())
                .map_err(io("write into", path))?;
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Checks that a directory can be read as a data directory, without taking it.
///
/// # Errors
/// If it is missing, foreign or of a newer format.
pub fn readable(path: &Path) -> Result<(), Error> {
    if !path.exists() {
        return Err(Error::Missing {
            path: path.to_owned(),
        });
    }
    if check(path)? {
        Ok(())
    } else {
        Err(Error::Foreign {
            path: path.to_owned(),
        })
    }
}

/// Whether a running process writes into the directory.
#[must_use]
pub fn in_use(path: &Path) -> bool {
    let Ok(lock) = File::open(path.join(LOCK)) else {
        return false;
    };
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

/// Whether the directory bears the mark; an error if it is neither marked nor empty.
fn check(path: &Path) -> Result<bool, Error> {
    match fs::read_to_string(path.join(MARK)) {
        Ok(text) => {
            let format = text
                .lines()
                .next()
                .and_then(|line| line.strip_prefix(MARK_START));
            match format.map(str::trim) {
                Some(format) if format.parse() == Ok(FORMAT) => Ok(true),
                Some(format) => Err(Error::Newer {
                    path: path.to_owned(),
                    found: format.to_owned(),
                }),
                None => Err(Error::Foreign {
                    path: path.to_owned(),
                }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entries = fs::read_dir(path).map_err(|source| Error::Io {
                what: "read",
                path: path.to_owned(),
                source,
            })?;
            // A lock, and a mark that is not in its place, are what a crash leaves before the mark.
            let ours = |name: &std::ffi::OsStr| name == LOCK || name == MARK_ASIDE;
            let foreign = entries.flatten().any(|entry| !ours(&entry.file_name()));
            if foreign {
                Err(Error::Foreign {
                    path: path.to_owned(),
                })
            } else {
                Ok(false)
            }
        }
        Err(source) => Err(Error::Io {
            what: "read",
            path: path.join(MARK),
            source,
        }),
    }
}

/// Writes a small file aside, syncs it, and puts it in its place, on disk when this returns: half of it is never seen.
pub(crate) fn put_whole(dir: &Path, aside: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = dir.join(aside);
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("data");
        let first = DataDir::take(&path).expect("a new directory is taken");
        let refused = DataDir::take(&path).expect_err("it is taken");
        assert!(
            refused
                .to_string()
                .contains(&format!("process {}", std::process::id()))
        );
        drop(first);
        DataDir::take(&path).expect("it is free again");
        readable(&path).expect("it is marked");
    }

    #[test]
    fn a_foreign_directory_is_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("thesis.tex"), "x").expect("a file");
        assert!(matches!(
            DataDir::take(dir.path()),
            Err(Error::Foreign { .. })
        ));
        assert!(matches!(readable(dir.path()), Err(Error::Foreign { .. })));
        let names: Vec<_> = fs::read_dir(dir.path())
            .expect("readable")
            .flatten()
            .collect();
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn a_directory_that_a_crash_left_without_its_mark_is_taken() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join(LOCK), "1\n").expect("a file");
        fs::write(dir.path().join(MARK_ASIDE), "kymo da").expect("a file");
        DataDir::take(dir.path()).expect("it is nobody else's");
        readable(dir.path()).expect("it is marked");
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join(MARK), "kymo data directory, format 7\n").expect("a file");
        let refused = DataDir::take(dir.path()).expect_err("format 7 is unknown");
        assert!(refused.to_string().contains("format 7"), "{refused}");
    }

    #[test]
    fn a_path_that_is_no_directory_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        assert!(matches!(
            DataDir::take(file.path()),
            Err(Error::Io { what: "create", .. })
        ));
    }
}
