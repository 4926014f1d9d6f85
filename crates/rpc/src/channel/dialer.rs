//! Opens channels, with the certificate of the process where it has one.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tls::{Expected, Mutual};
use tokio::net::TcpStream;
use tonic::ConnectError;
use tonic::codegen::http::Uri;
use tonic::transport::{self, Endpoint};

use super::renewing::{Channel, Renewing};
use super::{CONNECT_TIMEOUT, EndpointError, endpoint, lazy};

/// Port of `https` where the URL has none (RFC 9110, 4.2.2).
const HTTPS_PORT: u16 = 443;

/// How a process calls others: over TLS to `https` addresses, with its own certificate and its own trust, and plainly to `http`
/// ones. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Dialer(Option<Mutual>);

impl Dialer {
    /// Makes one that has no certificate, and refuses `https` addresses.
    #[must_use]
    pub const fn plain() -> Self {
        Self(None)
    }

    /// Makes one that shows this certificate.
    #[must_use]
    pub const fn mutual(mutual: Mutual) -> Self {
        Self(Some(mutual))
    }

    /// Returns how the URLs of those begin who have the same settings: `http` or `https`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.0.is_some() { "https" } else { "http" }
    }

    /// Returns a channel that connects on first use and reconnects by itself. The server's certificate must name the host of
    /// the URL.
    ///
    /// # Errors
    /// If the URL is not one, or is `https` and there is no certificate.
    pub fn lazy(&self, url: &str) -> Result<Channel, EndpointError> {
        self.open(url, |host| {
            let name = host.to_owned().try_into().ok()?;
            Some(Expected::Host(name))
        })
    }

    /// The same to a listener of this process, or of another one with the same certificate or such a one: it has the names by
    /// which others know it, which the address need not be among.
    ///
    /// # Errors
    /// If the URL is not one, or is `https` and there is no certificate.
    pub fn lazy_to_own(&self, url: &str) -> Result<Channel, EndpointError> {
        self.open(url, |_| Some(Expected::Own))
    }

    fn open(
        &self,
        url: &str,
        expected: impl FnOnce(&str) -> Option<Expected>,
    ) -> Result<Channel, EndpointError> {
        let endpoint = endpoint(url)?;
        let mutual = match (&self.0, endpoint.uri().scheme_str()) {
            (Some(mutual), Some("https")) => mutual.clone(),
            _ => return Ok(lazy(url)?.into()),
        };
        let no_host = || EndpointError::Host { url: url.to_owned() };
        let host = endpoint.uri().host().ok_or_else(no_host)?;
        let expected = Arc::new(expected(bare(host)).ok_or_else(no_host)?);
        let dialed = mutual.clone();
        let dial = move || channel(&endpoint, &dialed, &expected);
        Ok(Channel::from(Renewing::new(mutual, dial)))
    }
}

/// Makes a channel whose connections show the certificate. To be called within a runtime.
fn channel(endpoint: &Endpoint, mutual: &Mutual, expected: &Arc<Expected>) -> transport::Channel {
    let (mutual, expected) = (mutual.clone(), Arc::clone(expected));
    let connector = tower::service_fn(move |uri: Uri| {
        let (mutual, expected) = (mutual.clone(), Arc::clone(&expected));
        async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connect(&uri, &mutual, &expected))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                // By this type it is known that nothing was sent.
                .map_err(|error| ConnectError(error.into()))
        }
    });
    // tonic's own way to connect would refuse a URL for which it was given no TLS of its own.
    transport::Channel::new(connector, endpoint.clone())
}

async fn connect(
    uri: &Uri,
    mutual: &Mutual,
    expected: &Expected,
) -> io::Result<TokioIo<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + use<>>> {
    let host = bare(uri.host().unwrap_or_default());
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTPS_PORT))).await?;
    stream.set_nodelay(true)?;
    let stream = mutual.connect(stream, expected).await.map_err(io::Error::other)?;
    Ok(TokioIo::new(stream))
}

/// The host without the brackets around an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_certificate_https_is_a_mistake_in_the_set_up() {
        let plain = Dialer::plain();
        assert!(plain.lazy("http://quota:7102").is_ok());
        let error = plain.lazy("https://quota:7102").unwrap_err();
        assert!(matches!(error, EndpointError::NoTls { .. }), "{error}");
        assert!(matches!(plain.lazy("quota 7102"), Err(EndpointError::Url { .. })));
    }

    #[test]
    fn an_address_in_brackets_is_the_address() {
        assert_eq!(bare("[::1]"), "::1");
        assert_eq!(bare("quota"), "quota");
    }
}
