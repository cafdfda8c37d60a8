//! `webhook`: an HTTP POST of JSON, signed, retried.
//!
//! With `secret_file` or `secret_env` the request carries `X-Kymo-Signature: sha256=HEX`: HMAC-SHA256 (RFC 2104, FIPS
//! 180-4) with that secret over `TIMESTAMP.BODY`, where the timestamp is that of `X-Kymo-Timestamp`, in seconds. So a
//! receiver can tell who sent it, and that it is not an old one sent again. `X-Kymo-Delivery` is the same for every
//! attempt of one message: who has seen it before may pass it over.
//!
//! **Always holds.** A redirect is not followed: what was signed for one place is not carried to another. An answer of
//! 2xx is delivered; 408, 425, 429 and 5xx, and no answer, may be again; any other answer is never. Of a body no more than
//! its first 300 bytes are read. The secret is never in the configuration, which is written down with every run.

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use sha2::Sha256;

use super::message::template;
use super::{Deliver, Key, KeyKind, Kind, Made, Message, Outcome, Patience, Settings, Wrong};
use crate::alert::Template;
use crate::clock::Clock;

pub(super) static KIND: Kind = Kind {
    name: "webhook",
    about: "an HTTP POST of JSON",
    keys: &[
        Key::needed("url", KeyKind::Text),
        Key::may("body", KeyKind::Json),
        Key::may("headers", KeyKind::Table),
        Key::may("secret_file", KeyKind::Text),
        Key::may("secret_env", KeyKind::Text),
        Key::may(
            "timeout",
            KeyKind::Duration(Duration::from_millis(10), Duration::from_secs(300)),
        ),
    ],
    shows: false,
    is_interlock: false,
    make,
};

/// Bytes of an answer that are read, to say what was wrong.
const ANSWER_BYTES_MAX: usize = 300;
/// The longest time that is left to a server that asks to be left alone.
const AFTER_MAX: Duration = Duration::from_secs(3600);

struct Webhook {
    url: Url,
    body: Option<Body>,
    headers: HeaderMap,
    secret: Option<Secret>,
    timeout: Duration,
    /// Made with the first message, on the notifier's own thread.
    http: Option<Http>,
}

