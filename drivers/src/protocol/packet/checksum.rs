//! Checksums by name.

/// The catalogue of parametrised CRC algorithms, by name.
pub const CRCS: [&str; 0] = [];
