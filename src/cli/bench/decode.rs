//! `kymo bench decode`: bytes to frames in process, no port: frames of eight channels, binary and text.
//!
//! The limit is a bare scan of the same bytes: each byte looked at once, for a sync byte or a line end, and
//! nothing made of it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use kymo_drivers::frames::Frames;
use kymo_drivers::protocol::packet::checksum;
use kymo_drivers::protocol::packet::{
    ByteOrder, Checksum, Counter, Field, Framing, Length, Scalar,
};
use kymo_drivers::protocol::{Options, lines, packet};

use super::{Args, Found, Limit, Row, machine, median, resident_bytes};

const CHANNELS: usize = 8;
/// As much as a reader takes at once.
const INPUT_BYTES: usize = 64 << 10;
/// As many frames as a block has.
const FRAMES: usize = 1024;

/// One form of frames: how they are declared, a reader's buffer full of them, and what they hold.
struct Form {
    name: &'static str,
    options: Options,
    bytes: Vec<u8>,
    frames: usize,
    /// The sum of all values in `bytes`.
    sum: f64,
    /// What the bare scan looks for.
    mark: u8,
}

fn value(frame: usize, channel: usize) -> i16 {
    // Any values will do that are not all alike.
    ((frame * 257 + channel * 4099) % 60_000) as i16
}

