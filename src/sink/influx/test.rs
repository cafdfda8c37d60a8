//! `kymo sink test`: one point is written and read back, and what is wrong is said in plain words.
//!
//! **Always holds.** The point stands in a measurement of its own, `kymo_test`, and its value is found again only if it came
//! from this very test.
//!
//! **Must not know.** The command line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::answer::{Refused, Verdict, judge};
use super::dialect::{Dialect, place};
use super::transport::{Http, Transport, TransportError};
use super::{Carrier, Options, carrier, now_s};

/// The measurement.
pub const MEASUREMENT: &str = "kymo_test";

/// A server may take so long until what it has accepted can be read: VictoriaMetrics takes a second or two.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a test found, step by step.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// What it wrote to.
    pub to: String,
    /// The dialect, once it is known.
    pub dialect: Option<String>,
    /// The point was accepted.
    pub written: bool,
    /// It was read back.
    pub read_back: bool,
    /// What is wrong, and what to do.
    pub wrong: Option<String>,
}

/// Writes a point and reads it back. `now_ns` is its time.
#[must_use]
pub fn run(options: &Options, name: &str, now_ns: i64) -> Found {
    let mut found = Found {
        to: place(options),
        ..Found::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(steps(options, name, now_ns, &mut found)),
        Err(error) => Err(format!("the system gives no runtime: {error}")),
    };
    found.wrong = done.err();
    found
}

