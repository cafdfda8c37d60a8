//! The binary messages known by name, and the quantities in each.
//!
//! Offsets, types and scales are those of the u-blox ZED-F9P Interface Description, UBX-18010854, chapters UBX-NAV-…
//! (NAV-PVT is 5.14.11 of revision R04), and of the u-blox M8 Receiver Description, UBX-13003221, chapter 32.17. A new
//! message is an entry of [`MESSAGES`].
//!
//! **Always holds.** Angles are in degrees, lengths in metres, speeds in m/s, times in seconds, unless a quantity's
//! name says otherwise. What a payload is too short for is NaN: older receivers leave the end out.

use super::options::Number;
use crate::protocol::nmea::{DAY_S, Malformed, Time, days};

/// How a value comes out of a payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Read {
    /// Type, offset, scale.
    Scaled(Number, usize, f64),
    /// Type, offset, the lowest bit, how many bits.
    Bits(Number, usize, u32, u32),
    /// Seconds since 1970-01-01; since midnight; days.
    Utc(Calendar),
    Time(Calendar),
    Date(Calendar),
}

/// Where a message has its date and time: month to second are the bytes behind the year.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Calendar {
    year: usize,
    nano: usize,
    valid: usize,
    date_valid: u8,
    time_valid: u8,
}

/// A message: its name, class and number; where it has the millisecond of the week, and its date and time.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) id: [u8; 2],
    pub(super) week_ms: Option<usize>,
    pub(super) calendar: Option<Calendar>,
    pub(super) quantities: &'static [(&'static str, Read)],
}

/// Validity bits 0 and 1 are date and time.
const PVT: Calendar = Calendar {
    year: 4,
    nano: 16,
    valid: 11,
    date_valid: 1,
    time_valid: 2,
};

/// Validity bit 2 is UTC: the leap seconds are known.
const TIMEUTC: Calendar = Calendar {
    year: 12,
    nano: 8,
    valid: 19,
    date_valid: 4,
    time_valid: 4,
};

/// Every message known.
pub(super) const MESSAGES: &[Known] = {
    use Number::{I2, I4, U1, U2, U4};
    use Read::{Bits, Date, Scaled, Time, Utc};
    const DEGREES: f64 = 1e-7;
    const HEADING: f64 = 1e-5;
    const MM: f64 = 1e-3;
    const NS: f64 = 1e-9;
    const DOP: f64 = 0.01;
    const fn known(
        name: &'static str,
        number: u8,
        calendar: Option<Calendar>,
        quantities: &'static [(&'static str, Read)],
    ) -> Known {
        Known {
            name,
            id: [1, number],
            week_ms: Some(0),
            calendar,
            quantities,
        }
    }
    &[
        known(
            "NAV-PVT",
            0x07,
            Some(PVT),
            &[
                ("utc", Utc(PVT)),
                ("time", Time(PVT)),
                ("date", Date(PVT)),
                ("time_accuracy", Scaled(U4, 12, NS)),
                ("fix", Scaled(U1, 20, 1.0)),
                ("valid", Bits(U1, 21, 0, 1)),
                ("carrier", Bits(U1, 21, 6, 2)),
                ("used", Scaled(U1, 23, 1.0)),
                ("longitude", Scaled(I4, 24, DEGREES)),
                ("latitude", Scaled(I4, 28, DEGREES)),
                ("height", Scaled(I4, 32, MM)),
                ("altitude", Scaled(I4, 36, MM)),
                ("horizontal_accuracy", Scaled(U4, 40, MM)),
                ("vertical_accuracy", Scaled(U4, 44, MM)),
                ("velocity_north", Scaled(I4, 48, MM)),
                ("velocity_east", Scaled(I4, 52, MM)),
                ("velocity_down", Scaled(I4, 56, MM)),
                ("speed", Scaled(I4, 60, MM)),
                ("course", Scaled(I4, 64, HEADING)),
                ("speed_accuracy", Scaled(U4, 68, MM)),
                ("course_accuracy", Scaled(U4, 72, HEADING)),
                ("pdop", Scaled(U2, 76, DOP)),
                ("heading", Scaled(I4, 84, HEADING)),
                ("variation", Scaled(I2, 88, 0.01)),
            ],
        ),
        known(
            "NAV-TIMEUTC",
            0x21,
            Some(TIMEUTC),
            &[
                ("utc", Utc(TIMEUTC)),
                ("time", Time(TIMEUTC)),
                ("date", Date(TIMEUTC)),
                ("time_accuracy", Scaled(U4, 4, NS)),
                ("valid", Bits(U1, 19, 2, 1)),
                ("standard", Bits(U1, 19, 4, 4)),
            ],
        ),
        known(
            "NAV-DOP",
            0x04,
            None,
            &[
                ("gdop", Scaled(U2, 4, DOP)),
                ("pdop", Scaled(U2, 6, DOP)),
                ("tdop", Scaled(U2, 8, DOP)),
                ("vdop", Scaled(U2, 10, DOP)),
                ("hdop", Scaled(U2, 12, DOP)),
                ("ndop", Scaled(U2, 14, DOP)),
                ("edop", Scaled(U2, 16, DOP)),
            ],
        ),
        known(
            "NAV-POSLLH",
            0x02,
            None,
            &[
                ("longitude", Scaled(I4, 4, DEGREES)),
                ("latitude", Scaled(I4, 8, DEGREES)),
                ("height", Scaled(I4, 12, MM)),
                ("altitude", Scaled(I4, 16, MM)),
                ("horizontal_accuracy", Scaled(U4, 20, MM)),
                ("vertical_accuracy", Scaled(U4, 24, MM)),
            ],
        ),
        known(
            "NAV-STATUS",
            0x03,
            None,
            &[
                ("fix", Scaled(U1, 4, 1.0)),
                ("valid", Bits(U1, 5, 0, 1)),
                ("first_fix", Scaled(U4, 8, 1e-3)),
                ("uptime", Scaled(U4, 12, 1e-3)),
            ],
        ),
        known(
            "NAV-CLOCK",
            0x22,
            None,
            &[
                ("bias", Scaled(I4, 4, NS)),
                // In seconds a second: the message has ns/s, and ps/s.
                ("drift", Scaled(I4, 8, NS)),
                ("time_accuracy", Scaled(U4, 12, NS)),
                ("frequency_accuracy", Scaled(U4, 16, 1e-12)),
            ],
        ),
        known("NAV-SAT", 0x35, None, &[("in_view", Scaled(U1, 5, 1.0))]),
        // No quantity, but the end of each epoch.
        known("NAV-EOE", 0x61, None, &[]),
    ]
};

