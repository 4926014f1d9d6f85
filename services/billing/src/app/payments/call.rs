//! The step CALL_PAYMENT_CHANNEL of the saga PAYMENT, and how it is undone. Neither calls a channel: they write down what
//! is wanted, and the worker of the checks does it.

use barrier::{Again, Done};
use ids::PaymentId;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::{ask_again, lock};
use crate::app::App;
use crate::domain::PaymentStatus;
use crate::error::Error;
use crate::grpc::id;
use crate::store;
use crate::store::checks::{self, Subject};

pub(crate) async fn call_payment_channel(
    _app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CallPaymentChannelRequest,
    again: Again,
) -> Result<Done<pb::CallPaymentChannelResponse>, Error> {
    let payment_id: PaymentId = id("payment_id", &request.payment_id)?;
    let (_, payment) = lock(conn, payment_id).await?.ok_or(Error::NoPayment)?;
    if let Some(payment_url) = payment.payment_url {
        return Ok(Done::Reply(pb::CallPaymentChannelResponse { payment_url }));
    }
    match payment.status {
        PaymentStatus::Pending => {}
        PaymentStatus::Failed => return Err(Error::ChannelRefused(payment.reason.unwrap_or_default())),
        PaymentStatus::Closed => return Err(Error::NotPayable("closed")),
        // Nobody was shown what to scan, and yet it is paid: that is all that was wanted.
        PaymentStatus::Success | PaymentStatus::Refunding | PaymentStatus::Refunded => {
            return Ok(Done::Reply(pb::CallPaymentChannelResponse::default()));
        }
    }
    if again == Again(false) {
        if payment.closing.is_some() {
            return Err(Error::NotPayable("being cancelled"));
        }
        if !store::payments::set_step(conn, payment_id, &call.step).await? {
            return Err(Error::Broken("a payment that is locked has changed"));
        }
        checks::due(conn, Subject::Payment, payment_id.uuid(), payment.channel).await?;
    }
    Ok(Done::Pending {
        ask_again: ask_again(payment.created_at),
    })
}

pub(crate) async fn close_payment(
    _app: &App,
    conn: &mut PgConnection,
    _call: &StepCall,
    request: &pb::ClosePaymentRequest,
    again: Again,
) -> Result<Done<pb::ClosePaymentResponse>, Error> {
    let payment_id: PaymentId = id("payment_id", &request.payment_id)?;
    let (_, payment) = lock(conn, payment_id).await?.ok_or(Error::NoPayment)?;
    if payment.status != PaymentStatus::Pending {
        // Closed, refused, or paid by somebody who was faster: then the order is paid, or the money goes back.
        return Ok(Done::Reply(pb::ClosePaymentResponse {}));
    }
    if again == Again(false) {
        store::payments::set_closing(conn, payment_id, &request.cause).await?;
        checks::due(conn, Subject::Payment, payment_id.uuid(), payment.channel).await?;
    }
    Ok(Done::Pending {
        ask_again: ask_again(payment.created_at),
    })
}