async fn steps(
    options: &Options,
    name: &str,
    now_ns: i64,
    found: &mut Found,
) -> Result<(), String> {
    let options = Arc::new(options.clone());
    let http = Http::new(&options)?;
    let (dialect, _) = *http
        .place()
        .await
        .map_err(|error| advice(&options, &error))?;
    found.dialect = Some(dialect.to_string());
    // Half of it is no whole number, so that it reads alike everywhere.
    let value = f64::from(fastrand::u32(1 << 20..1 << 24)) + 0.5;
    let time = now_ns.div_euclid(options.precision.ns());
    let line = crate::sink::single(
        &format!("{MEASUREMENT},sink={name} value={value} {time}"),
        1,
    );
    let answer = match options.carrier {
        Carrier::Own => http.write(line.text.clone()).await,
        Carrier::Influxdb2 => carrier(&options)?.write(line.text.clone()).await,
    };
    let answer = answer.map_err(|error| advice(&options, &error))?;
    match judge(&answer, &line, now_s()) {
        Verdict::Accepted => found.written = true,
        verdict => return Err(refusal(&options, dialect, &verdict)),
    }
    let until = Instant::now() + PATIENCE;
    let mut said;
    loop {
        said = match read_back(&http, &options, dialect, now_ns, value).await {
            Ok(()) => {
                found.read_back = true;
                return Ok(());
            }
            Err(said) => said,
        };
        if Instant::now() >= until {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Err(format!(
        "it accepted the point, and it cannot be read back: {said}. Is reading allowed with this token or user, and is the \
         retention longer than a moment? Writing does not depend on it"
    ))
}

/// Asks in each way that a server of the dialect may know, until one shows the value.
async fn read_back(
    http: &Http,
    options: &Options,
    dialect: Dialect,
    now_ns: i64,
    value: f64,
) -> Result<(), String> {
    let wanted = value.to_string();
    let mut said = Vec::new();
    for (way, answer) in ways(http, options, dialect, now_ns).await {
        match answer {
            Ok((200..=299, text)) if text.contains(&wanted) => return Ok(()),
            Ok((200..=299, _)) => said.push(format!("{way} does not show it")),
            Ok((status, text)) => {
                let text: String = text.trim().chars().take(120).collect();
                said.push(format!("{way} says {status} {text}"));
            }
            Err(TransportError::TimedOut) => said.push(format!("{way} gives no answer")),
            Err(TransportError::Failed(what)) => said.push(format!("{way}: {what}")),
        }
    }
    Err(said.join("; "))
}

type Way = (&'static str, Result<(u16, String), TransportError>);

async fn ways(http: &Http, options: &Options, dialect: Dialect, now_ns: i64) -> Vec<Way> {
    const SECOND_NS: i64 = 1_000_000_000;
    let (from_s, to_s) = (
        (now_ns / SECOND_NS - 60).to_string(),
        (now_ns / SECOND_NS + 60).to_string(),
    );
    let database = options.database.as_deref().unwrap_or_default();
    let mut ways = Vec::new();
    match dialect {
        Dialect::V1 => {
            let policy = options.retention_policy.as_ref();
            let of = policy.map_or_else(
                || format!("\"{MEASUREMENT}\""),
                |policy| format!("\"{policy}\".\"{MEASUREMENT}\""),
            );
            let text =
                format!("SELECT \"value\" FROM {of} WHERE time > {from_s}s AND time < {to_s}s");
            let url = options.url.at("query", &[("db", database), ("q", &text)]);
            ways.push(("/query", http.ask(|client| client.get(url)).await));
            let text = format!("SELECT value FROM {MEASUREMENT}");
            let url = options.url.at("exec", &[("query", &text)]);
            ways.push(("/exec", http.ask(|client| client.get(url)).await));
        }
        Dialect::V2 => {
            let bucket = options.bucket.as_deref().unwrap_or_default();
            let flux = format!(
                "from(bucket: \"{}\") |> range(start: {from_s}, stop: {to_s}) |> filter(fn: (r) => r._measurement == \"{MEASUREMENT}\")",
                bucket.replace('\\', "\\\\").replace('"', "\\\"")
            );
            let organisation = options.organisation.as_deref().unwrap_or_default();
            let url = options.url.at("api/v2/query", &[("org", organisation)]);
            let ask = http.ask(|client| {
                let request = client
                    .post(url)
                    .header(CONTENT_TYPE, "application/vnd.flux");
                request.header(ACCEPT, "application/csv").body(flux)
            });
            ways.push(("/api/v2/query", ask.await));
        }
        Dialect::V3 => {
            let text = format!("SELECT value FROM {MEASUREMENT} ORDER BY time DESC LIMIT 10");
            let url = options.url.at(
                "api/v3/query_sql",
                &[("db", database), ("q", &text), ("format", "json")],
            );
            ways.push((
                "/api/v3/query_sql",
                http.ask(|client| client.get(url)).await,
            ));
        }
    }
    if dialect != Dialect::V3 {
        let series = format!("{MEASUREMENT}_value");
        let questions = [
            ("match[]", series.as_str()),
            ("start", &from_s),
            ("end", &to_s),
        ];
        let url = options.url.at("api/v1/export", &questions);
        ways.push(("/api/v1/export", http.ask(|client| client.get(url)).await));
    }
    ways
}

/// What may be wrong where no answer came.
fn advice(options: &Options, error: &TransportError) -> String {
    match error {
        TransportError::TimedOut => format!(
            "no answer from {} within {:?}: is a firewall between, or the server overloaded?",
            options.url, options.timeout
        ),
        TransportError::Failed(what) => {
            let low = what.to_lowercase();
            let advice = if low.contains("refused") {
                "nothing listens there: is the server running, and the port right?"
            } else if low.contains("dns")
                || low.contains("lookup")
                || low.contains("name or service")
            {
                "no host of that name is known"
            } else if [
                "unknownissuer",
                "unknown issuer",
                "badsignature",
                "bad signature",
            ]
            .iter()
            .any(|text| low.contains(text))
            {
                "its certificate is of nobody we believe: name its CA with tls.ca"
            } else if low.contains("certificaterequired") || low.contains("certificate required") {
                "it wants to see a certificate: tls.certificate and tls.key"
            } else if low.contains("expired") {
                "its certificate is out of date, or this host's clock is wrong"
            } else if low.contains("notvalidforname") || low.contains("not valid for name") {
                "its certificate is for another name than the one in `url`"
            } else if low.contains("invalid message")
                || low.contains("invalidcontenttype")
                || low.contains("corrupt")
                || low.contains("handshake eof")
            {
                "it does not speak TLS there: http:// instead of https://?"
            } else {
                "the connection was not made, or broke"
            };
            format!("{advice} ({what})")
        }
    }
}

/// What may be wrong where it was refused.
fn refusal(options: &Options, dialect: Dialect, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Denied(said) => {
            let low = said.to_lowercase();
            if low.contains("database not found") {
                let name = options.database.as_deref().unwrap_or_default();
                format!(
                    "there is no database `{name}`: make it with `influx -execute 'CREATE DATABASE \"{name}\"'` ({said})"
                )
            } else if low.starts_with("it has not got that") {
                format!(
                    "is `url` right, with its path, and does the server know the dialect {dialect}? ({said})"
                )
            } else {
                said.clone()
            }
        }
        Verdict::Refused(Refused::All(said) | Refused::Some(said)) => {
            format!("it refuses the point: {said}")
        }
        Verdict::Refused(Refused::Lines { lines, .. }) => {
            format!(
                "it refuses the point: {}",
                lines.values().next().map_or("", String::as_str)
            )
        }
        Verdict::Busy { said, .. } => format!("it is overloaded: {said}"),
        Verdict::TimedOut => advice(options, &TransportError::TimedOut),
        Verdict::TooLarge(said) | Verdict::Failed(said) => said.clone(),
        Verdict::Accepted => String::new(),
    }
}
