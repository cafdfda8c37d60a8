//! Columns of values and times, packed without losing a bit.
//!
//! **Always holds.** What is decoded has the very bits that were encoded, NaN payloads and -0.0
//! included: every shorter encoding is checked value by value while it is made, and given up for
//! the next longer one at the first value that would not come back.
//!
//! **Must not know.** Blocks, records, files.
//!
//! The loops are written so that the compiler turns them into vector code on plain x86-64: no
//! branch a value, no call, differences gathered with `|` and looked at once a chunk.

use super::error::Error;
use super::record::padded;

/// How a column is packed. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Encoding {
    /// f64 each.
    Plain = 0,
    /// One f64 for all.
    Constant = 1,
    /// scale, offset, then i16 each: `value = integer * scale + offset`.
    Scaled16 = 2,
    /// The same with i32.
    Scaled32 = 3,
    /// f32 each, of values that are exact in it.
    Single = 4,
}

/// Values looked at before a hopeless encoding is given up.
const CHUNK: usize = 512;

/// The most bytes [`encode`] appends for `count` values.
pub(super) fn bytes_max(count: usize) -> usize {
    32 + count * 8
}

/// Appends a column. `quantum` is (scale, offset) if the values came from integers.
pub(super) fn encode(values: &[f64], quantum: Option<(f64, f64)>, out: &mut Vec<u8>) {
    let start = out.len();
    if values.len() > 1 && is_constant(values) {
        put_encoding(out, Encoding::Constant);
        out.extend_from_slice(&values[0].to_le_bytes());
        return;
    }
    if let Some((scale, offset)) = quantum
        && encode_scaled(values, scale, offset, out)
    {
        return;
    }
    put_encoding(out, Encoding::Single);
    if encode_single(values, grow(out, values.len() * 4)) {
        return;
    }
    out.truncate(start);
    put_encoding(out, Encoding::Plain);
    let (places, _) = grow(out, values.len() * 8).as_chunks_mut::<8>();
    for (place, value) in places.iter_mut().zip(values) {
        *place = value.to_le_bytes();
    }
}

fn put_encoding(out: &mut Vec<u8>, encoding: Encoding) {
    out.extend_from_slice(&[encoding as u8, 0, 0, 0, 0, 0, 0, 0]);
}

/// Room for `bytes` more, padded to a multiple of 8 with zeros.
fn grow(out: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    let start = out.len();
    out.resize(start + padded(bytes), 0);
    &mut out[start..start + bytes]
}

fn is_constant(values: &[f64]) -> bool {
    let first = values[0].to_bits();
    values.chunks(CHUNK).all(|chunk| {
        let different = chunk
            .iter()
            .fold(0, |all, value| all | (value.to_bits() ^ first));
        different == 0
    })
}

/// Whether the values could be packed as integers; if not, `out` is as before.
fn encode_scaled(values: &[f64], scale: f64, offset: f64, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    for encoding in [Encoding::Scaled16, Encoding::Scaled32] {
        put_encoding(out, encoding);
        out.extend_from_slice(&scale.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        let fit = match encoding {
            Encoding::Scaled16 => scaled_16(values, scale, offset, grow(out, values.len() * 2)),
            _ => scaled_32(values, scale, offset, grow(out, values.len() * 4)),
        };
        match fit {
            Fit::Exact => return true,
            Fit::TooWide => out.truncate(start),
            Fit::Inexact => {
                out.truncate(start);
                return false;
            }
        }
    }
    false
}

enum Fit {
    Exact,
    /// Exact so far, but an integer does not fit the width.
    TooWide,
    Inexact,
}

/// The integer a value was probably made from. For |x| < 2^31, adding 1.5 * 2^52 leaves the
/// rounded integer in the low bits of the sum; beyond, what comes out fails the comparison.
#[inline(always)]
fn quantise(value: f64, inverse: f64, offset: f64) -> i32 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the low bits are what is wanted"
    )]
    let low = ((value - offset) * inverse + ROUND).to_bits() as u32;
    low.cast_signed()
}

