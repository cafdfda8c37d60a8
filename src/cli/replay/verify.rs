//! `kymo replay --verify`: whether the same comes of every replay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use serde_json::{Value, json};

use super::super::run::not_started;
use super::super::{Failure, note, say};
use super::{Args, advance, bar};
use crate::capture::Capture;
use crate::capture::tape::Playing;
use crate::clock::rfc3339;
use crate::config::plan::Plan;
use crate::pipeline::verify::{Compared, Trial, compare};

/// Of the capture so much is replayed at its own pace, and so much at ten times that: three seconds each.
const AT_PACE: [(f64, i64); 2] = [(1.0, 3_000_000_000), (10.0, 30_000_000_000)];

pub(super) fn run(
    args: &Args,
    plan: &Plan,
    capture: &Arc<Capture>,
    (chosen, playing): (Option<&[usize]>, Playing),
) -> Result<(), Failure> {
    for damage in capture.damage() {
        note(format!(
            "the capture is damaged, and what is whole is replayed: {}",
            damage.what
        ));
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    let mut told = Vec::new();
    let mut first: Option<(Trial, Compared)> = None;
    for (trial, playing) in trials(playing) {
        let bar = bar(&playing, "compared");
        let mut blocks = 0_u32;
        let seen = |time_ns: i64| {
            blocks = blocks.wrapping_add(1);
            if blocks.is_multiple_of(256) {
                advance(&bar, &playing, Some(time_ns));
            }
            !interrupted.load(Ordering::Relaxed)
        };
        let compared = compare(plan, capture, chosen, (playing, trial), seen);
        bar.finish_and_clear();
        let Some(compared) = compared.map_err(not_started)? else {
            return Err(Failure::Running(anyhow::anyhow!(
                "interrupted: not all was compared"
            )));
        };
        let mut of_trial = json!(compared);
        let (name, seed) = named(trial);
        of_trial["trial"] = name.clone().into();
        of_trial["seed"] = seed.into();
        of_trial["from"] = rfc3339(playing.from_ns).into();
        of_trial["to"] = rfc3339(playing.to_ns).into();
        told.push(of_trial);
        if !args.json {
            say(format_args!(
                "{name:<24} {:>9} blocks {:>12} samples {:>6} alerts {:>6} events  {}",
                compared.blocks,
                compared.samples,
                compared.alerts,
                compared.events,
                if compared.difference.is_none() {
                    "the same"
                } else {
                    "DIFFERENT"
                }
            ));
        }
        if compared.difference.is_some() {
            first = Some((trial, compared));
            break;
        }
    }
    conclude(args, &told, first)
}

/// The whole under load first: its hash is the capture's.
fn trials(playing: Playing) -> Vec<(Trial, Playing)> {
    let mut trials = vec![(Trial::Disturbed(fastrand::u64(..)), playing)];
    for (speed, length_ns) in AT_PACE {
        let to_ns = playing.to_ns.min(playing.from_ns.saturating_add(length_ns));
        trials.push((Trial::Paced(speed), Playing { to_ns, ..playing }));
    }
    trials
}

fn named(trial: Trial) -> (String, Option<u64>) {
    match trial {
        Trial::Disturbed(seed) => ("max, disturbed".to_owned(), Some(seed)),
        Trial::Paced(speed) => (format!("{speed} x"), None),
    }
}

fn conclude(args: &Args, told: &[Value], first: Option<(Trial, Compared)>) -> Result<(), Failure> {
    let hash = told
        .first()
        .map_or(Value::Null, |whole| whole["hash"].clone());
    let difference = first
        .as_ref()
        .and_then(|(_, compared)| compared.difference.clone());
    if args.json {
        let all = json!({
            "same": difference.is_none(),
            "hash": hash,
            "difference": difference,
            "trials": told,
        });
        say(serde_json::to_string_pretty(&all)?);
    } else if difference.is_none() {
        say(format_args!(
            "the same comes of every replay: {}",
            hash.as_str().unwrap_or("")
        ));
    }
    let Some((trial, difference)) = first.map(|(trial, _)| trial).zip(difference) else {
        return Ok(());
    };
    let (name, seed) = named(trial);
    let seed = seed.map_or_else(String::new, |seed| format!(" (seed {seed})"));
    Err(Failure::Running(anyhow::anyhow!(
        "a replay gave something else, {name}{seed}: {} at {}: {} and {}",
        difference.what,
        difference.time,
        difference.first,
        difference.second
    )))
}
