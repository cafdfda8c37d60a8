//! Simulated laboratory devices on real pseudo-terminals.

use std::path::PathBuf;

/// A simulated device, not yet started.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Its name: the thread is called after it, and its link in [`Options::links`] too.
    pub name: String,
    /// What kind of device: a name out of the list `DEVICES`.
    pub device: String,
    /// Frames a second; `None`: the kind's own rate.
    pub rate_hz: Option<f64>,
    /// Seed of whatever is random in it.
    pub seed: u64,
    /// The folder in which a symbolic link of the device's name leads to its pseudo-terminal,
    /// also after it came back under another number.
    pub links: PathBuf,
}
