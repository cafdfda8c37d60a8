//! The tables of a run: every source's channels and lanes, those that are computed among them.
//!
//! A source's windows are lanes behind those of its device, and their results are channels behind its own. Derived
//! sources stand behind the last that is read.

use std::time::Duration;

use kymo_drivers::block::{Priority, SourceId};

use super::layout::{Kind, LaneLayout, Layout};
use crate::compute::align::Moments;
use crate::config::plan::{self, Derived, DerivedMoments, Plan, RawKeep, Source, Window};
use crate::stage::calibrate::Calibration;
use crate::stage::computed::{self, ComputedOptions, LaneColumns, MachineOptions, Work};
use crate::stage::{AroundOptions, Keep};

/// A source, as it is recorded.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) rate_hz: Option<f64>,
    pub(super) channels: Vec<TableChannel>,
    pub(super) layout: Layout,
    block_frames: usize,
}

/// A channel, as it is recorded.
#[derive(Debug, Clone)]
pub(super) struct TableChannel {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) calibration: Calibration,
    /// Where its values come from, if not from a device.
    pub(super) computed: Option<String>,
    pub(super) quantum: Option<(f64, f64)>,
}

/// All sources, in the order of their numbers.
pub(super) fn tables(plan: &Plan) -> Vec<Table> {
    let mut tables: Vec<Table> = plan.sources.iter().map(of_source).collect();
    tables.extend(plan.computed.derived.iter().map(of_derived));
    for window in &plan.computed.windows {
        add_window(&mut tables[window.source], window);
    }
    tables
}

fn of_source(source: &Source) -> Table {
    let channels = source.channels.iter().map(|channel| TableChannel {
        name: channel.name.clone(),
        unit: channel.unit.clone(),
        calibration: channel.calibration.clone(),
        computed: None,
        quantum: channel.quantum,
    });
    Table {
        name: source.name.clone(),
        rate_hz: source.rate_hz,
        channels: channels.collect(),
        layout: Layout::new(source),
        block_frames: source.block_frames,
    }
}

fn of_derived(derived: &Derived) -> Table {
    let channels = derived.channels.iter().map(|channel| TableChannel {
        name: channel.name.clone(),
        unit: channel.unit.clone(),
        calibration: Calibration::None,
        computed: Some("expression".to_owned()),
        quantum: None,
    });
    let lane = LaneLayout {
        priority: derived.priority,
        columns: (0..derived.channels.len()).collect(),
        block_age: Duration::ZERO,
        kind: Kind::Derived,
        label: None,
    };
    Table {
        name: derived.name.clone(),
        rate_hz: derived.rate_hz,
        channels: channels.collect(),
        layout: Layout { lanes: vec![lane] },
        block_frames: derived.block_frames,
    }
}

fn add_window(table: &mut Table, window: &Window) {
    let first = table.channels.len();
    let channels = window.channels.iter().map(|(name, unit)| TableChannel {
        name: name.clone(),
        unit: unit.clone(),
        calibration: Calibration::None,
        computed: Some(format!("window {:?}", window.options.span)),
        quantum: None,
    });
    table.channels.extend(channels);
    let plain = format!("window-{}", window.suffix);
    let is_taken = |label: &str| {
        table
            .layout
            .lanes
            .iter()
            .any(|lane| lane.label.as_deref() == Some(label))
    };
    // Of several lanes of the source, or of several windows of one length.
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let label = std::iter::once(plain.clone())
        .chain(numbered)
        .find(|label| !is_taken(label));
    table.layout.lanes.push(LaneLayout {
        priority: window.priority,
        columns: (first..table.channels.len()).collect(),
        block_age: Duration::ZERO,
        kind: Kind::Window,
        label,
    });
}

