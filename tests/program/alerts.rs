//! Alerts in a whole run: interlocks, orders, and what commands and logs are told.

mod rehearsed;
mod restarts;
mod server;
mod webhooks;

use std::io::Write;
use std::path::{Path, PathBuf};

use kymo::alert::{Change, Order};
use kymo::pipeline::Notice;
use serde_json::{Value, json};

use super::far_end::FarEnd;
use super::lab::{self, CHAMBER, Lab, PATIENCE, expect_status, kymo, output, text, wait_until};
use server::{Answer, Server};

/// Sets the pressure and waits for the change of a rule.
fn press(lab: &Lab, bar: f64, change: Change) {
    let written = lab.simulator(0).set_level(Some(bar)).recv_timeout(PATIENCE);
    written.expect("the device sets its level");
    loop {
        let notice = lab.run.notices().recv_timeout(PATIENCE);
        if let Notice::Alert(alert) = notice.expect("an alert is told")
            && alert.moved.change == change
        {
            return;
        }
    }
}

/// The events of a kind in the journal.
fn events(data: &Path, kind: &str) -> Vec<Value> {
    let mut found = lab::events(data);
    found.retain(|event| event["event"] == kind);
    found
}

/// Above all that the device sends of itself: it fires when it is told to.
const RULE: &str = r#"
[[rule]]
name = "overpressure"
channel = "chamber.pressure"
above = 3.5
clear = 3.2
labels = { room = "B\"12" }
message = "{channel} at {value} {unit} in {label.room}"
"#;

#[test]
fn an_interlock_sends_its_stop_bytes_whatever_silences_and_hanging_webhooks_do() {
    let hanging = Server::start(|_| Answer::Hang);
    let device = FarEnd::open();
    let lab = Lab::start(&format!(
        r#"
        [source.pump]
        priority = "critical"
        link = {{ type = "serial", path = "{}", baud = 115200 }}
        protocol = {{ type = "lines", first_line = "whole" }}
        channel = [{{ name = "pressure", unit = "bar" }}]
        [[rule]]
        name = "overpressure"
        channel = "pump.pressure"
        above = 2.5
        clear = 2.0
        severity = "critical"
        notify = ["stop", "hook"]
        [[rule]]
        name = "silenced"
        channel = "pump.pressure"
        above = 2.5
        clear = 2.0
        notify = ["stop-silenced", "hook"]
        [[rule]]
        name = "names-nobody"
        channel = "pump.pressure"
        above = 2.5
        notify = []
        [notifier.stop]
        type = "line"
        source = "pump"
        send = "STOP\r\n"
        [notifier.stop-silenced]
        type = "line"
        source = "pump"
        send = {{ hex = "01 02" }}
        [notifier.hook]
        type = "webhook"
        url = "http://{}/x"
        timeout = "60s"
        [[silence]]
        rules = ["silenced"]
        to = 2100-01-01T00:00:00Z
        "#,
        device.path().display(),
        hanging.address
    ));
    for _ in 0..3 {
        device.write(b"1.0\n3.0\n");
        assert_eq!(device.read_until(b"STOP\r\n\x01\x02"), b"STOP\r\n\x01\x02");
    }
    wait_until("the webhook hangs", || !hanging.requests().is_empty());
    device.write(b"1.0\n3.0\n");
    assert_eq!(device.read_until(b"STOP\r\n\x01\x02"), b"STOP\r\n\x01\x02");
    let (report, dir) = lab.stop();
    assert_eq!(report.alerts["overpressure"]["fired"], 4);
    assert_eq!(
        report.alerts["silenced"]["silenced"], 7,
        "four times fired, three times cleared"
    );
    // A silence holds people's messages back, not the interlock; and a rule is told to those alone that it names.
    assert_eq!(hanging.requests().len(), 1, "it hangs with the first");
    assert_eq!(hanging.requests()[0].json()["rule"], "overpressure");
    let told = events(&dir.path().join("data"), "interlock");
    assert_eq!(told.len(), 8, "{told:?}");
    assert!(
        told.iter()
            .all(|event| event["latency_us"].as_f64() > Some(0.0)),
        "{told:?}"
    );
}

