//! Writes a capture: one file after the other, each complete by itself.
//!
//! **Always holds.** A file begins with everything that is needed to read it. A chunk is written in one go when it is full, or when it is
//! flushed; so a file that ends anywhere has every chunk that was written before. A file that is there is never written
//! over.
//!
//! **Must not know.** Where the messages come from, and when to flush.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcap::records::MessageHeader;
use mcap::{WriteOptions, records::Metadata};

use super::Error;
use super::format::{
    self, CALIBRATION, CONFIGURATION, Described, EVENTS, Entry, LinkChange, PROFILE, RUN, Schema,
    Topic, What,
};
use crate::clock::rfc3339;

/// How chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Compression {
    /// LZ4: some hundred MB/s.
    #[default]
    Lz4,
    /// Not at all.
    None,
}

/// How a capture is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How chunks are compressed.
    pub compression: Compression,
    /// A chunk is full at this size, without compression.
    pub chunk_bytes: u64,
    /// The next file begins when this one has so many bytes.
    pub rotate_bytes: u64,
    /// The next file begins after so long; none: by size alone.
    pub rotate_after: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            chunk_bytes: 1 << 20,
            rotate_bytes: 1 << 30,
            rotate_after: None,
        }
    }
}

/// Bytes gathered for one call to the system: what stands between chunks comes in small pieces.
const BUFFER_BYTES: usize = 256 << 10;

/// The path of a capture's file, counted from 1: the first has the name that was asked for.
#[must_use]
pub fn path_of(first: &Path, number: u32) -> PathBuf {
    if number <= 1 {
        return first.to_owned();
    }
    let stem = first.file_stem().unwrap_or_default().to_string_lossy();
    first.with_file_name(format!("{stem}-{number:04}.mcap"))
}

/// A capture being written.
pub struct Writer {
    first: PathBuf,
    options: Options,
    described: Described,
    number: u32,
    file: Open,
    /// Bytes of files that are finished.
    bytes_before: u64,
    /// Files that are finished and not yet synced.
    unsynced: Vec<File>,
    scratch: Vec<u8>,
}

