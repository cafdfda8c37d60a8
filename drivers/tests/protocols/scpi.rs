//! SCPI, against an instrument of these tests' own.

use std::time::Duration;

use kymo_drivers::protocol::Options;
use kymo_drivers::protocol::scpi::{self, Channel, Identity, Query, Sample, Waveform};
use proptest::prelude::*;

use crate::polled::{Answers, Desk, MS};

const CYCLE_MS: i64 = 100;
const TIMEOUT_MS: i64 = 20;
const IDN: &[u8] = b"ACME,DMM 7,1234,2.0\n";

fn instrument(questions: &[&str]) -> scpi::Options {
    let query = |ask: &&str| Query {
        ask: (*ask).to_owned(),
        every: 1,
    };
    let channel = |query| Channel {
        query,
        value: 0,
        scale: 1.0,
        offset: 0.0,
    };
    scpi::Options {
        cycle: Duration::from_millis(CYCLE_MS as u64),
        timeout: Duration::from_millis(TIMEOUT_MS as u64),
        backoff_first: Duration::from_millis(200),
        backoff_max: Duration::from_secs(2),
        terminator: "\n".to_owned(),
        identity: Identity::Any,
        start: Vec::new(),
        pause: Duration::ZERO,
        errors: Some("SYST:ERR?".to_owned()),
        queries: questions.iter().map(query).collect(),
        channels: (0..questions.len()).map(channel).collect(),
        waveform: None,
    }
}

fn desk(options: scpi::Options) -> Desk {
    Desk::new(&Options::Scpi(options))
}

/// What a good instrument answers: `Qn?` with n.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(message).expect("text").trim_end();
    match text {
        "*IDN?" => Some(IDN.to_vec()),
        "SYST:ERR?" => Some(b"0,\"No error\"\n".to_vec()),
        _ => {
            let number = text.strip_prefix('Q')?.strip_suffix('?')?;
            Some(format!("+{number}.0E+00\r\n").into_bytes())
        }
    }
}

fn good(_: i64, message: &[u8]) -> Answers {
    answer(message)
        .map(|answer| (2 * MS, answer))
        .into_iter()
        .collect()
}

fn sent(desk: &Desk) -> Vec<String> {
    let messages = desk.sent.iter();
    messages
        .map(|(_, message)| String::from_utf8_lossy(message).trim_end().to_owned())
        .collect()
}

#[test]
fn it_is_identified_told_its_settings_asked_for_errors_and_then_in_cycles() {
    let mut options = instrument(&["Q1?", "Q2?"]);
    options.start = vec!["*RST".to_owned(), "CONF:VOLT:DC 10".to_owned()];
    options.pause = Duration::from_millis(3);
    let mut desk = desk(options);
    desk.run(250 * MS, good);
    let expected = [
        "*IDN?",
        "*RST",
        "CONF:VOLT:DC 10",
        "SYST:ERR?",
        "Q1?",
        "Q2?",
        "Q1?",
        "Q2?",
        "Q1?",
        "Q2?",
    ];
    assert_eq!(sent(&desk), expected);
    assert_eq!(desk.values(), vec![vec![Some(1.0), Some(2.0)]; 3]);
    let between = desk.sent[2].0 - desk.sent[1].0;
    assert_eq!(between, 3 * MS, "the pause after a command");
    assert_eq!(desk.tally, Default::default());
    assert_eq!(desk.told, [] as [String; 0]);
}

#[test]
fn an_answer_with_several_values_fills_several_channels() {
    let mut options = instrument(&["MEAS?", "TEMP?"]);
    let channel = |query, value, scale| Channel {
        query,
        value,
        scale,
        offset: 1.0,
    };
    options.channels = vec![channel(0, 2, 1.0), channel(1, 0, 1.0), channel(0, 0, 10.0)];
    options.queries[1].every = 2;
    let mut desk = desk(options);
    desk.run(3 * CYCLE_MS * MS - 1, |at, message| match message {
        b"MEAS?\n" => vec![(MS, b"1.5, 9.91E37 ,-9.9E37,7\n".to_vec())],
        b"TEMP?\n" => vec![(MS, b"20\n".to_vec())],
        _ => good(at, message),
    });
    let infinite = Some(f64::NEG_INFINITY);
    let rows = desk.values();
    assert_eq!(rows[0], [infinite, Some(21.0), Some(16.0)]);
    assert_eq!(rows[1], [infinite, None, Some(16.0)]);
    assert_eq!(rows.len(), 3);
}

