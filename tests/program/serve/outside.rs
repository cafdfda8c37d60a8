//! Programs of others that judge what is served: `promtool` the figures, `schemathesis` the API by its description.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::client::{ask, get};
use super::{SERVE, start};
use crate::lab::{python_with, text, wait_until};

/// A program that may be missing where nobody asks for it.
fn found(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(name).is_file()) {
        return true;
    }
    let is_required = std::env::var("KYMO_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(!is_required, "there is no {name}");
    #[allow(clippy::print_stderr)]
    {
        eprintln!("skipped: there is no {name}");
    }
    false
}

#[test]
fn promtool_finds_nothing_amiss_in_the_figures() {
    if !found("promtool") {
        return;
    }
    let (lab, address) = start(SERVE);
    wait_until("the chamber sends", || lab.frames(0) > 500);
    let metrics = get(address, "/metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = promtool.stdin.take().expect("its input");
    stdin.write_all(&metrics.body).expect("it reads");
    drop(stdin);
    let said = promtool.wait_with_output().expect("it ends");
    assert!(
        said.status.success(),
        "{}{}\n{}",
        text(&said.stdout),
        text(&said.stderr),
        metrics.text()
    );
    assert!(
        said.stderr.is_empty() && said.stdout.is_empty(),
        "{}{}",
        text(&said.stdout),
        text(&said.stderr)
    );
    let value = |name: &str| {
        let all = metrics.text();
        let line = all
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name} in\n{all}"))
            .to_owned();
        line.rsplit(' ')
            .next()
            .and_then(|value| value.parse::<f64>().ok())
            .expect("a number")
    };
    assert!(value("kymo_source_samples_total{source=\"chamber\"}") >= 500.0);
    assert!(value("kymo_latency_seconds_count{path=\"read_to_journal\"}") > 0.0);
    assert!((value("kymo_ledger_balanced") - 1.0).abs() < 1e-9);
    assert!((value("kymo_alert_active{rule=\"there\"") - 1.0).abs() < 1e-9);
    let open = [(
        "Accept",
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    )];
    let open = ask(address, "GET", "/metrics", &open, b"");
    assert!(
        open.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(open.text().ends_with("# EOF\n"));
    lab.stop();
}

#[test]
fn the_api_is_as_it_is_described_whatever_it_is_asked() {
    let Some(python) = python_with("schemathesis") else {
        return;
    };
    let (lab, address) = start(SERVE);
    wait_until("every device has sent something", || {
        get(address, "/ready").status == 200
    });
    let schemathesis = Path::new(&python).with_file_name("schemathesis");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let said = Command::new(schemathesis)
        .current_dir(dir.path())
        .args(["run", "--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--seed", "1", "--no-shrink"])
        .args(["--request-timeout", "20", "--warnings", "off", "--no-color"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
             negative_data_rejection,unsupported_method",
        ])
        .arg(format!("http://{address}/api/openapi.json"))
        .output()
        .expect("schemathesis starts");
    assert!(
        said.status.success(),
        "{}\n{}",
        text(&said.stdout),
        text(&said.stderr)
    );
    assert_eq!(get(address, "/health").status, 200);
    lab.stop();
}
