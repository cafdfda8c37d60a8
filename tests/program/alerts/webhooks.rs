//! Webhooks: what they are sent, and what becomes of what does not arrive.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kymo::alert::Change;
use serde_json::{Value, json};

use super::server::{Answer, Request, Server, status};
use super::{RULE, press};
use crate::lab::{CHAMBER, Lab, PATIENCE, expect_status, kymo, output, text, wait_until};

fn dead(data: &Path) -> Vec<Value> {
    let mut letters = Vec::new();
    let Ok(notifiers) = std::fs::read_dir(data.join("alerts/dead")) else {
        return letters;
    };
    for notifier in notifiers.flatten() {
        for file in std::fs::read_dir(notifier.path())
            .expect("a directory")
            .flatten()
            // One that is being written has another name, and may be gone under it at any time.
            .filter(|file| file.path().extension().is_some_and(|end| end == "json"))
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
        1 => Answer::Break("HTTP/1.1 200"),
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
        timeout = "60s"
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
    press(&lab, 4.0, Change::Fired);
    wait_until("the third attempt", || server.requests().len() >= 3);
    let requests = server.requests();
    let first = &requests[0];
    assert_eq!(
        first.json(),
        json!({"text": "chamber.pressure at 4 bar in B\"12", "value": 4.0, "of": ["warning", 1]})
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
    let is_well = Arc::new(AtomicBool::new(false));
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
    press(&lab, 4.0, Change::Fired);
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

/// Tried again for as long as it was told, each at its own pace, and then a dead letter that says why.
#[test]
fn who_answers_500_or_hangs_is_asked_again_and_given_up_and_holds_nobody_up() {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let broken = Server::start(move |_| {
        status(
            if well.load(Ordering::SeqCst) {
                200
            } else {
                500
            },
            "",
        )
    });
    let (hanging, good) = (
        Server::start(|_| Answer::Hang),
        Server::start(|_| status(200, "")),
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let configuration = format!(
        r#"{CHAMBER}{RULE}
        [run]
        data_dir = "{}"
        [notifier.broken]
        type = "webhook"
        url = "http://{}/"
        on = ["fired"]
        give_up = "2500ms"
        [notifier.hanging]
        type = "webhook"
        url = "http://{}/"
        on = ["fired"]
        timeout = "100ms"
        give_up = "2500ms"
        [notifier.good]
        type = "webhook"
        url = "http://{}/"
        on = ["fired"]
        "#,
        data.display(),
        broken.address,
        hanging.address,
        good.address
    );
    let config = dir.path().join("lab.toml");
    std::fs::write(&config, &configuration).expect("a file");
    let lab = Lab::start_in(&configuration, &data);
    press(&lab, 4.0, Change::Fired);
    wait_until("the good one is told", || good.requests().len() == 1);
    wait_until("two dead letters", || dead(&data).len() == 2);
    for server in [&broken, &hanging] {
        let requests = server.requests();
        assert!(requests.len() >= 2, "{requests:?}");
        let id = requests[0].header("x-kymo-delivery");
        assert!(id.is_some(), "{requests:?}");
        let same = |request: &Request| request.header("x-kymo-delivery") == id;
        assert!(requests.iter().all(same), "it is one message");
    }
    let why = |name: &str| {
        let letters = dead(&data);
        let letter = letters.iter().find(|letter| letter["notifier"] == name);
        letter.map_or(String::new(), |letter| letter["why"].to_string())
    };
    assert!(why("broken").contains("500"), "{}", why("broken"));
    assert!(why("hanging").contains("timed out"), "{}", why("hanging"));
    let (report, _) = lab.stop();
    for (name, delivered, dead) in [("broken", 0, 1), ("hanging", 0, 1), ("good", 1, 0)] {
        let told = &report.notifiers[name];
        assert_eq!(
            (&told["delivered"], &told["dead"]),
            (&json!(delivered), &json!(dead)),
            "{name}: {told}"
        );
    }
    is_well.store(true, Ordering::SeqCst);
    let resent = output(
        kymo()
            .args(["notify", "resend", "broken", "--config"])
            .arg(&config),
    );
    expect_status(&resent, 0);
    assert_eq!(dead(&data).len(), 1);
}
