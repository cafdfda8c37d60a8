//! What can be declared of a line protocol.

use crate::protocol::OptionsError;

/// How a line holds its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Values in the order of the channels, parted by this separator; spaces around values are ignored.
    Separated {
        /// Between values; `" "` means any run of spaces and tabs.
        separator: String,
    },
    /// `key=value` pairs in any order, one key a channel, other keys ignored.
    KeyValue {
        /// Between pairs; `" "` means any run of spaces and tabs.
        separator: String,
        /// Between key and value, `=` by default.
        assign: char,
    },
    /// Values in the order that a header line names; columns that are no channel hold anything.
    Columns {
        /// Between values, and between names; `" "` means any run of spaces and tabs.
        separator: String,
    },
    /// JSON, RFC 8259: one text a line. Keys are paths, as in `imu.accel[0]`; what no path leads to is passed over.
    Json,
    /// A regular expression with one named group a channel; a line that does not match is corrupt.
    Pattern {
        /// The expression, in the syntax of the `regex` crate.
        pattern: String,
    },
}

/// A unit that stands behind a number in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suffix {
    /// It must stand there; another makes the line corrupt.
    pub unit: String,
    /// It may have an SI prefix, from `f` to `T`: the value is then converted, so that with the unit `V` the text
    /// `5 mV` is 0.005.
    pub prefixes: bool,
}

/// A text protocol: one line, one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How a line holds its values.
    pub form: Form,
    /// What each channel is called on the wire, in channel order: the key, or the group's name.
    pub keys: Vec<String>,
    /// What stands behind each channel's number, in channel order; none for those beyond the list.
    pub suffixes: Vec<Option<Suffix>>,
    /// Numbers have a comma where others have a point.
    pub decimal_comma: bool,
    /// A line that starts with this is a comment: skipped, and counted neither as a frame nor as corrupt.
    pub comment: Option<String>,
    /// Whether the first line after the link was opened is known to be whole. If not, what stands
    /// before the first line end is skipped: a number cut at its front is still a number, and a wrong one.
    pub first_line_whole: bool,
    /// The longest line taken, in bytes; a longer one is corrupt and skipped to its end.
    pub line_bytes_max: usize,
}

/// Long enough for any instrument known to the authors, short enough that rubbish without a line
/// end is given up quickly.
pub const LINE_BYTES_MAX_DEFAULT: usize = 4096;

/// The longest line that can be asked for: the reader's buffer holds one.
pub const LINE_BYTES_MAX_LIMIT: usize = 1 << 20;

impl Options {
    /// Mistakes in what does not concern the values.
    pub(super) fn mistakes(&self) -> Vec<OptionsError> {
        let mut mistakes = Vec::new();
        let mut mistake = |part: &str, what: String| {
            mistakes.push(OptionsError {
                part: part.to_owned(),
                what,
            });
        };
        if let Some(mark) = &self.comment {
            if mark.is_empty() {
                mistake(
                    "comment",
                    "nothing marks every line as a comment".to_owned(),
                );
            } else if mark.contains('\n') || mark.trim_ascii_start() != mark {
                let what = "no line starts with it: spaces around a line are left out";
                mistake("comment", what.to_owned());
            }
        }
        for (index, suffix) in self.suffixes.iter().enumerate() {
            let Some(Suffix { unit, .. }) = suffix else {
                continue;
            };
            let number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '+' | '-');
            if unit.is_empty() || unit.trim_ascii() != unit || unit.contains('\n') {
                let what = format!("no number can have the unit {unit:?} behind it");
                mistake(&format!("field {index}"), what);
            } else if unit.starts_with(number) {
                let what = format!("the unit `{unit}` begins like a number");
                mistake(&format!("field {index}"), what);
            }
        }
        if !(1..=LINE_BYTES_MAX_LIMIT).contains(&self.line_bytes_max) {
            let what = format!(
                "{} bytes: a line may be 1 to {LINE_BYTES_MAX_LIMIT} bytes long",
                self.line_bytes_max
            );
            mistake("line_max", what);
        }
        mistakes
    }
}
