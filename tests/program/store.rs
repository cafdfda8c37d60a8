//! The store on a disk that is too small.

use std::fs;

use kymo_simulators::expected;

use super::disk::with_file_system;
use super::lab::{json, output, text};

/// The vibration sensor alone would fill the disk several times over. The journal's passed segments go, then the
/// least urgent data; the interlock loses nothing.
#[test]
fn on_a_full_disk_the_least_urgent_data_make_room_for_the_others() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (small, report) = (dir.path().join("small"), dir.path().join("report.json"));
    let (config, csv) = (dir.path().join("lab.toml"), dir.path().join("chamber.csv"));
    let shipped = include_str!("../../config.toml")
        .replace("64MiB", "4MiB")
        .replace("rate_hz = 100_000", "rate_hz = 400_000")
        .replace(
            "device = \"vibration-sensor\"",
            "device = \"vibration-sensor\"\nrate_hz = 400_000",
        );
    let store = "\n[store]\nsegment_age = \"1s\"\njournal_age = \"0s\"\n";
    fs::write(&config, shipped + store).expect("a file");
    let script = format!(
        "{kymo} run --no-serve --config {config} --duration 300s --data-dir {small}/data --report {report} & \
         until [ -e {small}/data/store/*/removed.jsonl ] || ! kill -0 $! 2>/dev/null; do sleep 0.2; done; \
         sleep 2; kill -INT $!; wait $!; echo status $?; \
         {kymo} export chamber.pressure --data-dir {small}/data -o {csv}; \
         {kymo} journal verify --data-dir {small}/data",
        kymo = env!("CARGO_BIN_EXE_kymo"),
        config = config.display(),
        small = small.display(),
        report = report.display(),
        csv = csv.display(),
    );
    let Some(mut command) = with_file_system(&small, "size=36m", &script) else {
        return;
    };
    let told = output(&mut command);
    let stdout = text(&told.stdout);
    assert!(
        stdout.contains("\nstatus 0\n"),
        "{stdout}\n{}",
        text(&told.stderr)
    );
    assert!(stdout.contains("all sound"), "{stdout}");
    let report = json(&report);
    assert_eq!(report["ledger"]["balanced"], true, "{report}");
    assert!(
        report["store"]["removed_samples"].as_u64() > Some(10_000),
        "{report}"
    );
    let chamber = &report["sources"]["chamber"];
    assert_eq!(chamber["journaled"], chamber["samples"], "{report}");
    // Every sample of the interlock is there, in order.
    let csv = fs::read_to_string(csv).expect("the export");
    let values = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(1).unwrap_or_default());
    let mut count = 0;
    for (index, value) in (0..).zip(values) {
        let truth = expected("pressure-interlock", 0, index, 1000.0, 0).expect("a channel");
        assert_eq!(value.parse(), Ok(truth), "{index}");
        count += 1;
    }
    assert_eq!(chamber["samples"].as_u64(), Some(count));
}
