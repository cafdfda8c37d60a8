//! Connections: accepted, encrypted if they are to be, and bounded in number, time and size.
//!
//! **Must not know.** What is asked for.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Request, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::api::{self, READERS_MAX, Shared};
use super::guard::{self, Guard, Refusal};
use super::options::Tls;
use super::scene::Scene;
use super::{assets, follower};

/// How long a client may take to say what it wants, and for a handshake.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take, the body of its request included.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// The longest body of a request, bytes.
const BODY_BYTES_MAX: usize = 16 << 10;
/// The longest heads of a request together, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How often rates are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long connections may take to end.
const GRACE: Duration = Duration::from_millis(500);

pub(super) struct Serving {
    pub(super) scene: Arc<Scene>,
    pub(super) guard: Arc<Guard>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) stop: Arc<Notify>,
}

/// Reads certificate and key.
pub(super) fn tls(files: &Tls) -> Result<TlsAcceptor, String> {
    let wrong = |path: &std::path::Path, what: String| format!("{}: {what}", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&files.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| wrong(&files.certificate, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub(super) fn start(listener: TcpListener, serving: Serving) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(READERS_MAX + 2)
        .thread_name("kymo-page-reads")
        .on_thread_start(follower::be_nice)
        .build()?;
    let thread = std::thread::Builder::new().name("kymo-page".to_owned());
    thread.spawn(move || {
        follower::be_nice();
        runtime.block_on(serve(listener, serving));
        runtime.shutdown_timeout(GRACE);
    })
}

fn router(serving: &Serving) -> Router {
    let shared = Arc::new(Shared {
        scene: Arc::clone(&serving.scene),
        guard: Arc::clone(&serving.guard),
        readers: Semaphore::new(READERS_MAX),
    });
    api::routes()
        .fallback(assets::file)
        .method_not_allowed_fallback(async || {
            Refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "not by this method".to_owned(),
            )
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&serving.guard),
            guard::check,
        ))
        .with_state(shared)
}

/// Gives up a request that takes too long: a body that does not come, above all.
async fn in_time(request: axum::extract::Request, next: middleware::Next) -> Response {
    let answered = tokio::time::timeout(ANSWER_PATIENCE, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        let what = "the request took too long".to_owned();
        Refusal(StatusCode::REQUEST_TIMEOUT, what).into_response()
    })
}

async fn serve(listener: TcpListener, serving: Serving) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let router = router(&serving);
    let clients = Arc::new(Semaphore::new(serving.scene.setup.options.clients_max));
    let mut look = tokio::time::interval(LOOK);
    loop {
        let accepted = tokio::select! {
            () = serving.stop.notified() => return farewell(&serving.scene).await,
            _ = look.tick() => {
                serving.scene.look(LOOK.as_secs_f64());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // No descriptor is left: the next look may find one.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Answers are short; live traces are not to wait for each other.
        let _ = stream.set_nodelay(true);
        let Ok(permit) = Arc::clone(&clients).try_acquire_owned() else {
            tokio::spawn(turn_away(stream));
            continue;
        };
        let (router, tls) = (router.clone(), serving.tls.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match tls {
                None => connection(stream, router).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) =
                        tokio::time::timeout(HEAD_PATIENCE, tls.accept(stream)).await
                    {
                        connection(stream, router).await;
                    }
                }
            }
        });
    }
}

/// Lets those that look at live traces be told that it is over.
async fn farewell(scene: &Scene) {
    const LOOKS: u32 = 50;
    for _ in 0..LOOKS {
        if scene.clients.load(Ordering::Relaxed) == 0 {
            return;
        }
        tokio::time::sleep(GRACE / LOOKS).await;
    }
}

/// One connection, until it ends.
async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A client that goes away in the middle is no trouble of ours.
    let _ = served.await;
}

/// Says that there is no room.
async fn turn_away(mut stream: tokio::net::TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
        content-length: 41\r\nconnection: close\r\n\r\n{\"error\":\"too many clients at this time\"}";
    let _ = tokio::time::timeout(GRACE, stream.write_all(ANSWER)).await;
}
