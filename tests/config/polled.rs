//! Devices that are asked.

use kymo::config::parse;

#[test]
fn a_protocol_that_asks_is_refused_over_a_link_that_carries_one_way() {
    let text = r#"
[source.bus]
link = { type = "fifo", path = "/run/bus" }
[source.bus.protocol]
type = "modbus"
cycle = "1s"
[[source.bus.channel]]
name = "word"
register = { unit = 1, at = 7 }
"#;
    let said = parse("lab.toml", text).expect_err("nothing can be asked over a FIFO");
    let said = said.to_string();
    assert!(
        said.contains("nothing can be sent over FIFO /run/bus"),
        "{said}"
    );
    assert_eq!(
        said.matches("error").count(),
        2,
        "one mistake, and their sum: {said}"
    );
}
