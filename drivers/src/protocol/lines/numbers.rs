//! Numbers in text: with a decimal point or comma, and with the unit that was declared.
//!
//! **Always holds.** A text is a number as a whole, or not at all; nothing is allocated.
//!
//! **Must not know.** How a line holds them.

use super::options::Suffix;

/// The longest number with a decimal comma, in bytes: a `f64` has at most 767 significant digits, of which nobody
/// sends more than twenty.
const COMMA_BYTES_MAX: usize = 64;

/// SI prefixes from the SI brochure, 9th edition, table 7, as far as they are met in measurements. The micro sign and
/// the Greek letter look the same.
const PREFIXES: [(&str, f64); 13] = [
    ("m", 1e-3),
    ("k", 1e3),
    ("u", 1e-6),
    ("\u{b5}", 1e-6),
    ("\u{3bc}", 1e-6),
    ("n", 1e-9),
    ("M", 1e6),
    ("p", 1e-12),
    ("f", 1e-15),
    ("G", 1e9),
    ("T", 1e12),
    ("c", 1e-2),
    ("d", 1e-1),
];

pub(super) struct Numbers {
    /// By channel.
    suffixes: Vec<Option<Suffix>>,
    decimal_comma: bool,
    /// Points, and no units: the usual thing, and the fastest.
    plain: bool,
}

impl Numbers {
    pub(super) fn new(suffixes: &[Option<Suffix>], channels: usize, decimal_comma: bool) -> Self {
        let mut suffixes = suffixes.to_vec();
        suffixes.resize(channels, None);
        Self {
            plain: !decimal_comma && suffixes.iter().all(Option::is_none),
            suffixes,
            decimal_comma,
        }
    }

    /// The number of a channel; `None` if the text is none.
    #[inline]
    pub(super) fn read(&self, channel: usize, text: &[u8]) -> Option<f64> {
        if self.plain {
            return point(text);
        }
        match self.suffix(channel) {
            Some(suffix) => self.with_unit(suffix, text.trim_ascii()),
            None => self.bare(text),
        }
    }

    /// The unit that must stand behind a channel's number.
    pub(super) fn suffix(&self, channel: usize) -> Option<&Suffix> {
        self.suffixes.get(channel)?.as_ref()
    }

    fn with_unit(&self, suffix: &Suffix, text: &[u8]) -> Option<f64> {
        let text = text.strip_suffix(suffix.unit.as_bytes())?;
        let found = self.bare(text);
        if found.is_some() || !suffix.prefixes {
            return found;
        }
        let mut prefixes = PREFIXES.iter();
        prefixes.find_map(|(prefix, factor)| {
            let number = self.bare(text.strip_suffix(prefix.as_bytes())?)?;
            Some(number * factor)
        })
    }

    fn bare(&self, text: &[u8]) -> Option<f64> {
        if self.decimal_comma {
            comma(text.trim_ascii())
        } else {
            point(text)
        }
    }
}

#[inline]
fn point(text: &[u8]) -> Option<f64> {
    fast_float2::parse(text.trim_ascii()).ok()
}

/// A point would be a group of thousands, or a device that is set otherwise: refused rather than guessed.
fn comma(text: &[u8]) -> Option<f64> {
    let mut turned = [0; COMMA_BYTES_MAX];
    let turned = turned.get_mut(..text.len())?;
    for (to, from) in turned.iter_mut().zip(text) {
        *to = match from {
            b',' => b'.',
            b'.' => return None,
            other => *other,
        };
    }
    point(turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(unit: Option<&str>, prefixes: bool, decimal_comma: bool, text: &str) -> Option<f64> {
        let suffix = unit.map(|unit| Suffix {
            unit: unit.to_owned(),
            prefixes,
        });
        Numbers::new(&[suffix], 1, decimal_comma).read(0, text.as_bytes())
    }

    #[test]
    fn a_declared_unit_is_required_and_taken_away() {
        for text in ["23.4 degC", "23.4degC", " 23.4  degC "] {
            assert_eq!(read(Some("degC"), false, false, text), Some(23.4), "{text}");
        }
        for text in ["23.4", "23.4 degF", "23.4 mdegC", "23.4 degC x", "degC", ""] {
            assert_eq!(read(Some("degC"), false, false, text), None, "{text}");
        }
        assert_eq!(
            read(Some("\u{b0}C"), false, false, "-1 \u{b0}C"),
            Some(-1.0)
        );
        assert_eq!(read(None, false, false, "1 V"), None);
        assert_eq!(read(Some("eV"), false, false, "5eV"), Some(5.0));
    }

    #[test]
    fn prefixes_are_converted_where_they_may_stand() {
        let volts = |text| read(Some("V"), true, false, text);
        assert_eq!(volts("5 V"), Some(5.0));
        assert_eq!(volts("5 mV"), Some(0.005));
        assert_eq!(volts("1.5e3uV"), Some(1.5e3 * 1e-6));
        assert_eq!(volts("2 \u{b5}V"), Some(2.0 * 1e-6));
        assert_eq!(volts("2 \u{3bc}V"), Some(2.0 * 1e-6));
        assert_eq!(volts("3 MV"), Some(3e6));
        assert_eq!(volts("inf V"), Some(f64::INFINITY));
        assert_eq!(volts("3 xV"), None);
        assert_eq!(volts("3 mmV"), None);
        let metres = |text| read(Some("m"), true, false, text);
        assert_eq!((metres("5 m"), metres("5 mm")), (Some(5.0), Some(0.005)));
    }

    #[test]
    fn a_decimal_comma_leaves_no_room_for_a_point() {
        let read = |text| read(None, false, true, text);
        assert_eq!(read("23,4"), Some(23.4));
        assert_eq!(read(" -1,5e3 "), Some(-1500.0));
        assert_eq!(read("7"), Some(7.0));
        assert_eq!(read("1.234,5"), None);
        assert_eq!(read("1,2,3"), None);
        assert_eq!(read(&"1".repeat(65)), None);
    }
}
