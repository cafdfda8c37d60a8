//! The rows of one lane: out of its segments, then out of the journal.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampNanosecondType};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::tail::Tail;
use super::{Archive, Lane, Range, Run};
use crate::store::layout::{self, Segment};
use crate::store::{Error, removed};

/// Rows given at once at most.
const BATCH_ROWS: usize = 65_536;

/// Rows of a lane: times, and a column for each channel wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// UTC ns, rising.
    pub times_ns: Vec<i64>,
    /// In the order of [`Lane::columns`].
    pub columns: Vec<Vec<f64>>,
}

/// How much of what is there had to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes of the segments of the lane.
    pub bytes: u64,
    /// Bytes of the row groups and columns that were read, as they are on disk.
    pub bytes_read: u64,
    /// Row groups of the lane.
    pub groups: u64,
    /// Row groups that were read.
    pub groups_read: u64,
    /// Rows that were taken out of the journal.
    pub journal_rows: u64,
    /// Records of the journal that are damaged, and whose rows are missing.
    pub lost_records: u64,
    /// Bytes of the segments that were opened: how far it has come.
    pub bytes_passed: u64,
}

/// A segment, as it is remembered when it may be gone.
#[derive(Debug, Clone, Copy, Default)]
struct Passed {
    first_seq: u64,
    last_seq: u64,
    rows: usize,
}

/// Reads a lane: ask for [`LaneRows::next`] until there is nothing.
pub struct LaneRows {
    archive: Archive,
    run: Run,
    lane: Lane,
    dir: PathBuf,
    /// The store's place in the journal when the segments were listed.
    cursor: u64,
    range: Range,
    segments: VecDeque<Segment>,
    reader: Option<ParquetRecordBatchReader>,
    /// Records up to this one have been given out.
    done_seq: u64,
    /// The segment being read: its records and its rows.
    open: Passed,
    /// The segments that have been given out.
    passed: Vec<Passed>,
    tail: Option<Tail>,
    tail_opened: bool,
    amount: Amount,
}

impl LaneRows {
    pub(super) fn new(
        archive: &Archive,
        run: &Run,
        lane: &Lane,
        range: Range,
    ) -> Result<Self, Error> {
        // Before the listing: what is finished meanwhile is then in the journal all the same.
        let cursor = archive.cursor()?;
        let dir = archive.lane_dir(run, lane.source, lane.lane);
        let segments = layout::list(&dir)?.segments;
        let amount = Amount {
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            ..Amount::default()
        };
        Ok(Self {
            archive: archive.clone(),
            run: run.clone(),
            lane: lane.clone(),
            dir,
            cursor,
            range,
            segments: segments.into(),
            reader: None,
            done_seq: 0,
            open: Passed::default(),
            passed: Vec::new(),
            tail: None,
            tail_opened: false,
            amount,
        })
    }

    /// What has been read so far, and out of how much.
    #[must_use]
    pub fn amount(&self) -> Amount {
        let lost_records = self.tail.as_ref().map_or(0, |tail| tail.lost_records);
        Amount {
            lost_records,
            ..self.amount
        }
    }

