//! How fast a receiver's messages become frames, in memory and on one core, beside a bare scan of the same bytes.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use kymo_drivers::frames::Frames;
use kymo_drivers::protocol::nmea::{self, Rules};
use kymo_drivers::protocol::{Options, ubx};

/// As much as a reader takes at once.
const INPUT_BYTES: usize = 64 << 10;

fn sentence(text: &str, out: &mut Vec<u8>) {
    let sum = text.bytes().skip(1).fold(0, |sum, byte| sum ^ byte);
    let mut line = text.to_owned();
    // Writing into a string cannot fail.
    let _ = write!(line, "*{sum:02X}\r\n");
    out.extend(line.into_bytes());
}

/// The sentences that a receiver sends each second unless told otherwise.
fn sentences(second: u32, out: &mut Vec<u8>) {
    let time = format!(
        "{:02}{:02}{:02}.00",
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    let position = format!(
        "4807.{:05},N,01131.{:05},E",
        second * 37 % 100_000,
        second * 91 % 100_000
    );
    sentence(
        &format!(
            "$GNRMC,{time},A,{position},10.{:03},084.4,241126,,,A,V",
            second % 1000
        ),
        out,
    );
    sentence("$GNVTG,084.4,T,,M,10.500,N,19.446,K,A", out);
    sentence(
        &format!("$GNGGA,{time},{position},1,12,0.62,545.4,M,46.9,M,,"),
        out,
    );
    sentence("$GNGSA,A,3,02,05,12,15,18,24,,,,,,,1.20,0.62,1.03,1", out);
    sentence(
        "$GPGSV,2,1,05,02,41,250,44,05,09,120,,12,77,010,50,25,15,310,31,1",
        out,
    );
    sentence("$GPGSV,2,2,05,29,33,200,38,1", out);
    sentence(&format!("$GNGLL,{position},{time},A,A"), out);
}

/// NAV-PVT, 100 bytes.
fn nav_pvt(second: u32, out: &mut Vec<u8>) {
    let mut message = vec![0x01, 0x07, 92, 0];
    message.extend((second * 1000).to_le_bytes());
    message.extend(2026_u16.to_le_bytes());
    let [hour, minute, second] = [second / 3600, second / 60 % 60, second % 60].map(|v| v as u8);
    message.extend([11, 24, hour, minute, second, 7]);
    message.resize(4 + 92, 0x55);
    message[4 + 16..4 + 20].fill(0);
    let sums = message.iter().fold([0_u8; 2], |[a, b], byte| {
        let a = a.wrapping_add(*byte);
        [a, b.wrapping_add(a)]
    });
    out.extend([0xB5, 0x62]);
    out.extend(message);
    out.extend(sums);
}

fn stream(one: impl Fn(u32, &mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    for second in 0.. {
        let start = bytes.len();
        one(second, &mut bytes);
        if bytes.len() > INPUT_BYTES {
            bytes.truncate(start);
            break;
        }
    }
    bytes
}

fn field(name: &str) -> ubx::Field {
    let (message, quantity) = name.split_once('.').expect("a name has a dot");
    let (message, quantity) = (message.to_owned(), quantity.to_owned());
    if message.contains('-') {
        let value = ubx::Value::Quantity(quantity);
        return ubx::Field::Message { message, value };
    }
    ubx::Field::Sentence(nmea::Field {
        sentence: message,
        value: nmea::Value::Quantity(quantity),
    })
}

/// Every byte looked at once: for the line ends, as a decoder of lines must at least.
fn bare_scan(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

fn decode(criterion: &mut Criterion) {
    let in_sentences = [
        "RMC.utc",
        "RMC.latitude",
        "RMC.longitude",
        "RMC.speed",
        "RMC.course",
        "GGA.altitude",
        "GGA.used",
        "GSA.hdop",
    ];
    let in_messages = [
        "NAV-PVT.utc",
        "NAV-PVT.latitude",
        "NAV-PVT.longitude",
        "NAV-PVT.speed",
        "NAV-PVT.course",
        "NAV-PVT.altitude",
        "NAV-PVT.used",
        "NAV-PVT.pdop",
    ];
    let nmea_fields = in_sentences.map(|name| match field(name) {
        ubx::Field::Sentence(field) => field,
        ubx::Field::Message { .. } => unreachable!("they are sentences"),
    });
    let ubx_options = |names: &[&str]| {
        Options::Ubx(ubx::Options {
            fields: names.iter().map(|name| field(name)).collect(),
            rules: Rules::default(),
            payload_bytes_max: ubx::PAYLOAD_BYTES_MAX_DEFAULT,
        })
    };
    let nmea_options = Options::Nmea(nmea::Options {
        fields: nmea_fields.to_vec(),
        rules: Rules::default(),
    });
    let mixed = [&in_sentences[..4], &in_messages[1..5]].concat();
    let mut group = criterion.benchmark_group("receivers");
    for (name, options, bytes) in [
        ("nmea", nmea_options, stream(sentences)),
        ("ubx", ubx_options(&in_messages), stream(nav_pvt)),
        (
            "ubx_and_nmea",
            ubx_options(&mixed),
            stream(|second, out| {
                sentences(second, out);
                nav_pvt(second, out);
            }),
        ),
    ] {
        let mut protocol = options.build().expect("a declaration that works");
        let mut out = Frames::with_capacity(protocol.channels(), bytes.len() / 100 + 1);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                // The first moment comes again: that is no repetition.
                protocol.reset();
                protocol.decode(black_box(&bytes), &mut out);
                assert!(!out.is_empty() && out.tally.corrupt_frames == 0);
                black_box(&out);
            });
        });
        group.bench_function(format!("{name}_bare_scan"), |bencher| {
            bencher.iter(|| black_box(bare_scan(black_box(&bytes))));
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
