//! One segment, as the audit sees it: what its name says, what its metadata say, what its bytes are.
//!
//! **Must not know.** Runs, and what is in the journal.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::ledger::DROP_REASONS;
use crate::store::layout::Segment;
use crate::store::{Error, compact};

/// A segment that was looked at.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) crc: u32,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// First, count.
    pub(super) frames: Vec<(u64, u64)>,
    /// Rows that the journal has of it.
    pub(super) journal_rows: u64,
    /// What its metadata contradict.
    pub(super) wrongs: Vec<String>,
}

/// Looks at a segment's metadata. `None`: it is not there any more.
pub(super) fn look(segment: &Segment, has_frames: bool) -> Result<Option<Part>, Error> {
    let mut part = Part {
        path: segment.path.clone(),
        first_seq: segment.first_seq,
        last_seq: segment.last_seq,
        crc: segment.crc,
        bytes: segment.bytes,
        rows: 0,
        frames: Vec::new(),
        journal_rows: 0,
        wrongs: Vec::new(),
    };
    let Some(file) = open(&part.path)? else {
        return Ok(None);
    };
    let reader = match SerializedFileReader::new(file) {
        Ok(reader) => reader,
        Err(error) => {
            part.wrongs.push(format!("it cannot be read: {error}"));
            return Ok(Some(part));
        }
    };
    let metadata = reader.metadata();
    let about: HashMap<String, String> = compact::metadata_of(metadata).into_iter().collect();
    let number = |key: &str| about.get(key).and_then(|text| text.parse::<u64>().ok());
    let stated = (number("kymo.first_seq"), number("kymo.last_seq"));
    if stated != (Some(part.first_seq), Some(part.last_seq)) {
        let text = |seq: Option<u64>| seq.map_or_else(|| "?".to_owned(), |seq| seq.to_string());
        part.wrongs.push(format!(
            "its name says records {} to {}, it was written with {} to {}",
            part.first_seq,
            part.last_seq,
            text(stated.0),
            text(stated.1)
        ));
    }
    part.rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    if has_frames {
        part.frames = compact::frames_of(metadata);
        let stated: u64 = part.frames.iter().map(|(_, count)| count).sum();
        if stated != part.rows {
            part.wrongs.push(format!(
                "it has {} rows, and says that it has {stated} frames",
                part.rows
            ));
        }
    }
    Ok(Some(part))
}

/// The CRC32C of a file as it is. `None`: it is not there any more.
pub(super) fn checksum(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Option<u32>, Error> {
    let Some(mut file) = open(path)? else {
        return Ok(None);
    };
    let mut buffer = vec![0; 256 << 10];
    let mut crc = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(crc)),
            Ok(count) => {
                crc = crc32c::crc32c_append(crc, &buffer[..count]);
                progress(count as u64);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
}

fn open(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open", path)(error)),
    }
}

/// Frames dropped: gap by gap for each source and lane, and their sums by reason.
#[derive(Debug, Default)]
pub(super) struct Drops {
    lanes: HashMap<(String, String), VecDeque<u64>>,
    sums: HashMap<(String, String, String), u64>,
}

impl Drops {
    pub(super) fn add(&mut self, source: &str, priority: &str, reason: &str, frames: u64) {
        if frames == 0 || DROP_REASONS.iter().all(|known| known.name() != reason) {
            return;
        }
        let lane = (source.to_owned(), priority.to_owned());
        let sum = (lane.0.clone(), lane.1.clone(), reason.to_owned());
        *self.sums.entry(sum).or_default() += frames;
        self.lanes.entry(lane).or_default().push_back(frames);
    }

    /// The gaps of a lane, in order.
    pub(super) fn take(&mut self, source: &str, priority: &str) -> VecDeque<u64> {
        let lane = (source.to_owned(), priority.to_owned());
        self.lanes.remove(&lane).unwrap_or_default()
    }

    /// Frames of a lane that were dropped for a reason.
    pub(super) fn sum(&self, source: &str, priority: &str, reason: &str) -> u64 {
        let key = (source.to_owned(), priority.to_owned(), reason.to_owned());
        self.sums.get(&key).copied().unwrap_or(0)
    }

    /// Takes the gaps of a segment of events, batch by batch.
    pub(super) fn read(&mut self, path: &Path) -> Result<(), Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let failed = || Error::parquet("read", path);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed())?;
        let mask = ProjectionMask::columns(
            builder.parquet_schema(),
            ["source", "priority", "frames", "reason"],
        );
        let reader = builder.with_projection(mask).build().map_err(failed())?;
        for batch in reader {
            let batch = batch.map_err(|error| failed()(error.into()))?;
            let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
            let (Some(sources), Some(priorities), Some(reasons), Some(frames)) = (
                text("source"),
                text("priority"),
                text("reason"),
                batch
                    .column_by_name("frames")
                    .and_then(|column| column.as_primitive_opt::<UInt64Type>()),
            ) else {
                continue;
            };
            for row in (0..batch.num_rows()).filter(|row| frames.is_valid(*row)) {
                self.add(
                    sources.value(row),
                    priorities.value(row),
                    reasons.value(row),
                    frames.value(row),
                );
            }
        }
        Ok(())
    }
}
