//! A client that sends what it is told, also what no browser would send, and reads the binary form by its description.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::lab::PATIENCE;

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Some(Self {
            status,
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        })
    }

    /// A header, empty if it is not there.
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// Sends these bytes and reads to the end; `None`: the connection ended without an answer.
pub(super) fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect(address);
    // A server that refuses need not read to the end.
    let _ = stream.write_all(bytes);
    let mut found = Vec::new();
    let mut part = [0; 16 << 10];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        found.extend_from_slice(&part[..count]);
    }
    Answer::parse(&found)
}

/// A request. `Host` is the address unless it is among the headers.
#[track_caller]
pub(super) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if headers
        .iter()
        .all(|(name, _)| !name.eq_ignore_ascii_case("host"))
    {
        head += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let request = [head.as_bytes(), body].concat();
    raw(address, &request).unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

#[track_caller]
pub(super) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[], b"")
}

/// As the page itself would.
#[track_caller]
pub(super) fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
    let origin = format!("http://{address}");
    let headers = [
        ("Content-Type", "application/json"),
        ("Origin", origin.as_str()),
    ];
    ask(address, "POST", path, &headers, body.to_string().as_bytes())
}

/// A message of the binary form.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) now_ns: i64,
    pub(super) series: Vec<Series>,
}

#[derive(Debug)]
pub(super) struct Series {
    pub(super) channel: u32,
    pub(super) bucket_ns: i64,
    pub(super) first: i64,
    pub(super) columns: Vec<[f64; 2]>,
}

impl Message {
    #[track_caller]
    pub(super) fn of(bytes: &[u8]) -> Self {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let i64_at = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let f64_at = |at: usize| f64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        assert_eq!(
            (bytes[0], &bytes[2..4], u32_at(20)),
            (1, &[0, 0][..], 0),
            "version 1, zeros"
        );
        let mut at = 24;
        let mut series = Vec::new();
        for _ in 0..u32_at(16) {
            let count = u32_at(at + 4) as usize;
            let column = |place: usize| {
                [
                    f64_at(at + 24 + 8 * place),
                    f64_at(at + 24 + 8 * (count + place)),
                ]
            };
            series.push(Series {
                channel: u32_at(at),
                bucket_ns: i64_at(at + 8),
                first: i64_at(at + 16),
                columns: (0..count).map(column).collect(),
            });
            at += 24 + 16 * count;
        }
        assert_eq!(at, bytes.len(), "nothing behind the last series");
        Self {
            kind: bytes[1],
            id: u32_at(4),
            now_ns: i64_at(8),
            series,
        }
    }
}