/// The file in hand.
struct Open {
    path: PathBuf,
    mcap: mcap::Writer<Counted>,
    /// For who syncs it.
    handle: File,
    /// Read, sent and link of each source.
    channels: Vec<[u16; 3]>,
    events: u16,
    sequences: Vec<u32>,
    began_ns: Option<i64>,
    bytes: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

/// Counts what goes to the file.
struct Counted {
    inner: BufWriter<File>,
    bytes: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        // Relaxed: read by the same thread.
        self.bytes
            .fetch_add(count as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl std::io::Seek for Counted {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }

    fn stream_position(&mut self) -> std::io::Result<u64> {
        self.inner.stream_position()
    }
}

impl Writer {
    /// Begins a capture whose first file is `first`; its directory is made.
    ///
    /// # Errors
    /// If the file is there already, or cannot be written.
    pub fn create(first: &Path, described: Described, options: Options) -> Result<Self, Error> {
        if let Some(dir) = first.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        }
        let file = Open::create(first, &described, &options, 1)?;
        Ok(Self {
            first: first.to_owned(),
            options,
            described,
            number: 1,
            file,
            bytes_before: 0,
            unsynced: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// What the capture says of itself.
    #[must_use]
    pub fn described(&self) -> &Described {
        &self.described
    }

    /// How many files there are.
    #[must_use]
    pub fn files(&self) -> u32 {
        self.number
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes_before + self.file.bytes()
    }

    /// Appends a message of a source.
    ///
    /// # Errors
    /// If the file cannot be written; then it is of no more use.
    ///
    /// # Panics
    /// If there is no such source.
    pub fn write(&mut self, entry: &Entry) -> Result<(), Error> {
        match (&entry.what, entry.source) {
            (What::Read(bytes), Some(source)) => {
                self.bytes_message(Topic::Read, source, entry.time_ns, (bytes, &[]))
            }
            (What::Sent(bytes), Some(source)) => {
                self.bytes_message(Topic::Sent, source, entry.time_ns, (bytes, &[]))
            }
            (What::Link(change), Some(source)) => self.link(source, entry.time_ns, change),
            (What::Event(json), _) => self.event(entry.time_ns, json),
            _ => unreachable!("only events have no source"),
        }
    }

    /// Appends bytes that are in two pieces.
    pub(super) fn bytes_message(
        &mut self,
        topic: Topic,
        source: usize,
        time_ns: i64,
        (front, back): (&[u8], &[u8]),
    ) -> Result<(), Error> {
        self.scratch.clear();
        format::push_bytes_head(front.len() + back.len(), &mut self.scratch);
        self.scratch.extend_from_slice(front);
        self.scratch.extend_from_slice(back);
        self.put(Some((source, topic)), time_ns)
    }

    /// Appends a change of a source's link.
    pub(super) fn link(
        &mut self,
        source: usize,
        time_ns: i64,
        change: &LinkChange,
    ) -> Result<(), Error> {
        self.scratch.clear();
        // Numbers and texts: it cannot fail, and a vector takes everything.
        let _ = serde_json::to_writer(&mut self.scratch, change);
        self.put(Some((source, Topic::Link)), time_ns)
    }

    /// Appends an event.
    pub(super) fn event(&mut self, time_ns: i64, json: &[u8]) -> Result<(), Error> {
        self.scratch.clear();
        self.scratch.extend_from_slice(json);
        self.put(None, time_ns)
    }

    fn put(&mut self, to: Option<(usize, Topic)>, time_ns: i64) -> Result<(), Error> {
        self.rotate_if_due(time_ns)?;
        self.file.put(to, time_ns, &self.scratch)
    }

    fn rotate_if_due(&mut self, time_ns: i64) -> Result<(), Error> {
        let began_ns = *self.file.began_ns.get_or_insert(time_ns);
        let age_ns = self
            .options
            .rotate_after
            .map(|after| i64::try_from(after.as_nanos()).unwrap_or(i64::MAX));
        let is_due = self.file.bytes() >= self.options.rotate_bytes
            || age_ns.is_some_and(|age_ns| time_ns.saturating_sub(began_ns) >= age_ns);
        if !is_due {
            return Ok(());
        }
        let next = path_of(&self.first, self.number + 1);
        let mut next = Open::create(&next, &self.described, &self.options, self.number + 1)?;
        next.sequences.clone_from(&self.file.sequences);
        next.began_ns = Some(time_ns);
        let done = std::mem::replace(&mut self.file, next);
        self.number += 1;
        let (bytes, handle) = done.close()?;
        self.bytes_before += bytes;
        self.unsynced.push(handle);
        Ok(())
    }

    /// Ends the chunk in hand and hands it to the system. A chunk that is full is handed over without this.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        let path = &self.file.path;
        self.file.mcap.flush().map_err(Error::mcap(path))
    }

    /// The files whose content is not yet known to be on disk, for who syncs them.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn unsynced(&mut self) -> Result<Vec<File>, Error> {
        let handle = self.file.handle.try_clone();
        let handle = handle.map_err(Error::io("sync", &self.file.path))?;
        self.unsynced.push(handle);
        Ok(std::mem::take(&mut self.unsynced))
    }

