//! `kymo ports --watch`: devices as they come and go.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use kymo_drivers::link::Stop;
use kymo_drivers::link::watch::{Change, Watch};
use serde_json::json;

use super::row::{Look, Row, list};
use crate::cli::Failure;
use crate::clock::{Clock, rfc3339};
use crate::config::plan::Plan;

/// One device plugged in is several messages, of its interfaces and its port: they are waited for.
const SETTLE: Duration = Duration::from_millis(50);

/// Looks again after so many messages, however fast they come.
const MESSAGES_MAX: usize = 20;

/// Tells of devices until somebody says stop, or nobody listens any more.
pub(super) fn run(plan: Option<&Plan>, as_json: bool) -> Result<(), Failure> {
    let stop = Stop::new()?;
    let order = stop.clone();
    ctrlc::set_handler(move || order.trigger()).context("cannot listen for signals")?;
    // Before the first look, so that nothing comes between the two.
    let mut watch = Watch::new().context("the system does not tell of devices")?;
    let clock = Clock::system();
    let mut known = there(plan);
    let mut told = known.iter().all(|row| tell("there", row, &clock, as_json));
    while told {
        match watch.wait(None, &stop).context("cannot wait for devices")? {
            Change::Stopped => break,
            Change::None => continue,
            Change::Devices => {}
        }
        for _ in 0..MESSAGES_MAX {
            let next = watch.wait(Some(SETTLE), &stop);
            if next.context("cannot wait for devices")? != Change::Devices {
                break;
            }
        }
        let now = there(plan);
        let is_in =
            |rows: &[Row], row: &Row| rows.iter().any(|other| other.identity() == row.identity());
        let gone = known.iter().filter(|row| !is_in(&now, row));
        let came = now.iter().filter(|row| !is_in(&known, row));
        told = gone
            .map(|row| ("gone", row))
            .chain(came.map(|row| ("came", row)))
            .all(|(what, row)| tell(what, row, &clock, as_json));
        known = now;
    }
    Ok(())
}

fn there(plan: Option<&Plan>) -> Vec<Row> {
    let mut rows = list(plan, Look::Permission);
    rows.retain(Row::is_there);
    rows
}

/// Says what became of a device; false if nobody reads any more.
fn tell(what: &str, row: &Row, clock: &Clock, as_json: bool) -> bool {
    let time = rfc3339(clock.now_ns());
    let line = if as_json {
        json!({ "time": time, "event": what, "device": row.json() }).to_string()
    } else {
        format!("{time} {what:<5} {row}")
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}
