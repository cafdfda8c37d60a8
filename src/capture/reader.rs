//! Reads a capture: all its files, in the order of time.
//!
//! **Always holds.** Messages come by time; those of the same time in the order in which they were written. A chunk that is
//! damaged is left out, and said; so is what a torn file lacks.
//!
//! **Must not know.** What becomes of the messages.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::file::{ChunkPlace, Indexed};
use super::format::{self, Described, EVENTS, Entry, SourceInfo, Topic, What};
use super::wire::{Fields, op};
use super::writer::path_of;
use super::{Error, PENDING_BYTES_MAX};

/// Something that is missing or wrong in a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// In which file.
    pub path: PathBuf,
    /// At which byte.
    pub offset: u64,
    /// What.
    pub what: String,
    /// From when to when messages are missing, UTC ns, where that is known.
    pub range_ns: Option<(i64, i64)>,
}

/// Which messages are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// From this time on, UTC ns.
    pub from_ns: Option<i64>,
    /// Up to before this time.
    pub to_ns: Option<i64>,
    /// Of these sources, by place; none: of all. Events are of no source, and always wanted.
    pub sources: Option<Vec<usize>>,
}

impl Selection {
    fn wants_time(&self, time_ns: i64) -> bool {
        self.from_ns.is_none_or(|from_ns| time_ns >= from_ns)
            && self.to_ns.is_none_or(|to_ns| time_ns < to_ns)
    }

    fn wants(&self, entry: &Entry) -> bool {
        let wanted = self.sources.as_ref();
        self.wants_time(entry.time_ns)
            && entry
                .source
                .is_none_or(|source| wanted.is_none_or(|wanted| wanted.contains(&source)))
    }
}

/// What a channel of a file is.
#[derive(Debug, Clone, Copy)]
enum About {
    Source(usize, Topic),
    Events,
}

/// A capture that can be read.
pub struct Capture {
    described: Described,
    files: Vec<Indexed>,
    /// By file: what each channel is.
    about: Vec<HashMap<u16, About>>,
    damage: Vec<Damage>,
}

impl Capture {
    /// Opens a capture: a file with those that follow it, several files of one capture, or a directory with the files of one.
    ///
    /// # Errors
    /// If there is nothing to read, or it is no capture. Damage is no error.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut files = Vec::new();
        for path in paths {
            for path in sequence(path)? {
                if !files.iter().any(|file: &Indexed| file.path == path) {
                    files.push(Indexed::open(&path)?);
                }
            }
        }
        let Some(first) = files.first() else {
            let path = paths.first().cloned().unwrap_or_default();
            return Err(Error::Empty { path });
        };
        let run = first.about("run");
        for file in &files {
            file.check_profile()?;
            let found = file.about("run");
            if found != run {
                return Err(Error::Mixed {
                    path: file.path.clone(),
                    found,
                    expected: run,
                });
            }
        }
        files.sort_by_key(|file| file.about("file").parse::<u64>().unwrap_or(0));
        let mut described = described(&files[0]);
        let mut about = Vec::with_capacity(files.len());
        for file in &files {
            about.push(channels(file, &mut described.sources));
        }
        let torn = files.iter().filter_map(|file| {
            let (offset, what) = file.torn.clone()?;
            Some(Damage {
                path: file.path.clone(),
                offset,
                what,
                range_ns: None,
            })
        });
        Ok(Self {
            damage: torn.collect(),
            described,
            files,
            about,
        })
    }

    /// What it says of itself.
    #[must_use]
    pub fn described(&self) -> &Described {
        &self.described
    }

    /// The program that wrote it.
    #[must_use]
    pub fn library(&self) -> &str {
        &self.files[0].library
    }

    /// The place of a source.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<usize> {
        let mut sources = self.described.sources.iter();
        sources.position(|source| source.name == name)
    }

    /// Its files, and their bytes.
    pub fn files(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.files
            .iter()
            .map(|file| (file.path.as_path(), file.bytes))
    }

    /// What was found amiss when it was opened: torn files. Damaged chunks are found when they are read.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Times of the first and the last message, UTC ns, as the chunks say; none: there are no messages.
    #[must_use]
    pub fn range_ns(&self) -> Option<(i64, i64)> {
        let chunks = || self.filled();
        let from_ns = chunks().map(|chunk| chunk.head.from_ns).min()?;
        let to_ns = chunks().map(|chunk| chunk.head.to_ns).max()?;
        Some((from_ns, to_ns))
    }

    fn filled(&self) -> impl Iterator<Item = &ChunkPlace> {
        self.files.iter().flat_map(Indexed::filled)
    }

    /// Compares the checksums of whole files, which cover what the chunks' own do not: reads everything.
    #[must_use]
    pub fn check_files(&self) -> Vec<Damage> {
        let wrong = self.files.iter().filter_map(|file| {
            let what = file.check_data().err()?;
            Some(Damage {
                path: file.path.clone(),
                offset: 0,
                what,
                range_ns: None,
            })
        });
        wrong.collect()
    }

    /// Bytes of all chunks, uncompressed: for a progress bar, beside [`Entries::done_bytes`].
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        self.filled().map(|chunk| chunk.head.size).sum()
    }

    /// The messages that are wanted, by time.
    #[must_use]
    pub fn entries(&self, selection: Selection) -> Entries<'_> {
        let mut chunks = Vec::new();
        for (number, file) in self.files.iter().enumerate() {
            for (place, chunk) in file.chunks.iter().enumerate() {
                let head = &chunk.head;
                let is_before = selection
                    .from_ns
                    .is_some_and(|from_ns| head.to_ns < from_ns);
                let is_behind = selection.to_ns.is_some_and(|to_ns| head.from_ns >= to_ns);
                if (head.from_ns, head.to_ns) != (0, 0) && !is_before && !is_behind {
                    chunks.push((head.from_ns, number, place));
                }
            }
        }
        chunks.sort_unstable();
        chunks.reverse();
        Entries {
            capture: self,
            selection,
            chunks,
            pending: BinaryHeap::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            done_bytes: 0,
            damage: Vec::new(),
        }
    }
}

