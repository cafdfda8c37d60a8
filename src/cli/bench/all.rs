//! `kymo bench all`: every benchmark in turn, and BENCHMARKS.md made of what they found.
//!
//! What people have written around the tables stays: only what stands between the two marks is replaced.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};
use clap::ValueEnum as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{Args, Cost, Found, Name, Row, machine, one};
use crate::clock::{Clock, rfc3339};

/// Between these marks the file is ours.
const BEGIN: &str = "<!-- kymo bench all: begin -->";
const END: &str = "<!-- kymo bench all: end -->";

/// A benchmark's name, and what came of it.
type Came = (String, anyhow::Result<Found>);

/// One that fails does not keep the others from being measured and written down.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let names = Name::value_variants().iter();
    let names: Vec<Name> = names.copied().filter(|n| !matches!(n, Name::All)).collect();
    let bar = ProgressBar::new(names.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let mut all: Vec<Came> = Vec::with_capacity(names.len());
    for name in names {
        let value = name.to_possible_value();
        let value = value.context("every benchmark has a name")?;
        bar.set_message(value.get_name().to_owned());
        let args = Args {
            name,
            tuned: true,
            // It lasts long enough by itself, and behind it the store has to catch up with the journal.
            repeat: if matches!(name, Name::Record) {
                1
            } else {
                args.repeat
            },
            ..args.clone()
        };
        let came = one(&args).and_then(|found| {
            ensure!(found.balanced, "the ledger is out of balance");
            Ok(found)
        });
        all.push((value.get_name().to_owned(), came));
        bar.inc(1);
    }
    bar.finish_and_clear();
    write(&args.output, &markdown(args, &all))?;
    let found = all.iter().filter_map(|(_, came)| came.as_ref().ok());
    if args.json {
        let found: Vec<&Found> = found.collect();
        crate::cli::say(serde_json::to_string_pretty(&found)?);
    } else {
        found.for_each(|found| crate::cli::say(found.text()));
    }
    let failed = all.iter().filter_map(|(name, came)| {
        let error = came.as_ref().err()?;
        Some(format!("kymo bench {name}: {error:#}"))
    });
    let failed: Vec<String> = failed.collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Puts the tables between the marks of the file, or at its end.
fn write(file: &Path, tables: &str) -> anyhow::Result<()> {
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "# Benchmarks\n\n".to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let text = replaced(&before, tables);
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn replaced(before: &str, tables: &str) -> String {
    let ours = format!("{BEGIN}\n\n{tables}\n{END}");
    match (before.find(BEGIN), before.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{ours}{}", &before[..begin], &before[end + END.len()..])
        }
        _ => format!("{}\n\n{ours}\n", before.trim_end()),
    }
}

fn markdown(args: &Args, all: &[Came]) -> String {
    let mut text = format!(
        "{}, {}: `kymo bench all --duration {:?} --repeat {}`.\n\n",
        machine(),
        &rfc3339(Clock::system().now_ns())[..10],
        args.duration,
        args.repeat
    );
    text += "| benchmark | Kymo | limit in the same run | ratio | spread | balanced |\n|---|---|---|---|---|---|\n";
    for (name, came) in all {
        let found = match came {
            Ok(found) => found,
            Err(error) => {
                let _ = writeln!(text, "| `{name}` | failed: {error:#} | | | | |");
                continue;
            }
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {}: {} | {:.2} | {:.2} to {:.2} | {} |",
            found.bench,
            rate(
                found.samples_per_s,
                found.bytes_per_s,
                found.latency_us.as_ref(),
                found.cost,
            ),
            found.limit.what,
            rate(
                found.limit.samples_per_s,
                found.limit.bytes_per_s,
                found.limit.latency_us.as_ref(),
                found.limit.cost,
            ),
            found.ratio,
            found.ratio_spread[0],
            found.ratio_spread[1],
            if found.balanced { "yes" } else { "NO" },
        );
    }
    for found in all.iter().filter_map(|(_, came)| came.as_ref().ok()) {
        let _ = writeln!(text, "\n### {}\n\n{}.", found.bench, found.what);
        text += &table(&found.rows);
        for (name, value) in &found.more_us {
            let _ = writeln!(text, "\n`{name}`: `{value}`");
        }
    }
    text
}

fn rate(
    samples: Option<f64>,
    bytes: Option<f64>,
    latency: Option<&crate::latency::Summary>,
    cost: Option<Cost>,
) -> String {
    let samples = samples.map(|s| format!("{} samples/s", si(s)));
    let bytes = bytes.map(|b| format!("{}B/s", si(b)));
    let latency = latency
        .filter(|us| us.count > 0)
        .map(|us| format!("mean {:.0} µs, p99 {:.0} µs", us.mean, us.p99));
    let cost = cost.map(|cost| format!("{} {}", shown(&cost.value.into()), cost.unit));
    let parts = [samples, bytes, cost, latency].into_iter().flatten();
    let parts: Vec<String> = parts.collect();
    parts.join(", ")
}

/// A number with three digits and a prefix.
fn si(value: f64) -> String {
    let (scaled, prefix) = [(1e9, "G"), (1e6, "M"), (1e3, "k")]
        .into_iter()
        .find(|(unit, _)| value >= *unit)
        .map_or((value, ""), |(unit, prefix)| (value / unit, prefix));
    let digits = usize::from(scaled < 100.0);
    format!("{scaled:.digits$} {prefix}")
}

fn table(rows: &[Row]) -> String {
    let figures = figures(rows);
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n| | {} |\n|---|{}\n",
        figures.join(" | "),
        "---|".repeat(figures.len())
    );
    for row in rows {
        let cells = figures
            .iter()
            .map(|figure| row.figures.get(figure).map(shown).unwrap_or_default());
        let _ = writeln!(
            text,
            "| {} | {} |",
            row.name,
            cells.collect::<Vec<_>>().join(" | ")
        );
    }
    text
}

