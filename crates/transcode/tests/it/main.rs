//! The contract's own routes, as a client meets them.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod answers;
mod document;
mod requests;
mod routes;

use prost_reflect::DynamicMessage;
use transcode::{BadRequest, Transcoder};

/// Services that the outside reaches.
pub(crate) const SERVICES: [&str; 6] = [
    "evenkeel.auth.v1.AuthService",
    "evenkeel.auth.v1.UserService",
    "evenkeel.quota.v1.QuotaService",
    "evenkeel.saga.v1.SagaService",
    "evenkeel.saga.v1.OperatorService",
    "evenkeel.task.v1.TaskService",
];

pub(crate) fn transcoder() -> Transcoder {
    Transcoder::new(&proto::descriptor_pool(), &SERVICES).unwrap()
}

/// Makes the message of a request: method, path with query, body.
pub(crate) fn request(verb: &str, target: &str, body: &[u8]) -> Result<DynamicMessage, BadRequest> {
    let transcoder = transcoder();
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    let route = transcoder.route(&verb.parse().unwrap(), path).unwrap();
    route.request(query, Some(body))
}
