//! The page's files, which are in the program. A development build reads them from the source tree, so that they can be edited while it runs.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::guard::Refusal;

#[derive(RustEmbed)]
#[folder = "src/serve/page"]
struct Page;

/// What a file's name says of what is in it.
fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

/// A file of the page.
pub(super) async fn file(headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    if !matches!(request.method().as_str(), "GET" | "HEAD") {
        return Refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned()).into_response();
    }
    let Some(found) = Page::get(path) else {
        return Refusal(StatusCode::NOT_FOUND, "there is no such page".to_owned()).into_response();
    };
    let hash = found.metadata.sha256_hash();
    let tag: String = hash
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{tag}\"");
    // Asked for again each time, and answered with nothing if it is the same.
    let common = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (
        common,
        [(header::CONTENT_TYPE, kind(path))],
        found.data.into_owned(),
    )
        .into_response()
}
