//! The same sentences read by `pynmea2`, which nobody here wrote.

use std::io::Write as _;
use std::process::{Command, Stdio};

use kymo_drivers::protocol::nmea::{Field, FrameBy, Options, Rules};
use kymo_drivers::protocol::{self};

use crate::common::{python_with, whole};
use crate::encode::sentence;
use crate::receivers::quantity;

/// What is compared: our quantity, and the expression that gives it of a message `m` of pynmea2.
const COMPARED: [(&str, &str); 36] = [
    ("RMC.latitude", "m.latitude if m.lat else None"),
    ("RMC.longitude", "m.longitude if m.lon else None"),
    ("RMC.time", "day(m.timestamp)"),
    (
        "RMC.date",
        "(m.datestamp - date(1970, 1, 1)).days if m.datestamp else None",
    ),
    (
        "RMC.utc",
        "(m.datestamp - date(1970, 1, 1)).days * 86400 + day(m.timestamp) if m.datestamp and m.timestamp else None",
    ),
    ("RMC.valid", "{'A': 1, 'V': 0}[m.status]"),
    ("RMC.speed_kn", "m.spd_over_grnd"),
    ("RMC.course", "m.true_course"),
    (
        "RMC.variation",
        "number(m.mag_variation, {'W': -1}.get(m.mag_var_dir, 1))",
    ),
    ("GGA.latitude", "m.latitude if m.lat else None"),
    ("GGA.longitude", "m.longitude if m.lon else None"),
    ("GGA.time", "day(m.timestamp)"),
    ("GGA.quality", "m.gps_qual"),
    ("GGA.used", "number(m.num_sats)"),
    ("GGA.hdop", "number(m.horizontal_dil)"),
    ("GGA.altitude", "m.altitude"),
    ("GGA.geoid", "number(m.geo_sep)"),
    ("GGA.correction_age", "number(m.age_gps_data)"),
    ("GLL.latitude", "m.latitude if m.lat else None"),
    ("GLL.longitude", "m.longitude if m.lon else None"),
    ("GLL.time", "day(m.timestamp)"),
    ("GSA.fix", "number(m.mode_fix_type)"),
    (
        "GSA.used",
        "sum(1 for n in range(1, 13) if getattr(m, 'sv_id%02d' % n))",
    ),
    ("GSA.pdop", "number(m.pdop)"),
    ("GSA.hdop", "number(m.hdop)"),
    ("GSA.vdop", "number(m.vdop)"),
    ("VTG.course", "m.true_track"),
    ("VTG.course_magnetic", "m.mag_track"),
    ("VTG.speed_kn", "number(m.spd_over_grnd_kts)"),
    ("VTG.speed_kmh", "number(m.spd_over_grnd_kmph)"),
    ("ZDA.time", "day(m.timestamp)"),
    (
        "ZDA.date",
        "(date(m.year, m.month, m.day) - date(1970, 1, 1)).days",
    ),
    ("HDT.heading", "number(m.heading)"),
    ("DPT.depth", "number(m.depth)"),
    ("MTW.temperature", "number(m.temperature)"),
    ("MWV.angle", "number(m.wind_angle)"),
];

const SCRIPT: &str = r#"
import json, sys
from datetime import date
import pynmea2
def number(text, sign=1):
    return None if text in ("", None) else sign * float(text)
def day(t):
    return None if t in ("", None) else t.hour * 3600 + t.minute * 60 + (t.second + t.microsecond / 1e6)
compared = json.loads(sys.argv[1])
for line in sys.stdin.buffer:
    m = pynmea2.parse(line.decode("ascii").strip(), check=True)
    said = []
    for name, expression in compared:
        value = eval(expression) if m.sentence_type == name[:3] else None
        said.append("nan" if value is None else repr(float(value)))
    print(" ".join(said))
"#;

