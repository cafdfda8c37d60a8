//! The log of what a device really did.
//!
//! What for: a reader's record is compared with it, frame by frame.
//!
//! What always holds: each frame number is told once, as sent or as not sent and why. A log that cannot be written ends its device, since
//! a truth with holes is none. Its memory is bounded, and so is the file: at its bound it says so, and the counts go on.
//!
//! The format: one JSON object a line, with one key that says what it is. Times, `at_s`, are seconds of the host's since the first frame.
//!
//! | key | what |
//! |---|---|
//! | `start` | what the device is; `unix_ns` is when the first frame was due |
//! | `sent` | `count` frames from number `first` on went out whole, as they were encoded, `bytes` in all |
//! | `frame` | one such frame, with its values, if values are wanted |
//! | `hit` | a frame that a fault had changed: what was done, at which bytes, and the bytes that went out |
//! | `answer` | the answer to a request, and the bytes that went out |
//! | `lost` | frames that did not go out, and why: `missed` (no reader), `dropped` (no room), `skipped` (left out, by a fault or on request) |
//! | `fault` | something that was done to the device and not to a frame; `next` is the number of the frame behind it |
//! | `reader` | somebody opened the port, or left it |
//! | `full` | the file is as long as it may be: only `end` follows |
//! | `end` | the counts |
//!
//! What it must not know: ports, what is in a frame.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Truth;
use crate::faults::{FAULTS, Hit};

/// Frames a second up to which values are logged unless told otherwise.
pub(crate) const VALUES_RATE_MAX_HZ: f64 = 1000.0;

/// The longest log, bytes.
const LOG_BYTES_MAX: u64 = 1 << 30;

/// What was told so long ago is in the file, should somebody look.
const FLUSH: Duration = Duration::from_millis(500);

/// Gives a frame's values as they are sent.
pub(crate) type Values = Box<dyn Fn(u64, &mut Vec<f64>) + Send>;

/// Why frames did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Missed,
    Dropped,
    Skipped,
}

impl Lost {
    fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
        }
    }
}

/// The log, being written.
pub(crate) struct Log {
    out: BufWriter<File>,
    path: PathBuf,
    head: String,
    values: Option<Values>,
    row: Vec<f64>,
    line: String,
    start: Option<Instant>,
    run: Option<Run>,
    lost: Option<(Lost, u64, u64)>,
    written: u64,
    is_full: bool,
    flushed: Option<Instant>,
}

struct Run {
    first: u64,
    count: u64,
    bytes: u64,
    from: Instant,
    to: Instant,
}

