//! The way into a run for its own user: a Unix socket in the data directory.
//!
//! `<data dir>/control.sock`, for its owner alone. A line of JSON asks, as in `{"do":"acknowledge","rule":"hot"}` or
//! `{"do":"note","text":"pump on"}`, and a line answers: `{"ok":true,"rules":[…]}` or `{"ok":false,"error":"…"}`.
//!
//! **Always holds.** One asker at a time, who has `PATIENCE` and `LINE_BYTES_MAX`: nobody can hold it up for long,
//! and the run not at all. A socket that a killed process left is replaced; there is no second run in the directory.
//!
//! **Must not know.** What becomes of an order.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{Control, Order, RuleStanding};
use crate::event::Annotation;

/// The socket in the data directory.
pub const SOCKET: &str = "control.sock";
/// How long an asker may take, and an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer waited for: the run may take its own time first.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest question.
const LINE_BYTES_MAX: u64 = 16 << 10;

/// What somebody asks of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Request {
    /// Something about its rules.
    Rules(Order),
    /// To write down what a person has to say.
    Note(Note),
}

/// To write down what a person has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Note {
    /// This.
    Note(Annotation),
}

impl Request {
    /// Reads a line. By hand and not as an untagged `enum`, which would say of a wrong field only that nothing fits.
    fn read(line: &str) -> serde_json::Result<Self> {
        let value: serde_json::Value = serde_json::from_str(line)?;
        if value["do"] == "note" {
            return serde_json::from_value(value).map(Self::Note);
        }
        serde_json::from_value(value).map(Self::Rules)
    }
}

/// Who obeys, in the run.
pub struct Obey {
    /// What is asked of its rules.
    pub rules: Control,
    /// Writes a note down, or says why not.
    pub note: Box<dyn Fn(Annotation) -> Result<(), String> + Send>,
}

impl Obey {
    fn obey(&self, request: Request) -> Result<Vec<RuleStanding>, String> {
        match request {
            Request::Rules(order) => self.rules.order(order).map_err(|error| error.to_string()),
            Request::Note(Note::Note(annotation)) => (self.note)(annotation).map(|()| Vec::new()),
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// The rules it was about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleStanding>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A socket's address holds 108 bytes; the way through an open directory is short, however long its path.
struct Address {
    _dir: fs::File,
    path: PathBuf,
}

impl Address {
    fn of(data_dir: &Path) -> io::Result<Self> {
        let dir = fs::File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        Ok(Self { _dir: dir, path })
    }
}

/// Serves the socket until it is dropped.
pub struct Server {
    address: Address,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Makes the socket, in a data directory that this process holds.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn start(data_dir: &Path, obey: Obey) -> io::Result<Self> {
        let address = Address::of(data_dir)?;
        match fs::remove_file(&address.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&address.path)?;
        fs::set_permissions(&address.path, fs::Permissions::from_mode(0o600))?;
        let closing = Arc::<AtomicBool>::default();
        let server = {
            let closing = Arc::clone(&closing);
            move || {
                for stream in listener.incoming() {
                    if closing.load(Ordering::Acquire) {
                        return;
                    }
                    match stream {
                        // Whoever asks and goes away has no answer: nothing else comes of it.
                        Ok(stream) => drop(answer(&stream, &obey)),
                        // No descriptor left: the next look may find one.
                        Err(_) => std::thread::park_timeout(Duration::from_millis(100)),
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("kymo-control".to_owned());
        Ok(Self {
            address,
            closing,
            thread: Some(thread.spawn(server)?),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        // Ends its wait for the next asker.
        let woken = UnixStream::connect(&self.address.path).is_ok();
        let _ = fs::remove_file(&self.address.path);
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn answer(stream: &UnixStream, obey: &Obey) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    let reply = match Request::read(&line) {
        Ok(request) => match obey.obey(request) {
            Ok(rules) => Reply {
                ok: true,
                rules,
                error: None,
            },
            Err(error) => refusal(error),
        },
        Err(error) => refusal(format!("this is no order: {error}")),
    };
    let mut text = serde_json::to_string(&reply)?;
    text.push('\n');
    let mut writer = stream;
    writer.write_all(text.as_bytes())
}

fn refusal(error: String) -> Reply {
    Reply {
        ok: false,
        rules: Vec::new(),
        error: Some(error),
    }
}

/// Asks the run in a data directory; `None`: nobody is there.
///
/// # Errors
/// If there is somebody, and no answer.
pub fn ask(data_dir: &Path, request: &Request) -> io::Result<Option<Reply>> {
    let address = Address::of(data_dir)?;
    let mut stream = match UnixStream::connect(&address.path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut text = serde_json::to_string(request)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    serde_json::from_str(&line).map(Some).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("this is no answer: {error}"),
        )
    })
}
