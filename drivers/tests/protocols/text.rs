//! Text lines: what is particular to them.

use kymo_drivers::block::GapReason;
use kymo_drivers::protocol::Options;
use kymo_drivers::protocol::lines::Form;

use crate::common::{Decoded, Feed, Lost, Row, whole};
use crate::kinds::{LINE_MAX, text};

fn separated(separator: &str) -> Options {
    text(Form::Separated {
        separator: separator.to_owned(),
    })
}

fn key_value(separator: &str, assign: char) -> Options {
    text(Form::KeyValue {
        separator: separator.to_owned(),
        assign,
    })
}

fn decode(options: &Options, bytes: &[u8]) -> Decoded {
    whole(options.build().unwrap(), bytes)
}

/// Each of these lines is a frame of 1, 2, 3.
fn assert_good(options: &Options, lines: &[&str]) {
    for line in lines {
        let decoded = decode(options, format!("{line}\n").as_bytes());
        assert_eq!(decoded.rows, [Row(vec![1.0, 2.0, 3.0])], "{line:?}");
        assert_eq!(decoded.tally, Default::default(), "{line:?}");
    }
}

/// Each of these lines is corrupt, once.
fn assert_corrupt(options: &Options, lines: &[&[u8]]) {
    for line in lines {
        let shown = line.escape_ascii();
        let decoded = decode(options, &[line, &b"\n"[..]].concat());
        assert_eq!(decoded.rows, [], "{shown}");
        assert_eq!(decoded.tally.corrupt_frames, 1, "{shown}");
        assert_eq!(decoded.tally.skipped_bytes, 0, "{shown}");
        assert_eq!(decoded.pending, 0, "{shown}");
    }
}

