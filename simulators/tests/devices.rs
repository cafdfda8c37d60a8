//! The devices from outside, through a bare reader on the slave side.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use kymo_simulators::{
    Channel, CommandOptions, Fault, FaultKind, Form, Generic, LogOptions, Options, Rhythm, Scalar,
    Signal, Simulator, Truth, When, WhenFull, expected,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;

const PATIENCE: Duration = Duration::from_secs(10);

/// A reader with no driver in it.
struct Reader(File);

impl Reader {
    fn open(device: &Simulator) -> Self {
        let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits();
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags as i32);
        Self(options.open(device.path()).unwrap())
    }

    /// Waits for bytes; `None` after the time, or at a hang-up.
    fn some(&mut self, wait: Duration) -> Option<Vec<u8>> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec::try_from(wait).unwrap())).unwrap();
        let mut bytes = vec![0; 1 << 16];
        match self.0.read(&mut bytes) {
            Ok(0) => None,
            Ok(count) => Some(bytes[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn at_least(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.some(PATIENCE).expect("the device goes on"));
        }
        all
    }

    fn for_some_time(&mut self, time: Duration) -> Vec<u8> {
        let start = Instant::now();
        let mut all = Vec::new();
        while let Some(left) = time.checked_sub(start.elapsed()) {
            all.extend(self.some(left).unwrap_or_default());
        }
        all
    }

    /// All that is in the port.
    fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = self.some(Duration::from_millis(50)) {
            all.extend(bytes);
        }
        all
    }

    /// Reads on until the device is quiet: everything from here to the end, and the truth.
    fn until_quiet(&mut self, device: &Simulator) -> (Vec<u8>, Truth) {
        let quiet = device.pause();
        let mut all = Vec::new();
        let truth = loop {
            all.extend(self.some(Duration::from_millis(5)).unwrap_or_default());
            if let Ok(truth) = quiet.try_recv() {
                break truth;
            }
        };
        all.extend(self.rest());
        (all, truth)
    }
}

fn wait_ms(time: u64) {
    let time = Timespec::try_from(Duration::from_millis(time)).unwrap();
    rustix::event::poll(&mut [], Some(&time)).unwrap();
}

fn imu(links: &tempfile::TempDir, rate_hz: f64) -> Options {
    Options {
        rate_hz: Some(rate_hz),
        ..Options::new("imu", "inertial-unit", links.path())
    }
}

fn accounted(truth: &Truth) -> u64 {
    truth.frames_sent + truth.frames_dropped + truth.frames_missed + truth.frames_skipped
}

/// The counters of the packets of an inertial unit, whose channel 5 is the counter too.
fn counters(bytes: &[u8]) -> Vec<u16> {
    let packets = bytes.chunks_exact(18);
    let one = |packet: &[u8]| {
        assert_eq!(packet[..2], [0xAA, 0x55]);
        assert_eq!(packet[2..4], packet[14..16]);
        u16::from_le_bytes([packet[2], packet[3]])
    };
    packets.map(one).collect()
}

#[test]
fn the_first_frame_read_is_number_zero_and_none_is_missing_or_out_of_order() {
    let links = tempfile::tempdir().unwrap();
    let device = Simulator::start(imu(&links, 4000.0)).unwrap();
    let mut reader = Reader::open(&device);
    let mut bytes = reader.at_least(18 * 500);
    let (rest, truth) = reader.until_quiet(&device);
    bytes.extend(rest);
    let counters = counters(&bytes);
    assert!(counters.iter().copied().eq(0..counters.len() as u16));
    assert_eq!(truth.frames_sent, counters.len() as u64);
    assert_eq!(truth.bytes_sent, bytes.len() as u64);
    assert_eq!(truth.next_index, truth.frames_sent);
    assert_eq!(device.stop().unwrap(), truth);
}

#[test]
fn a_port_tried_and_closed_before_it_is_opened_for_good_costs_no_frame() {
    let links = tempfile::tempdir().unwrap();
    let device = Simulator::start(imu(&links, 4000.0)).unwrap();
    for _ in 0..3 {
        drop(Reader::open(&device));
    }
    let mut reader = Reader::open(&device);
    assert_eq!(counters(&reader.at_least(18))[0], 0);
}

