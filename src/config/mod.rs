//! The configuration as it is written, and the checked plan made from it: two types.
//!
//! The written one is the TOML document with the place of every key and value
//! ([`toml::de::DeTable`]); the checked one is the [`plan::Plan`].
//!
//! **Always holds.** Every mistake is told at once, each with file, line, column, what is there
//! and what would be right, before anything is opened. No text makes it panic.
//!
//! **Must not know.** Whether a device is there, and what will be done with the plan.

mod address;
mod calibration;
mod capture;
mod derived;
mod expression;
mod host;
mod keep;
mod link;
mod mistakes;
mod notifier;
pub mod plan;
mod protocol;
mod rule;
mod section;
mod serve;
mod simulator;
mod sink;
mod source;
mod timing;
mod usb;
pub mod values;
mod window;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kymo_drivers::link::Options as Device;
use toml::de::DeTable;

use mistakes::Found;
pub use mistakes::Mistakes;
use plan::{Plan, SOURCES_MAX};
use section::Section;
use values::{duration, flag, integer, number, size, text};

use crate::journal;
use crate::store::{self, Limits};

/// The longest configuration read, bytes: a thousand sources fit in a quarter of it.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads and checks a configuration file.
///
/// # Errors
/// If it cannot be read, or has mistakes: all of them.
pub fn load(path: &Path) -> Result<Plan, Mistakes> {
    let cannot = |what: String, help: &str| Mistakes::of_file(&what, help);
    let shown = path.display();
    let size = std::fs::metadata(path).map(|found| found.len());
    if size.is_ok_and(|size| size > FILE_BYTES_MAX) {
        return Err(cannot(
            format!("{shown} is over {} MiB long", FILE_BYTES_MAX >> 20),
            "is this a configuration? Name another with --config FILE",
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        cannot(
            format!("cannot read the configuration {shown}: {error}"),
            "name another with --config FILE",
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        cannot(
            format!("{shown} is not UTF-8 text, from line {line} on (byte {at})"),
            "save it as UTF-8",
        )
    })?;
    parse(&shown.to_string(), &text)
}

/// Checks a configuration; `name` is what its mistakes call it.
///
/// # Errors
/// Its mistakes, all of them.
pub fn parse(name: &str, text: &str) -> Result<Plan, Mistakes> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let found = Found::new(text);
    if errors.is_empty() {
        let plan = read(text, document.get_ref(), &found);
        if let (Some(plan), true) = (plan, found.is_empty()) {
            return Ok(plan);
        }
    }
    // What is no TOML cannot be judged further: what follows a missing quote means something else.
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        found.add(span, error.message(), "this is not TOML", None);
    }
    Err(found.into_mistakes(name, text))
}

/// The plan, if there is enough for one. If anything was found, it is not to be used.
fn read(text: &str, document: &DeTable<'_>, found: &Found) -> Option<Plan> {
    let root = Section::root(document, found);
    let (data_dir, duration) = run(&root);
    let journal = journal(&root);
    let (mut store, keep) = store(&root);
    let host = host::read(&root);
    let (simulators, playbacks) = simulator::read_all(&root, &data_dir);
    let tables = root.tables("source");
    if tables.is_empty() && found.is_empty() {
        found.add(
            0..0,
            "there is no source",
            "nothing to acquire",
            Some("add a [source.NAME] table: docs/configuration.md shows how"),
        );
    }
    if tables.len() > SOURCES_MAX {
        found.add(
            0..0,
            &format!("{} sources are more than {SOURCES_MAX}", tables.len()),
            "",
            None,
        );
        return None;
    }
    let mut sources = Vec::with_capacity(tables.len());
    let mut keeps = Vec::with_capacity(tables.len());
    let mut read_by: Vec<Option<String>> = vec![None; simulators.len()];
    for table in &tables {
        let (source, keep) = source::read(table, &simulators, &mut read_by);
        sources.push(source);
        keeps.push(keep);
    }
    one_reader_each(&tables, &sources);
    let derived = derived::read_all(&root, &sources);
    let rules = rule::read_all(&root, &derived.catalogue);
    let notifiers = notifier::read_all(&root.tables("notifier"), &sources, &rules);
    let silences = notifier::silences(&root, &rules);
    let sinks = sink::read_all(&root, &derived.watchable);
    let serve = serve::read(&root);
    let (capture_options, records) = capture::read(&root);
    if let Some(store) = &mut store {
        let limits = sources
            .iter()
            .zip(&keeps)
            .map(|(source, own)| (source.name.clone(), own.limits.unwrap_or(keep)));
        store.limits = limits
            .filter(|(_, keep)| *keep != Limits::default())
            .collect();
    }
    let windows = &derived.computed.windows;
    few_enough_lanes(&tables, &sources, windows);
    for (place, (source, keep)) in sources.iter_mut().zip(&keeps).enumerate() {
        match &mut source.plan {
            Some(plan) => plan.keep = keep.resolve((place, plan), windows, &rules),
            None => keep.check(&rules),
        }
    }
    root.finish();
    Some(Plan {
        text: text.to_owned(),
        data_dir,
        duration,
        host,
        journal,
        store,
        sources: sources
            .into_iter()
            .map(|source| source.plan)
            .collect::<Option<_>>()?,
        simulators: simulators
            .into_iter()
            .map(|simulator| simulator.options)
            .collect(),
        playbacks,
        rules: rules.into_iter().map(|rule| rule.options).collect(),
        notifiers,
        silences,
        sinks,
        serve,
        capture: records.then(|| capture_options.clone()),
        capture_options,
        computed: derived.computed,
    })
}

