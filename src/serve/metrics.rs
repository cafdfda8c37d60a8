//! `/metrics`: the run in figures for a monitoring system, in OpenMetrics and in the older text form.
//!
//! **Always holds.** The figures are those of `/api/state`; nothing here is counted by itself. Times are in seconds and rates in hertz;
//! every label comes from the configuration, so there are as many series as the configuration has sources, rules and sinks, and
//! no more.
//!
//! **Must not know.** HTTP.

use std::sync::atomic::Ordering;

use super::exposition::{Form, Kind, Page};
use super::scene::Scene;
use crate::alert::{Order, RuleStanding};
use crate::ledger::SourceReport;

/// All figures. It asks the stage how the rules stand: not to be called where nothing may wait.
pub(super) fn text(scene: &Scene, form: Form) -> String {
    let mut page = Page::new(form);
    run(&mut page, scene);
    sources(&mut page, scene);
    latencies(&mut page, scene);
    journal(&mut page, scene);
    sinks(&mut page, scene);
    alerts(&mut page, scene);
    own(&mut page, scene);
    page.finish()
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

/// A figure of a rule: its name, what it says, and whether it is so.
type RuleFigure = (&'static str, &'static str, fn(&RuleStanding) -> bool);

fn alerts(page: &mut Page, scene: &Scene) {
    if scene.setup.rules.is_empty() {
        return;
    }
    // A stage that does not answer in time is behind: then there are no figures, rather than old ones.
    let standings = scene.setup.control.order(Order::List).unwrap_or_default();
    let figures: [RuleFigure; 3] = [
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
