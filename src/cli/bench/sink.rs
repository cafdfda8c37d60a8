//! `kymo bench sink`: line protocol out of blocks, alone; then a journal into each server that is there, held against bodies
//! encoded before, sent by a plain loop over as many connections.
//!
//! The servers are those on the PATH: `influxd`, `victoria-metrics`. Each repetition writes into a database of its own, so that
//! both sides make the same series anew; afterwards the server is asked how many points it has.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::store::{CHANNELS, FRAMES, record, setup, write_journal};
use super::{Args, Found, Limit, machine, median, resident_bytes};
use crate::clock::Clock;
use crate::journal::{self, DecodedBlock, Filter, From, Kind as RecordKind, Next, Reader, Until};
use crate::run_record::RunRecord;
use crate::sink::batch::{Body, Lines};
use crate::sink::feed::Encode;
use crate::sink::influx::dialect::{Choice, Dialect, Endpoint};
use crate::sink::influx::{self, lanes::Encoder, line::Precision};
use crate::sink::pace::PaceOptions;
use crate::sink::select::Selection;
use crate::sink::template::Template;
use crate::sink::{CatchUp, Kind, SinkOptions, Sinks, SinksSetup};

/// Requests in flight on either side, and bytes of a body.
const IN_FLIGHT: usize = 4;
const BODY_BYTES: usize = 1 << 20;

/// Samples a second that a server takes at most, to know how many make a repetition as long as wanted.
const SERVER_SAMPLES_PER_S: f64 = 2e6;

const SERVERS: [&str; 2] = ["influxd", "victoria-metrics"];

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let folder = super::scratch(args)?;
    let samples = args.duration.as_secs_f64() * SERVER_SAMPLES_PER_S;
    let blocks = (samples as u64 / (FRAMES * CHANNELS) as u64).max(16);
    let source = folder.path().join("source");
    write_journal(&source, blocks)?;
    let encoded = encode(&source, args)?;
    let mut more_us = serde_json::Map::new();
    more_us.insert(
        "encode".to_owned(),
        json!({ "bytes_per_s": encoded.bytes_per_s, "bytes": encoded.bytes, "spread": encoded.spread }),
    );
    let mut first: Option<Against> = None;
    for name in SERVERS {
        let Some(server) = Server::start(name, &folder.path().join(name))? else {
            continue;
        };
        let against = against(&server, &source, &encoded, args)?;
        more_us.insert(name.to_owned(), against.json());
        first.get_or_insert(against);
    }
    let (what, rate, bytes, limit_what, limit, ratio, spread) = match first {
        Some(found) => (
            format!(
                "a journal of {} points into {}",
                encoded.points, found.server
            ),
            Some(found.samples_per_s),
            found.samples_per_s * encoded.bytes as f64 / encoded.samples as f64,
            "bodies encoded before, sent to the same server by a plain loop",
            found.limit_samples_per_s * encoded.bytes as f64 / encoded.samples as f64,
            found.ratio,
            found.spread,
        ),
        None => (
            "line protocol out of blocks; no server is on the PATH".to_owned(),
            Some(encoded.bytes_per_s * encoded.samples as f64 / encoded.bytes as f64),
            encoded.bytes_per_s,
            "a copy of the same text in memory",
            encoded.copied_per_s,
            encoded.bytes_per_s / encoded.copied_per_s,
            [encoded.bytes_per_s / encoded.copied_per_s; 2],
        ),
    };
    Ok(Found {
        cost: None,
        bench: "sink",
        what,
        machine: machine(),
        samples_per_s: rate,
        bytes_per_s: Some(bytes),
        limit: Limit {
            cost: None,
            what: limit_what,
            samples_per_s: None,
            bytes_per_s: Some(limit),
            latency_us: None,
        },
        ratio,
        ratio_spread: spread,
        latency_us: None,
        more_us,
        rows: Vec::new(),
        rss_bytes: resident_bytes(),
        balanced: true,
    })
}

/// The text of a journal.
struct Encoded {
    bodies: Vec<Body>,
    bytes: usize,
    samples: u64,
    points: usize,
    bytes_per_s: f64,
    spread: [f64; 2],
    copied_per_s: f64,
}

fn options(url: &str, database: &str) -> anyhow::Result<influx::Options> {
    let template = |text: &str| Template::parse(text).map_err(anyhow::Error::msg);
    Ok(influx::Options {
        url: Endpoint::parse(url).map_err(anyhow::Error::msg)?,
        dialect: Choice::Is(Dialect::V1),
        database: Some(database.to_owned()),
        retention_policy: None,
        bucket: None,
        organisation: None,
        auth: None,
        measurement: template("{source}")?,
        field: template("{channel}")?,
        tags: vec![("host".to_owned(), template("bench")?)],
        events: "events".to_owned(),
        precision: Precision::Ns,
        gzip: false,
        timeout: Duration::from_secs(30),
        tls: influx::Tls::default(),
        proxy: influx::Proxy::None,
        carrier: influx::Carrier::Own,
    })
}

