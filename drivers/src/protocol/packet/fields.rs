//! Fields: numbers at fixed places of a packet, decoded a column at a time.
//!
//! **Always holds.** A value is `raw as f64 * scale + offset`, in exactly these two steps, so that anybody can
//! recompute it bit for bit; where scale is 1 and offset 0, it is the raw number itself.

use super::options::{ByteOrder, Field, Scalar};

/// Decodes one field of `count` packets that stand `stride` bytes apart, into `column`.
///
/// The match is outside the loop: each arm is a loop of its own with a constant width.
pub(super) fn decode_column(field: &Field, packets: &[u8], stride: usize, column: &mut [f64]) {
    macro_rules! each {
        ($width:literal, $convert:expr) => {
            each_packet::<$width>(field, packets, stride, column, $convert)
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
        (Scalar::U64, Little) => each!(8, |b| u64::from_le_bytes(b) as f64),
        (Scalar::U64, Big) => each!(8, |b| u64::from_be_bytes(b) as f64),
        (Scalar::I64, Little) => each!(8, |b| i64::from_le_bytes(b) as f64),
        (Scalar::I64, Big) => each!(8, |b| i64::from_be_bytes(b) as f64),
        (Scalar::F32, Little) => each!(4, |b| f64::from(f32::from_le_bytes(b))),
        (Scalar::F32, Big) => each!(4, |b| f64::from(f32::from_be_bytes(b))),
        (Scalar::F64, Little) => each!(8, f64::from_le_bytes),
        (Scalar::F64, Big) => each!(8, f64::from_be_bytes),
    }
    #[allow(clippy::float_cmp)] // Exactly the neutral ones, as they stand in the configuration.
    if field.scale != 1.0 || field.offset != 0.0 {
        for value in column {
            *value = *value * field.scale + field.offset;
        }
    }
}

fn each_packet<const WIDTH: usize>(
    field: &Field,
    packets: &[u8],
    stride: usize,
    column: &mut [f64],
    convert: impl Fn([u8; WIDTH]) -> f64,
) {
    for (packet, value) in packets.chunks_exact(stride).zip(column) {
        // Construction has checked that the field lies within the shortest packet.
        if let Some(bytes) = packet[field.at..].first_chunk() {
            *value = convert(*bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(scalar: Scalar, order: ByteOrder, bytes: &[u8]) -> f64 {
        let field = Field {
            at: 0,
            scalar,
            order,
            scale: 1.0,
            offset: 0.0,
        };
        let mut column = [0.0];
        decode_column(&field, bytes, bytes.len(), &mut column);
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
            at: 1,
            scalar: Scalar::U8,
            order: ByteOrder::Little,
            scale: 0.5,
            offset: 10.0,
        };
        let mut column = [0.0; 3];
        decode_column(&field, &[9, 0, 9, 9, 2, 9, 9, 255, 9], 3, &mut column);
        assert_eq!(column, [10.0, 11.0, 137.5]);
    }
}
