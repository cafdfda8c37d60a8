//! The stage: drains the lanes, the most urgent first.

pub mod calibrate;
