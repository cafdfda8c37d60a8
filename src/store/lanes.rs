//! The segments under construction: one for each lane of the run being read, and one for its events.
//!
//! **Always holds.** A record is in at most one segment of a lane: what is in a finished one already is passed over.
//! Values held in memory are bounded, whatever the number of lanes.
//!
//! **Must not know.** The journal's files and the cursor.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow_schema::SchemaRef;

use super::events::{self, EventRow};
use super::layout::{self, EVENTS, LEDGER, RUN};
use super::segment::{SegmentWriter, fail};
use super::table::{self, GROUP_ROWS};
use super::{Error, Options, removed};
use crate::journal::DecodedBlock;
use crate::run_record::RunRecord;

/// Values held in memory at most, over all lanes: 128 MiB. More, and the largest segment is finished early.
const HELD_VALUES_MAX: usize = 16 << 20;

pub(super) struct Lanes {
    store: PathBuf,
    options: Options,
    run: Option<RunRecord>,
    /// By source and lane.
    open: BTreeMap<(u16, u8), Lane>,
    events: Option<Events>,
}

/// A lane's rows that are not yet in a segment in its place.
struct Lane {
    dir: PathBuf,
    schema: SchemaRef,
    /// What every segment of it says of itself.
    about: Vec<(String, String)>,
    source: String,
    label: String,
    /// Records up to this one are in segments.
    done_seq: u64,
    range: Option<Range>,
    writer: Option<SegmentWriter>,
    times: Vec<i64>,
    columns: Vec<Vec<f64>>,
    /// Rows of the segment that are written already.
    written: usize,
    /// Numbers of its frames: first, count.
    frames: Vec<(u64, u64)>,
}

struct Events {
    dir: PathBuf,
    about: Vec<(String, String)>,
    done_seq: u64,
    range: Option<Range>,
    rows: Vec<EventRow>,
}

/// Which records a segment under construction holds, and since when.
#[derive(Clone, Copy)]
struct Range {
    first_seq: u64,
    last_seq: u64,
    since: Instant,
}

impl Range {
    fn reach(range: &mut Option<Self>, seq: u64) {
        let now = || Self {
            first_seq: seq,
            last_seq: seq,
            since: Instant::now(),
        };
        range.get_or_insert_with(now).last_seq = seq;
    }
}

impl Lanes {
    pub(super) fn new(store: PathBuf, options: Options) -> Self {
        Self {
            store,
            options,
            run: None,
            open: BTreeMap::new(),
            events: None,
        }
    }

    pub(super) fn has_no_run(&self) -> bool {
        self.run.is_none()
    }

    /// Finishes what the run before has under construction.
    pub(super) fn begin_run(&mut self, run: RunRecord) -> Result<(), Error> {
        self.finish_all()?;
        self.open.clear();
        let dir = self.store.join(&run.run);
        layout::write_json(
            &dir,
            RUN,
            &serde_json::to_vec_pretty(&run).unwrap_or_default(),
        )?;
        let dir = dir.join(EVENTS);
        self.events = Some(Events {
            done_seq: layout::list(&dir)?.last_seq(),
            about: about(&run, &[("kymo.source", EVENTS)]),
            dir,
            range: None,
            rows: Vec::new(),
        });
        self.run = Some(run);
        Ok(())
    }

    /// Finishes the run with its ledger.
    pub(super) fn end_run(&mut self, ledger: &[u8]) -> Result<(), Error> {
        self.finish_all()?;
        match &self.run {
            Some(run) => layout::write_json(&self.store.join(&run.run), LEDGER, ledger),
            None => Ok(()),
        }
    }

    /// Forgets everything under construction: it will be read again.
    pub(super) fn give_up(&mut self) {
        self.open.clear();
        self.events = None;
        self.run = None;
    }

    /// The first record that is in no segment in its place.
    pub(super) fn first_open_seq(&self) -> Option<u64> {
        let lanes = self.open.values().filter_map(|lane| lane.range);
        let events = self.events.iter().filter_map(|events| events.range);
        lanes.chain(events).map(|range| range.first_seq).min()
    }

