//! Every kind of outage, with Kymo killed in the middle of each: afterwards every sample is there once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lab::{json, wait_until};
use crate::scripted::{Reply, Request, Server};
use crate::truth::{Place, configuration, expect_same, kill};

/// A run is killed while the trouble lasts, another begins in it, and sees it end.
fn survive(trouble: impl Fn(&Request) -> Reply + Send + Clone + 'static, state: &str) {
    let server = Server::good();
    let place = Place::new(&configuration(&format!(
        "url = \"{}\"\ndatabase = \"lab\"\ndialect = \"v1\"",
        server.url()
    )));
    let run = place.run();
    place.wait_for("the sink sends", |status| {
        status["written"].as_u64() > Some(500)
    });
    server.behave(trouble.clone());
    place.wait_for("the trouble is seen", |status| is_seen(status, state));
    std::thread::park_timeout(Duration::from_millis(700));
    kill(run);
    let mut run = place.start_for("3s");
    std::thread::park_timeout(Duration::from_millis(1500));
    server.behave(|_| Reply::Accept);
    assert!(run.wait().expect("it ends").success());
    let report = json(&place.report());
    assert_eq!(report["sinks"]["lab"]["behind"], 0, "{report}");
    assert_eq!(report["sinks"]["lab"]["rejected"], 0, "{report}");
    assert_eq!(report["ledger"]["balanced"], true, "{report}");
    expect_same(&server.points(), &place.truth());
}

fn is_seen(status: &serde_json::Value, state: &str) -> bool {
    match state {
        "slow" => status["lag_s"].as_f64() > Some(0.5),
        state => status["state"] == state,
    }
}

#[test]
fn a_server_that_accepts_and_then_resets() {
    survive(|_| Reply::AcceptAndReset, "waiting");
}

#[test]
fn a_server_that_resets_now_and_then() {
    // Each third request, in the middle of everything.
    let server = Server::start(|request| match request.number % 3 {
        0 => Reply::Reset,
        1 => Reply::AcceptAndReset,
        _ => Reply::Accept,
    });
    let place = Place::new(&configuration(&format!(
        "url = \"{}\"\ndatabase = \"lab\"\ndialect = \"v1\"",
        server.url()
    )));
    let report = place.run_for("2s");
    assert_eq!(report["sinks"]["lab"]["behind"], 0, "{report}");
    expect_same(&server.points(), &place.truth());
}

#[test]
fn a_server_that_answers_503_with_a_time() {
    survive(
        |_| Reply::Say {
            status: 503,
            headers: vec![("Retry-After", "1".to_owned())],
            body: "{\"error\":\"timeout\"}".to_owned(),
            keep: Vec::new(),
        },
        "waiting",
    );
}

#[test]
fn a_server_that_is_slow() {
    survive(|_| Reply::AcceptAfter(Duration::from_secs(1)), "slow");
}

#[test]
fn a_server_that_hangs() {
    survive(|_| Reply::Hang, "waiting");
}

#[test]
fn a_server_whose_disk_is_full() {
    survive(
        |_| {
            Reply::say(
                500,
                "{\"error\":\"engine: error writing WAL entry: write /wal/_00001.wal: no space left on device\"}",
            )
        },
        "waiting",
    );
}

#[test]
fn a_server_that_lost_its_database() {
    survive(
        |_| Reply::say(404, "{\"error\":\"database not found: \\\"lab\\\"\"}"),
        "denied",
    );
}

#[test]
fn a_retry_after_is_kept_to() {
    let server = Server::good();
    let (asked, is_well) = (
        Arc::<Mutex<Vec<Instant>>>::default(),
        Arc::new(AtomicBool::new(false)),
    );
    let (times, well) = (Arc::clone(&asked), Arc::clone(&is_well));
    server.behave(move |request| {
        if request.is_write() && !well.load(Ordering::SeqCst) {
            times
                .lock()
                .expect("nobody panics with it")
                .push(Instant::now());
            return Reply::Say {
                status: 429,
                headers: vec![("Retry-After", "2".to_owned())],
                body: String::new(),
                keep: Vec::new(),
            };
        }
        Reply::Accept
    });
    let place = Place::new(&configuration(&format!(
        "url = \"{}\"\ndatabase = \"lab\"\ndialect = \"v1\"",
        server.url()
    )));
    let run = place.start();
    place.wait_for("it is told to wait", |status| {
        status["errors"]["busy"].as_u64() > Some(0)
    });
    let asked = || asked.lock().expect("nobody panics with it").clone();
    wait_until("it has asked three times", || asked().len() >= 3);
    is_well.store(true, Ordering::SeqCst);
    // By its own back-off it would have asked several times in between. Late it may be, and never early.
    let asked = asked();
    for two in asked.windows(2) {
        assert!(two[1] - two[0] >= Duration::from_secs(2), "{asked:?}");
    }
    assert_eq!(place.end(run)["sinks"]["lab"]["behind"], 0);
}
