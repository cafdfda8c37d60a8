//! Navigation receivers: what their sentences say, which of them make a frame, and what is passed over.

use kymo_drivers::block::GapReason;
use kymo_drivers::protocol::nmea::{
    EPOCH_BYTES_MAX, Field, FieldKind, FrameBy, Options, Rules, Value,
};
use kymo_drivers::protocol::{self, Protocol};

use crate::common::{Decoded, Feed, whole};
use crate::encode::sentence;

pub(crate) fn quantity(name: &str) -> Field {
    let (sentence, quantity) = name.split_once('.').unwrap();
    Field {
        sentence: sentence.to_owned(),
        value: Value::Quantity(quantity.to_owned()),
    }
}

fn at(sentence: &str, index: usize, kind: FieldKind) -> Field {
    let (sentence, part) = (sentence.to_owned(), None);
    let value = Value::At { index, kind, part };
    Field { sentence, value }
}

pub(crate) fn by_epoch(first: Option<&str>, last: Option<&str>) -> Rules {
    Rules {
        frame: FrameBy::Epoch {
            first: first.map(str::to_owned),
            last: last.map(str::to_owned),
        },
        ..Rules::default()
    }
}

fn by_sentence() -> Rules {
    Rules {
        frame: FrameBy::Sentence,
        ..Rules::default()
    }
}

fn build(fields: &[Field], rules: Rules) -> Box<dyn Protocol> {
    let fields = fields.to_vec();
    let options = protocol::Options::Nmea(Options { fields, rules });
    options
        .build()
        .unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// Sentences with their checksums put behind them; other lines as they are.
pub(crate) fn log(lines: &str) -> Vec<u8> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .flat_map(|line| match line.as_bytes() {
            [b'$' | b'!', ..] if !line.contains('*') => sentence(line, false),
            _ => format!("{line}\r\n").into_bytes(),
        })
        .collect()
}

fn decode(names: &[&str], rules: Rules, lines: &str) -> Decoded {
    let fields: Vec<Field> = names.iter().map(|name| quantity(name)).collect();
    whole(build(&fields, rules), &log(lines))
}

/// Equal, or neither a number.
#[track_caller]
pub(crate) fn assert_rows(decoded: &Decoded, expected: &[&[f64]]) {
    let rows: Vec<&[f64]> = decoded.rows.iter().map(|row| row.0.as_slice()).collect();
    let same = |a: &f64, b: &f64| a == b || (a.is_nan() && b.is_nan());
    let is_equal = rows.len() == expected.len()
        && rows.iter().zip(expected).all(|(row, expected)| {
            row.len() == expected.len() && row.iter().zip(*expected).all(|(a, b)| same(a, b))
        });
    assert!(is_equal, "{rows:?}\nbut expected was\n{expected:?}");
}

const NAN: f64 = f64::NAN;

/// Two seconds of a receiver for four systems, in the order of u-blox's.
const TWO_SECONDS: &str = "
    $GNRMC,081836.00,A,3751.65000,S,14507.36000,E,10.500,360.00,130998,11.3,E,D
    $GNVTG,360.00,T,348.7,M,10.500,N,19.446,K,D
    $GNGGA,081836.00,3751.65000,S,14507.36000,E,2,12,0.62,-47.5,M,38.0,M,1.5,0120
    $GNGSA,A,3,02,05,12,,,,,,,,,,1.20,0.62,1.03,1
    $GNGSA,A,3,65,72,,,,,,,,,,,1.20,0.62,1.03,2
    $GPGSV,2,1,05,02,41,250,44,05,09,120,,12,77,010,50,25,15,310,31,1
    $GPGSV,2,2,05,29,33,200,38,1
    $GPGSV,1,1,02,02,41,250,39,12,77,010,41,6
    $GLGSV,1,1,03,65,12,040,,72,60,100,47,88,05,300,29,1
    $GNGLL,3751.65000,S,14507.36000,E,081836.00,A,D
    $GNRMC,081837.00,A,3751.65100,S,14507.36000,E,0.000,,130998,11.3,W,E
    $GNVTG,,T,,M,0.000,N,0.000,K,E
    $GNGGA,081837.00,3751.65100,S,14507.36000,E,6,12,0.63,-47.4,M,38.0,M,,
    $GNGSA,A,3,02,05,12,,,,,,,,,,1.21,0.63,1.03,1
    $GNGSA,A,3,65,,,,,,,,,,,,1.21,0.63,1.03,2
    $GPGSV,1,1,04,02,41,250,44,05,09,120,,12,77,010,50,25,15,310,31,1
    $GLGSV,1,1,00,1
    $GNGLL,3751.65100,S,14507.36000,E,081837.00,A,E
