//! A 24-bit converter board on a pseudo-terminal: arrays, constants, bit fields, a timestamp that wraps, a slow clock.

use kymo_simulators::expected;

use crate::lab::{Lab, recorded, wait_until};

const CHANNELS: usize = 4;
const READINGS: usize = 8;

/// Its clock is slow by 2000 ppm, as no crystal is, so that it shows within seconds.
const BOARD: &str = r#"
[source.board]
rate_hz = 4000
keep_raw_time = true
link = { type = "simulator", device = "board" }
[source.board.protocol]
type = "packet"
sync = "AD 24"
length = 106
order = "big"
constant = [{ at = 2, bytes = "01" }]
counter = { at = 3, type = "u8" }
timestamp = { at = 4, type = "u24", hz = 1_000_000 }
array = { frames = 8 }
checksum = { kind = "CRC-16/IBM-3740", from = 0, to = -2, at = -2 }
[[source.board.channel]]
name = "a"
field = { at = 8, type = "i24" }
[[source.board.channel]]
name = "b"
field = { at = 11, type = "i24" }
[[source.board.channel]]
name = "c"
field = { at = 14, type = "i24" }
[[source.board.channel]]
name = "d"
field = { at = 17, type = "i24" }
[[source.board.channel]]
name = "range"
field = { at = 7, type = "u8", bit = 0, bits = 4, once = true }
[[source.board.channel]]
name = "gain"
field = { at = 7, type = "u8", bit = 4, bits = 3, once = true }
[simulator.board]
device = "adc-board"
drift_ppm = 2000
seed = 5
"#;

#[test]
fn a_converter_board_is_decoded_value_for_value_and_dated_by_its_own_clock() {
    let lab = Lab::start(BOARD);
    // The longer it is looked at, the less a late read says of the pace: the first seconds suffice on an idle machine.
    wait_until("the pace of its clock is known", || {
        let board = lab.run.ledger().sources().next().map(|s| s.snapshot());
        let drift_ppm = board.and_then(|board| board.clock).map(|c| c.drift_ppm);
        lab.frames(0) >= 12_000 && drift_ppm.is_some_and(|ppm| (1_500.0..2_500.0).contains(&ppm))
    });
    let (report, dir) = lab.stop();

    let board = recorded(&dir.path().join("data"), 0);
    assert_eq!(board.columns.len(), CHANNELS + 3);
    let frames = board.times_ns.len();
    assert!(
        frames >= 12_000 && frames.is_multiple_of(READINGS),
        "{frames}"
    );
    let status = CHANNELS * READINGS;
    for frame in 0..frames {
        let (packet, reading) = ((frame / READINGS) as u64, frame % READINGS);
        let sent =
            |place| expected("adc-board", place, packet, 500.0, 5).expect("there is such a value");
        for channel in 0..CHANNELS {
            let place = reading * CHANNELS + channel;
            assert_eq!(
                board.columns[channel][frame],
                sent(place),
                "{channel} of {frame}"
            );
        }
        let bits = sent(status);
        assert_eq!(
            board.columns[4][frame] + 16.0 * board.columns[5][frame],
            bits,
            "{frame}"
        );
    }
    assert!(board.gaps.is_empty(), "{:?}", board.gaps);

    // The timer wrapped a second after it began; times went on evenly.
    assert!(board.times_ns.windows(2).all(|pair| pair[0] < pair[1]));
    let source = &report.sources.0[0].1;
    let clock = source.clock.expect("it has a timestamp, so it is fitted");
    assert!((1_000.0..3_000.0).contains(&clock.drift_ppm), "{clock:?}");
    assert!(clock.reads > 100, "{clock:?}");
    let json = serde_json::to_value(&report).expect("a report is JSON");
    let clock = &json["sources"]["board"]["clock"];
    assert!(
        clock["drift_ppm"].is_f64() && clock["jitter_us"]["p99"].is_f64(),
        "{clock}"
    );

    // What was added to each raw time is there: the raw time of a packet is that of its read, late as that was.
    let offsets = &board.columns[6];
    assert!(offsets.iter().all(|offset| offset.abs() < 60.0));
    let late = offsets.iter().filter(|offset| **offset > -1e-3).count();
    assert!(
        late > frames / 2,
        "reads are late, and not early: {late} of {frames}"
    );
}

#[test]
fn packets_lost_before_the_host_saw_them_are_as_many_frames_as_they_held() {
    let lab = Lab::start(BOARD);
    wait_until("some readings", || lab.frames(0) >= 800);
    lab.simulator(0).skip(3);
    let so_far = lab.frames(0);
    wait_until("more of them", || lab.frames(0) >= so_far + 800);
    lab.simulator(0).corrupt_next(1);
    let so_far = lab.frames(0);
    wait_until("still more of them", || lab.frames(0) >= so_far + 800);
    let (report, dir) = lab.stop();
    let source = &report.sources.0[0].1;
    assert_eq!(source.lost_by_device, 24);
    assert_eq!(source.corrupt_frames, 1);
    let board = recorded(&dir.path().join("data"), 0);
    let missing: Vec<Option<u64>> = board.gaps.iter().map(|gap| gap.frames).collect();
    assert_eq!(missing, [Some(24), Some(8)]);
    // Between two frames that are there, side by side.
    for gap in &board.gaps {
        let behind = board
            .times_ns
            .partition_point(|time_ns| *time_ns <= gap.from_ns);
        assert_eq!(
            board.times_ns[behind - 1..=behind],
            [gap.from_ns, gap.to_ns]
        );
    }
}
