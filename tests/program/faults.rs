//! Faults of simulated devices, one at a time: what the ledger says was lost, corrupt or skipped is what the simulator's own log says it
//! did, and every good frame arrived, value for value.
//!
//! The device sends packets of 15 bytes, sync bytes `A5 5A C3`, counter, the frame number again as a channel, a value, CRC-32: so every
//! frame that arrives says which it is, and no damage passes for a frame. It falls silent after its last frame, so that what it did
//! is over when it is compared; and its schedule is by its own clock, so that it does the same in every run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kymo_drivers::block::GapReason;
use kymo_simulators::FAULTS;
use serde_json::Value;
use tempfile::TempDir;

use super::lab::{Lab, Recorded, recorded, wait_until};
use kymo::ledger::SourceReport;

/// A device that sends 2000 frames a second, and what goes wrong with it.
fn rig(log: &Path, frames: u64, more: &str) -> String {
    format!(
        r#"
[source.rig]
link = {{ type = "simulator", device = "rig" }}
reconnect = {{ first = "2ms", max = "5ms" }}
{}
[source.rig.protocol]
type = "packet"
sync = "A5 5A C3"
length = 15
counter = {{ at = 3, type = "u16" }}
checksum = {{ kind = "CRC-32/ISO-HDLC", from = 3, to = -4, at = -4 }}
[[source.rig.channel]]
name = "number"
field = {{ at = 5, type = "u32" }}
[[source.rig.channel]]
name = "level"
field = {{ at = 9, type = "i16" }}

[simulator.rig]
device = "packets"
rate_hz = 2000
seed = 11
frames = {frames}
truth = "{}"
truth_values = true
sync = "A5 5A C3"
counter = "u16"
checksum = "CRC-32/ISO-HDLC"
[[simulator.rig.channel]]
name = "number"
type = "u32"
signal = {{ type = "counter" }}
[[simulator.rig.channel]]
name = "level"
type = "i16"
signal = [{{ type = "sine", hz = 3, amplitude = 9000 }}, {{ type = "white", amplitude = 50 }}]
{}
"#,
        if more.contains("clock_drift") {
            "rate_hz = 2000\ntime = \"fitted\""
        } else {
            ""
        },
        log.display(),
        more
    )
}

const SYNC: [u8; 3] = [0xA5, 0x5A, 0xC3];
const LENGTH: usize = 15;

/// What the simulator's log says.
#[derive(Debug, Default)]
struct Truth {
    /// Values of the frames that went out as they were encoded, by number.
    intact: BTreeMap<u64, Vec<f64>>,
    /// Frames that were changed.
    hits: Vec<Hit>,
    /// What was done to the device.
    faults: Vec<Value>,
    /// When each frame went out.
    times_s: BTreeMap<u64, f64>,
    /// The counts at the end.
    end: Value,
}

#[derive(Debug)]
struct Hit {
    number: u64,
    values: Vec<f64>,
    at: Vec<usize>,
    sent: Vec<u8>,
    noise: Vec<u8>,
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hexadecimal");
    let pairs = text.as_bytes().chunks(2);
    let pairs = pairs.map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal"))
        .collect()
}

fn values(value: &Value) -> Vec<f64> {
    let values = value["values"].as_array().expect("values");
    values
        .iter()
        .map(|v| v.as_f64().expect("a number"))
        .collect()
}

fn truth(log: &Path) -> Truth {
    let text = std::fs::read_to_string(log).expect("the log is there");
    let mut truth = Truth::default();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let number = |value: &Value| value["number"].as_u64().expect("a number");
        let mut seen = |value: &Value| {
            let at_s = value["at_s"].as_f64().expect("a time");
            truth.times_s.insert(number(value), at_s);
        };
        if let Some(frame) = line.get("frame") {
            seen(frame);
            let before = truth.intact.insert(number(frame), values(frame));
            assert_eq!(before, None, "each frame is told once");
        } else if let Some(hit) = line.get("hit") {
            seen(hit);
            let places = hit["faults"][0]["at"].as_array().expect("places");
            let places = places.iter().filter_map(Value::as_u64);
            truth.hits.push(Hit {
                number: number(hit),
                values: values(hit),
                at: places
                    .map(|at| usize::try_from(at).expect("small"))
                    .collect(),
                sent: bytes(&hit["sent"]),
                noise: bytes(&hit["noise"]),
            });
        } else if let Some(fault) = line.get("fault") {
            truth.faults.push(fault.clone());
        } else if let Some(end) = line.get("end") {
            truth.end = end.clone();
        }
    }
    assert!(!truth.end.is_null(), "the log has an end: {text}");
    truth
}

