//! The routes under `/api`, and those of who watches over the program. Described in `docs/api.md` and `openapi.json`.
//!
//! **Always holds.** Every mistake of a request has an answer of 400 to 499 that says what it is. What may wait for a disk or for the stage is done by
//! threads that may wait, few at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::guard::{Guard, Refusal, Role};
use super::pyramid::COLUMNS_MAX;
use super::range::{self, CHANNELS_MAX, Span};
use super::scene::Scene;
use super::{metrics, socket, state, wire};
use crate::alert::Order;
use crate::event::Annotation;

/// What handlers need.
pub(super) struct Shared {
    pub(super) scene: Arc<Scene>,
    pub(super) guard: Arc<Guard>,
    /// Requests that read the store, at once.
    pub(super) readers: Semaphore,
}

/// Requests at once that read the store: one core is the acquisition's.
pub(super) const READERS_MAX: usize = 2;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest silence that can be declared.
const SILENCE_MAX_S: u64 = 365 * 86_400;
const EVENTS_DEFAULT: usize = 500;
const EVENTS_MAX: usize = 5000;

type Answer = Result<Response, Refusal>;
type Here = State<Arc<Shared>>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/channels", get(channels))
        .route("/api/state", get(now))
        .route("/api/events", get(events))
        .route("/api/gaps", get(gaps))
        .route("/api/envelope", get(envelope))
        .route("/api/spectrum", get(spectrum))
        .route("/api/live", get(socket::live))
        .route("/api/notes", post(note))
        .route("/api/alerts/acknowledge", post(acknowledge))
        .route("/api/alerts/silence", post(silence))
        .route("/api/alerts/unsilence", post(unsilence))
        .route("/api/login", post(login))
        .route("/api/logout", post(logout))
        .route("/api/openapi.json", get(description))
        .route("/metrics", get(measured))
        .route("/health", get(health))
        .route("/ready", get(ready))
}

fn bad(what: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, what.into())
}

fn ok(value: Value) -> Response {
    Json(value).into_response()
}

/// The parameters of a request, each once and each known.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(text: Option<String>, known: &[&str]) -> Result<Self, Refusal> {
        let text = text.unwrap_or_default();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&key.as_ref()) {
                let shown: String = key.chars().take(64).collect();
                return Err(bad(format!(
                    "`{shown}` is not known; known are {}",
                    known.join(", ")
                )));
            }
            if pairs.iter().any(|(other, _)| *other == key) {
                return Err(bad(format!("`{key}` is given twice")));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    fn get(&self, key: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    fn need(&self, key: &str) -> Result<&str, Refusal> {
        self.get(key)
            .ok_or_else(|| bad(format!("`{key}` is missing")))
    }

    fn whole<T: std::str::FromStr>(&self, key: &str) -> Result<T, Refusal> {
        let text = self.need(key)?;
        text.parse()
            .map_err(|_| bad(format!("`{key}` must be a whole number")))
    }

    fn span(&self) -> Result<Span, Refusal> {
        let (from_ns, to_ns): (i64, i64) = (self.whole("from_ns")?, self.whole("to_ns")?);
        if to_ns <= from_ns {
            return Err(bad("`to_ns` must be after `from_ns`"));
        }
        Ok(Span { from_ns, to_ns })
    }
}

fn channel_number(shared: &Shared, text: &str) -> Result<usize, Refusal> {
    let number: usize = text
        .parse()
        .map_err(|_| bad("a channel is named by its number, as /api/channels gives it"))?;
    if number >= shared.scene.setup.channels.len() {
        return Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("there is no channel {number}"),
        ));
    }
    Ok(number)
}

/// The body of a request that changes something.
fn body<T: DeserializeOwned>(headers: &HeaderMap, bytes: &Bytes) -> Result<T, Refusal> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        let what = "the content type must be application/json";
        return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, what.to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| bad(format!("the body cannot be read: {error}")))
}

