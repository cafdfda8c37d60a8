//! `kymo capture import`: captures of what other programs recorded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use serde_json::json;

use super::super::query::times;
use super::super::{Failure, render};
use super::{edit, progress, usage, written};
use crate::capture::{Described, Entry, LinkChange, SourceInfo, What, Writer};
use crate::clock::{Clock, run_id};
use crate::config;

/// Makes a capture of what another program recorded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A CSV file has a header and a time in its first column, as a date and time, as ns since 1970, or as seconds from --start. Each row \
becomes a line of bytes at its time, for `type = \"lines\"`; without --config a configuration is made of the header.\n\
A log of plain bytes has no times: --rate says how many bytes a second there were, and --config how they are decoded.\n\n\
Examples:\n  \
kymo capture import old.csv --output old.mcap\n  \
kymo capture import flight.bin --rate 11520 --source gps --config gps.toml --start 2026-11-23T08:00:00Z --output flight.mcap")]
pub(super) struct Args {
    /// The CSV file, or the log of bytes.
    file: PathBuf,
    /// It is a log of bytes, of so many a second.
    #[arg(long, value_name = "BYTES/S", value_parser = rate)]
    rate: Option<f64>,
    /// The source's name.
    #[arg(long, value_name = "NAME", default_value = "imported")]
    source: String,
    /// The configuration for the capture; it must have the source.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// When it began. Without it, a log of bytes ends now, and seconds count from 1970.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    start: Option<i64>,
    /// The capture to be made; a file that is there is not written over.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The longest line of CSV.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a log that make one read.
const READ_BYTES: usize = 4096;

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok().filter(|rate| (1.0..=1e10).contains(rate));
    rate.ok_or_else(|| format!("`{text}` is no rate: bytes a second, 1 to 1e10"))
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let file = File::open(&args.file)
        .map_err(|error| usage(format!("cannot read {}: {error}", args.file.display())))?;
    let bytes = file.metadata()?.len();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if args.source.is_empty() || args.source.len() > 64 || !args.source.chars().all(is_name) {
        return Err(usage(format!(
            "`{}` is no name for a source: up to 64 letters, digits, `_` and `-`",
            args.source
        )));
    }
    let (messages, from_bytes) = match args.rate {
        Some(rate) => (import_bytes(args, file, bytes, rate)?, bytes),
        None => (import_csv(args, file, bytes)?, bytes),
    };
    let output = args.output.display();
    written(
        args.json,
        &json!({ "file": args.output, "source": args.source, "messages": messages, "bytes": from_bytes }),
        &format!("{messages} reads of {from_bytes} bytes: {output}"),
    )
}

/// The configuration that is given, if it is right and has the source.
fn given(args: &Args, path: &Path) -> Result<String, Failure> {
    let plan = config::load(path).map_err(|mistakes| Failure::Usage(render(&mistakes)))?;
    if plan.sources.iter().any(|source| source.name == args.source) {
        return Ok(plan.text);
    }
    let names: Vec<&str> = plan
        .sources
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    Err(usage(format!(
        "{} has no source `{}`; --source names one of {}",
        path.display(),
        args.source,
        names.join(", ")
    )))
}

fn begin(args: &Args, started_ns: i64, configuration: String) -> Result<Writer, Failure> {
    let described = Described {
        run: run_id(started_ns),
        started_ns,
        host: "imported".to_owned(),
        kymo: env!("CARGO_PKG_VERSION").to_owned(),
        configuration,
        calibration: BTreeMap::new(),
        sources: vec![SourceInfo {
            name: args.source.clone(),
            link: format!("imported from {}", args.file.display()),
            starts_whole: true,
        }],
    };
    edit::begin(&args.output, described)
}

