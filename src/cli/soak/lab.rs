//! The laboratory of a soak: a configuration made of a seed.
//!
//! **Always holds.** The same seed and length give the same text. Each device numbers its frames in its first channel, and no damage
//! that is done to it passes for a frame: packets end with a CRC-32, and text suffers only what is done to the device as a whole.
//!
//! **Must not know.** How it is checked.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// The source whose level the rule watches: above the first it fires, below the second it clears.
pub(super) const WATCHED: &str = "interlock";
pub(super) const RULE: &str = "high";
pub(super) const LIMITS: (f64, f64) = (4.0, 3.0);

/// What a source of the laboratory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Packets { is_cobs: bool },
    Lines,
    Registers,
    Instrument,
}

struct Device {
    name: &'static str,
    kind: Kind,
    priority: &'static str,
    rate_hz: f64,
}

const DEVICES: [Device; 6] = [
    Device {
        name: WATCHED,
        kind: Kind::Packets { is_cobs: true },
        priority: "critical",
        rate_hz: 1000.0,
    },
    Device {
        name: "inertial",
        kind: Kind::Packets { is_cobs: false },
        priority: "high",
        rate_hz: 2000.0,
    },
    Device {
        name: "vibration",
        kind: Kind::Packets { is_cobs: false },
        priority: "bulk",
        rate_hz: 20_000.0,
    },
    Device {
        name: "furnace",
        kind: Kind::Lines,
        priority: "normal",
        rate_hz: 200.0,
    },
    Device {
        name: "meter",
        kind: Kind::Registers,
        priority: "normal",
        rate_hz: 100.0,
    },
    Device {
        name: "multimeter",
        kind: Kind::Instrument,
        priority: "normal",
        rate_hz: 100.0,
    },
];

/// How a device's frames are numbered in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// It sends them by itself: number by number.
    Unasked,
    /// A question is a frame.
    Asked,
    /// There are other questions besides, so a frame's number is at most its question's.
    Questioned,
}

/// The devices' names, in the order of the configuration, and how each speaks.
pub(super) fn devices() -> impl Iterator<Item = (&'static str, Speech)> {
    DEVICES.iter().map(|device| {
        let speech = match device.kind {
            Kind::Packets { .. } | Kind::Lines => Speech::Unasked,
            Kind::Registers => Speech::Asked,
            Kind::Instrument => Speech::Questioned,
        };
        (device.name, speech)
    })
}

/// The configuration: faults come as often as makes many of each in the time there is. The devices' logs go to `logs`.
pub(super) fn configuration(seed: u64, duration: Duration, logs: &Path) -> String {
    let mut dice = fastrand::Rng::with_seed(seed);
    let pace_s = (duration.as_secs_f64() / 40.0).clamp(0.1, 1.0);
    let mut text = String::from(
        "# The journal is read while it is written; nothing of it goes before it was read.\n\
         [journal]\nqueue_blocks = { critical = 65536 }\n\
         [store]\nsegment_age = \"5s\"\njournal_age = \"1h\"\n\
         [serve]\nenabled = false\n",
    );
    for device in &DEVICES {
        source(device, &mut text);
        simulator(device, dice.u64(0..1 << 62), logs, &mut text);
        for fault in faults(device.kind, pace_s, &mut dice) {
            text.push_str("[[simulator.");
            text.push_str(device.name);
            text.push_str(".fault]]\n");
            text.push_str(&fault);
        }
    }
    let (above, clear) = LIMITS;
    put(
        &mut text,
        format_args!(
            "[[rule]]\nname = \"{RULE}\"\nchannel = \"{WATCHED}.level\"\nabove = {above}\nclear = {clear}\n"
        ),
    );
    text
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // A string takes every text.
    let _ = text.write_fmt(what);
}

fn source(device: &Device, text: &mut String) {
    let Device {
        name,
        kind,
        priority,
        ..
    } = device;
    put(
        text,
        format_args!(
            "\n[source.{name}]\npriority = \"{priority}\"\nlink = {{ type = \"simulator\", device = \"{name}\" }}\n\
         reconnect = {{ first = \"2ms\", max = \"20ms\" }}\n[source.{name}.protocol]\n"
        ),
    );
    let fields: [String; 2] = match kind {
        Kind::Packets { is_cobs } => {
            let (framing, start) = if *is_cobs {
                ("framing = \"cobs\"".to_owned(), 0)
            } else {
                ("sync = \"A5 5A C3\"".to_owned(), 3)
            };
            let length = start + 14;
            put(
                text,
                format_args!(
                    "type = \"packet\"\n{framing}\nlength = {length}\ncounter = {{ at = {start}, type = \"u16\" }}\n\
                 checksum = {{ kind = \"CRC-32/ISO-HDLC\", from = {start}, to = -4, at = -4 }}\n"
                ),
            );
            let field = |at, scalar| format!("field = {{ at = {at}, type = \"{scalar}\" }}");
            [field(start + 2, "u32"), field(start + 6, "f32")]
        }
        Kind::Lines => {
            text.push_str("type = \"lines\"\n");
            [String::new(), String::new()]
        }
        Kind::Registers => {
            text.push_str(
                "type = \"modbus\"\ncycle = \"10ms\"\ntimeout = \"60ms\"\nretries = 0\n\
                 backoff = { first = \"1ms\", max = \"5ms\" }\ntable = \"input\"\n",
            );
            let register =
                |at, scalar| format!("register = {{ unit = 3, at = {at}, type = \"{scalar}\" }}");
            [register(0, "u32"), register(2, "f32")]
        }
        Kind::Instrument => {
            text.push_str(
                "type = \"scpi\"\ncycle = \"10ms\"\ntimeout = \"100ms\"\nidentity = \"^KYMO\"\n\
                 backoff = { first = \"1ms\", max = \"5ms\" }\n",
            );
            let query = |value| format!("query = {{ ask = \"READ?\", value = {value} }}");
            [query(0), query(1)]
        }
    };
    for (channel, field) in ["number", "level"].into_iter().zip(fields) {
        put(
            text,
            format_args!("[[source.{name}.channel]]\nname = \"{channel}\"\n{field}\n"),
        );
    }
}

