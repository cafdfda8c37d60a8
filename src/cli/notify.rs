//! `kymo notify`: the notifiers, what they could not deliver, and sending it again.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{ConfigArgs, Failure, load_plan, note, say};
use crate::clock::{Clock, rfc3339};
use crate::config::plan::Plan;
use crate::data_dir;
use crate::notify::{DeadLetter, DeadLetters, Deliver, Made, deliver_once};

/// Lists notifiers and the messages that they could not deliver, and sends these again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  \
kymo notify list                 the notifiers of the configuration\n  \
kymo notify test ops             send a message to try one\n  \
kymo notify dead                 what could not be delivered, and why\n  \
kymo notify resend --all         try all of it again\n  \
kymo notify resend ops           only what was for `ops`")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The notifiers of the configuration, and how many dead letters each has.
    List(Common),
    /// The messages that could not be delivered.
    Dead(Common),
    /// Deliver dead letters now, as the configuration says now; what arrives is removed.
    Resend(Resend),
    /// Send a message that says it is a test.
    Test(Test),
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Resend {
    /// Notifiers, or messages by their ids.
    #[arg(required_unless_present = "all", value_name = "NOTIFIER|ID")]
    what: Vec<String>,
    /// All of them.
    #[arg(long, conflicts_with = "what")]
    all: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Test {
    /// The notifier.
    notifier: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::List(common) => list(common),
        Command::Dead(common) => dead(common),
        Command::Resend(args) => resend(args),
        Command::Test(args) => test(args),
    }
}

/// The dead letters of a plan's data directory, oldest first.
fn letters(plan: &Plan) -> Result<(DeadLetters, Vec<DeadLetter>), Failure> {
    let all = DeadLetters::of(&plan.data_dir);
    if !plan.data_dir.exists() {
        return Ok((all, Vec::new()));
    }
    data_dir::readable(&plan.data_dir)
        .map_err(|error| Failure::Usage(format!("error: {error}")))?;
    let (letters, damaged) = all.list()?;
    for path in damaged {
        note(format!(
            "{} cannot be read: it is left as it is",
            path.display()
        ));
    }
    Ok((all, letters))
}

fn list(common: &Common) -> Result<(), Failure> {
    let plan = load_plan(&common.config)?;
    let (_, letters) = letters(&plan)?;
    let count = |name: &str| {
        letters
            .iter()
            .filter(|letter| letter.notifier == name)
            .count()
    };
    if common.json {
        let notifiers = plan.notifiers.iter().map(|notifier| {
            json!({
                "name": notifier.name,
                "type": notifier.kind.name,
                "severity": notifier.severity.name(),
                "on": notifier.on.iter().map(|change| change.name()).collect::<Vec<_>>(),
                "dead": count(&notifier.name),
            })
        });
        let found = json!({ "notifiers": notifiers.collect::<Vec<_>>() });
        say(serde_json::to_string_pretty(&found)?);
        return Ok(());
    }
    if plan.notifiers.is_empty() {
        say("there are no notifiers");
        return Ok(());
    }
    let mut text = format!(
        "{:<20}  {:<9} {:<9} {:>6}  about\n",
        "notifier", "type", "severity", "dead"
    );
    for notifier in &plan.notifiers {
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "{:<20}  {:<9} {:<9} {:>6}  {}",
            notifier.name,
            notifier.kind.name,
            notifier.severity.name(),
            count(&notifier.name),
            notifier.kind.about
        );
    }
    say(text.trim_end());
    Ok(())
}

fn dead(common: &Common) -> Result<(), Failure> {
    let plan = load_plan(&common.config)?;
    let (_, letters) = letters(&plan)?;
    if common.json {
        say(serde_json::to_string_pretty(&json!({ "dead": letters }))?);
        return Ok(());
    }
    if letters.is_empty() {
        say("there are no dead letters");
        return Ok(());
    }
    let mut text = String::new();
    for letter in &letters {
        let event = |key: &str| letter.event[key].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "{}  {}  given up {} after {} attempts\n    {} {} at {}: {}\n    {}",
            letter.id,
            letter.notifier,
            letter.given_up,
            letter.attempts,
            event("rule"),
            event("change"),
            event("time"),
            event("message"),
            letter.why
        );
    }
    say(text.trim_end());
    Ok(())
}

