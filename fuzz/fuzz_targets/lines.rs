//! Lines of every form, and any bytes at all.

#![no_main]

use std::collections::HashSet;

use kymo_drivers::protocol::{Options, lines};
use kymo_fuzz::{Choices, Decoded, decode, stretches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut choices, stream) = Choices::split(data, 16);
    let options = options(&mut choices);
    let piece = 1 + choices.below(64);
    let room = 1 + choices.below(9);
    if let Some(decoded) = decode(&Options::Lines(options.clone()), stream, piece, room) {
        account(&decoded, &options, stream);
    }
});

/// Every line is a frame, a corrupt one, passed over, or, the first, skipped.
fn account(decoded: &Decoded, options: &lines::Options, stream: &[u8]) {
    let (lines, last) = stretches(&stream[..decoded.consumed], b'\n');
    let mut ends: HashSet<usize> = decoded.ends.iter().copied().collect();
    assert_eq!(
        ends.len(),
        decoded.ends.len(),
        "a line never makes two frames"
    );
    let mut aligned = options.first_line_whole;
    let (mut corrupt, mut skipped) = (0, 0);
    // Lines that may have been headers, which are neither.
    let mut headers = 0;
    let is_columns = matches!(options.form, lines::Form::Columns { .. });
    for (start, end) in lines {
        let line = &stream[start..end - 1];
        let text = line.trim_ascii();
        let mark = options.comment.as_ref();
        let is_comment = mark.is_some_and(|mark| text.starts_with(mark.as_bytes()));
        let is_passed = (text.is_empty() || is_comment) && line.len() <= options.line_bytes_max;
        if !aligned {
            skipped += end - start;
            aligned = true;
        } else if !ends.remove(&end) && !is_passed {
            corrupt += 1;
            let is_named = options.keys.iter().all(|key| {
                line.windows(key.len()).any(|window| window == key.as_bytes())
            });
            headers += u64::from(is_columns && is_named);
        }
    }
    assert!(ends.is_empty(), "a frame ends with its line");
    if last < decoded.consumed {
        if aligned {
            corrupt += 1;
        } else {
            skipped += decoded.consumed - last;
        }
    }
    assert!((corrupt - headers..=corrupt).contains(&decoded.tally.corrupt_frames));
    assert_eq!(decoded.tally.skipped_bytes, skipped as u64);
    assert_eq!(decoded.tally.lost_frames, 0);
}

fn options(choices: &mut Choices<'_>) -> lines::Options {
    let separators = [",", " ", "\t", ";", "::", ", ", "°", ""];
    let separator = choices.one_of(&separators).to_owned();
    let form = match choices.below(5) {
        0 => lines::Form::Separated { separator },
        1 => lines::Form::Columns { separator },
        2 => lines::Form::Json,
        3 => lines::Form::KeyValue {
            separator,
            assign: choices.one_of(&['=', ':', ' ', 'é']),
        },
        _ => {
            let patterns = [
                r"^(?<a>\S+)\s+(?<b>.+)$",
                r"(?<a>[\d.]+)(?:,(?<b>.*))?",
                r"(?<b>\w*)(?<a>.)",
            ];
            lines::Form::Pattern {
                pattern: choices.one_of(&patterns).to_owned(),
            }
        }
    };
    let keys = ["a", choices.one_of(&["b", "b[1]", "a.b", "c.d[0]"])];
    let mut suffix = || {
        let unit = choices.one_of(&["V", "m", "\u{b0}C", "", " "]);
        choices.flag().then(|| lines::Suffix {
            unit: unit.to_owned(),
            prefixes: choices.flag(),
        })
    };
    let suffixes = vec![suffix(), suffix()];
    lines::Options {
        form,
        suffixes,
        decimal_comma: choices.flag(),
        keys: keys[..1 + choices.below(2)]
            .iter()
            .map(|key| (*key).to_owned())
            .collect(),
        comment: choices.one_of(&[None, Some("#".to_owned()), Some("//".to_owned())]),
        first_line_whole: choices.flag(),
        line_bytes_max: 1 + choices.below(60),
    }
}
