//! Finding a sentence, and whose it is.
//!
//! A sentence begins with `$` or `!`, goes on in printable ASCII, and ends before the first byte that is none, or
//! before a `$`: that is reserved for beginnings (NMEA 0183, table of reserved characters). Its last three characters
//! are `*` and the exclusive-or of all between in hexadecimal.
//!
//! **Always holds.** What a candidate is depends on its bytes up to its end alone, never on where the input was cut.
//!
//! **Must not know.** What a sentence says.

use memchr::{memchr, memchr3};

/// What begins at the front of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// More bytes are needed to say.
    Short,
    /// Nothing known.
    Nothing,
    /// A message so many bytes long that is damaged.
    Bad(usize),
    /// A good message: so many of its bytes are its own, and so many with its line end.
    Good {
        /// Without its line end.
        text: usize,
        /// With it.
        length: usize,
    },
}

/// What may begin a sentence.
pub(super) const STARTS: [u8; 2] = *b"$!";

/// The longest address that is one, and the shortest.
const ADDRESS_BYTES: std::ops::RangeInclusive<usize> = 3..=16;

/// What begins at `input[0]`.
pub(super) fn candidate(input: &[u8], bytes_max: usize, checksum_optional: bool) -> Candidate {
    if input.first().is_none_or(|first| !STARTS.contains(first)) {
        return Candidate::Nothing;
    }
    // What stands behind the longest sentence is no part of one.
    let window = &input[1..input.len().min(bytes_max + 1)];
    let end = end_of_text(window);
    let text = &input[..=end];
    let is_cut = end == window.len();
    let is_overlong = is_cut && input.len() > bytes_max;
    if is_cut && !is_overlong {
        return if may_become_sentence(text) {
            Candidate::Short
        } else {
            Candidate::Nothing
        };
    }
    if !is_sentence(text) {
        return Candidate::Nothing;
    }
    let length = match &input[text.len()..] {
        // It is given up here, whatever comes behind.
        _ if is_overlong => text.len(),
        // The end of the line may be there or not: wait for the next byte.
        [b'\r'] => return Candidate::Short,
        [b'\r', b'\n', ..] => text.len() + 2,
        [b'\r' | b'\n', ..] => text.len() + 1,
        _ => text.len(),
    };
    if !is_overlong && is_intact(text, checksum_optional) {
        let text = text.len();
        return Candidate::Good { text, length };
    }
    Candidate::Bad(length)
}

/// Where the text that begins a sentence ends.
fn end_of_text(window: &[u8]) -> usize {
    let end = memchr3(b'$', b'\r', b'\n', window).unwrap_or(window.len());
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~');
    // All at once first: that is done in vectors.
    if window[..end]
        .iter()
        .fold(true, |all, byte| all & is_text(byte))
    {
        return end;
    }
    window.iter().position(|byte| !is_text(byte)).unwrap_or(end)
}

/// Whether this is an address with something behind it: what does not even look like a sentence is noise.
fn is_sentence(text: &[u8]) -> bool {
    let address = address(text);
    ADDRESS_BYTES.contains(&address.len()) && text.len() > 1 + address.len()
}

/// Whether more bytes can make a sentence of it: noise need not be waited for.
fn may_become_sentence(text: &[u8]) -> bool {
    let known = &text[1..];
    let alphanumeric = known
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric())
        .unwrap_or(known.len());
    match known.get(alphanumeric) {
        None => alphanumeric <= *ADDRESS_BYTES.end(),
        Some(b',' | b'*') => ADDRESS_BYTES.contains(&alphanumeric),
        Some(_) => false,
    }
}

/// The letters and digits behind the beginning, up to `,` or `*`; empty if something else ends them.
fn address(text: &[u8]) -> &[u8] {
    let body = &text[1..];
    let end = body
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric())
        .unwrap_or(body.len());
    match body.get(end) {
        Some(b',' | b'*') => &body[..end],
        _ => &[],
    }
}

