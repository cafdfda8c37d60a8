//! `kymo sink`, and a Kymo that has no sink.

use crate::lab::{CHAMBER, expect_status, kymo, output, text};
use crate::scripted::{Reply, Server};
use crate::truth::{Place, configuration, kill};

#[test]
fn without_a_sink_nothing_touches_the_network() {
    let place = Place::new(&format!("[serve]\nenabled = false\n{CHAMBER}"));
    let run = place.run();
    crate::lab::wait_until("it records", || {
        crate::lab::journal_of(&place.data()).exists()
    });
    std::thread::park_timeout(std::time::Duration::from_millis(800));
    let links = std::fs::read_dir(format!("/proc/{}/fd", run.id())).expect("its descriptors");
    // The run's own socket, by which its user gives orders, is a file and no network.
    let of_network: String = ["tcp", "tcp6", "udp", "udp6", "raw"]
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{}/net/{table}", run.id())).ok())
        .collect();
    let sockets: Vec<String> = links
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .filter(|inode| of_network.split_whitespace().any(|field| field == inode))
        .collect();
    kill(run);
    assert!(sockets.is_empty(), "{sockets:?}");
    assert!(!place.data().join("sinks").exists());
}

#[test]
fn the_status_of_a_run_elsewhere_is_shown() {
    let server = Server::good();
    let place = Place::new(&configuration(&format!(
        "url = \"{}\"\ndatabase = \"lab\"\ndialect = \"v1\"",
        server.url()
    )));
    let run = place.run();
    crate::lab::wait_until("the sink sends, and its cursor moves", || {
        let status = place.status();
        let sink = &status["sinks"]["lab"];
        status["running"] == true
            && sink["state"] == "sending"
            && sink["samples_per_s"].as_f64() > Some(10.0)
            && sink["kept_from"].as_u64() > Some(1)
    });
    server.behave(|_| Reply::say(403, "{\"error\":\"write is not allowed\"}"));
    place.wait_for("it is denied", |status| status["state"] == "denied");
    let mut command = kymo();
    command
        .args(["sink", "status", "--data-dir"])
        .arg(place.data());
    let told = output(&mut command);
    expect_status(&told, 0);
    let told = text(&told.stdout);
    assert!(
        told.starts_with("lab: denied, to `lab` at http://127.0.0.1"),
        "{told}"
    );
    assert!(
        told.contains("it does not let us write: write is not allowed (status 403)"),
        "{told}"
    );
    kill(run);
}

#[test]
fn a_sink_that_is_gone_is_told_and_can_be_let_go() {
    let server = Server::good();
    let place = Place::new(&configuration(&format!(
        "url = \"{}\"\ndatabase = \"lab\"\ndialect = \"v1\"",
        server.url()
    )));
    place.run_for("500ms");
    std::fs::write(place.config(), CHAMBER).expect("a file");
    let report = place.run_for("300ms");
    let said = report["recovery"].to_string();
    assert!(
        said.contains("`kymo sink forget lab` lets go of it"),
        "{report}"
    );
    let forget = |name: &str| {
        let mut command = kymo();
        command
            .args(["sink", "forget", name, "--data-dir"])
            .arg(place.data());
        output(&mut command)
    };
    let refused = forget("lap");
    expect_status(&refused, 2);
    assert!(
        text(&refused.stderr).contains("no sink is called `lap`; there are lab"),
        "{}",
        text(&refused.stderr)
    );
    expect_status(&forget("lab"), 0);
    let report = place.run_for("300ms");
    assert!(report["recovery"].is_null(), "{report}");
}