/// Two sync bytes, a counter of 16 bit, eight values of 16 bit, a CRC: 22 bytes.
fn binary() -> anyhow::Result<Form> {
    let field = |index: usize| Field::new(4 + 2 * index, Scalar::I16, ByteOrder::Little);
    let kind = checksum::by_name("CRC-16/IBM-3740").ok_or_else(|| anyhow!("no such checksum"))?;
    let options = Options::Packet(packet::Options {
        framing: Framing::Sync {
            bytes: vec![0xAA, 0x55],
            length: Length::Fixed(22),
        },
        checksum: Some(Checksum {
            kind,
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
        fields: (0..CHANNELS).map(field).collect(),
    });
    let frames = INPUT_BYTES / 22;
    let (mut bytes, mut sum) = (Vec::with_capacity(INPUT_BYTES), 0.0);
    for frame in 0..frames {
        let start = bytes.len();
        bytes.extend([0xAA, 0x55]);
        bytes.extend((frame as u16).to_le_bytes());
        for channel in 0..CHANNELS {
            bytes.extend(value(frame, channel).to_le_bytes());
            sum += f64::from(value(frame, channel));
        }
        bytes.extend(crc_16_ibm_3740(&bytes[start + 2..]).to_be_bytes());
    }
    Ok(Form {
        name: "binary",
        options,
        bytes,
        frames,
        sum,
        mark: 0xAA,
    })
}

/// Eight numbers with three digits behind the point, parted by commas.
fn text() -> Form {
    let options = Options::Lines(lines::Options {
        form: lines::Form::Separated {
            separator: ",".to_owned(),
        },
        keys: (0..CHANNELS).map(|channel| format!("c{channel}")).collect(),
        suffixes: Vec::new(),
        decimal_comma: false,
        comment: None,
        first_line_whole: true,
        line_bytes_max: lines::LINE_BYTES_MAX_DEFAULT,
    });
    let (mut text, mut sum, mut frames) = (String::with_capacity(INPUT_BYTES + 128), 0.0, 0);
    while text.len() < INPUT_BYTES - 128 {
        for channel in 0..CHANNELS {
            let value = f64::from(value(frames, channel)) / 1000.0;
            let end = if channel + 1 == CHANNELS { '\n' } else { ',' };
            // Writing into a string cannot fail.
            let _ = write!(text, "{value:.3}{end}");
            sum += value;
        }
        frames += 1;
    }
    Form {
        name: "text",
        options,
        bytes: text.into_bytes(),
        frames,
        sum,
        mark: b'\n',
    }
}

/// CRC-16/IBM-3740, bit by bit, as its definition is written.
fn crc_16_ibm_3740(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

impl Form {
    /// Frames a second.
    fn decode(&self, duration: Duration) -> anyhow::Result<f64> {
        let mut protocol = self.options.build().map_err(|e| anyhow!("{e:?}"))?;
        let mut out = Frames::with_capacity(CHANNELS, FRAMES);
        let (mut frames, mut sum, mut rounds) = (0_usize, 0.0, 0_u32);
        let started = Instant::now();
        loop {
            // The stream begins anew: its counter would seem to have jumped.
            protocol.reset();
            let mut at = 0;
            while at < self.bytes.len() {
                out.clear();
                let used = protocol.decode(&self.bytes[at..], &mut out);
                frames += out.len();
                if rounds == 0 {
                    sum += (0..CHANNELS)
                        .map(|c| out.column(c).iter().sum::<f64>())
                        .sum::<f64>();
                }
                ensure!(
                    out.tally == Default::default(),
                    "frames were lost or corrupt"
                );
                if used == 0 {
                    break;
                }
                at += used;
            }
            rounds += 1;
            if started.elapsed() >= duration {
                break;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        ensure!(
            frames == self.frames * rounds as usize,
            "{} frames were encoded, {frames} decoded in {rounds} rounds",
            self.frames
        );
        ensure!(
            (sum - self.sum).abs() <= 1e-9 * self.sum.abs().max(1.0),
            "the values sum up to {}, and were decoded to {sum}",
            self.sum
        );
        Ok(frames as f64 / seconds)
    }

    /// Bytes a second of the bare scan.
    fn scan(&self, duration: Duration) -> f64 {
        let started = Instant::now();
        let (mut bytes, mut marks) = (0_usize, 0_usize);
        while started.elapsed() < duration {
            marks += std::hint::black_box(&self.bytes)
                .iter()
                .filter(|byte| **byte == self.mark)
                .count();
            bytes += self.bytes.len();
        }
        std::hint::black_box(marks);
        bytes as f64 / started.elapsed().as_secs_f64()
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Found> {
    let mut rows = Vec::new();
    let mut first = None;
    for form in [binary()?, text()] {
        form.decode(Duration::from_millis(50))?;
        let (mut rates, mut limits, mut ratios) = (vec![], vec![], vec![]);
        for _ in 0..args.repeat {
            let rate = form.decode(args.duration)?;
            let limit = form.scan(args.duration / 4);
            let bytes = rate * form.bytes.len() as f64 / form.frames as f64;
            rates.push(rate);
            limits.push(limit);
            ratios.push(bytes / limit);
        }
        let (rate, [low, high]) = median(rates);
        let (ratio, spread) = median(ratios);
        let (limit, _) = median(limits);
        let bytes_per_s = rate * form.bytes.len() as f64 / form.frames as f64;
        rows.push(
            Row::named(form.name)
                .with("M frames/s", rate / 1e6)
                .with("lowest", low / 1e6)
                .with("highest", high / 1e6)
                .with("M samples/s", rate * CHANNELS as f64 / 1e6)
                .with("MB/s", bytes_per_s / 1e6)
                .with("scan MB/s", limit / 1e6)
                .with("ratio", ratio),
        );
        first.get_or_insert((rate, bytes_per_s, limit, ratio, spread));
    }
    let (rate, bytes_per_s, limit, ratio, ratio_spread) = first.unwrap_or_default();
    Ok(Found {
        cost: None,
        bench: "decode",
        what: format!(
            "frames of {CHANNELS} channels in process: 22-byte packets with CRC-16, and comma-separated text"
        ),
        machine: machine(),
        samples_per_s: Some(rate * CHANNELS as f64),
        bytes_per_s: Some(bytes_per_s),
        limit: Limit {
            cost: None,
            what: "a bare scan of the same bytes (binary)",
            samples_per_s: None,
            bytes_per_s: Some(limit),
            latency_us: None,
        },
        ratio,
        ratio_spread,
        latency_us: None,
        more_us: serde_json::Map::new(),
        rows,
        rss_bytes: resident_bytes(),
        balanced: true,
    })
}
