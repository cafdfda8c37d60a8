//! Times on the command line and in the output.

use crate::clock::{Clock, rfc3339};
use crate::config::values::parse_duration;

/// How times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Form {
    /// 2026-11-23T08:00:00.000000001Z
    Rfc3339,
    /// Nanoseconds since 1970, UTC.
    Ns,
}

impl Form {
    pub(in crate::cli) fn push(self, time_ns: i64, line: &mut String) {
        match self {
            Self::Rfc3339 => line.push_str(&rfc3339(time_ns)),
            Self::Ns => line.push_str(&time_ns.to_string()),
        }
    }
}

/// A time as it is given: a date, a date and time with or without zone (then UTC), back from now, or ns.
pub(in crate::cli) fn parse(text: &str) -> Result<i64, String> {
    let expected = || {
        format!(
            "`{text}` is no time: write 2026-11-23T08:00:00Z, 2026-11-23, or back from now, as in -10m"
        )
    };
    if let Some(back) = text.strip_prefix('-') {
        let back = parse_duration(back).map_err(|what| format!("{}: {what}", expected()))?;
        let back_ns = i64::try_from(back.as_nanos()).unwrap_or(i64::MAX);
        return Ok(now_ns().saturating_sub(back_ns));
    }
    if text == "now" {
        return Ok(now_ns());
    }
    if text.len() > 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| expected());
    }
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let plain = || {
        let time = text.parse::<jiff::civil::DateTime>().ok()?;
        let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(zoned.timestamp())
    };
    let time = zoned.or_else(plain).ok_or_else(expected)?;
    i64::try_from(time.as_nanosecond()).map_err(|_| expected())
}

/// Now, UTC ns.
fn now_ns() -> i64 {
    Clock::system().now_ns()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        let eight = 1_795_420_800_000_000_000;
        assert_eq!(parse("2026-11-23T08:00:00Z"), Ok(eight));
        assert_eq!(parse("2026-11-23T09:00:00+01:00"), Ok(eight));
        assert_eq!(parse("2026-11-23T08:00:00"), Ok(eight));
        assert_eq!(parse("2026-11-23"), Ok(eight - 8 * 3_600_000_000_000));
        assert_eq!(parse("1795420800000000000"), Ok(eight));
        let then = parse("-10m").expect("a duration");
        let back = now_ns() - then;
        assert!((600_000_000_000..601_000_000_000).contains(&back), "{back}");
        for wrong in [
            "",
            "yesterday",
            "-",
            "-10",
            "2026-13-01",
            "99999999999999999999",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
