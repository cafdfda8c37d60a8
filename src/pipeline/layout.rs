//! How a source's channels fall into lanes: one lane for each priority that a channel has.

use std::time::Duration;

use kymo_drivers::block::Priority;

use crate::config::plan::Source;

/// A source's lanes, the most urgent first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub(super) lanes: Vec<LaneLayout>,
}

/// One lane.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LaneLayout {
    pub(super) priority: Priority,
    /// The source's channels in it, by their places, rising.
    pub(super) columns: Vec<usize>,
    pub(super) block_age: Duration,
    pub(super) kind: Kind,
    /// What tells it from the others, if its priority does not.
    pub(super) label: Option<String>,
}

/// Where a lane's blocks come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Raw,
    Derived,
    Window,
}

impl Kind {
    /// Its name in the run's record.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Derived => "derived",
            Self::Window => "window",
        }
    }
}

impl Layout {
    pub(super) fn new(source: &Source) -> Self {
        let lanes: Vec<LaneLayout> = Priority::ALL
            .into_iter()
            .filter_map(|priority| {
                let of_priority = source.channels.iter().enumerate();
                let columns: Vec<usize> = of_priority
                    .filter(|(_, channel)| channel.priority == priority)
                    .map(|(place, _)| place)
                    .collect();
                (!columns.is_empty()).then_some(LaneLayout {
                    priority,
                    columns,
                    block_age: source.block_age,
                    kind: Kind::Raw,
                    label: None,
                })
            })
            .collect();
        let mut layout = Self { lanes };
        if layout.lanes.len() > 1 {
            // The age was chosen for the source; a critical channel split off from it waits for nobody.
            for lane in layout
                .lanes
                .iter_mut()
                .filter(|l| l.priority == Priority::Critical)
            {
                lane.block_age = Duration::ZERO;
            }
        }
        layout
    }

    /// The lane that a channel is in.
    pub(super) fn lane_of(&self, channel: usize) -> u8 {
        let lane = self
            .lanes
            .iter()
            .position(|lane| lane.columns.contains(&channel));
        // There are few lanes, and every channel is in one of them.
        u8::try_from(lane.unwrap_or(0)).unwrap_or(0)
    }
}
