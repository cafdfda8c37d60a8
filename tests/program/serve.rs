//! The live page's server, from outside: what it answers, what it refuses, and to whom. `docs/api.md` is what it is held against.

mod client;
mod live;
mod outside;
mod refused;
mod tokens;

use std::net::SocketAddr;
use std::time::Duration;

use kymo::store::read::Archive;
use serde_json::{Value, json};

use super::lab::{CHAMBER, FURNACE, Lab, recorded, wait_until};
use client::{get, post};

/// On a port of its own.
const SERVE: &str = "[serve]\nlisten = \"127.0.0.1:0\"\n";

/// Fires as soon as there is a sample, and stays.
const RULE: &str =
    "[[rule]]\nname = \"there\"\nchannel = \"chamber.pressure\"\nabove = -1000.0\nlatch = true\n";

fn start(serve: &str) -> (Lab, SocketAddr) {
    start_with(&format!("{serve}{CHAMBER}{RULE}"))
}

fn start_with(configuration: &str) -> (Lab, SocketAddr) {
    let options = kymo::config::parse("lab.toml", configuration)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut lab = Lab::start(configuration);
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
            "at {from_ns}, {} ms before the end: {found:?}, {expected:?}",
            (to_ns - from_ns) as f64 / 1e6
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
    while lab.frames(0) < 3000 || messages <= 5 {
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
        let state = get(address, "/api/state").json();
        let last_ns = &state["sources"][0]["last_ns"];
        last_ns.is_string() && ns(last_ns) > to_ns
    });
    wait_until("and looked at", || {
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
    assert!((16.0..=10_000.0).contains(&samples), "{samples}");
    assert!((rate_hz / samples - step_hz).abs() < 1e-6, "{spectrum}");
    let short = format!(
        "/api/spectrum?channel=0&from_ns={}&to_ns={now_ns}",
        now_ns - 1000
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

#[test]
fn of_many_events_the_newest_are_given_and_that_there_are_more_is_said() {
    let (lab, address) = start(SERVE);
    let began_ns = lab.run.clock().now_ns();
    for number in 0..12 {
        let note = json!({ "text": format!("note {number}") });
        let done = post(address, "/api/notes", &note);
        assert_eq!(done.status, 200, "{}", done.text());
    }
    let path = |more: &str| format!("/api/events?from_ns={began_ns}&to_ns={}{more}", i64::MAX);
    let notes = |more: &str| -> (Vec<String>, Value) {
        let found = get(address, &path(more)).json();
        let events = found["events"].as_array().cloned().unwrap_or_default();
        let texts = events.iter().filter(|event| event["event"] == "annotation");
        let texts = texts.filter_map(|event| event["text"].as_str().map(str::to_owned));
        (texts.collect(), found["complete"].clone())
    };
    wait_until("all are written down", || notes("").0.len() == 12);
    assert_eq!(notes("").1, true);
    let (newest, is_complete) = notes("&limit=3");
    assert_eq!(is_complete, false);
    for (text, number) in newest.iter().rev().zip((0..12).rev()) {
        assert!(text.starts_with(&format!("note {number} ")), "{newest:?}");
    }
    lab.stop();
}

#[test]
fn gaps_are_those_of_the_channel_s_own_lane() {
    let window = "[[window]]\nchannels = [\"furnace.heater\"]\nlength = \"100ms\"\nstatistics = [\"mean\"]\n";
    let (mut lab, address) = start_with(&format!("{SERVE}{FURNACE}{window}"));
    wait_until("the furnace sends", || lab.frames(0) > 20);
    lab.simulator(0).unplug().expect("the cable is pulled");
    lab.wait_for("disconnected");
    lab.simulator(0).replug().expect("the cable is plugged in");
    lab.wait_for("connected");
    let channels = get(address, "/api/channels").json();
    let channels = channels["channels"].as_array().cloned().expect("a list");
    let gaps = |name: &str| -> Value {
        let number = channels.iter().position(|channel| channel["name"] == name);
        let number = number.unwrap_or_else(|| panic!("no {name} in {channels:?}"));
        let path = format!("/api/gaps?channel={number}&from_ns=0&to_ns={}", i64::MAX);
        get(address, &path).json()
    };
    wait_until("the gap is written down", || {
        gaps("furnace.heater")["gaps"].as_array().map(Vec::len) == Some(1)
    });
    let found = gaps("furnace.heater");
    assert_eq!(found["gaps"][0]["reason"], "disconnected", "{found}");
    assert_eq!(found["complete"], true);
    // Of what is computed of it nothing is missing.
    let found = gaps("furnace.heater.mean_100ms");
    assert_eq!(found["gaps"], json!([]), "{found}");
    lab.stop();
}

/// How many rows of the only lane are in segments, in how many, and how many are in the journal alone.
fn seam(data: &std::path::Path) -> Option<(usize, u64, u64)> {
    let archive = Archive::open(data).ok()?;
    let run = archive.runs().ok()?.pop()?;
    let lane = archive.overview(&run).ok()?.lanes.into_iter().next()?;
    let stored = usize::try_from(lane.rows - lane.journal_rows).ok()?;
    Some((stored, lane.segments, lane.journal_rows))
}

/// Columns too narrow for what is in memory are folded out of segments and journal: where the one ends and the other begins nothing
/// shows.
#[test]
fn a_range_over_the_seam_of_store_and_journal_is_that_of_the_raw_samples() {
    let (lab, address) = start(&format!("[store]\nsegment_age = \"2s\"\n{SERVE}"));
    let data = lab.dir.path().join("data");
    let half_ns = 400_000_000;
    let (mut range, mut seam_ns) = (None, 0);
    wait_until(
        "a range over the seam is answered while the seam stays",
        || {
            let Some((stored, segments, in_journal)) = seam(&data).filter(|seam| seam.1 > 0) else {
                return false;
            };
            let so_far = recorded(&data, 0);
            // Of these a second may not be committed yet: then they are not shown.
            if in_journal < 1000 || so_far.times_ns.len() <= stored {
                return false;
            }
            seam_ns = so_far.times_ns[stored];
            let path = envelope(seam_ns - half_ns, seam_ns + half_ns, 4096);
            let answer = get(address, &path);
            assert_eq!(answer.status, 200, "{}", answer.text());
            range = client::Message::of(&answer.body).series.into_iter().next();
            seam(&data).is_some_and(|seam| seam.1 == segments)
        },
    );
    let (_, dir) = lab.stop();
    let recorded = recorded(&dir.path().join("data"), 0);
    let range = range.expect("a series");
    let (times_ns, values) = (&recorded.times_ns, &recorded.columns[0]);
    // What was not committed when it was asked is behind the last column that has something; that one may not be whole.
    let last = range.columns.iter().rposition(|column| !column[0].is_nan());
    let last = i64::try_from(last.expect("something is shown")).expect("few");
    let shown_ns = (range.first + last) * range.bucket_ns;
    let compared = same_as_recorded(&range, times_ns, values, shown_ns);
    assert!(compared > 2500, "{compared}");
    let is_there = |side: std::ops::Range<i64>| {
        let numbered = (range.first..).zip(&range.columns);
        numbered
            .filter(|(number, column)| {
                side.contains(&(number * range.bucket_ns)) && !column[0].is_nan()
            })
            .count()
    };
    for side in [seam_ns - half_ns..seam_ns, seam_ns..seam_ns + half_ns] {
        assert!(is_there(side.clone()) > 10, "nothing in {side:?}");
    }
}