/// A number at a place of a payload; `None` if the payload ends before.
fn number(number: Number, payload: &[u8], at: usize) -> Option<f64> {
    let bytes = payload.get(at..)?;
    Some(match number {
        Number::U1 => f64::from(*bytes.first()?),
        Number::I1 => f64::from(i8::from_le_bytes(*bytes.first_chunk()?)),
        Number::U2 => f64::from(u16::from_le_bytes(*bytes.first_chunk()?)),
        Number::I2 => f64::from(i16::from_le_bytes(*bytes.first_chunk()?)),
        Number::U4 => f64::from(u32::from_le_bytes(*bytes.first_chunk()?)),
        Number::I4 => f64::from(i32::from_le_bytes(*bytes.first_chunk()?)),
        Number::R4 => f64::from(f32::from_le_bytes(*bytes.first_chunk()?)),
        Number::R8 => f64::from_le_bytes(*bytes.first_chunk()?),
    })
}

/// Some bits of a whole number; `None` if the payload ends before, or it is no whole number.
fn bits(kind: Number, payload: &[u8], at: usize, low: u32, count: u32) -> Option<f64> {
    let bytes = payload.get(at..)?;
    let raw = match kind {
        Number::U1 | Number::I1 => u32::from(*bytes.first()?),
        Number::U2 | Number::I2 => u32::from(u16::from_le_bytes(*bytes.first_chunk()?)),
        Number::U4 | Number::I4 => u32::from_le_bytes(*bytes.first_chunk()?),
        Number::R4 | Number::R8 => return None,
    };
    let mask = u32::MAX.checked_shr(32_u32.checked_sub(count)?)?;
    Some(f64::from(raw.checked_shr(low)? & mask))
}

impl Read {
    /// The value; NaN if the payload has none, or the receiver says that it does not know.
    pub(super) fn read(self, payload: &[u8]) -> Result<f64, Malformed> {
        let found = match self {
            Self::Scaled(kind, at, scale) => number(kind, payload, at).map(|raw| raw * scale),
            Self::Bits(kind, at, low, count) => bits(kind, payload, at, low, count),
            Self::Time(calendar) => calendar.time_s(payload)?,
            Self::Date(calendar) => calendar.date_days(payload)?,
            Self::Utc(calendar) => {
                let both = calendar.date_days(payload)?.zip(calendar.time_s(payload)?);
                both.map(|(days, seconds)| days * DAY_S + seconds)
            }
        };
        Ok(found.unwrap_or(f64::NAN))
    }
}

impl Calendar {
    fn is_valid(self, payload: &[u8], mask: u8) -> bool {
        let is_whole = payload.len() >= self.year + 7 && payload.len() >= self.nano + 4;
        is_whole
            && payload
                .get(self.valid)
                .is_some_and(|valid| valid & mask == mask)
    }

