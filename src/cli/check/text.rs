//! What `kymo check` found, as a person reads it.

use std::fmt::Write as _;
use std::time::Duration;

use super::{DAY_S, Found};

impl Found {
    pub(super) fn text(&self) -> String {
        let mut text = format!("{} is right; data go to {}\n\n", self.config, self.data_dir);
        let width = self
            .sources
            .iter()
            .map(|source| source.name.len())
            .chain(self.computed.iter().map(|computed| computed.name.len()))
            .max()
            .unwrap_or(0)
            .max(6);
        let dash = || "-".to_owned();
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{:<width$}  {:<8} {:>9} {:>11} {:>11} {:>11} {:>6} {:>8} {:>8} {:>10}  link",
            "source",
            "priority",
            "frames/s",
            "samples/s",
            "sends",
            "line",
            "",
            "lane",
            "queue",
            "a day"
        );
        for source in &self.sources {
            let rate = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.0}"));
            let flow = |value: Option<f64>| value.map_or_else(dash, |v| format!("{}/s", bytes(v)));
            let share = source.bytes_per_s.zip(source.line_bytes_per_s);
            let share = share.map_or_else(String::new, |(sent, line)| {
                format!("{:.0} %", sent / line * 100.0)
            });
            let _ = writeln!(
                text,
                "{:<width$}  {:<8} {:>9} {:>11} {:>11} {:>11} {share:>6} {:>8} {:>8} {:>10}  {}",
                source.name,
                source.priority,
                rate(source.rate_hz),
                rate(source.samples_per_s),
                flow(source.bytes_per_s),
                flow(source.line_bytes_per_s),
                source.lane_s.map_or_else(dash, span),
                source.journal_queue_s.map_or_else(dash, span),
                source.disk_bytes_per_day.map_or_else(dash, bytes),
                source.link,
            );
        }
        for computed in &self.computed {
            let rate = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.1}"));
            let samples = computed.rate_hz.map(|rate| rate * computed.channels as f64);
            let _ = writeln!(
                text,
                "{:<width$}  {:<8} {:>9} {:>11}  {} of {} channels",
                computed.name,
                computed.priority,
                rate(computed.rate_hz),
                rate(samples),
                computed.kind,
                computed.channels,
            );
        }
        #[allow(clippy::cast_precision_loss)]
        let free = self
            .disk
            .free_bytes
            .map_or_else(dash, |free| bytes(free as f64));
        let _ = writeln!(
            text,
            "\nrules      {}\ndisk       at most {} a day are kept; {free} are free{}\nmemory     at most {} with every queue full",
            self.rules,
            bytes(self.disk.bytes_per_day),
            self.disk.outage_s.map_or_else(String::new, |s| format!(
                ": enough for an outage of {}",
                span(s)
            )),
            bytes(self.memory_bytes_max as f64),
        );
        if !self.notifiers.is_empty() {
            let _ = writeln!(text, "notifiers  {}", self.notifiers.join(", "));
        }
        for sink in &self.sinks {
            let _ = writeln!(
                text,
                "sink       {}: {} at {}",
                sink.name, sink.kind, sink.to
            );
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "\nwarning: {warning}");
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Bytes for the eye.
pub(super) fn bytes(count: f64) -> String {
    indicatif::HumanBytes(count as u64).to_string()
}

/// A duration for the eye.
pub(super) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 2.0 * DAY_S => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", (s / DAY_S).min(Duration::MAX.as_secs_f64())),
    }
}
