//! Reads a capture: all its files, in the order of time.
//!
//! **Always holds.** Messages come by time; those of the same time in the order in which they were written. A chunk that is
//! damaged is left out, and said; so is what a torn file lacks.
//!
//! **Must not know.** What becomes of the messages.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Error;
use super::entries::Entries;
use super::file::{ChunkPlace, Indexed};
use super::format::{Described, EVENTS, Entry, SourceInfo, Topic};
use super::writer::path_of;

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
    pub(super) fn wants_time(&self, time_ns: i64) -> bool {
        self.from_ns.is_none_or(|from_ns| time_ns >= from_ns)
            && self.to_ns.is_none_or(|to_ns| time_ns < to_ns)
    }

    pub(super) fn wants(&self, entry: &Entry) -> bool {
        let wanted = self.sources.as_ref();
        self.wants_time(entry.time_ns)
            && entry
                .source
                .is_none_or(|source| wanted.is_none_or(|wanted| wanted.contains(&source)))
    }
}

/// What a channel of a file is.
#[derive(Debug, Clone, Copy)]
pub(super) enum About {
    Source(usize, Topic),
    Events,
}

/// A capture that can be read.
pub struct Capture {
    described: Described,
    pub(super) files: Vec<Indexed>,
    /// By file: what each channel is.
    pub(super) about: Vec<HashMap<u16, About>>,
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
        Entries::new(self, selection, chunks)
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