/// Where a channel is: lane and column.
fn place_of(table: &Table, channel: usize) -> (u8, usize) {
    let lanes = table.layout.lanes.iter().enumerate();
    let mut found = lanes.filter_map(|(number, lane)| {
        let column = lane.columns.iter().position(|place| *place == channel)?;
        Some((u8::try_from(number).unwrap_or(u8::MAX), column))
    });
    // Every channel is in a lane.
    found.next().unwrap_or((0, 0))
}

fn id(source: usize) -> SourceId {
    SourceId(u16::try_from(source).unwrap_or(u16::MAX))
}

/// A rule over several lanes waits so long for one of them.
const JOINED_LATE: Duration = Duration::from_secs(1);

/// What is written down of each lane.
pub(super) fn keep(plan: &Plan, tables: &[Table]) -> Vec<Vec<Keep>> {
    // Derived sources stand behind those that are read, and are kept.
    let declared = plan.sources.iter().map(|source| Some(&source.keep));
    let declared = declared.chain(std::iter::repeat(None));
    let late_ns = alerts_late_ns(plan);
    let of_table = |(table, declared): (&Table, Option<&plan::Keep>)| {
        let lanes = table.layout.lanes.iter();
        let of_lane = |lane: &LaneLayout| {
            declared.map_or(Keep::All, |keep| keep_lane(table, lane, keep, late_ns))
        };
        lanes.map(of_lane).collect()
    };
    tables.iter().zip(declared).map(of_table).collect()
}

/// How long after its time an alert can be seen, at most.
fn alerts_late_ns(plan: &Plan) -> i64 {
    let windows = plan.computed.windows.iter();
    let window_ns = windows.map(|window| window.options.lateness_ns).max();
    let derived = plan.computed.derived.iter();
    let derived = derived.map(|derived| derived.lateness).max();
    let joined_ns = ns(JOINED_LATE).saturating_add(ns(derived.unwrap_or_default()));
    joined_ns.saturating_add(window_ns.unwrap_or(0))
}

fn keep_lane(table: &Table, lane: &LaneLayout, keep: &plan::Keep, late_ns: i64) -> Keep {
    match (lane.kind, &keep.raw) {
        (Kind::Window, _) if keep.windows => Keep::All,
        (Kind::Window, _) | (Kind::Raw, RawKeep::Nothing) => Keep::Nothing,
        (Kind::Raw, RawKeep::All) | (Kind::Derived, _) => Keep::All,
        (
            Kind::Raw,
            RawKeep::Around {
                before,
                after,
                rules,
            },
        ) => {
            let held_ns = ns(*before).saturating_add(late_ns);
            // The configuration has seen to it that the rate is known.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss
            )]
            let frames = (table.rate_hz.unwrap_or(1.0) * held_ns as f64 / 1e9).ceil() as usize;
            Keep::Around(AroundOptions {
                before_ns: ns(*before),
                after_ns: ns(*after),
                late_ns,
                rules: rules.clone(),
                channels: lane.columns.len(),
                block_frames: table.block_frames,
                frames: frames.max(1),
            })
        }
    }
}

/// What the stage computes.
pub(super) fn computed(plan: &Plan, tables: &[Table]) -> Option<ComputedOptions> {
    let computed = &plan.computed;
    if computed.derived.is_empty() && computed.windows.is_empty() {
        return None;
    }
    let mut next_lane: Vec<usize> = (0..tables.len())
        .map(|source| {
            tables[source]
                .layout
                .lanes
                .iter()
                .filter(|l| l.kind != Kind::Window)
                .count()
        })
        .collect();
    let mut machines = Vec::new();
    for window in &computed.windows {
        let table = &tables[window.source];
        let lane = next_lane[window.source];
        next_lane[window.source] += 1;
        let inputs = inputs(
            tables,
            window.inputs.iter().map(|place| (window.source, *place)),
        );
        machines.push(MachineOptions {
            source: id(window.source),
            lane: u8::try_from(lane).unwrap_or(u8::MAX),
            priority: window.priority,
            channels: window.channels.len(),
            block_frames: WINDOW_BLOCK_FRAMES,
            blocks_max: blocks_max(plan, window.priority),
            inputs,
            is_heavy: window
                .options
                .statistics
                .iter()
                .any(|statistic| statistic.is_heavy()),
            work: Work::Windows(window.options.clone()),
        });
        debug_assert!(lane < table.layout.lanes.len());
    }
    let mut lateness = Duration::from_secs(1);
    for (index, derived) in computed.derived.iter().enumerate() {
        lateness = lateness.max(derived.lateness);
        machines.push(machine(plan, tables, plan.sources.len() + index, derived));
    }
    Some(ComputedOptions {
        machines,
        lateness_ns: ns(lateness),
    })
}

