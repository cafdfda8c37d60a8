//! InfluxDB: versions 1, 2 and 3, and what takes the same protocol, such as VictoriaMetrics and QuestDB.
//!
//! [`mod@line`] writes lines, [`lanes`] knows which column goes into which of them, [`dialect`] where they are sent,
//! [`transport`] sends, [`answer`] understands what comes back, [`mod@test`] tries it all out with one point.
//!
//! **Always holds.** No secret is in the configuration: it names a variable or a file. A redirection is never followed,
//! since a write that is sent on becomes a read. Nothing here touches the network before it is asked to.
//!
//! **Must not know.** The journal, batches' fate, retrying.

pub mod answer;
#[cfg(feature = "influxdb2")]
mod crate2;
pub mod dialect;
pub mod lanes;
pub mod line;
pub mod test;
mod tls;
pub mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::template::Template;
use super::{Destination, Sending};
use crate::clock::Clock;
use crate::sink::batch::Body;
use answer::Verdict;
use dialect::{Choice, Endpoint};
use line::Precision;
use transport::{Http, Transport, TransportError};

/// How an InfluxDB is written to.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where it is, with the path behind which a proxy has it.
    pub url: Endpoint,
    /// Which protocol it speaks.
    pub dialect: Choice,
    /// v1, v3: the database.
    pub database: Option<String>,
    /// v1: the retention policy; the database's default if none is named.
    pub retention_policy: Option<String>,
    /// v2: the bucket.
    pub bucket: Option<String>,
    /// v2: the organisation.
    pub organisation: Option<String>,
    /// Who we are.
    pub auth: Option<Auth>,
    /// The measurement.
    pub measurement: Template,
    /// The field.
    pub field: Template,
    /// The tags.
    pub tags: Vec<(String, Template)>,
    /// The measurement of events.
    pub events: String,
    /// The unit of times.
    pub precision: Precision,
    /// Compress what is sent.
    pub gzip: bool,
    /// An answer is waited for so long.
    pub timeout: Duration,
    /// Certificates.
    pub tls: Tls,
    /// The way there.
    pub proxy: Proxy,
    /// Who carries requests.
    pub carrier: Carrier,
}

/// Who carries requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carrier {
    /// Our own transport.
    #[default]
    Own,
    /// The crate `influxdb2`, for v2, where it was built in.
    Influxdb2,
}

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: SCHEME TOKEN`.
    Token {
        /// `Token` or `Bearer`.
        scheme: &'static str,
        /// The token.
        secret: Secret,
    },
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        secret: Secret,
    },
}

/// Where a secret is found. It is read anew whenever a connection is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// In this environment variable.
    Env(String),
    /// In this file, without the white space around it.
    File(PathBuf),
}

impl Secret {
    fn read(&self) -> Result<String, String> {
        let found = match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name} is not set, or no text"))?,
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| {
                format!("cannot read the secret in {}: {error}", path.display())
            })?,
        };
        let found = found.trim().to_owned();
        if found.is_empty() {
            return Err(match self {
                Self::Env(name) => format!("the environment variable {name} is empty"),
                Self::File(path) => format!("{} is empty", path.display()),
            });
        }
        Ok(found)
    }
}

/// Certificates, as PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Believe these, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Show this one, with its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The way there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As the environment says (`HTTPS_PROXY`, `NO_PROXY`, …), but never to this host itself.
    #[default]
    System,
    /// Straight.
    None,
    /// Through this one.
    Url(String),
}

/// An InfluxDB to write to.
pub struct Influx {
    options: Arc<Options>,
    transport: Arc<dyn Transport>,
}

impl Influx {
    /// Reads secrets and certificates. Nothing is sent yet.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    pub fn new(options: &Options) -> Result<Self, String> {
        let options = Arc::new(options.clone());
        Ok(Self {
            transport: carrier(&options)?,
            options,
        })
    }
}

fn carrier(options: &Arc<Options>) -> Result<Arc<dyn Transport>, String> {
    match options.carrier {
        Carrier::Own => Ok(Arc::new(Http::new(options)?)),
        #[cfg(feature = "influxdb2")]
        Carrier::Influxdb2 => Ok(Arc::new(crate2::Crate2::new(options)?)),
        #[cfg(not(feature = "influxdb2"))]
        Carrier::Influxdb2 => Err(
            "this kymo was built without the crate `influxdb2`: build it with `--features influxdb2`"
                .to_owned(),
        ),
    }
}

impl Destination for Influx {
    fn send(&self, body: Body) -> Sending {
        let transport = Arc::clone(&self.transport);
        Box::pin(async move {
            match transport.write(body.text.clone()).await {
                Ok(answer) => answer::judge(&answer, &body, now_s()),
                Err(TransportError::TimedOut) => Verdict::TimedOut,
                Err(TransportError::Failed(what)) => Verdict::Failed(what),
            }
        })
    }

    fn renew(&mut self) -> Result<(), String> {
        self.transport = carrier(&self.options)?;
        Ok(())
    }

    fn place(&self) -> String {
        dialect::place(&self.options)
    }
}

/// Now, for a `Retry-After` that is a date.
fn now_s() -> i64 {
    Clock::system().now_ns().div_euclid(1_000_000_000)
}