impl Truth {
    fn count(&self, name: &str) -> u64 {
        self.end[name].as_u64().expect("a count")
    }

    fn times(&self, fault: &str) -> u64 {
        self.end["faults"][fault].as_u64().unwrap_or(0)
    }
}

/// What came of it.
struct Outcome {
    truth: Truth,
    ledger: SourceReport,
    found: Recorded,
    _dir: TempDir,
}

/// Lets the device send all its frames, and reads every byte of them.
fn run(frames: u64, fault: &str) -> Outcome {
    run_until(frames, fault, |lab| {
        lab.run.ledger().sources().next().expect("a source").bytes()
            == lab.simulator(0).truth().bytes_sent
    })
}

fn run_until(frames: u64, fault: &str, is_read: impl Fn(&Lab) -> bool) -> Outcome {
    let logs = tempfile::tempdir().expect("a temporary directory");
    let log = logs.path().join("rig.jsonl");
    let lab = Lab::start(&rig(&log, frames, fault));
    wait_until("the device has sent everything", || {
        let truth = lab.simulator(0).truth();
        let all = truth.frames_sent + truth.frames_missed + truth.frames_skipped;
        truth.next_index >= frames && all == truth.next_index
    });
    wait_until("everything was read", || is_read(&lab));
    let (report, dir) = lab.stop();
    let truth = truth(&log);
    let ledger = report.sources.0.into_iter().next().expect("a source").1;
    let dropped = ledger.dropped.values().filter_map(Value::as_u64);
    assert_eq!(dropped.sum::<u64>(), 0, "{ledger:?}");
    let found = recorded(&dir.path().join("data"), 0);
    assert_eq!(found.times_ns.len() as u64, ledger.frames);
    Outcome {
        truth,
        ledger,
        found,
        _dir: dir,
    }
}

impl Outcome {
    /// The numbers of the frames that arrived; each with the values that were sent.
    fn arrived(&self) -> BTreeSet<u64> {
        let rows = self.found.columns[0].iter().zip(&self.found.columns[1]);
        let mut arrived = BTreeSet::new();
        for (number, level) in rows {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let index = *number as u64;
            let hits = || self.truth.hits.iter().find(|hit| hit.number == index);
            let sent = self.truth.intact.get(&index);
            let sent = sent.or_else(|| hits().map(|hit| &hit.values));
            assert_eq!(sent, Some(&vec![*number, *level]), "frame {index}");
            assert!(arrived.insert(index), "frame {index} came twice");
        }
        arrived
    }

    /// Every frame that was sent whole arrived, and of those that were hit the ones given.
    #[track_caller]
    fn expect_arrived(&self, hit: impl IntoIterator<Item = u64>) {
        let mut wanted: BTreeSet<u64> = self.truth.intact.keys().copied().collect();
        wanted.extend(hit);
        assert_eq!(self.arrived(), wanted);
    }

    /// What the ledger has of damage: corrupt frames, skipped bytes, frames lost by the device.
    #[track_caller]
    fn expect_damage(&self, corrupt: usize, skipped: usize) {
        let found = (self.ledger.corrupt_frames, self.ledger.skipped_bytes);
        assert_eq!(found, (corrupt as u64, skipped as u64), "{:?}", self.ledger);
    }

    /// The frames that the device's counter shows to be missing and that never came in any form.
    #[track_caller]
    fn expect_lost(&self, frames: u64) {
        assert_eq!(self.ledger.lost_by_device, frames, "{:?}", self.ledger);
        assert_eq!(self.ledger.reconnects, 0);
    }

    /// Frames that stand in gaps for these reasons.
    fn in_gaps(&self, reasons: &[GapReason]) -> u64 {
        let gaps = self.found.gaps.iter();
        gaps.filter(|gap| reasons.contains(&gap.reason))
            .filter_map(|gap| gap.frames)
            .sum()
    }
}

/// Whether the bytes look like a packet from their beginning.
fn looks_whole(sent: &[u8]) -> bool {
    sent.starts_with(&SYNC)
}

