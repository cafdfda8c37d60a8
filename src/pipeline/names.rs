//! What things of a run are called.

use kymo_drivers::block::SourceId;

use super::tables::Table;
use crate::alert::{Change, Kind, Moved, RuleOptions, number};
use crate::config::plan::Plan;

/// The names of a run's sources, channels and rules.
#[derive(Debug)]
pub struct Names {
    sources: Vec<SourceNames>,
    /// The rules, in order.
    pub rules: Vec<RuleNames>,
}

#[derive(Debug)]
struct SourceNames {
    name: String,
    lanes: Vec<usize>,
}

/// A rule and what it watches.
#[derive(Debug)]
pub struct RuleNames {
    /// The rule.
    pub options: RuleOptions,
    /// `source.channel`.
    pub channel: String,
    /// The channel's unit.
    pub unit: String,
}

impl RuleNames {
    /// What is to be said of what the rule did.
    #[must_use]
    pub fn message(&self, moved: &Moved) -> String {
        let (options, channel) = (&self.options, &self.channel);
        let value = moved.value;
        match moved.change {
            Change::Fired | Change::Resumed | Change::Unsilenced => {
                options.message(channel, &self.unit, value, moved.time_ns)
            }
            Change::Acknowledged => "acknowledged".to_owned(),
            Change::Subsided | Change::Cleared if value.is_nan() => match moved.change {
                Change::Cleared => "cleared".to_owned(),
                _ => "its cause has passed".to_owned(),
            },
            Change::Subsided | Change::Cleared => match options.kind {
                Kind::NoData { .. } => format!("data of {channel} after {} s", number(value)),
                Kind::Stuck { .. } => format!("{channel} changes again"),
                _ => {
                    let unit = options.kind.unit(&self.unit);
                    format!("{channel} is back at {} {unit}", number(value))
                }
            },
        }
    }
}

impl Names {
    /// The names of a plan's sources, channels and rules.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        Self::new(plan, &super::tables::tables(plan))
    }

    pub(super) fn new(plan: &Plan, tables: &[Table]) -> Self {
        let sources = tables.iter().map(|table| {
            let lanes = table.layout.lanes.iter();
            SourceNames {
                name: table.name.clone(),
                lanes: lanes.map(|lane| lane.columns.len()).collect(),
            }
        });
        let rules = plan.rules.iter().map(|rule| {
            let source = &tables[rule.source];
            let channel = &source.channels[rule.channel];
            RuleNames {
                options: rule.clone(),
                channel: format!("{}.{}", source.name, channel.name),
                unit: channel.unit.clone(),
            }
        });
        Self {
            rules: rules.collect(),
            sources: sources.collect(),
        }
    }

    /// A source's name.
    #[must_use]
    pub fn source(&self, source: SourceId) -> &str {
        self.sources
            .get(usize::from(source.0))
            .map_or("?", |source| &source.name)
    }

    /// All sources' names, in order.
    pub(super) fn source_names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|source| source.name.as_str())
    }

    /// How many channels one of a source's lanes carries.
    pub(super) fn lane_columns(&self, source: SourceId, lane: u8) -> usize {
        let lanes = self
            .sources
            .get(usize::from(source.0))
            .map(|source| &source.lanes);
        lanes
            .and_then(|lanes| lanes.get(usize::from(lane)))
            .copied()
            .unwrap_or(0)
    }
}