";

#[test]
fn an_epoch_is_one_frame_of_all_that_its_sentences_say() {
    let names = [
        "RMC.utc",
        "RMC.time",
        "RMC.date",
        "GGA.latitude",
        "GGA.longitude",
        "GGA.altitude",
        "GGA.quality",
        "GGA.used",
        "GSA.hdop",
        "RMC.speed",
        "VTG.speed",
        "RMC.course",
        "RMC.variation",
        "RMC.mode",
        "GGA.correction_age",
    ];
    let decoded = decode(&names, by_epoch(None, None), TWO_SECONDS);
    let (day, second) = (10_482.0, 29_916.0);
    let knot = 1852.0 / 3600.0;
    let kmh = 1.0 / 3.6;
    assert_rows(
        &decoded,
        &[
            &[
                day * 86_400.0 + second,
                second,
                day,
                -(37.0 + 51.65 / 60.0),
                145.0 + 7.36 / 60.0,
                -47.5,
                2.0,
                12.0,
                0.62,
                10.5 * knot,
                19.446 * kmh,
                360.0,
                11.3,
                2.0,
                1.5,
            ],
            &[
                day * 86_400.0 + second + 1.0,
                second + 1.0,
                day,
                -(37.0 + 51.651 / 60.0),
                145.0 + 7.36 / 60.0,
                -47.4,
                6.0,
                12.0,
                0.63,
                0.0,
                0.0,
                NAN,
                -11.3,
                6.0,
                NAN,
            ],
        ],
    );
    assert_eq!(decoded.tally, Default::default());
    // Whole with the first GSA, the last of the sentences named.
    let text = log(TWO_SECONDS);
    let up_to = |needle: &[u8]| {
        let start = text
            .windows(needle.len())
            .position(|w| w == needle)
            .unwrap();
        start + text[start..].iter().position(|b| *b == b'\n').unwrap() + 1
    };
    assert_eq!(decoded.ends[0], up_to(b"$GNGSA"));
}

#[test]
fn what_several_sentences_say_together_is_whole_with_the_last_one_or_with_the_next_epoch() {
    let names = [
        "GSA.used",
        "GSV.in_view",
        "GSV.tracked",
        "GSV.snr_max",
        "GPGSV.in_view",
        "GLGSV.in_view",
    ];
    let first: &[f64] = &[5.0, 8.0, 6.0, 50.0, 5.0, 3.0];
    let second: &[f64] = &[4.0, 4.0, 3.0, 50.0, 4.0, 0.0];
    let decoded = decode(&names, by_epoch(None, None), TWO_SECONDS);
    assert_rows(&decoded, &[first]);
    // The second is not yet whole: its bytes are kept, from its first sentence that is named.
    let text = log(TWO_SECONDS);
    let begin = b"$GNGSA,A,3,02,05,12,,,,,,,,,,1.21";
    let begin = text.windows(begin.len()).position(|w| w == begin);
    assert_eq!(decoded.pending, text.len() - begin.unwrap());

    let decoded = decode(&names, by_epoch(None, Some("GLL")), TWO_SECONDS);
    assert_rows(&decoded, &[first, second]);
    assert_eq!(decoded.pending, 0);
    assert_eq!(decoded.ends.last(), Some(&text.len()));
}

#[test]
fn what_of_an_epoch_did_not_come_is_not_a_number() {
    let names = ["RMC.speed_kn", "GGA.altitude"];
    let lines = "
        $GPRMC,120000,A,,,,,1.0,,010120,,
        $GPGGA,120000,,,,,1,05,1.0,10.0,M,,M,,
        $GPRMC,120001,A,,,,,2.0,,010120,,
        $GPGGA,120001,,,,,1,05,1.0,11.0,M,,M,,*00
        $GPRMC,120002,A,,,,,3.0,,010120,,*00
        $GPGGA,120002,,,,,1,05,1.0,12.0,M,,M,,
        $GPRMC,120003,A,,,,,4.0,,010120,,
        $GPGGA,120003,,,,,1,05,1.0,13.0,M,,M,,
    ";
    let decoded = decode(&names, by_epoch(None, None), lines);
    assert_rows(
        &decoded,
        &[&[1.0, 10.0], &[2.0, NAN], &[NAN, 12.0], &[4.0, 13.0]],
    );
    assert_eq!(decoded.tally.corrupt_frames, 2);
    assert_eq!(decoded.tally.skipped_bytes, 0);
    let losses: Vec<_> = decoded
        .losses
        .iter()
        .map(|l| (l.before, l.frames, l.reason))
        .collect();
    // Both damaged ones lie before the second frame's end becomes known.
    assert_eq!(losses, [(1, None, GapReason::Corrupt)]);
}

