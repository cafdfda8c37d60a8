//! `[source.NAME]`: a device to read.

use std::time::Duration;

use kymo_drivers::block::Priority;
use kymo_drivers::protocol::Options;

use super::calibration;
use super::keep::{self, ReadKeep};
use super::link;
use super::plan::{Channel, Keep, Link, Source};
use super::protocol;
use super::section::{At, Section, name};
use super::simulator::Simulator;
use super::timing;
use super::values::{Wrong, choice, duration, flag, integer, messages, number, text, unknown};
use crate::acquire::{Commands, ReconnectOptions};
use crate::lanes::Overflow;
use crate::stage::calibrate::Calibration;

/// A source as far as it could be read; its names are known even if the rest is wrong, so that rules
/// that watch it are judged by what they say.
pub(super) struct ReadSource {
    pub(super) name: String,
    pub(super) channels: Vec<String>,
    pub(super) plan: Option<Source>,
}

/// Values in one block at most: its record must fit the journal's longest.
const BLOCK_VALUES_MAX: usize = 4 << 20;

pub(super) fn read<'a>(
    section: &Section<'a>,
    simulators: &[Simulator],
    read_by: &mut [Option<String>],
) -> (ReadSource, ReadKeep<'a>) {
    section.check_name("source");
    let priorities = Priority::ALL.map(|priority| (priority.name(), priority));
    let priority = section.get("priority", choice(&priorities));
    let priority = priority.map_or(Priority::Normal, |priority| priority.value);
    let sections = section.list("channel");
    if sections.is_empty() && !section.has("channel") {
        let help = "add one [[source.NAME.channel]] for each value of a frame, in order";
        section.missing("channel", Some(help));
    }
    let link = link::read(section, simulators, read_by);
    let mut channels: Vec<(Section<'_>, String)> = Vec::with_capacity(sections.len());
    for channel in sections {
        let found = channel.need("name", name);
        let text = found
            .as_ref()
            .map_or_else(String::new, |found| found.value.clone());
        if let Some(found) = found
            && channels.iter().any(|(_, known)| *known == text)
        {
            let what = format!("is \"{text}\", the name of another channel of the source");
            let wrong = Wrong::new(what, "every channel has a name of its own");
            channel.wrong("name", found.span, &wrong);
        }
        channels.push((channel, text));
    }
    let starts_whole = match &link {
        Some(Link::Simulator { .. }) => true,
        Some(Link::Device(options)) => options.starts_whole(),
        None => false,
    };
    let ns_per_byte = match &link {
        Some(Link::Device(options)) => options.ns_per_byte(),
        Some(Link::Simulator { serial, .. }) => serial.ns_per_byte(),
        None => 0.0,
    };
    let protocol = protocol::read(section, &channels, starts_whole, ns_per_byte);
    if let (Some(Link::Device(options)), Some(protocol)) = (&link, &protocol)
        && protocol.options.asks()
        && !options.can_send()
    {
        let what = format!("asks its device, and nothing can be sent over {options}");
        let wrong = Wrong::new(what, "a link in both directions is needed");
        section.wrong("protocol", section.span.clone(), &wrong);
    }
    let names: Vec<String> = channels.iter().map(|(_, name)| name.clone()).collect();
    let plans = read_channels(&channels, &names, priority, &priorities, protocol.as_ref());

    let overflow = section.get("overflow", choice(&Overflow::NAMES));
    let rate_hz = section.get("rate_hz", number(1e-6..=1e9));
    let lane_blocks = section.get("lane_blocks", integer(1..=65_536));
    let block_frames = section.get("block_frames", integer(1..=65_536));
    let block_age = section.get(
        "block_age",
        duration((Duration::ZERO, Duration::from_secs(60))),
    );
    let reconnect = reconnect(section);
    let commands = commands(section, link.as_ref());
    let keep = keep::of_source(section);

    let blocks = |at: Option<At<i64>>, default: usize| {
        at.and_then(|at| usize::try_from(at.value).ok())
            .unwrap_or(default)
    };
    let span = block_frames
        .as_ref()
        .map_or_else(|| section.span.clone(), |at| at.span.clone());
    let block_frames = blocks(block_frames, 1024);
    if block_frames.saturating_mul(names.len()) > BLOCK_VALUES_MAX {
        let what = format!(
            "`source.{}` has {} channels and blocks of {block_frames} frames",
            section.name(),
            names.len()
        );
        let help = format!("a block holds at most {BLOCK_VALUES_MAX} values: lower block_frames");
        section
            .found
            .add(span, &what, "too large a block", Some(&help));
    }
    let (time, plans) = timing::read(
        section,
        protocol.as_ref(),
        rate_hz.as_ref(),
        priority,
        plans,
    );
    section.finish();
    let nominal_hz = rate_hz
        .map(|rate| rate.value)
        .or(protocol.as_ref().and_then(|protocol| protocol.rate_hz));
    let age = default_block_age(priority, nominal_hz);
    let plan = match (link, protocol, plans) {
        (Some(link), Some(protocol), Some(channels)) => Some(Source {
            name: section.name().to_owned(),
            link,
            protocol: protocol.options,
            commands,
            channels,
            rate_hz: nominal_hz,
            frame_bytes: protocol.frame_bytes,
            overflow: overflow.map_or(Overflow::Block, |overflow| overflow.value),
            lane_blocks: blocks(lane_blocks, 256),
            block_frames,
            time,
            block_age: block_age.map_or(age, |age| age.value),
            reconnect,
            // Which windows and rules there are is not known yet.
            keep: Keep::default(),
        }),
        _ => None,
    };
    let read = ReadSource {
        name: section.name().to_owned(),
        channels: names,
        plan,
    };
    (read, keep)
}

/// How long a frame waits for others in its block, unless the configuration says. Where none or one would join it in
/// that time, it would wait for nothing.
fn default_block_age(priority: Priority, rate_hz: Option<f64>) -> Duration {
    const AGE: Duration = Duration::from_millis(5);
    let is_slow = rate_hz.is_some_and(|rate_hz| rate_hz * AGE.as_secs_f64() < 2.0);
    if priority == Priority::Critical || is_slow {
        Duration::ZERO
    } else {
        AGE
    }
}

fn reconnect(section: &Section<'_>) -> ReconnectOptions {
    let mut options = ReconnectOptions::default();
    let Some(table) = section.table("reconnect") else {
        return options;
    };
    let limits = (Duration::from_millis(1), Duration::from_secs(3600));
    if let Some(first) = table.get("first", duration(limits)) {
        options.first = first.value;
    }
    if let Some(max) = table.get("max", duration(limits)) {
        if max.value < options.first {
            let what = format!(
                "is {:?}, shorter than the first wait of {:?}",
                max.value, options.first
            );
            table.wrong("max", max.span, &Wrong::new(what, "the longest wait"));
        }
        options.max = max.value;
    }
    table.finish();
    options
}

/// `[source.NAME.commands]`
fn commands(section: &Section<'_>, link: Option<&Link>) -> Commands {
    let Some(table) = section.table("commands") else {
        return Commands::default();
    };
    if let Some(Link::Device(options)) = link
        && !options.can_send()
    {
        let wrong = Wrong::new(
            format!("are to be sent, and nothing can be sent over {options}"),
            "leave them out, or, for UDP, say `to` whom",
        );
        section.wrong("commands", table.span.clone(), &wrong);
    }
    let list = |key| {
        table
            .get(key, messages)
            .map_or_else(Vec::new, |list| list.value)
    };
    let commands = Commands {
        start: list("start"),
        stop: list("stop"),
        pause: table
            .get("pause", duration((Duration::ZERO, Duration::from_secs(10))))
            .map_or(Duration::ZERO, |pause| pause.value),
    };
    table.finish();
    commands
}

/// The channels, if every one is right.
fn read_channels(
    sections: &[(Section<'_>, String)],
    names: &[String],
    source_priority: Priority,
    priorities: &[(&str, Priority)],
    protocol: Option<&protocol::Protocol>,
) -> Option<Vec<Channel>> {
    let mut channels = Vec::with_capacity(sections.len());
    let mut junctions = Vec::new();
    let mut raws = Vec::new();
    let mut all_right = true;
    for (place, (section, name)) in sections.iter().enumerate() {
        let unit = section.get("unit", text);
        let priority = section.get("priority", choice(priorities));
        let declared = calibration::read(section);
        let is_raw_kept = section.get("raw", flag).is_some_and(|raw| raw.value);
        let raw_unit = section
            .get("raw_unit", text)
            .map_or_else(|| "1".to_owned(), |unit| unit.value);
        if protocol.is_none() {
            // Nothing is known of what its protocol would have asked.
            for key in ["field", "key", "suffix", "prefixes", "register", "query"] {
                let _ = section.has(key);
            }
        }
        section.finish();
        let Some(declared) = declared else {
            all_right = false;
            continue;
        };
        if is_raw_kept {
            raws.push((place, raw_unit));
        }
        if let Some(junction) = declared.cold_junction {
            junctions.push((place, junction));
        }
        channels.push(Channel {
            name: name.clone(),
            place,
            unit: unit.map_or_else(|| "1".to_owned(), |unit| unit.value),
            priority: priority.map_or(source_priority, |priority| priority.value),
            quantum: quantum(protocol, place, &declared.calibration),
            calibration: declared.calibration,
        });
    }
    if !all_right {
        return None;
    }
    let raws = raws.into_iter().map(|(place, unit)| Channel {
        name: format!("{}.raw", channels[place].name),
        place,
        unit,
        priority: channels[place].priority,
        calibration: Calibration::None,
        quantum: quantum(protocol, place, &Calibration::None),
    });
    // Behind the others, whose places among the channels rules and cold junctions count.
    let raws: Vec<Channel> = raws.collect();
    for (place, junction) in junctions {
        let section = &sections[place].0;
        match cold_junction(place, &junction.value, names, &channels) {
            Ok(found) => {
                if let Calibration::Thermocouple { cold_junction, .. } =
                    &mut channels[place].calibration
                {
                    *cold_junction = Some(found);
                }
            }
            Err(wrong) => section.wrong("calibration.cold_junction", junction.span, &wrong),
        }
    }
    channels.extend(raws);
    Some(channels)
}

fn cold_junction(
    place: usize,
    junction: &str,
    names: &[String],
    channels: &[Channel],
) -> Result<usize, Wrong> {
    let found = names
        .iter()
        .position(|name| name == junction)
        .ok_or_else(|| {
            let mut wrong = unknown(junction, names.iter().map(String::as_str));
            wrong.what = format!("{}: the source has no such channel", wrong.what);
            wrong
        })?;
    let is_thermocouple = matches!(
        channels[found].calibration,
        Calibration::Thermocouple { .. }
    );
    if found == place || is_thermocouple {
        return Err(Wrong::new(
            format!("is \"{junction}\", a thermocouple itself"),
            "a channel in degrees Celsius",
        ));
    }
    if channels[found].priority != channels[place].priority {
        return Err(Wrong::new(
            format!("is \"{junction}\", a channel of another priority"),
            "both must travel in the same lane",
        ));
    }
    Ok(found)
}

/// How the protocol makes a channel's value out of an integer, where nothing is done to it afterwards.
fn quantum(
    protocol: Option<&protocol::Protocol>,
    place: usize,
    calibration: &Calibration,
) -> Option<(f64, f64)> {
    let packet = match &protocol?.options {
        Options::Packet(packet) => packet,
        Options::Modbus(modbus) => {
            let channel = modbus.channels.get(place)?;
            let is_integer = channel.scalar.is_small_integer() && calibration.is_none();
            return is_integer.then_some((channel.scale, channel.offset));
        }
        _ => return None,
    };
    let field = packet.fields.get(place)?;
    (field.scalar.is_integer() && calibration.is_none()).then_some((field.scale, field.offset))
}
