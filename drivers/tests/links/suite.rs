//! What holds for every link.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use kymo_drivers::link::{LineError, Link, Read, Stop};

use super::kinds::{End, FarEnd, KINDS, Kind, MOMENT, PATIENCE, take};

#[allow(clippy::print_stdout)] // Seen only when a test fails: at which link.
fn each(of: impl Fn(&Kind) -> bool, test: impl Fn(&Kind, Box<dyn Link>, Box<dyn FarEnd>)) {
    for kind in KINDS.iter().filter(|kind| of(kind)) {
        println!("{}", kind.name);
        let (link, far) = (kind.open)();
        test(kind, link, far);
    }
}

fn any(_: &Kind) -> bool {
    true
}

/// All values: controls for echo, line editing, signals and flow among them.
fn all_values(count: usize) -> Vec<u8> {
    (0..=255).cycle().take(count).collect()
}

#[test]
fn every_byte_comes_through_unchanged() {
    each(any, |_, mut link, mut far| {
        let sent = all_values(3000);
        far.send(&sent);
        assert_eq!(take(&mut *link, sent.len()), sent);
    });
}

#[test]
fn a_read_takes_no_more_than_fits_and_leaves_the_rest() {
    let of_streams = |kind: &Kind| kind.name != "udp";
    each(of_streams, |_, mut link, mut far| {
        assert!(!link.keeps_boundaries());
        far.send(b"abcdefg");
        let stop = Stop::new().unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 3];
        while got.len() < 7 {
            match link.read(&mut buffer, Some(PATIENCE), &stop) {
                Read::Data(count) => got.extend_from_slice(&buffer[..count]),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(got, b"abcdefg");
    });
}

#[test]
fn a_quiet_device_is_not_a_missing_one() {
    each(
        |kind| kind.can_be_quiet,
        |_, mut link, mut far| {
            let stop = Stop::new().unwrap();
            let mut buffer = [0; 64];
            let start = Instant::now();
            assert_eq!(link.read(&mut buffer, Some(MOMENT), &stop), Read::Quiet);
            assert!(start.elapsed() >= MOMENT, "it waited");
            let read = link.read(&mut buffer, Some(Duration::ZERO), &stop);
            assert_eq!(read, Read::Quiet);
            far.send(b"x");
            assert_eq!(take(&mut *link, 1), b"x");
        },
    );
}

#[test]
fn the_order_to_stop_ends_a_wait_and_what_has_come_is_still_taken() {
    each(
        |kind| kind.can_be_quiet,
        |_, mut link, mut far| {
            let stop = Stop::new().unwrap();
            let (order, (said, heard)) = (stop.clone(), mpsc::channel());
            let reader = std::thread::spawn(move || {
                said.send(()).unwrap();
                let read = link.read(&mut [0; 64], None, &order);
                (read, link)
            });
            heard.recv().unwrap();
            stop.trigger();
            let (read, mut link) = reader.join().unwrap();
            assert_eq!(read, Read::Stopped);
            far.send(b"last");
            let mut buffer = [0; 64];
            let mut got = 0;
            let started = Instant::now();
            // On its way for a moment: until it is there, the order is all there is.
            while got < 4 {
                match link.read(&mut buffer, None, &stop) {
                    Read::Data(count) => got += count,
                    Read::Stopped => assert!(started.elapsed() < PATIENCE),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(link.read(&mut buffer, None, &stop), Read::Stopped);
        },
    );
}

fn until_the_end(link: &mut dyn Link) -> (Vec<u8>, Read) {
    let stop = Stop::new().unwrap();
    let mut got = Vec::new();
    let mut buffer = [0; 300];
    loop {
        match link.read(&mut buffer, Some(PATIENCE), &stop) {
            Read::Data(count) => got.extend_from_slice(&buffer[..count]),
            Read::Quiet => panic!("{} bytes, and the end was not seen", got.len()),
            other => return (got, other),
        }
    }
}

#[test]
fn what_came_before_a_hang_up_is_delivered_and_then_it_stays_gone() {
    each(
        |kind| kind.end != End::Unseen,
        |kind, mut link, mut far| {
            let sent = all_values(1000);
            far.send(&sent);
            let _folder = far.hang_up();
            let (got, end) = until_the_end(&mut *link);
            if kind.delivers_last {
                assert_eq!(got, sent);
            } else {
                assert!(sent.starts_with(&got));
            }
            let reason = match (kind.end, end) {
                (End::Gone, Read::Gone(reason)) | (End::Finished, Read::Finished(reason)) => reason,
                (_, other) => panic!("{other:?}"),
            };
            assert!(!reason.is_empty());
            let again = link.read(&mut [0; 8], None, &Stop::new().unwrap());
            assert!(
                matches!(again, Read::Gone(_) | Read::Finished(_)),
                "{again:?}"
            );
        },
    );
}

#[test]
fn a_hang_up_ends_a_wait_without_a_limit() {
    each(
        |kind| kind.end == End::Gone,
        |_, mut link, far| {
            let (said, heard) = mpsc::channel();
            let reader = std::thread::spawn(move || {
                said.send(()).unwrap();
                link.read(&mut [0; 64], None, &Stop::new().unwrap())
            });
            heard.recv().unwrap();
            let _folder = far.hang_up();
            assert!(matches!(reader.join().unwrap(), Read::Gone(_)));
        },
    );
}

/// After a hang-up the kernel calls a descriptor ready for ever: who waits on it would spin.
#[test]
fn a_link_that_stays_open_waits_for_its_next_peer_without_spinning() {
    each(
        |kind| kind.stays_open,
        |_, mut link, far| {
            let _folder = far.hang_up();
            let (_, end) = until_the_end(&mut *link);
            assert!(matches!(end, Read::Gone(_)));
            let mut link = link.again().expect("it stays open");
            assert!(link.missing_peer().is_some());
            let stop = Stop::new().unwrap();
            let (order, (said, heard)) = (stop.clone(), mpsc::channel());
            let waiting = std::thread::spawn(move || {
                let found = link.await_peer(&order).unwrap();
                said.send(found).unwrap();
            });
            assert!(
                heard.recv_timeout(MOMENT).is_err(),
                "nobody is there, and it did not wait"
            );
            stop.trigger();
            assert_eq!(heard.recv(), Ok(false));
            waiting.join().unwrap();
        },
    );
}

#[test]
fn a_flood_is_taken_at_its_rate_and_each_byte_counted() {
    const PIECES: usize = 4000;
    each(
        |kind| kind.can_be_quiet,
        |kind, mut link, mut far| {
            let piece = all_values(1000);
            let sender = std::thread::spawn(move || {
                for _ in 0..PIECES {
                    far.send(&piece);
                }
                far
            });
            let stop = Stop::new().unwrap();
            let mut buffer = vec![0; 1 << 16];
            let (mut got, mut dropped) = (0, 0);
            while got + dropped < PIECES * 1000 {
                // Before it is found quiet: what comes after that may still be on its way.
                let finished = sender.is_finished();
                match link.read(&mut buffer, Some(Duration::from_millis(200)), &stop) {
                    Read::Data(count) => {
                        let is_whole = count == 1000;
                        assert!(kind.name != "udp" || is_whole, "{count}");
                        got += count;
                    }
                    Read::Quiet => {
                        // Nothing may be missing that the kernel does not own up to.
                        let errors = link.noticed().line_errors;
                        let lost = errors.get(LineError::DatagramDropped);
                        dropped += usize::try_from(lost).unwrap() * 1000;
                        assert!(
                            !finished || lost > 0 || got + dropped >= PIECES * 1000,
                            "{got} bytes came, {dropped} were dropped"
                        );
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(got + dropped, PIECES * 1000);
            drop(sender.join().unwrap());
        },
    );
}

#[test]
fn what_is_sent_reaches_the_far_end_and_nothing_is_sent_where_nothing_can_be() {
    each(any, |kind, link, mut far| {
        let sender = link.sender();
        assert_eq!(sender.is_some(), kind.can_send);
        if let Some(mut sender) = sender {
            sender.send(b"*IDN?\r\n", PATIENCE).unwrap();
            assert_eq!(far.receive(7), b"*IDN?\r\n");
        }
    });
}
