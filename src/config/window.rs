//! `[[window]]`: statistics over stretches of time or frames.

use std::time::Duration;

use kymo_drivers::block::Priority;
use toml::de::DeValue;

use super::expression::{Catalogue, Entry};
use super::plan;
use super::section::{At, Section, name};
use super::values::{Wrong, choice, duration, integer, nearest, shortened, text, unknown};
use crate::compute::spectrum::Taper;
use crate::compute::window::{Options, Span, Statistic};
use crate::expression::Unit;

/// A window as it is declared, for all sources whose channels it names.
pub(super) struct Declared<'a> {
    section: Section<'a>,
    channels: At<Vec<String>>,
    patterns: Vec<glob::Pattern>,
    span: Span,
    suffix: String,
    statistics: Vec<(String, Statistic)>,
    taper: Taper,
    lateness: Duration,
    priority: Option<Priority>,
    /// Whether each of its patterns has met a channel.
    met: Vec<bool>,
}

/// A channel that windows can look at.
pub(super) struct Candidate {
    /// Its place in its source.
    pub(super) place: usize,
    /// Its name within the source.
    pub(super) name: String,
    pub(super) unit: Option<String>,
    pub(super) priority: Priority,
}

/// Statistics without a parameter, by their names.
const STATISTICS: [(&str, Statistic); 16] = [
    ("count", Statistic::Count),
    ("mean", Statistic::Mean),
    ("min", Statistic::Min),
    ("max", Statistic::Max),
    ("first", Statistic::First),
    ("last", Statistic::Last),
    ("sum", Statistic::Sum),
    ("sd", Statistic::Deviation),
    ("rms", Statistic::Rms),
    ("p2p", Statistic::PeakToPeak),
    ("crest", Statistic::Crest),
    ("slope", Statistic::Slope),
    ("peak_hz", Statistic::PeakFrequency),
    ("peak", Statistic::PeakAmplitude),
    ("complete", Statistic::Complete),
    ("gaps", Statistic::Gaps),
];

/// Panes of a window at most: each is merged whenever a window closes.
const PANES_MAX: i64 = 1000;
/// Samples that spectra keep at most, for one source: 8 bytes each.
const SPECTRAL_SAMPLES_MAX: f64 = 4e6;
/// The longest window of frames.
const FRAMES_MAX: i64 = 1 << 24;

/// The windows of a configuration.
pub(super) fn read_all<'a>(root: &Section<'a>) -> Vec<Declared<'a>> {
    let read = |section: Section<'a>| {
        let declared = read(&section);
        section.finish();
        declared
    };
    root.list("window").into_iter().filter_map(read).collect()
}

