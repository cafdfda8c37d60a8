//! `type = "lines"`: how text lines are declared.

use kymo_drivers::protocol::{Options, lines};

use super::Places;
use crate::config::section::Section;
use crate::config::values::{Wrong, choice, integer, text};

pub(super) fn read(
    section: &Section<'_>,
    channels: &[(Section<'_>, String)],
    starts_whole: bool,
    places: &mut Places,
) -> Option<Options> {
    #[derive(Clone, Copy)]
    enum Form {
        Separated,
        KeyValue,
        Pattern,
    }
    let forms = [
        ("values", Form::Separated),
        ("key-value", Form::KeyValue),
        ("pattern", Form::Pattern),
    ];
    let implied = if section.has("pattern") {
        Form::Pattern
    } else {
        Form::Separated
    };
    let form = section
        .get("form", choice(&forms))
        .map_or(implied, |form| form.value);
    let mut separator = |default: &str| {
        let found = places.noted("separator", section.get("separator", text));
        found.unwrap_or_else(|| default.to_owned())
    };
    let form = match form {
        Form::Separated => lines::Form::Separated {
            separator: separator(","),
        },
        Form::KeyValue => {
            let one_character = |value: &toml::de::DeValue<'_>| {
                let found = text(value)?;
                let mut characters = found.chars();
                match (characters.next(), characters.next()) {
                    (Some(character), None) => Ok(character),
                    _ => Err(Wrong::new("must be one character", "as in \"=\"")),
                }
            };
            let separator = separator(" ");
            lines::Form::KeyValue {
                separator,
                assign: places
                    .noted("assign", section.get("assign", one_character))
                    .unwrap_or('='),
            }
        }
        Form::Pattern => lines::Form::Pattern {
            pattern: places.noted("pattern", section.need("pattern", text))?,
        },
    };
    let by_place = matches!(form, lines::Form::Separated { .. });
    let keys = channels.iter().enumerate().map(|(index, (channel, name))| {
        let key = if by_place {
            None
        } else {
            channel.get("key", text)
        };
        let span = key
            .as_ref()
            .map_or_else(|| channel.span.clone(), |key| key.span.clone());
        places.0.push((format!("field {index}"), span));
        key.map_or_else(|| name.clone(), |key| key.value)
    });
    let keys = keys.collect();
    let starts = [("whole", true), ("cut", false)];
    let first_line = section.get("first_line", choice(&starts));
    let line_max = section.get("line_max", integer(1..=1 << 20));
    let line_max = places.noted("line_max", line_max);
    Some(Options::Lines(lines::Options {
        form,
        keys,
        comment: places.noted("comment", section.get("comment", text)),
        first_line_whole: first_line.map_or(starts_whole, |first| first.value),
        line_bytes_max: line_max
            .and_then(|max| usize::try_from(max).ok())
            .unwrap_or(lines::LINE_BYTES_MAX_DEFAULT),
    }))
}
