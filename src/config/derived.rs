//! `[derived.NAME]`: sources without a device, whose channels are expressions.

use std::time::Duration;

use kymo_drivers::block::Priority;

use super::expression::{Catalogue, Entry, compile};
use super::plan::{Computed, Derived, DerivedChannel, DerivedMoments};
use super::section::{At, Section, name};
use super::source::ReadSource;
use super::values::{Wrong, choice, duration, integer, text, unknown};
use super::window::{self, Candidate};
use crate::compute::align::Alignment;
use crate::expression::{Expression, Unit};

/// Channels that one expression, and one derived source, may look at.
const INPUTS_MAX: usize = 32;

/// What is computed, and the names of what can be watched, by source.
pub(super) struct Read {
    pub(super) computed: Computed,
    pub(super) watchable: Vec<ReadSource>,
    /// All channels, for expressions.
    pub(super) catalogue: Catalogue,
}

struct Declared<'a> {
    section: Section<'a>,
    channels: Vec<DeclaredChannel<'a>>,
}

struct DeclaredChannel<'a> {
    section: Section<'a>,
    name: String,
    expression: Option<At<String>>,
    unit: Option<At<String>>,
}

/// Everything that is computed.
pub(super) fn read_all(root: &Section<'_>, sources: &[ReadSource]) -> Read {
    let mut windows = window::read_all(root);
    let declared = declared(root, sources);
    let mut catalogue = Catalogue::new(sources);
    let mut computed = Computed::default();
    for (place, source) in sources.iter().enumerate() {
        let Some(plan) = &source.plan else {
            // Its channels are known by name, so that what names them is not called unknown.
            let candidates = source
                .channels
                .iter()
                .enumerate()
                .map(|(place, name)| Candidate {
                    place,
                    name: name.clone(),
                    unit: None,
                    priority: Priority::Normal,
                });
            let candidates: Vec<Candidate> = candidates.collect();
            for window in &mut windows {
                let mut next = candidates.len();
                let rate_hz = Some(1e6);
                window.over(
                    (place, &source.name),
                    &candidates,
                    rate_hz,
                    &mut next,
                    &mut catalogue,
                );
            }
            continue;
        };
        let candidates = plan
            .channels
            .iter()
            .enumerate()
            .map(|(place, channel)| Candidate {
                place,
                name: channel.name.clone(),
                unit: Some(channel.unit.clone()),
                priority: channel.priority,
            });
        let candidates: Vec<Candidate> = candidates.collect();
        let mut next = candidates.len();
        for window in &mut windows {
            let at = (place, source.name.as_str());
            let made = window.over(at, &candidates, plan.rate_hz, &mut next, &mut catalogue);
            computed.windows.extend(made);
        }
    }
    let mut derived: Vec<Option<Derived>> = declared.iter().map(|_| None).collect();
    for index in order(&declared, &catalogue) {
        let source = sources.len() + index;
        let one = &declared[index];
        let read = read(one, &mut catalogue);
        let channels = one.channels.iter().enumerate();
        let candidates = channels.map(|(place, channel)| Candidate {
            place,
            name: channel.name.clone(),
            unit: read
                .as_ref()
                .map(|derived| derived.channels[place].unit.clone()),
            priority: read
                .as_ref()
                .map_or(Priority::Normal, |derived| derived.priority),
        });
        let candidates: Vec<Candidate> = candidates.collect();
        let rate_hz = read.as_ref().and_then(|derived| derived.rate_hz);
        for candidate in &candidates {
            catalogue.push(Entry {
                name: format!("{}.{}", one.section.name(), candidate.name),
                place: (source, candidate.place),
                unit: candidate.unit.clone(),
                rate_hz,
            });
        }
        let mut next = candidates.len();
        for window in &mut windows {
            let at = (source, one.section.name());
            computed.windows.extend(window.over(
                at,
                &candidates,
                rate_hz,
                &mut next,
                &mut catalogue,
            ));
        }
        derived[index] = read;
    }
    for (index, one) in declared.iter().enumerate() {
        // What is part of a cycle was not read; it is known by name.
        let name =
            |channel: &DeclaredChannel<'_>| format!("{}.{}", one.section.name(), channel.name);
        for (place, channel) in one.channels.iter().enumerate() {
            let name = name(channel);
            if catalogue.entries().iter().all(|entry| entry.name != name) {
                let place = (sources.len() + index, place);
                catalogue.push(Entry {
                    name,
                    place,
                    unit: None,
                    rate_hz: None,
                });
            }
        }
    }
    for window in &windows {
        window.check_met(&catalogue);
    }
    for one in &declared {
        for channel in &one.channels {
            channel.section.finish();
        }
        one.section.finish();
    }
    let watchable = watchable(sources, &declared, &catalogue);
    computed.derived = derived.into_iter().flatten().collect();
    Read {
        computed,
        watchable,
        catalogue,
    }
}

