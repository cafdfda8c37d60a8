//! `kymo sink`: try a sink out, say how it stands, show what was refused, let go of one that is gone.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::{ConfigArgs, DataArgs, Failure, load_plan, note, say};
use crate::clock::Clock;
use crate::data_dir::{self, DataDir};
use crate::sink::{self, Kind, SinkOptions, SinkStatus, StateName, dead_letter, influx};

/// Tries sinks out, and says how they stand.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write one point and read it back; say what is wrong.
    Test(Test),
    /// Say how far each sink has come, also while a run goes on elsewhere.
    Status(Status),
    /// Show the lines that were refused, and why.
    DeadLetters(Letters),
    /// Let go of what is kept for a sink that is not configured any more.
    Forget(Forget),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The point goes into the measurement `kymo_test`, and stays there. Exit status 1 if anything is wrong.")]
struct Test {
    /// Which sink; all, if none is named.
    name: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Letters {
    /// Whose.
    name: String,
    #[command(flatten)]
    data: DataArgs,
    /// Show every line, instead of how many for each reason.
    #[arg(long)]
    all: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The journal is kept until every sink that ever followed it has got it. This lets go of one. What it has not sent stays in \
the store; its dead letters stay, too.")]
struct Forget {
    /// Which sink.
    name: String,
    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Test(args) => test(args),
        Command::Status(args) => status(args),
        Command::DeadLetters(args) => letters(args),
        Command::Forget(args) => forget(args),
    }
}

/// The sink of a plan that is named.
pub(super) fn find<'p>(sinks: &'p [SinkOptions], name: &str) -> Result<&'p SinkOptions, Failure> {
    sinks.iter().find(|sink| sink.name == name).ok_or_else(|| {
        let known: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        Failure::Usage(format!(
            "error: no sink is called `{name}`; there are {known}"
        ))
    })
}

fn test(args: &Test) -> Result<(), Failure> {
    let plan = load_plan(&args.config)?;
    let sinks: Vec<&SinkOptions> = match &args.name {
        Some(name) => vec![find(&plan.sinks, name)?],
        None => plan.sinks.iter().collect(),
    };
    if sinks.is_empty() {
        return Err(Failure::Usage(
            "error: the configuration has no [[sink]]; docs/configuration.md shows how".to_owned(),
        ));
    }
    let mut all = serde_json::Map::new();
    let mut wrong = 0;
    for sink in sinks {
        let Kind::Influx(options) = &sink.kind;
        let found = influx::test::run(options, &sink.name, Clock::system().now_ns());
        if !args.json {
            let dialect = found.dialect.as_deref().unwrap_or("unknown dialect");
            match &found.wrong {
                None => say(format!(
                    "{}: a point was written to {} ({dialect}) and read back",
                    sink.name, found.to
                )),
                Some(what) => say(format!("{}: {} ({dialect}): {what}", sink.name, found.to)),
            }
        }
        wrong += usize::from(found.wrong.is_some());
        all.insert(sink.name.clone(), serde_json::to_value(found)?);
    }
    if args.json {
        say(serde_json::to_string_pretty(&json!({ "sinks": all }))?);
    }
    if wrong > 0 {
        return Err(Failure::Running(anyhow::anyhow!(
            "{wrong} of the sinks cannot be used as they are"
        )));
    }
    Ok(())
}

fn readable(data_dir: &Path) -> Result<(), Failure> {
    data_dir::readable(data_dir).map_err(|error| Failure::Usage(format!("error: {error}")))
}

fn status(args: &Status) -> Result<(), Failure> {
    let data_dir = args.data.data_dir()?;
    readable(&data_dir)?;
    let running = data_dir::in_use(&data_dir);
    let statuses = sink::statuses(&data_dir)?;
    let followers = sink::followers(&data_dir)?;
    if args.json {
        let mut sinks = serde_json::Map::new();
        for (name, status) in &statuses {
            let mut value = serde_json::to_value(status)?;
            value["kept_from"] = json!(kept_from(&followers, name));
            sinks.insert(name.clone(), value);
        }
        say(serde_json::to_string_pretty(
            &json!({ "running": running, "sinks": sinks }),
        )?);
        return Ok(());
    }
    if statuses.is_empty() {
        say("no sink has ever run here");
        return Ok(());
    }
    for (name, status) in &statuses {
        say(text(name, status, running));
    }
    Ok(())
}