    /// The next rows; never an empty batch. `None`: there are no more.
    ///
    /// # Errors
    /// If a segment or the journal cannot be read.
    // Not an iterator: an error ends it, and most callers want `?`.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Rows>, Error> {
        loop {
            if let Some(reader) = &mut self.reader {
                match reader.next() {
                    Some(batch) => {
                        let batch = batch
                            .map_err(|error| Error::parquet("read", &self.dir)(error.into()))?;
                        if let Some(rows) = rows_of(&batch, self.range) {
                            return Ok(Some(rows));
                        }
                    }
                    None => {
                        self.reader = None;
                        self.pass();
                    }
                }
                continue;
            }
            if let Some(segment) = self.segments.pop_front() {
                self.open(&segment)?;
                continue;
            }
            return self.next_of_tail();
        }
    }

    fn open(&mut self, segment: &Segment) -> Result<(), Error> {
        let file = match File::open(&segment.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.look_again();
            }
            Err(error) => return Err(Error::io("open", &segment.path)(error)),
        };
        let failed = Error::parquet("read", &segment.path);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
        self.amount.bytes_passed += segment.bytes;
        // Its beginning may have been given out already, out of parts that are gone since: whole segments of it.
        let given = self.passed.iter();
        let given = given.filter(|passed| passed.first_seq >= segment.first_seq);
        let skip = given.map(|passed| passed.rows).sum();
        let (groups, offset) = self.wanted_groups(builder.metadata(), skip);
        self.open = Passed {
            first_seq: segment.first_seq,
            last_seq: segment.last_seq,
            rows: usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0),
        };
        if groups.is_empty() {
            self.pass();
            return Ok(());
        }
        // The time, then the channels as they stand behind it.
        let leaves = std::iter::once(0).chain(self.lane.columns.iter().map(|column| column + 1));
        let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
        let reader = builder
            .with_row_groups(groups)
            .with_offset(offset)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build();
        self.reader = Some(reader.map_err(Error::parquet("read", &segment.path))?);
        Ok(())
    }

    /// The open segment has been given out.
    fn pass(&mut self) {
        self.done_seq = self.open.last_seq;
        // What it was merged of counts with it.
        let first_seq = self.open.first_seq;
        self.passed.retain(|passed| passed.first_seq < first_seq);
        self.passed.push(self.open);
    }

    /// A segment went away: it was merged into another, or removed. What is behind what has been given out.
    fn look_again(&mut self) -> Result<(), Error> {
        let mut segments: VecDeque<Segment> = layout::list(&self.dir)?.segments.into();
        segments.retain(|segment| segment.last_seq > self.done_seq);
        self.segments = segments;
        Ok(())
    }

    /// Which row groups are wanted, the first `skip` rows left out; and how many rows of the first of them are to be
    /// left out.
    fn wanted_groups(
        &mut self,
        metadata: &ParquetMetaData,
        mut skip: usize,
    ) -> (Vec<usize>, usize) {
        let mut wanted = Vec::new();
        let mut offset = 0;
        for (index, group) in metadata.row_groups().iter().enumerate() {
            self.amount.groups += 1;
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            let skipped = skip.min(rows);
            skip -= skipped;
            if skipped == rows {
                continue;
            }
            let Some((first_ns, last_ns)) = times_of(group) else {
                continue;
            };
            if self.range.overlaps(first_ns, last_ns) {
                // Only the first group that is not skipped whole can be skipped in part.
                offset += skipped;
                wanted.push(index);
                self.amount.groups_read += 1;
                let columns = std::iter::once(0).chain(self.lane.columns.iter().map(|c| c + 1));
                let bytes = columns.map(|column| group.column(column).compressed_size());
                self.amount.bytes_read += u64::try_from(bytes.sum::<i64>()).unwrap_or(0);
            }
        }
        (wanted, offset)
    }

    fn next_of_tail(&mut self) -> Result<Option<Rows>, Error> {
        if !self.tail_opened {
            self.tail_opened = true;
            let source = u16::try_from(self.lane.source).ok();
            // What was removed is not to come back out of the journal.
            let stored_seq = self.done_seq.max(removed_seq(&self.dir)?);
            self.tail = self
                .archive
                .tail(&self.run, self.cursor, stored_seq, source)?;
        }
        let Some(tail) = &mut self.tail else {
            return Ok(None);
        };
        let lane = u8::try_from(self.lane.lane).unwrap_or(u8::MAX);
        while let Some(block) = tail.next_block(lane)? {
            let (from, to) = bounds(block.times_ns(), self.range);
            if from < to
                && self
                    .lane
                    .columns
                    .iter()
                    .all(|column| *column < block.columns())
            {
                self.amount.journal_rows += (to - from) as u64;
                let columns = self.lane.columns.iter();
                return Ok(Some(Rows {
                    times_ns: block.times_ns()[from..to].to_vec(),
                    columns: columns
                        .map(|c| block.column(*c)[from..to].to_vec())
                        .collect(),
                }));
            }
        }
        Ok(None)
    }
}

/// The last record of a lane that was removed with its segment; 0 if none was.
pub(super) fn removed_seq(lane_dir: &Path) -> Result<u64, Error> {
    match (lane_dir.parent(), lane_dir.file_name()) {
        (Some(run_dir), Some(name)) => removed::last_seq(run_dir, &name.to_string_lossy()),
        _ => Ok(0),
    }
}

/// The first and the last time in a row group, by its statistics.
pub(in crate::store) fn times_of(group: &RowGroupMetaData) -> Option<(i64, i64)> {
    match group.column(0).statistics()? {
        Statistics::Int64(found) => Some((*found.min_opt()?, *found.max_opt()?)),
        _ => None,
    }
}

/// Which of some rising times are within the range.
fn bounds(times_ns: &[i64], range: Range) -> (usize, usize) {
    let from = times_ns.partition_point(|time| *time < range.from_ns);
    let to = times_ns.partition_point(|time| *time < range.to_ns);
    (from, to)
}

/// The rows of a batch that are within the range, if any are.
fn rows_of(batch: &RecordBatch, range: Range) -> Option<Rows> {
    let times = batch
        .column(0)
        .as_primitive::<TimestampNanosecondType>()
        .values();
    let (from, to) = bounds(times, range);
    if from >= to {
        return None;
    }
    let columns = batch.columns()[1..].iter().map(|column| {
        let values = column.as_primitive::<Float64Type>();
        debug_assert_eq!(values.null_count(), 0);
        values.values()[from..to].to_vec()
    });
    Some(Rows {
        times_ns: times[from..to].to_vec(),
        columns: columns.collect(),
    })
}
