//! Rules tried on captures: the same as on the store.

use serde_json::Value;

use super::lab::{CHAMBER, FURNACE, expect_status, kymo, output, text};

const RULES: &str = r#"
[[rule]]
name = "pressed"
channel = "chamber.pressure"
above = 2
clear = 1.5
[[rule]]
name = "joined"
when = "mean(chamber.pressure, 5ms) > 2 bar and furnace.sample > -1000"
[[rule]]
name = "slow"
when = "furnace.sample > -1000"
for = "700ms"
"#;

fn told(args: &mut std::process::Command) -> Value {
    let said = output(args.arg("--json"));
    expect_status(&said, 0);
    serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{}", text(&said.stderr)))
}

#[test]
fn rules_over_a_capture_do_what_they_do_over_the_store() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (config, data) = (dir.path().join("lab.toml"), dir.path().join("data"));
    let capture = dir.path().join("a.mcap");
    std::fs::write(&config, format!("{CHAMBER}{FURNACE}{RULES}")).expect("a file");
    let run = output(
        kymo()
            .args(["record", "--duration", "6s", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(&data)
            .arg("--output")
            .arg(&capture),
    );
    expect_status(&run, 0);
    let test = || {
        let mut command = kymo();
        command.args(["rules", "test"]);
        command
    };
    let stored = told(
        test()
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(&data),
    );
    // By the configuration that is in the capture.
    let captured = told(test().arg("--capture").arg(&capture));
    for rule in ["pressed", "joined", "slow"] {
        assert!(
            captured["rules"][rule]["fired"].as_u64() >= Some(1),
            "{captured}"
        );
        assert_eq!(captured["rules"][rule], stored["rules"][rule]);
    }
    assert_eq!(captured["events"], stored["events"]);
    assert_eq!(
        captured,
        told(test().arg("--capture").arg(&capture)),
        "every time the same"
    );

    // By another, within a range that has nothing.
    let ahead = told(
        test()
            .args(["--from", "2090-01-01T00:00:00Z", "--config"])
            .arg(&config)
            .arg("--capture")
            .arg(&capture),
    );
    assert_eq!(
        (&ahead["samples"], &ahead["events"]),
        (&0.into(), &Value::Array(Vec::new()))
    );
    let plot = output(test().arg("--plot").arg("--capture").arg(&capture));
    expect_status(&plot, 0);
    let plot = text(&plot.stdout);
    assert!(
        plot.contains("chamber.pressure") && plot.contains('█'),
        "{plot}"
    );
    let both = output(
        test()
            .arg("--capture")
            .arg(&capture)
            .arg("--data-dir")
            .arg(&data),
    );
    expect_status(&both, 2);
    let none = output(test().arg("--capture").arg(dir.path().join("none.mcap")));
    expect_status(&none, 2);
}
