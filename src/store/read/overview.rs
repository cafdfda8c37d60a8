//! What there is of a run, without decoding a value: out of the segments' footers, and the heads of the blocks in
//! the journal's tail.

use std::path::Path;

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::lane::{removed_seq, times_of};
use super::tail::{Then, gaps_of};
use super::{Archive, Range, Run};
use crate::journal::{BlockSummary, Kind};
use crate::store::Error;
use crate::store::events::EventRow;
use crate::store::layout::{self, EVENTS, LEDGER};

/// What there is of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overview {
    /// Its lanes, by source and lane as in the run's record.
    pub lanes: Vec<LaneOverview>,
    /// Alerts, connections, clock steps; without gaps.
    pub events: u64,
    /// Whether it was closed in order.
    pub is_closed: bool,
    /// Records of the journal that are damaged.
    pub lost_records: u64,
}

/// What there is of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneOverview {
    /// The source, by its place in the run's record.
    pub source: usize,
    /// The lane, by its place in the source.
    pub lane: usize,
    /// The name of its directory.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// How many of them are in no segment yet.
    pub journal_rows: u64,
    /// The first and the last time, UTC ns.
    pub times_ns: Option<(i64, i64)>,
    /// Its segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Gaps.
    pub gaps: u64,
    /// Frames missing in them, as far as that is known.
    pub gap_frames: u64,
    /// Gaps of which nobody knows how many frames they took.
    pub gaps_unknown: u64,
    /// Records up to this one are in segments.
    done_seq: u64,
}

impl LaneOverview {
    fn add(&mut self, rows: u64, first_ns: i64, last_ns: i64) {
        if rows > 0 {
            self.rows += rows;
            let (first, last) = self.times_ns.unwrap_or((first_ns, last_ns));
            self.times_ns = Some((first.min(first_ns), last.max(last_ns)));
        }
    }

    fn add_segments(&mut self, dir: &Path) -> Result<(), Error> {
        let listing = layout::list(dir)?;
        self.done_seq = listing.last_seq().max(removed_seq(dir)?);
        for segment in &listing.segments {
            let file = std::fs::File::open(&segment.path);
            let file = file.map_err(Error::io("open", &segment.path))?;
            let footer = ArrowReaderMetadata::load(&file, Default::default())
                .map_err(Error::parquet("read", &segment.path))?;
            for group in footer.metadata().row_groups() {
                if let Some((first_ns, last_ns)) = times_of(group) {
                    let rows = u64::try_from(group.num_rows()).unwrap_or(0);
                    self.add(rows, first_ns, last_ns);
                }
            }
            self.segments += 1;
            self.bytes += segment.bytes;
        }
        Ok(())
    }
}

impl Archive {
    /// What there is of a run, also while it goes on.
    ///
    /// # Errors
    /// If journal or store cannot be read.
    pub fn overview(&self, run: &Run) -> Result<Overview, Error> {
        super::again_if_gone(|| self.try_overview(run))
    }

    fn try_overview(&self, run: &Run) -> Result<Overview, Error> {
        let run_dir = self.store.join(&run.record.run);
        let mut overview = Overview {
            is_closed: run_dir.join(LEDGER).exists(),
            ..Overview::default()
        };
        // Before the listings: what is finished meanwhile is then in the journal all the same.
        let cursor = self.cursor()?;
        for (source, record) in run.record.sources.iter().enumerate() {
            for lane in 0..record.lanes.len() {
                let mut found = LaneOverview {
                    source,
                    lane,
                    name: layout::lane_name(&run.record, source, lane).unwrap_or_default(),
                    ..LaneOverview::default()
                };
                found.add_segments(&run_dir.join(&found.name))?;
                overview.lanes.push(found);
            }
        }
        let mut events = Vec::new();
        let events_seq = self.stored_events(run, |event| events.push(event))?;
        let stored_seq = overview.lanes.iter().map(|lane| lane.done_seq);
        let stored_seq = stored_seq.chain([events_seq]).min().unwrap_or(0);
        if let Some(mut tail) = self.tail(run, cursor, stored_seq, None)? {
            tail.visit(|record_of_run, record, block| {
                match record.kind {
                    Some(Kind::Ledger) => overview.is_closed = true,
                    Some(Kind::Event) if record.seq > events_seq => {
                        events.push(EventRow::of_json(record.t_first_ns, record.payload));
                    }
                    Some(Kind::Block) => {
                        let summary = BlockSummary::parse(record.payload)?;
                        let place = (usize::from(summary.source.0), usize::from(summary.lane));
                        let lane = overview.lanes.iter_mut();
                        let mut lane = lane.filter(|lane| (lane.source, lane.lane) == place);
                        if let Some(lane) = lane.next().filter(|lane| record.seq > lane.done_seq) {
                            let rows = u64::from(summary.frames);
                            lane.journal_rows += rows;
                            lane.add(rows, record.t_first_ns, record.t_last_ns);
                        }
                        if record.seq > events_seq {
                            events.extend(gaps_of(record_of_run, record, block)?);
                        }
                    }
                    _ => {}
                }
                Ok(Then::GoOn)
            })?;
            overview.lost_records = tail.lost_records;
        }
        for event in &events {
            overview.count(run, event);
        }
        Ok(overview)
    }

