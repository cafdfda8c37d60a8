//! What changes and is no trace, as JSON: `GET /api/state`, and what stays, `GET /api/channels`. Described in `docs/api.md`.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::guard::Role;
use super::scene::Scene;
use crate::alert::{Order, RuleStanding};
use crate::latency::Summary;

/// A time, as digits in a string: a JSON reader may not make a floating-point number of it.
pub(super) fn digits(time_ns: i64) -> Value {
    Value::String(time_ns.to_string())
}

/// A number, or `null` if it is none.
pub(super) fn finite(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

pub(super) fn channels(scene: &Scene, role: Role) -> Value {
    let setup = &scene.setup;
    let of = |(number, channel): (usize, &super::ChannelInfo)| {
        json!({
            "number": number,
            "name": channel.name,
            "source": setup.sources[channel.source].name,
            "unit": channel.unit,
            "rate_hz": channel.rate_hz,
            "kind": channel.kind,
        })
    };
    json!({
        "run": setup.run,
        "version": env!("CARGO_PKG_VERSION"),
        "host": setup.host,
        "started_ns": digits(setup.started_ns),
        "role": role.name(),
        "channels": setup.channels.iter().enumerate().map(of).collect::<Vec<_>>(),
    })
}

/// The standings of rules, asked of the stage: not to be called where nothing may wait.
pub(super) fn alerts(scene: &Scene) -> Vec<Value> {
    if scene.setup.rules.is_empty() {
        return Vec::new();
    }
    // A stage that does not answer in time is behind: the next look may have an answer.
    let standings = scene.setup.control.order(Order::List).unwrap_or_default();
    standings
        .iter()
        .map(|standing| alert(scene, standing))
        .collect()
}

pub(super) fn alert(scene: &Scene, standing: &RuleStanding) -> Value {
    let place = scene
        .setup
        .rules
        .iter()
        .position(|rule| rule.name == standing.rule);
    json!({
        "rule": standing.rule,
        "severity": standing.severity,
        "state": standing.state.is,
        "since_ns": standing.state.since_ns.map(digits),
        "acknowledged": standing.state.acknowledged,
        "silenced_until_ns": standing.silenced_until_ns.map(digits),
        "channel": place.map(|place| scene.setup.rules[place].channel.clone()),
        "message": place.and_then(|place| scene.messages()[place].clone()),
    })
}

fn latency(summary: &Summary) -> Value {
    json!({
        "count": summary.count, "mean": summary.mean, "p50": summary.p50, "p99": summary.p99, "p999": summary.p999,
        "max": summary.max,
    })
}

pub(super) fn state(scene: &Scene) -> Value {
    let setup = &scene.setup;
    let alerts = alerts(scene);
    let states = scene.sources().clone();
    let (mut is_balanced, mut in_flight) = (true, 0);
    let sources = setup.sources.iter().zip(setup.ledger.sources()).enumerate();
    let sources: Vec<Value> = sources
        .map(|(number, (info, counts))| {
            // Written down and dropped before what was acquired: so none can be more, whatever happens meanwhile.
            let gone = counts.journaled() + counts.dropped();
            let acquired = counts.acquired();
            is_balanced &= gone <= acquired;
            let waiting = acquired.saturating_sub(gone);
            in_flight += waiting;
            let report = counts.snapshot();
            let board = setup.boards.get(number).and_then(|boards| boards.first());
            let last_ns = board.and_then(|board| board.read().last_ns);
            json!({
                "name": info.name,
                "state": states[number].state,
                "kind": if info.link.is_some() { "device" } else { "computed" },
                "link": info.link,
                "priority": info.priority,
                "rate_hz": finite(states[number].rate_hz),
                "nominal_hz": info.nominal_hz,
                "waiting": waiting,
                "frames": scene.frames(number),
                "samples": report.samples,
                "journaled": report.journaled,
                "dropped": counts.dropped() - counts.not_kept(),
                "dropped_by": report.dropped,
                "corrupt_frames": report.corrupt_frames,
                "skipped_bytes": report.skipped_bytes,
                "lost_by_device": report.lost_by_device,
                "reconnects": report.reconnects,
                "clock_ppm": report.clock.as_ref().map(|clock| finite(clock.drift_ppm)),
                "last_ns": last_ns.map(digits),
                "last_error": states[number].last_error,
            })
        })
        .collect();
    let totals = setup.ledger.totals(in_flight);
    let latencies = (setup.latencies)();
    let sinks: Vec<Value> = (setup.sinks)()
        .into_iter()
        .map(|(name, status)| {
            let mut sink = serde_json::to_value(&status).unwrap_or_default();
            sink["name"] = name.into();
            sink
        })
        .collect();
    json!({
        "run": setup.run,
        "now_ns": digits(setup.clock.now_ns()),
        "stopping": scene.is_stopping(),
        "sources": sources,
        "alerts": alerts,
        "latency_us": {
            "read_to_stage": latency(&latencies.read_to_stage),
            "read_to_alert": latency(&latencies.read_to_alert),
            "read_to_journal": latency(&latencies.read_to_journal),
        },
        "ledger": {
            "acquired": totals.acquired,
            "journaled": totals.journaled,
            "dropped": totals.dropped,
            "in_flight": in_flight,
            "balanced": is_balanced,
        },
        "sinks": sinks,
        "events": scene.events.load(Ordering::Relaxed),
        "clients": scene.clients.load(Ordering::Relaxed),
    })
}