/// A device that is not there: the line waits for it, and is given up with an event, and nothing else waits.
#[test]
fn a_line_to_a_device_that_is_gone_is_an_event() {
    let device = FarEnd::open();
    let mut lab = Lab::start(&format!(
        r#"
        [source.gauge]
        link = {{ type = "serial", path = "{}", baud = 115200 }}
        protocol = {{ type = "lines", first_line = "whole" }}
        channel = [{{ name = "p" }}]
        [source.pump]
        link = {{ type = "serial", path = "/nowhere/at/all", baud = 9600 }}
        protocol = {{ type = "lines" }}
        channel = [{{ name = "q" }}]
        [[rule]]
        name = "high"
        channel = "gauge.p"
        above = 1
        notify = ["stop"]
        [notifier.stop]
        type = "line"
        source = "pump"
        send = "STOP"
        "#,
        device.path().display(),
    ));
    device.write(b"0\n2\n0\n2\n");
    let text = lab.wait_for("not_sent");
    assert!(text.contains("not connected"), "{text}");
    let (report, _) = lab.stop();
    assert_eq!(report.alerts["high"]["fired"], 2);
}

#[test]
fn a_command_gets_the_event_and_a_log_its_lines() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name);
    let lab = Lab::start(&format!(
        r#"{CHAMBER}{RULE}
        [notifier.program]
        type = "command"
        command = ["sh", "-c", 'cat > "$1"; echo "$KYMO_CHANGE" >> "$1"', "-", "{}"]
        on = ["fired"]
        [notifier.log]
        type = "log"
        path = "{}"
        text = "{{rule}} {{change}} {{label.room}}"
        "#,
        at("event").display(),
        at("log").display()
    ));
    lab.simulator(0)
        .set_level(Some(1.0))
        .recv_timeout(PATIENCE)
        .expect("it sets its level");
    press(&lab, 4.0, Change::Fired);
    press(&lab, 1.0, Change::Cleared);
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    wait_until("both are written", || {
        read(at("log")).lines().count() >= 2 && read(at("event")).ends_with("fired\n")
    });
    let event: Value = serde_json::from_str(read(at("event")).lines().next().expect("a line"))
        .expect("it is JSON");
    assert_eq!(
        (&event["rule"], &event["state"]["is"]),
        (&json!("overpressure"), &json!("firing"))
    );
    let log = read(at("log"));
    assert!(
        log.starts_with("overpressure fired B\"12\noverpressure cleared B\"12\n"),
        "{log}"
    );
    drop(lab.stop());
}

#[test]
fn orders_reach_a_run_and_wait_for_the_next_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let configuration = format!(
        "{CHAMBER}{RULE}latch = true\n[run]\ndata_dir = \"{}\"\n",
        data.display()
    );
    let config = dir.path().join("lab.toml");
    std::fs::write(&config, &configuration).expect("a file");
    let command =
        |args: &[&str]| output(kymo().arg("rules").args(args).arg("--config").arg(&config));
    expect_status(&command(&["list"]), 2);

    let lab = Lab::start_in(&configuration, &data);
    lab.simulator(0)
        .set_level(Some(1.0))
        .recv_timeout(PATIENCE)
        .expect("it sets its level");
    press(&lab, 4.0, Change::Fired);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(data.join("control.sock"))
            .expect("a socket")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "for its owner alone");
    let list = command(&["list", "--json"]);
    expect_status(&list, 0);
    let list: Value = serde_json::from_slice(&list.stdout).expect("it is JSON");
    assert_eq!(
        (&list["running"], &list["rules"][0]["state"]["is"]),
        (&json!(true), &json!("firing"))
    );
    expect_status(&command(&["silence", "overpressure", "--for", "1h"]), 0);
    expect_status(&command(&["silence", "nothing", "--for", "1h"]), 2);
    expect_status(&command(&["unsilence", "overpressure"]), 0);
    let rubbish = std::os::unix::net::UnixStream::connect(data.join("control.sock"));
    let mut rubbish = rubbish.expect("somebody listens");
    rubbish.write_all(b"\xff{]\n").expect("it is taken");
    drop(rubbish);
    press(&lab, 1.0, Change::Subsided);
    drop(lab.stop());

    // Nobody acknowledged it: the next run knows it still, and does what was asked meanwhile.
    let list = text(&command(&["list"]).stdout);
    assert!(list.contains("subsided"), "{list}");
    let acked = command(&["ack", "overpressure"]);
    expect_status(&acked, 0);
    assert!(
        text(&acked.stdout).contains("when the next run starts"),
        "{}",
        text(&acked.stdout)
    );
    expect_status(&command(&["ack", "overpressure"]), 2);
    let lab = Lab::start_in(&configuration, &data);
    wait_until("it is acknowledged, and so cleared", || {
        let rules = lab.run.control().order(Order::List).expect("it answers");
        !rules[0].state.is_active()
    });
    drop(lab.stop());
    let changes: Vec<Value> = events(&data, "alert")
        .iter()
        .map(|event| event["change"].clone())
        .collect();
    assert_eq!(changes, ["fired", "subsided", "acknowledged", "cleared"]);
}
