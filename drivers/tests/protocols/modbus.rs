//! Modbus, against units of these tests' own.

use std::time::Duration;

use kymo_drivers::protocol::Options;
use kymo_drivers::protocol::modbus::{self, Channel, Framing, Order, Scalar, Table, silence};
use proptest::prelude::*;

use crate::encode::crc_modbus;
use crate::polled::{Answers, Desk, MS};

const CYCLE_MS: i64 = 100;
const TIMEOUT_MS: i64 = 20;

fn channel(unit: u8, at: u16, scalar: Scalar) -> Channel {
    Channel {
        unit,
        table: Table::Holding,
        at,
        scalar,
        order: Order::big(scalar.bytes()),
        scale: 1.0,
        offset: 0.0,
        every: 1,
    }
}

fn words(unit: u8, places: &[u16]) -> Vec<Channel> {
    let word = |at: &u16| channel(unit, *at, Scalar::U16);
    places.iter().map(word).collect()
}

fn bus(channels: Vec<Channel>) -> modbus::Options {
    modbus::Options {
        framing: Framing::Rtu {
            silence: silence(0.0),
            ns_per_byte: 0.0,
        },
        cycle: Duration::from_millis(CYCLE_MS as u64),
        timeout: Duration::from_millis(TIMEOUT_MS as u64),
        retries: 1,
        gap_max: 0,
        registers_max: 125,
        bits_max: 2000,
        backoff_first: Duration::from_millis(200),
        backoff_max: Duration::from_secs(2),
        channels,
    }
}

fn tcp(channels: Vec<Channel>) -> modbus::Options {
    modbus::Options {
        framing: Framing::Tcp,
        ..bus(channels)
    }
}

fn desk(options: modbus::Options) -> Desk {
    Desk::new(&Options::Modbus(options))
}

/// A request as these tests read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    transaction: Option<u16>,
    unit: u8,
    function: u8,
    at: u16,
    count: u16,
}

fn parse(message: &[u8]) -> Asked {
    let (transaction, body) = if message.len() == 12 {
        assert_eq!(message[2..6], [0, 0, 0, 6]);
        let transaction = u16::from_be_bytes([message[0], message[1]]);
        (Some(transaction), &message[6..])
    } else {
        assert_eq!(message.len(), 8);
        let sum = crc_modbus(&message[..6]);
        assert_eq!(message[6..], sum.to_le_bytes());
        (None, &message[..6])
    };
    Asked {
        transaction,
        unit: body[0],
        function: body[1],
        at: u16::from_be_bytes([body[2], body[3]]),
        count: u16::from_be_bytes([body[4], body[5]]),
    }
}

fn wrap(asked: Asked, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match asked.transaction {
        Some(transaction) => {
            out.extend(transaction.to_be_bytes());
            out.extend([0, 0, 0, u8::try_from(body.len()).expect("short")]);
            out.extend(body);
        }
        None => {
            out.extend(body);
            out.extend(crc_modbus(body).to_le_bytes());
        }
    }
    out
}

/// Register `at` of a unit holds this.
fn register(unit: u8, at: u16) -> u16 {
    u16::from(unit) * 1000 + at
}

/// The right answer of a unit with registers as above.
fn answer(message: &[u8]) -> Vec<u8> {
    let asked = parse(message);
    let mut body = vec![asked.unit, asked.function];
    if asked.function <= 2 {
        let count = usize::from(asked.count);
        body.push(u8::try_from(count.div_ceil(8)).expect("short"));
        for byte in 0..count.div_ceil(8) {
            let bit = |n: usize| {
                byte * 8 + n < count && (usize::from(asked.at) + byte * 8 + n).is_multiple_of(3)
            };
            body.push((0..8).map(|n| u8::from(bit(n)) << n).sum());
        }
    } else {
        body.push(u8::try_from(asked.count * 2).expect("short"));
        for at in asked.at..asked.at + asked.count {
            body.extend(register(asked.unit, at).to_be_bytes());
        }
    }
    wrap(asked, &body)
}