#[inline(always)]
fn restore(integer: i32, scale: f64, offset: f64) -> f64 {
    f64::from(integer) * scale + offset
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "compared with the whole right there"
)]
fn scaled_16(values: &[f64], scale: f64, offset: f64, out: &mut [u8]) -> Fit {
    let inverse = 1.0 / scale;
    let (places, _) = out.as_chunks_mut::<2>();
    for (chunk, places) in values.chunks(CHUNK).zip(places.chunks_mut(CHUNK)) {
        let (mut different, mut wide) = (0, 0);
        for (value, place) in chunk.iter().zip(places) {
            let integer = quantise(*value, inverse, offset);
            different |= restore(integer, scale, offset).to_bits() ^ value.to_bits();
            wide |= integer ^ i32::from(integer as i16);
            *place = (integer as i16).to_le_bytes();
        }
        if different != 0 {
            return Fit::Inexact;
        }
        if wide != 0 {
            return Fit::TooWide;
        }
    }
    Fit::Exact
}

fn scaled_32(values: &[f64], scale: f64, offset: f64, out: &mut [u8]) -> Fit {
    let inverse = 1.0 / scale;
    let (places, _) = out.as_chunks_mut::<4>();
    for (chunk, places) in values.chunks(CHUNK).zip(places.chunks_mut(CHUNK)) {
        let mut different = 0;
        for (value, place) in chunk.iter().zip(places) {
            let integer = quantise(*value, inverse, offset);
            different |= restore(integer, scale, offset).to_bits() ^ value.to_bits();
            *place = integer.to_le_bytes();
        }
        if different != 0 {
            return Fit::Inexact;
        }
    }
    Fit::Exact
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "compared with the whole right there"
)]
fn encode_single(values: &[f64], out: &mut [u8]) -> bool {
    let (places, _) = out.as_chunks_mut::<4>();
    for (chunk, places) in values.chunks(CHUNK).zip(places.chunks_mut(CHUNK)) {
        let mut different = 0;
        for (value, place) in chunk.iter().zip(places) {
            let single = *value as f32;
            different |= f64::from(single).to_bits() ^ value.to_bits();
            *place = single.to_le_bytes();
        }
        if different != 0 {
            return false;
        }
    }
    true
}

/// Appends the `count` values of the column that `bytes` begins with.
pub(super) fn decode(bytes: &mut Cut<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), Error> {
    let code = bytes.take(8)?[0];
    match code {
        code if code == Encoding::Plain as u8 => {
            let (places, _) = bytes.take_padded(count * 8)?.as_chunks::<8>();
            out.extend(places.iter().map(|place| f64::from_le_bytes(*place)));
        }
        code if code == Encoding::Constant as u8 => {
            let value = bytes.f64()?;
            out.resize(out.len() + count, value);
        }
        code if code == Encoding::Scaled16 as u8 => {
            let (scale, offset) = (bytes.f64()?, bytes.f64()?);
            let (places, _) = bytes.take_padded(count * 2)?.as_chunks::<2>();
            out.extend(
                places
                    .iter()
                    .map(|place| restore(i32::from(i16::from_le_bytes(*place)), scale, offset)),
            );
        }
        code if code == Encoding::Scaled32 as u8 => {
            let (scale, offset) = (bytes.f64()?, bytes.f64()?);
            let (places, _) = bytes.take_padded(count * 4)?.as_chunks::<4>();
            out.extend(
                places
                    .iter()
                    .map(|place| restore(i32::from_le_bytes(*place), scale, offset)),
            );
        }
        code if code == Encoding::Single as u8 => {
            let (places, _) = bytes.take_padded(count * 4)?.as_chunks::<4>();
            out.extend(
                places
                    .iter()
                    .map(|place| f64::from(f32::from_le_bytes(*place))),
            );
        }
        code => {
            return Err(Error::BadPayload {
                what: format!("column encoding {code} is not known"),
            });
        }
    }
    Ok(())
}

/// Appends the steps between rising times as u32; if one does not fit, `out` is as before.
pub(super) fn encode_steps(times_ns: &[i64], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let count = times_ns.len().saturating_sub(1);
    let (places, _) = grow(out, count * 4).as_chunks_mut::<4>();
    let mut high = 0;
    for (pair, place) in times_ns.windows(2).zip(places) {
        let step = pair[1].wrapping_sub(pair[0]).cast_unsigned();
        high |= step >> 32;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the high half is gathered above"
        )]
        let low = step as u32;
        *place = low.to_le_bytes();
    }
    if high != 0 {
        out.truncate(start);
    }
    high == 0
}