/// Has something done by a thread that may wait.
async fn waiting<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Scene) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let late = || {
        Refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "others are being answered: ask again".to_owned(),
        )
    };
    let permit = tokio::time::timeout(PATIENCE, shared.readers.acquire()).await;
    let _permit = permit.ok().and_then(Result::ok).ok_or_else(late)?;
    let scene = Arc::clone(&shared.scene);
    let done = tokio::task::spawn_blocking(move || work(&scene)).await;
    let broken = |_| {
        Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "this is a mistake in kymo".to_owned(),
        )
    };
    done.map_err(broken)
}

async fn channels(State(shared): Here, Extension(role): Extension<Role>) -> Response {
    ok(state::channels(&shared.scene, role))
}

async fn now(State(shared): Here) -> Answer {
    waiting(&shared, state::state).await.map(ok)
}

async fn events(State(shared): Here, RawQuery(text): RawQuery) -> Answer {
    let query = Query::read(text, &["from_ns", "to_ns", "limit"])?;
    let span = query.span()?;
    let limit = match query.get("limit") {
        Some(_) => query.whole("limit")?,
        None => EVENTS_DEFAULT,
    };
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(bad(format!("`limit` must be 1 to {EVENTS_MAX}")));
    }
    waiting(&shared, move |scene| range::events(scene, span, limit))
        .await?
        .map(ok)
}

async fn gaps(State(shared): Here, RawQuery(text): RawQuery) -> Answer {
    let query = Query::read(text, &["channel", "from_ns", "to_ns"])?;
    let (span, channel) = (
        query.span()?,
        channel_number(&shared, query.need("channel")?)?,
    );
    waiting(&shared, move |scene| range::gaps(scene, channel, span))
        .await?
        .map(ok)
}

async fn envelope(State(shared): Here, RawQuery(text): RawQuery) -> Answer {
    let query = Query::read(text, &["channels", "from_ns", "to_ns", "width"])?;
    let span = query.span()?;
    let width: usize = query.whole("width")?;
    if !(1..=COLUMNS_MAX).contains(&width) {
        return Err(bad(format!("`width` must be 1 to {COLUMNS_MAX}")));
    }
    let names = query.need("channels")?.split(',');
    let mut channels = names
        .map(|text| channel_number(&shared, text))
        .collect::<Result<Vec<_>, _>>()?;
    channels.sort_unstable();
    channels.dedup();
    if channels.len() > CHANNELS_MAX {
        return Err(bad(format!(
            "{} channels are more than {CHANNELS_MAX}",
            channels.len()
        )));
    }
    let found = waiting(&shared, move |scene| {
        let series = range::envelopes(scene, &channels, span, width)?;
        let now_ns = scene.setup.clock.now_ns();
        Ok::<_, Refusal>(wire::message(wire::Kind::Range, 0, now_ns, &series))
    })
    .await??;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], found).into_response())
}

async fn spectrum(State(shared): Here, RawQuery(text): RawQuery) -> Answer {
    let query = Query::read(text, &["channel", "from_ns", "to_ns"])?;
    let (span, channel) = (
        query.span()?,
        channel_number(&shared, query.need("channel")?)?,
    );
    waiting(&shared, move |scene| range::spectrum(scene, channel, span))
        .await?
        .map(ok)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
    time_ns: Option<String>,
}

