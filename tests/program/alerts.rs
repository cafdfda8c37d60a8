//! Alerts in a whole run: an interlock, notifiers that misbehave, orders, and what survives a crash.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kymo::alert::{Change, Order};
use kymo::pipeline::Notice;
use serde_json::{Value, json};

use super::far_end::FarEnd;
use super::lab::{self, CHAMBER, Lab, PATIENCE, expect_status, kymo, output, text, wait_until};

/// A server that answers every request as it is told, and keeps what it was sent.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Debug, Clone)]
struct Request {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

impl Server {
    /// `answer` makes the answer to the request of that number; `None`: there is none, ever.
    fn start(answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (kept, answer, count) = (
            Arc::clone(&requests),
            Arc::new(answer),
            Arc::new(AtomicUsize::new(0)),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer, count) =
                    (Arc::clone(&kept), Arc::clone(&answer), Arc::clone(&count));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                    while let Some(request) = read_request(&mut reader) {
                        kept.lock().expect("no thread panics with it").push(request);
                        let number = count.fetch_add(1, Ordering::SeqCst);
                        match answer(number) {
                            Some(text) => {
                                if (&stream).write_all(text.as_bytes()).is_err() {
                                    return;
                                }
                            }
                            None => {
                                // Until the other side gives up.
                                let _ = reader.read(&mut [0; 1]);
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests
            .lock()
            .expect("no thread panics with it")
            .clone()
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { headers, body })
}

fn status(code: u16, more: &str) -> Option<String> {
    Some(format!(
        "HTTP/1.1 {code} Some\r\n{more}content-length: 2\r\n\r\nno"
    ))
}

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

#[test]
fn an_interlock_sends_its_stop_bytes_whatever_silences_and_hanging_webhooks_do() {
    let hanging = Server::start(|_| None);
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

/// The events of a kind in the journal.
fn events(data: &Path, kind: &str) -> Vec<Value> {
    let mut found = lab::events(data);
    found.retain(|event| event["event"] == kind);
    found
}

const RULE: &str = r#"
[[rule]]
name = "overpressure"
channel = "chamber.pressure"
above = 2.5
clear = 2.0
labels = { room = "B\"12" }
message = "{channel} at {value} {unit} in {label.room}"
"#;

fn dead(data: &Path) -> Vec<Value> {
    let mut letters = Vec::new();
    let Ok(notifiers) = std::fs::read_dir(data.join("alerts/dead")) else {
        return letters;
    };
    for notifier in notifiers.flatten() {
        for file in std::fs::read_dir(notifier.path())
            .expect("a directory")
            .flatten()
        {
            let bytes = std::fs::read(file.path()).expect("a file");
            letters.push(serde_json::from_slice(&bytes).expect("a dead letter is JSON"));
        }
    }
    letters
}

#[test]
fn a_webhook_is_signed_templated_and_tried_again() {
    use hmac::{Hmac, KeyInit, Mac};
    // Twice out of order, then well.
    let server = Server::start(|number| match number {
        0 => status(503, "retry-after: 0\r\n"),
        1 => Some("HTTP/1.1 200".to_owned()),
        _ => status(200, ""),
    });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "quiet please\n").expect("a file");
    let lab = Lab::start(&format!(
        r#"{CHAMBER}{RULE}
        [notifier.hook]
        type = "webhook"
        url = "http://{}/alerts"
        on = ["fired"]
        timeout = "300ms"
        secret_file = "{}"
        headers = {{ X-Lab = "7" }}
        body = {{ text = "{{message}}", value = "{{value}}", of = ["{{severity}}", 1] }}
        "#,
        server.address,
        secret.display()
    ));
    lab.simulator(0)
        .set_level(Some(1.0))
        .recv_timeout(PATIENCE)
        .expect("it sets its level");
    press(&lab, 3.0, Change::Fired);
    wait_until("the third attempt", || server.requests().len() >= 3);
    let requests = server.requests();
    let first = &requests[0];
    assert_eq!(
        first.json(),
        json!({"text": "chamber.pressure at 3 bar in B\"12", "value": 3.0, "of": ["warning", 1]})
    );
    assert_eq!(first.header("x-lab"), Some("7"));
    for request in &requests {
        let timestamp = request.header("x-kymo-timestamp").expect("a timestamp");
        let mut mac =
            Hmac::<sha2::Sha256>::new_from_slice(b"quiet please").expect("any key is right");
        mac.update(format!("{timestamp}.").as_bytes());
        mac.update(&request.body);
        let hex: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            request.header("x-kymo-signature"),
            Some(format!("sha256={hex}").as_str())
        );
        assert_eq!(
            request.header("x-kymo-delivery"),
            first.header("x-kymo-delivery"),
            "it is one message"
        );
    }
    let (report, dir) = lab.stop();
    assert_eq!(
        report.notifiers["hook"]["delivered"], 1,
        "{:?}",
        report.notifiers
    );
    assert_eq!(
        report.notifiers["hook"]["failed_attempts"], 2,
        "{:?}",
        report.notifiers
    );
    assert_eq!(dead(&dir.path().join("data")), Vec::<Value>::new());
}

#[test]
fn what_cannot_be_delivered_is_a_dead_letter_to_be_seen_and_sent_again() {
    let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let server = Server::start(move |_| match well.load(Ordering::SeqCst) {
        true => status(200, ""),
        false => status(302, "location: http://elsewhere/\r\n"),
    });
    let closed = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let configuration = format!(
        r#"{CHAMBER}{RULE}
        [run]
        data_dir = "{}"
        [notifier.redirected]
        type = "webhook"
        url = "http://{}/"
        on = ["fired"]
        [notifier.refused]
        type = "webhook"
        url = "http://{closed}/"
        on = ["fired"]
        give_up = "100ms"
        [notifier.failing]
        type = "command"
        command = ["sh", "-c", "echo no luck with $1 >&2; exit 3", "-", "{{rule}}"]
        on = ["fired"]
        give_up = "100ms"
        [notifier.slow]
        type = "command"
        command = ["sh", "-c", "sleep 1000 & sleep 1000"]
        timeout = "100ms"
        on = ["fired"]
        give_up = "0"
        "#,
        dir.path().join("data").display(),
        server.address
    );
    let config = dir.path().join("lab.toml");
    std::fs::write(&config, &configuration).expect("a file");
    let lab = Lab::start_in(&configuration, &dir.path().join("data"));
    lab.simulator(0)
        .set_level(Some(1.0))
        .recv_timeout(PATIENCE)
        .expect("it sets its level");
    press(&lab, 3.0, Change::Fired);
    let data = dir.path().join("data");
    wait_until("four dead letters", || dead(&data).len() == 4);
    let why: Vec<(String, String)> = {
        let mut why: Vec<_> = dead(&data)
            .iter()
            .map(|letter| {
                let text = |key: &str| letter[key].as_str().unwrap_or_default().to_owned();
                (text("notifier"), text("why"))
            })
            .collect();
        why.sort();
        why
    };
    assert_eq!(
        why[0].1,
        "sh ended with exit status: 3: no luck with overpressure"
    );
    assert!(
        why[1].1.contains("302") && why[1].1.contains("http://elsewhere/ is not followed"),
        "{why:?}"
    );
    assert!(why[2].1.contains("refused"), "{why:?}");
    assert!(why[3].1.contains("was killed"), "{why:?}");
    let (report, _) = lab.stop();
    assert!(report.ledger.balanced && report.failure.is_none());

    let command = |args: &[&str]| output(kymo().args(args).arg("--config").arg(&config));
    let listed = command(&["notify", "dead", "--json"]);
    expect_status(&listed, 0);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("it is JSON");
    assert_eq!(listed["dead"].as_array().map(Vec::len), Some(4));
    is_well.store(true, Ordering::SeqCst);
    let sent = command(&["notify", "resend", "redirected"]);
    expect_status(&sent, 0);
    assert_eq!(text(&sent.stdout), "1 delivered, 0 not\n");
    let failed = command(&["notify", "resend", "--all"]);
    expect_status(&failed, 1);
    assert_eq!(dead(&data).len(), 3, "what could not be delivered is kept");
    expect_status(&command(&["notify", "resend", "nothing"]), 2);
    expect_status(&command(&["notify", "list"]), 0);
    expect_status(&command(&["notify", "test", "redirected"]), 0);
    expect_status(&command(&["notify", "test", "failing"]), 1);
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
    press(&lab, 3.0, Change::Fired);
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
    press(&lab, 3.0, Change::Fired);
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

/// Killed as soon as the alert is committed, again and again: what was not delivered before is delivered then.
#[test]
fn an_alert_is_delivered_at_least_once_through_kills() {
    let server = Server::start(|number| match number {
        // The first run is killed while it waits for this answer.
        0 => None,
        _ => status(200, ""),
    });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let config = dir.path().join("lab.toml");
    let configuration = format!(
        "{CHAMBER}{RULE}[notifier.hook]\ntype = \"webhook\"\nurl = \"http://{}/\"\non = [\"fired\"]\n[run]\ndata_dir = \"{}\"\n",
        server.address,
        data.display()
    );
    std::fs::write(&config, configuration).expect("a file");
    let start = || {
        let mut command = kymo();
        command
            .args(["run", "--json", "--config"])
            .arg(&config)
            .stdout(std::process::Stdio::null());
        command.spawn().expect("the program can be started")
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
    std::thread::park_timeout(Duration::from_millis(1500));
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

#[test]
fn rules_are_tried_on_what_was_recorded() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let configuration = format!("{CHAMBER}{RULE}[run]\ndata_dir = \"{}\"\n", data.display());
    let lab = Lab::start_in(&configuration, &data);
    lab.simulator(0)
        .set_level(Some(1.0))
        .recv_timeout(PATIENCE)
        .expect("it sets its level");
    for _ in 0..3 {
        press(&lab, 3.0, Change::Fired);
        press(&lab, 1.0, Change::Cleared);
    }
    drop(lab.stop());
    let config = dir.path().join("lab.toml");
    std::fs::write(&config, &configuration).expect("a file");
    let test = |config: &Path, more: &[&str]| {
        output(
            kymo()
                .args(["rules", "test", "--config"])
                .arg(config)
                .args(more),
        )
    };
    let tried = test(&config, &["--json"]);
    expect_status(&tried, 0);
    assert_eq!(
        tried.stdout,
        test(&config, &["--json"]).stdout,
        "byte for byte the same"
    );
    let tried: Value = serde_json::from_slice(&tried.stdout).expect("it is JSON");
    let key = |event: &Value| {
        (
            event["time"].clone(),
            event["change"].clone(),
            event["value"].clone(),
        )
    };
    let recorded: Vec<_> = events(&data, "alert").iter().map(key).collect();
    let rehearsed: Vec<_> = tried["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(key)
        .collect();
    assert_eq!(
        rehearsed, recorded,
        "what a run did, and what it would have done, is the same"
    );
    assert_eq!(
        tried["rules"]["overpressure"]["episodes"]
            .as_array()
            .map(Vec::len),
        Some(recorded.len() / 2)
    );

    // Another configuration's rules: one that fires, one over a condition, one whose channel was not recorded.
    let other = dir.path().join("other.toml");
    let rules = r#"
[[rule]]
name = "any"
channel = "chamber.pressure"
above = 0.5
[[rule]]
name = "mean"
when = "mean(chamber.pressure, 5ms) > 2 bar"
[[rule]]
name = "absent"
channel = "other.x"
above = 1
[source.other]
link = { type = "serial", path = "/dev/null", baud = 9600 }
protocol = { type = "lines" }
channel = [{ name = "x" }]
"#;
    std::fs::write(
        &other,
        format!("{CHAMBER}{rules}[run]\ndata_dir = \"{}\"\n", data.display()),
    )
    .expect("a file");
    let tried = test(&other, &["--json"]);
    expect_status(&tried, 0);
    let tried: Value = serde_json::from_slice(&tried.stdout).expect("it is JSON");
    assert_eq!(
        (
            &tried["rules"]["any"]["active"],
            &tried["rules"]["absent"]["recorded"]
        ),
        (&json!(true), &json!(false))
    );
    assert!(
        tried["rules"]["mean"]["fired"].as_u64() >= Some(1),
        "{tried}"
    );
    for more in [&["--plot"][..], &[], &["--rule", "mean", "--run", "last"]] {
        let shown = test(&other, more);
        expect_status(&shown, 0);
        assert!(
            text(&shown.stdout).contains("mean"),
            "{}",
            text(&shown.stdout)
        );
    }
    expect_status(&test(&other, &["--rule", "nothing"]), 2);
}