/// From which record on the journal is kept for a sink.
fn kept_from(followers: &[(String, u64)], name: &str) -> Option<u64> {
    let found = followers.iter().find(|(known, _)| known == name);
    found.map(|(_, seq)| seq + 1)
}

/// A sink as a person reads of it.
fn text(name: &str, status: &SinkStatus, running: bool) -> String {
    let ended = if running || status.state == StateName::Stopped {
        ""
    } else {
        " when its run was killed"
    };
    let mut text = format!(
        "{name}: {}{ended}, to {}\n",
        status.state.words(),
        status.to
    );
    let mut line = |what: &str, value: String| text.push_str(&format!("  {what:<12} {value}\n"));
    line(
        "samples",
        format!(
            "{} written, {} rejected, {} not selected, {} not finite; {:.0}/s",
            status.written,
            status.rejected,
            status.not_selected,
            status.not_finite,
            status.samples_per_s
        ),
    );
    let even = match status.even_in_s {
        _ if status.behind == 0 => String::new(),
        Some(seconds) if running => format!("; even in about {seconds:.0} s"),
        _ if running && status.lag_s > 5.0 => "; not getting nearer".to_owned(),
        _ => String::new(),
    };
    line(
        "behind",
        format!("{} samples, {:.1} s{even}", status.behind, status.lag_s),
    );
    line(
        "journal",
        format!(
            "dealt with up to record {} of {}; {:.1} MiB are kept for it",
            status.cursor,
            status.journal_seq,
            status.backlog_bytes as f64 / f64::from(1 << 20)
        ),
    );
    let errors = &status.errors;
    line(
        "requests",
        format!(
            "{} answered; {} refused lines, {} too large, {} busy, {} timed out, {} denied, {} failed",
            status.requests,
            errors.refused,
            errors.too_large,
            errors.busy,
            errors.timed_out,
            errors.denied,
            errors.failed
        ),
    );
    line(
        "in flight",
        format!(
            "{} of {} requests, batches of {} KiB",
            status.in_flight[0],
            status.in_flight[1],
            status.batch_bytes >> 10
        ),
    );
    if let Some(trouble) = &status.trouble {
        line("trouble", trouble.clone());
    }
    if let Some(lost) = &status.lost {
        line("given up", lost.clone());
    }
    line(
        "updated",
        format!(
            "{} by process {}, run {}",
            status.updated, status.pid, status.run
        ),
    );
    text.trim_end().to_owned()
}

fn letters(args: &Letters) -> Result<(), Failure> {
    let data_dir = args.data.data_dir()?;
    readable(&data_dir)?;
    let (letters, torn) = dead_letter::read(&data_dir, &args.name)?;
    if torn > 0 {
        note(format!(
            "{torn} lines of the file are no letters, and are passed over"
        ));
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in &letters {
        *reasons.entry(&letter.reason).or_default() += 1;
    }
    if args.json {
        let mut object = json!({ "letters": letters.len(), "reasons": reasons });
        if args.all {
            object["lines"] = serde_json::to_value(&letters)?;
        }
        say(serde_json::to_string_pretty(&object)?);
    } else if args.all {
        for letter in &letters {
            say(format!(
                "{}  {}\n  {}",
                letter.time, letter.reason, letter.line
            ));
        }
    } else {
        for (reason, count) in &reasons {
            say(format!("{count:>8}  {reason}"));
        }
        say(format!("{} lines were refused", letters.len()));
    }
    Ok(())
}

fn forget(args: &Forget) -> Result<(), Failure> {
    let data_dir = args.data.data_dir()?;
    readable(&data_dir)?;
    // A run that goes on would put it back.
    let _taken =
        DataDir::take(&data_dir).map_err(|error| Failure::Usage(format!("error: {error}")))?;
    sink::forget(&data_dir, &args.name).map_err(|error| match error {
        error @ sink::Error::Unknown { .. } => Failure::Usage(format!("error: {error}")),
        error => error.into(),
    })?;
    say(format!(
        "the journal is no longer kept for the sink `{}`",
        args.name
    ));
    Ok(())
}
