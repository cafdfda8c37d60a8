//! All mistakes at once: what is wrong with one key hides nothing of the others.

use super::said;

const SOURCE: &str = r#"
[source.a]
link = { type = "serial", path = "/dev/ttyS0", baud = 9600 }
protocol = { type = "lines" }
[[source.a.channel]]
name = "x"
"#;

#[test]
fn a_wrong_kind_hides_no_other_mistake() {
    let text = format!(
        "{SOURCE}{}",
        r#"
[[rule]]
name = "slope"
channel = "a.x"
kind = "trend"
within = "soon"
above = 3
severity = "bad"

[notifier.hook]
type = "web"
url = "http://127.0.0.1/"
severity = "worse"
on = ["fried"]
give_up = "never"
"#
    );
    insta::assert_snapshot!(said(&text));
}

#[test]
fn more_windows_than_a_source_can_have_lanes_are_too_many() {
    let windows: String = (1..=255)
        .map(|ms| {
            format!(
                "[[window]]\nchannels = [\"a.x\"]\nlength = \"{ms}ms\"\nstatistics = [\"mean\"]\n"
            )
        })
        .collect();
    insta::assert_snapshot!(said(&format!("{SOURCE}{windows}")));
}
