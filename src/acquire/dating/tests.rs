//! Devices in simulated time, dated as a reader does it: in reads, with losses and blocks that fill up.

use kymo_drivers::block::GapReason;
use proptest::prelude::*;

use super::*;

/// A device that sends a packet of so many frames every `period * frames`, and the host's reads of it.
struct Lab {
    dating: Dating,
    counts: Arc<SourceCounts>,
    options: TimeOptions,
    /// When the next packet's first frame is taken, by the host's clock, and by the device's, ns.
    truth_ns: f64,
    device_ns: f64,
    drift: f64,
    /// Frames dated: their true times and those given, from the start, ns.
    dated: Vec<(f64, f64)>,
    offsets_s: Vec<f64>,
    seed: u64,
}

const START_NS: i64 = 1_700_000_000_000_000_000;
const PERIOD_NS: f64 = 250_000.0;

impl Lab {
    fn new(options: TimeOptions, drift: f64) -> Self {
        let counts = Arc::default();
        Self {
            dating: Dating::new(options, &counts),
            counts,
            options,
            truth_ns: 0.0,
            device_ns: 12_345_678.0,
            drift,
            dated: Vec::new(),
            offsets_s: Vec::new(),
            seed: 1,
        }
    }

    /// Up to a millisecond.
    fn jitter_ns(&mut self) -> f64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as f64 / f64::from(1_u32 << 31) * 1e6
    }

    fn packet_ns(&self) -> f64 {
        PERIOD_NS * self.options.frames_per_packet as f64
    }

    /// So many packets are taken that nobody sees.
    fn skip(&mut self, packets: u64) {
        let ns = self.packet_ns() * packets as f64;
        self.device_ns += ns;
        self.truth_ns += ns * (1.0 + self.drift);
    }

    /// A read brings so many packets, in blocks of so many frames; `loss` is in front of the first.
    fn read(&mut self, packets: usize, late_ns: f64, loss: Option<Option<u64>>, block: usize) {
        let per_packet = self.options.frames_per_packet;
        let columns = 1 + usize::from(self.options.offset_column.is_some());
        let mut ticks = Vec::new();
        let mut truths = Vec::new();
        for _ in 0..packets {
            for frame in 0..per_packet {
                truths.push(self.truth_ns + frame as f64 * PERIOD_NS * (1.0 + self.drift));
                if let Some(Ticks { tick_ns, modulus }) = self.options.ticks {
                    let stamped = self.device_ns + self.options.stamped_frame as f64 * PERIOD_NS;
                    ticks.push((stamped / tick_ns) as u64 % modulus.unwrap_or(u64::MAX));
                }
            }
            self.skip(1);
        }
        let last = truths[truths.len() - 1];
        let stamp = Stamp {
            read_ns: START_NS + (last + late_ns) as i64,
            ns_per_byte: 10_000.0,
        };
        // Ten bytes a packet.
        let mut done = 0;
        while done < truths.len() {
            let count = block.min(truths.len() - done);
            let mut frames = Frames::with_capacity(columns, block);
            if done == 0
                && let Some(loss) = loss
            {
                frames.lose(loss, GapReason::DeviceCounter);
            }
            // What was decoded last ended where this input begins.
            let base = done / per_packet * 10;
            for index in done..done + count {
                let end = (index / per_packet + 1) * 10;
                if !ticks.is_empty() {
                    frames.spare_ticks(1)[0] = ticks[index];
                }
                frames.push(end - base, &[index as f64]);
            }
            let input_len = packets * 10 - base;
            let is_all = !frames.is_full();
            self.dating.date(&mut frames, 0, input_len, stamp, is_all);
            for (index, time_ns) in frames.times_ns().iter().enumerate() {
                self.dated
                    .push((truths[done + index], (time_ns - START_NS) as f64));
            }
            if let Some(column) = self.options.offset_column {
                self.offsets_s.extend_from_slice(frames.column(column));
            }
            done += count;
        }
        if truths.len().is_multiple_of(block) {
            // The block was full: the reader asks for more, and there is none.
            self.dating.date(
                &mut Frames::with_capacity(columns, block),
                0,
                0,
                stamp,
                true,
            );
        }
    }

    /// Reads for so long, of as many packets as make a millisecond.
    fn run(&mut self, seconds: f64) {
        let packets = (1e6 / self.packet_ns()).round().max(1.0) as usize;
        let end = self.truth_ns + seconds * 1e9;
        while self.truth_ns < end {
            let late = self.jitter_ns();
            self.read(packets, late, None, 1024);
        }
    }

    #[track_caller]
    fn assert_within(&self, us: f64, from_s: f64) {
        let late = self
            .dated
            .iter()
            .filter(|(truth, _)| *truth >= from_s * 1e9);
        let worst = late
            .map(|(truth, time)| (time - truth).abs())
            .fold(0.0, f64::max);
        assert!(worst <= us * 1e3, "{worst} ns");
        assert!(self.dated.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }
}

