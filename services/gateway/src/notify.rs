//! What payment providers tell: bytes that pass as they came, since their signature is over them.
//!
//! Nothing is read here, and nobody is asked for a token: what proves a notification is verified by the billing service,
//! which also says what the provider is answered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use proto::billing::v1::notify_service_client::NotifyServiceClient;
use proto::billing::v1::{Channel, NotifyHeader, ReceiveNotifyRequest, ReceiveNotifyResponse};
use rpc::error::Reason;
use token::Caller;

use crate::body::Strangers;
use crate::config::Config;
use crate::context::Context;
use crate::{body, forward};

/// Package of the service that takes notifications; without its address there are no routes.
pub(crate) const PACKAGE: &str = "evenkeel.billing.v1";
/// Providers wait 5 s for an answer, and send again.
const DEADLINE: Duration = Duration::from_millis(4_500);
/// Largest body, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// What passes besides the headers with which WeChat signs.
const HEADERS: [&str; 2] = ["content-type", "request-id"];
const WECHAT_HEADERS: &str = "wechatpay-";

/// Where a provider sends notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    WeChat,
    Alipay,
}

/// Finds the route of a path.
pub(crate) fn find(path: &str) -> Option<Route> {
    Route::ALL.into_iter().find(|route| route.path() == path)
}

impl Route {
    pub(crate) const ALL: [Self; 2] = [Self::WeChat, Self::Alipay];

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::WeChat => "/api/v1/payments/notify/wechat",
            Self::Alipay => "/api/v1/payments/notify/alipay",
        }
    }

    pub(crate) const fn provider(self) -> &'static str {
        match self {
            Self::WeChat => "WeChat Pay",
            Self::Alipay => "Alipay",
        }
    }

    const fn channel(self) -> Channel {
        match self {
            Self::WeChat => Channel::Wechat,
            Self::Alipay => Channel::Alipay,
        }
    }
}

/// Passes notifications on.
#[derive(Debug, Clone)]
pub(crate) struct Notifies {
    config: Arc<Config>,
    billing: NotifyServiceClient<rpc::channel::Channel>,
    strangers: Arc<Strangers>,
}

impl Notifies {
    /// Makes the part; `None` without a billing service.
    pub(crate) fn new(config: Arc<Config>, deps: &crate::Deps, strangers: Arc<Strangers>) -> Option<Self> {
        let channel = deps.upstreams.get(PACKAGE)?.clone();
        let billing = NotifyServiceClient::new(channel);
        Some(Self {
            config,
            billing,
            strangers,
        })
    }

    /// Passes one notification on, and answers what the billing service says.
    pub(crate) async fn answer(
        &self,
        route: Route,
        head: Parts,
        body: Body,
        context: &Context,
    ) -> Response<Body> {
        let body = match self.body(&head, body, context).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let message = ReceiveNotifyRequest {
            channel: route.channel().into(),
            headers: signed(&head.headers),
            body,
        };
        let nobody = Caller::Anonymous;
        let request = forward::request(message, &HeaderMap::new(), &nobody, None, context, DEADLINE);
        let mut billing = self.billing.clone();
        match tokio::time::timeout(DEADLINE, billing.receive_notify(request)).await {
            Ok(Ok(answer)) => response(answer.into_inner(), context),
            Ok(Err(status)) => {
                tracing::warn!(
                    provider = route.provider(),
                    request_id = context.request_id(),
                    code = rpc::error::code_name(status.code()),
                    error = status.message(),
                    "a notification was not taken; it will be sent again"
                );
                context.failed(&status)
            }
            Err(_) => context.refuse(Reason::DeadlineExceeded, "the service did not answer in time"),
        }
    }
}

impl Notifies {
    async fn body(&self, head: &Parts, body: Body, context: &Context) -> Result<Bytes, Response<Body>> {
        let _place = self.strangers.take(context)?;
        body::collect(head, body, &self.config, MAX_BODY_BYTES, context).await
    }
}

/// What a signature may depend on, by a list, so that nothing else passes.
fn signed(headers: &HeaderMap) -> Vec<NotifyHeader> {
    let passes = |name: &str| HEADERS.contains(&name) || name.starts_with(WECHAT_HEADERS);
    let passing = headers.iter().filter(|(name, _)| passes(name.as_str()));
    let readable = passing.filter_map(|(name, value)| {
        Some(NotifyHeader {
            name: name.as_str().to_owned(),
            value: value.to_str().ok()?.to_owned(),
        })
    });
    readable.collect()
}

fn response(answer: ReceiveNotifyResponse, context: &Context) -> Response<Body> {
    let status = u16::try_from(answer.status)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    let media = HeaderValue::try_from(answer.content_type).ok();
    let (Some(status), Some(media)) = (status, media) else {
        tracing::error!(
            request_id = context.request_id(),
            "the answer to a notification cannot be sent"
        );
        return context.refuse(Reason::Internal, Reason::Internal.text_en());
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = status;
    if !media.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, media);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_signed_passes() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("wechatpay-signature", "c2ln"),
            ("wechatpay-timestamp", "1"),
            ("content-type", "application/json"),
            ("authorization", "Bearer a.b.c"),
            ("cookie", "a=b"),
            ("evenkeel-actor", "root"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("wechatpay-nonce", HeaderValue::from_bytes(b"\xff").unwrap());
        let mut names: Vec<_> = signed(&headers).into_iter().map(|header| header.name).collect();
        names.sort();
        assert_eq!(
            names,
            ["content-type", "wechatpay-signature", "wechatpay-timestamp"]
        );
    }

    #[test]
    fn paths_are_exact() {
        assert_eq!(find("/api/v1/payments/notify/wechat"), Some(Route::WeChat));
        for path in [
            "/api/v1/payments/notify/paypal",
            "/api/v1/payments/notify/wechat/",
            "/wechat",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