#[test]
fn an_epoch_that_begins_with_a_sentence_without_a_time_is_declared_by_its_name() {
    let names = ["VTG.speed_kn", "GGA.altitude"];
    let lines = "
        $GPVTG,,T,,M,1.0,N,,K
        $GPGGA,120000,,,,,1,05,1.0,10.0,M,,M,,
        $GPVTG,,T,,M,2.0,N,,K
        $GPGGA,120001,,,,,1,05,1.0,11.0,M,,M,,
    ";
    let decoded = decode(&names, by_epoch(Some("VTG"), None), lines);
    assert_rows(&decoded, &[&[1.0, 10.0], &[2.0, 11.0]]);
    // Not declared, the speed is taken to be of the moment before.
    let decoded = decode(&names, by_epoch(None, None), lines);
    assert_rows(&decoded, &[&[2.0, 10.0]]);
}

#[test]
fn a_receiver_that_does_not_know_the_time_still_tells_epochs() {
    let names = ["RMC.valid", "RMC.latitude", "GGA.used", "GPGSV.in_view"];
    let lines = "
        $GPTXT,01,01,02,u-blox ag - www.u-blox.com
        $GPRMC,,V,,,,,,,,,,N
        $GPGGA,,,,,,0,00,99.99,,,,,,
        $GPGSV,1,1,02,10,,,32,12,,,29
        $GPRMC,,V,,,,,,,,,,N
        $GPGGA,,,,,,0,01,99.99,,,,,,
        $GPGSV,1,1,03,10,,,32,12,,,29,13,,,22
        $GPRMC,140000.00,A,4800.0,N,,,,,010120,,,A
        $GPGGA,140000.00,4800.0,N,,,1,04,2.0,,,,,,
        $GPGSV,1,1,04,10,,,32,12,,,29,13,,,22,14,,,30
        $GPRMC,140001.00,A,4800.0,N,,,,,010120,,,A
    ";
    let mut rules = by_epoch(None, None);
    let decoded = decode(&names, rules.clone(), lines);
    assert_rows(
        &decoded,
        &[
            &[0.0, NAN, 0.0, 2.0],
            &[0.0, NAN, 1.0, 3.0],
            &[1.0, 48.0, 4.0, 4.0],
        ],
    );
    rules.talkers = vec!["GN".to_owned(), "GP".to_owned()];
    assert_eq!(decode(&names, rules.clone(), lines).rows.len(), 3);
    rules.talkers = vec!["GN".to_owned()];
    assert_eq!(decode(&names, rules, lines).rows.len(), 0);
}

#[test]
fn sentences_that_do_not_belong_together_are_frames_of_their_own() {
    let names = [
        "MWV.angle",
        "MWV.speed",
        "DPT.depth",
        "DBT.depth",
        "HDG.variation",
        "MTW.temperature",
    ];
    let lines = "
        $IIMWV,214.8,R,10.0,N,A
        $SDDPT,2.4,-0.5,
        $SDDBT,7.9,f,2.4,M,1.3,F
        $HCHDG,101.1,,,7.1,W
        $WIMWV,30.0,R,36.0,K,A
        $YXMTW,17.75,C
        $YXXDR,C,21.0,C,AIR
    ";
    let decoded = decode(&names, by_sentence(), lines);
    let knots = 10.0 * (1852.0 / 3600.0);
    assert_rows(
        &decoded,
        &[
            &[214.8, knots, NAN, NAN, NAN, NAN],
            &[NAN, NAN, 2.4, NAN, NAN, NAN],
            &[NAN, NAN, NAN, 2.4, NAN, NAN],
            &[NAN, NAN, NAN, NAN, -7.1, NAN],
            &[30.0, 36.0 * (1.0 / 3.6), NAN, NAN, NAN, NAN],
            &[NAN, NAN, NAN, NAN, NAN, 17.75],
        ],
    );
    assert_eq!(decoded.tally, Default::default());
}