/// A durable notifier of the plan, ready.
fn make(plan: &Plan, name: &str) -> Result<Box<dyn Deliver>, String> {
    let notifier = plan.notifiers.iter().find(|notifier| notifier.name == name);
    let notifier = notifier.ok_or_else(|| format!("the configuration has no notifier `{name}`"))?;
    match (notifier.kind.make)(&notifier.settings) {
        Ok(Made::Durable(deliver)) => Ok(deliver),
        Ok(Made::Direct(_)) => Err(format!(
            "`{name}` acts within a run alone: there is nothing to send to it from outside"
        )),
        Err(wrong) => Err(format!("`{name}`: `{}` {}", wrong.key, wrong.what)),
    }
}

fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

fn resend(args: &Resend) -> Result<(), Failure> {
    let plan = load_plan(&args.common.config)?;
    let (store, letters) = letters(&plan)?;
    let is_wanted = |letter: &&DeadLetter| {
        let mut wanted = args.what.iter();
        args.all || wanted.any(|what| *what == letter.id || *what == letter.notifier)
    };
    let wanted: Vec<&DeadLetter> = letters.iter().filter(is_wanted).collect();
    if wanted.is_empty() && !args.all {
        return Err(Failure::Usage(
            "error: no dead letter is called so; `kymo notify dead` lists them".to_owned(),
        ));
    }
    let (mut sent, mut failed) = (Vec::new(), Vec::new());
    for letter in wanted {
        let done = make(&plan, &letter.notifier).and_then(|mut deliver| {
            deliver_once(&mut *deliver, (&letter.id, &letter.event), &host())
        });
        match done {
            Ok(()) => {
                store.remove(letter)?;
                sent.push(letter.id.clone());
            }
            Err(why) => {
                let again = DeadLetter {
                    attempts: letter.attempts + 1,
                    why: why.clone(),
                    ..letter.clone()
                };
                store.keep(&again)?;
                failed.push((letter.id.clone(), letter.notifier.clone(), why));
            }
        }
    }
    if args.common.json {
        let failures = failed
            .iter()
            .map(|(id, notifier, why)| json!({ "id": id, "notifier": notifier, "why": why }));
        let found = json!({ "sent": sent, "failed": failures.collect::<Vec<_>>() });
        say(serde_json::to_string_pretty(&found)?);
    } else {
        say(format!("{} delivered, {} not", sent.len(), failed.len()));
        for (id, notifier, why) in &failed {
            say(format!("  {id} for {notifier}: {why}"));
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Running(anyhow::anyhow!(
        "{} dead letters could not be delivered, and are kept",
        failed.len()
    )))
}

fn test(args: &Test) -> Result<(), Failure> {
    let plan = load_plan(&args.common.config)?;
    let mut deliver =
        make(&plan, &args.notifier).map_err(|why| Failure::Usage(format!("error: {why}")))?;
    let event: Value = json!({
        "event": "alert",
        "rule": "test",
        "kind": "test",
        "change": "fired",
        "severity": "info",
        "channel": "test.test",
        "value": 1.0,
        "limit": 0.0,
        "unit": "1",
        "time": rfc3339(Clock::system().now_ns()),
        "message": "this is a test of the notifier",
    });
    let done = deliver_once(&mut *deliver, ("test", &event), &host());
    if args.common.json {
        say(
            json!({ "notifier": args.notifier, "delivered": done.is_ok(), "why": done.as_ref().err() }),
        );
    } else if done.is_ok() {
        say("delivered");
    }
    done.map_err(|why| Failure::Running(anyhow::anyhow!("{}: {why}", args.notifier)))
}
