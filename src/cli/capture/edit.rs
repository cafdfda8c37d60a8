//! `kymo capture cut`, `merge` and `recover`: captures made of captures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::{Failure, note};
use super::{RangeArgs, complete, follow, new_file, open, progress, usage, written};
use crate::capture::{
    Capture, Compression, Damage, Described, Entry, LinkChange, Options, Selection, What, Writer,
};
use crate::config;

/// Where the capture that is made goes.
#[derive(Debug, clap::Args)]
pub(super) struct OutputArgs {
    /// The capture to be made; a file that is there is not written over.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// How its chunks are compressed.
    #[arg(long, value_enum, default_value_t = Compression::Lz4)]
    compression: Compression,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Writes part of a capture.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each source that is open at the beginning of the part begins with its opening there, so the part can be read by itself.\n\n\
Examples:\n  \
kymo capture cut day.mcap --from 2026-11-23T08:00:00Z --to 2026-11-23T08:05:00Z --output start.mcap\n  \
kymo capture cut day.mcap --from +10s --to +20s --source imu --output imu.mcap")]
pub(super) struct CutArgs {
    /// The capture: its first file, all its files, or their directory.
    #[arg(required = true)]
    capture: Vec<PathBuf>,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Joins captures on one time axis.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The configuration is the first one's, with the sources and simulators of the others added. Sources of the same name are an error \
unless --prefix tells them apart.\n\n\
Examples:\n  \
kymo capture merge left.mcap right.mcap --output both.mcap\n  \
kymo capture merge a.mcap b.mcap --prefix a-,b- --output both.mcap")]
pub(super) struct MergeArgs {
    /// The captures, each by its first file or its directory.
    #[arg(required = true, num_args = 2..)]
    captures: Vec<PathBuf>,
    /// What is put before the names of each capture's sources, one for each, in their order.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    prefix: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Makes a whole capture of what is left of a torn one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The torn capture is left as it is. What cannot be recovered is said.\n\n\
Example:\n  \
kymo capture recover torn.mcap --output whole.mcap")]
pub(super) struct RecoverArgs {
    /// The capture: its first file, all its files, or their directory.
    #[arg(required = true)]
    capture: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

fn create(output: &OutputArgs, described: Described) -> Result<Writer, Failure> {
    new_file(&output.output)?;
    let options = Options {
        compression: output.compression,
        rotate_bytes: u64::MAX,
        ..Options::default()
    };
    Writer::create(&output.output, described, options).map_err(usage)
}

fn done(
    output: &OutputArgs,
    writer: Writer,
    messages: u64,
    damage: &[Damage],
) -> Result<(), Failure> {
    let bytes = writer.finish()?;
    let path = output.output.display();
    written(
        output.json,
        &json!({
            "file": output.output,
            "bytes": bytes,
            "messages": messages,
            "damage": super::damage_json(damage),
        }),
        &format!("{messages} messages in {bytes} bytes: {path}"),
    )
}

pub(super) fn cut(args: &CutArgs) -> Result<(), Failure> {
    let capture = open(&args.capture)?;
    let selection = args.range.selection(&capture)?;
    let mut described = capture.described().clone();
    let places: Vec<usize> = match &selection.sources {
        Some(wanted) => wanted.clone(),
        None => (0..described.sources.len()).collect(),
    };
    described.sources = places
        .iter()
        .map(|place| capture.described().sources[*place].clone())
        .collect();
    let mut writer = create(&args.output, described)?;
    let mut damage = capture.damage().to_vec();
    let place_of = |source: usize| places.iter().position(|place| *place == source);
    let mut messages = 0;
    if let Some(from_ns) = selection.from_ns {
        for (source, change) in open_at(&capture, from_ns, &selection)?
            .into_iter()
            .enumerate()
        {
            if let (Some(change), Some(source)) = (change, place_of(source)) {
                messages += 1;
                writer.write(&Entry {
                    time_ns: from_ns,
                    source: Some(source),
                    what: What::Link(change),
                })?;
            }
        }
    }
    let bar = progress("cutting", capture.chunk_bytes());
    let mut entries = capture.entries(selection);
    while let Some(entry) = entries.next() {
        let mut entry = entry?;
        follow(&mut entries, &bar, &mut damage);
        entry.source = entry.source.and_then(place_of);
        messages += 1;
        writer.write(&entry)?;
    }
    follow(&mut entries, &bar, &mut damage);
    bar.finish_and_clear();
    done(&args.output, writer, messages, &damage)?;
    complete(&damage)
}

/// How each source's link stood before a time.
fn open_at(
    capture: &Capture,
    from_ns: i64,
    selection: &Selection,
) -> Result<Vec<Option<LinkChange>>, Failure> {
    let mut open = vec![None; capture.described().sources.len()];
    let before = Selection {
        from_ns: None,
        to_ns: Some(from_ns),
        sources: selection.sources.clone(),
    };
    for entry in capture.entries(before) {
        let entry = entry?;
        if let (Some(source), What::Link(change)) = (entry.source, entry.what) {
            match change {
                LinkChange::Opened { .. } => open[source] = Some(change),
                LinkChange::NotRecorded { .. } => {}
                _ => open[source] = None,
            }
        }
    }
    Ok(open)
}

pub(super) fn recover(args: &RecoverArgs) -> Result<(), Failure> {
    let capture = open(&args.capture)?;
    let mut damage = capture.damage().to_vec();
    let mut writer = create(&args.output, capture.described().clone())?;
    let bar = progress("recovering", capture.chunk_bytes());
    let mut entries = capture.entries(Selection::default());
    let mut messages = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        follow(&mut entries, &bar, &mut damage);
        messages += 1;
        writer.write(&entry)?;
    }
    follow(&mut entries, &bar, &mut damage);
    bar.finish_and_clear();
    for damage in &damage {
        note(super::damage_line(damage));
    }
    done(&args.output, writer, messages, &damage)
}

pub(super) fn merge(args: &MergeArgs) -> Result<(), Failure> {
    if !args.prefix.is_empty() && args.prefix.len() != args.captures.len() {
        return Err(usage(format!(
            "{} captures need as many prefixes, and there are {}",
            args.captures.len(),
            args.prefix.len()
        )));
    }
    let captures: Vec<Capture> = args
        .captures
        .iter()
        .map(|path| open(std::slice::from_ref(path)))
        .collect::<Result<_, _>>()?;
    let prefix = |number: usize| args.prefix.get(number).map_or("", String::as_str);
    let described = joined(&captures, prefix)?;
    if let Err(mistakes) = config::parse("the joined configuration", &described.configuration) {
        note(format!(
            "the joined configuration has mistakes; decode it with one of your own:\n{mistakes}"
        ));
    }
    let mut writer = create(&args.output, described)?;
    let mut damage: Vec<Damage> = captures.iter().flat_map(|c| c.damage().to_vec()).collect();
    let bytes = captures.iter().map(Capture::chunk_bytes).sum();
    let bar = progress("merging", bytes);
    let mut first_sources = 0;
    let mut inputs = Vec::new();
    for capture in &captures {
        let mut entries = capture.entries(Selection::default());
        let next = entries.next().transpose()?;
        inputs.push((entries, next, first_sources));
        first_sources += capture.described().sources.len();
    }
    let mut messages = 0;
    while let Some((entries, next, first)) = inputs
        .iter_mut()
        .filter(|(_, next, _)| next.is_some())
        .min_by_key(|(_, next, _)| next.as_ref().map(|entry| entry.time_ns))
    {
        if let Some(mut entry) = next.take() {
            entry.source = entry.source.map(|source| source + *first);
            messages += 1;
            writer.write(&entry)?;
        }
        *next = entries.next().transpose()?;
        damage.append(&mut entries.take_damage());
        bar.set_position(
            inputs
                .iter()
                .map(|(entries, ..)| entries.done_bytes())
                .sum(),
        );
    }
    bar.finish_and_clear();
    done(&args.output, writer, messages, &damage)?;
    complete(&damage)
}

/// What the joined capture says of itself.
fn joined<'p>(
    captures: &[Capture],
    prefix: impl Fn(usize) -> &'p str,
) -> Result<Described, Failure> {
    let mut described = captures[0].described().clone();
    described.sources.clear();
    described.calibration.clear();
    let mut names = BTreeSet::new();
    let mut twice = Vec::new();
    let mut table = toml::Table::new();
    for (number, capture) in captures.iter().enumerate() {
        let of = capture.described();
        for source in &of.sources {
            let mut source = source.clone();
            source.name = format!("{}{}", prefix(number), source.name);
            if !names.insert(source.name.clone()) {
                twice.push(source.name.clone());
            }
            described.sources.push(source);
        }
        for (channel, calibration) in &of.calibration {
            let channel = format!("{}{channel}", prefix(number));
            described.calibration.insert(channel, calibration.clone());
        }
        join_configuration(&mut table, &of.configuration, number == 0, prefix(number));
    }
    if !twice.is_empty() {
        return Err(usage(format!(
            "sources of the same name: {}; --prefix tells them apart",
            twice.join(", ")
        )));
    }
    described.configuration = toml::to_string(&table)?;
    Ok(described)
}

/// Adds what a configuration says of sources and simulators; of the first, unless its sources get other names, everything.
fn join_configuration(table: &mut toml::Table, text: &str, is_first: bool, prefix: &str) {
    // One that cannot be read has nothing to add; what is missing then shows when the joined one is checked.
    let Ok(mut own) = text.parse::<toml::Table>() else {
        return;
    };
    if is_first && prefix.is_empty() {
        *table = own;
        return;
    }
    for section in ["source", "simulator"] {
        let Some(toml::Value::Table(of)) = own.remove(section) else {
            continue;
        };
        let known = table
            .entry(section)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        for (name, mut value) in of {
            let name = format!("{prefix}{name}");
            if section == "source" {
                rename_simulator(&mut value, prefix);
            }
            if let toml::Value::Table(known) = known {
                known.insert(name, value);
            }
        }
    }
}

/// A source's link names its simulator, which gets the prefix, too.
fn rename_simulator(source: &mut toml::Value, prefix: &str) {
    let link = source.get_mut("link").and_then(toml::Value::as_table_mut);
    let Some(link) = link.filter(|link| {
        link.get("type")
            .is_some_and(|kind| kind.as_str() == Some("simulator"))
    }) else {
        return;
    };
    if let Some(device) = link.get_mut("device") {
        let renamed = device.as_str().map(|name| format!("{prefix}{name}"));
        if let Some(renamed) = renamed {
            *device = toml::Value::String(renamed);
        }
    }
}

/// For the command that imports: a capture begun.
pub(super) fn begin(path: &Path, described: Described) -> Result<Writer, Failure> {
    new_file(path)?;
    let options = Options {
        rotate_bytes: u64::MAX,
        ..Options::default()
    };
    Writer::create(path, described, options).map_err(usage)
}
