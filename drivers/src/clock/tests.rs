//! Devices in simulated time: their truth is known, the host's reads of them are late as told.

use proptest::prelude::*;

use super::*;

const US: f64 = 1e3;
const MS: f64 = 1e6;
const S: f64 = 1e9;

/// A number of even distribution in `0.0..1.0` for each number: splitmix64.
fn random(number: u64) -> f64 {
    let mut z = number
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(0x1234_5678_9ABC_DEF1);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z >> 11) as f64 / 2f64.powi(53)
}

/// A device that sends a frame every `period` of its own time, and the fit of its clock.
struct Lab {
    fit: Fit,
    period_ns: f64,
    /// Frames so far, as the host counts them.
    count: u64,
    /// When the next frame is taken, by the host's clock, ns.
    truth_ns: f64,
    drift: f64,
    /// Fitted times less true ones, with the true ones.
    errors: Vec<(f64, f64)>,
    last_ns: i64,
}

const START_NS: f64 = 1.7e18;

impl Lab {
    fn new(rate_hz: f64, drift: f64) -> Self {
        Self {
            fit: Fit::default(),
            period_ns: S / rate_hz,
            count: 0,
            truth_ns: 0.0,
            drift,
            errors: Vec::new(),
            last_ns: 0,
        }
    }

    /// The next frame is taken, and read so much too late.
    fn frame(&mut self, late_ns: f64) -> Observed {
        let device_ns = (self.count as f64 * self.period_ns) as i64;
        let host_ns = START_NS as i64 + (self.truth_ns + late_ns) as i64;
        let observed = self.fit.observe(device_ns, host_ns);
        let mut times = [device_ns];
        self.fit.date(&mut times);
        self.last_ns = times[0];
        self.errors.push((
            self.truth_ns,
            (times[0] - START_NS as i64) as f64 - self.truth_ns,
        ));
        self.count += 1;
        self.truth_ns += self.period_ns * (1.0 + self.drift);
        observed
    }

    fn run(&mut self, seconds: f64, late: impl Fn(u64) -> f64) {
        let end = self.truth_ns + seconds * S;
        while self.truth_ns < end {
            self.frame(late(self.count));
        }
    }

    /// The largest error from so many seconds on, ns.
    fn worst_from(&self, seconds: f64) -> f64 {
        let from = self
            .errors
            .iter()
            .filter(|(truth, _)| *truth >= seconds * S);
        from.map(|(_, error)| error.abs()).fold(0.0, f64::max)
    }
}

/// Up to a millisecond, evenly.
fn jitter(count: u64) -> f64 {
    random(count) * MS
}

#[test]
fn thirty_ppm_and_a_millisecond_of_jitter_come_within_50_us_of_truth() {
    for rate_hz in [100.0, 1_000.0, 4_000.0] {
        for drift in [30e-6, -30e-6] {
            let mut lab = Lab::new(rate_hz, drift);
            lab.run(60.0, jitter);
            let worst = lab.worst_from(10.0);
            assert!(worst < 50.0 * US, "{rate_hz} Hz: {worst} ns");
            let found = lab.fit.drift();
            assert!((found - drift).abs() < 2e-6, "{rate_hz} Hz: {found}");
            assert_eq!(lab.fit.restarts(), 0);
        }
    }
}

#[test]
fn jitter_with_a_long_tail_is_fitted_as_well() {
    let mut lab = Lab::new(1_000.0, 30e-6);
    lab.run(60.0, |count| -random(count).max(1e-9).ln() * 0.3 * MS);
    assert!(lab.worst_from(10.0) < 50.0 * US, "{}", lab.worst_from(10.0));
    assert_eq!(lab.fit.restarts(), 0);
}

#[test]
fn a_burst_of_late_reads_moves_nothing() {
    let mut lab = Lab::new(1_000.0, 30e-6);
    lab.run(12.0, jitter);
    let burst = lab.count;
    // The reader was held up for 40 ms, and catches up.
    lab.run(0.04, |count| (40 - (count - burst).min(40)) as f64 * MS);
    lab.run(10.0, jitter);
    // A second in which every read is 300 µs later than usual.
    lab.run(1.0, |count| 300.0 * US + jitter(count));
    lab.run(5.0, jitter);
    assert!(lab.worst_from(10.0) < 50.0 * US, "{}", lab.worst_from(10.0));
    assert_eq!(lab.fit.restarts(), 0);
}

#[test]
fn a_step_of_the_device_is_followed_within_a_tenth_of_a_second() {
    for step in [20.0 * MS, -20.0 * MS] {
        let mut lab = Lab::new(1_000.0, 30e-6);
        lab.run(15.0, jitter);
        lab.truth_ns += step;
        let at = lab.truth_ns / S;
        lab.run(20.0, jitter);
        assert_eq!(lab.fit.restarts(), 1, "{step}");
        assert!(lab.worst_from(at + 0.1) < MS, "{step}");
        assert!(
            lab.worst_from(at + 3.0) < 50.0 * US,
            "{step}: {}",
            lab.worst_from(at + 3.0)
        );
    }
}

