//! The sentences known by name, and the quantities in each.
//!
//! Field numbers are those of NMEA 0183 version 4.11, as the receivers' makers print them (u-blox M8 Receiver
//! Description, UBX-13003221, chapter 31; the table of sentences in gpsd's "NMEA Revealed"). A new sentence is an
//! entry of [`SENTENCES`].
//!
//! **Always holds.** Angles are in degrees, lengths in metres, speeds in m/s, unless a quantity's name says otherwise.

use super::fields::{DAY_S, Fields, Malformed};

/// How a value comes out of a sentence.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Read {
    Number(usize),
    /// A number in a unit of so much.
    Scaled(usize, f64),
    Hexadecimal(usize),
    Time(usize),
    Date(usize),
    /// Day, month and year from this field on.
    SplitDate(usize),
    /// Time and date: seconds since 1970-01-01.
    Utc {
        time: usize,
        date: usize,
    },
    /// The same of a date in three fields.
    SplitUtc {
        time: usize,
        date: usize,
    },
    Latitude(usize),
    Longitude(usize),
    /// A number, and E or W behind it.
    EastPositive(usize),
    Letter(usize, &'static [(u8, f64)]),
    /// A speed, and the letter of its unit behind it.
    Speed(usize),
    /// The first of two that is there: each a field and its unit.
    Either((usize, f64), (usize, f64)),
    /// How many of these fields are not empty.
    Filled {
        from: usize,
        to: usize,
    },
    /// Of the satellites in a GSV sentence: how many are received.
    Tracked,
    /// Of the satellites in a GSV sentence: the strongest.
    Strongest,
    Equals(usize, Box<[u8]>),
}

/// What becomes of a channel's value if a second one comes for the same frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The first that is a number stays.
    First,
    /// They add up: over several sentences, one a system of satellites.
    Sum,
    /// They add up over talkers; a talker counts once, although it tells each signal of its satellites apart.
    SumOfTalkers,
    /// The larger.
    Max,
}

impl Merge {
    /// Whether one sentence may be only part of the value.
    pub(super) fn is_collective(self) -> bool {
        self != Self::First
    }
}