    /// Seconds since midnight of the message's date. The whole second is a rounded one, so this can be a little less
    /// than zero.
    fn time_s(self, payload: &[u8]) -> Result<Option<f64>, Malformed> {
        if !self.is_valid(payload, self.time_valid) {
            return Ok(None);
        }
        let at = |offset: usize| f64::from(payload[self.year + offset]);
        let (hours, minutes, seconds) = (at(4), at(5), at(6));
        let nano = number(Number::I4, payload, self.nano).unwrap_or(0.0);
        if hours > 23.0 || minutes > 59.0 || seconds > 60.0 || nano.abs() > 1e9 {
            return Err(Malformed);
        }
        Ok(Some(
            hours * 3600.0 + minutes * 60.0 + seconds + nano * 1e-9,
        ))
    }

    fn date_days(self, payload: &[u8]) -> Result<Option<f64>, Malformed> {
        if !self.is_valid(payload, self.date_valid) {
            return Ok(None);
        }
        let at = |offset: usize| u32::from(payload[self.year + offset]);
        days(at(0) | at(1) << 8, at(2), at(3)).map(Some)
    }

    /// The time, as epochs are told apart by it.
    pub(super) fn time(self, payload: &[u8]) -> Time {
        match self.time_s(payload) {
            Ok(Some(seconds)) => Time::of_day_s(seconds),
            _ => Time::None,
        }
    }
}

/// The millisecond of the week.
pub(super) fn week_ms(payload: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*payload.get(at..)?.first_chunk()?))
}

/// Class and number of a message: by its name, or in hexadecimal.
pub(super) fn id(message: &str) -> Option<[u8; 2]> {
    if let Some(known) = MESSAGES.iter().find(|known| known.name == message) {
        return Some(known.id);
    }
    let mut bytes = message.split(' ').map(|byte| {
        let digits = byte.strip_prefix("0x").unwrap_or(byte);
        let is_byte = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_byte
            .then(|| u8::from_str_radix(digits, 16).ok())
            .flatten()
    });
    match (bytes.next(), bytes.next(), bytes.next()) {
        (Some(Some(class)), Some(Some(number)), None) => Some([class, number]),
        _ => None,
    }
}

/// The names of a known message's quantities; `None` if it is not known.
#[must_use]
pub fn quantities(message: &str) -> Option<Vec<&'static str>> {
    let known = MESSAGES.iter().find(|known| known.name == message)?;
    Some(known.quantities.iter().map(|(name, _)| *name).collect())
}

/// The names of the messages that are known.
pub fn messages() -> impl Iterator<Item = &'static str> + Clone {
    MESSAGES.iter().map(|known| known.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique() {
        for (place, known) in MESSAGES.iter().enumerate() {
            let others = &MESSAGES[..place];
            assert!(
                others
                    .iter()
                    .all(|other| other.name != known.name && other.id != known.id)
            );
            for (place, (name, _)) in known.quantities.iter().enumerate() {
                assert!(
                    known.quantities[..place]
                        .iter()
                        .all(|(other, _)| other != name)
                );
            }
        }
    }

    #[test]
    fn every_type_is_read_little_endian_and_ends_with_the_payload() {
        let payload = [0xFE, 0xFF, 0xFF, 0xFF, 0, 0, 0xC0, 0x3F];
        let read = |kind, at| number(kind, &payload, at);
        assert_eq!(read(Number::U1, 0), Some(254.0));
        assert_eq!(read(Number::I1, 0), Some(-2.0));
        assert_eq!(read(Number::U2, 0), Some(65_534.0));
        assert_eq!(read(Number::I2, 0), Some(-2.0));
        assert_eq!(read(Number::U4, 0), Some(4_294_967_294.0));
        assert_eq!(read(Number::I4, 0), Some(-2.0));
        assert_eq!(read(Number::R4, 4), Some(1.5));
        assert_eq!(number(Number::R8, &1.5_f64.to_le_bytes(), 0), Some(1.5));
        assert_eq!(read(Number::I4, 5), None);
        assert_eq!(read(Number::U1, 8), None);
        assert_eq!(bits(Number::U1, &payload, 7, 4, 4), Some(3.0));
        assert_eq!(bits(Number::U4, &payload, 0, 0, 32), Some(4_294_967_294.0));
        assert_eq!(bits(Number::U4, &payload, 0, 31, 1), Some(1.0));
        assert!(
            Read::Scaled(Number::R8, 4, 1.0)
                .read(&payload)
                .is_ok_and(f64::is_nan)
        );
    }

    #[test]
    fn a_message_is_called_by_its_name_or_its_numbers() {
        assert_eq!(id("NAV-PVT"), Some([1, 7]));
        assert_eq!(id("0A 09"), Some([0x0A, 9]));
        assert_eq!(id("0x0a 0x09"), Some([0x0A, 9]));
        for wrong in ["NAV-PVTT", "", "01", "1 7", "01 07 00", "+1 07", "0107"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }
}