/// The figures that any row has, in order of appearance.
pub(super) fn figures(rows: &[Row]) -> Vec<String> {
    let mut figures: Vec<String> = Vec::new();
    for figure in rows.iter().flat_map(|row| row.figures.keys()) {
        if !figures.contains(figure) {
            figures.push(figure.clone());
        }
    }
    figures
}

/// A figure with as many digits as say something.
pub(super) fn shown(value: &Value) -> String {
    match value.as_f64() {
        Some(figure) if figure == 0.0 || figure.fract() == 0.0 && figure.abs() < 1e9 => {
            format!("{figure:.0}")
        }
        Some(figure) if figure.abs() >= 100.0 => format!("{figure:.0}"),
        Some(figure) if figure.abs() >= 1.0 => format!("{figure:.2}"),
        Some(figure) => format!("{figure:.4}"),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_the_marks_stays() {
        let first = replaced("# Benchmarks\n\nWhy.\n", "one");
        assert_eq!(
            first,
            format!("# Benchmarks\n\nWhy.\n\n{BEGIN}\n\none\n{END}\n")
        );
        let with_end = format!("{first}\nMore.\n");
        let second = replaced(&with_end, "two");
        assert_eq!(
            second,
            format!("# Benchmarks\n\nWhy.\n\n{BEGIN}\n\ntwo\n{END}\n\nMore.\n")
        );
    }

    #[test]
    fn figures_have_the_digits_that_say_something() {
        let of = |value: f64| shown(&value.into());
        assert_eq!(
            [of(0.0), of(0.1234), of(1.234), of(123.4), of(1000.0)],
            ["0", "0.1234", "1.23", "123", "1000"]
        );
        assert_eq!(si(989_000_000.0), "989 M");
        assert_eq!(si(62_800_000.0), "62.8 M");
    }

    #[test]
    fn rows_with_different_figures_share_a_table() {
        let rows = [
            Row::named("a").with("x", 1.0),
            Row::named("b").with("y", 2.0),
        ];
        assert_eq!(
            table(&rows),
            "\n| | x | y |\n|---|---|---|\n| a | 1 |  |\n| b |  | 2 |\n"
        );
    }
}
