//! Starts the sources' readers: what each is given of the plan, and of what was made for it.

use std::sync::Arc;

use kymo_drivers::block::SourceId;
use kymo_drivers::link::{Outlet, Stop};

use super::Error;
use super::tables::Table;
use crate::acquire::{Commands, Device, LaneOutput, Reader, ReaderOptions};
use crate::capture::Tap;
use crate::clock::Clock;
use crate::config::plan::{Plan, Source};
use crate::event::EventSender;
use crate::lanes::LaneSender;
use crate::ledger::Ledger;

/// What all readers have in common.
pub(super) struct Wiring<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tables: &'a [Table],
    pub(super) ledger: &'a Ledger,
    /// By source.
    pub(super) outlets: &'a [Outlet],
    pub(super) events: &'a EventSender,
    pub(super) stop: &'a Stop,
}

/// Starts a reader for each source, with its device and what time it is for it. `prepare`: what its thread does first.
pub(super) fn start<P: FnOnce() + Send + 'static>(
    wiring: &Wiring<'_>,
    (senders, taps): (Vec<(SourceId, u8, LaneSender)>, Vec<Tap>),
    devices: Vec<(Device, Clock)>,
    prepare: impl Fn(&Source) -> P,
) -> Result<Vec<Reader>, Error> {
    let mut taps = taps.into_iter();
    let sources = wiring.plan.sources.iter().enumerate();
    let parts = sources.zip(devices).zip(lanes(wiring, senders));
    let mut readers = Vec::with_capacity(wiring.plan.sources.len());
    for (((index, source), (device, clock)), lanes) in parts {
        let id = SourceId(u16::try_from(index).unwrap_or(u16::MAX));
        let protocol = source.protocol.build().map_err(|errors| Error::Protocol {
            name: source.name.clone(),
            what: errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        })?;
        // A device of the past has been told already.
        let commands = match &device {
            Device::Declared(_) => source.commands.clone(),
            Device::Open(_) => Commands::default(),
        };
        let options = ReaderOptions {
            name: source.name.clone(),
            source: id,
            device,
            protocol,
            commands,
            outlet: wiring.outlets[index].clone(),
            tap: taps.next(),
            lanes,
            block_frames: source.block_frames,
            time: source.time,
            reconnect: source.reconnect,
            counts: Arc::clone(wiring.ledger.source(id)),
            events: wiring.events.clone(),
            clock,
            stop: wiring.stop.clone(),
        };
        readers.push(Reader::start_with(options, prepare(source))?);
    }
    Ok(readers)
}

/// The lanes that each reader pushes into.
fn lanes(
    wiring: &Wiring<'_>,
    senders: Vec<(SourceId, u8, LaneSender)>,
) -> impl Iterator<Item = Vec<LaneOutput>> {
    let mut outputs: Vec<Vec<Option<LaneOutput>>> = wiring
        .tables
        .iter()
        .map(|table| table.layout.lanes.iter().map(|_| None).collect())
        .collect();
    for (source, lane, sender) in senders {
        let index = usize::from(source.0);
        let layout = &wiring.tables[index].layout.lanes[usize::from(lane)];
        let planned = &wiring.plan.sources[index];
        let queue = wiring.plan.journal.queue_blocks[layout.priority.index()];
        outputs[index][usize::from(lane)] = Some(LaneOutput {
            sender,
            columns: layout
                .columns
                .iter()
                .map(|c| planned.channels[*c].place)
                .collect(),
            // Waiting in the lane, waiting for the disk, in hand at either end, being filled, and, of a recording, first in order.
            blocks_max: planned.lane_blocks + queue + 5,
            block_age: layout.block_age,
        });
    }
    let outputs = outputs.into_iter();
    outputs.map(|lanes| lanes.into_iter().flatten().collect())
}