#[test]
fn every_value_sent_can_be_computed_from_outside() {
    let links = tempfile::tempdir().unwrap();
    let device = Simulator::start(imu(&links, 20_000.0)).unwrap();
    let bytes = Reader::open(&device).at_least(18 * 5000);
    for (index, packet) in bytes.chunks_exact(18).enumerate() {
        for channel in 0..6 {
            let at = 4 + 2 * channel;
            let value = i16::from_le_bytes([packet[at], packet[at + 1]]);
            let computed = expected("inertial-unit", channel, index as u64, 20_000.0, 0);
            assert_eq!(computed, Some(f64::from(value)), "{index} {channel}");
        }
    }
}

#[test]
fn the_rate_is_kept_on_the_clock() {
    let links = tempfile::tempdir().unwrap();
    for rate_hz in [100.0, 1000.0, 4000.0] {
        let device = Simulator::start(imu(&links, rate_hz)).unwrap();
        let mut reader = Reader::open(&device);
        reader.at_least(18);
        let frames = reader.for_some_time(Duration::from_secs(1)).len() as f64 / 18.0;
        // Beside 2 %, a frame at either end.
        let slack = rate_hz * 0.02 + 1.0;
        assert!((frames - rate_hz).abs() <= slack, "{frames} at {rate_hz}");
    }
}