fn read<'a>(section: &Section<'a>) -> Option<Declared<'a>> {
    let channels = section.need("channels", words);
    let patterns = channels.as_ref().and_then(|channels| {
        let compiled: Result<Vec<_>, _> = channels
            .value
            .iter()
            .map(|text| glob::Pattern::new(text))
            .collect();
        match compiled {
            Ok(patterns) => Some(patterns),
            Err(error) => {
                let what = format!("has a pattern that is none: {}", error.msg);
                section.wrong(
                    "channels",
                    channels.span.clone(),
                    &Wrong::new(what, "as in \"imu.a?\""),
                );
                None
            }
        }
    });
    let span = span(section);
    let statistics = section.need("statistics", |value| {
        let names = words(value)?;
        names
            .into_iter()
            .map(|name| statistic(&name).map(|s| (name, s)))
            .collect()
    });
    let bands = section.get("bands", bands);
    let taper = section.get("taper", choice(&Taper::NAMES));
    let lateness = section.get(
        "lateness",
        duration((Duration::ZERO, Duration::from_secs(3600))),
    );
    let suffix = section.get("suffix", name);
    let priorities = Priority::ALL.map(|priority| (priority.name(), priority));
    let priority = section.get("priority", choice(&priorities));
    let (channels, patterns, (span, default), statistics) =
        (channels?, patterns?, span?, statistics?);
    let mut statistics: Vec<(String, Statistic)> = statistics.value;
    for (low, high) in bands.map_or_else(Vec::new, |bands| bands.value) {
        // A dot would be taken for the end of the channel's name.
        let text = format!("band_{low}_{high}").replace('.', "p");
        statistics.push((text, Statistic::Band(low, high)));
    }
    // How complete a result is, is said of each.
    for (name, always) in [("complete", Statistic::Complete), ("gaps", Statistic::Gaps)] {
        if !statistics.iter().any(|(known, _)| known == name) {
            statistics.push((name.to_owned(), always));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for (name, _) in &statistics {
        if seen.contains(&name.as_str()) {
            let what = format!("names \"{name}\" twice");
            section.wrong(
                "statistics",
                section.span.clone(),
                &Wrong::new(what, "each once"),
            );
        }
        seen.push(name);
    }
    Some(Declared {
        met: vec![false; patterns.len()],
        section: section.clone(),
        channels,
        patterns,
        span,
        suffix: suffix.map_or(default, |suffix| suffix.value),
        statistics,
        taper: taper.map_or(Taper::default(), |taper| taper.value),
        lateness: lateness.map_or(Duration::ZERO, |lateness| lateness.value),
        priority: priority.map(|priority| priority.value),
    })
}

/// The span, and how it is written in names.
fn span(section: &Section<'_>) -> Option<(Span, String)> {
    let some = (Duration::from_micros(1), Duration::from_secs(31_557_600));
    let (length, hop) = (
        section.get("length", duration(some)),
        section.get("hop", duration(some)),
    );
    let frames = section.get("frames", integer(1..=FRAMES_MAX));
    let hop_frames = section.get("hop_frames", integer(1..=FRAMES_MAX));
    let (length, hop, hop_key, is_time) = match (length, frames) {
        (Some(_), Some(frames)) => {
            let wrong = Wrong::new("stands beside `length`", "a window has one or the other");
            section.wrong("frames", frames.span, &wrong);
            return None;
        }
        (None, None) => {
            if !section.has("length") && !section.has("frames") {
                section.missing("length", Some("as in length = \"100ms\", or frames = 1024"));
            }
            return None;
        }
        (Some(length), None) => {
            let ns = |at: At<Duration>| At {
                value: i64::try_from(at.value.as_nanos()).unwrap_or(i64::MAX),
                span: at.span,
            };
            (ns(length), hop.map(ns), "hop", true)
        }
        (None, Some(frames)) => (frames, hop_frames, "hop_frames", false),
    };
    let hop_value = hop.as_ref().map_or(length.value, |hop| hop.value);
    let panes = length.value / hop_value;
    if length.value % hop_value != 0 || panes > PANES_MAX {
        let what = format!("must divide the length, at most {PANES_MAX} times");
        let at = hop.map_or(length.span, |hop| hop.span);
        section.wrong(hop_key, at, &Wrong::new(what, "no such part of the length"));
        return None;
    }
    let (length, hop) = (length.value, hop_value);
    Some(if is_time {
        (Span::Time { length, hop }, duration_name(length))
    } else {
        (Span::Frames { length, hop }, format!("{length}n"))
    })
}

/// A duration in the largest unit that needs no fraction: `100ms`.
fn duration_name(ns: i64) -> String {
    const UNITS: [(&str, i64); 6] = [
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let found = UNITS.iter().find(|(_, unit)| ns % unit == 0);
    found.map_or_else(String::new, |(name, unit)| format!("{}{name}", ns / unit))
}

fn statistic(text: &str) -> Result<Statistic, Wrong> {
    if let Some((_, found)) = STATISTICS.iter().find(|(name, _)| *name == text) {
        return Ok(*found);
    }
    let percent = text
        .strip_prefix('p')
        .and_then(|digits| digits.replace('_', ".").parse::<f64>().ok());
    if let Some(percent) = percent.filter(|percent| (0.0..=100.0).contains(percent)) {
        return Ok(Statistic::Quantile(percent / 100.0));
    }
    let names = STATISTICS
        .iter()
        .map(|(name, _)| *name)
        .chain(["p50", "p99", "p99_9"]);
    Err(unknown(text, names.collect::<Vec<_>>().into_iter()))
}

/// A list of texts.
fn words(value: &DeValue<'_>) -> Result<Vec<String>, Wrong> {
    let Some(array) = value.as_array() else {
        return Err(Wrong::new(
            format!(
                "must be a list of texts, and is of the kind {}",
                value.type_str()
            ),
            "a list is expected",
        ));
    };
    array.iter().map(|item| text(item.get_ref())).collect()
}

fn bands(value: &DeValue<'_>) -> Result<Vec<(f64, f64)>, Wrong> {
    let bands = super::values::pairs(value)?;
    match bands
        .iter()
        .find(|(low, high)| !(0.0 <= *low && low < high))
    {
        Some((low, high)) => {
            let what = format!("has a band from {low} to {high} Hz");
            Err(Wrong::new(what, "from a lower to a higher frequency"))
        }
        None => Ok(bands),
    }
}

impl Declared<'_> {
    /// The windows over a source's channels: one for each of its lanes that has any. Their results are added to the catalogue.
    pub(super) fn over(
        &mut self,
        (source, source_name): (usize, &str),
        candidates: &[Candidate],
        rate_hz: Option<f64>,
        next_place: &mut usize,
        catalogue: &mut Catalogue,
    ) -> Vec<plan::Window> {
        let mut windows = Vec::new();
        let mut is_named: Vec<bool> = Vec::new();
        for candidate in candidates {
            let full = format!("{source_name}.{}", candidate.name);
            let mut any = false;
            for (pattern, met) in self.patterns.iter().zip(&mut self.met) {
                if pattern.matches(&full) {
                    (*met, any) = (true, true);
                }
            }
            is_named.push(any);
        }
        for priority in Priority::ALL {
            let both = candidates.iter().zip(&is_named);
            let inputs: Vec<&Candidate> = both
                .filter(|(candidate, named)| **named && candidate.priority == priority)
                .map(|(candidate, _)| candidate)
                .collect();
            if !inputs.is_empty() {
                windows.extend(self.of_lane(
                    (source, source_name),
                    (&inputs, priority),
                    rate_hz,
                    next_place,
                    catalogue,
                ));
            }
        }
        windows
    }

    fn of_lane(
        &self,
        (source, source_name): (usize, &str),
        (inputs, priority): (&[&Candidate], Priority),
        rate_hz: Option<f64>,
        next_place: &mut usize,
        catalogue: &mut Catalogue,
    ) -> Option<plan::Window> {
        let is_spectral = self
            .statistics
            .iter()
            .any(|(_, statistic)| statistic.is_spectral());
        let is_right = inputs.iter().all(|input| input.unit.is_some());
        if is_spectral && is_right && !self.can_have_spectra(source_name, inputs.len(), rate_hz) {
            return None;
        }
        let mut channels = Vec::new();
        for input in inputs {
            for (statistic_name, statistic) in &self.statistics {
                let name = format!("{}.{statistic_name}_{}", input.name, self.suffix);
                let full = format!("{source_name}.{name}");
                if catalogue.entries().iter().any(|entry| entry.name == full) {
                    let what = format!("makes `{full}`, which another window makes as well");
                    let wrong = Wrong::new(what, "give one of them a `suffix` of its own");
                    self.section
                        .wrong("channels", self.channels.span.clone(), &wrong);
                    return None;
                }
                let unit = input.unit.as_deref().map(|unit| unit_of(*statistic, unit));
                catalogue.push(Entry {
                    name: full,
                    place: (source, *next_place),
                    unit: unit.clone(),
                    rate_hz: self.rate_hz(rate_hz),
                });
                *next_place += 1;
                channels.push((name, unit.unwrap_or_default()));
            }
        }
        Some(plan::Window {
            source,
            suffix: self.suffix.clone(),
            priority: self.priority.unwrap_or(priority),
            inputs: inputs.iter().map(|input| input.place).collect(),
            options: Options {
                span: self.span,
                statistics: self
                    .statistics
                    .iter()
                    .map(|(_, statistic)| *statistic)
                    .collect(),
                rate_hz,
                lateness_ns: i64::try_from(self.lateness.as_nanos()).unwrap_or(i64::MAX),
                taper: self.taper,
            },
            channels,
        })
    }

    fn can_have_spectra(&self, source: &str, channels: usize, rate_hz: Option<f64>) -> bool {
        let Some(expected) = self.span.expected(rate_hz).filter(|_| rate_hz.is_some()) else {
            let what = format!("names \"{source}\", whose rate is not known: a spectrum needs it");
            let wrong = Wrong::new(what, "give the source its rate_hz");
            self.section
                .wrong("channels", self.channels.span.clone(), &wrong);
            return false;
        };
        #[allow(clippy::cast_precision_loss)]
        let samples = expected * channels as f64;
        if samples > SPECTRAL_SAMPLES_MAX || expected < 4.0 {
            let what = format!(
                "asks for spectra of {expected:.0} samples of {channels} channels of \"{source}\""
            );
            let label =
                format!("4 samples at least, {SPECTRAL_SAMPLES_MAX} over all channels at most");
            self.section.wrong(
                "statistics",
                self.channels.span.clone(),
                &Wrong::new(what, label),
            );
            return false;
        }
        true
    }

    /// Results a second.
    #[allow(clippy::cast_precision_loss)]
    fn rate_hz(&self, rate_hz: Option<f64>) -> Option<f64> {
        match self.span {
            Span::Time { hop, .. } => Some(1e9 / hop as f64),
            Span::Frames { hop, .. } => rate_hz.map(|rate_hz| rate_hz / hop as f64),
        }
    }

    /// Says which of its patterns met no channel.
    pub(super) fn check_met(&self, catalogue: &Catalogue) {
        for (text, met) in self.channels.value.iter().zip(&self.met) {
            if !met {
                let names = catalogue.entries().iter().map(|entry| entry.name.as_str());
                let label = nearest(text, names).map_or_else(
                    || "no such channel".to_owned(),
                    |near| format!("did you mean \"{near}\"?"),
                );
                let what = format!(
                    "names \"{}\", and there is no such channel",
                    shortened(text)
                );
                self.section.wrong(
                    "channels",
                    self.channels.span.clone(),
                    &Wrong::new(what, label),
                );
            }
        }
    }
}

/// The unit of a statistic of values in a unit.
fn unit_of(statistic: Statistic, unit: &str) -> String {
    let own = Unit::parse(unit);
    let made = |made: Option<Unit>| made.map_or_else(|| unit.to_owned(), |made| made.to_string());
    match statistic {
        Statistic::Count | Statistic::Crest | Statistic::Complete | Statistic::Gaps => {
            "1".to_owned()
        }
        Statistic::Deviation | Statistic::PeakToPeak | Statistic::PeakAmplitude => {
            if own.is_point() {
                own.of_difference().to_string()
            } else {
                unit.to_owned()
            }
        }
        Statistic::Slope => made(own.of_difference().times(&Unit::parse("s"), -1)),
        Statistic::PeakFrequency => "Hz".to_owned(),
        Statistic::Band(..) => made(own.of_difference().to_power(2)),
        _ => unit.to_owned(),
    }
}