fn by_rate() -> TimeOptions {
    TimeOptions {
        fitted: true,
        period_ns: Some(PERIOD_NS),
        ..TimeOptions::default()
    }
}

/// A microsecond a tick, which wraps after 65 ms; eight frames a packet, the first of which it is.
fn by_ticks() -> TimeOptions {
    TimeOptions {
        ticks: Some(Ticks {
            tick_ns: 1_000.0,
            modulus: Some(65_536),
        }),
        frames_per_packet: 8,
        ..by_rate()
    }
}

#[test]
fn raw_times_go_back_from_the_read_by_the_bytes_behind() {
    let mut lab = Lab::new(TimeOptions::default(), 0.0);
    lab.read(3, 500.0, None, 1024);
    // Two, one and no packets of ten bytes at 10 µs were behind.
    let read_ns = 2.0 * PERIOD_NS + 500.0;
    let times: Vec<f64> = lab.dated.iter().map(|(_, time)| *time).collect();
    assert_eq!(times, [read_ns - 200e3, read_ns - 100e3, read_ns]);
}

#[test]
fn raw_frames_of_a_packet_are_a_period_apart_also_where_a_block_ends_among_them() {
    for block in [1024, 3, 1] {
        let mut lab = Lab::new(
            TimeOptions {
                fitted: false,
                ..by_ticks()
            },
            0.0,
        );
        lab.read(1, 700.0, None, block);
        for (truth, time) in &lab.dated {
            assert_eq!(time - truth, 700.0, "blocks of {block}");
        }
    }
}

#[test]
fn thirty_ppm_and_a_millisecond_of_jitter_come_within_50_us_of_truth_by_the_rate_alone() {
    let mut lab = Lab::new(by_rate(), 30e-6);
    lab.run(30.0);
    lab.assert_within(50.0, 10.0);
    lab.dating.finish();
    let clock = lab.counts.clock().expect("it is fitted");
    assert!((clock.drift_ppb - 30_000).abs() < 2_000, "{clock:?}");
    // Half of a millisecond, and all but a hundredth of it.
    assert!(
        (450_000..550_000).contains(&clock.jitter_ns_p50),
        "{clock:?}"
    );
    assert!(
        (950_000..1_050_000).contains(&clock.jitter_ns_p99),
        "{clock:?}"
    );
    assert_eq!(clock.restarts, 0);
}

#[test]
fn an_array_with_a_timestamp_that_wraps_is_dated_within_50_us_of_truth() {
    for (stamped_frame, block) in [(0, 1024), (7, 1024), (0, 5), (0, 1), (0, 8)] {
        let mut lab = Lab::new(
            TimeOptions {
                stamped_frame,
                ..by_ticks()
            },
            -30e-6,
        );
        for _ in 0..15_000 {
            let late = lab.jitter_ns();
            lab.read(1, late, None, block);
        }
        lab.assert_within(50.0, 10.0);
        lab.dating.finish();
        let clock = lab.counts.clock().expect("it is fitted");
        assert!((clock.drift_ppb + 30_000).abs() < 2_000, "{clock:?}");
    }
}

