//! Other instances of the orchestrator.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::saga::v1 as pb;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use rpc::outcome::{Verdict, classify};
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::DOMAIN;
use crate::app::{Caller, Error};

/// Header of a request that another instance passed on: it is not passed on again, so that no circle can form.
pub(crate) const FORWARDED_HEADER: &str = "evenkeel-forwarded";
/// An owner that does not answer within this time counts as away.
const PATIENCE: Duration = Duration::from_secs(5);
/// Channels kept; instances that come and go would otherwise add up.
const MAX_CHANNELS: usize = 64;

/// Channels to other instances, by address.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    channels: Mutex<HashMap<String, Channel>>,
}

impl Peers {
    /// Passes a cancel on to the instance at `address`. What it answers is the answer.
    pub(crate) async fn cancel(
        &self,
        address: &str,
        caller: &Caller,
        request: pb::CancelSagaRequest,
    ) -> Result<pb::CancelSagaResponse, Error> {
        let mut client = SagaServiceClient::new(self.channel(address)?);
        let mut request = Request::new(request);
        request.set_timeout(PATIENCE);
        let metadata = request.metadata_mut();
        metadata.insert(FORWARDED_HEADER, MetadataValue::from_static("1"));
        for (name, value) in [
            (rpc::step::ACTOR_HEADER, Some(caller.actor.as_str())),
            (telemetry::trace::HEADER, caller.traceparent.as_deref()),
        ] {
            if let Some(value) = value.and_then(|value| MetadataValue::try_from(value).ok()) {
                metadata.insert(name, value);
            }
        }
        match client.cancel_saga(request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(match classify(&status, DOMAIN) {
                Verdict::Refused { .. } => Error::Owner(Box::new(status)),
                Verdict::Unknown | Verdict::Unsent | Verdict::Misconfigured | Verdict::Superseded => {
                    tracing::warn!(address, code = ?status.code(), error = status.message(), "the owner of a saga is away");
                    Error::AskAgain
                }
            }),
        }
    }

    fn channel(&self, address: &str) -> Result<Channel, Error> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = rpc::channel::lazy(address).map_err(|error| {
            tracing::error!(address, %error, "an instance published an address that is none");
            Error::AskAgain
        })?;
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}