#[test]
fn one_that_is_not_what_is_declared_is_told_and_left_alone_until_it_is() {
    let mut options = instrument(&["Q1?"]);
    options.identity = Identity::Pattern("^ACME,DMM".to_owned());
    let mut desk = desk(options);
    let replaced = 5000 * MS;
    desk.run(8000 * MS, |at, message| match message {
        b"*IDN?\n" if at < replaced => vec![(MS, b"OTHER,SCOPE,1,1\n".to_vec())],
        _ => good(at, message),
    });
    let before = desk.sent.iter().filter(|(at, _)| *at < replaced);
    // At 0, and after 20 ms and 200, 400, 800, 1600 ms each.
    assert_eq!(before.count(), 5);
    assert_eq!(desk.tally.refused, 5);
    assert_eq!(desk.told.len(), 2, "{:?}", desk.told);
    assert_eq!(desk.told[1], "answers again");
    assert!(desk.told[0].contains("OTHER,SCOPE") && desk.told[0].contains("^ACME,DMM"));
    assert!(desk.rows.iter().all(|(at, _)| *at > replaced));
    assert!(desk.values().iter().all(|row| *row == [Some(1.0)]));
    assert!(desk.rows.len() > 10);
}

#[test]
fn one_that_is_silent_is_asked_who_it_is_ever_more_seldom() {
    let mut desk = desk(instrument(&["Q1?"]));
    desk.run(7000 * MS, |_, _| Vec::new());
    // After 20 ms each: 200, 400, 800, 1600, 2000, 2000 ms.
    assert!((6..=7).contains(&desk.sent.len()), "{}", desk.sent.len());
    assert!(desk.tally.unanswered >= 6, "{:?}", desk.tally);
    assert_eq!(desk.told.len(), 1);
    assert!(desk.rows.is_empty());
    desk.run(12_000 * MS, good);
    assert!(desk.rows.len() > 10);
    assert_eq!(desk.told.len(), 2, "{:?}", desk.told);
}

#[test]
fn a_late_answer_is_passed_over() {
    let mut desk = desk(instrument(&["Q1?", "Q2?"]));
    let mut asked = 0;
    desk.run(10 * CYCLE_MS * MS - 1, |at, message| {
        asked += usize::from(message == b"Q1?\n");
        if message == b"Q1?\n" && asked == 3 {
            return vec![((TIMEOUT_MS + 3) * MS, answer(message).expect("an answer"))];
        }
        good(at, message)
    });
    let rows = desk.values();
    assert_eq!(rows[2], [None, Some(2.0)]);
    assert!(rows.iter().all(|row| row[1] == Some(2.0)), "{rows:?}");
    assert_eq!(desk.tally.unanswered, 1);
    // The rest of cycles in which it is left out, and then it is back.
    assert_eq!(rows.last(), Some(&vec![Some(1.0), Some(2.0)]));
    assert!(
        sent(&desk)
            .windows(3)
            .any(|w| w == ["Q1?", "*IDN?", "SYST:ERR?"])
    );
}

#[test]
fn the_errors_are_read_when_an_answer_fails_counted_and_told() {
    let mut desk = desk(instrument(&["Q1?", "NONSENSE?"]));
    let mut errors = vec!["-410,\"Query INTERRUPTED\"", "-113,\"Undefined header\""];
    let mut nonsense = 0;
    desk.run(5 * CYCLE_MS * MS - 1, |at, message| match message {
        b"NONSENSE?\n" => {
            nonsense += 1;
            Vec::new()
        }
        b"SYST:ERR?\n" if nonsense > 0 => {
            let error = errors.pop().unwrap_or("+0,\"No error\"");
            vec![(MS, format!("{error}\n").into_bytes())]
        }
        _ => good(at, message),
    });
    assert_eq!(desk.tally.refused, 2);
    assert_eq!(desk.tally.unanswered, nonsense);
    // Left out for 200, then 400 ms: asked in cycles 0 and 3.
    assert_eq!(nonsense, 2);
    assert_eq!(desk.values(), vec![vec![Some(1.0), None]; 5]);
    let told = desk.told.join("\n");
    assert!(
        told.contains("-113,\"Undefined header\"") && told.contains("-410"),
        "{told}"
    );
    assert!(told.contains("`NONSENSE?` is not answered"), "{told}");
}

#[test]
fn an_instrument_that_falls_silent_gives_frames_of_nothing_until_it_is_back() {
    let mut desk = desk(instrument(&["Q1?", "Q2?"]));
    desk.run(30 * CYCLE_MS * MS - 1, |at, message| {
        if (450 * MS..1000 * MS).contains(&at) {
            return Vec::new();
        }
        good(at, message)
    });
    let rows = desk.values();
    assert_eq!(rows.len(), 30, "a frame a cycle");
    assert!(rows[..5].iter().all(|row| *row == [Some(1.0), Some(2.0)]));
    assert!(
        rows[5..10].iter().all(|row| *row == [None, None]),
        "{rows:?}"
    );
    assert_eq!(rows[29], [Some(1.0), Some(2.0)]);
    assert!(
        desk.told
            .iter()
            .any(|what| what.contains("does not answer any more"))
    );
    assert!(desk.told.iter().any(|what| what.contains("answers again")));
}

