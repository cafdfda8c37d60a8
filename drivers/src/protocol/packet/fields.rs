//! Fields: numbers at fixed places of a packet, decoded a column at a time.
//!
//! **Always holds.** A value is `raw as f64 * scale + offset`, in exactly these two steps, so that anybody can
//! recompute it bit for bit; where scale is 1 and offset 0, it is the raw number itself.

use std::ops::Range;

use super::checksum::unsigned;
use super::options::{Bits, ByteOrder, Field, Scalar};

/// Decodes one field of packets that stand `stride` bytes apart, of the frames `frames` in each, into `column`.
///
/// The match is outside the loop: each arm is a loop of its own with a constant width.
pub(super) fn decode_column(
    field: &Field,
    packets: &[u8],
    stride: usize,
    frames: Range<usize>,
    column: &mut [f64],
) {
    let places = Places {
        at: field.at + frames.start * field.step,
        step: field.step,
        frames: frames.len(),
        stride,
    };
    if let Some(bits) = field.bits {
        decode_bits(field, bits, places, packets, column);
    } else {
        decode_whole(field, places, packets, column);
    }
    #[allow(clippy::float_cmp)] // Exactly the neutral ones, as they stand in the configuration.
    if field.scale != 1.0 || field.offset != 0.0 {
        for value in column {
            *value = *value * field.scale + field.offset;
        }
    }
}

/// Where the values of a field stand.
#[derive(Clone, Copy)]
struct Places {
    /// The first of a packet.
    at: usize,
    /// From there to the next.
    step: usize,
    /// How many in a packet.
    frames: usize,
    /// From packet to packet.
    stride: usize,
}

fn decode_whole(field: &Field, places: Places, packets: &[u8], column: &mut [f64]) {
    macro_rules! each {
        ($width:literal, $convert:expr) => {
            each_value::<$width>(places, packets, column, $convert)
        };
    }
    use ByteOrder::{Big, Little};
    #[allow(clippy::cast_precision_loss)] // 64-bit counts keep 53 bits, as the documentation says.
    match (field.scalar, field.order) {
        (Scalar::U8, _) => each!(1, |b| f64::from(b[0])),
        (Scalar::I8, _) => each!(1, |b| f64::from(i8::from_ne_bytes(b))),
        (Scalar::U16, Little) => each!(2, |b| f64::from(u16::from_le_bytes(b))),
        (Scalar::U16, Big) => each!(2, |b| f64::from(u16::from_be_bytes(b))),
        (Scalar::I16, Little) => each!(2, |b| f64::from(i16::from_le_bytes(b))),
        (Scalar::I16, Big) => each!(2, |b| f64::from(i16::from_be_bytes(b))),
        (Scalar::U24, Little) => {
            each!(3, |b: [u8; 3]| f64::from(u32::from_le_bytes([
                b[0], b[1], b[2], 0
            ])));
        }
        (Scalar::U24, Big) => {
            each!(3, |b: [u8; 3]| f64::from(u32::from_be_bytes([
                0, b[0], b[1], b[2]
            ])));
        }
        // Placed in the upper three bytes, so that the shift back carries the sign down.
        (Scalar::I24, Little) => {
            each!(3, |b: [u8; 3]| f64::from(
                i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8
            ));
        }
        (Scalar::I24, Big) => {
            each!(3, |b: [u8; 3]| f64::from(
                i32::from_be_bytes([b[0], b[1], b[2], 0]) >> 8
            ));
        }
        (Scalar::U32, Little) => each!(4, |b| f64::from(u32::from_le_bytes(b))),
        (Scalar::U32, Big) => each!(4, |b| f64::from(u32::from_be_bytes(b))),
        (Scalar::I32, Little) => each!(4, |b| f64::from(i32::from_le_bytes(b))),
        (Scalar::I32, Big) => each!(4, |b| f64::from(i32::from_be_bytes(b))),
        (Scalar::U40, order) => each!(5, |b: [u8; 5]| unsigned(&b, order) as f64),
        (Scalar::I40, order) => each!(5, |b: [u8; 5]| signed(unsigned(&b, order), 40) as f64),
        (Scalar::U48, order) => each!(6, |b: [u8; 6]| unsigned(&b, order) as f64),
        (Scalar::I48, order) => each!(6, |b: [u8; 6]| signed(unsigned(&b, order), 48) as f64),
        (Scalar::U56, order) => each!(7, |b: [u8; 7]| unsigned(&b, order) as f64),
        (Scalar::I56, order) => each!(7, |b: [u8; 7]| signed(unsigned(&b, order), 56) as f64),
        (Scalar::U64, Little) => each!(8, |b| u64::from_le_bytes(b) as f64),
        (Scalar::U64, Big) => each!(8, |b| u64::from_be_bytes(b) as f64),
        (Scalar::I64, Little) => each!(8, |b| i64::from_le_bytes(b) as f64),
        (Scalar::I64, Big) => each!(8, |b| i64::from_be_bytes(b) as f64),
        (Scalar::F32, Little) => each!(4, |b| f64::from(f32::from_le_bytes(b))),
        (Scalar::F32, Big) => each!(4, |b| f64::from(f32::from_be_bytes(b))),
        (Scalar::F64, Little) => each!(8, f64::from_le_bytes),
        (Scalar::F64, Big) => each!(8, f64::from_be_bytes),
    }
}

