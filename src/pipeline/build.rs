//! What the rooms are given, made from the plan.

use std::sync::Arc;

use kymo_drivers::block::SourceId;
use kymo_drivers::link::recorded::VirtualTime;

use super::layout::{self, Kind};
use super::tables::Table;
use crate::clock::rfc3339;
use crate::config::plan::Plan;
use crate::journal;
use crate::lanes::{LaneOptions, LaneSender, LanesBuilder};
use crate::ledger::Ledger;
use crate::run_record::{ChannelRecord, LaneRecord, RunRecord, SourceRecord};
use crate::stage::ChannelOptions;

/// The lanes of a plan; `times`: of recordings, one for each source.
pub(super) fn lanes(
    plan: &Plan,
    tables: &[Table],
    ledger: &Ledger,
    times: Option<Vec<VirtualTime>>,
) -> (
    crate::lanes::Intake,
    crate::lanes::StageGate,
    Vec<(SourceId, u8, LaneSender)>,
) {
    let mut builder = times.map_or_else(LanesBuilder::default, LanesBuilder::in_order);
    for (index, (source, table)) in plan.sources.iter().zip(tables).enumerate() {
        let id = SourceId(u16::try_from(index).unwrap_or(u16::MAX));
        let lanes = table.layout.lanes.iter().enumerate();
        for (number, lane) in lanes.filter(|(_, lane)| lane.kind == Kind::Raw) {
            builder.add(LaneOptions {
                source: id,
                lane: u8::try_from(number).unwrap_or(u8::MAX),
                priority: lane.priority,
                overflow: source.overflow,
                depth: source.lane_blocks,
                counts: Arc::clone(ledger.source(id)),
            });
        }
    }
    builder.build()
}

/// A source's channels, as the stage wants them.
pub(super) fn stage_channels(table: &Table) -> Vec<ChannelOptions> {
    let channels = table.channels.iter().enumerate();
    channels
        .map(|(place, channel)| ChannelOptions {
            lane: table.layout.lane_of(place),
            calibration: channel.calibration.clone(),
        })
        .collect()
}

/// For every lane's columns, how values were made of integers, where they were.
pub(super) fn quanta(tables: &[Table]) -> journal::Quanta {
    let of_table = |table: &Table| {
        let of_lane = |lane: &layout::LaneLayout| {
            lane.columns
                .iter()
                .map(|column| table.channels[*column].quantum)
                .collect()
        };
        table.layout.lanes.iter().map(of_lane).collect()
    };
    journal::Quanta(tables.iter().map(of_table).collect())
}

/// What makes the journal readable alone.
pub(super) fn run_record(plan: &Plan, tables: &[Table], id: &str, started_ns: i64) -> RunRecord {
    let of_lane = |table: &Table, lane: &layout::LaneLayout| LaneRecord {
        priority: lane.priority.name().to_owned(),
        kind: lane.kind.name().to_owned(),
        label: lane.label.clone(),
        channels: lane
            .columns
            .iter()
            .map(|place| of_channel(table, *place))
            .collect(),
    };
    let of_table = |table: &Table| SourceRecord {
        name: table.name.clone(),
        rate_hz: table.rate_hz,
        lanes: table
            .layout
            .lanes
            .iter()
            .map(|lane| of_lane(table, lane))
            .collect(),
    };
    RunRecord {
        run: id.to_owned(),
        started: rfc3339(started_ns),
        started_ns,
        kymo: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(),
        sources: tables.iter().map(of_table).collect(),
        configuration: plan.text.clone(),
    }
}

/// The name of this host.
pub(super) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

fn of_channel(table: &Table, place: usize) -> ChannelRecord {
    let channel = &table.channels[place];
    ChannelRecord {
        place,
        name: channel.name.clone(),
        unit: channel.unit.clone(),
        calibration: channel
            .computed
            .clone()
            .unwrap_or_else(|| format!("{:?}", channel.calibration)),
    }
}
