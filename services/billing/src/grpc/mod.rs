//! The public services: decode, operate, encode.

mod desk;
mod desk_encode;
pub(crate) mod encode;
mod notify;
mod order;
mod payment;
mod plan;
mod refund;
mod withdrawal;

use ids::Kind;
use proto::billing::v1 as pb;
use proto::billing::v1::desk_service_server::DeskServiceServer;
use proto::billing::v1::notify_service_server::NotifyServiceServer;
use proto::billing::v1::order_service_server::OrderServiceServer;
use proto::billing::v1::payment_service_server::PaymentServiceServer;
use proto::billing::v1::plan_service_server::PlanServiceServer;
use proto::billing::v1::withdrawal_service_server::WithdrawalServiceServer;
use tonic::Request;
use tonic::service::Routes;

use crate::app::App;
use crate::domain::{Amount, Channel};
use crate::error::Error;

/// Largest request message, in bytes: a notification of 256 KiB with room to spare.
const MAX_MESSAGE_BYTES: usize = 512 * 1024;
/// Longest request id, in characters.
const MAX_REQUEST_ID_CHARS: usize = 128;
/// Metadata that stands for an empty `request_id`: the key of an HTTP request, as the gateway passes it on.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Every public service.
pub(crate) fn routes(app: &App) -> Routes {
    let plans = plan::Plans { app: app.clone() };
    let orders = order::Orders { app: app.clone() };
    let payments = payment::Payments { app: app.clone() };
    let withdrawals = withdrawal::Withdrawals { app: app.clone() };
    let desk = desk::Desk { app: app.clone() };
    let notifies = notify::Notifies::new(app.clone());
    Routes::default()
        .add_service(PlanServiceServer::new(plans).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(OrderServiceServer::new(orders).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(PaymentServiceServer::new(payments).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(NotifyServiceServer::new(notifies).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(WithdrawalServiceServer::new(withdrawals).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(DeskServiceServer::new(desk).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

/// Reads an id.
pub(crate) fn id<K: Kind>(field: &'static str, text: &str) -> Result<ids::Id<K>, Error> {
    text.parse().map_err(|source| Error::Id { field, source })
}

/// Returns the id under which a repetition of the request is recognised; a random one if the caller gave none.
fn request_id<T>(request: &Request<T>, named: &str) -> Result<String, Error> {
    let wrong = |problem| Error::Invalid {
        field: "request_id",
        problem,
    };
    let found = match request.metadata().get(IDEMPOTENCY_KEY) {
        Some(key) if named.is_empty() => key
            .to_str()
            .map_err(|_| wrong("must be printable ASCII as metadata"))?,
        Some(_) | None => named,
    };
    if found.is_empty() {
        return Ok(uuid::Uuid::now_v7().simple().to_string());
    }
    if found.chars().count() > MAX_REQUEST_ID_CHARS || found.chars().any(char::is_control) {
        return Err(wrong("must be at most 128 printable characters"));
    }
    Ok(found.to_owned())
}

/// Reads a text for people.
fn text(field: &'static str, text: &str, most: usize, problem: &'static str) -> Result<String, Error> {
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Error::Invalid { field, problem });
    }
    Ok(text.to_owned())
}

/// Reads an amount.
fn amount(minor: i64) -> Result<Amount, Error> {
    Amount::new(minor).ok_or(Error::Invalid {
        field: "amount",
        problem: "must be 1 to 10,000,000,000",
    })
}

/// Reads a channel that has to be there.
fn channel(channel: pb::Channel) -> Result<Channel, Error> {
    Channel::from_message(channel).ok_or(Error::Invalid {
        field: "channel",
        problem: "must be a channel",
    })
}
