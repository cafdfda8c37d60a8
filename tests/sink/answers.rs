//! Each dialect's answers: what is refused is put aside with its reason, and costs its neighbours nothing.

use std::collections::BTreeSet;

use kymo::sink::dead_letter;
use serde_json::json;

use crate::lab::{expect_status, output, text};
use crate::scripted::{Reply, Request, Server};
use crate::truth::{Place, configuration, expect_conserved, expect_same, journaled};

/// Lines that the server does not like: every hundredth of the furnace, by its time.
fn is_bad(line: &str) -> bool {
    let time: i64 = line
        .rsplit(' ')
        .next()
        .and_then(|time| time.parse().ok())
        .unwrap_or(0);
    line.starts_with("furnace ") && time / 1000 % 7 == 0
}

fn bad_lines(request: &Request) -> Vec<usize> {
    let lines = request.lines().into_iter().enumerate();
    lines
        .filter(|(_, line)| is_bad(line))
        .map(|(number, _)| number)
        .collect()
}

fn others(request: &Request, bad: &[usize]) -> Vec<usize> {
    (0..request.lines().len())
        .filter(|number| !bad.contains(number))
        .collect()
}

/// A run against a server that refuses so: all that is good is there, all that is bad is put aside.
fn refuse(
    dialect: &str,
    place: &str,
    say: impl Fn(&Request, &[usize]) -> Reply + Send + 'static,
) -> Server {
    let server = Server::start(move |request| {
        let bad = bad_lines(request);
        if bad.is_empty() {
            Reply::Accept
        } else {
            say(request, &bad)
        }
    });
    let sink = format!(
        "url = \"{}\"\ndialect = \"{dialect}\"\n{place}",
        server.url()
    );
    let place = Place::new(&configuration(&sink));
    let report = place.run_for("2s");
    expect_conserved(&report);
    let truth = place.truth();
    let is_good = |time: i64, source: &str| source != "furnace" || time / 1000 % 7 != 0;
    let good: crate::scripted::Points = truth
        .iter()
        .filter(|((source, time), _)| is_good(*time, source))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    expect_same(&server.points(), &good);
    let (letters, torn) = dead_letter::read(&place.data(), "lab").expect("readable");
    assert_eq!(torn, 0);
    let lines: BTreeSet<&str> = letters.iter().map(|letter| letter.line.as_str()).collect();
    assert_eq!(lines.len(), letters.len(), "each once");
    assert_eq!(lines.len(), truth.len() - good.len(), "each that is bad");
    assert!(lines.iter().all(|line| is_bad(line)) && !lines.is_empty());
    assert_eq!(
        report["sinks"]["lab"]["rejected"],
        lines.len() * 4,
        "four samples a line: {report}"
    );
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason.contains("no good")),
        "{:?}",
        letters[0]
    );
    server
}

#[test]
fn version_1_names_the_lines() {
    refuse("v1", "database = \"lab\"", |request, bad| {
        let lines = request.lines();
        let told: Vec<String> = bad
            .iter()
            .map(|n| format!("unable to parse '{}': no good", lines[*n]))
            .collect();
        Reply::Say {
            status: 400,
            headers: Vec::new(),
            body: json!({ "error": format!("partial write: {} dropped=0", told.join("\n")) })
                .to_string(),
            keep: others(request, bad),
        }
    });
}

#[test]
fn version_2_does_not_name_them_and_keeps_the_others() {
    refuse(
        "v2",
        "bucket = \"lab\"\norganisation = \"o\"",
        |request, bad| {
            Reply::Say {
        status: 422,
        headers: Vec::new(),
        body: json!({ "code": "unprocessable entity", "message": format!("failure writing points to database: partial write: no good dropped={}", bad.len()) }).to_string(),
        keep: others(request, bad),
    }
        },
    );
}

#[test]
fn version_2_names_one_and_writes_nothing() {
    refuse("v2", "bucket = \"lab\"", |request, bad| {
        let line = request.lines()[bad[0]].to_owned();
        Reply::say(
            400,
            json!({ "code": "invalid", "message": format!("unable to parse '{line}': no good") })
                .to_string(),
        )
    });
}

#[test]
fn version_3_lists_them() {
    let server = refuse("v3", "database = \"lab\"", |request, bad| {
        let lines = request.lines();
        let told: Vec<_> = bad
            .iter()
            .take(100)
            .map(|n| json!({ "original_line": lines[*n], "line_number": n + 1, "error_message": "no good" }))
            .collect();
        Reply::Say {
            status: 400,
            headers: Vec::new(),
            body: json!({ "error": "partial write of line protocol occurred", "data": told })
                .to_string(),
            keep: others(request, bad),
        }
    });
    assert!(
        server.writes()[0]
            .target
            .starts_with("/api/v3/write_lp?db=lab&precision=nanosecond")
    );
}

