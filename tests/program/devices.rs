//! Devices as they are: missing, taken, silent, noisy, unplugged. Each has its outcome, its count, its record.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kymo::clock::Clock;
use kymo_drivers::block::GapReason;
use kymo_drivers::link::serial::{Options, Serial};
use kymo_simulators::{Simulator, expected};

use super::lab::{CHAMBER, FURNACE, Lab, events, recorded, recorded_lane, wait_until};

fn serial(path: &str) -> String {
    format!(
        r#"
[source.port]
link = {{ type = "serial", path = "{path}", baud = 115200 }}
reconnect = {{ first = "5ms", max = "20ms" }}
protocol = {{ type = "lines" }}
[[source.port.channel]]
name = "a"
[[source.port.channel]]
name = "b"
[[source.port.channel]]
name = "c"
[[source.port.channel]]
name = "d"
"#
    )
}

/// A logger of its own, outside of any run.
fn logger(dir: &tempfile::TempDir) -> Simulator {
    let options = kymo_simulators::Options::new("logger", "thermocouple-logger", dir.path());
    Simulator::start(options).expect("a simulated device")
}

fn sent(channel: usize, index: u64) -> f64 {
    expected("thermocouple-logger", channel, index, 100.0, 0).expect("a channel")
}

#[test]
fn a_missing_port_is_told_once_and_awaited() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("logger");
    let mut lab = Lab::start(&serial(&path.to_string_lossy()));
    assert!(lab.wait_for("disconnected").contains("does not exist"));
    std::thread::park_timeout(Duration::from_millis(100));
    let _logger = logger(&dir);
    lab.wait_for("connected");
    wait_until("frames come", || lab.frames(0) > 5);
    let (report, data) = lab.stop();
    assert_eq!(
        report.sources.0[0].1.reconnects, 0,
        "it was never there before"
    );
    let told = events(&data.path().join("data"));
    assert_eq!(
        told.iter()
            .filter(|event| event["event"] == "disconnected")
            .count(),
        1,
        "{told:?}"
    );
}

#[test]
fn a_port_in_use_is_told_and_taken_when_it_is_free() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let logger = logger(&dir);
    let other = Serial::open(&Options::new(logger.path(), 115_200)).expect("the first to open it");
    let mut lab = Lab::start(&serial(&logger.path().to_string_lossy()));
    assert!(
        lab.wait_for("disconnected")
            .contains("in use by another process")
    );
    drop(other);
    lab.wait_for("connected");
    wait_until("frames come", || lab.frames(0) > 5);
    lab.stop();
}

#[test]
fn a_file_that_is_no_port_is_told() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut lab = Lab::start(&serial(&file.path().to_string_lossy()));
    assert!(
        lab.wait_for("disconnected")
            .contains("is not a serial port")
    );
    lab.stop();
}

#[test]
fn a_silent_device_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let logger = logger(&dir);
    logger.pause().recv().expect("it pauses");
    let mut lab = Lab::start(&serial(&logger.path().to_string_lossy()));
    assert!(
        lab.wait_for("silent")
            .contains("connected, and silent for ")
    );
    logger.resume();
    wait_until("frames come", || lab.frames(0) > 5);
    lab.stop();
}

/// As with a wrong baud rate: bytes come, and none of them makes sense.
#[test]
fn a_stream_that_never_decodes_is_told_with_a_sample_of_its_bytes() {
    let configuration = CHAMBER.replace("length = 8", "length = 12");
    let mut lab = Lab::start(&configuration);
    let told = lab.wait_for("nothing_decodes");
    assert!(
        told.contains("is the baud rate right, and the protocol?"),
        "{told}"
    );
    let sample = told.split("They begin ").nth(1).expect("a sample");
    let bytes: Vec<&str> = sample.split(' ').collect();
    assert!(
        bytes.len() >= 8
            && bytes
                .iter()
                .all(|byte| u8::from_str_radix(byte, 16).is_ok()),
        "{told}"
    );
    let (report, _) = lab.stop();
    let source = &report.sources.0[0].1;
    assert_eq!(source.frames, 0);
    assert!(
        source.corrupt_frames > 0 || source.skipped_bytes > 0,
        "{source:?}"
    );
}

