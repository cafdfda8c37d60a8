//! Alerts through kills and restarts.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::server::{Answer, Server, status};
use super::{RULE, events};
use crate::lab::{self, CHAMBER, expect_status, kymo, output, wait_until};

/// Killed as soon as the alert is committed, again and again: what was not delivered before is delivered then.
#[test]
fn an_alert_is_delivered_at_least_once_through_kills() {
    let server = Server::start(|number| match number {
        // The first run is killed while it waits for this answer.
        0 => Answer::Hang,
        _ => status(200, ""),
    });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let config = dir.path().join("lab.toml");
    let configuration = format!(
        "{CHAMBER}{}[notifier.hook]\ntype = \"webhook\"\nurl = \"http://{}/\"\non = [\"fired\"]\n[run]\ndata_dir = \"{}\"\n",
        // The device fires it by itself, every four seconds.
        RULE.replace("3.5", "2.5").replace("3.2", "2.0"),
        server.address,
        data.display()
    );
    std::fs::write(&config, configuration).expect("a file");
    let start = || {
        let mut command = lab::run();
        command.args(["--json", "--config"]).arg(&config);
        let child = command.stdout(Stdio::null()).spawn();
        child.expect("the program can be started")
    };
    let mut child = start();
    wait_until("an alert is on its way", || !server.requests().is_empty());
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let id = server.requests()[0]
        .header("x-kymo-delivery")
        .expect("an id")
        .to_owned();
    let mut child = start();
    wait_until("it arrives", || {
        server
            .requests()
            .iter()
            .skip(1)
            .any(|request| request.header("x-kymo-delivery") == Some(&id))
    });
    // Every alert that was committed before this kill arrives, too.
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let fired = events(&data, "alert")
        .iter()
        .filter(|event| event["change"] == "fired")
        .count();
    let mut child = start();
    let arrived = || {
        let mut ids: Vec<String> = server
            .requests()
            .iter()
            .skip(1)
            .filter_map(|request| request.header("x-kymo-delivery").map(str::to_owned))
            .collect();
        ids.sort();
        ids.dedup();
        ids.len()
    };
    wait_until("all have arrived", || arrived() >= fired);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// A device of the test's own, which outlives the runs that read it: numbered lines at a pressure, some 200 a second.
struct Pump {
    listener: TcpListener,
    peer: Option<TcpStream>,
    number: u32,
}

impl Pump {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self {
            listener,
            peer: None,
            number: 0,
        }
    }

    /// Waits for the next run to connect.
    fn accept(&mut self) {
        let (peer, _) = self.listener.accept().expect("a run connects");
        peer.set_nodelay(true).expect("a socket");
        self.peer = Some(peer);
    }

    /// Sends lines until something is so, and at least so many; the number of the first.
    fn send_until(&mut self, bar: f64, least: u32, mut is_so: impl FnMut() -> bool) -> u32 {
        let first = self.number;
        let peer = self.peer.as_mut().expect("somebody reads");
        wait_until("what is sent has its effect", || {
            // One more each time that it is looked at, and some time between.
            writeln!(peer, "{},{bar}", self.number).expect("it is read");
            self.number += 1;
            std::thread::park_timeout(Duration::from_millis(3));
            self.number >= first + least && is_so()
        });
        first
    }
}

const BEFORE_MS: u32 = 200;

/// The first run ends in the middle of an alert, one way or the other; the alert goes on in the next one, as does what is kept around
/// it.
fn goes_on_around_an_alert(end: impl Fn(&mut Child)) {
    let mut pump = Pump::new();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (data, config) = (dir.path().join("data"), dir.path().join("lab.toml"));
    let told = dir.path().join("told");
    let configuration = format!(
        r#"
        [source.pump]
        rate_hz = 200
        link = {{ type = "tcp", address = "{}" }}
        reconnect = {{ first = "5ms", max = "20ms" }}
        protocol = {{ type = "lines", first_line = "whole" }}
        channel = [{{ name = "number" }}, {{ name = "pressure", unit = "bar" }}]
        keep = {{ around_alerts = {{ before = "{BEFORE_MS}ms", after = "200ms" }} }}
        [[rule]]
        name = "overpressure"
        channel = "pump.pressure"
        above = 2.5
        clear = 2.0
        [notifier.told]
        type = "log"
        path = "{}"
        text = "{{change}}"
        "#,
        pump.listener.local_addr().expect("an address"),
        told.display()
    );
    std::fs::write(&config, configuration).expect("a file");
    let start = || {
        let mut command = lab::run();
        command.arg("--config").arg(&config);
        let child = command
            .arg("--data-dir")
            .arg(&data)
            .stdout(Stdio::null())
            .spawn();
        child.expect("the program can be started")
    };
    let is_told = |what: &str| {
        std::fs::read_to_string(&told).is_ok_and(|told| told.lines().any(|line| line == what))
    };
    let numbers = || lab::recorded(&data, 0).columns.swap_remove(0);

    let mut run = start();
    pump.accept();
    pump.send_until(1.0, 600, || true);
    let fired = pump.send_until(3.0, 1, || is_told("fired"));
    // Some of what follows is on disk, too.
    pump.send_until(3.0, 100, || numbers().last() > Some(&f64::from(fired + 50)));
    end(&mut run);
    let before = numbers();

    let mut run = start();
    pump.accept();
    let second = pump.send_until(3.0, 200, || true);
    let cleared = pump.send_until(1.0, 1, || is_told("cleared"));
    let after = pump.send_until(1.0, 600, || true);
    lab::interrupt(&run);
    assert!(run.wait().expect("it ends").success());

    let changes: Vec<Value> = events(&data, "alert")
        .iter()
        .map(|event| event["change"].clone())
        .collect();
    assert_eq!(changes, ["fired", "cleared"], "it fired once, and went on");
    let all = numbers();
    assert!(all.starts_with(&before), "what was there stays");
    // What was under way is with the first run; what is there of each is without a hole.
    let cut = all
        .iter()
        .position(|number| *number >= f64::from(second))
        .expect("the second run's");
    let (first_run, second_run) = all.split_at(cut);
    for numbers in [first_run, second_run] {
        assert!(numbers.windows(2).all(|two| two[1] - two[0] == 1.0));
    }
    let edges = |numbers: &[f64]| (numbers[0], numbers[numbers.len() - 1]);
    let (from, to) = edges(first_run);
    let fired = f64::from(fired);
    assert!(
        from > 0.0 && from < fired && to > fired,
        "{from} {fired} {to}"
    );
    let (from, to) = edges(second_run);
    assert_eq!(from, f64::from(second), "from its first frame on");
    assert!(
        to > f64::from(cleared) && to < f64::from(after + 599),
        "{cleared} {to}"
    );
    expect_status(&output(kymo().args(["audit", "--data-dir"]).arg(&data)), 0);
}

#[test]
fn an_alert_and_what_is_kept_around_it_go_on_after_a_kill() {
    goes_on_around_an_alert(|run| {
        run.kill().expect("it can be killed");
        run.wait().expect("it ends");
    });
}

#[test]
fn an_alert_and_what_is_kept_around_it_go_on_after_a_restart() {
    goes_on_around_an_alert(|run| {
        lab::interrupt(run);
        assert!(run.wait().expect("it ends").success());
    });
}