fn entry(time_ns: i64, what: What) -> Entry {
    Entry {
        time_ns,
        source: Some(0),
        what,
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn import_bytes(args: &Args, file: File, bytes: u64, rate: f64) -> Result<u64, Failure> {
    let Some(config) = &args.config else {
        return Err(usage(
            "a log of bytes needs --config: nothing in it says how it is decoded",
        ));
    };
    let configuration = given(args, config)?;
    let after_ns = |bytes: u64| (bytes as f64 / rate * 1e9) as i64;
    let now_ns = Clock::system().now_ns();
    let start_ns = args.start.unwrap_or(now_ns.saturating_sub(after_ns(bytes)));
    let mut writer = begin(args, start_ns, configuration)?;
    let opened = LinkChange::Opened {
        ns_per_byte: 1e9 / rate,
        keeps_boundaries: false,
    };
    writer.write(&entry(start_ns, What::Link(opened)))?;
    let bar = progress("importing", bytes);
    let mut file = BufReader::new(file);
    let (mut done, mut reads) = (0, 0);
    let mut time_ns = start_ns;
    // A read about every ten milliseconds, as from a device of that rate.
    let size = ((rate / 100.0) as usize).clamp(1, READ_BYTES);
    loop {
        let mut buffer = Vec::with_capacity(size);
        let count = file.by_ref().take(size as u64).read_to_end(&mut buffer);
        let count = count.with_context(|| format!("cannot read {}", args.file.display()))?;
        if count == 0 {
            break;
        }
        done += count as u64;
        reads += 1;
        time_ns = start_ns.saturating_add(after_ns(done));
        writer.write(&entry(time_ns, What::Read(buffer.into())))?;
        bar.set_position(done);
    }
    finish(writer, time_ns)?;
    bar.finish_and_clear();
    Ok(reads)
}

fn finish(mut writer: Writer, time_ns: i64) -> Result<(), Failure> {
    let reason = "the end of what was imported".to_owned();
    writer.write(&entry(time_ns, What::Link(LinkChange::Finished { reason })))?;
    writer.finish()?;
    Ok(())
}

fn import_csv(args: &Args, file: File, bytes: u64) -> Result<u64, Failure> {
    let mut lines = Lines {
        reader: BufReader::new(file),
        path: &args.file,
        number: 0,
        bytes: 0,
    };
    let header = lines
        .next()?
        .ok_or_else(|| usage(format!("{} is empty", args.file.display())))?;
    let names: Vec<String> = header.split(',').skip(1).map(channel_name).collect();
    if names.is_empty() {
        return Err(usage(format!(
            "{}: a time and at least one value in each row are expected, separated by commas",
            args.file.display()
        )));
    }
    let configuration = match &args.config {
        Some(path) => given(args, path)?,
        None => made(&args.source, &args.file, &names)?,
    };
    let bar = progress("importing", bytes);
    let mut writer = None;
    let mut last_ns = i64::MIN;
    let mut rows = 0;
    while let Some(line) = lines.next()? {
        if line.is_empty() {
            continue;
        }
        let (time, values) = line.split_once(',').unwrap_or((&line, ""));
        let time_ns = csv_time(time, args.start).ok_or_else(|| {
            lines.wrong(&format!(
                "`{}` is no time: a date and time, ns since 1970, or seconds are expected",
                time.chars().take(40).collect::<String>()
            ))
        })?;
        if values.split(',').count() != names.len() {
            return Err(lines.wrong(&format!(
                "{} values are expected, and there are {}",
                names.len(),
                values.split(',').count()
            )));
        }
        if time_ns < last_ns {
            return Err(lines.wrong("the times run backwards"));
        }
        last_ns = time_ns;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let begun = begin(args, time_ns, configuration.clone())?;
                let opened = LinkChange::Opened {
                    ns_per_byte: 0.0,
                    keeps_boundaries: false,
                };
                let begun = writer.insert(begun);
                begun.write(&entry(time_ns, What::Link(opened)))?;
                begun
            }
        };
        let cells = values.split(',').map(|cell| match cell.trim() {
            "" => "nan",
            cell => cell,
        });
        let mut row = cells.collect::<Vec<_>>().join(",");
        row.push('\n');
        writer.write(&entry(time_ns, What::Read(Bytes::from(row))))?;
        rows += 1;
        bar.set_position(lines.bytes);
    }
    bar.finish_and_clear();
    let writer = writer.ok_or_else(|| usage(format!("{} has no rows", args.file.display())))?;
    finish(writer, last_ns)?;
    Ok(rows)
}

/// Lines of a file, bounded.
struct Lines<'a> {
    reader: BufReader<File>,
    path: &'a Path,
    number: u64,
    bytes: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        let read = self
            .reader
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line);
        let count = read.with_context(|| format!("cannot read {}", self.path.display()))?;
        self.number += 1;
        self.bytes += count as u64;
        if count == 0 {
            return Ok(None);
        }
        if count as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            return Err(self.wrong(&format!("the line is longer than {LINE_BYTES_MAX} bytes")));
        }
        let line = String::from_utf8(line).map_err(|_| self.wrong("this is no UTF-8"))?;
        Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
    }

    fn wrong(&self, what: &str) -> Failure {
        usage(format!(
            "{}, line {}: {what}",
            self.path.display(),
            self.number
        ))
    }
}

/// A time in a row, UTC ns. Short numbers are seconds, from the beginning.
#[allow(clippy::cast_possible_truncation)]
fn csv_time(text: &str, start_ns: Option<i64>) -> Option<i64> {
    let text = text.trim();
    if text.starts_with('-') || text == "now" {
        return None;
    }
    if let Ok(seconds) = text.parse::<f64>()
        && (text.len() <= 12 || text.contains(['.', 'e']))
    {
        let ns = seconds * 1e9;
        return (seconds.is_finite() && (0.0..9.2e18).contains(&ns))
            .then(|| start_ns.unwrap_or(0).checked_add(ns.round() as i64))
            .flatten();
    }
    times::parse(&text.replace(' ', "T"))
        .ok()
        .filter(|ns| *ns >= 0)
}

/// A channel's name made of a column's.
fn channel_name(column: &str) -> String {
    let name = column.trim().trim_matches('"').chars().take(64);
    let name = name.map(|c| match c {
        c if c.is_ascii_alphanumeric() || c == '-' => c,
        _ => '_',
    });
    name.collect()
}

/// A configuration that decodes what is made of CSV.
fn made(source: &str, path: &Path, names: &[String]) -> Result<String, Failure> {
    // Writing into a string cannot fail.
    let mut text = String::new();
    let path = toml::Value::String(path.to_string_lossy().into_owned());
    let _ = write!(
        text,
        "[source.{source}]\nlink = {{ type = \"file\", path = {path} }}\n\n[source.{source}.protocol]\ntype = \"lines\"\n"
    );
    for (place, name) in names.iter().enumerate() {
        let name = if name.is_empty() || names[..place].contains(name) {
            format!("column-{}", place + 1)
        } else {
            name.clone()
        };
        let _ = write!(text, "\n[[source.{source}.channel]]\nname = \"{name}\"\n");
    }
    config::parse("the configuration made of the header", &text)
        .map_err(|mistakes| Failure::Usage(render(&mistakes)))?;
    Ok(text)
}
