//! A disk in memory that forgets what was not synced, and fails when it is told to.
//!
//! **Always holds.** What a crash leaves is something a real disk may leave: of each file what was
//! synced and any part of what was not; of the names what was synced and, in the order in which
//! they were changed, any number of the changes since. A failed sync throws the unsynced data
//! away and still shows it to readers, as a kernel does.
//!
//! **Must not know.** What is in the files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::files::{Dir, Entry, File, Files};
pub(super) use super::unsynced::Crash;
use super::unsynced::{Change, NameChange, Names, Node};

pub(super) const EIO: i32 = 5;
pub(super) const ENOSPC: i32 = 28;

/// The journal's directory on every disk.
pub(super) const JOURNAL: &str = "/journal";

#[derive(Debug, Clone, Copy)]
struct Fault {
    call: u64,
    errno: i32,
    /// From this call on every one fails: the process is as good as dead.
    for_good: bool,
}

#[derive(Debug, Clone, Default)]
struct State {
    nodes: Vec<Node>,
    names: Names,
    durable_names: Names,
    pending_names: Vec<NameChange>,
    calls: u64,
    fault: Option<Fault>,
    /// Makes writes and reads short, and interrupts some.
    short: Option<fastrand::Rng>,
}

impl State {
    /// Counts a call; the error it is to fail with, if it is.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.fault {
            Some(fault)
                if self.calls == fault.call || fault.for_good && self.calls > fault.call =>
            {
                Err(io::Error::from_raw_os_error(fault.errno))
            }
            _ => Ok(()),
        }
    }

    fn change_names(&mut self, change: NameChange) {
        self.names.apply(&change);
        self.pending_names.push(change);
    }

    fn node(&self, path: &Path) -> io::Result<usize> {
        let node = self.names.files.get(path).copied();
        node.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// How many of `bytes` a call moves; an error if a signal came first.
    fn shorten(&mut self, bytes: usize) -> io::Result<usize> {
        match &mut self.short {
            Some(rng) if bytes > 0 => match rng.u8(0..8) {
                0 => Err(io::ErrorKind::Interrupted.into()),
                1..4 => Ok(rng.usize(1..=bytes)),
                _ => Ok(bytes),
            },
            _ => Ok(bytes),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The journal's directory on it.
    pub(super) fn dir(&self) -> Dir {
        Dir::with(Arc::new(self.clone()), Path::new(JOURNAL))
    }

    /// What is left of it after a crash, as another disk: whoever still has files open on this
    /// one does no harm to that.
    pub(super) fn after(&self, crash: Crash) -> Self {
        let mut state = self.lock().clone();
        state.fault = None;
        state.calls = 0;
        let kept = match crash {
            Crash::Killed => return Self(Arc::new(Mutex::new(state))),
            Crash::PowerOff => 0,
            Crash::PowerOffAmid(seed) => {
                fastrand::Rng::with_seed(!seed).usize(0..=state.pending_names.len())
            }
        };
        let mut names = std::mem::take(&mut state.durable_names);
        for change in &state.pending_names[..kept] {
            names.apply(change);
        }
        state.pending_names.clear();
        let Names { files, directories } = &mut names;
        files.retain(|path, _| path.parent().is_some_and(|dir| directories.contains(dir)));
        for (index, node) in state.nodes.iter_mut().enumerate() {
            node.lose(match crash {
                Crash::PowerOffAmid(seed) => Crash::PowerOffAmid(seed.wrapping_add(index as u64)),
                other => other,
            });
        }
        state.names = names.clone();
        state.durable_names = names;
        Self(Arc::new(Mutex::new(state)))
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Has one call fail, counted from the next, which is 1.
    pub(super) fn fail_once(&self, call: u64, errno: i32) {
        let mut state = self.lock();
        let call = state.calls + call;
        state.fault = Some(Fault {
            call,
            errno,
            for_good: false,
        });
    }

    /// Has every call fail from one on, counted from the next, which is 1: the process dies there.
    pub(super) fn die_at(&self, call: u64) {
        let mut state = self.lock();
        let call = state.calls + call;
        state.fault = Some(Fault {
            call,
            errno: EIO,
            for_good: true,
        });
    }

    /// Whether the call that was to fail has come.
    pub(super) fn has_failed(&self) -> bool {
        let state = self.lock();
        state.fault.is_some_and(|fault| state.calls >= fault.call)
    }

    pub(super) fn heal(&self) {
        self.lock().fault = None;
    }

    pub(super) fn be_short(&self, seed: u64) {
        self.lock().short = Some(fastrand::Rng::with_seed(seed));
    }

    /// The names of the files in the journal's directory.
    pub(super) fn names(&self) -> Vec<String> {
        let state = self.lock();
        let paths = state.names.files.keys();
        let names = paths.filter_map(|path| path.strip_prefix(JOURNAL).ok()?.to_str());
        names.map(str::to_owned).collect()
    }

    /// A file's content, by its name in the journal's directory.
    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        let node = state.node(&Path::new(JOURNAL).join(name)).unwrap();
        state.nodes[node].content.clone()
    }

    /// Puts something else in the place of a file's content, durably.
    pub(super) fn set_content(&self, name: &str, content: &[u8]) {
        let mut state = self.lock();
        let node = state.node(&Path::new(JOURNAL).join(name)).unwrap();
        state.nodes[node] = Node {
            content: content.to_vec(),
            durable: content.to_vec(),
            pending: Vec::new(),
        };
    }
}

struct OpenFile {
    disk: Disk,
    node: usize,
    write: bool,
}

impl File for OpenFile {
    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.lock();
        state.call()?;
        Ok(state.nodes[self.node].content.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.call()?;
        let content = &state.nodes[self.node].content;
        let at = (at as usize).min(content.len());
        let count = bytes.len().min(content.len() - at);
        let count = state.shorten(count)?;
        bytes[..count].copy_from_slice(&state.nodes[self.node].content[at..][..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        assert!(self.write, "written to a file that was opened for reading");
        let mut state = self.disk.lock();
        let at = at as usize;
        if let Err(error) = state.call() {
            // Some of it may have got there all the same.
            let some = state.calls as usize * 7919 % (bytes.len() + 1);
            let bytes = bytes[..some].to_vec();
            state.nodes[self.node].change(Change::Write { at, bytes });
            return Err(error);
        }
        let count = state.shorten(bytes.len())?;
        let bytes = bytes[..count].to_vec();
        state.nodes[self.node].change(Change::Write { at, bytes });
        Ok(count)
    }

    fn allocate(&self, _bytes: u64) -> io::Result<()> {
        self.disk.lock().call()
    }

    fn set_size(&self, bytes: u64) -> io::Result<()> {
        assert!(self.write, "truncated a file that was opened for reading");
        let mut state = self.disk.lock();
        state.call()?;
        state.nodes[self.node].change(Change::SetSize(bytes as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let outcome = state.call();
        if outcome.is_err() && state.fault.is_some_and(|fault| fault.for_good) {
            // Whoever is dead never asked for it.
            return outcome;
        }
        let node = &mut state.nodes[self.node];
        let pending = std::mem::take(&mut node.pending);
        outcome?;
        for change in pending {
            change.apply(&mut node.durable);
        }
        Ok(())
    }
}

impl Disk {
    fn handle(&self, node: usize, write: bool) -> Arc<dyn File> {
        let disk = self.clone();
        Arc::new(OpenFile { disk, node, write })
    }
}

impl Files for Disk {
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.lock();
        state.call()?;
        if !state.names.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = |path: &PathBuf, is_dir| {
            let name = path.file_name()?.to_str()?.to_owned();
            (path.parent() == Some(dir)).then_some(Entry { name, is_dir })
        };
        let files = state
            .names
            .files
            .keys()
            .filter_map(|path| entry(path, false));
        let directories = &state.names.directories;
        let directories = directories.iter().filter_map(|path| entry(path, true));
        Ok(files.chain(directories).collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        if !state.names.directories.contains(dir) {
            state.change_names(NameChange::Directory(dir.to_path_buf()));
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        state.call()?;
        if state.node(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = state.nodes.len();
        state.nodes.push(Node::default());
        state.change_names(NameChange::Add(path.to_path_buf(), node));
        drop(state);
        Ok(self.handle(node, true))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        state.call()?;
        let node = state.node(path)?;
        drop(state);
        Ok(self.handle(node, write))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        state.node(from)?;
        state.change_names(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        let node = state.node(from)?;
        if state.node(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.change_names(NameChange::Add(to.to_path_buf(), node));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        state.node(path)?;
        state.change_names(NameChange::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.call()?;
        let pending = std::mem::take(&mut state.pending_names);
        let (here, elsewhere) = pending
            .into_iter()
            .partition(|change| change.parent() == dir);
        state.pending_names = elsewhere;
        let here: Vec<NameChange> = here;
        for change in &here {
            state.durable_names.apply(change);
        }
        Ok(())
    }
}
