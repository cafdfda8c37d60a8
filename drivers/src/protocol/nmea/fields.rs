//! Fields of a sentence, and how each is read.
//!
//! **Always holds.** An empty field, and one behind the sentence's end, is NaN: the receiver does not know. A field
//! that is not what the standard says is [`Malformed`]; it is never read as something near.
//!
//! **Must not know.** Which sentence it is.

/// A field that is not what it must be: the sentence is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

type Read = Result<f64, Malformed>;

/// Seconds of a day.
pub(crate) const DAY_S: f64 = 86_400.0;

/// The fields of one sentence: between `$` and `*`, told apart by commas.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(super) text: &'a [u8],
    /// Where each field ends; the address is number 0.
    pub(super) ends: &'a [u32],
}

impl<'a> Fields<'a> {
    /// How many there are behind the address.
    pub(super) fn count(self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// A field without the spaces around it; empty if there is no such field.
    pub(super) fn get(self, index: usize) -> &'a [u8] {
        let Some(end) = self.ends.get(index) else {
            return &[];
        };
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize + 1);
        self.text
            .get(start..*end as usize)
            .unwrap_or_default()
            .trim_ascii()
    }

    pub(super) fn number(self, index: usize) -> Read {
        match self.get(index) {
            [] => Ok(f64::NAN),
            text => number(text),
        }
    }

    pub(super) fn hexadecimal(self, index: usize) -> Read {
        let text = self.get(index);
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        // 13 digits are 52 bits: exact.
        if text.len() > 13 {
            return Err(Malformed);
        }
        let mut value = 0_u64;
        for digit in text {
            let digit = char::from(*digit).to_digit(16).ok_or(Malformed)?;
            value = value << 4 | u64::from(digit);
        }
        #[allow(clippy::cast_precision_loss)] // At most 52 bits.
        Ok(value as f64)
    }

    /// `hhmmss.ss` as seconds since midnight. A leap second is 23:59:60.
    pub(super) fn time_s(self, index: usize) -> Read {
        let text = self.get(index);
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        if text.len() < 6 || text.get(6).is_some_and(|b| *b != b'.') {
            return Err(Malformed);
        }
        let (hours, minutes) = (two_digits(&text[..2])?, two_digits(&text[2..4])?);
        two_digits(&text[4..6])?;
        let seconds = number(&text[4..])?;
        if hours > 23 || minutes > 59 || !(0.0..61.0).contains(&seconds) {
            return Err(Malformed);
        }
        Ok(f64::from(hours * 3600 + minutes * 60) + seconds)
    }

    /// `ddmmyy` as days since 1970-01-01. Two digits of a year from 80 on are of the last century: the satellites'
    /// own time begins in 1980.
    pub(super) fn date_days(self, index: usize) -> Read {
        let text = self.get(index);
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        if text.len() != 6 {
            return Err(Malformed);
        }
        let (day, month, year) = (
            two_digits(&text[..2])?,
            two_digits(&text[2..4])?,
            two_digits(&text[4..])?,
        );
        let century = if year >= 80 { 1900 } else { 2000 };
        days(century + year, month, day)
    }

    /// Day, month and year in three fields, as days since 1970-01-01.
    pub(super) fn split_date_days(self, day: usize) -> Read {
        let (day, month, year) = (
            self.number(day)?,
            self.number(day + 1)?,
            self.number(day + 2)?,
        );
        if day.is_nan() || month.is_nan() || year.is_nan() {
            return Ok(f64::NAN);
        }
        let whole = |value: f64, max: f64| {
            let is_whole = (0.0..=max).contains(&value) && value.fract() == 0.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            // Whole, and within the range.
            is_whole.then_some(value as u32).ok_or(Malformed)
        };
        days(whole(year, 9999.0)?, whole(month, 12.0)?, whole(day, 31.0)?)
    }

    /// `ddmm.mm` and a letter in the next field, as degrees: the first letter is positive, the second negative.
    pub(super) fn degrees(self, index: usize, letters: [u8; 2], max: f64) -> Read {
        let text = self.get(index);
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        let whole = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
        // Two digits of whole minutes; what stands before them are degrees.
        let split = whole.checked_sub(2).ok_or(Malformed)?;
        if !text[..whole].iter().all(u8::is_ascii_digit) {
            return Err(Malformed);
        }
        let degrees = if split == 0 {
            0.0
        } else {
            number(&text[..split])?
        };
        let minutes = number(&text[split..])?;
        let value = degrees + minutes / 60.0;
        if minutes >= 60.0 || value > max {
            return Err(Malformed);
        }
        self.signed(index + 1, letters, value)
    }

    /// A number and a letter in the next field: the first letter is positive, the second negative.
    pub(super) fn number_signed(self, index: usize, letters: [u8; 2]) -> Read {
        let value = self.number(index)?;
        if value.is_nan() {
            return Ok(value);
        }
        self.signed(index + 1, letters, value)
    }

    fn signed(self, index: usize, [positive, negative]: [u8; 2], value: f64) -> Read {
        match self.get(index) {
            [letter] if letter.eq_ignore_ascii_case(&positive) => Ok(value),
            [letter] if letter.eq_ignore_ascii_case(&negative) => Ok(-value),
            _ => Err(Malformed),
        }
    }

    /// A letter, by a table.
    pub(super) fn letter(self, index: usize, table: &[(u8, f64)]) -> Read {
        let found = match self.get(index) {
            [] => return Ok(f64::NAN),
            [letter] => table.iter().find(|(known, _)| known == letter),
            _ => None,
        };
        found.map(|(_, value)| *value).ok_or(Malformed)
    }
}

