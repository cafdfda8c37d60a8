//! `kymo rules test`: what rules would have done with what was recorded.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::super::capture::complete;
use super::super::query::{select, times};
use super::super::{Failure, config, note, render, say};
use super::picture;
use crate::alert::{Change, number};
use crate::capture::{Capture, Selection};
use crate::clock::rfc3339;
use crate::config::plan::Plan;
use crate::pipeline::Names;
use crate::rehearsal::{CaptureMaterial, Episode, Outcome, StoreMaterial, rehearse};
use crate::store::read::{Archive, Range};

/// Lines of the table at most; the rest is counted.
const LINES_MAX: usize = 200;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The rules are those of --config, also if other rules ran when the samples were recorded; channels are found by \
their names. Rules that wait for data wait from the beginning of each run or of the range on. The result depends on what is \
recorded alone, and is the same every time.")]
pub(super) struct Args {
    /// The configuration whose rules are tried. Without it, `config.toml`, or the capture's own.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Try them on a capture instead of the store: its first file, all its files, or their directory. Windows and derived
    /// channels are not computed.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["data_dir", "run"])]
    capture: Vec<PathBuf>,
    /// Where the data are. Without it, the configuration says.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// From this time on: `2026-11-23T08:00:00Z`, or back from now: `-10m`.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    from: Option<i64>,
    /// Up to this time, itself excluded.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::parse)]
    to: Option<i64>,
    /// Only this run: its name, or `last`.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Only this rule; may be given several times.
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Draw the channels, and what fired below them.
    #[arg(long, conflicts_with = "json")]
    plot: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let usage = |text: &str| Failure::Usage(format!("error: {text}"));
    let capture = match args.capture.as_slice() {
        [] => None,
        paths => Some(Capture::open(paths).map_err(|error| usage(&error.to_string()))?),
    };
    let loaded = match (&args.config, &capture) {
        (None, Some(capture)) => config::parse(
            "the capture's configuration",
            &capture.described().configuration,
        ),
        (path, _) => config::load(path.as_deref().unwrap_or(Path::new("config.toml"))),
    };
    let mut plan = loaded.map_err(|mistakes| Failure::Usage(render(&mistakes)))?;
    for wanted in &args.rule {
        if !plan.rules.iter().any(|rule| rule.name == *wanted) {
            let known: Vec<&str> = plan.rules.iter().map(|rule| rule.name.as_str()).collect();
            let known = known.join(", ");
            return Err(usage(&format!(
                "there is no rule `{wanted}`; there are {known}"
            )));
        }
    }
    if !args.rule.is_empty() {
        keep_only(&mut plan, &args.rule);
    }
    if plan.rules.is_empty() {
        return Err(usage("this configuration has no rules"));
    }
    if let Some(capture) = &capture {
        return over_capture(args, &plan, capture);
    }
    let data_dir = args.data_dir.as_ref().unwrap_or(&plan.data_dir);
    let archive = Archive::open(data_dir).map_err(|error| match error {
        crate::store::Error::DataDir(error) => usage(&error.to_string()),
        error => error.into(),
    })?;
    let range = Range {
        from_ns: args.from.unwrap_or(i64::MIN),
        to_ns: args.to.unwrap_or(i64::MAX),
    };
    let runs = select::runs(&archive, args.run.as_deref())?;
    let mut material = StoreMaterial::new(archive.clone(), runs.clone(), range, &plan);
    let outcome = rehearse(&plan, &mut material)?;
    if material.lost_records() > 0 {
        note(format!(
            "{} records of the journal are damaged or missing, and were not looked at; `kymo audit` says where",
            material.lost_records()
        ));
    }
    if args.plot {
        let channels = picture::channels(&plan, &outcome);
        let series = picture::of_store(&channels, (&archive, &runs, range))?;
        picture::draw(&plan, &outcome, series);
        return Ok(());
    }
    tell(args, &plan, &outcome)
}

fn over_capture(args: &Args, plan: &Plan, capture: &Capture) -> Result<(), Failure> {
    let selection = Selection {
        from_ns: args.from,
        to_ns: args.to,
        sources: None,
    };
    let mut material = CaptureMaterial::new(capture, &selection, plan)
        .map_err(|what| Failure::Usage(format!("error: {what}")))?;
    let outcome = rehearse(plan, &mut material)?;
    if args.plot {
        let channels = picture::channels(plan, &outcome);
        // What could not be read was said of it once.
        let mut again = CaptureMaterial::new(capture, &selection, plan).map_err(Failure::Usage)?;
        let series = picture::of_capture(&channels, plan, &mut again)?;
        picture::draw(plan, &outcome, series);
    } else {
        tell(args, plan, &outcome)?;
    }
    complete(material.damage())
}

fn tell(args: &Args, plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
    if args.json {
        say(serde_json::to_string_pretty(&describe(plan, outcome))?);
    } else {
        say(text(plan, outcome).trim_end());
    }
    Ok(())
}

fn keep_only(plan: &mut Plan, wanted: &[String]) {
    let is_wanted: Vec<bool> = plan
        .rules
        .iter()
        .map(|rule| wanted.contains(&rule.name))
        .collect();
    // Silences name rules by their places.
    let mut places = vec![None; is_wanted.len()];
    let kept = (0..is_wanted.len()).filter(|place| is_wanted[*place]);
    for (new, old) in kept.enumerate() {
        places[old] = Some(new);
    }
    for silence in &mut plan.silences {
        silence.rules = silence
            .rules
            .iter()
            .filter_map(|rule| places[*rule])
            .collect();
    }
    plan.rules.retain(|rule| wanted.contains(&rule.name));
}