    /// Takes a block; whether a segment was finished by it.
    pub(super) fn push_block(&mut self, seq: u64, block: &DecodedBlock) -> Result<bool, Error> {
        let Some(run) = &self.run else {
            return Ok(false);
        };
        let summary = *block.summary();
        let key = (summary.source.0, summary.lane);
        let lane = match self.open.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                match Lane::new(&self.store, run, key)? {
                    Some(lane) => entry.insert(lane),
                    // The run record knows no such lane: a journal from elsewhere.
                    None => return Ok(false),
                }
            }
        };
        if let Some(events) = &mut self.events
            && seq > events.done_seq
            && !block.gaps().is_empty()
        {
            Range::reach(&mut events.range, seq);
            let gaps = block.gaps().iter();
            let rows = gaps.map(|gap| EventRow::of_gap(&lane.source, &lane.label, gap));
            events.rows.extend(rows);
        }
        if seq <= lane.done_seq || block.columns() != lane.columns.len() {
            return Ok(false);
        }
        lane.push(seq, block)?;
        if (lane.written + lane.times.len()) * block.columns() >= self.options.segment_values {
            lane.finish()?;
            return Ok(true);
        }
        self.bound_memory()
    }

    pub(super) fn push_event(
        &mut self,
        seq: u64,
        time_ns: i64,
        json: &[u8],
    ) -> Result<bool, Error> {
        let Some(events) = &mut self.events else {
            return Ok(false);
        };
        if seq > events.done_seq {
            Range::reach(&mut events.range, seq);
            events.rows.push(EventRow::of_json(time_ns, json));
        }
        Ok(false)
    }

    fn bound_memory(&mut self) -> Result<bool, Error> {
        let held = |lane: &Lane| lane.times.len() * (lane.columns.len() + 1);
        if self.open.values().map(held).sum::<usize>() <= HELD_VALUES_MAX {
            return Ok(false);
        }
        if let Some(largest) = self.open.values_mut().max_by_key(|lane| held(lane)) {
            largest.finish()?;
        }
        Ok(true)
    }

    /// Finishes what has waited long enough; whether anything was.
    pub(super) fn finish_aged(&mut self) -> Result<bool, Error> {
        let age = self.options.segment_age;
        let is_aged = |range: &Option<Range>| range.is_some_and(|r| r.since.elapsed() >= age);
        let mut any = false;
        for lane in self.open.values_mut().filter(|lane| is_aged(&lane.range)) {
            lane.finish()?;
            any = true;
        }
        if let Some(events) = self.events.as_mut().filter(|events| is_aged(&events.range)) {
            events.finish()?;
            any = true;
        }
        Ok(any)
    }

    pub(super) fn finish_all(&mut self) -> Result<(), Error> {
        for lane in self.open.values_mut() {
            lane.finish()?;
        }
        self.events.as_mut().map_or(Ok(()), Events::finish)
    }
}

