//! `keep`: what is written down of a source.

use std::time::Duration;

use kymo::config::parse;
use kymo::config::plan::RawKeep;

use super::said;

const SOURCE: &str = r#"
link = { type = "serial", path = "/dev/ttyS0", baud = 9600 }
protocol = { type = "lines" }
[[source.S.channel]]
name = "x"
"#;

fn source(name: &str, keep: &str) -> String {
    format!(
        "[source.{name}]\n{keep}\n{}",
        SOURCE.replace(".S.", &format!(".{name}."))
    )
}

#[test]
fn a_source_keeps_what_it_says() {
    let text = source("a", "")
        + &source("b", "keep = \"windows\"")
        + &source(
            "c",
            "rate_hz = 10\nkeep = { age = \"1h\", around_alerts = { before = \"5s\", after = \"1s\" } }",
        )
        + "[[window]]\nchannels = [\"b.x\"]\nlength = \"1s\"\nstatistics = [\"mean\"]\n"
        + "[[rule]]\nname = \"other\"\nchannel = \"a.x\"\nabove = 1\n[[rule]]\nname = \"own\"\nwhen = \"a.x > c.x\"\n";
    let plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(plan.sources[0].keep.raw, RawKeep::All);
    assert_eq!(plan.sources[1].keep.raw, RawKeep::Nothing);
    assert!(plan.sources[1].keep.windows);
    let around = RawKeep::Around {
        before: Duration::from_secs(5),
        after: Duration::from_secs(1),
        rules: vec![1],
    };
    assert_eq!(plan.sources[2].keep.raw, around);
    let limits = &plan.store.expect("a store").limits;
    assert_eq!(limits[0].0, "c");
    assert_eq!(limits[0].1.age, Some(Duration::from_secs(3600)));
}

#[test]
fn what_cannot_be_kept_is_said() {
    let around =
        |rest: &str| format!("around_alerts = {{ before = \"1h\", after = \"1s\"{rest} }}");
    let text = source("a", "keep = \"nothing\"")
        + &source("b", "keep = \"windows\"")
        + &source(
            "c",
            &format!("keep = {{ what = \"windows\", {} }}", around("")),
        )
        + &source("d", &format!("rate_hz = 1e6\nkeep = {{ {} }}", around("")))
        + &source(
            "e",
            &format!(
                "rate_hz = 1\nkeep = {{ {} }}",
                around(", rules = [\"hit\"], more = 1")
            ),
        )
        + &source("f", "keep = { around_alerts = { before = \"2h\" } }")
        + "[[rule]]\nname = \"hot\"\nchannel = \"d.x\"\nabove = 1\n";
    insta::assert_snapshot!(said(&text));
}