#[test]
fn lost_bytes_cost_their_frames_and_no_others() {
    let outcome = run(
        1200,
        "[[simulator.rig.fault]]\nkind = \"byte_loss\"\nat = \"20ms\"\nevery = \"7ms\"\nbytes = 2",
    );
    let hits = &outcome.truth.hits;
    assert_eq!(hits.len(), outcome.truth.times("byte_loss") as usize);
    assert!(hits.len() > 75, "{}", hits.len());
    assert!(hits.iter().all(|hit| hit.sent.len() == LENGTH - 2));
    // What still begins as a packet is a corrupt one; of what does not, every byte is skipped.
    let (corrupt, gone): (Vec<&Hit>, Vec<&Hit>) =
        hits.iter().partition(|hit| looks_whole(&hit.sent));
    assert!(!corrupt.is_empty() && !gone.is_empty());
    outcome.expect_damage(corrupt.len(), gone.len() * (LENGTH - 2));
    outcome.expect_lost(gone.len() as u64);
    outcome.expect_arrived([]);
    let gaps = outcome.in_gaps(&[GapReason::Corrupt, GapReason::DeviceCounter]);
    assert_eq!(gaps, hits.len() as u64, "each is a gap of one frame");
}

#[test]
fn flipped_bits_cost_their_frames_and_no_others() {
    let outcome = run(
        1200,
        "[[simulator.rig.fault]]\nkind = \"bit_flips\"\nevery = \"9ms\"\n\
         [[simulator.rig.fault]]\nkind = \"bit_flips\"\nat = \"150ms\"\nduration = \"100ms\"\nprobability = 0.004",
    );
    let hits = &outcome.truth.hits;
    let changed: usize = hits.iter().map(|hit| hit.at.len()).sum();
    assert!(hits.len() > 60 && changed >= hits.len(), "{hits:?}");
    assert_eq!(hits.len() as u64, outcome.truth.count("frames_hit"));
    let (corrupt, gone): (Vec<&Hit>, Vec<&Hit>) =
        hits.iter().partition(|hit| looks_whole(&hit.sent));
    outcome.expect_damage(corrupt.len(), gone.len() * LENGTH);
    outcome.expect_lost(gone.len() as u64);
    outcome.expect_arrived([]);
}

#[test]
fn a_doubled_byte_costs_its_frame_unless_it_stands_at_an_end_of_it() {
    let outcome = run(
        1200,
        "[[simulator.rig.fault]]\nkind = \"doubled_bytes\"\nevery = \"5ms\"",
    );
    let hits = &outcome.truth.hits;
    assert!(hits.len() > 100, "{}", hits.len());
    let (mut corrupt, mut skipped, mut whole, mut gone) = (0, 0, Vec::new(), 0);
    for hit in hits {
        let [place] = hit.at[..] else {
            panic!("one byte: {hit:?}");
        };
        let mut original = hit.sent.clone();
        original.remove(place);
        if hit.sent.starts_with(&original) || hit.sent.ends_with(&original) {
            // The packet, and a byte that belongs to none.
            whole.push(hit.number);
            skipped += 1;
        } else if looks_whole(&hit.sent) {
            // A corrupt packet, and a byte behind it.
            corrupt += 1;
            skipped += 1;
        } else {
            gone += 1;
            skipped += LENGTH + 1;
        }
    }
    assert!(!whole.is_empty() && corrupt > 0 && gone > 0, "{hits:?}");
    outcome.expect_damage(corrupt, skipped);
    outcome.expect_lost(gone);
    outcome.expect_arrived(whole);
}

#[test]
fn a_frame_cut_off_costs_no_other() {
    let outcome = run(
        1200,
        "[[simulator.rig.fault]]\nkind = \"truncated_frames\"\nat = \"11ms\"\nevery = \"6ms\"",
    );
    let hits = &outcome.truth.hits;
    assert!(hits.len() > 90, "{}", hits.len());
    let (corrupt, gone): (Vec<&Hit>, Vec<&Hit>) =
        hits.iter().partition(|hit| looks_whole(&hit.sent));
    assert!(!corrupt.is_empty() && !gone.is_empty());
    let skipped = gone.iter().map(|hit| hit.sent.len()).sum();
    outcome.expect_damage(corrupt.len(), skipped);
    outcome.expect_lost(gone.len() as u64);
    outcome.expect_arrived([]);
}

