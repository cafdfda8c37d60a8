//! `calibration = { … }` of a channel.

use super::section::Section;
use super::values::{Wrong, any_number, choice, number, numbers, pairs, text};
use crate::stage::calibrate::{Calibration, ThermocoupleKind};

/// A calibration, and the name of the channel it needs, which is resolved when all are read.
pub(super) struct Declared {
    pub(super) calibration: Calibration,
    pub(super) cold_junction: Option<super::section::At<String>>,
}

#[derive(Clone, Copy)]
enum Kind {
    None,
    Linear,
    Polynomial,
    Table,
    Thermistor,
    Thermocouple,
}

const KINDS: [(&str, Kind); 6] = [
    ("none", Kind::None),
    ("linear", Kind::Linear),
    ("polynomial", Kind::Polynomial),
    ("table", Kind::Table),
    ("thermistor", Kind::Thermistor),
    ("thermocouple", Kind::Thermocouple),
];

const METALS: [(&str, ThermocoupleKind); 3] = [
    ("K", ThermocoupleKind::K),
    ("J", ThermocoupleKind::J),
    ("T", ThermocoupleKind::T),
];

/// What one unit is in millivolt.
const VOLTAGES: [(&str, f64); 3] = [("mV", 1.0), ("V", 1000.0), ("uV", 0.001)];

/// A channel's calibration; `None` if there is a mistake in it.
pub(super) fn read(channel: &Section<'_>) -> Option<Declared> {
    let plain = |calibration| {
        Some(Declared {
            calibration,
            cold_junction: None,
        })
    };
    if !channel.has("calibration") {
        return plain(Calibration::None);
    }
    let table = channel.table("calibration")?;
    let kind = table.need("type", choice(&KINDS))?;
    let declared = match kind.value {
        Kind::None => plain(Calibration::None),
        Kind::Linear => {
            let scale = table
                .get("scale", any_number)
                .map_or(1.0, |scale| scale.value);
            let offset = table
                .get("offset", any_number)
                .map_or(0.0, |offset| offset.value);
            plain(Calibration::Linear { scale, offset })
        }
        Kind::Polynomial => {
            let coefficients = table.need("coefficients", numbers);
            let some = coefficients.filter(|list| {
                let is_right = (1..=32).contains(&list.value.len());
                if !is_right {
                    let wrong = Wrong::new(
                        "must have 1 to 32 coefficients, the constant first",
                        "as in [0.5, 2.0]",
                    );
                    table.wrong("coefficients", list.span.clone(), &wrong);
                }
                is_right
            });
            some.and_then(|list| plain(Calibration::Polynomial(list.value)))
        }
        Kind::Table => points(&table).and_then(|points| plain(Calibration::Table(points))),
        Kind::Thermistor => {
            let coefficient = number(-1.0..=1.0);
            let a = table.need("a", &coefficient);
            let b = table.need("b", &coefficient);
            let c = table.need("c", &coefficient);
            match (a, b, c) {
                (Some(a), Some(b), Some(c)) => plain(Calibration::Thermistor {
                    a: a.value,
                    b: b.value,
                    c: c.value,
                }),
                _ => None,
            }
        }
        Kind::Thermocouple => {
            let metals = table.need("kind", choice(&METALS));
            let millivolt = table.need("from", choice(&VOLTAGES));
            let cold_junction = table.get("cold_junction", text);
            match (metals, millivolt) {
                (Some(kind), Some(millivolt)) => Some(Declared {
                    calibration: Calibration::Thermocouple {
                        kind: kind.value,
                        cold_junction: None,
                        millivolt: millivolt.value,
                    },
                    cold_junction,
                }),
                _ => None,
            }
        }
    };
    table.finish();
    declared
}

fn points(table: &Section<'_>) -> Option<Vec<(f64, f64)>> {
    let points = table.need("points", pairs)?;
    let rises = points.value.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if points.value.len() < 2 || !rises {
        let wrong = Wrong::new(
            "must have at least two points, sorted by rising x",
            "[[x, y], …], x rising",
        );
        table.wrong("points", points.span, &wrong);
        return None;
    }
    Some(points.value)
}
