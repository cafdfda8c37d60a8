//! Devices that speak only when they are asked, through pseudo-terminals, into the journal.

mod python;

use std::time::Duration;

use kymo_drivers::block::GapReason;
use kymo_simulators::expected;

use super::lab::{Lab, recorded, wait_until};

/// Three meters of which the third channel's unit is dead.
const METERS: &str = r#"
[source.meters]
link = { type = "simulator", device = "meters" }
reconnect = { first = "5ms", max = "20ms" }
[source.meters.protocol]
type = "modbus"
cycle = "20ms"
timeout = "250ms"
backoff = { first = "1s", max = "10s" }
table = "input"
[[source.meters.channel]]
name = "volts"
register = { unit = 1, at = 0, type = "f32" }
[[source.meters.channel]]
name = "amperes"
register = { unit = 1, at = 2, type = "f32", order = "CDAB" }
[[source.meters.channel]]
name = "watts"
register = { unit = 1, at = 4, type = "i32", order = "BADC" }
[[source.meters.channel]]
name = "energy"
register = { unit = 1, at = 6, type = "u64", order = "GHEFCDAB" }
[[source.meters.channel]]
name = "frequency"
register = { unit = 1, at = 10 }
[[source.meters.channel]]
name = "count"
register = { unit = 1, at = 11 }
[[source.meters.channel]]
name = "dead"
register = { unit = 9, at = 0 }
[simulator.meters]
device = "power-meters"
seed = 4
"#;

const MULTIMETER: &str = r#"
[source.dmm]
link = { type = "simulator", device = "dmm" }
reconnect = { first = "5ms", max = "20ms" }
[source.dmm.protocol]
type = "scpi"
cycle = "20ms"
timeout = "500ms"
identity = "^KYMO,DMM-6,"
start = ["CONF:VOLT:DC 10"]
backoff = { first = "20ms", max = "100ms" }
[[source.dmm.channel]]
name = "volts"
query = { ask = "MEAS:ALL?", value = 0 }
[[source.dmm.channel]]
name = "amperes"
query = { ask = "MEAS:ALL?", value = 1 }
[[source.dmm.channel]]
name = "count"
query = { ask = "MEAS:ALL?", value = 3 }
[simulator.dmm]
device = "multimeter"
seed = 7
"#;

/// Every answered row is what the device measured at the count that it says; returns how many there are.
#[track_caller]
fn expect_true(
    columns: &[Vec<f64>],
    count: usize,
    device: &str,
    seed: u64,
    channels: &[(usize, usize)],
) -> usize {
    let answered = (0..columns[count].len()).filter(|row| !columns[count][*row].is_nan());
    let mut rows = 0;
    for row in answered {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = columns[count][row] as u64;
        for &(column, channel) in channels {
            let right = expected(device, channel, index, 0.0, seed);
            assert_eq!(
                Some(columns[column][row]),
                right,
                "row {row}, channel {channel}"
            );
        }
        rows += 1;
    }
    rows
}

/// The meters' channels are the simulator's first six.
const SAME: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)];

#[test]
fn power_meters_are_read_value_for_value_beside_a_dead_one_and_through_a_pulled_cable() {
    let mut lab = Lab::start(METERS);
    lab.wait_for("connected");
    assert!(lab.wait_for("note").contains("unit 9 does not answer"));
    wait_until("frames come", || lab.frames(0) > 20);
    lab.simulator(0).corrupt_next(2);
    lab.simulator(0).disguise_next(1);
    lab.simulator(0).skip(1);
    lab.simulator(0).delay_next(1, Duration::from_millis(400));
    let before = lab.frames(0);
    wait_until("frames come on", || lab.frames(0) > before + 40);
    lab.simulator(0).unplug().expect("the cable is pulled");
    lab.wait_for("disconnected");
    lab.simulator(0).replug().expect("the cable is plugged in");
    let before = lab.frames(0);
    wait_until("frames come again", || lab.frames(0) > before + 20);
    let (report, dir) = lab.stop();
    let source = &report.sources.0[0].1;
    assert_eq!(source.reconnects, 1);
    assert!(source.unanswered > 2, "{source:?}");
    let found = recorded(&dir.path().join("data"), 0);
    // Of unit 1 the seed is the device's and 1.
    let rows = expect_true(&found.columns, 5, "power-meters", 5, &SAME);
    assert!(rows > 40, "{rows} of {}", found.times_ns.len());
    assert!(found.columns[6].iter().all(|value| value.is_nan()));
    assert!(found.times_ns.is_sorted_by(|a, b| a < b));
    let cable = found
        .gaps
        .iter()
        .filter(|gap| gap.reason == GapReason::Disconnected);
    assert_eq!(cable.count(), 1);
}

#[test]
fn a_multimeter_is_queried_value_for_value_whatever_becomes_of_its_answers() {
    let mut lab = Lab::start(MULTIMETER);
    lab.wait_for("connected");
    wait_until("frames come", || lab.frames(0) > 10);
    lab.simulator(0).disguise_next(1);
    let before = lab.frames(0);
    wait_until("frames come on", || lab.frames(0) > before + 10);
    lab.simulator(0).delay_next(1, Duration::from_millis(750));
    let before = lab.frames(0);
    wait_until("frames come on", || lab.frames(0) > before + 20);
    lab.simulator(0).unplug().expect("the cable is pulled");
    lab.wait_for("disconnected");
    lab.simulator(0).replug().expect("the cable is plugged in");
    let before = lab.frames(0);
    wait_until("frames come again", || lab.frames(0) > before + 10);
    let (report, dir) = lab.stop();
    let source = &report.sources.0[0].1;
    assert!(
        source.corrupt_frames >= 1 && source.unanswered >= 1,
        "{source:?}"
    );
    let found = recorded(&dir.path().join("data"), 0);
    let rows = expect_true(
        &found.columns,
        2,
        "multimeter",
        7,
        &[(0, 0), (1, 1), (2, 3)],
    );
    assert!(rows > 25, "{rows} of {}", found.times_ns.len());
}
