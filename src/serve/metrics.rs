//! `/metrics`: the run in figures for a monitoring system, in OpenMetrics and in the older text form.
//!
//! The two differ in how a counter is called where it is described, and in their end. `promtool` and scrapers that do not ask for
//! OpenMetrics read the older one as what it is and OpenMetrics wrongly, so each gets its own; a library that writes both is not to be had.
//!
//! **Always holds.** The figures are those of `/api/state`; nothing here is counted by itself. Times are in seconds and rates in hertz;
//! every label comes from the configuration, so there are as many series as the configuration has sources, rules and sinks, and
//! no more.
//!
//! **Must not know.** HTTP.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::scene::Scene;
use crate::alert::{Order, RuleStanding};
use crate::latency::{BOUNDS_US, Summary};
use crate::ledger::SourceReport;

/// Which form is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    Text,
}

impl Form {
    /// What a scraper asks for. Weights are not looked at: who takes OpenMetrics at all prefers it.
    pub(super) fn of_accept(accept: Option<&str>) -> Self {
        let takes = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if takes { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A family's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text as it grows.
struct Page {
    form: Form,
    out: String,
    name: &'static str,
    suffix: &'static str,
}

impl Page {
    /// What follows is of this family.
    fn family(&mut self, kind: Kind, name: &'static str, help: &str) {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        self.suffix = if kind == Kind::Counter { "_total" } else { "" };
        let described = match self.form {
            Form::OpenMetrics => "",
            Form::Text => self.suffix,
        };
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(self.out, "# HELP {name}{described} {help}");
        let _ = writeln!(self.out, "# TYPE {name}{described} {word}");
    }

    fn value(&mut self, labels: Labels<'_>, value: f64) {
        let suffix = self.suffix;
        self.sample(suffix, labels, value);
    }

    #[allow(clippy::cast_precision_loss)]
    fn count(&mut self, labels: Labels<'_>, count: u64) {
        self.value(labels, count as f64);
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: f64) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let value = if value.is_nan() {
            "NaN".to_owned()
        } else {
            value.to_string()
        };
        let _ = writeln!(self.out, " {value}");
    }

    #[allow(clippy::cast_precision_loss)]
    fn histogram(&mut self, path: &str, summary: &Summary) {
        for (bound, below) in BOUNDS_US.iter().zip(summary.below) {
            let bound = (*bound as f64 / 1e6).to_string();
            self.sample("_bucket", &[("path", path), ("le", &bound)], below as f64);
        }
        let (count, path) = (summary.count as f64, ("path", path));
        self.sample("_bucket", &[path, ("le", "+Inf")], count);
        self.sample("_sum", &[path], summary.mean * count / 1e6);
        self.sample("_count", &[path], count);
    }
}

/// All figures. It asks the stage how the rules stand: not to be called where nothing may wait.
pub(super) fn text(scene: &Scene, form: Form) -> String {
    let mut page = Page {
        form,
        out: String::with_capacity(16 << 10),
        name: "",
        suffix: "",
    };
    run(&mut page, scene);
    sources(&mut page, scene);
    latencies(&mut page, scene);
    journal(&mut page, scene);
    sinks(&mut page, scene);
    alerts(&mut page, scene);
    own(&mut page, scene);
    if form == Form::OpenMetrics {
        page.out.push_str("# EOF\n");
    }
    page.out
}

#[allow(clippy::cast_precision_loss)]
fn run(page: &mut Page, scene: &Scene) {
    let setup = &scene.setup;
    page.family(
        Kind::Gauge,
        "kymo_run",
        "1; the run, its host and the version are its labels.",
    );
    let labels = [
        ("run", setup.run.as_str()),
        ("host", setup.host.as_str()),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    page.value(&labels, 1.0);
    page.family(
        Kind::Gauge,
        "kymo_run_start_time_seconds",
        "When the run began, seconds since 1970.",
    );
    page.value(&[], setup.started_ns as f64 / 1e9);
}

type Figure = (Kind, &'static str, &'static str, fn(&SourceReport) -> u64);

/// What there is of every source.
const OF_SOURCES: [Figure; 10] = [
    (
        Kind::Counter,
        "kymo_source_received_bytes",
        "Bytes read.",
        |r| r.bytes,
    ),
    (
        Kind::Counter,
        "kymo_source_frames",
        "Frames decoded.",
        |r| r.frames,
    ),
    (
        Kind::Counter,
        "kymo_source_samples",
        "Samples acquired: decoded or computed.",
        |r| r.samples,
    ),
    (
        Kind::Counter,
        "kymo_source_journaled_samples",
        "Samples on disk.",
        |r| r.journaled,
    ),
    (
        Kind::Counter,
        "kymo_source_corrupt_frames",
        "Frames recognised and refused.",
        |r| r.corrupt_frames,
    ),
    (
        Kind::Counter,
        "kymo_source_skipped_bytes",
        "Bytes that belong to no frame.",
        |r| r.skipped_bytes,
    ),
    (
        Kind::Counter,
        "kymo_source_lost_by_device_frames",
        "Frames that the device's own counter says never came.",
        |r| r.lost_by_device,
    ),
    (
        Kind::Counter,
        "kymo_source_unanswered_requests",
        "Requests that the device did not answer in time.",
        |r| r.unanswered,
    ),
    (
        Kind::Counter,
        "kymo_source_refused_requests",
        "Requests that the device refused.",
        |r| r.refused,
    ),
    (
        Kind::Counter,
        "kymo_source_reconnects",
        "Times that the device came back.",
        |r| r.reconnects,
    ),
];

#[allow(clippy::cast_precision_loss)]
fn sources(page: &mut Page, scene: &Scene) {
    let setup = &scene.setup;
    let counts: Vec<_> = setup.sources.iter().zip(setup.ledger.sources()).collect();
    // What is gone before what came: so that no more is gone than came, whatever happens meanwhile.
    let waiting: Vec<(u64, bool)> = counts
        .iter()
        .map(|(_, counts)| {
            let gone = counts.journaled() + counts.dropped();
            let came = counts.acquired();
            (came.saturating_sub(gone), gone <= came)
        })
        .collect();
    let reports: Vec<(&str, SourceReport)> = counts
        .iter()
        .map(|(info, counts)| (info.name.as_str(), counts.snapshot()))
        .collect();
    for (kind, name, help, figure) in OF_SOURCES {
        page.family(kind, name, help);
        for (source, report) in &reports {
            page.count(&[("source", source)], figure(report));
        }
    }
    page.family(
        Kind::Counter,
        "kymo_source_dropped_samples",
        "Samples given up, by reason.",
    );
    for (source, report) in &reports {
        for (reason, count) in &report.dropped {
            page.count(
                &[("source", source), ("reason", reason)],
                count.as_u64().unwrap_or(0),
            );
        }
    }
    page.family(
        Kind::Counter,
        "kymo_source_line_errors",
        "Errors below the link, by kind, where it can tell.",
    );
    for (source, report) in &reports {
        for (error, count) in report.line_errors.iter().flatten() {
            page.count(
                &[("source", source), ("error", error)],
                count.as_u64().unwrap_or(0),
            );
        }
    }
    page.family(
        Kind::Counter,
        "kymo_source_blocked_seconds",
        "How long the reader waited for room in its lanes.",
    );
    for (source, report) in &reports {
        page.value(&[("source", source)], report.blocked_ms as f64 / 1e3);
    }
    page.family(
        Kind::Gauge,
        "kymo_source_waiting_samples",
        "Samples acquired and not on disk yet: the depth of all its queues.",
    );
    for ((source, _), (waiting, _)) in reports.iter().zip(&waiting) {
        page.count(&[("source", source)], *waiting);
    }
    let states = scene.sources().clone();
    page.family(
        Kind::Gauge,
        "kymo_source_connected",
        "1: its device is there; 0: it is not, or is silent. None: it is computed.",
    );
    for (info, state) in setup.sources.iter().zip(&states) {
        if info.link.is_some() {
            page.count(
                &[("source", &info.name)],
                u64::from(state.state == "connected"),
            );
        }
    }
    page.family(
        Kind::Gauge,
        "kymo_source_rate_hertz",
        "Frames a second, lately.",
    );
    for (info, state) in setup.sources.iter().zip(&states) {
        page.value(&[("source", &info.name)], state.rate_hz);
    }
    page.family(
        Kind::Gauge,
        "kymo_source_nominal_rate_hertz",
        "Frames a second that it should have.",
    );
    for info in &setup.sources {
        if let Some(nominal_hz) = info.nominal_hz {
            page.value(&[("source", &info.name)], nominal_hz);
        }
    }
    page.family(
        Kind::Gauge,
        "kymo_source_clock_drift_ratio",
        "By how much its clock is slow, as a part of one.",
    );
    for (source, report) in &reports {
        if let Some(clock) = &report.clock {
            page.value(&[("source", source)], clock.drift_ppm / 1e6);
        }
    }
    page.family(
        Kind::Gauge,
        "kymo_ledger_balanced",
        "1: acquired = journaled + dropped + in flight, of every source.",
    );
    page.count(
        &[],
        u64::from(waiting.iter().all(|(_, is_balanced)| *is_balanced)),
    );
}

fn latencies(page: &mut Page, scene: &Scene) {
    let found = (scene.setup.latencies)();
    page.family(
        Kind::Histogram,
        "kymo_latency_seconds",
        "From the read of a block's first frame, to: the stage, an alert, the disk.",
    );
    for (path, summary) in [
        ("read_to_stage", &found.read_to_stage),
        ("read_to_alert", &found.read_to_alert),
        ("read_to_journal", &found.read_to_journal),
    ] {
        page.histogram(path, summary);
    }
}

fn journal(page: &mut Page, scene: &Scene) {
    let journal = &scene.setup.journal;
    for (name, help, count) in [
        (
            "kymo_journal_written_bytes",
            "Bytes written by this run.",
            journal.bytes_written(),
        ),
        ("kymo_journal_commits", "Group commits.", journal.commits()),
        (
            "kymo_journal_dropped_events",
            "Events for which the journal had no room.",
            journal.events_dropped(),
        ),
    ] {
        page.family(Kind::Counter, name, help);
        page.count(&[], count);
    }
    page.family(
        Kind::Gauge,
        "kymo_journal_failed",
        "1: the journal cannot be written, and the run ends.",
    );
    page.count(&[], u64::from(journal.failure().is_some()));
}

#[allow(clippy::cast_precision_loss)]
fn sinks(page: &mut Page, scene: &Scene) {
    let sinks = (scene.setup.sinks)();
    if sinks.is_empty() {
        return;
    }
    type Figure = (
        Kind,
        &'static str,
        &'static str,
        fn(&crate::sink::SinkStatus) -> f64,
    );
    let figures: [Figure; 7] = [
        (
            Kind::Counter,
            "kymo_sink_written_samples",
            "Samples that the receiver accepted.",
            |s| s.written as f64,
        ),
        (
            Kind::Counter,
            "kymo_sink_rejected_samples",
            "Samples that it refused.",
            |s| s.rejected as f64,
        ),
        (
            Kind::Counter,
            "kymo_sink_given_up_samples",
            "Samples given up because they took more disk than is allowed.",
            |s| s.given_up as f64,
        ),
        (
            Kind::Gauge,
            "kymo_sink_behind_samples",
            "Samples journaled and not dealt with yet.",
            |s| s.behind as f64,
        ),
        (
            Kind::Gauge,
            "kymo_sink_lag_seconds",
            "How old the newest sample is that was sent in its order.",
            |s| s.lag_s,
        ),
        (
            Kind::Gauge,
            "kymo_sink_backlog_bytes",
            "Of the journal kept for it.",
            |s| s.backlog_bytes as f64,
        ),
        (
            Kind::Gauge,
            "kymo_sink_troubled",
            "1: something is wrong with it now.",
            |s| f64::from(s.trouble.is_some()),
        ),
    ];
    for (kind, name, help, figure) in figures {
        page.family(kind, name, help);
        for (sink, status) in &sinks {
            page.value(&[("sink", sink)], figure(status));
        }
    }
}

fn alerts(page: &mut Page, scene: &Scene) {
    if scene.setup.rules.is_empty() {
        return;
    }
    // A stage that does not answer in time is behind: then there are no figures, rather than old ones.
    let standings = scene.setup.control.order(Order::List).unwrap_or_default();
    let figures: [(&str, &str, fn(&RuleStanding) -> bool); 3] = [
        (
            "kymo_alert_active",
            "1: it has fired, and has not cleared.",
            |s| s.state.is_active(),
        ),
        (
            "kymo_alert_acknowledged",
            "1: somebody acknowledged it.",
            |s| s.state.acknowledged,
        ),
        (
            "kymo_alert_silenced",
            "1: nobody is told of it for now.",
            |s| s.silenced_until_ns.is_some(),
        ),
    ];
    for (name, help, figure) in figures {
        page.family(Kind::Gauge, name, help);
        for standing in &standings {
            let labels = [
                ("rule", standing.rule.as_str()),
                ("severity", standing.severity.as_str()),
            ];
            page.count(&labels, u64::from(figure(standing)));
        }
    }
}

fn own(page: &mut Page, scene: &Scene) {
    page.family(
        Kind::Gauge,
        "kymo_page_clients",
        "Connections that look at live traces.",
    );
    page.count(&[], scene.clients.load(Ordering::Relaxed) as u64);
    page.family(
        Kind::Counter,
        "kymo_page_skipped_records",
        "Records of the journal that the page passed over, because it was too far behind.",
    );
    page.count(&[], scene.skipped.load(Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(form: Form) -> String {
        let mut page = Page {
            form,
            out: String::new(),
            name: "",
            suffix: "",
        };
        page.family(Kind::Counter, "kymo_x", "Xs.");
        page.count(&[("source", "a\"b\\\n")], 3);
        page.family(Kind::Gauge, "kymo_y", "Ys.");
        page.value(&[], f64::NAN);
        page.out
    }

    #[test]
    fn a_counter_is_described_as_its_form_wants_it() {
        let sample = "kymo_x_total{source=\"a\\\"b\\\\\\n\"} 3\n";
        let gauge = "# HELP kymo_y Ys.\n# TYPE kymo_y gauge\nkymo_y NaN\n";
        let open = format!("# HELP kymo_x Xs.\n# TYPE kymo_x counter\n{sample}{gauge}");
        assert_eq!(page(Form::OpenMetrics), open);
        let text = format!("# HELP kymo_x_total Xs.\n# TYPE kymo_x_total counter\n{sample}{gauge}");
        assert_eq!(page(Form::Text), text);
    }

    #[test]
    fn a_histogram_rises_to_its_count() {
        let mut latency = crate::latency::Latency::default();
        for us in [5, 40, 40, 3_000_000] {
            latency.record_ns(0, us * 1000);
        }
        let mut page = Page {
            form: Form::Text,
            out: String::new(),
            name: "kymo_latency_seconds",
            suffix: "",
        };
        page.histogram("p", &latency.summary());
        for line in [
            "kymo_latency_seconds_bucket{path=\"p\",le=\"0.00001\"} 1",
            "kymo_latency_seconds_bucket{path=\"p\",le=\"0.00005\"} 3",
            "kymo_latency_seconds_bucket{path=\"p\",le=\"1\"} 3",
            "kymo_latency_seconds_bucket{path=\"p\",le=\"+Inf\"} 4",
            "kymo_latency_seconds_count{path=\"p\"} 4",
        ] {
            assert!(
                page.out.lines().any(|found| found == line),
                "{line}\n{}",
                page.out
            );
        }
    }

    #[test]
    fn a_scraper_gets_the_form_it_asks_for() {
        let asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        assert_eq!(Form::of_accept(Some(asked)), Form::OpenMetrics);
        assert_eq!(Form::of_accept(Some("*/*")), Form::Text);
        assert_eq!(Form::of_accept(None), Form::Text);
    }
}