#[test]
fn a_makers_sentence_is_declared_by_its_fields() {
    let fields = [
        at("PGRME", 1, FieldKind::Number),
        at("PUBX,00", 2, FieldKind::Time),
        at("PUBX,00", 3, FieldKind::Latitude),
        at("PUBX,00", 5, FieldKind::Longitude),
        at("PUBX,00", 8, FieldKind::Equals("G3".to_owned())),
        at("PXYZ", 3, FieldKind::Hexadecimal),
        at("PXYZ", 1, FieldKind::Date),
    ];
    let lines = "
        $PGRME,15.0,M,45.0,M,25.0,M
        $PUBX,00,081350.00,4717.113210,N,00833.915187,W,546.589,G3,2.1,2.0,0.007
        $PUBX,03,11,23,-,,,45,010
        $PUBX,00,081351.00,4717.113210,N,00833.915187,W,546.589,NF,2.1,2.0,0.007
        $PXYZ,,, 7fA 
        $PXYZ,310199
    ";
    let decoded = whole(build(&fields, by_sentence()), &log(lines));
    let (latitude, longitude) = (47.0 + 17.113_21 / 60.0, -(8.0 + 33.915_187 / 60.0));
    assert_rows(
        &decoded,
        &[
            &[15.0, NAN, NAN, NAN, NAN, NAN, NAN],
            &[NAN, 29_630.0, latitude, longitude, 1.0, NAN, NAN],
            &[NAN, 29_631.0, latitude, longitude, 0.0, NAN, NAN],
            &[NAN, NAN, NAN, NAN, NAN, 2042.0, NAN],
            &[NAN, NAN, NAN, NAN, NAN, NAN, 10_622.0],
        ],
    );
    assert_eq!(decoded.tally, Default::default());
}

#[test]
fn ais_is_passed_over_unless_it_is_asked_for_and_damaged_ais_is_counted() {
    let lines = "
        !AIVDM,1,1,,B,13u?etPv2;0n:dDPwUM1U1Cb069D,0
        $GPZDA,201530.00,04,07,2002,00,00
        !AIVDM,2,1,3,B,55P5TL01VIaAL@7WKO@mBplU@<PDhh000000001S;AJ::4A80?4i@E53,0
        !AIVDM,2,2,3,B,1@0000000000000,2
        !AIVDM,1,1,,A,13u?etPv2;0n:dDPwUM1U1Cb069D,0*7F
    ";
    let decoded = decode(
        &["ZDA.utc", "ZDA.date", "ZDA.zone_h"],
        by_epoch(None, None),
        lines,
    );
    assert_rows(
        &decoded,
        &[&[11_872.0 * 86_400.0 + 72_930.0, 11_872.0, 0.0]],
    );
    assert_eq!(decoded.tally.corrupt_frames, 1);
    assert_eq!(decoded.tally.skipped_bytes, 0);

    let part = |index, part| Field {
        sentence: "!AIVDM".to_owned(),
        value: Value::At {
            index,
            kind: FieldKind::Number,
            part,
        },
    };
    // Parts, and the fill bits of the second one.
    let fields = [part(1, None), part(6, Some(2))];
    let decoded = whole(build(&fields, by_sentence()), &log(lines));
    assert_rows(&decoded, &[&[1.0, NAN], &[2.0, 2.0]]);
}

