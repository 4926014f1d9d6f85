//! From our types to the wire.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use proto::billing::v1 as pb;

use crate::store::payments::Payment;

pub(super) fn payment(payment: Payment) -> pb::Payment {
    pb::Payment {
        payment_id: payment.id.to_string(),
        payment_no: payment.payment_no,
        order_id: payment.order_id.to_string(),
        user_id: payment.user_id.to_string(),
        channel: pb::Channel::from(payment.channel).into(),
        channel_order_no: payment.channel_order_no,
        provider_no: payment.provider_no.unwrap_or_default(),
        payment_url: payment.payment_url.unwrap_or_default(),
        amount: payment.amount,
        currency: payment.currency,
        refunded_amount: payment.refunded_amount,
        status: pb::PaymentStatus::from(payment.status).into(),
        reason: payment.reason.unwrap_or_default(),
        closing: payment.closing.is_some() && payment.status == crate::domain::PaymentStatus::Pending,
        saga_id: payment.saga_id.to_string(),
        expires_at: Some(time(payment.expires_at)),
        created_at: Some(time(payment.created_at)),
        paid_at: payment.paid_at.map(time),
        closed_at: payment.closed_at.map(time),
    }
}

pub(crate) fn time(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
