//! Readers: one OS thread a source.
//!
//! **Always holds.** A reader waits in the kernel: a silent port costs no processor time. A device
//! that is gone is looked for again, ever more slowly and for ever. Every loss that a reader knows
//! of is written as a gap at its place in the stream. One source's trouble touches no other source.
//!
//! **Must not know.** The stage, the rules, the disk: only the lanes it pushes into.

mod assemble;
mod backoff;
mod dating;
mod decode;
mod reader;
#[cfg(test)]
mod replay_tests;
mod talk;

pub use backoff::ReconnectOptions;
pub use dating::TimeOptions;
pub use decode::Decoder;
pub use reader::{Device, LaneOutput, Reader, ReaderOptions};
pub use talk::Commands;
