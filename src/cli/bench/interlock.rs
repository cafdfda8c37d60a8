//! `kymo bench interlock`: a device crosses its limit, and receives its stop bytes. From the write of the value on the
//! pseudo-terminal to the bytes' arrival there, with 150,000 samples/s of other traffic through the same stage.
//!
//! The limit, in turn with it and beside the same traffic: a bare thread that reads a pseudo-terminal and writes back.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kymo_drivers::link::{self, Read, Stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::latency::{BACKGROUND, BACKGROUND_HZ, background};
use super::wake::Far;
use super::{Args, Found, Limit, machine, resident_bytes};
use crate::clock::Clock;
use crate::config;
use crate::latency::Latency;

/// Time between steps; not a multiple of anything else in the run.
const PAUSE: Duration = Duration::from_micros(3137);
/// Stop bytes that have not come after so long are lost, and the benchmark fails.
const PATIENCE: Timespec = Timespec {
    tv_sec: super::PATIENCE.as_secs() as i64,
    tv_nsec: 0,
};
const STOP: &[u8] = b"S\n";

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let folder = super::scratch(args)?;
    let (device, bare) = (Device::open()?, Device::open()?);
    let text = format!(
        "{}\n\
         [source.chamber]\npriority = \"critical\"\nprotocol = {{ type = \"lines\", first_line = \"whole\" }}\n\
         link = {{ type = \"serial\", path = \"{}\", baud = 230400 }}\nchannel = [{{ name = \"pressure\", unit = \"bar\" }}]\n\
         [[rule]]\nname = \"over\"\nchannel = \"chamber.pressure\"\nabove = 2.5\nclear = 1.5\nnotify = [\"stop\"]\n\
         [notifier.stop]\ntype = \"line\"\nsource = \"chamber\"\nsend = \"S\\n\"\n",
        background(),
        device.0.path.display()
    );
    let mut plan = config::parse("bench interlock", &text).map_err(|m| anyhow::anyhow!("{m}"))?;
    plan.move_to(folder.path());
    plan.store = None;
    for simulator in &mut plan.simulators {
        simulator.rate_hz = Some(BACKGROUND_HZ);
    }
    let (stop, echo) = echo(&bare.0.path)?;
    let measured = super::during(plan, &Clock::system(), |run| {
        let chamber = run.ledger().sources().last();
        let chamber = chamber.context("the interlock is the last")?;
        super::until("the port is read", || {
            device.idle().is_ok() && chamber.acquired() > 0
        })?;
        // Warm-up: devices attach, pools fill.
        std::thread::park_timeout(Duration::from_millis(700));
        let (mut kymo, mut limit, mut steps) = (Latency::default(), Latency::default(), 0_u64);
        let until = Instant::now() + args.duration * args.repeat;
        loop {
            for (device, times) in [(&device, &mut kymo), (&bare, &mut limit)] {
                let taken = device.step().context("the stop bytes did not come")?;
                times.record_ns(0, i64::try_from(taken.as_nanos())?);
                std::thread::park_timeout(PAUSE);
            }
            steps += 1;
            if Instant::now() >= until {
                break;
            }
        }
        Ok((kymo, limit, steps))
    });
    stop.trigger();
    let _ = echo.join();
    let ((kymo, limit, steps), report) = measured?;
    let fired = report.alerts["over"]["fired"].as_u64();
    ensure!(fired == Some(steps), "{steps} steps, but fired {fired:?}");
    let (kymo, limit) = (kymo.summary(), limit.summary());
    Ok(Found {
        cost: None,
        bench: "interlock",
        what: format!(
            "{steps} crossings of a limit, beside {BACKGROUND} sources of {BACKGROUND_HZ} samples/s; from the write on the pseudo-terminal to the stop bytes' arrival there"
        ),
        machine: machine(),
        samples_per_s: None,
        bytes_per_s: None,
        limit: Limit {
            cost: None,
            what: "a bare thread that reads the pseudo-terminal and writes back (medians compared)",
            samples_per_s: None,
            bytes_per_s: None,
            latency_us: Some(limit),
        },
        ratio: kymo.p50 / limit.p50.max(f64::MIN_POSITIVE),
        ratio_spread: [kymo.mean / limit.mean, kymo.p99 / limit.p99],
        latency_us: Some(kymo),
        more_us: serde_json::Map::new(),
        rows: Vec::new(),
        rss_bytes: resident_bytes(),
        balanced: report.ledger.balanced && report.ledger.dropped == 0,
    })
}

/// A thread that answers every value above the limit, as the rule does.
fn echo(path: &Path) -> anyhow::Result<(Stop, std::thread::JoinHandle<()>)> {
    let stop = Stop::new()?;
    let options = link::serial::Options::new(path, 230_400);
    let mut link = link::Options::Serial(options).open()?;
    let mut sender = link.sender().context("a port can be written to")?;
    let ordered = stop.clone();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Read::Data(count) = link.read(&mut buffer, None, &ordered) {
            if buffer[..count].contains(&b'3') && sender.send(STOP, Duration::from_secs(1)).is_err()
            {
                return;
            }
        }
    });
    Ok((stop, thread))
}

/// The device's end of a pseudo-terminal.
struct Device(Far);

impl Device {
    fn open() -> anyhow::Result<Self> {
        Far::open().map(Self)
    }

    /// A value below the limit.
    fn idle(&self) -> std::io::Result<()> {
        rustix::io::write(&self.0.master, b"1.0\n")?;
        Ok(())
    }

    /// Up over the limit, until the stop bytes are there; and down again.
    fn step(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        rustix::io::write(&self.0.master, b"3.0\n")?;
        let mut got = Vec::new();
        while !got.ends_with(STOP) {
            let mut set = [PollFd::from_borrowed_fd(
                self.0.master.as_fd(),
                PollFlags::IN,
            )];
            ensure!(
                poll(&mut set, Some(&PATIENCE))? > 0,
                "nothing came, but {got:?}"
            );
            let mut buffer = [0; 64];
            let count = rustix::io::read(&self.0.master, &mut buffer)?;
            got.extend_from_slice(&buffer[..count]);
        }
        let taken = started.elapsed();
        self.idle()?;
        Ok(taken)
    }
}
