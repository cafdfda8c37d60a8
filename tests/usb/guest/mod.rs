//! What happens in the guest: devices are made, plugged in, read by `kymo`, pulled and plugged in again.
//!
//! The report goes to standard output as one JSON object, and says `failed` if anything did not come to pass.

mod bare;
mod ffs;
mod frames;
mod gadget;
mod kymo;
mod scenes;
mod sensor;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

/// What goes wrong is told in the report.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Far longer than anything takes, here where every instruction is emulated.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) fn main() -> ExitCode {
    let mut report = Map::new();
    if let Err(error) = scenes::play(&mut report) {
        report.insert("failed".to_owned(), error.to_string().into());
    }
    println!("{}", Value::Object(report));
    ExitCode::SUCCESS
}

/// Waits until something is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > PATIENCE {
            return Err(format!("waited in vain: {what}").into());
        }
        pause(Duration::from_millis(5));
    }
    Ok(())
}

fn pause(length: Duration) {
    std::thread::park_timeout(length);
}

/// Says on the console how far it has come.
#[allow(clippy::print_stderr, reason = "the console of the guest")]
fn note(text: &str) {
    let up = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    eprintln!("{}: {text}", up.split(' ').next().unwrap_or_default());
}
