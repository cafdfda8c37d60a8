//! What a device really did: counts, and, if its user wants it, a log of all of it (`truth/log.rs`).
//!
//! What for: a reader's ledger and record are compared with it.
//!
//! What always holds: each frame number is counted once, as sent or as not sent and why.
//!
//! What it must not know: ports, what is in a frame.

mod log;

use std::path::PathBuf;

use crate::faults::FAULTS;
pub(crate) use log::{HitFrame, Log, Lost, VALUES_RATE_MAX_HZ, Values, number, quoted};

/// What a device really did: the count that a reader's ledger is compared with.
///
/// Of a device that answers, a frame is an answer, and its number counts the requests to it.
///
/// `next_index = frames_sent + frames_dropped + frames_missed + frames_skipped`, whenever nothing
/// is in hand: before the first frame, while paused, and in the answer of [`stop`](crate::Simulator::stop).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Truth {
    /// The number that the next frame will carry, before it is cut to the width of the counter.
    pub next_index: u64,
    /// Frames written to the port to their last byte. A hang-up kills those that were not yet read.
    pub frames_sent: u64,
    /// Bytes written to the port: frames, parts of frames, and rubbish.
    pub bytes_sent: u64,
    /// Frames thrown away because the port was full: [`WhenFull::Drop`](crate::WhenFull::Drop).
    pub frames_dropped: u64,
    /// Frames for which nobody was there: no reader, unplugged, or cut off in the middle.
    pub frames_missed: u64,
    /// Frames left out: on request, or by a fault.
    pub frames_skipped: u64,
    /// Frames encoded with a bit flipped on request: [`corrupt_next`](crate::Simulator::corrupt_next).
    pub frames_corrupted: u64,
    /// Frames sent that a fault had changed, or that had noise before them.
    pub frames_hit: u64,
    /// How often each fault of [`FAULTS`] happened: to frames that were sent, and to the device.
    pub faults: [u64; FAULTS.len()],
}

impl Truth {
    /// What was counted, by name.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 8] {
        [
            ("next_index", self.next_index),
            ("frames_sent", self.frames_sent),
            ("bytes_sent", self.bytes_sent),
            ("frames_dropped", self.frames_dropped),
            ("frames_missed", self.frames_missed),
            ("frames_skipped", self.frames_skipped),
            ("frames_corrupted", self.frames_corrupted),
            ("frames_hit", self.frames_hit),
        ]
    }

    /// Which faults happened, and how often.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let each = FAULTS.into_iter().zip(self.faults);
        each.filter(|(_, times)| *times > 0)
    }
}

/// A log of what a device really did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Where it is written; a file that is there is replaced.
    pub file: PathBuf,
    /// Each frame with its values, and not runs of frames. `None`: if there are a thousand a second or fewer.
    pub values: Option<bool>,
}
