//! A server that answers as it is told to, and keeps what it has accepted as InfluxDB does: by series and time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use influxdb_line_protocol::{FieldValue, parse_lines};

/// A request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// Unpacked.
    pub(crate) body: String,
    /// How many came before it.
    pub(crate) number: usize,
}

impl Request {
    pub(crate) fn is_write(&self) -> bool {
        self.method == "POST" && self.target.contains("write")
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        self.body.lines().collect()
    }
}

/// What it does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Keeps the points, and answers 204.
    Accept,
    /// Keeps the points, and goes away without a word.
    AcceptAndReset,
    /// Goes away without a word.
    Reset,
    /// Says nothing until the other side has had enough.
    Hang,
    /// Keeps the points after so long.
    AcceptAfter(Duration),
    /// Answers, and keeps nothing but these lines, by their numbers.
    Say {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
        keep: Vec<usize>,
    },
}

impl Reply {
    pub(crate) fn say(status: u16, body: impl Into<String>) -> Self {
        Self::Say {
            status,
            headers: Vec::new(),
            body: body.into(),
            keep: Vec::new(),
        }
    }
}

type Behave = Box<dyn Fn(&Request) -> Reply + Send>;
/// Points: by series and time, the fields with all their bits.
pub(crate) type Points = BTreeMap<(String, i64), BTreeMap<String, u64>>;

struct Shared {
    behave: Mutex<Behave>,
    points: Mutex<Points>,
    requests: Mutex<Vec<Request>>,
    tls: Mutex<Option<Arc<rustls::ServerConfig>>>,
    is_over: AtomicBool,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(crate) fn start(behave: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            behave: Mutex::new(Box::new(behave)),
            points: Mutex::default(),
            requests: Mutex::default(),
            tls: Mutex::new(None),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || converse(stream, &shared));
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// One that accepts everything.
    pub(crate) fn good() -> Self {
        Self::start(|_| Reply::Accept)
    }

    /// From now on it behaves so.
    pub(crate) fn behave(&self, behave: impl Fn(&Request) -> Reply + Send + 'static) {
        *lock(&self.shared.behave) = Box::new(behave);
    }

    /// From now on connections are encrypted so.
    pub(crate) fn encrypt(&self, config: rustls::ServerConfig) {
        *lock(&self.shared.tls) = Some(Arc::new(config));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn points(&self) -> Points {
        lock(&self.shared.points).clone()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    pub(crate) fn writes(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(Request::is_write);
        requests
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes whoever waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn converse(stream: TcpStream, shared: &Shared) {
    let tls = lock(&shared.tls).clone();
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(BufReader::new(Box::new(stream)), shared),
        Some(config) => {
            let connection =
                rustls::ServerConnection::new(config).expect("a configuration that works");
            serve(
                BufReader::new(Box::new(rustls::StreamOwned::new(connection, stream))),
                shared,
            );
        }
    }
}

fn serve(mut stream: BufReader<Box<dyn Stream>>, shared: &Shared) {
    while let Some(mut request) = read(&mut stream) {
        {
            let mut requests = lock(&shared.requests);
            request.number = requests.len();
            requests.push(request.clone());
        }
        let reply = lock(&shared.behave)(&request);
        let (status, headers, body) = match reply {
            Reply::Accept => {
                keep(&request.body, None, shared);
                (204, Vec::new(), String::new())
            }
            Reply::AcceptAndReset => {
                keep(&request.body, None, shared);
                return;
            }
            Reply::Reset => return,
            Reply::Hang => {
                std::thread::park_timeout(Duration::from_secs(5));
                return;
            }
            Reply::AcceptAfter(wait) => {
                std::thread::park_timeout(wait);
                keep(&request.body, None, shared);
                (204, Vec::new(), String::new())
            }
            Reply::Say {
                status,
                headers,
                body,
                keep: lines,
            } => {
                keep(&request.body, Some(&lines), shared);
                (status, headers, body)
            }
        };
        let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        if status == 204 {
            text = "HTTP/1.1 204 No Content\r\n".to_owned();
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text += &body;
        if stream.get_mut().write_all(text.as_bytes()).is_err() || stream.get_mut().flush().is_err()
        {
            return;
        }
    }
}

fn read(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Request> {
    let mut line = String::new();
    stream
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    if headers
        .get("content-encoding")
        .is_some_and(|coding| coding == "gzip")
    {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(body.as_slice())
            .read_to_end(&mut unpacked)
            .ok()?;
        body = unpacked;
    }
    Some(Request {
        method,
        target,
        headers,
        body: String::from_utf8(body).expect("lines are text"),
        number: 0,
    })
}

fn keep(body: &str, only: Option<&[usize]>, shared: &Shared) {
    let mut points = lock(&shared.points);
    for (number, line) in parse_lines(body).enumerate() {
        if only.is_some_and(|only| !only.contains(&number)) {
            continue;
        }
        let Ok(line) = line else { continue };
        let tags = line.series.tag_set.iter().flatten();
        let tags: String = tags.map(|(key, value)| format!(",{key}={value}")).collect();
        let key = (
            format!("{}{tags}", line.series.measurement),
            line.timestamp.unwrap_or(0),
        );
        let point = points.entry(key).or_default();
        for (name, value) in &line.field_set {
            let FieldValue::F64(value) = value else {
                continue;
            };
            point.insert(name.to_string(), value.to_bits());
        }
    }
}
