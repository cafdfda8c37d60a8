//! A source's recorded bytes, decoded, dated and calibrated as in a run.
//!
//! **Always holds.** The same entries of a capture give the same values as they did in the run, by the plan that is given.

use kymo_drivers::block::Block;

use crate::acquire::Decoder;
use crate::capture::{LinkChange, What};
use crate::config::plan::Source;
use crate::ledger::SourceCounts;
use crate::stage::calibrate::Calibration;

/// Makes calibrated blocks of what a capture has of a source.
pub(crate) struct Decoded {
    decoder: Decoder,
    /// Those that need a cold junction come last.
    calibrations: Vec<(usize, Calibration)>,
}

impl Decoded {
    /// # Errors
    /// What stands in the way of the source's protocol.
    pub(crate) fn new(source: &Source) -> Result<Self, String> {
        let protocol = source.protocol.build().map_err(|errors| {
            let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("source `{}`: {}", source.name, told.join("; "))
        })?;
        let channels = source.channels.iter();
        let places: Vec<usize> = channels.clone().map(|channel| channel.place).collect();
        let mut calibrations: Vec<(usize, Calibration)> = channels
            .map(|channel| channel.calibration.clone())
            .enumerate()
            .filter(|(_, calibration)| !calibration.is_none())
            .collect();
        calibrations.sort_by_key(|(_, calibration)| needs_other(calibration));
        Ok(Self {
            decoder: Decoder::new(protocol, &places, source.block_frames, source.time),
            calibrations,
        })
    }

    /// Takes what the capture has of the source at a time; blocks are to be taken before the next.
    pub(crate) fn take(&mut self, time_ns: i64, what: &What) {
        match what {
            What::Read(bytes) => self.decoder.read(time_ns, bytes),
            What::Link(LinkChange::Opened {
                ns_per_byte,
                keeps_boundaries,
            }) => self
                .decoder
                .opened(time_ns, *ns_per_byte, *keeps_boundaries),
            // Bytes are missing: what comes next continues nothing.
            What::Link(_) => self.ended(time_ns),
            What::Sent(_) | What::Event(_) => {}
        }
    }

    /// Nothing more comes of the device as it was opened.
    pub(crate) fn ended(&mut self, time_ns: i64) {
        self.decoder.ended(time_ns);
    }

    /// The next block that is ready.
    pub(crate) fn next_block(&mut self) -> Option<Block> {
        let mut block = self.decoder.next_block()?;
        if !block.frames.is_empty() {
            for (column, calibration) in &self.calibrations {
                calibration.apply(&mut block.frames, *column);
            }
        }
        Some(block)
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> &SourceCounts {
        self.decoder.counts()
    }
}

fn needs_other(calibration: &Calibration) -> bool {
    matches!(
        calibration,
        Calibration::Thermocouple {
            cold_junction: Some(_),
            ..
        }
    )
}