/// The files of a capture that a path stands for.
fn sequence(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "mcap"));
        files.sort();
        if files.is_empty() {
            return Err(Error::Empty {
                path: path.to_owned(),
            });
        }
        return Ok(files);
    }
    let following = (2..).map(|number| path_of(path, number));
    let following = following.take_while(|next| next.is_file());
    Ok(std::iter::once(path.to_owned()).chain(following).collect())
}

fn described(file: &Indexed) -> Described {
    Described {
        run: file.about("run"),
        started_ns: file.about("started_ns").parse().unwrap_or(0),
        host: file.about("host"),
        kymo: file.about("kymo"),
        configuration: file.configuration(),
        calibration: file.calibration(),
        sources: Vec::new(),
    }
}

/// What a file's channels are; sources that are new are added.
fn channels(file: &Indexed, sources: &mut Vec<SourceInfo>) -> HashMap<u16, About> {
    let mut about = HashMap::new();
    for channel in file.channels.values() {
        if channel.topic == EVENTS {
            about.insert(channel.id, About::Events);
            continue;
        }
        let Some((name, topic)) = Topic::parse(&channel.topic) else {
            continue;
        };
        let place = sources.iter().position(|source| source.name == name);
        let place = place.unwrap_or_else(|| {
            let text = |key: &str| channel.metadata.get(key).cloned().unwrap_or_default();
            sources.push(SourceInfo {
                name: name.to_owned(),
                link: text("link"),
                starts_whole: text("starts_whole") == "true",
            });
            sources.len() - 1
        });
        about.insert(channel.id, About::Source(place, topic));
    }
    about
}

/// A message that waits for its turn: by time, then by where it stands.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    time_ns: i64,
    file: usize,
    chunk: usize,
    begin: usize,
    end: usize,
    channel: u16,
}

/// The messages of a capture, by time.
pub struct Entries<'a> {
    capture: &'a Capture,
    selection: Selection,
    /// Begin, file and place of the chunks to come, the next one last.
    chunks: Vec<(i64, usize, usize)>,
    pending: BinaryHeap<Reverse<Pending>>,
    /// The chunks of what is pending, and how many of it are of each.
    held: BTreeMap<(usize, usize), (Bytes, usize)>,
    held_bytes: usize,
    done_bytes: u64,
    damage: Vec<Damage>,
}

