//! Packets declared anyhow, and any bytes at all.

#![no_main]

use kymo_drivers::protocol::Options;
use kymo_drivers::protocol::packet::{
    self, Bits, ByteOrder, Checksum, ChecksumKind, Constant, Counter, Field, Framing, Length,
    Scalar, Timestamp,
};
use kymo_fuzz::{Choices, Decoded, decode, stretches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut choices, stream) = Choices::split(data, 60);
    let options = options(&mut choices);
    let piece = 1 + choices.below(64);
    let room = 1 + choices.below(9);
    let (framing, frames) = (options.framing.clone(), options.frames);
    if let Some(mut decoded) = decode(&Options::Packet(options), stream, piece, room) {
        // All frames of a packet come, and end with it.
        assert!(decoded.ends.len().is_multiple_of(frames));
        assert!(decoded.ends.chunks(frames).all(|ends| ends.iter().all(|end| *end == ends[0])));
        decoded.ends = decoded.ends.iter().step_by(frames).copied().collect();
        match framing {
            Framing::Sync { length, .. } => account(&decoded, length),
            Framing::Cobs { .. } => account_stuffed(&decoded, stream, 0),
            Framing::Slip { .. } => account_stuffed(&decoded, stream, 0xC0),
        }
    }
});

/// Every byte done with is in a good packet, in a corrupt one, or skipped.
fn account(decoded: &Decoded, length: Length) {
    let frames = decoded.ends.len() as u64;
    let corrupt = decoded.tally.corrupt_frames;
    let (shortest, longest) = match length {
        Length::Fixed(length) => (length as u64, length as u64),
        Length::Field { max, .. } => (1, max as u64),
    };
    let rest = (decoded.consumed as u64)
        .checked_sub(decoded.tally.skipped_bytes)
        .and_then(|rest| rest.checked_sub(frames * shortest))
        .expect("no byte is in two of them");
    // A corrupt packet has at least its first byte; a good one may begin within it.
    assert!(rest >= corrupt);
    assert!(rest <= corrupt * longest + frames * (longest - shortest));
}

/// Every stretch up to a delimiter is a good packet, perhaps behind rubbish, a corrupt one, nothing, or,
/// the first, skipped.
fn account_stuffed(decoded: &Decoded, stream: &[u8], delimiter: u8) {
    let (stretches, last) = stretches(&stream[..decoded.consumed], delimiter);
    let mut ends = decoded.ends.iter().copied().peekable();
    let (mut corrupt, mut skipped) = (0, 0);
    // What rubbish in front of good packets may add.
    let (mut corrupt_more, mut skipped_more) = (0, 0);
    for (index, (start, end)) in stretches.iter().copied().enumerate() {
        if ends.next_if_eq(&end).is_some() {
            if index == 0 {
                skipped_more = end - start;
            } else {
                corrupt_more += 1;
            }
        } else if end - start == 1 {
        } else if index == 0 {
            skipped += end - start - 1;
        } else {
            corrupt += 1;
        }
    }
    assert_eq!(ends.next(), None, "a packet ends with its delimiter");
    // Given up before its end has come.
    if last < decoded.consumed {
        if last == 0 {
            skipped += decoded.consumed;
        } else {
            corrupt += 1;
        }
    }
    assert!((corrupt..=corrupt + corrupt_more).contains(&decoded.tally.corrupt_frames));
    let skipped = skipped as u64..=(skipped + skipped_more) as u64;
    assert!(skipped.contains(&decoded.tally.skipped_bytes));
}

fn options(choices: &mut Choices<'_>) -> packet::Options {
    let length = if choices.flag() {
        Length::Fixed(choices.below(40))
    } else {
        Length::Field {
            at: choices.below(8),
            scalar: scalar(choices),
            order: order(choices),
            add: offset(choices),
            max: choices.below(80),
        }
    };
    let framing = match choices.below(3) {
        0 => Framing::Cobs { length },
        1 => Framing::Slip { length },
        _ => {
            let bytes = (0..1 + choices.below(3)).map(|_| choices.byte()).collect();
            Framing::Sync { bytes, length }
        }
    };
    let checksum = choices.flag().then(|| Checksum {
        kind: match choices.below(130) {
            0..6 => ChecksumKind::Sum8,
            6..9 => ChecksumKind::Sum16,
            9 => ChecksumKind::Sum32,
            10 => ChecksumKind::Lrc8,
            11 => ChecksumKind::Inverted8,
            12..16 => ChecksumKind::Xor8,
            16 => ChecksumKind::Fletcher16,
            17 => ChecksumKind::Fletcher16Modulus256,
            18 => ChecksumKind::Fletcher32,
            19 => ChecksumKind::Adler32,
            other => ChecksumKind::Crc(other - 20),
        },
        from: offset(choices),
        to: offset(choices),
        at: offset(choices),
        order: order(choices),
    });
    let counter = choices.flag().then(|| Counter {
        at: choices.below(16),
        scalar: scalar(choices),
        order: order(choices),
        modulus: choices.flag().then(|| u64::from(choices.byte())),
    });
    let fields = (0..choices.below(3))
        .map(|_| Field {
            at: choices.below(32),
            scalar: scalar(choices),
            order: order(choices),
            bits: choices.flag().then(|| Bits {
                first: choices.byte() % 64,
                count: choices.byte() % 65,
            }),
            step: choices.below(6),
            scale: 1.0,
            offset: 0.0,
        })
        .collect();
    let constants = (0..choices.below(3))
        .map(|_| Constant {
            at: choices.below(16),
            bytes: vec![choices.byte()],
        })
        .collect();
    packet::Options {
        framing,
        checksum,
        constants,
        frames: 1 + choices.below(5),
        timestamp: choices.flag().then(|| Timestamp {
            at: choices.below(16),
            scalar: scalar(choices),
            order: order(choices),
        }),
        counter,
        fields,
    }
}

fn scalar(choices: &mut Choices<'_>) -> Scalar {
    choices.one_of(&Scalar::NAMES).1
}

fn order(choices: &mut Choices<'_>) -> ByteOrder {
    choices.one_of(&[ByteOrder::Little, ByteOrder::Big])
}

fn offset(choices: &mut Choices<'_>) -> i64 {
    i64::from(choices.byte().cast_signed()) / 4
}
