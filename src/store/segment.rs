//! Writing one segment.
//!
//! **Always holds.** Under its final name it is whole, synced, and its name on disk. Dropped before that, it
//! leaves nothing but a file that ends in `.aside`, which nobody reads.
//!
//! **Must not know.** Blocks and events: it is given batches.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;

use super::layout::{self, ASIDE, Segment};
use super::{Error, table};

/// A segment under construction.
pub(super) struct SegmentWriter {
    dir: PathBuf,
    aside: PathBuf,
    writer: ArrowWriter<Summed>,
}

/// A file, and the checksum of what was written to it.
struct Summed {
    file: BufWriter<File>,
    crc: u32,
    bytes: u64,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SegmentWriter {
    /// Begins a segment in a lane's directory, which is made if it is not there; `tag` makes the name its own
    /// while it is under construction.
    pub(super) fn begin(dir: &Path, tag: &str, schema: SchemaRef) -> Result<Self, Error> {
        layout::make_dir(dir)?;
        let aside = dir.join(format!("{tag}.{ASIDE}"));
        let file = File::create(&aside).map_err(Error::io("create", &aside))?;
        let sink = Summed {
            file: BufWriter::with_capacity(256 << 10, file),
            crc: 0,
            bytes: 0,
        };
        let properties = table::properties(&schema);
        let writer = ArrowWriter::try_new(sink, schema, Some(properties))
            .map_err(Error::parquet("write", &aside))?;
        Ok(Self {
            dir: dir.to_owned(),
            aside,
            writer,
        })
    }

    /// Appends rows, and ends the row group behind them.
    pub(super) fn write_group(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let written = self.writer.write(batch).and_then(|()| self.writer.flush());
        written.map_err(Error::parquet("write", &self.aside))
    }

    /// Puts the segment in its place.
    pub(super) fn finish(
        mut self,
        first_seq: u64,
        last_seq: u64,
        metadata: Vec<(String, String)>,
    ) -> Result<Segment, Error> {
        for (key, value) in metadata {
            self.writer.append_key_value_metadata(KeyValue {
                key,
                value: Some(value),
            });
        }
        self.writer
            .finish()
            .map_err(Error::parquet("write", &self.aside))?;
        let sink = self.writer.inner_mut();
        sink.flush().map_err(Error::io("write", &self.aside))?;
        sink.file
            .get_ref()
            .sync_all()
            .map_err(Error::io("sync", &self.aside))?;
        let (crc, bytes) = (sink.crc, sink.bytes);
        fail::point("segment written aside");
        let path = self.dir.join(layout::name(first_seq, last_seq, crc));
        std::fs::rename(&self.aside, &path).map_err(Error::io("rename", &self.aside))?;
        fail::point("segment renamed");
        layout::sync_dir(&self.dir)?;
        Ok(Segment {
            path,
            first_seq,
            last_seq,
            crc,
            bytes,
        })
    }
}

/// Places at which a test kills the process: named, so that each is met.
pub(super) mod fail {
    /// Ends the process here, as `kill -9` would, if the environment's `KYMO_KILL_AT` names this place; for
    /// tests of what a crash leaves.
    pub(in crate::store) fn point(name: &str) {
        #[cfg(debug_assertions)]
        if std::env::var("KYMO_KILL_AT").is_ok_and(|wanted| wanted == name) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                .expect("a process may kill itself");
            loop {
                std::thread::park();
            }
        }
        #[cfg(not(debug_assertions))]
        let _ = name;
    }
}
