//! How fast bytes become frames, in memory and on one core.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use kymo_drivers::frames::Frames;
use kymo_drivers::protocol::packet::{
    self, ByteOrder, Checksum, Constant, Counter, Field, Framing, Length, Scalar, Timestamp,
    checksum,
};
use kymo_drivers::protocol::{Options, Protocol, lines};

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
        scale: 0.001,
        ..Field::new(4 + 2 * index, Scalar::I16, ByteOrder::Little)
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
        constants: Vec::new(),
        frames: 1,
        timestamp: None,
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
        suffixes: Vec::new(),
        decimal_comma: false,
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

/// A converter's array: 16 frames of 4 channels of 24 bit, with a timestamp, in a SLIP frame with a CRC.
fn array() -> (Options, Vec<u8>) {
    const FRAMES: usize = 16;
    let field = |channel: usize| Field {
        step: 12,
        ..Field::new(6 + 3 * channel, Scalar::I24, ByteOrder::Big)
    };
    let options = Options::Packet(packet::Options {
        framing: Framing::Slip {
            length: Length::Fixed(6 + 12 * FRAMES + 2),
        },
        checksum: Some(Checksum {
            kind: checksum::by_name("CRC-16/IBM-3740").expect("a known name"),
            from: 0,
            to: -2,
            at: -2,
            order: ByteOrder::Big,
        }),
        constants: vec![Constant {
            at: 0,
            bytes: vec![0x24],
        }],
        frames: FRAMES,
        timestamp: Some(Timestamp {
            at: 2,
            scalar: Scalar::U32,
            order: ByteOrder::Big,
        }),
        counter: Some(Counter {
            at: 1,
            scalar: Scalar::U8,
            order: ByteOrder::Big,
            modulus: None,
        }),
        fields: (0..4).map(field).collect(),
    });
    let mut bytes = vec![0xC0];
    for count in 0_u32.. {
        if bytes.len() + 400 > INPUT_BYTES {
            break;
        }
        let mut packet = vec![0x24, count.to_le_bytes()[0]];
        packet.extend((count * 4_000).to_be_bytes());
        for value in 0..4 * FRAMES {
            let value = count.wrapping_mul(65_537).wrapping_add(value as u32 * 257);
            packet.extend(&value.to_be_bytes()[1..]);
        }
        packet.extend(crc(&packet).to_be_bytes());
        for byte in packet {
            match byte {
                0xC0 => bytes.extend([0xDB, 0xDC]),
                0xDB => bytes.extend([0xDB, 0xDD]),
                other => bytes.push(other),
            }
        }
        bytes.push(0xC0);
    }
    (options, bytes)
}

/// The numbers of [`numbers`] in another form: what a line is made of its four values, and how it is declared.
fn text(form: lines::Form, header: &str, line: impl Fn([f64; 4]) -> String) -> (Options, Vec<u8>) {
    let (options, _) = numbers();
    let Options::Lines(mut options) = options else {
        unreachable!("numbers are lines");
    };
    options.form = form;
    let mut text = header.to_owned();
    for count in 0..INPUT_BYTES {
        #[allow(clippy::cast_precision_loss)]
        let angle = count as f64 * 0.021;
        let line = line([
            angle.sin(),
            -2.0 * angle.cos(),
            25.0 + angle.cos(),
            1000.0 * angle.sin(),
        ]);
        if text.len() + line.len() > INPUT_BYTES {
            break;
        }
        text += &line;
    }
    (Options::Lines(options), text.into_bytes())
}

fn columns() -> (Options, Vec<u8>) {
    let form = lines::Form::Columns {
        separator: ",".to_owned(),
    };
    text(form, "d,time,c,b,a\n", |[a, b, c, d]| {
        format!("{d:.6},12:00:00,{c:.6},{b:.6},{a:.6}\n")
    })
}

fn json() -> (Options, Vec<u8>) {
    let (options, bytes) = text(lines::Form::Json, "", |[a, b, c, d]| {
        format!("{{\"imu\":{{\"accel\":[{a:.6},{b:.6},{c:.6}],\"name\":\"x\"}},\"d\":{d:.6}}}\n")
    });
    let Options::Lines(mut options) = options else {
        unreachable!("text is lines");
    };
    options.keys = ["imu.accel[0]", "imu.accel[1]", "imu.accel[2]", "d"]
        .map(str::to_owned)
        .to_vec();
    (Options::Lines(options), bytes)
}

fn units() -> (Options, Vec<u8>) {
    let form = lines::Form::Separated {
        separator: ";".to_owned(),
    };
    let (options, bytes) = text(form, "", |[a, b, c, d]| {
        format!("{a:.6} V;{b:.6} V;{c:.6} V;{d:.6} V\n").replace('.', ",")
    });
    let Options::Lines(mut options) = options else {
        unreachable!("text is lines");
    };
    options.decimal_comma = true;
    let volts = lines::Suffix {
        unit: "V".to_owned(),
        prefixes: false,
    };
    options.suffixes = vec![Some(volts); 4];
    (Options::Lines(options), bytes)
}

/// What there is to decode, by name.
fn inputs() -> [(&'static str, (Options, Vec<u8>)); 6] {
    [
        ("packet_sync_crc16", packets()),
        ("packet_slip_array", array()),
        ("lines_commas", numbers()),
        ("lines_columns", columns()),
        ("lines_json", json()),
        ("lines_units", units()),
    ]
}

/// A bare scan: every byte is looked at, and nothing is made of it.
fn scan(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    words.fold(0, |sum, word| {
        let word = word
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word));
        sum.wrapping_add(word)
    })
}

fn once(protocol: &mut dyn Protocol, bytes: &[u8], out: &mut Frames) {
    out.clear();
    // The counter starts again with the input: that is no loss.
    protocol.reset();
    assert_eq!(protocol.decode(black_box(bytes), out), bytes.len());
    assert_eq!(out.tally.corrupt_frames, 0);
    black_box(out);
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, (options, bytes)) in inputs() {
        let mut protocol = options.build().expect("a declaration that works");
        let mut out = Frames::with_capacity(protocol.channels(), bytes.len());
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| once(&mut *protocol, &bytes, &mut out));
        });
    }
    group.finish();
}

/// Each input decoded and scanned by turns, so that both see the same machine: the best of many turns of each.
#[allow(clippy::print_stdout, clippy::cast_precision_loss)]
fn ratios(_: &mut Criterion) {
    const TURNS: usize = 200;
    for (name, (options, bytes)) in inputs() {
        let mut protocol = options.build().expect("a declaration that works");
        let mut out = Frames::with_capacity(protocol.channels(), bytes.len());
        let (mut decoded, mut scanned) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..TURNS {
            let started = Instant::now();
            once(&mut *protocol, &bytes, &mut out);
            decoded = decoded.min(started.elapsed().as_secs_f64());
            let started = Instant::now();
            black_box(scan(black_box(&bytes)));
            scanned = scanned.min(started.elapsed().as_secs_f64());
        }
        let per_s = |seconds: f64| bytes.len() as f64 / seconds / 1e6;
        println!(
            "{name}: {:.0} MB/s decoded ({} frames), {:.0} MB/s scanned, ratio {:.3}",
            per_s(decoded),
            out.len(),
            per_s(scanned),
            scanned / decoded
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = decode, ratios
}
criterion_main!(benches);