/// The names of what rules can watch: those of the configuration's sources, then the derived ones.
fn watchable(
    sources: &[ReadSource],
    declared: &[Declared<'_>],
    catalogue: &Catalogue,
) -> Vec<ReadSource> {
    let names = sources.iter().map(|source| source.name.as_str());
    let names = names.chain(declared.iter().map(|derived| derived.section.name()));
    let of_source = |(place, name): (usize, &str)| {
        let entries = catalogue
            .entries()
            .iter()
            .filter(|entry| entry.place.0 == place);
        let mut entries: Vec<(usize, &str)> = entries
            .map(|entry| (entry.place.1, entry.name.as_str()))
            .collect();
        entries.sort_unstable();
        let own = |full: &str| full[name.len() + 1..].to_owned();
        ReadSource {
            name: name.to_owned(),
            channels: entries.into_iter().map(|(_, full)| own(full)).collect(),
            plan: None,
        }
    };
    names.enumerate().map(of_source).collect()
}

fn declared<'a>(root: &Section<'a>, sources: &[ReadSource]) -> Vec<Declared<'a>> {
    let mut declared: Vec<Declared<'a>> = Vec::new();
    for section in root.tables("derived") {
        section.check_name("derived source");
        if sources.iter().any(|source| source.name == section.name()) {
            let what = format!(
                "`derived.{0}` and `source.{0}` have one name",
                section.name()
            );
            let span = section.span.clone();
            section
                .found
                .add(span, &what, "every source has a name of its own", None);
        }
        let list = section.list("channel");
        if list.is_empty() && !section.has("channel") {
            let help = "add one [[derived.NAME.channel]] with name and expression";
            section.missing("channel", Some(help));
        }
        let mut channels: Vec<DeclaredChannel<'a>> = Vec::new();
        for channel in list {
            let name = channel.need("name", name);
            let expression = channel.need("expression", text);
            let unit = channel.get("unit", text);
            if let Some(name) = &name
                && channels.iter().any(|known| known.name == name.value)
            {
                let what = format!(
                    "is \"{}\", the name of another channel of the source",
                    name.value
                );
                let wrong = Wrong::new(what, "every channel has a name of its own");
                channel.wrong("name", name.span.clone(), &wrong);
            }
            channels.push(DeclaredChannel {
                section: channel,
                name: name.map_or_else(String::new, |name| name.value),
                expression,
                unit,
            });
        }
        declared.push(Declared { section, channels });
    }
    declared
}

