//! A navigation receiver on a pseudo-terminal, sentences and binary messages in one stream.

use kymo_simulators::expected;

use super::lab::{Lab, recorded, wait_until};

const RATE_HZ: f64 = 50.0;

const RECEIVER: &str = r#"
[source.gnss]
link = { type = "simulator", device = "receiver" }
reconnect = { first = "5ms", max = "20ms" }
[source.gnss.protocol]
type = "ubx"
last = "NAV-PVT"
[[source.gnss.channel]]
name = "time"
unit = "s"
field = "RMC.time"
[[source.gnss.channel]]
name = "date"
unit = "d"
field = "RMC.date"
[[source.gnss.channel]]
name = "latitude"
unit = "deg"
field = "GNGGA.latitude"
[[source.gnss.channel]]
name = "longitude"
unit = "deg"
field = { sentence = "GNGGA", index = 4, type = "longitude" }
[[source.gnss.channel]]
name = "altitude"
unit = "m"
field = "GGA.altitude"
[[source.gnss.channel]]
name = "speed"
unit = "[kn_i]"
field = "RMC.speed_kn"
[[source.gnss.channel]]
name = "course"
unit = "deg"
field = "RMC.course"
[[source.gnss.channel]]
name = "hdop"
field = "GSA.hdop"
[[source.gnss.channel]]
name = "in_view"
field = "GSV.in_view"
[[source.gnss.channel]]
name = "tracked"
field = "GSV.tracked"
[[source.gnss.channel]]
name = "strongest"
unit = "dB[Hz]"
field = "GSV.snr_max"
[[source.gnss.channel]]
name = "pvt_latitude"
unit = "deg"
field = "NAV-PVT.latitude"
[simulator.receiver]
device = "gnss-receiver"
rate_hz = 50
"#;

/// Every epoch recorded is the next one of the device's, value for value, but for those that are missing.
#[track_caller]
fn check(columns: &[Vec<f64>], missing: &[u64]) -> u64 {
    let count = columns[0].len();
    let mut index = 0;
    for row in 0..count {
        while missing.contains(&index) {
            index += 1;
        }
        for (channel, column) in columns.iter().enumerate() {
            let sent = expected("gnss-receiver", channel, index, RATE_HZ, 0);
            assert_eq!(
                Some(column[row]),
                sent,
                "channel {channel} of epoch {index}"
            );
        }
        index += 1;
    }
    index
}

#[test]
fn every_epoch_of_a_receiver_is_recorded_as_it_was_sent() {
    let lab = Lab::start(RECEIVER);
    wait_until("a hundred epochs", || lab.frames(0) >= 100);
    let (report, dir) = lab.stop();
    let recorded = recorded(&dir.path().join("data"), 0);
    assert_eq!(recorded.columns.len(), 12);
    assert!(recorded.columns[0].len() >= 100);
    check(&recorded.columns, &[]);
    let source = &report.sources.0[0].1;
    // Comments are skipped; a part of an epoch that the end of the run cut off, too.
    assert!(source.skipped_bytes >= 23 * 10, "{source:?}");
    assert_eq!(source.corrupt_frames, 0, "{source:?}");
    assert_eq!(recorded.gaps, []);
}

#[test]
fn a_receiver_pulled_out_and_plugged_in_again_goes_on_with_the_next_whole_epoch() {
    let mut lab = Lab::start(RECEIVER);
    wait_until("some epochs", || lab.frames(0) >= 20);
    lab.simulator(0).unplug().expect("it is pulled out");
    lab.wait_for("disconnected");
    let before = lab.frames(0);
    lab.simulator(0).replug().expect("it is plugged in");
    wait_until("more epochs", || lab.frames(0) >= before + 30);
    let truth = lab.simulator(0).truth();
    let (report, dir) = lab.stop();
    let recorded = recorded(&dir.path().join("data"), 0);
    // Which are missing shows in their times; each of the others is whole.
    let time = |index: u64| expected("gnss-receiver", 0, index, RATE_HZ, 0);
    let present: Vec<u64> = (0..truth.next_index + 200)
        .filter(|index| {
            recorded.columns[0]
                .iter()
                .any(|found| Some(*found) == time(*index))
        })
        .collect();
    let end = present.last().map_or(0, |last| last + 1);
    let missing: Vec<u64> = (0..end).filter(|index| !present.contains(index)).collect();
    assert_eq!(check(&recorded.columns, &missing), end);
    assert_eq!(report.sources.0[0].1.reconnects, 1);
    assert_eq!(recorded.gaps.len(), 1, "{:?}", recorded.gaps);
}
