//! The live page: traces, states, alerts, the ledger, in a browser; and metrics for who watches over many hosts.
//!
//! A thread follows the journal (`follower.rs`) and keeps envelopes of every channel (`pyramid.rs`); another answers requests, on a runtime of its
//! own (`http.rs`): `guard.rs` stands before every route of `api.rs`, `socket.rs` sends live traces in the form of `wire.rs`, `range.rs` reads what is older
//! out of the store. What is exchanged is described in `docs/api.md`.
//!
//! **Always holds.** The acquisition does not notice it: it reads what is committed, in threads of low urgency, and what it holds in memory is bounded, by channels and
//! by clients. It listens on loopback unless it is told otherwise, and then not without a token.
//!
//! **Must not know.** Devices, the configuration, how anything is judged.

mod api;
mod assets;
mod follower;
mod guard;
mod http;
mod metrics;
pub mod options;
mod pyramid;
mod range;
mod scene;
mod socket;
mod state;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

pub use options::{Options, Tls, Token};
pub use scene::{Annotate, ChannelInfo, Latencies, RuleInfo, Setup, SourceInfo};

use guard::Guard;
use scene::Scene;

/// Where a run says under which address its page is, in the data directory.
pub const ADDRESS_FILE: &str = "page.json";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Tokens or certificates.
    #[error("{0}")]
    Setup(String),
    /// Threads or descriptors.
    #[error("the system gives no thread or descriptor more: {0}")]
    System(#[from] std::io::Error),
}

/// A page that is served.
pub struct Server {
    scene: Arc<Scene>,
    address: SocketAddr,
    is_encrypted: bool,
    stop: Arc<tokio::sync::Notify>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Listens, and begins to follow the journal.
    ///
    /// # Errors
    /// If it cannot listen there, or may not.
    pub fn start(setup: Setup) -> Result<Self, Error> {
        let address = setup.options.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let guard = Guard::new(&setup.options, address).map_err(Error::Setup)?;
        let tls = match &setup.options.tls {
            Some(tls) => Some(http::tls(tls).map_err(Error::Setup)?),
            None => None,
        };
        let is_encrypted = tls.is_some();
        let file = setup.data_dir.join(ADDRESS_FILE);
        let scene = Arc::new(Scene::new(setup));
        let stop = Arc::<tokio::sync::Notify>::default();
        let served = http::Serving {
            scene: Arc::clone(&scene),
            guard: Arc::new(guard),
            tls,
            stop: Arc::clone(&stop),
        };
        let server = Self {
            threads: vec![
                follower::start(Arc::clone(&scene))?,
                http::start(listener, served)?,
            ],
            scene,
            address,
            is_encrypted,
            stop,
        };
        std::fs::write(
            file,
            format!("{}\n", serde_json::json!({ "url": server.url() })),
        )?;
        Ok(server)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.scene.stopping.store(true, Ordering::Release);
        // Wakes those that wait for something new.
        self.scene.version.send_modify(|version| *version += 1);
        self.stop.notify_one();
        let _ = std::fs::remove_file(self.scene.setup.data_dir.join(ADDRESS_FILE));
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // One that broke down has nothing more to say.
            let _ = thread.join();
        }
    }
}