#[test]
fn a_device_that_pauses_is_dated_right_from_its_first_frame() {
    let mut lab = Lab::new(1_000.0, 30e-6);
    lab.run(15.0, jitter);
    lab.truth_ns += 60.0 * S;
    let at = lab.truth_ns / S;
    lab.run(5.0, jitter);
    assert!(lab.worst_from(at) < 1.1 * MS, "{}", lab.worst_from(at));
    assert!(lab.worst_from(at + 3.0) < 50.0 * US);
}

#[test]
fn a_device_that_changes_its_rate_is_followed() {
    for change in [100e-6, -100e-6] {
        let mut lab = Lab::new(1_000.0, 30e-6);
        lab.run(30.0, jitter);
        lab.drift += change;
        lab.run(40.0, jitter);
        // It is away by no more than the change makes in the memory of the fit, and comes back.
        assert!(
            lab.worst_from(10.0) < 1.2 * MS,
            "{change}: {}",
            lab.worst_from(10.0)
        );
        assert!(
            lab.worst_from(50.0) < 50.0 * US,
            "{change}: {}",
            lab.worst_from(50.0)
        );
        assert!((lab.fit.drift() - lab.drift).abs() < 2e-6);
    }
}

#[test]
fn reconnects_keep_the_pace() {
    let mut lab = Lab::new(1_000.0, 30e-6);
    lab.run(20.0, jitter);
    for _ in 0..5 {
        lab.truth_ns += 0.7 * S;
        lab.fit.restart();
        let at = lab.truth_ns / S;
        lab.run(4.0, jitter);
        assert!(lab.worst_from(at) < 1.1 * MS);
        assert!(
            lab.worst_from(at + 2.0) < 50.0 * US,
            "{}",
            lab.worst_from(at + 2.0)
        );
    }
    assert_eq!(lab.fit.restarts(), 5);
}

#[test]
fn a_nominal_rate_that_is_wrong_by_a_percent_is_found_out() {
    for drift in [0.01, -0.01] {
        let mut lab = Lab::new(1_000.0, drift);
        lab.run(20.0, jitter);
        assert!(
            (lab.fit.drift() - drift).abs() < 5e-6,
            "{}",
            lab.fit.drift()
        );
        assert!(lab.worst_from(10.0) < 50.0 * US, "{}", lab.worst_from(10.0));
    }
}

#[test]
fn a_slow_device_is_fitted_too() {
    let mut lab = Lab::new(2.0, 30e-6);
    lab.run(600.0, jitter);
    assert!(
        lab.worst_from(60.0) < 200.0 * US,
        "{}",
        lab.worst_from(60.0)
    );
    assert_eq!(lab.fit.restarts(), 0);
}

#[test]
fn a_timestamp_is_counted_on_over_its_wraps() {
    let mut unwrap = Unwrap::new(Ticks {
        tick_ns: 1_000.0,
        modulus: Some(65_536),
    });
    for count in 0..1_000_u64 {
        let (time, continues) = unwrap.advance((60_000 + count * 30_000) % 65_536);
        assert!(continues);
        assert_eq!(time, i64::try_from(count).unwrap() * 30_000_000);
    }
    let (stands, continues) = unwrap.advance((60_000 + 999 * 30_000 - 5) % 65_536);
    assert!(!continues, "it has gone back");
    assert_eq!(stands, 999 * 30_000_000);

    let mut whole = Unwrap::new(Ticks {
        tick_ns: 0.5,
        modulus: None,
    });
    assert_eq!(whole.advance(u64::MAX - 1), (0, true));
    assert_eq!(whole.advance(2), (2, true));
    assert!(!whole.advance(0).1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn between_discontinuities_times_strictly_rise(
        drift in -0.01..0.01,
        rate_hz in 1.0..50_000.0,
        pieces in prop::collection::vec((0.0..2e7_f64, 0.0..2e6_f64, 1..400_u64), 1..30),
    ) {
        let mut lab = Lab::new(rate_hz, drift);
        for (held_up, jitter, frames) in pieces {
            for index in 0..frames {
                // Held up once, and catching up evenly.
                let late = held_up * (frames - index) as f64 / frames as f64 + jitter * random(lab.count);
                let before = lab.last_ns;
                let restarts = lab.fit.restarts();
                lab.frame(late);
                prop_assert!(lab.fit.restarts() > restarts || lab.last_ns > before);
            }
        }
    }

    #[test]
    fn any_numbers_at_all_neither_panic_nor_spoil_what_follows(
        wild in prop::collection::vec((any::<i64>(), any::<i64>()), 0..50),
    ) {
        let mut lab = Lab::new(1_000.0, 30e-6);
        for (device, host) in wild {
            lab.fit.observe(device, host);
            let mut times = [device, device.wrapping_add(1)];
            lab.fit.date(&mut times);
        }
        lab.run(20.0, jitter);
        prop_assert!(lab.worst_from(19.0) < 100.0 * US, "{}", lab.worst_from(19.0));
    }
}
