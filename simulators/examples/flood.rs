//! How fast a flood comes through a pseudo-terminal: `cargo run --release -p kymo-simulators
//! --example flood`. Reads with a bare loop for two seconds a device.

#![allow(clippy::print_stdout, reason = "a measurement for a person to read")]

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use kymo_simulators::{DEVICES, Options, Simulator};

fn main() -> std::io::Result<()> {
    let links = std::env::temp_dir().join(format!("kymo-flood-{}", std::process::id()));
    for kind in DEVICES {
        let options = Options {
            rate_hz: Some(f64::INFINITY),
            ..Options::new("flood", kind.name, &links)
        };
        let device = Simulator::start(options)?;
        let noctty = rustix::fs::OFlags::NOCTTY.bits() as i32;
        let mut options = std::fs::OpenOptions::new();
        let port = options.read(true).write(true).custom_flags(noctty);
        let mut port = port.open(device.path())?;
        let mut buffer = vec![0; 64 * 1024];
        let (mut bytes, mut reads) = (port.read(&mut buffer)? as u64, 1);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            bytes += port.read(&mut buffer)? as u64;
            reads += 1;
        }
        let rate = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
        println!(
            "{:20} {rate:6.1} MB/s, {} bytes a read",
            kind.name,
            bytes / reads
        );
        device.stop()?;
    }
    std::fs::remove_dir(links)
}
