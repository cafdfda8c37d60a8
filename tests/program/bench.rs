//! Every benchmark, for a moment: that it runs, checks its own answer, and says what scripts rely on.

use serde_json::Value;

use super::lab::{expect_status, kymo, output};

/// All of them at once, as a release's figures are made: what each says, and the page.
fn all() -> (Vec<Value>, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let page = folder.path().join("BENCHMARKS.md");
    std::fs::write(&page, "# Speed\n\nWhy.\n").expect("it is written");
    let mut command = kymo();
    command.args(["bench", "all", "--json", "--repeat", "1"]);
    command.args(["--duration", "60ms", "--size", "1MiB"]);
    command.arg("--data-dir").arg(&data);
    command.arg("--output").arg(&page);
    let output = output(&mut command);
    expect_status(&output, 0);
    let left: Vec<_> = std::fs::read_dir(&data).expect("the folder").collect();
    assert!(left.is_empty(), "something was left behind: {left:?}");
    let found = serde_json::from_slice(&output.stdout).expect("it is JSON");
    (found, std::fs::read_to_string(page).expect("the page"))
}

fn rows(found: &Value) -> Vec<&str> {
    let rows = found["rows"].as_array().expect("rows");
    rows.iter().filter_map(|row| row["name"].as_str()).collect()
}

fn is_above_zero(value: &Value) -> bool {
    value.as_f64().is_some_and(|value| value > 0.0)
}

#[test]
fn every_benchmark_checks_its_answer_and_stands_on_the_page() {
    let (all, page) = all();
    let names = [
        "architectures",
        "decode",
        "idle",
        "interlock",
        "isolation",
        "latency",
        "memory",
        "record",
        "scale",
        "serial",
        "sink",
        "store",
    ];
    assert!(page.starts_with("# Speed\n\nWhy.\n"), "{page}");
    assert_eq!(all.len(), names.len());
    for name in names {
        let found = all.iter().find(|found| found["bench"] == name);
        let found = found.unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(found["balanced"], true, "{found:#}");
        assert!(found["limit"]["what"].is_string(), "{found:#}");
        assert!(is_above_zero(&found["ratio"]), "{found:#}");
        assert!(is_above_zero(&found["rss_bytes"]), "{found:#}");
        assert!(page.contains(&format!("\n| `{name}` | ")), "{page}");
        match name {
            "memory" | "record" | "serial" | "store" => {
                assert!(is_above_zero(&found["samples_per_s"]), "{found:#}");
            }
            "latency" => {
                assert!(is_above_zero(&found["latency_us"]["p99"]), "{found:#}");
                let expected = [
                    "as it comes",
                    "in real time, memory locked",
                    "the same, and pinned",
                    "critical",
                    "high",
                    "normal",
                    "bulk",
                ];
                assert_eq!(rows(found), expected);
            }
            "isolation" => {
                let expected = [
                    "idle",
                    "flooded",
                    "busy disk",
                    "idle, in real time",
                    "flooded, in real time",
                    "busy disk, in real time",
                ];
                assert_eq!(rows(found), expected);
            }
            "decode" => assert_eq!(rows(found), ["binary", "text"]),
            "idle" => assert!(is_above_zero(&found["rows"][0]["wake-ups/s"]), "{found:#}"),
            "architectures" => assert_eq!(rows(found).len(), 6),
            "scale" => {
                assert!(rows(found).contains(&"1000 ports"), "{found:#}");
                assert!(rows(found).contains(&"100000 channels"), "{found:#}");
            }
            _ => {}
        }
    }
}

#[test]
fn one_benchmark_says_what_it_did_on_which_machine_against_which_limit() {
    let mut command = kymo();
    command.args(["bench", "memory", "--duration", "60ms", "--repeat", "2"]);
    let output = output(&mut command);
    expect_status(&output, 0);
    let text = String::from_utf8(output.stdout).expect("it is text");
    for part in [
        "memory: one generator",
        "\non ",
        "\nkymo ",
        "\nlimit ",
        "\nratio ",
        "ledger balanced",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn a_benchmark_that_cannot_write_its_data_says_so_and_fails() {
    let mut command = kymo();
    command.args(["bench", "serial", "--data-dir", "/proc/no-such-folder"]);
    expect_status(&output(&mut command), 1);
}