/// Bytes of a payload, taken from the front, never beyond the end.
pub(super) struct Cut<'a>(pub(super) &'a [u8]);

impl<'a> Cut<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self
            .0
            .split_at_checked(bytes)
            .ok_or_else(|| Error::BadPayload {
                what: format!("{bytes} bytes wanted where {} are left", self.0.len()),
            })?;
        self.0 = rest;
        Ok(taken)
    }

    /// Takes `bytes` and the padding behind them.
    pub(super) fn take_padded(&mut self, bytes: usize) -> Result<&'a [u8], Error> {
        Ok(&self.take(padded(bytes))?[..bytes])
    }

    pub(super) fn f64(&mut self) -> Result<f64, Error> {
        Ok(f64::from_bits(super::segment::u64_at(self.take(8)?, 0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[f64], quantum: Option<(f64, f64)>) -> (u8, Vec<f64>) {
        let mut bytes = vec![];
        encode(values, quantum, &mut bytes);
        assert!(bytes.len() <= bytes_max(values.len()));
        assert_eq!(bytes.len() % 8, 0);
        let mut cut = Cut(&bytes);
        let mut back = vec![];
        decode(&mut cut, values.len(), &mut back).unwrap();
        assert!(cut.0.is_empty());
        (bytes[0], back)
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            any::<i16>().prop_map(|integer| f64::from(integer) * 0.01 + 20.0),
            any::<i32>().prop_map(|integer| f64::from(integer) * 0.01 + 20.0),
            any::<f32>().prop_map(f64::from),
            Just(-0.0),
            Just(f64::NAN),
        ]
    }

    proptest! {
        #[test]
        fn every_value_comes_back_bit_for_bit(
            values in prop_oneof![
                proptest::collection::vec(value(), 0..40),
                proptest::collection::vec(any::<i16>().prop_map(|i| f64::from(i) * 0.01 + 20.0), 0..1100),
                proptest::collection::vec(any::<i32>().prop_map(|i| f64::from(i) * 0.01 + 20.0), 0..1100),
            ],
            quantum in prop_oneof![
                Just(Some((0.01, 20.0))),
                Just(None),
                (any::<f64>(), any::<f64>()).prop_map(Some),
            ],
        ) {
            let (_, back) = round_trip(&values, quantum);
            prop_assert_eq!(bits(&back), bits(&values));
        }
    }

    #[test]
    fn each_encoding_is_chosen_where_it_is_the_shortest_exact_one() {
        let scaled = |integers: &[i32]| -> Vec<f64> {
            integers.iter().map(|i| f64::from(*i) * 0.1 + 3.0).collect()
        };
        let quantum = Some((0.1, 3.0));
        assert_eq!(
            round_trip(&[1.1, 1.1, 1.1], quantum).0,
            Encoding::Constant as u8
        );
        assert_eq!(
            round_trip(&scaled(&[1, -32768, 32767]), quantum).0,
            Encoding::Scaled16 as u8
        );
        assert_eq!(
            round_trip(&scaled(&[1, 32768]), quantum).0,
            Encoding::Scaled32 as u8
        );
        assert_eq!(
            round_trip(&scaled(&[1, i32::MIN, i32::MAX]), quantum).0,
            Encoding::Scaled32 as u8
        );
        assert_eq!(round_trip(&[0.5, 1.5], None).0, Encoding::Single as u8);
        assert_eq!(round_trip(&[0.1, 0.2], None).0, Encoding::Plain as u8);
        let mut one_nan = scaled(&[1, 2, 3]);
        one_nan[1] = f64::from_bits(0x7ff4_dead_beef_0001);
        assert_eq!(round_trip(&one_nan, quantum).0, Encoding::Plain as u8);
        assert_eq!(
            round_trip(&[0.0, -0.0], Some((1.0, 0.0))).0,
            Encoding::Single as u8
        );
    }
}
