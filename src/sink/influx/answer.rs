//! What an answer means: each dialect's forms, told from status and body alone.
//!
//! | who | form of a refusal |
//! |---|---|
//! | InfluxDB 1 | 400 `{"error":"partial write: unable to parse 'LINE': REASON\n… dropped=0"}`: these lines refused, the rest written |
//! | | 400 `{"error":"unable to parse 'LINE': REASON\n…"}`: these refused, nothing said of the rest |
//! | | 400 `{"error":"partial write: field type conflict: … dropped=N"}`: N lines refused, not said which |
//! | InfluxDB 2 | 400 `{"code":"invalid","message":"unable to parse 'LINE': …","line":N}`; 422 `{"code":"unprocessable entity","message":"failure writing points to database: partial write: … dropped=N"}` |
//! | InfluxDB 3 | 400 `{"error":"partial write of line protocol occurred","data":[{"original_line","line_number","error_message"}]}`, at most 100 of them |
//! | | 400 `{"error":"parsing failed for write_lp endpoint","data":{"original_line","line_number","error_message"}}`: nothing written |
//! | QuestDB | 400 `{"code","message":"… errors encountered on line(s):\nerror in line N: …","line":N}`: nothing written |
//!
//! **Always holds.** Any status, any body: a verdict. Where it is not certain that the other lines are written, they count as
//! not written; sending them again is harmless.
//!
//! **Must not know.** Sockets, and what becomes of a verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::sink::batch::Body;

/// InfluxDB 3 lists so many refused lines at most.
const LISTED_MAX: usize = 100;

/// So much of a reason is kept.
const REASON_CHARS_MAX: usize = 300;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is written.
    Accepted,
    /// Some lines are refused.
    Refused(Refused),
    /// The body is too large.
    TooLarge(String),
    /// Too much at a time; come again, after so long if it is said.
    Busy {
        /// How long the receiver wants to be left alone.
        retry_after: Option<Duration>,
        /// What it said.
        said: String,
    },
    /// No answer in time.
    TimedOut,
    /// Only a person can help: what it said.
    Denied(String),
    /// No connection, a reset, a server that is broken: what is known of it.
    Failed(String),
}

/// Which lines are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// These, by their numbers from 0, with the reason.
    Lines {
        /// Number and reason; at least one.
        lines: BTreeMap<usize, String>,
        /// Whether the others are certainly written.
        others_are_written: bool,
    },
    /// All of them, and why.
    All(String),
    /// At least one, and it is not said which.
    Some(String),
}

/// An answer, as it came.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The header `Location`.
    pub location: Option<String>,
    /// The header `Content-Type`.
    pub content_type: Option<String>,
    /// The body, or the beginning of a long one.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// What an answer to a batch means. `now_s` is the time, seconds since 1970, for a `Retry-After` that is a date.
#[must_use]
pub fn judge(answer: &Answer, sent: &Body, now_s: i64) -> Verdict {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = said(answer, &json);
    let is_page = answer
        .content_type
        .as_deref()
        .is_some_and(|kind| kind.starts_with("text/html"));
    match answer.status {
        // Older versions of InfluxDB 3 say so of a partial write.
        201 if json["data"].is_array() || json["line"].is_u64() => {
            refused(answer, &json, &said, sent)
        }
        200..=299 if is_page => Verdict::Denied(
            "a web page answers there, not a database: is something between, such as a login page?"
                .to_owned(),
        ),
        200..=299 => Verdict::Accepted,
        300..=399 => Verdict::Denied(format!(
            "it sends us on to {}: write that into `url`",
            answer.location.as_deref().unwrap_or("somewhere else")
        )),
        // Not the database says so, but what stands before it.
        400 | 422 if is_page || is_about_place(&said) => Verdict::Denied(said),
        400 | 422 => refused(answer, &json, &said, sent),
        413 => Verdict::TooLarge(said),
        408 => Verdict::TimedOut,
        429 | 503 => Verdict::Busy {
            retry_after: answer
                .retry_after
                .as_deref()
                .and_then(|text| retry_after(text, now_s)),
            said,
        },
        401 => Verdict::Denied(format!("it does not know us: {said}")),
        403 => Verdict::Denied(format!("it does not let us write: {said}")),
        404 => Verdict::Denied(format!("it has not got that: {said}")),
        400..=499 => Verdict::Denied(said),
        _ if is_about_place(&said) => Verdict::Denied(said),
        _ => Verdict::Failed(said),
    }
}

