//! The journal's tail: what of a run is in no segment yet.

use crate::journal::{DecodedBlock, Filter, From, Kind, Next, Reader, Until};
use crate::run_record::RunRecord;
use crate::store::Error;
use crate::store::events::EventRow;

use super::{Archive, Run};

pub(super) struct Tail {
    reader: Reader,
    run: RunRecord,
    end_seq: Option<u64>,
    block: DecodedBlock,
    /// Records that are damaged.
    pub(super) lost_records: u64,
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
        let kinds = Some(vec![Kind::Run, Kind::Block, Kind::Event]);
        let filter = Filter {
            kinds,
            sources: source.map(|source| vec![source]),
        };
        Ok(Self {
            reader: Reader::open(&archive.journal, From::Seq(from_seq), until, filter)?,
            run: run.record.clone(),
            end_seq: run.end_seq,
            block: DecodedBlock::default(),
            lost_records: 0,
        })
    }

    /// The next block of a lane of the source.
    pub(super) fn next_block(&mut self, lane: u8) -> Result<Option<&DecodedBlock>, Error> {
        loop {
            match self.reader.next()? {
                Next::End => return Ok(None),
                Next::Lost(lost) => self.lost_records += lost.to_seq - lost.from_seq + 1,
                Next::Record(record) => {
                    if self.end_seq.is_some_and(|end| record.seq >= end) {
                        return Ok(None);
                    }
                    if record.kind != Some(Kind::Block) {
                        continue;
                    }
                    self.block.decode(record.payload)?;
                    if self.block.summary().lane == lane {
                        break;
                    }
                }
            }
        }
        Ok(Some(&self.block))
    }

    /// All events and gaps.
    pub(super) fn events(&mut self, rows: &mut Vec<EventRow>) -> Result<(), Error> {
        loop {
            match self.reader.next()? {
                Next::End => return Ok(()),
                Next::Lost(lost) => self.lost_records += lost.to_seq - lost.from_seq + 1,
                Next::Record(record) => {
                    if self.end_seq.is_some_and(|end| record.seq >= end) {
                        return Ok(());
                    }
                    match record.kind {
                        Some(Kind::Event) => {
                            rows.push(EventRow::of_json(record.t_first_ns, record.payload));
                        }
                        Some(Kind::Block) => {
                            self.block.decode(record.payload)?;
                            let summary = self.block.summary();
                            let source = self.run.sources.get(usize::from(summary.source.0));
                            let name = source.map_or("?", |source| source.name.as_str());
                            let gaps = self.block.gaps().iter();
                            rows.extend(
                                gaps.map(|gap| EventRow::of_gap(name, summary.priority, gap)),
                            );
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