impl Log {
    /// Makes the file. `head`: what the device is, as the inside of a JSON object.
    pub(crate) fn create(path: &Path, head: String, values: Option<Values>) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| told(path, &error))?;
        }
        let file = File::create(path).map_err(|error| told(path, &error))?;
        Ok(Self {
            out: BufWriter::new(file),
            path: path.to_owned(),
            head,
            values,
            row: Vec::new(),
            line: String::new(),
            start: None,
            run: None,
            lost: None,
            written: 0,
            is_full: false,
            flushed: None,
        })
    }

    /// A reader came; the first one begins the device's time.
    pub(crate) fn came(&mut self, next: u64, now: Instant) -> io::Result<()> {
        self.begin(now)?;
        self.reader("came", next, now)
    }

    /// The reader is gone.
    pub(crate) fn left(&mut self, next: u64, now: Instant) -> io::Result<()> {
        self.reader("left", next, now)
    }

    fn begin(&mut self, now: Instant) -> io::Result<()> {
        if self.start.is_some() {
            return Ok(());
        }
        self.start = Some(now);
        // The one place where a device looks at the wall clock: so that its log can be laid beside a record.
        #[allow(clippy::disallowed_methods)]
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let unix_ns = unix.map_or(0, |since| since.as_nanos());
        let head = std::mem::take(&mut self.head);
        self.put(format_args!(
            "{{\"start\":{{{head},\"unix_ns\":{unix_ns}}}}}"
        ))
    }

    fn reader(&mut self, what: &str, next: u64, now: Instant) -> io::Result<()> {
        self.settle()?;
        let at_s = self.at_s(now);
        self.put(format_args!(
            "{{\"reader\":{{\"{what}\":true,\"next\":{next},\"at_s\":{at_s:.6}}}}}"
        ))?;
        self.flush()
    }

    /// A frame went out as it was encoded.
    pub(crate) fn sent(&mut self, index: u64, bytes: usize, at: Instant) -> io::Result<()> {
        if self.is_full {
            return Ok(());
        }
        self.settle_lost()?;
        if self.values.is_some() {
            let at_s = self.at_s(at);
            let row = self.row_of(index);
            return self.put(format_args!(
                "{{\"frame\":{{\"number\":{index},\"at_s\":{at_s:.6}{row}}}}}"
            ));
        }
        match &mut self.run {
            Some(run) if run.first + run.count == index && at - run.from < FLUSH => {
                run.count += 1;
                run.bytes += bytes as u64;
                run.to = at;
            }
            _ => {
                self.settle_run()?;
                self.run = Some(Run {
                    first: index,
                    count: 1,
                    bytes: bytes as u64,
                    from: at,
                    to: at,
                });
            }
        }
        Ok(())
    }

    /// A frame went out that faults had changed.
    pub(crate) fn hit(&mut self, frame: &HitFrame, at: Instant) -> io::Result<()> {
        self.settle()?;
        let row = if self.values.is_some() {
            self.row_of(frame.index)
        } else {
            String::new()
        };
        let (number, length, at_s) = (frame.index, frame.length, self.at_s(at));
        let done: Vec<String> = frame.hits.iter().map(done).collect();
        let (noise, sent) = frame.bytes.split_at(frame.noise);
        self.put(format_args!(
            "{{\"hit\":{{\"number\":{number},\"at_s\":{at_s:.6},\"faults\":[{}],\"length\":{length},\"noise\":\"{}\",\"sent\":\"{}\"{row}}}}}",
            done.join(","),
            hex(noise),
            hex(sent)
        ))
    }

    /// An answer went out; `more` is what else is to be said of it, each behind a comma.
    pub(crate) fn answer(
        &mut self,
        number: u64,
        hits: &[Hit],
        more: &str,
        sent: &[u8],
        at: Instant,
    ) -> io::Result<()> {
        self.settle()?;
        let at_s = self.at_s(at);
        let done: Vec<String> = hits.iter().map(done).collect();
        self.put(format_args!(
            "{{\"answer\":{{\"number\":{number},\"at_s\":{at_s:.6},\"faults\":[{}]{more},\"sent\":\"{}\"}}}}",
            done.join(","),
            hex(sent)
        ))
    }

    /// Frames did not go out.
    pub(crate) fn lost(&mut self, why: Lost, first: u64, count: u64) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.settle_run()?;
        match &mut self.lost {
            Some((before, from, so_far)) if *before == why && *from + *so_far == first => {
                *so_far += count;
                Ok(())
            }
            _ => {
                self.settle_lost()?;
                self.lost = Some((why, first, count));
                Ok(())
            }
        }
    }

    /// Something was done to the device, before frame `next`.
    pub(crate) fn fault(
        &mut self,
        kind: usize,
        what: &str,
        next: u64,
        now: Instant,
    ) -> io::Result<()> {
        self.settle()?;
        let (name, at_s) = (FAULTS[kind], self.at_s(now));
        self.put(format_args!(
            "{{\"fault\":{{\"kind\":\"{name}\",\"next\":{next},\"at_s\":{at_s:.6}{what}}}}}"
        ))
    }

    /// The device is quiet, or it is a while ago that the file was brought up to date.
    pub(crate) fn rest(&mut self, now: Instant, is_quiet: bool) -> io::Result<()> {
        let is_old = self.flushed.is_none_or(|before| now - before >= FLUSH);
        if !is_quiet && !is_old {
            return Ok(());
        }
        self.flushed = Some(now);
        self.settle()?;
        self.flush()
    }

    /// The device has ended.
    pub(crate) fn end(&mut self, truth: &Truth) -> io::Result<()> {
        self.settle()?;
        // Also of a device that nobody ever read.
        self.begin(Instant::now())?;
        let mut counts: Vec<String> = truth
            .counts()
            .iter()
            .map(|(name, count)| format!("\"{name}\":{count}"))
            .collect();
        let faults: Vec<String> = truth
            .faults()
            .map(|(name, times)| format!("\"{name}\":{times}"))
            .collect();
        counts.push(format!("\"faults\":{{{}}}", faults.join(",")));
        // There is room for it beyond the bound.
        (self.is_full, self.written) = (false, 0);
        self.put(format_args!("{{\"end\":{{{}}}}}", counts.join(",")))?;
        self.flush()
    }

    fn settle(&mut self) -> io::Result<()> {
        self.settle_run()?;
        self.settle_lost()
    }

    fn settle_run(&mut self) -> io::Result<()> {
        let Some(run) = self.run.take() else {
            return Ok(());
        };
        let (from_s, to_s) = (self.at_s(run.from), self.at_s(run.to));
        let Run {
            first,
            count,
            bytes,
            ..
        } = run;
        self.put(format_args!(
            "{{\"sent\":{{\"first\":{first},\"count\":{count},\"bytes\":{bytes},\"at_s\":{from_s:.6},\"to_s\":{to_s:.6}}}}}"
        ))
    }

    fn settle_lost(&mut self) -> io::Result<()> {
        let Some((why, first, count)) = self.lost.take() else {
            return Ok(());
        };
        let why = why.name();
        self.put(format_args!(
            "{{\"lost\":{{\"why\":\"{why}\",\"first\":{first},\"count\":{count}}}}}"
        ))
    }

    /// The values of a frame, behind a comma.
    fn row_of(&mut self, index: u64) -> String {
        let Some(values) = &self.values else {
            return String::new();
        };
        self.row.clear();
        values(index, &mut self.row);
        let row: Vec<String> = self.row.iter().map(|value| number(*value)).collect();
        format!(",\"values\":[{}]", row.join(","))
    }

    fn at_s(&self, at: Instant) -> f64 {
        let start = self.start.unwrap_or(at);
        at.saturating_duration_since(start).as_secs_f64()
    }

    fn put(&mut self, line: std::fmt::Arguments<'_>) -> io::Result<()> {
        if self.is_full {
            return Ok(());
        }
        self.line.clear();
        // A string takes every text.
        let _ = writeln!(self.line, "{line}");
        if self.written + self.line.len() as u64 > LOG_BYTES_MAX {
            self.is_full = true;
            self.line.clear();
            self.line.push_str("{\"full\":{}}\n");
        }
        self.written += self.line.len() as u64;
        let put = self.out.write_all(self.line.as_bytes());
        put.map_err(|error| told(&self.path, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        flushed.map_err(|error| told(&self.path, &error))
    }
}

/// A frame that faults have changed, on its way.
#[derive(Debug)]
pub(crate) struct HitFrame {
    pub(crate) index: u64,
    pub(crate) hits: Vec<Hit>,
    /// Bytes of the frame as it was encoded.
    pub(crate) length: usize,
    /// What goes out, noise first.
    pub(crate) bytes: Vec<u8>,
    /// How many of them are noise.
    pub(crate) noise: usize,
}

fn done(hit: &Hit) -> String {
    let (name, bytes) = (FAULTS[hit.kind], hit.bytes);
    format!(
        "{{\"kind\":\"{name}\",\"bytes\":{bytes},\"at\":{:?}}}",
        hit.places
    )
}

/// A number as JSON has it; it has none that is not finite.
pub(crate) fn number(value: f64) -> String {
    if value.is_finite() {
        format!("{value}")
    } else {
        "null".to_owned()
    }
}

/// A text as JSON has it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02X}");
    }
    out
}

