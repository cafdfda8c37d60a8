//! A test for every refusal that `docs/api.md` names, but those of tokens.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use serde_json::json;

use super::client::{ask, connect, get, post, raw};
use super::live::Live;
use super::{SERVE, envelope, start};
use crate::lab::{CHAMBER, expect_status, kymo, output, text};

#[track_caller]
fn refused(answer: &super::client::Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json")
    );
    assert!(
        answer.json()["error"]
            .as_str()
            .is_some_and(|error| !error.is_empty())
    );
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[test]
fn another_name_than_ours_is_refused() {
    let (lab, address) = start(&format!("{SERVE}hosts = [\"lab7.example\"]\n"));
    let port = address.port();
    for path in ["/", "/api/state", "/metrics", "/health"] {
        refused(
            &ask(address, "GET", path, &[("Host", "rebound.example")], b""),
            403,
        );
        refused(
            &ask(
                address,
                "GET",
                path,
                &[("Host", &format!("rebound.example:{port}"))],
                b"",
            ),
            403,
        );
        for ours in ["localhost", "127.0.0.1", "lab7.example"] {
            let host = format!("{ours}:{port}");
            let answer = ask(address, "GET", path, &[("Host", &host)], b"");
            assert_eq!(answer.status, 200, "{host}{path}");
        }
    }
    assert_eq!(
        Live::open(address, &[("Host", "rebound.example")]).err(),
        Some(403)
    );
    lab.stop();
}

#[test]
fn another_page_changes_nothing_and_sees_no_traces() {
    let (lab, address) = start(SERVE);
    let note = json!({ "text": "x" }).to_string();
    for origin in [
        "http://evil.example",
        "null",
        "https://127.0.0.1",
        "http://127.0.0.1:1",
    ] {
        for path in [
            "/api/notes",
            "/api/alerts/acknowledge",
            "/api/alerts/silence",
            "/api/alerts/unsilence",
            "/api/login",
        ] {
            let headers = [("Origin", origin), ("Content-Type", "application/json")];
            refused(&ask(address, "POST", path, &headers, note.as_bytes()), 403);
        }
        assert_eq!(
            Live::open(address, &[("Origin", origin)]).err(),
            Some(403),
            "{origin}"
        );
    }
    lab.stop();
}

#[test]
fn a_body_must_be_json_and_say_so_and_be_short() {
    let (lab, address) = start(SERVE);
    let origin = format!("http://{address}");
    let with = |kind: &str, body: &[u8]| {
        ask(
            address,
            "POST",
            "/api/notes",
            &[("Origin", &origin), ("Content-Type", kind)],
            body,
        )
    };
    // Those that a form of another page can send without being asked.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        refused(&with(kind, b"{\"text\": \"x\"}"), 415);
    }
    refused(
        &ask(
            address,
            "POST",
            "/api/notes",
            &[("Origin", &origin)],
            b"{\"text\": \"x\"}",
        ),
        415,
    );
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"{}",
        b"{\"text\": 1}",
        b"{\"text\": \"x\", \"more\": 1}",
        b"\xff\xfe",
    ] {
        refused(&with("application/json", body), 400);
    }
    refused(
        &with(
            "application/json",
            b"{\"text\": \"x\", \"time_ns\": \"soon\"}",
        ),
        400,
    );
    refused(&with("application/json", b"{\"text\": \"  \"}"), 422);
    refused(&with("application/json", &vec![b' '; 1 << 20]), 413);
    lab.stop();
}

#[test]
fn what_is_not_there_and_what_cannot_be_done_is_told_apart() {
    let (lab, address) = start(SERVE);
    refused(&get(address, "/api/nothing"), 404);
    refused(&get(address, "/nothing.js"), 404);
    refused(
        &ask(
            address,
            "DELETE",
            "/api/state",
            &[("Origin", &format!("http://{address}"))],
            b"",
        ),
        405,
    );
    refused(&get(address, "/api/notes"), 405);
    refused(
        &post(
            address,
            "/api/alerts/acknowledge",
            &json!({ "rule": "nowhere" }),
        ),
        422,
    );
    refused(
        &post(
            address,
            "/api/alerts/unsilence",
            &json!({ "rule": "there" }),
        ),
        422,
    );
    refused(
        &post(
            address,
            "/api/alerts/silence",
            &json!({ "rule": "there", "for_s": 0 }),
        ),
        400,
    );
    refused(
        &post(
            address,
            "/api/alerts/silence",
            &json!({ "rule": "there", "for_s": 1e12 as u64 }),
        ),
        400,
    );
    refused(&get(address, "/api/gaps?channel=7&from_ns=0&to_ns=1"), 404);
    refused(
        &get(address, "/api/spectrum?channel=x&from_ns=0&to_ns=1"),
        400,
    );
    lab.stop();
}

