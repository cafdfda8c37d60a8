//! Compaction: many small segments of a lane become one large one, behind, and slowly.
//!
//! Segments are merged in tiers: as soon as [`FAN`] neighbours of about the same size stand beside each other they become
//! one. So a row is written again once for each tier, and a day of acquisition is tens of files.
//!
//! **Always holds.** The merged segment is in its place before the first of its parts is removed; a crash between the two
//! leaves parts that lie within it, which count no more. It rests after each piece of work for as long as its share of
//! a core demands.
//!
//! **Must not know.** The journal, and what is under construction.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;

use super::Error;
use super::follower::StoreStatus;
use super::layout::{self, Segment};
use super::retention::pause;
use super::segment::{SegmentWriter, fail};
use super::table::GROUP_ROWS;

/// Neighbours merged at once.
const FAN: usize = 8;

/// A merged segment is not larger than this: a file that can still be copied and opened at ease.
const BYTES_MAX: u64 = 1 << 30;

/// Segments whose sizes differ by less than this factor are of one tier.
const TIER: u64 = 4;

/// How often it is looked for something to merge.
const LOOK: Duration = Duration::from_secs(5);

/// Who may change finished segments: one at a time merges or removes.
#[derive(Debug, Default)]
pub(super) struct Files {
    lock: Mutex<()>,
    /// Somebody needs room at once: a merge under way is given up.
    is_wanted: AtomicBool,
}

impl Files {
    /// At once: a merge under way is given up for it.
    pub(super) fn take(&self) -> MutexGuard<'_, ()> {
        self.is_wanted.store(true, Ordering::Release);
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_wanted.store(false, Ordering::Release);
        guard
    }

    /// If nobody has them.
    pub(super) fn try_take(&self) -> Option<MutexGuard<'_, ()>> {
        self.lock.try_lock().ok()
    }
}

/// Merges segments, on a thread of its own.
pub(super) struct Compactor {
    pub(super) store: PathBuf,
    /// The run that goes on.
    pub(super) run: String,
    pub(super) share: f64,
    pub(super) closing: Arc<AtomicBool>,
    pub(super) files: Arc<Files>,
    pub(super) status: Arc<StoreStatus>,
    /// Runs that have ended, and in which there is nothing left to merge.
    pub(super) settled: HashSet<String>,
}

impl Compactor {
    pub(super) fn run(mut self) {
        while !pause(&self.closing, LOOK) {
            if let Err(error) = self.look() {
                self.status.trouble.set(Some(error.to_string()));
            }
        }
    }

    fn look(&mut self) -> Result<(), Error> {
        for run in layout::runs(&self.store)? {
            if self.settled.contains(&run) {
                continue;
            }
            let is_ended = run != self.run;
            for lane in layout::lanes(&self.store, &run)? {
                while self.merge_once(&self.store.join(&run).join(&lane), is_ended)? {}
                if self.closing.load(Ordering::Acquire) {
                    return Ok(());
                }
            }
            // What was given up for want of room is looked at again with the next run of the program.
            if is_ended {
                self.settled.insert(run);
            }
        }
        Ok(())
    }

    fn merge_once(&self, dir: &Path, is_ended: bool) -> Result<bool, Error> {
        let _files = self
            .files
            .lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (closing, files) = (Arc::clone(&self.closing), Arc::clone(&self.files));
        let rest =
            move |rest: Duration| files.is_wanted.load(Ordering::Acquire) || pause(&closing, rest);
        compact(dir, is_ended, &mut Pace::new(self.share, Box::new(rest)))
    }
}

/// What slows compaction down to its share of a core.
pub(super) struct Pace {
    share: f64,
    worked_from: Instant,
    /// Asked between two row groups; true ends it early.
    stop: Box<dyn Fn(Duration) -> bool + Send>,
}

impl Pace {
    /// `pause` waits for so long, or until it is time to stop; then it says true.
    pub(super) fn new(share: f64, pause: Box<dyn Fn(Duration) -> bool + Send>) -> Self {
        Self {
            share: share.clamp(0.01, 1.0),
            worked_from: Instant::now(),
            stop: pause,
        }
    }

