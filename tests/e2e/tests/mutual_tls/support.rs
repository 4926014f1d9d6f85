//! Callers of every kind, and what they are told.

use e2e::{Certificates, reason};
use http_body_util::BodyExt as _;
use test_support::metrics::Scrape;
use tls::authority::Issued;
use tonic::body::Body;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};
use tower::{Service as _, ServiceExt as _};

/// An empty message: no flags, no bytes.
const EMPTY: [u8; 5] = [0; 5];

pub(crate) async fn scrape(admin: &str) -> Scrape {
    let answer = reqwest::get(format!("{admin}/metrics")).await.unwrap();
    Scrape::parse(&answer.text().await.unwrap()).unwrap()
}

/// A channel of a client that trusts the platform, and shows what it is given.
pub(crate) fn connect(certificates: &Certificates, url: &str, shown: Option<&Issued>) -> Channel {
    let trust = std::fs::read(certificates.file("ca", "cert.pem")).unwrap();
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trust));
    if let Some(issued) = shown {
        tls = tls.identity(Identity::from_pem(&issued.certificate, issued.key.as_bytes()));
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    endpoint.tls_config(tls).unwrap().connect_lazy()
}

/// The certificate of a service, as it has it.
pub(crate) fn certificate_of(certificates: &Certificates, name: &str) -> Issued {
    let read = |ending| std::fs::read_to_string(certificates.file(name, ending)).unwrap();
    Issued {
        certificate: read("cert.pem"),
        key: read("cert-key.pem").into(),
    }
}

/// Calls a method with an empty message. `Ok` has the code and the reason of an answer, `Err` why there was none.
pub(crate) async fn call(
    mut channel: Channel,
    path: &str,
    token: Option<&str>,
) -> Result<(Code, String), String> {
    let mut request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = Body::new(http_body_util::Full::from(&EMPTY[..]).map_err(|never| match never {}));
    let request = request.body(body).unwrap();
    let ready = channel.ready().await.map_err(|error| format!("{error:?}"))?;
    let answer = ready.call(request).await.map_err(|error| format!("{error:?}"))?;
    let (parts, body) = answer.into_parts();
    let trailers = match Status::from_header_map(&parts.headers) {
        Some(status) => Some(status),
        None => {
            let body = body.collect().await.map_err(|error| format!("{error:?}"))?;
            body.trailers().and_then(Status::from_header_map)
        }
    };
    let status = trailers.unwrap_or_else(|| Status::unknown("no status"));
    Ok((status.code(), reason(&status)))
}
