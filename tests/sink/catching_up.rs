//! After an outage: the newest first, and what becomes of an outage that takes more disk than is allowed.

use std::time::Duration;

use crate::lab::{expect_status, output};
use crate::scripted::{Points, Reply, Server};
use crate::truth::{Place, configuration, expect_conserved, expect_same, journaled, kill};

fn sink(server: &Server, more: &str) -> String {
    configuration(&format!(
        "url = \"{}\"\ndatabase = \"lab\"\ndialect = \"v1\"\n{more}",
        server.url()
    ))
}

#[test]
fn the_newest_come_first_and_nothing_is_missing_although_it_was_killed_twice() {
    let server = Server::good();
    let place = Place::new(&format!(
        "{}\n[journal]\nsegment_size = \"1MiB\"\n",
        sink(&server, "catch_up = \"newest-first\"").replace("64KiB", "8KiB")
    ));
    let run = place.run();
    place.wait_for("the sink sends", |status| {
        status["written"].as_u64() > Some(500)
    });
    server.behave(|_| Reply::say(500, "broken"));
    place.wait_for("the trouble is seen", |status| status["state"] == "waiting");
    std::thread::park_timeout(Duration::from_secs(4));
    kill(run);
    // What comes now is accepted at once; what was missed, one small piece after another.
    let before = server.points();
    let last_before = last(&before);
    let restarted_ns: i64 = kymo::clock::Clock::system().now_ns();
    server.behave(move |request| {
        let time = request
            .body
            .lines()
            .next()
            .and_then(|line| line.rsplit(' ').next()?.parse::<i64>().ok());
        match time {
            Some(time) if time < restarted_ns => Reply::AcceptAfter(Duration::from_millis(1500)),
            _ => Reply::Accept,
        }
    });
    let run = place.run();
    place.wait_for("what comes is sent while much is missing", |status| {
        status["written"].as_u64() > Some(1000)
            && status["done"]
                .as_array()
                .is_some_and(|done| !done.is_empty())
    });
    kill(run);
    let (found, truth) = (server.points(), place.truth());
    let newest = last(&found);
    let is_missing = |time: i64| time > last_before && time < newest - 1_000_000_000;
    let missing = truth.keys().filter(|(source, time)| {
        is_missing(*time) && !found.contains_key(&(source.clone(), *time))
    });
    assert!(
        missing.count() > 0,
        "the newest were there before all that was missed"
    );
    server.behave(|_| Reply::Accept);
    let report = place.run_for("2s");
    assert_eq!(report["sinks"]["lab"]["behind"], 0, "{report}");
    expect_same(&server.points(), &place.truth());
    let status = place.status();
    assert_eq!(
        status["sinks"]["lab"]["done"],
        serde_json::json!([]),
        "{status}"
    );
}

fn last(points: &Points) -> i64 {
    points.keys().map(|(_, time)| *time).max().unwrap_or(0)
}

#[test]
fn an_outage_that_takes_too_much_disk_is_given_up_loudly_and_sent_from_the_store() {
    let server = Server::start(|_| Reply::say(500, "broken"));
    // Bytes of a second are some 50 KiB at these rates: a fast vibration sensor fills segments.
    let fast = r#"
[source.vibration]
rate_hz = 100000
link = { type = "simulator", device = "vibration", baud = 12000000 }
[source.vibration.protocol]
type = "packet"
sync = "A5"
length = 5
order = "big"
counter = { at = 1, type = "u8" }
checksum = { kind = "CRC-8/SMBUS", from = 0, to = -1, at = -1 }
[[source.vibration.channel]]
name = "velocity"
field = { at = 2, type = "i16" }
[simulator.vibration]
device = "vibration-sensor"
[journal]
segment_size = "1MiB"
"#;
    let place = Place::new(&format!(
        "{fast}{}",
        sink(&server, "backlog = \"2MiB\"")
            .replace(crate::lab::CHAMBER, "")
            .replace(crate::lab::FURNACE, "")
    ));
    let run = place.start();
    place.wait_for("some is given up", |status| {
        status["given_up"].as_u64() > Some(100_000)
    });
    server.behave(|_| Reply::Accept);
    let report = place.end(run);
    expect_conserved(&report);
    let sink = &report["sinks"]["lab"];
    assert_eq!(sink["behind"], 0, "{report}");
    let lost = sink["lost"].as_str().expect("it is said");
    assert!(
        lost.contains("samples from") && lost.contains("kymo backfill lab --from"),
        "{lost}"
    );
    assert!(sink["given_up"].as_u64() > Some(100_000));
    // As it says, word for word.
    let command = lost.split('`').nth(1).expect("a command");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    expect_status(&output(&mut place.command(&words)), 0);
    let found = server.points().len() as u64;
    assert_eq!(found, journaled(&report), "every sample is there, once");
}

#[test]
fn what_an_earlier_run_left_unsent_comes_first() {
    let server = Server::start(|_| Reply::Reset);
    let place = Place::new(&sink(&server, "").replace("linger = \"30s\"", "linger = \"100ms\""));
    let report = place.run_for("2s");
    expect_conserved(&report);
    let behind = report["sinks"]["lab"]["behind"].as_u64().expect("a count");
    assert_eq!(behind, journaled(&report), "nothing was accepted: {report}");
    assert!(report["sinks"]["lab"]["trouble"].is_string());
    server.behave(|_| Reply::Accept);
    let config = std::fs::read_to_string(place.config())
        .expect("a file")
        .replace("linger = \"100ms\"", "linger = \"30s\"");
    std::fs::write(place.config(), config).expect("a file");
    let next = place.run_for("1s");
    assert_eq!(next["sinks"]["lab"]["behind"], 0);
    assert_eq!(
        next["sinks"]["lab"]["written"],
        behind + journaled(&next),
        "{next}"
    );
    expect_same(&server.points(), &place.truth());
}
