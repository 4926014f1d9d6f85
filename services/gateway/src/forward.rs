//! What a service is told of the HTTP request behind a call: a list of what passes, so that nothing else can.

use std::time::Duration;

use http::{HeaderMap, header};
use rpc::CLIENT_IP_HEADER;
use telemetry::trace;
use token::Caller;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

use crate::context::{Context, REQUEST_ID};

/// Longest `accept-language` that is passed on, in bytes.
const MAX_LANGUAGE_BYTES: usize = 256;

/// Makes the metadata of a call.
///
/// `authorization` passes only if the gateway has believed it: for anybody else a service's public methods are called by
/// nobody. The trace context is that of the gateway's own span.
pub(crate) fn request<T>(
    message: T,
    headers: &HeaderMap,
    caller: &Caller,
    key: Option<&idempotency::Key>,
    context: &Context,
    deadline: Duration,
) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    let metadata = request.metadata_mut();
    trace::inject(metadata);
    let mut put = |name: &'static str, value: Option<MetadataValue<Ascii>>| {
        if let Some(value) = value {
            metadata.insert(name, value);
        }
    };
    put(REQUEST_ID, context.request_id().parse().ok());
    put(CLIENT_IP_HEADER, context.client_ip().to_string().parse().ok());
    if let Caller::User(_) = caller {
        let token = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let value = token.and_then(|token| MetadataValue::try_from(token).ok());
        put(
            "authorization",
            value.map(|mut value| {
                value.set_sensitive(true);
                value
            }),
        );
    }
    let language = headers
        .get(header::ACCEPT_LANGUAGE)
        .map(|value| value.as_bytes())
        .filter(|value| value.len() <= MAX_LANGUAGE_BYTES);
    put(
        "accept-language",
        language.and_then(|value| MetadataValue::try_from(value).ok()),
    );
    put("idempotency-key", key.and_then(|key| key.as_str().parse().ok()));
    request
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::HeaderValue;

    use super::*;

    fn sent(headers: &[(&'static str, &'static str)], caller: &Caller) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let context = Context::new(&map, Ipv4Addr::LOCALHOST.into());
        let request = request((), &map, caller, None, &context, Duration::from_secs(1));
        let headers = request.metadata().clone().into_headers();
        let mut sent: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        sent.sort();
        sent
    }

    fn user() -> Caller {
        Caller::User(token::User {
            user_id: ids::UserId::new(),
            session_id: "s".into(),
            role: token::Role::User,
            epoch: 0,
        })
    }

    #[test]
    fn what_is_not_on_the_list_does_not_pass() {
        let headers = [
            ("authorization", "Bearer a.b.c"),
            ("evenkeel-client-ip", "1.2.3.4"),
            ("evenkeel-actor", "root"),
            ("evenkeel-saga-id", "saga_1"),
            ("x-user-id", "user_1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("grpc-timeout", "99H"),
            ("cookie", "a=b"),
            ("idempotency-key", "not verified"),
            ("x-request-id", "r-1"),
            ("accept-language", "zh"),
        ];
        let sent = sent(&headers, &user());
        let names: Vec<&str> = sent.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "accept-language",
                "authorization",
                "evenkeel-client-ip",
                "grpc-timeout",
                "traceparent",
                "x-request-id"
            ]
        );
        assert_eq!(sent[2].1, "127.0.0.1");
        assert_ne!(sent[3].1, "99H");
    }

    #[test]
    fn a_token_that_was_not_believed_stays_here() {
        let sent = sent(&[("authorization", "Bearer a.b.c")], &Caller::Anonymous);
        assert!(sent.iter().all(|(name, _)| name != "authorization"), "{sent:?}");
    }
}