    /// Rests after work. True: stop.
    fn rest(&mut self) -> bool {
        let worked = self.worked_from.elapsed();
        let stop = (self.stop)(worked.mul_f64(1.0 / self.share - 1.0));
        self.worked_from = Instant::now();
        stop
    }
}

/// Merges what should be merged in one lane; whether anything was.
///
/// # Errors
/// What stood in the way; nothing is lost by it.
pub(super) fn compact(dir: &Path, is_ended: bool, pace: &mut Pace) -> Result<bool, Error> {
    let listing = layout::list(dir)?;
    let Some(parts) = choose(&listing.segments, is_ended) else {
        return Ok(false);
    };
    merge(dir, parts, pace)
}

/// The first neighbours that should become one: [`FAN`] of a size, or as many as make a segment of the largest
/// size there is. Of a run that has ended whatever is of a size is merged, since no more neighbours will come.
fn choose(segments: &[Segment], is_ended: bool) -> Option<&[Segment]> {
    (0..segments.len()).find_map(|start| {
        let (count, is_full) = neighbours(&segments[start..]);
        (count == FAN || (count >= 2 && (is_full || is_ended)))
            .then(|| &segments[start..start + count])
    })
}

/// How many of the first segments are of a size and fit into one, [`FAN`] at most; and whether the next one would
/// be of that size too, but fits no more.
fn neighbours(segments: &[Segment]) -> (usize, bool) {
    let (mut smallest, mut largest, mut total) = (u64::MAX, 0, 0);
    for (count, segment) in segments.iter().enumerate().take(FAN) {
        (smallest, largest) = (smallest.min(segment.bytes), largest.max(segment.bytes));
        if largest > smallest.max(1 << 16).saturating_mul(TIER) {
            return (count, false);
        }
        total += segment.bytes;
        if total > BYTES_MAX {
            return (count, true);
        }
    }
    (segments.len().min(FAN), false)
}

fn merge(dir: &Path, parts: &[Segment], pace: &mut Pace) -> Result<bool, Error> {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        return Ok(false);
    };
    let mut frames: Vec<(u64, u64)> = Vec::new();
    let mut about: Vec<(String, String)> = Vec::new();
    let mut writer: Option<SegmentWriter> = None;
    let mut small: Vec<RecordBatch> = Vec::new();
    for part in parts {
        let file = File::open(&part.path).map_err(Error::io("open", &part.path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(Error::parquet("read", &part.path))?;
        join_frames(&mut frames, builder.metadata());
        about = metadata_of(builder.metadata());
        let schema = builder.schema().clone();
        let reader = builder
            .with_batch_size(GROUP_ROWS)
            .build()
            .map_err(Error::parquet("read", &part.path))?;
        let out = match &mut writer {
            Some(writer) => writer,
            none => none.insert(SegmentWriter::begin(dir, "merged", schema)?),
        };
        for batch in reader {
            let batch = batch.map_err(|error| Error::parquet("read", &part.path)(error.into()))?;
            small.push(batch);
            if small.iter().map(RecordBatch::num_rows).sum::<usize>() >= GROUP_ROWS {
                write(out, &mut small, false, &part.path)?;
            }
            if pace.rest() {
                return Ok(false);
            }
        }
    }
    let Some(mut writer) = writer else {
        return Ok(false);
    };
    write(&mut writer, &mut small, true, &last.path)?;
    about.retain(|(key, _)| {
        !matches!(
            key.as_str(),
            "kymo.first_seq" | "kymo.last_seq" | "kymo.frames"
        )
    });
    about.push(("kymo.first_seq".to_owned(), first.first_seq.to_string()));
    about.push(("kymo.last_seq".to_owned(), last.last_seq.to_string()));
    if !frames.is_empty() {
        about.push((
            "kymo.frames".to_owned(),
            serde_json::json!(frames).to_string(),
        ));
    }
    writer.finish(first.first_seq, last.last_seq, about)?;
    fail::point("merged segment in its place");
    for part in parts {
        std::fs::remove_file(&part.path).map_err(Error::io("remove", &part.path))?;
    }
    layout::sync_dir(dir)?;
    Ok(true)
}

/// Writes whole row groups out of what was read; with `all`, the rest too.
fn write(
    out: &mut SegmentWriter,
    small: &mut Vec<RecordBatch>,
    all: bool,
    path: &Path,
) -> Result<(), Error> {
    let Some(schema) = small.first().map(RecordBatch::schema) else {
        return Ok(());
    };
    let joined = concat_batches(&schema, small.iter())
        .map_err(|error| Error::parquet("merge", path)(error.into()))?;
    small.clear();
    let mut from = 0;
    while joined.num_rows() - from >= GROUP_ROWS || (all && from < joined.num_rows()) {
        let rows = GROUP_ROWS.min(joined.num_rows() - from);
        out.write_group(&joined.slice(from, rows))?;
        from += rows;
    }
    if from < joined.num_rows() {
        small.push(joined.slice(from, joined.num_rows() - from));
    }
    Ok(())
}

pub(super) fn metadata_of(metadata: &ParquetMetaData) -> Vec<(String, String)> {
    let pairs = metadata
        .file_metadata()
        .key_value_metadata()
        .into_iter()
        .flatten();
    pairs
        .filter(|pair| pair.key.starts_with("kymo."))
        .filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?)))
        .collect()
}

