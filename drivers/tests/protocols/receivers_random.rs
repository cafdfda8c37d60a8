//! Epochs of a receiver at random: some of it missing, damaged, or with noise between; cut anywhere.

use proptest::prelude::*;

use kymo_drivers::protocol::Protocol;

use crate::common::{cut, whole};
use crate::encode::sentence;
use crate::receivers::{assert_rows, by_epoch};
use crate::receivers_ubx::{FIX, Pvt, build, field};

/// What becomes of one message of an epoch.
#[derive(Debug, Clone)]
enum Fate {
    Comes,
    IsMissing,
    IsDamaged,
    ComesAfter(Vec<u8>),
}

/// The messages of each epoch, in their order; each but the first part of GSV has a channel.
const MESSAGES: usize = 5;

fn fates() -> impl Strategy<Value = Vec<[Fate; MESSAGES]>> {
    // No `$`, `!` or B5: what begins nothing is noise alone.
    let noise = prop::collection::vec(prop_oneof![Just(b'\n'), 0x25..0xB0_u8, 0..0x20_u8], 1..30);
    let fate = prop_oneof![
        6 => Just(Fate::Comes),
        1 => Just(Fate::IsMissing),
        1 => Just(Fate::IsDamaged),
        1 => noise.prop_map(Fate::ComesAfter),
    ];
    prop::collection::vec([(); MESSAGES].map(|()| fate.clone()), 1..12)
}

const CHANNELS: [&str; 5] = [
    "RMC.speed_kn",
    "GGA.altitude",
    "GPGSV.in_view",
    "NAV-PVT.latitude",
    "NAV-PVT.used",
];

fn message(second: usize, which: usize) -> Vec<u8> {
    let (minutes, seconds) = (second / 60, second % 60);
    match which {
        0 => sentence(
            &format!("$GNRMC,07{minutes:02}{seconds:02}.00,A,,,,,{second}.5,,241126,,,A,V"),
            false,
        ),
        1 => sentence(
            &format!("$GNGGA,07{minutes:02}{seconds:02}.00,,,,,1,08,1.0,-{second}.25,M,,M,,"),
            false,
        ),
        2 => sentence(&format!("$GPGSV,2,1,{second:02},01,10,100,40"), false),
        3 => sentence(&format!("$GPGSV,2,2,{second:02},02,10,100,41"), false),
        _ => Pvt {
            week_ms: 1000 * u32::try_from(second).unwrap(),
            time: (
                7,
                u8::try_from(minutes).unwrap(),
                u8::try_from(seconds).unwrap(),
            ),
            latitude_e7: i32::try_from(second).unwrap(),
            ..FIX
        }
        .frame(),
    }
}

/// The stream, the rows that must come of it, how many messages were damaged and how many bytes are noise.
struct Told {
    bytes: Vec<u8>,
    rows: Vec<Vec<f64>>,
    corrupt: u64,
    skipped: usize,
}

fn tell(epochs: &[[Fate; MESSAGES]]) -> Told {
    let mut told = Told {
        bytes: Vec::new(),
        rows: Vec::new(),
        corrupt: 0,
        skipped: 0,
    };
    let mut last = None;
    for (second, fates) in epochs.iter().enumerate() {
        let mut row = [f64::NAN; CHANNELS.len()];
        let mut is_known = false;
        let mut parts = 0;
        for (which, fate) in fates.iter().enumerate() {
            let mut bytes = message(second, which);
            match fate {
                Fate::IsMissing => continue,
                Fate::IsDamaged => {
                    // A digit in the middle: never a `$`, never a line end.
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    told.bytes.extend(bytes);
                    told.corrupt += 1;
                    continue;
                }
                Fate::ComesAfter(noise) => {
                    told.bytes.extend(noise);
                    told.skipped += noise.len();
                }
                Fate::Comes => {}
            }
            told.bytes.extend(bytes);
            let number = u32::try_from(second).unwrap();
            // What has no time belongs to the epoch before, if it comes before what has one.
            let is_timed = matches!(which, 0 | 1 | 4);
            if is_timed && last != Some(second) {
                last = Some(second);
                is_known = true;
            }
            match which {
                0 => row[0] = f64::from(number) + 0.5,
                1 => row[1] = -(f64::from(number) + 0.25),
                2 => parts = 1,
                3 if parts == 1 && is_known => row[2] = f64::from(number),
                3 => {}
                _ => (row[3], row[4]) = (f64::from(number) * 1e-7, 11.0),
            }
        }
        told.rows.push(row.to_vec());
    }
    told
}