#[test]
fn a_range_that_is_none_or_too_much_is_refused() {
    let (lab, address) = start(SERVE);
    let now_ns = lab.run.clock().now_ns();
    let fine = envelope(now_ns - 1_000_000_000, now_ns, 100);
    assert_eq!(get(address, &fine).status, 200);
    refused(&get(address, &envelope(now_ns, now_ns, 100)), 400);
    refused(&get(address, &envelope(now_ns, now_ns - 1, 100)), 400);
    refused(&get(address, &envelope(now_ns - 1000, now_ns, 0)), 400);
    refused(&get(address, &envelope(now_ns - 1000, now_ns, 4097)), 400);
    refused(&get(address, &fine.replace("channels=0", "channels=")), 400);
    refused(
        &get(address, &fine.replace("channels=0", "channels=0,-1")),
        400,
    );
    refused(&get(address, &format!("{fine}&width=5")), 400);
    refused(&get(address, &format!("{fine}&more=5")), 400);
    refused(&get(address, "/api/envelope"), 400);
    refused(
        &get(address, "/api/events?from_ns=0&to_ns=99999999999999999999"),
        400,
    );
    refused(
        &get(address, "/api/events?from_ns=0&to_ns=1&limit=5001"),
        400,
    );
    // The widest range there can be overflows nothing.
    let widest = envelope(i64::MIN, i64::MAX, 4096);
    assert!(matches!(get(address, &widest).status, 200 | 422));
    assert_eq!(
        get(
            address,
            &format!("/api/events?from_ns={}&to_ns={}", i64::MIN, i64::MAX)
        )
        .status,
        200
    );
    lab.stop();
}

/// Whether a connection ends by itself, whatever it was told before.
fn ends(address: SocketAddr, said: &[u8]) -> bool {
    let mut stream = connect(address);
    let _ = stream.write_all(said);
    let mut found = Vec::new();
    // A time-out of the test's own is an error that says so.
    !matches!(stream.read_to_end(&mut found), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn who_is_slow_with_a_request_or_sends_rubbish_is_cut_off() {
    let (lab, address) = start(SERVE);
    let slow: Vec<_> = [
        &b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "[..],
        b"",
        b"G",
    ]
    .into_iter()
    .map(|said| std::thread::spawn(move || ends(address, said)))
    .collect();
    let body = format!(
        "POST /api/notes HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    let slow_body = std::thread::spawn(move || ends(address, body.as_bytes()));
    for rubbish in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"NOT HTTP\r\n\r\n",
        &[0; 4096],
    ] {
        assert!(raw(address, rubbish).is_none_or(|answer| answer.status == 400));
    }
    let long = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nX-Long: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    assert!(raw(address, long.as_bytes()).is_none_or(|answer| answer.status == 431));
    for slow in slow.into_iter().chain([slow_body]) {
        assert!(
            slow.join().expect("no panic"),
            "a slow client stays for ever"
        );
    }
    assert_eq!(get(address, "/health").status, 200);
    lab.stop();
}

#[test]
fn one_client_too_many_is_refused() {
    let (lab, address) = start(&format!("{SERVE}clients = 2\n"));
    let first = Live::open(address, &[]).expect("a connection");
    let second = Live::open(address, &[]).expect("a connection");
    // Refused with a reason, or not taken at all: nothing is kept for it in either case.
    let third = Live::open(address, &[]).err();
    assert!(matches!(third, Some(429 | 503 | 0)), "{third:?}");
    drop((first, second));
    crate::lab::wait_until("there is room again", || Live::open(address, &[]).is_ok());
    lab.stop();
}

fn run_with(serve: &str) -> std::process::Output {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let configuration = dir.path().join("lab.toml");
    std::fs::write(&configuration, format!("{serve}{CHAMBER}")).expect("a file");
    let data = dir.path().join("data");
    output(
        kymo()
            .args(["run", "--duration", "300ms", "--config"])
            .arg(&configuration)
            .arg("--data-dir")
            .arg(&data),
    )
}

#[test]
fn a_page_for_everybody_without_a_token_does_not_start() {
    let said = run_with("[serve]\nlisten = \"0.0.0.0:0\"\n");
    expect_status(&said, 2);
    assert!(
        text(&said.stderr).contains("there is no token"),
        "{}",
        text(&said.stderr)
    );
}

#[test]
fn a_port_that_is_taken_ends_only_a_run_that_was_told_to_use_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let said = run_with(&format!("[serve]\nlisten = \"127.0.0.1:{port}\"\n"));
    assert!(!said.status.success());
    assert!(
        text(&said.stderr).contains(&port.to_string()),
        "{}",
        text(&said.stderr)
    );
    // The default port, taken by this test or by whoever had it before.
    let _taken = std::net::TcpListener::bind("127.0.0.1:7777");
    expect_status(&run_with(""), 0);
}
