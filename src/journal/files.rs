//! The seam to the file system: the few calls the journal makes, so that tests can make each fail.
//!
//! **Always holds.** Nothing else in the journal touches a file. Writes may be short and say so;
//! a failed sync is never tried again by anyone.
//!
//! **Must not know.** What is in the files.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;

/// One open file.
pub(super) trait File: Send + Sync {
    fn size(&self) -> io::Result<u64>;
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    /// Reserves disk space without changing the size.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Sets the size, and gives back whatever was reserved beyond it.
    fn set_size(&self, bytes: u64) -> io::Result<()>;
    /// Data and size are on the disk when this returns.
    fn sync(&self) -> io::Result<()>;
}

/// A directory entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_dir: bool,
}

/// The file system.
pub(super) trait Files: Send + Sync {
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// A new file, for reading and writing; an error if there is one of this name.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn File>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A second name for the same file.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The directory's entries are on the disk when this returns.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy)]
pub(super) struct OsFiles;

impl File for fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::KEEP_SIZE, 0, bytes) {
            // A file system that cannot reserve space (NFS, some FUSE): then a full disk shows
            // when it is written to.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Files for OsFiles {
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        fs::read_dir(dir)?
            .map(|entry| {
                let entry = entry?;
                Ok(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_dir: entry.file_type()?.is_dir(),
                })
            })
            .collect()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(
            fs::OpenOptions::new().read(true).write(write).open(path)?,
        ))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}

/// An open file that knows its path, so that its errors can name it.
#[derive(Clone)]
pub(super) struct Handle {
    file: Arc<dyn File>,
    pub(super) path: PathBuf,
}

impl Handle {
    pub(super) fn size(&self) -> Result<u64, Error> {
        self.file
            .size()
            .map_err(Error::io("get the size of", &self.path))
    }

    /// Fills as much of `bytes` as the file has at `at`; says how much that was.
    pub(super) fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            }
        }
        Ok(filled)
    }

    pub(super) fn write_all_at(&self, mut bytes: &[u8], mut at: u64) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.file.write_at(bytes, at) {
                Ok(0) => {
                    let error = io::Error::from(io::ErrorKind::WriteZero);
                    return Err(Error::io("write to", &self.path)(error));
                }
                Ok(count) => {
                    bytes = &bytes[count..];
                    at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("write to", &self.path)(error)),
            }
        }
        Ok(())
    }

    pub(super) fn allocate(&self, bytes: u64) -> Result<(), Error> {
        self.file
            .allocate(bytes)
            .map_err(Error::io("reserve disk space for", &self.path))
    }

    pub(super) fn set_size(&self, bytes: u64) -> Result<(), Error> {
        self.file
            .set_size(bytes)
            .map_err(Error::io("truncate", &self.path))
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync().map_err(Error::io("sync", &self.path))
    }
}

/// A directory, by whose entries' names files are opened.
#[derive(Clone)]
pub(super) struct Dir {
    files: Arc<dyn Files>,
    pub(super) path: PathBuf,
}

impl Dir {
    /// A directory of the operating system.
    pub(super) fn os(path: &Path) -> Self {
        Self::with(Arc::new(OsFiles), path)
    }

    pub(super) fn with(files: Arc<dyn Files>, path: &Path) -> Self {
        Self {
            files,
            path: path.to_path_buf(),
        }
    }

    /// The directory `name` in this one.
    pub(super) fn sub(&self, name: &str) -> Self {
        Self::with(Arc::clone(&self.files), &self.path.join(name))
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the directory, durably, if it is not there.
    pub(super) fn make(&self) -> Result<(), Error> {
        self.files
            .create_dir(&self.path)
            .map_err(Error::io("create", &self.path))?;
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self
                .files
                .sync_dir(parent)
                .map_err(Error::io("sync", parent)),
            _ => Ok(()),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<Entry>, Error> {
        self.files
            .list(&self.path)
            .map_err(Error::io("list", &self.path))
    }

    /// As [`Dir::list`], and nothing if there is no such directory.
    pub(super) fn list_if_there(&self) -> Result<Vec<Entry>, Error> {
        match self.list() {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            other => other,
        }
    }

    pub(super) fn create(&self, name: &str) -> Result<Handle, Error> {
        let path = self.file(name);
        match self.files.create(&path) {
            Ok(file) => Ok(Handle { file, path }),
            Err(error) => Err(Error::io("create", &path)(error)),
        }
    }

    pub(super) fn open(&self, name: &str, write: bool) -> Result<Handle, Error> {
        let path = self.file(name);
        match self.files.open(&path, write) {
            Ok(file) => Ok(Handle { file, path }),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// As [`Dir::open`] for reading, and nothing if there is no such file.
    pub(super) fn open_if_there(&self, name: &str) -> Result<Option<Handle>, Error> {
        match self.open(name, false) {
            Ok(handle) => Ok(Some(handle)),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let to = self.file(to);
        self.files
            .rename(&self.file(from), &to)
            .map_err(Error::io("rename a file to", &to))
    }

    pub(super) fn link(&self, from: &str, to: &str) -> Result<(), Error> {
        let to = self.file(to);
        self.files
            .link(&self.file(from), &to)
            .map_err(Error::io("link a file as", &to))
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.file(name);
        self.files.remove(&path).map_err(Error::io("remove", &path))
    }

    /// As [`Dir::remove`], content if there is no such file.
    pub(super) fn remove_if_there(&self, name: &str) -> Result<(), Error> {
        match self.remove(name) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.files
            .sync_dir(&self.path)
            .map_err(Error::io("sync", &self.path))
    }
}
