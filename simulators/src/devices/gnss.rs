//! A navigation receiver: sentences of NMEA 0183 and a binary u-blox message, ten epochs a second.
//!
//! An epoch is `$GNRMC`, `$GNGGA`, `$GNGSA`, two `$GPGSV`, `$GLGSV`, UBX NAV-PVT, and every tenth time an AIS
//! sentence and a comment, which nobody who reads positions wants. It begins on 2026-11-24 at 23:59:50 UTC, so that
//! midnight comes soon; at most a hundred epochs a second have times of their own.
//!
//! The receiver is carried around a circle of some 1.1 km in a minute; the altitude rises and falls.

use std::io::Write as _;

use super::{Device, DeviceKind};
use crate::signals::{noise, phase, sine};

pub(super) const KIND: DeviceKind = DeviceKind {
    name: "gnss-receiver",
    about: "position, speed and time of a receiver going round in circles: NMEA 0183 and UBX NAV-PVT in one stream",
    rate_hz: 10.0,
    channels: 12,
    make: |rate_hz, seed| Box::new(Receiver { rate_hz, seed }),
    sent,
};

struct Receiver {
    rate_hz: f64,
    seed: u64,
}

/// 2026-11-24 in days since 1970-01-01, and 23:59:50 in hundredths of a second.
const START_DAY: u64 = 20_781;
const START_HUNDREDTHS: u64 = 8_639_000;
const DAY_HUNDREDTHS: u64 = 8_640_000;

/// What is told of an epoch, in whole units of the last digit that is sent.
struct Epoch {
    day: u64,
    hundredths: u64,
    /// 1e-5 minutes of arc.
    latitude: i64,
    longitude: i64,
    /// 0.1 m.
    altitude: i64,
    /// 1e-3 knots.
    speed: i64,
    /// 0.01 degrees.
    course: i64,
    /// 0.01.
    hdop: i64,
    gps: i64,
    glonass: i64,
    /// 1e-7 degrees.
    latitude_e7: i64,
    /// ns before the whole hundredth.
    nano: i64,
}

impl Epoch {
    fn new(index: u64, rate_hz: f64, seed: u64) -> Self {
        let elapsed = (index as f64 * 100.0 / rate_hz).round() as u64;
        let since = START_HUNDREDTHS + elapsed;
        let (north, east) = (
            sine(index, rate_hz, 60.0),
            sine(index + quarter(rate_hz), rate_hz, 60.0),
        );
        // 0.1 minutes of arc are 185 m to the north.
        let latitude = (-(37.0 * 60.0 + 51.65) * 1e5 + 1e4 * north).round() as i64;
        let longitude = ((145.0 * 60.0 + 7.36) * 1e5 + 1.27e4 * east).round() as i64;
        Self {
            day: START_DAY + since / DAY_HUNDREDTHS,
            hundredths: since % DAY_HUNDREDTHS,
            latitude,
            longitude,
            altitude: (380.0 + 450.0 * sine(index, rate_hz, 30.0)).round() as i64,
            speed: (37_600.0 + 100.0 * noise(index, seed)).round() as i64,
            course: (phase(index, rate_hz, 60.0) * 36_000.0).floor() as i64,
            hdop: (85.0 + 10.0 * sine(index, rate_hz, 300.0)).round() as i64,
            gps: 5 + (index / 16 % 4) as i64,
            glonass: 1 + (index / 10 % 3) as i64,
            latitude_e7: (latitude as f64 * 1e7 / 6e6).round() as i64,
            nano: (400_000.0 * noise(index, seed ^ 1)).round() as i64,
        }
    }
}

/// A quarter of a minute, in epochs.
fn quarter(rate_hz: f64) -> u64 {
    (15.0 * rate_hz).round() as u64
}

