//! The truth logs of simulated devices, read while they are written.
//!
//! **Always holds.** Only whole lines are taken. What is not understood is an error, and never passed over.
//!
//! **Must not know.** What the frames are compared with.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde_json::Value;

/// What a line of a log says of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// These frames went out as they were encoded, so many bytes in all.
    Sent { first: u64, count: u64, bytes: u64 },
    /// This one was changed by a fault on its way; `is_short`: bytes of it are lost.
    Hit { number: u64, is_short: bool },
    /// The device hung up before frame `next`: what nobody had read by then is gone.
    HungUp { next: u64 },
    /// The device has ended.
    End,
}

/// A log, read as it grows.
#[derive(Debug)]
pub(super) struct Log {
    input: BufReader<File>,
    line: String,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self {
            input: BufReader::new(file),
            line: String::new(),
        })
    }

    /// The next thing said of frames, if there is one by now.
    pub(super) fn next(&mut self) -> Result<Option<Said>, String> {
        loop {
            // What there is of a line that is not whole is kept for the next time.
            let read = self.input.read_line(&mut self.line);
            if read.map_err(|error| error.to_string())? == 0 || !self.line.ends_with('\n') {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.line);
            if let Some(said) = said(&line)? {
                return Ok(Some(said));
            }
        }
    }
}

fn said(line: &str) -> Result<Option<Said>, String> {
    let wrong = || format!("a line of a truth log is not understood: {line}");
    let all: Value = serde_json::from_str(line).map_err(|_| wrong())?;
    let (key, what) = all
        .as_object()
        .and_then(|object| object.iter().next())
        .ok_or_else(wrong)?;
    let number = |name: &str| what[name].as_u64().ok_or_else(wrong);
    Ok(match key.as_str() {
        "sent" => Some(Said::Sent {
            first: number("first")?,
            count: number("count")?,
            bytes: number("bytes")?,
        }),
        "hit" => {
            let sent = what["sent"].as_str().map_or(0, str::len) as u64 / 2;
            Some(Said::Hit {
                number: number("number")?,
                is_short: sent < number("length")?,
            })
        }
        "answer" => {
            let is_whole = what["faults"].as_array().is_some_and(Vec::is_empty)
                && what.get("wrong").is_none()
                && what.get("late_s").is_none();
            let (number, bytes) = (
                number("number")?,
                what["sent"].as_str().map_or(0, str::len) / 2,
            );
            Some(if is_whole {
                Said::Sent {
                    first: number,
                    count: 1,
                    bytes: bytes as u64,
                }
            } else {
                Said::Hit {
                    number,
                    is_short: false,
                }
            })
        }
        "fault" if what["kind"] == "disconnect" => Some(Said::HungUp {
            next: number("next")?,
        }),
        "start" | "reader" | "fault" | "lost" => None,
        "end" => Some(Said::End),
        _ => return Err(wrong()),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_log_is_read_as_it_grows_line_by_whole_line() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let mut log = Log::open(file.path()).expect("it is there");
        let mut put = |text: &str| file.write_all(text.as_bytes()).expect("it is written");
        put("{\"start\":{\"name\":\"d\"}}\n{\"sent\":{\"first\":0,\"cou");
        assert_eq!(log.next(), Ok(None));
        put(
            "nt\":3,\"bytes\":30}}\n{\"hit\":{\"number\":3,\"length\":3,\"noise\":\"FF\",\"sent\":\"0102\"}}\n",
        );
        let sent = Said::Sent {
            first: 0,
            count: 3,
            bytes: 30,
        };
        assert_eq!(log.next(), Ok(Some(sent)));
        let hit = |number, is_short| Said::Hit { number, is_short };
        assert_eq!(log.next(), Ok(Some(hit(3, true))));
        assert_eq!(log.next(), Ok(None));
        put(
            "{\"fault\":{\"kind\":\"stall\",\"next\":4}}\n{\"fault\":{\"kind\":\"disconnect\",\"next\":9}}\n",
        );
        assert_eq!(log.next(), Ok(Some(Said::HungUp { next: 9 })));
        put(
            "{\"answer\":{\"number\":9,\"faults\":[],\"late_s\":0.1,\"sent\":\"\"}}\n{\"end\":{}}\n{\"full\":{}}\n",
        );
        assert_eq!(log.next(), Ok(Some(hit(9, false))));
        assert_eq!(log.next(), Ok(Some(Said::End)));
        assert!(
            log.next().is_err(),
            "a log that is cut short proves nothing"
        );
    }
}