#[test]
fn an_unplugged_device_hangs_up_and_comes_back_with_its_counter_gone_on() {
    let links = tempfile::tempdir().unwrap();
    let device = Simulator::start(imu(&links, 4000.0)).unwrap();
    let mut reader = Reader::open(&device);
    reader.at_least(1800);
    let before = std::fs::read_link(device.path()).unwrap();
    device.unplug().unwrap();
    assert!(!device.path().exists());
    while reader.some(PATIENCE).is_some() {}
    assert_eq!(reader.0.read(&mut [0]).unwrap(), 0, "a hang-up");

    device.replug().unwrap();
    assert_ne!(std::fs::read_link(device.path()).unwrap(), before);
    let mut reader = Reader::open(&device);
    let mut bytes = reader.at_least(1800);
    let (rest, truth) = reader.until_quiet(&device);
    bytes.extend(rest);
    let counters = counters(&bytes);
    assert!(counters[0] > 100, "{}", counters[0]);
    assert!(counters.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert!(truth.frames_missed > 0);
    assert_eq!(truth.next_index, u64::from(*counters.last().unwrap()) + 1);
    assert_eq!(accounted(&truth), truth.next_index);
}

#[test]
fn a_closed_reader_does_not_end_the_device_and_the_next_one_gets_fresh_frames() {
    let links = tempfile::tempdir().unwrap();
    let device = Simulator::start(imu(&links, 4000.0)).unwrap();
    Reader::open(&device).at_least(18);
    while device.truth().frames_missed < 100 {
        std::thread::yield_now();
    }
    let mut reader = Reader::open(&device);
    let counters = counters(&reader.at_least(1800));
    assert!(counters[0] > 100);
    assert!(counters.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn stopping_is_prompt_in_every_state_and_takes_the_link_away() {
    let states: [fn(&Simulator, &mut Option<Reader>); 5] = [
        |_, reader| *reader = None,
        |_, _| {},
        |device, reader| {
            reader.as_mut().unwrap().at_least(18);
            device.pause().recv().unwrap();
        },
        |device, _| device.unplug().unwrap(),
        |device, reader| {
            // Full: nobody reads.
            reader.as_mut().unwrap().at_least(18);
            while device.truth().bytes_sent < 5000 {
                std::thread::yield_now();
            }
        },
    ];
    for (place, state) in states.iter().enumerate() {
        let links = tempfile::tempdir().unwrap();
        let device = Simulator::start(imu(&links, 50_000.0)).unwrap();
        let link = device.path().to_owned();
        let mut reader = Some(Reader::open(&device));
        state(&device, &mut reader);
        let start = Instant::now();
        let truth = device.stop().unwrap();
        let took = start.elapsed();
        assert!(took < Duration::from_millis(100), "{place}: {took:?}");
        assert_eq!(accounted(&truth), truth.next_index, "{place}");
        assert!(!link.is_symlink());
    }
}

#[test]
fn with_a_slow_reader_a_waiting_device_loses_nothing_and_catches_up() {
    let links = tempfile::tempdir().unwrap();
    let device = Simulator::start(imu(&links, 20_000.0)).unwrap();
    let mut reader = Reader::open(&device);
    let mut bytes = reader.at_least(18);
    wait_ms(800);
    let start = Instant::now();
    bytes.extend(reader.at_least(18 * 16_000));
    let took = start.elapsed();
    assert!(took < Duration::from_millis(600), "{took:?} for 800 ms");
    let (rest, truth) = reader.until_quiet(&device);
    bytes.extend(rest);
    let counters = counters(&bytes);
    assert!(counters.iter().copied().eq(0..counters.len() as u16));
    assert_eq!(truth.frames_sent, counters.len() as u64);
}

#[test]
fn with_a_slow_reader_a_dropping_device_drops_whole_frames_and_counts_them() {
    let links = tempfile::tempdir().unwrap();
    let options = Options {
        when_full: WhenFull::Drop,
        ..imu(&links, 20_000.0)
    };
    let device = Simulator::start(options).unwrap();
    let mut reader = Reader::open(&device);
    let mut bytes = reader.at_least(18);
    while device.truth().frames_dropped < 2000 {
        std::thread::yield_now();
    }
    bytes.extend(reader.at_least(18 * 1000));
    let (rest, truth) = reader.until_quiet(&device);
    bytes.extend(rest);
    assert_eq!(bytes.len() % 18, 0);
    let counters = counters(&bytes);
    assert_eq!(truth.frames_sent, counters.len() as u64);
    let gaps = counters
        .windows(2)
        .map(|pair| u64::from(pair[1] - pair[0] - 1));
    let behind = truth.next_index - 1 - u64::from(*counters.last().unwrap());
    assert_eq!(gaps.sum::<u64>() + behind, truth.frames_dropped);
    assert_eq!(accounted(&truth), truth.next_index);
}

#[test]
fn rubbish_gaps_and_flipped_bits_come_as_asked_for() {
    let links = tempfile::tempdir().unwrap();
    let device = Simulator::start(imu(&links, 1000.0)).unwrap();
    let mut reader = Reader::open(&device);
    let mut bytes = reader.at_least(18);
    bytes.extend(reader.until_quiet(&device).0);
    let next = counters(&bytes).len() as u16;
    device.skip(5);
    device.inject("rubbish");
    device.corrupt_next(2);
    device.resume();
    let bytes = reader.at_least(7 + 18 * 3);
    let (rubbish, frames) = bytes.split_at(7);
    assert_eq!(rubbish, b"rubbish");
    assert_eq!(u16::from_le_bytes([frames[2], frames[3]]), next + 5);
    for (place, frame) in frames.chunks_exact(18).take(3).enumerate() {
        let index = u64::from(next) + 5 + place as u64;
        let middle = i16::from_le_bytes([frame[8], frame[9]]);
        let right = expected("inertial-unit", 2, index, 1000.0, 0).unwrap() as i16;
        let bits = (middle ^ right).count_ones();
        assert_eq!(bits, if place < 2 { 1 } else { 0 });
    }
    let truth = device.pause().recv().unwrap();
    assert_eq!((truth.frames_skipped, truth.frames_corrupted), (5, 2));
    assert_eq!(accounted(&truth), truth.next_index);
}

#[test]
fn a_forced_level_is_answered_with_the_frame_and_the_time_it_left() {
    let links = tempfile::tempdir().unwrap();
    let options = Options::new("chamber", "pressure-interlock", links.path());
    let device = Simulator::start(options).unwrap();
    let mut reader = Reader::open(&device);
    reader.at_least(100);
    let asked = Instant::now();
    let written = device.set_level(Some(3.5)).recv().unwrap();
    assert!(written.at >= asked && written.at.elapsed() < Duration::from_secs(1));
    let (bytes, truth) = reader.until_quiet(&device);
    assert!(truth.next_index > written.index && written.index > 9);
    // 3.5 is 00 00 60 40: its last two bytes close the value in every packet.
    assert!(bytes.windows(2).any(|pair| pair == [0x60, 0x40]));
    drop(device);

    let options = Options::new("imu", "inertial-unit", links.path());
    let device = Simulator::start(options).unwrap();
    assert!(
        device.set_level(Some(1.0)).recv().is_err(),
        "it has no level"
    );
}

#[test]
fn a_paused_or_blocked_device_uses_no_processor() {
    let links = tempfile::tempdir().unwrap();
    let options = Options {
        name: "idle".to_owned(),
        ..imu(&links, 100_000.0)
    };
    let device = Simulator::start(options).unwrap();
    let mut reader = Reader::open(&device);
    reader.at_least(18);
    while device.truth().bytes_sent < 5000 {
        std::thread::yield_now();
    }
    reader.for_some_time(Duration::ZERO);
    // Nobody reads: the port is full, and the device waits for room.
    assert_eq!(processor_ns_while_waiting("idle"), 0);
    reader.until_quiet(&device);
    assert_eq!(processor_ns_while_waiting("idle"), 0);
}

/// Processor time that the thread of this name takes in 200 ms, after 50 ms to calm down.
fn processor_ns_while_waiting(name: &str) -> u64 {
    let used = || {
        let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        let task = tasks.find(|task| read(task.path().join("comm")).trim() == name);
        let stat = read(task.expect("it runs").path().join("schedstat"));
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    wait_ms(50);
    let before = used();
    wait_ms(200);
    used() - before
}

#[test]
fn a_flood_loses_nothing_and_keeps_its_counter_in_step_over_its_seam() {
    let links = tempfile::tempdir().unwrap();
    let device = Simulator::start(imu(&links, f64::INFINITY)).unwrap();
    let mut reader = Reader::open(&device);
    let mut bytes = reader.at_least(18 * 70_000);
    let (rest, truth) = reader.until_quiet(&device);
    bytes.extend(rest);
    let counters = counters(&bytes);
    assert_eq!(truth.frames_sent, counters.len() as u64);
    assert!(
        counters
            .iter()
            .copied()
            .eq((0..counters.len()).map(|index| index as u16))
    );
    let last = &bytes[18 * 69_999..][4..6];
    let value = expected("inertial-unit", 0, 69_999, f64::INFINITY, 0).unwrap();
    assert_eq!(f64::from(i16::from_le_bytes([last[0], last[1]])), value);
}

#[test]
fn what_cannot_be_simulated_is_refused_before_anything_is_made() {
    let links = tempfile::tempdir().unwrap();
    let teapot = Options::new("t", "teapot", links.path());
    let still = imu(&links, 0.0);
    let dots = Options::new("..", "inertial-unit", links.path());
    for options in [teapot, still, dots] {
        let refused = Simulator::start(options).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(std::fs::read_dir(links.path()).unwrap().count(), 0);
}

/// A generic device that sends lines: its number, and nothing else.
fn counting(links: &tempfile::TempDir) -> Options {
    let channel = Channel {
        name: "n".to_owned(),
        signal: vec![Signal::Counter],
        scalar: Scalar::U32,
        scale: 1.0,
        offset: 0.0,
        decimals: 0,
    };
    let form = Form::Lines {
        separator: ",".to_owned(),
        start: String::new(),
        end: "\n".to_owned(),
        names: false,
    };
    Options {
        generic: Some(Generic {
            form,
            channels: vec![channel],
        }),
        rate_hz: Some(1000.0),
        ..Options::new("count", "lines", links.path())
    }
}

#[test]
fn a_device_sends_when_it_is_told_to_and_says_who_it_is() {
    let links = tempfile::tempdir().unwrap();
    let options = Options {
        commands: CommandOptions {
            start: Some(b"GO\n".to_vec()),
            stop: Some(b"HALT\n".to_vec()),
            answers: vec![(b"ID?\n".to_vec(), b"RIG\n".to_vec())],
        },
        ..counting(&links)
    };
    let device = Simulator::start(options).unwrap();
    let mut reader = Reader::open(&device);
    reader.0.write_all(b"ID?\n").unwrap();
    assert_eq!(
        reader.at_least(4),
        b"RIG\n",
        "it is silent until it is told"
    );
    reader.0.write_all(b"GO\n").unwrap();
    let lines = reader.at_least(500);
    assert!(lines.starts_with(b"0\n1\n2\n"), "{lines:?}");
    reader.0.write_all(b"HALT\nID?\n").unwrap();
    let mut rest = lines;
    while !rest.ends_with(b"RIG\n") {
        rest.extend(reader.at_least(1));
    }
    // What was due when it was told may still come.
    reader.rest();
    let truth = device.truth();
    reader.rest();
    assert_eq!(device.truth(), truth, "it sends nothing more");
    let sent = truth.frames_sent;
    reader.0.write_all(b"GO\n").unwrap();
    let more = reader.at_least(10);
    assert!(more.starts_with(format!("{sent}\n").as_bytes()), "{more:?}");
}

#[test]
fn a_device_falls_silent_behind_its_last_frame() {
    let links = tempfile::tempdir().unwrap();
    let options = Options {
        frames: Some(3),
        ..counting(&links)
    };
    let device = Simulator::start(options).unwrap();
    let mut reader = Reader::open(&device);
    assert_eq!(reader.at_least(6), b"0\n1\n2\n");
    assert_eq!(reader.rest(), b"");
    assert_eq!(device.stop().unwrap().frames_sent, 3);
}

#[test]
fn the_same_seed_commits_the_same_faults() {
    let sent = |seed| {
        let links = tempfile::tempdir().unwrap();
        let fault = |kind, when| Fault { kind, when };
        let options = Options {
            faults: vec![
                fault(FaultKind::ByteLoss(1), When::Always(0.01)),
                fault(
                    FaultKind::Burst(9),
                    When::Each(Rhythm::MeanEvery(Duration::from_millis(20))),
                ),
                fault(
                    FaultKind::Stall(Duration::from_millis(30)),
                    When::Each(Rhythm::At(Duration::from_millis(50))),
                ),
            ],
            frames: Some(300),
            seed,
            ..counting(&links)
        };
        let device = Simulator::start(options).unwrap();
        let mut reader = Reader::open(&device);
        let mut bytes = reader.at_least(500);
        while device.truth().next_index < 300 {
            bytes.extend(reader.some(Duration::from_millis(5)).unwrap_or_default());
        }
        let (rest, truth) = reader.until_quiet(&device);
        bytes.extend(rest);
        assert_eq!(truth.bytes_sent, bytes.len() as u64);
        assert!(truth.frames_hit > 5, "{truth:?}");
        bytes
    };
    let bytes = sent(1);
    assert_eq!(bytes, sent(1));
    assert_ne!(bytes, sent(2));
}

#[test]
fn a_device_that_hangs_up_by_itself_comes_back_by_itself() {
    let links = tempfile::tempdir().unwrap();
    let log = links.path().join("imu.jsonl");
    let options = Options {
        faults: vec![Fault {
            kind: FaultKind::Disconnect(Duration::from_millis(20)),
            when: When::Each(Rhythm::At(Duration::from_millis(50))),
        }],
        truth: Some(LogOptions {
            file: log.clone(),
            values: None,
        }),
        ..imu(&links, 2000.0)
    };
    let device = Simulator::start(options).unwrap();
    let mut reader = Reader::open(&device);
    let mut bytes = Vec::new();
    while let Some(more) = reader.some(PATIENCE) {
        bytes.extend(more);
    }
    let before = counters(&bytes);
    assert!(before.iter().copied().eq(0..before.len() as u16) && before.len() <= 100);
    let start = Instant::now();
    while !device.path().exists() {
        assert!(start.elapsed() < PATIENCE);
        wait_ms(1);
    }
    let mut reader = Reader::open(&device);
    let mut bytes = reader.at_least(1800);
    let (rest, truth) = reader.until_quiet(&device);
    bytes.extend(rest);
    let after = counters(&bytes);
    assert!(after[0] >= 100, "{}", after[0]);
    assert_eq!(accounted(&truth), truth.next_index);
    assert_eq!(device.stop().unwrap(), truth);
    let log = std::fs::read_to_string(log).unwrap();
    let says = |what: &str| log.lines().any(|line| line.contains(what));
    assert!(
        says("{\"fault\":{\"kind\":\"disconnect\",\"next\":100,"),
        "{log}"
    );
    let next = after[0];
    assert!(
        says(&format!("{{\"reader\":{{\"came\":true,\"next\":{next},")),
        "{log}"
    );
    let missed = log.lines().filter_map(|line| {
        let lost = line.strip_prefix("{\"lost\":{\"why\":\"missed\",")?;
        lost.rsplit_once(':')?
            .1
            .strip_suffix("}}")?
            .parse::<u64>()
            .ok()
    });
    assert_eq!(missed.sum::<u64>(), truth.frames_missed, "{log}");
    assert_eq!(truth.frames_missed, u64::from(next) - 100);
    assert!(log.ends_with("\"faults\":{\"disconnect\":1}}}\n"), "{log}");
}

#[test]
fn a_log_that_cannot_be_written_ends_its_device_and_is_told() {
    let links = tempfile::tempdir().unwrap();
    let to = |file: &str| Options {
        truth: Some(LogOptions {
            file: file.into(),
            values: Some(true),
        }),
        ..counting(&links)
    };
    let refused = Simulator::start(to("/proc/none/log")).unwrap_err();
    assert!(refused.to_string().contains("/proc/none/log"), "{refused}");
    let device = Simulator::start(to("/dev/full")).unwrap();
    let mut reader = Reader::open(&device);
    while reader.some(PATIENCE).is_some() {}
    assert!(
        device
            .stop()
            .unwrap_err()
            .to_string()
            .contains("truth log /dev/full")
    );
}