/// Another device's neighbour sends rubbish, loses frames and corrupts them; each is counted apart, and the
/// neighbour does not notice.
#[test]
fn noise_losses_and_corruption_are_counted_apart_and_disturb_no_other() {
    let lab = Lab::start(&format!("{CHAMBER}{FURNACE}"));
    let (chamber, furnace) = (lab.simulator(0), lab.simulator(1));
    wait_until("frames come", || lab.frames(0) > 100 && lab.frames(1) > 10);
    chamber.skip(7);
    wait_until("more come", || lab.frames(0) > 200);
    chamber.corrupt_next(3);
    wait_until("more come", || lab.frames(0) > 300);
    chamber.inject(
        (0..5000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect::<Vec<u8>>(),
    );
    wait_until("more come", || lab.frames(0) > 600);
    let truth = chamber.pause().recv().expect("it pauses");
    furnace.pause().recv().expect("it pauses");
    wait_until("the rest is read", || {
        lab.frames(0) + 3 >= truth.frames_sent
    });
    let (report, dir) = lab.stop();
    let source = &report.sources.0[0].1;
    assert_eq!(source.lost_by_device, 7, "{source:?}");
    assert!(source.corrupt_frames >= 3, "{source:?}");
    assert_eq!(source.frames, truth.frames_sent - truth.frames_corrupted);
    let found = recorded(&dir.path().join("data"), 0);
    assert_eq!(found.times_ns.len() as u64, source.frames);
    let lost: u64 = found
        .gaps
        .iter()
        .filter(|gap| gap.reason == GapReason::DeviceCounter)
        .filter_map(|gap| gap.frames)
        .sum();
    assert_eq!(lost, 7, "{:?}", found.gaps);
    assert!(
        found
            .gaps
            .iter()
            .any(|gap| gap.reason == GapReason::Corrupt),
        "{:?}",
        found.gaps
    );
    let neighbour = &report.sources.0[1].1;
    assert_eq!((neighbour.corrupt_frames, neighbour.skipped_bytes), (0, 0));
    let neighbour = recorded(&dir.path().join("data"), 1);
    for (index, value) in (0..).zip(&neighbour.columns[2]) {
        assert_eq!(*value, sent(2, index));
    }
}

/// Lines that no instrument should send.
#[test]
fn text_of_any_kind_costs_no_good_line() {
    let lab = Lab::start(FURNACE);
    let furnace = lab.simulator(0);
    wait_until("frames come", || lab.frames(0) > 5);
    let mut rubbish = vec![b'7'; 1 << 20];
    rubbish.push(b'\n');
    rubbish.extend_from_slice(b"nan,inf,-inf,1e400\n");
    rubbish.extend_from_slice(b"1,2,3\n1,2,3,4,5\n1,2,,4\nA,B,C,D\n");
    rubbish.extend_from_slice(b"1,2,\xff\xfe,4\n\n\r\n");
    furnace.inject(rubbish);
    wait_until("more come", || lab.frames(0) > 40);
    let truth = furnace.pause().recv().expect("it pauses");
    wait_until("the rest is read", || lab.frames(0) > truth.frames_sent);
    let (report, dir) = lab.stop();
    // The megabyte, and five lines that do not hold four numbers.
    assert_eq!(report.sources.0[0].1.corrupt_frames, 6);
    let found = recorded(&dir.path().join("data"), 0);
    let odd = found.columns[0]
        .iter()
        .position(|value| value.is_nan())
        .expect("the line of nan and inf");
    assert_eq!(found.columns[1][odd], f64::INFINITY);
    assert_eq!(found.columns[2][odd], f64::NEG_INFINITY);
    let mut wall = found.columns[2].clone();
    wall.remove(odd);
    for (index, value) in (0..).zip(&wall) {
        assert_eq!(*value, sent(2, index));
    }
}

#[test]
fn a_pulled_cable_is_a_gap_and_the_device_is_found_again() {
    let mut lab = Lab::start(FURNACE);
    lab.wait_for("connected");
    wait_until("frames come", || lab.frames(0) > 20);
    lab.simulator(0).unplug().expect("the cable is pulled");
    lab.wait_for("disconnected");
    std::thread::park_timeout(Duration::from_millis(150));
    let before = lab.frames(0);
    lab.simulator(0).replug().expect("the cable is plugged in");
    lab.wait_for("connected");
    wait_until("frames come again", || lab.frames(0) > before + 20);
    let (report, dir) = lab.stop();
    assert_eq!(report.sources.0[0].1.reconnects, 1);
    let found = recorded(&dir.path().join("data"), 0);
    let cable: Vec<_> = found
        .gaps
        .iter()
        .filter(|gap| gap.reason == GapReason::Disconnected)
        .collect();
    assert_eq!(cable.len(), 1, "{:?}", found.gaps);
    let length = cable[0].to_ns - cable[0].from_ns;
    assert!(length >= 150_000_000, "{length} ns");
    assert_eq!(cable[0].frames, None, "nobody knows how many");
    assert!(found.times_ns.contains(&cable[0].from_ns) && found.times_ns.contains(&cable[0].to_ns));
    assert!(found.times_ns.is_sorted_by(|a, b| a < b));
}

/// A frame whose channels differ in priority is split: each lane has every frame, at the same times, with
/// the same gaps.
#[test]
fn a_source_with_channels_of_two_priorities_is_split() {
    let configuration = FURNACE.replace(
        "name = \"wall\"",
        "name = \"wall\"\npriority = \"critical\"",
    );
    let mut lab = Lab::start(&configuration);
    wait_until("frames come", || lab.frames(0) > 20);
    lab.simulator(0).unplug().expect("the cable is pulled");
    lab.wait_for("disconnected");
    lab.simulator(0).replug().expect("the cable is plugged in");
    let before = lab.frames(0);
    wait_until("frames come again", || lab.frames(0) > before + 20);
    let (report, dir) = lab.stop();
    let data = dir.path().join("data");
    let (urgent, rest) = (recorded_lane(&data, 0, 0), recorded_lane(&data, 0, 1));
    assert_eq!((urgent.columns.len(), rest.columns.len()), (1, 3));
    assert_eq!(urgent.times_ns.len() as u64, report.sources.0[0].1.frames);
    assert_eq!(urgent.times_ns, rest.times_ns);
    let cable = |gaps: &[kymo_drivers::block::Gap]| {
        let gap = gaps
            .iter()
            .find(|gap| gap.reason == GapReason::Disconnected);
        gap.map(|gap| (gap.from_ns, gap.to_ns))
    };
    assert!(cable(&urgent.gaps).is_some());
    assert_eq!(cable(&urgent.gaps), cable(&rest.gaps));
    for index in 0..20 {
        let frame = usize::try_from(index).expect("small");
        assert_eq!(urgent.columns[0][frame], sent(2, index));
        assert_eq!(rest.columns[2][frame], sent(3, index));
    }
}

/// The device's own value is kept beside the calibrated one, and counts as a sample.
#[test]
fn a_raw_value_is_kept_beside_the_calibrated_one() {
    let configuration = FURNACE.replace(
        "name = \"sample\"",
        "name = \"sample\"\nraw = true\nraw_unit = \"mV\"\ncalibration = { type = \"linear\", scale = 2, offset = 1 }",
    );
    let lab = Lab::start(&configuration);
    wait_until("frames come", || lab.frames(0) > 20);
    let names: Vec<&str> = lab.run.plan().sources[0]
        .channels
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["heater", "sample", "wall", "terminal", "sample.raw"]
    );
    let (report, dir) = lab.stop();
    let source = &report.sources.0[0].1;
    assert_eq!(source.samples, source.frames * 5);
    let found = recorded(&dir.path().join("data"), 0);
    for (index, (value, raw)) in (0..).zip(found.columns[1].iter().zip(&found.columns[4])) {
        assert_eq!(*raw, sent(1, index));
        assert_eq!(*value, raw * 2.0 + 1.0);
    }
}

/// The wall clock is set back by an hour in the middle of a run.
#[test]
fn a_clock_that_steps_back_turns_no_time_back() {
    let step = Arc::new(AtomicI64::new(0));
    let mut lab = Lab::start_with(FURNACE, Clock::with_wall_step(Arc::clone(&step)));
    wait_until("frames come", || lab.frames(0) > 10);
    assert_eq!(lab.run.watch(), None);
    step.store(-3_600_000_000_000, Ordering::Relaxed);
    assert_eq!(lab.run.watch(), None);
    assert!(lab.wait_for("clock_stepped").contains("-3600.0"));
    let before = lab.frames(0);
    wait_until("frames go on", || lab.frames(0) > before + 10);
    let (_, dir) = lab.stop();
    let found = recorded(&dir.path().join("data"), 0);
    assert!(found.times_ns.is_sorted_by(|a, b| a < b));
    let whole = found.times_ns[found.times_ns.len() - 1] - found.times_ns[0];
    assert!(whole < 60_000_000_000, "no hour has passed: {whole} ns");
}
