//! Text lines.

mod options;

pub use options::*;

use super::{OptionsError, Protocol};
use crate::frames::Frames;

/// The decoder of text lines.
#[derive(Debug)]
pub struct Lines {}

impl Lines {
    /// Makes the decoder.
    ///
    /// # Errors
    /// Every mistake in the options.
    pub fn new(_options: &Options) -> Result<Self, Vec<OptionsError>> {
        Ok(Self {})
    }
}

impl Protocol for Lines {
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