async fn note(State(shared): Here, headers: HeaderMap, bytes: Bytes) -> Answer {
    let note: Note = body(&headers, &bytes)?;
    let time_ns = match note.time_ns {
        Some(text) => Some(
            text.parse::<i64>()
                .map_err(|_| bad("`time_ns` must be digits"))?,
        ),
        None => None,
    };
    let time_ns = time_ns.unwrap_or_else(|| shared.scene.setup.clock.now_ns());
    let annotation = Annotation {
        text: note.text,
        time_ns: Some(time_ns),
        source: None,
        who: "live page".to_owned(),
    };
    let written = waiting(&shared, move |scene| (scene.setup.annotate)(annotation)).await?;
    written.map_err(|why| Refusal(StatusCode::UNPROCESSABLE_ENTITY, why))?;
    Ok(ok(json!({ "time_ns": state::digits(time_ns) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    rule: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Silence {
    rule: String,
    for_s: u64,
    #[serde(default)]
    reason: String,
}

/// Gives an order about a rule; the rule as it stands then.
async fn order(shared: Arc<Shared>, order: Order) -> Answer {
    let done = waiting(&shared, move |scene| {
        let standings = scene.setup.control.order(order)?;
        let first = standings
            .first()
            .map(|standing| state::alert(scene, standing));
        Ok::<_, crate::alert::ControlError>(first.unwrap_or_default())
    })
    .await?;
    done.map(ok).map_err(|error| {
        let status = match error {
            crate::alert::ControlError::NoAnswer => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Refusal(status, error.to_string())
    })
}

async fn acknowledge(State(shared): Here, headers: HeaderMap, bytes: Bytes) -> Answer {
    let Named { rule } = body(&headers, &bytes)?;
    order(shared, Order::Acknowledge { rule }).await
}

async fn silence(State(shared): Here, headers: HeaderMap, bytes: Bytes) -> Answer {
    let Silence {
        rule,
        for_s,
        reason,
    } = body(&headers, &bytes)?;
    if !(1..=SILENCE_MAX_S).contains(&for_s) {
        return Err(bad(format!("`for_s` must be 1 to {SILENCE_MAX_S}")));
    }
    let reason: String = reason.chars().take(1000).collect();
    let for_ns = i64::try_from(for_s * 1_000_000_000).unwrap_or(i64::MAX);
    let until_ns = shared.scene.setup.clock.now_ns().saturating_add(for_ns);
    order(
        shared,
        Order::Silence {
            rule,
            until_ns,
            reason,
        },
    )
    .await
}

async fn unsilence(State(shared): Here, headers: HeaderMap, bytes: Bytes) -> Answer {
    let Named { rule } = body(&headers, &bytes)?;
    order(shared, Order::Unsilence { rule }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

async fn login(State(shared): Here, headers: HeaderMap, bytes: Bytes) -> Answer {
    let Login { token } = body(&headers, &bytes)?;
    let role = shared.guard.role_of(&token);
    let role = role.ok_or_else(|| {
        Refusal(
            StatusCode::UNAUTHORIZED,
            "this token is not known".to_owned(),
        )
    })?;
    let cookie = [(header::SET_COOKIE, shared.guard.cookie_for(&token))];
    Ok((cookie, Json(json!({ "role": role.name() }))).into_response())
}

async fn logout(State(shared): Here) -> Response {
    let cookie = [(header::SET_COOKIE, shared.guard.cookie_for(""))];
    (cookie, Json(json!({}))).into_response()
}

async fn description() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}

async fn measured(State(shared): Here, headers: HeaderMap) -> Answer {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let form = metrics::Form::of_accept(accept);
    let text = waiting(&shared, move |scene| metrics::text(scene, form)).await?;
    Ok(([(header::CONTENT_TYPE, form.content_type())], text).into_response())
}

#[derive(Serialize)]
struct Health {
    healthy: bool,
    why: Option<String>,
}

/// Well while what is acquired can be written down.
async fn health(State(shared): Here) -> Response {
    let scene = &shared.scene;
    let failure = scene
        .setup
        .journal
        .failure()
        .map(|failure| failure.to_string());
    let why = failure.or_else(|| scene.is_stopping().then(|| "the run is ending".to_owned()));
    let status = if why.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let healthy = why.is_none();
    (status, Json(Health { healthy, why })).into_response()
}

/// Ready once every device has sent something.
async fn ready(State(shared): Here) -> Response {
    let scene = &shared.scene;
    let devices = scene.setup.sources.iter().zip(scene.setup.ledger.sources());
    let waiting_for: Vec<&str> = devices
        .filter(|(source, counts)| source.link.is_some() && counts.frames() == 0)
        .map(|(source, _)| source.name.as_str())
        .collect();
    let is_ready = waiting_for.is_empty() && !scene.stopping.load(Ordering::Acquire);
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ "ready": is_ready, "waiting_for": waiting_for })),
    )
        .into_response()
}