/// An order in which each comes behind what it looks at. A cycle is told, and left out.
fn order(declared: &[Declared<'_>], catalogue: &Catalogue) -> Vec<usize> {
    let knows = |name: &str| {
        catalogue.entries().iter().any(|entry| entry.name == name)
            || declared.iter().any(|derived| {
                let own = name
                    .strip_prefix(derived.section.name())
                    .and_then(|n| n.strip_prefix('.'));
                own.is_some_and(|own| derived.channels.iter().any(|channel| channel.name == own))
            })
    };
    let needs = |derived: &Declared<'_>| -> Vec<usize> {
        let texts = derived
            .channels
            .iter()
            .filter_map(|channel| channel.expression.as_ref());
        let names = texts.flat_map(|text| Expression::names(&text.value, &knows));
        let source = |name: String| {
            let (source, _) = name.split_once('.')?;
            declared
                .iter()
                .position(|derived| derived.section.name() == source)
        };
        names.filter_map(source).collect()
    };
    let needs: Vec<Vec<usize>> = declared.iter().map(needs).collect();
    let mut order: Vec<usize> = Vec::new();
    let mut told: Vec<usize> = Vec::new();
    while order.len() + told.len() < declared.len() {
        let open = |index: &usize| !order.contains(index) && !told.contains(index);
        let ready = (0..declared.len())
            .filter(open)
            .find(|index| needs[*index].iter().all(|need| order.contains(need)));
        if let Some(index) = ready {
            order.push(index);
            continue;
        }
        // Every one left needs one that is left, or one that was told: walk until one comes again.
        let Some(first) = (0..declared.len()).find(open) else {
            break;
        };
        let mut walk = vec![first];
        let cycle = loop {
            let last = walk[walk.len() - 1];
            let next = needs[last]
                .iter()
                .copied()
                .find(|need| !order.contains(need));
            match next {
                Some(next) if told.contains(&next) => break None,
                Some(next) => match walk.iter().position(|seen| *seen == next) {
                    Some(start) => break Some(walk[start..].to_vec()),
                    None => walk.push(next),
                },
                None => break None,
            }
        };
        let Some(cycle) = cycle else {
            // It hangs on a cycle that was told already.
            told.extend(walk.last());
            continue;
        };
        let names: Vec<&str> = cycle
            .iter()
            .chain(&cycle[..1])
            .map(|index| declared[*index].section.name())
            .collect();
        let section = &declared[cycle[0]].section;
        let what = format!("`derived.{}` is computed from itself", section.name());
        let label = names.join(" → ");
        let help = "break the cycle: a channel can be computed only from what is there before it";
        section
            .found
            .add(section.span.clone(), &what, &label, Some(help));
        told.extend(cycle);
    }
    // What was told is asked for its keys all the same, so that they are not called unknown.
    for index in told {
        let _ = settings(&declared[index].section);
    }
    order
}

struct Settings {
    priority: Priority,
    clock: Option<At<String>>,
    every: Option<At<Duration>>,
    alignment: Alignment,
    hold: Duration,
    lateness: Duration,
    block_frames: usize,
}

fn settings(section: &Section<'_>) -> Settings {
    let priorities = Priority::ALL.map(|priority| (priority.name(), priority));
    let priority = section.get("priority", choice(&priorities));
    let hour = Duration::from_secs(3600);
    let wait = || duration((Duration::from_millis(1), hour));
    let block_frames = section.get("block_frames", integer(1..=65_536));
    Settings {
        priority: priority.map_or(Priority::Normal, |priority| priority.value),
        clock: section.get("clock", text),
        every: section.get("every", duration((Duration::from_micros(10), hour))),
        alignment: section
            .get("align", choice(&Alignment::NAMES))
            .map_or(Alignment::default(), |align| align.value),
        hold: section
            .get("hold", wait())
            .map_or(Duration::from_secs(10), |hold| hold.value),
        lateness: section
            .get("lateness", wait())
            .map_or(Duration::from_secs(1), |at| at.value),
        block_frames: block_frames
            .and_then(|frames| usize::try_from(frames.value).ok())
            .unwrap_or(1024),
    }
}