fn describe(plan: &Plan, outcome: &Outcome) -> Value {
    let names = Names::of_plan(plan);
    let mut rules = Map::new();
    for (place, rule) in names.rules.iter().enumerate() {
        let episodes = &outcome.episodes[place];
        let count = |change: Change| {
            let of_rule = outcome.happenings.iter().filter(|h| h.rule == place);
            of_rule.filter(|h| h.moved.change == change).count()
        };
        let found = json!({
            "channel": rule.channel,
            "kind": rule.options.kind.name(),
            "severity": rule.options.severity.name(),
            "fired": count(Change::Fired),
            "cleared": count(Change::Cleared),
            "active": outcome.is_active(place),
            "seconds": seconds(episodes),
            "recorded": !outcome.missing.contains(&place),
            "episodes": episodes.iter().map(|episode| json!({
                "fired": rfc3339(episode.fired_ns),
                "cleared": episode.cleared_ns.map(rfc3339),
                "seconds": episode.seconds,
                "value": episode.value,
            })).collect::<Vec<_>>(),
        });
        rules.insert(rule.options.name.clone(), found);
    }
    let event = |happening: &crate::rehearsal::Happening| {
        json!({
            "time": rfc3339(happening.moved.time_ns),
            "rule": plan.rules[happening.rule].name,
            "change": happening.moved.change.name(),
            "value": happening.moved.value,
            "silenced": happening.moved.silenced,
            "message": happening.message,
            "run": happening.act,
        })
    };
    json!({
        "from": outcome.span_ns.map(|span| rfc3339(span.0)),
        "to": outcome.span_ns.map(|span| rfc3339(span.1)),
        "samples": outcome.samples,
        "rules": rules,
        "events": outcome.happenings.iter().map(event).collect::<Vec<_>>(),
    })
}

/// How long a rule was an alert, s. The sum of nothing is −0 in Rust, which nobody wants to read.
fn seconds(episodes: &[Episode]) -> f64 {
    episodes
        .iter()
        .fold(0.0, |sum, episode| sum + episode.seconds)
}

/// How long an alert was one, as people read it.
pub(super) fn span(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{} ms", number((seconds * 1e6).round() / 1e3))
    } else if seconds < 600.0 {
        format!("{} s", number((seconds * 1e3).round() / 1e3))
    } else {
        format!("{:.1} min", seconds / 60.0)
    }
}

fn text(plan: &Plan, outcome: &Outcome) -> String {
    let names = Names::of_plan(plan);
    let mut text = String::new();
    let Some((from_ns, to_ns)) = outcome.span_ns else {
        return "nothing was recorded of the channels that these rules look at".to_owned();
    };
    // Writing into a string cannot fail.
    let _ = writeln!(
        text,
        "{} samples from {} to {}\n",
        outcome.samples,
        rfc3339(from_ns),
        rfc3339(to_ns)
    );
    let width = plan
        .rules
        .iter()
        .map(|rule| rule.name.chars().count())
        .max();
    let width = width.unwrap_or(0).max(4);
    let _ = writeln!(
        text,
        "{:<width$}  {:>6} {:>8} {:>14} {:>14}  at the end",
        "rule", "fired", "cleared", "alert for", "longest"
    );
    for (place, rule) in plan.rules.iter().enumerate() {
        let episodes = &outcome.episodes[place];
        let sum = seconds(episodes);
        let longest = episodes.iter().map(|episode| episode.seconds);
        let longest = longest.fold(0.0, f64::max);
        let cleared = episodes.iter().filter(|e| e.cleared_ns.is_some()).count();
        let end = if outcome.missing.contains(&place) {
            "not recorded"
        } else if outcome.is_active(place) {
            "an alert"
        } else {
            "quiet"
        };
        let _ = writeln!(
            text,
            "{:<width$}  {:>6} {cleared:>8} {:>14} {:>14}  {end}",
            rule.name,
            episodes.len(),
            span(sum),
            span(longest)
        );
    }
    let all: Vec<(usize, &Episode)> = outcome
        .episodes
        .iter()
        .enumerate()
        .flat_map(|(rule, episodes)| episodes.iter().map(move |episode| (rule, episode)))
        .collect();
    if all.is_empty() {
        return text;
    }
    let mut all = all;
    all.sort_by_key(|(rule, episode)| (episode.fired_ns, *rule));
    let _ = writeln!(
        text,
        "\n{:<30}  {:<width$}  {:>14}  {:>14}  channel",
        "fired", "rule", "for", "value"
    );
    for (rule, episode) in all.iter().take(LINES_MAX) {
        let open = if episode.cleared_ns.is_some() {
            ""
        } else {
            "+"
        };
        let _ = writeln!(
            text,
            "{:<30}  {:<width$}  {:>14}  {:>14}  {}",
            rfc3339(episode.fired_ns),
            plan.rules[*rule].name,
            span(episode.seconds) + open,
            number(episode.value),
            names.rules[*rule].channel
        );
    }
    if let Some(more) = all.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "and {more} more; --json has them all");
    }
    text
}
