//! `[simulator.NAME]`: simulated devices, what they measure, and what goes wrong with them.

mod fault;
mod signal;

use std::path::{Path, PathBuf};

use kymo_simulators::{
    CHECKSUMS, COMMAND_BYTES_MAX, Channel, Checksum, CommandOptions, DEVICES, Form, GENERIC,
    Generic, LogOptions, Options, POLLED, SCALARS, Scalar, WhenFull,
};
use toml::de::DeValue;

use super::plan::{DEVICES_DIR, Playback};
use super::section::{At, Section, name};
use super::values::{Wrong, any_number, choice, flag, hex, integer, message, number, text};
use fault::fault;

/// A simulated device, and where it is declared.
pub(super) struct Simulator {
    pub(super) name: String,
    pub(super) options: Options,
}

/// All of them, and what they play back.
pub(super) fn read_all(root: &Section<'_>, data_dir: &Path) -> (Vec<Simulator>, Vec<Playback>) {
    let links = data_dir.join(DEVICES_DIR);
    let mut simulators: Vec<Simulator> = Vec::new();
    let mut playbacks = Vec::new();
    for section in root.tables("simulator") {
        section.check_name("simulated device");
        let mut reading = Reading {
            simulator: simulators.len(),
            playbacks: &mut playbacks,
        };
        let options = reading.device(&section, &links);
        if let Some(log) = &options.truth {
            let same = |other: &&Simulator| {
                (other.options.truth.as_ref()).is_some_and(|truth| truth.file == log.file)
            };
            if let Some(other) = simulators.iter().find(same) {
                let what = format!(
                    "`{}` and `simulator.{}.truth` are the same file",
                    section.path_of("truth"),
                    other.name
                );
                section
                    .found
                    .add(section.span.clone(), &what, "each needs its own", None);
            }
        }
        // What a device of another kind would be asked for is not called unknown.
        if !options.device.is_empty() {
            section.finish();
        }
        let name = section.name().to_owned();
        simulators.push(Simulator { name, options });
    }
    (simulators, playbacks)
}

struct Reading<'p> {
    simulator: usize,
    playbacks: &'p mut Vec<Playback>,
}

impl Reading<'_> {
    fn device(&mut self, section: &Section<'_>, links: &Path) -> Options {
        let streaming = DEVICES.iter().map(|kind| kind.name);
        let answering = POLLED.iter().map(|kind| kind.name);
        let kinds: Vec<(&str, &str)> = streaming
            .chain(answering)
            .chain(GENERIC)
            .map(|name| (name, name))
            .collect();
        let device: Option<At<&str>> = section.need("device", choice(&kinds));
        let device = device.map_or("", |device| device.value);
        let mut options = Options::new(section.name(), device, links);
        options.rate_hz = section
            .get("rate_hz", number(1e-3..=1e7))
            .map(|at| at.value);
        let drift_ppm = section.get("drift_ppm", number(-100_000.0..=100_000.0));
        options.drift_ppm = drift_ppm.map_or(0.0, |drift| drift.value);
        let seed = section.get("seed", integer(0..=i64::MAX));
        options.seed = seed.map_or(0, |seed| seed.value.unsigned_abs());
        let full = [("wait", WhenFull::Wait), ("drop", WhenFull::Drop)];
        if let Some(full) = section.get("when_full", choice(&full)) {
            options.when_full = full.value;
        }
        let truth = section.get("truth", text);
        let values = section.get("truth_values", flag).map(|at| at.value);
        options.truth = truth.map(|file| LogOptions {
            file: PathBuf::from(file.value),
            values,
        });
        options.generic = self.generic(section, device);
        let is_asked = (options.generic.as_ref()).map_or_else(
            || POLLED.iter().any(|kind| kind.name == device),
            Generic::is_asked,
        );
        if !is_asked {
            options.commands = commands(section);
            let frames = section.get("frames", integer(0..=i64::MAX));
            options.frames = frames.map(|frames| frames.value.unsigned_abs());
        }
        for table in section.list("fault") {
            options.faults.extend(fault(&table, is_asked));
            table.finish();
        }
        options
    }

    /// What a generic device says; nothing if it is another one.
    fn generic(&mut self, section: &Section<'_>, device: &str) -> Option<Generic> {
        let form = match device {
            "lines" => lines(section),
            "packets" => packets(section),
            "sentences" => Form::Sentences {
                address: words(section, "address", "PKYMO"),
            },
            "registers" => {
                let unit = section.get("unit", integer(1..=247));
                let unit = unit.and_then(|unit| u8::try_from(unit.value).ok());
                Form::Registers {
                    unit: unit.unwrap_or(1),
                }
            }
            "instrument" => Form::Instrument {
                identity: words(section, "identity", "KYMO,SIMULATED,0,1.0"),
                query: words(section, "query", "READ?"),
            },
            _ => return None,
        };
        let tables = section.list("channel");
        if tables.is_empty() {
            let help = "as in [[simulator.NAME.channel]] with signal = { type = \"sine\", hz = 1 }";
            section.missing("channel", Some(help));
        }
        let mut channels = Vec::with_capacity(tables.len());
        for (place, table) in tables.iter().enumerate() {
            channels.push(self.channel(table, place, &form));
            table.finish();
        }
        Some(Generic { form, channels })
    }

    fn channel(&mut self, table: &Section<'_>, place: usize, form: &Form) -> Channel {
        let is_text = !matches!(form, Form::Packets { .. } | Form::Registers { .. });
        let mut channel = Channel {
            name: format!("ch{place}"),
            signal: Vec::new(),
            scalar: Scalar::F32,
            scale: 1.0,
            offset: 0.0,
            decimals: 3,
        };
        if let Some(name) = table.get("name", name) {
            channel.name = name.value;
        }
        if is_text {
            let decimals = table.get("decimals", integer(0..=17));
            let decimals = decimals.and_then(|at| usize::try_from(at.value).ok());
            channel.decimals = decimals.unwrap_or(channel.decimals);
        } else {
            let scalar = table.get("type", choice(&SCALARS));
            channel.scalar = scalar.map_or(channel.scalar, |at| at.value);
            if let Some(scale) = table.get("scale", any_number) {
                if scale.value == 0.0 {
                    let wrong = Wrong::new("is 0, and nothing can be divided by it", "not 0");
                    table.wrong("scale", scale.span, &wrong);
                } else {
                    channel.scale = scale.value;
                }
            }
            channel.offset = table.get("offset", any_number).map_or(0.0, |at| at.value);
        }
        let parts: Vec<Section<'_>> = if table.is_table("signal") {
            table.table("signal").into_iter().collect()
        } else {
            table.list("signal")
        };
        if parts.is_empty() {
            let help =
                "as in signal = { type = \"sine\", hz = 1 }, or a list of such, which are added";
            table.missing("signal", Some(help));
        }
        for (part, section) in parts.iter().enumerate() {
            channel.signal.extend(self.signal(section, (place, part)));
            section.finish();
        }
        channel
    }
}