    /// The events of a run that begin within a range, in order of time: alerts, gaps and others.
    ///
    /// # Errors
    /// If journal or store cannot be read.
    pub fn events(&self, run: &Run, range: Range) -> Result<Vec<EventRow>, Error> {
        let (rows, _) = self.newest_events(run, range, usize::MAX, |_| true)?;
        Ok(rows)
    }

    /// Of these the newest that are wanted, at most so many, and whether that is all. No more than twice as many are held
    /// while they are looked for.
    ///
    /// # Errors
    /// If journal or store cannot be read.
    pub fn newest_events(
        &self,
        run: &Run,
        range: Range,
        limit: usize,
        is_wanted: impl Fn(&EventRow) -> bool,
    ) -> Result<(Vec<EventRow>, bool), Error> {
        super::again_if_gone(|| {
            // Before the listing: what is finished meanwhile is then in the journal all the same.
            let cursor = self.cursor()?;
            let mut newest = Newest::new(limit);
            let mut look = |row: EventRow| {
                if range.contains(row.time_ns) && is_wanted(&row) {
                    newest.push(row);
                }
            };
            let stored_seq = self.stored_events(run, &mut look)?;
            if let Some(mut tail) = self.tail(run, cursor, stored_seq, None)? {
                tail.events(&mut look)?;
            }
            Ok(newest.finish())
        })
    }

    /// Has the events that are in segments looked at; up to which record they are.
    fn stored_events(&self, run: &Run, mut look: impl FnMut(EventRow)) -> Result<u64, Error> {
        let listing = layout::list(&self.store.join(&run.record.run).join(EVENTS))?;
        for segment in &listing.segments {
            crate::store::events::read(&segment.path, &mut look)?;
        }
        Ok(listing.last_seq())
    }
}

/// The newest of what comes in any order.
struct Newest {
    rows: Vec<EventRow>,
    limit: usize,
    is_all: bool,
}

impl Newest {
    fn new(limit: usize) -> Self {
        Self {
            rows: Vec::new(),
            limit,
            is_all: true,
        }
    }

    fn push(&mut self, row: EventRow) {
        self.rows.push(row);
        if self.rows.len() >= self.limit.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.rows.sort_by_key(|row| row.time_ns);
        let over = self.rows.len().saturating_sub(self.limit);
        self.rows.drain(..over);
        self.is_all &= over == 0;
    }

    /// In order of time, and whether there were no others.
    fn finish(mut self) -> (Vec<EventRow>, bool) {
        self.cut();
        (self.rows, self.is_all)
    }
}

impl Overview {
    fn count(&mut self, run: &Run, event: &EventRow) {
        if event.event != "gap" {
            self.events += 1;
            return;
        }
        let is_of = |lane: &&mut LaneOverview| {
            let source = &run.record.sources[lane.source];
            event.source.as_ref() == Some(&source.name)
                && event.priority.as_deref() == Some(source.lanes[lane.lane].label())
        };
        if let Some(lane) = self.lanes.iter_mut().find(is_of) {
            lane.gaps += 1;
            match event.frames {
                Some(frames) => lane.gap_frames += frames,
                None => lane.gaps_unknown += 1,
            }
        }
    }
}
