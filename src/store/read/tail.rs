//! The journal's tail: what of a run is in no segment yet.

use crate::journal::{BlockSummary, DecodedBlock, Filter, From, Kind, Next, Reader, Record, Until};
use crate::run_record::{LaneRecord, RunRecord};
use crate::store::Error;
use crate::store::events::EventRow;

use super::{Archive, Run};

pub(super) struct Tail {
    reader: Reader,
    run: RunRecord,
    first_seq: u64,
    end_seq: Option<u64>,
    block: DecodedBlock,
    /// Records that are damaged.
    pub(super) lost_records: u64,
}

/// Whether [`Tail::visit`] goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// With the next record.
    GoOn,
    /// Not now.
    Stop,
}

impl Tail {
    /// From a record on; of one source, or of all.
    pub(super) fn open(
        archive: &Archive,
        run: &Run,
        from_seq: u64,
        source: Option<u16>,
    ) -> Result<Self, Error> {
        // While somebody writes, only what is committed is final.
        let until = if archive.in_use {
            Until::Stated
        } else {
            Until::Written
        };
        let kinds = Some(vec![Kind::Run, Kind::Block, Kind::Event, Kind::Ledger]);
        let filter = Filter {
            kinds,
            sources: source.map(|source| vec![source]),
        };
        Ok(Self {
            reader: Reader::open(&archive.journal, From::Seq(from_seq), until, filter)?,
            run: run.record.clone(),
            first_seq: run.first_seq.unwrap_or(0),
            end_seq: run.end_seq,
            block: DecodedBlock::default(),
            lost_records: 0,
        })
    }

    /// Shows one record after another, until there is none for now or `take` has enough. False: there is none.
    pub(super) fn visit(
        &mut self,
        mut take: impl FnMut(&RunRecord, Record<'_>, &mut DecodedBlock) -> Result<Then, Error>,
    ) -> Result<bool, Error> {
        loop {
            match self.reader.next()? {
                Next::End => return Ok(false),
                Next::Lost(lost) => self.lost_records += lost.to_seq - lost.from_seq + 1,
                Next::Record(record) => {
                    let is_behind = self.end_seq.is_some_and(|end| record.seq >= end);
                    // A run that began after the runs were listed.
                    let is_next = record.kind == Some(Kind::Run)
                        && !record.is_repeated
                        && record.seq > self.first_seq;
                    if is_behind || is_next {
                        self.end_seq = Some(self.end_seq.unwrap_or(record.seq).min(record.seq));
                        return Ok(false);
                    }
                    if take(&self.run, record, &mut self.block)? == Then::Stop {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// The next block of a lane of the source.
    pub(super) fn next_block(&mut self, lane: u8) -> Result<Option<&DecodedBlock>, Error> {
        let found = self.visit(|_, record, block| {
            if record.kind != Some(Kind::Block) {
                return Ok(Then::GoOn);
            }
            block.decode(record.payload)?;
            let is_wanted = block.summary().lane == lane;
            Ok(if is_wanted { Then::Stop } else { Then::GoOn })
        })?;
        Ok(found.then_some(&self.block))
    }

    /// Has all events and gaps looked at.
    pub(super) fn events(&mut self, mut look: impl FnMut(EventRow)) -> Result<(), Error> {
        self.visit(|run, record, block| {
            match record.kind {
                Some(Kind::Event) => {
                    look(EventRow::of_json(record.t_first_ns, record.payload));
                }
                Some(Kind::Block) => gaps_of(run, record, block)?.into_iter().for_each(&mut look),
                _ => {}
            }
            Ok(Then::GoOn)
        })?;
        Ok(())
    }
}

/// The gaps of a block record. Its values are decoded only if there are any.
pub(super) fn gaps_of(
    run: &RunRecord,
    record: Record<'_>,
    block: &mut DecodedBlock,
) -> Result<Vec<EventRow>, Error> {
    if BlockSummary::parse(record.payload)?.gaps == 0 {
        return Ok(Vec::new());
    }
    block.decode(record.payload)?;
    let summary = block.summary();
    let source = run.sources.get(usize::from(summary.source.0));
    let name = source.map_or("?", |source| source.name.as_str());
    let lane = source.and_then(|source| source.lanes.get(usize::from(summary.lane)));
    let label = lane.map_or(summary.priority.name(), LaneRecord::label);
    let gaps = block.gaps().iter();
    Ok(gaps.map(|gap| EventRow::of_gap(name, label, gap)).collect())
}