fn told(path: &Path, error: &io::Error) -> io::Error {
    let what = format!("cannot write the truth log {}: {error}", path.display());
    io::Error::new(error.kind(), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(values: Option<Values>) -> (tempfile::TempDir, Log) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("d.jsonl");
        let log = Log::create(&path, "\"name\":\"d\"".to_owned(), values).unwrap();
        (folder, log)
    }

    fn lines(folder: &tempfile::TempDir) -> Vec<String> {
        let text = std::fs::read_to_string(folder.path().join("deep/d.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn frames_are_told_in_runs_that_end_where_something_else_happens() {
        let (folder, mut log) = log(None);
        let now = Instant::now();
        log.came(0, now).unwrap();
        for index in 0..5 {
            log.sent(index, 10, now).unwrap();
        }
        log.lost(Lost::Dropped, 5, 2).unwrap();
        log.lost(Lost::Dropped, 7, 1).unwrap();
        log.lost(Lost::Skipped, 8, 1).unwrap();
        log.sent(9, 10, now).unwrap();
        let frame = HitFrame {
            index: 10,
            hits: vec![Hit {
                kind: 0,
                places: vec![1],
                bytes: 1,
            }],
            length: 3,
            bytes: vec![0xEE, 1, 3],
            noise: 1,
        };
        log.hit(&frame, now).unwrap();
        log.end(&Truth {
            frames_sent: 7,
            ..Truth::default()
        })
        .unwrap();
        let lines = lines(&folder);
        assert!(lines[0].starts_with("{\"start\":{\"name\":\"d\",\"unix_ns\":"));
        assert_eq!(
            lines[1..lines.len() - 1],
            [
                r#"{"reader":{"came":true,"next":0,"at_s":0.000000}}"#,
                r#"{"sent":{"first":0,"count":5,"bytes":50,"at_s":0.000000,"to_s":0.000000}}"#,
                r#"{"lost":{"why":"dropped","first":5,"count":3}}"#,
                r#"{"lost":{"why":"skipped","first":8,"count":1}}"#,
                r#"{"sent":{"first":9,"count":1,"bytes":10,"at_s":0.000000,"to_s":0.000000}}"#,
                r#"{"hit":{"number":10,"at_s":0.000000,"faults":[{"kind":"byte_loss","bytes":1,"at":[1]}],"length":3,"noise":"EE","sent":"0103"}}"#,
            ]
        );
        assert!(lines.last().unwrap().contains("\"frames_sent\":7"));
    }

    #[test]
    fn values_are_told_with_each_frame_if_they_are_wanted() {
        let values: Values = Box::new(|index, row| row.extend([index as f64, f64::NAN]));
        let (folder, mut log) = log(Some(values));
        let now = Instant::now();
        log.came(3, now).unwrap();
        log.sent(3, 10, now).unwrap();
        log.rest(now, true).unwrap();
        assert_eq!(
            lines(&folder)[2],
            r#"{"frame":{"number":3,"at_s":0.000000,"values":[3,null]}}"#
        );
    }

    #[test]
    fn a_log_that_is_long_enough_says_so_and_ends_with_the_counts() {
        let (folder, mut log) = log(None);
        let now = Instant::now();
        log.came(0, now).unwrap();
        log.written = LOG_BYTES_MAX - 10;
        log.sent(0, 1, now).unwrap();
        log.rest(now, true).unwrap();
        log.sent(1, 1, now).unwrap();
        log.end(&Truth::default()).unwrap();
        let lines = lines(&folder);
        assert_eq!(lines[2], "{\"full\":{}}");
        assert!(lines[3].starts_with("{\"end\""));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_log_that_cannot_be_written_says_which() {
        let Err(error) = Log::create("/proc/none/d".as_ref(), String::new(), None) else {
            panic!("there is no such folder");
        };
        assert!(error.to_string().contains("truth log /proc/none/d"));
        let full = Log::create("/dev/full".as_ref(), String::new(), None);
        let error = full.unwrap().end(&Truth::default()).unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
    }

    #[test]
    fn a_name_is_quoted_for_json() {
        assert_eq!(quoted("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }
}
