//! `[[simulator.NAME.fault]]`: what goes wrong with a simulated device, and when.

use std::time::Duration;

use kymo_simulators::{FAULTS, Fault, FaultKind, Rhythm, When};

use crate::config::section::Section;
use crate::config::values::{Wrong, choice, duration, integer, number};

/// What a kind of fault is done to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// Bytes of frames.
    Bytes,
    /// Frames or answers as a whole.
    Frames,
    /// The device.
    Device,
}

fn victim(kind: &str) -> Victim {
    match kind {
        "byte_loss" | "bit_flips" | "doubled_bytes" => Victim::Bytes,
        "stall" | "disconnect" | "clock_drift" | "flood" => Victim::Device,
        _ => Victim::Frames,
    }
}

/// Reads a fault of a device that is asked, or that sends by itself.
pub(super) fn fault(table: &Section<'_>, is_asked: bool) -> Option<Fault> {
    let kind = table.need("kind", choice(&FAULTS.map(|name| (name, name))));
    let Some(kind) = kind else {
        // Its keys are not called unknown for that.
        for key in [
            "at",
            "every",
            "mean_every",
            "duration",
            "probability",
            "bytes",
            "frames",
            "ppm",
            "delay",
        ] {
            table.has(key);
        }
        return None;
    };
    let (kind, span) = (kind.value, kind.span);
    let only_asked = ["late_answers", "wrong_answers", "missing_answers"].contains(&kind);
    let only_sending = ["counter_jump", "clock_drift", "flood"].contains(&kind);
    if (only_asked && !is_asked) || (only_sending && is_asked) {
        let (is, suits) = if is_asked {
            ("speaks when it is asked", "one that sends by itself")
        } else {
            ("sends by itself", "one that is asked")
        };
        let what = format!("is \"{kind}\", and this device {is}");
        table.wrong("kind", span, &Wrong::new(what, format!("only of {suits}")));
    }
    let victim = victim(kind);
    let done = what(table, kind, victim);
    let when = when(table, victim);
    Some(Fault {
        kind: done?,
        when: when?,
    })
}

const LONG: (Duration, Duration) = (Duration::from_micros(1), Duration::from_secs(30 * 86_400));

fn what(table: &Section<'_>, kind: &str, victim: Victim) -> Option<FaultKind> {
    let most = i64::from(if victim == Victim::Bytes { 64 } else { 4096 });
    let bytes = |usual: u32| {
        let found = table.get("bytes", integer(1..=most));
        found.map_or(usual, |at| u32::try_from(at.value).unwrap_or(usual))
    };
    let lasting = |table: &Section<'_>| table.need("duration", duration(LONG));
    Some(match kind {
        "byte_loss" => FaultKind::ByteLoss(bytes(1)),
        "bit_flips" => FaultKind::BitFlips(bytes(1)),
        "doubled_bytes" => FaultKind::DoubledBytes(bytes(1)),
        "truncated_frames" => FaultKind::TruncatedFrames,
        "burst" => FaultKind::Burst(bytes(32)),
        "counter_jump" => {
            let frames = table.get("frames", integer(1..=1_000_000_000));
            FaultKind::CounterJump(frames.map_or(1, |at| at.value.unsigned_abs()))
        }
        "stall" => FaultKind::Stall(lasting(table)?.value),
        "disconnect" => FaultKind::Disconnect(lasting(table)?.value),
        "flood" => FaultKind::Flood(lasting(table)?.value),
        "clock_drift" => {
            let ppm = table.need("ppm", number(-500_000.0..=500_000.0));
            let lasts = table.get("duration", duration(LONG)).map(|at| at.value);
            FaultKind::ClockDrift(ppm?.value, lasts)
        }
        "late_answers" => FaultKind::LateAnswers(table.need("delay", duration(LONG))?.value),
        "wrong_answers" => FaultKind::WrongAnswers,
        _ => FaultKind::MissingAnswers,
    })
}

fn when(table: &Section<'_>, victim: Victim) -> Option<When> {
    // By the device's clock; more often than a frame comes means once a frame.
    let times = (Duration::ZERO, LONG.1);
    let pauses = (Duration::from_micros(100), LONG.1);
    let at = table.get("at", duration(times));
    let every = table.get("every", duration(pauses));
    let mean = table.get("mean_every", duration(pauses));
    let is_wrong = |key| table.has(key);
    let wanted = ["at", "every", "mean_every"].into_iter().any(is_wrong);
    if let (Some(mean), true) = (&mean, table.has("at") || table.has("every")) {
        let wrong = Wrong::new("stands beside `at` or `every`", "by chance, or on time");
        table.wrong("mean_every", mean.span.clone(), &wrong);
        return None;
    }
    let rhythm = match (at, every, mean) {
        (_, _, Some(mean)) => Some(Rhythm::MeanEvery(mean.value)),
        (first, Some(every), _) => {
            let first = first.map_or(every.value, |at| at.value);
            Some(Rhythm::Every(first, every.value))
        }
        (Some(at), None, _) => Some(Rhythm::At(at.value)),
        (None, None, None) => None,
    };
    if victim == Victim::Device {
        if !wanted {
            missing_when(table, "at, every or mean_every");
        }
        return rhythm.map(When::Each);
    }
    let probability = table.get("probability", number(0.0..=1.0));
    let window = table.get("duration", duration(LONG));
    if let (Some(bytes), Victim::Bytes, true) = (
        table.get("bytes", integer(i64::MIN..=i64::MAX)),
        victim,
        table.has("probability"),
    ) {
        let wrong = Wrong::new(
            "stands beside `probability`, which is that of each byte",
            "one of them",
        );
        table.wrong("bytes", bytes.span, &wrong);
    }
    match (rhythm, probability, window) {
        (Some(rhythm), None, None) => {
            (!table.has("probability") && !table.has("duration")).then_some(When::Each(rhythm))
        }
        (Some(rhythm), Some(probability), Some(window)) => {
            Some(When::Within(rhythm, window.value, probability.value))
        }
        (Some(_), Some(probability), None) => {
            if !table.has("duration") {
                let wrong = Wrong::new(
                    "is that of a time that has no `duration`",
                    "`duration` is missing",
                );
                table.wrong("probability", probability.span, &wrong);
            }
            None
        }
        (_, None, Some(window)) => {
            if !table.has("probability") {
                let wrong = Wrong::new(
                    "is a time in which nothing has a `probability`",
                    "`probability` is missing",
                );
                table.wrong("duration", window.span, &wrong);
            }
            None
        }
        (None, Some(_), Some(window)) => {
            if !wanted {
                let wrong = Wrong::new(
                    "has no beginning",
                    "`at`, `every` or `mean_every` is missing",
                );
                table.wrong("duration", window.span, &wrong);
            }
            None
        }
        (None, Some(probability), None) => {
            (!wanted && !table.has("duration")).then_some(When::Always(probability.value))
        }
        (None, None, None) => {
            if !wanted && !table.has("probability") {
                missing_when(table, "at, every, mean_every or probability");
            }
            None
        }
    }
}

fn missing_when(table: &Section<'_>, keys: &str) {
    let what = format!("`{}` is never done", table.path());
    let label = format!("{keys} is needed here");
    table.found.add(table.span.clone(), &what, &label, None);
}
