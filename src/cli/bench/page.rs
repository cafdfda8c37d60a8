//! `kymo bench page`: what the live page costs. Steps of a critical source, from the write on the pseudo-terminal to the alert, beside 150,000
//! samples/s of other traffic: with nobody looking on, and with twenty clients that look at all channels, one of which never reads. The two
//! take turns.
//!
//! The limit is the latency with nobody looking on; what `kymo bench isolation` allows is three times its 99th percentile. The cost is the
//! processor time of the page's threads, as a share of a core.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::latency::{
    BACKGROUND, BACKGROUND_HZ, CHAMBER, HIGH_BAR, LOW_BAR, background, seen_by_rule, step,
};
use super::{Args, Found, Limit, PATIENCE, machine, resident_bytes};
use crate::clock::Clock;
use crate::config;
use crate::config::plan::Plan;
use crate::latency::Latency;
use crate::pipeline::Run;
use crate::serve;

const CLIENTS: usize = 20;

/// How long each phase lasts before the other has its turn.
const TURN: Duration = Duration::from_secs(1);

/// From a change of phase to the first step that counts: clients get the whole span first.
const SETTLE: Duration = Duration::from_millis(300);

const PHASES: [&str; 2] = ["nobody looks on", "twenty clients"];

/// A key of the handshake, whose answer nobody looks at.
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let folder = super::scratch(args)?;
    let clock = Clock::system();
    let mut run = Run::start(plan(folder.path())?, clock.clone())?;
    // It is stopped whatever comes of that: it keeps its own readers waited for.
    let measured = measure(args, &mut run, &clock);
    let failure = run.watch();
    let report = run.stop();
    ensure!(failure.is_none(), "the run failed: {failure:?}");
    let Measured {
        phases,
        busy_s,
        looked_s,
        steps,
        received,
    } = measured?;
    let fired = report.alerts["step"]["fired"].as_u64().unwrap_or(0);
    ensure!(
        fired >= steps,
        "{steps} steps, but the rule fired {fired} times"
    );
    let [alone, looked_on] = phases.map(|phase| phase.summary());
    let mut more_us = serde_json::Map::new();
    for ((name, busy_s), looked_s) in PHASES.iter().zip(busy_s).zip(looked_s) {
        more_us.insert(format!("cores: {name}"), (busy_s / looked_s).into());
    }
    #[allow(clippy::cast_precision_loss)]
    let bytes_per_s = received as f64 / looked_s[1];
    let samples: u64 = report
        .sources
        .0
        .iter()
        .map(|(_, source)| source.samples)
        .sum();
    #[allow(clippy::cast_precision_loss)]
    let samples_per_s = samples as f64 / report.duration_s;
    Ok(Found {
        cost: None,
        bench: "page",
        what: format!(
            "{steps} steps on a critical source, beside {BACKGROUND} sources of {BACKGROUND_HZ} samples/s, with {CLIENTS} clients of the live page that look at all channels, one of which never reads; from the write on the pseudo-terminal to the alert"
        ),
        machine: machine(),
        samples_per_s: Some(samples_per_s),
        bytes_per_s: Some(bytes_per_s),
        limit: Limit {
            cost: None,
            what: "the same with nobody looking on (99th percentiles compared)",
            samples_per_s: None,
            bytes_per_s: None,
            latency_us: Some(alone),
        },
        ratio: looked_on.p99 / alone.p99.max(f64::MIN_POSITIVE),
        ratio_spread: [looked_on.p50 / alone.p50, looked_on.mean / alone.mean],
        latency_us: Some(looked_on),
        more_us,
        rows: Vec::new(),
        rss_bytes: resident_bytes(),
        balanced: report.ledger.balanced && report.ledger.dropped == 0,
    })
}

/// What was found in each phase.
#[derive(Default)]
struct Measured {
    phases: [Latency; 2],
    /// Processor time of the page's threads.
    busy_s: [f64; 2],
    looked_s: [f64; 2],
    steps: u64,
    /// Bytes that the clients were sent.
    received: u64,
}

