//! The tape gives what is on it, when it is on it, whatever the pace and the waits.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const MS: i64 = 1_000_000;

fn at(ms: i64, what: Happened) -> Moment {
    Moment {
        time_ns: ms * MS,
        what,
    }
}

fn opened(ms: i64) -> Moment {
    at(ms, Happened::Opened(Manner::default()))
}

fn bytes(ms: i64, text: &str) -> Moment {
    at(ms, Happened::Read(text.as_bytes().to_vec()))
}

fn play(tape: Vec<Moment>, pace: Option<Pace>) -> (Recorded, VirtualTime, Stop) {
    let time = VirtualTime::new(0);
    let link = Recorded::new(
        Box::new(tape.into_iter()),
        time.clone(),
        pace,
        Manner::default(),
    );
    (link, time, Stop::new().unwrap())
}

fn wait(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

#[test]
fn a_wait_that_nothing_ends_passes_in_virtual_time() {
    let (mut link, time, stop) = play(vec![opened(1), bytes(100, "abc")], None);
    assert!(link.await_peer(&stop).unwrap());
    assert_eq!(time.now_ns(), MS);
    let mut buffer = [0; 8];
    assert_eq!(link.read(&mut buffer, wait(40), &stop), Read::Quiet);
    assert_eq!(time.now_ns(), 41 * MS);
    assert_eq!(link.read(&mut buffer, wait(59), &stop), Read::Data(3));
    assert_eq!((time.now_ns(), &buffer[..3]), (100 * MS, &b"abc"[..]));
    let end = Read::Finished(END.to_owned());
    assert_eq!(link.read(&mut buffer, None, &stop), end);
    assert_eq!(link.read(&mut buffer, wait(5), &stop), end);
    assert_eq!(time.now_ns(), 100 * MS);
}

#[test]
fn a_read_that_does_not_fit_comes_in_parts_at_the_same_time() {
    let (mut link, time, stop) = play(vec![opened(0), bytes(5, "abcdef"), bytes(6, "g")], None);
    assert!(link.await_peer(&stop).unwrap());
    let mut buffer = [0; 4];
    let mut all = Vec::new();
    for (count, ms) in [(4, 5), (2, 5), (1, 6)] {
        assert_eq!(link.read(&mut buffer, None, &stop), Read::Data(count));
        assert_eq!(time.now_ns(), ms * MS);
        all.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(all, b"abcdefg");
}

#[test]
fn a_device_is_back_when_it_was_and_not_when_it_is_looked_for() {
    let manner = Manner {
        ns_per_byte: 86.5,
        keeps_boundaries: true,
    };
    let tape = vec![
        opened(0),
        at(10, Happened::Gone("unplugged".to_owned())),
        at(700, Happened::Opened(manner)),
        bytes(701, "x"),
    ];
    let (mut link, time, stop) = play(tape, None);
    assert!(link.await_peer(&stop).unwrap());
    let mut buffer = [0; 4];
    assert_eq!(
        link.read(&mut buffer, None, &stop),
        Read::Gone("unplugged".to_owned())
    );
    assert_eq!(time.now_ns(), 10 * MS);
    let mut link = Box::new(link).again().unwrap();
    assert!(link.comes_by_itself() && link.await_peer(&stop).unwrap());
    assert_eq!(time.now_ns(), 700 * MS);
    assert!(link.keeps_boundaries() && (link.ns_per_byte() - 86.5).abs() < f64::EPSILON);
    assert_eq!(link.read(&mut buffer, None, &stop), Read::Data(1));
}

#[test]
fn nobody_comes_after_the_end_of_the_tape() {
    let (mut link, _, stop) = play(
        vec![opened(0), at(1, Happened::Gone("gone".to_owned()))],
        None,
    );
    assert!(link.await_peer(&stop).unwrap());
    assert_eq!(
        link.read(&mut [0; 4], None, &stop),
        Read::Gone("gone".to_owned())
    );
    assert!(!link.await_peer(&stop).unwrap());
}

#[test]
fn a_tape_that_begins_in_the_middle_begins_with_its_first_bytes() {
    let (mut link, time, stop) = play(vec![bytes(30, "x")], None);
    assert!(link.await_peer(&stop).unwrap());
    assert_eq!(time.now_ns(), 30 * MS);
    assert_eq!(link.read(&mut [0; 4], wait(0), &stop), Read::Data(1));
}

#[test]
fn a_device_opened_twice_was_lost_in_between() {
    let (mut link, time, stop) = play(vec![opened(0), opened(9), bytes(10, "x")], None);
    assert!(link.await_peer(&stop).unwrap());
    assert_eq!(
        link.read(&mut [0; 4], None, &stop),
        Read::Gone(HOLE.to_owned())
    );
    assert!(link.await_peer(&stop).unwrap());
    assert_eq!(time.now_ns(), 9 * MS);
    assert_eq!(link.read(&mut [0; 4], None, &stop), Read::Data(1));
}

#[test]
fn what_is_sent_to_a_device_of_the_past_is_taken() {
    let (link, _, _) = play(vec![], None);
    let mut sender = link.sender().unwrap();
    assert!(sender.send(b"*IDN?", Duration::ZERO).is_ok());
}

#[test]
fn a_pace_holds_the_host_back_and_the_order_to_stop_ends_it() {
    let pace = Pace {
        from_ns: 0,
        host: Instant::now(),
        speed: 10.0,
    };
    let (mut link, _, stop) = play(
        vec![opened(0), bytes(200, "x"), bytes(3_600_000, "y")],
        Some(pace),
    );
    assert!(link.await_peer(&stop).unwrap());
    assert_eq!(link.read(&mut [0; 4], None, &stop), Read::Data(1));
    // Never early; how late is the machine's affair.
    assert!(pace.host.elapsed() >= Duration::from_millis(20));
    let waiting = std::thread::spawn({
        let stop = stop.clone();
        move || link.read(&mut [0; 4], None, &stop)
    });
    stop.trigger();
    assert_eq!(waiting.join().unwrap(), Read::Stopped);
}

#[test]
fn times_that_step_back_on_the_tape_do_not_turn_the_time_back() {
    let (mut link, time, stop) = play(vec![opened(10), bytes(20, "a"), bytes(15, "b")], None);
    assert!(link.await_peer(&stop).unwrap());
    for _ in 0..2 {
        assert_eq!(link.read(&mut [0; 4], wait(50), &stop), Read::Data(1));
        assert_eq!(time.now_ns(), 20 * MS);
    }
}

proptest! {
    /// Against a plain account of the tape: each byte once, in order, at its time, and the time never turns back.
    #[test]
    fn every_byte_comes_once_at_its_time_whatever_the_waits(
        reads in prop::collection::vec((0_i64..50, prop::collection::vec(any::<u8>(), 0..20)), 0..40),
        waits in prop::collection::vec(prop::option::of(0_u64..30), 1..20),
        room in 1_usize..16,
    ) {
        let mut tape = vec![opened(0)];
        let mut expected = Vec::new();
        let mut now = 0;
        for (after, bytes) in reads {
            now += after;
            expected.extend(bytes.iter().map(|byte| (now * MS, *byte)));
            tape.push(at(now, Happened::Read(bytes)));
        }
        let (mut link, time, stop) = play(tape, None);
        prop_assert!(link.await_peer(&stop).unwrap());
        let mut found = Vec::new();
        let mut buffer = vec![0; room];
        let mut before_ns = 0;
        let mut waits = waits.into_iter().chain([None]).cycle();
        loop {
            let wait = waits.next().unwrap().map(Duration::from_millis);
            let read = link.read(&mut buffer, wait, &stop);
            let now_ns = time.now_ns();
            prop_assert!(now_ns >= before_ns);
            match read {
                Read::Data(count) => {
                    found.extend(buffer[..count].iter().map(|byte| (now_ns, *byte)));
                }
                Read::Quiet => {
                    let wait_ns = i64::try_from(wait.unwrap().as_nanos()).unwrap();
                    prop_assert_eq!(now_ns, before_ns + wait_ns);
                }
                Read::Finished(_) => break,
                other => prop_assert!(false, "{other:?}"),
            }
            before_ns = now_ns;
        }
        prop_assert_eq!(found, expected);
    }
}