#[allow(clippy::cast_precision_loss)] // As above.
fn decode_bits(field: &Field, bits: Bits, places: Places, packets: &[u8], column: &mut [f64]) {
    let width = field.scalar.width();
    let is_signed = !field.scalar.is_unsigned();
    let count = u32::from(bits.count);
    let mask = u64::MAX >> (64 - count.clamp(1, 64));
    let convert = |bytes: &[u8]| {
        let chosen = unsigned(bytes, field.order) >> bits.first.min(63) & mask;
        if is_signed {
            signed(chosen, count) as f64
        } else {
            chosen as f64
        }
    };
    let packets = packets.chunks_exact(places.stride);
    for (packet, values) in packets.zip(column.chunks_mut(places.frames.max(1))) {
        for (index, value) in values.iter_mut().enumerate() {
            let at = places.at + index * places.step;
            if let Some(bytes) = packet.get(at..at + width) {
                *value = convert(bytes);
            }
        }
    }
}

/// The number of so many bits whose highest is its sign.
fn signed(raw: u64, bits: u32) -> i64 {
    let unused = 64 - bits.clamp(1, 64);
    (raw << unused).cast_signed() >> unused
}

fn each_value<const WIDTH: usize>(
    places: Places,
    packets: &[u8],
    column: &mut [f64],
    convert: impl Fn([u8; WIDTH]) -> f64,
) {
    let packets = packets.chunks_exact(places.stride);
    // Construction has checked that all values lie within the shortest packet.
    if places.frames == 1 {
        for (packet, value) in packets.zip(column) {
            if let Some(bytes) = packet[places.at..].first_chunk() {
                *value = convert(*bytes);
            }
        }
        return;
    }
    for (packet, values) in packets.zip(column.chunks_mut(places.frames.max(1))) {
        let mut at = places.at;
        for value in values {
            if let Some(bytes) = packet.get(at..).and_then(<[u8]>::first_chunk) {
                *value = convert(*bytes);
            }
            at += places.step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(scalar: Scalar, order: ByteOrder, bytes: &[u8]) -> f64 {
        let mut column = [0.0];
        let field = Field::new(0, scalar, order);
        decode_column(&field, bytes, bytes.len(), 0..1, &mut column);
        column[0]
    }

    #[test]
    fn every_type_reads_both_ways_round() {
        use ByteOrder::{Big, Little};
        assert_eq!(decode(Scalar::U8, Little, &[0xFF]), 255.0);
        assert_eq!(decode(Scalar::I8, Big, &[0xFF]), -1.0);
        assert_eq!(decode(Scalar::U16, Little, &[0x01, 0x02]), 513.0);
        assert_eq!(decode(Scalar::U16, Big, &[0x01, 0x02]), 258.0);
        assert_eq!(decode(Scalar::I16, Big, &[0xFF, 0xFE]), -2.0);
        assert_eq!(
            decode(Scalar::U24, Little, &[0x56, 0x34, 0x92]),
            f64::from(0x0092_3456)
        );
        assert_eq!(
            decode(Scalar::I24, Little, &[0x00, 0x00, 0x80]),
            -8_388_608.0
        );
        assert_eq!(decode(Scalar::I24, Big, &[0xFF, 0xFF, 0xFF]), -1.0);
        assert_eq!(decode(Scalar::I24, Big, &[0x7F, 0xFF, 0xFF]), 8_388_607.0);
        assert_eq!(decode(Scalar::U32, Big, &[0, 1, 0, 0]), 65_536.0);
        assert_eq!(decode(Scalar::I32, Little, &[0xFE, 0xFF, 0xFF, 0xFF]), -2.0);
        assert_eq!(decode(Scalar::U40, Big, &[1, 0, 0, 0, 2]), 4_294_967_298.0);
        assert_eq!(
            decode(Scalar::I40, Little, &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF]),
            -2.0
        );
        assert_eq!(
            decode(Scalar::U48, Little, &[1, 0, 0, 0, 0, 1]),
            1_099_511_627_777.0
        );
        assert_eq!(
            decode(Scalar::I48, Big, &[0x80, 0, 0, 0, 0, 0]),
            -140_737_488_355_328.0
        );
        assert_eq!(decode(Scalar::U56, Big, &[0, 0, 0, 0, 0, 1, 0]), 256.0);
        assert_eq!(decode(Scalar::I56, Little, &[0xFF; 7]), -1.0);
        assert_eq!(
            decode(Scalar::U64, Big, &[0, 0, 0, 1, 0, 0, 0, 0]),
            4_294_967_296.0
        );
        assert_eq!(decode(Scalar::I64, Little, &[0xFF; 8]), -1.0);
        assert_eq!(decode(Scalar::F32, Little, &[0x00, 0x00, 0xC0, 0x3F]), 1.5);
        assert_eq!(
            decode(Scalar::F64, Big, &[0x3F, 0xF8, 0, 0, 0, 0, 0, 0]),
            1.5
        );
    }

    #[test]
    fn fields_are_taken_from_each_packet_and_scaled() {
        let field = Field {
            scale: 0.5,
            offset: 10.0,
            ..Field::new(1, Scalar::U8, ByteOrder::Little)
        };
        let mut column = [0.0; 3];
        let packets = [9, 0, 9, 9, 2, 9, 9, 255, 9];
        decode_column(&field, &packets, 3, 0..1, &mut column);
        assert_eq!(column, [10.0, 11.0, 137.5]);
    }

    #[test]
    fn bits_are_taken_out_of_an_integer_with_their_own_sign() {
        let decode = |scalar, order, first, count, bytes: &[u8]| {
            let field = Field {
                bits: Some(Bits { first, count }),
                ..Field::new(0, scalar, order)
            };
            let mut column = [0.0];
            decode_column(&field, bytes, bytes.len(), 0..1, &mut column);
            column[0]
        };
        use ByteOrder::{Big, Little};
        assert_eq!(decode(Scalar::U8, Little, 0, 4, &[0xA5]), 5.0);
        assert_eq!(decode(Scalar::U8, Little, 4, 4, &[0xA5]), 10.0);
        assert_eq!(decode(Scalar::U8, Little, 7, 1, &[0x80]), 1.0);
        assert_eq!(decode(Scalar::I16, Big, 4, 12, &[0xFF, 0xF7]), -1.0);
        assert_eq!(decode(Scalar::I16, Little, 0, 12, &[0xFE, 0x7F]), -2.0);
        assert_eq!(
            decode(Scalar::U24, Big, 1, 22, &[0xFF; 3]),
            f64::from((1 << 22) - 1)
        );
        assert_eq!(decode(Scalar::I64, Big, 0, 64, &[0xFF; 8]), -1.0);
    }

    #[test]
    fn an_array_has_a_value_for_each_frame_of_each_packet() {
        let field = |step| Field {
            step,
            ..Field::new(1, Scalar::U8, ByteOrder::Little)
        };
        let packets = [9, 1, 2, 3, 9, 4, 5, 6];
        let decode = |step, frames: Range<usize>| {
            let mut column = vec![0.0; 2 * frames.len()];
            decode_column(&field(step), &packets, 4, frames, &mut column);
            column
        };
        assert_eq!(decode(1, 0..3), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(decode(2, 0..2), [1.0, 3.0, 4.0, 6.0]);
        assert_eq!(decode(1, 1..3), [2.0, 3.0, 5.0, 6.0]);
        assert_eq!(decode(1, 2..3), [3.0, 6.0]);
        assert_eq!(decode(0, 0..3), [1.0, 1.0, 1.0, 4.0, 4.0, 4.0]);
    }
}
