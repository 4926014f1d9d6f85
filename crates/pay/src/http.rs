//! Calls over HTTP: bounded in time and size, and not redirected.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, RequestBuilder, Url};

use crate::outcome::clip;
use crate::{ConfigError, Doubt};

/// Largest answer of a call that is read, in bytes. The largest that providers send, a list of certificates, has 20 KiB.
pub(crate) const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Largest file of a bill, as it comes and decompressed, in bytes: about 250,000 lines.
pub(crate) const MAX_FILE_BYTES: usize = 64 * 1024 * 1024;

/// How long is waited for a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For an answer, from the first byte sent to the last received.
    pub answer: Duration,
    /// For the file of a bill.
    pub file: Duration,
}

impl Default for Timeouts {
    /// 3 s, 10 s and 60 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(10),
            file: Duration::from_secs(60),
        }
    }
}

/// An HTTP client that follows no redirects. Cheap to clone; one serves several providers.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    timeouts: Timeouts,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl HttpClient {
    /// Makes a client.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(timeouts: Timeouts) -> Result<Self, ConfigError> {
        Self::from_builder(reqwest::Client::builder(), timeouts)
    }

    /// Makes a client with a proxy, roots or a resolver of the caller's. Redirects stay off: a signed request goes
    /// where it was signed for.
    ///
    /// # Errors
    /// If the builder's settings cannot be used.
    pub fn from_builder(builder: ClientBuilder, timeouts: Timeouts) -> Result<Self, ConfigError> {
        let client = builder
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(timeouts.connect)
            .build()
            .map_err(ConfigError::Http)?;
        Ok(Self { client, timeouts })
    }

    pub(crate) fn request(&self, method: http::Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a call and reads its answer.
    pub(crate) async fn call(&self, request: RequestBuilder) -> Result<Reply, Doubt> {
        read(request, self.timeouts.answer, MAX_ANSWER_BYTES).await
    }

    /// Sends a call and reads the file that it answers with.
    pub(crate) async fn file(&self, request: RequestBuilder) -> Result<Reply, Doubt> {
        read(request, self.timeouts.file, MAX_FILE_BYTES).await
    }
}

async fn read(request: RequestBuilder, timeout: Duration, max_bytes: usize) -> Result<Reply, Doubt> {
    let doubt = |error: reqwest::Error| doubt(error, timeout);
    let mut answer = request.timeout(timeout).send().await.map_err(doubt)?;
    let status = answer.status();
    let headers = answer.headers().clone();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(doubt)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(Doubt::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply {
        status,
        headers,
        body,
    })
}

/// The URL is left out: it may carry a token.
fn doubt(error: reqwest::Error, timeout: Duration) -> Doubt {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        Doubt::NotSent(chain(&error))
    } else if error.is_timeout() {
        Doubt::Timeout(timeout)
    } else {
        Doubt::Broken(chain(&error))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    clip(&text)
}

/// Reads a base URL: `http` or `https`, a host, no user, query or fragment.
pub(crate) fn base_url(text: &str) -> Result<Url, ConfigError> {
    let wrong = || ConfigError::Url(clip(text));
    let url: Url = text.parse().map_err(|_| wrong())?;
    let anonymous = url.username().is_empty() && url.password().is_none();
    let bare = url.query().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && bare && anonymous)
        .then_some(url)
        .ok_or_else(wrong)
}