/// The channels as a reader must find them: seconds of the day, date, latitude, longitude, altitude, speed in knots,
/// course, dilution, satellites in view, received and the strongest, and the latitude of NAV-PVT.
fn sent(channel: usize, index: u64, rate_hz: f64, seed: u64) -> f64 {
    let epoch = Epoch::new(index, rate_hz, seed);
    let degrees = |minutes_e5: i64| {
        let (whole, rest) = (minutes_e5.abs() / 6_000_000, minutes_e5.abs() % 6_000_000);
        let value = whole as f64 + rest as f64 / 1e5 / 60.0;
        if minutes_e5 < 0 { -value } else { value }
    };
    match channel {
        0 => epoch.hundredths as f64 / 100.0,
        1 => epoch.day as f64,
        2 => degrees(epoch.latitude),
        3 => degrees(epoch.longitude),
        4 => epoch.altitude as f64 / 10.0,
        5 => epoch.speed as f64 / 1000.0,
        6 => epoch.course as f64 / 100.0,
        7 => epoch.hdop as f64 / 100.0,
        8 => (epoch.gps + epoch.glonass) as f64,
        // One GPS satellite is not received.
        9 => (epoch.gps - 1 + epoch.glonass) as f64,
        10 => 50.0,
        _ => epoch.latitude_e7 as f64 * 1e-7,
    }
}

/// `$…*hh` and CR LF: the checksum is the exclusive-or of what stands between.
fn sentence(text: &str, out: &mut Vec<u8>) {
    let sum = text.bytes().skip(1).fold(0, |sum, byte| sum ^ byte);
    let written = write!(out, "{text}*{sum:02X}\r\n");
    debug_assert!(written.is_ok(), "a vector takes every byte");
}

/// `ddmm.mmmmm`, with as many digits for degrees as are asked for.
fn arc(minutes_e5: i64, digits: usize) -> String {
    let (degrees, rest) = (minutes_e5.abs() / 6_000_000, minutes_e5.abs() % 6_000_000);
    format!(
        "{degrees:0digits$}{:02}.{:05}",
        rest / 100_000,
        rest % 100_000
    )
}

/// Year, month, day: by going through the years, and the months of the last.
fn calendar(day: u64) -> (u64, usize, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, day);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    (year, month + 1, left + 1)
}

impl Epoch {
    fn clock(&self) -> (u64, u64, u64, u64) {
        let seconds = self.hundredths / 100;
        (
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            self.hundredths % 100,
        )
    }

    fn sentences(&self, out: &mut Vec<u8>) {
        let (hours, minutes, seconds, part) = self.clock();
        let time = format!("{hours:02}{minutes:02}{seconds:02}.{part:02}");
        let (year, month, day) = calendar(self.day);
        let letter = |value: i64, letters: [char; 2]| letters[usize::from(value < 0)];
        let position = format!(
            "{},{},{},{}",
            arc(self.latitude, 2),
            letter(self.latitude, ['N', 'S']),
            arc(self.longitude, 3),
            letter(self.longitude, ['E', 'W'])
        );
        let (speed, course) = (self.speed, self.course);
        let date = format!("{day:02}{month:02}{:02}", year % 100);
        sentence(
            &format!(
                "$GNRMC,{time},A,{position},{}.{:03},{}.{:02},{date},,,D",
                speed / 1000,
                speed % 1000,
                course / 100,
                course % 100
            ),
            out,
        );
        let sign = if self.altitude < 0 { "-" } else { "" };
        let (altitude, hdop) = (self.altitude.abs(), self.hdop);
        let used = self.gps - 1 + self.glonass;
        sentence(
            &format!(
                "$GNGGA,{time},{position},2,{used:02},{}.{:02},{sign}{}.{},M,-3.2,M,1.0,0120",
                hdop / 100,
                hdop % 100,
                altitude / 10,
                altitude % 10
            ),
            out,
        );
        sentence(
            &format!(
                "$GNGSA,A,3,02,05,12,25,,,,,,,,,1.60,{}.{:02},1.30",
                hdop / 100,
                hdop % 100
            ),
            out,
        );
        // Four satellites a sentence; the second of GPS is not received.
        let gps: Vec<String> = (0..self.gps)
            .map(|place| match place {
                1 => "05,09,120,".to_owned(),
                _ => format!("{:02},41,250,{}", place + 10, 50 - place),
            })
            .collect();
        let total = gps.len().div_ceil(4);
        for (number, four) in gps.chunks(4).enumerate() {
            let list = four.join(",");
            sentence(
                &format!("$GPGSV,{total},{},{:02},{list}", number + 1, self.gps),
                out,
            );
        }
        let glonass: Vec<String> = (0..self.glonass)
            .map(|place| format!("{},20,100,30", 65 + place))
            .collect();
        sentence(
            &format!("$GLGSV,1,1,{:02},{}", self.glonass, glonass.join(",")),
            out,
        );
    }

