//! What the rooms are given, made from the plan.

use std::sync::Arc;

use kymo_drivers::block::SourceId;

use super::layout::{self, Layout};
use crate::clock::rfc3339;
use crate::config::plan::{Plan, Source};
use crate::journal;
use crate::lanes::{LaneOptions, LaneSender, LanesBuilder};
use crate::ledger::Ledger;
use crate::run_record::{ChannelRecord, LaneRecord, RunRecord, SourceRecord};
use crate::stage::ChannelOptions;

/// The lanes of a plan.
pub(super) fn lanes(
    plan: &Plan,
    layouts: &[Layout],
    ledger: &Ledger,
) -> (
    crate::lanes::Intake,
    crate::lanes::StageGate,
    Vec<(SourceId, u8, LaneSender)>,
) {
    let mut builder = LanesBuilder::default();
    for (index, (source, layout)) in plan.sources.iter().zip(layouts).enumerate() {
        let id = SourceId(u16::try_from(index).unwrap_or(u16::MAX));
        for (number, lane) in layout.lanes.iter().enumerate() {
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
pub(super) fn stage_channels(source: &Source, layout: &Layout) -> Vec<ChannelOptions> {
    let channels = source.channels.iter().enumerate();
    channels
        .map(|(place, channel)| ChannelOptions {
            lane: layout.lane_of(place),
            calibration: channel.calibration.clone(),
        })
        .collect()
}

/// For every lane's columns, how values were made of integers, where they were.
pub(super) fn quanta(plan: &Plan, layouts: &[Layout]) -> journal::Quanta {
    let of_source = |(source, layout): (&Source, &Layout)| {
        let of_lane = |lane: &layout::LaneLayout| {
            lane.columns
                .iter()
                .map(|column| source.channels[*column].quantum)
                .collect()
        };
        layout.lanes.iter().map(of_lane).collect()
    };
    journal::Quanta(plan.sources.iter().zip(layouts).map(of_source).collect())
}

/// What makes the journal readable alone.
pub(super) fn run_record(plan: &Plan, layouts: &[Layout], id: &str, started_ns: i64) -> RunRecord {
    let of_lane = |source: &Source, lane: &layout::LaneLayout| LaneRecord {
        priority: lane.priority.name().to_owned(),
        kind: "raw".to_owned(),
        channels: lane
            .columns
            .iter()
            .map(|place| of_channel(source, *place))
            .collect(),
    };
    let of_source = |(source, layout): (&Source, &Layout)| SourceRecord {
        name: source.name.clone(),
        rate_hz: source.rate_hz,
        lanes: layout
            .lanes
            .iter()
            .map(|lane| of_lane(source, lane))
            .collect(),
    };
    RunRecord {
        run: id.to_owned(),
        started: rfc3339(started_ns),
        started_ns,
        kymo: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(),
        sources: plan.sources.iter().zip(layouts).map(of_source).collect(),
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

fn of_channel(source: &Source, place: usize) -> ChannelRecord {
    let channel = &source.channels[place];
    ChannelRecord {
        place,
        name: channel.name.clone(),
        unit: channel.unit.clone(),
        calibration: format!("{:?}", channel.calibration),
    }
}
