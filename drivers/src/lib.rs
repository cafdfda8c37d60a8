//! # kymo-drivers
//!
//! What a device looks like from the host: the [`link`] its bytes come over, its [`clock`], the [`protocol`]
//! that turns bytes into frames, and the [`block`] of frames that moves through the pipeline.
//!
//! **Always holds.** A protocol is a pure function of the bytes it was given: no I/O, no clock,
//! no thread. So it can be fuzzed, replayed and benchmarked in memory.
//!
//! **Must not know.** No async runtime, no configuration file, no database, no priority queue.

pub mod block;
pub mod clock;
pub mod frames;
pub mod link;
pub mod protocol;