/// A decimal number, with or without sign and point; no exponent, and nothing behind it.
pub(super) fn number(text: &[u8]) -> Read {
    let is_plain = text
        .iter()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+'));
    if !is_plain {
        return Err(Malformed);
    }
    let without_plus = match text {
        [b'+', rest @ ..] if !rest.starts_with(b"-") && !rest.starts_with(b"+") => rest,
        [b'+', ..] => return Err(Malformed),
        _ => text,
    };
    fast_float2::parse(without_plus).map_err(|_| Malformed)
}

fn two_digits(text: &[u8]) -> Result<u32, Malformed> {
    match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Ok(u32::from(a - b'0') * 10 + u32::from(b - b'0')),
        _ => Err(Malformed),
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
pub(crate) fn days(year: u32, month: u32, day: u32) -> Read {
    const BEFORE_MONTH: [u32; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if !(1..=12).contains(&month) || !(1..=9999).contains(&year) {
        return Err(Malformed);
    }
    let place = month as usize;
    let leap_day = u32::from(is_leap && month == 2);
    let length = BEFORE_MONTH[place] - BEFORE_MONTH[place - 1] + leap_day;
    if day == 0 || day > length {
        return Err(Malformed);
    }
    // Leap days before this year, counted from the year 1.
    let before = year - 1;
    let leaps = before / 4 - before / 100 + before / 400;
    let leap_day_gone = u32::from(is_leap && month > 2);
    let since_year_1 = before * 365 + leaps + BEFORE_MONTH[place - 1] + leap_day_gone + day - 1;
    // 1970-01-01 is day 719 162 of that count.
    Ok(f64::from(since_year_1) - 719_162.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, read: impl Fn(Fields<'_>) -> Read) -> Read {
        let text = format!("XX,{text}");
        let mut ends: Vec<u32> = text
            .bytes()
            .zip(0..)
            .filter(|(byte, _)| *byte == b',')
            .map(|(_, place)| place)
            .collect();
        ends.push(text.len() as u32);
        read(Fields {
            text: text.as_bytes(),
            ends: &ends,
        })
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        assert_eq!(days(1970, 1, 1), Ok(0.0));
        assert_eq!(days(1969, 12, 31), Ok(-1.0));
        assert_eq!(days(2000, 2, 29), Ok(11_016.0));
        assert_eq!(days(2000, 3, 1), Ok(11_017.0));
        assert_eq!(days(2026, 11, 24), Ok(20_781.0));
        for (year, month, day) in [
            (2023, 2, 29),
            (1900, 2, 29),
            (2024, 4, 31),
            (2024, 13, 1),
            (2024, 0, 1),
            (2024, 1, 0),
        ] {
            assert_eq!(
                days(year, month, day),
                Err(Malformed),
                "{year}-{month}-{day}"
            );
        }
    }

    #[test]
    fn times_dates_and_positions_are_read_as_the_standard_writes_them() {
        assert_eq!(read("123519.25", |f| f.time_s(1)), Ok(45_319.25));
        assert_eq!(read("000000", |f| f.time_s(1)), Ok(0.0));
        assert_eq!(read("235960.5", |f| f.time_s(1)), Ok(86_400.5));
        assert_eq!(read("230394", |f| f.date_days(1)), Ok(8_847.0));
        assert_eq!(read("24,11,2026", |f| f.split_date_days(1)), Ok(20_781.0));
        let latitude = |text| read(text, |f| f.degrees(1, *b"NS", 90.0));
        assert_eq!(latitude("4807.038,N"), Ok(48.0 + 7.038 / 60.0));
        assert_eq!(latitude("4807.038,S"), Ok(-48.0 - 7.038 / 60.0));
        assert_eq!(latitude("9000,N"), Ok(90.0));
        assert_eq!(
            read("01131.000,W", |f| f.degrees(1, *b"EW", 180.0)),
            Ok(-11.0 - 31.0 / 60.0)
        );
        assert_eq!(read("1F", |f| f.hexadecimal(1)), Ok(31.0));
        assert_eq!(read(" +1.50 ", |f| f.number(1)), Ok(1.5));
    }

    #[test]
    fn what_is_empty_or_not_there_is_not_a_number() {
        for index in [1, 2, 7] {
            assert!(read(",", |f| f.number(index)).is_ok_and(f64::is_nan));
            assert!(read(",", |f| f.time_s(index)).is_ok_and(f64::is_nan));
            assert!(read(",", |f| f.date_days(index)).is_ok_and(f64::is_nan));
            assert!(read(",", |f| f.degrees(index, *b"NS", 90.0)).is_ok_and(f64::is_nan));
            assert!(read(",", |f| f.hexadecimal(index)).is_ok_and(f64::is_nan));
            assert!(read(",", |f| f.split_date_days(index)).is_ok_and(f64::is_nan));
            assert!(read(",", |f| f.letter(index, &[])).is_ok_and(f64::is_nan));
        }
    }

    #[test]
    fn what_is_not_as_the_standard_says_is_refused() {
        for text in ["1e5", "nan", "1.2.3", "12x", "--1", ".", "+-1", "0x10"] {
            assert_eq!(read(text, |f| f.number(1)), Err(Malformed), "{text}");
        }
        for text in [
            "1235", "12351", "240000", "126000", "123561", "12:35:19", "1235199", "1235.9",
            "-12351",
        ] {
            assert_eq!(read(text, |f| f.time_s(1)), Err(Malformed), "{text}");
        }
        for text in ["310226", "001126", "2026", "ddmmyy", "24112026"] {
            assert_eq!(read(text, |f| f.date_days(1)), Err(Malformed), "{text}");
        }
        for text in [
            "4807.038",
            "4807.038,",
            "4807.038,E",
            "4860.0,N",
            "9000.1,N",
            "7,N",
            "-4807.0,N",
            "48-7.0,N",
            ".5,N",
        ] {
            let latitude = read(text, |f| f.degrees(1, *b"NS", 90.0));
            assert_eq!(latitude, Err(Malformed), "{text}");
        }
        for text in ["1.5,11,2026", "32,1,2026", "1,13,2026", "-1,1,2026"] {
            assert_eq!(
                read(text, |f| f.split_date_days(1)),
                Err(Malformed),
                "{text}"
            );
        }
        assert_eq!(read("G", |f| f.hexadecimal(1)), Err(Malformed));
        assert_eq!(read("12345678901234", |f| f.hexadecimal(1)), Err(Malformed));
    }
}
