//! A server that webhooks are sent to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A server that answers every request as it is told, and keeps what it was sent.
pub(super) struct Server {
    pub(super) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What it does with a request.
pub(super) enum Answer {
    Say(String),
    /// Says so much, and goes away.
    Break(&'static str),
    /// Says nothing until the other side gives up.
    Hang,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

impl Server {
    /// `answer` makes the answer to the request of that number.
    pub(super) fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
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
                            Answer::Say(text) => {
                                if (&stream).write_all(text.as_bytes()).is_err() {
                                    return;
                                }
                            }
                            Answer::Break(text) => {
                                let _ = (&stream).write_all(text.as_bytes());
                                return;
                            }
                            Answer::Hang => {
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

    pub(super) fn requests(&self) -> Vec<Request> {
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

pub(super) fn status(code: u16, more: &str) -> Answer {
    Answer::Say(format!(
        "HTTP/1.1 {code} Some\r\n{more}content-length: 2\r\n\r\nno"
    ))
}