/// Metadata of every segment of a run.
fn about(run: &RunRecord, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let common = [
        ("kymo.run", run.run.as_str()),
        ("kymo.started", &run.started),
        ("kymo.host", &run.host),
        ("kymo.version", &run.kymo),
    ];
    let all = common.iter().chain(more);
    all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

impl Lane {
    fn new(
        store: &std::path::Path,
        run: &RunRecord,
        (source, lane): (u16, u8),
    ) -> Result<Option<Self>, Error> {
        let (source, lane) = (usize::from(source), usize::from(lane));
        let (Some(name), Some(schema)) = (
            layout::lane_name(run, source, lane),
            table::schema(run, source, lane),
        ) else {
            return Ok(None);
        };
        let source = &run.sources[source];
        let dir = store.join(&run.run).join(&name);
        let priority = &source.lanes[lane].priority;
        let about = about(
            run,
            &[
                ("kymo.source", &source.name),
                ("kymo.lane", &name),
                ("kymo.priority", priority),
            ],
        );
        // In the schema too: that is where pyarrow looks.
        let metadata: std::collections::HashMap<_, _> = about.iter().cloned().collect();
        let schema = Arc::new(schema.as_ref().clone().with_metadata(metadata));
        Ok(Some(Self {
            // Of what was removed as well: it is not to come back out of the journal.
            done_seq: layout::list(&dir)?
                .last_seq()
                .max(removed::last_seq(&store.join(&run.run), &name)?),
            columns: vec![Vec::new(); schema.fields().len() - 1],
            dir,
            schema,
            about,
            source: source.name.clone(),
            label: source.lanes[lane].label().to_owned(),
            range: None,
            writer: None,
            times: Vec::new(),
            written: 0,
            frames: Vec::new(),
        }))
    }

    fn push(&mut self, seq: u64, block: &DecodedBlock) -> Result<(), Error> {
        Range::reach(&mut self.range, seq);
        self.times.extend_from_slice(block.times_ns());
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.extend_from_slice(block.column(index));
        }
        let (first, count) = (
            block.summary().first_frame,
            u64::from(block.summary().frames),
        );
        match self.frames.last_mut() {
            Some((start, length)) if *start + *length == first => *length += count,
            _ if count > 0 => self.frames.push((first, count)),
            _ => {}
        }
        while self.times.len() >= GROUP_ROWS {
            self.write_group(GROUP_ROWS)?;
        }
        Ok(())
    }

    /// Writes the first rows as a group.
    fn write_group(&mut self, rows: usize) -> Result<(), Error> {
        let cut = |values: &mut Vec<f64>| {
            let rest = values.split_off(rows);
            std::mem::replace(values, rest)
        };
        let rest = self.times.split_off(rows);
        let times = TimestampNanosecondArray::from(std::mem::replace(&mut self.times, rest));
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
        for column in &mut self.columns {
            arrays.push(Arc::new(Float64Array::from(cut(column))));
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| Error::parquet("write", &self.dir)(error.into()))?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(SegmentWriter::begin(
                &self.dir,
                "next",
                Arc::clone(&self.schema),
            )?),
        };
        writer.write_group(&batch)?;
        self.written += rows;
        Ok(())
    }

    /// Puts the segment in its place, if there is anything for one.
    fn finish(&mut self) -> Result<(), Error> {
        let Some(range) = self.range else {
            return Ok(());
        };
        if !self.times.is_empty() {
            self.write_group(self.times.len())?;
        }
        // Records of gaps alone have no rows here; the next segment's range begins behind them all the same.
        if let Some(writer) = self.writer.take() {
            let mut metadata = self.about.clone();
            let frames = std::mem::take(&mut self.frames);
            metadata.push(("kymo.first_seq".to_owned(), range.first_seq.to_string()));
            metadata.push(("kymo.last_seq".to_owned(), range.last_seq.to_string()));
            metadata.push((
                "kymo.frames".to_owned(),
                serde_json::json!(frames).to_string(),
            ));
            fail::point("before a segment is finished");
            writer.finish(range.first_seq, range.last_seq, metadata)?;
        }
        self.done_seq = range.last_seq;
        (self.range, self.written) = (None, 0);
        Ok(())
    }
}

impl Events {
    fn finish(&mut self) -> Result<(), Error> {
        let Some(range) = self.range else {
            return Ok(());
        };
        let batch = events::batch(self.rows.clone())
            .map_err(|error| Error::parquet("write", &self.dir)(error.into()))?;
        let metadata: std::collections::HashMap<_, _> = self.about.iter().cloned().collect();
        let schema = Arc::new(events::schema().as_ref().clone().with_metadata(metadata));
        let mut writer = SegmentWriter::begin(&self.dir, "next", Arc::clone(&schema))?;
        let batch = batch
            .with_schema(schema)
            .map_err(|error| Error::parquet("write", &self.dir)(error.into()))?;
        writer.write_group(&batch)?;
        let mut metadata = self.about.clone();
        metadata.push(("kymo.first_seq".to_owned(), range.first_seq.to_string()));
        metadata.push(("kymo.last_seq".to_owned(), range.last_seq.to_string()));
        writer.finish(range.first_seq, range.last_seq, metadata)?;
        self.rows.clear();
        self.done_seq = range.last_seq;
        self.range = None;
        Ok(())
    }
}
