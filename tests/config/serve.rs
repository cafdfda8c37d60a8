//! `[serve]`: to whom the live page is shown.

use kymo::config::parse;
use kymo::serve::{Options, Token};

use super::said;

const SOURCE: &str = r#"
[source.a]
link = { type = "serial", path = "/dev/ttyS0", baud = 9600 }
protocol = { type = "lines" }
[[source.a.channel]]
name = "x"
"#;

#[track_caller]
fn options(serve: &str) -> Option<Options> {
    let text = format!("{serve}\n{SOURCE}");
    let plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    plan.serve
}

fn wrong(serve: &str) -> String {
    said(&format!("{serve}\n{SOURCE}"))
}

#[test]
fn without_a_word_the_page_is_on_loopback_alone() {
    let options = options("").expect("a page");
    assert_eq!(options, Options::default());
    assert!(options.listen.ip().is_loopback());
    assert_eq!(options.listen.port(), 7777);
    assert!(!options.is_wanted, "that the port is taken ends no run");
}

#[test]
fn the_page_can_be_off() {
    assert_eq!(options("[serve]\nenabled = false"), None);
    let open = "[serve]\nenabled = false\nlisten = \"0.0.0.0:80\"";
    assert_eq!(options(open), None, "what is off reaches nobody");
}

#[test]
fn a_page_for_others_has_tokens_names_and_a_certificate() {
    let options = options(
        "[serve]\nlisten = \"0.0.0.0:8443\"\nreader = { env = \"LOOK\" }\noperator = { file = \"/etc/kymo/token\" }\n\
         tls = { certificate = \"c.pem\", key = \"k.pem\" }\nhosts = [\"Lab7.example\"]\nclients = 5",
    )
    .expect("a page");
    assert!(options.is_wanted);
    assert_eq!(options.reader, Some(Token::Env("LOOK".to_owned())));
    assert_eq!(
        options.operator,
        Some(Token::File("/etc/kymo/token".into()))
    );
    assert_eq!(options.hosts, ["lab7.example"]);
    assert_eq!(options.clients_max, 5);
    let tls = options.tls.expect("certificate and key");
    assert_eq!(tls.key, std::path::PathBuf::from("k.pem"));
}

#[test]
fn a_page_that_others_reach_without_a_token_is_refused_with_its_line() {
    for listen in ["0.0.0.0:7777", "[::]:7777", "192.168.1.20:7777"] {
        let said = wrong(&format!("[serve]\nlisten = \"{listen}\""));
        assert!(said.contains("lab.toml:2:10"), "{said}");
        assert!(said.contains("there is no token"), "{said}");
    }
    for listen in ["127.0.0.1:0", "127.1.2.3:80", "[::1]:7777"] {
        assert!(options(&format!("[serve]\nlisten = \"{listen}\"")).is_some());
    }
}

#[test]
fn every_mistake_of_the_page_is_told_at_once() {
    insta::assert_snapshot!(wrong(
        "[serve]\nenabled = 1\nlisten = \"localhost\"\nreader = \"secret\"\noperator = { file = \"a\", env = \"B\" }\n\
         tls = { certificate = \"c.pem\" }\nhosts = [\"http://lab7:80\"]\nclients = 0\ntoken = { env = \"A\" }"
    ));
}
