//! Other instances of the orchestrator.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use token::{Channel, Credentials};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::DOMAIN;
use crate::app::{Caller, Error};

/// Header of a request that another instance passed on: it is not passed on again, so that no circle can form.
pub(crate) const FORWARDED_HEADER: &str = "evenkeel-forwarded";
/// An owner that does not answer within this time counts as away.
const PATIENCE: Duration = Duration::from_secs(5);
/// Channels kept; instances that come and go would otherwise add up.
const MAX_CHANNELS: usize = 64;

/// Channels to other instances, by address.
#[derive(Debug)]
pub(crate) struct Peers {
    credentials: Credentials,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Peers {
    /// Calls other instances under the name that they have in common.
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            channels: Mutex::default(),
        }
    }

    /// Passes a request on to the instance at `address`, by the gRPC path of its method. What that instance answers is
    /// the answer.
    pub(crate) async fn forward<Q, A>(
        &self,
        address: &str,
        path: &'static str,
        caller: &Caller,
        request: Q,
    ) -> Result<A, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut client = tonic::client::Grpc::new(self.channel(address)?);
        let mut request = Request::new(request);
        request.set_timeout(PATIENCE);
        let metadata = request.metadata_mut();
        metadata.insert(FORWARDED_HEADER, MetadataValue::from_static("1"));
        let actor = caller.named.then_some(caller.actor.as_str());
        for (name, value) in [
            (rpc::step::ACTOR_HEADER, actor),
            (telemetry::trace::HEADER, caller.traceparent.as_deref()),
        ] {
            if let Some(value) = value.and_then(|value| MetadataValue::try_from(value).ok()) {
                metadata.insert(name, value);
            }
        }
        let answered = match client.ready().await {
            Ok(()) => {
                let codec = ProstCodec::<Q, A>::default();
                client
                    .unary(request, PathAndQuery::from_static(path), codec)
                    .await
            }
            Err(error) => Err(Status::unavailable(error.to_string())),
        };
        match answered {
            Ok(response) => Ok(response.into_inner()),
            Err(status) if is_its_answer(&status) => Err(Error::Owner(Box::new(status))),
            Err(status) => {
                tracing::warn!(
                    address,
                    path,
                    code = ?status.code(),
                    error = status.message(),
                    "the owner of a saga is away"
                );
                Err(Error::AskAgain)
            }
        }
    }

    fn channel(&self, address: &str) -> Result<Channel, Error> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = self.credentials.connect_to_own(address).map_err(|error| {
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

/// Tells whether the other instance has said, in our common name, what came of the request. Whatever else comes back
/// leaves that open.
fn is_its_answer(status: &Status) -> bool {
    let ours = rpc::error::info(status).is_some_and(|info| info.domain == DOMAIN);
    ours && match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use rpc::error::Reason;

    use super::*;

    #[test]
    fn only_what_the_owner_said_in_our_name_is_passed_back() {
        assert!(is_its_answer(&Reason::SagaChanged.status(DOMAIN, "by alice")));
        assert!(is_its_answer(&Reason::Overloaded.status(DOMAIN, "later")));
        assert!(!is_its_answer(&Reason::Unavailable.status(DOMAIN, "later")));
        assert!(!is_its_answer(&Reason::SagaEnded.status("another.evenkeel", "?")));
        assert!(!is_its_answer(&Status::aborted("a proxy")));
    }
}
