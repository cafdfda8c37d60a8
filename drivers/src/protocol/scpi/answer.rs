//! What an instrument answers: numbers, errors, blocks.

use super::options::{Sample, Waveform};

/// A number as SCPI-99 has them: `9.91E37` is not a number, `±9.9E37` infinite (volume 1, 7.2.1.4 and 7.2.1.5).
pub(super) fn number(text: &[u8]) -> Option<f64> {
    let found: f64 = fast_float2::parse(text.trim_ascii()).ok()?;
    Some(match found {
        9.91e37 => f64::NAN,
        9.9e37 => f64::INFINITY,
        -9.9e37 => f64::NEG_INFINITY,
        other => other,
    })
}

/// The number in front of an entry of the error queue, as in `-113,"Undefined header"`; 0: it is empty.
pub(super) fn error_number(line: &[u8]) -> Option<i32> {
    let number = line.split(|byte| *byte == b',').next()?.trim_ascii();
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Whether an answer has the four fields of IEEE 488.2, 10.14: maker, model, serial number, version. Numbers between
/// commas are a late answer to something else.
pub(super) fn has_four_fields(line: &[u8]) -> bool {
    line.first().is_some_and(u8::is_ascii_alphabetic)
        && line.iter().filter(|byte| **byte == b',').count() >= 3
}

/// What stands where a block may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// More bytes are needed to say.
    Partial,
    /// None that can be read.
    Bad,
    /// So many bytes of head, and so many samples behind it.
    Block { head: usize, samples: u64 },
}

/// The head of a definite-length block (IEEE 488.2, 8.7.9): `#`, how many digits, the length.
pub(super) fn head(bytes: &[u8], waveform: &Waveform) -> Head {
    let Some(digits) = bytes.get(1) else {
        return Head::Partial;
    };
    // `#0` is a block whose end only the link knows.
    if !(b'1'..=b'9').contains(digits) {
        return Head::Bad;
    }
    let digits = usize::from(digits - b'0');
    let known = &bytes[2..bytes.len().min(2 + digits)];
    if !known.iter().all(u8::is_ascii_digit) {
        return Head::Bad;
    }
    if known.len() < digits {
        return Head::Partial;
    }
    let length = known
        .iter()
        .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let width = waveform.sample.bytes() as u64;
    let samples = length / width;
    if samples == 0 || !length.is_multiple_of(width) || samples > waveform.samples_max {
        return Head::Bad;
    }
    let head = 2 + digits;
    Head::Block { head, samples }
}

/// One sample, whose bytes are all there.
pub(super) fn sample(bytes: &[u8], waveform: &Waveform) -> f64 {
    let width = waveform.sample.bytes();
    let mut little = [0; 8];
    little[..width].copy_from_slice(&bytes[..width]);
    if waveform.is_big_endian {
        little[..width].reverse();
    }
    let [a, b, c, d, ..] = little;
    match waveform.sample {
        Sample::U8 => f64::from(a),
        Sample::I8 => f64::from(i8::from_le_bytes([a])),
        Sample::U16 => f64::from(u16::from_le_bytes([a, b])),
        Sample::I16 => f64::from(i16::from_le_bytes([a, b])),
        Sample::U32 => f64::from(u32::from_le_bytes([a, b, c, d])),
        Sample::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
        Sample::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
        Sample::F64 => f64::from_le_bytes(little),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_standard_are_understood() {
        for (text, value) in [
            ("+1.23456789E-03", 1.234_567_89e-3),
            (" -5", -5.0),
            ("0.5\r", 0.5),
            ("9.9E37", f64::INFINITY),
            ("-9.90000000E+37", f64::NEG_INFINITY),
        ] {
            assert_eq!(number(text.as_bytes()), Some(value), "{text}");
        }
        assert!(number(b"9.91E37").is_some_and(f64::is_nan));
        for text in ["", "OVLD", "1.5 V", "--1", "++1"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_error_has_its_number_in_front() {
        assert_eq!(error_number(b"+0,\"No error\""), Some(0));
        assert_eq!(error_number(b"-113,\"Undefined header\""), Some(-113));
        assert_eq!(error_number(b"0"), Some(0));
        assert_eq!(error_number(b"1.5,2.5"), None);
        assert_eq!(error_number(b""), None);
    }

    #[test]
    fn a_block_says_its_length_and_no_head_is_believed_that_cannot_be() {
        let waveform = Waveform {
            sample: Sample::I16,
            is_big_endian: true,
            sample_rate_hz: 1e6,
            samples_max: 1000,
        };
        let look = |bytes: &[u8]| head(bytes, &waveform);
        let block = |head, samples| Head::Block { head, samples };
        assert_eq!(look(b"#800001000...."), block(10, 500));
        assert_eq!(look(b"#14abcd"), block(3, 2));
        for partial in ["#", "#8", "#80000100"] {
            assert_eq!(look(partial.as_bytes()), Head::Partial, "{partial}");
        }
        for bad in [
            "#0ab",
            "#A12",
            "#2x2",
            "#13",
            "#10",
            "#42002",
            "#9999999999",
        ] {
            assert_eq!(look(bad.as_bytes()), Head::Bad, "{bad}");
        }
        assert_eq!(sample(&[0xFF, 0xFE], &waveform), -2.0);
    }
}
