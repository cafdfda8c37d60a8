//! Carrying requests to the server: our own by `reqwest`, behind a seam at which others can stand.
//!
//! **Always holds.** No more than [`ANSWER_BYTES_MAX`] of an answer are kept. An error says what was tried, down to its
//! last cause, and never a secret.
//!
//! **Must not know.** What an answer means.

use std::error::Error;
use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, RequestBuilder, Response, Url};

use super::answer::Answer;
use super::dialect::{Dialect, certain, detect, write_url};
use super::{Auth, Options, Proxy, tls};

/// Bytes of an answer that are read: enough for the lines of a large batch.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportError {
    /// It did not come in time.
    TimedOut,
    /// No connection, a reset, a certificate that is not believed.
    Failed(String),
}

/// An answer on its way.
pub type Answering<T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send>>;

/// Who carries requests.
pub trait Transport: Send + Sync {
    /// Writes lines.
    fn write(&self, lines: Bytes) -> Answering<Answer>;
}

/// Our own.
#[derive(Clone)]
pub struct Http {
    client: Client,
    options: Arc<Options>,
    /// Where lines go, once that is known.
    write: Arc<OnceLock<(Dialect, Url)>>,
}

impl Http {
    /// Reads secrets and certificates.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn new(options: &Arc<Options>) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization(options)? {
            headers.insert(AUTHORIZATION, value);
        }
        let builder = Client::builder()
            .tls_backend_preconfigured(tls::config(options)?)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("kymo/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(options.timeout)
            .timeout(options.timeout);
        let builder = match &options.proxy {
            Proxy::Url(url) => {
                builder.proxy(reqwest::Proxy::all(url).map_err(|error| chain(&error))?)
            }
            Proxy::System if !options.url.is_local() => builder,
            _ => builder.no_proxy(),
        };
        let client = builder.build().map_err(|error| chain(&error))?;
        let write = OnceLock::new();
        if let Some(dialect) = certain(options) {
            let _ = write.set((dialect, write_url(options, dialect)));
        }
        Ok(Self {
            client,
            options: Arc::clone(options),
            write: Arc::new(write),
        })
    }

    /// Where lines go; the server is asked once, if that is in doubt.
    pub(super) async fn place(&self) -> Result<&(Dialect, Url), TransportError> {
        if self.write.get().is_none() {
            let (version, build, ping) = self.look("ping").await?;
            let health = match (&version, &build) {
                (None, None) => self.look("health").await?.2,
                _ => String::new(),
            };
            let dialect = detect(version.as_deref(), build.as_deref(), &[&ping, &health]);
            let _ = self.write.set((dialect, write_url(&self.options, dialect)));
        }
        self.write
            .get()
            .ok_or_else(|| TransportError::Failed("its dialect is not known".to_owned()))
    }

    async fn look(
        &self,
        path: &str,
    ) -> Result<(Option<String>, Option<String>, String), TransportError> {
        let request = self.client.get(self.options.url.at(path, &[]));
        let response = request.send().await.map_err(|error| failure(&error))?;
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (version, build) = (header("x-influxdb-version"), header("x-influxdb-build"));
        let (body, _) = read(response, 64 << 10).await?;
        Ok((version, build, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Asks something; status and text.
    pub(super) async fn ask(
        &self,
        build: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<(u16, String), TransportError> {
        let response = build(&self.client)
            .send()
            .await
            .map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let (body, _) = read(response, ANSWER_BYTES_MAX).await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

impl Transport for Http {
    fn write(&self, lines: Bytes) -> Answering<Answer> {
        let this = self.clone();
        Box::pin(async move {
            let (_, url) = this.place().await?;
            let mut request = this
                .client
                .post(url.clone())
                .header(CONTENT_TYPE, "text/plain; charset=utf-8");
            if this.options.gzip {
                request = request.header(CONTENT_ENCODING, "gzip").body(gzip(&lines));
            } else {
                request = request.body(lines);
            }
            let response = request.send().await.map_err(|error| failure(&error))?;
            let header = |name| {
                let value: &HeaderValue = response.headers().get(name)?;
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let answer = Answer {
                status: response.status().as_u16(),
                retry_after: header(RETRY_AFTER),
                location: header(LOCATION),
                content_type: header(CONTENT_TYPE),
                ..Answer::default()
            };
            if answer.status == 204 {
                return Ok(answer);
            }
            let (body, is_whole) = read(response, ANSWER_BYTES_MAX).await?;
            Ok(Answer {
                body,
                is_whole,
                ..answer
            })
        })
    }
}

/// The fastest level: the protocol repeats itself so much that the higher ones gain little.
fn gzip(lines: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(lines);
    encoder.finish().unwrap_or_default()
}

/// Reads an answer, up to a bound; whether that is all.
async fn read(mut response: Response, bytes_max: usize) -> Result<(Vec<u8>, bool), TransportError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = bytes_max.saturating_sub(body.len());
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return Ok((body, false));
                }
            }
            Ok(None) => return Ok((body, true)),
            Err(error) => return Err(failure(&error)),
        }
    }
}

fn failure(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() {
        return TransportError::TimedOut;
    }
    TransportError::Failed(chain(error))
}

/// An error with its causes. The address in front is ours, and the configuration's; no secret is in it.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += ": ";
            text += &more;
        }
        cause = error.source();
    }
    text
}

fn authorization(options: &Options) -> Result<Option<HeaderValue>, String> {
    let text = match &options.auth {
        None => return Ok(None),
        Some(Auth::Token { scheme, secret }) => format!("{scheme} {}", secret.read()?),
        Some(Auth::Basic { user, secret }) => {
            let pair = format!("{user}:{}", secret.read()?);
            format!("Basic {}", base64(pair.as_bytes()))
        }
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| "the secret holds characters that no HTTP header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = word >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_its_standard_shows_it() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn gzip_is_read_back() {
        use std::io::Read as _;
        let lines = b"m a=1 1\n".repeat(1000);
        let packed = gzip(&lines);
        assert!(packed.len() < lines.len() / 10);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut back)
            .expect("gzip");
        assert_eq!(back, lines);
    }
}
