//! How fast to send: what the receiver bears, found out by asking for a little more until it says no.
//!
//! Requests in flight rise by one for every window of answers, and are halved when the receiver is overloaded (429, 503,
//! no answer in time): additive increase, multiplicative decrease. Batches shrink where a body was too large or too
//! slow, and grow again. After a failure there is a wait that doubles, with jitter, or the wait the receiver asked for.
//!
//! **Always holds.** At least one request may be in flight once a wait is over; never more than the configuration
//! says. A wait is never beyond its bound. What many requests in flight tell of one failure counts once.
//!
//! **Must not know.** Clocks and sockets: time is handed in.

use std::time::Duration;

/// Limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceOptions {
    /// Requests in flight at most.
    pub in_flight_max: usize,
    /// Bytes of a batch at most.
    pub batch_bytes_max: usize,
    /// The first wait after a failure.
    pub retry_first: Duration,
    /// The longest.
    pub retry_max: Duration,
    /// How long after a refusal that only a person can lift: 401, 403, 404.
    pub retry_denied: Duration,
}

/// A batch is not made smaller than this.
pub const BATCH_BYTES_MIN: usize = 4 << 10;

/// A receiver is not believed that wants to be left alone for longer.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// Send.
    Send,
    /// Send when this time has come.
    Wait(Duration),
    /// Send when an answer has come.
    Full,
}

/// A request's place in time: answers to older ones say nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

/// The pace. Times are since any fixed moment.
#[derive(Debug)]
pub struct Pace {
    options: PaceOptions,
    window: f64,
    batch_bytes: usize,
    /// Failures in a row.
    failures: u32,
    not_before: Duration,
    epoch: u64,
    random: fastrand::Rng,
}

