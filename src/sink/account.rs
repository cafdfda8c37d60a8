//! What a sink's follower keeps count of beside its progress: how fast it is, and what was given up.

use std::time::Instant;

use crate::clock::rfc3339;

/// Rates are over about so long.
const RATE_SPAN: f64 = 5.0;

/// How fast samples land, and come.
#[derive(Debug, Default)]
pub(super) struct Rates {
    at: Option<Instant>,
    landed: u64,
    journaled: u64,
    pub(super) landed_per_s: f64,
    pub(super) journaled_per_s: f64,
}

impl Rates {
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn look(&mut self, landed: u64, journaled: u64) {
        let now = Instant::now();
        let Some(at) = self.at.replace(now) else {
            (self.landed, self.journaled) = (landed, journaled);
            return;
        };
        let span = (now - at).as_secs_f64();
        if span < 1e-3 {
            self.at = Some(at);
            return;
        }
        // An exponential mean: what is older than the span counts little.
        let share = 1.0 - (-span / RATE_SPAN).exp();
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / span;
        self.landed_per_s += (rate(landed, self.landed) - self.landed_per_s) * share;
        self.journaled_per_s += (rate(journaled, self.journaled) - self.journaled_per_s) * share;
        (self.landed, self.journaled) = (landed, journaled);
    }

    /// When it will be even.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn even_in_s(&self, behind: u64) -> Option<f64> {
        let gain = self.landed_per_s - self.journaled_per_s;
        (behind > 0 && gain > 0.0).then(|| behind as f64 / gain)
    }
}

/// What was given up.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    pub(super) samples: u64,
    times: Option<(i64, i64)>,
}

impl GivenUp {
    pub(super) fn add(&mut self, samples: u64, times: Option<(i64, i64)>) {
        self.samples += samples;
        if let Some((first, last)) = times {
            let (from, to) = self.times.unwrap_or((first, last));
            self.times = Some((from.min(first), to.max(last)));
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let (first, last) = self.times?;
        let (first, end) = (rfc3339(first), rfc3339(last.saturating_add(1)));
        Some(format!(
            "{} samples from {first} to {end} were given up, since the journal kept for it took more disk than is allowed;              the store has them: `kymo backfill {name} --from {first} --to {end}`",
            self.samples
        ))
    }
}