#[test]
fn version_3_stops_at_the_first() {
    refuse("v3", "database = \"lab\"", |request, bad| {
        let body = json!({ "error": "parsing failed for write_lp endpoint", "data": {
            "original_line": request.lines()[bad[0]], "line_number": bad[0] + 1, "error_message": "no good" } });
        Reply::say(400, body.to_string())
    });
}

#[test]
fn questdb_names_one_by_its_number_and_writes_nothing() {
    refuse("v1", "database = \"lab\"", |_, bad| {
        let body = json!({ "code": "invalid", "line": bad[0] + 1, "errorId": "x-1",
            "message": format!("failed to parse line protocol:errors encountered on line(s):\nerror in line {}: no good", bad[0] + 1) });
        Reply::say(400, body.to_string())
    });
}

#[test]
fn a_server_without_words_has_the_batch_halved() {
    refuse("v1", "database = \"lab\"", |_, _| {
        Reply::say(400, "no good")
    });
}

#[test]
fn a_body_that_is_too_large_is_sent_in_pieces() {
    let server = Server::start(|request| {
        if request.body.len() > 6000 {
            Reply::say(413, "too large")
        } else {
            Reply::Accept
        }
    });
    let place = Place::new(&configuration(&format!(
        "url = \"{}\"\ndatabase = \"lab\"\ndialect = \"v1\"",
        server.url()
    )));
    let report = place.run_for("2s");
    expect_conserved(&report);
    assert_eq!(report["sinks"]["lab"]["written"], journaled(&report));
    expect_same(&server.points(), &place.truth());
    assert!(
        server
            .writes()
            .iter()
            .any(|request| request.body.len() > 6000),
        "it was tried"
    );
}

#[test]
fn a_token_that_is_mended_is_read_again() {
    let server =
        Server::start(
            |request| match request.headers.get("authorization").map(String::as_str) {
                Some("Bearer right") => Reply::Accept,
                _ => Reply::say(401, "{\"error\":\"unauthorized access\"}"),
            },
        );
    let place = Place::new("");
    let token = place.dir.path().join("token");
    let sink = format!(
        "url = \"{}\"\ndatabase = \"lab\"\ndialect = \"v3\"\ntoken = {{ file = \"{}\" }}",
        server.url(),
        token.display()
    );
    std::fs::write(place.config(), configuration(&sink)).expect("a file");
    // Without a token nothing is begun.
    let refused = output(&mut place.command(&["run", "--no-serve", "--duration", "1s"]));
    expect_status(&refused, 2);
    assert!(
        text(&refused.stderr).contains("cannot read the secret in"),
        "{}",
        text(&refused.stderr)
    );
    assert!(!place.data().exists(), "nothing was touched");
    std::fs::write(&token, "wrong\n").expect("a file");
    let mut run = place.start_for("3s");
    place.wait_for("it is denied", |status| {
        status["state"] == "denied"
            && status["trouble"]
                .as_str()
                .is_some_and(|said| said.contains("does not know us"))
    });
    std::fs::write(&token, "right\n").expect("a file");
    assert!(run.wait().expect("it ends").success());
    let report = crate::lab::json(&place.report());
    assert_eq!(
        report["sinks"]["lab"]["written"],
        journaled(&report),
        "{report}"
    );
    expect_same(&server.points(), &place.truth());
}

