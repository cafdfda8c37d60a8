//! A WebSocket (RFC 6455) from the client's end, and what clients of live traces may do to the server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::client::{connect, get};
use super::{SERVE, start};
use crate::lab::wait_until;

pub(super) struct Live(TcpStream);

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

impl Live {
    /// Opens one, with more headers; the status if it is refused.
    pub(super) fn open(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut stream = connect(address);
        let mut head = "GET /api/live HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            .to_owned();
        let own = [
            ("Host", address.to_string()),
            ("Origin", format!("http://{address}")),
        ];
        for (name, value) in &own {
            if headers.iter().all(|(given, _)| given != name) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).map_err(|_| 0_u16)?;
        // Byte by byte: what follows the head is the first frame.
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            answer.push(byte[0]);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
        {
            Some(101) => {
                // RFC 6455, 1.3: the answer to this key.
                assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
                Ok(Self(stream))
            }
            status => Err(status.unwrap_or(0)),
        }
    }

    pub(super) fn frame(&mut self, kind: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | kind];
        match u16::try_from(payload.len()) {
            Ok(length @ 0..126) => frame.push(0x80 | length.to_le_bytes()[0]),
            Ok(length) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend_from_slice(&mask);
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        // It may have been closed already.
        let _ = self.0.write_all(&frame);
    }

    pub(super) fn say(&mut self, wish: &Value) {
        self.frame(TEXT, wish.to_string().as_bytes());
    }

    /// The next frame's kind and what is in it; `None` at the end.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        assert_eq!(
            head[0] & 0xf0,
            0x80,
            "a whole message in a frame, nothing reserved"
        );
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).ok()?;
                u64::from(u16::from_be_bytes(long))
            }
            127 => {
                let mut long = [0; 8];
                self.0.read_exact(&mut long).ok()?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).ok()?];
        self.0.read_exact(&mut payload).ok()?;
        Some((head[0] & 0x0f, payload))
    }

    /// The next binary message.
    #[track_caller]
    pub(super) fn binary(&mut self) -> Vec<u8> {
        loop {
            match self.next() {
                Some((BINARY, payload)) => return payload,
                Some((CLOSE, payload)) => panic!("closed: {payload:?}"),
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    }

    /// Reads to the end: the code and the reason it was closed with.
    pub(super) fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            let (kind, payload) = self.next()?;
            if kind == CLOSE && payload.len() >= 2 {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return Some((code, String::from_utf8_lossy(&payload[2..]).into_owned()));
            }
        }
    }
}

fn wish() -> Value {
    json!({ "id": 1, "channels": [0], "span_ns": "1000000000", "width": 500 })
}

#[test]
fn what_is_no_wish_ends_the_connection_with_a_reason() {
    let (lab, address) = start(SERVE);
    let with = |key: &str, value: Value| {
        let mut wish = wish();
        wish[key] = value;
        wish
    };
    for (wrong, says) in [
        (json!("{"), ""),
        (json!({}), "missing"),
        (with("channels", json!([99])), "99"),
        (with("channels", json!(vec![0; 65])), "64"),
        (with("span_ns", json!("-5")), "span_ns"),
        (with("span_ns", json!("much")), "span_ns"),
        (with("width", json!(0)), "width"),
        (with("width", json!(5000)), "width"),
        (with("more", json!(1)), "more"),
    ] {
        let mut live = Live::open(address, &[]).expect("a connection");
        live.say(&wrong);
        let (code, reason) = live.closed().expect("a close frame");
        assert_eq!(code, 1008, "{wrong}: {reason}");
        assert!(
            !reason.is_empty() && reason.contains(says),
            "{wrong}: {reason}"
        );
    }
    let mut live = Live::open(address, &[]).expect("a connection");
    live.frame(BINARY, &[1, 2, 3]);
    assert_eq!(live.closed().map(|(code, _)| code), Some(1003));
    // Too long to be a wish: whether there is a reason or not, it ends.
    let mut live = Live::open(address, &[]).expect("a connection");
    live.frame(TEXT, &vec![b' '; 1 << 20]);
    let _ = live.closed();
    assert_eq!(get(address, "/health").status, 200);
    lab.stop();
}

#[test]
fn a_wish_replaces_the_one_before() {
    let (lab, address) = start(SERVE);
    let mut live = Live::open(address, &[]).expect("a connection");
    live.say(&wish());
    assert_eq!(super::client::Message::of(&live.binary()).id, 1);
    live.say(&json!({ "id": 2, "channels": [0], "span_ns": "600000000000", "width": 500 }));
    let second = loop {
        let message = super::client::Message::of(&live.binary());
        if message.id == 2 {
            break message;
        }
    };
    // As wide as the span and the width ask for, by fours.
    assert_eq!(second.series[0].bucket_ns, 4_096_000_000);
    lab.stop();
}

#[test]
fn twenty_clients_look_on_one_never_reads_and_is_cut_off() {
    let (lab, address) = start(SERVE);
    // All that one client can ask for, so that what it does not read is more than a socket holds.
    let much = json!({ "id": 1, "channels": vec![0; 64], "span_ns": "4000000000", "width": 4096 });
    let mut idle = Live::open(address, &[]).expect("a connection");
    idle.say(&much);
    let mut others: Vec<Live> = (0..19)
        .map(|_| Live::open(address, &[]).expect("a connection"))
        .collect();
    for other in &mut others {
        other.say(&wish());
    }
    wait_until("the idle one is cut off, and the others are not", || {
        for other in &mut others {
            other.binary();
        }
        // It takes another wish to fill the socket of a client that asks for little.
        idle.say(&much);
        get(address, "/api/state").json()["clients"] == 19
    });
    drop(others);
    wait_until("nobody is left", || {
        get(address, "/api/state").json()["clients"] == 0
    });
    lab.stop();
}