fn is_intact(text: &[u8], checksum_optional: bool) -> bool {
    let text = text.trim_ascii_end();
    if let [body @ .., b'*', high, low] = &text[1..] {
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let told = digit(high)
            .zip(digit(low))
            .map(|(high, low)| high << 4 | low);
        let sum = body.iter().fold(0, |sum, byte| sum ^ byte);
        return told == Some(u32::from(sum));
    }
    checksum_optional && memchr(b'*', text).is_none()
}

/// The part of a good sentence between its beginning and its checksum.
pub(super) fn body(text: &[u8]) -> &[u8] {
    let text = &text[1..];
    &text[..memchr(b'*', text).unwrap_or(text.len())]
}

/// Which sentences are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    start: u8,
    name: Name,
    /// What the first fields must be.
    leading: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// Of any talker.
    Formatter([u8; 3]),
    /// Of one talker, or of a maker.
    Whole(Vec<u8>),
}

impl Address {
    /// # Errors
    /// What would be right.
    pub(super) fn parse(declared: &str) -> Result<Self, String> {
        let (start, rest) = match declared.strip_prefix('!') {
            Some(rest) => (b'!', rest),
            None => (b'$', declared.strip_prefix('$').unwrap_or(declared)),
        };
        let mut parts = rest.split(',').map(str::as_bytes);
        let address = parts.next().unwrap_or_default();
        let leading: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
        let is_name = address
            .iter()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let name = match address {
            [a, b, c] => Name::Formatter([*a, *b, *c]),
            [b'P', _, _, _, ..] | [_, _, _, _, _] => Name::Whole(address.to_vec()),
            _ => return Err(no_name(declared)),
        };
        let can_lead = |field: &Vec<u8>| field.iter().all(|b| matches!(b, b' '..=b'~'));
        if !is_name || !ADDRESS_BYTES.contains(&address.len()) || !leading.iter().all(can_lead) {
            return Err(no_name(declared));
        }
        Ok(Self {
            start,
            name,
            leading,
        })
    }

    /// The three letters that say what the sentence is, unless a maker's.
    pub(super) fn formatter(&self) -> Option<&str> {
        let letters = match &self.name {
            Name::Formatter(letters) => letters,
            Name::Whole(name) if name.first() != Some(&b'P') => name.get(2..)?,
            Name::Whole(_) => return None,
        };
        std::str::from_utf8(letters).ok()
    }

    /// Whether a sentence that begins so, and with these fields, is meant.
    pub(super) fn matches(&self, start: u8, body: &[u8], talkers: &[[u8; 2]]) -> bool {
        let mut fields = body.split(|byte| *byte == b',');
        let address = fields.next().unwrap_or_default();
        let is_named = match &self.name {
            Name::Whole(name) => name == address,
            Name::Formatter(letters) => {
                formatter(address) == Some(letters) && speaks(address, talkers)
            }
        };
        start == self.start && is_named && self.leading.iter().all(|l| fields.next() == Some(l))
    }
}

fn no_name(declared: &str) -> String {
    format!(
        "`{declared}` is no sentence: RMC of any talker, GNRMC of one, PGRME of a maker, \
         `PUBX,00` with its first field, !AIVDM"
    )
}

/// The three letters behind the talker; a maker's sentence (P) and others have none.
pub(super) fn formatter(address: &[u8]) -> Option<&[u8; 3]> {
    match address {
        [b'P', ..] => None,
        [_, _, formatter @ ..] => formatter.try_into().ok(),
        _ => None,
    }
}