#[test]
fn numbers_have_many_forms() {
    let cases = [
        ("0", 0.0),
        ("-0", -0.0),
        ("+7", 7.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.25e3", -1250.0),
        ("6E-2", 0.06),
        ("0.1", 0.1),
        ("1e400", f64::INFINITY),
        ("1e-400", 0.0),
        ("inf", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("INF", f64::INFINITY),
        ("9007199254740993", 9_007_199_254_740_992.0),
        (
            "123456789012345678901234567890",
            123_456_789_012_345_678_901_234_567_890.0,
        ),
    ];
    for (written, value) in cases {
        let decoded = decode(&separated(","), format!("1,{written},3\n").as_bytes());
        assert_eq!(decoded.rows, [Row(vec![1.0, value, 3.0])], "{written}");
    }
    for nan in ["nan", "NaN", "NAN"] {
        for options in [separated(","), key_value(" ", '=')] {
            let decoded = decode(&options, format!("{nan},{nan},{nan}\n").as_bytes());
            let by_key = decode(&options, format!("x={nan} y={nan} z={nan}\n").as_bytes());
            let rows = [decoded.rows, by_key.rows].concat();
            assert_eq!(rows.len(), 1, "{nan}");
            assert!(rows[0].0.iter().all(|value| value.is_nan()), "{nan}");
        }
    }
}

#[test]
fn what_is_no_number_is_corrupt() {
    let wrong: [&[u8]; 12] = [
        b"1,,3",
        b"1,x,3",
        b"1,0x10,3",
        b"1,1_000,3",
        b"1,1 000,3",
        b"1,2e,3",
        b"1,--2,3",
        b"1,nano,3",
        b"1,\xFF,3",
        b"1,\xD9\xA2,3",
        b"1,2\0,3",
        b"OK",
    ];
    assert_corrupt(&separated(","), &wrong);
}

#[test]
fn a_wrong_number_of_columns_is_corrupt() {
    assert_corrupt(
        &separated(","),
        &[b"1", b"1,2", b"1,2,3,", b"1,2,3,4", b",1,2,3", b",,"],
    );
    assert_corrupt(&separated(" "), &[b"1 2", b"1 2 3 4"]);
    assert_corrupt(
        &separated("::"),
        &[b"1::2", b"1::2::3::4", b"1:2:3", b"1::2:::3"],
    );
}

#[test]
fn spaces_around_values_do_not_matter() {
    assert_good(
        &separated(","),
        &["1,2,3", " 1 ,\t2,  3 ", "1,2,3\r", "\t1,2,3 \r"],
    );
    assert_good(&separated(";"), &["1;2;3", "1 ; 2 ; 3"]);
    assert_good(
        &separated(" "),
        &["1 2 3", "  1   2\t\t3  ", "1\t2\t3\r", "1 \t 2 3"],
    );
    assert_good(&separated("::"), &["1::2::3", "1 :: 2 ::3"]);
    assert_good(&separated(" | "), &["1 | 2 | 3"]);
    assert_good(&separated("→"), &["1→2→3"]);
}

#[test]
fn a_tab_that_parts_values_is_no_space_around_them() {
    let tabs = separated("\t");
    assert_good(&tabs, &["1\t2\t3", " 1 \t 2\t3 \r"]);
    // A first value left out must not shift the others into the wrong channels.
    assert_corrupt(&tabs, &[b"\t1\t2\t3", b"1\t2\t3\t", b"1\t\t3", b"1\t2\t"]);
}

#[test]
fn keys_may_come_in_any_order_among_others() {
    let pairs = key_value(" ", '=');
    assert_good(
        &pairs,
        &[
            "x=1 y=2 z=3",
            "z=3\tx=1  y=2",
            "t=99 x=1 state=ok y=2 z=3 end",
            "x=1 y=2 z=3\r",
        ],
    );
    assert_good(
        &key_value(",", ':'),
        &["x:1,y:2,z:3", " x : 1 , y: 2,z :3", "x:1,y:2,z:3,"],
    );
    assert_good(&key_value("; ", '='), &["x=1; y=2; z=3"]);
    assert_good(&key_value(",", ' '), &["x 1,y 2,z 3", "x 1, y 2, z  3"]);
    assert_corrupt(
        &pairs,
        &[
            b"x=1 y=2",
            b"x=1 y=2 z=",
            b"x=1 y=2 z=q",
            b"X=1 y=2 z=3",
            b"x=1 y=2 z=3 x=1",
            b"x=1 y=2 z=3=4",
            b"x=1 y=2 z=3 t=\xFF",
        ],
    );
}

#[test]
fn a_value_of_the_line_before_does_not_stay() {
    let decoded = decode(&key_value(" ", '='), b"x=1 y=2 z=3\nx=4 y=5\nx=6 y=7 z=8\n");
    assert_eq!(
        decoded.rows,
        [Row(vec![1.0, 2.0, 3.0]), Row(vec![6.0, 7.0, 8.0])]
    );
}

#[test]
fn a_pattern_takes_its_groups() {
    let pattern = |pattern: &str| {
        text(Form::Pattern {
            pattern: pattern.to_owned(),
        })
    };
    let anywhere = pattern(r"(?<z>\d+)C (?<x>\d+)V (?<y>\d+)A");
    assert_good(&anywhere, &["3C 1V 2A", "at 12:00 3C 1V 2A ok\r"]);
    assert_corrupt(&anywhere, &[b"3C 1V", b"nothing", b"3C 1V 2A \xFF"]);
    // A group that took no part, and one that holds no number.
    let optional = pattern(r"^(?<x>\d+)(,(?<y>\w+))?,(?<z>\d+);$");
    assert_good(&optional, &["1,2,3;"]);
    assert_corrupt(&optional, &[b"1,3;", b"1,two,3;"]);
}

#[test]
fn comments_and_empty_lines_are_passed_over() {
    let bytes = b"# header\n\n  \r\n\t# 1,2,3\n#\xFF\n1,2,3\n#\n\r\n4,5,6\n";
    let decoded = decode(&separated(","), bytes);
    assert_eq!(
        decoded.rows,
        [Row(vec![1.0, 2.0, 3.0]), Row(vec![4.0, 5.0, 6.0])]
    );
    assert_eq!(decoded.losses, []);
    assert_eq!(decoded.tally, Default::default());
}

#[test]
fn without_a_mark_no_line_is_a_comment() {
    let mut options = separated(",");
    if let Options::Lines(lines) = &mut options {
        lines.comment = None;
    }
    assert_corrupt(&options, &[b"# 1,2,3"]);
}

#[test]
fn a_first_line_that_may_be_cut_is_skipped() {
    let bytes = b"23,2,3\n4,5,6\n";
    let mut options = separated(",");
    assert_eq!(decode(&options, bytes).rows.len(), 2);
    if let Options::Lines(lines) = &mut options {
        lines.first_line_whole = false;
    }
    let decoded = decode(&options, bytes);
    assert_eq!(decoded.rows, [Row(vec![4.0, 5.0, 6.0])]);
    assert_eq!(decoded.tally.skipped_bytes, 7);
    assert_eq!(decoded.tally.corrupt_frames, 0);
    assert_eq!(decoded.losses, []);

    // And again after the link was opened anew.
    let mut feed = Feed::new(options.build().unwrap(), 9);
    feed.feed(bytes);
    feed.reset();
    feed.feed(bytes);
    assert_eq!(feed.decoded.rows.len(), 2);
    assert_eq!(feed.decoded.tally.skipped_bytes, 14);
}

#[test]
fn a_corrupt_line_is_a_loss_at_its_place() {
    let decoded = decode(
        &separated(","),
        b"bad\n1,2,3\n4,5,6\nbad\n# no\n4,5\n7,8,9\nbad\n",
    );
    assert_eq!(decoded.rows.len(), 3);
    let lost = Lost {
        before: 2,
        frames: Some(2),
        reason: GapReason::Corrupt,
    };
    assert_eq!(decoded.losses, [lost]);
    assert_eq!(decoded.tally.corrupt_frames, 4);
    assert_eq!(decoded.tally.lost_frames, 0);
}

#[test]
fn a_megabyte_in_one_line_is_corrupt_once() {
    let options = separated(",");
    let good = b"1,2,3\n";
    let long = vec![b'7'; 1 << 20];
    let bytes = [good, &long[..], b"\n", good].concat();
    let at_once = decode(&options, &bytes);
    let mut feed = Feed::new(options.build().unwrap(), 4);
    for piece in bytes.chunks(4096) {
        feed.feed(piece);
        assert!(feed.decoded.pending <= LINE_MAX);
    }
    assert_eq!(feed.decoded, at_once);
    assert_eq!(at_once.rows.len(), 2);
    assert_eq!(at_once.tally.corrupt_frames, 1);
    assert_eq!(at_once.tally.skipped_bytes, 0);
    assert_eq!(at_once.losses[0].frames, Some(1));
}

#[test]
fn the_longest_line_is_taken_and_one_byte_more_is_not() {
    let line = |length: usize| format!("{:>width$}", "1,2,3", width = length);
    assert_good(&separated(","), &[&line(LINE_MAX)]);
    assert_corrupt(&separated(","), &[line(LINE_MAX + 1).as_bytes()]);
    assert_corrupt(
        &separated(","),
        &[format!("#{}", line(LINE_MAX)).as_bytes()],
    );
}