/// Whether an error is about where and how we write, not about what: no line is to blame for it, and none is put aside.
fn is_about_place(said: &str) -> bool {
    const ABOUT_PLACE: [&str; 11] = [
        "database not found",
        "retention policy not found",
        "bucket not found",
        "database is required",
        "bucket is required",
        "missing bucket",
        "missing db",
        "orgid or org",
        "invalid precision",
        "http request to an https server",
        "plain http request was sent",
    ];
    let said = said.to_lowercase();
    ABOUT_PLACE.iter().any(|text| said.contains(text))
}

/// What it said, in words.
fn said(answer: &Answer, json: &Value) -> String {
    let of = |key: &str| json[key].as_str().filter(|text| !text.is_empty());
    let text = of("error").or_else(|| of("message"));
    let text = text.map_or_else(
        || String::from_utf8_lossy(&answer.body).trim().to_owned(),
        str::to_owned,
    );
    if text.is_empty() {
        format!("status {}", answer.status)
    } else {
        format!("{text} (status {})", answer.status)
    }
}

fn refused(answer: &Answer, json: &Value, said: &str, sent: &Body) -> Verdict {
    let count = sent.lines();
    let reason = shortened(said);
    let named = listed(json, count)
        .or_else(|| quoted(said, sent))
        .or_else(|| numbered(json, said, count));
    let found = match named {
        Some((lines, is_all_told)) if lines.len() < count => Refused::Lines {
            lines,
            others_are_written: is_all_told && answer.is_whole && answer.status != 422,
        },
        Some(_) => Refused::All(reason),
        None if dropped(said).is_some_and(|dropped| dropped >= count) || count <= 1 => {
            Refused::All(reason)
        }
        None => Refused::Some(reason),
    };
    Verdict::Refused(found)
}

type Named = Option<(BTreeMap<usize, String>, bool)>;

/// InfluxDB 3: a list of lines with their numbers from 1, or one.
fn listed(json: &Value, count: usize) -> Named {
    let (entries, is_partial) = match &json["data"] {
        Value::Array(entries) => (entries.as_slice(), true),
        entry @ Value::Object(_) => (std::slice::from_ref(entry), false),
        _ => return None,
    };
    let lines: BTreeMap<usize, String> = entries
        .iter()
        .filter_map(|entry| {
            let number = usize::try_from(entry["line_number"].as_u64()?).ok()?;
            let reason = entry["error_message"].as_str().unwrap_or("refused");
            let line = number.checked_sub(1).filter(|line| *line < count)?;
            Some((line, shortened(reason)))
        })
        .collect();
    let is_all_told = is_partial && entries.len() < LISTED_MAX && lines.len() == entries.len();
    (!lines.is_empty()).then_some((lines, is_all_told))
}

/// InfluxDB 1 and 2: the lines themselves, in quotes.
fn quoted(said: &str, sent: &Body) -> Named {
    const OPEN: &str = "unable to parse '";
    const CLOSE: &str = "': ";
    if !said.contains(OPEN) {
        return None;
    }
    let mut numbers: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (number, line) in sent.each_line().enumerate() {
        numbers.entry(line).or_default().push(number);
    }
    let mut lines = BTreeMap::new();
    let mut is_all_told = said.starts_with("partial write") && dropped(said).unwrap_or(0) == 0;
    for piece in said.split(OPEN).skip(1) {
        // A line may hold what closes the quotes.
        let ends = piece.match_indices(CLOSE).map(|(at, _)| at);
        let found = ends.filter_map(|at| Some((numbers.get(&piece.as_bytes()[..at])?, at)));
        match found.last() {
            Some((numbers, at)) => {
                let reason = piece[at + CLOSE.len()..].lines().next().unwrap_or_default();
                for number in numbers {
                    lines.insert(*number, shortened(reason));
                }
            }
            None => is_all_told = false,
        }
    }
    (!lines.is_empty()).then_some((lines, is_all_told))
}

/// QuestDB, InfluxDB 2: a number from 1.
fn numbered(json: &Value, said: &str, count: usize) -> Named {
    let number = json["line"].as_u64().or_else(|| {
        let at = said
            .find("error in line ")
            .map(|at| at + "error in line ".len());
        let at = at.or_else(|| {
            let found = said.find("error parsing line ");
            found.map(|at| at + "error parsing line ".len())
        })?;
        leading_number(&said[at..])
    })?;
    let line = usize::try_from(number).ok()?.checked_sub(1)?;
    (line < count).then(|| (BTreeMap::from([(line, shortened(said))]), false))
}