/// Has all blocks encoded, over and over; and keeps the bodies.
fn encode(source: &Path, args: &Args) -> anyhow::Result<Encoded> {
    let blocks = blocks(source)?;
    let mut encoder = Encoder::new(&options("http://127.0.0.1:1", "x")?, &Selection::default());
    encoder.begin_run(&record());
    let mut lines = Lines::default();
    let (mut bodies, mut bytes, mut samples, mut points) = (Vec::new(), 0, 0, 0);
    for block in &blocks {
        encoder.block(block, &mut lines);
        if lines.text.len() >= BODY_BYTES {
            bodies.push(lines.take());
        }
    }
    if lines.lines() > 0 {
        bodies.push(lines.take());
    }
    for body in &bodies {
        bytes += body.text.len();
        samples += body.samples();
        points += body.lines();
    }
    let mut rates = Vec::new();
    for _ in 0..args.repeat.max(1) {
        let (started, mut written) = (Instant::now(), 0);
        while started.elapsed() < args.duration {
            for block in &blocks {
                lines.clear();
                encoder.block(block, &mut lines);
                written += lines.text.len();
            }
        }
        rates.push(written as f64 / started.elapsed().as_secs_f64());
    }
    let (started, mut copied) = (Instant::now(), 0);
    while started.elapsed() < args.duration {
        for body in &bodies {
            lines.clear();
            lines.text.extend_from_slice(&body.text);
            copied += std::hint::black_box(&lines.text).len();
        }
    }
    let (bytes_per_s, spread) = median(rates);
    Ok(Encoded {
        bodies,
        bytes,
        samples,
        points,
        bytes_per_s,
        spread,
        copied_per_s: copied as f64 / started.elapsed().as_secs_f64(),
    })
}

fn blocks(source: &Path) -> anyhow::Result<Vec<DecodedBlock>> {
    let filter = Filter {
        kinds: Some(vec![RecordKind::Block]),
        sources: None,
    };
    let mut reader = Reader::open(
        &source.join(journal::DIR),
        From::Seq(1),
        Until::Written,
        filter,
    )?;
    let mut blocks = Vec::new();
    loop {
        match reader.next()? {
            Next::Record(record) => {
                let mut block = DecodedBlock::default();
                block.decode(record.payload)?;
                blocks.push(block);
            }
            Next::Lost(lost) => bail!("the journal just written is damaged: {lost:?}"),
            Next::End => return Ok(blocks),
        }
    }
}

/// What a server took.
struct Against {
    server: &'static str,
    samples_per_s: f64,
    limit_samples_per_s: f64,
    ratio: f64,
    spread: [f64; 2],
}

impl Against {
    fn json(&self) -> Value {
        json!({
            "samples_per_s": self.samples_per_s,
            "limit_samples_per_s": self.limit_samples_per_s,
            "ratio": self.ratio,
            "ratio_spread": self.spread,
        })
    }
}

/// Both ways in turn, each into a database of its own.
fn against(
    server: &Server,
    source: &Path,
    encoded: &Encoded,
    args: &Args,
) -> anyhow::Result<Against> {
    let (mut rates, mut limits, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // One before, that is not counted: the server makes its files.
    for repetition in 0..=args.repeat.max(1) {
        let plain = format!("plain{repetition}");
        server.create(&plain)?;
        let seconds = send_plainly(server, &plain, encoded)?;
        let limit = encoded.samples as f64 / seconds;
        server.check(&plain, encoded)?;
        let kymo = format!("kymo{repetition}");
        server.create(&kymo)?;
        let rate = encoded.samples as f64 / follow(server, &kymo, source)?;
        server.check(&kymo, encoded)?;
        if repetition > 0 {
            ratios.push(rate / limit);
            rates.push(rate);
            limits.push(limit);
        }
    }
    let (ratio, spread) = median(ratios);
    Ok(Against {
        server: server.name,
        samples_per_s: median(rates).0,
        limit_samples_per_s: median(limits).0,
        ratio,
        spread,
    })
}

/// Sends the bodies over several connections; how long that took, s.
fn send_plainly(server: &Server, database: &str, encoded: &Encoded) -> anyhow::Result<f64> {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let send = || -> anyhow::Result<()> {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
            stream.set_nodelay(true)?;
            let mut answers = BufReader::new(stream.try_clone()?);
            let mut stream = &stream;
            while let Some(body) = encoded.bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let head = format!(
                    "POST /write?db={database}&precision=ns HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                    body.text.len()
                );
                stream.write_all(head.as_bytes())?;
                stream.write_all(&body.text)?;
                let mut status = String::new();
                answers.read_line(&mut status)?;
                ensure!(status.contains(" 204 "), "{} says {status}", server.name);
                let mut line = String::from("-");
                while !line.trim().is_empty() {
                    line.clear();
                    answers.read_line(&mut line)?;
                }
            }
            Ok(())
        };
        let threads: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(send)).collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a sender broke down"))??;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    Ok(started.elapsed().as_secs_f64())
}

