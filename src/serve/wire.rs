//! The binary form of traces, described in `docs/api.md`: little-endian, everything aligned to 8 bytes.
//!
//! **Must not know.** Who sends it and how.

use super::pyramid::Series;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Live = 1,
    Range = 2,
}

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 24;

/// A message of the series of some channels.
pub(super) fn message(kind: Kind, id: u32, now_ns: i64, series: &[(u32, Series)]) -> Vec<u8> {
    let columns: usize = series.iter().map(|(_, series)| series.columns.len()).sum();
    let mut out = Vec::with_capacity(HEAD_BYTES * (1 + series.len()) + 16 * columns);
    out.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&now_ns.to_le_bytes());
    out.extend_from_slice(&count(series.len()).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for (channel, series) in series {
        out.extend_from_slice(&channel.to_le_bytes());
        out.extend_from_slice(&count(series.columns.len()).to_le_bytes());
        out.extend_from_slice(&series.bucket_ns.to_le_bytes());
        out.extend_from_slice(&series.first.to_le_bytes());
        for side in 0..2 {
            for column in &series.columns {
                out.extend_from_slice(&column[side].to_le_bytes());
            }
        }
    }
    out
}

/// At most 64 series of some thousand columns.
fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_what_the_description_says() {
        let series = Series {
            bucket_ns: 4_000_000,
            first: -2,
            columns: vec![[1.0, 2.0], [f64::NAN, f64::NAN], [-1.5, 3.0]],
        };
        let bytes = message(Kind::Live, 7, 99, &[(3, series)]);
        assert_eq!(bytes.len(), 24 + 24 + 3 * 16);
        assert_eq!(bytes[..8], [1, 1, 0, 0, 7, 0, 0, 0]);
        let i64_at = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let f64_at = |at: usize| f64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        assert_eq!((i64_at(8), i64_at(16)), (99, 1));
        assert_eq!(bytes[24..32], [3, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!((i64_at(32), i64_at(40)), (4_000_000, -2));
        assert_eq!((f64_at(48), f64_at(64)), (1.0, -1.5));
        assert_eq!((f64_at(72), f64_at(88)), (2.0, 3.0));
        assert!(f64_at(56).is_nan());
    }
}
