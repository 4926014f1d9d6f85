//! The POST, bounded in time and size.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::answer::{Doubt, Failure, answer};
use crate::signature::{Call, authorization};
use crate::{CONNECT_TIMEOUT, Clock, MAX_ANSWER_BYTES};

const CONTENT_TYPE: &str = "application/json; charset=utf-8";
/// Longest text of a failed connection that is passed on, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// What calls are signed with. `Debug` does not show the key.
#[derive(Debug, Clone)]
pub struct Account {
    /// Id of the key.
    pub secret_id: String,
    /// The key.
    pub secret_key: SecretString,
}

/// A product's API in a region.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The product, `sms` for example.
    pub service: &'static str,
    /// Version of its API.
    pub version: &'static str,
    /// Base URL, without a path: `https://sms.tencentcloudapi.com`.
    pub url: String,
    /// Region.
    pub region: String,
    /// How long a call may take, from the first byte sent to the last received.
    pub timeout: Duration,
}

/// A wrong setting of a client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The path is part of what is signed, so that there must be none.
    #[error("url is not http(s)://host without a path")]
    Url,
    /// No HTTP client can be made.
    #[error("no HTTP client can be made")]
    Http(#[source] reqwest::Error),
}

/// A client of one product's API. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    url: Url,
    host: String,
    account: Account,
    clock: Clock,
    client: reqwest::Client,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.0.endpoint)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client with this machine's clock.
    ///
    /// # Errors
    /// The URL is not usable.
    pub fn new(endpoint: Endpoint, account: Account) -> Result<Self, ConfigError> {
        Self::build(endpoint, account, Clock::system(), reqwest::Client::builder())
    }

    /// Makes a client with a clock, and a proxy, roots or a resolver, of the caller's.
    ///
    /// # Errors
    /// The URL, or the builder's settings, are not usable.
    pub fn build(
        endpoint: Endpoint,
        account: Account,
        clock: Clock,
        http: ClientBuilder,
    ) -> Result<Self, ConfigError> {
        let url = base_url(&endpoint.url).ok_or(ConfigError::Url)?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), None) => host.to_owned(),
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (None, _) => return Err(ConfigError::Url),
        };
        let client = http
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(endpoint.timeout)
            .build()
            .map_err(ConfigError::Http)?;
        Ok(Self(Arc::new(Inner {
            endpoint,
            url,
            host,
            account,
            clock,
            client,
        })))
    }

    /// Calls an action and reads its answer.
    ///
    /// # Errors
    /// The API refuses, or nobody knows.
    pub async fn call<T: DeserializeOwned>(
        &self,
        action: &str,
        request: &impl Serialize,
    ) -> Result<T, Failure> {
        answer(&self.post(action, request).await?)
    }

    /// Calls an action and returns its answer as it came: at most [`MAX_ANSWER_BYTES`], with an HTTP status of success.
    ///
    /// # Errors
    /// There is none.
    pub async fn post(&self, action: &str, request: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Doubt> {
        let Inner {
            endpoint,
            host,
            account,
            ..
        } = &*self.0;
        let body = serde_json::to_vec(request).map_err(|_| Doubt::NotSent("no JSON".to_owned()))?;
        let now = self.0.clock.now();
        let signed = Call {
            service: endpoint.service,
            host,
            content_type: CONTENT_TYPE,
            action: Some(action),
            body: &body,
            at: now,
        };
        let authorization = authorization(&signed, &account.secret_id, account.secret_key.expose_secret());
        let request = self
            .0
            .client
            .post(self.0.url.clone())
            .header("authorization", authorization)
            .header("content-type", CONTENT_TYPE)
            .header("host", host)
            .header("x-tc-action", action)
            .header("x-tc-version", endpoint.version)
            .header("x-tc-region", &endpoint.region)
            .header("x-tc-timestamp", now.timestamp().to_string())
            .body(body);
        let doubt = |error| doubt(error, endpoint.timeout);
        let mut answer = request.send().await.map_err(doubt)?;
        if !answer.status().is_success() {
            return Err(Doubt::Status(answer.status().as_u16()));
        }
        // Made as large as it may become: growing would leave a copy behind that is not cleared.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_ANSWER_BYTES));
        while let Some(chunk) = answer.chunk().await.map_err(doubt)? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Doubt::TooLarge(MAX_ANSWER_BYTES));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// Reads the base URL: `http` or `https`, a host, and nothing else.
fn base_url(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && bare && anonymous).then_some(url)
}

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

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_TEXT_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_a_bare_url_and_does_not_show_its_key() {
        let of = |url: &str| {
            let endpoint = Endpoint {
                service: "kms",
                version: "2019-01-18",
                url: url.to_owned(),
                region: "ap-guangzhou".to_owned(),
                timeout: Duration::from_secs(1),
            };
            let account = Account {
                secret_id: "id".to_owned(),
                secret_key: "planted".into(),
            };
            assert!(!format!("{account:?}").contains("planted"));
            Client::new(endpoint, account)
        };
        for url in ["https://kms.tencentcloudapi.com", "http://127.0.0.1:7100/"] {
            let shown = format!("{:?}", of(url).unwrap());
            assert!(shown.contains(url) && !shown.contains("planted"), "{shown}");
        }
        for url in [
            "",
            "kms.tencentcloudapi.com",
            "ftp://host",
            "http://host/path",
            "http://host?query",
            "http://host#fragment",
            "http://user:password@host",
        ] {
            assert!(matches!(of(url), Err(ConfigError::Url)), "{url}");
        }
    }
}
