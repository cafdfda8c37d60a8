//! `kymo ports`: the serial ports and USB devices of this host, who uses them, and why one cannot be opened.

mod row;
mod watch;

use super::{ConfigArgs, Failure, load_plan, say};

/// Lists the serial ports and the other USB devices, with their USB identity and physical port.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A port that cannot be opened is listed with the reason and what to do. If the configuration can be read, \
the sources that use a port are named beside it. No port is opened for longer than a moment, and none \
at all with --watch, which goes on until Ctrl-C.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Go on, and tell of every device that comes or goes.
    #[arg(long)]
    watch: bool,
    /// Print a JSON array; with --watch, one object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    // The ports can be looked at without a configuration, or with a wrong one.
    let plan = load_plan(&args.config).ok();
    if args.watch {
        return watch::run(plan.as_ref(), args.json);
    }
    let rows = row::list(plan.as_ref(), row::Look::Open);
    if args.json {
        let rows: Vec<_> = rows.iter().map(row::Row::json).collect();
        say(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    if rows.is_empty() {
        say("no serial ports and no USB devices on this host");
    }
    for row in &rows {
        say(row);
    }
    Ok(())
}