fn refusal(message: &[u8], code: u8) -> Vec<u8> {
    let asked = parse(message);
    wrap(asked, &[asked.unit, asked.function | 0x80, code])
}

/// All units answer after 2 ms.
fn all(_: i64, message: &[u8]) -> Answers {
    vec![(2 * MS, answer(message))]
}

#[test]
fn requests_are_those_of_the_standard() {
    // The example of Modbus Application Protocol V1.1b3, 6.3: 3 registers from 0x6B; its CRC is in many manuals.
    let mut rtu = desk(bus(words(0x11, &[0x6B, 0x6C, 0x6D])));
    rtu.run(3 * MS, all);
    assert_eq!(rtu.sent[0].1, [0x11, 3, 0, 0x6B, 0, 3, 0x76, 0x87]);
    let mut net = desk(tcp(words(0x11, &[0x6B, 0x6C, 0x6D])));
    net.run(3 * MS, all);
    assert_eq!(net.sent[0].1, [0, 1, 0, 0, 0, 6, 0x11, 3, 0, 0x6B, 0, 3]);
}

#[test]
fn a_frame_is_a_cycle_with_every_channel_in_its_place() {
    for options in [bus, tcp] {
        let mut channels = words(2, &[7]);
        channels.extend(words(1, &[5, 4]));
        let mut coil = channel(1, 9, Scalar::Bit(0));
        coil.table = Table::Coil;
        let mut discrete = channel(1, 10, Scalar::Bit(0));
        discrete.table = Table::Discrete;
        let mut bit = channel(2, 8, Scalar::Bit(3));
        bit.table = Table::Input;
        let mut scaled = channel(3, 1, Scalar::I16);
        (scaled.scale, scaled.offset) = (0.5, -1.0);
        channels.extend([coil, discrete, bit, scaled]);
        let mut desk = desk(options(channels));
        desk.run(250 * MS, all);
        // 2008 has bit 3 set: 2008 = 0b111_1101_1000.
        let row = [2007.0, 1005.0, 1004.0, 1.0, 0.0, 1.0, 1499.5].map(Some);
        assert_eq!(desk.values(), vec![row.to_vec(); 3]);
        // Three cycles, each frame dated when its last answer came.
        let starts: Vec<i64> = desk.rows.iter().map(|(at, _)| at / (100 * MS)).collect();
        assert_eq!(starts, [0, 1, 2]);
        assert_eq!(desk.tally, Default::default());
    }
}

#[test]
fn numbers_come_in_every_order() {
    let wire: [u8; 8] = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
    let read = |scalar: Scalar, order: &str| {
        let mut one = channel(1, 0, scalar);
        one.order = Order::named(order, scalar.bytes()).expect("an order");
        let mut desk = desk(bus(vec![one]));
        desk.run(10 * MS, |_, message| {
            let asked = parse(message);
            let bytes = scalar.bytes();
            let body = [&[1, 3, u8::try_from(bytes).expect("short")], &wire[..bytes]].concat();
            vec![(MS, wrap(asked, &body))]
        });
        desk.rows[0].1[0]
    };
    assert_eq!(read(Scalar::U16, "ABCD"), f64::from(0x1122));
    assert_eq!(read(Scalar::U16, "AB"), f64::from(0x1122));
    assert_eq!(read(Scalar::I16, "BA"), f64::from(0x2211));
    for (order, value) in [
        ("ABCD", 0x1122_3344_u32),
        ("CDAB", 0x3344_1122),
        ("BADC", 0x2211_4433),
        ("DCBA", 0x4433_2211),
        ("BDAC", 0x3311_4422),
    ] {
        assert_eq!(read(Scalar::U32, order), f64::from(value), "{order}");
        let float = f64::from(f32::from_bits(value));
        assert_eq!(read(Scalar::F32, order), float, "{order}");
    }
    for (order, value) in [
        ("ABCD", 0x1122_3344_5566_7788_u64),
        ("CDAB", 0x7788_5566_3344_1122),
        ("BADC", 0x2211_4433_6655_8877),
        ("DCBA", 0x8877_6655_4433_2211),
        ("GHEFCDAB", 0x7788_5566_3344_1122),
        ("CDABGHEF", 0x3344_1122_7788_5566),
        ("EFGHABCD", 0x5566_7788_1122_3344),
    ] {
        assert_eq!(read(Scalar::U64, order), value as f64, "{order}");
        let double = f64::from_bits(value);
        assert_eq!(read(Scalar::F64, order), double, "{order}");
    }
    assert_eq!(Order::named("AABB", 4), None);
    assert_eq!(Order::named("ABCE", 4), None);
    assert_eq!(Order::named("abcd", 4), None);
    assert_eq!(Order::named("EFGHABCD", 4), None);
}