fn measure(args: &Args, run: &mut Run, clock: &Clock) -> anyhow::Result<Measured> {
    let options = serve::Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..serve::Options::default()
    };
    let url = run.serve(options)?.url();
    let address: SocketAddr = url.trim_start_matches("http://").parse()?;
    let chamber = run
        .simulators()
        .last()
        .context("the interlock is the last")?;
    let held = chamber.set_level(Some(LOW_BAR)).recv_timeout(PATIENCE);
    held.context("the device did not hold its level")?;
    std::thread::park_timeout(Duration::from_millis(700));
    let mut found = Measured::default();
    let (started, duration) = (Instant::now(), args.duration * args.repeat * 2);
    while started.elapsed() < duration {
        for phase in 0..PHASES.len() {
            let clients = (phase == 1).then(|| Clients::open(address)).transpose()?;
            std::thread::park_timeout(SETTLE);
            let (turn, before_s) = (Instant::now(), page_threads_s());
            while turn.elapsed() < TURN {
                let (written_ns, seen_ns) = step(chamber, LOW_BAR, HIGH_BAR, |written| {
                    seen_by_rule(run, clock, written)
                })?;
                found.phases[phase].record_ns(written_ns, seen_ns);
                found.steps += 1;
            }
            if let Some(clients) = &clients {
                super::until("the clients are sent something", || clients.received() > 0)?;
            }
            found.busy_s[phase] += page_threads_s() - before_s;
            found.looked_s[phase] += turn.elapsed().as_secs_f64();
            found.received += clients.map_or(Ok(0), Clients::close)?;
        }
    }
    Ok(found)
}

fn plan(data_dir: &Path) -> anyhow::Result<Plan> {
    let text = background() + CHAMBER;
    let mut plan = config::parse("bench page", &text).map_err(|m| anyhow::anyhow!("{m}"))?;
    plan.move_to(data_dir);
    // The page is what is measured here.
    plan.store = None;
    let last = plan.simulators.len() - 1;
    for simulator in &mut plan.simulators[..last] {
        simulator.rate_hz = Some(BACKGROUND_HZ);
    }
    Ok(plan)
}

/// Processor time of the page's threads so far, s (proc(5): fields 14 and 15 of stat, in ticks).
#[allow(clippy::cast_precision_loss)]
fn page_threads_s() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let ticks: u64 = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .filter_map(|stat| {
            let (head, fields) = stat.rsplit_once(") ")?;
            let name = head.split_once('(')?.1;
            // "kymo-page-reads" is cut to 15 characters, and all that matters stands before.
            let is_page = name.starts_with("kymo-page") || name == "kymo-live";
            let fields: Vec<&str> = fields.split(' ').collect();
            let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
            is_page.then_some(ticks(11)? + ticks(12)?)
        })
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Clients of the live page: all but the last read, in one thread, so that they cost as little as they can.
struct Clients {
    /// Dropped: the thread ends.
    order: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
    received: Arc<AtomicU64>,
    _never_reads: TcpStream,
}

impl Clients {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let streams = (0..CLIENTS).map(|_| client(address));
        let mut streams = streams.collect::<anyhow::Result<Vec<_>>>()?;
        let never_reads = streams.pop().context("there is one at least")?;
        let received = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&received);
        let (order, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("clients".to_owned())
            .spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                let turn = Duration::from_millis(10);
                while stopped.recv_timeout(turn) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    for stream in &mut streams {
                        while let Ok(count @ 1..) = stream.read(&mut buffer) {
                            counted.fetch_add(count as u64, Ordering::Relaxed);
                        }
                    }
                }
            })?;
        Ok(Self {
            order,
            thread,
            received,
            _never_reads: never_reads,
        })
    }

    /// How many bytes they were sent so far.
    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How many bytes they were sent.
    fn close(self) -> anyhow::Result<u64> {
        drop(self.order);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("the clients broke down"))?;
        Ok(self.received.load(Ordering::Relaxed))
    }
}

/// One that looks at all channels, ten seconds of them, on a screen of 1920 pixels.
fn client(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /api/live HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n{UPGRADE}\r\n"
    )?;
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer)?;
    ensure!(
        answer[..count].starts_with(b"HTTP/1.1 101 "),
        "a client was refused"
    );
    let channels: Vec<usize> = (0..=BACKGROUND).collect();
    let wish = serde_json::json!({ "id": 1, "channels": channels, "span_ns": "10000000000", "width": 1920 }).to_string();
    let length = u8::try_from(wish.len()).context("a wish is short")?;
    ensure!(length < 126, "a wish is short");
    // A text message in one frame (RFC 6455, 5.2), masked with zeros.
    stream.write_all(&[0x81, 0x80 | length, 0, 0, 0, 0])?;
    stream.write_all(wish.as_bytes())?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
