//! What a run says at its end: DESIGN's contract with scripts. Extend it; rename nothing.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use super::replay::Played;
use crate::capture;
use crate::latency::Summary;
use crate::ledger::{SourceReport, Totals};
use crate::stage::computed::ComputedCounts;

/// The report of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The run's name.
    pub run: String,
    /// How long it was acquiring, s.
    pub duration_s: f64,
    /// Its sources' counts, by name, in the order of the configuration.
    pub sources: Sources,
    /// The sums.
    pub ledger: Totals,
    /// Times, µs.
    pub latency_us: Latencies,
    /// How often each rule fired and cleared, by name.
    pub alerts: Map<String, Value>,
    /// What did not go right with what was computed, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computed: Option<ComputedCounts>,
    /// The capture, if one was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<capture::Report>,
    /// What was replayed, and how, if it was a replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Played>,
    /// The sinks, by name.
    pub sinks: Map<String, Value>,
    /// The notifiers that follow the journal, by name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub notifiers: Map<String, Value>,
    /// What became of the store, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreReport>,
    /// Events for which the journal had no room.
    pub events_dropped: u64,
    /// What the start of the run found amiss in the journal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recovery: Vec<String>,
    /// Why the run ended before it should, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The store at the end of a run. What it has not got stays in the journal, and the next run goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreReport {
    /// Rows written to segments.
    pub rows: u64,
    /// Records of the journal that could not be read.
    pub lost_records: u64,
    /// Samples removed because the disk ran out.
    pub removed_samples: u64,
    /// What was wrong at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Reports of sources by name, in order.
#[derive(Debug, Clone, Default)]
pub struct Sources(pub Vec<(String, SourceReport)>);

impl Serialize for Sources {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, report)| (name, report)))
    }
}

/// The times of a run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Latencies {
    /// From the read of a block's first frame to its being taken by the stage.
    pub read_to_stage: Summary,
    /// From there to the change of an alert.
    pub read_to_alert: Summary,
    /// From there to the commit that put the block on disk.
    pub read_to_journal: Summary,
}

impl Report {
    /// The report as a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("run {} acquired for {:.1} s\n\n", self.run, self.duration_s);
        let width = self
            .sources
            .0
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0)
            .max(6);
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{:<width$}  {:>12} {:>14} {:>14} {:>10} {:>8} {:>8} {:>8}",
            "source", "frames", "samples", "journaled", "dropped", "lost", "corrupt", "skipped"
        );
        for (name, source) in &self.sources.0 {
            let dropped: u64 = source.dropped.values().filter_map(Value::as_u64).sum();
            let _ = writeln!(
                text,
                "{name:<width$}  {:>12} {:>14} {:>14} {dropped:>10} {:>8} {:>8} {:>8}",
                source.frames,
                source.samples,
                source.journaled,
                source.lost_by_device,
                source.corrupt_frames,
                source.skipped_bytes,
            );
            if let Some(clock) = &source.clock {
                let _ = writeln!(
                    text,
                    "{:<width$}  clock slow by {:.2} ppm, reads late by {:.0} µs (p50), {:.0} µs (p99)",
                    "", clock.drift_ppm, clock.jitter_us.p50, clock.jitter_us.p99
                );
            }
            for (error, count) in source.line_errors.iter().flatten() {
                let _ = writeln!(text, "{:<width$}  below the link: {error} {count}", "");
            }
            for (reason, count) in &source.dropped {
                let _ = writeln!(text, "{:<width$}  dropped {count} samples: {reason}", "");
            }
        }
        let ledger = &self.ledger;
        let _ = writeln!(
            text,
            "\nledger   {} acquired = {} journaled + {} dropped + {} in flight: {}",
            ledger.acquired,
            ledger.journaled,
            ledger.dropped,
            ledger.in_flight,
            if ledger.balanced {
                "balanced"
            } else {
                "OUT OF BALANCE"
            }
        );
        let times = [
            ("read to stage", &self.latency_us.read_to_stage),
            ("read to alert", &self.latency_us.read_to_alert),
            ("read to journal", &self.latency_us.read_to_journal),
        ];
        for (name, us) in times {
            if us.count > 0 {
                let _ = writeln!(
                    text,
                    "{name:<16} mean {:>9.1}  p50 {:>9.1}  p99 {:>9.1}  p99.9 {:>9.1}  max {:>9.1} µs",
                    us.mean, us.p50, us.p99, us.p999, us.max
                );
            }
        }
        for (name, counts) in &self.alerts {
            let _ = writeln!(
                text,
                "alert {name}: fired {}, cleared {}{}",
                counts["fired"],
                counts["cleared"],
                counts["late"]
                    .as_u64()
                    .map_or_else(String::new, |late| format!(
                        "; {late} samples came too late to be judged in their order"
                    ))
            );
        }
        for (name, found) in &self.notifiers {
            let _ = writeln!(
                text,
                "notifier {name}: delivered {}, dead letters {}{}",
                found["delivered"],
                found["dead"],
                found["trouble"]
                    .as_str()
                    .map_or_else(String::new, |trouble| format!("; {trouble}"))
            );
        }
        for (name, sink) in &self.sinks {
            let count = |key: &str| sink[key].as_u64().unwrap_or(0);
            let _ = write!(
                text,
                "sink {name}: {} written, {} rejected, {} behind",
                count("written"),
                count("rejected"),
                count("behind")
            );
            for (key, words) in [
                ("not_selected", "not selected"),
                ("not_finite", "not finite"),
                ("given_up", "GIVEN UP"),
                ("unreadable", "UNREADABLE"),
            ] {
                if count(key) > 0 {
                    let _ = write!(text, ", {} {words}", count(key));
                }
            }
            text.push('\n');
            for key in ["trouble", "lost"] {
                if let Some(said) = sink[key].as_str() {
                    let _ = writeln!(text, "sink {name}: {said}");
                }
            }
        }
        if let Some(computed) = &self.computed {
            let ComputedCounts {
                late_frames,
                missed_frames,
                has_failed,
            } = computed;
            let _ = writeln!(
                text,
                "computed: {late_frames} frames came too late, {missed_frames} were missed{}",
                if *has_failed {
                    "; THE THREAD BROKE DOWN: this is a mistake in kymo"
                } else {
                    ""
                }
            );
        }
        if let Some(capture) = &self.capture {
            text.push_str(&capture.text());
        }
        if let Some(replay) = &self.replay {
            text.push_str(&replay.text());
        }
        if self.events_dropped > 0 {
            let _ = writeln!(
                text,
                "{} events were not written down: the disk was too slow",
                self.events_dropped
            );
        }
        if let Some(trouble) = self.store.as_ref().and_then(|store| store.trouble.as_ref()) {
            let _ = writeln!(text, "the store is behind: {trouble}");
        }
        if let Some(failure) = &self.failure {
            let _ = writeln!(text, "\nTHE RUN FAILED: {failure}");
        }
        text
    }
}