/// `dropped=N`
fn dropped(said: &str) -> Option<usize> {
    let at = said.rfind("dropped=")? + "dropped=".len();
    usize::try_from(leading_number(&said[at..])?).ok()
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(REASON_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// `Retry-After` in both of its forms: seconds, or a date (RFC 9110, 10.2.3).
#[must_use]
pub fn retry_after(text: &str, now_s: i64) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    let wait = time.timestamp().as_second().saturating_sub(now_s);
    Some(Duration::from_secs(wait.try_into().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::batch::Lines;

    fn body(lines: &[&str]) -> Body {
        let mut made = Lines::default();
        for line in lines {
            made.text.extend_from_slice(line.as_bytes());
            made.text.push(b'\n');
            made.end_line(1);
        }
        made.take()
    }

    fn sent() -> Body {
        body(&["m a=1 1", "m a=x 2", "m a=3 3", "m a=y 4"])
    }

    fn answer(status: u16, text: &str) -> Answer {
        Answer {
            status,
            body: text.as_bytes().to_vec(),
            is_whole: true,
            ..Answer::default()
        }
    }

    fn verdict(status: u16, text: &str) -> Verdict {
        judge(&answer(status, text), &sent(), 0)
    }

    #[track_caller]
    fn lines(status: u16, text: &str) -> (Vec<(usize, String)>, bool) {
        match verdict(status, text) {
            Verdict::Refused(Refused::Lines {
                lines,
                others_are_written,
            }) => (lines.into_iter().collect(), others_are_written),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn influxdb_1_names_the_lines_it_cannot_parse() {
        let text = r#"{"error":"partial write: unable to parse 'm a=x 2': invalid boolean\nunable to parse 'm a=y 4': invalid number dropped=0"}"#;
        let (found, others) = lines(400, text);
        assert_eq!(found[0], (1, "invalid boolean".to_owned()));
        assert_eq!(found[1].0, 3);
        assert!(others, "it says that the others are written");
        let text = r#"{"error":"unable to parse 'm a=x 2': invalid boolean"}"#;
        let (found, others) = lines(400, text);
        assert_eq!(
            (found.len(), others),
            (1, false),
            "nothing is said of the others"
        );
    }

    #[test]
    fn influxdb_1_and_2_do_not_name_the_lines_of_a_conflict() {
        let conflict = "partial write: field type conflict: input field \\\"a\\\" on measurement \\\"m\\\" is type float, already exists as type integer";
        for (status, text) in [
            (400, format!(r#"{{"error":"{conflict} dropped=2"}}"#)),
            (
                422,
                format!(
                    r#"{{"code":"unprocessable entity","message":"failure writing points to database: {conflict} dropped=2"}}"#
                ),
            ),
        ] {
            assert!(
                matches!(verdict(status, &text), Verdict::Refused(Refused::Some(_))),
                "{text}"
            );
        }
        let all = format!(r#"{{"error":"{conflict} dropped=4"}}"#);
        assert!(matches!(
            verdict(400, &all),
            Verdict::Refused(Refused::All(_))
        ));
    }

    #[test]
    fn influxdb_2_names_a_line_by_its_text_or_its_number() {
        let text = r#"{"code":"invalid","message":"unable to parse 'm a=x 2': invalid boolean"}"#;
        assert_eq!(
            lines(400, text),
            (vec![(1, "invalid boolean (status 400)".to_owned())], false)
        );
        let text = r#"{"code":"invalid","message":"failed to parse line protocol","op":"write","err":"x","line":4}"#;
        let (found, others) = lines(400, text);
        assert_eq!((found[0].0, others), (3, false));
    }

    #[test]
    fn influxdb_3_lists_lines_by_their_numbers() {
        let text = r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"m a=x 2","line_number":2,"error_message":"invalid column type for column 'a'"},{"original_line":"m a=y 4","line_number":4,"error_message":"no"}]}"#;
        let (found, others) = lines(400, text);
        assert_eq!(
            found,
            [
                (1, "invalid column type for column 'a'".to_owned()),
                (3, "no".to_owned())
            ]
        );
        assert!(others);
        assert_eq!(lines(201, text).0, found, "as older versions say it");
        let text = r#"{"error":"parsing failed for write_lp endpoint","data":{"original_line":"m a=x 2","line_number":2,"error_message":"No fields were provided"}}"#;
        assert_eq!(
            lines(400, text),
            (vec![(1, "No fields were provided".to_owned())], false)
        );
    }

    #[test]
    fn a_list_of_influxdb_3_that_is_full_says_nothing_of_the_others() {
        let many: Vec<String> = (0..200).map(|n| format!("m a={n} {n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let entries: Vec<String> = (1..=100)
            .map(|n| format!(r#"{{"line_number":{n},"error_message":"no"}}"#))
            .collect();
        let text = format!(
            r#"{{"error":"partial write","data":[{}]}}"#,
            entries.join(",")
        );
        match judge(&answer(400, &text), &body(&many), 0) {
            Verdict::Refused(Refused::Lines {
                lines,
                others_are_written,
            }) => {
                assert_eq!((lines.len(), others_are_written), (100, false));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn questdb_names_a_line_by_its_number() {
        let text = r#"{"code":"invalid","message":"failed to parse line protocol:errors encountered on line(s):\nerror in line 2: table: m, column: a; cast error","line":2,"errorId":"1-2"}"#;
        let (found, others) = lines(400, text);
        assert_eq!((found[0].0, others), (1, false), "it writes all or nothing");
    }

    #[test]
    fn what_names_no_line_is_to_be_halved() {
        assert!(matches!(
            verdict(400, "no"),
            Verdict::Refused(Refused::Some(_))
        ));
        let one = body(&["m a=x 2"]);
        assert!(matches!(
            judge(&answer(400, "no"), &one, 0),
            Verdict::Refused(Refused::All(_))
        ));
        assert!(matches!(
            verdict(400, r#"{"line":77}"#),
            Verdict::Refused(Refused::Some(_))
        ));
    }

    #[test]
    fn each_other_status_has_its_meaning() {
        assert_eq!(verdict(204, ""), Verdict::Accepted);
        assert_eq!(verdict(200, ""), Verdict::Accepted);
        assert!(matches!(verdict(401, ""), Verdict::Denied(_)));
        assert!(matches!(verdict(403, ""), Verdict::Denied(_)));
        assert!(
            matches!(verdict(404, r#"{"error":"database not found: \"lab\""}"#), Verdict::Denied(said) if said.contains("lab"))
        );
        assert!(matches!(
            verdict(500, r#"{"error":"retention policy not found: x"}"#),
            Verdict::Denied(_)
        ));
        assert!(matches!(
            verdict(400, r#"{"error":"database is required"}"#),
            Verdict::Denied(_)
        ));
        let plain = "Client sent an HTTP request to an HTTPS server.";
        assert!(
            matches!(verdict(400, plain), Verdict::Denied(_)),
            "no line is to blame"
        );
        assert!(matches!(verdict(413, ""), Verdict::TooLarge(_)));
        assert!(matches!(
            verdict(
                500,
                "engine: error writing WAL entry: no space left on device"
            ),
            Verdict::Failed(_)
        ));
        assert!(matches!(verdict(302, ""), Verdict::Denied(_)));
        assert_eq!(verdict(408, ""), Verdict::TimedOut);
        let page = Answer {
            content_type: Some("text/html; charset=utf-8".to_owned()),
            ..answer(200, "<html>")
        };
        assert!(matches!(judge(&page, &sent(), 0), Verdict::Denied(_)));
    }

    #[test]
    fn retry_after_is_understood_in_both_forms() {
        let busy = |text: &str| {
            let answer = Answer {
                retry_after: Some(text.to_owned()),
                ..answer(503, "later")
            };
            match judge(&answer, &sent(), 784_111_700) {
                Verdict::Busy { retry_after, .. } => retry_after,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(busy("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            busy("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(77))
        );
        assert_eq!(
            busy("Sun, 06 Nov 1993 08:49:37 GMT"),
            None,
            "not even a weekday"
        );
        assert_eq!(busy("Sat, 06 Nov 1993 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(busy("soon"), None);
        assert_eq!(busy("-5"), None);
    }

    proptest! {
        #[test]
        fn any_answer_has_a_verdict(status in 100_u16..600, text in ".{0,200}", open in any::<bool>()) {
            let text = if open { format!("partial write: unable to parse '{text}") } else { text };
            let verdict = judge(&answer(status, &text), &sent(), 0);
            if let Verdict::Refused(Refused::Lines { lines, .. }) = verdict {
                prop_assert!(!lines.is_empty() && lines.keys().all(|line| *line < 4));
            }
        }
    }
}
