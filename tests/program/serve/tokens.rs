//! Tokens, roles and encryption.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use super::client::{Answer, ask, get, post};
use super::live::Live;
use super::start;
use crate::lab::Lab;

const READER: &str = "reader-reader-reader-reader";
const OPERATOR: &str = "operator-operator-operator";

fn guarded() -> (Lab, SocketAddr, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, token) in [("reader", READER), ("operator", OPERATOR)] {
        std::fs::write(dir.path().join(name), format!("{token}\n")).expect("a file");
    }
    let file = |name: &str| {
        format!(
            "{name} = {{ file = \"{}\" }}\n",
            dir.path().join(name).display()
        )
    };
    let serve = format!(
        "[serve]\nlisten = \"127.0.0.1:0\"\n{}{}",
        file("reader"),
        file("operator")
    );
    let (lab, address) = start(&serve);
    (lab, address, dir)
}

fn with(address: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    ask(address, method, path, &headers, body.as_bytes())
}

#[test]
fn without_a_token_nothing_of_the_run_is_told() {
    let (lab, address, _dir) = guarded();
    for path in [
        "/api/channels",
        "/api/state",
        "/api/openapi.json",
        "/metrics",
        "/api/events?from_ns=0&to_ns=1",
    ] {
        assert_eq!(get(address, path).status, 401, "{path}");
        for wrong in [
            "",
            "reader",
            &READER[1..],
            &format!("{READER}r"),
            &OPERATOR.to_uppercase(),
        ] {
            assert_eq!(
                with(address, "GET", path, wrong, "").status,
                401,
                "{path} {wrong}"
            );
        }
        let answer = with(address, "GET", path, READER, "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(with(address, "GET", path, OPERATOR, "").status, 200);
    }
    assert_eq!(Live::open(address, &[]).err(), Some(401));
    let bearer = format!("Bearer {READER}");
    assert!(Live::open(address, &[("Authorization", &bearer)]).is_ok());
    // The page itself, which asks for a token, and what a supervisor asks.
    assert_eq!(get(address, "/").status, 200);
    assert_eq!(get(address, "/health").status, 200);
    lab.stop();
}

#[test]
fn a_reader_changes_nothing_and_an_operator_may() {
    let (lab, address, _dir) = guarded();
    let note = json!({ "text": "pump on" }).to_string();
    assert_eq!(
        with(address, "POST", "/api/notes", READER, &note).status,
        403
    );
    for path in [
        "/api/alerts/acknowledge",
        "/api/alerts/silence",
        "/api/alerts/unsilence",
    ] {
        let rule = json!({ "rule": "there", "for_s": 60 }).to_string();
        assert_eq!(
            with(address, "POST", path, READER, &rule).status,
            403,
            "{path}"
        );
    }
    let done = with(address, "POST", "/api/notes", OPERATOR, &note);
    assert_eq!(done.status, 200, "{}", done.text());
    lab.stop();
}

#[test]
fn a_login_is_a_cookie_that_scripts_do_not_see() {
    let (lab, address, _dir) = guarded();
    assert_eq!(
        post(address, "/api/login", &json!({ "token": "wrong" })).status,
        401
    );
    let login = post(address, "/api/login", &json!({ "token": READER }));
    assert_eq!(login.status, 200, "{}", login.text());
    assert_eq!(login.json()["role"], "reader");
    let cookie = login.header("set-cookie").to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let pair = cookie.split(';').next().unwrap_or_default().to_owned();
    let state = ask(address, "GET", "/api/channels", &[("Cookie", &pair)], b"");
    assert_eq!(state.status, 200);
    assert_eq!(state.json()["role"], "reader");
    let origin = format!("http://{address}");
    let logout = [
        ("Cookie", pair.as_str()),
        ("Origin", &origin),
        ("Content-Type", "application/json"),
    ];
    let logout = ask(address, "POST", "/api/logout", &logout, b"{}");
    assert!(
        logout.header("set-cookie").contains("Max-Age=0"),
        "{}",
        logout.text()
    );
    lab.stop();
}

#[test]
fn with_a_certificate_nothing_goes_unencrypted() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let key_pair = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let made = params.self_signed(&key_pair).expect("a certificate");
    let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    std::fs::write(&certificate, made.pem()).expect("a file");
    std::fs::write(&key, key_pair.serialize_pem()).expect("a file");
    let serve = format!(
        "[serve]\nlisten = \"127.0.0.1:0\"\ntls = {{ certificate = \"{}\", key = \"{}\" }}\n",
        certificate.display(),
        key.display()
    );
    let (lab, address) = start(&serve);
    let plain = super::client::raw(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(plain.is_none(), "{plain:?}");
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(made.der().clone())
        .expect("a certificate to believe");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = rustls::StreamOwned::new(client, super::client::connect(address));
    let request = format!(
        "GET /api/state HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n",
        address.port()
    );
    stream
        .write_all(request.as_bytes())
        .expect("it takes a request");
    let mut answer = Vec::new();
    // The end may come without TLS's own word for it.
    let _ = stream.read_to_end(&mut answer);
    assert!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    lab.stop();
}