#[test]
fn a_message_whose_parts_do_not_follow_each_other_is_given_up() {
    let one = "$GPGSV,3,1,09,01,10,100,40,02,10,100,41,03,10,100,42,04,10,100,43";
    let two = "$GPGSV,3,2,09,05,10,100,44,06,10,100,,07,10,100,30,08,10,100,31";
    let three = "$GPGSV,3,3,09,09,10,100,20";
    let other = "$GLGSV,1,1,01,65,10,100,35";
    let given = |lines: &[&str]| {
        let names = ["GSV.in_view", "GSV.tracked", "GSV.snr_max"];
        let decoded = decode(&names, by_sentence(), &lines.join("\n"));
        let rows = decoded.rows.iter().map(|row| row.0[0]).collect::<Vec<_>>();
        (rows, decoded.tally.corrupt_frames)
    };
    let decoded = decode(
        &["GSV.in_view", "GSV.tracked", "GSV.snr_max"],
        by_sentence(),
        &[one, two, three, other].join("\n"),
    );
    assert_rows(&decoded, &[&[9.0, 8.0, 44.0], &[1.0, 1.0, 35.0]]);
    assert_eq!(given(&[one, three, other]), (vec![1.0], 1));
    assert_eq!(given(&[one, one, two, three]), (vec![9.0], 1));
    assert_eq!(given(&[one, two, other]), (vec![1.0], 1));
    // What began before the link was opened is nobody's fault.
    assert_eq!(given(&[two, three, other]), (vec![1.0], 0));
    // A part that came damaged is counted once, not its message, too.
    let damaged = format!("{two}*00");
    assert_eq!(given(&[one, &damaged, three, other]), (vec![1.0], 1));
    // A part that cannot be.
    assert_eq!(
        given(&["$GPGSV,1,2,01", "$GPGSV,x,1,01", "$GPGSV,,,", other]),
        (vec![1.0], 3)
    );
}

#[test]
fn a_named_field_that_is_not_what_it_must_be_makes_its_sentence_corrupt() {
    let names = ["RMC.latitude", "RMC.time", "GGA.altitude"];
    let lines = "
        $GPRMC,120000,A,4800.0,N,,,,,,,
        $GPGGA,120000,,,,,1,05,1.0,10.0,M,,M,,
        $GPRMC,120001,A,4860.0,N,,,,,,,
        $GPGGA,120001,,,,,1,05,1.0,11.0,M,,M,,
        $GPRMC,12:02,A,4800.0,N,,,,,,,
        $GPGGA,120002,,,,,1,05,1.0,1e1,M,,M,,
        $GPRMC,120003,A,4800.0,N,,,xx,,,,
        $GPGGA,120003,,,,,1,05,1.0,13.0,M,,M,,
    ";
    let decoded = decode(&names, by_epoch(None, None), lines);
    assert_rows(
        &decoded,
        &[
            &[48.0, 43_200.0, 10.0],
            &[NAN, NAN, 11.0],
            // A speed that is none concerns nobody who has not named it.
            &[48.0, 43_203.0, 13.0],
        ],
    );
    assert_eq!(decoded.tally.corrupt_frames, 3);
}

#[test]
fn comments_noise_binary_stretches_and_broken_sentences_between_the_good_ones_are_skipped_and_counted()
 {
    let mut bytes = Vec::new();
    let good = |second: u32| {
        let line =
            format!("$GPGGA,1200{second:02},4800.000,N,01130.000,E,1,07,1.1,{second}.5,M,46.9,M,,");
        sentence(&line, false)
    };
    let noise: [&[u8]; 10] = [
        b"# Receiver: noname, 9600 8N1\r\n",
        b"\x00\x01\xB5\x62\x01\x07\x5C\x00\xFF$\x80\x81\n",
        b"\r\n\r\n",
        b"\xD3\x00\x13>\xD0\x00\x03\x8A\x0E\xDE\xEF$GP\x02",
        b"48.0,N,01130.000,E*55\r\n",
        b"$",
        b"$$$",
        b"$GP",
        b"<<<buffer overflow>>>",
        b"!!\n!",
    ];
    for (second, noise) in noise.iter().enumerate() {
        bytes.extend(*noise);
        bytes.extend(good(u32::try_from(second).unwrap()));
    }
    let fields = [quantity("GGA.altitude")];
    let decoded = whole(build(&fields, by_epoch(None, None)), &bytes);
    let rows: Vec<Vec<f64>> = (0..10)
        .map(|second| vec![f64::from(second) + 0.5])
        .collect();
    assert_rows(
        &decoded,
        &rows.iter().map(Vec::as_slice).collect::<Vec<_>>(),
    );
    let skipped: usize = noise.iter().map(|noise| noise.len()).sum();
    assert_eq!(decoded.tally.skipped_bytes, skipped as u64);
    assert_eq!(decoded.tally.corrupt_frames, 0);

    // A sentence cut off by the next one, one without its end of line, one with a digit changed.
    let cut = &good(20)[..30];
    let bare = good(21).strip_suffix(b"\r\n").unwrap().to_vec();
    let mut wrong = good(22);
    wrong[9] = b'9';
    let bytes = [cut, &bare, &wrong, &good(23)].concat();
    let decoded = whole(build(&fields, by_epoch(None, None)), &bytes);
    assert_rows(&decoded, &[&[21.5], &[23.5]]);
    assert_eq!(decoded.tally.corrupt_frames, 2);
    assert_eq!(decoded.tally.skipped_bytes, 0);
}