impl Entries<'_> {
    /// Damage found so far, and not yet taken.
    pub fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damage)
    }

    /// Bytes of the chunks that were read so far, uncompressed.
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    fn load(&mut self, file: usize, chunk: usize) {
        let indexed = &self.capture.files[file];
        let place = &indexed.chunks[chunk];
        self.done_bytes += place.head.size;
        let data = match indexed.chunk(place) {
            Ok(data) => data,
            Err(what) => {
                self.damage.push(Damage {
                    path: indexed.path.clone(),
                    offset: place.offset,
                    what,
                    range_ns: Some((place.head.from_ns, place.head.to_ns)),
                });
                return;
            }
        };
        let mut count = 0;
        let mut range_ns: Option<(i64, i64)> = None;
        let mut fields = Fields(&data);
        while let Some((op, record)) = fields.record() {
            if op != op::MESSAGE {
                continue;
            }
            let end = data.len() - fields.0.len();
            let mut message = Fields(record);
            let header = (
                message.u16(),
                message.u32(),
                message.time_ns(),
                message.u64(),
            );
            let (Some(channel), Some(_), Some(time_ns), Some(_)) = header else {
                continue;
            };
            range_ns = Some(match range_ns {
                Some((from_ns, to_ns)) => (from_ns.min(time_ns), to_ns.max(time_ns)),
                None => (time_ns, time_ns),
            });
            let is_known = self.capture.about[file].contains_key(&channel);
            if is_known && self.selection.wants_time(time_ns) {
                count += 1;
                self.pending.push(Reverse(Pending {
                    time_ns,
                    file,
                    chunk,
                    begin: end - message.0.len(),
                    end,
                    channel,
                }));
            }
        }
        if range_ns.is_some_and(|range_ns| range_ns != (place.head.from_ns, place.head.to_ns)) {
            self.damage.push(Damage {
                path: indexed.path.clone(),
                offset: place.offset,
                what: "a chunk says other times than its messages: their order may be wrong"
                    .to_owned(),
                range_ns,
            });
        }
        if count > 0 {
            self.held_bytes += data.len();
            self.held.insert((file, chunk), (data, count));
        }
    }

    fn entry(&mut self, pending: &Pending) -> Option<Entry> {
        let at = (pending.file, pending.chunk);
        let (data, count) = self.held.get_mut(&at)?;
        let message = data.slice(pending.begin..pending.end);
        *count -= 1;
        if *count == 0 {
            self.held_bytes -= data.len();
            self.held.remove(&at);
        }
        let about = self.capture.about[pending.file].get(&pending.channel)?;
        let (source, what) = match *about {
            About::Events => (None, What::Event(message)),
            About::Source(source, topic) => {
                let what = match topic {
                    Topic::Read => format::bytes_of(&message).map(What::Read),
                    Topic::Sent => format::bytes_of(&message).map(What::Sent),
                    Topic::Link => serde_json::from_slice(&message).ok().map(What::Link),
                };
                (Some(source), what.or_else(|| self.unreadable(pending))?)
            }
        };
        Some(Entry {
            time_ns: pending.time_ns,
            source,
            what,
        })
    }

    fn unreadable(&mut self, pending: &Pending) -> Option<What> {
        let indexed = &self.capture.files[pending.file];
        self.damage.push(Damage {
            path: indexed.path.clone(),
            offset: indexed.chunks[pending.chunk].offset,
            what: "a message is not what its topic says".to_owned(),
            range_ns: Some((pending.time_ns, pending.time_ns)),
        });
        None
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // What comes may be as early as the next chunk's beginning.
            while let Some(&(from_ns, file, chunk)) = self.chunks.last()
                && self
                    .pending
                    .peek()
                    .is_none_or(|Reverse(first)| first.time_ns >= from_ns)
            {
                self.chunks.pop();
                self.load(file, chunk);
                if self.held_bytes > PENDING_BYTES_MAX {
                    self.chunks.clear();
                    self.pending.clear();
                    return Some(Err(Error::Unordered));
                }
            }
            let Reverse(first) = self.pending.pop()?;
            if let Some(entry) = self.entry(&first)
                && self.selection.wants(&entry)
            {
                return Some(Ok(entry));
            }
        }
    }
}
