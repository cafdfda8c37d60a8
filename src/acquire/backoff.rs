//! How long to wait before looking again for a device that is gone.

use std::time::Duration;

/// The waits between attempts: each twice the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectOptions {
    /// First wait.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Default for ReconnectOptions {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            max: Duration::from_secs(5),
        }
    }
}

/// The waits of one absence.
#[derive(Debug)]
pub(super) struct Backoff {
    options: ReconnectOptions,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(options: ReconnectOptions) -> Self {
        Self {
            options,
            next: options.first.min(options.max),
        }
    }

    /// The device was there: start from the first wait again.
    pub(super) fn reset(&mut self) {
        self.next = self.options.first.min(self.options.max);
    }

    /// The next wait, shortened by up to a half at random (`fraction` in `0.0..1.0`), so that the
    /// readers of many devices on one failed hub do not all knock at the same moment.
    pub(super) fn next(&mut self, fraction: f64) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.options.max);
        wait.mul_f64(1.0 - fraction / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ReconnectOptions {
            first: ms(50),
            max: ms(150),
        });
        let waits: Vec<_> = (0..4).map(|_| backoff.next(0.0)).collect();
        assert_eq!(waits, [ms(50), ms(100), ms(150), ms(150)]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), ms(25));
    }
}
