//! Computing: the numerics behind derived channels and windows, as pure machines fed with samples.
//!
//! **Always holds.** A result depends on the samples and their times alone, and on their order; never on how
//! they were cut into blocks. Memory is taken when a machine is made and does not grow with what it is fed,
//! beyond a bound that it states. No input makes one panic: NaN is left out of every aggregate, and infinities count
//! for the extremes only, as in `stage::statistics`.
//!
//! **Must not know.** Blocks, sources, the configuration, expressions, the time of day.

pub mod align;
pub mod biquad;
pub mod calculus;
pub mod median;
pub mod moments;
pub mod spectrum;
pub mod trailing;
pub mod window;