fn receiver() -> Box<dyn Protocol> {
    build(CHANNELS.map(field).to_vec(), by_epoch(None, None))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_epoch_is_one_frame_of_what_came_of_it(
        mut epochs in fates(),
        places in prop::collection::vec(any::<usize>(), 0..60),
        room in 1..6_usize,
    ) {
        // The first sentence tells each epoch's time, and the first part of GSV is not without the second: how what
        // has no time falls to a neighbour is tested by itself.
        for fates in &mut epochs {
            fates[0] = Fate::Comes;
            if matches!(fates[2], Fate::IsMissing | Fate::IsDamaged) || matches!(fates[3], Fate::IsMissing | Fate::IsDamaged) {
                fates[2] = Fate::IsMissing;
                fates[3] = Fate::IsMissing;
            }
        }
        let told = tell(&epochs);
        let mut bytes = told.bytes.clone();
        // The beginning of one more epoch ends the last.
        bytes.extend(message(3_000, 0));
        let decoded = whole(receiver(), &bytes);
        let rows: Vec<&[f64]> = told.rows.iter().map(Vec::as_slice).collect();
        assert_rows(&decoded, &rows);
        prop_assert_eq!(decoded.tally.corrupt_frames, told.corrupt);
        prop_assert_eq!(decoded.tally.skipped_bytes, told.skipped as u64);
        prop_assert_eq!(decoded.pending, message(3_000, 0).len());
        prop_assert_eq!(&cut(receiver(), &bytes, &places, room), &decoded);
    }

    #[test]
    fn cut_anywhere_any_fate_decodes_the_same(
        epochs in fates(),
        places in prop::collection::vec(any::<usize>(), 0..60),
        room in 1..6_usize,
        last in prop::sample::select(&[None, Some("GGA"), Some("NAV-PVT"), Some("GSV")][..]),
    ) {
        let bytes = tell(&epochs).bytes;
        let receiver = || build(CHANNELS.map(field).to_vec(), by_epoch(None, last));
        let at_once = whole(receiver(), &bytes);
        prop_assert_eq!(&cut(receiver(), &bytes, &places, room), &at_once);
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&cut(receiver(), &bytes, &every, room), &at_once);
    }

    #[test]
    fn any_bytes_at_all_neither_panic_nor_pile_up(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                (0..90_usize, 0..MESSAGES).prop_map(|(second, which)| message(second, which)),
                (0..90_usize, 0..MESSAGES, any::<usize>(), any::<u8>()).prop_map(|(second, which, place, byte)| {
                    let mut bytes = message(second, which);
                    let place = place % bytes.len();
                    bytes[place] = byte;
                    bytes
                }),
                (0..90_usize, 0..MESSAGES, any::<usize>()).prop_map(|(second, which, end)| {
                    let mut bytes = message(second, which);
                    bytes.truncate(end % bytes.len());
                    bytes
                }),
            ],
            0..60,
        ),
        places in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let bytes = pieces.concat();
        let at_once = whole(receiver(), &bytes);
        prop_assert_eq!(&cut(receiver(), &bytes, &places, 2), &at_once);
        prop_assert!(at_once.tally.skipped_bytes <= bytes.len() as u64);
    }
}

/// What the fuzzers start from, through the decoders as they are built here.
#[test]
fn the_seeds_of_the_fuzzers_decode_cut_anywhere_as_in_one_piece() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds");
    let mut frames = 0;
    for target in ["nmea", "ubx"] {
        for file in std::fs::read_dir(format!("{folder}/{target}")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for last in [None, Some("GGA"), Some("NAV-PVT"), Some("GSV")] {
                let receiver = || build(CHANNELS.map(field).to_vec(), by_epoch(None, last));
                let at_once = whole(receiver(), &bytes);
                let every: Vec<usize> = (0..bytes.len()).collect();
                assert_eq!(cut(receiver(), &bytes, &every, 1), at_once);
                frames += at_once.rows.len();
            }
        }
    }
    assert!(frames > 200, "{frames}");
}