/// A quantity: its name, how it is read, and how it is put together.
type Quantity = (&'static str, Read, Merge);

/// Metres a second in a knot, and in a kilometre an hour.
const KNOT: f64 = 1852.0 / 3600.0;
const KMH: f64 = 1.0 / 3.6;

/// `A` means valid.
const VALID: &[(u8, f64)] = &[(b'A', 1.0), (b'V', 0.0)];

/// The letter of the positioning mode as the number that GGA gives the same quality.
const MODE: &[(u8, f64)] = &[
    (b'N', 0.0),
    (b'A', 1.0),
    (b'D', 2.0),
    (b'P', 3.0),
    (b'R', 4.0),
    (b'F', 5.0),
    (b'E', 6.0),
    (b'M', 7.0),
    (b'S', 8.0),
];

/// Units of a speed: km/h, m/s, knots, statute miles an hour.
const SPEED_UNITS: &[(u8, f64)] = &[(b'K', KMH), (b'M', 1.0), (b'N', KNOT), (b'S', 0.447_04)];

/// Every sentence known, with its quantities.
pub(super) const SENTENCES: &[(&str, &[Quantity])] = {
    use Merge::{First, Max, Sum, SumOfTalkers};
    use Read::{
        Date, EastPositive, Either, Filled, Hexadecimal, Latitude, Letter, Longitude, Number,
        Scaled, Speed, SplitDate, SplitUtc, Strongest, Time, Tracked, Utc,
    };
    &[
        (
            "GGA",
            &[
                ("time", Time(1), First),
                ("latitude", Latitude(2), First),
                ("longitude", Longitude(4), First),
                ("quality", Number(6), First),
                ("used", Number(7), First),
                ("hdop", Number(8), First),
                ("altitude", Number(9), First),
                ("geoid", Number(11), First),
                ("correction_age", Number(13), First),
                ("station", Number(14), First),
            ],
        ),
        (
            "RMC",
            &[
                ("utc", Utc { time: 1, date: 9 }, First),
                ("time", Time(1), First),
                ("date", Date(9), First),
                ("valid", Letter(2, VALID), First),
                ("latitude", Latitude(3), First),
                ("longitude", Longitude(5), First),
                ("speed", Scaled(7, KNOT), First),
                ("speed_kn", Number(7), First),
                ("course", Number(8), First),
                ("variation", EastPositive(10), First),
                ("mode", Letter(12, MODE), First),
            ],
        ),
        (
            "GLL",
            &[
                ("latitude", Latitude(1), First),
                ("longitude", Longitude(3), First),
                ("time", Time(5), First),
                ("valid", Letter(6, VALID), First),
                ("mode", Letter(7, MODE), First),
            ],
        ),
        (
            "VTG",
            &[
                ("course", Number(1), First),
                ("course_magnetic", Number(3), First),
                ("speed", Either((7, KMH), (5, KNOT)), First),
                ("speed_kn", Number(5), First),
                ("speed_kmh", Number(7), First),
                ("mode", Letter(9, MODE), First),
            ],
        ),
        (
            "GSA",
            &[
                ("fix", Number(2), First),
                ("used", Filled { from: 3, to: 14 }, Sum),
                ("pdop", Number(15), First),
                ("hdop", Number(16), First),
                ("vdop", Number(17), First),
                ("system", Hexadecimal(18), First),
            ],
        ),
        (
            "GSV",
            &[
                ("in_view", Number(3), SumOfTalkers),
                ("tracked", Tracked, SumOfTalkers),
                ("snr_max", Strongest, Max),
            ],
        ),
        (
            "GNS",
            &[
                ("time", Time(1), First),
                ("latitude", Latitude(2), First),
                ("longitude", Longitude(4), First),
                ("used", Number(7), First),
                ("hdop", Number(8), First),
                ("altitude", Number(9), First),
                ("geoid", Number(10), First),
                ("correction_age", Number(11), First),
                ("station", Number(12), First),
            ],
        ),
        (
            "GST",
            &[
                ("time", Time(1), First),
                ("rms", Number(2), First),
                ("major", Number(3), First),
                ("minor", Number(4), First),
                ("orientation", Number(5), First),
                ("latitude_sd", Number(6), First),
                ("longitude_sd", Number(7), First),
                ("altitude_sd", Number(8), First),
            ],
        ),
        (
            "GBS",
            &[
                ("time", Time(1), First),
                ("latitude_error", Number(2), First),
                ("longitude_error", Number(3), First),
                ("altitude_error", Number(4), First),
            ],
        ),
        (
            "ZDA",
            &[
                ("utc", SplitUtc { time: 1, date: 2 }, First),
                ("time", Time(1), First),
                ("date", SplitDate(2), First),
                ("zone_h", Number(5), First),
                ("zone_min", Number(6), First),
            ],
        ),
        ("HDT", &[("heading", Number(1), First)]),
        ("HDM", &[("heading", Number(1), First)]),
        (
            "HDG",
            &[
                ("heading", Number(1), First),
                ("deviation", EastPositive(2), First),
                ("variation", EastPositive(4), First),
            ],
        ),
        ("THS", &[("heading", Number(1), First)]),
        (
            "ROT",
            &[
                ("rate_deg_min", Number(1), First),
                ("valid", Letter(2, VALID), First),
            ],
        ),
        (
            "DPT",
            &[("depth", Number(1), First), ("offset", Number(2), First)],
        ),
        ("DBT", &[("depth", Number(3), First)]),
        ("MTW", &[("temperature", Number(1), First)]),
        (
            "VHW",
            &[
                ("heading", Number(1), First),
                ("heading_magnetic", Number(3), First),
                ("speed", Scaled(5, KNOT), First),
                ("speed_kn", Number(5), First),
            ],
        ),
        (
            "MWV",
            &[
                ("angle", Number(1), First),
                ("speed", Speed(3), First),
                ("valid", Letter(5, VALID), First),
            ],
        ),
    ]
};

/// Sentences with a time, and its field: what tells one epoch from the next.
pub(super) const TIMED: &[(&[u8; 3], usize)] = &[
    (b"RMC", 1),
    (b"GGA", 1),
    (b"GLL", 5),
    (b"GNS", 1),
    (b"GST", 1),
    (b"GBS", 1),
    (b"GRS", 1),
    (b"ZDA", 1),
];

/// Sentences that come in parts whatever is declared of them.
pub(super) fn is_parted(formatter: &str) -> bool {
    formatter == "GSV"
}

/// The first field of a satellite in GSV, and how many fields each has.
const SATELLITES_FROM: usize = 4;
const SATELLITE_FIELDS: usize = 4;

impl Read {
    /// The value; NaN if the receiver does not know it.
    pub(super) fn read(&self, fields: Fields<'_>) -> Result<f64, Malformed> {
        let utc = |time_s: f64, date_days: f64| date_days * DAY_S + time_s;
        match self {
            Self::Number(index) => fields.number(*index),
            Self::Scaled(index, unit) => Ok(fields.number(*index)? * unit),
            Self::Hexadecimal(index) => fields.hexadecimal(*index),
            Self::Time(index) => fields.time_s(*index),
            Self::Date(index) => fields.date_days(*index),
            Self::SplitDate(index) => fields.split_date_days(*index),
            Self::Utc { time, date } => Ok(utc(fields.time_s(*time)?, fields.date_days(*date)?)),
            Self::SplitUtc { time, date } => {
                Ok(utc(fields.time_s(*time)?, fields.split_date_days(*date)?))
            }
            Self::Latitude(index) => fields.degrees(*index, *b"NS", 90.0),
            Self::Longitude(index) => fields.degrees(*index, *b"EW", 180.0),
            Self::EastPositive(index) => fields.number_signed(*index, *b"EW"),
            Self::Letter(index, table) => fields.letter(*index, table),
            Self::Speed(index) => {
                let value = fields.number(*index)?;
                if value.is_nan() {
                    return Ok(value);
                }
                let unit = fields.letter(index + 1, SPEED_UNITS)?;
                // A speed in no unit is none.
                (!unit.is_nan()).then_some(value * unit).ok_or(Malformed)
            }
            Self::Either((one, unit), (other, other_unit)) => {
                let value = fields.number(*one)? * unit;
                if value.is_nan() {
                    return Ok(fields.number(*other)? * other_unit);
                }
                Ok(value)
            }
            Self::Filled { from, to } => {
                let filled = (*from..=*to).filter(|index| !fields.get(*index).is_empty());
                Ok(small(filled.count()))
            }
            Self::Tracked => {
                let tracked = strengths(fields).filter(|index| !fields.get(*index).is_empty());
                Ok(small(tracked.count()))
            }
            Self::Strongest => strengths(fields).try_fold(f64::NAN, |strongest, index| {
                // `max` passes over what is not a number.
                Ok(strongest.max(fields.number(index)?))
            }),
            Self::Equals(index, text) => {
                let found = fields.get(*index);
                if found.is_empty() {
                    return Ok(f64::NAN);
                }
                Ok(f64::from(u8::from(*found == **text)))
            }
        }
    }

    /// How the values of a message's parts become its own.
    pub(super) fn fold(&self) -> Merge {
        match self {
            Self::Tracked => Merge::Sum,
            Self::Strongest => Merge::Max,
            _ => Merge::First,
        }
    }
}

/// The fields of a GSV sentence that hold a satellite's strength; a signal's number may stand behind them all.
fn strengths(fields: Fields<'_>) -> impl Iterator<Item = usize> {
    let satellites = (fields.count() + 1).saturating_sub(SATELLITES_FROM) / SATELLITE_FIELDS;
    (0..satellites).map(|place| SATELLITES_FROM + place * SATELLITE_FIELDS + 3)
}

/// A number of fields.
fn small(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from)
}

/// The names of a known sentence's quantities; `None` if it is not known.
#[must_use]
pub fn quantities(formatter: &str) -> Option<Vec<&'static str>> {
    let (_, quantities) = SENTENCES.iter().find(|(name, _)| *name == formatter)?;
    Some(quantities.iter().map(|(name, ..)| *name).collect())
}

/// The names of the sentences whose quantities are known.
pub fn sentences() -> impl Iterator<Item = &'static str> + Clone {
    SENTENCES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_timed_sentences_have_their_time_where_the_table_says() {
        for (place, (sentence, quantities)) in SENTENCES.iter().enumerate() {
            assert!(
                SENTENCES[..place]
                    .iter()
                    .all(|(other, _)| other != sentence)
            );
            for (place, (name, ..)) in quantities.iter().enumerate() {
                assert!(quantities[..place].iter().all(|(other, ..)| other != name));
            }
            let timed = TIMED.iter().find(|(name, _)| *name == sentence.as_bytes());
            let time = quantities.iter().find(|(name, ..)| *name == "time");
            let index = time.map(|(_, read, _)| read.clone());
            assert_eq!(
                index,
                timed.map(|(_, index)| Read::Time(*index)),
                "{sentence}"
            );
        }
    }
}