#[test]
fn a_burst_of_noise_is_skipped_to_the_byte_and_costs_no_frame() {
    let outcome = run(
        1200,
        "[[simulator.rig.fault]]\nkind = \"burst\"\nmean_every = \"8ms\"\nbytes = 50",
    );
    let hits = &outcome.truth.hits;
    assert!(hits.len() > 30, "{}", hits.len());
    assert!(
        hits.iter()
            .all(|hit| hit.noise.len() == 50 && hit.sent.len() == LENGTH)
    );
    let looks = |hit: &Hit| hit.noise.windows(3).any(|bytes| bytes == SYNC);
    assert!(
        !hits.iter().any(looks),
        "another seed: this noise looks like a packet"
    );
    outcome.expect_damage(0, hits.len() * 50);
    outcome.expect_lost(0);
    outcome.expect_arrived(hits.iter().map(|hit| hit.number));
}

#[test]
fn a_jump_of_the_counter_is_a_loss_of_as_many_frames() {
    let outcome = run(
        1500,
        "[[simulator.rig.fault]]\nkind = \"counter_jump\"\nevery = \"50ms\"\nframes = 7",
    );
    let jumps = outcome.truth.times("counter_jump");
    assert!(jumps >= 10, "{jumps}");
    assert_eq!(outcome.truth.count("frames_skipped"), 7 * jumps);
    outcome.expect_damage(0, 0);
    outcome.expect_lost(7 * jumps);
    outcome.expect_arrived([]);
    assert_eq!(outcome.in_gaps(&[GapReason::DeviceCounter]), 7 * jumps);
}

#[test]
fn a_stall_costs_nothing_and_is_made_up_for() {
    let outcome = run(
        1000,
        "[[simulator.rig.fault]]\nkind = \"stall\"\nevery = \"150ms\"\nduration = \"80ms\"",
    );
    let stalls: Vec<u64> = outcome
        .truth
        .faults
        .iter()
        .filter_map(|f| f["next"].as_u64())
        .collect();
    assert_eq!(stalls, [300, 600, 900]);
    for next in stalls {
        let times_s = &outcome.truth.times_s;
        let pause_s = times_s[&next] - times_s[&(next - 1)];
        assert!(pause_s >= 0.08, "{pause_s}");
    }
    outcome.expect_damage(0, 0);
    outcome.expect_lost(0);
    outcome.expect_arrived([]);
    assert_eq!(outcome.found.gaps, []);
}

#[test]
fn a_device_that_hangs_up_and_returns_loses_what_nobody_had_read_and_no_more() {
    let last = 3999.0;
    let outcome = run_until(
        // The rest of the two seconds is for a reader that is slow to return.
        4000,
        "[[simulator.rig.fault]]\nkind = \"disconnect\"\nat = \"200ms\"\nduration = \"60ms\"\n\
         [[simulator.rig.fault]]\nkind = \"disconnect\"\nat = \"500ms\"\nduration = \"60ms\"",
        // What a hang-up took nobody knows but by what came before it: so until the last frame is here.
        |lab| lab.run.boards()[0][0].read().last == last,
    );
    let ends: Vec<u64> = outcome
        .truth
        .faults
        .iter()
        .filter_map(|f| f["next"].as_u64())
        .collect();
    assert_eq!(ends.len() as u64, outcome.truth.times("disconnect"));
    assert!(!ends.is_empty(), "{ends:?}");
    assert_eq!(outcome.ledger.reconnects, ends.len() as u64);
    let cables = outcome
        .found
        .gaps
        .iter()
        .filter(|gap| gap.reason == GapReason::Disconnected);
    assert_eq!(cables.count(), ends.len(), "{:?}", outcome.found.gaps);
    assert!(
        outcome.truth.count("frames_missed") >= 100,
        "{:?}",
        outcome.truth.end
    );
    let arrived = outcome.arrived();
    let mut from = 0;
    for end in ends.iter().copied().chain([4000]) {
        let sent: Vec<u64> = outcome
            .truth
            .intact
            .range(from..end)
            .map(|(n, _)| *n)
            .collect();
        let came = sent
            .iter()
            .take_while(|number| arrived.contains(number))
            .count();
        // What is missing is the end of it, and no more than a pseudo-terminal holds.
        assert!(
            sent[came..].iter().all(|number| !arrived.contains(number)),
            "{end}"
        );
        assert!((sent.len() - came) * LENGTH < 20_000, "{end}");
        from = end;
    }
    assert_eq!(outcome.ledger.corrupt_frames, 0, "{:?}", outcome.ledger);
    assert!(outcome.ledger.skipped_bytes < (ends.len() * LENGTH) as u64);
}