/// A text, or what it is if it is not there.
fn words(section: &Section<'_>, key: &'static str, default: &str) -> String {
    let found = section.get(key, text);
    found.map_or_else(|| default.to_owned(), |at| at.value)
}

/// A text that may be empty.
fn any_text(value: &DeValue<'_>) -> Result<String, Wrong> {
    match value.as_str() {
        Some("") => Ok(String::new()),
        _ => text(value),
    }
}

fn lines(section: &Section<'_>) -> Form {
    let or = |key, default: &str| {
        let found = section.get(key, any_text);
        found.map_or_else(|| default.to_owned(), |at| at.value)
    };
    Form::Lines {
        separator: words(section, "separator", ","),
        start: or("prefix", ""),
        end: words(section, "ending", "\r\n"),
        names: section.get("names", flag).is_some_and(|at| at.value),
    }
}

fn packets(section: &Section<'_>) -> Form {
    let framings = [("sync", false), ("cobs", true)];
    let is_cobs = section
        .get("framing", choice(&framings))
        .is_some_and(|at| at.value);
    let sync = if is_cobs {
        Vec::new()
    } else {
        let sync = section.get("sync", hex);
        sync.map_or_else(|| vec![0xAA, 0x55], |at| at.value)
    };
    let counters = [("none", 0), ("u8", 1), ("u16", 2), ("u24", 3), ("u32", 4)];
    let counter = section.get("counter", choice(&counters));
    let checksums: Vec<(&str, Checksum)> = CHECKSUMS.iter().map(|sum| (sum.name, *sum)).collect();
    let none = [("none", None)];
    let with_none: Vec<(&str, Option<Checksum>)> = none
        .into_iter()
        .chain(checksums.into_iter().map(|(name, sum)| (name, Some(sum))))
        .collect();
    let checksum = section.get("checksum", choice(&with_none));
    let orders = [("little", false), ("big", true)];
    Form::Packets {
        sync,
        counter: counter.map_or(2, |at| at.value),
        checksum: checksum.map_or_else(|| Checksum::named("CRC-16/IBM-3740"), |at| at.value),
        is_big_endian: section
            .get("order", choice(&orders))
            .is_some_and(|at| at.value),
    }
}

/// What a device that sends by itself understands.
fn commands(section: &Section<'_>) -> CommandOptions {
    let Some(table) = section.table("commands") else {
        return CommandOptions::default();
    };
    let command = |value: &DeValue<'_>| {
        let bytes = message(value, "a text or { hex = \"…\" }")?;
        if bytes.len() > COMMAND_BYTES_MAX {
            let what = format!("has more than {COMMAND_BYTES_MAX} bytes");
            return Err(Wrong::new(what, "too long"));
        }
        Ok(bytes)
    };
    let start = table.get("start", command).map(|at| at.value);
    let stop = table.get("stop", command).map(|at| at.value);
    let mut answers = Vec::new();
    for pair in table.list("answers") {
        let ask = pair.need("ask", command);
        let say = pair.need("say", |value| message(value, "a text or { hex = \"…\" }"));
        answers.extend(ask.zip(say).map(|(ask, say)| (ask.value, say.value)));
        pair.finish();
    }
    table.finish();
    CommandOptions {
        start,
        stop,
        answers,
    }
}