#[test]
fn sentences_without_checksums_are_good_only_where_that_is_declared() {
    let lines = b"$GPHDT,123.4,T\r\n$GPHDT,125.0,T\n";
    let fields = [quantity("HDT.heading")];
    let strict = whole(build(&fields, by_sentence()), lines);
    assert_eq!((strict.rows.len(), strict.tally.corrupt_frames), (0, 2));
    let mut rules = by_sentence();
    rules.checksum_optional = true;
    assert_rows(
        &whole(build(&fields, rules.clone()), lines),
        &[&[123.4], &[125.0]],
    );
    // One that has a checksum is held to it.
    let wrong = whole(build(&fields, rules), b"$GPHDT,123.4,T*00\r\n");
    assert_eq!((wrong.rows.len(), wrong.tally.corrupt_frames), (0, 1));
}

#[test]
fn an_epoch_that_does_not_end_is_given_before_it_takes_too_much() {
    let mut feed = Feed::new(
        build(
            &[quantity("RMC.valid"), quantity("GGA.used")],
            by_epoch(None, None),
        ),
        4,
    );
    feed.feed(&log("$GPRMC,120000,A,,,,,,,,,"));
    let filler = sentence("$GPTXT,01,01,02,nothing", false);
    for _ in 0..2 * EPOCH_BYTES_MAX / filler.len() {
        feed.feed(&filler);
    }
    assert_rows(&feed.decoded, &[&[1.0, NAN]]);
    assert_eq!(feed.decoded.pending, 0);
}

#[test]
fn what_is_held_of_an_epoch_is_forgotten_with_the_link_and_its_bytes_are_the_readers_to_count() {
    let rules = by_epoch(None, None);
    let mut feed = Feed::new(
        build(&[quantity("RMC.valid"), quantity("GGA.used")], rules),
        4,
    );
    let begun = log("noise\n$GPRMC,120000,A,,,,,,,,,");
    feed.feed(&begun);
    // The noise before it is told, and the sentence is held.
    assert_eq!(feed.decoded.tally.skipped_bytes, 7);
    assert_eq!(feed.decoded.pending, begun.len() - 7);
    feed.reset();
    feed.feed(&log(
        "$GPRMC,120005,V,,,,,,,,,\n$GPGGA,120005,,,,,0,03,,,M,,M,,",
    ));
    assert_rows(&feed.decoded, &[&[0.0, 3.0]]);
    assert_eq!(feed.decoded.losses, []);
}

#[test]
fn what_cannot_work_is_told_whole() {
    let fields = vec![
        quantity("RMC.lattitude"),
        quantity("PGRME.error"),
        quantity("rmc.time"),
        at("GGA", 0, FieldKind::Number),
        at("XX", 1, FieldKind::Number),
        Field {
            sentence: "TXT".to_owned(),
            value: Value::At {
                index: 4,
                kind: FieldKind::Number,
                part: Some(0),
            },
        },
    ];
    let mut rules = by_epoch(Some("GG"), Some("NAV-EOE"));
    rules.talkers = vec!["GPS".to_owned()];
    rules.sentence_bytes_max = 5;
    let options = protocol::Options::Nmea(Options { fields, rules });
    let mistakes = options.build().err().unwrap();
    let parts: Vec<&str> = mistakes
        .iter()
        .map(|mistake| mistake.part.as_str())
        .collect();
    for part in [
        "field 0",
        "field 1",
        "field 2",
        "field 3",
        "field 4",
        "field 5",
        "first",
        "last",
        "talkers",
        "sentence_max",
    ] {
        assert!(parts.contains(&part), "{part} is not in {parts:?}");
    }
    assert!(
        mistakes
            .iter()
            .any(|m| m.what.contains("RMC has no `lattitude`; it has utc, time"))
    );
    let empty = Options {
        fields: Vec::new(),
        rules: Rules::default(),
    };
    assert!(protocol::Options::Nmea(empty).build().is_err());
}