/// Whether the talker is one of those, or any will do.
pub(super) fn speaks(address: &[u8], talkers: &[[u8; 2]]) -> bool {
    talkers.is_empty() || talkers.iter().any(|talker| address.starts_with(talker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(input: &[u8]) -> Candidate {
        candidate(input, 40, false)
    }

    const GOOD: &[u8] = b"$GPTXT,a*02";

    fn good(length: usize) -> Candidate {
        Candidate::Good { text: 11, length }
    }

    #[test]
    fn a_sentence_ends_with_its_line_or_where_it_cannot_go_on() {
        let sum = b"GPTXT,a".iter().fold(0, |sum, byte| sum ^ byte);
        assert_eq!(format!("{sum:02X}").as_bytes(), &GOOD[9..]);
        let with = |end: &[u8]| look(&[GOOD, end].concat());
        assert_eq!(with(b"\r\n"), good(13));
        assert_eq!(with(b"\n"), good(12));
        assert_eq!(with(b"\rx"), good(12));
        assert_eq!(with(b"$GP"), good(11));
        assert_eq!(with(b"\xB5"), good(11));
        assert_eq!(with(b"\0"), good(11));
        assert_eq!(
            with(b"  \r\n"),
            Candidate::Good {
                text: 13,
                length: 15
            }
        );
        assert_eq!(with(b""), Candidate::Short);
        assert_eq!(with(b"\r"), Candidate::Short);
    }

    #[test]
    fn what_is_damaged_is_told_from_noise() {
        assert_eq!(look(b"$GPTXT,a*03\r\n"), Candidate::Bad(13));
        assert_eq!(look(b"$GPTXT,a*0\r\n"), Candidate::Bad(12));
        assert_eq!(look(b"$GPTXT,a$"), Candidate::Bad(8));
        assert_eq!(look(b"$GPTXT,a\n"), Candidate::Bad(9));
        assert_eq!(
            look(&[b"$GPTXT,".as_slice(), &[b'a'; 40]].concat()),
            Candidate::Bad(41)
        );
        for noise in [
            b"$G,1\r\n".as_slice(),
            b"$\r\n",
            b"$GPTXT\n",
            b"$GP TXT,",
            b"x",
            b"$$",
            b"$G\xFF",
            b"$ABCDEFGHIJKLMNOPQ",
        ] {
            assert_eq!(look(noise), Candidate::Nothing, "{noise:?}");
        }
        for short in [b"$".as_slice(), b"!AI", b"$GPTXT,", b"$GPTXT,a*0"] {
            assert_eq!(look(short), Candidate::Short, "{short:?}");
        }
    }

    #[test]
    fn a_sentence_without_checksum_is_good_where_that_is_declared() {
        let text = b"$GPTXT,a\r\n";
        assert_eq!(
            candidate(text, 40, true),
            Candidate::Good {
                text: 8,
                length: 10
            }
        );
        assert_eq!(candidate(b"$GPTXT,a*\r\n", 40, true), Candidate::Bad(11));
    }

    #[test]
    fn an_address_names_any_talker_one_talker_or_a_maker() {
        let is = |declared: &str, start: u8, body: &str| {
            let address = Address::parse(declared).expect("an address");
            address.matches(start, body.as_bytes(), &[])
        };
        assert!(is("RMC", b'$', "GNRMC,1"));
        assert!(is("RMC", b'$', "GPRMC"));
        assert!(!is("RMC", b'$', "GNRMB,1"));
        assert!(!is("RMC", b'!', "GNRMC,1"));
        assert!(!is("RMC", b'$', "PXRMC,1"));
        assert!(is("GNRMC", b'$', "GNRMC,1"));
        assert!(!is("GNRMC", b'$', "GPRMC,1"));
        assert!(is("PUBX,00", b'$', "PUBX,00,x"));
        assert!(!is("PUBX,00", b'$', "PUBX,04,x"));
        assert!(!is("PUBX,00", b'$', "PUBX"));
        assert!(is("!AIVDM", b'!', "AIVDM,1,1"));
        assert!(!is("VDM", b'!', "AIVDM,1,1"));
        assert!(is("!VDM", b'!', "AIVDM,1,1"));
        let rmc = Address::parse("RMC").expect("an address");
        assert!(rmc.matches(b'$', b"GNRMC", &[*b"GP", *b"GN"]));
        assert!(!rmc.matches(b'$', b"GLRMC", &[*b"GP", *b"GN"]));
        for wrong in [
            "",
            "RM",
            "rmc",
            "GPRM",
            "GP RMC",
            "!",
            "GNRMCX",
            "RMC,é",
            "P12345678901234567",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
