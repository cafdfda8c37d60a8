//! The live page's server, from outside: what it answers, what it refuses, and to whom. `docs/api.md` is what it is held against.

mod client;
mod live;
mod outside;
mod refused;
mod tokens;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::lab::{CHAMBER, Lab, recorded, wait_until};
use client::{get, post};

/// On a port of its own.
const SERVE: &str = "[serve]\nlisten = \"127.0.0.1:0\"\n";

/// Fires as soon as there is a sample, and stays.
const RULE: &str =
    "[[rule]]\nname = \"there\"\nchannel = \"chamber.pressure\"\nabove = -1000.0\nlatch = true\n";

fn start(serve: &str) -> (Lab, SocketAddr) {
    let configuration = format!("{serve}{CHAMBER}{RULE}");
    let options = kymo::config::parse("lab.toml", &configuration)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut lab = Lab::start(&configuration);
    let page = lab.run.serve(options.serve.expect("a page"));
    let url = page.expect("the page is served").url();
    let (_, address) = url.split_once("://").expect("a URL");
    (lab, address.parse().expect("an address with its port"))
}

fn ns(value: &Value) -> i64 {
    value
        .as_str()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("{value} is no time"))
}

/// The path of a range's envelopes.
fn envelope(from_ns: i64, to_ns: i64, width: usize) -> String {
    format!("/api/envelope?channels=0&from_ns={from_ns}&to_ns={to_ns}&width={width}")
}