/// A lane's number is a `u8`.
const LANES_MAX: usize = 255;

/// Says which sources have too many windows: each is a lane of its own.
fn few_enough_lanes(
    tables: &[Section<'_>],
    sources: &[source::ReadSource],
    windows: &[plan::Window],
) {
    for (place, (table, source)) in tables.iter().zip(sources).enumerate() {
        let Some(plan) = &source.plan else { continue };
        let mut priorities: Vec<_> = plan
            .channels
            .iter()
            .map(|channel| channel.priority)
            .collect();
        priorities.sort_unstable();
        priorities.dedup();
        let windows = windows.iter().filter(|window| window.source == place);
        let lanes = priorities.len() + windows.count();
        if lanes > LANES_MAX {
            let what = format!(
                "`source.{}` has {lanes} lanes: its priorities, and one for each window",
                source.name
            );
            let help = format!("{LANES_MAX} at most: let a [[window]] look at several channels");
            table
                .found
                .add(table.span.clone(), &what, "too many windows", Some(&help));
        }
    }
}

/// Says where two sources read the same input: each would get only what the other left.
fn one_reader_each(tables: &[Section<'_>], sources: &[source::ReadSource]) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for (table, source) in tables.iter().zip(sources) {
        let device = match source.plan.as_ref().map(|plan| &plan.link) {
            Some(plan::Link::Device(options)) => match options {
                Device::Stdin | Device::Fifo(_) => options.to_string(),
                Device::Udp(udp) if udp.bind.port() > 0 => options.to_string(),
                Device::TcpServer(server) if server.bind.port() > 0 => options.to_string(),
                _ => continue,
            },
            _ => continue,
        };
        if let Some(other) = seen.get(&device) {
            let name = &source.name;
            let what = format!("`source.{name}` reads {device}, as the source `{other}` does");
            let label = "it has one reader";
            table.found.add(table.span.clone(), &what, label, None);
        } else {
            seen.insert(device, &source.name);
        }
    }
}

fn run(root: &Section<'_>) -> (PathBuf, Option<std::time::Duration>) {
    let section = root.table("run");
    let data_dir = section
        .as_ref()
        .and_then(|section| section.get("data_dir", text));
    let data_dir = data_dir.map_or_else(|| "kymo-data".to_owned(), |dir| dir.value);
    let limits = (
        std::time::Duration::from_millis(1),
        std::time::Duration::MAX,
    );
    let stop = section
        .as_ref()
        .and_then(|section| section.get("duration", duration(limits)));
    if let Some(section) = section {
        section.finish();
    }
    (PathBuf::from(data_dir), stop.map(|stop| stop.value))
}

fn journal(root: &Section<'_>) -> journal::Options {
    let mut options = journal::Options::default();
    let Some(section) = root.table("journal") else {
        return options;
    };
    let ms = std::time::Duration::from_millis;
    let interval = section.get("commit_interval", duration((ms(1), ms(60_000))));
    options.commit_interval = interval.map_or(options.commit_interval, |at| at.value);
    let segment = section.get("segment_size", size(1 << 20..=4 << 30));
    options.segment_bytes = segment.map_or(options.segment_bytes, |at| at.value);
    if let Some(queues) = section.table("queue_blocks") {
        for priority in kymo_drivers::block::Priority::ALL {
            if let Some(blocks) = queues.get(priority.name(), integer(1..=65_536)) {
                options.queue_blocks[priority.index()] =
                    usize::try_from(blocks.value).unwrap_or(usize::MAX);
            }
        }
        queues.finish();
    }
    section.finish();
    options
}

/// The store, and what is kept of sources that do not say so themselves.
fn store(root: &Section<'_>) -> (Option<store::Options>, Limits) {
    let mut options = store::Options::default();
    let Some(section) = root.table("store") else {
        return (Some(options), Limits::default());
    };
    let enabled = section
        .get("enabled", flag)
        .is_none_or(|enabled| enabled.value);
    let (s, day) = (std::time::Duration::from_secs, 86_400);
    if let Some(age) = section.get("segment_age", duration((s(1), s(day)))) {
        options.segment_age = age.value;
    }
    if let Some(age) = section.get("journal_age", duration((s(0), s(3650 * day)))) {
        options.journal_age = age.value;
    }
    if let Some(share) = section.get("compaction_share", number(0.01..=1.0)) {
        options.compaction_share = share.value;
    }
    let keep = keep::limits(&section).unwrap_or_default();
    section.finish();
    (enabled.then_some(options), keep)
}