#[test]
fn an_answer_that_is_no_number_is_corrupt_and_costs_its_own_channels() {
    let mut desk = desk(instrument(&["Q1?", "Q2?"]));
    let mut asked = 0;
    desk.run(4 * CYCLE_MS * MS - 1, |at, message| {
        asked += usize::from(message == b"Q1?\n");
        if message == b"Q1?\n" && asked == 2 {
            return vec![(MS, b"OVERLOAD\n".to_vec())];
        }
        good(at, message)
    });
    let full = vec![Some(1.0), Some(2.0)];
    assert_eq!(
        desk.values(),
        [full.clone(), vec![None, Some(2.0)], full.clone(), full]
    );
    assert_eq!(desk.tally.corrupt_frames, 1);
    assert_eq!(desk.tally.unanswered, 0);
}

#[test]
fn an_answer_without_an_end_takes_no_more_memory_than_it_may() {
    let mut desk = desk(instrument(&["Q1?"]));
    let mut asked = 0;
    desk.run(5 * CYCLE_MS * MS - 1, |at, message| {
        asked += usize::from(message == b"Q1?\n");
        if message == b"Q1?\n" && asked == 1 {
            return vec![(MS, vec![b'5'; 300_000]), (3 * MS, b"5\n".to_vec())];
        }
        good(at, message)
    });
    assert_eq!(desk.values()[0], [None]);
    assert_eq!(desk.values()[4], [Some(1.0)]);
    assert_eq!(desk.tally.corrupt_frames, 1);
}

#[test]
fn without_an_identity_the_line_must_be_quiet_after_a_time_out() {
    let mut options = instrument(&["Q1?", "Q2?"]);
    options.identity = Identity::NotAsked;
    options.errors = None;
    let mut desk = desk(options);
    let mut asked = 0;
    desk.run(10 * CYCLE_MS * MS - 1, |at, message| {
        asked += usize::from(message == b"Q1?\n");
        if message == b"Q1?\n" && asked == 2 {
            return vec![((TIMEOUT_MS + 15) * MS, answer(message).expect("an answer"))];
        }
        good(at, message)
    });
    assert!(!sent(&desk).contains(&"*IDN?".to_owned()));
    assert!(
        desk.values().iter().all(|row| row[1] == Some(2.0)),
        "{:?}",
        desk.values()
    );
    assert_eq!(desk.values()[1][0], None);
}

fn scope() -> scpi::Options {
    let mut options = instrument(&["CURV?"]);
    options.channels[0].scale = 0.5;
    options.waveform = Some(Waveform {
        sample: Sample::I16,
        is_big_endian: true,
        sample_rate_hz: 1e5,
        samples_max: 10_000,
    });
    options
}

/// A block of numbers counted on, behind a head of so many digits.
fn block(from: i16, count: i16, digits: usize) -> Vec<u8> {
    let mut bytes = format!("#{digits}{:0digits$}", count * 2).into_bytes();
    for value in from..from + count {
        bytes.extend(value.to_be_bytes());
    }
    bytes.push(b'\n');
    bytes
}

#[test]
fn a_waveform_is_a_frame_for_every_sample_at_its_own_time() {
    for piece in [1, 2, 3, 7, 100, usize::MAX] {
        let mut desk = desk(scope());
        desk.piece = piece;
        let mut asked = 0_i16;
        desk.run(2 * CYCLE_MS * MS - 1, |at, message| {
            if message == b"CURV?\n" {
                asked += 1;
                return vec![(5 * MS, block((asked - 1) * 500, 500, 8))];
            }
            good(at, message)
        });
        let values: Vec<f64> = desk.rows.iter().map(|(_, row)| row[0]).collect();
        let expected: Vec<f64> = (0..1000).map(|n| f64::from(n) * 0.5).collect();
        assert_eq!(values, expected, "in pieces of {piece}");
        let times: Vec<i64> = desk.rows.iter().map(|(at, _)| *at).collect();
        // 500 samples of 10 µs, the last when the block came.
        let came = desk.sent[2].0 + 5 * MS;
        assert_eq!((times[499], times[0]), (came, came - 499 * 10_000));
        assert!(times.is_sorted_by(|a, b| a < b));
        assert_eq!(desk.tally, Default::default(), "in pieces of {piece}");
    }
}

