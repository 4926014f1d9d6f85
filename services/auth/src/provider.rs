//! Calls of providers over HTTP: bounded in time and size, and silent about what they carry.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};

use crate::error::chain;

/// How long a provider may take. People wait for it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a client of one provider.
///
/// It follows no redirects: a URL that holds a secret would go along, as the `Referer`.
pub(crate) fn client(timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .timeout(timeout)
        .redirect(Policy::none())
        .referer(false)
        .build()
}

/// Reads the base URL of a provider: `http` or `https`, a host, and no path.
pub(crate) fn base_url(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && bare && anonymous).then_some(url)
}

/// Sends a request and reads its answer, up to `max_bytes`.
///
/// # Errors
/// What went wrong, with its causes and without the URL: no answer in time, too large a one, or a status that is no success.
pub(crate) async fn call(request: RequestBuilder, max_bytes: usize) -> Result<Vec<u8>, String> {
    let mut answer = request.send().await.map_err(why)?;
    if !answer.status().is_success() {
        return Err(format!("HTTP {}", answer.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(why)? {
        if bytes.len() + chunk.len() > max_bytes {
            return Err(format!("the answer has more than {max_bytes} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The URL in a client's error may hold a secret.
fn why(error: reqwest::Error) -> String {
    chain(&error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_a_scheme_and_a_host() {
        for good in [
            "https://sms.tencentcloudapi.com",
            "http://127.0.0.1:7100/",
            "http://[::1]:80",
        ] {
            assert!(base_url(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "sms.tencentcloudapi.com",
            "ftp://host",
            "http://",
            "http://host/path",
            "http://host?query",
            "http://host#fragment",
            "http://user:password@host",
            "unix:/run/socket",
        ] {
            assert!(base_url(bad).is_none(), "{bad}");
        }
    }
}