/// Two requests to one unit whose answers look the same; the first answer is late.
#[test]
fn a_late_answer_is_not_taken_for_the_next_ones() {
    let mut desk = desk(bus(words(1, &[0, 10])));
    let mut asked = 0;
    desk.run(1000 * MS, |_, message| {
        asked += 1;
        let late = if asked == 1 { TIMEOUT_MS + 5 } else { 2 };
        vec![(late * MS, answer(message))]
    });
    for row in desk.values() {
        assert_eq!(row, [Some(1000.0), Some(1010.0)]);
    }
    assert_eq!(desk.tally.unanswered, 1);
    assert_eq!(desk.tally.corrupt_frames, 0);
    // One of the two answers to the first request was passed over.
    assert_eq!(desk.tally.skipped_bytes, 7);
}

#[test]
fn over_tcp_the_transaction_tells_a_late_answer() {
    let mut options = tcp(words(1, &[0, 10]));
    options.retries = 0;
    options.backoff_first = Duration::from_millis(1);
    options.backoff_max = Duration::from_millis(1);
    let mut desk = desk(options);
    desk.run(5000 * MS, |at, message| {
        // Late by any time up to three time-outs, again and again.
        let late = at / 7 % (3 * TIMEOUT_MS * MS);
        vec![(MS + late, answer(message))]
    });
    let values = desk.values();
    assert!(values.len() >= 40, "{}", values.len());
    for row in &values {
        assert!(row[0].is_none_or(|value| value == 1000.0), "{row:?}");
        assert!(row[1].is_none_or(|value| value == 1010.0), "{row:?}");
    }
    assert!(values.iter().flatten().any(Option::is_some));
    assert!(desk.tally.unanswered > 0 && desk.tally.skipped_bytes > 0);
}

#[test]
fn a_dead_unit_costs_its_own_time_outs_and_none_of_its_neighbours_cycles() {
    let mut channels = words(1, &[0]);
    channels.extend(words(2, &[0, 5]));
    channels.extend(words(3, &[0]));
    let mut desk = desk(bus(channels));
    let dead_from = 3 * CYCLE_MS * MS;
    let back_from = 40 * CYCLE_MS * MS;
    desk.run(80 * CYCLE_MS * MS - 1, |at, message| {
        if parse(message).unit == 2 && (dead_from..back_from).contains(&at) {
            return Vec::new();
        }
        all(at, message)
    });
    let rows = desk.values();
    assert_eq!(rows.len(), 80, "a frame a cycle, come what may");
    for (cycle, row) in (0..).zip(&rows) {
        assert_eq!((row[0], row[3]), (Some(1000.0), Some(3000.0)), "{cycle}");
        let at = desk.rows[usize::try_from(cycle).expect("small")].0 - cycle * CYCLE_MS * MS;
        // In the cycle in which it dies its neighbours wait for it once; it is asked again behind them.
        let longest = if cycle == 3 { 2 * TIMEOUT_MS + 15 } else { 20 };
        assert!(at <= longest * MS, "cycle {cycle} took {at} ns");
    }
    assert!(
        rows[3..40]
            .iter()
            .all(|row| row[1].is_none() && row[2].is_none())
    );
    assert!(
        rows[70..]
            .iter()
            .all(|row| row[1].is_some() && row[2].is_some())
    );
    let to_dead = desk
        .sent
        .iter()
        .filter(|(at, message)| parse(message).unit == 2 && (dead_from..back_from).contains(at));
    // It and its retry, then after 200, 400, 800, 1600 ms.
    let asked = to_dead.count();
    assert!((5..=7).contains(&asked), "{asked}");
    assert_eq!(desk.tally.unanswered, asked as u64);
    assert_eq!(desk.told.len(), 2, "{:?}", desk.told);
    assert!(desk.told[0].contains("unit 2 does not answer"));
    assert!(desk.told[1].contains("unit 2 answers again"));
}