fn simulator(device: &Device, seed: u64, logs: &Path, text: &mut String) {
    let Device {
        name,
        kind,
        rate_hz,
        ..
    } = device;
    let form = match kind {
        Kind::Packets { is_cobs: true } => {
            "device = \"packets\"\nframing = \"cobs\"\nchecksum = \"CRC-32/ISO-HDLC\"\n"
        }
        Kind::Packets { is_cobs: false } => {
            "device = \"packets\"\nsync = \"A5 5A C3\"\nchecksum = \"CRC-32/ISO-HDLC\"\n"
        }
        Kind::Lines => "device = \"lines\"\n",
        Kind::Registers => "device = \"registers\"\nunit = 3\n",
        Kind::Instrument => "device = \"instrument\"\n",
    };
    let log = logs.join(name).with_extension("jsonl");
    let log = toml::Value::from(log.to_string_lossy().into_owned());
    put(
        text,
        format_args!(
            "[simulator.{name}]\n{form}rate_hz = {rate_hz}\nseed = {seed}\ntruth = {log}\ntruth_values = false\n"
        ),
    );
    let is_text = matches!(kind, Kind::Lines | Kind::Instrument);
    let number = if is_text {
        "decimals = 0"
    } else {
        "type = \"u32\""
    };
    put(
        text,
        format_args!(
            "[[simulator.{name}.channel]]\n{number}\nsignal = {{ type = \"counter\" }}\n\
         [[simulator.{name}.channel]]\nsignal = [{{ type = \"sine\", hz = 2, amplitude = 5 }}, {{ type = \"pink\", amplitude = 0.5 }}]\n"
        ),
    );
}

/// What goes wrong with a device.
fn faults(kind: Kind, pace_s: f64, dice: &mut fastrand::Rng) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |name: &str, mean_s: f64, more: &str, dice: &mut fastrand::Rng| {
        let mean_ms = 1e3 * mean_s * (0.5 + dice.f64());
        faults.push(format!(
            "kind = \"{name}\"\nmean_every = \"{mean_ms:.0}ms\"\n{more}"
        ));
    };
    let lasting = |dice: &mut fastrand::Rng| format!("duration = \"{}ms\"\n", dice.u32(30..300));
    // Of a device that is asked every fault costs a time-out: were they as frequent, it would hardly ever answer.
    let is_asked = matches!(kind, Kind::Registers | Kind::Instrument);
    let rare_s = if is_asked { 10.0 } else { 4.0 } * pace_s;
    if matches!(kind, Kind::Packets { .. }) {
        for name in ["byte_loss", "bit_flips", "doubled_bytes"] {
            let bytes = format!("bytes = {}\n", dice.u32(1..4));
            fault(name, pace_s, &bytes, dice);
        }
        fault("truncated_frames", pace_s, "", dice);
        let bytes = format!("bytes = {}\n", dice.u32(1..200));
        fault("burst", pace_s, &bytes, dice);
    }
    if is_asked {
        // Later than its reader waits, or not: both happen.
        let delay = format!("delay = \"{}ms\"\n", dice.u32(10..150));
        fault("late_answers", rare_s, &delay, dice);
        fault("missing_answers", rare_s, "", dice);
        fault("wrong_answers", rare_s, "", dice);
    } else {
        let frames = format!("frames = {}\n", dice.u32(1..100));
        fault("counter_jump", pace_s, &frames, dice);
        let ppm = dice.i32(-20_000..20_000);
        fault(
            "clock_drift",
            rare_s,
            &format!("ppm = {ppm}\nduration = \"1s\"\n"),
            dice,
        );
        fault("flood", rare_s, "duration = \"500ms\"\n", dice);
    }
    let stall = lasting(dice);
    fault("stall", rare_s, &stall, dice);
    let gone = lasting(dice);
    fault("disconnect", rare_s, &gone, dice);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_makes_a_configuration_and_the_same_makes_the_same() {
        for seed in 0..50 {
            for seconds in [1, 120, 86_400] {
                let duration = Duration::from_secs(seconds);
                let text = configuration(seed, duration, Path::new("/logs"));
                let plan = crate::config::parse("soak", &text).unwrap_or_else(|m| panic!("{m}"));
                let names = plan.sources.iter().map(|source| source.name.as_str());
                assert!(names.eq(devices().map(|(name, _)| name)));
                assert_eq!(text, configuration(seed, duration, Path::new("/logs")));
            }
        }
    }
}
