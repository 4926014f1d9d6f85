//! What is known of a request from its head on, and how it is refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rpc::error::Reason;
use tonic::Status;
use transcode::{BadRequest, Lang, Problem};
use uuid::Uuid;

/// Header with the id of a request.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// Longest id that is taken over from a client, in characters.
const MAX_ID_CHARS: usize = 64;

/// What is known of a request; in its extensions. Clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    request_id: String,
    lang: Lang,
    client_ip: IpAddr,
}

impl Context {
    /// Reads the head. An id that the client gives is kept if it is 1 to 64 letters, digits, dots, underscores and hyphens.
    pub(crate) fn new(headers: &HeaderMap, client_ip: IpAddr) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let given = text(REQUEST_ID).filter(|id| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            (1..=MAX_ID_CHARS).contains(&id.len()) && id.bytes().all(good)
        });
        Self(Arc::new(Inner {
            request_id: given.map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned),
            lang: Lang::negotiate(text(header::ACCEPT_LANGUAGE.as_str())),
            client_ip,
        }))
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.0.request_id
    }

    pub(crate) fn lang(&self) -> Lang {
        self.0.lang
    }

    pub(crate) fn client_ip(&self) -> IpAddr {
        self.0.client_ip
    }

    /// Makes the answer to a request that the gateway refuses.
    pub(crate) fn refuse(&self, reason: Reason, detail: impl Into<String>) -> Response<Body> {
        respond(&Problem::new(reason, detail, self.lang(), self.request_id()))
    }

    /// The same, with a time after which it makes sense to come again.
    pub(crate) fn refuse_for(
        &self,
        reason: Reason,
        detail: impl Into<String>,
        retry_after: Option<Duration>,
    ) -> Response<Body> {
        let mut problem = Problem::new(reason, detail, self.lang(), self.request_id());
        problem.retry_after = retry_after;
        respond(&problem)
    }

    /// Makes the answer to a request that cannot be read.
    pub(crate) fn bad(&self, bad: &BadRequest) -> Response<Body> {
        respond(&Problem::from_bad_request(bad, self.lang(), self.request_id()))
    }

    /// Makes the answer to a call that failed.
    pub(crate) fn failed(&self, status: &Status) -> Response<Body> {
        respond(&Problem::from_status(status, self.lang(), self.request_id()))
    }
}

fn respond(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(Body::from(problem.to_json()));
    *response.status_mut() =
        StatusCode::from_u16(problem.status()).expect("the catalogue has statuses of HTTP only");
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(transcode::problem::MEDIA_TYPE),
    );
    headers.insert(
        header::CONTENT_LANGUAGE,
        HeaderValue::from_static(problem.lang.tag()),
    );
    if let Some(seconds) = problem.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        // RFC 6750, 3: the code tells a client whether to refresh its token.
        let bad = [Reason::TokenExpired, Reason::TokenInvalid, Reason::TokenRevoked];
        let challenge = if bad.contains(&problem.reason) {
            "Bearer error=\"invalid_token\""
        } else {
            "Bearer"
        };
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn context(id: Option<&'static [u8]>) -> Context {
        let mut headers = HeaderMap::new();
        if let Some(id) = id {
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        }
        Context::new(&headers, Ipv4Addr::LOCALHOST.into())
    }

    #[test]
    fn an_id_of_the_client_is_kept_if_it_is_harmless() {
        assert_eq!(context(Some(b"order-17.try_2")).request_id(), "order-17.try_2");
        for bad in [&b""[..], b"a b", b"\xff", b"x\"", &[b'x'; 65]] {
            let bad: &'static [u8] = bad.to_vec().leak();
            assert!(context(Some(bad)).request_id().parse::<Uuid>().is_ok());
        }
        assert_ne!(context(None).request_id(), context(None).request_id());
    }

    #[test]
    fn a_refusal_for_want_of_a_token_says_which_one_would_do() {
        let challenge = |reason| {
            let response = context(None).refuse(reason, "x");
            response.headers()[header::WWW_AUTHENTICATE]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(challenge(Reason::Unauthenticated), "Bearer");
        assert_eq!(challenge(Reason::TokenExpired), "Bearer error=\"invalid_token\"");
    }
}