#[test]
fn a_bus_without_a_living_unit_gives_a_frame_of_nothing_every_cycle() {
    let mut desk = desk(bus(words(1, &[0])));
    desk.run(20 * CYCLE_MS * MS - 1, |_, _| Vec::new());
    assert_eq!(desk.values(), vec![vec![None]; 20]);
    assert!(desk.tally.unanswered >= 4, "{:?}", desk.tally);
}

#[test]
fn a_refusal_is_counted_every_time_and_told_once() {
    for options in [bus, tcp] {
        let mut desk = desk(options(words(1, &[0, 50])));
        desk.run(10 * CYCLE_MS * MS - 1, |at, message| {
            if parse(message).at == 50 {
                return vec![(MS, refusal(message, 2))];
            }
            all(at, message)
        });
        assert_eq!(desk.values(), vec![vec![Some(1000.0), None]; 10]);
        assert_eq!(desk.tally.refused, 10);
        assert_eq!(desk.tally.unanswered, 0);
        assert_eq!(desk.told.len(), 1);
        assert!(
            desk.told[0].contains("illegal data address"),
            "{:?}",
            desk.told
        );
    }
}

#[test]
fn a_gateway_that_waits_for_a_dead_unit_is_not_asked_for_it_every_cycle() {
    let mut channels = words(1, &[0]);
    channels.extend(words(2, &[0]));
    let mut desk = desk(tcp(channels));
    desk.run(20 * CYCLE_MS * MS - 1, |at, message| {
        if parse(message).unit == 2 {
            return vec![(15 * MS, refusal(message, 0x0B))];
        }
        all(at, message)
    });
    assert_eq!(desk.values(), vec![vec![Some(1000.0), None]; 20]);
    assert!((2..=6).contains(&desk.tally.refused), "{:?}", desk.tally);
}

#[test]
fn a_damaged_answer_is_corrupt_and_asked_for_again() {
    let mut desk = desk(bus(words(1, &[0])));
    let mut asked = 0;
    desk.run(3 * CYCLE_MS * MS - 1, |_, message| {
        asked += 1;
        let mut bytes = answer(message);
        if asked == 2 {
            bytes[4] ^= 0x10;
        }
        vec![(MS, bytes)]
    });
    assert_eq!(desk.values(), vec![vec![Some(1000.0)]; 3]);
    assert_eq!(desk.tally.corrupt_frames, 1);
    assert_eq!((desk.tally.unanswered, asked), (0, 4));
}

#[test]
fn an_answer_over_tcp_that_says_something_else_is_corrupt() {
    let mut desk = desk(tcp(words(1, &[0])));
    let mut asked = 0;
    desk.run(2 * CYCLE_MS * MS - 1, |_, message| {
        asked += 1;
        let mut request = parse(message);
        if asked == 1 {
            request.unit = 7;
            return vec![(MS, wrap(request, &[7, 3, 2, 0, 0]))];
        }
        vec![(MS, answer(message))]
    });
    assert_eq!(desk.values(), vec![vec![Some(1000.0)]; 2]);
    assert_eq!(desk.tally.corrupt_frames, 1);
}

