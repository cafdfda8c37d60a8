//! Samples out of a capture: its bytes decoded, dated and calibrated as in a run.
//!
//! **Always holds.** Each source is read by itself, so that its frames come in their order however the reads of several interleave.
//! Windows and derived channels are in no capture, and are not computed here: a rule over one finds nothing recorded.

use std::collections::VecDeque;

use super::{Act, Decoded, Material, Piece};
use crate::capture::{Capture, Damage, Entries, Error, Selection};
use crate::config::plan::{Plan, Source};

/// A capture, as far as a plan has its sources.
pub struct CaptureMaterial<'a> {
    act: Option<Act>,
    lanes: Vec<Lane<'a>>,
    damage: Vec<Damage>,
}

/// One source's frames.
struct Lane<'a> {
    /// None: it is read to its end.
    entries: Option<Entries<'a>>,
    decoded: Decoded,
    last_ns: i64,
    ready: VecDeque<Piece>,
}

impl<'a> CaptureMaterial<'a> {
    /// What the capture has of the plan's sources, within the range of `selection`.
    ///
    /// # Errors
    /// What stands in the way of a source's protocol.
    pub fn new(capture: &'a Capture, selection: &Selection, plan: &Plan) -> Result<Self, String> {
        let mut lanes = Vec::new();
        let mut channels = Vec::new();
        for (planned, source) in plan.sources.iter().enumerate() {
            let Some(place) = capture.source(&source.name) else {
                continue;
            };
            let entries = capture.entries(Selection {
                sources: Some(vec![place]),
                ..selection.clone()
            });
            lanes.push(Lane::new(entries, source)?);
            channels.push((0..source.channels.len()).map(move |channel| (planned, channel)));
        }
        let described = capture.described();
        let start_ns = selection.from_ns.unwrap_or(i64::MIN);
        let act = Act {
            name: described.run.clone(),
            start_ns: described.started_ns.max(start_ns),
            lanes: channels.into_iter().map(Iterator::collect).collect(),
        };
        Ok(Self {
            act: Some(act),
            lanes,
            damage: capture.damage().to_vec(),
        })
    }

    /// What of the capture could not be read so far.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    fn next_lane(&self) -> Option<usize> {
        let lanes = self.lanes.iter().enumerate();
        let first = |(place, lane): (usize, &Lane<'_>)| Some((lane.first_ns()?, place));
        lanes.filter_map(first).min().map(|(_, place)| place)
    }
}

impl<'a> Lane<'a> {
    fn new(entries: Entries<'a>, source: &Source) -> Result<Self, String> {
        Ok(Self {
            entries: Some(entries),
            decoded: Decoded::new(source)?,
            last_ns: 0,
            ready: VecDeque::new(),
        })
    }

    fn first_ns(&self) -> Option<i64> {
        self.ready.front()?.times_ns.first().copied()
    }

    /// Reads until there is a piece, or nothing more comes.
    fn fill(&mut self, place: usize, damage: &mut Vec<Damage>) -> Result<(), Error> {
        while self.ready.is_empty() {
            let Some(entries) = &mut self.entries else {
                return Ok(());
            };
            let entry = entries.next().transpose()?;
            damage.append(&mut entries.take_damage());
            match entry {
                Some(entry) => {
                    self.last_ns = entry.time_ns;
                    self.decoded.take(entry.time_ns, &entry.what);
                }
                None => {
                    self.entries = None;
                    self.decoded.ended(self.last_ns);
                }
            }
            self.collect(place);
        }
        Ok(())
    }

    fn collect(&mut self, place: usize) {
        while let Some(block) = self.decoded.next_block() {
            let frames = block.frames.len();
            if frames == 0 {
                continue;
            }
            let columns = 0..block.frames.channels();
            self.ready.push_back(Piece {
                lane: place,
                times_ns: (0..frames).map(|frame| block.time_ns(frame)).collect(),
                columns: columns
                    .map(|column| block.frames.column(column).to_vec())
                    .collect(),
            });
        }
    }
}

impl Material for CaptureMaterial<'_> {
    type Error = Error;

    fn next_act(&mut self) -> Result<Option<Act>, Error> {
        let act = self.act.take();
        if act.is_some() {
            for (place, lane) in self.lanes.iter_mut().enumerate() {
                lane.fill(place, &mut self.damage)?;
            }
        }
        Ok(act)
    }

    fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        let Some(place) = self.next_lane() else {
            return Ok(None);
        };
        let lane = &mut self.lanes[place];
        let piece = lane.ready.pop_front();
        lane.fill(place, &mut self.damage)?;
        Ok(piece)
    }

    fn next_ns(&self) -> Option<i64> {
        self.lanes[self.next_lane()?].first_ns()
    }
}