#[test]
fn a_clock_that_drifts_costs_nothing_and_is_noticed() {
    // The pace is found after two seconds.
    let outcome = run(
        5200,
        "[[simulator.rig.fault]]\nkind = \"clock_drift\"\nat = \"0s\"\nppm = 10_000",
    );
    assert_eq!(outcome.truth.times("clock_drift"), 1);
    let times_s = &outcome.truth.times_s;
    // A device can be late, and never early.
    let took_s = times_s[&5199] - times_s[&0];
    assert!(took_s >= 5199.0 / 2000.0 * 1.01 - 0.002, "{took_s}");
    outcome.expect_damage(0, 0);
    outcome.expect_lost(0);
    outcome.expect_arrived([]);
    let clock = outcome.ledger.clock.expect("it is fitted");
    assert!((clock.drift_ppm - 10_000.0).abs() < 3_000.0, "{clock:?}");
}

#[test]
fn a_flood_runs_ahead_of_the_clock_and_loses_nothing() {
    // Half a minute's frames: they are here long before it is over, or the waiting is given up.
    let outcome = run(
        61_000,
        "[[simulator.rig.fault]]\nkind = \"flood\"\nat = \"100ms\"\nduration = \"30s\"",
    );
    assert_eq!(outcome.truth.times("flood"), 1);
    assert_eq!(outcome.truth.count("frames_sent"), 61_000);
    outcome.expect_damage(0, 0);
    outcome.expect_lost(0);
    outcome.expect_arrived([]);
    assert_eq!(outcome.found.gaps, []);
}

/// A unit of Modbus RTU that is late, is another, or says nothing.
#[test]
fn answers_that_are_late_wrong_or_missing_are_counted_and_spoil_no_other() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = dir.path().join("meter.jsonl");
    let lab = Lab::start(&format!(
        r#"
[source.meter]
link = {{ type = "simulator", device = "meter" }}
[source.meter.protocol]
type = "modbus"
cycle = "5ms"
timeout = "60ms"
retries = 0
backoff = {{ first = "1ms", max = "1ms" }}
table = "input"
[[source.meter.channel]]
name = "number"
register = {{ unit = 3, at = 0, type = "u32" }}
[[source.meter.channel]]
name = "level"
register = {{ unit = 3, at = 2, type = "f32" }}
[simulator.meter]
device = "registers"
unit = 3
truth = "{}"
[[simulator.meter.channel]]
type = "u32"
signal = {{ type = "counter" }}
[[simulator.meter.channel]]
signal = {{ type = "walk" }}
[[simulator.meter.fault]]
kind = "missing_answers"
mean_every = "200ms"
[[simulator.meter.fault]]
kind = "wrong_answers"
mean_every = "200ms"
[[simulator.meter.fault]]
kind = "bit_flips"
mean_every = "200ms"
[[simulator.meter.fault]]
kind = "late_answers"
mean_every = "200ms"
delay = "150ms"
"#,
        log.display()
    ));
    let done = |fault: &str| {
        lab.simulator(0)
            .truth()
            .faults()
            .any(|(name, times)| name == fault && times > 1)
    };
    let all = [
        "missing_answers",
        "wrong_answers",
        "bit_flips",
        "late_answers",
    ];
    wait_until("each fault has happened twice", || {
        all.into_iter().all(done)
    });
    // What is asked in the last moment may be answered by nobody.
    let missing = lab.simulator(0).truth().faults[FAULTS.len() - 1];
    let before = lab.frames(0);
    wait_until("it goes on", || lab.frames(0) > before + 10);
    let device = lab.run.plan().simulators[0].clone();
    let (report, data) = lab.stop();
    let source = &report.sources.0[0].1;
    assert!(source.unanswered >= missing, "{source:?}");
    assert!(source.corrupt_frames > 0, "{source:?}");
    assert!(truth(&log).times("missing_answers") >= missing);
    let found = recorded(&data.path().join("data"), 0);
    let good = found.columns[0].iter().zip(&found.columns[1]);
    let good: Vec<(&f64, &f64)> = good.filter(|(number, _)| !number.is_nan()).collect();
    assert!(good.len() > 10);
    for (number, level) in good {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = *number as u64;
        assert_eq!(device.sent(1, index), Some(*level), "answer {index}");
    }
}
