//! Live traces over a WebSocket: `docs/api.md` describes what goes over it.
//!
//! **Always holds.** Nothing is buffered for a client: what it is sent is made when it can take it, out of the envelopes as they are then. So one that
//! reads slowly sees fewer and newer columns, and one that does not read is cut off.
//!
//! **Must not know.** Where the envelopes come from.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use serde::Deserialize;

use super::api::Shared;
use super::pyramid::{COLUMNS_MAX, Pyramid, Series};
use super::range::CHANNELS_MAX;
use super::scene::Scene;
use super::wire::{self, Kind};

/// Messages a second at most: 30.
const INTERVAL: Duration = Duration::from_millis(33);
/// Who takes nothing for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest message of a client, bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    id: u32,
    channels: Vec<usize>,
    span_ns: String,
    width: usize,
}

/// A wish that can be granted, and how much of it was.
struct Subscription {
    id: u32,
    level: usize,
    span_ns: i64,
    /// With the columns sent last of each: the last number, and its values.
    channels: Vec<(usize, Option<(i64, [u64; 2])>)>,
}

pub(super) async fn live(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX);
    // What a client has not taken is at most one message.
    let upgrade = upgrade.write_buffer_size(0);
    upgrade.on_upgrade(move |socket| async move {
        let scene = Arc::clone(&shared.scene);
        scene.clients.fetch_add(1, Ordering::Relaxed);
        serve(socket, &scene).await;
        scene.clients.fetch_sub(1, Ordering::Relaxed);
    })
}

async fn serve(mut socket: WebSocket, scene: &Scene) {
    let mut version = scene.version.subscribe();
    let mut subscription: Option<Subscription> = None;
    let mut is_due = false;
    let mut next = tokio::time::Instant::now();
    while !scene.is_stopping() {
        tokio::select! {
            biased;
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => match wish(scene, text.as_str()) {
                    Ok(found) => {
                        subscription = Some(found);
                        is_due = true;
                    }
                    Err(reason) => return close(socket, close_code::POLICY, reason).await,
                },
                Some(Ok(Message::Binary(_))) => {
                    return close(socket, close_code::UNSUPPORTED, "text is expected".to_owned()).await;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            changed = version.changed(), if !is_due && subscription.is_some() => {
                if changed.is_err() {
                    return;
                }
                is_due = true;
            }
            () = tokio::time::sleep_until(next), if is_due => {
                is_due = false;
                next = tokio::time::Instant::now() + INTERVAL;
                version.mark_unchanged();
                let Some(bytes) = subscription.as_mut().and_then(|wanted| wanted.news(scene)) else {
                    continue;
                };
                let sent = socket.send(Message::Binary(bytes.into()));
                match tokio::time::timeout(PATIENCE, sent).await {
                    Ok(Ok(())) => {}
                    // Gone, or it does not read.
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        }
    }
    close(socket, close_code::AWAY, "the run has ended".to_owned()).await;
}

async fn close(mut socket: WebSocket, code: u16, reason: String) {
    // A control frame holds 125 bytes: RFC 6455, 5.5.
    let reason: String = reason.chars().take(60).collect();
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let _ = tokio::time::timeout(PATIENCE, socket.send(Message::Close(Some(frame)))).await;
}

fn wish(scene: &Scene, text: &str) -> Result<Subscription, String> {
    let wish: Wish = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let span_ns: i64 = wish
        .span_ns
        .parse()
        .map_err(|_| "span_ns must be digits".to_owned())?;
    if span_ns <= 0 {
        return Err("span_ns must be positive".to_owned());
    }
    if !(1..=COLUMNS_MAX).contains(&wish.width) {
        return Err(format!("width must be 1 to {COLUMNS_MAX}"));
    }
    if wish.channels.len() > CHANNELS_MAX {
        return Err(format!("more than {CHANNELS_MAX} channels"));
    }
    if let Some(unknown) = wish
        .channels
        .iter()
        .find(|channel| **channel >= scene.setup.channels.len())
    {
        return Err(format!("there is no channel {unknown}"));
    }
    Ok(Subscription {
        id: wish.id,
        level: Pyramid::level(span_ns, wish.width),
        span_ns,
        channels: wish
            .channels
            .into_iter()
            .map(|channel| (channel, None))
            .collect(),
    })
}

impl Subscription {
    /// The columns that have changed since the last time; `None` if there are none.
    fn news(&mut self, scene: &Scene) -> Option<Vec<u8>> {
        let now_ns = scene.setup.clock.now_ns();
        let from_ns = now_ns.saturating_sub(self.span_ns);
        let mut news: Vec<(u32, Series)> = Vec::new();
        for (channel, sent) in &mut self.channels {
            let mut series = scene
                .pyramid(*channel)
                .series(self.level, from_ns, i64::MAX / 2);
            if let Some((last, values)) = *sent {
                // The last one sent may not have been over; if it is the same, it is not sent again.
                let skip = usize::try_from(last - series.first)
                    .unwrap_or(0)
                    .min(series.columns.len());
                series.columns.drain(..skip);
                series.first += i64::try_from(skip).unwrap_or(0);
                if series.first == last
                    && series
                        .columns
                        .first()
                        .is_some_and(|first| first.map(f64::to_bits) == values)
                {
                    series.columns.remove(0);
                    series.first += 1;
                }
            }
            let Some(newest) = series.columns.last() else {
                continue;
            };
            let last = series.first + i64::try_from(series.columns.len()).unwrap_or(0) - 1;
            *sent = Some((last, newest.map(f64::to_bits)));
            news.push((u32::try_from(*channel).unwrap_or(u32::MAX), series));
        }
        (!news.is_empty()).then(|| wire::message(Kind::Live, self.id, now_ns, &news))
    }
}