impl Pace {
    /// Starts with one request at a time.
    #[must_use]
    pub fn new(options: PaceOptions, seed: u64) -> Self {
        Self {
            options,
            window: 1.0,
            batch_bytes: options.batch_bytes_max,
            failures: 0,
            not_before: Duration::ZERO,
            epoch: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Whether another request may be sent.
    #[must_use]
    pub fn may_send(&self, now: Duration, in_flight: usize) -> May {
        if in_flight >= self.window() {
            return May::Full;
        }
        if now < self.not_before {
            return May::Wait(self.not_before);
        }
        May::Send
    }

    /// Requests in flight at most, now.
    #[must_use]
    pub fn window(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let window = self.window as usize;
        window.clamp(1, self.options.in_flight_max)
    }

    /// Bytes of a batch, now.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// To be kept with a request that is sent now.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// Whether the last thing heard was no success.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// When sending goes on.
    #[must_use]
    pub fn not_before(&self) -> Duration {
        self.not_before
    }

    /// It was accepted, or refused for what is in it: the receiver works.
    pub fn succeeded(&mut self, sent: Epoch) {
        if sent.0 == self.epoch {
            self.failures = 0;
            self.not_before = Duration::ZERO;
        }
        let max = self.options.in_flight_max as f64;
        self.window = (self.window + 1.0 / self.window).min(max);
        let step = self.options.batch_bytes_max / 16;
        self.batch_bytes = (self.batch_bytes + step).min(self.options.batch_bytes_max);
    }

    /// Too much at a time: 429, 503. The receiver may say how long it wants to be left alone.
    pub fn overloaded(&mut self, now: Duration, sent: Epoch, retry_after: Option<Duration>) {
        if sent.0 != self.epoch {
            return;
        }
        self.window = (self.window / 2.0).max(1.0);
        self.fail(now, retry_after.map(|wait| wait.min(RETRY_AFTER_MAX)));
    }

    /// No answer in time: as overloaded, and the next batches are smaller.
    pub fn timed_out(&mut self, now: Duration, sent: Epoch) {
        if sent.0 == self.epoch {
            self.batch_bytes = (self.batch_bytes / 2).max(BATCH_BYTES_MIN);
        }
        self.overloaded(now, sent, None);
    }

    /// A body of so many bytes was too large.
    pub fn too_large(&mut self, bytes: usize) {
        self.batch_bytes = self.batch_bytes.min(bytes / 2).max(BATCH_BYTES_MIN);
    }

    /// No connection, a reset, a broken server: one request at a time from here.
    pub fn failed(&mut self, now: Duration, sent: Epoch) {
        if sent.0 != self.epoch {
            return;
        }
        self.window = 1.0;
        self.fail(now, None);
    }

    /// A refusal that only a person can lift.
    pub fn denied(&mut self, now: Duration, sent: Epoch) {
        if sent.0 != self.epoch {
            return;
        }
        self.window = 1.0;
        self.fail(now, Some(self.options.retry_denied));
    }

    /// The receiver was made anew: what is waited for may be over.
    fn fail(&mut self, now: Duration, wait: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.epoch += 1;
        let wait = wait.unwrap_or_else(|| {
            let doubled = 2_u32.saturating_pow(self.failures.min(30) - 1);
            let wait = self.options.retry_first.saturating_mul(doubled);
            // Shortened at random by up to a half: many senders do not come back at once.
            wait.min(self.options.retry_max)
                .mul_f64(1.0 - self.random.f64() / 2.0)
        });
        self.not_before = now.saturating_add(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn pace() -> Pace {
        let options = PaceOptions {
            in_flight_max: 8,
            batch_bytes_max: 1 << 20,
            retry_first: S(1),
            retry_max: S(30),
            retry_denied: S(60),
        };
        Pace::new(options, 7)
    }

    fn grown() -> Pace {
        let mut pace = pace();
        for _ in 0..100 {
            pace.succeeded(pace.epoch());
        }
        pace
    }

    #[test]
    fn the_window_rises_by_one_for_each_window_of_answers() {
        let mut pace = pace();
        assert_eq!(pace.may_send(S(0), 0), May::Send);
        assert_eq!(pace.may_send(S(0), 1), May::Full);
        pace.succeeded(pace.epoch());
        assert_eq!(pace.window(), 2);
        pace.succeeded(pace.epoch());
        assert_eq!(pace.window(), 2);
        pace.succeeded(pace.epoch());
        pace.succeeded(pace.epoch());
        assert_eq!(pace.window(), 3);
        assert_eq!(grown().window(), 8, "never beyond its bound");
    }

    #[test]
    fn overload_halves_the_window_once_for_all_that_tell_of_it() {
        let mut pace = grown();
        let sent = pace.epoch();
        for _ in 0..8 {
            pace.overloaded(S(10), sent, None);
        }
        assert_eq!(pace.window(), 4);
        let May::Wait(until) = pace.may_send(S(10), 0) else {
            panic!("it waits");
        };
        assert!((S(10)..=S(11)).contains(&until), "{until:?}");
    }

    #[test]
    fn the_wait_that_was_asked_for_is_kept_and_bounded() {
        let mut pace = grown();
        pace.overloaded(S(10), pace.epoch(), Some(S(7)));
        assert_eq!(pace.may_send(S(16), 0), May::Wait(S(17)));
        assert_eq!(pace.may_send(S(17), 0), May::Send);
        pace.overloaded(S(20), pace.epoch(), Some(S(1_000_000)));
        assert_eq!(pace.not_before(), S(20) + RETRY_AFTER_MAX);
    }

    #[test]
    fn waits_double_up_to_the_longest_with_jitter() {
        let mut pace = pace();
        let mut waits = Vec::new();
        for _ in 0..12 {
            pace.failed(S(100), pace.epoch());
            waits.push((pace.not_before() - S(100)).as_secs_f64());
        }
        for (wait, full) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]) {
            assert!((full / 2.0..=full).contains(wait), "{waits:?}");
        }
        assert!(
            waits[8..].windows(2).any(|pair| pair[0] != pair[1]),
            "{waits:?}"
        );
        pace.succeeded(pace.epoch());
        assert_eq!(pace.may_send(S(100), 0), May::Send);
        assert!(!pace.is_failing());
    }

    #[test]
    fn a_late_answer_to_an_old_request_does_not_end_the_wait() {
        let mut pace = grown();
        let old = pace.epoch();
        pace.failed(S(1), old);
        pace.succeeded(old);
        assert!(matches!(pace.may_send(S(1), 0), May::Wait(_)));
    }

    #[test]
    fn batches_shrink_where_they_are_too_large_or_too_slow_and_grow_again() {
        let mut pace = pace();
        pace.too_large(100_000);
        assert_eq!(pace.batch_bytes(), 50_000);
        pace.timed_out(S(1), pace.epoch());
        assert_eq!(pace.batch_bytes(), 25_000);
        pace.too_large(10);
        assert_eq!(pace.batch_bytes(), BATCH_BYTES_MIN);
        for _ in 0..16 {
            pace.succeeded(pace.epoch());
        }
        assert_eq!(pace.batch_bytes(), 1 << 20);
    }

    #[test]
    fn a_denial_is_asked_again_slowly() {
        let mut pace = grown();
        pace.denied(S(5), pace.epoch());
        assert_eq!(pace.may_send(S(64), 0), May::Wait(S(65)));
        assert_eq!(pace.window(), 1);
    }
}