/// The numbers of a segment's frames: first, count.
pub(super) fn frames_of(metadata: &ParquetMetaData) -> Vec<(u64, u64)> {
    let pairs = metadata_of(metadata);
    let found = pairs.iter().find(|(key, _)| key == "kymo.frames");
    found
        .and_then(|(_, json)| serde_json::from_str(json).ok())
        .unwrap_or_default()
}

fn join_frames(frames: &mut Vec<(u64, u64)>, metadata: &ParquetMetaData) {
    for (first, count) in frames_of(metadata) {
        match frames.last_mut() {
            Some((start, length)) if *start + *length == first => *length += count,
            _ => frames.push((first, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes: &[u64]) -> Vec<Segment> {
        let number = |index: usize| index as u64 + 1;
        let segment = |(index, bytes): (usize, &u64)| Segment {
            path: layout::name(number(index), number(index), 0).into(),
            first_seq: number(index),
            last_seq: number(index),
            crc: 0,
            bytes: *bytes,
        };
        sizes.iter().enumerate().map(segment).collect()
    }

    fn chosen(sizes: &[u64], is_ended: bool) -> Option<(u64, u64)> {
        let segments = segments(sizes);
        let parts = choose(&segments, is_ended)?;
        Some((parts[0].first_seq, parts[parts.len() - 1].last_seq))
    }

    #[test]
    fn eight_of_a_size_become_one_and_no_fewer_while_the_run_goes_on() {
        const MIB: u64 = 1 << 20;
        assert_eq!(chosen(&[MIB; 7], false), None);
        assert_eq!(chosen(&[MIB; 8], false), Some((1, 8)));
        assert_eq!(chosen(&[MIB; 3], true), Some((1, 3)));
        // What has been merged already is of another tier.
        let mut mixed = vec![10 * MIB];
        mixed.extend([MIB; 8]);
        assert_eq!(chosen(&mixed, false), Some((2, 9)));
        assert_eq!(chosen(&[10 * MIB, MIB], true), None);
    }

    #[test]
    fn a_merged_segment_does_not_outgrow_its_limit() {
        assert_eq!(chosen(&[200 << 20; 4], false), None);
        assert_eq!(chosen(&[200 << 20; 8], false), Some((1, 5)));
        assert_eq!(chosen(&[BYTES_MAX; 8], true), None);
    }

    /// Merging tier by tier, a long day ends as few files.
    #[test]
    fn a_day_ends_as_tens_of_files() {
        let mut sizes: Vec<u64> = Vec::new();
        for _ in 0..24 * 60 * 6 {
            sizes.push(3 << 20);
            while let Some((first, last)) = chosen(&sizes, false) {
                let range = first as usize - 1..last as usize;
                let total = sizes[range.clone()].iter().sum();
                sizes.splice(range, [total]);
            }
        }
        assert!(sizes.len() < 100, "{}", sizes.len());
    }
}
