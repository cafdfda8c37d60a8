//! `kymo rules`: where the rules stand; acknowledge and silence them; try them on what was recorded.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::{DataArgs, Failure, config, parse_duration, render, say};
use crate::alert::{Judge, Order, RuleStanding};
use crate::alert_memory;
use crate::clock::{Clock, rfc3339};
use crate::control::{Request, ask};
use crate::data_dir::{self, DataDir};

mod picture;
mod test;

/// Says where the rules stand; acknowledges and silences alerts; tries rules on what was recorded.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
These work on the run that goes on in the data directory. If none does, `list` says where the rules stood at its end, and \
what is asked of a rule is kept for the next run.\n\n\
Examples:\n  \
kymo rules list\n  \
kymo rules ack overpressure\n  \
kymo rules silence heater-hot --for 1h --reason 'new heater'\n  \
kymo rules test --from -1h                  what the configuration's rules would have done\n  \
kymo rules test --config stricter.toml --plot\n  \
kymo rules test --capture day.mcap")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every rule, and where it stands.
    List(Common),
    /// Acknowledge an alert: somebody has seen it.
    Ack(Named),
    /// Tell nobody of a rule for a while; it is judged and recorded all the same.
    Silence(SilenceArgs),
    /// Take back what silences were declared for a rule by `silence`.
    Unsilence(Named),
    /// Say what would have fired in what was recorded: when, and for how long.
    Test(test::Args),
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The rule.
    rule: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct SilenceArgs {
    /// The rule.
    rule: String,
    /// For how long, as in `1h`.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::List(common) => order(common, &Order::List),
        Command::Ack(named) => {
            let rule = named.rule.clone();
            order(&named.common, &Order::Acknowledge { rule })
        }
        Command::Unsilence(named) => {
            let rule = named.rule.clone();
            order(&named.common, &Order::Unsilence { rule })
        }
        Command::Silence(args) => {
            let for_ns = i64::try_from(args.duration.as_nanos()).unwrap_or(i64::MAX);
            let order_of = Order::Silence {
                rule: args.rule.clone(),
                until_ns: Clock::system().now_ns().saturating_add(for_ns),
                reason: args.reason.clone(),
            };
            order(&args.common, &order_of)
        }
        Command::Test(args) => test::run(args),
    }
}

/// Gives an order to the run, or, if there is none, keeps it for the next.
fn order(common: &Common, order: &Order) -> Result<(), Failure> {
    let data_dir = common.data.data_dir()?;
    let usage = |text: String| Failure::Usage(format!("error: {text}"));
    data_dir::readable(&data_dir).map_err(|error| usage(error.to_string()))?;
    let (rules, running) = match ask(&data_dir, &Request::Rules(order.clone()))? {
        Some(reply) if reply.ok => (reply.rules, true),
        Some(reply) => return Err(usage(reply.error.unwrap_or_default())),
        None => (without_run(common, &data_dir, order)?, false),
    };
    if common.json {
        say(serde_json::to_string_pretty(&json!({
            "running": running,
            "rules": rules,
        }))?);
        return Ok(());
    }
    if rules.is_empty() {
        say("there are no rules");
        return Ok(());
    }
    say(table(&rules).trim_end());
    if !running && !matches!(order, Order::List) {
        say(
            "\nnothing runs in this data directory: this is kept, and done when the next run starts",
        );
    }
    Ok(())
}

/// Where the rules stood at the end of the last run, with the orders that wait for the next.
fn without_run(
    common: &Common,
    data_dir: &std::path::Path,
    order: &Order,
) -> Result<Vec<RuleStanding>, Failure> {
    let plan =
        config::load(&common.data.config).map_err(|mistakes| Failure::Usage(render(&mistakes)))?;
    // Held, so that no run starts meanwhile and misses what is kept for it.
    let held =
        DataDir::take(data_dir).map_err(|error| Failure::Usage(format!("error: {error}")))?;
    let remembered = alert_memory::recall(held.path())?;
    let now_ns = Clock::system().now_ns();
    let mut judge = Judge::new(&plan.rules, &plan.silences, &remembered.memory, now_ns);
    for waiting in alert_memory::orders(held.path())? {
        // One of a rule that there is no more changes nothing.
        let _ = judge.obey(&waiting, now_ns, |_, _| {}, |_| {});
    }
    let done = judge.obey(order, now_ns, |_, _| {}, |_| {});
    let done = done.map_err(|error| Failure::Usage(format!("error: {error}")))?;
    if !matches!(order, Order::List) {
        alert_memory::keep_order(held.path(), order)?;
    }
    Ok(done)
}

fn table(rules: &[RuleStanding]) -> String {
    let width = rules.iter().map(|rule| rule.rule.chars().count()).max();
    let width = width.unwrap_or(0).max(4);
    let mut text = format!(
        "{:<width$}  {:<9} {:<9} since\n",
        "rule", "severity", "state"
    );
    for rule in rules {
        let state = &rule.state;
        let is = match state.is {
            crate::alert::Standing::Quiet => "quiet",
            crate::alert::Standing::Pending => "pending",
            crate::alert::Standing::Firing => "FIRING",
            crate::alert::Standing::Subsided => "subsided",
        };
        let since = state.since_ns.map_or_else(|| "-".to_owned(), rfc3339);
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "{:<width$}  {:<9} {is:<9} {since}",
            rule.rule, rule.severity
        );
        if state.acknowledged && state.is_active() {
            text.push_str(", acknowledged");
        }
        if let Some(until_ns) = rule.silenced_until_ns {
            let _ = write!(text, ", silent until {}", rfc3339(until_ns));
        }
        text.push('\n');
    }
    text
}
