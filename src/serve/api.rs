//! The routes under `/api`, and those of who watches over the program. Described in `docs/api.md` and `openapi.json`.
//!
//! **Always holds.** Every mistake of a request has an answer of 400 to 499 that says what it is. What may wait for a disk or for the stage is done by
//! threads that may wait, few at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::exposition::Form;
use super::guard::{Guard, Refusal, Role};
use super::pyramid::COLUMNS_MAX;
use super::query::{Query, bad};
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
    pub(super) readers: Arc<Semaphore>,
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
/// A body, unless it is too long or was cut off.
type Sent = Result<Bytes, BytesRejection>;

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
        .route("/api", get(description))
        .route("/api/openapi.json", get(description))
        .route("/metrics", get(measured))
        .route("/health", get(health))
        .route("/ready", get(ready))
}

fn ok(value: Value) -> Response {
    Json(value).into_response()
}

/// The body of a request that changes something.
fn body<T: DeserializeOwned>(headers: &HeaderMap, sent: Sent) -> Result<T, Refusal> {
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
    let bytes = sent.map_err(|wrong| Refusal(wrong.status(), wrong.body_text()))?;
    serde_json::from_slice(&bytes).map_err(|error| bad(format!("the body cannot be read: {error}")))
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
    let free = Arc::clone(&shared.readers).acquire_owned();
    let permit = tokio::time::timeout(PATIENCE, free).await;
    let permit = permit.ok().and_then(Result::ok).ok_or_else(late)?;
    let scene = Arc::clone(&shared.scene);
    let done = tokio::task::spawn_blocking(move || {
        // Given back when the work is done: a client that goes away meanwhile does not make room for more.
        let _permit = permit;
        work(&scene)
    })
    .await;
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

/// Answers what is asked of a range: `plan` reads the other parameters and gives the work, which may wait.
async fn of_range<W>(
    shared: Arc<Shared>,
    text: Option<String>,
    others: &[&str],
    plan: impl FnOnce(&Query, Span) -> Result<W, Refusal>,
) -> Answer
where
    W: FnOnce(&Scene) -> Answer + Send + 'static,
{
    let known: Vec<&str> = others.iter().copied().chain(["from_ns", "to_ns"]).collect();
    let query = Query::read(text, &known)?;
    let work = plan(&query, query.span()?)?;
    waiting(&shared, work).await?
}

async fn events(State(shared): Here, RawQuery(text): RawQuery) -> Answer {
    of_range(shared, text, &["limit"], |query, span| {
        let limit = query.within("limit", 1..=EVENTS_MAX, Some(EVENTS_DEFAULT))?;
        Ok(move |scene: &Scene| range::events(scene, span, limit).map(ok))
    })
    .await
}

async fn gaps(State(shared): Here, RawQuery(text): RawQuery) -> Answer {
    let count = shared.scene.setup.channels.len();
    of_range(shared, text, &["channel"], |query, span| {
        let channel = query.channel(count)?;
        Ok(move |scene: &Scene| range::gaps(scene, channel, span).map(ok))
    })
    .await
}

async fn spectrum(State(shared): Here, RawQuery(text): RawQuery) -> Answer {
    let count = shared.scene.setup.channels.len();
    of_range(shared, text, &["channel"], |query, span| {
        let channel = query.channel(count)?;
        Ok(move |scene: &Scene| range::spectrum(scene, channel, span).map(ok))
    })
    .await
}

async fn envelope(State(shared): Here, RawQuery(text): RawQuery) -> Answer {
    let count = shared.scene.setup.channels.len();
    of_range(shared, text, &["channels", "width"], |query, span| {
        let width = query.within("width", 1..=COLUMNS_MAX, None)?;
        let channels = query.channels(count, CHANNELS_MAX)?;
        Ok(move |scene: &Scene| {
            let series = range::envelopes(scene, &channels, span, width)?;
            let now_ns = scene.setup.clock.now_ns();
            let found = wire::message(wire::Kind::Range, 0, now_ns, &series);
            Ok(([(header::CONTENT_TYPE, "application/octet-stream")], found).into_response())
        })
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
    time_ns: Option<String>,
}

async fn note(State(shared): Here, headers: HeaderMap, sent: Sent) -> Answer {
    let note: Note = body(&headers, sent)?;
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

async fn acknowledge(State(shared): Here, headers: HeaderMap, sent: Sent) -> Answer {
    let Named { rule } = body(&headers, sent)?;
    order(shared, Order::Acknowledge { rule }).await
}

async fn silence(State(shared): Here, headers: HeaderMap, sent: Sent) -> Answer {
    let Silence {
        rule,
        for_s,
        reason,
    } = body(&headers, sent)?;
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

async fn unsilence(State(shared): Here, headers: HeaderMap, sent: Sent) -> Answer {
    let Named { rule } = body(&headers, sent)?;
    order(shared, Order::Unsilence { rule }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

async fn login(State(shared): Here, headers: HeaderMap, sent: Sent) -> Answer {
    let Login { token } = body(&headers, sent)?;
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
    let form = Form::of_accept(accept);
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