#[test]
fn the_page_is_in_the_program_with_the_headers_that_keep_it_safe() {
    let (lab, address) = start(SERVE);
    let page = get(address, "/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    for rule in [
        "default-src 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let tag = page.header("etag").to_owned();
    let again = client::ask(address, "GET", "/", &[("If-None-Match", &tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    for outside in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/..%2fCargo.toml",
        "//etc/passwd",
    ] {
        assert_eq!(get(address, outside).status, 404, "{outside}");
    }
    lab.stop();
}

#[test]
fn the_state_says_what_the_ledger_says() {
    let (lab, address) = start(SERVE);
    wait_until("the chamber sends", || lab.frames(0) > 500);
    let channels = get(address, "/api/channels").json();
    assert_eq!(channels["run"], lab.run.id());
    assert_eq!(channels["role"], "operator");
    let pressure = &channels["channels"][0];
    assert_eq!(pressure["name"], "chamber.pressure");
    assert_eq!(pressure["unit"], "bar");
    assert_eq!(pressure["rate_hz"], 1000.0);
    wait_until("the follower has seen the connection", || {
        get(address, "/api/state").json()["sources"][0]["state"] == "connected"
    });
    let state = get(address, "/api/state").json();
    let source = &state["sources"][0];
    assert_eq!(source["name"], "chamber");
    assert!(source["samples"].as_u64() > Some(500), "{source}");
    assert_eq!(source["corrupt_frames"], 0);
    assert_eq!(state["ledger"]["balanced"], true);
    let age_ns = ns(&state["now_ns"]) - ns(&source["last_ns"]);
    assert!((0..20_000_000_000).contains(&age_ns), "{age_ns}");
    assert!(
        state["latency_us"]["read_to_journal"]["count"].as_u64() > Some(0),
        "{state}"
    );
    lab.stop();
}

#[test]
fn an_alert_is_seen_acknowledged_silenced_and_in_the_history() {
    let (lab, address) = start(SERVE);
    let alert = || get(address, "/api/state").json()["alerts"][0].clone();
    wait_until("the rule fires", || alert()["state"] == "firing");
    assert_eq!(alert()["acknowledged"], false);
    let rule = json!({ "rule": "there" });
    let done = post(address, "/api/alerts/acknowledge", &rule);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(alert()["acknowledged"], true);
    let again = post(address, "/api/alerts/acknowledge", &rule);
    assert_eq!(again.status, 422, "{}", again.text());
    let silence = json!({ "rule": "there", "for_s": 60, "reason": "pump test" });
    assert_eq!(post(address, "/api/alerts/silence", &silence).status, 200);
    assert!(alert()["silenced_until_ns"].is_string());
    assert_eq!(post(address, "/api/alerts/unsilence", &rule).status, 200);
    assert!(alert()["silenced_until_ns"].is_null());
    let since_ns = ns(&get(address, "/api/channels").json()["started_ns"]);
    let path = format!(
        "/api/events?from_ns={}&to_ns={}",
        since_ns - 1,
        since_ns + 600_000_000_000
    );
    let changes = || {
        let events = get(address, &path).json();
        let events = events["events"].as_array().cloned().unwrap_or_default();
        let of_rule = events.into_iter().filter(|event| event["rule"] == "there");
        of_rule
            .map(|event| event["change"].clone())
            .collect::<Vec<_>>()
    };
    wait_until("both are in the history", || {
        let changes = changes();
        changes.contains(&"fired".into()) && changes.contains(&"acknowledged".into())
    });
    lab.stop();
}

#[test]
fn a_note_becomes_an_event_at_its_time() {
    let (lab, address) = start(SERVE);
    let time_ns = lab.run.clock().now_ns();
    let note = json!({ "text": "pump on", "time_ns": time_ns.to_string() });
    let done = post(address, "/api/notes", &note);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(ns(&done.json()["time_ns"]), time_ns);
    let path = format!("/api/events?from_ns={time_ns}&to_ns={}", time_ns + 1);
    wait_until("the note is written down", || {
        let events = get(address, &path).json();
        events["events"][0]["event"] == "annotation"
            && events["events"][0]["text"]
                .as_str()
                .is_some_and(|text| text.contains("pump on"))
    });
    lab.stop();
}

/// Lowest and highest of what is in the journal from a time up to another.
fn extremes(times_ns: &[i64], values: &[f64], from_ns: i64, to_ns: i64) -> [f64; 2] {
    let within = times_ns
        .iter()
        .zip(values)
        .filter(|(time_ns, _)| (from_ns..to_ns).contains(*time_ns));
    within.fold([f64::NAN; 2], |[low, high], (_, value)| {
        [low.min(*value), high.max(*value)]
    })
}

#[track_caller]
fn same_as_recorded(
    series: &client::Series,
    times_ns: &[i64],
    values: &[f64],
    to_ns: i64,
) -> usize {
    let mut compared = 0;
    for (place, found) in series.columns.iter().enumerate() {
        let from_ns = (series.first + i64::try_from(place).expect("few")) * series.bucket_ns;
        // Before the first sample and behind the last one the two need not have come equally far.
        if from_ns < times_ns[0] || from_ns + series.bucket_ns > to_ns {
            continue;
        }
        let expected = extremes(times_ns, values, from_ns, from_ns + series.bucket_ns);
        assert_eq!(
            found.map(f64::to_bits),
            expected.map(f64::to_bits),
            "at {from_ns}: {found:?}, {expected:?}"
        );
        compared += 1;
    }
    compared
}

#[test]
fn live_traces_and_ranges_are_the_envelopes_of_what_was_recorded() {
    let (lab, address) = start(SERVE);
    wait_until("the chamber sends", || lab.frames(0) > 500);
    let mut live = live::Live::open(address, &[]).expect("a connection");
    live.say(&json!({ "id": 7, "channels": [0], "span_ns": "4000000000", "width": 4000 }));
    let mut columns: std::collections::BTreeMap<i64, [f64; 2]> = std::collections::BTreeMap::new();
    let mut bucket_ns = 0;
    let mut messages = 0;
    while lab.frames(0) < 3000 {
        let message = client::Message::of(&live.binary());
        assert_eq!((message.kind, message.id), (1, 7));
        for series in message.series {
            assert_eq!(series.channel, 0);
            bucket_ns = series.bucket_ns;
            let numbered = series.columns.iter().enumerate();
            columns.extend(numbered.map(|(place, column)| {
                (series.first + i64::try_from(place).expect("few"), *column)
            }));
        }
        messages += 1;
    }
    assert!(messages > 5, "{messages}");
    let (first, last) = (
        *columns.keys().next().expect("columns came"),
        *columns.keys().next_back().expect("columns came"),
    );
    assert_eq!(
        i64::try_from(columns.len()).expect("few"),
        last - first + 1,
        "no hole"
    );
    let to_ns = lab.run.clock().now_ns();
    let from_ns = to_ns - 2_500_000_000;
    let mut range = None;
    wait_until("everything up to now is committed", || {
        let answer = get(address, &envelope(from_ns, to_ns, 333));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let message = client::Message::of(&answer.body);
        assert_eq!(message.kind, 2);
        let is_complete = message.now_ns > to_ns + 1_000_000_000;
        range = message.series.into_iter().next();
        is_complete
    });
    let (_, dir) = lab.stop();
    let recorded = recorded(&dir.path().join("data"), 0);
    let live = client::Series {
        channel: 0,
        bucket_ns,
        first,
        columns: columns.into_values().collect(),
    };
    let compared = same_as_recorded(
        &live,
        &recorded.times_ns,
        &recorded.columns[0],
        last * bucket_ns,
    );
    assert!(compared > 200, "{compared}");
    let range = range.expect("a series");
    let compared = same_as_recorded(&range, &recorded.times_ns, &recorded.columns[0], to_ns);
    assert!(compared > 100, "{compared}");
}

#[test]
fn a_spectrum_is_of_the_range_that_was_asked_for() {
    let (lab, address) = start(SERVE);
    wait_until("the chamber sends", || lab.frames(0) > 1500);
    let now_ns = lab.run.clock().now_ns();
    let path = format!(
        "/api/spectrum?channel=0&from_ns={}&to_ns={now_ns}",
        now_ns - 1_000_000_000
    );
    let mut answer = get(address, &path);
    wait_until("enough is committed", || {
        answer = get(address, &path);
        answer.status == 200
    });
    let spectrum = answer.json();
    assert_eq!(spectrum["unit"], "bar");
    let samples = spectrum["samples"].as_f64().expect("a count");
    let step_hz = spectrum["step_hz"].as_f64().expect("a width");
    let rate_hz = spectrum["rate_hz"].as_f64().expect("a rate");
    assert!((16.0..=1100.0).contains(&samples), "{samples}");
    assert!((rate_hz / samples - step_hz).abs() < 1e-6, "{spectrum}");
    let short = format!(
        "/api/spectrum?channel=0&from_ns={}&to_ns={now_ns}",
        now_ns - 2_000_000
    );
    assert_eq!(get(address, &short).status, 422);
    lab.stop();
}

#[test]
fn a_run_that_has_ended_serves_nothing_more() {
    let (lab, address) = start(SERVE);
    assert_eq!(get(address, "/health").status, 200);
    wait_until("every device has sent something", || {
        get(address, "/ready").status == 200
    });
    let mut live = live::Live::open(address, &[]).expect("a connection");
    live.say(&json!({ "id": 1, "channels": [0], "span_ns": "1000000000", "width": 100 }));
    lab.stop();
    assert_eq!(live.closed().map(|(code, _)| code), Some(1001));
    assert!(std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err());
}
