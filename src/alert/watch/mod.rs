//! What each kind of rule makes of the samples: one file a kind, except for thresholds, which need no state.
//!
//! **Always holds.** A verdict depends on the samples so far and their times alone. Memory is bounded, and taken when
//! the rule is made.

mod forecast;
mod joined;
mod no_data;
mod rate;
mod stuck;

pub(super) use forecast::Forecast;
pub(super) use joined::{INPUTS_MAX, Joined};
pub(super) use no_data::NoData;
pub(super) use rate::Rate;
pub(super) use stuck::Stuck;

/// Seconds between two times.
#[allow(clippy::cast_precision_loss)]
fn seconds(from_ns: i64, to_ns: i64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}
