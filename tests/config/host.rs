//! What is wanted of the host.

use kymo::config::parse;
use kymo::config::plan::Host;

use super::said;

const SOURCE: &str = "[source.s]\nlink = { type = \"stdin\" }\nprotocol = { type = \"lines\" }\nchannel = [{ name = \"a\" }]\n";

fn host(text: &str) -> Host {
    let text = format!("{text}\n{SOURCE}");
    let plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    plan.host
}

#[test]
fn nothing_is_wanted_of_the_host_unless_it_is_said() {
    assert_eq!(host(""), Host::default());
    assert_eq!(host("[host]\nrealtime = false"), Host::default());
    let wanted =
        "[host]\nrealtime = true\nlock_memory = true\nreader_cores = [0, 2]\nstage_cores = [1]";
    let expected = Host {
        realtime: true,
        lock_memory: true,
        reader_cores: vec![0, 2],
        stage_cores: vec![1],
    };
    assert_eq!(host(wanted), expected);
}

#[test]
fn all_mistakes_about_the_host_are_told_with_their_places() {
    let wrong = "[host]\nrealtime = 1\nreader_cores = []\nstage_cores = [0, 4096]\nlock = true\n";
    let said = said(&format!("{wrong}{SOURCE}"));
    for part in [
        "lab.toml:2:",
        "`host.realtime` must be true or false",
        "lab.toml:3:",
        "`host.reader_cores` is an empty list",
        "lab.toml:4:",
        "`host.stage_cores` is 4096, and must be 0 to 1023",
        "lab.toml:5:",
        "`lock_memory`",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}
