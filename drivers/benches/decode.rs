//! How fast bytes become frames, in memory and on one core.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use kymo_drivers::frames::Frames;
use kymo_drivers::protocol::packet::{
    self, ByteOrder, Checksum, Counter, Field, Framing, Length, Scalar, checksum,
};
use kymo_drivers::protocol::{Options, lines};

/// As much as a reader takes at once.
const INPUT_BYTES: usize = 64 << 10;

/// CRC-16/IBM-3740, bit by bit.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// Two sync bytes, a counter of 16 bit, eight values of 16 bit, a CRC: 22 bytes.
fn packets() -> (Options, Vec<u8>) {
    let field = |index: usize| Field {
        at: 4 + 2 * index,
        scalar: Scalar::I16,
        order: ByteOrder::Little,
        scale: 0.001,
        offset: 0.0,
    };
    let options = Options::Packet(packet::Options {
        framing: Framing::Sync {
            bytes: vec![0xAA, 0x55],
            length: Length::Fixed(22),
        },
        checksum: Some(Checksum {
            kind: checksum::by_name("CRC-16/IBM-3740").expect("a known name"),
            from: 2,
            to: -2,
            at: -2,
            order: ByteOrder::Big,
        }),
        counter: Some(Counter {
            at: 2,
            scalar: Scalar::U16,
            order: ByteOrder::Little,
            modulus: None,
        }),
        fields: (0..8).map(field).collect(),
    });
    let mut bytes = Vec::new();
    for count in 0_u16.. {
        if bytes.len() + 22 > INPUT_BYTES {
            break;
        }
        let start = bytes.len();
        bytes.extend([0xAA, 0x55]);
        bytes.extend(count.to_le_bytes());
        for channel in 0..8_u16 {
            bytes.extend(count.wrapping_mul(257 + channel).to_le_bytes());
        }
        bytes.extend(crc(&bytes[start + 2..]).to_be_bytes());
    }
    (options, bytes)
}

/// Four numbers with six digits behind the point: `0.041995,-1.998971,…`
fn numbers() -> (Options, Vec<u8>) {
    let options = Options::Lines(lines::Options {
        form: lines::Form::Separated {
            separator: ",".to_owned(),
        },
        keys: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        comment: Some("#".to_owned()),
        first_line_whole: true,
        line_bytes_max: lines::LINE_BYTES_MAX_DEFAULT,
    });
    let mut text = String::new();
    for count in 0..INPUT_BYTES {
        #[allow(clippy::cast_precision_loss)]
        let angle = count as f64 * 0.021;
        let values = [
            angle.sin(),
            -2.0 * angle.cos(),
            25.0 + angle.cos(),
            1000.0 * angle.sin(),
        ];
        let [a, b, c, d] = values;
        let line = format!("{a:.6},{b:.6},{c:.6},{d:.6}\n");
        if text.len() + line.len() > INPUT_BYTES {
            break;
        }
        text += &line;
    }
    (options, text.into_bytes())
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, (options, bytes)) in [
        ("packet_sync_crc16", packets()),
        ("lines_commas", numbers()),
    ] {
        let mut protocol = options.build().expect("a declaration that works");
        let mut out = Frames::with_capacity(protocol.channels(), bytes.len());
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                // The counter starts again with the input: that is no loss.
                protocol.reset();
                assert_eq!(protocol.decode(black_box(&bytes), &mut out), bytes.len());
                black_box(&out);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = decode
}
criterion_main!(benches);
