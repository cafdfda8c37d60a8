//! The configuration as it is written, and the checked plan made from it: two types.

pub mod plan;