/// Sentences as different receivers write them.
fn sentences() -> Vec<String> {
    let mut lines: Vec<String> = [
        "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W",
        "$GPRMC,225446,A,4916.45,N,12311.12,W,000.5,054.7,191194,020.3,E",
        "$GPRMC,,V,,,,,,,,,,N",
        "$GNRMC,092321.00,A,0000.00000,S,00000.00001,W,0.004,,010100,,,A,V",
        "$GNRMC,235959.999,A,8959.99999,N,17959.99999,E,102.3,359.99,311298,,,D",
        "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
        "$GPGGA,092204.999,4250.5589,S,14718.5084,E,1,04,24.4,-19.7,M,,,,0000",
        "$GPGGA,,,,,,0,00,99.99,,,,,,",
        "$GPGLL,4916.45,N,12311.12,W,225444,A",
        "$GPGLL,,,,,,V,N",
        "$GPGSA,A,3,,,,,,16,18,,22,24,,,3.6,2.1,2.2",
        "$GNGSA,M,1,,,,,,,,,,,,,99.99,99.99,99.99",
        "$GPGSA,A,3,01,02,03,04,05,06,07,08,09,10,11,12,1.0,0.8,0.6",
        "$GPVTG,054.7,T,034.4,M,005.5,N,010.2,K",
        "$GNVTG,,T,,M,0.004,N,0.008,K,A",
        "$GPZDA,201530.00,04,07,2002,00,00",
        "$GPZDA,000000.25,29,02,2024,-05,30",
        "$HEHDT,274.07,T",
        "$SDDPT,76.1,0.0,100",
        "$IIMTW,-1.8,C",
        "$WIMWV,214.8,R,0.1,K,A",
    ]
    .map(str::to_owned)
    .to_vec();
    // Positions of every size and many digits.
    let mut state = 12_345_u64;
    let mut random = |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % bound
    };
    for _ in 0..300 {
        let (time, part) = (random(86_400), random(1000));
        let (hours, minutes, seconds) = (time / 3600, time / 60 % 60, time % 60);
        let position = format!(
            "{:02}{:02}.{:05},{},{:03}{:02}.{:05},{}",
            random(90),
            random(60),
            random(100_000),
            ["N", "S"][random(2) as usize],
            random(180),
            random(60),
            random(100_000),
            ["E", "W"][random(2) as usize],
        );
        let clock = format!("{hours:02}{minutes:02}{seconds:02}.{part:03}");
        lines.push(format!(
            "$GNRMC,{clock},A,{position},{}.{:03},{}.{:02},{:02}{:02}{:02},,,A",
            random(50),
            random(1000),
            random(360),
            random(100),
            1 + random(28),
            1 + random(12),
            random(60),
        ));
        lines.push(format!(
            "$GNGGA,{clock},{position},{},{:02},{}.{:02},-{}.{},M,{}.{},M,,",
            random(9),
            random(30),
            random(9),
            random(100),
            random(400),
            random(10),
            random(50),
            random(10),
        ));
    }
    lines
}

#[test]
fn pynmea2_reads_the_same_sentences_alike() {
    let Some(python) = python_with("pynmea2") else {
        return;
    };
    let lines = sentences();
    let bytes: Vec<u8> = lines
        .iter()
        .flat_map(|line| sentence(line, false))
        .collect();

    let fields: Vec<Field> = COMPARED.iter().map(|(name, _)| quantity(name)).collect();
    let rules = Rules {
        frame: FrameBy::Sentence,
        ..Rules::default()
    };
    let options = protocol::Options::Nmea(Options { fields, rules });
    let decoded = whole(options.build().unwrap(), &bytes);
    assert_eq!(decoded.tally, Default::default());
    assert_eq!(decoded.rows.len(), lines.len());

    let pairs: Vec<String> = COMPARED
        .iter()
        .map(|(name, expression)| format!("[\"{name}\", \"{expression}\"]"))
        .collect();
    let mut child = Command::new(&python)
        .args(["-c", SCRIPT, &format!("[{}]", pairs.join(","))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), lines.len());
    for ((line, row), said) in lines.iter().zip(&decoded.rows).zip(said.lines()) {
        for (((name, _), ours), theirs) in COMPARED.iter().zip(&row.0).zip(said.split(' ')) {
            let theirs: f64 = theirs.parse().unwrap();
            // Its positions and numbers are the same computation; its times go through microseconds, and its sum of
            // date and time is rounded once more.
            let within = if name.ends_with("time") || name.ends_with("utc") {
                2.5e-7
            } else {
                0.0
            };
            let is_same = (ours.is_nan() && theirs.is_nan()) || (ours - theirs).abs() <= within;
            assert!(
                is_same,
                "{name} of {line}: {ours:?}, and by pynmea2 {theirs:?}"
            );
        }
    }
}
