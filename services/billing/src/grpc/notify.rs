//! NotifyService: bytes in, the provider's kind of answer out.

use http::{HeaderMap, HeaderName, HeaderValue};
use proto::billing::v1 as pb;
use proto::billing::v1::notify_service_server::NotifyService;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::app::notify::{self, Allowance};
use crate::domain::Channel;
use crate::error::Error;

/// Most headers that are looked at.
const MAX_HEADERS: usize = 64;
/// Largest notification, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Notifies {
    app: App,
    /// Of WeChat, of Alipay: rubbish that comes for one leaves the other its records.
    refused: [Allowance; 2],
}

impl Notifies {
    pub(super) fn new(app: App) -> Self {
        notify::describe();
        Self {
            app,
            refused: Default::default(),
        }
    }
}

#[tonic::async_trait]
impl NotifyService for Notifies {
    async fn receive_notify(
        &self,
        request: Request<pb::ReceiveNotifyRequest>,
    ) -> Result<Response<pb::ReceiveNotifyResponse>, Status> {
        let request = request.into_inner();
        let channel = Channel::from_message(request.channel()).ok_or(Error::Invalid {
            field: "channel",
            problem: "is missing or not known",
        })?;
        if request.body.len() > MAX_BODY_BYTES {
            return Err(Error::Invalid {
                field: "body",
                problem: "must be at most 256 KiB",
            }
            .into());
        }
        let [wechat, alipay] = &self.refused;
        let refused = match channel {
            Channel::WeChat => wechat,
            Channel::Alipay => alipay,
        };
        let headers = headers(&request.headers);
        let ack = notify::receive(&self.app, refused, channel, &headers, &request.body).await?;
        Ok(Response::new(pb::ReceiveNotifyResponse {
            status: ack.status.into(),
            content_type: ack.content_type.to_owned(),
            body: ack.body.as_bytes().to_vec().into(),
        }))
    }
}

/// What is no header is left out; that it is absent is for the provider's reader to say.
fn headers(sent: &[pb::NotifyHeader]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for header in sent.iter().take(MAX_HEADERS) {
        let name = HeaderName::try_from(header.name.as_str());
        let value = HeaderValue::try_from(header.value.as_str());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