#[test]
fn what_is_sent_is_as_the_configuration_says() {
    let server = Server::good();
    let sink = format!(
        "url = \"http://db.invalid:8086/behind/a/proxy\"\nproxy = \"{}\"\ndatabase = \"lab\"\ndialect = \"v1\"\nretention_policy = \"a week\"\n\
         user = \"me\"\npassword = {{ env = \"KYMO_TEST_PASSWORD\" }}\nprecision = \"us\"\ngzip = true\n\
         measurement = \"lab\"\nfield = \"{{source}}_{{channel}}\"\ntags = {{ host = \"h 1\", \"unit of\" = \"{{unit}}\" }}\n\
         channels = [\"furnace.heater\", \"furnace.w*\"]\ndecimate = 10\nsend = [\"raw\", \"events\"]",
        server.url()
    );
    let place = Place::new(&configuration(&sink));
    let mut command = place.command(&["run", "--no-serve", "--duration", "2s"]);
    command
        .arg("--report")
        .arg(place.report())
        .env("KYMO_TEST_PASSWORD", "secret");
    expect_status(&output(&mut command), 0);
    let report = crate::lab::json(&place.report());
    expect_conserved(&report);
    let writes = server.writes();
    let first = &writes[0];
    // A proxy is asked for the whole address.
    assert_eq!(
        first.target,
        "http://db.invalid:8086/behind/a/proxy/write?db=lab&precision=u&rp=a+week"
    );
    assert_eq!(first.headers["authorization"], "Basic bWU6c2VjcmV0");
    assert_eq!(first.headers["content-encoding"], "gzip");
    let all: String = writes.iter().map(|write| write.body.as_str()).collect();
    assert!(
        all.contains("lab,host=h\\ 1,unit\\ of=1 furnace_heater="),
        "{all}"
    );
    assert!(
        all.contains("kymo_events,event=connected,source=furnace text=\"connected\" "),
        "{all}"
    );
    let truth = place.truth();
    let furnace: Vec<_> = truth
        .iter()
        .filter(|((source, _), _)| source == "furnace")
        .collect();
    let mut found = server.points();
    found.retain(|(series, _), point| series.starts_with("lab,") && !point.is_empty());
    assert_eq!(found.len(), furnace.len().div_ceil(10));
    for (((_, found_us), found), ((_, time_ns), point)) in
        found.iter().zip(furnace.iter().step_by(10))
    {
        assert_eq!(*found_us, time_ns / 1000);
        assert_eq!(found.len(), 2);
        assert_eq!(found["furnace_heater"], point["heater"]);
        assert_eq!(found["furnace_wall"], point["wall"]);
    }
    assert_eq!(report["sinks"]["lab"]["written"], found.len() * 2);
    // The configuration is kept with the data, and the secret is not in it.
    let segments = std::fs::read_dir(crate::lab::journal_of(&place.data())).expect("a journal");
    for segment in segments.flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(segment.path()).expect("a segment");
        assert!(!bytes.windows(6).any(|bytes| bytes == b"secret"));
    }
}

#[test]
fn a_dialect_is_detected() {
    let server = Server::start(|request| match request.target.as_str() {
        "/ping" => Reply::Say {
            status: 200,
            headers: vec![
                ("X-Influxdb-Version", "3.0.1".to_owned()),
                ("X-Influxdb-Build", "Core".to_owned()),
            ],
            body: "{}".to_owned(),
            keep: Vec::new(),
        },
        _ => Reply::Accept,
    });
    let place = Place::new(&configuration(&format!(
        "url = \"{}\"\ndatabase = \"lab\"",
        server.url()
    )));
    place.run_for("1s");
    assert!(
        server
            .writes()
            .iter()
            .all(|request| request.target.starts_with("/api/v3/write_lp"))
    );
    expect_same(&server.points(), &place.truth());
}

#[cfg(feature = "influxdb2")]
#[test]
fn the_crate_influxdb2_carries_version_2() {
    let server = Server::start(|request| {
        if request.headers.get("authorization").map(String::as_str) != Some("Token right") {
            return Reply::say(
                401,
                "{\"code\":\"unauthorized\",\"message\":\"unauthorized access\"}",
            );
        }
        let bad = bad_lines(request);
        match request.number % 4 {
            0 => Reply::Reset,
            _ if bad.is_empty() => Reply::Accept,
            _ => Reply::Say {
                status: 422,
                headers: Vec::new(),
                body: json!({ "code": "unprocessable entity", "message": format!("partial write: no good dropped={}", bad.len()) }).to_string(),
                keep: others(request, &bad),
            },
        }
    });
    let sink = format!(
        "url = \"{}\"\nbucket = \"lab\"\norganisation = \"o\"\ntransport = \"influxdb2\"\ntoken = {{ env = \"KYMO_TEST_TOKEN\" }}",
        server.url()
    );
    let place = Place::new(&configuration(&sink));
    let mut command = place.command(&["run", "--no-serve", "--duration", "2s"]);
    command
        .arg("--report")
        .arg(place.report())
        .env("KYMO_TEST_TOKEN", "right");
    expect_status(&output(&mut command), 0);
    let report = crate::lab::json(&place.report());
    expect_conserved(&report);
    assert_eq!(report["sinks"]["lab"]["behind"], 0, "{report}");
    let mut truth = place.truth();
    truth.retain(|(source, time), _| source != "furnace" || time / 1000 % 7 != 0);
    expect_same(&server.points(), &truth);
    assert!(
        server.writes()[0]
            .target
            .starts_with("/api/v2/write?bucket=lab&org=o&precision=ns")
    );
}
