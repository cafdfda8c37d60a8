//! `kymo bench capture`: what it costs to record a capture beside the flood of `kymo bench serial`.
//!
//! The limit is the same run without the recording, in turn with it: so the ratio is what is left of the throughput.

use std::path::Path;

use anyhow::ensure;

use super::serial::flood;
use super::{Args, Found, Limit, machine, median, resident_bytes};

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let (mut rates, mut limits, mut ratios, mut samples) = (vec![], vec![], vec![], vec![]);
    let mut balanced = true;
    let (mut recorded, mut missing, mut written) = (0, 0, 0);
    let mut last = None;
    for number in 0..args.repeat {
        let mut rate_of = |with_capture: bool| -> anyhow::Result<(f64, f64)> {
            let came = flood(args, with_capture)?;
            let report = came.report;
            ensure!(
                report.failure.is_none(),
                "the run failed: {:?}",
                report.failure
            );
            balanced &= report.ledger.balanced && report.ledger.dropped == 0;
            if let Some(capture) = &report.capture {
                ensure!(
                    capture.failure.is_none(),
                    "the recording failed: {:?}",
                    capture.failure
                );
                let bytes = report.sources.0.iter().map(|(_, source)| source.bytes);
                ensure!(
                    capture.recorded + capture.not_recorded == bytes.sum::<u64>(),
                    "bytes are neither recorded nor counted as not recorded"
                );
                recorded += capture.recorded;
                missing += capture.not_recorded;
                written += capture.bytes;
            }
            last = Some(report.latency_us);
            Ok((came.bytes_per_s, came.samples_per_s))
        };
        // The one that comes first in a pair has the emptier disk: so they take turns.
        let (with, without) = if number % 2 == 0 {
            let without = rate_of(false)?;
            (rate_of(true)?, without)
        } else {
            (rate_of(true)?, rate_of(false)?)
        };
        rates.push(with.0);
        samples.push(with.1);
        limits.push(without.0);
        ratios.push(with.0 / without.0);
    }
    let (ratio, ratio_spread) = median(ratios);
    Ok(Found {
        cost: None,
        bench: "capture",
        what: format!(
            "the flood of `serial`, recorded: {recorded} bytes in {written} bytes of MCAP, {missing} bytes not recorded"
        ),
        machine: machine(),
        samples_per_s: Some(median(samples).0),
        bytes_per_s: Some(median(rates).0),
        limit: Limit {
            cost: None,
            what: "the same run without the recording",
            samples_per_s: None,
            bytes_per_s: Some(median(limits).0),
            latency_us: None,
        },
        ratio,
        ratio_spread,
        latency_us: last.map(|last| last.read_to_stage),
        rows: Vec::new(),
        more_us: serde_json::Map::new(),
        rss_bytes: resident_bytes(),
        balanced,
    })
}

/// Has a plan recorded into a folder.
pub(super) fn recorded(plan: &mut crate::config::plan::Plan, folder: &Path) {
    let mut capture = plan.capture_options.clone();
    capture.file = Some(folder.join("bench.mcap"));
    plan.capture = Some(capture);
}
