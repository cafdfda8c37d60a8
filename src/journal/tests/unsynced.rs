//! What a disk has been told and has not yet kept: changes of files and of names, and what is left
//! of them when the power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How a run of the program ended, as far as the disk is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Crash {
    /// The process was killed: the kernel still has everything, synced or not.
    Killed,
    /// The power went, and with it everything that was not synced.
    PowerOff,
    /// The power went, and some of what was not synced had got to the disk.
    PowerOffAmid(u64),
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetSize(usize),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[*at..][..bytes.len()].copy_from_slice(bytes);
            }
            Self::SetSize(size) => content.resize(*size, 0),
        }
    }

    /// As it is when the power goes in the middle of it.
    pub(super) fn apply_torn(&self, content: &mut Vec<u8>, rng: &mut fastrand::Rng) {
        if let Self::Write { at, bytes } = self {
            let (from, to) = (rng.usize(0..=bytes.len()), rng.usize(0..=bytes.len()));
            let from = if rng.bool() { 0 } else { from.min(to) };
            let torn = Self::Write {
                at: at + from,
                bytes: bytes[from..to].to_vec(),
            };
            torn.apply(content);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) content: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Change>,
}

impl Node {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.pending.push(change);
    }

    pub(super) fn lose(&mut self, crash: Crash) {
        if let Crash::PowerOffAmid(seed) = crash {
            let mut rng = fastrand::Rng::with_seed(seed);
            // In order up to some change, or each on its own: file systems do both.
            let in_order = rng.bool();
            let whole = rng.usize(0..=self.pending.len());
            for (index, change) in self.pending.iter().enumerate() {
                let is_kept = if in_order { index < whole } else { rng.bool() };
                if is_kept {
                    change.apply(&mut self.durable);
                } else if rng.u8(0..3) == 0 && (!in_order || index == whole) {
                    change.apply_torn(&mut self.durable, &mut rng);
                }
            }
        }
        self.content.clone_from(&self.durable);
        self.pending.clear();
    }
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Directory(PathBuf),
    Add(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    pub(super) fn parent(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Add(path, _) | Self::Remove(path) => path,
            Self::Rename(_, to) => to,
        }
        .parent()
        .unwrap_or(Path::new("/"))
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) files: BTreeMap<PathBuf, usize>,
    pub(super) directories: BTreeSet<PathBuf>,
}

impl Names {
    pub(super) fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Directory(path) => {
                self.directories.insert(path.clone());
            }
            NameChange::Add(path, node) => {
                self.files.insert(path.clone(), *node);
            }
            NameChange::Rename(from, to) => {
                if let Some(node) = self.files.remove(from) {
                    self.files.insert(to.clone(), node);
                }
            }
            NameChange::Remove(path) => {
                self.files.remove(path);
            }
        }
    }
}