/// Has a sink follow the journal; how long that took, s.
fn follow(server: &Server, database: &str, source: &Path) -> anyhow::Result<f64> {
    let after = RunRecord {
        run: format!("bench-{database}"),
        ..record()
    };
    let (journal, sender, _) = journal::open(&source.join(journal::DIR), setup(&after)?)?;
    let sink = SinkOptions {
        // A cursor of its own, at the beginning: the other server's is at the end.
        name: format!("{}-{database}", server.name),
        kind: Kind::Influx(Box::new(options(&server.url(), database)?)),
        selection: Selection::default(),
        pace: PaceOptions {
            in_flight_max: IN_FLIGHT,
            batch_bytes_max: BODY_BYTES,
            retry_first: Duration::from_millis(100),
            retry_max: Duration::from_secs(1),
            retry_denied: Duration::from_secs(1),
        },
        batch_age: Duration::from_secs(1),
        catch_up: CatchUp::OldestFirst,
        backlog_bytes_max: u64::MAX,
        linger: Duration::from_secs(600),
    };
    let started = Instant::now();
    let sinks = Sinks::start(&SinksSetup {
        data_dir: source.to_owned(),
        sinks: vec![sink],
        journal: journal.status(),
        is_pruned: false,
        journal_segment_bytes: journal::Options::default().segment_bytes,
        run: after.run,
        clock: Clock::system(),
    })?;
    journal
        .close(sender, || "{}".to_owned())
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let (_, status) = sinks.close().pop().context("there is a sink")?;
    ensure!(
        status.behind == 0 && status.rejected == 0,
        "the sink has not sent everything: {status:?}"
    );
    Ok(started.elapsed().as_secs_f64())
}

/// A server of our own, in a folder of its own; ended when it is dropped.
struct Server {
    name: &'static str,
    port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// `None`: it is not on the PATH.
    fn start(name: &'static str, folder: &Path) -> anyhow::Result<Option<Self>> {
        std::fs::create_dir_all(folder)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut command = Command::new(name);
        if name == "influxd" {
            command
                .env("INFLUXDB_REPORTING_DISABLED", "true")
                .env("INFLUXDB_BIND_ADDRESS", "127.0.0.1:0")
                .env("INFLUXDB_HTTP_BIND_ADDRESS", format!("127.0.0.1:{port}"))
                .env("INFLUXDB_HTTP_LOG_ENABLED", "false")
                .env("INFLUXDB_META_DIR", folder.join("meta"))
                .env("INFLUXDB_DATA_DIR", folder.join("data"))
                .env("INFLUXDB_DATA_WAL_DIR", folder.join("wal"))
                .env("INFLUXDB_MONITOR_STORE_ENABLED", "false");
        } else {
            command
                .arg(format!("-storageDataPath={}", folder.display()))
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .arg("-retentionPeriod=100y");
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot start {name}")),
        };
        let server = Self { name, port, child };
        let until = Instant::now() + Duration::from_secs(30);
        while !server
            .get("GET", "/ping")
            .is_ok_and(|(status, _)| status < 300)
        {
            ensure!(Instant::now() < until, "{name} does not answer");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(Some(server))
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn get(&self, method: &str, target: &str) -> anyhow::Result<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        write!(
            stream,
            "{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status.context("no HTTP")?, body.to_owned()))
    }

    fn create(&self, database: &str) -> anyhow::Result<()> {
        if self.name == "influxd" {
            let (status, body) =
                self.get("POST", &format!("/query?q=CREATE%20DATABASE%20{database}"))?;
            ensure!(status == 200, "{} says {status} {body}", self.name);
        }
        Ok(())
    }

    /// Whether it has every point.
    fn check(&self, database: &str, encoded: &Encoded) -> anyhow::Result<()> {
        if self.name == "influxd" {
            let (_, body) = self.get(
                "GET",
                &format!("/query?db={database}&q=SELECT%20count(c0)%20FROM%20adc"),
            )?;
            let found: Value = serde_json::from_str(&body)?;
            let count = found["results"][0]["series"][0]["values"][0][1].as_u64();
            ensure!(
                count == Some(encoded.points as u64),
                "{} has {count:?} of {} points",
                self.name,
                encoded.points
            );
            return Ok(());
        }
        // It can be asked only some time after it has accepted, unless it is told to look.
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            self.get("GET", "/internal/force_flush")?;
            let target = format!(
                "/api/v1/export?match%5B%5D=adc_c0%7Bdb%3D%22{database}%22%7D&max_rows_per_line=100000"
            );
            let (_, body) = self.get("GET", &target)?;
            let blocks = body
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let count: usize = blocks
                .map(|block| block["values"].as_array().map_or(0, Vec::len))
                .sum();
            if count == encoded.points {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "{} has {count} of {} points",
                self.name,
                encoded.points
            );
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }
}
