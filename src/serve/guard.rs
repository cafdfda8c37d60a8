//! Who may: tokens and roles, the `Host` and the `Origin` of requests, and the headers that every answer has.
//!
//! A browser sends a page's requests to loopback under whatever name that page has been given by a name server (DNS rebinding), and
//! other pages' requests with the cookies of this one (cross-site requests). So the name by which we are called must be ours, and
//! what changes something must come from our own page.
//!
//! **Always holds.** Tokens are compared in constant time. A refusal says why in JSON, and nothing about tokens.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::options::Options;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// See.
    Reader,
    /// See, acknowledge, silence, annotate.
    Operator,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
        }
    }
}

/// The cookie that a login sets.
const COOKIE: &str = "kymo_token";

/// A refusal.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.1 }).to_string();
        (self.0, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// Who may do what, and by which names we are called.
pub(super) struct Guard {
    reader: Option<String>,
    operator: Option<String>,
    /// Lower case, without ports.
    hosts: Vec<String>,
    is_encrypted: bool,
}

impl Guard {
    /// Reads the tokens.
    ///
    /// # Errors
    /// If one cannot be read, or none is there where there must be one.
    pub(super) fn new(options: &Options, bound: SocketAddr) -> Result<Self, String> {
        let read = |token: &Option<super::options::Token>| {
            token.as_ref().map(|token| token.read()).transpose()
        };
        let (reader, operator) = (read(&options.reader)?, read(&options.operator)?);
        if !bound.ip().is_loopback() && reader.is_none() && operator.is_none() {
            return Err(format!(
                "{bound} can be reached from elsewhere, and no token is configured"
            ));
        }
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"]
            .map(str::to_owned)
            .into();
        hosts.push(match bound.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        });
        hosts.extend(options.hosts.iter().map(|host| host.to_lowercase()));
        Ok(Self {
            reader,
            operator,
            hosts,
            is_encrypted: options.tls.is_some(),
        })
    }

    fn has_tokens(&self) -> bool {
        self.reader.is_some() || self.operator.is_some()
    }

    /// The role of a token.
    pub(super) fn role_of(&self, token: &str) -> Option<Role> {
        let is = |known: &Option<String>| {
            known
                .as_ref()
                .is_some_and(|known| bool::from(known.as_bytes().ct_eq(token.as_bytes())))
        };
        // Both are compared, whatever comes of the first.
        let (operator, reader) = (is(&self.operator), is(&self.reader));
        match (operator, reader) {
            (true, _) => Some(Role::Operator),
            (false, true) => Some(Role::Reader),
            (false, false) => None,
        }
    }

    fn role(&self, headers: &HeaderMap) -> Result<Role, Refusal> {
        if !self.has_tokens() {
            // Loopback alone, and the page itself: see `check_names`.
            return Ok(Role::Operator);
        }
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let token = bearer.or_else(|| cookie(headers));
        let refused = |what: &str| Refusal(StatusCode::UNAUTHORIZED, what.to_owned());
        let token = token.ok_or_else(|| refused("a token is needed"))?;
        self.role_of(token)
            .ok_or_else(|| refused("this token is not known"))
    }

    /// Whether the request was meant for us, and, if it changes something, came from our own page.
    fn check_names(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let refused = |what: String| Refusal(StatusCode::FORBIDDEN, what);
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let host = host
            .or_else(|| uri.host())
            .unwrap_or_default()
            .to_lowercase();
        if !self.hosts.iter().any(|known| *known == name_of(&host)) {
            let shown: String = host.chars().take(64).collect();
            return Err(refused(format!(
                "nothing is served under the name `{shown}`: add it to `hosts` in [serve]"
            )));
        }
        let is_live = headers.contains_key(header::UPGRADE);
        let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !is_live;
        let origin = headers
            .get(header::ORIGIN)
            .map(|origin| origin.to_str().unwrap_or("?"));
        let scheme = if self.is_encrypted { "https" } else { "http" };
        if let Some(origin) = origin.filter(|_| !is_safe)
            && origin.to_lowercase() != format!("{scheme}://{host}")
        {
            return Err(refused("this request comes from another page".to_owned()));
        }
        Ok(())
    }

    /// The cookie of a login; an empty token takes it back.
    pub(super) fn cookie_for(&self, token: &str) -> String {
        let secure = if self.is_encrypted { "; Secure" } else { "" };
        let age = if token.is_empty() { "; Max-Age=0" } else { "" };
        format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{age}")
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split(':').next().unwrap_or(host)
}

/// Paths for which nobody needs a token: the page, which asks for one, and what watches over the program.
fn is_open(path: &str) -> bool {
    let is_api = path == "/metrics" || path.starts_with("/api/");
    !is_api || path == "/api/login"
}

/// Stands before every route.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut answer = match permit(&guard, &request) {
        Ok(role) => {
            request.extensions_mut().insert(role);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        answer
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    answer
}

fn permit(guard: &Guard, request: &Request) -> Result<Role, Refusal> {
    guard.check_names(request.method(), request.uri(), request.headers())?;
    let role = match guard.role(request.headers()) {
        Ok(role) => role,
        Err(_) if is_open(request.uri().path()) => Role::Reader,
        Err(refusal) => return Err(refusal),
    };
    let changes = request.method() == Method::POST;
    let path = request.uri().path();
    if changes && role < Role::Operator && path != "/api/login" && path != "/api/logout" {
        return Err(Refusal(
            StatusCode::FORBIDDEN,
            "this needs the operator's token".to_owned(),
        ));
    }
    Ok(role)
}

/// Of every answer. Styles and scripts are files of ours; images may be made by the page.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(reader: Option<&str>, operator: Option<&str>) -> Guard {
        Guard {
            reader: reader.map(str::to_owned),
            operator: operator.map(str::to_owned),
            hosts: vec!["localhost".to_owned(), "[::1]".to_owned()],
            is_encrypted: false,
        }
    }

    fn asked(method: &str, path: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(axum::body::Body::empty()).expect("a request")
    }

    fn refused(guard: &Guard, request: &Request) -> Option<u16> {
        permit(guard, request)
            .err()
            .map(|refusal| refusal.0.as_u16())
    }

    #[test]
    fn another_name_is_refused_and_ours_is_not_whatever_its_port() {
        let open = guard(None, None);
        for (host, expected) in [
            ("localhost:7777", None),
            ("LOCALHOST", None),
            ("[::1]:80", None),
            ("evil.example:7777", Some(403)),
            ("localhost.evil.example", Some(403)),
            ("", Some(403)),
        ] {
            assert_eq!(
                refused(&open, &asked("GET", "/", &[("host", host)])),
                expected,
                "{host}"
            );
        }
    }

    #[test]
    fn what_changes_something_comes_from_our_own_page() {
        let open = guard(None, None);
        let post = |origin: &str| {
            asked(
                "POST",
                "/api/notes",
                &[("host", "localhost:7777"), ("origin", origin)],
            )
        };
        assert_eq!(refused(&open, &post("http://localhost:7777")), None);
        for origin in [
            "http://evil.example",
            "https://localhost:7777",
            "http://localhost:8080",
            "null",
        ] {
            assert_eq!(refused(&open, &post(origin)), Some(403), "{origin}");
        }
        let live = [
            ("host", "localhost"),
            ("upgrade", "websocket"),
            ("origin", "http://evil.example"),
        ];
        assert_eq!(refused(&open, &asked("GET", "/api/live", &live)), Some(403));
    }

    #[test]
    fn tokens_give_roles() {
        let guard = guard(Some("reader-reader-reader"), Some("operator-operator"));
        let with = |method: &str, path: &str, token: &str| {
            let bearer = format!("Bearer {token}");
            asked(
                method,
                path,
                &[("host", "localhost"), ("authorization", &bearer)],
            )
        };
        assert_eq!(
            refused(
                &guard,
                &asked("GET", "/api/state", &[("host", "localhost")])
            ),
            Some(401)
        );
        assert_eq!(
            refused(&guard, &asked("GET", "/metrics", &[("host", "localhost")])),
            Some(401)
        );
        assert_eq!(
            refused(&guard, &asked("GET", "/health", &[("host", "localhost")])),
            None
        );
        assert_eq!(
            refused(&guard, &asked("GET", "/", &[("host", "localhost")])),
            None
        );
        assert_eq!(
            refused(&guard, &with("GET", "/api/state", "reader-reader-reader")),
            None
        );
        assert_eq!(
            refused(&guard, &with("GET", "/api/state", "reader-reader-readeR")),
            Some(401)
        );
        assert_eq!(
            refused(&guard, &with("POST", "/api/notes", "reader-reader-reader")),
            Some(403)
        );
        assert_eq!(
            refused(&guard, &with("POST", "/api/notes", "operator-operator")),
            None
        );
        let cookie = asked(
            "GET",
            "/api/state",
            &[
                ("host", "localhost"),
                ("cookie", "a=b; kymo_token=operator-operator"),
            ],
        );
        assert_eq!(permit(&guard, &cookie).ok(), Some(Role::Operator));
    }
}
