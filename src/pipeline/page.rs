//! What the live page is given of a run.

use std::sync::{Arc, PoisonError};

use super::layout::Kind;
use super::{Run, build, tables};
use crate::config::plan::{Link, Plan};
use crate::serve::{ChannelInfo, Error, Latencies, Options, RuleInfo, Server, Setup, SourceInfo};
use crate::sink::Sinks;

impl Run {
    /// Serves the live page of the run, until it ends.
    ///
    /// # Errors
    /// If it cannot be served there, or may not.
    pub fn serve(&mut self, options: Options) -> Result<&Server, Error> {
        let tables = tables::tables(&self.plan);
        let rules = self.names.rules.iter().map(|rule| RuleInfo {
            name: rule.options.name.clone(),
            channel: rule.channel.clone(),
        });
        let annotator = self.annotator.clone();
        let sinks = self.sinks.as_ref().map(Sinks::watch);
        let (committed, stage) = (
            Arc::clone(&self.committed),
            Arc::clone(&self.stage_latencies),
        );
        let setup = Setup {
            options,
            run: self.id.clone(),
            host: build::host(),
            started_ns: self.started_ns,
            sources: sources(&self.plan, &tables),
            channels: channels(&tables),
            rules: rules.collect(),
            ledger: self.ledger.clone(),
            boards: self.boards.clone(),
            control: self.control.clone(),
            annotate: Box::new(move |annotation| {
                annotator
                    .annotate(annotation)
                    .map_err(|error| error.to_string())
            }),
            sinks: Box::new(move || sinks.as_ref().map_or_else(Vec::new, |watch| watch())),
            latencies: Box::new(move || {
                let committed = committed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .summary();
                let stage = *stage.lock().unwrap_or_else(PoisonError::into_inner);
                Latencies {
                    read_to_stage: stage.read_to_stage,
                    read_to_alert: stage.read_to_alert,
                    read_to_journal: committed,
                }
            }),
            journal: self.journal.status(),
            data_dir: self.plan.data_dir.clone(),
            clock: self.clock.clone(),
        };
        Ok(self.page.insert(Server::start(setup)?))
    }
}

fn sources(plan: &Plan, tables: &[tables::Table]) -> Vec<SourceInfo> {
    let link = |link: &Link| match link {
        Link::Device(options) => options.to_string(),
        Link::Simulator { simulator, serial } => {
            let device = plan
                .simulators
                .get(*simulator)
                .map_or("device", |s| s.device.as_str());
            format!("simulated {device} at {} baud", serial.baud)
        }
    };
    let of = |(number, table): (usize, &tables::Table)| SourceInfo {
        name: table.name.clone(),
        link: plan.sources.get(number).map(|source| link(&source.link)),
        priority: table
            .layout
            .lanes
            .iter()
            .map(|lane| lane.priority)
            .min()
            .map_or("normal", |p| p.name())
            .to_owned(),
        nominal_hz: table.rate_hz,
    };
    tables.iter().enumerate().map(of).collect()
}

fn channels(tables: &[tables::Table]) -> Vec<ChannelInfo> {
    let mut channels = Vec::new();
    for (source, table) in tables.iter().enumerate() {
        for (place, channel) in table.channels.iter().enumerate() {
            let lanes = table.layout.lanes.iter().enumerate();
            let mut found = lanes.filter_map(|(number, lane)| {
                let column = lane.columns.iter().position(|known| *known == place)?;
                Some((number, column, lane.kind))
            });
            // Every channel is in a lane.
            let Some((lane, column, kind)) = found.next() else {
                continue;
            };
            channels.push(ChannelInfo {
                name: format!("{}.{}", table.name, channel.name),
                source,
                place: (lane, column),
                unit: channel.unit.clone(),
                rate_hz: if kind == Kind::Window {
                    None
                } else {
                    table.rate_hz
                },
                kind: kind.name(),
            });
        }
    }
    channels
}
