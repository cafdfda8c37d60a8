//! `command`: a program, started for every alert, without a shell.
//!
//! The arguments are a list; each may name values. The whole event is on its standard input as JSON, and the values
//! are in its environment, as `KYMO_RULE`. Its status 0 says that it is done.
//!
//! **Always holds.** It is the leader of a process group of its own, and when its time is over the whole group is
//! killed. Of what it says on standard error the first 2000 bytes are kept, the rest is read and thrown away, so that it
//! never waits for a reader; its standard output goes nowhere. An argument is an argument, whatever is in it.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use super::message::{PLACEHOLDERS, template};
use super::{Deliver, Key, KeyKind, Kind, Made, Message, Outcome, Patience, Settings, Wrong};
use crate::alert::Template;

pub(super) static KIND: Kind = Kind {
    name: "command",
    about: "a program, without a shell",
    keys: &[
        Key::needed("command", KeyKind::Texts),
        Key::may(
            "timeout",
            KeyKind::Duration(Duration::from_millis(10), Duration::from_secs(3600)),
        ),
    ],
    shows: false,
    is_interlock: false,
    make,
};

/// Bytes of what it says that are kept.
const SAID_BYTES_MAX: usize = 2000;
/// Looks at whether it has ended are so far apart.
const LOOK: Duration = Duration::from_millis(5);

struct Command {
    program: String,
    arguments: Vec<Template>,
    timeout: Duration,
}

fn make(settings: &Settings) -> Result<Made, Wrong> {
    let words = settings.texts("command");
    let Some((program, arguments)) = words.split_first() else {
        return Err(Wrong::new(
            "command",
            "is empty",
            "a program, and its arguments",
        ));
    };
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Wrong::new(
            "command",
            "has a zero byte in it",
            "no program takes that",
        ));
    }
    Ok(Made::Durable(Box::new(Command {
        program: program.clone(),
        arguments: arguments
            .iter()
            .map(|text| template("command", text))
            .collect::<Result<_, _>>()?,
        timeout: settings.duration("timeout", Duration::from_secs(10)),
    })))
}

impl Deliver for Command {
    fn deliver(&mut self, message: &Message<'_>, patience: &Patience) -> Outcome {
        let mut process = Process::new(&self.program);
        for argument in &self.arguments {
            // A value with a zero byte cannot be an argument; without the byte it can.
            process.arg(message.render(argument).replace('\0', ""));
        }
        for name in PLACEHOLDERS {
            let mut value = String::new();
            message.push_value(name, &mut value);
            process.env(
                format!("KYMO_{}", name.to_uppercase()),
                value.replace('\0', ""),
            );
        }
        process
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let again = |why: String| Outcome::Again { why, after: None };
        let child = match process.spawn() {
            Ok(child) => child,
            Err(error) => return again(format!("cannot start {}: {error}", self.program)),
        };
        let input = format!("{}\n", message.event);
        match (Running { child }).wait(input.as_bytes(), self.timeout, patience) {
            Ended::With(status, _) if status.success() => Outcome::Delivered,
            Ended::With(status, said) => {
                let said = said.trim();
                let colon = if said.is_empty() { "" } else { ": " };
                again(format!("{} ended with {status}{colon}{said}", self.program))
            }
            Ended::Late => again(format!(
                "{} was not done after {:?}, and was killed",
                self.program, self.timeout
            )),
            Ended::Given => again(format!("the run ended before {} did", self.program)),
            Ended::Lost(error) => again(format!("lost sight of {}: {error}", self.program)),
        }
    }
}

enum Ended {
    With(ExitStatus, String),
    Late,
    /// Patience was over.
    Given,
    Lost(std::io::Error),
}

/// A child that does not outlive this.
struct Running {
    child: Child,
}

impl Running {
    fn wait(mut self, mut input: &[u8], timeout: Duration, patience: &Patience) -> Ended {
        let deadline = Instant::now() + timeout;
        let mut said = Vec::new();
        let (mut stdin, mut stderr) = (self.child.stdin.take(), self.child.stderr.take());
        // A pipe that is full or empty is not to stop this thread.
        if let Some(pipe) = &stdin {
            let _ = rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK);
        }
        if let Some(pipe) = &stderr {
            let _ = rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK);
        }
        loop {
            if let Some(pipe) = &mut stdin {
                match pipe.write(input) {
                    Ok(count) if count < input.len() => input = &input[count..],
                    Err(error) if is_later(&error) => {}
                    // All of it, or it does not want it.
                    _ => stdin = None,
                }
            }
            if let Some(pipe) = &mut stderr {
                drain(pipe, &mut said);
            }
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    if let Some(pipe) = &mut stderr {
                        drain(pipe, &mut said);
                    }
                    return Ended::With(status, String::from_utf8_lossy(&said).into_owned());
                }
                Ok(None) => {}
                Err(error) => return Ended::Lost(error),
            }
            if Instant::now() >= deadline {
                return Ended::Late;
            }
            if patience.is_over() {
                return Ended::Given;
            }
            let look = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(LOOK.subsec_nanos()),
            };
            // Ends early if it says something; its end is seen with the next look.
            let waited = match &stderr {
                Some(pipe) => poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&look)),
                None => poll(&mut [], Some(&look)),
            };
            // At its hang-up, which may come long before its end, there is nothing more to wait for.
            if waited.is_ok_and(|count| count > 0) {
                std::thread::park_timeout(Duration::from_micros(200));
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            if let Ok(id) = i32::try_from(self.child.id())
                && let Some(group) = Pid::from_raw(id)
            {
                let _ = kill_process_group(group, Signal::KILL);
            }
            // Killed, so this does not wait long.
            let _ = self.child.wait();
        }
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
    )
}

/// Takes what there is, and keeps the first of it.
fn drain(pipe: &mut impl Read, said: &mut Vec<u8>) {
    // A program that speaks without end is read no faster than this between two looks at the time.
    const READS: usize = 64;
    let mut buffer = [0; 4096];
    for _ in 0..READS {
        match pipe.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                let room = SAID_BYTES_MAX.saturating_sub(said.len()).min(count);
                said.extend_from_slice(&buffer[..room]);
            }
        }
    }
}