#[test]
fn a_block_that_breaks_off_is_corrupt_and_the_next_one_good() {
    let mut desk = desk(scope());
    let mut asked = 0;
    desk.run(20 * CYCLE_MS * MS - 1, |at, message| {
        asked += usize::from(message == b"CURV?\n");
        match (message, asked) {
            (b"CURV?\n", 1) => vec![(MS, block(0, 500, 4)[..600].to_vec())],
            (b"CURV?\n", _) => vec![(MS, block(0, 10, 2))],
            _ => good(at, message),
        }
    });
    assert_eq!(desk.tally.corrupt_frames, 1);
    let first = desk.rows.iter().take_while(|(at, _)| *at < 50 * MS).count();
    // Six bytes of head, so 297 samples.
    assert_eq!(first, 297);
    assert_eq!(desk.lost, [Some(203)]);
    assert!(desk.rows.len() > first && (desk.rows.len() - first).is_multiple_of(10));
}

#[test]
fn what_is_no_block_is_corrupt_and_passed_over() {
    let too_long = block(0, 10_001, 5);
    for bad in [
        &b"12,13,14\n"[..],
        b"#0\x01\x02\n",
        b"#13\x01\x02\x03\n",
        b"\"#2\n",
        &too_long,
    ] {
        let mut desk = desk(scope());
        let mut asked = 0;
        desk.run(5 * CYCLE_MS * MS - 1, |at, message| {
            asked += usize::from(message == b"CURV?\n");
            match (message, asked) {
                (b"CURV?\n", 2) => vec![(MS, bad.to_vec())],
                (b"CURV?\n", _) => vec![(MS, block(0, 10, 2))],
                _ => good(at, message),
            }
        });
        assert_eq!(desk.tally.corrupt_frames, 1, "{bad:?}");
        assert_eq!(desk.rows.len(), 40, "{bad:?}");
    }
}

#[test]
fn what_cannot_work_is_said() {
    let mut options = instrument(&["Q1?", "VOLT"]);
    options.start = vec!["READ?".to_owned(), "A\nB".to_owned()];
    options.errors = Some("SYST:ERR".to_owned());
    options.terminator = ";".to_owned();
    options.identity = Identity::Pattern("(".to_owned());
    options.waveform = Some(Waveform {
        samples_max: 0,
        ..scope().waveform.expect("one")
    });
    let Err(errors) = Options::Scpi(options).build() else {
        panic!("it cannot work");
    };
    let count = |part: &str| errors.iter().filter(|error| error.part == part).count();
    assert_eq!((count("start"), count("errors")), (2, 1), "{errors:?}");
    assert_eq!(
        (count("terminator"), count("identity")),
        (1, 1),
        "{errors:?}"
    );
    assert_eq!((count("field 1"), count("waveform")), (1, 2), "{errors:?}");
}

fn noise(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(&b"#0123456789,.\n\r+-E"[..]);
    prop::collection::vec(prop_oneof![telling, any::<u8>()], 0..length)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Answers late by any time, or never: no value is ever another's.
    #[test]
    fn no_answer_is_ever_taken_for_another(lates in prop::collection::vec(0..2 * TIMEOUT_MS + 10, 1..40)) {
        let mut options = instrument(&["Q1?", "Q2?", "Q3?"]);
        options.backoff_first = Duration::from_millis(5);
        options.backoff_max = Duration::from_millis(20);
        let mut desk = desk(options);
        let (mut number, mut free_ns) = (0, 0);
        desk.run(3000 * MS, |at, message| {
            number += 1;
            let late = lates[number % lates.len()];
            // What is later than two time-outs cannot be told: said in the documentation.
            if late >= 2 * TIMEOUT_MS - 1 {
                return Vec::new();
            }
            // An instrument answers in order.
            free_ns = (at + late * MS).max(free_ns);
            answer(message).map(|answer| (free_ns - at, answer)).into_iter().collect()
        });
        for row in desk.values() {
            for (value, right) in row.iter().zip([1.0, 2.0, 3.0]) {
                prop_assert!(value.is_none_or(|value| value == right), "{:?}", row);
            }
        }
    }

    /// Any bytes at any time: it goes on, and is back when the noise is over.
    #[test]
    fn any_bytes_neither_break_it_nor_keep_it(
        noise in prop::collection::vec((0..2000_i64, noise(80)), 0..60), is_wave: bool,
    ) {
        let mut desk = desk(if is_wave { scope() } else { instrument(&["Q1?"]) });
        let mut noise = noise;
        noise.sort_by_key(|(at, _)| *at);
        for (at, bytes) in &noise {
            desk.run(at * MS, good);
            desk.hear(bytes);
        }
        let device = |at, message: &[u8]| match message {
            b"CURV?\n" => vec![(MS, block(2, 1, 1))],
            _ => good(at, message),
        };
        desk.run(9000 * MS, device);
        let last: Vec<f64> = desk.rows.iter().rev().take(20).map(|(_, row)| row[0]).collect();
        prop_assert_eq!(last, vec![1.0; 20]);
    }
}