/// Results of windows in a block at most: a second of a kilohertz.
const WINDOW_BLOCK_FRAMES: usize = 256;

fn ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Waiting for the disk, being computed, and in hand at either end.
fn blocks_max(plan: &Plan, priority: Priority) -> usize {
    plan.journal.queue_blocks[priority.index()] + 64
}

fn machine(plan: &Plan, tables: &[Table], source: usize, derived: &Derived) -> MachineOptions {
    let used = derived
        .channels
        .iter()
        .flat_map(|channel| channel.inputs.iter().copied());
    // The one that makes the moments first.
    let clock = match derived.moments {
        DerivedMoments::Channel(source, channel) => Some((source, channel)),
        DerivedMoments::Every(_) => None,
    };
    let inputs = inputs(tables, clock.into_iter().chain(used));
    let moments = match derived.moments {
        DerivedMoments::Channel(..) => Moments::Stream(0),
        DerivedMoments::Every(every) => Moments::Every(ns(every)),
    };
    let place = |(source, channel): &(usize, usize)| {
        let (lane, column) = place_of(&tables[*source], *channel);
        let input = inputs
            .iter()
            .position(|i| (i.source, i.lane) == (id(*source), lane));
        let input = input.unwrap_or(0);
        let column = inputs[input]
            .columns
            .iter()
            .position(|known| *known == column);
        (input, column.unwrap_or(0))
    };
    let channels = derived.channels.iter().map(|channel| computed::Derived {
        expression: channel.expression.clone(),
        inputs: channel.inputs.iter().map(place).collect(),
        conversion: channel.conversion,
    });
    MachineOptions {
        source: id(source),
        lane: 0,
        priority: derived.priority,
        channels: derived.channels.len(),
        block_frames: derived.block_frames,
        blocks_max: blocks_max(plan, derived.priority),
        is_heavy: derived
            .channels
            .iter()
            .any(|channel| channel.expression.is_heavy()),
        work: Work::Derived {
            moments,
            alignment: derived.alignment,
            hold_ns: ns(derived.hold),
            channels: channels.collect(),
        },
        inputs,
    }
}

/// The lanes of some channels, each once, with their columns, each once.
fn inputs(tables: &[Table], channels: impl Iterator<Item = (usize, usize)>) -> Vec<LaneColumns> {
    let mut inputs: Vec<LaneColumns> = Vec::new();
    for (source, channel) in channels {
        let table = &tables[source];
        let (lane, column) = place_of(table, channel);
        let layout = &table.layout.lanes[usize::from(lane)];
        let frames = match layout.kind {
            Kind::Window => WINDOW_BLOCK_FRAMES,
            Kind::Raw | Kind::Derived => table.block_frames,
        };
        let at = inputs
            .iter()
            .position(|input| (input.source, input.lane) == (id(source), lane));
        let at = at.unwrap_or_else(|| {
            inputs.push(LaneColumns {
                source: id(source),
                lane,
                columns: Vec::new(),
                shape: (layout.columns.len(), frames),
            });
            inputs.len() - 1
        });
        if !inputs[at].columns.contains(&column) {
            inputs[at].columns.push(column);
        }
    }
    inputs
}
