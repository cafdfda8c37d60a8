//! `signal` of a simulated device's channel: what is measured.

use std::path::PathBuf;
use std::time::Duration;

use kymo_simulators::{Signal, Then};

use super::Reading;
use crate::config::plan::Playback;
use crate::config::section::{At, Section};
use crate::config::values::{any_number, choice, duration, number, text};

impl Reading<'_> {
    pub(super) fn signal(&mut self, table: &Section<'_>, place: (usize, usize)) -> Option<Signal> {
        const KINDS: [&str; 12] = [
            "constant", "sine", "chirp", "square", "triangle", "ramp", "step", "white", "pink",
            "walk", "counter", "playback",
        ];
        let kind = table
            .need("type", choice(&KINDS.map(|name| (name, name))))?
            .value;
        let or = |key, default| {
            table
                .get(key, any_number)
                .map_or(default, |at: At<f64>| at.value)
        };
        let positive = |key, default| {
            table
                .get(key, number(1e-9..=1e12))
                .map_or(default, |at| at.value)
        };
        Some(match kind {
            "constant" => Signal::Constant(or("value", 0.0)),
            "sine" => Signal::Sine {
                hz: positive("hz", 1.0),
                amplitude: or("amplitude", 1.0),
                phase: table
                    .get("phase", number(0.0..=1.0))
                    .map_or(0.0, |at| at.value),
            },
            "chirp" => Signal::Chirp {
                from_hz: positive("from_hz", 1.0),
                to_hz: positive("to_hz", 10.0),
                sweep_s: seconds(table, "sweep", 10.0),
                amplitude: or("amplitude", 1.0),
            },
            "square" => Signal::Square {
                hz: positive("hz", 1.0),
                amplitude: or("amplitude", 1.0),
                duty: table
                    .get("duty", number(0.0..=1.0))
                    .map_or(0.5, |at| at.value),
            },
            "triangle" => Signal::Triangle {
                hz: positive("hz", 1.0),
                amplitude: or("amplitude", 1.0),
            },
            "ramp" => Signal::Ramp {
                from: or("from", 0.0),
                to: or("to", 1.0),
                period_s: seconds(table, "period", 1.0),
            },
            "step" => Signal::Step {
                from: or("from", 0.0),
                to: or("to", 1.0),
                at_s: seconds(table, "at", 1.0),
            },
            "white" => Signal::White {
                amplitude: or("amplitude", 1.0),
            },
            "pink" => Signal::Pink {
                amplitude: or("amplitude", 1.0),
            },
            "walk" => Signal::Walk {
                step: or("step", 1.0),
            },
            "counter" => Signal::Counter,
            _ => self.playback(table, place)?,
        })
    }

    /// What is recorded is read when the device is started.
    fn playback(&mut self, table: &Section<'_>, (channel, part): (usize, usize)) -> Option<Signal> {
        let file = table.need("file", text);
        let column = table.need("column", text);
        let thens = [
            ("loop", Then::Loop),
            ("hold", Then::Hold),
            ("end", Then::End),
        ];
        let then = table
            .get("then", choice(&thens))
            .map_or(Then::Loop, |at| at.value);
        self.playbacks.push(Playback {
            simulator: self.simulator,
            channel,
            part,
            file: PathBuf::from(file?.value),
            column: column?.value,
        });
        Some(Signal::Playback {
            values: [].into(),
            then,
        })
    }
}

/// A time above zero, in seconds.
fn seconds(table: &Section<'_>, key: &'static str, default: f64) -> f64 {
    let limits = (Duration::from_nanos(1), Duration::from_secs(365 * 86_400));
    let found = table.get(key, duration(limits));
    found.map_or(default, |at| at.value.as_secs_f64())
}
