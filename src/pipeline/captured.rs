//! Starts the recording of a run's capture, and describes the run for it.

use std::collections::BTreeMap;

use kymo_drivers::link::Outlet;

use crate::capture::{self, Described, Recording, Setup, SourceInfo, Tap};
use crate::clock::Clock;
use crate::config::plan::{Link, Plan};
use crate::event::EventSender;
use crate::ledger::Ledger;
use crate::run_record::RunRecord;

/// Starts to record, if the plan says so. Gives the readers' ways in, in the order of the sources.
pub(super) fn start(
    plan: &Plan,
    record: &RunRecord,
    ledger: &Ledger,
    (events, clock): (&EventSender, &Clock),
    outlets: &[Outlet],
) -> Result<(Option<Recording>, Vec<Tap>), capture::Error> {
    let Some(options) = &plan.capture else {
        return Ok((None, Vec::new()));
    };
    let path = options.file.clone().unwrap_or_else(|| {
        let dir = options.dir.clone();
        let dir = dir.unwrap_or_else(|| plan.data_dir.join(CAPTURES_DIR));
        dir.join(format!("{}.mcap", record.run))
    });
    let (recording, taps) = Recording::start(Setup {
        path,
        described: described(plan, record),
        options: options.writer.clone(),
        chunk_interval: options.chunk_interval,
        buffer_bytes: options.buffer_bytes,
        counts: ledger.sources().take(plan.sources.len()).cloned().collect(),
        events: events.clone(),
        clock: clock.clone(),
    })?;
    let taps = taps.into_iter().zip(outlets).map(|(taps, outlet)| {
        outlet.observe(Some(Box::new(taps.sent)));
        taps.read
    });
    Ok((Some(recording), taps.collect()))
}

/// Where, in the data directory, captures are.
const CAPTURES_DIR: &str = "captures";

/// What a capture of this run says of itself.
fn described(plan: &Plan, record: &RunRecord) -> Described {
    let mut calibration = BTreeMap::new();
    for source in &record.sources {
        for lane in &source.lanes {
            for channel in &lane.channels {
                let name = format!("{}.{}", source.name, channel.name);
                calibration.insert(name, format!("{} [{}]", channel.calibration, channel.unit));
            }
        }
    }
    let sources = plan.sources.iter().map(|source| SourceInfo {
        name: source.name.clone(),
        link: match &source.link {
            Link::Device(device) => device.to_string(),
            Link::Simulator { simulator, .. } => {
                format!("the simulated device {}", plan.simulators[*simulator].name)
            }
        },
        starts_whole: match &source.link {
            Link::Device(device) => device.starts_whole(),
            // A simulator begins when it is read.
            Link::Simulator { .. } => true,
        },
    });
    Described {
        run: record.run.clone(),
        started_ns: record.started_ns,
        host: record.host.clone(),
        kymo: record.kymo.clone(),
        configuration: record.configuration.clone(),
        calibration,
        sources: sources.collect(),
    }
}
