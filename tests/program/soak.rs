//! A short soak, as a user runs it.

use serde_json::Value;

use super::lab::{expect_status, kymo, output, text};

#[test]
fn a_soak_of_three_seconds_finds_everything_in_its_place() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let folder = dir.path().join("soak");
    let mut command = kymo();
    command.args([
        "soak",
        "--duration",
        "3s",
        "--seed",
        "7",
        "--json",
        "--data-dir",
    ]);
    let soaked = output(command.arg(&folder));
    expect_status(&soaked, 0);
    let outcome: Value = serde_json::from_slice(&soaked.stdout).expect("JSON");
    assert_eq!(outcome["passed"], true);
    assert_eq!(
        (&outcome["seed"], &outcome["balanced"]),
        (&7.into(), &true.into())
    );
    assert!(outcome["faults"].as_u64() > Some(50), "{outcome}");
    assert!(outcome["rows"].as_u64() > Some(10_000), "{outcome}");
    assert_eq!(outcome["rows"], outcome["store_rows"]);
    let sources = outcome["sources"].as_object().expect("sources");
    assert_eq!(sources.len(), 6);
    for (name, source) in sources {
        let frames = &source["frames"];
        let came = frames["arrived"]
            .as_u64()
            .zip(frames["hit_and_arrived"].as_u64());
        assert!(
            came.is_some_and(|(whole, hit)| whole + hit > 0),
            "{name}: {source}"
        );
    }
    assert!(text(&soaked.stderr).contains("seed 7"));
    // It wants a folder of its own, and touches no other.
    let mut again = kymo();
    again.args(["soak", "--duration", "1s", "--data-dir"]);
    let refused = output(again.arg(&folder));
    expect_status(&refused, 2);
    assert!(text(&refused.stderr).contains("is not an empty folder"));
}