    /// Finishes and syncs the capture; returns its bytes.
    ///
    /// # Errors
    /// If it cannot be written or synced.
    pub fn finish(mut self) -> Result<u64, Error> {
        let path = self.file.path.clone();
        let (bytes, handle) = self.file.close()?;
        self.unsynced.push(handle);
        for file in &self.unsynced {
            file.sync_all().map_err(Error::io("sync", &path))?;
        }
        Ok(self.bytes_before + bytes)
    }
}

impl Open {
    fn create(
        path: &Path,
        described: &Described,
        options: &Options,
        number: u32,
    ) -> Result<Self, Error> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(Error::io("create", path))?;
        let handle = file.try_clone().map_err(Error::io("create", path))?;
        let bytes = std::sync::Arc::<std::sync::atomic::AtomicU64>::default();
        let counted = Counted {
            inner: BufWriter::with_capacity(BUFFER_BYTES, file),
            bytes: std::sync::Arc::clone(&bytes),
        };
        let failed = || Error::mcap(path);
        let mut mcap = WriteOptions::new()
            .profile(PROFILE)
            .library(format!("kymo {}", env!("CARGO_PKG_VERSION")))
            .compression(match options.compression {
                Compression::Lz4 => Some(mcap::Compression::Lz4),
                Compression::None => None,
            })
            .chunk_size(Some(options.chunk_bytes))
            // A chunk is put together in memory: on disk it is there, or it is not.
            .disable_seeking(true)
            .create(counted)
            .map_err(failed())?;
        for metadata in metadata(described, number) {
            mcap.write_metadata(&metadata).map_err(failed())?;
        }
        let mut schema = |(name, encoding, data): Schema| mcap.add_schema(name, encoding, &data);
        let bytes_schema = schema(format::bytes_schema()).map_err(failed())?;
        let link_schema = schema(format::link_schema()).map_err(failed())?;
        let event_schema = schema(format::event_schema()).map_err(failed())?;
        let mut channels = Vec::with_capacity(described.sources.len());
        for source in &described.sources {
            let about = BTreeMap::from([
                ("source".to_owned(), source.name.clone()),
                ("link".to_owned(), source.link.clone()),
                ("starts_whole".to_owned(), source.starts_whole.to_string()),
            ]);
            let mut of = [0; 3];
            for (place, topic) in Topic::ALL.into_iter().enumerate() {
                let (schema, encoding) = match topic {
                    Topic::Read | Topic::Sent => (bytes_schema, "protobuf"),
                    Topic::Link => (link_schema, "json"),
                };
                let topic = topic.of(&source.name);
                let added = mcap.add_channel(schema, &topic, encoding, &about);
                of[place] = added.map_err(failed())?;
            }
            channels.push(of);
        }
        let events = mcap.add_channel(event_schema, EVENTS, "json", &BTreeMap::new());
        let events = events.map_err(failed())?;
        // The first chunk says what the sources are, and is there at once.
        mcap.flush().map_err(failed())?;
        Ok(Self {
            path: path.to_owned(),
            mcap,
            handle,
            sequences: vec![0; channels.len() + 1],
            channels,
            events,
            began_ns: None,
            bytes,
        })
    }

    /// Bytes written so far.
    fn bytes(&self) -> u64 {
        self.bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn put(&mut self, to: Option<(usize, Topic)>, time_ns: i64, data: &[u8]) -> Result<(), Error> {
        let (channel_id, sequence) = match to {
            Some((source, topic)) => (
                self.channels[source][topic as usize],
                &mut self.sequences[source],
            ),
            None => (self.events, &mut self.sequences[self.channels.len()]),
        };
        *sequence = sequence.wrapping_add(1);
        // Before 1970 there was no Kymo.
        let time = u64::try_from(time_ns).unwrap_or(0);
        let header = MessageHeader {
            channel_id,
            sequence: *sequence,
            log_time: time,
            publish_time: time,
        };
        let written = self.mcap.write_to_known_channel(&header, data);
        written.map_err(Error::mcap(&self.path))
    }

    fn close(mut self) -> Result<(u64, File), Error> {
        self.mcap.finish().map_err(Error::mcap(&self.path))?;
        Ok((self.bytes(), self.handle))
    }
}

fn metadata(described: &Described, number: u32) -> Vec<Metadata> {
    let of = |name: &str, pairs: Vec<(&str, String)>| Metadata {
        name: name.to_owned(),
        metadata: pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    };
    vec![
        of(
            RUN,
            vec![
                ("run", described.run.clone()),
                ("started", rfc3339(described.started_ns)),
                ("started_ns", described.started_ns.to_string()),
                ("host", described.host.clone()),
                ("kymo", described.kymo.clone()),
                ("file", number.to_string()),
                (
                    "clock",
                    "UTC ns: the wall clock at the start of the run, carried on by the monotonic clock"
                        .to_owned(),
                ),
            ],
        ),
        of(
            CONFIGURATION,
            vec![("text", described.configuration.clone())],
        ),
        Metadata {
            name: CALIBRATION.to_owned(),
            metadata: described.calibration.clone(),
        },
    ]
}