#[test]
fn the_line_is_silent_between_an_answer_and_the_next_request() {
    // At 1200 baud a character of ten bits takes 8.3 ms, and the silence 29 ms.
    for ns_per_byte in [10e9 / 1200.0, 10e9 / 115_200.0] {
        let mut options = bus(words(1, &[0, 10, 20]));
        let expected = if ns_per_byte > 1e6 {
            29_166_666
        } else {
            1_750_000
        };
        options.cycle = Duration::from_secs(2);
        options.framing = Framing::Rtu {
            silence: silence(ns_per_byte),
            ns_per_byte,
        };
        let mut desk = desk(options);
        let mut ends = Vec::new();
        desk.run(1900 * MS, |at, message| {
            // The request's and the answer's bytes take their time on the line.
            let took = (15.0 * ns_per_byte) as i64 + 2 * MS;
            ends.push(at + took);
            vec![(took, answer(message))]
        });
        assert_eq!(
            desk.tally,
            Default::default(),
            "no time-out though the line is slow"
        );
        assert_eq!(desk.sent.len(), 3);
        for (end, (next, _)) in ends.iter().zip(&desk.sent[1..]) {
            let silent = next - end;
            assert!((expected..expected + MS).contains(&silent), "{silent} ns");
        }
    }
}

#[test]
fn a_slow_channel_is_read_in_every_nth_cycle() {
    let mut channels = words(1, &[0, 1]);
    channels[1].every = 3;
    let mut desk = desk(bus(channels));
    desk.run(7 * CYCLE_MS * MS - 1, all);
    let slow: Vec<bool> = desk.values().iter().map(|row| row[1].is_some()).collect();
    assert_eq!(slow, [true, false, false, true, false, false, true]);
    assert!(desk.values().iter().all(|row| row[0].is_some()));
}

#[test]
fn a_cycle_that_takes_too_long_leaves_the_next_out_and_says_so() {
    let mut desk = desk(bus(words(1, &[0, 10, 20, 30, 40, 50, 60, 70, 80, 90])));
    desk.run(2000 * MS, |_, message| vec![(15 * MS, answer(message))]);
    // Ten answers of 15 ms and ten silences: 168 ms for a cycle of 100.
    assert!((9..=12).contains(&desk.rows.len()), "{}", desk.rows.len());
    assert_eq!(desk.told.len(), 1);
    assert!(desk.told[0].contains("left out"), "{:?}", desk.told);
    assert!(desk.values().iter().flatten().all(Option::is_some));
}

#[test]
fn an_opening_starts_anew() {
    let mut desk = desk(bus(words(1, &[0])));
    desk.run(30 * MS, |_, _| Vec::new());
    desk.reset();
    desk.run(desk.now_ns + 50 * MS, all);
    assert_eq!(desk.values(), [vec![Some(1000.0)]]);
}

#[test]
fn an_adapter_that_echoes_requests_is_put_up_with() {
    let mut desk = desk(bus(words(1, &[0, 1])));
    desk.run(3 * CYCLE_MS * MS - 1, |_, message| {
        vec![(MS / 2, message.to_vec()), (2 * MS, answer(message))]
    });
    assert_eq!(desk.values(), vec![vec![Some(1000.0), Some(1001.0)]; 3]);
    assert_eq!(desk.tally.skipped_bytes, 3 * 8);
    assert_eq!((desk.tally.unanswered, desk.tally.corrupt_frames), (0, 0));
}

#[test]
fn what_cannot_work_is_said() {
    let mut one = channel(0, 65_535, Scalar::F32);
    one.every = 0;
    let mut two = channel(1, 0, Scalar::U16);
    two.table = Table::Coil;
    two.order = Order::big(4);
    let mut options = bus(vec![one, two, channel(1, 0, Scalar::Bit(16))]);
    options.timeout = Duration::ZERO;
    options.registers_max = 126;
    let Err(errors) = Options::Modbus(options).build() else {
        panic!("it cannot work");
    };
    let count = |part: &str| errors.iter().filter(|error| error.part == part).count();
    assert_eq!(count("field 0"), 3, "{errors:?}");
    assert_eq!(count("field 1"), 2, "{errors:?}");
    assert_eq!(count("field 2"), 1, "{errors:?}");
    assert_eq!(
        (count("timeout"), count("registers_max")),
        (1, 1),
        "{errors:?}"
    );
}