fn read(declared: &Declared<'_>, catalogue: &mut Catalogue) -> Option<Derived> {
    let section = &declared.section;
    let settings = settings(section);
    let clock = clock(section, &settings, declared, catalogue);
    catalogue.clock_rate_hz = clock.and_then(|(_, rate_hz)| rate_hz);
    let channels: Vec<Option<DerivedChannel>> = declared
        .channels
        .iter()
        .map(|channel| read_channel(channel, catalogue))
        .collect();
    catalogue.clock_rate_hz = None;
    let (moments, rate_hz) = clock?;
    let channels: Vec<DerivedChannel> = channels.into_iter().collect::<Option<_>>()?;
    let mut inputs: Vec<(usize, usize)> = channels.iter().flat_map(|c| c.inputs.clone()).collect();
    inputs.sort_unstable();
    inputs.dedup();
    if inputs.len() > INPUTS_MAX {
        let what = format!(
            "`derived.{}` looks at {} channels",
            section.name(),
            inputs.len()
        );
        let label = format!("at most {INPUTS_MAX}");
        section.found.add(
            section.span.clone(),
            &what,
            &label,
            Some("make two sources of it"),
        );
        return None;
    }
    Some(Derived {
        name: section.name().to_owned(),
        priority: settings.priority,
        channels,
        moments,
        alignment: settings.alignment,
        hold: settings.hold,
        lateness: settings.lateness,
        block_frames: settings.block_frames,
        rate_hz,
    })
}

/// When it has frames, and how many a second.
fn clock(
    section: &Section<'_>,
    settings: &Settings,
    declared: &Declared<'_>,
    catalogue: &Catalogue,
) -> Option<(DerivedMoments, Option<f64>)> {
    if let (Some(clock), Some(_)) = (&settings.clock, &settings.every) {
        let wrong = Wrong::new("stands beside `every`", "one of the two");
        section.wrong("clock", clock.span.clone(), &wrong);
        return None;
    }
    if let Some(every) = &settings.every {
        let rate_hz = Some(1.0 / every.value.as_secs_f64());
        return Some((DerivedMoments::Every(every.value), rate_hz));
    }
    if section.has("every") || (section.has("clock") && settings.clock.is_none()) {
        return None;
    }
    let known = |name: &str| catalogue.entries().iter().find(|entry| entry.name == name);
    let found = match &settings.clock {
        Some(clock) => {
            // A source, by its first channel, or a channel.
            let first = format!("{}.", clock.value);
            let entry = known(&clock.value).or_else(|| {
                catalogue
                    .entries()
                    .iter()
                    .find(|entry| entry.name.starts_with(&first))
            });
            if entry.is_none() {
                let names = catalogue.entries().iter().map(|entry| entry.name.as_str());
                let mut wrong = unknown(&clock.value, names);
                wrong.what = format!("{}: there is no such source or channel", wrong.what);
                section.wrong("clock", clock.span.clone(), &wrong);
            }
            entry
        }
        None => {
            // The first channel of the first expression.
            let knows = |name: &str| known(name).is_some();
            let texts = declared
                .channels
                .iter()
                .filter_map(|channel| channel.expression.as_ref());
            let mut names = texts.flat_map(|text| Expression::names(&text.value, &knows));
            names.find_map(|name| known(&name))
        }
    };
    let entry = found?;
    Some((
        DerivedMoments::Channel(entry.place.0, entry.place.1),
        entry.rate_hz,
    ))
}

fn read_channel(declared: &DeclaredChannel<'_>, catalogue: &Catalogue) -> Option<DerivedChannel> {
    let text = declared.expression.as_ref()?;
    let expression = compile(&declared.section, "expression", text, catalogue)?;
    let own = expression.unit().cloned().unwrap_or_else(Unit::one);
    let (unit, conversion) = match &declared.unit {
        None => (own.to_string(), (1.0, 0.0)),
        Some(unit) => {
            let wanted = Unit::parse(&unit.value);
            let Some(conversion) = own.conversion_to(&wanted) else {
                let what = format!(
                    "is \"{}\", and the expression's values are in `{own}`",
                    unit.value
                );
                let wrong = Wrong::new(what, "no conversion leads there");
                declared.section.wrong("unit", unit.span.clone(), &wrong);
                return None;
            };
            (unit.value.clone(), conversion)
        }
    };
    let inputs = expression.inputs().iter();
    Some(DerivedChannel {
        name: declared.name.clone(),
        unit,
        inputs: inputs
            .map(|input| catalogue.entry(input.channel).place)
            .collect(),
        expression,
        conversion,
    })
}