#[test]
fn frames_that_the_counter_misses_advance_the_device_clock() {
    let mut lab = Lab::new(by_rate(), 30e-6);
    lab.run(15.0);
    for missing in [1, 10, 3_000] {
        lab.skip(missing);
        lab.read(1, 200e3, Some(Some(missing)), 1024);
        lab.run(1.0);
    }
    lab.assert_within(50.0, 10.0);
    lab.dating.finish();
    assert_eq!(lab.counts.clock().expect("it is fitted").restarts, 0);
}

#[test]
fn a_loss_of_unknown_size_and_a_reconnect_begin_anew() {
    for options in [by_rate(), by_ticks()] {
        let mut lab = Lab::new(options, 30e-6);
        lab.run(15.0);
        // Two seconds: with the timestamp, some thirty wraps.
        lab.skip((2e9 / lab.packet_ns()) as u64);
        let lost_at = lab.truth_ns / 1e9;
        lab.read(1, 300e3, Some(None), 1024);
        lab.run(5.0);
        lab.assert_within(1_000.0, lost_at);
        lab.assert_within(50.0, lost_at + 2.0);
        lab.dating.reset();
        lab.skip((0.3e9 / lab.packet_ns()) as u64);
        let back_at = lab.truth_ns / 1e9;
        lab.run(5.0);
        lab.assert_within(1_000.0, back_at);
        lab.assert_within(50.0, back_at + 2.0);
        lab.dating.finish();
        assert_eq!(lab.counts.clock().expect("it is fitted").restarts, 2);
    }
}

#[test]
fn what_raw_times_are_later_by_is_kept_where_it_is_asked_for() {
    for options in [by_rate(), by_ticks()] {
        let mut lab = Lab::new(
            TimeOptions {
                offset_column: Some(1),
                ..options
            },
            30e-6,
        );
        lab.run(12.0);
        let last = lab.dated.len() - 1;
        let (late_ns, packets) = (640e3, 1);
        lab.read(packets, late_ns, None, 1024);
        for place in last + 1..lab.dated.len() {
            let (truth, time) = lab.dated[place];
            let raw_ns = truth + late_ns;
            let offset_ns = lab.offsets_s[place] * 1e9;
            assert!((time + offset_ns - raw_ns).abs() < 300.0, "{offset_ns}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn times_strictly_rise_whatever_comes(
        fitted in any::<bool>(),
        with_ticks in any::<bool>(),
        per_packet in 1..5_usize,
        reads in prop::collection::vec(
            (0..4_usize, 0..200_000_000_i64, prop::option::of(prop::option::of(any::<u64>())), any::<u64>()),
            1..60,
        ),
    ) {
        let ticks = Ticks { tick_ns: 1_000.0, modulus: Some(5_000) };
        let options = TimeOptions {
            fitted,
            frames_per_packet: per_packet,
            ticks: with_ticks.then_some(ticks),
            offset_column: fitted.then_some(1),
            ..by_rate()
        };
        let mut dating = Dating::new(options, &Arc::default());
        let mut read_ns = START_NS;
        let mut last_ns = i64::MIN;
        for (packets, later_ns, loss, tick) in reads {
            read_ns += later_ns;
            let mut frames = Frames::with_capacity(2, 32);
            if let Some(loss) = loss {
                frames.lose(loss, GapReason::Corrupt);
            }
            for packet in 0..packets {
                for _ in 0..per_packet {
                    if with_ticks {
                        frames.spare_ticks(1)[0] = tick.wrapping_add(packet as u64 * 77);
                    }
                    frames.push(packet * 4 + 4, &[0.0]);
                }
            }
            let stamp = Stamp { read_ns, ns_per_byte: 87.0 };
            dating.date(&mut frames, 0, packets * 4 + 2, stamp, true);
            for time_ns in frames.times_ns() {
                prop_assert!(*time_ns > last_ns);
                last_ns = *time_ns;
            }
            if fitted {
                prop_assert!(frames.column(1).iter().all(|offset| offset.is_finite()));
            }
        }
    }
}