fn rubbish(length: usize) -> impl Strategy<Value = Vec<u8>> {
    let telling = prop::sample::select(&[1_u8, 3, 2, 0x83, 0, 4, 6, 16][..]);
    prop::collection::vec(prop_oneof![telling, any::<u8>()], 0..length)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever stands before an answer, in whatever pieces it comes.
    #[test]
    fn rubbish_costs_no_answer(
        is_tcp: bool, rubbish in rubbish(300), piece in 1..40_usize, is_behind: bool,
    ) {
        let options = if is_tcp { tcp(words(1, &[0, 1, 2, 3])) } else { bus(words(1, &[0, 1, 2, 3])) };
        let run = |piece: usize| {
            let mut desk = desk(options.clone());
            desk.piece = piece;
            desk.run(5 * CYCLE_MS * MS - 1, |_, message| {
                let mut bytes = if is_behind { Vec::new() } else { rubbish.clone() };
                bytes.extend(answer(message));
                if is_behind {
                    bytes.extend(&rubbish);
                }
                vec![(2 * MS, bytes)]
            });
            desk
        };
        let (whole, pieces) = (run(usize::MAX), run(piece));
        prop_assert_eq!(whole.values(), vec![vec![Some(1000.0), Some(1001.0), Some(1002.0), Some(1003.0)]; 5]);
        prop_assert_eq!(pieces.values(), whole.values());
        prop_assert_eq!(whole.tally.skipped_bytes, 5 * rubbish.len() as u64);
        prop_assert_eq!(pieces.tally.skipped_bytes, whole.tally.skipped_bytes);
        prop_assert_eq!(whole.tally.unanswered + whole.tally.corrupt_frames, 0);
    }

    /// Answers late by any time up to two time-outs, or never: no value is ever another's.
    #[test]
    fn no_answer_is_ever_taken_for_another(
        lates in prop::collection::vec(0..3 * TIMEOUT_MS, 1..40), retries in 0..3_u8,
    ) {
        let mut channels = words(1, &[0, 10, 20]);
        channels.extend(words(2, &[0, 10]));
        let mut options = bus(channels.clone());
        options.retries = retries;
        options.backoff_first = Duration::from_millis(30);
        options.backoff_max = Duration::from_millis(60);
        let mut desk = desk(options);
        let mut number = 0;
        desk.run(4000 * MS, |_, message| {
            number += 1;
            match lates[number % lates.len()] {
                // What comes later than another time-out cannot be told: said in the documentation.
                late if late >= 2 * TIMEOUT_MS - 1 => Vec::new(),
                late => vec![(late * MS, answer(message))],
            }
        });
        for row in desk.values() {
            for (value, channel) in row.iter().zip(&channels) {
                let right = f64::from(register(channel.unit, channel.at));
                prop_assert!(value.is_none_or(|value| value == right), "{:?} {:?}", row, desk.sent.len());
            }
        }
    }

    /// Any bytes at any time: it goes on asking, and hears the first good answer after them.
    #[test]
    fn any_bytes_neither_break_it_nor_keep_it(
        noise in prop::collection::vec((0..2000_i64, rubbish(64)), 0..60), is_tcp: bool,
    ) {
        let options = if is_tcp { tcp(words(1, &[0])) } else { bus(words(1, &[0])) };
        let mut desk = desk(options);
        let mut noise = noise;
        noise.sort_by_key(|(at, _)| *at);
        for (at, bytes) in &noise {
            desk.run(at * MS, |_, _| Vec::new());
            desk.hear(bytes);
        }
        desk.run(2000 * MS, |_, _| Vec::new());
        let before = desk.rows.len();
        desk.run(7000 * MS, all);
        let after = &desk.values()[before..];
        prop_assert!(after.iter().rev().take(20).all(|row| row[0] == Some(1000.0)), "{:?}", after.last());
    }
}
