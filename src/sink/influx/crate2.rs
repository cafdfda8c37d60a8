//! The crate `influxdb2` as the carrier of v2's writes, instead of our own transport.
//!
//! It has no way to a base path, a private CA, a client's certificate or a proxy, and it drops the header `Retry-After`:
//! the configuration refuses what it cannot do, and a busy server is left alone for as long as the back-off says.
//!
//! **Must not know.** What an answer means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use influxdb2::api::write::TimestampPrecision;
use influxdb2::{Client, RequestError};

use super::answer::Answer;
use super::line::Precision;
use super::transport::{Answering, Transport, TransportError, chain};
use super::{Auth, Options};

/// The crate's client, for one bucket.
pub(super) struct Crate2 {
    client: Client,
    organisation: String,
    bucket: String,
    precision: Precision,
    timeout: Duration,
}

impl Crate2 {
    /// Reads the token.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn new(options: &Arc<Options>) -> Result<Self, String> {
        let token = match &options.auth {
            Some(Auth::Token { secret, .. }) => secret.read()?,
            Some(Auth::Basic { .. }) => {
                return Err("the crate `influxdb2` knows tokens only".to_owned());
            }
            None => String::new(),
        };
        let organisation = options.organisation.clone().unwrap_or_default();
        let url = options.url.at("", &[]).to_string();
        let builder = influxdb2::ClientBuilder::new(url, organisation.clone(), token);
        Ok(Self {
            client: builder.build().map_err(|error| error.to_string())?,
            organisation,
            bucket: options.bucket.clone().unwrap_or_default(),
            precision: options.precision,
            timeout: options.timeout,
        })
    }
}

impl Transport for Crate2 {
    fn write(&self, lines: Bytes) -> Answering<Answer> {
        let (client, organisation, bucket) = (
            self.client.clone(),
            self.organisation.clone(),
            self.bucket.clone(),
        );
        let precision = match self.precision {
            Precision::Ns => TimestampPrecision::Nanoseconds,
            Precision::Us => TimestampPrecision::Microseconds,
            Precision::Ms => TimestampPrecision::Milliseconds,
            Precision::S => TimestampPrecision::Seconds,
        };
        let timeout = self.timeout;
        Box::pin(async move {
            let write =
                client.write_line_protocol_with_precision(&organisation, &bucket, lines, precision);
            let answer = |status, text: String| Answer {
                status,
                body: text.into_bytes(),
                is_whole: true,
                ..Answer::default()
            };
            match tokio::time::timeout(timeout, write).await {
                Err(_) => Err(TransportError::TimedOut),
                Ok(Ok(())) => Ok(answer(204, String::new())),
                Ok(Err(RequestError::Http { status, text })) => Ok(answer(status.as_u16(), text)),
                Ok(Err(error)) => Err(TransportError::Failed(chain(&error))),
            }
        })
    }
}
