//! Binary packets.

pub mod checksum;
mod options;

pub use options::*;

use super::{OptionsError, Protocol};
use crate::frames::Frames;

/// The decoder of binary packets.
#[derive(Debug)]
pub struct Packet {}

impl Packet {
    /// Makes the decoder.
    ///
    /// # Errors
    /// Every mistake in the options.
    pub fn new(_options: &Options) -> Result<Self, Vec<OptionsError>> {
        Ok(Self {})
    }
}

impl Protocol for Packet {
    fn channels(&self) -> usize {
        0
    }
    fn decode(&mut self, input: &[u8], _out: &mut Frames) -> usize {
        input.len()
    }
    fn tail_max(&self) -> usize {
        0
    }
    fn reset(&mut self) {}
}