struct Http {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

enum Secret {
    File(PathBuf),
    Env(String),
}

/// JSON whose texts are templates.
enum Body {
    Text(Template),
    /// A text that is one value and nothing else becomes that value as it is: a number stays one.
    Whole(String),
    List(Vec<Body>),
    Table(Vec<(String, Body)>),
    Plain(Value),
}

fn make(settings: &Settings) -> Result<Made, Wrong> {
    let text = settings.text("url").unwrap_or_default();
    let url = Url::parse(text).map_err(|error| {
        Wrong::new(
            "url",
            format!("is \"{text}\": {error}"),
            "as in \"https://host/path\"",
        )
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Wrong::new(
            "url",
            format!("is \"{text}\""),
            "http:// or https:// is expected",
        ));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in settings.table("headers") {
        let parsed = HeaderName::try_from(name.as_str()).ok();
        let Some((name, value)) = parsed.zip(HeaderValue::try_from(value.as_str()).ok()) else {
            let what = format!("has a header `{name}` that HTTP does not know how to carry");
            return Err(Wrong::new(
                "headers",
                what,
                "letters, digits and - in the name",
            ));
        };
        headers.insert(name, value);
    }
    let secret = match (settings.text("secret_file"), settings.text("secret_env")) {
        (Some(_), Some(_)) => {
            return Err(Wrong::new(
                "secret_env",
                "stands beside `secret_file`",
                "one of the two",
            ));
        }
        (Some(file), None) => Some(Secret::File(PathBuf::from(file))),
        (None, Some(name)) => Some(Secret::Env(name.to_owned())),
        (None, None) => None,
    };
    Ok(Made::Durable(Box::new(Webhook {
        url,
        body: settings.json("body").map(Body::of).transpose()?,
        headers,
        secret,
        timeout: settings.duration("timeout", Duration::from_secs(10)),
        http: None,
    })))
}

impl Body {
    fn of(json: &Value) -> Result<Self, Wrong> {
        Ok(match json {
            Value::String(text) => {
                let template = template("body", text)?;
                let names: Vec<&str> = template.names().collect();
                match names.as_slice() {
                    [name] if *text == format!("{{{name}}}") => Self::Whole((*name).to_owned()),
                    _ => Self::Text(template),
                }
            }
            Value::Array(list) => Self::List(list.iter().map(Self::of).collect::<Result<_, _>>()?),
            Value::Object(table) => {
                let entries = table.iter();
                let entry = |(key, value): (&String, &Value)| Ok((key.clone(), Self::of(value)?));
                Self::Table(entries.map(entry).collect::<Result<_, _>>()?)
            }
            plain => Self::Plain(plain.clone()),
        })
    }

    fn render(&self, message: &Message<'_>) -> Value {
        match self {
            Self::Text(text) => Value::String(message.render(text)),
            Self::Whole(name) => match &message.event[name] {
                value @ (Value::Number(_) | Value::Bool(_)) => value.clone(),
                _ => {
                    let mut text = String::new();
                    message.push_value(name, &mut text);
                    Value::String(text)
                }
            },
            Self::List(list) => list.iter().map(|body| body.render(message)).collect(),
            Self::Table(table) => Value::Object(
                table
                    .iter()
                    .map(|(key, body)| (key.clone(), body.render(message)))
                    .collect(),
            ),
            Self::Plain(plain) => plain.clone(),
        }
    }
}

impl Secret {
    fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => {
                let mut bytes = std::fs::read(path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                // An editor's last line end is no part of it.
                while bytes
                    .last()
                    .is_some_and(|last| matches!(last, b'\n' | b'\r'))
                {
                    bytes.pop();
                }
                Ok(bytes)
            }
            Self::Env(name) => {
                let value = std::env::var_os(name);
                let value = value.ok_or_else(|| format!("{name} is not in the environment"))?;
                Ok(value.into_encoded_bytes())
            }
        }
    }
}

/// The signature of a body sent at a time, as its header has it.
fn signature(secret: &[u8], timestamp_s: i64, body: &[u8]) -> String {
    use std::fmt::Write as _;
    // A key of any length is right: RFC 2104, section 3.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(timestamp_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Deliver for Webhook {
    fn deliver(&mut self, message: &Message<'_>, patience: &Patience) -> Outcome {
        let body = match &self.body {
            Some(body) => body.render(message).to_string(),
            None => default_body(message).to_string(),
        };
        let again = |why: String| Outcome::Again { why, after: None };
        let mut headers = self.headers.clone();
        let timestamp_s = Clock::system().now_ns().div_euclid(1_000_000_000);
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        set("x-kymo-delivery", message.id);
        set("x-kymo-timestamp", &timestamp_s.to_string());
        if let Some(secret) = &self.secret {
            match secret.read() {
                Ok(secret) => {
                    let signature = signature(&secret, timestamp_s, body.as_bytes());
                    set("x-kymo-signature", &signature);
                }
                Err(why) => return again(why),
            }
        }
        if !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if self.http.is_none() {
            match Http::new(self.timeout) {
                Ok(http) => self.http = Some(http),
                Err(why) => return again(why),
            }
        }
        let Some(http) = &self.http else {
            return again("there is no HTTP client".to_owned());
        };
        let request = http
            .client
            .post(self.url.clone())
            .headers(headers)
            .body(body);
        http.runtime.block_on(async {
            let mut sending = Box::pin(send(request));
            loop {
                // Looks up now and then whether the run is over.
                let look = Duration::from_millis(50);
                match tokio::time::timeout(look, &mut sending).await {
                    Ok(outcome) => return outcome,
                    Err(_) if patience.is_over() => {
                        return again("the run ended before there was an answer".to_owned());
                    }
                    Err(_) => {}
                }
            }
        })
    }
}

/// The whole event, and what identifies it.
fn default_body(message: &Message<'_>) -> Value {
    let mut body = message.event.clone();
    if let Value::Object(body) = &mut body {
        body.remove("state");
        body.remove("notify");
        body.insert("id".to_owned(), message.id.into());
        body.insert("host".to_owned(), message.host.into());
    }
    body
}

impl Http {
    fn new(timeout: Duration) -> Result<Self, String> {
        // Set once for the process; a second time is no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("kymo/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| format!("there is no HTTP client: {}", whole(&error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the system gives no event queue: {error}"))?;
        Ok(Self { client, runtime })
    }
}

async fn send(request: reqwest::RequestBuilder) -> Outcome {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            let why = whole(&error);
            return Outcome::Again { why, after: None };
        }
    };
    let status = response.status();
    if status.is_success() {
        return Outcome::Delivered;
    }
    if status.is_redirection() {
        let to = response.headers().get("location");
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to: String = to.chars().take(200).collect();
        let why = format!("answered {status}: a redirect to {to} is not followed");
        return Outcome::Never { why };
    }
    let after = response.headers().get(RETRY_AFTER).and_then(|after| {
        let seconds: u64 = after.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(AFTER_MAX))
    });
    let mut answer = Vec::new();
    while answer.len() < ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => answer.extend_from_slice(&chunk),
            _ => break,
        }
    }
    answer.truncate(ANSWER_BYTES_MAX);
    let answer = String::from_utf8_lossy(&answer);
    let why = format!("answered {status}: {}", answer.trim());
    let why = why.trim_end_matches([':', ' ']).to_owned();
    let may_be_again = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if may_be_again {
        Outcome::Again { why, after }
    } else {
        Outcome::Never { why }
    }
}

/// An error with everything behind it: what the library says alone is that something was wrong.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_signature_is_the_hmac_of_timestamp_and_body() {
        // `printf '17.{"a":1}' | openssl dgst -sha256 -hmac Jefe`
        assert_eq!(
            signature(b"Jefe", 17, b"{\"a\":1}"),
            "sha256=56059195817142c23f258adec80df4e88cb0da762678c7b3428b496e8a95e8df"
        );
    }

    #[test]
    fn a_body_keeps_numbers_and_fills_texts() {
        let body = Body::of(&json!({
            "text": "{rule} is {value}", "value": "{value}", "room": "{label.room}", "list": [1, "{severity}"]
        }));
        let body = body.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let event = json!({"rule": "hot", "value": 2.5, "severity": "critical", "labels": {"room": "B\"12"}});
        let message = Message {
            event: &event,
            id: "1",
            host: "lab",
        };
        assert_eq!(
            body.render(&message).to_string(),
            r#"{"text":"hot is 2.5","value":2.5,"room":"B\"12","list":[1,"critical"]}"#
        );
    }

    #[test]
    fn a_body_that_names_no_such_value_is_refused() {
        let wrong = Body::of(&json!({"a": ["{nonsense}"]}));
        assert!(wrong.is_err_and(|wrong| wrong.what.contains("{nonsense}")));
    }
}