    /// NAV-PVT, field by field (u-blox ZED-F9P Interface Description, UBX-18010854, 5.14.11): its whole second is a
    /// rounded one, and `nano` says how far that is off.
    fn nav_pvt(&self, out: &mut Vec<u8>) {
        let (hours, minutes, seconds, part) = self.clock();
        let (year, month, day) = calendar(self.day);
        // GPS began on 1980-01-06, day 3657, and is 18 s ahead of UTC.
        let week_ms = ((self.day - 3657) % 7 * DAY_HUNDREDTHS + self.hundredths) * 10 + 18_000;
        let mut payload = Vec::with_capacity(92);
        payload.extend(((week_ms % 604_800_000) as u32).to_le_bytes());
        payload.extend((year as u16).to_le_bytes());
        payload.extend([
            month as u8,
            day as u8,
            hours as u8,
            minutes as u8,
            seconds as u8,
            0b0111,
        ]);
        payload.extend(30_u32.to_le_bytes());
        payload.extend((part as i32 * 10_000_000 + self.nano as i32).to_le_bytes());
        payload.extend([3, 0b11, 0, (self.gps - 1 + self.glonass) as u8]);
        payload.extend(((self.longitude as f64 * 1e7 / 6e6).round() as i32).to_le_bytes());
        payload.extend((self.latitude_e7 as i32).to_le_bytes());
        let altitude_mm = self.altitude as i32 * 100;
        payload.extend((altitude_mm - 3_200).to_le_bytes());
        payload.extend(altitude_mm.to_le_bytes());
        payload.resize(92, 0);
        let mut message = vec![0x01, 0x07, 92, 0];
        message.extend(payload);
        let sums = message.iter().fold([0_u8; 2], |[a, b], byte| {
            let a = a.wrapping_add(*byte);
            [a, b.wrapping_add(a)]
        });
        out.extend([0xB5, 0x62]);
        out.extend(message);
        out.extend(sums);
    }
}

impl Device for Receiver {
    fn rate_hz(&self) -> f64 {
        self.rate_hz
    }

    fn frame(&mut self, index: u64, out: &mut Vec<u8>) {
        let epoch = Epoch::new(index, self.rate_hz, self.seed);
        epoch.sentences(out);
        if index.is_multiple_of(10) {
            sentence("!AIVDM,1,1,,A,13u?etPv2;0n:dDPwUM1U1Cb069D,0", out);
            out.extend(b"# nothing of interest\r\n");
        }
        epoch.nav_pvt(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_epoch_is_as_the_manuals_say() {
        let mut out = Vec::new();
        (KIND.make)(10.0, 0).frame(0, &mut out);
        let text = String::from_utf8_lossy(&out);
        let lines: Vec<&str> = text.split("\r\n").collect();
        let is =
            |line: usize, start: &str| assert!(lines[line].starts_with(start), "{}", lines[line]);
        is(0, "$GNRMC,235950.00,A,3751.65000,S,14507.48700,E,37.");
        assert!(lines[0].contains(",0.00,241126,,,D*"), "{}", lines[0]);
        is(
            1,
            "$GNGGA,235950.00,3751.65000,S,14507.48700,E,2,05,0.85,38.0,M,",
        );
        is(
            3,
            "$GPGSV,2,1,05,10,41,250,50,05,09,120,,12,41,250,48,13,41,250,47*",
        );
        is(4, "$GPGSV,2,2,05,14,41,250,46*");
        is(5, "$GLGSV,1,1,01,65,20,100,30*");
        is(6, "!AIVDM");
        is(7, "# ");
        let message = &out[out.len() - 100..];
        assert_eq!(message[..6], [0xB5, 0x62, 1, 7, 92, 0]);
        // A Tuesday, two days after the week began: 259 190 s, and 18 s of leap seconds.
        assert_eq!(message[6..10], 259_208_000_u32.to_le_bytes());
        assert_eq!(message[10..18], [0xEA, 0x07, 11, 24, 23, 59, 50, 7]);
    }

    #[test]
    fn midnight_begins_a_new_day() {
        let time = |index| (sent(0, index, 10.0, 0), sent(1, index, 10.0, 0));
        assert_eq!(time(99), (86_399.9, 20_781.0));
        assert_eq!(time(100), (0.0, 20_782.0));
        assert_eq!(calendar(20_782), (2026, 11, 25));
        assert_eq!(calendar(0), (1970, 1, 1));
        assert_eq!(calendar(11_016), (2000, 2, 29));
    }
}
